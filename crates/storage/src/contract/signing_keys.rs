//! The keys of a signing service that is apart.

use std::any::Any;
use std::sync::Arc;

use countersign_crypto::KeyId;
use countersign_crypto::digest::sha256;
use jiff::SignedDuration;

use super::keys::{ROOMY, new_key};
use super::{at, gun};
use crate::{
    Alias, Binding, EncryptedKey, NewSigningKey, PageSize, PendingKeyError, PendingLimits, Resealed, Sealed,
    ServiceRole, SigningKeyStore,
};

/// An empty database of keys, opened twice.
pub struct KeySubject {
    /// The handle most checks use.
    pub first: Arc<dyn SigningKeyStore>,
    /// A second, independent handle on the same database.
    pub second: Arc<dyn SigningKeyStore>,
    /// Whether rows have a place for bindings.
    pub bindings: Bindings,
    /// Whatever must live as long as the database.
    pub keep: Box<dyn Any + Send + Sync>,
}

/// Whether rows have a place for bindings.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Bindings {
    /// They have.
    Kept,
    /// They do not: those of the reference.
    Lost,
}

impl KeySubject {
    /// Returns the key as it comes back from the store.
    fn kept(&self, key: NewSigningKey) -> NewSigningKey {
        match self.bindings {
            Bindings::Kept => key,
            Bindings::Lost => NewSigningKey { binding: None, ..key },
        }
    }
}

fn alias(name: &str) -> Alias {
    Alias::parse(name).unwrap()
}

fn signing(name: &str, role: ServiceRole, seed: &str) -> NewSigningKey {
    let binding = Some(Binding(*sha256(seed.as_bytes()).as_bytes()));
    NewSigningKey { key: new_key(name, role, seed), alias: alias("one"), binding }
}

/// Whoever asks gets the same key until it is used.
pub async fn a_pending_key_is_returned_again(subject: &KeySubject) {
    let first = signing("a", ServiceRole::Timestamp, "1");
    let stored = subject.first.insert(first.clone(), ROOMY, at(1)).await.unwrap();
    let first = subject.kept(first);
    assert_eq!((&stored.stored, stored.created_at, stored.last_used), (&first, at(1), None));
    let again = subject.second.insert(signing("a", ServiceRole::Timestamp, "2"), ROOMY, at(2)).await.unwrap();
    assert_eq!(again, stored);
    let pending = subject.second.pending(&gun("a"), ServiceRole::Timestamp, &first.key.algorithm).await.unwrap();
    assert_eq!(pending.as_ref(), Some(&stored));
    assert_eq!(subject.second.signing_key(&first.key.id).await.unwrap(), Some(stored));
    let others = [("a", ServiceRole::Snapshot), ("A", ServiceRole::Timestamp), ("b", ServiceRole::Timestamp)];
    for (name, role) in others {
        assert_eq!(subject.first.pending(&gun(name), role, &first.key.algorithm).await.unwrap(), None);
    }
}

/// After its first signature a key stays, and a new one may be made.
pub async fn a_used_key_is_no_longer_pending(subject: &KeySubject) {
    let first = subject.first.insert(signing("a", ServiceRole::Snapshot, "1"), ROOMY, at(1)).await.unwrap();
    assert!(subject.first.mark_used(&first.stored.key.id, at(5)).await.unwrap());
    assert!(subject.first.mark_used(&first.stored.key.id, at(5)).await.unwrap(), "a second time in the same second");
    let second = subject.second.insert(signing("a", ServiceRole::Snapshot, "2"), ROOMY, at(6)).await.unwrap();
    assert_ne!(second.stored.key.id, first.stored.key.id);
    let used = subject.first.signing_key(&first.stored.key.id).await.unwrap().unwrap();
    assert_eq!((used.stored, used.last_used), (first.stored, Some(at(5))));
    assert!(!subject.first.mark_used(&KeyId::from(sha256(b"unknown")), at(7)).await.unwrap());
}

