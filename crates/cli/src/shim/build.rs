//! `docker build`: what is built upon is verified, and what is pushed is signed.
//!
//! The builder gets a copy of the Dockerfile in which every image is named by its signed digest, from a folder outside of the
//! build context: the person's own file stays as it is, and any builder takes it. A builder with source policies (`BuildKit`
//! 0.11 and later) also gets one that denies every other image, whatever names it.

mod input;
mod options;
mod outputs;
mod policy;
mod process;

use super::decision::Job;
use super::dockerfile::{Builder, Dockerfile, DockerfileError, Surroundings};
use super::means::Means;
use super::real_docker::{RealDocker, TrustVariable};
use super::resolve::{Resolved, Resolver};
use super::{Outcome, rules};
use crate::error::{CliError, Kind};
use crate::output::{harmless, message};
use countersign_engine::ImageName;
use countersign_image::Tag;
use input::Input;
use options::Options;
use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::PathBuf;
use tempfile::TempDir;

pub(crate) use process::run as run_to_its_end;

/// Builds.
pub(crate) async fn build(job: &Job, real: &RealDocker) -> Result<Outcome, CliError> {
    debug_assert_eq!(job.rule, rules::Rule::Build, "chosen by the rule");
    let context = job.one_argument()?;
    let options = Options::read(job)?;
    let input = Input::read(context, options.file.as_deref())?;
    let surroundings = Surroundings {
        arguments: options.arguments.clone(),
        platforms: options.platforms.clone(),
        contexts: options.contexts.iter().map(|(name, _)| Surroundings::context_name(name)).collect(),
        builder: builder(job),
    };
    let dockerfile = Dockerfile::read(&input.text, &surroundings).map_err(|error| unreadable(&input, &error))?;
    let means = Means::of(&job.line, real)?;
    let found = resolve(&means, &dockerfile, &options).await?;
    let files = Files::write(&input, &dockerfile, &found)?;
    let command = command(job, real, &options, &input, &files, &found)?;
    let code = process::run(command).await?;
    if code != 0 {
        return Ok(Outcome::Code(code));
    }
    tag_bases(&means, &dockerfile, &found).await;
    outputs::sign(&means, &options, &files.metadata_file(&options)).await?;
    Ok(Outcome::Done)
}

/// Images as they are named, and what is signed for them.
type Found = BTreeMap<String, Resolved>;

/// Tells which builder it will be where that is certain; only the classic one takes `# syntax=` for a comment.
fn builder(job: &Job) -> Builder {
    let classic = std::env::var("DOCKER_BUILDKIT").is_ok_and(|value| matches!(value.as_str(), "0" | "false"));
    let by_buildx = job.line.words.first().is_some_and(|word| word == "buildx");
    if classic && !by_buildx { Builder::Classic } else { Builder::BuildKit }
}

fn unreadable(input: &Input, error: &DockerfileError) -> CliError {
    CliError::new(Kind::Trust, format!("{} cannot be checked: {error}", input.shown))
        .hint("--disable-content-trust builds without looking at signatures")
}

async fn resolve(means: &Means, dockerfile: &Dockerfile, options: &Options) -> Result<Found, CliError> {
    let mut resolver = Resolver::new(&means.context, "was verified for a build");
    let mut found = Found::new();
    let contexts = options.context_images();
    for image in dockerfile.images().into_iter().chain(contexts) {
        let signed = resolver.resolve(image).await.map_err(|error| in_build(image, error))?;
        found.insert(image.to_owned(), signed);
    }
    let Some(frontend) = dockerfile.frontend() else { return Ok(found) };
    match resolver.resolve(frontend).await {
        Ok(signed) => drop(found.insert(frontend.to_owned(), signed)),
        // It may not be used, and it need not be: the builder has a frontend of its own.
        Err(error) => {
            let reason = harmless(&error.message);
            message(format_args!(
                "note: {} is not used ({reason}): the builder's own frontend reads the Dockerfile",
                harmless(frontend)
            ));
        }
    }
    Ok(found)
}

fn in_build(image: &str, error: CliError) -> CliError {
    error.hint(format!("this is about {image}, which the build takes"))
}

