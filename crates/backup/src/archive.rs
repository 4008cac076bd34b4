//! Tar archives: writing ours, and reading anybody's without ever unpacking one to a path.

mod entry_path;
mod reading;
mod unpacking;
mod writing;

pub(crate) use entry_path::EntryPath;
pub(crate) use reading::{File, Files, read};
pub(crate) use writing::{FOLDER, Member, write};

/// Something in an archive that is no key and is left out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LeftOut {
    /// Its path in the archive; not safe to print as it is.
    pub path: String,
    /// Why it is left out.
    pub reason: String,
}

/// Says why an archive is refused as a whole.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ArchiveError {
    /// It is no tar archive.
    #[error("there is no tar archive in it")]
    NotTar,
    /// It was changed or cut short.
    #[error("the tar archive is damaged or cut short: {0}")]
    Damaged(&'static str),
    /// A path in it leads elsewhere.
    #[error("the archive names the path {path:?}, which {reason}")]
    UnsafePath {
        /// The path; not safe to print as it is.
        path: String,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// It has something else than files and directories.
    #[error("{path:?} in the archive is {kind}: a backup of keys has only files and directories")]
    Kind {
        /// The path; not safe to print as it is.
        path: String,
        /// What it is.
        kind: &'static str,
    },
    /// Two entries have the same path, or paths that differ in capitals only.
    #[error("{path:?} is in the archive more than once")]
    Repeated {
        /// The path; not safe to print as it is.
        path: String,
    },
    /// Two files are for the same key and differ.
    #[error("the archive holds two different files for the key {id}")]
    TwoForms {
        /// The key.
        id: countersign_crypto::KeyId,
    },
    /// A key that is not encrypted is another one than its file's name says.
    #[error("{path:?} in the archive holds the key {actual}: the file was renamed or tampered with")]
    OtherKey {
        /// The path; not safe to print as it is.
        path: String,
        /// The id of the key in it.
        actual: countersign_crypto::KeyId,
    },
    /// It is larger, or has more in it, than what is read.
    #[error("the archive is too large: {what} are more than {limit}")]
    TooLarge {
        /// What there is too much of.
        what: &'static str,
        /// The limit.
        limit: usize,
    },
    /// It grows beyond measure when it is unpacked.
    #[error("the archive unpacks to more than {limit} times its size: it was made to fill the machine")]
    Expansion {
        /// The limit.
        limit: usize,
    },
    /// The manifest in it cannot be used.
    #[error(transparent)]
    Manifest(#[from] crate::manifest::ManifestError),
    /// It holds no key.
    #[error("there is no private key in the archive")]
    NoKeys,
}
