//! What became of each collection, as a table or for programs.

use super::folder::{Proof, Saved};
use crate::command::Format;
use crate::error::{CliError, Kind};
use crate::output::{Listing, message};
use countersign_trust::archive::{Archive, Attested};
use countersign_tuf::{Gun, RoleName};

/// Collects the outcomes; the first failure decides the exit code.
pub(super) struct Outcomes {
    listing: Listing,
    failed: Vec<Gun>,
    kind: Option<Kind>,
}

impl Outcomes {
    pub(super) fn new() -> Self {
        let header = &["COLLECTION", "ROOTS", "TAGS", "EXPIRES", "STATE"];
        Self { listing: Listing::new(header, "no collections"), failed: Vec::new(), kind: None }
    }

    /// What a run has saved of a collection.
    pub(super) fn saved(&mut self, gun: &Gun, saved: Result<Saved, CliError>) {
        let Saved { archive, proof, failure } = match saved {
            Ok(saved) => saved,
            Err(error) => return self.row_of_failure(gun, None, "not saved", &error),
        };
        match (proof, failure) {
            (Proof::Verified(attested), None) => self.verified(&archive, &attested),
            (Proof::Verified(attested), Some(failure)) => {
                self.verified(&archive, &attested);
                message(format_args!("  {gun}: {}", crate::output::harmless(&failure.message)));
                self.fail(gun, &failure);
            }
            (Proof::Broken(error), failure) => self.failed(gun, Some(&archive), &failure.unwrap_or(error)),
            (Proof::Beside(error), failure) => {
                let state = "added, not verified; what was saved before stays the present";
                self.row_of_failure(gun, Some(&archive), state, &failure.unwrap_or(error));
            }
        }
    }

    /// An archive that verifies.
    pub(super) fn verified(&mut self, archive: &Archive, attested: &Attested) {
        let collection = &attested.collection;
        let (oldest, newest) = (attested.oldest_root, collection.root().version);
        let tags = collection.list(&[RoleName::Targets]).len();
        let expiries = collection.all_targets().map(|(_, file)| &file.expires).chain([&collection.root().expires]);
        let first = expiries.min_by_key(|expires| expires.unix_seconds());
        let until = first.map(|expires| expires.as_str().to_owned());
        let state = match archive.gaps.len() {
            0 => "verified".to_owned(),
            gaps => format!("verified, {gaps} files missing"),
        };
        let roots = if oldest == newest { newest.to_string() } else { format!("{oldest} to {newest}") };
        let cells = [archive.gun.to_string(), roots, tags.to_string(), until.clone().unwrap_or_default(), state];
        let root_keys = collection.root().trusted(&RoleName::Root).map(|keys| keys.key_ids.clone()).unwrap_or_default();
        self.listing.row(
            &cells,
            serde_json::json!({
                "gun": archive.gun.as_str(), "state": "verified", "takenAt": archive.taken_at.to_string(),
                "roots": {"from": oldest.get(), "to": newest.get()}, "tags": tags, "expires": until,
                "rootKeys": root_keys.iter().map(ToString::to_string).collect::<Vec<_>>(),
                "files": archive.kept, "gaps": gaps(archive),
            }),
        );
    }

    /// A collection that could not be saved or does not verify.
    pub(super) fn failed(&mut self, gun: &Gun, archive: Option<&Archive>, error: &CliError) {
        let state = if archive.is_some() { "saved, not verified" } else { "not saved" };
        self.row_of_failure(gun, archive, state, error);
    }

    fn row_of_failure(&mut self, gun: &Gun, archive: Option<&Archive>, state: &str, error: &CliError) {
        self.listing.row(
            &[gun.to_string(), String::new(), String::new(), String::new(), format!("{state}: {}", error.message)],
            serde_json::json!({
                "gun": gun.as_str(), "state": state, "reason": error.message,
                "files": archive.map_or(0, |archive| archive.kept), "gaps": archive.map(gaps).unwrap_or_default(),
            }),
        );
        self.fail(gun, error);
    }

    fn fail(&mut self, gun: &Gun, error: &CliError) {
        for hint in &error.hints {
            message(format_args!("  hint: {}: {}", gun, crate::output::harmless(hint)));
        }
        self.failed.push(gun.clone());
        self.kind.get_or_insert(error.kind);
    }

    /// Prints everything and ends with the first failure.
    pub(super) fn end(self, format: Format, what: &str) -> Result<(), CliError> {
        self.listing.print(format)?;
        match self.kind {
            None => Ok(()),
            Some(kind) => {
                let names: Vec<String> = self.failed.iter().take(10).map(ToString::to_string).collect();
                let more = if self.failed.len() > names.len() { ", …" } else { "" };
                Err(CliError::new(kind, format!("{what}: {}{more}", names.join(", "))))
            }
        }
    }
}

fn gaps(archive: &Archive) -> Vec<serde_json::Value> {
    let gap = |gap: &countersign_trust::archive::Gap| serde_json::json!({"file": gap.file, "reason": gap.reason});
    archive.gaps.iter().map(gap).collect()
}
