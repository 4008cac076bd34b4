//! The service's keys.

use countersign_crypto::digest::sha256;
use countersign_crypto::{KeyId, KeyType};
use jiff::SignedDuration;

use super::{Subject, at, gun, whole};
use crate::{
    Base, EncryptedKey, KeyStore, NewServiceKey, PageSize, PendingKeyError, PendingLimits, Resealed, ServiceKey,
    ServiceRole,
};

pub(super) const ROOMY: PendingLimits = PendingLimits { count: 1000, keep: SignedDuration::from_secs(3600) };

/// A key that is told apart by its seed.
pub(super) fn new_key(name: &str, role: ServiceRole, seed: &str) -> NewServiceKey {
    let public = format!("public {name} {role} {seed}").into_bytes();
    let id = KeyId::from(sha256(&public));
    let private = EncryptedKey::new(format!("jwe {seed}"));
    NewServiceKey { id, gun: gun(name), role, algorithm: KeyType::Ecdsa, public, private }
}

async fn pending(store: &dyn KeyStore, name: &str, role: ServiceRole) -> Option<ServiceKey> {
    store.pending_key(&gun(name), role, &KeyType::Ecdsa).await.unwrap()
}

/// Any key is found as soon as there is one.
pub async fn any_key_tells_whether_there_are_keys(subject: &Subject) {
    let keys = &*subject.first.keys;
    assert_eq!(keys.any_key().await.unwrap(), None);
    let key = keys.insert_pending(new_key("a", ServiceRole::Timestamp, "1"), ROOMY, at(1)).await.unwrap();
    assert_eq!(keys.any_key().await.unwrap(), Some(key));
}

/// Whoever asks gets the same key until it is used.
pub async fn a_pending_key_is_returned_again(subject: &Subject) {
    let keys = &*subject.first.keys;
    assert_eq!(pending(keys, "a", ServiceRole::Timestamp).await, None);
    let first = new_key("a", ServiceRole::Timestamp, "1");
    let stored = keys.insert_pending(first.clone(), ROOMY, at(1)).await.unwrap();
    assert_eq!((&stored.key, stored.created_at, stored.last_used), (&first, at(1), None));
    let again = keys.insert_pending(new_key("a", ServiceRole::Timestamp, "2"), ROOMY, at(2)).await.unwrap();
    assert_eq!(again, stored);
    assert_eq!(pending(&*subject.second.keys, "a", ServiceRole::Timestamp).await, Some(stored));
    let never = new_key("a", ServiceRole::Timestamp, "2").id;
    assert_eq!(keys.service_key(&gun("a"), &never).await.unwrap(), None);
}

/// After its first signature a key stays, and a new one may be made.
pub async fn a_used_key_is_no_longer_pending(subject: &Subject) {
    let keys = &*subject.first.keys;
    let first = keys.insert_pending(new_key("a", ServiceRole::Snapshot, "1"), ROOMY, at(1)).await.unwrap();
    keys.mark_used(&gun("a"), &first.key.id, at(5)).await.unwrap();
    assert_eq!(pending(keys, "a", ServiceRole::Snapshot).await, None);
    let second = keys.insert_pending(new_key("a", ServiceRole::Snapshot, "2"), ROOMY, at(6)).await.unwrap();
    assert_ne!(second.key.id, first.key.id);
    let used = keys.service_key(&gun("a"), &first.key.id).await.unwrap().unwrap();
    assert_eq!((used.key, used.last_used), (first.key, Some(at(5))));
}

