//! Bearer tokens: signed statements of a token service about what somebody may do (distribution project, token
//! authentication implementation; RFC 7515, RFC 7519, RFC 8725).

mod jwk;
mod trusted;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use countersign_crypto::certificate::Certificate;
use countersign_crypto::{JwsAlgorithm, JwsKey};
use jiff::Timestamp;
use serde::Deserialize;
use serde_json::Value;

use crate::watched::{Watched, When};

use super::challenge::{self, Challenge, Realm};
use super::settings::{AccessError, OwnHost, TokenAccess};

use self::jwk::Jwk;
use self::trusted::Trusted;

/// Longest token that is looked at, in bytes.
const MAX_TOKEN: usize = 32 * 1024;
/// Most certificates that come with a token.
const MAX_CHAIN: usize = 8;
/// How far clocks may differ, in seconds (the reference's leeway).
const LEEWAY: i64 = 60;

/// Says why a token does not count.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum TokenError {
    #[error("it has more than {MAX_TOKEN} bytes")]
    TooLong,
    #[error("it does not have three parts in base64url")]
    Form,
    #[error("its header or its claims are not what they should be: {0}")]
    Json(String),
    #[error("its header has critical members that are not understood")]
    Critical,
    #[error("its algorithm {0:?} is none that is accepted")]
    Algorithm(String),
    #[error("it does not say which key signed it")]
    NoKey,
    #[error("its certificates are not acceptable: {0}")]
    Chain(String),
    #[error("the key in it is not a trusted one")]
    ForeignKey,
    #[error("no trusted key has the id {0:?}")]
    UnknownKey(String),
    #[error("its signature is not by the key that it names")]
    Signature,
    #[error("its issuer is {0:?}")]
    Issuer(String),
    #[error("its audience is {0:?}")]
    Audience(String),
    #[error("it expired at second {0}")]
    Expired(i64),
    #[error("it is not valid before second {0}")]
    NotYet(i64),
}

/// Reads tokens.
#[derive(Debug)]
pub(super) struct Reader {
    settings: TokenAccess,
    trusted: Watched<Trusted, AccessError>,
}

/// What a good token says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Claims {
    pub(super) subject: String,
    access: Vec<Entry>,
}

#[derive(Deserialize)]
struct Header {
    alg: String,
    #[serde(default)]
    kid: Option<String>,
    #[serde(default)]
    x5c: Option<Vec<String>>,
    #[serde(default)]
    jwk: Option<Jwk>,
    #[serde(default)]
    crit: Option<Value>,
}

#[derive(Deserialize)]
struct Body {
    iss: String,
    #[serde(default)]
    sub: Option<String>,
    /// One audience: the token specification knows no lists.
    aud: String,
    exp: i64,
    #[serde(default)]
    nbf: i64,
    #[serde(default)]
    access: Option<Vec<Entry>>,
}

#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
struct Entry {
    #[serde(rename = "type")]
    kind: String,
    name: String,
    #[serde(default)]
    actions: Vec<String>,
}

impl Claims {
    /// Tells whether an action on a resource is allowed; `*` allows all actions, and nothing else stands for more than itself.
    pub(super) fn allow(&self, kind: &str, name: &str, action: &str) -> bool {
        self.access
            .iter()
            .filter(|entry| entry.kind == kind && entry.name == name)
            .any(|entry| entry.actions.iter().any(|allowed| allowed == action || allowed == "*"))
    }
}

impl Reader {
    pub(super) fn new(settings: &TokenAccess) -> Result<Self, AccessError> {
        let TokenAccess { realm, service, issuer, certificates, keys, .. } = settings;
        if realm.is_empty() || service.is_empty() || issuer.is_empty() {
            return Err(AccessError::Empty);
        }
        challenge::check_realm(realm)?;
        let files = certificates.iter().chain(keys).cloned().collect();
        let (certificates, keys) = (certificates.clone(), keys.clone());
        let read = Box::new(move || Trusted::read(certificates.as_deref(), keys.as_deref()));
        Ok(Self { settings: settings.clone(), trusted: Watched::new(files, read)? })
    }

    pub(super) fn refresh(&self, when: When) -> Result<bool, AccessError> {
        self.trusted.refresh(when)
    }

    /// The challenge for whoever asks this service by this name, which may be repeated; without what is needed.
    pub(super) fn challenge<'a>(&'a self, host: Option<&'a str>) -> Challenge<'a> {
        let realm = match (self.settings.own_host, host) {
            (OwnHost::Yes, Some(host)) => Realm::OfHost(host),
            _ => Realm::Url(&self.settings.realm),
        };
        Challenge { realm, service: &self.settings.service, resource: None, error: None }
    }

    /// Checks a token from its signature to its times, and returns what it says.
    pub(super) fn read(&self, token: &str, now: Timestamp) -> Result<Claims, TokenError> {
        if token.len() > MAX_TOKEN {
            return Err(TokenError::TooLong);
        }
        let (signed, signature) = token.rsplit_once('.').ok_or(TokenError::Form)?;
        let (header, body) = signed.split_once('.').ok_or(TokenError::Form)?;
        let part = |text: &str| URL_SAFE_NO_PAD.decode(text).map_err(|_| TokenError::Form);
        let (header, body, signature) = (part(header)?, part(body)?, part(signature)?);
        let header: Header = serde_json::from_slice(&header).map_err(json)?;
        if header.crit.is_some() {
            return Err(TokenError::Critical);
        }
        let algorithm =
            JwsAlgorithm::parse(&header.alg).ok_or_else(|| TokenError::Algorithm(shortened(&header.alg)))?;
        let key = key(&header, &self.trusted.get(), algorithm, now)?;
        key.verify(algorithm, signed.as_bytes(), &signature).map_err(|_| TokenError::Signature)?;
        self.claims(&body, now)
    }

