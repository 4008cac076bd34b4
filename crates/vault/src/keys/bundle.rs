//! Key bundles: several key files in one, to carry keys from one trust directory to another.

use std::collections::BTreeSet;
use std::fmt;
use std::path::Path;

use countersign_crypto::{KeyId, PrivateKey};
use countersign_keyfile::{KeyBlock, KeyFile, KeyFileError};
use countersign_tuf::Gun;
use zeroize::Zeroizing;

use super::opening::Asked;
use super::{Addition, Found, KeyLabel, KeyLabelError, KeyStore, KeyStoreError, SkippedKey, file, opening, write};
use crate::limits::MAX_BUNDLE_BYTES;
use crate::passphrase::{Passphrase, PassphraseSource};

/// The role of imported keys that come without one (Notary protocol, export and import bundles).
const DEFAULT_ROLE: &str = "delegation";
/// What messages call the bundle.
const BUNDLE: &str = "the imported file";

/// Which keys to export.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum KeySelection {
    /// All keys.
    All,
    /// The keys of these collections; root, delegation and other shared keys belong to none.
    Collections(BTreeSet<Gun>),
    /// The keys with these ids.
    Ids(BTreeSet<KeyId>),
}

/// An exported bundle.
#[derive(Clone)]
pub struct ExportedKeys {
    /// The bundle; keys are encrypted, or not, exactly as they are in the store.
    pub pem: Zeroizing<Vec<u8>>,
    /// The keys in it, in this order.
    pub keys: Vec<KeyId>,
    /// Key files that could not be read and are not in the bundle.
    pub skipped: Vec<SkippedKey>,
}

impl fmt::Debug for ExportedKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ExportedKeys").field("keys", &self.keys).field("skipped", &self.skipped).finish_non_exhaustive()
    }
}

/// What to assume about imported keys that do not say it themselves.
#[derive(Debug, Clone, Default)]
pub struct ImportDefaults {
    /// The role text; `delegation` if not given.
    pub role: Option<String>,
    /// The collection.
    pub gun: Option<Gun>,
}

/// What becomes of a key that is in the store already.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Present {
    /// It is replaced, and is for what the import says.
    Replaced,
    /// It stays as it is, for what it is.
    Kept,
}

/// What became of one imported key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImportedKey {
    /// The key's id.
    pub id: KeyId,
    /// What the key is for.
    pub label: KeyLabel,
    /// Whether it was new. A key that was there and is replaced counts as added.
    pub addition: Addition,
}

/// A block that was not imported.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SkippedBlock {
    /// Its place in the bundle, beginning with 0.
    pub index: usize,
    /// Why it was left out.
    pub reason: SkippedBlockReason,
}

/// Why a block was not imported.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SkippedBlockReason {
    /// It is no private key, or one that cannot be used.
    #[error("it is not a usable private key: {0}")]
    Malformed(String),
    /// What it is for is missing or does not do.
    #[error(transparent)]
    Label(#[from] KeyLabelError),
    /// The collection in it is no valid name.
    #[error("it names the collection {0:?}, which is not a valid name")]
    Collection(String),
    /// The key id in its `path` header is none.
    #[error("it is to be stored as {0:?}, which is not a key id")]
    Path(String),
    /// It holds another key than its `path` header says.
    #[error("it holds the key {actual}, not {expected}")]
    OtherKey {
        /// The id in the header.
        expected: KeyId,
        /// The id of the key.
        actual: KeyId,
    },
    /// It is encrypted and was not opened, so that its id is not known, or that it cannot be told whether it may replace the
    /// key that is there.
    #[error("it is encrypted and could not be opened")]
    NotOpened,
    /// No passphrase for storing it was given.
    #[error("no passphrase to protect it with was given")]
    NoNewPassphrase,
    /// An earlier block of the bundle is for the same key, but differs.
    #[error("the bundle holds the key {0} already, in another form")]
    Repeated(KeyId),
}

/// The result of an import.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ImportReport {
    /// The keys that are in the store now.
    pub imported: Vec<ImportedKey>,
    /// The blocks that were left out: always worth a message, also when others were imported.
    pub skipped: Vec<SkippedBlock>,
}