/// Whoever moves keys elsewhere sees each once, and takes the private part of none that was changed since.
pub async fn keys_are_listed_and_let_go_one_by_one(subject: &Subject) {
    let keys = &*subject.first.keys;
    let insert =
        async |name| keys.insert_pending(new_key(name, ServiceRole::Timestamp, "1"), ROOMY, at(1)).await.unwrap();
    let (mut retired, one, other) = (insert("a").await, insert("b").await, insert("c").await);
    // One that is out of use for good is among them.
    keys.mark_used(&retired.key.gun, &retired.key.id, at(2)).await.unwrap();
    subject.first.metadata.delete(&retired.key.gun, at(3)).await.unwrap();
    retired.last_used = Some(at(2));
    let mut stored = vec![retired, one.clone(), other.clone()];
    stored.sort_by_key(|key| key.key.id);
    let (mut listed, size) = (Vec::<ServiceKey>::new(), PageSize::wished(2));
    for _ in 0..3 {
        listed.extend(keys.keys(listed.last().map(|key| &key.key.id), size).await.unwrap());
    }
    assert_eq!(listed, stored);
    let (id, private, elsewhere) = (&one.key.id, &one.key.private, EncryptedKey::new("elsewhere"));
    let second = &*subject.second.keys;
    assert_eq!(second.replace_private(id, private, &elsewhere).await.unwrap(), Resealed::Yes);
    assert_eq!(keys.replace_private(id, private, &elsewhere).await.unwrap(), Resealed::ChangedSince);
    let found = keys.service_key(&one.key.gun, id).await.unwrap().unwrap();
    assert_eq!((found.key.private, found.created_at), (elsewhere, at(1)));
    assert_eq!(keys.service_key(&other.key.gun, &other.key.id).await.unwrap(), Some(other));
}

/// One collection cannot sign with another's key.
pub async fn a_key_is_found_only_under_its_collection(subject: &Subject) {
    let keys = &*subject.first.keys;
    let key = keys.insert_pending(new_key("a", ServiceRole::Timestamp, "1"), ROOMY, at(1)).await.unwrap().key;
    assert!(keys.service_key(&gun("a"), &key.id).await.unwrap().is_some());
    for other in ["b", "A", "a/b"] {
        assert_eq!(keys.service_key(&gun(other), &key.id).await.unwrap(), None, "{other}");
        keys.mark_used(&gun(other), &key.id, at(2)).await.unwrap();
    }
    assert_eq!(pending(keys, "a", ServiceRole::Timestamp).await.map(|found| found.key), Some(key));
}

/// Pending keys of different roles and algorithms live side by side.
pub async fn roles_and_algorithms_have_their_own_pending_keys(subject: &Subject) {
    let keys = &*subject.first.keys;
    let mut edwards = new_key("a", ServiceRole::Timestamp, "3");
    edwards.algorithm = KeyType::Ed25519;
    let all = [new_key("a", ServiceRole::Timestamp, "1"), new_key("a", ServiceRole::Snapshot, "2"), edwards];
    for key in &all {
        keys.insert_pending(key.clone(), ROOMY, at(1)).await.unwrap();
    }
    for key in &all {
        let found = keys.pending_key(&key.gun, key.role, &key.algorithm).await.unwrap().unwrap();
        assert_eq!(&found.key, key);
    }
}

/// Asking for keys of invented collections fills no disk.
pub async fn the_limit_on_pending_keys_holds(subject: &Subject) {
    let keys = &*subject.first.keys;
    let limits = PendingLimits { count: 3, ..ROOMY };
    for name in ["a", "b", "c"] {
        keys.insert_pending(new_key(name, ServiceRole::Timestamp, "1"), limits, at(1)).await.unwrap();
    }
    let refused = keys.insert_pending(new_key("d", ServiceRole::Timestamp, "1"), limits, at(2)).await;
    assert!(matches!(refused, Err(PendingKeyError::TooMany { limit: 3 })), "{refused:?}");
    let known = keys.insert_pending(new_key("a", ServiceRole::Timestamp, "2"), limits, at(2)).await.unwrap();
    assert_eq!(known.key, new_key("a", ServiceRole::Timestamp, "1"));
    keys.mark_used(&gun("a"), &known.key.id, at(3)).await.unwrap();
    keys.insert_pending(new_key("d", ServiceRole::Timestamp, "1"), limits, at(4)).await.unwrap();
}

/// At the limit, the oldest pending key that nobody published with makes room, but not before its time.
pub async fn old_pending_keys_of_nothing_give_way(subject: &Subject) {
    let keys = &*subject.first.keys;
    let limits = PendingLimits { count: 2, keep: SignedDuration::from_secs(100) };
    keys.insert_pending(new_key("a", ServiceRole::Timestamp, "1"), limits, at(0)).await.unwrap();
    keys.insert_pending(new_key("b", ServiceRole::Timestamp, "1"), limits, at(50)).await.unwrap();
    assert!(keys.insert_pending(new_key("c", ServiceRole::Timestamp, "1"), limits, at(100)).await.is_err());
    keys.insert_pending(new_key("c", ServiceRole::Timestamp, "1"), limits, at(101)).await.unwrap();
    assert_eq!(pending(keys, "a", ServiceRole::Timestamp).await, None);
    assert!(pending(keys, "b", ServiceRole::Timestamp).await.is_some());
}

