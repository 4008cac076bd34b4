//! A token service, as Docker's registries use them: it takes names and passwords and gives out signed tokens.
//!
//! Source: distribution project, "Token Authentication Specification", "`OAuth2` Token Authentication" and "Token
//! Authentication Implementation".

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use base64::Engine;
use jiff::Timestamp;
use serde_json::{Value, json};

use crate::fake_server::Request;
use crate::{Account, FakeServer, Reply, TestCa};

pub use signing::{KeyReference, TokenAlgorithm, TokenKey};

mod signing;

/// How long tokens last unless a test says otherwise.
const LIFETIME: Duration = Duration::from_mins(5);
/// Repositories below this name may be pulled by everybody.
const PUBLIC: &str = "public/";

/// A running token service: [`Account::ALICE`] may do everything, [`Account::BOB`] may pull, and nobody in particular
/// may pull `public/…`.
#[derive(Debug)]
pub struct TokenService {
    server: FakeServer,
    desk: Arc<Desk>,
}

#[derive(Debug)]
struct Desk {
    key: TokenKey,
    lifetime: Mutex<Duration>,
}

impl TokenService {
    /// The issuer named in tokens.
    pub const ISSUER: &str = "countersign test tokens";
    /// The service that tokens are for.
    pub const SERVICE: &str = "test-registry";

    /// Starts a service on plain HTTP that signs with ES256 and names its key by id.
    #[must_use]
    pub fn start() -> Self {
        Self::with_key(FakeServer::plain(), TokenKey::new(TokenAlgorithm::Es256, KeyReference::Id))
    }

    /// Starts a service on HTTPS that signs with ES256 and names its key by id.
    #[must_use]
    pub fn start_tls(ca: &TestCa) -> Self {
        let server = FakeServer::tls(ca.loopback_server().server_config());
        Self::with_key(server, TokenKey::new(TokenAlgorithm::Es256, KeyReference::Id))
    }

    /// Turns a fake server into a token service that signs with this key.
    #[must_use]
    pub fn with_key(server: FakeServer, key: TokenKey) -> Self {
        let desk = Arc::new(Desk { key, lifetime: Mutex::new(LIFETIME) });
        let behind = Arc::clone(&desk);
        server.handle(move |request| (request.path == "/token").then(|| behind.answer(request)));
        Self { server, desk }
    }

    /// The URL to put into a challenge.
    #[must_use]
    pub fn realm(&self) -> String {
        format!("{}/token", self.server.url())
    }

    /// The whole challenge for a scope, as a `WWW-Authenticate` header has it.
    #[must_use]
    pub fn challenge(&self, scope: &str) -> String {
        format!("Bearer realm=\"{}\",service=\"{}\",scope=\"{scope}\"", self.realm(), Self::SERVICE)
    }

    /// The certificate of the signing key as PEM text: what a registry takes as `rootcertbundle`.
    #[must_use]
    pub fn certificate_pem(&self) -> &str {
        self.desk.key.certificate_pem()
    }

    /// Signs any claims, for tokens that should be refused.
    #[must_use]
    pub fn sign(&self, claims: &Value) -> String {
        self.desk.key.sign(claims)
    }

    /// A good token for these accesses: `("repository", "acme/app", "pull,push")`.
    #[must_use]
    pub fn token(&self, account: Account, access: &[(&str, &str, &str)]) -> String {
        let access = access.iter().map(|(kind, name, actions)| {
            json!({"type": kind, "name": name, "actions": actions.split(',').collect::<Vec<_>>()})
        });
        self.sign(&self.desk.claims(account.name, &access.collect()))
    }

    /// The refresh token of an account: docker stores it under the user name `<token>`.
    #[must_use]
    pub fn refresh_token(account: Account) -> String {
        format!("refresh-{}-{}", account.name, crate::digest::sha256_hex(account.password.as_bytes()))
    }

    /// Changes how long new tokens last.
    pub fn set_lifetime(&self, lifetime: Duration) {
        *self.desk.lifetime.lock().unwrap_or_else(PoisonError::into_inner) = lifetime;
    }

    /// All requests so far.
    #[must_use]
    pub fn requests(&self) -> Vec<Request> {
        self.server.requests()
    }
}

/// Whether the client asked for a refresh token as well.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Refresh {
    Wanted,
    Unwanted,
}

impl Desk {
    fn answer(&self, request: &Request) -> Reply {
        match request.method.as_str() {
            "GET" => self.answer_get(request),
            "POST" => self.answer_post(request),
            _ => Reply::status(405),
        }
    }

