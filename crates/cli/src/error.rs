//! One error for the person at the terminal: what happened, what to do, and an exit code that says whose turn it is.

use countersign_engine::{EndpointError, EngineError};
use countersign_image::ReferenceError;
use countersign_notary::ServiceError;
use countersign_trust::{ConnectionError, RequestError, TrustError};
use countersign_tuf::editor::EditError;
use countersign_tuf::update::{Absence, UpdateError};
use countersign_tuf::{LookupError, RootError, SigningError};
use countersign_vault::{CollectionError, FileError, KeyStoreError};
use std::fmt::Display;
use std::process::ExitCode;

/// Whose turn it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Something unexpected: exit code 1.
    Internal,
    /// The command cannot be done as asked: exit code 2, as for wrong arguments.
    User,
    /// Refused because it is not trusted: exit code 3.
    Trust,
    /// A service, registry or engine does not answer or refuses access: exit code 4.
    Network,
    /// Something on this machine is missing, damaged or locked: exit code 5.
    Local,
}

/// An error that ends a command.
#[derive(Debug)]
pub(crate) struct CliError {
    pub(crate) kind: Kind,
    pub(crate) message: String,
    pub(crate) hints: Vec<String>,
}

impl CliError {
    pub(crate) fn new(kind: Kind, message: impl Display) -> Self {
        Self { kind, message: message.to_string(), hints: Vec::new() }
    }

    pub(crate) fn user(message: impl Display) -> Self {
        Self::new(Kind::User, message)
    }

    pub(crate) fn internal(message: &dyn Display) -> Self {
        Self::new(Kind::Internal, message)
    }

    /// Adds what to do next.
    pub(crate) fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hints.push(hint.into());
        self
    }

    pub(crate) fn exit_code(&self) -> ExitCode {
        ExitCode::from(match self.kind {
            Kind::Internal => 1,
            Kind::User => 2,
            Kind::Trust => 3,
            Kind::Network => 4,
            Kind::Local => 5,
        })
    }
}

impl From<TrustError> for CliError {
    fn from(error: TrustError) -> Self {
        let message = error.to_string();
        match error {
            TrustError::Update(update) => of_update(&update),
            TrustError::Service(service) => service.into(),
            TrustError::Connection(connection) => of_connection(&connection),
            TrustError::Keys(keys) => keys.into(),
            TrustError::Collection(collection) => collection.into(),
            TrustError::Signing(signing) => of_signing(&signing),
            TrustError::NotReadBack { error, .. } => Self::new(Self::from(*error).kind, message).hint(
                "do not rely on the signature before countersign verify succeeds; doing the same again does no harm",
            ),
            TrustError::Lookup(LookupError::NotFound(_)) => {
                Self::new(Kind::Trust, message).hint("countersign inspect shows what is signed")
            }
            TrustError::Lookup(LookupError::Broken { role, .. }) => Self::new(Kind::Trust, message)
                .hint(format!("whoever signs for {role} has to sign again; an older signature is not used instead")),
            TrustError::NotStored(_) => Self::new(Kind::Trust, message)
                .hint("whatever answers for the trust service does not do its work: tell its operator, and check DOCKER_CONTENT_TRUST_SERVER"),
            TrustError::StaysReleased { role, .. } => Self::new(Kind::Trust, message)
                .hint(format!("load a key of {role} with countersign key load, or ask its owner to revoke")),
            TrustError::NoDigest { .. } | TrustError::NotReleased { .. } => Self::new(Kind::Trust, message),
            TrustError::Edit(EditError::Broken { role, .. }) => Self::new(Kind::Trust, message).hint(format!(
                "if a signer was removed: notary witness GUN {role} --publish signs what is there with the present keys"
            )),
            TrustError::Request(RequestError::WitnessDeclined { .. }) => Self::new(Kind::Trust, message),
            TrustError::NothingSigned(_) | TrustError::Edit(_) | TrustError::Request(_) => Self::user(message),
            TrustError::NoDelegationKey { .. } => Self::new(Kind::Local, message)
                .hint("load a signer's private key with countersign key load, or ask a signer to sign"),
            TrustError::Unpinned { .. } => Self::new(Kind::Trust, message).hint(
                "nothing was published: publish the first time without pins, then pin the root key that was made",
            ),
            TrustError::Vanished(_) => Self::new(Kind::Trust, message)
                .hint("check DOCKER_CONTENT_TRUST_SERVER; nothing was published and nothing was changed here"),
            TrustError::TakenOver(_) | TrustError::Busy { .. } | TrustError::ConflictWithNothing(_) => Self::new(Kind::Network, message),
            TrustError::Making(_) => Self::internal(&message),
            _ => Self::new(Kind::Local, message),
        }
    }
}

fn of_signing(error: &SigningError) -> CliError {
    let hint = match error {
        SigningError::MissingKeys { .. } => {
            "load the private key with countersign key load, or use the trust directory that it is in"
        }
        SigningError::Unavailable(_) => PASSPHRASE_HINT,
        SigningError::Unacceptable { .. } => {
            return CliError::new(Kind::Trust, error).hint("nothing was published");
        }
        SigningError::Failed { .. } => return CliError::internal(error),
    };
    CliError::new(Kind::Local, error).hint(hint)
}

const PASSPHRASE_HINT: &str = "passphrases come from DOCKER_CONTENT_TRUST_ROOT_PASSPHRASE (root keys) and \
     DOCKER_CONTENT_TRUST_REPOSITORY_PASSPHRASE (all others), for notary from NOTARY_…_PASSPHRASE, from a file or descriptor \
     named by the same with _FILE or _FD, or are asked for: at a terminal, else as lines on standard input";

