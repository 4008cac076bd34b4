//! Who may do what: decided for each request after its route is known, and before anything is looked up.

mod challenge;
mod settings;
mod token;

use std::net::SocketAddr;
use std::sync::Arc;

use http::header::{AUTHORIZATION, HOST};
use http::{HeaderMap, HeaderValue, Request};
use jiff::Timestamp;
use serde_json::json;

use countersign_tuf::Gun;

use crate::error::{Code, Failure};
use crate::route::{NoRoute, Route};
use crate::watched::When;

use self::challenge::Challenge;
use self::token::{Reader, TokenError};

pub use settings::{Access, AccessError, OwnHost, TokenAccess};

/// What a request needs leave for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Needed {
    /// Nothing: health, metrics, and answers that say nothing about collections.
    Nothing,
    /// Whatever belongs to no collection: the ping, the feed of all changes, paths that do not exist.
    Catalog,
    /// Something of one collection.
    Collection(Gun, Action),
}

/// What is done to a collection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Action {
    /// Read.
    Pull,
    /// Publish.
    Push,
    /// Delete, or replace the service's keys.
    Everything,
}

impl Action {
    /// The protocol's words for it (Notary protocol, routes).
    fn words(self) -> &'static [&'static str] {
        match self {
            Self::Pull => &["pull"],
            Self::Push => &["push", "pull"],
            Self::Everything => &["*"],
        }
    }
}

impl Needed {
    /// Says what a request needs (Notary protocol, routes and authentication).
    pub(crate) fn of(route: &Result<Route, NoRoute>) -> Self {
        let collection = |gun: &Gun, action| Self::Collection(gun.clone(), action);
        match route {
            Ok(Route::Health | Route::Live | Route::Ready | Route::Metrics)
            | Err(NoRoute::Redirect(_) | NoRoute::MethodNotAllowed | NoRoute::NotServed | NoRoute::InvalidGun) => {
                Self::Nothing
            }
            Ok(Route::Ping | Route::Changes(None)) | Err(NoRoute::NotFound) => Self::Catalog,
            Ok(
                Route::ByChecksum(gun, ..)
                | Route::ByVersion(gun, ..)
                | Route::Current(gun, _)
                | Route::Changes(Some(gun)),
            )
            | Err(NoRoute::NothingStored(gun)) => collection(gun, Action::Pull),
            Ok(Route::Upload(gun) | Route::Key(gun, _)) => collection(gun, Action::Push),
            Ok(Route::RotateKey(gun, _) | Route::Delete(gun)) => collection(gun, Action::Everything),
        }
    }

    /// The type, name and actions of the resource.
    fn resource(&self) -> Option<(&'static str, &str, &'static [&'static str])> {
        match self {
            Self::Nothing => None,
            Self::Catalog => Some(("registry", "catalog", &["*"])),
            Self::Collection(gun, action) => Some(("repository", gun.as_str(), action.words())),
        }
    }
}

/// Whom a request was let in as.
#[derive(Debug, Clone, PartialEq, Eq)]
#[expect(dead_code, reason = "passwords and anonymous reading are on their way")]
pub(crate) enum Who {
    /// Nobody was asked.
    Unasked,
    /// Somebody who named nobody.
    Anonymous,
    /// Somebody whom a token names; the name may be empty.
    Token(Arc<str>),
    /// Somebody with a password.
    User(Arc<str>),
    /// Somebody with a certificate, by the common name of its subject.
    Certificate(Arc<str>),
}

impl Who {
    #[expect(dead_code, reason = "the audit log is on its way")]
    /// Returns the name that was proved; none of those who proved nothing.
    pub(crate) fn name(&self) -> Option<&str> {
        match self {
            Self::Unasked | Self::Anonymous => None,
            Self::Token(name) | Self::User(name) | Self::Certificate(name) => Some(name),
        }
    }
}

/// The other end of a connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Peer {
    pub(crate) address: SocketAddr,
    /// The common name in the certificate that it has shown, if it has; the handshake has proved it.
    pub(crate) certificate: Option<Arc<str>>,
}

/// What decides.
#[derive(Debug)]
pub(crate) struct Gate(Kind);

#[derive(Debug)]
enum Kind {
    Open,
    Tokens(Box<Reader>),
}

impl Gate {
    /// Reads what the settings name.
    pub(crate) fn new(access: &Access) -> Result<Self, AccessError> {
        Ok(Self(match access {
            Access::Open => Kind::Open,
            Access::Tokens(settings) => Kind::Tokens(Box::new(Reader::new(settings)?)),
        }))
    }

