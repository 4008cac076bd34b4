//! The files of the project.

use anyhow::Context;
use std::fs;
use std::path::{Path, PathBuf};

/// Folders that hold no files of the project; `fuzz` has a `target` of its own.
const NOT_OURS: [&str; 2] = [".git", "target"];

/// Lists all files of the project, as paths below its top, in order; links are not followed.
///
/// # Errors
/// A folder cannot be read.
pub(crate) fn files(top: &Path) -> anyhow::Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    let mut folders = vec![PathBuf::new()];
    while let Some(folder) = folders.pop() {
        let place = top.join(&folder);
        for entry in fs::read_dir(&place).with_context(|| format!("cannot read {}", place.display()))? {
            let entry = entry?;
            let path = folder.join(entry.file_name());
            let kind = entry.file_type()?;
            if kind.is_dir() && !NOT_OURS.iter().any(|name| path.ends_with(name)) {
                folders.push(path);
            } else if kind.is_file() {
                found.push(path);
            }
        }
    }
    found.sort();
    Ok(found)
}

/// Reads a file as text, whatever its encoding.
///
/// # Errors
/// It cannot be read.
pub(crate) fn text(top: &Path, file: &Path) -> anyhow::Result<String> {
    let bytes = fs::read(top.join(file)).with_context(|| format!("cannot read {}", file.display()))?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}
