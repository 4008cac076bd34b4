//! Keys that were made elsewhere come in: from a trust service that made them itself, or from the reference's signer.

use std::path::Path;
use std::time::Duration;

use countersign_crypto::{KeyId, PrivateKey};
use countersign_storage::{
    Absent, Alias, Connections, DatabaseUrl, PageSize, ReferenceSigningKeys, ServiceRole, SigningKeyStore,
    SqliteSigningKeys, StoreError, Taken,
};
use countersign_tuf::Gun;
use jiff::Timestamp;

use crate::aliases::{self, AliasError, New};
use crate::audit::{About, Audit, AuditError, By, Event};
use crate::data_dir::{DataDirError, give, held_for, make_folder};
use crate::keys::{KeyTrouble, open, seal};
use crate::passphrases::Passphrases;
use crate::service::{AUDIT, DATABASE, INDEX_OF_LOG, LOG_OF_DATABASE};

/// How long a lock of the running service is waited for.
const PATIENCE: Duration = Duration::from_secs(20);

/// Says why no keys can come in.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum IntakeError {
    /// Keys are made on tokens, not put there.
    #[error(
        "{0} is a token, and a key that was outside is not put on one: name the alias of a passphrase with --alias"
    )]
    ToToken(Alias),
    /// The data folder cannot be used.
    #[error(transparent)]
    DataDir(#[from] DataDirError),
    /// The database failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The old signer's database failed.
    #[error("the database of the old signer cannot be used")]
    Old(#[source] StoreError),
    /// Keys cannot be sealed under the alias.
    #[error(transparent)]
    Alias(#[from] AliasError),
    /// What comes in cannot be written down.
    #[error(transparent)]
    Audit(#[from] AuditError),
}

/// A key that comes in.
#[derive(Debug)]
pub struct Arrival {
    /// The key.
    pub key: PrivateKey,
    /// The collection that it signs for.
    pub gun: Gun,
    /// The role that it signs for.
    pub role: ServiceRole,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it last signed; none: it waits for its first use.
    pub last_used: Option<Timestamp>,
}

/// What became of it.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Arrived {
    /// It is here now, and was opened again.
    Now,
    /// It was here, for the same collection and role, and can be opened.
    Before,
    /// It has not signed yet, and another key waits for its collection and role.
    AnotherWaits,
    /// It is not here, and why.
    No(String),
}

/// A key of an old signer, and what became of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FromSigner {
    /// Its id, as it stands there.
    pub id: String,
    /// The collection and the role that it signs for, if its row can be read.
    pub of: Option<(Gun, ServiceRole)>,
    /// What became of it.
    pub arrived: Arrived,
}

/// Where keys come in: a signing service's store, which a service may be using.
#[derive(Debug)]
pub struct Intake {
    store: SqliteSigningKeys,
    passphrases: Passphrases,
    alias: Alias,
    audit: Audit,
}

impl Intake {
    /// Opens the store, and makes it, and a passphrase for the alias, when they are missing.
    ///
    /// # Errors
    /// The store or the passphrase cannot be used, or the alias is a token's.
    pub async fn open(data_dir: &Path, passphrases: &Passphrases, alias: &Alias) -> Result<Self, IntakeError> {
        if alias.token().is_some() {
            return Err(IntakeError::ToToken(alias.clone()));
        }
        let folder = |source| DataDirError::Folder { path: data_dir.to_owned(), source };
        make_folder(data_dir).map_err(folder)?;
        let (database, log) = (data_dir.join(DATABASE), data_dir.join(AUDIT));
        let store = SqliteSigningKeys::open(&database, PATIENCE).await?;
        give(data_dir, &[&database, &data_dir.join(LOG_OF_DATABASE), &data_dir.join(INDEX_OF_LOG)]).map_err(folder)?;
        // A service that runs has a passphrase for its new keys: if it is not here, it is in its environment.
        let is_the_services = held_for(data_dir).map_err(folder)?.as_deref() == Some(alias.as_str());
        let new = if is_the_services { New::IsTheServices } else { New::IsMade };
        aliases::prepare(&store, passphrases, alias, new).await?;
        let audit = Audit::open(&log)?;
        give(data_dir, &[&log]).map_err(folder)?;
        Ok(Self { store, passphrases: passphrases.clone(), alias: alias.clone(), audit })
    }

    /// Takes a key, encrypts it under the alias, and opens it once more from where it was stored.
    ///
    /// # Errors
    /// The store fails. What is wrong with a single key is in the outcome.
    pub async fn take(&self, arrival: Arrival) -> Result<Arrived, IntakeError> {
        let (created_at, last_used) = (arrival.created_at, arrival.last_used);
        let (id, gun, role) = (arrival.key.public_key().canonical_id(), arrival.gun.clone(), arrival.role);
        if let Some(known) = self.known(&id, &gun, role).await? {
            if let (Arrived::Before, Some(used)) = (&known, last_used) {
                self.settle(&id, used).await?;
            }
            return Ok(known);
        }
        let (passphrases, alias) = (self.passphrases.clone(), self.alias.clone());
        let sealing =
            tokio::task::spawn_blocking(move || seal(&arrival.key, &passphrases, alias, arrival.gun, arrival.role));
        let sealed = match sealing.await.unwrap_or(Err(KeyTrouble::Busy)) {
            Ok(sealed) => sealed,
            Err(trouble) => return Ok(Arrived::No(said(&trouble))),
        };
        // What does not come in is not written down as if it had.
        let waits = self.store.pending(&gun, role, &sealed.key.algorithm).await?;
        if last_used.is_none() && waits.is_some() {
            return Ok(Arrived::AnotherWaits);
        }
        let about = About { key: Some(id), gun: Some(gun.as_str()), role: Some(role.as_str()), ..About::default() };
        self.audit.record(Timestamp::now(), By::User(rustix::process::getuid().as_raw()), Event::Import, about)?;
        match self.store.take(&sealed, created_at, last_used).await? {
            Taken::AnotherWaits => Ok(Arrived::AnotherWaits),
            taken => Ok(match self.known(&id, &gun, role).await? {
                Some(Arrived::Before) if taken == Taken::Stored => Arrived::Now,
                Some(known) => known,
                None => Arrived::No("it was here and was deleted".to_owned()),
            }),
        }
    }

    /// Takes the keys of a reference's signer, and tells of each; its database is only read.
    ///
    /// # Errors
    /// One of the stores fails.
    pub async fn take_from_signer(
        &self,
        signer: &DatabaseUrl,
        tell: &mut (dyn FnMut(FromSigner) + Send),
    ) -> Result<(), IntakeError> {
        let signer = ReferenceSigningKeys::open(signer, Connections::default(), Absent::Refuse).await;
        let signer = signer.map_err(IntakeError::Old)?;
        let mut after: Option<String> = None;
        loop {
            let page = signer.all(after.as_deref(), PageSize::wished(0)).await.map_err(IntakeError::Old)?;
            let Some(last) = page.last() else { break };
            after = Some(last.id.clone());
            for found in page {
                let key = match found.key {
                    Ok(key) => key,
                    Err(error @ StoreError::Damaged { .. }) => {
                        tell(FromSigner { id: found.id, of: None, arrived: Arrived::No(error.to_string()) });
                        continue;
                    }
                    Err(error) => return Err(IntakeError::Old(error)),
                };
                let of = Some((key.stored.key.gun.clone(), key.stored.key.role));
                let (created_at, last_used) = (key.created_at, key.last_used);
                let passphrases = self.passphrases.clone();
                let (gun, role) = (key.stored.key.gun.clone(), key.stored.key.role);
                let opening = tokio::task::spawn_blocking(move || open(&key, &passphrases));
                let arrived = match opening.await.unwrap_or(Err(KeyTrouble::Busy)) {
                    Ok(key) => self.take(Arrival { key, gun, role, created_at, last_used }).await?,
                    Err(trouble) => Arrived::No(said(&trouble)),
                };
                tell(FromSigner { id: found.id, of, arrived });
            }
        }
        signer.close().await;
        Ok(())
    }

    /// Closes the store.
    pub async fn close(self) {
        self.store.close().await;
    }

    /// Tells how a key is here; none when it is not, or was deleted.
    async fn known(&self, id: &KeyId, gun: &Gun, role: ServiceRole) -> Result<Option<Arrived>, IntakeError> {
        let Some(found) = self.store.signing_key(id).await? else { return Ok(None) };
        let row = &found.stored.key;
        if row.gun != *gun || row.role != role {
            let why = format!("it is here for {} of {}", row.role, row.gun);
            return Ok(Some(Arrived::No(why)));
        }
        if found.stored.alias.token().is_some() {
            return Ok(Some(Arrived::Before));
        }
        let passphrases = self.passphrases.clone();
        let opening = tokio::task::spawn_blocking(move || open(&found, &passphrases).map(drop));
        Ok(Some(match opening.await.unwrap_or(Err(KeyTrouble::Busy)) {
            Ok(()) => Arrived::Before,
            Err(trouble) => Arrived::No(said(&trouble)),
        }))
    }

    /// Notes that a key, which waits here, has signed where it was.
    async fn settle(&self, id: &KeyId, used: Timestamp) -> Result<(), IntakeError> {
        if self.store.signing_key(id).await?.is_some_and(|found| found.last_used.is_none()) {
            self.store.mark_used(id, used).await?;
        }
        Ok(())
    }
}

/// Writes what is wrong with a key, with its causes.
fn said(trouble: &KeyTrouble) -> String {
    let causes = std::iter::successors(std::error::Error::source(trouble), |cause| cause.source());
    causes.fold(trouble.to_string(), |text, cause| format!("{text}: {cause}"))
}
