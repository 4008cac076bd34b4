//! How a command fails: the client's own words on stdout, what helps on stderr, the exit code.

use crate::error::{CliError, Kind};
use crate::output::{harmless, message};
use countersign_notary::ServiceError;
use countersign_trust::{CollectionClient, RequestError, TrustError};
use countersign_tuf::update::{Absence, UpdateError};
use countersign_tuf::{RoleName, RootError, SigningError};
use countersign_vault::{KeyStoreError, SkippedBlockReason};
use std::fmt::{Display, Write};
use std::process::ExitCode;

/// The exit code of everything but a refusal to trust.
const FAILED: u8 = 1;
/// The exit code of a refusal to trust, which scripts must be able to tell from a service that is away.
const UNTRUSTED: u8 = 3;

/// A command that did not do what it was asked.
#[derive(Debug)]
pub(super) struct Failure {
    error: CliError,
    /// The usage block, where the arguments are at fault.
    usage: Option<String>,
    /// What was said already, and needs no line of its own.
    told: bool,
    /// Lines of our own behind the message.
    more: String,
    /// Whether logging in could help.
    unauthorised: bool,
}

impl Failure {
    /// The caller asked for something that cannot be done.
    pub(super) fn user(message: impl Display) -> Self {
        CliError::user(message).into()
    }

    /// Something on this machine prevents it.
    pub(super) fn local(message: impl Display) -> Self {
        CliError::new(Kind::Local, message).into()
    }

    /// The arguments are wrong: shows how they should be.
    pub(super) fn usage(message: impl Display, usage: String) -> Self {
        Self { usage: Some(usage), ..Self::user(message) }
    }

    /// The command was called off after it has said so.
    pub(super) fn called_off() -> Self {
        let error = CliError::user("").hint("nothing was changed: the answer was not yes");
        Self { told: true, ..error.into() }
    }

    /// Adds lines of our own behind the message; they are printed as they are.
    pub(super) fn more(mut self, lines: String) -> Self {
        self.more = lines;
        self
    }

    /// Adds what to do next.
    pub(super) fn hint(mut self, hint: impl Into<String>) -> Self {
        self.error = self.error.hint(hint);
        self
    }

    /// Puts words before the message.
    pub(super) fn context(mut self, words: &str) -> Self {
        self.error.message.insert_str(0, words);
        self
    }

    /// Tells whether the service refused who was asking.
    pub(super) fn is_unauthorised(&self) -> bool {
        self.unauthorised
    }

    /// Tells whether the service did not answer or refused access.
    pub(super) fn is_of_network(&self) -> bool {
        self.error.kind == Kind::Network
    }

    /// Changes the error behind it, as the audit log does, which may add to it.
    pub(super) fn map(mut self, change: impl FnOnce(CliError) -> CliError) -> Self {
        self.error = change(self.error);
        self
    }

    /// Prints it the client's way and returns the exit code.
    pub(super) fn report(&self) -> ExitCode {
        let mut text = self.usage.clone().unwrap_or_default();
        if !self.told {
            let _ = writeln!(text, "\n* fatal: {}{}", harmless(&self.error.message), self.more);
        }
        // There is nobody to tell if this fails.
        let _ = std::io::Write::write_all(&mut std::io::stdout().lock(), text.as_bytes());
        for hint in &self.error.hints {
            message(format_args!("  hint: {}", harmless(hint)));
        }
        ExitCode::from(if self.error.kind == Kind::Trust { UNTRUSTED } else { FAILED })
    }
}

impl From<CliError> for Failure {
    fn from(error: CliError) -> Self {
        Self { error, usage: None, told: false, more: String::new(), unauthorised: false }
    }
}

/// What docker says of certificate files, in the client's words.
pub(super) fn of_connection(mut error: CliError) -> Failure {
    if let Some(reason) = error.message.strip_prefix("error establishing connection to trust repository: ") {
        error.message = format!("unable to configure TLS: {reason}");
        error.hints.clear();
    }
    error.into()
}

impl From<crate::cobra::FlagError> for Failure {
    fn from(error: crate::cobra::FlagError) -> Self {
        Self::user(error)
    }
}

impl From<TrustError> for Failure {
    fn from(error: TrustError) -> Self {
        Self::in_words(words(&error), error)
    }
}

impl From<KeyStoreError> for Failure {
    fn from(error: KeyStoreError) -> Self {
        CliError::from(error).into()
    }
}

impl Failure {
    /// Takes an error with the client's words for it; what it says itself becomes a hint then.
    fn in_words(words: Option<String>, error: TrustError) -> Self {
        let unauthorised = words.as_deref() == Some(UNAUTHORISED);
        let mut error = CliError::from(error);
        if let Some(words) = words.filter(|words| *words != error.message) {
            let own = std::mem::replace(&mut error.message, words);
            error.hints.insert(0, own);
        }
        if unauthorised {
            error = error.hint(LOGIN_HINT);
        }
        Self { unauthorised, ..error.into() }
    }
}

