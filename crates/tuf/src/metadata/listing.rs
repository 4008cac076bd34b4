//! The payloads that list other files: snapshot and timestamp.

use super::{
    Envelope, FileMeta, Header, MetadataError, Payload, skip_unknown, write_expires, write_joined, write_version,
};
use crate::expires::Expires;
use crate::json::{Cursor, Shape, write_string};
use crate::name::{RoleName, Version};
use std::collections::BTreeMap;

/// Most entries of one listing.
const MAX_ENTRIES: usize = 1_000_000;

/// Lists the current file of root, targets and every delegation that has one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Snapshot {
    /// The version.
    pub version: Version,
    /// When it expires.
    pub expires: Expires,
    /// The current files; entries whose name is no role are left out.
    pub meta: BTreeMap<RoleName, FileMeta>,
}

/// Names the current snapshot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Timestamp {
    /// The version.
    pub version: Version,
    /// When it expires.
    pub expires: Expires,
    /// The current snapshot file.
    pub snapshot: FileMeta,
}

struct Listing {
    version: Version,
    expires: Expires,
    meta: BTreeMap<RoleName, FileMeta>,
}

fn read_listing(kind: &'static str, role: &RoleName, envelope: &Envelope) -> Result<Listing, MetadataError> {
    let mut header = Header::default();
    let mut meta = None;
    envelope.signed().cursor().object("signed", |name, value| {
        match name {
            _ if header.member(kind, name, value)? => {}
            "meta" => meta = Some(read_meta(value)?),
            _ => skip_unknown(name, value)?,
        }
        Ok::<_, MetadataError>(())
    })?;
    let (version, expires) = header.finish(role)?;
    let meta = meta.ok_or_else(|| Shape::new("meta", "an object"))?;
    Ok(Listing { version, expires, meta })
}

fn read_meta(cursor: &mut Cursor<'_>) -> Result<BTreeMap<RoleName, FileMeta>, Shape> {
    let mut meta = BTreeMap::new();
    let mut count = 0;
    cursor.object("meta", |name, value| {
        count += 1;
        if count > MAX_ENTRIES {
            return Err(Shape::new("meta", "at most 1000000 entries"));
        }
        match RoleName::parse(name) {
            Ok(role) => {
                meta.insert(role, FileMeta::read(value)?);
            }
            Err(_) => {
                value.skip();
            }
        }
        Ok(())
    })?;
    Ok(meta)
}

/// Checks that a listing has an entry with a SHA-256 hash, by which files are fetched.
fn require<'a>(
    meta: &'a BTreeMap<RoleName, FileMeta>,
    listing: &RoleName,
    entry: &RoleName,
) -> Result<&'a FileMeta, MetadataError> {
    match meta.get(entry) {
        Some(found) if found.sha256.is_some() => Ok(found),
        Some(_) => Err(MetadataError::structure(listing, format!("missing {entry} sha256 checksum information"))),
        None => Err(MetadataError::structure(listing, format!("missing {entry} checksum information"))),
    }
}

fn write_listing<'a>(
    kind: &str,
    version: Version,
    expires: &Expires,
    meta: impl Iterator<Item = (&'a RoleName, &'a FileMeta)>,
) -> Vec<u8> {
    let mut output = format!("{{\"_type\":\"{kind}\"").into_bytes();
    write_expires(&mut output, expires);
    output.extend_from_slice(b",\"meta\":{");
    let mut sorted: Vec<_> = meta.collect();
    sorted.sort_by_key(|(role, _)| role.as_str());
    write_joined(&mut output, sorted, |output, (role, meta)| {
        write_string(output, role.as_str());
        output.push(b':');
        meta.write(output);
    });
    output.push(b'}');
    write_version(&mut output, version);
    output.push(b'}');
    output
}

impl Payload for Snapshot {
    fn read(role: &RoleName, envelope: &Envelope) -> Result<Self, MetadataError> {
        let Listing { version, expires, meta } = read_listing("Snapshot", role, envelope)?;
        require(&meta, role, &RoleName::Root)?;
        require(&meta, role, &RoleName::Targets)?;
        Ok(Self { version, expires, meta })
    }

    fn write(&self) -> Vec<u8> {
        write_listing("Snapshot", self.version, &self.expires, self.meta.iter())
    }

    fn version(&self) -> Version {
        self.version
    }

    fn expires(&self) -> &Expires {
        &self.expires
    }
}

impl Payload for Timestamp {
    fn read(role: &RoleName, envelope: &Envelope) -> Result<Self, MetadataError> {
        let Listing { version, expires, meta } = read_listing("Timestamp", role, envelope)?;
        let snapshot = require(&meta, role, &RoleName::Snapshot)?.clone();
        Ok(Self { version, expires, snapshot })
    }

    fn write(&self) -> Vec<u8> {
        let entry = (&RoleName::Snapshot, &self.snapshot);
        write_listing("Timestamp", self.version, &self.expires, std::iter::once(entry))
    }

    fn version(&self) -> Version {
        self.version
    }

    fn expires(&self) -> &Expires {
        &self.expires
    }
}
