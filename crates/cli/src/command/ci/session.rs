//! An archive opened for the time of one command: its keys in a private folder that docker, notary and Countersign can use.

use super::guarded::{Deadline, Stops, guarded};
use super::masking::register;
use super::private_folder::{PrivateFolder, sweep};
use super::supply::{RootKeys, Supply, no_passphrase};
use crate::error::{CliError, Kind};
use crate::output::{harmless, message};
use countersign_backup::{ArchiveError, Container, Contents, OpenError, decrypt_with_gpg};
use countersign_vault::{Differing, Passphrase, TrustDirectory};
use jiff::{SignedDuration, Timestamp};
use std::path::PathBuf;
use zeroize::Zeroizing;

const ROOT: &str = "root";
/// How far clocks may be apart before it is said that one is wrong.
const CLOCKS_APART: SignedDuration = SignedDuration::from_mins(5);

/// Keys that are there for as long as this value.
pub(super) struct Session {
    folder: PrivateFolder,
    passphrase: Option<Passphrase>,
    root_keys: RootKeys,
}

impl Session {
    /// Removes what killed runs left, opens the archive in memory, and puts its keys into a private folder. Whoever hands the
    /// archive over, and gpg, may take their time: until then nothing is to be removed.
    pub(super) async fn open(supply: &Supply, stops: &mut Stops, deadline: Deadline) -> Result<Self, CliError> {
        if let swept @ 1.. = sweep() {
            message(format_args!("removed what {swept} killed run(s) had left behind"));
        }
        let handed = supply.clone();
        let opening = async {
            let opened = tokio::task::spawn_blocking(move || handed_over(&handed)).await;
            opened.map_err(|error| CliError::internal(&error))?
        };
        let (contents, passphrase) = guarded(stops, deadline, NOTHING, opening).await?;
        check(&contents, supply.root_keys(), Timestamp::now())?;
        let folder = PrivateFolder::make()?;
        let session = Self { folder, passphrase, root_keys: supply.root_keys() };
        let directory = TrustDirectory::at(session.trust_dir())?;
        directory.keys().take_in(&contents.keys, Differing::Refuse)?;
        Ok(session)
    }

    /// The folder that nobody else can open.
    pub(super) fn folder(&self) -> &std::path::Path {
        self.folder.path()
    }

    /// Docker's configuration folder for a command.
    pub(super) fn docker_config(&self) -> PathBuf {
        self.folder.path().join("docker")
    }

    /// The trust directory, where docker looks for it.
    pub(super) fn trust_dir(&self) -> PathBuf {
        self.docker_config().join("trust")
    }

    /// The archive's passphrase.
    pub(super) fn passphrase(&self) -> Option<Passphrase> {
        self.passphrase.clone()
    }

    /// Whether root keys may be used.
    pub(super) fn root_keys(&self) -> RootKeys {
        self.root_keys
    }

    /// Removes everything and says whether it is gone.
    pub(super) fn close(self) -> Result<(), CliError> {
        self.folder.close()
    }
}

/// Takes the archive and its passphrase from where they come, and opens it.
fn handed_over(supply: &Supply) -> Result<(Contents, Option<Passphrase>), CliError> {
    let passphrase = supply.passphrase();
    if let Some((passphrase, known)) = &passphrase {
        register(passphrase, *known);
    }
    let passphrase = passphrase.map(|(passphrase, _)| passphrase);
    Ok((contents(&supply.archive()?, passphrase.as_ref())?, passphrase))
}

fn contents(file: &[u8], passphrase: Option<&Passphrase>) -> Result<Contents, CliError> {
    let archive: Zeroizing<Vec<u8>> = match Container::read(file).map_err(unopened)? {
        Container::Locked(locked) => locked.open(passphrase.ok_or_else(no_passphrase)?).map_err(unopened)?,
        Container::Plain(archive) => {
            message(
                "WARNING: the archive is not encrypted: whoever can read the pipeline's secrets can try to open the keys in it",
            );
            archive
        }
        Container::NeedsGpg(reason) => {
            message(format_args!("gpg decrypts the archive: {reason}"));
            decrypt_with_gpg(file)?
        }
    };
    Contents::read(&archive).map_err(|error: ArchiveError| CliError { hints: Vec::new(), ..error.into() }.hint(NOTHING))
}

const NOTHING: &str = "nothing was signed";

fn unopened(error: OpenError) -> CliError {
    let hint = match error {
        OpenError::WrongPassphrase => {
            "nothing was signed: compare the passphrase in the secret store with the one that the archive was made with, \
             and mind a line break at its end"
        }
        OpenError::NotAnArchive => "nothing was signed: the secret should be the file that countersign ci key wrote",
        _ => NOTHING,
    };
    CliError { hints: Vec::new(), ..error.into() }.hint(hint)
}

/// Refuses archives that do not belong into a pipeline, and clocks that cannot be right.
fn check(contents: &Contents, root_keys: RootKeys, now: Timestamp) -> Result<(), CliError> {
    for broken in &contents.broken {
        message(format_args!("WARNING: not usable: {}", harmless(&format!("{}: {}", broken.path, broken.reason))));
    }
    if contents.keys.is_empty() {
        return Err(CliError::new(Kind::Local, "no key of the archive can be used").hint(NOTHING));
    }
    for key in contents.keys.iter().filter(|key| !key.is_encrypted()) {
        message(format_args!("WARNING: the key {} is not encrypted", key.id()));
    }
    let roots = contents.keys.iter().filter(|key| key.role() == ROOT).count();
    if roots > 0 && root_keys == RootKeys::Refused {
        return Err(CliError::user(format!(
            "the archive holds {roots} root key(s), and a pipeline needs none: nothing was signed"
        ))
        .hint("make an archive without: countersign ci key IMAGE, or countersign key backup FILE, which leaves root keys out")
        .hint("to use it all the same: --allow-root-keys"));
    }
    if let Some(manifest) = contents.manifest.as_ref().filter(|found| found.created > now + CLOCKS_APART) {
        let made = manifest.created;
        return Err(CliError::new(
            Kind::Local,
            format!(
                "the clock of this machine is wrong: it says {now:.0}, and the archive of keys was made at {made:.0}"
            ),
        )
        .hint("what is signed carries dates, and what is expired is refused by them: set the clock")
        .hint(NOTHING));
    }
    Ok(())
}
