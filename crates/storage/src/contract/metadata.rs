//! Files, pointers, versions, bases and deletion.

use std::collections::BTreeSet;

use countersign_crypto::digest::sha256;
use countersign_tuf::accept::MAX_VERSION_STEP;
use countersign_tuf::{Gun, RoleName, Version};

use super::{Subject, at, file, gun, role, whole};
use crate::{Base, Deletion, MetadataStore, NewMetadata, PageSize, PublishError};

async fn publish(store: &dyn MetadataStore, gun: &Gun, files: &[NewMetadata]) -> Result<(), PublishError> {
    store.publish(gun, Base::Anything, files, at(0)).await
}

async fn current_version(store: &dyn MetadataStore, gun: &Gun, name: &str) -> Option<u64> {
    store.current(gun, &role(name)).await.unwrap().map(|stored| stored.version.get())
}

fn conflict(result: Result<(), PublishError>) -> (String, u64, u64) {
    match result {
        Err(PublishError::VersionConflict { role, offered, stored }) => (role.to_string(), offered.get(), stored.get()),
        other => unreachable!("expected a version conflict, got {other:?}"),
    }
}

/// Nothing is found in a collection that was never published.
pub async fn a_new_collection_has_nothing(subject: &Subject) {
    let store = &*subject.first.metadata;
    let gun = gun("example.com/new");
    for role in RoleName::BASE {
        assert_eq!(store.current(&gun, &role).await.unwrap(), None);
        assert_eq!(store.by_version(&gun, &role, Version::FIRST).await.unwrap(), None);
        assert_eq!(store.by_checksum(&gun, &role, &sha256(b"")).await.unwrap(), None);
    }
    assert_eq!(store.pointers(&gun).await.unwrap(), vec![]);
    let state = store.state(&gun, &BTreeSet::from(RoleName::BASE)).await.unwrap();
    assert_eq!((state.timestamp, state.files.len()), (None, 0));
}

/// A published file is found as current, by version, by checksum and among the pointers, from every handle.
pub async fn the_first_publication_is_found_every_way(subject: &Subject) {
    let gun = gun("example.com/first");
    let files = whole(1, "first");
    subject.first.metadata.publish(&gun, Base::Nothing, &files, at(7)).await.unwrap();
    for store in [&*subject.first.metadata, &*subject.second.metadata] {
        for file in &files {
            let current = store.current(&gun, file.role()).await.unwrap().unwrap();
            assert_eq!((&current.role, current.version, &current.bytes), (file.role(), file.version(), file.bytes()));
            assert_eq!((current.sha256, current.stored_at), (file.sha256(), at(7)));
            assert_eq!(store.by_version(&gun, file.role(), file.version()).await.unwrap().as_ref(), Some(&current));
            assert_eq!(store.by_checksum(&gun, file.role(), &file.sha256()).await.unwrap().as_ref(), Some(&current));
        }
        let roles: Vec<String> = store.pointers(&gun).await.unwrap().iter().map(|p| p.role.to_string()).collect();
        assert_eq!(roles, ["root", "snapshot", "targets", "timestamp"]);
    }
}

/// A version may be skipped.
pub async fn gaps_between_versions_are_fine(subject: &Subject) {
    let store = &*subject.first.metadata;
    let gun = gun("example.com/gaps");
    publish(store, &gun, &whole(1, "a")).await.unwrap();
    publish(store, &gun, &whole(5, "b")).await.unwrap();
    assert_eq!(current_version(store, &gun, "targets").await, Some(5));
    assert!(store.by_version(&gun, &RoleName::Targets, Version::FIRST).await.unwrap().is_some());
    assert!(store.by_version(&gun, &RoleName::Targets, Version::new(3).unwrap()).await.unwrap().is_none());
}

/// The stored version again is refused, whether its content is another or the same.
pub async fn an_equal_version_is_refused(subject: &Subject) {
    let store = &*subject.first.metadata;
    let gun = gun("example.com/equal");
    publish(store, &gun, &whole(2, "a")).await.unwrap();
    assert_eq!(conflict(publish(store, &gun, &[file("targets", 2, "b")]).await), ("targets".to_owned(), 2, 2));
    assert_eq!(conflict(publish(store, &gun, &[file("targets", 2, "a")]).await), ("targets".to_owned(), 2, 2));
}

