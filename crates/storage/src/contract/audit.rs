//! The audit log in the database.

use std::collections::BTreeSet;

use countersign_audit::{ChainName, Chains, Draft, Ending, Head, Report, Verifier};

use super::{Handle, Subject, at, file, gun, whole};
use crate::{AuditStore, Base, PublishError, Record};

/// Entries that each of several writers adds.
const EACH: u64 = 20;

fn log(handle: &Handle) -> &dyn AuditStore {
    handle.metadata.audit().unwrap()
}

fn chain(name: &str) -> ChainName {
    ChainName::parse(name).unwrap()
}

fn draft(event: &str) -> Draft {
    Draft::new(&std::collections::BTreeMap::from([("event", event)])).unwrap()
}

fn record(name: &str, event: &str) -> Record {
    Record { chain: chain(name), draft: draft(event) }
}

/// All lines of a chain, read in small pages.
async fn lines(handle: &Handle, name: &str) -> Vec<String> {
    let mut all: Vec<String> = Vec::new();
    loop {
        let page = log(handle).lines(&chain(name), all.len() as u64, 7).await.unwrap();
        if page.is_empty() {
            return all;
        }
        all.extend(page);
    }
}

async fn verified(handle: &Handle, name: &str) -> Report {
    let mut verifier = Verifier::new(Chains::One, BTreeSet::new());
    for line in lines(handle, name).await {
        verifier.line(line.as_bytes(), Ending::Newline).unwrap();
    }
    verifier.finish().unwrap()
}

/// The entry of a publication is there exactly if the publication is.
pub async fn a_publication_and_its_entry_are_one(subject: &Subject) {
    let (store, gun) = (log(&subject.first), gun("example.com/a"));
    store.publish_recorded(&gun, Base::Nothing, &whole(1, "a"), at(0), &record("x", "one")).await.unwrap();
    let stale = store.publish_recorded(&gun, Base::Nothing, &whole(2, "a"), at(0), &record("x", "two")).await;
    assert!(matches!(stale, Err(PublishError::Superseded)), "{stale:?}");
    let old = store.publish_recorded(&gun, Base::Anything, &whole(1, "b"), at(0), &record("x", "three")).await;
    assert!(matches!(old, Err(PublishError::VersionConflict { .. })), "{old:?}");
    store.publish_recorded(&gun, Base::Anything, &whole(2, "c"), at(0), &record("x", "four")).await.unwrap();
    let lines = lines(&subject.second, "x").await;
    let [one, four] = lines.as_slice() else { unreachable!("two entries, got {lines:?}") };
    assert!(one.contains("one") && four.contains("four"), "{lines:?}");
    let pointers = subject.second.metadata.pointers(&gun).await.unwrap();
    assert!(!pointers.is_empty() && pointers.iter().all(|pointer| pointer.version.get() == 2));
}

/// Chains stand beside each other, and heads are the last entries.
pub async fn every_chain_has_its_own_head(subject: &Subject) {
    assert_eq!(log(&subject.first).heads().await.unwrap(), []);
    let first = log(&subject.first).append(&chain("b"), &[draft("one"), draft("two")]).await.unwrap();
    let second = log(&subject.second).append(&chain("a"), &[draft("one")]).await.unwrap();
    assert_eq!((first.seq, second.seq), (2, 1));
    assert_eq!(log(&subject.second).append(&chain("a"), &[]).await.unwrap(), second);
    assert_eq!(log(&subject.first).heads().await.unwrap(), [(chain("a"), second), (chain("b"), first)]);
    assert_eq!(verified(&subject.first, "b").await.chains.first().unwrap().head, first);
}

/// However many add at the same time, from several processes to the same chain, it has no gap and no fork.
pub async fn one_chain_grows_in_sequence_whoever_adds_to_it(subject: &Subject) {
    let mut running = Vec::new();
    for writer in 0..4_u64 {
        let handle = if writer % 2 == 0 { subject.first.clone() } else { subject.second.clone() };
        running.push(tokio::spawn(async move {
            let gun = gun(&format!("example.com/{writer}"));
            for number in 1..=EACH {
                let files = [file("timestamp", number, "x")];
                let record = record("shared", "publish");
                let published = log(&handle).publish_recorded(&gun, Base::Anything, &files, at(0), &record);
                published.await.unwrap();
                log(&handle).append(&chain("shared"), &[draft("other")]).await.unwrap();
            }
        }));
    }
    for task in running {
        task.await.unwrap();
    }
    let Head { seq, .. } = verified(&subject.first, "shared").await.chains.first().unwrap().head;
    assert_eq!(seq, 4 * EACH * 2);
}