    /// Reads changed files again; what cannot be used leaves the old ones in use.
    pub(crate) fn refresh(&self, when: When) -> Result<bool, AccessError> {
        match &self.0 {
            Kind::Open => Ok(false),
            Kind::Tokens(reader) => reader.refresh(when),
        }
    }

    /// Lets a request in, or says what it lacks.
    pub(crate) fn admit<B>(
        &self,
        needed: &Needed,
        peer: &Peer,
        request: &Request<B>,
        now: Timestamp,
    ) -> Result<Who, Failure> {
        match &self.0 {
            Kind::Open => Ok(peer.certificate.clone().map_or(Who::Unasked, Who::Certificate)),
            Kind::Tokens(_) if *needed == Needed::Nothing => Ok(Who::Unasked),
            Kind::Tokens(reader) => {
                let judged = judge(reader, needed, request.headers(), now);
                judged.map_err(|lack| refusal(reader.challenge(host(request)), needed, &lack))
            }
        }
    }
}

/// Why a request is not let in.
#[derive(Debug, thiserror::Error)]
enum Lack {
    #[error("no token was sent")]
    Nothing,
    #[error("the token is not accepted: {0}")]
    Token(#[from] TokenError),
    #[error("the token of {0:?} does not reach so far")]
    Scope(String),
}

impl Lack {
    /// What the challenge says about it (RFC 6750, 3.1).
    fn word(&self) -> Option<&'static str> {
        match self {
            Self::Nothing => None,
            Self::Token(_) => Some("invalid_token"),
            Self::Scope(_) => Some("insufficient_scope"),
        }
    }
}

fn judge(reader: &Reader, needed: &Needed, headers: &HeaderMap, now: Timestamp) -> Result<Who, Lack> {
    let token = bearer(headers).ok_or(Lack::Nothing)?;
    let claims = reader.read(token, now)?;
    let enough = needed
        .resource()
        .is_none_or(|(kind, name, actions)| actions.iter().all(|action| claims.allow(kind, name, action)));
    if enough { Ok(Who::Token(claims.subject.into())) } else { Err(Lack::Scope(claims.subject)) }
}

/// Returns the token of the only `Authorization` header: exactly two words, the first in any case.
fn bearer(headers: &HeaderMap) -> Option<&str> {
    let mut all = headers.get_all(AUTHORIZATION).iter();
    let (value, None) = (all.next()?.to_str().ok()?, all.next()) else { return None };
    let (scheme, token) = value.split_once(' ')?;
    (scheme.eq_ignore_ascii_case("bearer") && !token.is_empty() && !token.contains(' ')).then_some(token)
}

/// Returns the name that the client uses for this service.
fn host<B>(request: &Request<B>) -> Option<&str> {
    let authority = request.uri().authority().map(http::uri::Authority::as_str);
    authority.or_else(|| request.headers().get(HOST).and_then(|value| value.to_str().ok()))
}

fn refusal(challenge: Challenge<'_>, needed: &Needed, lack: &Lack) -> Failure {
    let (kind, name, actions) = needed.resource().unwrap_or(("", "", &[]));
    let detail = actions.iter().map(|action| json!({"Type": kind, "Class": "", "Name": name, "Action": action}));
    let text = Challenge { resource: Some((kind, name, actions)), error: lack.word(), ..challenge }.to_string();
    // Control characters are escaped in the text already; what is left cannot break a header.
    let header = HeaderValue::from_bytes(text.as_bytes()).unwrap_or(HeaderValue::from_static("Bearer"));
    Failure::new(Code::Unauthorized).detail(detail.collect()).challenge(header).cause(lack.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_authorization_is_one_header_of_two_words() {
        let headers = |values: &[&str]| {
            let mut headers = HeaderMap::new();
            for value in values {
                headers.append(AUTHORIZATION, value.parse().unwrap());
            }
            headers
        };
        for good in ["Bearer a.b.c", "bearer a.b.c", "BEARER a.b.c"] {
            assert_eq!(bearer(&headers(&[good])), Some("a.b.c"), "{good}");
        }
        for bad in [
            &[][..],
            &[""],
            &["Bearer"],
            &["Bearer "],
            &["Bearer  a"],
            &["Bearer a b"],
            &["Basic a"],
            &["Bearer a", "Bearer b"],
        ] {
            assert_eq!(bearer(&headers(bad)), None, "{bad:?}");
        }
    }
}
