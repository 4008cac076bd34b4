//! What can be said about access.

use std::path::PathBuf;

use countersign_crypto::certificate::CertificateError;
use countersign_crypto::{KeyError, RandomError};
use serde::Deserialize;

/// Who may do what.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Access {
    /// Whoever reaches the port may read, publish and delete: for loopback, and behind something else that decides.
    #[default]
    Open,
    /// Whoever has a token of a token service, as Docker registries use them, may do what the token says.
    Tokens(TokenAccess),
    /// Whoever has a password of this service, or a certificate, may do what rules say.
    Users(UserAccess),
}

/// People and machines that the service knows by itself.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct UserAccess {
    /// Names and passwords, as `htpasswd -B` writes them.
    pub passwords: Option<PathBuf>,
    /// Where clients are sent with their passwords, instead of `https://<the host they asked>/auth/token`.
    pub realm: Option<String>,
    /// Who may read without a name.
    pub reading: Reading,
    /// What is allowed; with [`UserAccess::rules`] both count. Without any rule, everybody with a name may do everything.
    pub allow: Vec<Allowance>,
    /// A file with more of it.
    pub rules: Option<PathBuf>,
}

/// Who may read collections.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Reading {
    /// Those who are allowed to.
    #[default]
    Allowed,
    /// Everybody, also without a name or token.
    Everybody,
}

/// Something that somebody may do.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Allowance {
    /// Names; `*` is everybody with a name, `anonymous` is everybody.
    pub users: Vec<String>,
    /// Collections and all below them, by whole components of their names; with a slash at its end only what is below. None
    /// at all: every collection.
    #[serde(default)]
    pub collections: Vec<String>,
    /// What they may do.
    pub right: Right,
}

/// What somebody may do with a collection; each includes those before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Right {
    /// Read.
    Read,
    /// Publish, and ask for the service's public keys.
    Publish,
    /// Delete, and replace the service's keys.
    Manage,
}

/// Which tokens count (Notary protocol, authentication).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TokenAccess {
    /// Where clients get tokens; with [`TokenAccess::own_host`] only for clients that do not name a host.
    pub realm: String,
    /// The audience that tokens have to name, exactly.
    pub service: String,
    /// The issuer that tokens have to name, exactly.
    pub issuer: String,
    /// PEM certificates: of the issuer's keys, or of authorities that have signed their certificates.
    pub certificates: Option<PathBuf>,
    /// A JSON Web Key Set (RFC 7517) with more of the issuer's keys.
    pub keys: Option<PathBuf>,
    /// Where clients are sent instead of the realm.
    pub own_host: OwnHost,
    /// Who may read without a token.
    pub reading: Reading,
}

/// Whether clients are sent to `/auth/token` at the host that they asked, where a proxy serves both.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum OwnHost {
    /// They are sent to the realm.
    #[default]
    No,
    /// They are sent to the host that they asked.
    Yes,
}

/// Says why access cannot be decided; the service does not start then.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AccessError {
    /// Something has to be said that is not.
    #[error("the realm, service and issuer of tokens must not be empty")]
    Empty,
    /// No key would ever verify a token.
    #[error("tokens need a bundle of certificates or a key set that their signatures can be checked with")]
    NoKeys,
    /// The realm cannot be put into a header, or is no URL.
    #[error("the realm {0:?} is no http or https URL")]
    Realm(String),
    /// Everybody could do everything, or nobody anything.
    #[error("there is nobody who could be let in: name a file with passwords, or ask clients for certificates")]
    Nobody,
    /// A rule cannot be meant.
    #[error("a rule {0}")]
    Rule(RuleError),
    /// A file is no list of rules.
    #[error("{path} cannot be used as rules: {reason}")]
    Rules {
        /// The file.
        path: PathBuf,
        /// Why not.
        reason: String,
    },
    /// A file is no list of names and passwords.
    #[error("{path} cannot be used as a file of passwords: line {line}: {reason}")]
    Passwords {
        /// The file.
        path: PathBuf,
        /// The line; 0 is the whole file.
        line: usize,
        /// Why not.
        reason: &'static str,
    },
    /// Whoever may change the file could let themselves in.
    #[error("{0} can be changed by everybody on this machine: take that away (chmod o-w)")]
    Writable(PathBuf),
    /// No random numbers are to be had.
    #[error("no random numbers are to be had")]
    Random(#[source] RandomError),
    /// A file cannot be read.
    #[error("{path} cannot be read")]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Why not.
        #[source]
        source: std::io::Error,
    },
    /// A file is no bundle of certificates.
    #[error("{path} cannot be used as a bundle of certificates")]
    Certificates {
        /// The file.
        path: PathBuf,
        /// Why not.
        #[source]
        source: CertificateError,
    },
    /// A certificate holds a key that can verify nothing.
    #[error("a certificate in {path} has a key that cannot be used")]
    CertificateKey {
        /// The file.
        path: PathBuf,
        /// Why not.
        #[source]
        source: KeyError,
    },
    /// A file is no key set, or holds a key that cannot be used.
    #[error("{path} cannot be used as a key set: {reason}")]
    KeySet {
        /// The file.
        path: PathBuf,
        /// Why not.
        reason: String,
    },
}

/// Says why a rule cannot be meant.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RuleError {
    /// It is about nobody.
    #[error("names no user")]
    NoUser,
    /// Nobody would answer for it.
    #[error("lets people without a name do more than read")]
    AnonymousWrites,
    /// It is about something that is no collection.
    #[error("names {0:?}, which is no beginning of a collection's name")]
    Collection(String),
}
