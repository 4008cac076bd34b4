//! What is said of a log.

use crate::command::Format;
use crate::error::{CliError, Kind};
use crate::output::{data, message};
use countersign_audit::{Broken, Head, Report, Seen};
use countersign_crypto::digest::Sha256Digest;
use serde_json::json;

/// What is wrong with a log.
#[derive(Debug)]
pub(super) enum Wrong {
    /// An entry, and the file or chain that it is in.
    Entry(Broken, String),
    /// A row of a database whose entry is another's.
    Misplaced { chain: String, after: u64 },
    /// The last entry of a chain in a database is not there.
    HeadMissing { chain: String, head: Head },
}

/// What was found.
#[derive(Debug)]
pub(super) struct Verdict {
    report: Report,
    wrong: Option<Wrong>,
}

impl Verdict {
    pub(super) fn whole(report: Report) -> Self {
        Self { report, wrong: None }
    }

    pub(super) fn broken(wrong: Wrong) -> Self {
        let report = Report { chains: Vec::new(), torn_end: None, missing: Vec::new() };
        Self { report, wrong: Some(wrong) }
    }

    pub(super) fn of_database(report: Report, wrong: Option<Wrong>) -> Self {
        Self { report, wrong }
    }

    /// Prints it; a log that is not right is an error.
    pub(super) fn tell(&self, format: Format) -> Result<(), CliError> {
        match format {
            Format::Json => data(self.json())?,
            Format::Text => self.report.chains.iter().try_for_each(|seen| {
                let Seen { chain, first, since, head, until, .. } = seen;
                let (seq, hash) = (head.seq, head.hash.hex());
                data(format_args!("{chain}: entries {first} to {seq}, {since} to {until}, the last one is {hash}"))
            })?,
        }
        for Seen { chain, first, torn, .. } in &self.report.chains {
            if *first > 1 {
                message(format_args!("{chain}: the entries before {first} are not in here"));
            }
            if *torn > 0 {
                message(format_args!("{chain}: {torn} lines were not written whole, as the entries after them say"));
            }
        }
        if let Some(bytes) = self.report.torn_end {
            message(format_args!(
                "the last {bytes} bytes are the beginning of an entry: whoever wrote it was stopped, and told nobody that it was there"
            ));
        }
        self.error().map_or(Ok(()), Err)
    }

    fn error(&self) -> Option<CliError> {
        let tampered = |text: String| Some(CliError::new(Kind::Tampered, text));
        if let Some(wrong) = &self.wrong {
            return tampered(format!("the audit log is not as it was written: {}", wrong.text()));
        }
        if let Some(hash) = self.report.missing.first() {
            let text = format!("no entry has the hash {}", hash.hex());
            let hint = "entries are missing at the end, somebody wrote the log anew, or it is another log";
            return Some(CliError::new(Kind::Tampered, text).hint(hint));
        }
        if self.report.chains.is_empty() && self.report.torn_end.is_none() {
            return tampered("there is no entry: an audit log has at least that of its start".to_owned());
        }
        None
    }

    fn json(&self) -> serde_json::Value {
        let chains = self.report.chains.iter().map(|seen| {
            json!({"chain": seen.chain.as_str(), "first": seen.first, "last": seen.head.seq,
                "hash": seen.head.hash.hex(), "since": seen.since, "until": seen.until, "torn": seen.torn})
        });
        let missing: Vec<String> = self.report.missing.iter().map(Sha256Digest::hex).collect();
        json!({"intact": self.error().is_none(), "chains": chains.collect::<Vec<_>>(),
            "torn_end": self.report.torn_end, "missing": missing, "broken": self.wrong.as_ref().map(Wrong::json)})
    }
}

impl Wrong {
    fn text(&self) -> String {
        match self {
            Self::Entry(Broken { line, chain, seq, fault, .. }, place) => {
                let entry = match (chain, seq) {
                    (Some(chain), Some(seq)) => format!(" (entry {seq} of {chain})"),
                    _ => String::new(),
                };
                format!("{place}, line {line}{entry}: {fault}")
            }
            Self::Misplaced { chain, after } => {
                format!("chain {chain}, after entry {after}: the row of the database holds another entry")
            }
            Self::HeadMissing { chain, head } => {
                let (seq, hash) = (head.seq, head.hash.hex());
                format!("chain {chain} has reached entry {seq} with the hash {hash}, which is not there")
            }
        }
    }

    fn json(&self) -> serde_json::Value {
        match self {
            Self::Entry(Broken { line, chain, seq, fault, .. }, place) => {
                json!({"in": place, "line": line, "chain": chain, "seq": seq, "fault": fault.to_string()})
            }
            Self::Misplaced { chain, after } => {
                json!({"in": format!("chain {chain}"), "chain": chain, "seq": after + 1, "fault": self.text()})
            }
            Self::HeadMissing { chain, head } => {
                json!({"in": format!("chain {chain}"), "chain": chain, "seq": head.seq, "fault": self.text()})
            }
        }
    }
}
