//! What other clients make of a collection: a new one, and one that knows an earlier state.

use crate::client::{Cache, CollectionClient};
use crate::error::TrustError;
use crate::signing::releases;
use bytes::Bytes;
use countersign_crypto::certificate::CertificateBundle;
use countersign_crypto::digest::Sha256Digest;
use countersign_tuf::metadata::Root;
use countersign_tuf::update::Purpose;
use countersign_tuf::{Collection, Pinning, RoleName};
use jiff::Timestamp;
use std::collections::BTreeMap;

/// How often what does not verify is read.
const READINGS: usize = 3;

/// A client without pins, as docker's is.
#[derive(Debug, Clone, Copy)]
pub enum Reader<'a> {
    /// It has never seen the collection.
    Fresh,
    /// It has last seen this.
    Knowing(&'a Collection),
}

/// What readers make of a collection after its keys have changed.
#[derive(Debug)]
pub struct Readers {
    /// Whether a client that has never seen the collection verifies it.
    pub fresh: Result<(), TrustError>,
    /// Whether one that knows the state before verifies it; none if there was none.
    pub old: Option<Result<(), TrustError>>,
    /// Whether docker and notary refuse what they know until it is removed from their caches: the certificate in it has
    /// expired, and they never ask whether there is a newer root.
    pub stuck: Stuck,
}

/// Whether the reference's clients are stuck with what they have cached.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stuck {
    /// They follow.
    No,
    /// They refuse everything until the cached root is removed.
    UntilCacheIsRemoved,
}

impl Readers {
    /// Tells whether everybody who follows the protocol can verify.
    #[must_use]
    pub fn all_verify(&self) -> bool {
        self.fresh.is_ok() && !matches!(self.old, Some(Err(_)))
    }
}

impl CollectionClient<'_> {
    /// Verifies the collection as another client would, with the service's present state and nothing of this machine's.
    /// Nothing is kept. Files that do not fit together may be those of before and after somebody's publication: they are
    /// read again before that is believed.
    ///
    /// # Errors
    /// That client would refuse it.
    pub async fn as_read_by(&self, reader: Reader<'_>) -> Result<Collection, TrustError> {
        let mut read = self.read_once_by(reader).await;
        for _ in 1..READINGS {
            match read {
                Err(TrustError::Update(_)) => read = self.read_once_by(reader).await,
                read => return read,
            }
        }
        read
    }

    async fn read_once_by(&self, reader: Reader<'_>) -> Result<Collection, TrustError> {
        let pinning = Pinning::default();
        match reader {
            Reader::Fresh => Box::pin(self.run(Purpose::Publish, &pinning, None, Cache::Ignored)).await,
            Reader::Knowing(known) => {
                let (files, seen) = (files_of(known), known.seen().write());
                Box::pin(self.run(Purpose::Publish, &pinning, Some(&seen), Cache::Held(&files))).await
            }
        }
    }

    /// Asks a new client and one that knows `before` whether they verify the collection.
    pub async fn readers(&self, before: Option<&Collection>) -> Readers {
        let fresh = self.as_read_by(Reader::Fresh).await.map(drop);
        let (mut old, mut stuck) = (None, Stuck::No);
        if let Some(before) = before {
            old = Some(self.as_read_by(Reader::Knowing(before)).await.map(drop));
            if certificates_end(before.root()).is_some_and(|end| end < self.now) {
                stuck = Stuck::UntilCacheIsRemoved;
            }
        }
        Readers { fresh, old, stuck }
    }
}

/// Returns the digests of all names that a collection releases.
#[must_use]
pub fn released_names(collection: &Collection) -> BTreeMap<String, (Sha256Digest, u64)> {
    let mut names = BTreeMap::new();
    for role in releases().into_iter().rev() {
        let Some(file) = collection.targets(&role) else { continue };
        let Some(paths) = collection.effective_paths(&role) else { continue };
        let entries = file.entries.iter().filter(|(name, _)| paths.allow(name));
        names.extend(entries.filter_map(|(name, meta)| Some((name.into_owned(), (meta.sha256?, meta.length)))));
    }
    names
}

/// Returns when the last certificate of a root's keys ends: after it nobody accepts the root.
#[must_use]
pub fn certificates_end(root: &Root) -> Option<Timestamp> {
    let ids = root.trusted(&RoleName::Root).map(|keys| keys.key_ids.as_slice()).unwrap_or_default();
    let keys = ids.iter().filter_map(|id| root.keys.get(id));
    keys.filter_map(|key| Some(CertificateBundle::parse(key.bytes()).ok()?.leaf().not_after())).max()
}

/// The files that a client has in its cache after it has verified a collection.
fn files_of(known: &Collection) -> BTreeMap<RoleName, Bytes> {
    let mut files = BTreeMap::from([
        (RoleName::Root, known.root().file().clone()),
        (RoleName::Timestamp, known.timestamp().file().clone()),
        (RoleName::Snapshot, known.snapshot().file().clone()),
    ]);
    files.extend(known.all_targets().map(|(role, file)| (role.clone(), file.file().clone())));
    files
}
