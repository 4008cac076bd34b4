//! Private keys of the trust directory as signers.

use countersign_crypto::{KeyId, Signer};
use countersign_tuf::{SignerSet, SignerUnavailable};
use countersign_vault::{KeyStore, PassphraseSource};
use std::sync::Arc;

/// The keys of a store, opened as they are needed.
pub(crate) struct StoredSigners<'a> {
    pub(crate) keys: &'a KeyStore,
    pub(crate) passphrases: &'a dyn PassphraseSource,
}

impl SignerSet for StoredSigners<'_> {
    fn signer(&self, id: &KeyId) -> Result<Option<Arc<dyn Signer>>, SignerUnavailable> {
        let unavailable =
            |source: countersign_vault::KeyStoreError| SignerUnavailable { id: *id, source: source.into() };
        if self.keys.find(id).map_err(unavailable)?.is_none() {
            return Ok(None);
        }
        self.keys.signer(id, self.passphrases).map(Some).map_err(unavailable)
    }
}