impl KeyStore {
    /// Exports keys as a bundle that `notary key import` and [`KeyStore::import`] read. Needs no passphrase.
    ///
    /// # Errors
    /// [`KeyStoreError::NotFound`] for an id that is not there.
    pub fn export(&self, selection: &KeySelection) -> Result<ExportedKeys, KeyStoreError> {
        let listing = self.list()?;
        let mut exported = ExportedKeys { pem: Zeroizing::default(), keys: Vec::new(), skipped: listing.skipped };
        // What is on a token does not come out of it.
        let files = || listing.keys.iter().filter(|key| key.has_file());
        let wanted: Vec<KeyId> = match selection {
            KeySelection::All => files().map(|key| key.id).collect(),
            KeySelection::Collections(guns) => {
                let belongs = |gun: &Option<Gun>| gun.as_ref().is_some_and(|gun| guns.contains(gun));
                files().filter(|key| belongs(&key.gun)).map(|key| key.id).collect()
            }
            KeySelection::Ids(ids) => ids.iter().copied().collect(),
        };
        for id in wanted {
            let Found { mut block, .. } = self.file_of(&id)?;
            let failed = |error: KeyFileError| KeyStoreError::Encryption { reason: error.to_string() };
            block.set_path(Some(&id.to_string())).map_err(failed)?;
            exported.pem.extend_from_slice(block.to_pem().as_bytes());
            exported.keys.push(id);
        }
        Ok(exported)
    }

    /// Imports the keys of a bundle, or a single key file in any form that is read.
    ///
    /// Encrypted keys that say their id stay encrypted as they are; encrypted keys that do not are opened to learn it (the
    /// reference leaves them out), and keys that are not encrypted are protected with a new passphrase. A key that is there
    /// already in another form is replaced only by one that was opened and is that key.
    ///
    /// # Errors
    /// [`KeyStoreError::NoKeys`] and [`KeyStoreError::BundleTooLarge`]; when the store cannot be written. What is wrong with
    /// single keys is in the report.
    pub fn import(
        &self,
        bundle: &[u8],
        defaults: &ImportDefaults,
        passphrases: &dyn PassphraseSource,
    ) -> Result<ImportReport, KeyStoreError> {
        self.import_as(bundle, defaults, Present::Replaced, passphrases)
    }

    /// As [`KeyStore::import`], but a key that is there stays as it is, with its passphrase and for what it is: the report
    /// says for what. So a root key of other collections cannot become the targets key of one.
    ///
    /// # Errors
    /// As [`KeyStore::import`].
    pub fn import_keeping(
        &self,
        bundle: &[u8],
        defaults: &ImportDefaults,
        passphrases: &dyn PassphraseSource,
    ) -> Result<ImportReport, KeyStoreError> {
        self.import_as(bundle, defaults, Present::Kept, passphrases)
    }

    fn import_as(
        &self,
        bundle: &[u8],
        defaults: &ImportDefaults,
        present: Present,
        passphrases: &dyn PassphraseSource,
    ) -> Result<ImportReport, KeyStoreError> {
        if bundle.len() > MAX_BUNDLE_BYTES {
            return Err(KeyStoreError::BundleTooLarge { limit: MAX_BUNDLE_BYTES });
        }
        let blocks = KeyFile::parse(bundle).map_err(|error| match error {
            KeyFileError::Empty => KeyStoreError::NoKeys,
            error => KeyStoreError::Malformed { path: BUNDLE.into(), reason: error.to_string() },
        })?;
        let mut report = ImportReport::default();
        let mut seen = BTreeSet::new();
        for (index, block) in blocks.into_blocks().into_iter().enumerate() {
            let imported = match Incoming::new(block, defaults) {
                Ok(incoming) => self.import_one(incoming, present, &mut seen, passphrases),
                Err(reason) => Err(Refused::Skip(reason)),
            };
            match imported {
                Ok(imported) => report.imported.push(imported),
                Err(Refused::Skip(reason)) => report.skipped.push(SkippedBlock { index, reason }),
                Err(Refused::Fail(error)) => return Err(error),
            }
        }
        Ok(report)
    }

