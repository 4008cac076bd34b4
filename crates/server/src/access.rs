//! Who may do what: decided for each request after its route is known, and before anything is looked up.

mod challenge;
mod files;
mod proof;
mod rules;
mod settings;
mod token;
mod users;

use std::net::SocketAddr;
use std::sync::Arc;

use http::header::HOST;
use http::{HeaderMap, HeaderValue, Request, Uri};
use jiff::Timestamp;
use serde_json::json;

use countersign_tuf::Gun;

use crate::error::{Code, Failure};
use crate::route::{NoRoute, Route};
use crate::watched::When;

use self::challenge::{Challenge, is_host};
use self::proof::Proof;
use self::token::{Reader, TokenError};
use self::users::{Doubt, Refused, Users};

pub(crate) use self::users::is_name;
pub use settings::{Access, AccessError, Allowance, OwnHost, Reading, Right, RuleError, TokenAccess, UserAccess};

/// What a request needs leave for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Needed {
    /// Nothing: health, metrics, and answers that say nothing about collections.
    Nothing,
    /// The first request of clients, by whose answer they learn how to prove who they are.
    Ping,
    /// Whatever belongs to no collection: the feed of all changes, paths that do not exist.
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
    /// Tells whether it is to read a collection.
    fn is_reading(&self) -> bool {
        matches!(self, Self::Collection(_, Action::Pull))
    }

    /// Says what a request needs (Notary protocol, routes and authentication).
    pub(crate) fn of(route: &Result<Route, NoRoute>) -> Self {
        let collection = |gun: &Gun, action| Self::Collection(gun.clone(), action);
        match route {
            Ok(Route::Health | Route::Live | Route::Ready | Route::Metrics | Route::Token)
            | Err(NoRoute::Redirect(_) | NoRoute::MethodNotAllowed | NoRoute::NotServed | NoRoute::InvalidGun) => {
                Self::Nothing
            }
            Ok(Route::Ping) => Self::Ping,
            Ok(Route::Changes(None)) | Err(NoRoute::NotFound) => Self::Catalog,
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
            Self::Ping | Self::Catalog => Some(("registry", "catalog", &["*"])),
            Self::Collection(gun, action) => Some(("repository", gun.as_str(), action.words())),
        }
    }
}

/// Whom a request was let in as.
#[derive(Debug, Clone, PartialEq, Eq)]
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
    /// Returns the name that was proved; none of those who proved nothing.
    pub(crate) fn name(&self) -> Option<&str> {
        match self {
            Self::Unasked | Self::Anonymous => None,
            Self::Token(name) | Self::User(name) | Self::Certificate(name) => Some(name),
        }
    }

    /// Returns how it was proved, in the audit log's words.
    pub(crate) fn kind(&self) -> &'static str {
        match self {
            Self::Unasked | Self::Anonymous => "anonymous",
            Self::Token(_) => "token",
            Self::User(_) => "user",
            Self::Certificate(_) => "certificate",
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

/// What of a request says who sends it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Asking<'a> {
    pub(crate) peer: &'a Peer,
    headers: &'a HeaderMap,
    uri: &'a Uri,
}

impl<'a> Asking<'a> {
    pub(crate) fn of<B>(peer: &'a Peer, request: &'a Request<B>) -> Self {
        Self { peer, headers: request.headers(), uri: request.uri() }
    }

    /// Returns the name that the client uses for this service, if it may be repeated.
    fn host(&self) -> Option<&'a str> {
        let authority = self.uri.authority().map(http::uri::Authority::as_str);
        let host = authority.or_else(|| self.headers.get(HOST).and_then(|value| value.to_str().ok()));
        host.filter(|host| is_host(host))
    }
}

/// What decides.
#[derive(Debug)]
pub(crate) struct Gate(Kind);

#[derive(Debug)]
enum Kind {
    Open,
    Tokens(Box<Reader>, Reading),
    Users(Box<Users>),
}

impl Gate {
    /// Reads what the settings name.
    pub(crate) fn new(access: &Access) -> Result<Self, AccessError> {
        Ok(Self(match access {
            Access::Open => Kind::Open,
            Access::Tokens(settings) => Kind::Tokens(Box::new(Reader::new(settings)?), settings.reading),
            Access::Users(settings) => Kind::Users(Box::new(Users::new(settings)?)),
        }))
    }

    /// Reads changed files again; what cannot be used leaves the old ones in use.
    pub(crate) fn refresh(&self, when: When) -> Result<bool, AccessError> {
        match &self.0 {
            Kind::Open => Ok(false),
            Kind::Tokens(reader, _) => reader.refresh(when),
            Kind::Users(users) => users.refresh(when),
        }
    }

    /// Tells whether clients come here for tokens.
    pub(crate) fn has_desk(&self) -> bool {
        matches!(&self.0, Kind::Users(users) if users.has_desk())
    }

