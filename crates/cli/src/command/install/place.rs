//! One name: a symbolic link to this program.

use crate::error::{CliError, Kind};
use serde::{Deserialize, Serialize};
use std::io::ErrorKind;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// A link that is to be there.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Link {
    /// Where.
    pub(super) at: PathBuf,
    /// The program that it leads to.
    pub(super) to: PathBuf,
}

/// What is in a link's place.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Found {
    /// Nothing.
    Nothing,
    /// The link, or another one to the same program.
    This,
    /// A link to something else, or to nothing.
    LinkTo(PathBuf),
    /// No link.
    Other,
}

impl Link {
    /// Looks at what is there.
    pub(super) fn found(&self) -> Result<Found, CliError> {
        let metadata = match fs_err::symlink_metadata(&self.at) {
            Ok(metadata) => metadata,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Found::Nothing),
            Err(error) => return Err(local(error)),
        };
        if !metadata.is_symlink() {
            return Ok(if is_same(&self.at, &self.to) { Found::This } else { Found::Other });
        }
        let target = fs_err::read_link(&self.at).map_err(local)?;
        Ok(if is_same(&self.at, &self.to) { Found::This } else { Found::LinkTo(target) })
    }

    /// Tells whether exactly this link is there.
    pub(super) fn is_in_place(&self) -> Result<bool, CliError> {
        match fs_err::read_link(&self.at) {
            Ok(target) => Ok(target == self.to),
            Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::InvalidInput) => Ok(false),
            Err(error) => Err(local(error)),
        }
    }

    /// Makes the link, in one step also where an older one of ours is.
    pub(super) fn place(&self) -> Result<(), CliError> {
        let folder = self.at.parent().unwrap_or(Path::new("/"));
        fs_err::create_dir_all(folder).map_err(local)?;
        let name = self.at.file_name().unwrap_or_default().to_string_lossy();
        let beside = folder.join(format!(".{name}.countersign-{}", std::process::id()));
        fs_err::os::unix::fs::symlink(&self.to, &beside).map_err(local)?;
        fs_err::rename(&beside, &self.at).map_err(|error| {
            let _ = fs_err::remove_file(&beside);
            local(error)
        })
    }
}

/// Tells whether two paths lead to one file.
pub(super) fn is_same(a: &Path, b: &Path) -> bool {
    match (std::fs::metadata(a), std::fs::metadata(b)) {
        (Ok(a), Ok(b)) => (a.dev(), a.ino()) == (b.dev(), b.ino()),
        _ => false,
    }
}

fn local(error: std::io::Error) -> CliError {
    let is_denied = error.kind() == ErrorKind::PermissionDenied;
    let error = CliError::new(Kind::Local, error);
    if is_denied { error.hint("--user needs no rights of the administrator; --system does") } else { error }
}