/// A version below the highest stored one is refused, even when it was never stored.
pub async fn an_older_version_is_refused(subject: &Subject) {
    let store = &*subject.first.metadata;
    let gun = gun("example.com/older");
    publish(store, &gun, &whole(5, "a")).await.unwrap();
    assert_eq!(conflict(publish(store, &gun, &[file("root", 3, "b")]).await), ("root".to_owned(), 3, 5));
    assert_eq!(current_version(store, &gun, "root").await, Some(5));
}

/// When one file is refused, none is stored.
pub async fn one_old_file_refuses_the_whole_publication(subject: &Subject) {
    let store = &*subject.first.metadata;
    let gun = gun("example.com/whole");
    publish(store, &gun, &whole(2, "a")).await.unwrap();
    let mut files = whole(3, "b");
    files.push(file("targets/new", 1, "b"));
    files.push(file("root", 2, "b"));
    conflict(publish(store, &gun, &files).await);
    for name in ["root", "targets", "snapshot", "timestamp"] {
        assert_eq!(current_version(store, &gun, name).await, Some(2), "{name}");
        assert!(store.by_version(&gun, &role(name), Version::new(3).unwrap()).await.unwrap().is_none());
    }
    assert_eq!(current_version(store, &gun, "targets/new").await, None);
}

/// One publication cannot carry two files for one version.
pub async fn the_same_role_twice_with_one_version_is_refused(subject: &Subject) {
    let store = &*subject.first.metadata;
    let gun = gun("example.com/twice");
    conflict(publish(store, &gun, &[file("targets", 1, "a"), file("targets", 1, "b")]).await);
    assert_eq!(current_version(store, &gun, "targets").await, None);
}

/// A replay of an earlier publication is refused.
pub async fn an_older_publication_after_a_newer_one_is_refused(subject: &Subject) {
    let store = &*subject.first.metadata;
    let gun = gun("example.com/replay");
    for version in [1, 2, 3] {
        publish(store, &gun, &whole(version, "a")).await.unwrap();
    }
    conflict(publish(store, &gun, &whole(2, "a")).await);
    assert_eq!(current_version(store, &gun, "timestamp").await, Some(3));
}

/// Roles that a publication leaves out keep their current file.
pub async fn a_role_not_published_again_stays_current(subject: &Subject) {
    let store = &*subject.first.metadata;
    let gun = gun("example.com/stays");
    publish(store, &gun, &whole(1, "a")).await.unwrap();
    publish(store, &gun, &[file("targets/x", 1, ""), file("snapshot", 2, ""), file("timestamp", 2, "")]).await.unwrap();
    let pointers = store.pointers(&gun).await.unwrap();
    let found: Vec<(&str, u64)> = pointers.iter().map(|p| (p.role.as_str(), p.version.get())).collect();
    assert_eq!(found, [("root", 1), ("snapshot", 2), ("targets", 1), ("timestamp", 2), ("targets/x", 1)]);
}

/// Versions are counted for each collection alone.
pub async fn versions_of_other_collections_do_not_matter(subject: &Subject) {
    let store = &*subject.first.metadata;
    publish(store, &gun("example.com/a"), &whole(9, "a")).await.unwrap();
    publish(store, &gun("example.com/b"), &whole(1, "b")).await.unwrap();
    assert_eq!(current_version(store, &gun("example.com/b"), "root").await, Some(1));
}

/// A publication built on a state that is no longer there is refused, though all its versions are new.
pub async fn a_superseded_base_is_refused(subject: &Subject) {
    let store = &*subject.first.metadata;
    let gun = gun("example.com/base");
    let first = whole(1, "a");
    store.publish(&gun, Base::Nothing, &first, at(0)).await.unwrap();
    let again = store.publish(&gun, Base::Nothing, &whole(2, "b"), at(0)).await;
    assert!(matches!(again, Err(PublishError::Superseded)), "{again:?}");
    let base = store.state(&gun, &BTreeSet::new()).await.unwrap().base();
    store.publish(&gun, base, &whole(2, "c"), at(0)).await.unwrap();
    let stale = store.publish(&gun, base, &[file("targets/x", 1, ""), file("timestamp", 7, "")], at(0)).await;
    assert!(matches!(stale, Err(PublishError::Superseded)), "{stale:?}");
    assert_eq!(current_version(store, &gun, "targets/x").await, None);
    assert_eq!(current_version(store, &gun, "timestamp").await, Some(2));
}

