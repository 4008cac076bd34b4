//! How a pipeline hands over its keys: an archive and a passphrase, from files, variables, descriptors or standard input.

use crate::error::{CliError, Kind};
use crate::output::{harmless, message};
use base64::Engine;
use clap::Args;
use countersign_backup::limits::MAX_FILE_BYTES;
use countersign_vault::{
    EnvironmentPassphrases, Origin, Passphrase, PassphraseRequest, PassphraseSource, Purpose, Reply,
};
use std::ffi::OsString;
use std::io::Read;
use std::path::{Path, PathBuf};
use zeroize::Zeroizing;

/// Variables with the archive's path and with the archive itself, where no option names another.
const ARCHIVE_FILE: &str = "COUNTERSIGN_CI_ARCHIVE_FILE";
const ARCHIVE: &str = "COUNTERSIGN_CI_ARCHIVE";
const PASSPHRASE: &str = "COUNTERSIGN_BACKUP_PASSPHRASE";
const PASSPHRASE_FILE: &str = "COUNTERSIGN_BACKUP_PASSPHRASE_FILE";
const PASSPHRASE_FD: &str = "COUNTERSIGN_BACKUP_PASSPHRASE_FD";

/// How ASCII armour begins, which needs no base64 around it.
const ARMOUR: &[u8] = b"-----BEGIN PGP MESSAGE-----";

/// Where the keys come from.
#[derive(Debug, Clone, Args)]
pub(crate) struct Supply {
    /// The archive of keys, also in base64; - is standard input [variables: `COUNTERSIGN_CI_ARCHIVE_FILE`, `COUNTERSIGN_CI_ARCHIVE`]
    #[arg(long, value_name = "FILE", conflicts_with = "archive_env", help_heading = "Keys")]
    archive: Option<PathBuf>,
    /// The variable that holds the archive, in base64
    #[arg(long, value_name = "NAME", help_heading = "Keys")]
    archive_env: Option<String>,
    /// The file whose first line is the archive's passphrase [variable: `COUNTERSIGN_BACKUP_PASSPHRASE_FILE`]
    #[arg(long, value_name = "FILE", group = "passphrase", help_heading = "Keys")]
    passphrase_file: Option<PathBuf>,
    /// The variable that holds the archive's passphrase [default: `COUNTERSIGN_BACKUP_PASSPHRASE`]
    #[arg(long, value_name = "NAME", group = "passphrase", help_heading = "Keys")]
    passphrase_env: Option<String>,
    /// The descriptor whose first line is the archive's passphrase [variable: `COUNTERSIGN_BACKUP_PASSPHRASE_FD`]
    #[arg(long, value_name = "N", group = "passphrase", help_heading = "Keys")]
    passphrase_fd: Option<u16>,
    /// Take the archive although root keys are in it: whoever breaks into the pipeline then owns the images' names
    #[arg(long, help_heading = "Keys")]
    allow_root_keys: bool,
}

/// Whether root keys may be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum RootKeys {
    Refused,
    Allowed,
}

/// Whether the CI system has handed a secret over itself, and so knows what to mask.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Known {
    /// It came in a variable.
    ToTheService,
    /// It came from a file or descriptor.
    ToUsAlone,
}

impl Supply {
    pub(super) fn root_keys(&self) -> RootKeys {
        if self.allow_root_keys { RootKeys::Allowed } else { RootKeys::Refused }
    }

    /// Tells whether the archive comes on standard input, which then is nobody else's.
    pub(super) fn takes_input(&self) -> bool {
        self.archive.as_deref() == Some(Path::new("-"))
    }

    /// Reads the archive.
    pub(super) fn archive(&self) -> Result<Zeroizing<Vec<u8>>, CliError> {
        if let Some(name) = &self.archive_env {
            return of_variable(name);
        }
        let file = self.archive.clone().or_else(|| crate::context::variable(ARCHIVE_FILE).map(PathBuf::from));
        match file {
            Some(file) if file == Path::new("-") => read(std::io::stdin().lock(), "standard input"),
            Some(file) => {
                let opened = fs_err::File::open(&file).map_err(CliError::user)?;
                read(opened, &harmless(&file.display().to_string()))
            }
            None if crate::context::variable(ARCHIVE).is_some() => of_variable(ARCHIVE),
            None => Err(CliError::user("there is no archive of keys").hint(format!(
                "name it with --archive FILE, --archive - or --archive-env NAME, or in {ARCHIVE_FILE} or {ARCHIVE}"
            ))),
        }
    }

