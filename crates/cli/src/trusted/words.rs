//! Errors in docker's words.
//!
//! Docker decorates some errors where it pulls, pushes or inspects, and shows them bare where it signs or revokes
//! (its content trust client, error mapping). What kind of error it is, and the hints, stay ours.

use crate::error::{CliError, Kind};
use countersign_engine::EngineError;
use countersign_notary::ServiceError;
use countersign_trust::TrustError;
use countersign_tuf::update::{Absence, UpdateError};
use countersign_tuf::{RootError, SigningError};
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
        TrustError::NothingSigned(_) => "no signed tags to remove".to_owned(),
        TrustError::NoDelegationKey { .. } => "no valid signing keys for delegation roles".to_owned(),
        TrustError::Signing(SigningError::MissingKeys { .. }) | TrustError::Connection(_) => error.to_string(),
        other => other.to_string(),
    }
}

fn absent(absence: &Absence, service: &str) -> String {
    match absence {
        Absence::NotFound => format!("{service} does not have the timestamp"),
        Absence::Unreachable(text) => away(text, service),
        Absence::Tls(text) => tls(text),
        Absence::Refused(text) | Absence::Hostile(text) => text.clone(),
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
