//! Publishing: apply, sign, upload, read back; re-base when others were faster.

use crate::attempts::{ATTEMPTS, Refused, pause};
use crate::client::CollectionClient;
use crate::error::TrustError;
use crate::recovery::{GivenUp, Recovery};
use crate::request_error::RequestError;
use crate::rotation::LegacyRoots;
use crate::signers::StoredSigners;
use crate::witness::{Decision, Review};
use countersign_notary::ServiceError;
use countersign_tuf::editor::{Editor, Publication};
use countersign_tuf::metadata::Root;
use countersign_tuf::update::{Answer, Fetch, LostRoot, MAX_ROOT, Purpose, Request, Update, UpdateError, Which};
use countersign_tuf::{
    Change, Collection, Pin, Pinning, RoleName, RootError, Seen, SigningError, TrustedKeys, Unverified, Version,
};
use std::collections::{BTreeMap, BTreeSet};

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
        /// Roles that still list keys that were to be purged: nobody here can sign them, or they cannot be verified.
        unpurged: BTreeSet<RoleName>,
        /// Names that are signed no more because only removed signers had signed them.
        given_up: Vec<GivenUp>,
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

/// How a publication is made.
pub(crate) struct Publishing<'a> {
    pub(crate) changes: &'a Changes<'a>,
    /// Earlier roots whose keys sign a new root as well.
    pub(crate) legacy: LegacyRoots,
    /// Asked before unverified content is signed; without, none is.
    pub(crate) review: Option<&'a Review<'a>>,
    /// What becomes of files whose signers were removed.
    pub(crate) recovery: Recovery,
    /// Whether what nears its expiry is renewed although nothing else changes.
    pub(crate) renewal: Renewal,
    /// Told what is about to be uploaded; an upload that cannot be noted is not made.
    pub(crate) noted: Option<&'a Noted<'a>>,
    /// Whether the root that is there may have expired.
    pub(crate) purpose: Purpose,
}

/// Takes note of an upload before it is made.
pub(crate) type Noted<'a> = dyn Fn(&Publication) -> Result<(), TrustError> + 'a;

/// Whether a publication without changes renews what nears its expiry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Renewal {
    WithChangesOnly,
    AlsoAlone,
}

impl<'a> Publishing<'a> {
    pub(crate) fn of(changes: &'a Changes<'a>) -> Self {
        Self {
            changes,
            legacy: LegacyRoots::None,
            review: None,
            recovery: Recovery::Refuse,
            renewal: Renewal::WithChangesOnly,
            noted: None,
            purpose: Purpose::Publish,
        }
    }
}

