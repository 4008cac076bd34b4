//! Rotation of the passphrase: every key is encrypted under another alias, one by one, while the service runs.

use std::time::Duration;

use countersign_crypto::{KeyId, SystemRandom};
use countersign_keyfile::jwe;
use countersign_storage::{
    Alias, EncryptedKey, PageSize, Resealed, Sealed, SigningKey, SigningKeyStore, SqliteSigningKeys, StoreError,
};

use crate::aliases::{self, AliasError, New};
use crate::keys::{KeyTrouble, open};
use crate::passphrases::Passphrases;

/// Keys that are read at once.
const PAGE: i64 = 100;
/// How often the store is gone through: again when the running service has changed something meanwhile.
const ROUNDS: u32 = 3;
/// How long a lock of the running service is waited for.
const PATIENCE: Duration = Duration::from_secs(20);

/// Says why the rotation did not begin or was broken off; what was sealed until then stays sealed under the new alias.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RotationError {
    /// There is no database in the data folder.
    #[error("there is no database of keys in {0}")]
    NoDatabase(std::path::PathBuf),
    /// Keys are made on tokens, not put there.
    #[error(
        "{0} is a token: a key that was outside stays outside; start the service with this alias, and have the keys rotated"
    )]
    ToToken(Alias),
    /// The database failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// Keys cannot be sealed under the new alias.
    #[error(transparent)]
    Alias(#[from] AliasError),
}

/// What a rotation did.
#[derive(Debug, Default)]
#[non_exhaustive]
pub struct Rotation {
    /// Keys that are under the new alias now.
    pub sealed: u64,
    /// Keys on tokens, which stay there.
    pub on_tokens: u64,
    /// Keys that are still under another one, and why.
    pub left: Vec<(KeyId, KeyTrouble)>,
}

/// Encrypts every key in a data folder under an alias; a running service goes on. A passphrase is made when there is none for
/// the alias.
///
/// # Errors
/// The database or the new passphrase cannot be used. Single keys that cannot be opened are in the result.
pub async fn rotate(
    data_dir: &std::path::Path,
    passphrases: &Passphrases,
    to: &Alias,
) -> Result<Rotation, RotationError> {
    let path = data_dir.join(crate::service::DATABASE);
    if to.token().is_some() {
        return Err(RotationError::ToToken(to.clone()));
    }
    if !path.is_file() {
        return Err(RotationError::NoDatabase(data_dir.to_owned()));
    }
    let store = SqliteSigningKeys::open(&path, PATIENCE).await?;
    aliases::prepare(&store, passphrases, to, New::IsMade).await?;
    let mut done = Rotation::default();
    for _ in 0..ROUNDS {
        done.left.clear();
        done.on_tokens = 0;
        let mut after = None;
        loop {
            let page = store.sealed_otherwise(to, after.as_ref(), PageSize::wished(PAGE)).await?;
            let Some(last) = page.last() else { break };
            after = Some(last.stored.key.id);
            for key in page {
                let id = key.stored.key.id;
                if key.stored.alias.token().is_some() {
                    done.on_tokens = done.on_tokens.saturating_add(1);
                    continue;
                }
                match reseal(&store, key, passphrases.clone(), to.clone()).await {
                    Ok(Resealed::Yes) => done.sealed += 1,
                    Ok(Resealed::ChangedSince) => {}
                    Err(KeyTrouble::Store(error)) => return Err(error.into()),
                    Err(trouble) => done.left.push((id, trouble)),
                }
            }
        }
        let rest = store.sealed_otherwise(to, None, PageSize::wished(PAGE)).await?;
        // More than a page of keys that stay hides the others; then the rounds are gone through to their end.
        let rest = rest.iter().filter(|key| key.stored.alias.token().is_none()).count();
        if rest <= done.left.len() {
            break;
        }
    }
    store.close().await;
    Ok(done)
}

async fn reseal(
    store: &dyn SigningKeyStore,
    key: SigningKey,
    passphrases: Passphrases,
    to: Alias,
) -> Result<Resealed, KeyTrouble> {
    let (id, from) = (key.stored.key.id, key.sealed());
    let sealing = tokio::task::spawn_blocking(move || {
        let private = open(&key, &passphrases)?;
        let passphrase = passphrases.get(&to)?;
        let text = jwe::seal_key(&private, passphrase.as_bytes(), &mut SystemRandom).map_err(KeyTrouble::NotSealed)?;
        // Opened once more before it replaces the old one: nothing else is left of the key then.
        let mut sealed = key;
        sealed.stored.key.private = EncryptedKey::new(text);
        sealed.stored.alias = to;
        open(&sealed, &passphrases)?;
        Ok::<Sealed, KeyTrouble>(sealed.sealed())
    });
    let sealed = sealing.await.map_err(|_| KeyTrouble::Busy)??;
    Ok(store.reseal(&id, &from, &sealed).await?)
}
