//! The record of what was placed.

use super::place::Link;
use crate::error::{CliError, Kind};
use serde::{Deserialize, Serialize};
use std::io::{ErrorKind, Read, Write};
use std::path::Path;

/// Largest record in bytes.
const MAX_RECORD: u64 = 1 << 20;

/// What was placed and not removed since.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Record {
    links: Vec<Link>,
}

impl Record {
    /// Reads the record; without one nothing was placed.
    pub(super) fn read(path: &Path) -> Result<Self, CliError> {
        let unusable = |error: &dyn std::fmt::Display| {
            let message = format!("the record of what was installed, {}, cannot be used: {error}", path.display());
            CliError::new(Kind::Local, message).hint("remove it if you know what was installed, and the links by hand")
        };
        let file = match fs_err::File::open(path) {
            Ok(file) => file,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Self::default()),
            Err(error) => return Err(unusable(&error)),
        };
        let mut text = String::new();
        file.take(MAX_RECORD).read_to_string(&mut text).map_err(|error| unusable(&error))?;
        serde_json::from_str(&text).map_err(|error| unusable(&error))
    }

    /// Writes the record in one step; an empty one is removed.
    pub(super) fn write(&self, path: &Path) -> Result<(), CliError> {
        let local = |error: std::io::Error| CliError::new(Kind::Local, error);
        if self.links.is_empty() {
            return fs_err::remove_file(path).map_err(local);
        }
        let folder = path.parent().unwrap_or(Path::new("/"));
        fs_err::create_dir_all(folder).map_err(local)?;
        let text = serde_json::to_vec_pretty(self).map_err(|error| CliError::internal(&error))?;
        let mut file = tempfile::NamedTempFile::new_in(folder).map_err(local)?;
        file.write_all(&text).and_then(|()| file.as_file().sync_all()).map_err(local)?;
        file.persist(path).map(drop).map_err(|error| local(error.error))
    }

    pub(super) fn is_empty(&self) -> bool {
        self.links.is_empty()
    }

    /// Tells whether a link to this was placed there.
    pub(super) fn has(&self, at: &Path, to: &Path) -> bool {
        self.links.iter().any(|link| link.at == at && link.to == to)
    }

    /// Notes a link; of one place the last counts.
    pub(super) fn note(&mut self, link: &Link) {
        self.links.retain(|known| known.at != link.at);
        self.links.push(link.clone());
    }

    pub(super) fn forget(&mut self, link: &Link) {
        self.links.retain(|known| known != link);
    }

    pub(super) fn links(&self) -> Vec<Link> {
        self.links.clone()
    }
}
