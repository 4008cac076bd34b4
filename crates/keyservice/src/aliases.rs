//! Under which alias keys may be sealed: under one whose passphrase opens the keys that are under it already.

use countersign_storage::{Alias, SigningKey, SigningKeyStore, StoreError};

use crate::keys::{KeyTrouble, hold};
use crate::passphrases::{PassphraseError, Passphrases};
use crate::tokens::KeyTokens;

/// Says why no key may be sealed under an alias.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AliasError {
    /// The database failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A passphrase is not at hand.
    #[error(transparent)]
    Passphrase(#[from] PassphraseError),
    /// The passphrase is another than that of the keys that there are.
    #[error(
        "the passphrase for the alias {alias} that this command finds opens none of the keys under it: it may be the passphrase \
         of another alias or signer, or the service has its own elsewhere; nothing was changed"
    )]
    AnotherPassphrase {
        /// The alias.
        alias: Alias,
        /// Why a key cannot be opened.
        #[source]
        source: Box<KeyTrouble>,
    },
    /// The running service has a passphrase that this command does not see.
    #[error(
        "a service is running on this folder, and its passphrase for the alias {0} is not here: run this command in the \
         service's environment, or with its --passphrase-file; nothing was changed"
    )]
    ServiceHasIt(Alias),
}

/// Who may have a passphrase for an alias that no key is under.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum New {
    /// Nobody: one is made where every service looks.
    IsMade,
    /// A service that runs, in its environment.
    IsTheServices,
}

/// Sees to it that keys can be sealed under an alias, and opened by whoever opens those that are under it; makes a passphrase for
/// an alias that no key is under.
pub(crate) async fn prepare(
    store: &dyn SigningKeyStore,
    passphrases: &Passphrases,
    alias: &Alias,
    new: New,
) -> Result<(), AliasError> {
    let keys = store.some_of_each_alias().await?;
    let keys: Vec<_> = keys.into_iter().filter(|key| key.stored.alias == *alias).collect();
    if keys.is_empty() {
        let _ = match new {
            New::IsMade => passphrases.get_or_make(alias)?,
            New::IsTheServices => match passphrases.get(alias) {
                Err(PassphraseError::Missing { .. }) => return Err(AliasError::ServiceHasIt(alias.clone())),
                found => found?,
            },
        };
        return Ok(());
    }
    // A missing passphrase of keys that there are is not replaced by a new one.
    passphrases.get(alias)?;
    open_one(&keys, passphrases, &KeyTokens::default())
        .await
        .map_err(|source| AliasError::AnotherPassphrase { alias: alias.clone(), source: Box::new(source) })
}

/// Opens one of the keys under an alias: that one opens shows that the passphrase is right, whatever is wrong with another row.
pub(crate) async fn open_one(
    of_alias: &[SigningKey],
    passphrases: &Passphrases,
    tokens: &KeyTokens,
) -> Result<(), KeyTrouble> {
    let mut opened = Ok(());
    for key in of_alias {
        let (id, alias) = (key.stored.key.id, &key.stored.alias);
        let (key, passphrases, tokens) = (key.clone(), passphrases.clone(), tokens.clone());
        let opening = tokio::task::spawn_blocking(move || hold(&key, &passphrases, &tokens).map(drop));
        opened = opening.await.unwrap_or(Err(KeyTrouble::Busy));
        match &opened {
            Ok(()) => break,
            Err(source) => tracing::error!(%alias, %id, %source, "a key cannot be used"),
        }
    }
    opened
}
