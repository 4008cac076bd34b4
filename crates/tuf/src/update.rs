//! The update state machine: from what a client knows to a verified view of a collection, without I/O.
//!
//! [`Update::next`] says what is needed, [`Update::feed`] takes it, checks it and advances. Nothing is handed out before
//! everything has been verified; what a refused update brought is dropped with it, so it can never become the reference
//! point of a later one.

mod chain;
mod error;
mod tree;

pub use error::{Absence, UpdateError};

use crate::collection::{Collection, Note};
use crate::metadata::{FileMeta, MetadataError, Payload, Root, Snapshot, Targets, Timestamp};
use crate::name::{Gun, RoleName, Version};
use crate::pinning::{Pin, Pinning};
use crate::root_trust::{self, Age};
use crate::seen::{Regression, Seen};
use crate::verify::{TrustedKeys, Unverified, Verified};
use bytes::Bytes;
use countersign_crypto::digest::{Sha256Digest, sha256};
use std::collections::BTreeMap;
pub(crate) use tree::Tree;

/// Largest timestamp file in bytes.
pub const MAX_TIMESTAMP: u64 = 1 << 20;
/// Largest root file in bytes.
pub const MAX_ROOT: u64 = 16 << 20;
/// Largest file of any other role in bytes, whatever the referencing file says.
pub const MAX_FILE: u64 = 100 << 20;
/// Most rotations of the root that one update follows.
pub const MAX_ROTATIONS: u64 = 256;

/// What an update is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    /// Looking up and verifying: an unexpired cached state will do when the service is away.
    Read,
    /// Changing: only the service's present state will do.
    Publish,
    /// Replacing a root, targets or snapshot that may have expired, or a root whose certificates may have: as
    /// [`Purpose::Publish`], but their age does not count. What comes of it is for making the next ones, and for nothing
    /// else. The timestamp says what is present, and has to be valid here too.
    Renew,
}

/// What is left of a collection whose cached root is gone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LostRoot {
    /// Refuse when anything shows that the collection was known before.
    Refuse,
    /// The person has agreed that trust is established anew.
    Reestablish,
}

/// What the next step needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step<'a> {
    /// The cached file of a role.
    Read(&'a RoleName),
    /// A file from the trust service.
    Fetch(Fetch<'a>),
    /// Nothing: [`Update::finish`] may be called.
    Done,
}

/// A file wanted from the trust service.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fetch<'a> {
    /// The role.
    pub role: &'a RoleName,
    /// Which file of the role.
    pub which: Which,
    /// Most bytes to accept.
    pub limit: u64,
}

/// Which file of a role is wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Which {
    /// The current one.
    Current,
    /// The one with this version.
    Version(Version),
    /// The one with this hash.
    Checksum(Sha256Digest),
}

/// The answer to a [`Step`].
#[derive(Debug, Clone)]
pub enum Answer {
    /// The bytes.
    File(Bytes),
    /// There is no such file; for a cached root: and nothing else of the collection either.
    Missing,
    /// The cached root is missing although other files of the collection are there.
    Remnants,
    /// The service could not be asked.
    Away(Absence),
}

/// What a client wants from an update and what it knows.
#[derive(Debug, Clone)]
pub struct Request<'a> {
    /// The collection.
    pub gun: Gun,
    /// The present time; one for the whole update.
    pub now: jiff::Timestamp,
    /// The pins.
    pub pinning: &'a Pinning,
    /// The remembered floors.
    pub seen: Seen,
    /// What the update is for.
    pub purpose: Purpose,
    /// What to do when the cached root is gone.
    pub lost_root: LostRoot,
}

/// An update in progress.
#[derive(Debug)]
pub struct Update<'a> {
    request: Request<'a>,
    state: State,
    root: Option<Verified<Root>>,
    root_checked: bool,
    timestamp: Option<Verified<Timestamp>>,
    snapshot: Option<Verified<Snapshot>>,
    tree: Tree,
    downloaded: BTreeMap<RoleName, Bytes>,
    /// Cached files that are not the present ones.
    stale: BTreeMap<RoleName, Bytes>,
    notes: Vec<Note>,
}

