//! What is wrong with a settings file, and where.

use crate::error::{CliError, Kind};
use std::fmt;
use std::path::{Path, PathBuf};

/// Says why a settings file cannot be used.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct SettingsError {
    pub(crate) file: PathBuf,
    /// Counted from 1; 0 is the file as a whole.
    pub(crate) line: usize,
    /// The key, as far as one is to blame.
    pub(crate) key: Option<String>,
    pub(crate) reason: String,
}

impl SettingsError {
    /// Blames a file as a whole.
    pub(crate) fn of_file(file: &Path, reason: impl fmt::Display) -> Self {
        Self { file: file.to_owned(), line: 0, key: None, reason: reason.to_string() }
    }
}

impl fmt::Display for SettingsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.file.display())?;
        if self.line > 0 {
            write!(f, " line {}", self.line)?;
        }
        if let Some(key) = &self.key {
            write!(f, " ({key})")?;
        }
        write!(f, ": {}", self.reason)
    }
}

impl From<SettingsError> for CliError {
    fn from(error: SettingsError) -> Self {
        Self::new(Kind::Local, error).hint("nothing was done: settings about trust are understood whole or not at all")
    }
}
