//! Finds out how a registry is reached and makes requests to it.

use countersign_image::{RegistryHost, Repository};
use http::StatusCode;
use url::Url;

use super::error::RegistryError;
use super::retry::RetryPolicy;
use crate::auth::{Action, AuthError, Scope, Session};
use crate::credentials::{Credential, CredentialSource};
use crate::http::{
    HttpClient, HttpError, HttpOptions, Origin, Patience, ProxyRules, Request, Response, TlsFault, TlsOptions,
    Verification,
};

/// Whether a registry is configured as insecure.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum RegistrySecurity {
    /// It is not: https with a certificate that can be verified, and plain http on loopback addresses only.
    #[default]
    Secure,
    /// It is: any certificate, and plain http where https is not spoken.
    Insecure,
}

/// How to reach a registry.
#[derive(Debug, Clone)]
pub struct RegistryOptions {
    /// The registry.
    pub registry: RegistryHost,
    /// Who to be there, if the registry asks.
    pub credential: CredentialSource,
    /// Whom to believe and which certificate to show.
    pub tls: TlsOptions,
    /// Which proxies to use.
    pub proxies: ProxyRules,
    /// Whether the registry is configured as insecure.
    pub security: RegistrySecurity,
    /// How often to try again.
    pub retries: RetryPolicy,
}

impl RegistryOptions {
    /// Makes options for an anonymous user, with system roots and no proxy.
    #[must_use]
    pub fn new(registry: RegistryHost) -> Self {
        Self {
            registry,
            credential: Credential::Anonymous.into(),
            tls: TlsOptions::system(),
            proxies: ProxyRules::none(),
            security: RegistrySecurity::Secure,
            retries: RetryPolicy::default(),
        }
    }
}

/// A client for one registry.
#[derive(Debug)]
pub struct RegistryClient {
    registry: RegistryHost,
    base: Url,
    session: Session,
    pub(super) retries: RetryPolicy,
}

impl RegistryClient {
    /// Finds out whether the registry speaks https or plain http and which authorisation it wants.
    ///
    /// # Errors
    /// Fails if nobody answers, the answer cannot be trusted, or no registry answers.
    pub async fn connect(options: RegistryOptions) -> Result<Self, RegistryError> {
        let secure = Self::over("https", &options)?;
        let plain_allowed = options.registry.is_loopback() || options.security == RegistrySecurity::Insecure;
        match secure.ping().await {
            Ok(()) => Ok(secure),
            Err(error) if plain_allowed && may_be_plain(&error) => {
                let plain = Self::over("http", &options)?;
                plain.ping().await?;
                Ok(plain)
            }
            Err(error) => Err(error),
        }
    }

    fn over(scheme: &str, options: &RegistryOptions) -> Result<Self, RegistryError> {
        let text = format!("{scheme}://{}/v2/", options.registry.api_host());
        let base = Url::parse(&text).map_err(|_| HttpError::Address { url: text, reason: "it is malformed" })?;
        let mut http = HttpOptions::new(Origin::of(&base)?);
        http.tls = match options.security {
            RegistrySecurity::Secure => options.tls.clone(),
            RegistrySecurity::Insecure => options.tls.clone().verification(Verification::Skipped),
        };
        http.proxies = options.proxies.clone();
        let session = Session::new(HttpClient::new(http), options.credential.clone());
        Ok(Self { registry: options.registry.clone(), base, session, retries: options.retries })
    }

    /// Asks for the API's root; every answer but success and a challenge means that this is no registry.
    async fn ping(&self) -> Result<(), RegistryError> {
        self.retries
            .run(async || {
                let request = Request::get(self.base.clone()).patience(Patience::seconds(15, 15, 15));
                let response = self.session.http().send(request).await?;
                match response.status() {
                    StatusCode::OK => Ok(()),
                    StatusCode::UNAUTHORIZED => {
                        self.session.learn(&response);
                        Ok(())
                    }
                    status if status.is_server_error() || status == StatusCode::TOO_MANY_REQUESTS => {
                        Err(response.into_status_error().await.into())
                    }
                    status => Err(RegistryError::NotARegistry { registry: self.registry.clone(), status }),
                }
            })
            .await
    }

    /// Returns the registry this client is for.
    #[must_use]
    pub fn registry(&self) -> &RegistryHost {
        &self.registry
    }

    /// Returns the address below which everything is found; its scheme says how the registry is reached.
    #[must_use]
    pub fn base(&self) -> &Url {
        &self.base
    }

    /// Makes the address of something in a repository; `rest` holds only characters that need no encoding.
    pub(super) fn address(&self, repository: &Repository, rest: &str) -> Result<Url, RegistryError> {
        if repository.registry() != &self.registry {
            return Err(RegistryError::OtherRegistry {
                repository: repository.clone(),
                registry: self.registry.clone(),
            });
        }
        let text = format!("{}/{rest}", repository.path());
        Ok(self.base.join(&text).map_err(|_| HttpError::Address { url: text, reason: "it is malformed" })?)
    }

    pub(super) async fn send(&self, request: Request, scopes: &[Scope]) -> Result<Response, RegistryError> {
        Ok(self.session.send(request, scopes).await?)
    }
}

/// The scope for reading a repository.
pub(super) fn pull(repository: &Repository) -> Scope {
    Scope::repository(repository.path(), &[Action::Pull])
}

/// The scope for writing a repository.
pub(super) fn push(repository: &Repository) -> Scope {
    Scope::repository(repository.path(), &[Action::Pull, Action::Push])
}

/// Tells whether plain http may be spoken where https failed. A certificate that cannot be trusted is no such sign.
fn may_be_plain(error: &RegistryError) -> bool {
    matches!(
        error,
        RegistryError::Auth(AuthError::Http(
            HttpError::Tls { fault: TlsFault::NotTls | TlsFault::CutOff, .. } | HttpError::Unreachable { .. }
        ))
    )
}
