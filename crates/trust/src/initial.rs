//! Making a collection: its first root and targets, and the keys for them.

use crate::client::CollectionClient;
use crate::error::TrustError;
use crate::request_error::RequestError;
use crate::rotation::Holder;
use crate::signers::StoredSigners;
use countersign_crypto::certificate::{Certificate, CertificateBundle, Expiry, self_signed};
use countersign_crypto::{Algorithm, KeyId, KeyType, PublicKey, Signer};
use countersign_keyfile::KeyFile;
use countersign_tuf::editor::{BaseKeys, Editor, Initial, initialise};
use countersign_tuf::update::{Purpose, UpdateError};
use countersign_tuf::{Gun, RoleName};
use countersign_vault::{CacheUpdate, ImportDefaults, KeyLabel, SkippedKeyReason};
use jiff::Timestamp;
use std::sync::Arc;

/// What a new collection begins with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Beginning {
    /// The root keys, by id; with none the root key with the smallest id, and if there is none a new one.
    pub root_keys: Vec<KeyId>,
    /// The certificates of the root keys, in their order; with none each key certifies itself. Certificates without keys
    /// are for the keys of the store that they belong to.
    pub certificates: Vec<PublicKey>,
    /// Who holds the snapshot key.
    pub snapshot: Holder,
}

impl Beginning {
    /// Begins as docker does: this machine's root key, the service's snapshot key.
    #[must_use]
    pub fn docker() -> Self {
        Self { root_keys: Vec::new(), certificates: Vec::new(), snapshot: Holder::Service }
    }

    /// Begins as notary does: this machine's root key and a snapshot key of one's own.
    #[must_use]
    pub fn notary() -> Self {
        Self { snapshot: Holder::Client, ..Self::docker() }
    }
}

/// Reads a root certificate for a collection from a PEM file.
///
/// # Errors
/// The file holds no certificate, one that must not be used, or one for another collection.
pub fn read_root_certificate(pem: &[u8], gun: &Gun, now: Timestamp) -> Result<PublicKey, RequestError> {
    let bundle = CertificateBundle::parse(pem).map_err(RequestError::RootCertificate)?;
    let bundle = bundle.checked(now, Expiry::Enforced).map_err(RequestError::RootCertificate)?;
    check_name(bundle.leaf(), gun)?;
    let refused = |error: countersign_crypto::KeyError| RequestError::PublicKey(error.to_string());
    bundle.rebuilt_key().map_err(refused)
}

fn check_name(leaf: &Certificate, gun: &Gun) -> Result<(), RequestError> {
    let found = leaf.common_name().unwrap_or_default();
    let prefix = found.trim_end_matches('*');
    if found == gun.as_str() || (prefix.len() < found.len() && gun.as_str().starts_with(prefix)) {
        return Ok(());
    }
    Err(RequestError::CertificateName { gun: gun.clone(), found: found.to_owned() })
}