    /// Returns the archive's passphrase, if any is named.
    pub(super) fn passphrase(&self) -> Option<(Passphrase, Known)> {
        let (file, fd) = (self.passphrase_file.clone(), self.passphrase_fd);
        let named = self.passphrase_env.clone();
        let chosen = file.is_some() || fd.is_some() || named.is_some();
        let lookup = move |name: &str| -> Option<OsString> {
            match name {
                _ if !chosen => std::env::var_os(name),
                PASSPHRASE => std::env::var_os(named.as_deref()?),
                PASSPHRASE_FILE => file.clone().map(OsString::from),
                PASSPHRASE_FD => fd.map(|fd| fd.to_string().into()),
                _ => None,
            }
        };
        let source = EnvironmentPassphrases::backup(lookup)
            .remarking(|remark| message(format_args!("WARNING: {}", harmless(&remark.to_string()))));
        match source.passphrase(&PassphraseRequest::new("backup archive", Purpose::Existing)) {
            Reply::Passphrase(passphrase, Origin::Environment(name)) if name == PASSPHRASE => {
                Some((passphrase, Known::ToTheService))
            }
            Reply::Passphrase(passphrase, _) => Some((passphrase, Known::ToUsAlone)),
            _ => None,
        }
    }

    /// The variables whose values are nobody's business but ours.
    pub(super) fn variables(&self) -> Vec<String> {
        let named = self.archive_env.iter().chain(&self.passphrase_env).cloned();
        named.chain([ARCHIVE, PASSPHRASE, PASSPHRASE_FILE, PASSPHRASE_FD].map(str::to_owned)).collect()
    }
}

/// What to say where there is no passphrase.
pub(super) fn no_passphrase() -> CliError {
    CliError::new(Kind::Local, "there is no passphrase for the archive").hint(format!(
        "name it with --passphrase-env NAME, --passphrase-file FILE or --passphrase-fd N, or put it into {PASSPHRASE}"
    ))
}

fn of_variable(name: &str) -> Result<Zeroizing<Vec<u8>>, CliError> {
    let missing = || CliError::user(format!("the variable {} with the archive of keys is not set", harmless(name)));
    let text = Zeroizing::new(crate::context::variable(name).ok_or_else(missing)?.into_encoded_bytes());
    if text.trim_ascii_start().starts_with(ARMOUR) {
        return Ok(text);
    }
    decoded(&text).ok_or_else(|| {
        CliError::user(format!("the variable {} holds no base64", harmless(name)))
            .hint("make it with: base64 -w0 ARCHIVE")
    })
}

/// Takes base64 out of text; secret stores that keep text alone have it in files too. No archive looks like that.
fn decoded(text: &[u8]) -> Option<Zeroizing<Vec<u8>>> {
    let dense: Zeroizing<Vec<u8>> = Zeroizing::new(text.iter().copied().filter(|b| !b.is_ascii_whitespace()).collect());
    base64::engine::general_purpose::STANDARD.decode(&*dense).ok().map(Zeroizing::new)
}

fn read(from: impl Read, name: &str) -> Result<Zeroizing<Vec<u8>>, CliError> {
    let mut bytes = Zeroizing::new(Vec::new());
    let read = from.take(MAX_FILE_BYTES as u64 + 1).read_to_end(&mut bytes);
    read.map_err(|error| CliError::new(Kind::Local, format!("cannot read {name}: {error}")))?;
    if bytes.is_empty() {
        return Err(CliError::user(format!("{name} is empty: it should be the archive of keys")));
    }
    Ok(decoded(&bytes).unwrap_or(bytes))
}
