//! How far an import has come, in a file of the data folder.

use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::ImportError;

/// The last change of the old service's feed that has been dealt with.
pub(super) struct Progress {
    path: PathBuf,
    noted: Noted,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Noted {
    /// Whose numbers these are.
    server: String,
    change: Option<i64>,
}

impl Progress {
    /// Reads how far an earlier import from the same database came.
    pub(super) fn open(path: PathBuf, server: &str) -> Result<Self, ImportError> {
        let fresh = Noted { server: server.to_owned(), change: None };
        let noted = match fs_err::read(&path) {
            Ok(text) => serde_json::from_slice(&text).map_err(|error| unusable(&path, &error))?,
            Err(error) if error.kind() == ErrorKind::NotFound => fresh,
            Err(error) => return Err(unusable(&path, &error)),
        };
        if noted.server != server {
            let reason = format!("it is about {}: remove it to begin with another database", noted.server);
            return Err(unusable(&path, &reason));
        }
        Ok(Self { path, noted })
    }

    pub(super) fn change(&self) -> Option<i64> {
        self.noted.change
    }

    /// Notes that everything up to this change has been dealt with.
    pub(super) fn reached(&mut self, change: i64) -> Result<(), ImportError> {
        self.noted.change = Some(change);
        let write = || {
            let text = serde_json::to_vec(&self.noted).map_err(std::io::Error::other)?;
            let beside = self.path.with_extension("new");
            let mut file = fs_err::File::create(&beside)?;
            file.write_all(&text)?;
            file.sync_all()?;
            fs_err::rename(&beside, &self.path)
        };
        write().map_err(|error| unusable(&self.path, &error))
    }
}

fn unusable(path: &Path, reason: &dyn std::fmt::Display) -> ImportError {
    ImportError::Progress { path: path.display().to_string(), reason: reason.to_string() }
}
