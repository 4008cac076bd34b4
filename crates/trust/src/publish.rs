//! Publishing: apply, sign, upload, read back; re-base when others were faster.

use crate::client::CollectionClient;
use crate::error::TrustError;
use crate::signers::StoredSigners;
use countersign_crypto::{Random, SystemRandom};
use countersign_notary::ServiceError;
use countersign_tuf::editor::{Editor, Publication};
use countersign_tuf::metadata::Root;
use countersign_tuf::update::{Answer, LostRoot, Purpose, Request, Update, UpdateError};
use countersign_tuf::{
    Change, Collection, Pin, Pinning, RoleName, RootError, Seen, SigningError, TrustedKeys, Unverified, Version,
};
use std::time::Duration;

/// How often a publication is re-based on what others published.
const ATTEMPTS: u32 = 12;
/// The longest that the first pause between two attempts may be; it doubles each time.
const FIRST_PAUSE: Duration = Duration::from_millis(20);
/// No pause is longer.
const LONGEST_PAUSE: Duration = Duration::from_secs(3);

/// What became of a publication.
#[derive(Debug)]
pub enum Published {
    /// The service has it, and it was read back and verified.
    Stored {
        /// The collection as it is now.
        collection: Box<Collection>,
        /// The verified view on top of which it was signed; none if the collection is new.
        base: Option<Box<Collection>>,
        /// The roles that were signed anew.
        roles: Vec<RoleName>,
    },
    /// Everything was as wanted already: nothing was signed.
    Unchanged(Box<Collection>),
}

/// Decides what to change in a collection as it is; for a new one it is asked with none.
pub type Changes<'a> = dyn Fn(Option<&Collection>) -> Result<Vec<Change>, TrustError> + 'a;

/// Where an upload stands that the service did not confirm.
enum Settled {
    /// The service has it after all.
    Ours(Box<Collection>),
    /// The service has something else; its root's version, none if it is a root that this machine does not know.
    Theirs(Option<Version>),
    /// The service has nothing.
    Nothing,
}

impl CollectionClient<'_> {
    /// Makes changes and publishes them.
    ///
    /// `changes` is asked again after every re-basing on what others published meanwhile.
    ///
    /// # Errors
    /// Nothing was published, or it is not certain that it was.
    pub async fn publish(&self, changes: &Changes<'_>) -> Result<Published, TrustError> {
        let mut taken_over = false;
        for attempt in 0..ATTEMPTS {
            let (mut editor, base) = match self.update(Purpose::Publish).await {
                Ok(collection) => (Editor::of(&collection, self.now), Some(collection)),
                Err(TrustError::Update(UpdateError::NoTrustData(_))) => {
                    // Asked before keys are made for a collection that is not to be.
                    changes(None)?;
                    (self.first_editor().await?, None)
                }
                Err(error) => return Err(error),
            };
            for change in changes(base.as_ref()).map_err(|error| self.explained(error, taken_over))? {
                editor.apply(&change)?;
            }
            let base = match base {
                Some(collection) if !editor.has_changes() => return Ok(Published::Unchanged(Box::new(collection))),
                base => base,
            };
            let publication = self.signed(editor).map_err(|error| self.explained(error, taken_over))?;
            if let Some(collection) = self.upload(&publication, base.as_ref()).await? {
                let roles = publication.parts.into_keys().collect();
                return Ok(Published::Stored { collection: Box::new(collection), base: base.map(Box::new), roles });
            }
            taken_over |= base.is_none();
            tokio::time::sleep(pause(attempt)).await;
        }
        Err(TrustError::Busy { gun: self.gun().clone(), attempts: ATTEMPTS })
    }

    fn signed(&self, editor: Editor) -> Result<Publication, TrustError> {
        let signers = StoredSigners { keys: &self.keys, passphrases: self.passphrases };
        let nobody = TrustedKeys::of(&RoleName::Root, [], 0);
        Ok(editor.publication(&signers, &nobody)?)
    }

    /// Somebody else made the collection while this machine was about to: without their consent nothing can be signed.
    fn explained(&self, error: TrustError, taken_over: bool) -> TrustError {
        match error {
            TrustError::Signing(SigningError::MissingKeys { .. }) | TrustError::NoDelegationKey { .. }
                if taken_over =>
            {
                TrustError::TakenOver(self.gun().clone())
            }
            other => other,
        }
    }

    /// Uploads and reads back. None: somebody else was faster, and nothing of ours was stored.
    ///
    /// A failure on the way leaves open whether the service has stored the upload; then its state decides.
    async fn upload(
        &self,
        publication: &Publication,
        base: Option<&Collection>,
    ) -> Result<Option<Collection>, TrustError> {
        if base.is_none() {
            self.check_pins(publication)?;
        }
        let error = match self.service.publish(&publication.parts).await {
            Ok(()) => return self.read_back(publication, base).await.map(Some),
            Err(error) => error,
        };
        let unsettled = matches!(error, ServiceError::Conflict | ServiceError::Away(_) | ServiceError::Hostile(_));
        if !unsettled && !publication.parts.contains_key(&RoleName::Root) {
            return Err(error.into());
        }
        let ours = publication.versions.get(&RoleName::Root).copied();
        match (self.settled(publication, base).await, error) {
            (Ok(Settled::Ours(collection)), _) => Ok(Some(*collection)),
            (Ok(_), ServiceError::Conflict) => Ok(None),
            (Ok(Settled::Theirs(root)), ServiceError::Rejected(_)) if root.is_none() || root >= ours => Ok(None),
            (Err(error), ServiceError::Conflict) => Err(error),
            (_, error) => Err(error.into()),
        }
    }

    /// Reads a confirmed upload back: only what is served and verifies counts as signed.
    async fn read_back(&self, publication: &Publication, base: Option<&Collection>) -> Result<Collection, TrustError> {
        let gun = self.gun().clone();
        match self.look(publication, base).await {
            Ok(collection) if serves(&collection, publication, Newer::Counts) => Ok(collection),
            Ok(_) | Err(TrustError::Update(UpdateError::NoTrustData(_) | UpdateError::Root(RootError::Pin(_)))) => {
                Err(TrustError::NotStored(gun))
            }
            Err(error) => Err(TrustError::NotReadBack { gun, error: Box::new(error) }),
        }
    }

    /// Looks whether the service has an upload that it did not confirm.
    async fn settled(&self, publication: &Publication, base: Option<&Collection>) -> Result<Settled, TrustError> {
        match self.look(publication, base).await {
            Ok(collection) if serves(&collection, publication, Newer::IsForeign) => {
                Ok(Settled::Ours(Box::new(collection)))
            }
            Ok(collection) => Ok(Settled::Theirs(Some(collection.root().version))),
            Err(TrustError::Update(UpdateError::NoTrustData(_))) => Ok(Settled::Nothing),
            Err(TrustError::Update(UpdateError::Root(RootError::Pin(_)))) if base.is_none() => {
                Ok(Settled::Theirs(None))
            }
            Err(error) => Err(error),
        }
    }

    /// Looks at the collection as it is served; a new one under its own root and no other.
    async fn look(&self, publication: &Publication, base: Option<&Collection>) -> Result<Collection, TrustError> {
        match own_root(publication).filter(|_| base.is_none()) {
            Some(own) => self.update_pinned(Purpose::Publish, &own).await,
            None => self.update(Purpose::Publish).await,
        }
    }

    /// Holds the root of a new collection against the pins before it is published. That first use is not allowed does not
    /// matter: this machine knows its own root.
    fn check_pins(&self, publication: &Publication) -> Result<(), TrustError> {
        let Some(root) = publication.parts.get(&RoleName::Root) else { return Ok(()) };
        if matches!(self.pinning.pin(self.gun()), Pin::Denied) {
            return Ok(());
        }
        let (gun, now, pinning) = (self.gun().clone(), self.now, self.pinning);
        let (seen, purpose, lost_root) = (Seen::default(), Purpose::Publish, LostRoot::Refuse);
        let mut update = Update::begin(Request { gun, now, pinning, seen, purpose, lost_root });
        let checked = update.feed(Answer::Missing).and_then(|()| update.feed(Answer::File(root.clone())));
        checked.map_err(|error| TrustError::Unpinned { gun: self.gun().clone(), error })
    }
}