/// A deleted key signs nothing, and a new one may be made in its place.
pub async fn a_deleted_key_is_found_no_more(subject: &KeySubject) {
    let key = signing("a", ServiceRole::Timestamp, "1");
    let stored = subject.first.insert(key.clone(), ROOMY, at(1)).await.unwrap();
    assert_eq!(subject.first.delete(&key.key.id, at(2)).await.unwrap(), Some(stored));
    assert_eq!(subject.second.signing_key(&key.key.id).await.unwrap(), None);
    assert!(!subject.first.mark_used(&key.key.id, at(2)).await.unwrap());
    assert_eq!(subject.second.pending(&gun("a"), ServiceRole::Timestamp, &key.key.algorithm).await.unwrap(), None);
    assert_eq!(subject.first.delete(&key.key.id, at(3)).await.unwrap(), None);
    let next = subject.first.insert(signing("a", ServiceRole::Timestamp, "2"), ROOMY, at(4)).await.unwrap();
    assert_ne!(next.stored.key.id, key.key.id);
    let again = subject.first.insert(signing("b", ServiceRole::Timestamp, "3"), ROOMY, at(4)).await.unwrap();
    assert!(subject.first.signing_key(&again.stored.key.id).await.unwrap().is_some());
}

/// Asking for keys of invented collections fills no disk.
pub async fn the_limit_on_pending_keys_holds(subject: &KeySubject) {
    let limits = PendingLimits { count: 2, ..ROOMY };
    for name in ["a", "b"] {
        subject.first.insert(signing(name, ServiceRole::Timestamp, "1"), limits, at(1)).await.unwrap();
    }
    let refused = subject.first.insert(signing("c", ServiceRole::Timestamp, "1"), limits, at(2)).await;
    assert!(matches!(refused, Err(PendingKeyError::TooMany { limit: 2 })), "{refused:?}");
    let known = subject.first.insert(signing("a", ServiceRole::Timestamp, "9"), limits, at(2)).await.unwrap();
    assert_eq!(known.stored, subject.kept(signing("a", ServiceRole::Timestamp, "1")));
    subject.first.delete(&known.stored.key.id, at(3)).await.unwrap();
    subject.first.insert(signing("c", ServiceRole::Timestamp, "1"), limits, at(4)).await.unwrap();
}

/// At the limit, the oldest key that has never signed makes room, but not before its time.
pub async fn old_pending_keys_give_way_and_used_ones_never(subject: &KeySubject) {
    let limits = PendingLimits { count: 1, keep: SignedDuration::from_secs(100) };
    let used = subject.first.insert(signing("used", ServiceRole::Timestamp, "1"), limits, at(0)).await.unwrap();
    subject.first.mark_used(&used.stored.key.id, at(0)).await.unwrap();
    let old = subject.first.insert(signing("old", ServiceRole::Timestamp, "1"), limits, at(0)).await.unwrap();
    assert!(subject.first.insert(signing("new", ServiceRole::Timestamp, "1"), limits, at(100)).await.is_err());
    subject.first.insert(signing("new", ServiceRole::Timestamp, "1"), limits, at(101)).await.unwrap();
    assert_eq!(subject.first.signing_key(&old.stored.key.id).await.unwrap(), None);
    assert!(subject.first.signing_key(&used.stored.key.id).await.unwrap().is_some());
}

/// Whoever has published can rotate, however many ask for keys of invented collections; and such a key stays.
pub async fn collections_that_have_signed_get_keys_above_the_limit(subject: &KeySubject) {
    let limits = PendingLimits { count: 1, keep: SignedDuration::from_secs(1) };
    let used = subject.first.insert(signing("real", ServiceRole::Timestamp, "1"), limits, at(0)).await.unwrap();
    subject.first.mark_used(&used.stored.key.id, at(0)).await.unwrap();
    let rotated = subject.first.insert(signing("real", ServiceRole::Timestamp, "2"), limits, at(1)).await.unwrap();
    assert!(subject.first.insert(signing("invented", ServiceRole::Snapshot, "1"), limits, at(900)).await.is_err());
    assert!(subject.first.signing_key(&rotated.stored.key.id).await.unwrap().is_some());
    subject.first.insert(signing("real", ServiceRole::Snapshot, "3"), limits, at(901)).await.unwrap();
}

