//! Publishing: apply, sign, upload, read back; re-base when others were faster.

use crate::client::CollectionClient;
use crate::error::TrustError;
use crate::signers::StoredSigners;
use countersign_notary::ServiceError;
use countersign_tuf::editor::{Editor, Publication};
use countersign_tuf::metadata::{RoleKeys, Root};
use countersign_tuf::update::{Purpose, UpdateError};
use countersign_tuf::{Change, Collection, Pinning, RoleName, TrustedKeys, Unverified};

/// How often a publication is re-based on what others published.
const ATTEMPTS: u32 = 8;

/// What became of a publication.
#[derive(Debug)]
pub enum Published {
    /// The service has it, and it was read back and verified.
    Stored {
        /// The collection as it is now.
        collection: Box<Collection>,
        /// The roles that were signed anew.
        roles: Vec<RoleName>,
        /// Whether the collection is new.
        origin: Origin,
    },
    /// Everything was as wanted already: nothing was signed.
    Unchanged(Box<Collection>),
}

/// Whether a collection existed before a publication.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Origin {
    /// It was published before.
    Existing,
    /// This publication is its first.
    New,
}

impl CollectionClient<'_> {
    /// Makes changes and publishes them.
    ///
    /// `changes` is asked for the changes to make to the collection as it is, again after every re-basing; for a new
    /// collection it is asked with none.
    ///
    /// # Errors
    /// Nothing was published, or it is not certain that it was.
    pub async fn publish(
        &self,
        changes: &dyn Fn(Option<&Collection>) -> Result<Vec<Change>, TrustError>,
    ) -> Result<Published, TrustError> {
        for _ in 0..ATTEMPTS {
            let (editor, base) = match self.update(Purpose::Publish).await {
                Ok(collection) => (Editor::of(&collection, self.now), Some(collection)),
                Err(TrustError::Update(UpdateError::NoTrustData(_))) => (self.first_editor().await?, None),
                Err(error) => return Err(error),
            };
            let mut editor = editor;
            for change in changes(base.as_ref())? {
                editor.apply(&change)?;
            }
            let origin = match base {
                Some(collection) if !editor.has_changes() => return Ok(Published::Unchanged(Box::new(collection))),
                Some(_) => Origin::Existing,
                None => Origin::New,
            };
            let signers = StoredSigners { keys: &self.keys, passphrases: self.passphrases };
            let nobody = TrustedKeys::resolve(&RoleName::Root, &RoleKeys::default(), &Default::default());
            let publication = editor.publication(&signers, &nobody)?;
            match self.upload(&publication, origin).await? {
                Some(collection) => {
                    let roles = publication.parts.keys().cloned().collect();
                    return Ok(Published::Stored { collection: Box::new(collection), roles, origin });
                }
                None if origin == Origin::New => return Err(TrustError::TakenOver(self.gun().clone())),
                None => {}
            }
        }
        Err(TrustError::Busy { gun: self.gun().clone(), attempts: ATTEMPTS })
    }

    /// Uploads and reads back. None: somebody else was faster, and nothing of ours was stored.
    ///
    /// A failure on the way leaves open whether the service has stored the upload; then its state decides.
    async fn upload(&self, publication: &Publication, origin: Origin) -> Result<Option<Collection>, TrustError> {
        let outcome = self.service.publish(&publication.parts).await;
        match outcome {
            Ok(()) => {
                let collection = match (origin, own_root(publication)) {
                    (Origin::New, Some(own)) => self.update_pinned(Purpose::Publish, &own).await?,
                    _ => self.update(Purpose::Publish).await?,
                };
                let stored = serves(&collection, publication, Newer::Counts);
                if stored { Ok(Some(collection)) } else { Err(TrustError::NotStored(self.gun().clone())) }
            }
            Err(ServiceError::Conflict) => self.settled(publication).await,
            Err(error @ (ServiceError::Away(_) | ServiceError::Hostile(_))) => match self.settled(publication).await {
                Ok(Some(collection)) => Ok(Some(collection)),
                _ => Err(error.into()),
            },
            Err(error @ ServiceError::Rejected(_)) if publication.parts.contains_key(&RoleName::Root) => {
                match self.update(Purpose::Publish).await {
                    Ok(_) if !self.local_root_is(publication)? => Ok(None),
                    _ => Err(error.into()),
                }
            }
            Err(error) => Err(error.into()),
        }
    }

    /// Looks whether the service has an upload after all.
    async fn settled(&self, publication: &Publication) -> Result<Option<Collection>, TrustError> {
        match self.update(Purpose::Publish).await {
            Ok(collection) => Ok(serves(&collection, publication, Newer::IsForeign).then_some(collection)),
            Err(TrustError::Update(UpdateError::NoTrustData(_))) => Ok(None),
            Err(error) => Err(error),
        }
    }

    fn local_root_is(&self, publication: &Publication) -> Result<bool, TrustError> {
        let cached = self.local.read(&RoleName::Root)?;
        Ok(cached.as_deref() == publication.parts.get(&RoleName::Root).map(AsRef::as_ref))
    }
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
    let later = |role: &RoleName, found: countersign_tuf::Version| {
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