    fn answer_get(&self, request: &Request) -> Reply {
        let fields = Fields::parse(request.query.as_bytes());
        let account = match request.header("authorization").map(basic) {
            None => None,
            Some(Some(account)) => Some(account),
            Some(None) => return refusal(),
        };
        let offline = fields.first("offline_token") == Some("true");
        self.grant(account, &fields.all("scope"), if offline { Refresh::Wanted } else { Refresh::Unwanted })
    }

    fn answer_post(&self, request: &Request) -> Reply {
        let fields = Fields::parse(&request.body);
        let account = match fields.first("grant_type") {
            Some("password") => Account::authenticated(
                fields.first("username").unwrap_or_default(),
                fields.first("password").unwrap_or_default(),
            ),
            Some("refresh_token") => [Account::ALICE, Account::BOB]
                .into_iter()
                .find(|account| fields.first("refresh_token") == Some(TokenService::refresh_token(*account).as_str())),
            _ => return Reply::status(400).then("{\"error\":\"unsupported_grant_type\"}"),
        };
        let Some(account) = account else { return refusal() };
        let scopes: Vec<&str> = fields.all("scope").iter().flat_map(|scope| scope.split(' ')).collect();
        let offline =
            fields.first("access_type") == Some("offline") || fields.first("grant_type") == Some("refresh_token");
        self.grant(Some(account), &scopes, if offline { Refresh::Wanted } else { Refresh::Unwanted })
    }

    fn grant(&self, account: Option<Account>, scopes: &[&str], refresh: Refresh) -> Reply {
        let access: Value = scopes.iter().filter_map(|scope| granted(account, scope)).collect();
        let token = self.key.sign(&self.claims(account.map_or("", |account| account.name), &access));
        let seconds = self.lifetime().as_secs();
        let refresh_token = account.filter(|_| refresh == Refresh::Wanted).map(TokenService::refresh_token);
        let answer = json!({
            "token": token, "access_token": token, "expires_in": seconds,
            "issued_at": Timestamp::now().to_string(), "refresh_token": refresh_token,
        });
        Reply::json(answer.to_string())
    }

    fn claims(&self, subject: &str, access: &Value) -> Value {
        let now = Timestamp::now().as_second();
        let end = now.saturating_add(i64::try_from(self.lifetime().as_secs()).unwrap_or(i64::MAX));
        json!({
            "iss": TokenService::ISSUER, "sub": subject, "aud": TokenService::SERVICE, "exp": end, "nbf": now - 10,
            "iat": now, "jti": crate::digest::sha256_hex(format!("{subject}{now}").as_bytes()), "access": access,
        })
    }

    fn lifetime(&self) -> Duration {
        *self.lifetime.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What of a scope (`repository:NAME:ACTION,ACTION`; names may hold colons) the account may do.
fn granted(account: Option<Account>, scope: &str) -> Option<Value> {
    let (kind, rest) = scope.split_once(':')?;
    let (name, actions) = rest.rsplit_once(':')?;
    let may = |action: &str| match account {
        Some(account) if account == Account::ALICE => true,
        Some(_) => action == "pull",
        None => action == "pull" && name.starts_with(PUBLIC),
    };
    let actions: Vec<&str> = actions.split(',').filter(|action| may(action)).collect();
    (!actions.is_empty()).then(|| json!({"type": kind, "name": name, "actions": actions}))
}

fn basic(header: &str) -> Option<Account> {
    let encoded = header.strip_prefix("Basic ")?;
    let pair = String::from_utf8(base64::engine::general_purpose::STANDARD.decode(encoded).ok()?).ok()?;
    let (name, password) = pair.split_once(':')?;
    Account::authenticated(name, password)
}

fn refusal() -> Reply {
    Reply::status(401)
        .header("Content-Type", "application/json")
        .then("{\"details\":\"incorrect username or password\"}")
}

struct Fields(Vec<(String, String)>);

impl Fields {
    fn parse(bytes: &[u8]) -> Self {
        Self(url::form_urlencoded::parse(bytes).into_owned().collect())
    }

    fn first(&self, name: &str) -> Option<&str> {
        self.all(name).first().copied()
    }

    fn all(&self, name: &str) -> Vec<&str> {
        self.0.iter().filter(|(known, _)| known == name).map(|(_, value)| value.as_str()).collect()
    }
}
