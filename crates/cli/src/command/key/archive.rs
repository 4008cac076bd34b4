//! What backing up and restoring keys have in common: the archive's passphrase, and what its errors mean.

use crate::error::{CliError, Kind};
use crate::output::{harmless, message};
use crate::prompt::Voice;
use countersign_backup::{ArchiveError, BackupError, GpgError, KnownBackups, OpenError, RecordError, ShareError};
use countersign_vault::{
    EnvironmentPassphrases, Origin, Passphrase, PassphraseRequest, PassphraseSource, Purpose, Reply,
};
use std::path::PathBuf;

/// What the archive is called where keys have their role.
const ALIAS: &str = "backup archive";
/// Times that a passphrase for an archive is asked for.
const ATTEMPTS: u32 = 4;

/// Where the passphrase of an archive comes from: `COUNTERSIGN_BACKUP_PASSPHRASE` and its companions, else a person.
pub(super) struct ArchivePassphrases {
    environment: EnvironmentPassphrases,
}

impl ArchivePassphrases {
    pub(super) fn new() -> Self {
        let environment = EnvironmentPassphrases::backup(|name| std::env::var_os(name));
        let remarking =
            environment.remarking(|remark| message(format_args!("WARNING: {}", harmless(&remark.to_string()))));
        Self { environment: remarking }
    }

    /// Returns a passphrase for a new archive.
    pub(super) fn for_new(&self) -> Result<Passphrase, CliError> {
        if let Some((passphrase, origin)) = self.of_environment(Purpose::New) {
            return match passphrase.check_new() {
                Ok(()) => Ok(passphrase),
                Err(refused) => Err(CliError::user(format!("{}: {refused}", spelled(&origin)))),
            };
        }
        for _ in 0..ATTEMPTS {
            let Some(first) = asked("Enter a passphrase for the archive: ") else { break };
            if let Err(refused) = first.check_new() {
                message(refused);
                continue;
            }
            let Some(second) = asked("Repeat the passphrase for the archive: ") else { break };
            if first.bytes() == second.bytes() {
                return Ok(first);
            }
            message("Passphrases do not match. Please retry.");
        }
        Err(CliError::new(Kind::Local, "there is no passphrase for the archive").hint(SOURCES))
    }

    /// Tries passphrases until one opens an archive.
    pub(super) fn open<T>(&self, open: impl Fn(&Passphrase) -> Result<T, OpenError>) -> Result<T, CliError> {
        let mut wrong = None;
        if let Some((passphrase, origin)) = self.of_environment(Purpose::Existing) {
            match open(&passphrase) {
                Err(OpenError::WrongPassphrase) => {
                    let remark = format!("The passphrase in {} does not open the archive.", spelled(&origin));
                    message(remark);
                    wrong = Some(());
                }
                other => return other.map_err(CliError::from),
            }
        }
        for _ in 0..ATTEMPTS {
            let Some(passphrase) = asked("Enter the passphrase of the archive: ") else { break };
            match open(&passphrase) {
                Err(OpenError::WrongPassphrase) => {
                    message("The passphrase does not open the archive. Please retry.");
                    wrong = Some(());
                }
                other => return other.map_err(CliError::from),
            }
        }
        Err(match wrong {
            Some(()) => OpenError::WrongPassphrase.into(),
            None => CliError::new(Kind::Local, "there is no passphrase for the archive").hint(SOURCES),
        })
    }

    fn of_environment(&self, purpose: Purpose) -> Option<(Passphrase, Origin)> {
        let request = PassphraseRequest::new(ALIAS, purpose);
        match self.environment.passphrase(&request) {
            Reply::Passphrase(passphrase, origin) => Some((passphrase, origin)),
            _ => None,
        }
    }
}

const SOURCES: &str = "it comes from COUNTERSIGN_BACKUP_PASSPHRASE, from the file in COUNTERSIGN_BACKUP_PASSPHRASE_FILE, \
     from the descriptor in COUNTERSIGN_BACKUP_PASSPHRASE_FD, or is asked for";

fn spelled(origin: &Origin) -> &str {
    match origin {
        Origin::Environment(variable) => variable,
        _ => "COUNTERSIGN_BACKUP_PASSPHRASE",
    }
}

fn asked(question: &str) -> Option<Passphrase> {
    let line = Voice::Native.hears_secret(question)?;
    Passphrase::new(line.trim().as_bytes().to_vec()).ok()
}

/// Returns the record of backups in this person's state folder (XDG rules); without a home there is none.
pub(crate) fn known_backups() -> Option<KnownBackups> {
    let variable = crate::context::variable("XDG_STATE_HOME").map(PathBuf::from).filter(|path| path.is_absolute());
    let state = variable.or_else(|| Some(etcetera::home_dir().ok()?.join(".local/state")))?;
    Some(KnownBackups::at(state.join("countersign")))
}

impl From<OpenError> for CliError {
    fn from(error: OpenError) -> Self {
        match error {
            OpenError::NotAnArchive => Self::user(&error),
            OpenError::WrongPassphrase => Self::new(Kind::Local, &error)
                .hint("nothing was restored; an archive whose first bytes are damaged looks the same"),
            OpenError::TooLarge { .. } => Self::new(Kind::Trust, &error),
            OpenError::Damaged(_) => {
                Self::new(Kind::Local, &error).hint("use another copy of the archive; nothing of this one was used")
            }
        }
    }
}

impl From<ArchiveError> for CliError {
    fn from(error: ArchiveError) -> Self {
        let kind = match &error {
            ArchiveError::NotTar | ArchiveError::NoKeys => Kind::User,
            ArchiveError::Damaged(_) | ArchiveError::Manifest(_) => Kind::Local,
            // No tar makes such an archive of a directory of keys: somebody meant to do harm.
            ArchiveError::UnsafePath { .. }
            | ArchiveError::Kind { .. }
            | ArchiveError::Repeated { .. }
            | ArchiveError::TwoForms { .. }
            | ArchiveError::OtherKey { .. }
            | ArchiveError::TooLarge { .. }
            | ArchiveError::Expansion { .. } => Kind::Trust,
        };
        Self::new(kind, &error).hint("nothing of the archive was restored")
    }
}

impl From<BackupError> for CliError {
    fn from(error: BackupError) -> Self {
        match &error {
            BackupError::Exists { .. } => Self::user(&error).hint("name another file, or replace it with --force"),
            BackupError::NoKeys | BackupError::TooManyKeys => Self::user(&error),
            BackupError::Key { .. } => Self::new(Kind::Local, &error)
                .hint("a backup is proven by opening its keys: give their passphrases, or skip that with --unopened"),
            BackupError::Io { .. }
            | BackupError::Manifest(_)
            | BackupError::Unreadable(_)
            | BackupError::NotUnpacked(_)
            | BackupError::OtherContent { .. } => Self::new(Kind::Local, &error),
            BackupError::Seal(_) => Self::internal(&error),
        }
    }
}

impl From<GpgError> for CliError {
    fn from(error: GpgError) -> Self {
        let hint = "whoever has the private key can decrypt it: gpg --decrypt FILE > keys.tar.gz; countersign key restore reads that too";
        Self::new(Kind::Local, &error).hint(hint)
    }
}

impl From<ShareError> for CliError {
    fn from(error: ShareError) -> Self {
        Self::user(&error).hint("the archive was not touched: this is about the shares alone")
    }
}

impl From<RecordError> for CliError {
    fn from(error: RecordError) -> Self {
        Self::new(Kind::Local, error)
    }
}