    /// Answers somebody who comes for a token.
    pub(crate) async fn at_the_desk(&self, asking: Asking<'_>) -> Result<String, Failure> {
        let Kind::Users(users) = &self.0 else { return Err(Failure::new(Code::MetadataNotFound)) };
        let parameters = asking.uri.query().unwrap_or_default();
        let refused = match users.at_the_desk(asking.peer, Proof::of(asking.headers), parameters).await {
            Ok(answer) => return Ok(answer),
            Err(refused) => refused,
        };
        let failure = match &refused {
            Refused::Doubt(doubt) => {
                doubtful(doubt).unwrap_or_else(|| Failure::new(Code::WrongPassword).challenge(BASIC))
            }
            Refused::Nameless => Failure::new(Code::LoginNeeded).challenge(BASIC),
            Refused::Denied { .. } => Failure::new(Code::Denied),
        };
        Err(failure.cause(refused))
    }

    /// Lets a request in, or says what it lacks.
    pub(crate) async fn admit(&self, needed: &Needed, asking: Asking<'_>, now: Timestamp) -> Result<Who, Failure> {
        let certificate = || asking.peer.certificate.clone().map_or(Who::Unasked, Who::Certificate);
        match &self.0 {
            Kind::Open => Ok(certificate()),
            _ if *needed == Needed::Nothing => Ok(Who::Unasked),
            Kind::Tokens(reader, reading) => {
                let proof = Proof::of(asking.headers);
                if proof == Proof::None && *reading == Reading::Everybody && needed.is_reading() {
                    return Ok(Who::Anonymous);
                }
                let challenge = reader.challenge(asking.host());
                judge(reader, needed, &proof, now).map_err(|lack| refusal(Some(challenge), needed, lack))
            }
            Kind::Users(users) => {
                let challenge = users.realm(asking.host()).map(|realm| Challenge {
                    realm,
                    service: users::SERVICE,
                    resource: None,
                    error: None,
                });
                // On the heap: requests that prove nothing are not to carry along what comparing a password takes.
                let who = Box::pin(users.who(asking.peer, Proof::of(asking.headers))).await;
                let who = who.map_err(|doubt| {
                    doubtful(&doubt).map_or_else(
                        || refusal(challenge, needed, Lack::Doubt(doubt.clone())),
                        |failure| failure.cause(doubt.clone()),
                    )
                })?;
                if users.allow(&who, needed) {
                    return Ok(who);
                }
                let lack = who.name().map_or(Lack::Nothing, |name| Lack::Right(name.to_owned()));
                Err(refusal(challenge, needed, lack))
            }
        }
    }
}

/// What the desk asks for.
const BASIC: HeaderValue = HeaderValue::from_static("Basic realm=\"countersign\"");
/// What is asked for where only certificates count: no scheme of HTTP, because the connection has to bring it.
const CERTIFICATE: HeaderValue = HeaderValue::from_static("Certificate realm=\"countersign\"");

/// Says what is wrong when it is not the proof itself.
fn doubtful(doubt: &Doubt) -> Option<Failure> {
    match doubt {
        Doubt::Form | Doubt::Wrong(_) => None,
        Doubt::TooMany(_) => Some(Failure::new(Code::TooManyRequests).after(Users::pause())),
        Doubt::Busy => Some(Failure::new(Code::Busy)),
    }
}

/// Why a request is not let in.
#[derive(Debug, thiserror::Error)]
enum Lack {
    #[error("nobody said who they are")]
    Nothing,
    #[error("the authorization is not a token")]
    NoToken,
    #[error("the token is not accepted: {0}")]
    Token(#[from] TokenError),
    #[error("the token of {0:?} does not reach so far")]
    Scope(String),
    #[error(transparent)]
    Doubt(Doubt),
    #[error("{0:?} may not do this")]
    Right(String),
}

impl Lack {
    /// What the challenge says about it (RFC 6750, 3.1).
    fn word(&self) -> Option<&'static str> {
        match self {
            Self::Nothing | Self::NoToken => None,
            Self::Token(_) | Self::Doubt(_) => Some("invalid_token"),
            Self::Scope(_) | Self::Right(_) => Some("insufficient_scope"),
        }
    }
}

fn judge(reader: &Reader, needed: &Needed, proof: &Proof<'_>, now: Timestamp) -> Result<Who, Lack> {
    let token = match proof {
        Proof::Bearer(token) => token,
        Proof::None => return Err(Lack::Nothing),
        Proof::Basic(_) | Proof::Other => return Err(Lack::NoToken),
    };
    let claims = reader.read(token, now)?;
    let enough = needed
        .resource()
        .is_none_or(|(kind, name, actions)| actions.iter().all(|action| claims.allow(kind, name, action)));
    if enough { Ok(Who::Token(claims.subject.into())) } else { Err(Lack::Scope(claims.subject)) }
}

fn refusal(challenge: Option<Challenge<'_>>, needed: &Needed, lack: Lack) -> Failure {
    let (kind, name, actions) = needed.resource().unwrap_or(("", "", &[]));
    let detail = actions.iter().map(|action| json!({"Type": kind, "Class": "", "Name": name, "Action": action}));
    let header = challenge.map_or(CERTIFICATE, |challenge| {
        let text = Challenge { resource: Some((kind, name, actions)), error: lack.word(), ..challenge }.to_string();
        // Control characters are escaped in the text already; what is left cannot break a header.
        HeaderValue::from_bytes(text.as_bytes()).unwrap_or(HeaderValue::from_static("Bearer"))
    });
    Failure::new(Code::Unauthorized).detail(detail.collect()).challenge(header).cause(lack)
}