/// What was built before a deletion cannot bring half a collection back.
pub async fn a_base_of_before_a_deletion_is_refused(subject: &Subject) {
    let store = &*subject.first.metadata;
    let gun = gun("example.com/undead");
    publish(store, &gun, &whole(1, "a")).await.unwrap();
    let base = store.state(&gun, &BTreeSet::new()).await.unwrap().base();
    store.delete(&gun, at(1)).await.unwrap();
    let late = store.publish(&gun, base, &[file("targets", 2, ""), file("timestamp", 2, "")], at(2)).await;
    assert!(matches!(late, Err(PublishError::Superseded)), "{late:?}");
    assert_eq!(store.pointers(&gun).await.unwrap(), vec![]);
}

/// Capitals, prefixes and SQL wildcards are nothing special.
pub async fn names_are_compared_byte_by_byte(subject: &Subject) {
    let store = &*subject.first.metadata;
    publish(store, &gun("example.com/App"), &whole(1, "a")).await.unwrap();
    for other in [
        "example.com/app",
        "example.com/Ap",
        "example.com/App2",
        "example.com/A_p",
        "example.com/App/x",
        "example_com/App",
    ] {
        assert_eq!(current_version(store, &gun(other), "root").await, None, "{other}");
        assert_eq!(store.delete(&gun(other), at(0)).await.unwrap(), Deletion::NothingThere, "{other}");
    }
    assert_eq!(current_version(store, &gun("example.com/App"), "root").await, Some(1));
}

/// The digest of one role's file finds nothing under another role or collection.
pub async fn a_checksum_is_found_only_under_its_role(subject: &Subject) {
    let store = &*subject.first.metadata;
    let collection = gun("example.com/digest");
    let files = whole(1, "a");
    publish(store, &collection, &files).await.unwrap();
    for file in &files {
        assert_eq!(store.by_checksum(&collection, &role("targets/x"), &file.sha256()).await.unwrap(), None);
        assert_eq!(store.by_checksum(&gun("example.com/d"), file.role(), &file.sha256()).await.unwrap(), None);
    }
    let root = files.iter().find(|f| *f.role() == RoleName::Root).unwrap();
    assert_eq!(store.by_checksum(&collection, &RoleName::Targets, &root.sha256()).await.unwrap(), None);
}

/// Deletion removes all versions of one collection, and nothing of its neighbours.
pub async fn deletion_takes_exactly_one_collection(subject: &Subject) {
    let store = &*subject.first.metadata;
    let names = ["example.com/x", "example.com/xb", "example.com/x/y", "example.com/X", "example.co"];
    for name in names {
        publish(store, &gun(name), &whole(1, "a")).await.unwrap();
        publish(store, &gun(name), &whole(2, "b")).await.unwrap();
    }
    assert_eq!(store.delete(&gun("example.com/x"), at(3)).await.unwrap(), Deletion::Deleted);
    for version in [1, 2] {
        let gone =
            store.by_version(&gun("example.com/x"), &RoleName::Root, Version::new(version).unwrap()).await.unwrap();
        assert_eq!(gone, None);
    }
    let digest = file("root", 1, "a").sha256();
    assert_eq!(store.by_checksum(&gun("example.com/x"), &RoleName::Root, &digest).await.unwrap(), None);
    assert_eq!(current_version(store, &gun("example.com/x"), "root").await, None);
    for name in names.into_iter().skip(1) {
        assert_eq!(current_version(store, &gun(name), "root").await, Some(2), "{name}");
    }
}

/// Deleting what is not there succeeds and says so.
pub async fn deletion_of_nothing_says_so(subject: &Subject) {
    let store = &*subject.first.metadata;
    assert_eq!(store.delete(&gun("example.com/none"), at(0)).await.unwrap(), Deletion::NothingThere);
}

