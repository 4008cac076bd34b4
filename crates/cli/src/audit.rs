//! The audit log: one line of JSON for every signing and verification.

use crate::error::{CliError, Kind};
use countersign_crypto::KeyId;
use countersign_trust::ReleasedTag;
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
    reason: Option<&'a str>,
}

impl AuditLog {
    /// Opens the log for appending; with no file nothing is logged.
    pub(crate) fn open(path: Option<&Path>) -> Result<Self, CliError> {
        let Some(path) = path else { return Ok(Self(None)) };
        let file = OpenOptions::new().create(true).append(true).open(path);
        let file =
            file.map_err(|error| CliError::new(Kind::Local, format!("the audit log cannot be opened: {error}")))?;
        Ok(Self(Some(Mutex::new(file))))
    }

    /// Writes down that a tag was signed, verified or revoked.
    pub(crate) fn done(&self, action: Action, gun: &str, tag: &ReleasedTag) -> Result<(), CliError> {
        let digest = Some(format!("sha256:{}", tag.sha256.hex()));
        let keys = tag.key_ids.iter().map(KeyId::to_string).collect();
        self.write(Line { time: now(), action, gun, tag: &tag.name, digest, keys, outcome: "ok", reason: None })
    }

    /// Writes down an outcome without a released tag.
    pub(crate) fn note(
        &self,
        action: Action,
        gun: &str,
        tag: &str,
        outcome: Result<(), &CliError>,
    ) -> Result<(), CliError> {
        let (outcome, reason) = match outcome {
            Ok(()) => ("ok", None),
            Err(error) => ("refused", Some(error.message.as_str())),
        };
        self.write(Line { time: now(), action, gun, tag, digest: None, keys: Vec::new(), outcome, reason })
    }

    fn write(&self, line: Line<'_>) -> Result<(), CliError> {
        let Some(file) = &self.0 else { return Ok(()) };
        let failed = |error: &dyn std::fmt::Display| {
            CliError::new(Kind::Local, format!("the audit log cannot be written: {error}"))
        };
        let mut text = serde_json::to_vec(&line).map_err(|error| failed(&error))?;
        text.push(b'\n');
        let mut file = file.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        file.write_all(&text).and_then(|()| file.sync_data()).map_err(|error| failed(&error))
    }
}

fn now() -> String {
    jiff::Timestamp::now().to_string()
}
