//! The audit log: one line of JSON for every signing and verification.

use crate::error::{CliError, Kind};
use countersign_crypto::KeyId;
use countersign_trust::{ReleasedTag, Source};
use fs_err::os::unix::fs::OpenOptionsExt;
use fs_err::{File, OpenOptions};
use serde::Serialize;
use std::io::Write;
use std::path::Path;
use std::sync::Mutex;

/// An audit log, opened before anything is done: without it there is nothing to answer for.
#[derive(Debug)]
pub(crate) struct AuditLog(Option<Mutex<File>>);

/// What was done.
#[derive(Debug, Clone, Copy, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Action {
    Sign,
    Verify,
    Revoke,
}

/// What was done about one name of a collection.
#[derive(Debug)]
pub(crate) struct Entry<'a> {
    pub(crate) action: Action,
    /// The name, or the role where a whole role was changed.
    pub(crate) name: &'a str,
    /// What the name stands for, with the algorithm.
    pub(crate) digest: Option<String>,
    /// The keys that signed.
    pub(crate) keys: Vec<KeyId>,
    pub(crate) source: Source,
}

#[derive(Serialize)]
struct Line<'a> {
    time: String,
    action: Action,
    gun: &'a str,
    tag: &'a str,
    digest: Option<String>,
    keys: Vec<String>,
    outcome: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    source: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<&'a str>,
}

impl AuditLog {
    /// Opens the log for appending; with no file nothing is logged.
    ///
    /// A named pipe that nobody reads is refused instead of waited for.
    pub(crate) fn open(path: Option<&Path>) -> Result<Self, CliError> {
        let Some(path) = path else { return Ok(Self(None)) };
        let nonblocking = i32::try_from(rustix::fs::OFlags::NONBLOCK.bits()).unwrap_or_default();
        let file = OpenOptions::new().create(true).append(true).mode(0o600).custom_flags(nonblocking).open(path);
        let file = file.map_err(|error| {
            CliError::new(Kind::Local, format!("the audit log cannot be opened, so nothing was done: {error}"))
        })?;
        Ok(Self(Some(Mutex::new(file))))
    }

    /// Writes down that a tag was signed or verified; `done` says what became of it, should the log fail.
    pub(crate) fn done(&self, action: Action, gun: &str, tag: &ReleasedTag, done: &str) -> Result<(), CliError> {
        let digest = Some(format!("sha256:{}", tag.sha256.hex()));
        let keys = tag.key_ids.iter().map(KeyId::to_string).collect();
        let source = match tag.source {
            Source::Service => None,
            Source::Cache => Some("cache"),
        };
        let tag = tag.name.as_str();
        self.write(&Line { time: now(), action, gun, tag, digest, keys, outcome: "ok", source, reason: None })
            .map_err(|error| unwritten(done, gun, tag, &error))
    }

    /// Writes down what was done about a name of a collection; `done` says what became of it, should the log fail.
    pub(crate) fn entry(&self, gun: &str, entry: &Entry<'_>, done: &str) -> Result<(), CliError> {
        let Entry { action, name, digest, keys, source } = entry;
        let source = match source {
            Source::Service => None,
            Source::Cache => Some("cache"),
        };
        let (digest, keys) = (digest.clone(), keys.iter().map(KeyId::to_string).collect());
        self.write(&Line {
            time: now(),
            action: *action,
            gun,
            tag: name,
            digest,
            keys,
            outcome: "ok",
            source,
            reason: None,
        })
        .map_err(|error| unwritten(done, gun, name, &error))
    }

    /// Writes down that a tag is released no more.
    pub(crate) fn revoked(&self, gun: &str, tag: &str) -> Result<(), CliError> {
        let action = Action::Revoke;
        self.write(&Line {
            time: now(),
            action,
            gun,
            tag,
            digest: None,
            keys: Vec::new(),
            outcome: "ok",
            source: None,
            reason: None,
        })
        .map_err(|error| unwritten("was revoked", gun, tag, &error))
    }

    /// Writes down why something was refused, and hands the refusal on: that it could not be written down does not
    /// change what it is.
    pub(crate) fn refused(&self, action: Action, gun: &str, tag: &str, error: CliError) -> CliError {
        let reason = Some(error.message.as_str());
        let line = Line {
            time: now(),
            action,
            gun,
            tag,
            digest: None,
            keys: Vec::new(),
            outcome: "refused",
            source: None,
            reason,
        };
        match self.write(&line) {
            Ok(()) => error,
            Err(failure) => {
                error.hint(format!("this refusal is not in the audit log, which cannot be written: {failure}"))
            }
        }
    }

    fn write(&self, line: &Line<'_>) -> std::io::Result<()> {
        let Some(file) = &self.0 else { return Ok(()) };
        let mut text = serde_json::to_vec(line)?;
        text.push(b'\n');
        let mut file = file.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        file.write_all(&text)?;
        // Pipes and terminals are legal logs that cannot be synchronised.
        if file.metadata()?.is_file() { file.sync_data() } else { Ok(()) }
    }
}

/// Says that something was done but not written down.
fn unwritten(done: &str, gun: &str, tag: &str, error: &std::io::Error) -> CliError {
    CliError::new(Kind::Local, format!("{gun}:{tag} {done}, but the audit log cannot be written: {error}"))
}

fn now() -> String {
    jiff::Timestamp::now().to_string()
}