/// Sealing anew changes exactly one key, and not one that another has changed since.
pub async fn a_key_is_sealed_anew_only_if_nobody_was_faster(subject: &KeySubject) {
    let mut ids = Vec::new();
    for seed in ["1", "2", "3"] {
        let key = subject.first.insert(signing(seed, ServiceRole::Timestamp, seed), ROOMY, at(1)).await.unwrap();
        ids.push(key.stored.key.id);
    }
    ids.sort_unstable();
    let two = alias("two");
    let page = PageSize::wished(2);
    let found = subject.first.sealed_otherwise(&two, None, page).await.unwrap();
    assert_eq!(found.iter().map(|key| key.stored.key.id).collect::<Vec<_>>(), ids.get(..2).unwrap());
    let rest = subject.first.sealed_otherwise(&two, ids.get(1), page).await.unwrap();
    assert_eq!(rest.iter().map(|key| key.stored.key.id).collect::<Vec<_>>(), ids.get(2..).unwrap());
    let key = found.first().unwrap();
    let to = Sealed { alias: two.clone(), private: EncryptedKey::new("jwe under two") };
    let id = &key.stored.key.id;
    assert_eq!(subject.second.reseal(id, &key.sealed(), &to).await.unwrap(), Resealed::Yes);
    assert_eq!(subject.first.reseal(id, &key.sealed(), &to).await.unwrap(), Resealed::ChangedSince);
    let now = subject.first.signing_key(id).await.unwrap().unwrap();
    assert_eq!((now.sealed(), now.stored.binding, now.created_at), (to, key.stored.binding, key.created_at));
    assert_eq!(subject.first.sealed_otherwise(&two, None, page).await.unwrap().len(), 2);
    subject.first.delete(ids.get(2).unwrap(), at(2)).await.unwrap();
    assert_eq!(subject.first.sealed_otherwise(&two, None, page).await.unwrap().len(), 2, "deleted keys are sealed too");
}

/// A key or a few of each alias are enough to check the passphrases.
pub async fn every_alias_in_use_is_known(subject: &KeySubject) {
    assert!(subject.first.some_of_each_alias().await.unwrap().is_empty());
    for (seed, name) in [("1", "one"), ("2", "one"), ("3", "other")] {
        let key = NewSigningKey { alias: alias(name), ..signing(seed, ServiceRole::Timestamp, seed) };
        subject.first.insert(key, ROOMY, at(1)).await.unwrap();
    }
    let found = subject.second.some_of_each_alias().await.unwrap();
    let mut names: Vec<_> = found.iter().map(|key| key.stored.alias.as_str().to_owned()).collect();
    names.dedup();
    assert_eq!(names, ["one", "other"]);
    // An alias whose keys are all deleted is in use no more.
    let deleted = found.iter().find(|key| key.stored.alias == alias("other")).unwrap().stored.key.id;
    subject.first.delete(&deleted, at(2)).await.unwrap();
    let found = subject.second.some_of_each_alias().await.unwrap();
    assert!(found.iter().all(|key| key.stored.alias == alias("one")) && !found.is_empty());
}

/// However many ask at once, one key is made.
pub async fn of_twenty_askers_all_get_the_same_pending_key(subject: &KeySubject) {
    let askers: Vec<_> = (0..20)
        .map(|n| {
            let store = Arc::clone(if n % 2 == 0 { &subject.first } else { &subject.second });
            let key = signing("a", ServiceRole::Timestamp, &n.to_string());
            tokio::spawn(async move { store.insert(key, ROOMY, at(1)).await.unwrap().stored.key.id })
        })
        .collect();
    let mut ids = Vec::new();
    for asker in askers {
        ids.push(asker.await.unwrap());
    }
    ids.dedup();
    assert_eq!(ids.len(), 1);
}

/// An empty database is healthy.
pub async fn health_is_good(subject: &KeySubject) {
    subject.first.health().await.unwrap();
    subject.second.health().await.unwrap();
}
