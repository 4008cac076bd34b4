//! How a command fails: the client's own words on stdout, what helps on stderr, the exit code.

use crate::error::{CliError, Kind};
use crate::output::{harmless, message};
use countersign_notary::ServiceError;
use countersign_trust::{CollectionClient, RequestError, TrustError};
use countersign_tuf::update::{Absence, UpdateError};
use countersign_tuf::{RoleName, RootError, SigningError};
use countersign_vault::SkippedBlockReason;
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
    /// Whether it was a request to the service that failed, rather than an update.
    of_service: bool,
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

    /// Tells whether a request to the service failed, rather than an update.
    pub(super) fn is_of_service(&self) -> bool {
        self.of_service
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
        Self { error, usage: None, told: false, more: String::new(), unauthorised: false, of_service: false }
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
        of_trust(error)
    }
}

const OFFLINE: &str = "client is offline";
const UNAUTHORISED: &str = "you are not authorized to perform this operation: server returned 401.";
const LOGIN_HINT: &str = "NOTARY_AUTH holds user:password in base64; at a terminal notary asks";
const AWAY_HINT: &str =
    "is the trust service running and reachable? its address comes from --server or remote_server.url";
const TLS_HINT: &str = "name the service's authority with --tlscacert or remote_server.root_ca";
const PASSPHRASE_HINT: &str = "passphrases come from NOTARY_ROOT_PASSPHRASE, NOTARY_TARGETS_PASSPHRASE, \
     NOTARY_SNAPSHOT_PASSPHRASE and NOTARY_DELEGATION_PASSPHRASE, or are asked for at a terminal";

/// Puts an error into the client's words.
pub(super) fn explain(error: TrustError, client: &CollectionClient<'_>) -> Failure {
    let host = client.service().address().authority().to_owned();
    let gun = client.gun().clone();
    let absent = || CliError::new(Kind::Trust, format!("{host} does not have trust data for {gun}"));
    match &error {
        TrustError::Update(UpdateError::NoTrustData(_)) | TrustError::Service(ServiceError::NoTrustData { .. }) => {
            absent().into()
        }
        TrustError::Update(UpdateError::Away { role, absence }) => away(role, absence),
        TrustError::Service(service) => Failure { of_service: true, ..of_service(service) },
        _ => of_trust(error),
    }
}

/// Puts an error that has nothing to do with a service into the client's words.
fn of_trust(error: TrustError) -> Failure {
    match &error {
        TrustError::Signing(SigningError::MissingKeys { role, needed, found, wanted }) => {
            let (possible, ids) = (wanted.len(), wanted.iter().map(ToString::to_string).collect::<Vec<_>>());
            let ids = ids.join(", ");
            return Failure::local(match found {
                _ if role.lists_targets() => format!(
                    "could not find necessary signing keys, at least one of these keys must be available: {ids}"
                ),
                0 => format!(
                    "signing keys not available: need {needed} keys from {possible} possible keys ({ids})"
                ),
                _ => format!(
                    "not enough signing keys: found {found} of {needed} needed keys - {possible} other possible keys ({ids})"
                ),
            })
            .hint(error.to_string());
        }
        TrustError::Signing(SigningError::Unavailable(reason)) => {
            return Failure::local(&reason.source).hint(reason.to_string()).hint(PASSPHRASE_HINT);
        }
        TrustError::Keys(keys) => return of_keys(keys),
        TrustError::Update(UpdateError::Root(root)) => return of_root(root),
        TrustError::Request(request) => return of_request(request),
        _ => {}
    }
    let converted = CliError::from(error);
    let hints =
        converted.hints.iter().filter(|hint| !hint.contains("DOCKER_") && !hint.contains("countersign")).cloned();
    let hints = hints.collect();
    CliError { hints, ..converted }.into()
}

/// Puts what is wrong with a key into the client's words.
pub(super) fn of_keys(error: &countersign_vault::KeyStoreError) -> Failure {
    use countersign_vault::KeyStoreError as E;
    let failure = Failure::local(error);
    match error {
        E::PassphraseInvalid { .. } | E::NoNewPassphrase { .. } => failure.hint(PASSPHRASE_HINT),
        _ => failure,
    }
}

