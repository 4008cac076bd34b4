//! In place of tokens, where the program is built without PKCS#11.

use countersign_crypto::{Algorithm, PrivateKey, PublicKey, Signer};
use std::sync::Arc;

use super::{Record, TokenConfig, TokenError};
use crate::keys::KeyLabel;
use crate::passphrase::PassphraseSource;

/// The tokens that keys can be on: none.
#[derive(Debug, Clone, Default)]
pub struct Tokens;

/// A token that was opened: there is none.
#[derive(Debug)]
pub(super) enum Token {}

/// Somebody in a module: there is none.
#[derive(Debug)]
pub(super) enum Visit {}

impl Visit {
    pub(super) fn renew(self) -> super::Renewed {
        match self {}
    }

    pub(super) fn was_worth_it(&self) {
        match *self {}
    }
}

/// Enters no module.
pub(super) fn enter(_: &TokenConfig) -> Result<Visit, TokenError> {
    Err(TokenError::NotBuilt)
}

/// Opens no token.
pub(super) fn open_in(
    _: &Visit,
    _: &TokenConfig,
    _: Option<&super::TokenIdentity>,
    _: &dyn PassphraseSource,
) -> Result<Token, TokenError> {
    Err(TokenError::NotBuilt)
}

impl Tokens {
    /// Takes the tokens of the settings.
    #[must_use]
    pub fn new(configured: Vec<TokenConfig>) -> Self {
        drop(configured);
        Self
    }

    pub(super) fn open(&self, _: &str, _: &dyn PassphraseSource) -> Result<Arc<Token>, TokenError> {
        Err(TokenError::NotBuilt)
    }

    pub(super) fn holder(&self, _: &Record, _: &dyn PassphraseSource) -> Result<Arc<Token>, TokenError> {
        Err(TokenError::NotBuilt)
    }
}

impl Token {
    pub(super) fn identity(&self) -> super::TokenIdentity {
        match *self {}
    }

    pub(super) fn labelled(&self, _: &countersign_crypto::KeyId) -> Result<Option<(PublicKey, String)>, TokenError> {
        match *self {}
    }

    pub(super) fn is_of(&self, _: &Visit) -> bool {
        match *self {}
    }

    pub(super) fn is_there(&self) -> Result<(), TokenError> {
        match *self {}
    }

    pub(super) fn answers(&self) -> Result<(), TokenError> {
        match *self {}
    }

    pub(super) fn generate(&self, _: Algorithm, _: &str) -> Result<PublicKey, TokenError> {
        match *self {}
    }

    pub(super) fn import(&self, _: &PrivateKey, _: &KeyLabel) -> Result<(), TokenError> {
        match *self {}
    }

    pub(super) fn delete(&self, _: &countersign_crypto::KeyId) -> Result<(), TokenError> {
        match *self {}
    }

    pub(super) fn keys(&self) -> Result<Vec<(PublicKey, String)>, TokenError> {
        match *self {}
    }

    pub(super) fn signer(self: Arc<Self>, _: &PublicKey) -> Result<Arc<dyn Signer>, TokenError> {
        match *self {}
    }
}
