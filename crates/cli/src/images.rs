//! Reaching registries and the engine with docker's settings.

use crate::context::Context;
use crate::error::{CliError, Kind};
use clap::Args;
use countersign_engine::{Endpoint, Engine, EngineSelection, Environment, Limits, RegistryAuth, TlsFlags};
use countersign_image::{Descriptor, RegistryHost};
use countersign_registry::credentials::{Credential, CredentialError, CredentialSource};
use countersign_registry::distribution::{RegistryClient, RegistryOptions, RegistrySecurity};
use countersign_registry::http::TlsOptions;
use std::path::Path;
use std::sync::Arc;

/// Options about registries.
#[derive(Debug, Default, Args)]
pub(crate) struct RegistryFlags {
    /// Speak plain http with this registry, or do not verify its certificate (repeatable); signatures are verified anyway
    #[arg(long, value_name = "HOST[:PORT]", help_heading = "Registry options")]
    insecure_registry: Vec<String>,
}

/// Options about the engine.
#[derive(Debug, Args)]
pub(crate) struct EngineFlags {
    /// The engine's socket [default: `DOCKER_HOST`, the current context, or the platform's socket]
    #[arg(short = 'H', long, value_name = "ADDRESS", help_heading = "Engine options")]
    host: Option<String>,
    /// The docker context that names the engine
    #[arg(long, value_name = "NAME", help_heading = "Engine options")]
    context: Option<String>,
}

/// Where docker keeps the certificates of registries.
const CERTIFICATES: &str = "/etc/docker/certs.d";

impl RegistryFlags {
    /// Speaks plain http with one registry, as the engine does.
    pub(crate) fn insecure(registry: &RegistryHost) -> Self {
        Self { insecure_registry: vec![registry.as_str().to_owned()] }
    }

    /// Connects to a registry with docker's credentials and certificates.
    pub(crate) async fn connect(&self, context: &Context, registry: &RegistryHost) -> Result<RegistryClient, CliError> {
        let mut options = RegistryOptions::new(registry.clone());
        let local = |error: &dyn std::fmt::Display| CliError::new(Kind::Local, error.to_string());
        options.tls = TlsOptions::from_directory(&Path::new(CERTIFICATES).join(registry.as_str()))
            .map_err(|error| local(&error))?;
        options.proxies = context.connection.proxies.clone();
        let credentials = Arc::clone(&context.credentials);
        options.credential = CredentialSource::of_registry(credentials, registry.clone());
        if self.insecure_registry.iter().any(|name| name == registry.as_str()) {
            options.security = RegistrySecurity::Insecure;
        }
        Ok(RegistryClient::connect(options).await?)
    }
}

impl EngineFlags {
    /// Connects to the engine.
    pub(crate) async fn connect(&self, context: &Context) -> Result<Engine, CliError> {
        let selection = EngineSelection {
            host_flag: self.host.clone(),
            context_flag: self.context.clone(),
            tls: TlsFlags::default(),
            env: Environment::of_this_process(),
            config_dir: context.docker_config.clone(),
        };
        let endpoint: Endpoint = selection.resolve()?;
        Ok(Engine::connect(endpoint, Limits::default()).await?)
    }
}

/// Tells the engine what docker would log in to a registry with; as with docker that is nothing if it cannot be had.
pub(crate) async fn engine_auth(context: &Context, registry: &RegistryHost) -> RegistryAuth {
    let key = registry.credential_key();
    let found = context.credentials.find(registry).await;
    match found.inspect_err(|error| warn_without_credentials(registry, error)).unwrap_or_default() {
        Credential::Anonymous => RegistryAuth::anonymous(),
        Credential::Password { username, password } => RegistryAuth::password(key, username, password),
        Credential::IdentityToken(token) => RegistryAuth::identity_token(key, token),
    }
}

fn warn_without_credentials(registry: &RegistryHost, error: &CredentialError) {
    let text = format!("WARNING: cannot get the credentials for {registry}: {error}; the engine goes on without any");
    crate::output::message(crate::output::harmless(&text));
}

/// Takes the digest of a document as the hash that signatures are about.
pub(crate) fn sha256(descriptor: &Descriptor) -> Result<countersign_crypto::digest::Sha256Digest, CliError> {
    match &descriptor.digest {
        countersign_image::Digest::Sha256(digest) => Ok(*digest),
        other @ countersign_image::Digest::Sha512(_) => {
            Err(CliError::user(format!("{other}: signatures are about sha256 digests")))
        }
    }
}
