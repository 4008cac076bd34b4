//! Who asked for what, and what came of it: one line of JSON for every call that makes, deletes or uses a key, and for
//! every key that is brought in.
//!
//! A key is used only when the line is written. There is no secret in it: keys and messages appear by their digests.

use std::io::{ErrorKind, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use countersign_crypto::KeyId;
use countersign_signer_rpc::Caller;
use jiff::Timestamp;
use serde::Serialize;

use crate::data_dir::FILE_MODE;

/// How long a failure counts when nothing was written since.
const REMEMBERED: Duration = Duration::from_mins(1);

/// Says that the audit log cannot be written (environment).
#[derive(Debug, thiserror::Error)]
#[error("the audit log {path} cannot be written")]
pub struct AuditError {
    /// The file.
    path: PathBuf,
    /// Why not.
    #[source]
    source: std::io::Error,
}

/// Where lines go.
#[derive(Debug)]
pub(crate) enum Audit {
    /// To a file, open.
    File {
        /// Its path.
        path: PathBuf,
        /// The file, and how it takes what is written.
        file: Mutex<Log>,
    },
    /// To the log, whatever becomes of it.
    Log,
}

/// A file that lines are appended to.
#[derive(Debug)]
pub(crate) struct Log {
    file: fs_err::File,
    /// Whether the last line is there in part: the next one must not be glued to it.
    torn: bool,
    /// When it last failed, if it has not been written since.
    failed: Option<Instant>,
}

impl Log {
    fn append(&mut self, line: &[u8]) -> std::io::Result<()> {
        let mut rest = line;
        let done = loop {
            if rest.is_empty() {
                break Ok(());
            }
            match self.file.write(rest) {
                Ok(0) => break Err(ErrorKind::WriteZero.into()),
                Ok(written) => rest = rest.get(written..).unwrap_or_default(),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => break Err(error),
            }
        };
        if rest.len() < line.len() {
            self.torn = !rest.is_empty();
        }
        self.failed = done.is_err().then(Instant::now);
        done
    }
}

/// What was done or refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Event {
    Create,
    Sign,
    Delete,
    Refuse,
    /// A key that was made elsewhere came in.
    Import,
}

/// Who had it done.
#[derive(Debug, Clone, Copy)]
pub(crate) enum By<'a> {
    /// Who called.
    Caller(&'a Caller),
    /// Who ran a command on this machine, by the system's number of the user.
    User(u32),
}

/// What is known about it.
#[derive(Debug, Default)]
pub(crate) struct About<'a> {
    pub(crate) key: Option<KeyId>,
    pub(crate) gun: Option<&'a str>,
    pub(crate) role: Option<&'a str>,
    /// The SHA-256 of the message.
    pub(crate) message: Option<String>,
    pub(crate) reason: Option<String>,
}

#[derive(Serialize)]
struct Line<'a> {
    time: String,
    event: Event,
    #[serde(skip_serializing_if = "Option::is_none")]
    client: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    address: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    uid: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    key: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    gun: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    role: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    sha256: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
}

impl Audit {
    /// Opens the file, for the owner only, and appends from now on.
    pub(crate) fn open(path: &Path) -> Result<Self, AuditError> {
        let mut options = fs_err::OpenOptions::new();
        options.create(true).append(true);
        options.options_mut().mode(FILE_MODE);
        let file = options.open(path).map_err(|source| AuditError { path: path.to_owned(), source })?;
        Ok(Self::File { path: path.to_owned(), file: Mutex::new(Log { file, torn: false, failed: None }) })
    }

    /// Writes a line.
    pub(crate) fn record(&self, now: Timestamp, by: By<'_>, event: Event, about: About<'_>) -> Result<(), AuditError> {
        let (caller, uid) = match by {
            By::Caller(caller) => (Some(caller), None),
            By::User(uid) => (None, Some(uid)),
        };
        let line = Line {
            time: now.to_string(),
            event,
            client: caller.map(|caller| &*caller.name),
            address: caller.map(|caller| caller.address.to_string()),
            uid,
            key: about.key.map(|id| id.to_string()),
            gun: about.gun,
            role: about.role,
            sha256: about.message,
            reason: about.reason,
        };
        let Self::File { path, file } = self else {
            tracing::info!(audit = serde_json::to_string(&line).unwrap_or_default(), "a key");
            return Ok(());
        };
        let failed = |source| AuditError { path: path.clone(), source };
        let mut text = serde_json::to_vec(&line).map_err(|error| failed(error.into()))?;
        text.push(b'\n');
        let mut log = file.lock().unwrap_or_else(PoisonError::into_inner);
        if log.torn {
            text.insert(0, b'\n');
        }
        log.append(&text).map_err(failed)
    }

    /// Tells whether it could not be written a moment ago; it may be another matter after a minute.
    pub(crate) fn is_failing(&self) -> bool {
        let Self::File { file, .. } = self else { return false };
        let log = file.lock().unwrap_or_else(PoisonError::into_inner);
        log.failed.is_some_and(|at| at.elapsed() < REMEMBERED)
    }
}
