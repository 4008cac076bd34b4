//! The change feed.

use countersign_tuf::Gun;

use super::{Subject, at, file, gun, whole};
use crate::{Base, Category, Change, ChangeQuery, MAX_PAGE, MetadataStore};

async fn page(store: &dyn MetadataStore, gun: Option<&Gun>, change_id: i64, records: i64) -> Vec<Change> {
    store.changes(&ChangeQuery::new(gun.cloned(), change_id, records)).await.unwrap()
}

fn ids(changes: &[Change]) -> Vec<i64> {
    changes.iter().map(|change| change.id).collect()
}

/// Publishes `count` versions, continuing after `from`.
async fn publish(store: &dyn MetadataStore, gun: &Gun, from: u64, count: u64) {
    for version in from + 1..=from + count {
        store.publish(gun, Base::Anything, &[file("timestamp", version, "")], at(0)).await.unwrap();
    }
}

/// A change carries the timestamp's version and digest, the collection and the time.
pub async fn a_publication_is_recorded_with_its_timestamp(subject: &Subject) {
    let store = &*subject.first.metadata;
    let gun = gun("example.com/a");
    let mut files = whole(3, "a");
    files.push(file("timestamp", 4, "own"));
    files.retain(|f| f.version().get() == 4 || f.role().as_str() != "timestamp");
    store.publish(&gun, Base::Nothing, &files, at(5)).await.unwrap();
    let changes = page(store, None, 0, 0).await;
    let [change] = changes.as_slice() else { unreachable!("one change, got {changes:?}") };
    assert_eq!((&change.gun, change.created_at), (&gun, at(5)));
    let sha256 = file("timestamp", 4, "own").sha256();
    assert!(
        matches!(change.category, Category::Update { version, sha256: found } if version.get() == 4 && found == sha256)
    );
}

/// Only timestamps are news.
pub async fn a_publication_without_timestamp_is_not_recorded(subject: &Subject) {
    let store = &*subject.first.metadata;
    store.publish(&gun("a"), Base::Nothing, &[file("root", 1, "")], at(0)).await.unwrap();
    store.publish(&gun("a"), Base::Nothing, &[], at(0)).await.unwrap();
    assert_eq!(page(store, None, 0, 0).await, vec![]);
}

/// What was not stored is not in the feed.
pub async fn a_refused_publication_is_not_recorded(subject: &Subject) {
    let store = &*subject.first.metadata;
    let gun = gun("a");
    store.publish(&gun, Base::Nothing, &whole(1, "a"), at(0)).await.unwrap();
    let refused = store.publish(&gun, Base::Anything, &[file("timestamp", 2, ""), file("root", 1, "")], at(0)).await;
    assert!(refused.is_err());
    assert_eq!(page(store, None, 0, 0).await.len(), 1);
}

/// A deletion is recorded once, when something was there.
pub async fn only_a_real_deletion_is_recorded(subject: &Subject) {
    let store = &*subject.first.metadata;
    let gun = gun("a");
    store.delete(&gun, at(0)).await.unwrap();
    store.publish(&gun, Base::Nothing, &whole(1, "a"), at(1)).await.unwrap();
    store.delete(&gun, at(2)).await.unwrap();
    store.delete(&gun, at(3)).await.unwrap();
    let changes = page(store, Some(&gun), 0, 0).await;
    assert_eq!(changes.len(), 2);
    assert_eq!(changes.last().map(|c| (&c.category, c.created_at)), Some((&Category::Deletion, at(2))));
}

/// Every page is oldest first, and its bounds are exclusive.
pub async fn pages_go_forwards_and_backwards(subject: &Subject) {
    let store = &*subject.first.metadata;
    publish(store, &gun("a"), 0, 6).await;
    let all = ids(&page(store, None, 0, 0).await);
    let [one, two, three, four, five, six] = *all.as_slice() else { unreachable!("six changes, got {all:?}") };
    assert!(all.is_sorted());
    assert_eq!(ids(&page(store, None, 0, 2).await), [one, two]);
    assert_eq!(ids(&page(store, None, two, 2).await), [three, four]);
    assert_eq!(ids(&page(store, None, five, 9).await), [six]);
    assert_eq!(ids(&page(store, None, six, 9).await), [0_i64; 0]);
    assert_eq!(ids(&page(store, None, five, -2).await), [three, four]);
    assert_eq!(ids(&page(store, None, one, -2).await), [0_i64; 0]);
    assert_eq!(ids(&page(store, None, -1, 2).await), [five, six]);
    assert_eq!(ids(&page(store, None, -1, -2).await), [five, six]);
    assert_eq!(ids(&page(store, None, 0, -2).await), [five, six]);
    assert_eq!(ids(&page(store, None, i64::MAX, -2).await), [five, six]);
}

/// Asked for one collection, the feed shows no other, not even one with a similar name.
pub async fn one_collections_changes_are_filtered(subject: &Subject) {
    let store = &*subject.first.metadata;
    for round in 0..3 {
        for name in ["a", "ab", "A"] {
            publish(store, &gun(name), round, 1).await;
        }
    }
    for (change_id, records) in [(0, 0), (-1, 10), (0, -10)] {
        let found = page(store, Some(&gun("a")), change_id, records).await;
        assert_eq!(found.len(), 3);
        assert!(found.iter().all(|change| change.gun == gun("a")));
        assert!(ids(&found).is_sorted());
    }
    assert_eq!(page(store, Some(&gun("a")), -1, 1).await.len(), 1);
    assert_eq!(page(store, Some(&gun("none")), 0, 0).await, vec![]);
}

/// No wish makes a page larger than the limit, and the extremes of all numbers are survived.
pub async fn pages_are_bounded(subject: &Subject) {
    let store = &*subject.first.metadata;
    for round in 0..=u64::from(MAX_PAGE) / 100 {
        let versions: Vec<_> = (1..=100).map(|n| file("timestamp", round * 100 + n, "")).collect();
        store.publish(&gun("a"), Base::Anything, &versions, at(0)).await.unwrap();
    }
    assert_eq!(page(store, None, 0, 0).await.len(), 100);
    for records in [i64::from(i32::MAX), i64::from(i32::MIN), i64::MAX, i64::MIN] {
        assert_eq!(page(store, None, -1, records).await.len(), usize::from(MAX_PAGE), "{records}");
    }
    for change_id in [i64::MAX, i64::MIN] {
        assert!(page(store, None, change_id, 3).await.len() <= 3);
    }
}

/// An id names one change for ever, also after deletions.
pub async fn ids_are_never_reused(subject: &Subject) {
    let store = &*subject.first.metadata;
    let gun = gun("a");
    let mut last = 0;
    for _ in 0..3 {
        store.publish(&gun, Base::Nothing, &whole(1, "a"), at(0)).await.unwrap();
        store.delete(&gun, at(1)).await.unwrap();
        let new = ids(&page(store, None, last, 0).await);
        assert_eq!(new.len(), 2);
        last = new.last().copied().unwrap();
    }
}
