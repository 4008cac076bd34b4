//! One caller's dealings with one service: the challenges it made, the tokens that answer them.

use std::sync::{Mutex, PoisonError};

use http::header::AUTHORIZATION;
use http::{HeaderValue, StatusCode};

use super::cache::{TokenCache, TokenKey};
use super::challenge::{Challenge, parse_challenges};
use super::grant::granted;
use super::scope::Scope;
use super::token;
use crate::credentials::{Credential, CredentialSource};
use crate::http::{HttpClient, HttpError, Request, Response, StatusError};

/// Says why a request could not be authorised or sent.
#[derive(Debug, thiserror::Error)]
pub enum AuthError {
    /// The network or the server failed.
    #[error(transparent)]
    Http(#[from] HttpError),
    /// The token server refuses the credentials, or what they are to be used for.
    #[error("access refused: {0}")]
    Denied(Box<StatusError>),
    /// The service wants a user name and a password, and none are known.
    #[error("no basic auth credentials")]
    NoCredentials,
    /// The service refuses whoever has no credentials, and this machine's could not be had.
    #[error("{refusal} ({failure})")]
    CredentialsUnavailable {
        /// What was refused.
        refusal: String,
        /// Why there are no credentials.
        failure: String,
    },
    /// The token server's address is not acceptable.
    #[error("the token server {realm:?} is refused: {reason}")]
    Realm {
        /// The address, fit for a terminal.
        realm: String,
        /// Why it is refused.
        reason: &'static str,
    },
    /// The token server's answer holds no token.
    #[error("the token server's answer holds no token")]
    TokenAnswer,
    /// A token or password holds characters that must not be in a header, or is too long.
    #[error("a token or password is too long for a header or has characters that do not belong in one")]
    TokenCharacters,
    /// The user name holds a colon.
    #[error("a user name with a colon cannot be used")]
    UserName,
}

impl AuthError {
    /// Tells whether the other side is absent rather than hostile or unwilling.
    #[must_use]
    pub fn is_absence(&self) -> bool {
        matches!(self, Self::Http(error) if error.is_absence())
    }
}

/// A client for one service that answers its challenges.
///
/// Credentials go to the service itself and to token servers that pass the rules of the crate, nowhere else.
#[derive(Debug)]
pub struct Session {
    http: HttpClient,
    credential: CredentialSource,
    challenges: Mutex<Vec<Challenge>>,
    tokens: TokenCache,
}

impl Session {
    /// Starts with no challenge known; the credential is looked up when there is one.
    #[must_use]
    pub fn new(http: HttpClient, credential: impl Into<CredentialSource>) -> Self {
        let credential = credential.into();
        Self { http, credential, challenges: Mutex::new(Vec::new()), tokens: TokenCache::default() }
    }

    /// Returns the HTTP client.
    #[must_use]
    pub fn http(&self) -> &HttpClient {
        &self.http
    }

    /// Remembers the challenges of an answer, if it makes any.
    pub fn learn(&self, response: &Response) {
        let found = parse_challenges(response.headers());
        if response.status() == StatusCode::UNAUTHORIZED && response.origin() == self.http.home() && !found.is_empty() {
            *self.challenges.lock().unwrap_or_else(PoisonError::into_inner) = found;
        }
    }

    /// Returns the header that answers the challenges known so far, or nothing if there are none.
    ///
    /// # Errors
    /// Fails if no token can be had or the service wants a password that is not known.
    pub async fn authorization(&self, scopes: &[Scope]) -> Result<Option<HeaderValue>, AuthError> {
        let challenges = self.challenges.lock().unwrap_or_else(PoisonError::into_inner).clone();
        if let Some(key) = token_key(&challenges, scopes) {
            if let Some(value) = self.tokens.get(&key) {
                return Ok(Some(value));
            }
            let found = self.credential.find().await;
            let fetched = token::fetch(&self.http, &key, &found.credential).await;
            let (value, lifetime) = fetched.map_err(|error| explained(error, found.failure.as_ref()))?;
            self.tokens.put(key, value.clone(), lifetime);
            return Ok(Some(value));
        }
        if challenges.is_empty() {
            return Ok(None);
        }
        let found = self.credential.find().await;
        match &found.credential {
            Credential::Password { username, password } => token::basic(username, password).map(Some),
            Credential::Anonymous | Credential::IdentityToken(_) => {
                Err(explained(AuthError::NoCredentials, found.failure.as_ref()))
            }
        }
    }

