//! Errors in docker's words.
//!
//! Docker decorates some errors where it pulls, pushes or inspects, and shows them bare where it signs or revokes
//! (its content trust client, error mapping). What kind of error it is, and the hints, stay ours.

use crate::error::{CliError, Kind};
use countersign_engine::EngineError;
use countersign_notary::ServiceError;
use countersign_trust::TrustError;
use countersign_tuf::update::{Absence, UpdateError};
use countersign_tuf::{Expires, RootError};
use std::fmt::Display;

/// What an error is about.
#[derive(Debug, Clone, Copy)]
pub(crate) struct About<'a> {
    /// The repository, canonical.
    pub(crate) repository: &'a str,
    /// The trust service's host and port.
    pub(crate) service: &'a str,
}

/// Words an error as docker does where it signs and revokes.
pub(crate) fn plain(error: TrustError, about: About<'_>) -> CliError {
    let text = raw(&error, about);
    worded(error, text)
}

/// Words an error as docker does where it pulls, inspects and begins to sign.
pub(crate) fn decorated(error: TrustError, about: About<'_>) -> CliError {
    let (raw, repository) = (raw(&error, about), about.repository);
    let malicious = "Warning: potential malicious behavior - ";
    let text = match &error {
        TrustError::Update(UpdateError::NoTrustData(_)) | TrustError::Service(ServiceError::NoTrustData { .. }) => {
            format!("Error: remote trust data does not exist for {repository}: {raw}")
        }
        TrustError::Update(UpdateError::Expired(_) | UpdateError::Root(RootError::Expired(_))) => {
            format!("Error: remote repository {repository} out-of-date: {raw}")
        }
        TrustError::Update(UpdateError::Threshold(_)) => {
            format!("{malicious}trust data has insufficient signatures for remote repository {repository}: {raw}")
        }
        TrustError::Update(UpdateError::Rollback(_) | UpdateError::Regression(_)) => {
            format!("{malicious}trust data version is lower than expected for remote repository {repository}: {raw}")
        }
        TrustError::Update(UpdateError::MissingFile { .. } | UpdateError::MissingRoot { .. }) => format!(
            "Error: trust data missing for remote repository {repository} or remote repository not found: {raw}"
        ),
        error if is_network(error) => format!("Error: error contacting notary server: {raw}"),
        _ => raw,
    };
    worded(error, text)
}

fn worded(error: TrustError, text: String) -> CliError {
    let CliError { kind, hints, .. } = error.into();
    CliError { kind, message: text, hints }
}

fn raw(error: &TrustError, About { repository, service }: About<'_>) -> String {
    match error {
        TrustError::Update(UpdateError::NoTrustData(_)) => {
            format!("{service} does not have trust data for {repository}")
        }
        TrustError::Update(UpdateError::Away { absence, .. }) => absent(absence, service),
        TrustError::Service(ServiceError::Away(text)) => away(text, service),
        TrustError::Service(ServiceError::Tls(text)) => tls(text),
        TrustError::Update(UpdateError::Expired(expired) | UpdateError::Root(RootError::Expired(expired))) => {
            format!("{} expired at {}", expired.role, dated(&expired.at))
        }
        TrustError::NothingSigned(_) => "no signed tags to remove".to_owned(),
        TrustError::NoDelegationKey { .. } => "no valid signing keys for delegation roles".to_owned(),
        other => other.to_string(),
    }
}

/// Writes a time as docker does: `Fri Nov 20 10:14:00 UTC 2026`.
fn dated(at: &Expires) -> String {
    match at.as_str().parse::<jiff::Timestamp>() {
        Ok(time) => time.strftime("%a %b %e %H:%M:%S UTC %Y").to_string(),
        Err(_) => at.as_str().to_owned(),
    }
}

fn absent(absence: &Absence, service: &str) -> String {
    match absence {
        Absence::NotFound => format!("{service} does not have the timestamp"),
        Absence::Unreachable(text) => away(text, service),
        Absence::Tls(text) => tls(text),
        Absence::Refused(text) => refusal(text),
        Absence::Hostile(text) => text.clone(),
    }
}

/// Words a bare status of the service as docker does; what says more stays as it is.
fn refusal(text: &str) -> String {
    match text {
        "401 Unauthorized ()" => "you are not authorized to perform this operation: server returned 401.".to_owned(),
        "403 Forbidden ()" => "unable to reach trust server at this time: 403.".to_owned(),
        other => other.to_owned(),
    }
}

fn away(text: &str, service: &str) -> String {
    if text.to_lowercase().contains("connection refused") {
        return format!("dial tcp {service}: connect: connection refused");
    }
    text.to_owned()
}

