//! What can be said about access.

use std::path::PathBuf;

use countersign_crypto::KeyError;
use countersign_crypto::certificate::CertificateError;

/// Who may do what.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Access {
    /// Whoever reaches the port may read, publish and delete: for loopback, and behind something else that decides.
    #[default]
    Open,
    /// Whoever has a token of a token service, as Docker registries use them, may do what the token says.
    Tokens(TokenAccess),
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
