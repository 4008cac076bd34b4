//! What a client has seen of a collection: the floors below which it never goes again.

use crate::json::{Canonical, Cursor, JsonError, Shape, write_string};
use crate::metadata::Payload;
use crate::name::{RoleName, Version};
use crate::verify::{Rollback, TrustedKeys, Verified};
use bytes::Bytes;
use countersign_crypto::KeyId;
use countersign_crypto::digest::{Sha256Digest, sha256};
use std::collections::BTreeMap;

/// The newest verified file of every role, remembered apart from the cache.
///
/// The cache alone is no floor: the reference keeps files of refused updates in it, and drops old files before it compares
/// them. Nothing of a refused update gets here.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Seen {
    files: BTreeMap<RoleName, SeenFile>,
    /// Seconds since 1970 when the collection was last verified.
    verified_at: u64,
}

/// How exactly the time of the last verification is remembered, in seconds: whoever verifies often need not write often.
const TIME_STEP: u64 = 3600;

/// What is remembered of one file.
#[derive(Debug, Clone, PartialEq, Eq)]
struct SeenFile {
    version: Version,
    sha256: Sha256Digest,
    signers: Vec<KeyId>,
}

/// Says why a remembered state cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SeenError {
    /// The text is not JSON.
    #[error(transparent)]
    Json(#[from] JsonError),
    /// A member is missing or of the wrong kind.
    #[error(transparent)]
    Shape(#[from] Shape),
}

/// Says that a file contradicts what was seen before.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Regression {
    /// The version is lower than one already seen.
    #[error(transparent)]
    Rollback(#[from] Rollback),
    /// The version was seen before with other content.
    #[error("version {version} of {role} has other content than the version {version} seen before")]
    Changed {
        /// The role.
        role: RoleName,
        /// The version.
        version: Version,
    },
}

impl Seen {
    /// Reads a remembered state.
    ///
    /// # Errors
    /// The text is not one.
    pub fn read(text: &Bytes) -> Result<Self, SeenError> {
        let canonical = Canonical::read(text)?;
        let mut seen = Self::default();
        canonical.cursor().object("seen", |name, value| {
            match name {
                "files" => value.object("files", |role, value| {
                    let role = RoleName::parse(role).map_err(|_| Shape::new("files", "a role"))?;
                    seen.files.insert(role, SeenFile::read(value)?);
                    Ok::<_, Shape>(())
                })?,
                "verifiedAt" => seen.verified_at = value.unsigned("verifiedAt")?,
                _ => {
                    value.skip();
                }
            }
            Ok::<_, Shape>(())
        })?;
        Ok(seen)
    }

    /// Writes the state as JSON.
    #[must_use]
    pub fn write(&self) -> Vec<u8> {
        let mut output = b"{\"files\":{".to_vec();
        for (index, (role, file)) in self.files.iter().enumerate() {
            if index > 0 {
                output.push(b',');
            }
            write_string(&mut output, role.as_str());
            file.write(&mut output);
        }
        output.extend_from_slice(format!("}},\"verifiedAt\":{}}}", self.verified_at).as_bytes());
        output
    }

    /// Tells whether a role's file has been seen that the given keys would still vouch for.
    #[must_use]
    pub fn vouched(&self, role: &RoleName, keys: &TrustedKeys) -> bool {
        self.files.get(role).is_some_and(|file| keys.still_vouched(&file.signers))
    }

    /// Returns the SHA-256 of the file last seen for a role.
    #[must_use]
    pub fn sha256(&self, role: &RoleName) -> Option<Sha256Digest> {
        self.files.get(role).map(|file| file.sha256)
    }

    /// Returns the version of the file last seen for a role.
    #[must_use]
    pub fn version(&self, role: &RoleName) -> Option<Version> {
        self.files.get(role).map(|file| file.version)
    }

    /// Returns the second of the last successful verification.
    #[must_use]
    pub fn verified_at(&self) -> u64 {
        self.verified_at
    }

    /// Checks a verified file against the floor of its role.
    ///
    /// The floor holds while the keys that vouched for it are still enough for the role. Once they are replaced it falls:
    /// that is how a collection recovers from a stolen key that drove a version to its end.
    ///
    /// # Errors
    /// The file is older than the floor, or differs from it under the same version.
    pub fn check<T: Payload>(&self, file: &Verified<T>, keys: &TrustedKeys) -> Result<(), Regression> {
        let Some(seen) = self.files.get(file.role()).filter(|seen| keys.still_vouched(&seen.signers)) else {
            return Ok(());
        };
        file.at_least(seen.version)?;
        if file.version() == seen.version && sha256(file.file()) != seen.sha256 {
            return Err(Regression::Changed { role: file.role().clone(), version: seen.version });
        }
        Ok(())
    }

    /// Takes a verified file as the new floor of its role, unless the floor is higher already and still vouched for.
    ///
    /// `listed` is the file's SHA-256 where it is known from the listing that the file was checked against.
    pub(crate) fn raise<T: Payload>(&mut self, file: &Verified<T>, keys: &TrustedKeys, listed: Option<Sha256Digest>) {
        let newer = self
            .files
            .get(file.role())
            .is_none_or(|seen| !keys.still_vouched(&seen.signers) || file.version() > seen.version);
        if newer {
            let sha256 = listed.unwrap_or_else(|| sha256(file.file()));
            let seen = SeenFile { version: file.version(), sha256, signers: file.signers().collect() };
            self.files.insert(file.role().clone(), seen);
        }
    }

    /// Tells whether nothing has been seen.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.files.is_empty()
    }

    /// Keeps only the roles that may still exist, and notes the time unless a later one is noted.
    pub fn settle(&mut self, may_exist: impl Fn(&RoleName) -> bool, now: jiff::Timestamp) {
        self.files.retain(|role, _| may_exist(role));
        let now = u64::try_from(now.as_second()).unwrap_or(0);
        if now > self.verified_at.saturating_add(TIME_STEP) {
            self.verified_at = now;
        }
    }
}