/// After a deletion a collection starts again at version 1.
pub async fn versions_begin_anew_after_a_deletion(subject: &Subject) {
    let store = &*subject.first.metadata;
    let gun = gun("example.com/anew");
    publish(store, &gun, &whole(8, "a")).await.unwrap();
    store.delete(&gun, at(1)).await.unwrap();
    store.publish(&gun, Base::Nothing, &whole(1, "b"), at(2)).await.unwrap();
    assert_eq!(current_version(store, &gun, "root").await, Some(1));
}

/// Whoever stole a key cannot use up the numbers of a role at once; one step less is fine, and the next is counted from there.
pub async fn a_version_too_far_ahead_is_refused(subject: &Subject) {
    let store = &*subject.first.metadata;
    let gun = gun("example.com/leap");
    let base = async || store.state(&gun, &BTreeSet::new()).await.unwrap().base();
    store.publish(&gun, Base::Nothing, &whole(1, "a"), at(0)).await.unwrap();
    store.publish(&gun, base().await, &[file("targets/a", MAX_VERSION_STEP, "a")], at(0)).await.unwrap();
    for (name, stored) in [("targets", 1), ("targets/a", MAX_VERSION_STEP), ("targets/b", 0)] {
        for too_far in [stored + MAX_VERSION_STEP + 1, Version::MAX] {
            let refused = store.publish(&gun, base().await, &[file(name, too_far, "b")], at(0)).await;
            let Err(PublishError::TooFarAhead { offered, stored: found, .. }) = refused else {
                unreachable!("{refused:?}")
            };
            assert_eq!((offered.get(), found), (too_far, stored), "{name}");
        }
        store.publish(&gun, base().await, &[file(name, stored + MAX_VERSION_STEP, "c")], at(0)).await.unwrap();
        store.publish(&gun, base().await, &[file(name, stored + MAX_VERSION_STEP + 1, "d")], at(0)).await.unwrap();
        assert_eq!(current_version(store, &gun, name).await, Some(stored + MAX_VERSION_STEP + 1));
    }
}

/// What a foreign database held is taken as it is.
pub async fn imports_may_leap(subject: &Subject) {
    let store = &*subject.first.metadata;
    let gun = gun("example.com/import");
    publish(store, &gun, &whole(MAX_VERSION_STEP + 2, "a")).await.unwrap();
    assert_eq!(current_version(store, &gun, "root").await, Some(MAX_VERSION_STEP + 2));
}

/// What was at another service moves whatever its versions are; what is new is counted from there.
pub async fn moves_may_leap_with_what_was_there_before(subject: &Subject) {
    let (store, high) = (&*subject.first.metadata, i32::MAX.unsigned_abs().into());
    let gun = gun("example.com/move");
    let too_far = [file("targets", 1, "a"), file("targets", high, "b")];
    let refused = store.publish(&gun, Base::Moved, &too_far, at(0)).await;
    assert!(matches!(refused, Err(PublishError::TooFarAhead { .. })), "{refused:?}");
    let moved = [file("root", 3, "a"), file("root", 4, "b"), file("targets", high, "a"), file("timestamp", high, "a")];
    store.publish(&gun, Base::Moved, &moved, at(0)).await.unwrap();
    for (name, version) in [("root", 4), ("targets", high), ("timestamp", high)] {
        assert_eq!(current_version(store, &gun, name).await, Some(version));
    }
    let again = store.publish(&gun, Base::Moved, &[file("targets/a", 1, "a")], at(0)).await;
    assert!(matches!(again, Err(PublishError::Superseded)), "{again:?}");
}

/// The whole range of versions fits.
pub async fn the_highest_version_can_be_stored(subject: &Subject) {
    let store = &*subject.first.metadata;
    let gun = gun("example.com/high");
    publish(store, &gun, &[file("targets", Version::MAX - 1, "")]).await.unwrap();
    publish(store, &gun, &[file("targets", Version::MAX, "")]).await.unwrap();
    assert_eq!(current_version(store, &gun, "targets").await, Some(Version::MAX));
}

/// Bytes come back as they went in, also when they are no text, empty or large.
pub async fn files_are_returned_byte_for_byte(subject: &Subject) {
    let store = &*subject.first.metadata;
    let gun = gun("example.com/bytes");
    let all: Vec<u8> = (0..=255).collect();
    for (version, bytes) in [(1, all.clone()), (2, Vec::new()), (3, all.repeat(20_000))] {
        let version = Version::new(version).unwrap();
        let file = NewMetadata::new(RoleName::Targets, version, bytes.clone());
        publish(store, &gun, &[file]).await.unwrap();
        let stored = store.by_checksum(&gun, &RoleName::Targets, &sha256(&bytes)).await.unwrap().unwrap();
        assert!(stored.bytes == bytes, "version {version}");
    }
}