impl CollectionClient<'_> {
    /// Makes the first metadata of a collection and keeps it here, unpublished, as notary does; the next publication, by
    /// this program or notary, takes it to the service. Returns the ids of the root keys.
    ///
    /// # Errors
    /// The collection exists, here or at the service; the service does not give its keys; a key or certificate cannot be
    /// used. Nothing is kept then.
    pub async fn init(&self, beginning: &Beginning) -> Result<Vec<KeyId>, TrustError> {
        if self.local.has_any()? {
            return Err(RequestError::Initialised(self.gun().clone()).into());
        }
        match self.update(Purpose::Publish).await {
            Ok(_) => return Err(RequestError::Initialised(self.gun().clone()).into()),
            Err(TrustError::Update(UpdateError::NoTrustData(_))) => {}
            Err(error) => return Err(error),
        }
        let (initial, ids) = self.initialise(beginning).await?;
        let files = [(RoleName::Root, Some(initial.root)), (RoleName::Targets, Some(initial.targets))];
        let mut update = CacheUpdate::new();
        for (role, file) in files.into_iter().chain([(RoleName::Snapshot, initial.snapshot)]) {
            if let Some(file) = file {
                update = update.store(role, file.to_vec());
            }
        }
        let locked = self.local.lock()?;
        if locked.has_any()? {
            return Err(RequestError::Initialised(self.gun().clone()).into());
        }
        locked.commit(update)?;
        Ok(ids)
    }

    /// Returns the root key that a new collection gets if none is named: the one with the smallest id.
    ///
    /// # Errors
    /// There is none that can be used, but a file that may be one; the key store cannot be read.
    pub fn present_root_key(&self) -> Result<Option<KeyId>, TrustError> {
        self.known_key(&KeyLabel::root())
    }

    /// Takes a private key from a PEM file into the store, for a base role of this collection. It is kept under the
    /// passphrase that it came with, or a new one if it came without. One that is there already stays as it is.
    ///
    /// # Errors
    /// The file does not hold one private key, or a root key that is not encrypted; it could not be opened or kept; the
    /// store has it for another role.
    pub fn import_key(&self, role: &RoleName, pem: &[u8]) -> Result<KeyId, TrustError> {
        let refused = |error: &dyn std::fmt::Display| RequestError::PrivateKey(error.to_string());
        let mut block = KeyFile::parse_one(pem).map_err(|error| refused(&error))?;
        if *role == RoleName::Root && !block.is_encrypted() {
            return Err(RequestError::PlainRootKey.into());
        }
        let label = self.label(role)?;
        // The file's own words do not count, and its key is opened: it must be what it is taken for.
        for set in [block.set_path(None), block.set_role(Some(label.role())), block.set_gun(None)] {
            set.map_err(|error| refused(&error))?;
        }
        let defaults = ImportDefaults { role: Some(label.role().to_owned()), gun: Some(self.gun().clone()) };
        let report = self.keys.import_keeping(block.to_pem().as_bytes(), &defaults, self.passphrases)?;
        match (report.imported.first(), report.skipped.first()) {
            (Some(key), _) if key.label.role() == label.role() => Ok(key.id),
            (Some(key), _) => Err(RequestError::OtherRole { id: key.id, role: key.label.role().to_owned() }.into()),
            (None, skipped) => {
                let reason = skipped.map_or_else(|| "no key".to_owned(), |skipped| skipped.reason.to_string());
                Err(refused(&reason).into())
            }
        }
    }

    /// Begins a collection that the service does not know: with what a client left in the cache, else anew.
    pub(crate) async fn first_editor(&self) -> Result<Editor, TrustError> {
        let gun = self.gun();
        let read = |role: &RoleName| self.local.read(role);
        if let Some(root) = read(&RoleName::Root)? {
            if read(&RoleName::Timestamp)?.is_some() || self.local.read_seen()?.is_some() {
                return Err(TrustError::Vanished(gun.clone()));
            }
            let targets = read(&RoleName::Targets)?.map(Into::into);
            let snapshot = read(&RoleName::Snapshot)?.map(Into::into);
            return Ok(Editor::unpublished(gun, self.now, root.into(), targets, snapshot)?);
        }
        let beginning = Beginning { snapshot: self.new_snapshot, ..Beginning::docker() };
        let (Initial { root, targets, snapshot }, _) = self.initialise(&beginning).await?;
        Ok(Editor::unpublished(gun, self.now, root, Some(targets), snapshot)?)
    }

    /// Makes root and targets with root keys of this machine, its targets key for this collection (of several the one with
    /// the smallest id) or a new one, and the service's keys for the rest. Nothing is kept but the keys.
    async fn initialise(&self, beginning: &Beginning) -> Result<(Initial, Vec<KeyId>), TrustError> {
        // The service is asked first: if it is away, no key is made in vain.
        let timestamp = self.service.key(&RoleName::Timestamp).await?;
        let served = match beginning.snapshot {
            Holder::Service => Some(self.service.key(&RoleName::Snapshot).await?),
            Holder::Client => None,
        };
        let root = self.root_certificates(beginning)?;
        let targets = self.own_key(&self.label(&RoleName::Targets)?)?.public_key().clone();
        let snapshot = match served {
            Some(key) => key,
            None => self.own_key(&self.label(&RoleName::Snapshot)?)?.public_key().clone(),
        };
        let signers = StoredSigners { keys: &self.keys, passphrases: self.passphrases };
        let ids = root.iter().map(PublicKey::canonical_id).collect();
        Ok((initialise(BaseKeys { root, targets, snapshot, timestamp }, self.now, &signers)?, ids))
    }

    fn root_certificates(&self, beginning: &Beginning) -> Result<Vec<PublicKey>, TrustError> {
        let Beginning { root_keys, certificates, .. } = beginning;
        if root_keys.is_empty() && certificates.is_empty() {
            return Ok(vec![self.certified(&*self.own_key(&KeyLabel::root())?)?]);
        }
        let ids = if root_keys.is_empty() {
            certificates.iter().map(PublicKey::canonical_id).collect()
        } else {
            root_keys.clone()
        };
        if certificates.is_empty() {
            return ids.iter().map(|id| self.certified(&*self.root_key(id)?)).collect();
        }
        let belong = ids.iter().zip(certificates).all(|(id, certificate)| certificate.canonical_id() == *id);
        if ids.len() != certificates.len() || !belong {
            let id = ids.iter().zip(certificates).find(|(id, key)| key.canonical_id() != **id);
            let id = id.map(|(id, _)| *id).or_else(|| ids.last().copied());
            return Err(RequestError::CertificateKey(id.unwrap_or_else(|| KeyId::from_bytes([0; 32]))).into());
        }
        for id in &ids {
            self.root_key(id)?;
        }
        Ok(certificates.clone())
    }

    pub(crate) fn root_key(&self, id: &KeyId) -> Result<Arc<dyn Signer>, TrustError> {
        match self.keys.find(id)? {
            Some(entry) if entry.role == RoleName::Root.as_str() => Ok(self.keys.signer(id, self.passphrases)?),
            _ => Err(RequestError::NoRootKey(*id).into()),
        }
    }

    /// Makes a certificate for this collection with a root key.
    pub(crate) fn certified(&self, key: &dyn Signer) -> Result<PublicKey, TrustError> {
        let making = |error: &dyn std::fmt::Display| TrustError::Making(error.to_string());
        let pem = self_signed(self.gun().as_str(), key, self.now).map_err(|error| making(&error))?;
        let bundle = CertificateBundle::parse(pem.as_ref()).map_err(|error| making(&error))?;
        let certified = bundle.rebuilt_key().map_err(|error| making(&error))?;
        match certified.key_type() {
            KeyType::EcdsaX509 | KeyType::RsaX509 => Ok(certified),
            other => Err(making(&format!("a root key must be ECDSA or RSA, not {other}"))),
        }
    }

    /// Opens this machine's key for a purpose, the one with the smallest id as docker does; makes one if there is none.
    pub(crate) fn own_key(&self, label: &KeyLabel) -> Result<Arc<dyn Signer>, TrustError> {
        match self.known_key(label)? {
            Some(id) => Ok(self.keys.signer(&id, self.passphrases)?),
            None => self.make_key(label),
        }
    }

    /// Finds this machine's key for a purpose. Where there is none, a file that cannot be read may be it.
    fn known_key(&self, label: &KeyLabel) -> Result<Option<KeyId>, TrustError> {
        let listing = self.keys.list()?;
        let known = listing.keys.iter().find(|entry| entry.role == label.role() && entry.gun.as_ref() == label.gun());
        let may_be_it = |reason: &SkippedKeyReason| {
            label.role() == RoleName::Root.as_str()
                && !matches!(reason, SkippedKeyReason::Name | SkippedKeyReason::Duplicate)
        };
        match (known, listing.skipped.into_iter().find(|skipped| may_be_it(&skipped.reason))) {
            (Some(entry), _) => Ok(Some(entry.id)),
            (None, Some(skipped)) => Err(TrustError::UnusableKeyFile { path: skipped.path, reason: skipped.reason }),
            (None, None) => Ok(None),
        }
    }

    /// Makes a new key and keeps it where the store's new keys are kept.
    pub(crate) fn make_key(&self, label: &KeyLabel) -> Result<Arc<dyn Signer>, TrustError> {
        Ok(self.keys.make(Algorithm::EcdsaP256, label, self.passphrases)?)
    }

    /// Labels a key for a base role of this collection.
    pub(crate) fn label(&self, role: &RoleName) -> Result<KeyLabel, TrustError> {
        KeyLabel::new(role.as_str(), Some(self.gun())).map_err(|error| TrustError::Making(error.to_string()))
    }
}
