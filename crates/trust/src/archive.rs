//! An archive of a collection: everything that its trust service gives out of it, byte for byte, and what can be verified of it
//! as of the day on which it was taken, also when the service is gone.

mod taking;

pub use taking::{Bounds, History, Kept, Shelf, Taken, take};

use crate::error::TrustError;
use bytes::Bytes;
use countersign_crypto::digest::sha256;
use countersign_tuf::metadata::{Root, Targets};
use countersign_tuf::update::{Answer, Fetch, LostRoot, MAX_ROTATIONS, Purpose, Request, Step, Update, Which};
use countersign_tuf::{Collection, FirstUse, Gun, Pinning, RoleName, Seen, Unverified, Version};
use jiff::Timestamp;
use std::collections::BTreeMap;

/// The files of one collection. Nothing in it is trusted before [`Archive::verify`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Archive {
    /// The collection.
    pub gun: Gun,
    /// When it was taken.
    pub taken_at: Timestamp,
    /// The files by role and version, at least those that [`Archive::needs`] names.
    pub files: BTreeMap<(RoleName, Version), Bytes>,
    /// How many files there are, also those that are only kept.
    pub kept: usize,
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
    /// Tells whether a file of a collection is needed to verify it, where these versions are the present ones.
    #[must_use]
    pub fn needs(present: &BTreeMap<RoleName, Version>, role: &RoleName, version: Version) -> bool {
        present.get(role).is_some_and(|last| match role {
            RoleName::Root => version <= *last && last.get() - version.get() <= MAX_ROTATIONS,
            _ => version == *last,
        })
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
