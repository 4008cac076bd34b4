//! Taking an archive from its service, file by file, so that whatever ends it leaves what was got.

use super::{Gap, version_of};
use crate::error::TrustError;
use crate::request_error::RequestError;
use bytes::Bytes;
use countersign_notary::TrustService;
use countersign_tuf::metadata::{Payload, Root, Snapshot, Targets, Timestamp as TimestampFile};
use countersign_tuf::update::{Absence, Answer, Fetch, MAX_FILE, MAX_ROOT, MAX_TIMESTAMP, UpdateError, Which};
use countersign_tuf::{RoleName, Unverified, Version};
use std::collections::{BTreeMap, BTreeSet, VecDeque};

/// Most earlier versions of one role that are asked for.
const MAX_EARLIER: u64 = 4096;
/// After so many failures in a row the service is asked whether it is there at all.
const MAX_SILENCES: u32 = 3;

/// How far back an archive goes for roles other than root, of which all versions are always taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum History {
    /// The present files.
    Present,
    /// Also the earlier files of `targets` and its delegations: what was signed before.
    Signed,
}

/// Most that one run takes of one collection: nothing that the service says is verified yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bounds {
    /// Bytes that the service sends; the file that passes the bound is the last one.
    pub bytes: u64,
    /// Files that the service is asked for.
    pub files: usize,
    /// Roles that list targets.
    pub roles: usize,
}

impl Default for Bounds {
    fn default() -> Self {
        Self { bytes: 16 << 30, files: 50_000, roles: 4096 }
    }
}

/// Where the files of a collection are kept, each as it arrives.
pub trait Shelf {
    /// What can go wrong with it.
    type Error: From<TrustError>;

    /// Returns a file of this version or checksum that was kept before.
    ///
    /// # Errors
    /// The shelf cannot be read.
    fn held(&self, role: &RoleName, which: Which) -> Result<Option<Bytes>, Self::Error>;

    /// Keeps a file. Another one of the same version that is there already stays.
    ///
    /// # Errors
    /// The shelf cannot be written.
    fn keep(&mut self, role: &RoleName, version: Version, file: &Bytes) -> Result<Kept, Self::Error>;
}

/// What became of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kept {
    /// It is on the shelf.
    Yes,
    /// Another file of its version is there.
    Other,
}

/// What a run has found out.
#[derive(Debug)]
pub struct Taken {
    /// The versions that the service gives as the present ones, and that were kept.
    pub present: BTreeMap<RoleName, Version>,
    /// Files that are known of and that the service did not give or that are no metadata.
    pub gaps: Vec<Gap>,
    /// The first thing that kept the service from giving what it may have.
    pub failure: Option<TrustError>,
}

/// Takes everything that the service gives out of a collection. Nothing is verified here: what is broken is worth keeping as
/// well. With the present root in hand a file that cannot be had is a gap, and the run goes on, unless nobody answers
/// any more.
///
/// # Errors
/// The service does not know the collection, cannot be asked, or gives a root that is none; or the shelf fails.
pub async fn take<S: Shelf>(
    service: &TrustService,
    history: History,
    bounds: Bounds,
    shelf: &mut S,
) -> Result<Taken, S::Error> {
    let taken = Taken { present: BTreeMap::new(), gaps: Vec::new(), failure: None };
    let mut taking = Taking { service, shelf, bounds, taken, silences: 0, ended: None };
    taking.everything(history).await?;
    Ok(taking.taken)
}

/// Why a file is not there.
#[derive(Default)]
struct Lack {
    reason: String,
    /// What failed; nothing where the service says that there is no such file.
    failure: Option<TrustError>,
}

impl From<&str> for Lack {
    fn from(reason: &str) -> Self {
        Self { reason: reason.to_owned(), failure: None }
    }
}

struct Taking<'a, S> {
    service: &'a TrustService,
    shelf: &'a mut S,
    /// What is left of the bounds.
    bounds: Bounds,
    taken: Taken,
    /// How often in a row nothing came.
    silences: u32,
    /// Why the service is asked for nothing more.
    ended: Option<String>,
}

