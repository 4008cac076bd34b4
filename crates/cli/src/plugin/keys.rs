//! `docker trust key generate`.

use super::line::Call;
use super::session::context;
use crate::command::key::{exists, make_pair};
use crate::error::{CliError, Kind};
use crate::output::data;
use crate::trusted::words::user;
use countersign_crypto::Algorithm;
use std::path::PathBuf;

/// Roles of a collection itself: a key with such a name would be taken for its own.
const RESERVED: [&str; 5] = ["root", "targets", "snapshot", "timestamp", "releases"];

/// Checks a signer's or key's name as docker does, and that it is no role of the collection itself.
pub(super) fn check_name(kind: &str, name: &str) -> Result<(), CliError> {
    let letter = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
    let valid = name.starts_with(letter) && name.chars().all(|c| letter(c) || c == '-' || c == '_');
    if !valid {
        return Err(user(format!(
            "{kind} name {name:?} must start with lowercase alphanumeric characters and can include \"-\" or \"_\" after the first character"
        )));
    }
    if RESERVED.contains(&name) {
        return Err(user(format!("{name} is a reserved keyword, use a different {kind} name")));
    }
    Ok(())
}

pub(super) fn generate(call: &Call) -> Result<(), CliError> {
    let name = call.own.texts().first().map(|name| (*name).to_owned()).unwrap_or_default();
    check_name("key", &name)?;
    let directory = directory(call)?;
    let path = directory.join(format!("{name}.pub"));
    if path.symlink_metadata().is_ok() {
        return Err(exists(&path));
    }
    data(format_args!("Generating key for {name}..."))?;
    let failed = |error: CliError| CliError {
        message: format!("failed to generate key for {name}: {}", error.message),
        ..error
    };
    let made = context(call)
        .and_then(|context| make_pair(&context, &context.directory.keys(), Algorithm::EcdsaP256, &name, &path));
    made.map_err(failed)?;
    data(format_args!(
        "Successfully generated and loaded private key. Corresponding public key available: {}",
        path.display()
    ))
}

fn directory(call: &Call) -> Result<PathBuf, CliError> {
    let given = call.own.value("dir").filter(|directory| !directory.is_empty()).map(PathBuf::from);
    match given {
        Some(directory) if directory.is_dir() => Ok(directory),
        Some(directory) => Err(user(format!("public key path does not exist: {:?}", directory.display().to_string()))),
        None => std::env::current_dir().map_err(|error| CliError::new(Kind::Local, error)),
    }
}