/// Every version of large files comes back as it went in: files that grow, change in many places, are replaced by others,
/// become small, return; read from another process, in any order; and after a deletion those of before are nowhere.
pub async fn large_files_come_back_whatever_came_before_them(subject: &Subject) {
    let (store, other) = (&*subject.first.metadata, &*subject.second.metadata);
    let gun = gun("example.com/large");
    let line = |n: u64| format!("{n}:{};", sha256(&n.to_le_bytes()).hex()).into_bytes();
    let lines = |seed: u64, count: u64| -> Vec<u8> { (0..count).flat_map(|n| line(seed * 1_000_000 + n)).collect() };
    for life in 1..=2 {
        let mut files = Vec::new();
        for step in 0..40 {
            files.push(match step {
                7 => lines(life + 10, 900),
                15 => lines(life, 3),
                16 => b"{}".repeat(50_000),
                22 => lines(life, 30_000),
                step => lines(life, 1_000 + step),
            });
        }
        let versions = || (1..).map(|version| Version::new(version).unwrap());
        for (version, bytes) in versions().zip(&files) {
            let file = NewMetadata::new(RoleName::Targets, version, bytes.clone());
            publish(store, &gun, &[file]).await.unwrap();
            let current = other.current(&gun, &RoleName::Targets).await.unwrap().unwrap();
            assert!(current.bytes == *bytes, "version {version} of life {life}");
        }
        for (version, bytes) in versions().zip(&files) {
            let found = other.by_version(&gun, &RoleName::Targets, version).await.unwrap().unwrap();
            assert!(found.bytes == *bytes, "version {version} of life {life}");
            let found = store.by_checksum(&gun, &RoleName::Targets, &sha256(bytes)).await.unwrap().unwrap();
            assert!(found.bytes == *bytes, "version {version} of life {life}");
        }
        store.delete(&gun, at(1)).await.unwrap();
        let gone = other.by_version(&gun, &RoleName::Targets, Version::FIRST).await.unwrap();
        assert_eq!(gone, None);
    }
}

/// A state names the timestamp it belongs to, whether that was asked for or not.
pub async fn state_tells_the_base(subject: &Subject) {
    let store = &*subject.first.metadata;
    let gun = gun("example.com/state");
    let files = whole(1, "a");
    publish(store, &gun, &files).await.unwrap();
    let asked = BTreeSet::from([RoleName::Root, role("targets/none")]);
    let state = store.state(&gun, &asked).await.unwrap();
    let timestamp = files.iter().find(|f| *f.role() == RoleName::Timestamp).unwrap();
    assert_eq!(state.base(), Base::Timestamp(timestamp.sha256()));
    assert_eq!(state.files.keys().cloned().collect::<Vec<_>>(), [RoleName::Root]);
}

/// Old timestamps are found page by page; fresh ones and collections without timestamp are not.
pub async fn stale_pages_through_old_timestamps(subject: &Subject) {
    let store = &*subject.first.metadata;
    for (name, second) in [("a", 10), ("b", 20), ("c", 99), ("d", 30), ("f", 201)] {
        store.publish(&gun(name), Base::Nothing, &whole(1, "a"), at(second)).await.unwrap();
    }
    store.publish(&gun("a"), Base::Anything, &whole(2, "b"), at(98)).await.unwrap();
    store.publish(&gun("e"), Base::Nothing, &[file("root", 1, "")], at(1)).await.unwrap();
    let page = PageSize::wished(1);
    let mut found = Vec::new();
    let mut after: Option<Gun> = None;
    while let Some(next) = store.stale(at(50)..=at(200), after.as_ref(), page).await.unwrap().pop() {
        found.push(next.to_string());
        after = Some(next);
    }
    assert_eq!(found, ["b", "d", "f"]);
}

/// A working database is healthy.
pub async fn health_is_good(subject: &Subject) {
    subject.first.metadata.health().await.unwrap();
    subject.second.metadata.health().await.unwrap();
}