#[derive(Debug)]
enum State {
    CachedRoot,
    FirstRoot,
    Timestamp,
    CachedTimestamp,
    Snapshot(Source),
    NewestRoot(Box<UpdateError>),
    RootLink {
        newest: Box<Unverified<Root>>,
        version: Version,
    },
    Targets(Source),
    Done,
    /// An answer was refused: nothing can come of this update any more.
    Failed,
}

/// Where the file of the present state is looked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Source {
    Cache,
    Service,
}

impl<'a> Update<'a> {
    /// Begins an update.
    #[must_use]
    pub fn begin(request: Request<'a>) -> Self {
        Self {
            request,
            state: State::CachedRoot,
            root: None,
            root_checked: false,
            timestamp: None,
            snapshot: None,
            tree: Tree::default(),
            downloaded: BTreeMap::new(),
            stale: BTreeMap::new(),
            notes: Vec::new(),
        }
    }

    /// Says what is needed next.
    #[must_use]
    pub fn next(&self) -> Step<'_> {
        let fetch = |role, which, limit| Step::Fetch(Fetch { role, which, limit });
        match &self.state {
            State::CachedRoot => Step::Read(&RoleName::Root),
            State::FirstRoot | State::NewestRoot(_) => fetch(&RoleName::Root, Which::Current, MAX_ROOT),
            State::RootLink { version, .. } => fetch(&RoleName::Root, Which::Version(*version), MAX_ROOT),
            State::Timestamp => fetch(&RoleName::Timestamp, Which::Current, MAX_TIMESTAMP),
            State::CachedTimestamp => Step::Read(&RoleName::Timestamp),
            State::Snapshot(source) => match &self.timestamp {
                Some(timestamp) => wanted(&RoleName::Snapshot, &timestamp.snapshot, *source),
                None => Step::Done,
            },
            State::Targets(source) => match self.tree.current() {
                Some((role, meta)) => wanted(role, meta, *source),
                None => Step::Done,
            },
            State::Done | State::Failed => Step::Done,
        }
    }

    /// Takes the answer to the present step, checks it and advances.
    ///
    /// # Errors
    /// The answer is not acceptable; the update has failed and nothing of it is to be kept.
    pub fn feed(&mut self, answer: Answer) -> Result<(), UpdateError> {
        match std::mem::replace(&mut self.state, State::Failed) {
            State::CachedRoot => self.cached_root(answer),
            State::FirstRoot => self.first_root(answer),
            State::Timestamp => self.timestamp(answer),
            State::CachedTimestamp => {
                self.remember_stale(&RoleName::Timestamp, answer);
                self.state = State::Timestamp;
                Ok(())
            }
            State::Snapshot(source) => self.snapshot(answer, source),
            State::NewestRoot(cause) => self.newest_root(answer, *cause),
            State::RootLink { newest, version } => self.root_link(answer, *newest, version),
            State::Targets(source) => self.targets(answer, source),
            State::Done => {
                self.state = State::Done;
                Ok(())
            }
            State::Failed => Err(UpdateError::Incomplete),
        }
    }

    /// Ends a complete update with the verified view.
    ///
    /// # Errors
    /// Something is still needed, or an answer was refused.
    pub fn finish(self) -> Result<Collection, UpdateError> {
        let pin = self.later_pin();
        let Self {
            request,
            state: State::Done,
            root: Some(root),
            timestamp: Some(timestamp),
            snapshot: Some(snapshot),
            ..
        } = self
        else {
            return Err(UpdateError::Incomplete);
        };
        if request.purpose != Purpose::Renew {
            root_trust::check_current(&root, &request.gun, pin, request.now)?;
        }
        Ok(Collection::new(request, root, timestamp, snapshot, self.tree, self.downloaded, self.notes))
    }

    /// How the time counts for the newest root.
    fn newest_age(&self) -> Age {
        match self.request.purpose {
            Purpose::Read | Purpose::Publish => Age::Current(self.request.now),
            Purpose::Renew => Age::Past(self.request.now),
        }
    }

    fn pin(&self) -> Pin<'a> {
        self.request.pinning.pin(&self.request.gun)
    }

    /// The pin that is held against a root that is known: that first use was denied later does not count.
    fn later_pin(&self) -> Pin<'a> {
        if matches!(self.pin(), Pin::Denied) { Pin::FirstUse } else { self.pin() }
    }

    fn trusted_root(&self) -> Result<&Verified<Root>, UpdateError> {
        self.root.as_ref().ok_or(UpdateError::Incomplete)
    }

    fn keys(&self, role: &RoleName) -> Result<TrustedKeys, UpdateError> {
        self.trusted_root()?.keys_of(role).ok_or(UpdateError::Incomplete)
    }

    /// A damaged cached root is an error: a lost anchor is never silently made anew.
    fn cached_root(&mut self, answer: Answer) -> Result<(), UpdateError> {
        let known = matches!(answer, Answer::Remnants) || !self.request.seen.is_empty();
        let file = match answer {
            Answer::File(file) => file,
            Answer::Away(absence) => return Err(UpdateError::Away { role: RoleName::Root, absence }),
            Answer::Missing | Answer::Remnants if known && self.request.lost_root == LostRoot::Refuse => {
                return Err(UpdateError::LostRoot(self.request.gun.clone()));
            }
            Answer::Missing | Answer::Remnants => {
                self.state = State::FirstRoot;
                return Ok(());
            }
        };
        let candidate = Unverified::<Root>::read(&RoleName::Root, file).map_err(UpdateError::CachedRoot)?;
        // A pin added after the first use is held against the cached root too.
        let (gun, now, pin) = (&self.request.gun, self.request.now, self.later_pin());
        let root = root_trust::verify_root(candidate, gun, pin, Age::Past(now))?;
        let current = root_trust::check_current(&root, gun, pin, now);
        self.root = Some(root);
        self.state = match current {
            Ok(()) => State::CachedTimestamp,
            Err(expired) => State::NewestRoot(Box::new(expired.into())),
        };
        Ok(())
    }

    fn first_root(&mut self, answer: Answer) -> Result<(), UpdateError> {
        let file = match answer {
            Answer::File(file) => file,
            Answer::Away(absence) => return Err(UpdateError::Away { role: RoleName::Root, absence }),
            _ => return Err(UpdateError::NoTrustData(self.request.gun.clone())),
        };
        let candidate = read(&RoleName::Root, file)?;
        let root = root_trust::verify_root(candidate, &self.request.gun, self.pin(), self.newest_age())?;
        if matches!(self.pin(), Pin::FirstUse) {
            self.notes.push(Note::FirstUse(root.signers().collect()));
        }
        self.downloaded.insert(RoleName::Root, root.file().clone());
        self.root = Some(root);
        self.state = State::Timestamp;
        Ok(())
    }

    fn timestamp(&mut self, answer: Answer) -> Result<(), UpdateError> {
        let file = match answer {
            Answer::File(file) => file,
            Answer::Away(absence) => return self.without_timestamp(absence),
            _ => return self.without_timestamp(Absence::NotFound),
        };
        let verified = match self.verify_timestamp(file) {
            Ok(verified) => verified,
            Err(error) => return self.try_newer_root(error),
        };
        if self.stale.get(&RoleName::Timestamp) != Some(verified.file()) {
            self.downloaded.insert(RoleName::Timestamp, verified.file().clone());
        }
        self.timestamp = Some(verified);
        self.state = State::Snapshot(Source::Cache);
        Ok(())
    }

    /// Interference is not absence: only a service that is away lets the cache speak.
    fn may_use_cache(&self, absence: &Absence) -> bool {
        self.request.purpose == Purpose::Read && absence.is_harmless()
    }

    fn verify_timestamp(&self, file: Bytes) -> Result<Verified<Timestamp>, UpdateError> {
        let keys = self.keys(&RoleName::Timestamp)?;
        let verified = read::<Timestamp>(&RoleName::Timestamp, file)?.verify(&keys).map_err(|(error, _)| error)?;
        self.check_floor(&verified, &keys)?;
        verified.unexpired(self.request.now)?;
        Ok(verified)
    }

    /// Checks a file against what was seen before, and against a cached file that others may have left.
    fn check_floor<T: Payload>(&self, verified: &Verified<T>, keys: &TrustedKeys) -> Result<(), UpdateError> {
        self.request.seen.check(verified, keys)?;
        let stale = self.stale.get(verified.role());
        check_stale(verified, keys, stale, &self.request.seen)
    }

    /// Keeps a cached file that is not the present one: if it verifies, its version is a floor.
    fn remember_stale(&mut self, role: &RoleName, answer: Answer) {
        if let Answer::File(file) = answer {
            self.stale.insert(role.clone(), file);
        }
    }

    /// Goes on with the cached timestamp where that is allowed: it verifies, and has not expired.
    fn without_timestamp(&mut self, absence: Absence) -> Result<(), UpdateError> {
        let cached = self.stale.get(&RoleName::Timestamp).filter(|_| self.may_use_cache(&absence)).cloned();
        let Some(cached) = cached.and_then(|file| self.verify_timestamp(file).ok()) else {
            return match absence {
                Absence::NotFound => self.try_newer_root(UpdateError::NoTrustData(self.request.gun.clone())),
                absence => Err(UpdateError::Away { role: RoleName::Timestamp, absence }),
            };
        };
        self.notes.push(Note::CachedTimestamp(absence));
        self.timestamp = Some(cached);
        self.state = State::Snapshot(Source::Cache);
        Ok(())
    }

    fn snapshot(&mut self, answer: Answer, source: Source) -> Result<(), UpdateError> {
        let Some(timestamp) = &self.timestamp else { return Err(UpdateError::Incomplete) };
        let meta = timestamp.snapshot.clone();
        let Some(file) = self.listed(&RoleName::Snapshot, &meta, answer, source)? else {
            self.state = State::Snapshot(Source::Service);
            return Ok(());
        };
        let keys = self.keys(&RoleName::Snapshot)?;
        let verified = read::<Snapshot>(&RoleName::Snapshot, file).and_then(|read| {
            let verified = read.verify(&keys).map_err(|(error, _)| error)?;
            self.check_floor(&verified, &keys)?;
            if self.request.purpose != Purpose::Renew {
                verified.unexpired(self.request.now)?;
            }
            Ok(verified)
        });
        let verified = match verified {
            Ok(verified) => verified,
            Err(error) => return self.try_newer_root(error),
        };
        let root_entry = verified.meta.get(&RoleName::Root).ok_or(UpdateError::Incomplete)?;
        if let Err(mismatch) = root_entry.check(self.trusted_root()?.file()) {
            return self.try_newer_root(UpdateError::Mismatch { role: RoleName::Root, mismatch });
        }
        if source == Source::Service {
            self.downloaded.insert(RoleName::Snapshot, verified.file().clone());
        }
        let targets = verified.meta.get(&RoleName::Targets).ok_or(UpdateError::Incomplete)?.clone();
        self.tree.begin(targets);
        self.snapshot = Some(verified);
        self.state = State::Targets(Source::Cache);
        Ok(())
    }

    fn targets(&mut self, answer: Answer, source: Source) -> Result<(), UpdateError> {
        let Some((role, meta)) = self.tree.current().map(|(role, meta)| (role.clone(), meta.clone())) else {
            return Err(UpdateError::Incomplete);
        };
        let Some(file) = self.listed(&role, &meta, answer, source)? else {
            self.state = State::Targets(Source::Service);
            return Ok(());
        };
        if source == Source::Service {
            self.downloaded.insert(role.clone(), file.clone());
        }
        let keys = match role {
            RoleName::Targets => self.keys(&role)?,
            _ => self.tree.delegated_keys(&role)?,
        };
        let read = read::<Targets>(&role, file)?;
        let Some(snapshot) = &self.snapshot else { return Err(UpdateError::Incomplete) };
        let stale = self.stale.get(&role);
        match self.tree.take(read, &keys, &self.request, snapshot, stale) {
            Ok(()) => {}
            Err(error) if role == RoleName::Targets => return self.try_newer_root(error),
            Err(error) => return Err(error),
        }
        self.state = if self.tree.current().is_some() { State::Targets(Source::Cache) } else { State::Done };
        Ok(())
    }

    /// Takes a listed file if it is exactly the one listed; a cached one that is not is no error, it is fetched.
    fn listed(
        &mut self,
        role: &RoleName,
        meta: &FileMeta,
        answer: Answer,
        source: Source,
    ) -> Result<Option<Bytes>, UpdateError> {
        match (answer, source) {
            (Answer::File(file), _) => match (meta.check(&file), source) {
                (Ok(()), _) => Ok(Some(file)),
                (Err(mismatch), Source::Service) => Err(UpdateError::Mismatch { role: role.clone(), mismatch }),
                (Err(_), Source::Cache) => {
                    self.remember_stale(role, Answer::File(file));
                    Ok(None)
                }
            },
            (_, Source::Cache) => Ok(None),
            (Answer::Away(absence), Source::Service) => Err(UpdateError::Away { role: role.clone(), absence }),
            (_, Source::Service) => Err(UpdateError::MissingFile { role: role.clone(), sha256: meta.sha256 }),
        }
    }
}

