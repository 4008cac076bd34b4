//! `docker compose`: the images of services are pinned to signed digests by a further file.
//!
//! The real compose is asked for the model that it makes of all files. Every service then gets an image in an override file: those
//! that the command needs their signed digest, all others one that exists nowhere. Last, compose is asked once more for the
//! model, now with the override file: it has to be the same but for these images.

mod files;
mod model;

use super::build::run_to_its_end;
use super::decision::{Job, WayOut, not_understood, refused};
use super::flags::COMPOSE_COMMANDS;
use super::means::Means;
use super::real_docker::{RealDocker, TrustVariable};
use super::resolve::Resolver;
use super::{Outcome, switch};
use crate::cobra::{self, Flag, FlagError, Interspersed, Parsed};
use crate::error::{CliError, Kind};
use model::Model;
use std::collections::BTreeMap;
use std::ffi::OsString;
use tempfile::TempDir;

/// Commands that run, fetch and move no image, or act on containers that are there.
const PASS: [&str; 28] = [
    "attach", "commit", "config", "convert", "cp", "down", "events", "exec", "export", "help", "images", "kill",
    "logs", "ls", "pause", "port", "ps", "restart", "rm", "start", "stats", "stop", "top", "unpause", "version", "viz",
    "volumes", "wait",
];

/// Does what a command needs, and lets the real compose go on.
pub(crate) async fn compose(job: &Job, real: &RealDocker) -> Result<Outcome, CliError> {
    let line = &job.line;
    let command = line.words.get(1).map(String::as_str);
    let asks = line.between.is_on("help") || line.between.is_on("version");
    let Some(command) = command.filter(|command| !asks && !PASS.contains(command)) else {
        return Ok(Outcome::GoOn(line.arguments.clone()));
    };
    let own = match read(command, &job.own) {
        Ok(Some(own)) => own,
        Ok(None) => return Err(not_verified(job, command)),
        Err(error) => return Ok(Outcome::NotUnderstood(not_understood(&error.to_string(), WayOut::Variable))),
    };
    if own.is_on("help") {
        return Ok(Outcome::GoOn(line.arguments.clone()));
    }
    if own.is_on("build") || own.is_on("watch") {
        return Err(refused(line, "images that compose builds are not verified", WayOut::Variable));
    }
    let unnamed = files::unnamed(&line.between)?;
    let compose = Compose::of(job, real);
    let model = compose.model(&[])?;
    let wanted = compose.wanted(command, &own, &model)?;
    let pinned = pin(job, real, &model, &wanted).await?;
    let files = Files::write(unnamed, &pinned)?;
    let checked = compose.model(&files.arguments)?;
    if !checked.is_with_images(&model, &pinned) {
        return Err(CliError::new(Kind::Trust, "compose does not take the pinned images as they were given")
            .hint("name every compose file with -f"));
    }
    let mut command = compose.command();
    command.args(compose.before).args(&files.arguments).args(compose.word).args(&job.own);
    Ok(Outcome::Code(run_to_its_end(command).await?))
}

/// Reads the arguments of a command that takes images; none if it is not one that can be done here.
fn read(command: &str, own: &[OsString]) -> Result<Option<Parsed>, FlagError> {
    let Some((name, flags)) = COMPOSE_COMMANDS.iter().find(|(name, _)| *name == command) else { return Ok(None) };
    let flags: Vec<&'static Flag> = flags.iter().collect();
    let interspersed = if *name == "run" { Interspersed::No } else { Interspersed::Yes };
    cobra::parse(&flags, own, interspersed).map(Some)
}

fn not_verified(job: &Job, command: &str) -> CliError {
    let why = match command {
        "build" => "what compose builds upon is not verified: build the images with docker build",
        "push" => "what compose pushes is not signed: push the images with docker push",
        _ => "it may run or fetch images that nobody vouches for",
    };
    refused(&job.line, why, WayOut::Variable)
}

/// The command line of the real compose, in parts.
struct Compose<'a> {
    real: &'a RealDocker,
    /// Up to the command.
    before: &'a [OsString],
    /// The command.
    word: &'a [OsString],
}

/// The largest model, in bytes.
const MAX_MODEL: usize = 64 << 20;

impl<'a> Compose<'a> {
    fn of(job: &'a Job, real: &'a RealDocker) -> Self {
        let all = &job.line.arguments;
        let (before, word) = all.split_at_checked(job.line.start.saturating_sub(1)).unwrap_or((all, &[]));
        Self { real, before, word: word.get(..1).unwrap_or_default() }
    }

