//! `countersign ci run`: a command that can sign, and nobody else.

use super::guarded::{Deadline, Stops, TimeLimit};
use super::passphrase::for_others;
use super::process::{self, Input};
use super::session::Session;
use super::supply::{RootKeys, Supply};
use crate::context::{ContextOptions, GlobalOptions};
use crate::error::{CliError, Kind};
use crate::output::message;
use clap::Args;
use countersign_vault::{Passphrase, TrustDirectory};
use fs_err::os::unix::fs::OpenOptionsExt;
use std::collections::BTreeSet;
use std::ffi::{OsStr, OsString};
use std::io::Write;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::process::Command;

/// Docker's variables for passphrases, and notary's, with the role that each is for.
const PASSPHRASES: [(&str, &str); 6] = [
    ("DOCKER_CONTENT_TRUST_ROOT_PASSPHRASE", "root"),
    ("DOCKER_CONTENT_TRUST_REPOSITORY_PASSPHRASE", "targets"),
    ("NOTARY_ROOT_PASSPHRASE", "root"),
    ("NOTARY_TARGETS_PASSPHRASE", "targets"),
    ("NOTARY_SNAPSHOT_PASSPHRASE", "targets"),
    ("NOTARY_DELEGATION_PASSPHRASE", "targets"),
];
const TRUST_DIR: &str = "COUNTERSIGN_CI_TRUST_DIR";
const NOTARY_CONFIG: &str = "COUNTERSIGN_CI_NOTARY_CONFIG";

/// Run a command that can sign: docker, notary and countersign find the archive's keys, in memory, until it ends
#[derive(Debug, Args)]
pub(crate) struct Run {
    #[command(flatten)]
    supply: Supply,
    /// End the command after this time: 90, 90s, 15m, 1h
    #[arg(long, value_name = "TIME")]
    timeout: Option<TimeLimit>,
    /// The command and its arguments
    #[arg(last = true, required = true, value_name = "COMMAND")]
    command: Vec<OsString>,
}

impl Run {
    pub(crate) async fn run(&self, options: &GlobalOptions) -> Result<(), CliError> {
        let mut stops = Stops::listen()?;
        let deadline = TimeLimit::from_now(self.timeout);
        let session = Session::open(&self.supply, &mut stops, deadline).await?;
        let code = self.run_in(&session, options, &mut stops, deadline).await;
        session.close()?;
        match code? {
            0 => Ok(()),
            code => Err(CliError::new(Kind::Exit(code), "")),
        }
    }

    async fn run_in(
        &self,
        session: &Session,
        options: &GlobalOptions,
        stops: &mut Stops,
        deadline: Deadline,
    ) -> Result<u8, CliError> {
        let Some((program, arguments)) = self.command.split_first() else { return Err(CliError::user("no command")) };
        let surroundings = ContextOptions::native(options)?;
        furnish(session, &surroundings)?;
        let before = keys(session)?;
        let mut command = Command::new(program);
        command.args(arguments);
        let secrets = self.set(&mut command, session, &surroundings)?;
        let secrets: Vec<&[u8]> = secrets.iter().map(Passphrase::bytes).collect();
        let input = if self.supply.takes_input() { Input::Nothing } else { Input::Inherited };
        let code = process::run(command, input, &secrets, stops, deadline).await?;
        for id in keys(session)?.difference(&before) {
            message(format_args!(
                "WARNING: the command made the key {id}, which is gone now: make keys outside of pipelines, with countersign ci key"
            ));
        }
        Ok(code)
    }

    /// Sets the variables of the command, and returns the secrets in them.
    fn set(
        &self,
        command: &mut Command,
        session: &Session,
        surroundings: &ContextOptions,
    ) -> Result<Vec<Passphrase>, CliError> {
        for name in self.supply.variables() {
            command.env_remove(name);
        }
        command.env("DOCKER_CONFIG", session.docker_config()).env("DOCKER_CONTENT_TRUST", "1");
        command.env(TRUST_DIR, session.trust_dir()).env(NOTARY_CONFIG, notary_config(session));
        if let Some(server) = &surroundings.server {
            command.env("DOCKER_CONTENT_TRUST_SERVER", server.address.to_string());
        }
        if let Some(log) = &surroundings.audit_log {
            command.env("COUNTERSIGN_AUDIT_LOG", log);
        }
        let mut secrets: Vec<Passphrase> = session.passphrase().into_iter().collect();
        for (variable, alias) in PASSPHRASES {
            if alias == "root" && session.root_keys() == RootKeys::Refused {
                for suffix in ["", "_FILE", "_FD"] {
                    command.env_remove(format!("{variable}{suffix}"));
                }
                continue;
            }
            let set = std::env::var_os(variable).filter(|value| !value.is_empty());
            let given = set.and_then(|value| Passphrase::new(value.into_encoded_bytes()).ok());
            let found = given.or_else(|| for_others(alias, session.passphrase(), session.root_keys()));
            let Some(passphrase) = found else { continue };
            if passphrase.bytes().contains(&0) {
                return Err(CliError::new(Kind::Local, "the passphrase holds a NUL byte: no variable can"));
            }
            command.env(variable, OsStr::from_bytes(passphrase.bytes()));
            secrets.push(passphrase);
        }
        Ok(secrets)
    }
}

fn notary_config(session: &Session) -> std::path::PathBuf {
    session.folder().join("notary.json")
}

/// Makes docker's configuration folder for the command: the person's own, but for the trust directory. What is written to
/// `config.json`, by `docker login` for example, stays in the private folder and goes with it.
fn furnish(session: &Session, surroundings: &ContextOptions) -> Result<(), CliError> {
    let local = |error: std::io::Error| CliError::new(Kind::Local, error);
    let (from, to) = (&surroundings.docker_config, session.docker_config());
    if let Ok(entries) = fs_err::read_dir(from) {
        for entry in entries {
            let entry = entry.map_err(local)?;
            let name = entry.file_name();
            if name == "trust" {
                continue;
            }
            let (source, target) = (std::path::absolute(entry.path()).map_err(local)?, to.join(&name));
            if name == "config.json" {
                let text = zeroize::Zeroizing::new(fs_err::read(&source).map_err(local)?);
                write(&target, &text)?;
            } else {
                fs_err::os::unix::fs::symlink(&source, &target).map_err(local)?;
            }
        }
    }
    let mut service = serde_json::Map::new();
    if let Some(named) = &surroundings.server {
        service.insert("url".to_owned(), named.address.to_string().trim_end_matches('/').into());
        let authority = to.join("tls").join(named.address.authority()).join("ca.crt");
        if authority.is_file() {
            service.insert("root_ca".to_owned(), authority.display().to_string().into());
        }
    }
    let notary =
        serde_json::json!({ "trust_dir": session.trust_dir().display().to_string(), "remote_server": service });
    write(&notary_config(session), notary.to_string().as_bytes())
}

fn write(path: &Path, bytes: &[u8]) -> Result<(), CliError> {
    let file = fs_err::OpenOptions::new().write(true).create_new(true).mode(0o600).open(path);
    let written = file.and_then(|mut file| file.write_all(bytes));
    written.map_err(|error| CliError::new(Kind::Local, error))
}

fn keys(session: &Session) -> Result<BTreeSet<String>, CliError> {
    let listing = TrustDirectory::at(session.trust_dir())?.keys().list()?;
    Ok(listing.keys.iter().map(|key| key.id.to_string()).collect())
}
