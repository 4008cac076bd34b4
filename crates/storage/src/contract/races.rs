//! Many at once, through two handles on one database.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use countersign_tuf::{Gun, RoleName};
use tokio::task::JoinSet;

use super::{Handle, Subject, at, gun, whole};
use crate::{Base, MetadataStore, PublishError, State};

pub(super) fn handle(subject: &Subject, n: usize) -> Handle {
    if n.is_multiple_of(2) { subject.first.clone() } else { subject.second.clone() }
}

async fn state(store: &dyn MetadataStore, gun: &Gun) -> State {
    store.state(gun, &BTreeSet::from(RoleName::BASE)).await.unwrap()
}

/// Publishes the same version `count` times at once; returns how many were stored and what is there afterwards.
async fn compete(subject: &Subject, gun: &Gun, base: Base, version: u64, count: usize) -> (usize, State) {
    let mut publishers = JoinSet::new();
    for n in 0..count {
        let (store, gun) = (handle(subject, n).metadata, gun.clone());
        publishers.spawn(async move { store.publish(&gun, base, &whole(version, &format!("by {n}")), at(0)).await });
    }
    let mut stored = 0;
    for result in publishers.join_all().await {
        match result {
            Ok(()) => stored += 1,
            Err(PublishError::Superseded | PublishError::VersionConflict { .. }) => {}
            Err(
                error @ (PublishError::Store(_)
                | PublishError::TooFarAhead { .. }
                | PublishError::TooHigh { .. }
                | PublishError::TooLarge { .. }),
            ) => {
                unreachable!("a race is not a failure of the store: {error:?}")
            }
        }
    }
    (stored, state(&*subject.first.metadata, gun).await)
}

/// Tells the text that the files were written with, which must be one and the same.
fn author(state: &State) -> String {
    let authors: BTreeSet<String> = state
        .files
        .values()
        .map(|file| {
            String::from_utf8(file.bytes.to_vec()).unwrap().splitn(3, ' ').nth(2).unwrap_or_default().to_owned()
        })
        .collect();
    assert_eq!(authors.len(), 1, "files of several publications: {authors:?}");
    authors.into_iter().next().unwrap()
}

/// Twenty publishers of the next version: one is stored, and all of it.
pub async fn of_twenty_conflicting_publishers_exactly_one_wins(subject: &Subject) {
    let gun = gun("example.com/race");
    subject.first.metadata.publish(&gun, Base::Nothing, &whole(1, "first"), at(0)).await.unwrap();
    let base = state(&*subject.first.metadata, &gun).await.base();
    for (version, base) in [(2, base), (3, Base::Anything)] {
        let (stored, state) = compete(subject, &gun, base, version, 20).await;
        assert_eq!((stored, state.files.len()), (1, 4));
        assert!(author(&state).starts_with("by "));
    }
}

/// Ten first publications: one is stored, and all of it.
pub async fn of_ten_first_publications_exactly_one_wins(subject: &Subject) {
    let (stored, state) = compete(subject, &gun("example.com/first"), Base::Nothing, 1, 10).await;
    assert_eq!((stored, state.files.len()), (1, 4));
    author(&state);
}

/// While 25 publications go by, every reader sees files of one of them, and never an older one than before.
pub async fn readers_always_see_whole_publications(subject: &Subject) {
    let gun = gun("example.com/readers");
    subject.first.metadata.publish(&gun, Base::Nothing, &whole(1, "1"), at(0)).await.unwrap();
    let done = Arc::new(AtomicBool::new(false));
    let mut readers = JoinSet::new();
    for n in 0..4 {
        let (store, gun, done) = (handle(subject, n).metadata, gun.clone(), Arc::clone(&done));
        readers.spawn(async move {
            let mut seen = 0;
            while !done.load(Ordering::Relaxed) {
                let state = state(&*store, &gun).await;
                assert_eq!(state.files.len(), 4);
                let version: u64 = author(&state).parse().unwrap();
                assert!(version >= seen, "went back from {seen} to {version}");
                seen = version;
                let versions: BTreeSet<u64> =
                    store.pointers(&gun).await.unwrap().iter().map(|p| p.version.get()).collect();
                assert_eq!(versions.len(), 1, "pointers of several publications: {versions:?}");
            }
        });
    }
    for version in 2..=26 {
        let store = handle(subject, usize::try_from(version).unwrap()).metadata;
        let base = state(&*store, &gun).await.base();
        store.publish(&gun, base, &whole(version, &version.to_string()), at(0)).await.unwrap();
    }
    done.store(true, Ordering::Relaxed);
    readers.join_all().await;
}

/// Publishing and deleting at once: afterwards there is a whole collection or none.
pub async fn publishing_and_deleting_leave_no_half(subject: &Subject) {
    let gun = gun("example.com/delete");
    for round in 0..10 {
        subject.first.metadata.publish(&gun, Base::Nothing, &whole(1, "first"), at(0)).await.unwrap();
        let base = state(&*subject.first.metadata, &gun).await.base();
        // Without a root: a publication that slipped in after the deletion would be half a collection.
        let mut half = whole(2, "second");
        half.retain(|file| *file.role() != RoleName::Root);
        let (one, other) = (handle(subject, round).metadata, handle(subject, round + 1).metadata);
        let (publication, deletion) = tokio::join!(one.publish(&gun, base, &half, at(1)), other.delete(&gun, at(1)));
        deletion.unwrap();
        assert!(matches!(publication, Ok(()) | Err(PublishError::Superseded)), "{publication:?}");
        assert_eq!(one.pointers(&gun).await.unwrap(), vec![], "round {round}");
    }
}
