//! One error for the person at the terminal: what happened, what to do, and an exit code that says whose turn it is.

mod hints;
mod of_trust;

pub(crate) use hints::tls_files_are;

use countersign_engine::{EndpointError, EngineError};
use countersign_image::ReferenceError;
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
    /// The command has done what it was asked, and what it looked at is not in order: exit code 6.
    Findings,
    /// An audit log is not as it was written: exit code 7.
    Tampered,
    /// A token does not take the PIN, and nothing is to try it again by itself: exit code 8.
    Pin,
    /// A command that was run for somebody ended so, or was ended: its own exit code.
    Exit(u8),
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

    /// Adds what to do next, as several hints.
    fn hinted(mut self, hints: impl IntoIterator<Item = String>) -> Self {
        self.hints.extend(hints);
        self
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
            Kind::Findings => 6,
            Kind::Tampered => 7,
            Kind::Pin => 8,
            Kind::Exit(code) => code,
        })
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
            EngineError::Silent { .. }
            | EngineError::Api { .. }
            | EngineError::BadAnswer { .. }
            | EngineError::TooOld { .. }
            | EngineError::NoDigest { .. } => Self::new(Kind::Network, &error),
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
        let kind = match &error {
            CollectionError::ReservedSegment { .. } => Kind::User,
            CollectionError::TooManyChanges { .. }
            | CollectionError::NoLaterChange { .. }
            | CollectionError::Lock(_)
            | CollectionError::File(_) => Kind::Local,
        };
        Self::new(kind, error)
    }
}

impl From<KeyStoreError> for CliError {
    fn from(error: KeyStoreError) -> Self {
        match &error {
            KeyStoreError::PassphraseInvalid { .. } | KeyStoreError::NoNewPassphrase { .. } => {
                Self::new(Kind::Local, &error).hint(hints::PASSPHRASES)
            }
            KeyStoreError::NoKeys
            | KeyStoreError::OnToken { .. }
            | KeyStoreError::BundleTooLarge { .. }
            | KeyStoreError::TooManyAtOnce { .. }
            | KeyStoreError::Label(_) => Self::user(&error),
            KeyStoreError::PassphraseRefused { .. } => Self::new(Kind::Local, &error)
                .hint("the command is passphrase-command of [keys] in the settings, or COUNTERSIGN_PASSPHRASE_COMMAND; it was not asked twice"),
            KeyStoreError::NotMade { .. } => Self::internal(&error),
            KeyStoreError::Token(token) => hints::of_token(token),
            KeyStoreError::NotFound { .. }
            | KeyStoreError::NotEncrypted { .. }
            | KeyStoreError::OtherRole { .. }
            | KeyStoreError::OtherKey { .. }
            | KeyStoreError::Malformed { .. }
            | KeyStoreError::ChangedMeanwhile { .. }
            | KeyStoreError::Differs { .. }
            | KeyStoreError::Encryption { .. }
            | KeyStoreError::Lock(_)
            | KeyStoreError::File(_) => Self::new(Kind::Local, &error),
        }
    }
}
