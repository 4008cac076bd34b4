//! The keys: made on demand, opened when needed, each bound to one collection and role.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use countersign_crypto::digest::sha256;
use countersign_crypto::{Algorithm, KeyId, KeyType, PrivateKey, PrivateKeyError, PublicKey, Signer, SystemRandom};
use countersign_keyfile::{KeyFileError, jwe};
use countersign_signer_rpc::{Caller, KeyDescription, KeyRequest, Made, Refusal, SignRequest, Signed, SigningService};
use countersign_storage::{
    Alias, EncryptedKey, NewServiceKey, NewSigningKey, PendingKeyError, PendingLimits, ServiceRole, SigningKey,
    SigningKeyStore, StoreError,
};
use countersign_tuf::{Gun, RoleName};
use countersign_vault::TokenError;
use jiff::{SignedDuration, Timestamp};
use moka::sync::Cache;
use serde::Deserialize;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::audit::{About, Audit, AuditError, By, Event};
use crate::binding::bind;
use crate::config::{Clock, Limits};
use crate::passphrases::{PassphraseError, Passphrases};
use crate::tokens::{Held, KeyTokens, OnToken};

/// Decrypted keys kept in memory.
const KEYS_IN_MEMORY: u64 = 10_000;
/// How exactly the time of last use is recorded; the first use is recorded at once.
const USE_PRECISION: SignedDuration = SignedDuration::from_hours(24);