    /// A command that runs compose with files of this machine only: what is fetched from elsewhere, perhaps by an include,
    /// could be another model each time.
    fn command(&self) -> std::process::Command {
        let mut command = self.real.command();
        TrustVariable::Removed.apply(&mut command);
        for variable in ["COMPOSE_EXPERIMENTAL_GIT_REMOTE", "COMPOSE_EXPERIMENTAL_OCI_REMOTE"] {
            command.env(variable, "false");
        }
        command
    }

    /// Asks for the model, with every profile.
    fn model(&self, files: &[OsString]) -> Result<Model, CliError> {
        self.ask(files, &["--profile", "*"])
    }

    fn ask(&self, files: &[OsString], profiles: &[&str]) -> Result<Model, CliError> {
        let mut command = self.command();
        command.args(self.before).args(files).args(profiles).args(["config", "--format", "json"]);
        command.stdin(std::process::Stdio::null());
        let output =
            command.output().map_err(|error| CliError::new(Kind::Local, format!("cannot run compose: {error}")))?;
        if !output.status.success() {
            return Err(CliError::user(String::from_utf8_lossy(&output.stderr).trim_end()));
        }
        if output.stdout.len() > MAX_MODEL {
            return Err(CliError::user(format!("the compose model has more than {MAX_MODEL} bytes")));
        }
        Model::parse(&output.stdout).map_err(|reason| CliError::new(Kind::Trust, reason))
    }

    /// Tells which services a command may start or pull.
    fn wanted(&self, command: &str, own: &Parsed, model: &Model) -> Result<Vec<String>, CliError> {
        let texts = own.texts();
        let named: Vec<&str> = match command {
            "run" => texts.into_iter().take(1).collect(),
            "scale" => texts.into_iter().map(|text| text.split('=').next().unwrap_or(text)).collect(),
            _ => texts,
        };
        let named: Vec<String> = if !named.is_empty() {
            named.into_iter().map(str::to_owned).collect()
        } else if model.has_profiles() {
            self.ask(&[], &[])?.services()
        } else {
            model.services()
        };
        let alone = command == "pull" && !own.is_on("include-deps");
        if let Some(unknown) = named.iter().find(|name| !model.has(name)) {
            return Err(CliError::user(format!("no such service: {unknown}")));
        }
        Ok(if alone { named } else { model.with_dependencies(named) })
    }
}

/// An image that exists nowhere.
fn no_image() -> String {
    format!("countersign.invalid/not-verified@sha256:{}", "0".repeat(64))
}

async fn pin(
    job: &Job,
    real: &RealDocker,
    model: &Model,
    wanted: &[String],
) -> Result<BTreeMap<String, String>, CliError> {
    let means = Means::of(&job.line, real)?;
    let mut resolver = Resolver::new(&means.context, "was verified for a compose service");
    let mut pinned = BTreeMap::new();
    for name in model.services() {
        let image = if wanted.contains(&name) {
            let image = model.image(&name).map_err(|reason| {
                CliError::new(Kind::Trust, format!("service {name:?}: {reason}"))
                    .hint(format!("{}=0 before the command does it without signatures", switch::TRUST_VARIABLE))
            })?;
            let signed = resolver.resolve(image).await.map_err(|mut error| {
                error.hints.retain(|hint| !hint.contains("--disable-content-trust"));
                error.hint(format!("this is about {image} of the service {name}"))
            })?;
            signed.pinned()
        } else {
            no_image()
        };
        pinned.insert(name, image);
    }
    Ok(pinned)
}

/// The override file, and the arguments that name it behind all others.
struct Files {
    arguments: Vec<OsString>,
    _folder: TempDir,
}

impl Files {
    /// Writes it; `arguments` name the files that would be found without being named.
    fn write(mut arguments: Vec<OsString>, pinned: &BTreeMap<String, String>) -> Result<Self, CliError> {
        let local = |error: &dyn std::fmt::Display| {
            CliError::new(Kind::Local, format!("cannot write the file that pins the images: {error}"))
        };
        let folder =
            tempfile::Builder::new().prefix("countersign-compose-").tempdir().map_err(|error| local(&error))?;
        let path = folder.path().join("countersign.override.json");
        fs_err::write(&path, model::pinning(pinned)).map_err(|error| local(&error))?;
        arguments.extend(["--file".into(), path.into()]);
        Ok(Self { arguments, _folder: folder })
    }
}
