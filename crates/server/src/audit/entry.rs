//! What an entry says.

use std::net::IpAddr;

use countersign_audit::Torn;
use countersign_storage::NewMetadata;
use countersign_tuf::Gun;
use serde::Serialize;

use crate::access::Who;

/// Longest text of an entry, in characters: what clients send is not all written down.
const TEXT: usize = 512;
/// Most files of an entry. Timestamp and snapshot are among them, and with them the digests of all others are known.
const FILES: usize = 100;

/// Who asked, from where, in which request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct By {
    /// The name, if there is one.
    pub(crate) who: Option<String>,
    /// How it is known.
    pub(crate) kind: &'static str,
    pub(crate) address: Option<IpAddr>,
    pub(crate) request: Option<String>,
}

impl By {
    /// Somebody who was let in.
    pub(crate) fn of(who: &Who, address: IpAddr) -> Self {
        let (who, kind) = (who.name().map(cut), who.kind());
        Self { who, kind, address: Some(address), request: request() }
    }

    /// Somebody who was not.
    pub(crate) fn nobody(address: IpAddr) -> Self {
        Self { who: None, kind: "refused", address: Some(address), request: request() }
    }

    /// The service itself.
    pub(crate) fn service() -> Self {
        Self { who: None, kind: SERVICE, address: None, request: request() }
    }

    /// Somebody with a shell where the service is.
    pub(crate) fn operator() -> Self {
        Self { who: None, kind: "operator", address: None, request: None }
    }

    pub(crate) fn is_service(&self) -> bool {
        self.kind == SERVICE
    }
}

const SERVICE: &str = "service";

fn request() -> Option<String> {
    countersign_telemetry::current().map(|request| request.id().to_owned())
}

/// What became of a change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// It is about to be made.
    Begun,
    /// It was made.
    Done,
    /// It was not made.
    Refused,
    /// Something failed, and it may have been made.
    Unknown,
}

impl Outcome {
    fn word(self) -> &'static str {
        match self {
            Self::Begun => "begun",
            Self::Done => "done",
            Self::Refused => "refused",
            Self::Unknown => "unknown",
        }
    }
}

/// One entry; what is not said is left out.
#[derive(Debug, Clone, Default, Serialize)]
pub(crate) struct Entry {
    pub(super) time: String,
    event: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    outcome: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    of: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    who: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    kind: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    address: Option<IpAddr>,
    #[serde(skip_serializing_if = "Option::is_none")]
    request: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    gun: Option<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    files: Vec<File>,
    #[serde(skip_serializing_if = "Option::is_none")]
    more_files: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    role: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    key: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    operation: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    status: Option<u16>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    count: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    since: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    version: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    settings: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    torn: Option<Torn>,
}

#[derive(Debug, Clone, Serialize)]
struct File {
    role: String,
    version: u64,
    sha256: String,
}

impl Entry {
    pub(crate) fn new(event: &'static str, by: &By) -> Self {
        Self {
            event,
            who: by.who.clone(),
            kind: Some(by.kind),
            address: by.address,
            request: by.request.clone(),
            ..Self::default()
        }
    }

    /// A publication, or the service's own renewal.
    pub(crate) fn publication(by: &By, gun: &Gun, files: &[NewMetadata]) -> Self {
        let mut sorted: Vec<&NewMetadata> = files.iter().collect();
        // Base roles come first.
        sorted.sort_by(|a, b| (a.role(), a.version()).cmp(&(b.role(), b.version())));
        let file = |file: &&NewMetadata| File {
            role: cut(file.role().as_str()),
            version: file.version().get(),
            sha256: file.sha256().hex(),
        };
        let more = sorted.len().saturating_sub(FILES);
        let event = if by.is_service() { "renew" } else { "publish" };
        Self {
            files: sorted.iter().take(FILES).map(file).collect(),
            more_files: (more > 0).then_some(more),
            ..Self::new(event, by).gun(gun)
        }
    }

    /// What became of the change that an earlier entry announced.
    pub(super) fn outcome_of(seq: u64, announced: &Self, outcome: Outcome) -> Self {
        let (request, gun) = (announced.request.clone(), announced.gun.clone());
        Self { event: "outcome", of: Some(seq), request, gun, ..Self::default() }.outcome(outcome)
    }

    pub(crate) fn gun(self, gun: &Gun) -> Self {
        Self { gun: Some(cut(gun.as_str())), ..self }
    }

    pub(crate) fn of_gun(self, gun: &str) -> Self {
        Self { gun: Some(cut(gun)), ..self }
    }

    pub(crate) fn outcome(self, outcome: Outcome) -> Self {
        Self { outcome: Some(outcome.word()), ..self }
    }

    pub(crate) fn role(self, role: &str) -> Self {
        Self { role: Some(cut(role)), ..self }
    }

    pub(crate) fn key(self, key: &str) -> Self {
        Self { key: Some(cut(key)), ..self }
    }

    pub(crate) fn reason(self, reason: &str) -> Self {
        Self { reason: Some(cut(reason)), ..self }
    }

    pub(crate) fn count(self, count: u64) -> Self {
        Self { count: Some(count), ..self }
    }

    pub(super) fn refusal(self, operation: Option<&'static str>, status: u16) -> Self {
        Self { operation, status: Some(status), ..self }
    }

    pub(super) fn since(self, since: String) -> Self {
        Self { since: Some(since), ..self }
    }

    pub(super) fn start(settings: Option<String>) -> Self {
        Self { event: "start", version: Some(env!("CARGO_PKG_VERSION")), settings, ..Self::default() }
    }

    pub(super) fn torn(self, torn: Option<Torn>) -> Self {
        Self { torn, ..self }
    }

    pub(super) fn plain(event: &'static str) -> Self {
        Self { event, ..Self::default() }
    }
}

/// Shortens what somebody else wrote.
pub(super) fn cut(text: &str) -> String {
    text.chars().take(TEXT).collect()
}

#[cfg(test)]
mod tests {
    use countersign_audit::{Draft, MAX_LINE};
    use countersign_tuf::{RoleName, Version};

    use super::*;

    #[test]
    fn an_entry_fits_a_line_whatever_was_published() {
        let role = format!("targets/{}", "x".repeat(240));
        let files: Vec<NewMetadata> = (0..500_u64)
            .map(|number| {
                let role = RoleName::parse(&format!("{role}{number}")).unwrap();
                NewMetadata::new(role, Version::new(1000 + number).unwrap(), vec![])
            })
            .chain([NewMetadata::new(RoleName::Timestamp, Version::FIRST, vec![])])
            .collect();
        let name = "\u{1}".repeat(5000);
        let by = By { who: Some(cut(&name)), kind: "token", address: None, request: None };
        let entry = Entry::publication(&by, &Gun::parse("example.com/a").unwrap(), &files).reason(&name);
        let text = serde_json::to_string(&entry).unwrap();
        assert!(text.len() < MAX_LINE && text.contains("\"timestamp\"") && text.contains("\"more_files\":401"));
        Draft::new(&entry).unwrap();
    }
}