    /// Puts the one key of a file on a token, which does not hand it out any more; whatever file of it there is stays.
    ///
    /// # Errors
    /// The file does not hold one private key that says or is told what it is for, or it was not opened;
    /// [`KeyStoreError::Token`]: then nothing is left of the key on the token, unless the error says so.
    pub fn import_to_token(
        &self,
        token: &str,
        file: &[u8],
        defaults: &ImportDefaults,
        passphrases: &dyn PassphraseSource,
    ) -> Result<ImportedKey, KeyStoreError> {
        let malformed = |reason: String| KeyStoreError::Malformed { path: BUNDLE.into(), reason };
        let block = file::parse_one(file).map_err(malformed)?;
        let Incoming { block, label, id: claimed } =
            Incoming::new(block, defaults).map_err(|reason| malformed(reason.to_string()))?;
        let (key, _) = open(&block, &label, claimed, passphrases)?;
        let id = key.public_key().canonical_id();
        if let Some(expected) = claimed.filter(|claimed| *claimed != id) {
            return Err(malformed(SkippedBlockReason::OtherKey { expected, actual: id }.to_string()));
        }
        self.put_on_token(token, &key, &label, passphrases)?;
        Ok(ImportedKey { id, label, addition: Addition::Added })
    }

    fn import_one(
        &self,
        incoming: Incoming,
        present: Present,
        seen: &mut BTreeSet<KeyId>,
        passphrases: &dyn PassphraseSource,
    ) -> Result<ImportedKey, Refused> {
        let Incoming { mut block, label, id: claimed } = incoming;
        file::describe(&mut block, label.role(), label.gun().map(Gun::as_str))
            .map_err(|error| Refused::Skip(SkippedBlockReason::Malformed(error.to_string())))?;
        let mut opened = None;
        let id = match claimed {
            Some(id) if block.is_encrypted() => id,
            _ => {
                let (key, passphrase) = open(&block, &label, claimed, passphrases)?;
                opened.insert((key, passphrase)).0.public_key().canonical_id()
            }
        };
        match claimed {
            Some(expected) if expected != id => {
                return Err(Refused::Skip(SkippedBlockReason::OtherKey { expected, actual: id }));
            }
            _ => {}
        }
        if let Some(label) = self.kept_label(present, &id)? {
            seen.insert(id);
            return Ok(ImportedKey { id, label, addition: Addition::AlreadyThere });
        }
        let there = self.look_up_for_import(&id)?;
        if there.as_ref().is_some_and(|there| there.as_slice() == block.to_pem().as_bytes()) {
            seen.insert(id);
            return Ok(ImportedKey { id, label, addition: Addition::AlreadyThere });
        }
        if !seen.insert(id) {
            return Err(Refused::Skip(SkippedBlockReason::Repeated(id)));
        }
        if there.is_some() && opened.is_none() {
            let (key, passphrase) = open(&block, &label, Some(id), passphrases)?;
            let actual = key.public_key().canonical_id();
            if actual != id {
                return Err(Refused::Skip(SkippedBlockReason::OtherKey { expected: id, actual }));
            }
            opened = Some((key, passphrase));
        }
        self.store_import(&block, opened, id, &label, passphrases)?;
        Ok(ImportedKey { id, label, addition: Addition::Added })
    }

    /// Returns what a key of the store is for that an import has to leave alone; a file that cannot be used is mended.
    fn kept_label(&self, present: Present, id: &KeyId) -> Result<Option<KeyLabel>, Refused> {
        if present == Present::Replaced {
            return Ok(None);
        }
        match self.find(id) {
            Ok(None) | Err(KeyStoreError::Malformed { .. }) => Ok(None),
            Ok(Some(entry)) => {
                let label = KeyLabel::new(&entry.role, entry.gun.as_ref());
                label.map(Some).map_err(|error| Refused::Skip(error.into()))
            }
            Err(error) => Err(error.into()),
        }
    }