fn tls(text: &str) -> String {
    if text.to_lowercase().contains("unknown") {
        return "tls: failed to verify certificate: x509: certificate signed by unknown authority".to_owned();
    }
    if text.contains("does not speak TLS") {
        return "tls: first record does not look like a TLS handshake".to_owned();
    }
    format!("tls: {text}")
}

fn is_network(error: &TrustError) -> bool {
    match error {
        TrustError::Update(UpdateError::Away { absence, .. }) => {
            matches!(absence, Absence::Unreachable(_) | Absence::Tls(_))
        }
        TrustError::Service(error) => matches!(error, ServiceError::Away(_) | ServiceError::Tls(_)),
        _ => false,
    }
}

/// An error of the person's, in docker's words.
pub(crate) fn user(text: impl Display) -> CliError {
    CliError::new(Kind::User, text)
}

/// An error of the engine, in docker's words.
pub(crate) fn of_engine(error: EngineError) -> CliError {
    let text = match &error {
        EngineError::Api { status: Some(_), .. } => format!("Error response from daemon: {error}"),
        EngineError::Unreachable { endpoint, .. } => {
            format!("Cannot connect to the Docker daemon at {endpoint}. Is the docker daemon running?")
        }
        other => other.to_string(),
    };
    let CliError { kind, mut hints, .. } = CliError::from(error);
    // The way without an engine belongs to the program's own commands.
    hints.retain(|hint| !hint.starts_with("without an engine"));
    CliError { kind, message: text, hints }
}

#[cfg(test)]
mod tests {
    use super::*;
    use countersign_tuf::{Expired, Gun, LookupError, RoleName, Rollback, Version};

    const ABOUT: About<'_> = About { repository: "reg.test/acme/app", service: "trust.test:4443" };

    fn update(error: UpdateError) -> TrustError {
        TrustError::Update(error)
    }

    fn gun() -> Gun {
        Gun::parse(ABOUT.repository).unwrap()
    }

    fn away(absence: Absence) -> TrustError {
        update(UpdateError::Away { role: RoleName::Timestamp, absence })
    }

    #[test]
    fn what_a_reader_hears_is_dockers() {
        let version = |number| Version::new(number).unwrap();
        let expired = Expired { role: RoleName::Targets, at: Expires::parse("2026-11-02T10:14:00.5Z").unwrap() };
        let rollback = Rollback { role: RoleName::Root, version: version(3), floor: version(5) };
        for (error, text) in [
            (
                update(UpdateError::NoTrustData(gun())),
                "Error: remote trust data does not exist for reg.test/acme/app: trust.test:4443 does not have trust data for reg.test/acme/app",
            ),
            (
                update(UpdateError::Expired(expired)),
                "Error: remote repository reg.test/acme/app out-of-date: targets expired at Mon Nov  2 10:14:00 UTC 2026",
            ),
            (
                update(UpdateError::Rollback(rollback)),
                "Warning: potential malicious behavior - trust data version is lower than expected for remote repository reg.test/acme/app: version 3 of root is lower than current version 5",
            ),
            (
                away(Absence::Unreachable(
                    "https://trust.test:4443 cannot be reached: Connection refused (os error 111)".into(),
                )),
                "Error: error contacting notary server: dial tcp trust.test:4443: connect: connection refused",
            ),
            (TrustError::Lookup(LookupError::NotFound("v3".into())), "No valid trust data for v3"),
        ] {
            assert_eq!(decorated(error, ABOUT).message, text);
        }
    }

    #[test]
    fn who_signs_or_revokes_hears_the_bare_reason() {
        assert_eq!(
            plain(update(UpdateError::NoTrustData(gun())), ABOUT).message,
            "trust.test:4443 does not have trust data for reg.test/acme/app"
        );
        assert_eq!(plain(TrustError::NothingSigned(gun()), ABOUT).message, "no signed tags to remove");
    }

    #[test]
    fn an_engine_is_quoted_as_docker_quotes_it() {
        let missing = EngineError::Api { status: Some(404), message: "no such image: a".to_owned() };
        assert_eq!(of_engine(missing).message, "Error response from daemon: no such image: a");
        let told = EngineError::Api { status: None, message: "tag does not exist: a".to_owned() };
        assert_eq!(of_engine(told).message, "tag does not exist: a");
        let gone = EngineError::Unreachable { endpoint: "unix:///s".to_owned(), reason: String::new() };
        let said = of_engine(gone);
        assert_eq!(said.message, "Cannot connect to the Docker daemon at unix:///s. Is the docker daemon running?");
        assert_eq!(said.kind, Kind::Network);
    }
}