/// Says why a key could not be had (the service's own trouble).
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum KeyTrouble {
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// No more keys may wait for their first use, or the store failed.
    #[error(transparent)]
    Pending(#[from] PendingKeyError),
    /// A passphrase is not at hand.
    #[error(transparent)]
    Passphrase(#[from] PassphraseError),
    /// The audit log cannot be written.
    #[error(transparent)]
    Audit(#[from] AuditError),
    /// The passphrase is another, or the private key is damaged.
    #[error("the private key {id} cannot be opened with the passphrase for the alias {alias}")]
    Sealed {
        /// The key.
        id: KeyId,
        /// The alias in its row.
        alias: Alias,
        /// Why not.
        #[source]
        source: KeyFileError,
    },
    /// The row was changed by somebody else.
    #[error("the row of the private key {id} is not what this service wrote: somebody has changed the database")]
    Changed {
        /// The key.
        id: KeyId,
    },
    /// A key could not be made.
    #[error("a key could not be made")]
    NotMade(#[from] PrivateKeyError),
    /// A key could not be encrypted.
    #[error("a key could not be encrypted")]
    NotSealed(#[source] KeyFileError),
    /// The token did not do it.
    #[error(transparent)]
    Token(#[from] TokenError),
    /// A key is on a token that the settings do not name.
    #[error("keys under the alias {0} are on a token that the settings do not name: --token NAME=pkcs11:…")]
    NoToken(Alias),
    /// Too many wait, or the work was broken off.
    #[error("the service is busy")]
    Busy,
}

/// What [`Keys`] are made of.
pub(crate) struct Parts {
    pub(crate) store: Arc<dyn SigningKeyStore>,
    pub(crate) passphrases: Passphrases,
    pub(crate) tokens: KeyTokens,
    pub(crate) alias: Alias,
    pub(crate) clock: Clock,
    pub(crate) limits: Limits,
    pub(crate) audit: Audit,
}

/// All keys.
#[derive(Clone)]
pub(crate) struct Keys {
    parts: Arc<Parts>,
    opened: Cache<KeyId, Arc<OpenedKey>>,
    /// Those who ask for keys of invented collections must not keep signers waiting.
    making: Arc<Semaphore>,
    opening: Arc<Semaphore>,
}

/// A key that can sign.
struct OpenedKey {
    key: Held,
    gun: Gun,
    role: ServiceRole,
    last_used: Mutex<Option<Timestamp>>,
}

impl Keys {
    pub(crate) fn new(parts: Parts) -> Self {
        let processors = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        Self {
            parts: Arc::new(parts),
            opened: Cache::new(KEYS_IN_MEMORY),
            making: Arc::new(Semaphore::new(1)),
            opening: Arc::new(Semaphore::new(processors)),
        }
    }

    async fn make(&self, request: &KeyRequest, role: ServiceRole) -> Result<SigningKey, KeyTrouble> {
        let algorithm = &request.algorithm;
        if let Some(found) = self.parts.store.pending(&request.gun, role, algorithm).await? {
            // Handed out again only while it can be opened: otherwise it would become the key of a collection for nothing.
            match self.open(found.clone()).await {
                Ok(_) => return Ok(found),
                // It has not signed, and it never will: its token has it no more.
                Err(KeyTrouble::Token(TokenError::NoKey { .. })) => {
                    self.parts.store.delete(&found.stored.key.id, self.parts.clock.now()).await?;
                }
                Err(trouble) => return Err(trouble),
            }
        }
        if self.parts.alias.token().is_some() {
            return self.make_on_token(request, role).await;
        }
        let permit = self.permit(&self.making).await?;
        let (passphrases, alias) = (self.parts.passphrases.clone(), self.parts.alias.clone());
        let (gun, kind) = (request.gun.clone(), of_key_type(algorithm).ok_or(KeyTrouble::Busy)?);
        let made = tokio::task::spawn_blocking(move || {
            let _permit = permit;
            seal_new(&passphrases, alias, gun, role, kind)
        });
        let made = made.await.map_err(|_| KeyTrouble::Busy)??;
        let limits = PendingLimits { count: self.parts.limits.pending_keys, keep: self.parts.limits.pending_key_age };
        Ok(self.parts.store.insert(made, limits, self.parts.clock.now()).await?)
    }

    /// Makes a key on a token and stores what is known of it; nothing is left on the token of a key that was not stored.
    async fn make_on_token(&self, request: &KeyRequest, role: ServiceRole) -> Result<SigningKey, KeyTrouble> {
        let _making = self.permit(&self.making).await?;
        let alias = self.parts.alias.clone();
        let (gun, kind) = (request.gun.clone(), of_key_type(&request.algorithm).ok_or(KeyTrouble::Busy)?);
        let made = self.on_token(&self.parts.alias, move |tokens| tokens.make(&alias, gun, role, kind)).await?;
        // None gives way here: what would be left of it on the token would fill it for nothing.
        let limits = PendingLimits { count: self.parts.limits.pending_keys, keep: SignedDuration::MAX };
        let id = made.key.id;
        let stored = self.parts.store.insert(made, limits, self.parts.clock.now()).await;
        if stored.as_ref().is_ok_and(|stored| stored.stored.key.id == id) {
            return Ok(stored?);
        }
        let alias = self.parts.alias.clone();
        if let Err(error) = self.on_token(&self.parts.alias, move |tokens| tokens.delete(&alias, &id)).await {
            tracing::error!(%error, key = %id, "a key that no collection has is left on the token");
        }
        Ok(stored?)
    }

    /// Asks a token; those who wait for it keep no thread, and nobody who does not need it waits for them.
    async fn on_token<T: Send + 'static>(
        &self,
        alias: &Alias,
        work: impl FnOnce(&KeyTokens) -> Result<T, KeyTrouble> + Send + 'static,
    ) -> Result<T, KeyTrouble> {
        let permit = self.permit(&self.parts.tokens.permits(alias)?).await?;
        let tokens = self.parts.tokens.clone();
        let asking = tokio::task::spawn_blocking(move || {
            let _permit = permit;
            work(&tokens)
        });
        asking.await.map_err(|_| KeyTrouble::Busy)?
    }

    /// Returns the opened key; none when there is no such key.
    async fn find(&self, id: &KeyId) -> Result<Option<Arc<OpenedKey>>, KeyTrouble> {
        if let Some(opened) = self.opened.get(id) {
            return Ok(Some(opened));
        }
        let Some(found) = self.parts.store.signing_key(id).await? else { return Ok(None) };
        let opened = self.open(found).await?;
        self.opened.insert(*id, Arc::clone(&opened));
        // Opening takes a while: somebody may have deleted it, or made room with it, before it was put where it is found.
        if self.parts.store.signing_key(id).await?.is_none() {
            self.opened.invalidate(id);
            return Ok(None);
        }
        Ok(Some(opened))
    }

    async fn open(&self, found: SigningKey) -> Result<Arc<OpenedKey>, KeyTrouble> {
        let (gun, role) = (found.stored.key.gun.clone(), found.stored.key.role);
        let last_used = Mutex::new(found.last_used);
        let alias = found.stored.alias.clone();
        let key = if alias.token().is_some() {
            Held::OnToken(self.on_token(&alias, move |tokens| tokens.open(&found)).await?)
        } else {
            let permit = self.permit(&self.opening).await?;
            let passphrases = self.parts.passphrases.clone();
            let opening = tokio::task::spawn_blocking(move || {
                let _permit = permit;
                open(&found, &passphrases)
            });
            Held::Here(Box::new(opening.await.map_err(|_| KeyTrouble::Busy)??))
        };
        Ok(Arc::new(OpenedKey { key, gun, role, last_used }))
    }

    async fn sign_on_token(&self, key: &OnToken, message: Vec<u8>) -> Result<Vec<u8>, KeyTrouble> {
        let signing = key.clone();
        self.on_token(key.alias(), move |_| Ok(signing.sign(&message)?)).await
    }

    /// Records that a key is about to sign, so that it counts as pending no more; tells whether it is still there.
    async fn mark_used(&self, id: &KeyId, opened: &OpenedKey) -> Result<bool, KeyTrouble> {
        let now = self.parts.clock.now();
        let recently = |last: &Timestamp| now.duration_since(*last) < USE_PRECISION;
        if lock(&opened.last_used).as_ref().is_some_and(recently) {
            return Ok(true);
        }
        if !self.parts.store.mark_used(id, now).await? {
            // What waited for its first use has given way to another.
            self.opened.invalidate(id);
            return Ok(false);
        }
        *lock(&opened.last_used) = Some(now);
        Ok(true)
    }

    /// Deletes a key from the token that it is on, if it is on one: first there, so that none is left that no row knows.
    async fn leave_token(&self, id: &KeyId) -> Result<(), KeyTrouble> {
        let Some(found) = self.parts.store.signing_key(id).await? else { return Ok(()) };
        if found.stored.alias.token().is_none() {
            return Ok(());
        }
        let alias = found.stored.alias.clone();
        self.on_token(&alias, move |tokens| match tokens.open(&found) {
            Ok(key) => Ok(key.delete()?),
            Err(KeyTrouble::Token(TokenError::NoKey { .. })) => Ok(()),
            Err(trouble) => Err(trouble),
        })
        .await
    }

    async fn permit(&self, permits: &Arc<Semaphore>) -> Result<OwnedSemaphorePermit, KeyTrouble> {
        match tokio::time::timeout(self.parts.limits.patience, Arc::clone(permits).acquire_owned()).await {
            Ok(Ok(permit)) => Ok(permit),
            _ => Err(KeyTrouble::Busy),
        }
    }

    /// Tells whether the passphrase, or the token, for new keys is at hand.
    async fn may_make(&self) -> bool {
        if self.parts.alias.token().is_none() {
            return self.parts.passphrases.get(&self.parts.alias).is_ok();
        }
        let alias = self.parts.alias.clone();
        match self.on_token(&self.parts.alias, move |tokens| tokens.health(&alias)).await {
            Ok(()) => true,
            Err(error) => {
                tracing::error!(%error, "the token is not healthy");
                false
            }
        }
    }

    fn record(&self, caller: &Caller, event: Event, about: About<'_>) -> Result<(), KeyTrouble> {
        Ok(self.parts.audit.record(self.parts.clock.now(), By::Caller(caller), event, about)?)
    }

    /// Logs what went wrong, and returns what the caller is told.
    fn refuse(&self, caller: &Caller, doing: &'static str, key: Option<KeyId>, refusal: Refusal) -> Refusal {
        let about = About { key, reason: Some(format!("{doing}: {refusal}")), ..About::default() };
        match self.record(caller, Event::Refuse, about) {
            Ok(()) => refusal,
            Err(trouble) => in_trouble(doing, &trouble, refusal),
        }
    }
}

impl Keys {
    async fn create_key(&self, caller: &Caller, request: KeyRequest) -> Result<Made, Refusal> {
        let refuse = |refusal| self.refuse(caller, "create", None, refusal);
        if of_key_type(&request.algorithm).is_none() {
            return Err(refuse(Refusal::Algorithm(request.algorithm.as_str().to_owned())));
        }
        let role = match request.role {
            RoleName::Snapshot => ServiceRole::Snapshot,
            RoleName::Timestamp => ServiceRole::Timestamp,
            other => return Err(refuse(Refusal::Role(other.as_str().to_owned()))),
        };
        let key = match self.make(&request, role).await {
            Ok(key) => key.stored.key,
            Err(KeyTrouble::Pending(PendingKeyError::TooMany { .. })) => {
                return Err(refuse(Refusal::Exhausted("too many keys wait for their first use")));
            }
            Err(trouble) => return Err(in_trouble("create", &trouble, Refusal::NotMade)),
        };
        let (gun, role) = (Some(key.gun.as_str()), Some(role.as_str()));
        let about = About { key: Some(key.id), gun, role, ..About::default() };
        self.record(caller, Event::Create, about)
            .map_err(|trouble| in_trouble("create", &trouble, Refusal::NotMade))?;
        Ok(Made { id: key.id, public: PublicKey::new(key.algorithm, key.public) })
    }

    /// First a line is written, then the key goes from its token, if it is on one, then its row is marked: wherever that is
    /// broken off, it can be repeated.
    async fn delete_key(&self, caller: &Caller, key: &KeyId) -> Result<(), Refusal> {
        let now = self.parts.clock.now();
        let failed = |trouble: KeyTrouble| in_trouble("delete", &trouble, Refusal::NotSigned);
        self.record(caller, Event::Delete, About { key: Some(*key), ..About::default() }).map_err(failed)?;
        self.leave_token(key).await.map_err(failed)?;
        let deleted = self.parts.store.delete(key, now).await;
        self.opened.invalidate(key);
        deleted.map(drop).map_err(|error| failed(error.into()))
    }
}

#[async_trait]
impl SigningService for Keys {
    async fn create(&self, caller: &Caller, request: KeyRequest) -> Result<Made, Refusal> {
        let (keys, caller) = (self.clone(), caller.clone());
        to_the_end(async move { keys.create_key(&caller, request).await }, Refusal::NotMade).await
    }

    async fn describe(&self, caller: &Caller, key: &KeyId, gun: Option<&Gun>) -> Result<KeyDescription, Refusal> {
        // The row's public part counts only when the private one vouches for it.
        let no_key = || Refusal::NoKey(key.to_string());
        match self.find(key).await {
            // Another collection's key is, for this one, no key.
            Ok(Some(opened)) if gun.is_none_or(|gun| *gun == opened.gun) => {
                let role = match opened.role {
                    ServiceRole::Snapshot => RoleName::Snapshot,
                    ServiceRole::Timestamp => RoleName::Timestamp,
                };
                Ok(KeyDescription { public: opened.key.public_key().clone(), role, gun: opened.gun.clone() })
            }
            Ok(_) => Err(self.refuse(caller, "describe", Some(*key), no_key())),
            Err(trouble) => Err(in_trouble("describe", &trouble, no_key())),
        }
    }

    async fn delete(&self, caller: &Caller, key: &KeyId) -> Result<(), Refusal> {
        let (keys, caller, key) = (self.clone(), caller.clone(), *key);
        to_the_end(async move { keys.delete_key(&caller, &key).await }, Refusal::NotSigned).await
    }

    async fn sign(&self, caller: &Caller, request: SignRequest) -> Result<Signed, Refusal> {
        let id = request.key;
        let no_key = || Refusal::NoSigningKey(id.to_string());
        let refuse = |refusal| self.refuse(caller, "sign", Some(id), refusal);
        let opened = match self.find(&id).await {
            Ok(Some(opened)) => opened,
            Ok(None) => return Err(refuse(no_key())),
            Err(trouble) => return Err(in_trouble("sign", &trouble, no_key())),
        };
        // Another collection's key is, for this one, no key: the answer does not tell the two apart.
        if request.gun.as_ref().is_some_and(|gun| *gun != opened.gun) {
            return Err(refuse(no_key()));
        }
        if !is_file_of(&request.content, opened.role) {
            return Err(refuse(Refusal::NotForThis("the content is not a file of the key's role")));
        }
        let failed = |trouble: KeyTrouble| in_trouble("sign", &trouble, Refusal::NotSigned);
        if !self.mark_used(&id, &opened).await.map_err(failed)? {
            return Err(refuse(no_key()));
        }
        let about = About {
            key: Some(id),
            gun: Some(opened.gun.as_str()),
            role: Some(opened.role.as_str()),
            message: Some(sha256(&request.content).hex()),
            reason: None,
        };
        self.record(caller, Event::Sign, about).map_err(failed)?;
        let signature = match &opened.key {
            Held::Here(key) => key.sign(&request.content).map_err(|error| {
                tracing::error!(%error, key = %id, "nothing was signed");
                Refusal::NotSigned
            })?,
            Held::OnToken(key) => self.sign_on_token(key, request.content).await.map_err(failed)?,
        };
        let algorithm = opened.key.public_key().key_type().clone();
        Ok(Signed { algorithm, method: opened.key.method(), signature })
    }

    async fn is_healthy(&self) -> bool {
        let check = tokio::time::timeout(self.parts.limits.patience, self.parts.store.health()).await;
        let database = match check {
            Ok(Ok(())) => true,
            Ok(Err(error)) => {
                tracing::error!(%error, source = ?std::error::Error::source(&error), "the database is not healthy");
                false
            }
            Err(_) => {
                tracing::error!("the database does not answer");
                false
            }
        };
        let audit = !self.parts.audit.is_failing();
        if !audit {
            tracing::error!("the audit log could not be written a moment ago");
        }
        database && audit && self.may_make().await
    }
}

/// Does the work to its end, also when whoever asked for it has gone: what is half done on a token nobody would finish.
async fn to_the_end<T: Send + 'static>(
    work: impl Future<Output = Result<T, Refusal>> + Send + 'static,
    otherwise: Refusal,
) -> Result<T, Refusal> {
    tokio::spawn(work).await.unwrap_or(Err(otherwise))
}

/// Opens a stored key wherever it is.
pub(crate) fn hold(found: &SigningKey, passphrases: &Passphrases, tokens: &KeyTokens) -> Result<Held, KeyTrouble> {
    if found.stored.alias.token().is_some() {
        return tokens.open(found).map(Held::OnToken);
    }
    open(found, passphrases).map(|key| Held::Here(Box::new(key)))
}

/// Opens a stored key, and checks that its row is what this service wrote.
pub(crate) fn open(found: &SigningKey, passphrases: &Passphrases) -> Result<PrivateKey, KeyTrouble> {
    let (row, alias) = (&found.stored.key, &found.stored.alias);
    let passphrase = passphrases.get(alias)?;
    let key = jwe::open_key(row.private.as_str(), &row.algorithm, passphrase.as_bytes())
        .map_err(|source| KeyTrouble::Sealed { id: row.id, alias: alias.clone(), source })?;
    // The reference's tables have no place for a binding; every other store has one in each row.
    let is_bound = found.stored.binding.is_none_or(|binding| bind(&key, row).is_ok_and(|right| right == binding));
    let is_its_own = key.public_key().canonical_id() == row.id && is_bound;
    if is_its_own { Ok(key) } else { Err(KeyTrouble::Changed { id: row.id }) }
}

/// Makes a key and encrypts it; takes a while.
fn seal_new(
    passphrases: &Passphrases,
    alias: Alias,
    gun: Gun,
    role: ServiceRole,
    algorithm: Algorithm,
) -> Result<NewSigningKey, KeyTrouble> {
    // Looked for first: making a key of some kinds takes a while.
    passphrases.get(&alias)?;
    seal(&PrivateKey::generate(algorithm)?, passphrases, alias, gun, role)
}

/// Encrypts a key; takes a while.
pub(crate) fn seal(
    key: &PrivateKey,
    passphrases: &Passphrases,
    alias: Alias,
    gun: Gun,
    role: ServiceRole,
) -> Result<NewSigningKey, KeyTrouble> {
    let passphrase = passphrases.get(&alias)?;
    let sealed = jwe::seal_key(key, passphrase.as_bytes(), &mut SystemRandom).map_err(KeyTrouble::NotSealed)?;
    let public = key.public_key();
    let row = NewServiceKey {
        id: public.canonical_id(),
        gun,
        role,
        algorithm: public.key_type().clone(),
        public: public.bytes().to_vec(),
        private: EncryptedKey::new(sealed),
    };
    let binding = Some(bind(key, &row)?);
    Ok(NewSigningKey { key: row, alias, binding })
}

/// Says what keys of a type are made of; none when none are made of it (Notary protocol, signer gRPC).
fn of_key_type(key_type: &KeyType) -> Option<Algorithm> {
    match key_type {
        KeyType::Ecdsa => Some(Algorithm::EcdsaP256),
        KeyType::Ed25519 => Some(Algorithm::Ed25519),
        KeyType::EcdsaX509 | KeyType::Rsa | KeyType::RsaX509 | KeyType::Other(_) => None,
    }
}

/// The beginning of a document; a member that comes twice is an error.
#[derive(Deserialize)]
struct Beginning {
    #[serde(rename = "_type")]
    kind: String,
}

/// Tells whether a message is the signed part of a file of this role. Canonical JSON sorts members by their bytes, and
/// `_type` comes first.
fn is_file_of(message: &[u8], role: ServiceRole) -> bool {
    let (beginning, kind): (&[u8], _) = match role {
        ServiceRole::Snapshot => (br#"{"_type":"Snapshot","#, "Snapshot"),
        ServiceRole::Timestamp => (br#"{"_type":"Timestamp","#, "Timestamp"),
    };
    message.starts_with(beginning)
        && serde_json::from_slice(message).is_ok_and(|document: Beginning| document.kind == kind)
}

/// Logs the service's own trouble, and returns what the caller is told: that it may try again later, or as given.
fn in_trouble(doing: &'static str, trouble: &KeyTrouble, otherwise: Refusal) -> Refusal {
    let causes = std::iter::successors(std::error::Error::source(trouble), |cause| cause.source());
    let causes = causes.fold(String::new(), |text, cause| format!("{text}: {cause}"));
    tracing::error!(doing, "{trouble}{causes}");
    match trouble {
        KeyTrouble::Token(TokenError::Full { .. }) => Refusal::Exhausted("the token is full"),
        KeyTrouble::Token(TokenError::NoKey { .. })
        | KeyTrouble::Store(StoreError::Damaged { .. })
        | KeyTrouble::Passphrase(_)
        | KeyTrouble::Sealed { .. }
        | KeyTrouble::Changed { .. }
        | KeyTrouble::NoToken(_)
        | KeyTrouble::NotMade(_)
        | KeyTrouble::NotSealed(_) => otherwise,
        KeyTrouble::Token(_)
        | KeyTrouble::Store(_)
        | KeyTrouble::Pending(_)
        | KeyTrouble::Audit(_)
        | KeyTrouble::Busy => Refusal::Away,
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_files_of_the_role_are_signed() {
        let timestamp = br#"{"_type":"Timestamp","expires":"2026-12-06T12:00:00Z","meta":{},"version":1}"#;
        assert!(is_file_of(timestamp, ServiceRole::Timestamp));
        assert!(!is_file_of(timestamp, ServiceRole::Snapshot));
        for foreign in [
            r#"{"_type":"Snapshot","expires":""}"#,
            r#"{"_type":"Root","x":1}"#,
            r#"{"_type":"Targets","x":1}"#,
            r#"{"_type":"Timestamps","x":1}"#,
            r#"{"_type":"Timestamp","_type":"Root"}"#,
            r#"{"_type":"Timestamp","x":1}{"_type":"Root"}"#,
            r#"{"_type":"Timestamp","x":1"#,
            r#" {"_type":"Timestamp","x":1}"#,
            "",
        ] {
            assert!(!is_file_of(foreign.as_bytes(), ServiceRole::Timestamp), "{foreign}");
        }
    }

    #[test]
    fn keys_are_made_of_two_algorithms_only() {
        for (name, made) in [("ecdsa", true), ("ed25519", true), ("rsa", false), ("ecdsa-x509", false), ("x", false)] {
            assert_eq!(of_key_type(&KeyType::from(name)).is_some(), made, "{name}");
        }
    }
}