/// Whoever has published can rotate, however many ask for keys of invented collections.
pub async fn published_collections_get_keys_above_the_limit(subject: &Subject) {
    let keys = &*subject.first.keys;
    let limits = PendingLimits { count: 1, ..ROOMY };
    subject.first.metadata.publish(&gun("real"), Base::Nothing, &whole(1, "a"), at(0)).await.unwrap();
    keys.insert_pending(new_key("invented", ServiceRole::Snapshot, "1"), limits, at(0)).await.unwrap();
    assert!(keys.insert_pending(new_key("another", ServiceRole::Snapshot, "1"), limits, at(1)).await.is_err());
    keys.insert_pending(new_key("real", ServiceRole::Snapshot, "1"), limits, at(1)).await.unwrap();
}

/// A rotation that is under way in a real collection is not disturbed by others' curiosity.
pub async fn pending_keys_of_published_collections_never_give_way(subject: &Subject) {
    let keys = &*subject.first.keys;
    let limits = PendingLimits { count: 1, keep: SignedDuration::from_secs(1) };
    subject.first.metadata.publish(&gun("real"), Base::Nothing, &whole(1, "a"), at(0)).await.unwrap();
    keys.insert_pending(new_key("real", ServiceRole::Snapshot, "1"), limits, at(0)).await.unwrap();
    assert!(keys.insert_pending(new_key("invented", ServiceRole::Snapshot, "1"), limits, at(900)).await.is_err());
    assert!(pending(keys, "real", ServiceRole::Snapshot).await.is_some());
}

/// Recording the use of a key that is not there is no error.
pub async fn using_an_unknown_key_changes_nothing(subject: &Subject) {
    let keys = &*subject.first.keys;
    let id = KeyId::from(sha256(b"unknown"));
    keys.mark_used(&gun("a"), &id, at(0)).await.unwrap();
    assert_eq!(keys.service_key(&gun("a"), &id).await.unwrap(), None);
}

/// A deletion retires the keys that have signed for the collection, and no others; one that was retired stays retired and is
/// not handed out anew.
pub async fn a_deletion_retires_the_keys_of_its_collection(subject: &Subject) {
    let keys = &*subject.first.keys;
    for name in ["a", "b"] {
        subject.first.metadata.publish(&gun(name), Base::Nothing, &whole(1, name), at(0)).await.unwrap();
        let key = keys.insert_pending(new_key(name, ServiceRole::Timestamp, name), ROOMY, at(0)).await.unwrap().key;
        keys.mark_used(&gun(name), &key.id, at(1)).await.unwrap();
    }
    let used = new_key("a", ServiceRole::Timestamp, "a").id;
    let pending = keys.insert_pending(new_key("a", ServiceRole::Timestamp, "2"), ROOMY, at(1)).await.unwrap().key;
    subject.first.metadata.delete(&gun("a"), at(2)).await.unwrap();
    for keys in [&*subject.first.keys, &*subject.second.keys] {
        assert!(keys.service_key(&gun("a"), &used).await.unwrap().is_none());
        assert!(keys.service_key(&gun("a"), &pending.id).await.unwrap().is_some());
        assert!(keys.service_key(&gun("b"), &new_key("b", ServiceRole::Timestamp, "b").id).await.unwrap().is_some());
        let offered = keys.pending_key(&gun("a"), ServiceRole::Timestamp, &pending.algorithm).await.unwrap().unwrap();
        assert_eq!(offered.key.id, pending.id);
        keys.mark_used(&gun("a"), &used, at(3)).await.unwrap();
        assert!(keys.service_key(&gun("a"), &used).await.unwrap().is_none());
        assert!(keys.any_key().await.unwrap().is_some(), "the row stays");
    }
    let keys = &*subject.first.keys;
    keys.bring_back(&gun("b"), &used).await.unwrap();
    assert!(keys.service_key(&gun("a"), &used).await.unwrap().is_none(), "not another collection's");
    keys.bring_back(&gun("a"), &used).await.unwrap();
    assert!(subject.second.keys.service_key(&gun("a"), &used).await.unwrap().is_some());
}
