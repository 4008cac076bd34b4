//! Archives against the real gpg and tar, hostile contents, and every kind of damage.

#![expect(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic, reason = "helpers of tests may stop the test")]

mod by_hand;
mod damage;
mod fuzzing;
mod fuzzing_runs;
mod hostile;
mod known;
mod reference;
mod tarball;

use std::path::Path;

use countersign_backup::{Backup, BackupError, Existing, Proven, Written};
use countersign_crypto::{Algorithm, PrivateKey, SystemRandom};
use countersign_tuf::Gun;
use countersign_vault::{
    CarriedKey, KeyLabel, KeyStoreError, Origin, Passphrase, PassphraseRequest, PassphraseSource, Reply, TrustDirectory,
};
use jiff::Timestamp;
use tempfile::TempDir;

/// The passphrase of archives here.
const ARCHIVE: &str = "archive passphrase";
/// The passphrase of keys here.
const KEYS: &str = "key passphrase";

/// One passphrase for every key.
struct Fixed(&'static str);

impl PassphraseSource for Fixed {
    fn passphrase(&self, request: &PassphraseRequest<'_>) -> Reply {
        match request.attempt {
            1 => Reply::Passphrase(passphrase(self.0), Origin::Person),
            _ => Reply::Unavailable,
        }
    }
}

fn passphrase(text: &str) -> Passphrase {
    Passphrase::new(text.as_bytes().to_vec()).unwrap()
}

fn now() -> Timestamp {
    "2026-03-04T05:06:07Z".parse().unwrap()
}

/// A folder with a trust directory that lives as long as the test.
struct Scratch {
    folder: TempDir,
}

impl Scratch {
    fn new() -> Self {
        Self { folder: tempfile::tempdir().unwrap() }
    }

    /// One with a root key, a repository's keys and somebody's own.
    fn with_keys() -> Self {
        let scratch = Self::new();
        for (role, gun) in
            [("root", None), ("targets", Some("h:5000/a/b")), ("snapshot", Some("h:5000/a/b")), ("alice", None)]
        {
            scratch.add(Algorithm::EcdsaP256, role, gun);
        }
        scratch
    }

    fn add(&self, algorithm: Algorithm, role: &str, gun: Option<&str>) {
        let key = PrivateKey::generate(algorithm).unwrap();
        let label = KeyLabel::new(role, gun.map(|gun| Gun::parse(gun).unwrap()).as_ref()).unwrap();
        self.trust().keys().add(&key, &label, &Fixed(KEYS)).unwrap();
    }

    fn path(&self) -> &Path {
        self.folder.path()
    }

    fn trust(&self) -> TrustDirectory {
        TrustDirectory::create(self.path().join("trust")).unwrap()
    }

    fn keys(&self) -> Vec<CarriedKey> {
        let store = self.trust().keys();
        store.list().unwrap().keys.iter().map(|key| store.carry(&key.id).unwrap()).collect()
    }

    /// Backs up all keys into `name`, with every key opened.
    fn back_up(&self, name: &str) -> Result<Written, BackupError> {
        let keys = self.keys();
        let backup = Backup {
            file: &self.path().join(name),
            existing: Existing::Refuse,
            keys: &keys,
            passphrase: &passphrase(ARCHIVE),
            now: now(),
        };
        backup.prove(&mut SystemRandom, &opened).and_then(Proven::publish)
    }

    /// The names of all files in the folder itself.
    fn names(&self) -> Vec<String> {
        let entries = std::fs::read_dir(self.path()).unwrap();
        let mut names: Vec<String> = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }
}

fn opened(key: &CarriedKey) -> Result<(), KeyStoreError> {
    key.open(&Fixed(KEYS)).map(drop)
}
