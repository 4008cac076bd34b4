//! The note of an upload of staged changes, by which a later process finds out what became of it.

use crate::client::CollectionClient;
use crate::error::TrustError;
use countersign_crypto::digest::{Sha256Digest, sha256};
use countersign_tuf::editor::Publication;
use countersign_tuf::update::{Answer, Fetch, MAX_ROOT, Purpose, UpdateError, Which};
use countersign_tuf::{RoleName, Version};
use countersign_vault::ChangeId;
use countersign_vault::limits::MAX_METADATA_BYTES;
use std::collections::BTreeSet;
use std::fmt::Write;

/// One of the uploaded files, for the service stores all of an upload or nothing, and the staged changes that are in it.
///
/// Written as lines: the role, its version and the file's SHA-256 in hexadecimal; then a change's file name each.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct UploadNote {
    role: RoleName,
    version: Version,
    sha256: Sha256Digest,
    changes: BTreeSet<Box<str>>,
}

impl UploadNote {
    /// Notes an upload; none if there is nothing that would be applied again.
    pub(crate) fn of(publication: &Publication, changes: &[ChangeId]) -> Option<Self> {
        let (role, version) = publication.versions.last_key_value()?;
        let sha256 = sha256(publication.parts.get(role)?);
        let changes: BTreeSet<Box<str>> = changes.iter().map(|id| id.as_str().into()).collect();
        (!changes.is_empty()).then(|| Self { role: role.clone(), version: *version, sha256, changes })
    }

    pub(crate) fn write(&self) -> Vec<u8> {
        let mut text = format!("{} {} {}\n", self.role, self.version.get(), self.sha256.hex());
        for change in &self.changes {
            let _ = writeln!(text, "{change}");
        }
        text.into_bytes()
    }

    /// Reads a note; one that is damaged tells nothing.
    pub(crate) fn read(text: &[u8]) -> Option<Self> {
        let (first, rest) = std::str::from_utf8(text).ok()?.split_once('\n')?;
        let [role, version, sha256]: [&str; 3] = first.split(' ').collect::<Vec<_>>().try_into().ok()?;
        Some(Self {
            role: RoleName::parse(role).ok()?,
            version: Version::new(version.parse().ok()?)?,
            sha256: Sha256Digest::from_hex(sha256).ok()?,
            changes: rest.lines().map(Into::into).collect(),
        })
    }

    /// Tells whether a staged change is in the upload.
    pub(crate) fn names(&self, change: &ChangeId) -> bool {
        self.changes.contains(change.as_str())
    }
}

impl CollectionClient<'_> {
    /// Tells whether the service has stored an upload: it serves that very file, and what can be verified is not older.
    pub(crate) async fn was_stored(&self, note: &UploadNote) -> Result<bool, TrustError> {
        let collection = match self.update(Purpose::Publish).await {
            Ok(collection) => collection,
            Err(TrustError::Update(UpdateError::NoTrustData(_))) => return Ok(false),
            Err(error) => return Err(error),
        };
        let served = match &note.role {
            RoleName::Root => Some(collection.root().version),
            role => collection.targets(role).map(|found| found.version),
        };
        if served.is_none_or(|version| version < note.version) {
            return Ok(false);
        }
        let limit = if note.role == RoleName::Root { MAX_ROOT } else { MAX_METADATA_BYTES };
        let wanted = Fetch { role: &note.role, which: Which::Checksum(note.sha256), limit };
        match self.service.fetch(wanted).await {
            Answer::File(file) => Ok(sha256(&file) == note.sha256),
            Answer::Missing | Answer::Remnants => Ok(false),
            Answer::Away(absence) => Err(UpdateError::Away { role: note.role.clone(), absence }.into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_note_is_read_as_it_was_written_and_a_damaged_one_tells_nothing() {
        let note = UploadNote {
            role: RoleName::parse("targets/releases").unwrap(),
            version: Version::new(7).unwrap(),
            sha256: sha256(b"file"),
            changes: ["1_a.change", "2_b.change"].map(Into::into).into(),
        };
        let text = note.write();
        assert_eq!(UploadNote::read(&text), Some(note));
        for damaged in [&text[..text.len() / 4], b"", b"targets 7\n", b"targets 0 00\n", b"\xff\n"] {
            assert_eq!(UploadNote::read(damaged), None);
        }
    }
}
