//! Where the service writes down who did what.

use super::document::At;
use super::settled::{Origin, Row};
use crate::error::CliError;
use clap::Args;
use countersign_crypto::digest::sha256;
use countersign_server::{AuditChainName, AuditConfig, AuditSink, AuditedRenewals};
use std::path::{Path, PathBuf};

/// The word for stdout, and the one for the database.
const STDOUT: &str = "stdout";
const DATABASE: &str = "database";
/// Where the system says what this machine is called.
const HOST_NAME: &str = "/proc/sys/kernel/hostname";
/// The name where the system does not say.
const NAMELESS: &str = "countersign";

#[derive(Debug, Clone, Default, Args)]
pub(crate) struct AuditOptions {
    /// Write down who did what, in entries chained by hash: to this file, to `stdout`, or to the `database`
    #[arg(long, value_name = "FILE|stdout|database", value_parser = sink)]
    audit: Option<AuditSink>,
    /// What the audit log calls this service [default: the name of the machine]
    #[arg(long, value_name = "NAME", value_parser = AuditChainName::parse)]
    audit_name: Option<AuditChainName>,
}

/// What a settings file says of it.
#[derive(Debug, Default)]
pub(super) struct SaidOfAudit {
    pub(super) to: Option<At<AuditSink>>,
    pub(super) name: Option<At<AuditChainName>>,
    pub(super) renewals: Option<At<AuditedRenewals>>,
}

/// Reads where entries go.
fn sink(text: &str) -> Result<AuditSink, String> {
    if text.is_empty() {
        return Err("a file, `stdout` or `database` is wanted".to_owned());
    }
    Ok(word(text).unwrap_or_else(|| AuditSink::File(PathBuf::from(text))))
}

/// Reads one of the two words that are no files.
pub(super) fn word(text: &str) -> Option<AuditSink> {
    match text {
        STDOUT => Some(AuditSink::Stdout),
        DATABASE => Some(AuditSink::Database),
        _ => None,
    }
}

impl AuditOptions {
    /// Decides, and adds the rows that explain it.
    pub(super) fn settle(&self, said: SaidOfAudit, rows: &mut Vec<Row>) -> Result<Option<AuditConfig>, CliError> {
        let mut row = |key: &str, value: String, from| rows.push(Row { key: key.to_owned(), value, from });
        let (sink, from) = match (&self.audit, said.to) {
            (Some(sink), _) => (sink.clone(), Origin::Option("--audit")),
            (None, Some(At { value, line })) => (value, Origin::Line(line)),
            (None, None) if self.audit_name.is_some() => {
                return Err(CliError::user("--audit-name names an audit log: say with --audit where it is"));
            }
            (None, None) => {
                row("audit.to", "nowhere".to_owned(), Origin::Default);
                return Ok(None);
            }
        };
        let shown = match &sink {
            AuditSink::File(path) => path.display().to_string(),
            AuditSink::Stdout => STDOUT.to_owned(),
            AuditSink::Database => DATABASE.to_owned(),
        };
        row("audit.to", shown, from);
        let (name, from) = match (&self.audit_name, said.name) {
            (Some(name), _) => (name.clone(), Origin::Option("--audit-name")),
            (None, Some(At { value, line })) => (value, Origin::Line(line)),
            (None, None) => (machine()?, Origin::Default),
        };
        row("audit.name", name.to_string(), from);
        let (renewals, from) = match said.renewals {
            Some(At { value, line }) => (value, Origin::Line(line)),
            None => (AuditedRenewals::Recorded, Origin::Default),
        };
        let shown = if renewals == AuditedRenewals::Recorded { "written down" } else { "left out" };
        row("audit.renewals", shown.to_owned(), from);
        Ok(Some(AuditConfig { renewals, ..AuditConfig::new(sink, name) }))
    }
}

/// Tells one state of the settings from another.
pub(super) fn fingerprint(rows: &[Row]) -> String {
    let lines: Vec<String> = rows.iter().map(|Row { key, value, .. }| format!("{key}={value}")).collect();
    sha256(lines.join("\n").as_bytes()).hex()
}

/// Returns the name of this machine, as far as it can be the name of a chain.
fn machine() -> Result<AuditChainName, CliError> {
    let text = fs_err::read_to_string(Path::new(HOST_NAME)).unwrap_or_default();
    AuditChainName::parse(text.trim()).or_else(|_| AuditChainName::parse(NAMELESS)).map_err(|e| CliError::internal(&e))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sink_is_a_file_or_one_of_two_words() {
        assert_eq!(sink("stdout").unwrap(), AuditSink::Stdout);
        assert_eq!(sink("database").unwrap(), AuditSink::Database);
        assert_eq!(sink("./stdout").unwrap(), AuditSink::File("./stdout".into()));
        assert!(sink("").is_err());
        machine().unwrap();
    }
}
