//! A finding, and everything that was found.

use super::kind::{Kind, Severity};
use crate::error::CliError;
use crate::output::{data, harmless};
use jiff::Timestamp;
use serde_json::{Value, json};
use std::fmt::Display;

/// Version of the report's JSON.
const VERSION: u64 = 1;

/// Something that is not as it should be.
#[derive(Debug, Clone)]
pub(super) struct Finding {
    pub(super) kind: &'static Kind,
    /// The collection, service or key that it is about.
    pub(super) subject: Option<String>,
    /// The file, variable or address.
    pub(super) place: String,
    pub(super) message: String,
    /// The commands that mend it, one after the other.
    pub(super) commands: Vec<String>,
    /// What else helps, or who can.
    pub(super) advice: Option<String>,
}

impl Finding {
    pub(super) fn new(kind: &'static Kind, place: impl Display, message: impl Display) -> Self {
        let (place, message) = (place.to_string(), message.to_string());
        Self { kind, subject: None, place, message, commands: Vec::new(), advice: None }
    }

    pub(super) fn about(mut self, subject: impl Display) -> Self {
        self.subject = Some(subject.to_string());
        self
    }

    /// Adds a command that mends it.
    pub(super) fn command(mut self, command: impl Into<String>) -> Self {
        self.commands.push(command.into());
        self
    }

    /// Says what helps where no command does, or what to know before it is run.
    pub(super) fn advice(mut self, advice: impl Into<String>) -> Self {
        self.advice = Some(advice.into());
        self
    }

    fn json(&self) -> Value {
        json!({
            "id": self.kind.id,
            "severity": self.kind.severity,
            "subject": self.subject,
            "where": self.place,
            "message": self.message,
            "repair": { "commands": self.commands, "advice": self.advice },
        })
    }

    fn print(&self) -> Result<(), CliError> {
        let subject = self.subject.as_deref().map(|subject| format!("  {}", harmless(subject))).unwrap_or_default();
        data(format_args!("{:<8} {}{subject}", self.kind.severity.as_str(), self.kind.id))?;
        data(format_args!("         {}", harmless(&self.message)))?;
        data(format_args!("         where:  {}", harmless(&self.place)))?;
        for command in &self.commands {
            data(format_args!("         repair: {}", harmless(command)))?;
        }
        match &self.advice {
            Some(advice) => data(format_args!("         advice: {}", harmless(advice))),
            None => Ok(()),
        }
    }
}

/// A check that was not made.
#[derive(Debug, Clone, PartialEq, Eq)]
struct NotMade {
    what: String,
    why: String,
}

/// Everything that was found.
#[derive(Debug, Default)]
pub(super) struct Report {
    findings: Vec<Finding>,
    not_made: Vec<NotMade>,
    collections: Vec<String>,
    services: Vec<String>,
}

impl Report {
    /// Adds a finding, unless the same was found in another way already.
    pub(super) fn add(&mut self, finding: Finding) {
        let same = |known: &Finding| {
            known.kind == finding.kind && known.subject == finding.subject && known.place == finding.place
        };
        if !self.findings.iter().any(same) {
            self.findings.push(finding);
        }
    }

    pub(super) fn extend(&mut self, findings: impl IntoIterator<Item = Finding>) {
        findings.into_iter().for_each(|finding| self.add(finding));
    }

    /// Says that something was not looked at.
    pub(super) fn not_made(&mut self, what: impl Display, why: impl Display) {
        let not_made = NotMade { what: what.to_string(), why: why.to_string() };
        if !self.not_made.contains(&not_made) {
            self.not_made.push(not_made);
        }
    }

    /// Says what was looked at.
    pub(super) fn looked_at(&mut self, collections: Vec<String>, services: Vec<String>) {
        (self.collections, self.services) = (collections, services);
    }

    /// Counts the findings of a severity.
    pub(super) fn count(&self, severity: Severity) -> usize {
        self.findings.iter().filter(|finding| finding.kind.severity == severity).count()
    }

    /// Puts the worst first; equally bad ones stay in the order in which they were found.
    pub(super) fn sort(&mut self) {
        self.findings.sort_by_key(|finding| std::cmp::Reverse(finding.kind.severity));
    }

    /// Spells how many findings of each severity there are.
    pub(super) fn summary(&self) -> String {
        let count = |severity: Severity| {
            let count = self.count(severity);
            let plural = if count == 1 { "" } else { "s" };
            format!("{count} {}{plural}", severity.as_str())
        };
        format!("{}, {}, {}", count(Severity::Error), count(Severity::Warning), count(Severity::Note))
    }

    pub(super) fn print(&self) -> Result<(), CliError> {
        for finding in &self.findings {
            finding.print()?;
        }
        for NotMade { what, why } in &self.not_made {
            data(format_args!("not checked: {}: {}", harmless(what), harmless(why)))?;
        }
        let looked = format!("{} collection(s), {} trust service(s)", self.collections.len(), self.services.len());
        match self.findings.len() {
            0 => data(format_args!("Nothing found; looked at this machine, {looked}")),
            _ => data(format_args!("{}; looked at this machine, {looked}", self.summary())),
        }
    }

    /// Describes everything for programs; the guide has the members.
    pub(super) fn json(&self, now: Timestamp) -> Value {
        json!({
            "version": VERSION,
            "time": now.to_string(),
            "summary": {
                "errors": self.count(Severity::Error),
                "warnings": self.count(Severity::Warning),
                "notes": self.count(Severity::Note),
            },
            "findings": self.findings.iter().map(Finding::json).collect::<Vec<_>>(),
            "notChecked": self.not_made.iter().map(|n| json!({ "what": n.what, "why": n.why })).collect::<Vec<_>>(),
            "collections": self.collections,
            "services": self.services,
        })
    }
}
