//! Whether a collection is sound, at an old service or after a restore: what is present there verifies as clients verify it, and the chain of roots
//! leads from the earliest to the present one. Ages do not count: services renew what expires, owners sign anew.

use std::collections::BTreeMap;

use countersign_storage::{MetadataStore, StoreError, Stored};
use countersign_tuf::metadata::Timestamp as TimestampFile;
use countersign_tuf::update::{Answer, Fetch, LostRoot, MAX_ROTATIONS, Purpose, Request, Step, Update, Which};
use countersign_tuf::{Collection, FirstUse, Gun, Pinning, RoleName, Seen, Unverified, Version};
use jiff::Timestamp;

/// What a collection has, in the order in which it was stored.
pub(crate) struct History {
    pub(crate) files: Vec<(RoleName, Version)>,
    present: BTreeMap<RoleName, Version>,
}

/// A collection that verifies.
pub(crate) struct Sound {
    pub(crate) collection: Collection,
    /// What some readers stumble over.
    pub(crate) problems: Vec<String>,
    /// What is worth knowing.
    pub(crate) remarks: Vec<String>,
}

impl History {
    pub(crate) fn of(files: Vec<(RoleName, Version)>) -> Self {
        let mut present = BTreeMap::new();
        for (role, version) in &files {
            let highest = present.entry(role.clone()).or_insert(*version);
            *highest = (*highest).max(*version);
        }
        Self { files, present }
    }

    pub(crate) fn present(&self, role: &RoleName) -> Option<Version> {
        self.present.get(role).copied()
    }

    fn has_root_before(&self, version: Version) -> bool {
        self.files.iter().any(|(role, found)| *role == RoleName::Root && *found < version)
    }

    /// The earliest root from which no version is missing up to the present one.
    fn oldest_root(&self, present: Version) -> Version {
        let has =
            |version: Version| self.files.iter().any(|(role, found)| *role == RoleName::Root && *found == version);
        let furthest = present.get().saturating_sub(MAX_ROTATIONS);
        let mut oldest = present;
        while let Some(earlier) = oldest.get().checked_sub(1).and_then(Version::new)
            && earlier.get() >= furthest
            && has(earlier)
        {
            oldest = earlier;
        }
        oldest
    }
}

/// Verifies a collection; an error is what a client would say.
pub(crate) async fn check(
    server: &dyn MetadataStore,
    gun: &Gun,
    history: &History,
    now: Timestamp,
) -> Result<Result<Sound, String>, StoreError> {
    let at = match present(server, gun, history, &RoleName::Timestamp).await {
        Ok(Some(file)) => valid_at(file, now),
        Ok(None) => return Ok(Err("it has no timestamp: it was never published whole".to_owned())),
        Err(error) => return damaged(error).map(Err),
    };
    let first = match update(server, gun, history, at, None).await? {
        Ok(collection) => collection,
        Err(problem) => return Ok(Err(problem)),
    };
    let newest = first.root().version;
    let oldest = history.oldest_root(newest);
    if oldest != newest
        && let Err(problem) = update(server, gun, history, at, Some(oldest)).await?
    {
        return Ok(Err(format!("the chain of roots from {oldest} to {newest} is broken: {problem}")));
    }
    let (mut problems, mut remarks) = (Vec::new(), Vec::new());
    if newest.get() - oldest.get() >= MAX_ROTATIONS {
        remarks.push(format!("roots before {oldest} were not checked: no reader follows so many rotations"));
    } else if history.has_root_before(oldest) {
        problems.push(format!("roots are missing: readers that know one before {oldest} cannot follow to {newest}"));
    }
    for (role, broken) in first.broken() {
        remarks.push(format!("{role} does not count for readers: {}", broken.reason));
    }
    let expired = first.all_targets().filter(|(_, file)| file.expires.is_before(now)).map(|(role, _)| role.to_string());
    let expired: Vec<String> =
        expired.chain(first.root().expires.is_before(now).then(|| RoleName::Root.to_string())).collect();
    if !expired.is_empty() {
        remarks.push(format!("expired, whose keys' holders have to sign anew: {}", expired.join(", ")));
    }
    Ok(Ok(Sound { collection: first, problems, remarks }))
}

/// Tells what is wrong with a row; that the database fails is nothing about the collection.
fn damaged(error: StoreError) -> Result<String, StoreError> {
    match error {
        StoreError::Damaged { .. } => Ok(error.to_string()),
        error => Err(error),
    }
}

/// A moment at which a timestamp was valid: now, or its last one.
fn valid_at(file: Stored, now: Timestamp) -> Timestamp {
    let read = Unverified::<TimestampFile>::read(&RoleName::Timestamp, file.bytes);
    let end = read.ok().and_then(|file| Timestamp::from_second(file.untrusted().expires.unix_seconds()).ok());
    end.map_or(now, |end| end.min(now))
}

async fn present(
    server: &dyn MetadataStore,
    gun: &Gun,
    history: &History,
    role: &RoleName,
) -> Result<Option<Stored>, StoreError> {
    match history.present(role) {
        Some(version) => server.by_version(gun, role, version).await,
        None => Ok(None),
    }
}

/// Does what a client does that has never seen the collection, or knows this root of it.
async fn update(
    server: &dyn MetadataStore,
    gun: &Gun,
    history: &History,
    now: Timestamp,
    known: Option<Version>,
) -> Result<Result<Collection, String>, StoreError> {
    let pinning = Pinning::new(if known.is_some() { FirstUse::Deny } else { FirstUse::Allow });
    let (gun, seen, purpose, lost_root) = (gun.clone(), Seen::default(), Purpose::Renew, LostRoot::Refuse);
    let request = Request { gun: gun.clone(), now, pinning: &pinning, seen, purpose, lost_root };
    let mut update = Update::begin(request);
    loop {
        let found = match update.next() {
            Step::Read(RoleName::Root) => match known {
                Some(known) => server.by_version(&gun, &RoleName::Root, known).await,
                None => Ok(None),
            },
            Step::Read(_) => Ok(None),
            Step::Fetch(Fetch { role, which, .. }) => match which {
                Which::Current => present(server, &gun, history, role).await,
                Which::Version(version) => server.by_version(&gun, role, version).await,
                Which::Checksum(sha256) => server.by_checksum(&gun, role, &sha256).await,
            },
            Step::Done => return Ok(update.finish().map_err(|error| error.to_string())),
        };
        let answer = match found {
            Ok(file) => file.map_or(Answer::Missing, |file| Answer::File(file.bytes)),
            Err(error) => return damaged(error).map(Err),
        };
        if let Err(error) = update.feed(answer) {
            return Ok(Err(error.to_string()));
        }
    }
}
