//! What an update found worth saying, in words.

use crate::output::{harmless, message};
use countersign_tuf::{Collection, Note, RoleName};

/// Writes an update's notes to stderr.
pub(crate) fn show(collection: &Collection) {
    for note in collection.notes() {
        show_one(collection, note);
    }
}

/// Writes what there is to say about a publication: first what it was made on top of, then the result.
///
/// Whoever signs in a collection that this machine has not seen before puts a fresh signature under what others may have
/// rolled back: they hear what they start from.
pub(crate) fn show_published(base: Option<&Collection>, result: &Collection) {
    let known = base.map(Collection::notes).unwrap_or_default();
    if let Some(base) = base {
        show(base);
        if known.iter().any(|note| matches!(note, Note::FirstUse(_))) {
            let targets = base.targets(&RoleName::Targets).map_or(0, |file| file.version.get());
            let tags: usize = base.all_targets().map(|(_, file)| file.entries.iter().count()).sum();
            message(format_args!(
                "this machine had not seen {} before: it was changed on top of version {targets} of its targets and {tags} signed entries",
                base.gun()
            ));
        }
    }
    for note in result.notes().iter().filter(|note| !known.contains(note)) {
        show_one(result, note);
    }
}

fn show_one(collection: &Collection, note: &Note) {
    let gun = collection.gun();
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
        Note::FarExpiry(role, at) => {
            format!(
                "warning: {role} metadata of {gun} expires absurdly late ({at}): who signed it, and by which clock?"
            )
        }
        Note::NearExpiry(role, at) => {
            format!("warning: {role} metadata of {gun} is nearing expiry ({at}): its owner should sign again")
        }
        Note::CertificateNearExpiry { common_name, not_after } => format!(
            "warning: the root certificate of {gun} for {common_name} is near expiry ({not_after}): its owner should rotate the root key"
        ),
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
