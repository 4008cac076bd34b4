//! What is wrong with the settings that say which engine is meant.

use std::path::PathBuf;

/// Says why no engine can be found.
#[derive(Debug, thiserror::Error)]
pub enum EndpointError {
    /// Caller: both flags are given.
    #[error("conflicting options: cannot specify both --host and --context")]
    HostAndContext,
    /// Caller: the address of the engine is none.
    #[error("{host:?} is not the address of an engine: {reason}")]
    Host {
        /// The address as given.
        host: String,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// Caller: the name of a context is none.
    #[error("{0:?} is not the name of a context: letters, digits, `_`, `.`, `+` and `-`, at least two")]
    ContextName(String),
    /// Caller or local store: there is no such context.
    #[error("there is no context {name:?} ({} is missing): `docker context ls` lists what there is", path.display())]
    NoContext {
        /// The context's name.
        name: String,
        /// The file that should be there.
        path: PathBuf,
    },
    /// Local store: a file of the configuration or of a context cannot be used.
    #[error("cannot use {}: {reason}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// Local store: the context is not about an engine.
    #[error("the context {0:?} has no docker endpoint")]
    NoEndpoint(String),
    /// Caller: TLS with verification needs an authority.
    #[error("verifying the engine needs the authority's certificate, and {} is missing", .0.display())]
    NoAuthority(PathBuf),
    /// Caller: a client certificate has no key.
    #[error("the client certificate {} has no key", .0.display())]
    LoneCertificate(PathBuf),
    /// Caller: a client key has no certificate.
    #[error("the client key {} has no certificate", .0.display())]
    LoneKey(PathBuf),
}