/// Returns how long to wait after a lost race: at random, so that many publishers do not meet again and again.
fn pause(attempt: u32) -> Duration {
    let longest = FIRST_PAUSE.saturating_mul(2_u32.saturating_pow(attempt)).min(LONGEST_PAUSE);
    let mut byte = [u8::MAX];
    // Without randomness everybody waits equally long.
    let _ = SystemRandom.fill(&mut byte);
    longest.mul_f64(f64::from(byte[0]) / f64::from(u8::MAX))
}

/// How newer files than the uploaded ones are taken.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Newer {
    /// The upload was confirmed; somebody has published on top of it since.
    Counts,
    /// The upload was not confirmed; they are somebody else's.
    IsForeign,
}

/// Tells whether a verified view holds what was uploaded.
fn serves(collection: &Collection, publication: &Publication, newer: Newer) -> bool {
    let later = |role: &RoleName, found: Version| {
        newer == Newer::Counts && publication.versions.get(role).is_some_and(|ours| found > *ours)
    };
    publication.parts.iter().all(|(role, file)| match role {
        RoleName::Root => collection.root().file() == file || later(role, collection.root().version),
        RoleName::Snapshot => collection.snapshot().file() == file || newer == Newer::Counts,
        RoleName::Timestamp => true,
        role => collection.targets(role).is_some_and(|found| found.file() == file || later(role, found.version)),
    })
}

/// Pins a new collection to the root that was just made for it: no other may be taken for it on first use.
fn own_root(publication: &Publication) -> Option<Pinning> {
    let file = publication.parts.get(&RoleName::Root)?;
    let root = Unverified::<Root>::read(&RoleName::Root, file.clone()).ok()?.into_untrusted();
    let mut pinning = Pinning::default();
    pinning.pin_certificates(publication.gun.as_str(), root.trusted(&RoleName::Root)?.key_ids.iter().copied());
    Some(pinning)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_differ_and_end() {
        let pauses: Vec<Duration> = (0..ATTEMPTS).map(pause).collect();
        assert!(pauses.iter().all(|pause| *pause <= LONGEST_PAUSE));
        assert!((0..100).all(|_| pause(0) <= FIRST_PAUSE));
        let late: std::collections::BTreeSet<Duration> = (0..100).map(|_| pause(u32::MAX)).collect();
        assert!(late.len() > 10 && late.iter().any(|pause| *pause > FIRST_PAUSE), "{late:?}");
    }
}
