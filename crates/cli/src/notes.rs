//! What an update found worth saying, in words.

use crate::output::{harmless, message};
use countersign_tuf::{Collection, Note};

/// Writes an update's notes to stderr.
pub(crate) fn show(collection: &Collection) {
    let gun = collection.gun();
    for note in collection.notes() {
        let text = match note {
            Note::FirstUse(ids) => {
                let ids: Vec<String> = ids.iter().map(ToString::to_string).collect();
                format!(
                    "first use of {gun}: its root key {} is trusted from now on; compare it with the owner's",
                    ids.join(", ")
                )
            }
            Note::CachedTimestamp(absence) => {
                format!("warning: {absence}; the cached state of {gun} was used, which has not expired")
            }
            Note::NearExpiry(role, at) => {
                format!("warning: {role} metadata of {gun} is nearing expiry ({at}): its owner should sign again")
            }
            Note::WildcardRoot => format!(
                "warning: the root certificate of {gun} is for a wildcard name: metadata of its siblings cannot be told apart"
            ),
            Note::Broken(role, reason) => format!("warning: {role} of {gun} is not used: {reason}"),
            Note::ClockBehind => {
                "warning: this machine's clock is behind the last verification: expired signatures could look fresh"
                    .to_owned()
            }
        };
        message(harmless(&text));
    }
}
