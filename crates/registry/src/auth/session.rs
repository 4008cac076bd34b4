//! One caller's dealings with one service: the challenges it made, the tokens that answer them.

use std::sync::{Mutex, PoisonError};

use http::header::AUTHORIZATION;
use http::{HeaderValue, StatusCode};

use super::cache::{TokenCache, TokenKey};
use super::challenge::{Challenge, parse_challenges};
use super::scope::Scope;
use super::token;
use crate::credentials::Credential;
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
    credential: Credential,
    challenges: Mutex<Vec<Challenge>>,
    tokens: TokenCache,
}

impl Session {
    /// Starts with no challenge known.
    #[must_use]
    pub fn new(http: HttpClient, credential: Credential) -> Self {
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
            let (value, lifetime) = token::fetch(&self.http, &key, &self.credential).await?;
            self.tokens.put(key, value.clone(), lifetime);
            return Ok(Some(value));
        }
        if challenges.is_empty() {
            return Ok(None);
        }
        match &self.credential {
            Credential::Password { username, password } => token::basic(username, password).map(Some),
            Credential::Anonymous | Credential::IdentityToken(_) => Err(AuthError::NoCredentials),
        }
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
                self.send_once(again, scopes, redirects).await
            }
            _ => Ok(response),
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

/// Prefers a token to sending the password with every request.
fn token_key(challenges: &[Challenge], scopes: &[Scope]) -> Option<TokenKey> {
    challenges.iter().find_map(|challenge| match challenge {
        Challenge::Bearer { realm, service, .. } => {
            Some(TokenKey { realm: realm.clone(), service: service.clone(), scopes: scopes.to_vec() })
        }
        Challenge::Basic { .. } => None,
    })
}