fn read<T: Payload>(role: &RoleName, file: Bytes) -> Result<Unverified<T>, UpdateError> {
    Unverified::read(role, file).map_err(|error: MetadataError| UpdateError::Metadata { role: role.clone(), error })
}

/// Asks for a listed file, first of the cache, then of the service.
fn wanted<'a>(role: &'a RoleName, meta: &FileMeta, source: Source) -> Step<'a> {
    match (source, meta.sha256) {
        (Source::Cache, _) => Step::Read(role),
        (Source::Service, Some(hash)) => {
            Step::Fetch(Fetch { role, which: Which::Checksum(hash), limit: meta.length.min(MAX_FILE) })
        }
        (Source::Service, None) => Step::Fetch(Fetch { role, which: Which::Current, limit: meta.length.min(MAX_FILE) }),
    }
}

/// Checks a file's version against a cached file of the same role, if that one verifies under the same keys: the cache
/// may be another client's, that keeps no floors.
fn check_stale<T: Payload>(
    verified: &Verified<T>,
    keys: &TrustedKeys,
    stale: Option<&Bytes>,
    seen: &Seen,
) -> Result<(), UpdateError> {
    let Some(stale) =
        stale.filter(|file| *file != verified.file() && seen.sha256(verified.role()) != Some(sha256(file)))
    else {
        return Ok(());
    };
    let stale = Unverified::<T>::read(verified.role(), stale.clone()).ok().and_then(|read| read.verify(keys).ok());
    if let Some(stale) = stale {
        verified.at_least(stale.version())?;
        let other = verified.version() == stale.version() && verified.envelope().signed() != stale.envelope().signed();
        if other && seen.sha256(verified.role()) != Some(sha256(verified.file())) {
            let (role, version) = (verified.role().clone(), stale.version());
            return Err(Regression::Changed { role, version }.into());
        }
    }
    Ok(())
}
