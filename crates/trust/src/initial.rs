//! The first publication of a collection.

use crate::client::CollectionClient;
use crate::error::TrustError;
use crate::signers::StoredSigners;
use countersign_crypto::certificate::CertificateBundle;
use countersign_crypto::certificate::self_signed;
use countersign_crypto::{Algorithm, KeyType, PrivateKey, PublicKey};
use countersign_tuf::RoleName;
use countersign_tuf::editor::{BaseKeys, Editor, Initial, initialise};
use countersign_vault::KeyLabel;
use std::sync::Arc;

impl CollectionClient<'_> {
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
        let Initial { root, targets } = self.initialise().await?;
        Ok(Editor::unpublished(gun, self.now, root, Some(targets), None)?)
    }

    /// Makes root and targets with a root key of this machine, its targets key for this collection (of several the one with
    /// the smallest id) or a new one, and the service's keys for the rest. Nothing is kept but the keys: the first verified
    /// view is the anchor.
    async fn initialise(&self) -> Result<Initial, TrustError> {
        // The service is asked first: if it is away, no key is made in vain.
        let timestamp = self.service.key(&RoleName::Timestamp).await?;
        let snapshot = self.service.key(&RoleName::Snapshot).await?;
        let root = self.root_certificate()?;
        let label = KeyLabel::new(RoleName::Targets.as_str(), Some(self.gun()));
        let targets = self.own_key(&label.map_err(|error| TrustError::Making(error.to_string()))?)?;
        let targets = targets.public_key().clone();
        let signers = StoredSigners { keys: &self.keys, passphrases: self.passphrases };
        Ok(initialise(BaseKeys { root: vec![root], targets, snapshot, timestamp }, self.now, &signers)?)
    }

    /// Makes a certificate for this collection with the root key.
    fn root_certificate(&self) -> Result<PublicKey, TrustError> {
        let making = |error: &dyn std::fmt::Display| TrustError::Making(error.to_string());
        let key = self.own_key(&KeyLabel::root())?;
        let pem = self_signed(self.gun().as_str(), &key, self.now).map_err(|error| making(&error))?;
        let bundle = CertificateBundle::parse(pem.as_ref()).map_err(|error| making(&error))?;
        let certified = bundle.rebuilt_key().map_err(|error| making(&error))?;
        match certified.key_type() {
            KeyType::EcdsaX509 | KeyType::RsaX509 => Ok(certified),
            other => Err(making(&format!("a root key must be ECDSA or RSA, not {other}"))),
        }
    }

    /// Opens this machine's key for a purpose, the one with the smallest id as docker does; makes one if there is none.
    fn own_key(&self, label: &KeyLabel) -> Result<Arc<PrivateKey>, TrustError> {
        let listing = self.keys.list()?;
        let known = listing.keys.iter().find(|entry| entry.role == label.role() && entry.gun.as_ref() == label.gun());
        if let Some(entry) = known {
            return Ok(self.keys.load(&entry.id, self.passphrases)?);
        }
        let key = PrivateKey::generate(Algorithm::EcdsaP256).map_err(|error| TrustError::Making(error.to_string()))?;
        self.keys.add(&key, label, self.passphrases)?;
        Ok(Arc::new(key))
    }
}