/// The files that a build needs besides the person's own; they go when the build is over.
struct Files {
    folder: TempDir,
    /// Where the builder finds the Dockerfile; none if it comes in by standard input.
    dockerfile: Option<PathBuf>,
    /// What standard input is to be.
    standard_input: Option<PathBuf>,
    policy: PathBuf,
}

impl Files {
    fn write(input: &Input, dockerfile: &Dockerfile, found: &Found) -> Result<Self, CliError> {
        let folder = tempfile::Builder::new().prefix("countersign-build-").tempdir();
        let folder = folder.map_err(|error| local("cannot make a temporary folder", &error))?;
        let text = dockerfile.pinned(|image| found.get(image).map(Resolved::pinned));
        let path = folder.path().join(&input.name);
        let put = |path: &PathBuf, bytes: &[u8]| {
            fs_err::write(path, bytes).map_err(|error| local("cannot write for the builder", &error))
        };
        put(&path, text.as_bytes())?;
        if let Some(ignored) = &input.ignore_file {
            put(&folder.path().join(format!("{}.dockerignore", input.name)), ignored)?;
        }
        let policy = folder.path().join("source-policy.json");
        put(&policy, &policy::text(found.values())?)?;
        let (dockerfile, standard_input) = if input.piped { (None, Some(path)) } else { (Some(path), None) };
        Ok(Self { folder, dockerfile, standard_input, policy })
    }

    /// Where buildx writes what it has pushed.
    fn metadata_file(&self, options: &Options) -> PathBuf {
        options.metadata_file.clone().unwrap_or_else(|| self.folder.path().join("metadata.json"))
    }
}

fn local(what: &str, error: &dyn std::fmt::Display) -> CliError {
    CliError::new(Kind::Local, format!("{what}: {error}"))
}

fn command(
    job: &Job,
    real: &RealDocker,
    options: &Options,
    input: &Input,
    files: &Files,
    found: &Found,
) -> Result<std::process::Command, CliError> {
    let mut own: Vec<OsString> = Vec::new();
    if let Some(path) = &files.dockerfile {
        own.extend(["--file".into(), path.into()]);
    }
    if options.pushes() && options.metadata_file.is_none() {
        own.extend(["--metadata-file".into(), files.metadata_file(options).into()]);
    }
    for (name, value) in &options.contexts {
        let image = value.strip_prefix(options::IMAGE_CONTEXT).and_then(|image| found.get(image));
        let value =
            image.map_or_else(|| value.clone(), |image| format!("{}{}", options::IMAGE_CONTEXT, image.pinned()));
        own.extend(["--build-context".into(), format!("{name}={value}").into()]);
    }
    own.extend(options::without(&job.parsed, &job.own, &["file", "build-context"]));
    let mut command = real.command();
    TrustVariable::Removed.apply(&mut command);
    command.args(job.line.with_own(own)).env(policy::VARIABLE, &files.policy);
    if let Some(path) = &files.standard_input {
        let file = fs_err::File::open(path).map_err(|error| local("cannot read back the Dockerfile", &error))?;
        command.stdin(file.into_parts().0);
    } else if input.took_pipe {
        command.stdin(std::process::Stdio::null());
    }
    Ok(command)
}

/// Gives what was built upon its tag, as docker does; only the classic builder leaves the image with the engine.
async fn tag_bases(means: &Means, dockerfile: &Dockerfile, found: &Found) {
    let bases = dockerfile.bases().iter().filter_map(|base| found.get(base)).filter(|base| base.is_tagged());
    let mut done: Vec<String> = Vec::new();
    for base in bases {
        let name = base.reference.familiar();
        if done.contains(&name) {
            continue;
        }
        done.push(name.clone());
        let Ok(engine) = means.engines.connect().await else { return };
        let by_digest = base.by_digest();
        let is_there = engine.inspect(&ImageName::from(&by_digest)).await.is_ok_and(|image| image.is_some());
        let tag = base.reference.tag().cloned().unwrap_or_else(Tag::latest);
        if is_there {
            message(format_args!("Tagging {} as {name}", by_digest.familiar()));
            if let Err(error) = engine.tag(&ImageName::from(&by_digest), base.reference.repository(), &tag).await {
                message(format_args!("WARNING: {name} was not tagged: {}", harmless(&error.to_string())));
            }
        }
    }
}