impl<S: Shelf> Taking<'_, S> {
    async fn everything(&mut self, history: History) -> Result<(), S::Error> {
        let newest = self.root().await?;
        if self.taken.present.is_empty() {
            return Ok(());
        }
        self.earlier(&RoleName::Root, newest).await?;
        let timestamp = self.present::<TimestampFile>(&RoleName::Timestamp, None).await?;
        let listed = timestamp.and_then(|timestamp| timestamp.snapshot.sha256);
        let snapshot = self.present::<Snapshot>(&RoleName::Snapshot, listed.map(Which::Checksum)).await?;
        let listed = snapshot.iter().flat_map(|snapshot| &snapshot.meta).filter(|(role, _)| role.lists_targets());
        let listed = listed.map(|(role, meta)| (role.clone(), meta.sha256.map(Which::Checksum)));
        let mut waiting: VecDeque<_> = listed.chain([(RoleName::Targets, None)]).collect();
        let mut asked = BTreeSet::new();
        while let Some((role, listed)) = waiting.pop_front() {
            if !asked.insert(role.clone()) {
                continue;
            }
            if asked.len() > self.bounds.roles {
                let error = UpdateError::TooManyDelegations(self.bounds.roles);
                let lack = Lack { reason: error.to_string(), failure: Some(error.into()) };
                self.gap(&format!("{role} and further roles"), lack);
                break;
            }
            let targets = self.present::<Targets>(&role, listed).await?;
            if snapshot.is_none() {
                // Who else has signed is known from the files themselves then.
                let delegations = targets.iter().flat_map(|targets| targets.delegations.iter());
                waiting.extend(delegations.map(|delegation| (delegation.name.clone(), None)));
            }
            if let (History::Signed, Some(targets)) = (history, &targets) {
                self.earlier(&role, targets.version).await?;
            }
        }
        Ok(())
    }

    /// Takes the present root, without which nothing else is taken, and returns its version.
    async fn root(&mut self) -> Result<Version, S::Error> {
        let role = RoleName::Root;
        let file = match self.service.fetch(Fetch { role: &role, which: Which::Current, limit: MAX_ROOT }).await {
            Answer::File(file) => file,
            Answer::Missing | Answer::Remnants => {
                return Err(TrustError::from(UpdateError::NoTrustData(self.service.gun().clone())).into());
            }
            Answer::Away(absence) => return Err(TrustError::from(UpdateError::Away { role, absence }).into()),
        };
        let root = Unverified::<Root>::read(&role, file.clone())
            .map_err(|error| TrustError::from(UpdateError::Metadata { role: role.clone(), error }))?;
        let version = root.untrusted().version;
        self.keep_present(&role, version, &file)?;
        Ok(version)
    }

    /// Takes the present file of a role: the listed one, or else the one that the service calls the present one.
    async fn present<T: Payload>(&mut self, role: &RoleName, listed: Option<Which>) -> Result<Option<T>, S::Error> {
        let mut why = Lack::default();
        for which in listed.into_iter().chain([Which::Current]) {
            let file = match self.get(role, which).await? {
                Ok(file) => file,
                Err(lack) => {
                    why = lack;
                    continue;
                }
            };
            match Unverified::<T>::read(role, file.clone()) {
                Ok(read) => {
                    self.keep_present(role, read.untrusted().version(), &file)?;
                    return Ok(Some(read.into_untrusted()));
                }
                Err(error) => why = error.to_string().as_str().into(),
            }
        }
        let failed = why.failure.is_some();
        self.gap(role.as_str(), why);
        let (RoleName::Timestamp | RoleName::Snapshot, true) = (role, failed) else { return Ok(None) };
        let Some((version, file)) = self.last::<T>(role).await? else { return Ok(None) };
        self.keep_present(role, version, &file)?;
        Ok(Unverified::<T>::read(role, file).ok().map(Unverified::into_untrusted))
    }

    /// Finds the last file of a role that a service signs itself, where it fails to sign the present one anew: it has the
    /// earlier ones still, and counts them without gaps.
    async fn last<T: Payload>(&mut self, role: &RoleName) -> Result<Option<(Version, Bytes)>, S::Error> {
        let (mut last, mut none, mut next) = (None, None, Version::new(1));
        while let Some(version) = next {
            let read = self.get(role, Which::Version(version)).await?.ok();
            let read = read.and_then(|file| Unverified::<T>::read(role, file).ok());
            match read.filter(|read| read.untrusted().version() == version) {
                Some(read) => last = Some((version, read.file().clone())),
                None => none = Some(version.get()),
            }
            let below = last.as_ref().map_or(0, |(version, _)| version.get());
            next = match none {
                None => Version::new(below.saturating_mul(2)),
                Some(none) => Version::new(below + (none - below) / 2).filter(|between| between.get() > below),
            };
        }
        Ok(last)
    }

    fn keep_present(&mut self, role: &RoleName, version: Version, file: &Bytes) -> Result<(), S::Error> {
        match self.shelf.keep(role, version, file)? {
            Kept::Yes => drop(self.taken.present.insert(role.clone(), version)),
            Kept::Other => {
                self.gap(&format!("{version}.{role}"), "the service gives another one than it gave before".into());
            }
        }
        Ok(())
    }

    /// Takes the versions of a role before the present one, the newest first.
    async fn earlier(&mut self, role: &RoleName, present: Version) -> Result<(), S::Error> {
        let present = present.get();
        for version in (present.saturating_sub(MAX_EARLIER).max(1)..present).rev().filter_map(Version::new) {
            let name = format!("{version}.{role}");
            match self.get(role, Which::Version(version)).await? {
                Ok(file) if version_of(role, &file) == Some(version) => {
                    if self.shelf.keep(role, version, &file)? == Kept::Other {
                        self.gap(&name, "the service gives another one than it gave before".into());
                    }
                }
                Ok(_) => self.gap(&name, "the service gives another file in its place".into()),
                Err(lack) if self.ended.is_some() => {
                    self.gap(&format!("{name} and those before it"), lack);
                    break;
                }
                Err(lack) => self.gap(&name, lack),
            }
        }
        Ok(())
    }

    /// Gets a file from the shelf or, as long as somebody answers, from the service; or says why not.
    async fn get(&mut self, role: &RoleName, which: Which) -> Result<Result<Bytes, Lack>, S::Error> {
        if let Some(file) = self.shelf.held(role, which)? {
            return Ok(Ok(file));
        }
        if let Some(reason) = &self.ended {
            return Ok(Err(reason.as_str().into()));
        }
        let limit = match role {
            RoleName::Root => MAX_ROOT,
            RoleName::Timestamp => MAX_TIMESTAMP,
            _ => MAX_FILE,
        };
        let answer = self.service.fetch(Fetch { role, which, limit }).await;
        let sent = if let Answer::File(file) = &answer { file.len() as u64 } else { 0 };
        match (self.bounds.bytes.checked_sub(sent), self.bounds.files.checked_sub(1)) {
            (Some(bytes), Some(files)) => self.bounds = Bounds { bytes, files, ..self.bounds },
            _ => self.end_at_bound(),
        }
        match answer {
            Answer::File(file) => {
                self.silences = 0;
                Ok(Ok(file))
            }
            Answer::Missing | Answer::Remnants => {
                self.silences = 0;
                Ok(Err("the service does not have it".into()))
            }
            Answer::Away(absence) => Ok(Err(self.without(role, absence).await)),
        }
    }

    /// Goes on without a file, unless nobody answers any more.
    async fn without(&mut self, role: &RoleName, absence: Absence) -> Lack {
        let reason = absence.to_string();
        self.silences += 1;
        if self.silences.is_multiple_of(MAX_SILENCES) && !self.service.answers().await {
            self.ended = Some("nobody answers at the service any more".to_owned());
        }
        Lack { reason, failure: Some(UpdateError::Away { role: role.clone(), absence }.into()) }
    }

    fn end_at_bound(&mut self) {
        let error = RequestError::MoreThanOneRun(self.service.gun().clone());
        self.ended = Some(error.to_string());
        self.taken.failure.get_or_insert(error.into());
    }

    fn gap(&mut self, file: &str, lack: Lack) {
        self.taken.gaps.push(Gap { file: file.to_owned(), reason: lack.reason });
        if let Some(failure) = lack.failure {
            self.taken.failure.get_or_insert(failure);
        }
    }
}
