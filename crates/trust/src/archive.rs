//! An archive of a collection: everything that its trust service gives out of it, byte for byte, and what can be verified of it
//! as of the day on which it was taken, also when the service is gone.

use crate::error::TrustError;
use bytes::Bytes;
use countersign_crypto::digest::sha256;
use countersign_notary::TrustService;
use countersign_tuf::metadata::{Payload, Root, Snapshot, Targets, Timestamp as TimestampFile};
use countersign_tuf::update::{
    Answer, Fetch, LostRoot, MAX_FILE, MAX_ROOT, MAX_ROTATIONS, MAX_TIMESTAMP, Purpose, Request, Step, Update,
    UpdateError, Which,
};
use countersign_tuf::{Collection, FirstUse, Gun, Pinning, RoleName, Seen, Unverified, Version};
use jiff::Timestamp;
use std::collections::BTreeMap;

/// Most earlier versions of one role that are asked for.
const MAX_EARLIER: u64 = 4096;

/// How far back an archive goes for roles other than root, of which all versions are always taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum History {
    /// The present files.
    Present,
    /// Also the earlier files of `targets` and its delegations: what was signed before.
    Signed,
}

/// The files of one collection. Nothing in it is trusted before [`Archive::verify`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Archive {
    /// The collection.
    pub gun: Gun,
    /// When it was taken.
    pub taken_at: Timestamp,
    /// The files by role and version.
    pub files: BTreeMap<(RoleName, Version), Bytes>,
    /// The versions that were the present ones.
    pub present: BTreeMap<RoleName, Version>,
    /// Files that are known of and that the service did not give or that are no metadata.
    pub gaps: Vec<Gap>,
}

/// A file that is not in an archive.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Gap {
    /// The file, as `3.root` or `targets/releases`.
    pub file: String,
    /// Why it is not there.
    pub reason: String,
}

/// What an archive proves.
#[derive(Debug)]
pub struct Attested {
    /// The collection as a client saw it on that day.
    pub collection: Collection,
    /// The earliest root from which a chain of signatures leads to the present one.
    pub oldest_root: Version,
}

impl Archive {
    /// Takes everything that the service gives out of a collection. Nothing is verified here: what is broken is worth keeping
    /// as well.
    ///
    /// # Errors
    /// The service does not know the collection, cannot be asked, or gives a root that is none.
    pub async fn take(service: &TrustService, now: Timestamp, history: History) -> Result<Self, TrustError> {
        let mut archive = Self {
            gun: service.gun().clone(),
            taken_at: now,
            files: BTreeMap::new(),
            present: BTreeMap::new(),
            gaps: Vec::new(),
        };
        archive.take_roots(service).await?;
        let timestamp = archive.take_present::<TimestampFile>(service, &RoleName::Timestamp, &[Which::Current]).await?;
        let listed = timestamp.and_then(|timestamp| timestamp.snapshot.sha256).map(Which::Checksum);
        let wanted: Vec<Which> = listed.into_iter().chain([Which::Current]).collect();
        let snapshot = archive.take_present::<Snapshot>(service, &RoleName::Snapshot, &wanted).await?;
        let mut listed: BTreeMap<RoleName, Option<Which>> = BTreeMap::from([(RoleName::Targets, None)]);
        listed.extend(snapshot.iter().flat_map(|snapshot| {
            snapshot.meta.iter().map(|(role, meta)| (role.clone(), meta.sha256.map(Which::Checksum)))
        }));
        for (role, hash) in listed.into_iter().filter(|(role, _)| *role != RoleName::Root) {
            let wanted: Vec<Which> = hash.into_iter().chain([Which::Current]).collect();
            archive.take_present::<Targets>(service, &role, &wanted).await?;
            if history == History::Signed {
                archive.take_earlier(service, &role).await?;
            }
        }
        Ok(archive)
    }

    async fn take_roots(&mut self, service: &TrustService) -> Result<(), TrustError> {
        let role = RoleName::Root;
        let file = match service.fetch(Fetch { role: &role, which: Which::Current, limit: MAX_ROOT }).await {
            Answer::File(file) => file,
            Answer::Missing | Answer::Remnants => return Err(UpdateError::NoTrustData(self.gun.clone()).into()),
            Answer::Away(absence) => return Err(UpdateError::Away { role, absence }.into()),
        };
        let root = Unverified::<Root>::read(&role, file.clone())
            .map_err(|error| UpdateError::Metadata { role: role.clone(), error })?;
        let newest = root.untrusted().version;
        self.present.insert(role.clone(), newest);
        self.files.insert((role.clone(), newest), file);
        self.take_earlier(service, &role).await
    }