    /// Tells which access was asked for, and what the last token says that it grants; none where no token is in use.
    #[must_use]
    pub fn access(&self, scopes: &[Scope]) -> Option<String> {
        let challenges = self.challenges.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let key = token_key(&challenges, scopes)?;
        let asked = scopes.iter().map(Scope::as_str).collect::<Vec<_>>().join(" ");
        let got = match self.tokens.get(&key).map(|token| granted(&token)) {
            None => "no token was given".to_owned(),
            Some(None) => "the token does not say what was granted".to_owned(),
            Some(Some(scope)) => format!("{scope} was granted"),
        };
        Some(format!("{asked} was asked for, {got}"))
    }

    /// Returns what the last token says that it grants, in the spelling of scopes; none where no token is in use or it does not
    /// say.
    #[must_use]
    pub fn grant(&self, scopes: &[Scope]) -> Option<String> {
        let challenges = self.challenges.lock().unwrap_or_else(PoisonError::into_inner).clone();
        granted(&self.tokens.get(&token_key(&challenges, scopes)?)?)
    }

    /// Sends a request with authorisation. If the service challenges it, answers once and repeats the request.
    ///
    /// Redirects of GET and HEAD requests are followed; the authorisation stays with the service.
    ///
    /// # Errors
    /// Fails as the HTTP client does, and if no authorisation can be had. A final 401 is returned as an answer.
    pub async fn send(&self, request: Request, scopes: &[Scope]) -> Result<Response, AuthError> {
        self.send_as(request, scopes, Redirects::Followed).await
    }

    /// As [`Self::send`], but returns redirects as they are: the metadata of a trust service does not move.
    ///
    /// # Errors
    /// As [`Self::send`].
    pub async fn send_without_redirects(&self, request: Request, scopes: &[Scope]) -> Result<Response, AuthError> {
        self.send_as(request, scopes, Redirects::Returned).await
    }

    async fn send_as(&self, request: Request, scopes: &[Scope], redirects: Redirects) -> Result<Response, AuthError> {
        let again = request.repeat();
        let response = self.send_once(request, scopes, redirects).await?;
        if response.status() != StatusCode::UNAUTHORIZED || response.origin() != self.http.home() {
            return Ok(response);
        }
        self.learn(&response);
        self.forget_token(scopes);
        match again {
            Some(again) if !parse_challenges(response.headers()).is_empty() => {
                drop(response);
                let response = self.send_once(again, scopes, redirects).await?;
                self.admitted(response).await
            }
            _ => Ok(response),
        }
    }

    /// Turns a final 401 into an error if the credentials that might have helped could not be had.
    async fn admitted(&self, response: Response) -> Result<Response, AuthError> {
        if response.status() != StatusCode::UNAUTHORIZED || response.origin() != self.http.home() {
            return Ok(response);
        }
        match &self.credential.find().await.failure {
            None => Ok(response),
            Some(failure) => {
                let refusal = response.into_status_error().await.to_string();
                Err(AuthError::CredentialsUnavailable { refusal, failure: failure.clone() })
            }
        }
    }

    async fn send_once(
        &self,
        mut request: Request,
        scopes: &[Scope],
        redirects: Redirects,
    ) -> Result<Response, AuthError> {
        let is_home = crate::http::Origin::of(&request.url)? == *self.http.home();
        if is_home && let Some(value) = self.authorization(scopes).await? {
            request = request.header(AUTHORIZATION, value);
        }
        let answer = match redirects {
            Redirects::Followed => self.http.send_following(request).await,
            Redirects::Returned => self.http.send(request).await,
        };
        Ok(answer?)
    }

    /// Drops the token for some scopes, for example after the service stopped accepting it.
    fn forget_token(&self, scopes: &[Scope]) {
        let challenges = self.challenges.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(key) = token_key(&challenges, scopes) {
            self.tokens.forget(&key);
        }
    }
}

#[derive(Debug, Clone, Copy)]
enum Redirects {
    Followed,
    Returned,
}

/// Adds to a refusal why there were no credentials.
fn explained(error: AuthError, failure: Option<&String>) -> AuthError {
    match (&error, failure) {
        (AuthError::Denied(_) | AuthError::NoCredentials, Some(failure)) => {
            AuthError::CredentialsUnavailable { refusal: error.to_string(), failure: failure.clone() }
        }
        _ => error,
    }
}

/// Prefers a token to sending the password with every request.
fn token_key(challenges: &[Challenge], scopes: &[Scope]) -> Option<TokenKey> {
    challenges.iter().find_map(|challenge| match challenge {
        Challenge::Bearer { realm, service, .. } => {
            Some(TokenKey { realm: realm.clone(), service: service.clone(), scopes: scopes.to_vec() })
        }
        Challenge::Basic { .. } => None,
    })
}
