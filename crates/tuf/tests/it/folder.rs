//! A trust service that is a folder of files as served, and the ten lines that drive an update.

use bytes::Bytes;
use countersign_crypto::digest::sha256;
use countersign_tuf::update::{Absence, Answer, Fetch, LostRoot, Purpose, Request, Step, Update, UpdateError, Which};
use countersign_tuf::{Collection, Gun, Pinning, RoleName, Seen};
use std::path::{Path, PathBuf};

pub(crate) fn fixtures(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fixtures").join(path)
}

pub(crate) fn golden_now() -> jiff::Timestamp {
    "2026-11-22T12:00:00Z".parse().unwrap()
}

pub(crate) fn read(path: &Path) -> Option<Bytes> {
    std::fs::read(path).ok().map(Bytes::from)
}

/// Serves `N.role.json` and `role.json` as the reference does.
pub(crate) fn serve(folder: &Path, fetch: Fetch<'_>) -> Answer {
    let role = fetch.role.as_str();
    let (parent, base) = match role.rsplit_once('/') {
        Some((parent, base)) => (folder.join(parent), base),
        None => (folder.to_path_buf(), role),
    };
    let found = match fetch.which {
        Which::Current => read(&parent.join(format!("{base}.json"))),
        Which::Version(version) => read(&parent.join(format!("{version}.{base}.json"))),
        Which::Checksum(hash) => std::fs::read_dir(&parent).ok().and_then(|entries| {
            let files = entries.filter_map(|entry| read(&entry.unwrap().path()));
            files.into_iter().find(|file| sha256(file) == hash)
        }),
    };
    match found {
        Some(file) if file.len() as u64 <= fetch.limit => Answer::File(file),
        Some(_) => Answer::Away(Absence::Hostile("too large".into())),
        None => Answer::Missing,
    }
}

pub(crate) fn drive(
    request: Request<'_>,
    mut cached: impl FnMut(&RoleName) -> Answer,
    mut fetch: impl FnMut(Fetch<'_>) -> Answer,
) -> Result<Collection, UpdateError> {
    let mut update = Update::begin(request);
    loop {
        let answer = match update.next() {
            Step::Read(role) => cached(role),
            Step::Fetch(wanted) => fetch(wanted),
            Step::Done => return update.finish(),
        };
        update.feed(answer)?;
    }
}

pub(crate) fn request<'a>(gun: &str, pinning: &'a Pinning) -> Request<'a> {
    Request {
        gun: Gun::parse(gun).unwrap(),
        now: golden_now(),
        pinning,
        seen: Seen::default(),
        purpose: Purpose::Read,
        lost_root: LostRoot::Refuse,
    }
}

/// Reads a client's cache folder.
pub(crate) fn cache(folder: &Path) -> impl FnMut(&RoleName) -> Answer + use<> {
    let folder = folder.to_path_buf();
    move |role| read(&folder.join(format!("{role}.json"))).map_or(Answer::Missing, Answer::File)
}
