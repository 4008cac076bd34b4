//! Many who ask for keys at once, through two handles on one database.

use std::collections::BTreeSet;

use tokio::task::JoinSet;

use super::keys::{ROOMY, new_key};
use super::races::handle;
use super::{Subject, at};
use crate::ServiceRole;

/// Twenty ask for a key at once: there is one, and everybody gets it.
pub async fn of_twenty_askers_all_get_the_same_pending_key(subject: &Subject) {
    let mut askers = JoinSet::new();
    for n in 0..20 {
        let keys = handle(subject, n).keys;
        let key = new_key("example.com/keys", ServiceRole::Timestamp, &n.to_string());
        askers.spawn(async move { keys.insert_pending(key, ROOMY, at(0)).await.unwrap().key.id });
    }
    let ids: BTreeSet<_> = askers.join_all().await.into_iter().collect();
    assert_eq!(ids.len(), 1);
}