impl CollectionClient<'_> {
    /// Makes changes and publishes them.
    ///
    /// `changes` is asked again after every re-basing on what others published meanwhile.
    ///
    /// # Errors
    /// Nothing was published, or it is not certain that it was.
    pub async fn publish(&self, changes: &Changes<'_>) -> Result<Published, TrustError> {
        Ok(self.publish_as(&Publishing::of(changes)).await?.0)
    }

    /// As [`Self::publish`]; returns the changes that were applied in the end as well.
    pub(crate) async fn publish_as(&self, how: &Publishing<'_>) -> Result<(Published, Vec<Change>), TrustError> {
        let mut taken_over = false;
        let (mut refused, mut floors) = (Refused::default(), BTreeMap::new());
        for attempt in 0..ATTEMPTS {
            let base = match self.update(how.purpose).await {
                Ok(collection) => Some(collection),
                Err(TrustError::Update(UpdateError::NoTrustData(_))) => None,
                Err(error) => return Err(error),
            };
            refused.check(self.gun(), base.as_ref())?;
            let changes = (how.changes)(base.as_ref()).map_err(|error| self.explained(error, taken_over))?;
            let (editor, given_up) = self.edited(how, base.as_ref(), &changes, &floors).await?;
            let renews = how.renewal == Renewal::AlsoAlone && editor.nears_expiry();
            let idle = !editor.has_changes();
            let base = match base {
                Some(collection) if idle && !renews => {
                    return Ok((Published::Unchanged(Box::new(collection)), changes));
                }
                base => base,
            };
            let legacy = self.legacy_keys(base.as_ref(), how.legacy).await?;
            let publication = self.signed(editor, &legacy).map_err(|error| self.explained(error, taken_over))?;
            if publication.parts.is_empty() && !publication.skipped.is_empty() {
                return Err(RequestError::NothingPurged { roles: publication.skipped }.into());
            }
            let base = match base {
                Some(collection) if publication.parts.is_empty() => {
                    return Ok((Published::Unchanged(Box::new(collection)), changes));
                }
                base => base,
            };
            if let Some(noted) = how.noted {
                noted(&publication)?;
            }
            if let Some(collection) = self.upload(&publication, base.as_ref()).await? {
                let roles = publication.parts.into_keys().collect();
                let (collection, base, unpurged) = (Box::new(collection), base.map(Box::new), publication.skipped);
                return Ok((Published::Stored { collection, base, roles, unpurged, given_up }, changes));
            }
            refused.note(base.as_ref());
            floors = self.floors(&publication).await;
            taken_over |= base.is_none();
            tokio::time::sleep(pause(attempt)).await;
        }
        Err(TrustError::Busy { gun: self.gun().clone(), attempts: ATTEMPTS })
    }

    /// Applies changes to what is published, or to the beginnings of a new collection.
    async fn edited(
        &self,
        how: &Publishing<'_>,
        base: Option<&Collection>,
        changes: &[Change],
        floors: &BTreeMap<RoleName, Version>,
    ) -> Result<(Editor, Vec<GivenUp>), TrustError> {
        let (mut editor, mut given_up) = match base {
            Some(collection) => {
                self.reviewed(how.review, collection, changes).await?;
                (Editor::of(collection, self.now), Vec::new())
            }
            None => (self.first_editor().await?, Vec::new()),
        };
        if let Some(collection) = base.filter(|_| how.recovery == Recovery::FormerSigners) {
            given_up = self.recover(&mut editor, collection, changes).await;
        }
        for (role, version) in floors {
            editor.continue_after(role, *version);
        }
        for change in changes {
            editor.apply(change)?;
        }
        Ok((editor, given_up))
    }

    /// Has the content of files that cannot be verified confirmed before it is signed.
    async fn reviewed(
        &self,
        review: Option<&Review<'_>>,
        base: &Collection,
        changes: &[Change],
    ) -> Result<(), TrustError> {
        let broken = |change: &Change| match change {
            Change::Witness { role } if base.broken().contains_key(role) => Some(role.clone()),
            _ => None,
        };
        let roles: Vec<RoleName> = changes.iter().filter_map(broken).collect::<BTreeSet<_>>().into_iter().collect();
        if roles.is_empty() {
            return Ok(());
        }
        let subjects = self.subjects(base, &roles).await?;
        match review.map(|review| review(&subjects)) {
            Some(Decision::Sign) => Ok(()),
            Some(Decision::Refuse) | None => Err(RequestError::WitnessDeclined { roles }.into()),
        }
    }

    /// Fetches the root keys of earlier versions. Those roots are not verified: of the keys in them only such count as the
    /// present root, which keeps its former certificates, lists too. The service could name any other key of this machine.
    async fn legacy_keys(&self, base: Option<&Collection>, legacy: LegacyRoots) -> Result<TrustedKeys, TrustError> {
        let mut keys = Vec::new();
        let Some(present) = base.map(Collection::root) else { return Ok(TrustedKeys::of(&RoleName::Root, [], 0)) };
        let newest = present.version.get();
        let many = match legacy {
            LegacyRoots::None => 0,
            LegacyRoots::Last(count) => u64::from(count).min(newest),
            LegacyRoots::All => newest,
        };
        for version in (newest.saturating_sub(many).max(1)..newest).filter_map(Version::new) {
            let wanted = Fetch { role: &RoleName::Root, which: Which::Version(version), limit: MAX_ROOT };
            let root = match self.service.fetch(wanted).await {
                Answer::File(file) => Unverified::<Root>::read(&RoleName::Root, file)
                    .map_err(|error| UpdateError::Metadata { role: RoleName::Root, error })?,
                Answer::Away(absence) => return Err(UpdateError::Away { role: RoleName::Root, absence }.into()),
                Answer::Missing | Answer::Remnants => return Err(UpdateError::MissingRoot { version }.into()),
            };
            let root = root.into_untrusted();
            let ids = root.trusted(&RoleName::Root).map(|keys| keys.key_ids.clone()).unwrap_or_default();
            keys.extend(ids.iter().filter_map(|id| present.keys.get(id)).cloned());
        }
        Ok(TrustedKeys::of(&RoleName::Root, keys, 0))
    }

    pub(crate) fn signed(&self, editor: Editor, legacy: &TrustedKeys) -> Result<Publication, TrustError> {
        let signers = StoredSigners { keys: &self.keys, passphrases: self.passphrases };
        Ok(editor.publication(&signers, legacy)?)
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

    /// Looks at the collection as it is served; a new one under its own root and no other. A root that was just made here
    /// for a collection that is known need not be pinned yet.
    async fn look(&self, publication: &Publication, base: Option<&Collection>) -> Result<Collection, TrustError> {
        let own = own_root(publication);
        match (base, own) {
            (None, Some(own)) => self.update_pinned(Purpose::Publish, &own).await,
            (Some(_), Some(own)) => match self.update(Purpose::Publish).await {
                Err(TrustError::Update(UpdateError::Root(RootError::Pin(_)))) => {
                    self.update_pinned(Purpose::Publish, &own).await
                }
                looked => looked,
            },
            (_, None) => self.update(Purpose::Publish).await,
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

/// Pins a collection to the root that was just made for it, and its former keys: no other may be taken for it.
pub(crate) fn own_root(publication: &Publication) -> Option<Pinning> {
    let file = publication.parts.get(&RoleName::Root)?;
    let root = Unverified::<Root>::read(&RoleName::Root, file.clone()).ok()?.into_untrusted();
    let mut pinning = Pinning::default();
    let certificates = root.keys.iter().filter(|(_, key)| key.key_type().is_certificate());
    pinning.pin_certificates(publication.gun.as_str(), certificates.map(|(id, _)| *id));
    Some(pinning)
}
