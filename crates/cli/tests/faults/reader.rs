//! Readers with a whole TUF client, who know at every moment what they must not be served any more.

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;
use countersign_tuf::update::{Absence, Answer, Fetch, LostRoot, Purpose, Request, Step, Update, UpdateError, Which};
use countersign_tuf::{Collection as Verified, Gun, Pinning, RoleName, Seen};
use jiff::Timestamp;

use crate::http::{Answered, Http};
use crate::publisher::{Collection, version};
use crate::report::{Part, Report};

const PAUSE: Duration = Duration::from_millis(20);

/// What one reader knows of one collection.
#[derive(Default)]
pub(crate) struct Reader {
    cache: BTreeMap<RoleName, Bytes>,
    seen: Seen,
}

impl Reader {
    /// Reads again and again until told to stop.
    pub(crate) async fn read_on(
        mut self,
        http: &Http,
        collection: &Collection,
        report: &Report,
        go_on: impl Fn() -> bool,
    ) {
        while go_on() {
            self.read_once(http, collection, report).await;
            tokio::time::sleep(PAUSE).await;
        }
    }

    pub(crate) async fn read_once(&mut self, http: &Http, collection: &Collection, report: &Report) {
        // What was acknowledged before the question was asked has to be in the answer.
        let floor = collection.highest();
        let mut away = false;
        match self.read(http, &collection.gun, &mut away).await {
            Ok(read) => {
                let targets = read.downloaded().get(&RoleName::Targets).or(self.cache.get(&RoleName::Targets));
                let served = targets.map_or(0, |file| version(file));
                // With the service away, an unexpired timestamp that was kept speaks for it.
                if served < floor && !away {
                    let gun = &collection.gun;
                    report.violated(format!("{gun} {floor} was acknowledged, and {served} was served after that"));
                }
                report.count(Part::Happened, if away { "reads from a cache" } else { "reads" });
                self.keep(&read);
            }
            Err(_) if away => report.count(Part::Happened, "reads without an answer"),
            Err(error) => report.violated(format!("{} cannot be read: {error}", collection.gun)),
        }
    }

    fn keep(&mut self, read: &Verified) {
        self.cache.extend(read.downloaded().iter().map(|(role, file)| (role.clone(), file.clone())));
        self.seen = read.seen().clone();
    }

    async fn read(&self, http: &Http, gun: &str, away: &mut bool) -> Result<Verified, UpdateError> {
        let pinning = Pinning::default();
        let mut update = Update::begin(Request {
            gun: Gun::parse(gun).unwrap(),
            now: Timestamp::now(),
            pinning: &pinning,
            seen: self.seen.clone(),
            purpose: Purpose::Publish,
            lost_root: LostRoot::Refuse,
        });
        loop {
            let answer = match update.next() {
                Step::Read(role) => self.cache.get(role).map_or(Answer::Missing, |file| Answer::File(file.clone())),
                Step::Fetch(wanted) => fetch(http, gun, wanted, away).await,
                Step::Done => break,
            };
            update.feed(answer)?;
        }
        update.finish()
    }
}

async fn fetch(http: &Http, gun: &str, wanted: Fetch<'_>, away: &mut bool) -> Answer {
    let role = wanted.role;
    let name = match wanted.which {
        Which::Current => format!("{role}.json"),
        Which::Version(version) => format!("{version}.{role}.json"),
        Which::Checksum(hash) => format!("{role}.{}.json", hash.hex()),
    };
    match http.file(gun, &name).await {
        Answered::Ok(file) => Answer::File(file),
        Answered::Refused(status, _) if status.as_u16() == 404 => Answer::Missing,
        Answered::Refused(status, code) => {
            // Nothing but absence has an excuse.
            Answer::Away(Absence::Unreachable(format!("{status} {code}")))
        }
        Answered::Away => {
            *away = true;
            Answer::Away(Absence::Unreachable("no answer".to_owned()))
        }
    }
}
