//! Somebody who reads a collection with a whole TUF client: what he knows is kept from read to read.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use countersign_tuf::update::{Absence, Answer, Fetch, LostRoot, Purpose, Request, Step, Update, UpdateError, Which};
use countersign_tuf::{Collection, Gun, Pinning, RoleName, Seen};

use crate::service::TestService;

/// What a reader knows of one collection.
#[derive(Default, Clone)]
pub(crate) struct Reader {
    cache: BTreeMap<RoleName, Bytes>,
    seen: Seen,
}

impl Reader {
    /// Reads the collection; what a refused update brought is not kept.
    pub(crate) async fn read(&mut self, service: &TestService, gun: &str) -> Result<Collection, UpdateError> {
        let pinning = Pinning::default();
        let mut update = Update::begin(Request {
            gun: Gun::parse(gun).unwrap(),
            now: service.time.now(),
            pinning: &pinning,
            seen: self.seen.clone(),
            purpose: Purpose::Publish,
            lost_root: LostRoot::Refuse,
        });
        loop {
            let answer = match update.next() {
                Step::Read(role) => self.cache.get(role).map_or(Answer::Missing, |file| Answer::File(file.clone())),
                Step::Fetch(wanted) => fetch(service, gun, wanted).await,
                Step::Done => break,
            };
            update.feed(answer)?;
        }
        let collection = update.finish()?;
        self.cache.extend(collection.downloaded().iter().map(|(role, file)| (role.clone(), file.clone())));
        self.seen = collection.seen().clone();
        Ok(collection)
    }
}

impl Reader {
    /// Tells whether the collection was ever read.
    pub(crate) fn knows_something(&self) -> bool {
        !self.cache.is_empty()
    }
}

async fn fetch(service: &TestService, gun: &str, wanted: Fetch<'_>) -> Answer {
    let role = wanted.role;
    let name = match wanted.which {
        Which::Current => format!("{role}.json"),
        Which::Version(version) => format!("{version}.{role}.json"),
        Which::Checksum(hash) => format!("{role}.{}.json", hash.hex()),
    };
    let answered = service.file(gun, &name).await;
    match answered.status.as_u16() {
        200 => Answer::File(answered.body.into()),
        404 => Answer::Missing,
        _ => Answer::Away(Absence::Unreachable(answered.text())),
    }
}

/// The names that a role has signed; none when the role has no file.
pub(crate) fn names(collection: &Collection, role: &str) -> Option<BTreeSet<String>> {
    let file = collection.targets(&RoleName::parse(role).unwrap())?;
    Some(file.entries.iter().map(|(name, _)| name.into_owned()).collect())
}