    /// Takes the present file of a role: the first of the given ones that the service has.
    async fn take_present<T: Payload>(
        &mut self,
        service: &TrustService,
        role: &RoleName,
        wanted: &[Which],
    ) -> Result<Option<T>, TrustError> {
        let limit = if *role == RoleName::Timestamp { MAX_TIMESTAMP } else { MAX_FILE };
        for which in wanted {
            let file = match service.fetch(Fetch { role, which: *which, limit }).await {
                Answer::File(file) => file,
                Answer::Missing | Answer::Remnants => continue,
                Answer::Away(absence) => return Err(UpdateError::Away { role: role.clone(), absence }.into()),
            };
            return Ok(match Unverified::<T>::read(role, file.clone()) {
                Ok(read) => {
                    let version = read.untrusted().version();
                    self.present.insert(role.clone(), version);
                    self.files.insert((role.clone(), version), file);
                    Some(read.into_untrusted())
                }
                Err(error) => {
                    self.gaps.push(Gap { file: role.to_string(), reason: error.to_string() });
                    None
                }
            });
        }
        self.gaps.push(Gap { file: role.to_string(), reason: "the service does not have it".to_owned() });
        Ok(None)
    }

    /// Takes the versions of a role before the present one, the newest first.
    async fn take_earlier(&mut self, service: &TrustService, role: &RoleName) -> Result<(), TrustError> {
        let Some(present) = self.present.get(role).map(|version| version.get()) else { return Ok(()) };
        let limit = if *role == RoleName::Root { MAX_ROOT } else { MAX_FILE };
        for version in (present.saturating_sub(MAX_EARLIER).max(1)..present).rev().filter_map(Version::new) {
            let gap = |reason: &str| Gap { file: format!("{version}.{role}"), reason: reason.to_owned() };
            match service.fetch(Fetch { role, which: Which::Version(version), limit }).await {
                Answer::File(file) if version_of(role, &file) == Some(version) => {
                    self.files.insert((role.clone(), version), file);
                }
                Answer::File(_) => self.gaps.push(gap("the service gives another file in its place")),
                Answer::Missing | Answer::Remnants => self.gaps.push(gap("the service does not have it")),
                Answer::Away(absence) => return Err(UpdateError::Away { role: role.clone(), absence }.into()),
            }
        }
        Ok(())
    }

    /// Verifies the archive as a client would have on the given day that had never seen the collection, and the chain of roots
    /// as a client would have that knew the earliest one.
    ///
    /// # Errors
    /// A client would have refused the collection.
    pub fn verify(&self, at: Timestamp, pinning: &Pinning) -> Result<Attested, TrustError> {
        let collection = self.update(at, pinning, None)?;
        let mut oldest_root = collection.root().version;
        let furthest = oldest_root.get().saturating_sub(MAX_ROTATIONS);
        while let Some(earlier) = oldest_root.get().checked_sub(1).and_then(Version::new)
            && earlier.get() >= furthest
            && self.files.contains_key(&(RoleName::Root, earlier))
        {
            oldest_root = earlier;
        }
        if oldest_root != collection.root().version {
            self.update(at, &Pinning::new(FirstUse::Deny), Some(oldest_root))?;
        }
        Ok(Attested { collection, oldest_root })
    }

    fn update(&self, now: Timestamp, pinning: &Pinning, known: Option<Version>) -> Result<Collection, TrustError> {
        let (gun, seen, purpose, lost_root) = (self.gun.clone(), Seen::default(), Purpose::Publish, LostRoot::Refuse);
        let mut update = Update::begin(Request { gun, now, pinning, seen, purpose, lost_root });
        loop {
            let answer = match update.next() {
                Step::Read(RoleName::Root) => self.version(&RoleName::Root, known),
                Step::Read(_) => Answer::Missing,
                Step::Fetch(wanted) => self.answer(wanted),
                Step::Done => return Ok(update.finish()?),
            };
            update.feed(answer)?;
        }
    }

    /// Answers as the service did.
    fn answer(&self, wanted: Fetch<'_>) -> Answer {
        let role = wanted.role;
        match wanted.which {
            Which::Current => self.version(role, self.present.get(role).copied()),
            Which::Version(version) => self.version(role, Some(version)),
            Which::Checksum(hash) => {
                let mut files = self.files.iter().filter(|((of, _), _)| of == role).map(|(_, file)| file);
                files.find(|file| sha256(file) == hash).map_or(Answer::Missing, |file| Answer::File(file.clone()))
            }
        }
    }

    fn version(&self, role: &RoleName, version: Option<Version>) -> Answer {
        let file = version.and_then(|version| self.files.get(&(role.clone(), version)));
        file.map_or(Answer::Missing, |file| Answer::File(file.clone()))
    }
}

/// Reads the version of a file that is not trusted.
fn version_of(role: &RoleName, file: &Bytes) -> Option<Version> {
    match role {
        RoleName::Root => Some(Unverified::<Root>::read(role, file.clone()).ok()?.untrusted().version),
        _ => Some(Unverified::<Targets>::read(role, file.clone()).ok()?.untrusted().version),
    }
}