const OFFLINE: &str = "client is offline";
const UNAUTHORISED: &str = "you are not authorized to perform this operation: server returned 401.";
const BAD_RESPONSE: &str = "trust server returned a bad response.";
const REJECTED: &str = "trust server rejected operation.";
const LOGIN_HINT: &str = "NOTARY_AUTH holds user:password in base64; without it they are asked for";

/// Puts what went wrong at a service into the client's words.
pub(super) fn explain(error: TrustError, client: &CollectionClient<'_>) -> Failure {
    let words = match &error {
        TrustError::Update(UpdateError::NoTrustData(_)) | TrustError::Service(ServiceError::NoTrustData { .. }) => {
            let host = client.service().address().authority();
            Some(format!("{host} does not have trust data for {}", client.gun()))
        }
        other => words(other),
    };
    Failure::in_words(words, error)
}

/// Returns the client's words for an error, none where ours are the same or there are none.
fn words(error: &TrustError) -> Option<String> {
    match error {
        TrustError::Update(UpdateError::Away { role, absence }) => Some(of_absence(role, absence)),
        TrustError::Update(UpdateError::Root(root)) => of_root(root),
        TrustError::Service(service) => of_service(service),
        TrustError::Signing(signing) => of_signing(signing),
        TrustError::Request(request) => of_request(request),
        _ => None,
    }
}

fn of_absence(role: &RoleName, absence: &Absence) -> String {
    match absence {
        Absence::NotFound => format!("{role} trust data unavailable.  Has a notary repository been initialized?"),
        Absence::Unreachable(reason) => of_silence(reason),
        Absence::Tls(_) => OFFLINE.to_owned(),
        Absence::Refused(_) => UNAUTHORISED.to_owned(),
        Absence::Hostile(_) => BAD_RESPONSE.to_owned(),
    }
}

fn of_service(error: &ServiceError) -> Option<String> {
    Some(match error {
        ServiceError::Away(reason) => of_silence(reason),
        ServiceError::Tls(_) => OFFLINE.to_owned(),
        ServiceError::Unauthorised(_) => UNAUTHORISED.to_owned(),
        ServiceError::Conflict | ServiceError::Rejected(_) => REJECTED.to_owned(),
        ServiceError::Hostile(_) => BAD_RESPONSE.to_owned(),
        _ => return None,
    })
}

/// A status of the service reads otherwise than silence.
fn of_silence(reason: &str) -> String {
    match reason.get(..3).filter(|status| status.bytes().all(|byte| byte.is_ascii_digit())) {
        Some(status) => format!("unable to reach trust server at this time: {status}."),
        None => OFFLINE.to_owned(),
    }
}

fn of_signing(error: &SigningError) -> Option<String> {
    let SigningError::MissingKeys { role, needed, found, wanted } = error else {
        let SigningError::Unavailable(unavailable) = error else { return None };
        return Some(unavailable.source.to_string());
    };
    let (possible, ids) = (wanted.len(), wanted.iter().map(ToString::to_string).collect::<Vec<_>>().join(", "));
    Some(match found {
        _ if role.lists_targets() => {
            format!("could not find necessary signing keys, at least one of these keys must be available: {ids}")
        }
        0 => format!("signing keys not available: need {needed} keys from {possible} possible keys ({ids})"),
        _ => format!(
            "not enough signing keys: found {found} of {needed} needed keys - {possible} other possible keys ({ids})"
        ),
    })
}

fn of_request(error: &RequestError) -> Option<String> {
    Some(match error {
        RequestError::PrivateKey(reason) if *reason == SkippedBlockReason::NotOpened.to_string() => {
            "password invalid, operation has failed.".to_owned()
        }
        RequestError::PrivateKey(_) => "no valid private key found".to_owned(),
        RequestError::RootCertificate(_) => "the provided file does not contain a valid PEM certificate".to_owned(),
        RequestError::CertificateName { .. } | RequestError::CertificateKey(_) | RequestError::NoRootKey(_) => {
            "error initializing repository with certificate: cannot find matching private key id".to_owned()
        }
        _ => return None,
    })
}

/// Pins are refused in the client's words, which name no collection.
fn of_root(error: &RootError) -> Option<String> {
    let why = match error {
        RootError::FirstUse(_) => "invalid trust pinning specified",
        RootError::Pin(_) => "unable to match any certificates to trust_pinning config",
        RootError::NoLeafCertificates(_) => "unable to retrieve valid leaf certificates",
        _ => return None,
    };
    Some(format!("could not validate the path to a trusted root: {why}"))
}