fn of_request(error: &RequestError) -> Failure {
    match error {
        RequestError::PrivateKey(reason) if *reason == SkippedBlockReason::NotOpened.to_string() => {
            Failure::local("password invalid, operation has failed.").hint(PASSPHRASE_HINT)
        }
        RequestError::PrivateKey(reason) => Failure::user("no valid private key found").hint(reason.clone()),
        RequestError::RootCertificate(reason) => {
            Failure::user("the provided file does not contain a valid PEM certificate").hint(reason.to_string())
        }
        RequestError::CertificateName { .. } | RequestError::CertificateKey(_) | RequestError::NoRootKey(_) => {
            Failure::user("error initializing repository with certificate: cannot find matching private key id")
                .hint(error.to_string())
        }
        _ => Failure::user(error),
    }
}

/// Pins are refused in the client's words, which name no collection.
fn of_root(error: &RootError) -> Failure {
    let why = match error {
        RootError::FirstUse(_) => "invalid trust pinning specified",
        RootError::Pin(_) => "unable to match any certificates to trust_pinning config",
        RootError::NoLeafCertificates(_) => "unable to retrieve valid leaf certificates",
        _ => return CliError::new(Kind::Trust, error).into(),
    };
    let text = format!("could not validate the path to a trusted root: {why}");
    Failure::from(CliError::new(Kind::Trust, text))
        .hint(error.to_string())
        .hint("compare the root key's id with its owner's and put it into trust_pinning.certs")
}

fn away(role: &RoleName, absence: &Absence) -> Failure {
    let network = |text: &dyn Display| Failure::from(CliError::new(Kind::Network, text));
    match absence {
        Absence::NotFound => {
            network(&format_args!("{role} trust data unavailable.  Has a notary repository been initialized?"))
        }
        Absence::Unreachable(reason) => unreachable_service(reason),
        Absence::Tls(reason) => network(&OFFLINE).hint(reason.clone()).hint(TLS_HINT),
        Absence::Refused(reason) => unauthorised(reason),
        Absence::Hostile(reason) => {
            Failure::from(CliError::new(Kind::Trust, "trust server returned a bad response.")).hint(reason.clone())
        }
    }
}

fn of_service(error: &ServiceError) -> Failure {
    let network = |text: &dyn Display| Failure::from(CliError::new(Kind::Network, text));
    match error {
        ServiceError::Away(reason) => unreachable_service(reason),
        ServiceError::Tls(reason) => network(&OFFLINE).hint(reason.clone()).hint(TLS_HINT),
        ServiceError::Unauthorised(reason) => unauthorised(reason),
        ServiceError::Conflict => network(&"trust server rejected operation.")
            .hint("somebody else has published in the meantime: do the same again"),
        ServiceError::Rejected(reason) => {
            Failure::from(CliError::new(Kind::Trust, "trust server rejected operation.")).hint(reason.clone())
        }
        ServiceError::Hostile(reason) => {
            Failure::from(CliError::new(Kind::Trust, "trust server returned a bad response.")).hint(reason.clone())
        }
        _ => Failure::local(error),
    }
}

/// A status of the service reads otherwise than silence.
fn unreachable_service(reason: &str) -> Failure {
    let status = reason.get(..3).filter(|status| status.bytes().all(|byte| byte.is_ascii_digit()));
    let text = match status {
        Some(status) => format!("unable to reach trust server at this time: {status}."),
        None => OFFLINE.to_owned(),
    };
    Failure::from(CliError::new(Kind::Network, text)).hint(reason).hint(AWAY_HINT)
}

fn unauthorised(reason: &str) -> Failure {
    let failure = Failure::from(CliError::new(Kind::Network, UNAUTHORISED)).hint(reason).hint(LOGIN_HINT);
    Failure { unauthorised: true, ..failure }
}
