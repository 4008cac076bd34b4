//! Reads what was ever published to a collection, and holds it against what was acknowledged.

use std::collections::{BTreeMap, BTreeSet};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use countersign_crypto::digest::{Sha256Digest, sha256};
use serde_json::Value;

use crate::http::{Answered, Http};
use crate::publisher::{Collection, version};
use crate::reader::Reader;
use crate::report::{Part, Report};

/// Changes asked for at once.
const PAGE: usize = 1000;

/// Checks a collection whose service is calm again.
pub(crate) async fn check(http: &Http, collection: &Collection, feed: &[(String, String)], report: &Report) {
    report.count(Part::Checked, "collections");
    Reader::default().read_once(http, collection, report).await;
    let checked = History { http, gun: &collection.gun, report };
    if let Err(violation) = checked.check(collection, feed).await {
        report.violated(format!("{}: {violation}", collection.gun));
    }
}

struct History<'a> {
    http: &'a Http,
    gun: &'a str,
    report: &'a Report,
}

impl History<'_> {
    async fn check(&self, collection: &Collection, feed: &[(String, String)]) -> Result<(), String> {
        self.targets(collection).await?;
        let (mut below, mut timestamps) = (Floors::default(), Vec::new());
        let last = version(&self.file("timestamp.json").await?);
        for number in 1..=last {
            let timestamp = self.file(&format!("{number}.timestamp.json")).await?;
            if version(&timestamp) != number {
                return Err(format!("{number}.timestamp.json carries {}", version(&timestamp)));
            }
            self.report.count(Part::Checked, "timestamps with all they list");
            timestamps.push(sha256(&timestamp).hex());
            self.follow(&timestamp, &mut below).await?;
        }
        let announced: Vec<&String> =
            feed.iter().filter(|(gun, _)| *gun == self.gun).map(|(_, sha256)| sha256).collect();
        if announced != timestamps.iter().collect::<Vec<_>>() {
            return Err(format!("the feed has {} changes, of {} timestamps", announced.len(), timestamps.len()));
        }
        self.report.add(Part::Checked, "records of the change feed", announced.len() as u64);
        Ok(())
    }

    /// Every version is there, and what was acknowledged is what is stored.
    async fn targets(&self, collection: &Collection) -> Result<(), String> {
        let (acknowledged, last) = (collection.acknowledged(), version(&self.file("targets.json").await?));
        if last < collection.highest() {
            return Err(format!("{} was acknowledged, and {last} is current", collection.highest()));
        }
        let first = acknowledged.first_key_value().map_or(1, |(number, _)| *number);
        for number in first..=last {
            let targets = self.file(&format!("{number}.targets.json")).await?;
            if acknowledged.get(&number).is_some_and(|known| *known != sha256(&targets)) {
                return Err(format!("{number}.targets.json is not the one that was acknowledged"));
            }
        }
        self.report.add(Part::Checked, "acknowledged versions", acknowledged.len() as u64);
        let silent = last + 1 - first - acknowledged.len() as u64;
        self.report.add(Part::Checked, "versions without an answer that were stored", silent);
        Ok(())
    }

    /// What a timestamp lists, and what that lists, is all there, and no role's version falls from one timestamp to the next.
    async fn follow(&self, timestamp: &Bytes, floors: &mut Floors) -> Result<(), String> {
        let mut waiting = vec![("timestamp".to_owned(), timestamp.clone())];
        while let Some((lister, listing)) = waiting.pop() {
            for (role, digest) in listed(&listing) {
                if floors.checked.contains(&(role.clone(), digest)) {
                    continue;
                }
                let file = self.file(&format!("{role}.{}.json", digest.hex())).await?;
                let floor = floors.versions.entry(role.clone()).or_default();
                if sha256(&file) != digest || version(&file) <= *floor {
                    return Err(format!("{lister} lists {role} {} after {floor}", version(&file)));
                }
                *floor = version(&file);
                floors.checked.insert((role.clone(), digest));
                if role == "snapshot" {
                    waiting.push((role, file));
                }
            }
        }
        Ok(())
    }

    async fn file(&self, name: &str) -> Result<Bytes, String> {
        match self.http.file(self.gun, name).await {
            Answered::Ok(file) => Ok(file),
            other => Err(format!("{name} is not served: {other:?}")),
        }
    }
}

/// What the timestamps so far have listed.
#[derive(Default)]
struct Floors {
    versions: BTreeMap<String, u64>,
    checked: BTreeSet<(String, Sha256Digest)>,
}

/// The files that a timestamp or snapshot lists.
fn listed(file: &[u8]) -> Vec<(String, Sha256Digest)> {
    let json: Value = serde_json::from_slice(file).unwrap();
    let meta = json["signed"]["meta"].as_object().unwrap();
    let digest = |entry: &Value| {
        let bytes = STANDARD.decode(entry["hashes"]["sha256"].as_str().unwrap()).unwrap();
        Sha256Digest::from_slice(&bytes).unwrap()
    };
    meta.iter().map(|(role, entry)| (role.clone(), digest(entry))).collect()
}

/// Reads the whole change feed: collections and the digests of their timestamps, oldest first.
pub(crate) async fn feed(http: &Http) -> Vec<(String, String)> {
    let (mut all, mut after) = (Vec::new(), "0".to_owned());
    loop {
        let page = http.get(&format!("/v2/_trust/changefeed?records={PAGE}&change_id={after}")).await;
        let Answered::Ok(page) = page else { panic!("the change feed is not served: {page:?}") };
        let json: Value = serde_json::from_slice(&page).unwrap();
        let records = json["records"].as_array().unwrap();
        let text = |record: &Value, member: &str| record[member].as_str().unwrap().to_owned();
        all.extend(records.iter().map(|record| (text(record, "GUN"), text(record, "SHA256"))));
        match records.last() {
            Some(last) if records.len() == PAGE => after = text(last, "ID"),
            _ => return all,
        }
    }
}