    fn claims(&self, body: &[u8], now: Timestamp) -> Result<Claims, TokenError> {
        let Body { iss, sub, aud, exp, nbf, access } = serde_json::from_slice(body).map_err(json)?;
        if iss != self.settings.issuer {
            return Err(TokenError::Issuer(shortened(&iss)));
        }
        if aud != self.settings.service {
            return Err(TokenError::Audience(shortened(&aud)));
        }
        let now = now.as_second();
        if now > exp.saturating_add(LEEWAY) {
            return Err(TokenError::Expired(exp));
        }
        if now < nbf.saturating_sub(LEEWAY) {
            return Err(TokenError::NotYet(nbf));
        }
        Ok(Claims { subject: shortened(&sub.unwrap_or_default()), access: access.unwrap_or_default() })
    }
}

/// Finds the key that a header names; a certificate comes before a key, and a key before an id, as with the reference. What
/// comes first has to be right: nothing behind it makes up for it.
fn key(header: &Header, trusted: &Trusted, algorithm: JwsAlgorithm, now: Timestamp) -> Result<JwsKey, TokenError> {
    if let Some(chain) = header.x5c.as_deref().filter(|chain| !chain.is_empty()) {
        return certified(chain, trusted, algorithm, now);
    }
    if let Some(jwk) = &header.jwk {
        let key = jwk.key().map_err(|_| TokenError::ForeignKey)?;
        return match jwk.chain() {
            Some(chain) => {
                let certified = certified(chain, trusted, algorithm, now)?;
                if certified.spki_der() == key.spki_der() { Ok(certified) } else { Err(TokenError::ForeignKey) }
            }
            None if trusted.holds(&key, algorithm) => Ok(key),
            None => Err(TokenError::ForeignKey),
        };
    }
    match header.kid.as_deref().filter(|id| !id.is_empty()) {
        Some(id) => trusted.by_id(id, algorithm).cloned().ok_or_else(|| TokenError::UnknownKey(shortened(id))),
        None => Err(TokenError::NoKey),
    }
}

/// Takes the key of the first certificate, if the chain leads to a trusted one.
fn certified(
    chain: &[String],
    trusted: &Trusted,
    algorithm: JwsAlgorithm,
    now: Timestamp,
) -> Result<JwsKey, TokenError> {
    let refuse = |reason: &dyn std::fmt::Display| TokenError::Chain(shortened(&reason.to_string()));
    if chain.len() > MAX_CHAIN {
        return Err(refuse(&format_args!("more than {MAX_CHAIN}")));
    }
    let read = |text: &String| {
        let der = STANDARD.decode(text).map_err(|error| refuse(&error))?;
        Certificate::from_der(&der).map_err(|error| refuse(&error))
    };
    let chain = chain.iter().map(read).collect::<Result<Vec<_>, _>>()?;
    let (leaf, others) = chain.split_first().ok_or(TokenError::NoKey)?;
    leaf.verify_issued(others, trusted.certificates(), now).map_err(|error| refuse(&error))?;
    let key = JwsKey::from_spki_der(leaf.spki_der()).map_err(|error| refuse(&error))?;
    if trusted.forbids(&key, algorithm) {
        return Err(refuse(&"the key set has their key for another algorithm"));
    }
    Ok(key)
}

#[expect(clippy::needless_pass_by_value, reason = "the form that map_err wants")]
fn json(error: serde_json::Error) -> TokenError {
    TokenError::Json(shortened(&error.to_string()))
}

/// What of a stranger's text is worth a place in a log.
fn shortened(text: &str) -> String {
    text.chars().take(120).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn claims(access: &str) -> Claims {
        let access = serde_json::from_str(access).unwrap();
        Claims { subject: String::new(), access }
    }

    #[test]
    fn names_and_types_stand_for_nothing_but_themselves() {
        let access = r#"[{"type":"repository","name":"a/b","actions":["pull"]},{"type":"repository","name":"a/*","actions":["*"]}]"#;
        let claims = claims(access);
        assert!(claims.allow("repository", "a/b", "pull"));
        for (kind, name, action) in [
            ("repository", "a/b", "push"),
            ("repository", "a/b", "*"),
            ("repository", "a/b", "PULL"),
            ("repository", "a/B", "pull"),
            ("repository", "a", "pull"),
            ("repository", "a/bc", "pull"),
            ("repository", "a/../a/b", "pull"),
            ("repository", "a/c", "pull"),
            ("registry", "a/b", "pull"),
            ("Repository", "a/b", "pull"),
        ] {
            assert!(!claims.allow(kind, name, action), "{kind} {name} {action}");
        }
    }

    #[test]
    fn entries_add_up_and_a_star_is_every_action() {
        let both = claims(
            r#"[{"type":"r","name":"x","actions":["pull"]},{"type":"r","name":"x","actions":["push"]},{"type":"r","name":"y","actions":["*"]},{"type":"r","name":"z"}]"#,
        );
        assert!(both.allow("r", "x", "pull") && both.allow("r", "x", "push") && !both.allow("r", "x", "*"));
        assert!(both.allow("r", "y", "pull") && both.allow("r", "y", "*") && !both.allow("r", "z", "pull"));
    }
}