impl SeenFile {
    fn read(cursor: &mut Cursor<'_>) -> Result<Self, Shape> {
        let (mut version, mut hash, mut signers) = (None, None, Vec::new());
        cursor.object("file", |name, value| {
            match name {
                "version" => version = Version::new(value.unsigned("version")?),
                "sha256" => hash = Sha256Digest::from_hex(&value.string("sha256")?).ok(),
                "signers" => value.array("signers", |item| {
                    let id = item.string("signers")?.parse();
                    signers.push(id.map_err(|_| Shape::new("signers", "a key id"))?);
                    Ok::<_, Shape>(())
                })?,
                _ => {
                    value.skip();
                }
            }
            Ok::<_, Shape>(())
        })?;
        match (version, hash) {
            (Some(version), Some(sha256)) => Ok(Self { version, sha256, signers }),
            _ => Err(Shape::new("file", "a version and a sha256")),
        }
    }

    fn write(&self, output: &mut Vec<u8>) {
        let signers: Vec<String> = self.signers.iter().map(|id| format!("\"{id}\"")).collect();
        let (hash, signers, version) = (self.sha256.hex(), signers.join(","), self.version);
        output.extend_from_slice(
            format!(":{{\"sha256\":\"{hash}\",\"signers\":[{signers}],\"version\":{version}}}").as_bytes(),
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn some() -> Seen {
        let file = SeenFile {
            version: Version::new(7).unwrap(),
            sha256: sha256(b"x"),
            signers: vec![KeyId::from_bytes([1; 32]), KeyId::from_bytes([2; 32])],
        };
        let roles = ["timestamp", "targets", "targets/a"].map(|name| RoleName::parse(name).unwrap());
        Seen { files: roles.into_iter().map(|role| (role, file.clone())).collect(), verified_at: 1_795_348_800 }
    }

    #[test]
    fn a_record_reads_what_it_writes() {
        for seen in [some(), Seen::default()] {
            assert_eq!(Seen::read(&seen.write().into()), Ok(seen));
        }
    }

    #[test]
    fn a_damaged_record_is_refused() {
        let good = String::from_utf8(some().write()).unwrap();
        for text in [
            "",
            "null",
            "[]",
            "{\"files\":[]}",
            "{\"files\":{\"Root\":{}}}",
            "{\"files\":{\"root\":{}}}",
            "{\"verifiedAt\":-1}",
            &good.replace("\"version\":7", "\"version\":0"),
            &good.replace("\"sha256\":\"", "\"sha256\":\"0"),
            &good.replace("targets/a", "targets/../a"),
            &good.replacen("\"signers\":[", "\"signers\":[null,", 1),
            &good[..good.len() - 1],
        ] {
            assert!(Seen::read(&text.to_owned().into()).is_err(), "{text}");
        }
    }

    #[test]
    fn the_time_of_verification_does_not_go_back() {
        let mut seen = some();
        seen.settle(|role| *role != RoleName::Targets, jiff::Timestamp::UNIX_EPOCH);
        assert_eq!(seen.verified_at(), 1_795_348_800);
        assert_eq!(seen.files.len(), 2);
        seen.settle(|_| false, jiff::Timestamp::from_second(1_795_348_800 + 3600).unwrap());
        assert_eq!(seen.verified_at(), 1_795_348_800);
        seen.settle(|_| false, jiff::Timestamp::from_second(1_795_348_800 + 3601).unwrap());
        assert_eq!(seen.verified_at(), 1_795_348_800 + 3601);
        assert!(seen.is_empty());
    }
}
