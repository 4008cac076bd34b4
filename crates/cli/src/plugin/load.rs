//! `docker trust key load`.

use super::keys::check_name;
use super::line::Call;
use super::session::context;
use crate::command::key::read_bounded;
use crate::error::CliError;
use crate::output::{data, harmless, message};
use crate::trusted::words::user;
use countersign_vault::{ImportDefaults, KeyStoreError, SkippedBlock, SkippedBlockReason};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

const NO_KEY: &str = "is not a supported private key - to add a signer's public key use docker trust signer add";

pub(super) fn run(call: &Call) -> Result<(), CliError> {
    let file = call.own.texts().first().map(|file| (*file).to_owned()).unwrap_or_default();
    let name = call.own.value("name").unwrap_or("signer");
    if !name.is_empty() {
        check_name("key", name)?;
    }
    let context = context(call)?;
    data(format_args!("Loading key from {file:?}..."))?;
    let shown = harmless(&file);
    let bytes = read(&file).map_err(|error| CliError {
        message: format!("refusing to load key from {shown}: {}", error.message),
        ..error
    })?;
    let failed = |what: &str| user(format!("error importing key from {shown}: {what}"));
    let role = (!name.is_empty()).then(|| name.to_owned());
    let defaults = ImportDefaults { role, gun: None };
    let report = match context.directory.keys().import(&bytes, &defaults, &context.passphrases) {
        Ok(report) => report,
        Err(KeyStoreError::NoKeys | KeyStoreError::Malformed { .. }) => {
            return Err(failed(&format!("provided file {shown} {NO_KEY}")));
        }
        Err(error) => {
            let error = CliError::from(error);
            return Err(CliError { message: format!("error importing key from {shown}: {}", error.message), ..error });
        }
    };
    match (report.imported.is_empty(), report.skipped.as_slice()) {
        (_, []) => {}
        (true, [SkippedBlock { reason: SkippedBlockReason::NotOpened, .. }]) => {
            return Err(failed(&format!("cannot load key from provided file {shown}: could not decrypt key")));
        }
        (_, skipped) => {
            for skipped in skipped {
                message(format_args!(
                    "  hint: key {} was left out: {}",
                    skipped.index + 1,
                    harmless(&skipped.reason.to_string())
                ));
            }
            return Err(failed("failed to import all keys: invalid key pem block"));
        }
    }
    data(format_args!("Successfully imported key from {shown}"))
}

/// Reads the file if nobody else can.
fn read(file: &str) -> Result<zeroize::Zeroizing<Vec<u8>>, CliError> {
    let metadata = std::fs::metadata(file).map_err(|error| match error.kind() {
        std::io::ErrorKind::NotFound => user(format!("stat {file}: no such file or directory")),
        _ => user(format!("stat {file}: {error}")),
    })?;
    if !metadata.is_file() {
        return Err(user(format!("{file} is not a file")));
    }
    if metadata.permissions().mode() & 0o077 != 0 {
        return Err(user(format!("private key file {file} must not be readable or writable by others"))
            .hint(format!("chmod 600 {file}")));
    }
    read_bounded(Path::new(file)).map(zeroize::Zeroizing::new).map_err(user)
}