fn of_update(error: &UpdateError) -> CliError {
    let message = error.to_string();
    match error {
        UpdateError::NoTrustData(_) => CliError::new(Kind::Trust, message)
            .hint("nobody has signed this image at this trust service; check DOCKER_CONTENT_TRUST_SERVER"),
        UpdateError::Away { absence: Absence::Refused(_), .. } => CliError::new(Kind::Network, message).hint(LOGIN_HINT),
        UpdateError::Away { absence: Absence::Tls(_), .. } => tls(&message),
        UpdateError::Away { absence: Absence::Hostile(_), .. } => CliError::new(Kind::Trust, message).hint(HOSTILE_HINT),
        UpdateError::Away { .. } => CliError::new(Kind::Network, message).hint(AWAY_HINT),
        UpdateError::LostRoot(_) => CliError::new(Kind::Trust, message).hint(
            "restore the trust directory from a backup; if you accept that trust is established anew: --re-establish-trust",
        ),
        UpdateError::CachedRoot(_) => CliError::new(Kind::Local, message)
            .hint("restore the trust directory from a backup: the cached root is what trust in this image rests on"),
        UpdateError::Root(RootError::FirstUse(_) | RootError::Pin(_)) => CliError::new(Kind::Trust, message)
            .hint("compare the root key's id with its owner's and pin it with --pin ID or --pin-ca FILE"),
        _ if error.is_suspicious() => {
            CliError::new(Kind::Trust, format!("Warning: potential malicious behavior - {message}"))
                .hint("nothing of the trust service's answer was kept; ask the owner before you try again")
                .hint("only if the owner confirms, by another way, that the collection was made anew with the root key ID: --re-establish-trust --pin ID")
        }
        _ => CliError::new(Kind::Trust, message),
    }
}

const AWAY_HINT: &str =
    "is the trust service running and reachable? its address comes from --server or DOCKER_CONTENT_TRUST_SERVER";

const HOSTILE_HINT: &str =
    "that is no answer of a trust service: check DOCKER_CONTENT_TRUST_SERVER, and what stands between here and there";

const LOGIN_HINT: &str = "log in to the registry with docker login; the trust service takes the registry's credentials";

fn tls(message: &str) -> CliError {
    CliError::new(Kind::Network, message)
        .hint("put the service's CA into tls/<host:port>/ca.crt in docker's configuration folder; for a service started with countersign serve: countersign serve --trust-ca")
}

impl From<ServiceError> for CliError {
    fn from(error: ServiceError) -> Self {
        let message = error.to_string();
        match error {
            ServiceError::NoTrustData { .. } | ServiceError::Rejected(_) | ServiceError::Key { .. } => {
                Self::new(Kind::Trust, message)
            }
            ServiceError::Unauthorised(_) => Self::new(Kind::Network, message).hint(LOGIN_HINT),
            ServiceError::Tls(_) => tls(&message),
            ServiceError::Hostile(_) => Self::new(Kind::Trust, message).hint(HOSTILE_HINT),
            ServiceError::Local(_) => Self::new(Kind::Local, message),
            ServiceError::Away(_) => Self::new(Kind::Network, message).hint(AWAY_HINT).hint(
                "if something was being signed it may have been stored all the same: doing it again does no harm",
            ),
            ServiceError::Conflict => Self::new(Kind::Network, message),
        }
    }
}

fn of_connection(error: &ConnectionError) -> CliError {
    match error {
        ConnectionError::Address(_) => CliError::user(error)
            .hint("set DOCKER_CONTENT_TRUST_SERVER to the trust service, for example https://localhost:4443"),
        _ => CliError::new(Kind::Local, error),
    }
}

impl From<ConnectionError> for CliError {
    fn from(error: ConnectionError) -> Self {
        of_connection(&error)
    }
}

impl From<ReferenceError> for CliError {
    fn from(error: ReferenceError) -> Self {
        Self::user(error)
    }
}

impl From<EngineError> for CliError {
    fn from(error: EngineError) -> Self {
        match &error {
            EngineError::Api { status: Some(404), .. } => Self::user(&error),
            EngineError::Api { status: None, message } if names_no_image(message) => Self::user(&error),
            EngineError::Unreachable { .. } => Self::new(Kind::Network, &error)
                .hint("without an engine: --from and --to take OCI layout folders and archives"),
            EngineError::TwoDigests { .. } | EngineError::NotPulled { .. } => Self::new(Kind::Trust, &error),
            EngineError::Tls { .. } | EngineError::Input(_) => Self::new(Kind::Local, &error),
            _ => Self::new(Kind::Network, &error),
        }
    }
}

/// Tells whether an engine, in the middle of its answer to a push, says that it has no such image.
fn names_no_image(message: &str) -> bool {
    message.starts_with("tag does not exist") || message.starts_with("An image does not exist locally with the tag")
}

impl From<EndpointError> for CliError {
    fn from(error: EndpointError) -> Self {
        Self::user(error)
    }
}

impl From<FileError> for CliError {
    fn from(error: FileError) -> Self {
        Self::new(Kind::Local, error)
    }
}

impl From<CollectionError> for CliError {
    fn from(error: CollectionError) -> Self {
        let kind = if matches!(error, CollectionError::ReservedSegment { .. }) { Kind::User } else { Kind::Local };
        Self::new(kind, error)
    }
}

impl From<KeyStoreError> for CliError {
    fn from(error: KeyStoreError) -> Self {
        match &error {
            KeyStoreError::PassphraseInvalid { .. } | KeyStoreError::NoNewPassphrase { .. } => {
                Self::new(Kind::Local, &error).hint(PASSPHRASE_HINT)
            }
            KeyStoreError::NoKeys | KeyStoreError::BundleTooLarge { .. } | KeyStoreError::Label(_) => {
                Self::user(&error)
            }
            _ => Self::new(Kind::Local, &error),
        }
    }
}