    /// Writes an imported key: sealed anew if it was opened, as it came otherwise.
    fn store_import(
        &self,
        block: &KeyBlock,
        opened: Option<(PrivateKey, Option<Passphrase>)>,
        id: KeyId,
        label: &KeyLabel,
        passphrases: &dyn PassphraseSource,
    ) -> Result<(), Refused> {
        let store = |block: &KeyBlock| -> Result<(), KeyStoreError> {
            let lock = self.lock()?;
            write(&self.private(&lock)?, &id, block)?;
            self.opened().remove(&id);
            Ok(())
        };
        match opened {
            None => {
                let lock = self.lock().map_err(KeyStoreError::from)?;
                if self.look_up_for_import(&id)?.is_some() {
                    // Another process was faster; this block was not opened, so that it must not replace anything.
                    return Err(Refused::Skip(SkippedBlockReason::NotOpened));
                }
                write(&self.private(&lock).map_err(KeyStoreError::from)?, &id, block)?;
            }
            Some((key, Some(passphrase))) => store(&file::seal(&key, &passphrase, self.protection, label)?)?,
            Some((key, None)) => {
                opening::with_new_passphrase(label.role(), label.gun(), id, passphrases, |passphrase| {
                    store(&file::seal(&key, passphrase, self.protection, label)?)
                })?;
            }
        }
        Ok(())
    }

    /// Returns the content of the file that an import would replace; one that cannot be used counts as other content.
    fn look_up_for_import(&self, id: &KeyId) -> Result<Option<Zeroizing<Vec<u8>>>, KeyStoreError> {
        match self.look_up(id) {
            Ok(found) => Ok(found.map(|found| found.bytes)),
            Err(KeyStoreError::Malformed { .. }) => Ok(Some(Zeroizing::default())),
            Err(error) => Err(error),
        }
    }
}

/// A block of a bundle with its headers understood.
struct Incoming {
    block: KeyBlock,
    label: KeyLabel,
    id: Option<KeyId>,
}

enum Refused {
    Skip(SkippedBlockReason),
    Fail(KeyStoreError),
}

impl From<KeyStoreError> for Refused {
    fn from(error: KeyStoreError) -> Self {
        match error {
            KeyStoreError::PassphraseInvalid { .. } => Self::Skip(SkippedBlockReason::NotOpened),
            KeyStoreError::NoNewPassphrase { .. } => Self::Skip(SkippedBlockReason::NoNewPassphrase),
            KeyStoreError::Malformed { reason, .. } => Self::Skip(SkippedBlockReason::Malformed(reason)),
            error => Self::Fail(error),
        }
    }
}

impl Incoming {
    fn new(block: KeyBlock, defaults: &ImportDefaults) -> Result<Self, SkippedBlockReason> {
        let block = file::private(block).map_err(SkippedBlockReason::Malformed)?;
        let path = block.path().map(|path| path.split('/').collect::<Vec<_>>());
        // Historic bundles: `tuf_keys/<collection>/<id>`, `root_keys/<id>`.
        let (above, id) = match path.as_deref() {
            Some([above @ .., last]) => (above, Some(last.split_once('_').map_or(*last, |(id, _)| id))),
            Some([]) | None => (&[][..], None),
        };
        let from_path = match above {
            [first, gun @ ..] if *first == super::listing::OLD_OTHERS && !gun.is_empty() => Some(gun.join("/")),
            _ => None,
        };
        let named = from_path.or_else(|| block.gun().map(str::to_owned));
        let gun = match named {
            Some(text) => Some(Gun::parse(&text).map_err(|_| SkippedBlockReason::Collection(text))?),
            None => defaults.gun.clone(),
        };
        let role = match (block.role().unwrap_or_default(), &defaults.role) {
            ("", Some(role)) => role.as_str(),
            ("", None) => DEFAULT_ROLE,
            (role, _) => role,
        };
        let label = KeyLabel::new(role, gun.as_ref())?;
        let id = id.map(|text| text.parse().map_err(|_| SkippedBlockReason::Path(text.to_owned()))).transpose()?;
        Ok(Self { block, label, id })
    }
}

fn open(
    block: &KeyBlock,
    label: &KeyLabel,
    id: Option<KeyId>,
    passphrases: &dyn PassphraseSource,
) -> Result<(PrivateKey, Option<Passphrase>), KeyStoreError> {
    let of = Asked { role: label.role(), gun: label.gun(), id };
    opening::open(block, Path::new(BUNDLE), of, passphrases)
}
