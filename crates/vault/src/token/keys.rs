//! Keys on tokens as keys of the store.

use std::sync::Arc;

use countersign_crypto::{Algorithm, KeyId, PrivateKey, PublicKey, Signer};
use jiff::Timestamp;

use super::{Record, TokenError, label_text, read_label};
use crate::folder::Removal;
use crate::keys::{Addition, KeyLabel, KeyStore, KeyStoreError};
use crate::passphrase::PassphraseSource;

/// Where new keys are made.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum NewKeyPlace {
    /// In a file of the trust directory.
    #[default]
    Directory,
    /// On the token with this name.
    Token(String),
}

/// A key that was found on a token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Adopted {
    /// Its id.
    pub id: KeyId,
    /// What it is for; none if its label does not say, and then it was not taken up.
    pub label: Option<KeyLabel>,
    /// Whether the trust directory knows it only now.
    pub addition: Addition,
}

impl KeyStore {
    /// Chooses where keys are made from now on.
    #[must_use]
    pub fn making_keys(mut self, place: NewKeyPlace) -> Self {
        self.place = place;
        self
    }

    /// Returns where keys are made.
    #[must_use]
    pub fn new_key_place(&self) -> &NewKeyPlace {
        &self.place
    }

    /// Makes a key on a token, which does not hand it out.
    ///
    /// # Errors
    /// [`TokenError`]; then nothing is left of the key, unless the error says so.
    pub(crate) fn make_on_token(
        &self,
        token: &str,
        algorithm: Algorithm,
        label: &KeyLabel,
        passphrases: &dyn PassphraseSource,
    ) -> Result<Arc<dyn Signer>, KeyStoreError> {
        let token = self.tokens().open(token, passphrases)?;
        let public_key = token.generate(algorithm, &label_text(label))?;
        let record = Record { label: label.clone(), public_key, token: token.identity(), since: Timestamp::now() };
        if let Err(error) = record.write(&self.directory) {
            token.delete(&record.id())?;
            return Err(error);
        }
        Ok(token.signer(&record.public_key)?)
    }

    /// Puts a private key on a token. A file of the key, if there is one, stays where it is.
    ///
    /// # Errors
    /// [`TokenError`]; then nothing is left of the key on the token, unless the error says so.
    pub fn put_on_token(
        &self,
        token: &str,
        key: &PrivateKey,
        label: &KeyLabel,
        passphrases: &dyn PassphraseSource,
    ) -> Result<(), KeyStoreError> {
        let token = self.tokens().open(token, passphrases)?;
        token.import(key, label)?;
        let public_key = key.public_key().clone();
        let record = Record { label: label.clone(), public_key, token: token.identity(), since: Timestamp::now() };
        if let Err(error) = record.write(&self.directory) {
            token.delete(&record.id())?;
            return Err(error);
        }
        Ok(())
    }

    /// Takes up the keys of ours that a token holds: made for another trust directory, or known to one that was lost. `label`
    /// is what a key is for whose own label does not say so.
    ///
    /// # Errors
    /// [`TokenError`]; when a record cannot be written.
    pub fn adopt(
        &self,
        token: &str,
        label: Option<&KeyLabel>,
        passphrases: &dyn PassphraseSource,
    ) -> Result<Vec<Adopted>, KeyStoreError> {
        let token = self.tokens().open(token, passphrases)?;
        let mut adopted = Vec::new();
        for (public_key, text) in token.keys()? {
            let id = public_key.canonical_id();
            let Some(label) = read_label(&text).or_else(|| label.cloned()) else {
                adopted.push(Adopted { id, label: None, addition: Addition::AlreadyThere });
                continue;
            };
            let record = Record { label: label.clone(), public_key, token: token.identity(), since: Timestamp::now() };
            let known = matches!(Record::find(&self.directory, &id), Ok(Some(found)) if found.is_same(&record));
            if !known {
                record.write(&self.directory)?;
            }
            let addition = if known { Addition::AlreadyThere } else { Addition::Added };
            adopted.push(Adopted { id, label: Some(label), addition });
        }
        Ok(adopted)
    }

    /// Deletes a key on its token for good; its file, if it has one, stays.
    ///
    /// # Errors
    /// When the token cannot be used. A key that its token has lost is only forgotten.
    pub fn delete_on_token(&self, id: &KeyId, passphrases: &dyn PassphraseSource) -> Result<Removal, KeyStoreError> {
        let Some(record) = self.record(id)? else { return Ok(Removal::Absent) };
        match self.tokens().holder(&record, passphrases).and_then(|token| token.delete(id)) {
            Ok(()) | Err(TokenError::NoKey { .. }) => {}
            Err(error) => return Err(error.into()),
        }
        Record::remove(&self.directory, id)?;
        Ok(Removal::Removed)
    }

    /// Forgets a key on a token; the token keeps it.
    ///
    /// # Errors
    /// When the record cannot be removed.
    pub fn forget(&self, id: &KeyId) -> Result<Removal, KeyStoreError> {
        Ok(Record::remove(&self.directory, id)?)
    }

    /// Returns the public half of a key on a token, as the trust directory knows it.
    ///
    /// # Errors
    /// When what is noted of the key cannot be read.
    pub fn public_key_on_token(&self, id: &KeyId) -> Result<Option<PublicKey>, KeyStoreError> {
        Ok(self.record(id)?.map(|record| record.public_key))
    }

    pub(crate) fn record(&self, id: &KeyId) -> Result<Option<Record>, KeyStoreError> {
        Record::find(&self.directory, id)
    }

    /// Makes a key on a token ready to sign.
    pub(crate) fn token_signer(
        &self,
        record: &Record,
        passphrases: &dyn PassphraseSource,
    ) -> Result<Arc<dyn Signer>, KeyStoreError> {
        Ok(self.tokens().holder(record, passphrases)?.signer(&record.public_key)?)
    }
}
