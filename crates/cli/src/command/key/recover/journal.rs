//! What a new beginning was decided to be, written down before anything is taken away, so that it can be finished.

use crate::context::Context;
use crate::error::{CliError, Kind};
use bytes::Bytes;
use countersign_crypto::KeyId;
use countersign_crypto::digest::sha256;
use countersign_trust::{Beginning, Holder};
use countersign_tuf::{Change, Gun};
use serde::{Deserialize, Serialize};
use std::io::Write;
use std::path::PathBuf;

/// Largest journal in bytes.
const MAX_JOURNAL: u64 = 64 << 20;
const VERSION: u64 = 1;

/// A new beginning that was confirmed.
#[derive(Debug)]
pub(super) struct Journal {
    pub(super) old: Vec<KeyId>,
    pub(super) root_keys: Vec<KeyId>,
    pub(super) snapshot: Holder,
    pub(super) changes: Vec<Change>,
    /// Names that were released and are not signed anew.
    pub(super) dropped: Vec<String>,
}

/// The same as it is written.
#[derive(Serialize, Deserialize)]
struct Written {
    version: u64,
    gun: String,
    old: Vec<String>,
    root_keys: Vec<String>,
    snapshot_here: bool,
    changes: Vec<String>,
    dropped: Vec<String>,
}

impl Journal {
    pub(super) fn beginning(&self) -> Beginning {
        Beginning { root_keys: self.root_keys.clone(), certificates: Vec::new(), snapshot: self.snapshot }
    }

    /// Reads the journal of a collection, if there is one.
    pub(super) fn find(context: &Context, gun: &Gun) -> Result<Option<Self>, CliError> {
        let path = path(context, gun);
        let broken = |reason: &dyn std::fmt::Display| {
            CliError::new(Kind::Local, format!("{} cannot be read: {reason}", path.display()))
                .hint("it tells how far a new beginning has come; remove it only to decide everything again")
        };
        match fs_err::symlink_metadata(&path) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(broken(&error)),
            Ok(found) if !found.is_file() || found.len() > MAX_JOURNAL => return Err(broken(&"it is no journal")),
            Ok(_) => {}
        }
        let bytes = fs_err::read(&path).map_err(|error| broken(&error))?;
        let written: Written = serde_json::from_slice(&bytes).map_err(|error| broken(&error))?;
        if written.version != VERSION || written.gun != gun.as_str() {
            return Err(broken(&"it is of another version or collection"));
        }
        let ids = |texts: &[String]| -> Result<Vec<KeyId>, CliError> {
            texts.iter().map(|text| text.parse().map_err(|_| broken(&"it names no key"))).collect()
        };
        let change =
            |text: &String| Change::read(&Bytes::copy_from_slice(text.as_bytes())).map_err(|error| broken(&error));
        Ok(Some(Self {
            old: ids(&written.old)?,
            root_keys: ids(&written.root_keys)?,
            snapshot: if written.snapshot_here { Holder::Client } else { Holder::Service },
            changes: written.changes.iter().map(change).collect::<Result<_, _>>()?,
            dropped: written.dropped,
        }))
    }

    /// Writes the journal, whole and flushed.
    pub(super) fn write(&self, context: &Context, gun: &Gun) -> Result<(), CliError> {
        let path = path(context, gun);
        let failed = |error: std::io::Error| {
            CliError::new(Kind::Local, format!("{} cannot be written: {error}", path.display()))
        };
        let folder = path.parent().unwrap_or(context.directory.path()).to_owned();
        fs_err::create_dir_all(&folder).map_err(failed)?;
        let ids = |ids: &[KeyId]| ids.iter().map(ToString::to_string).collect();
        let text = |change: &Change| String::from_utf8(change.write()).map_err(|error| CliError::internal(&error));
        let written = Written {
            version: VERSION,
            gun: gun.to_string(),
            old: ids(&self.old),
            root_keys: ids(&self.root_keys),
            snapshot_here: self.snapshot == Holder::Client,
            changes: self.changes.iter().map(text).collect::<Result<_, _>>()?,
            dropped: self.dropped.clone(),
        };
        let bytes = serde_json::to_vec_pretty(&written).map_err(|error| CliError::internal(&error))?;
        let mut temporary = tempfile::NamedTempFile::new_in(&folder).map_err(failed)?;
        temporary.write_all(&bytes).and_then(|()| temporary.as_file().sync_all()).map_err(failed)?;
        temporary.persist(&path).map_err(|error| failed(error.error))?;
        fs_err::File::open(&folder).and_then(|folder| folder.sync_all()).map_err(failed)
    }

    /// Takes the journal away: everything is done.
    pub(super) fn remove(context: &Context, gun: &Gun) -> Result<(), CliError> {
        let path = path(context, gun);
        fs_err::remove_file(&path).map_err(|error| {
            CliError::new(Kind::Local, format!("everything is done, but {} stays: {error}", path.display()))
        })
    }
}

/// Beside the locks, where no other client looks; the name is a hash, for a collection's name can be any path.
fn path(context: &Context, gun: &Gun) -> PathBuf {
    let name = format!("{}.json", sha256(gun.as_str().as_bytes()).hex());
    context.directory.path().join(".countersign").join("new-chains").join(name)
}
