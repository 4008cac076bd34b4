//! Fetches tokens: GET with a password or without any, POST with an identity token.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::HeaderValue;
use http::header::AUTHORIZATION;
use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;
use url::Url;

use super::cache::TokenKey;
use super::session::AuthError;
use crate::credentials::Credential;
use crate::http::{HttpClient, HttpError, Origin, Patience, Request, Scheme};

/// Largest answer of a token server in bytes.
pub const MAX_TOKEN_BYTES: u64 = 1024 * 1024;
/// Longest token that is sent, in bytes; servers refuse longer headers.
const MAX_TOKEN_LENGTH: usize = 64 * 1024;
/// Shortest and longest lifetime that is believed, in seconds.
const LIFETIME: std::ops::RangeInclusive<u64> = 60..=24 * 60 * 60;
/// What identity tokens are exchanged as; docker's own name, which registries know.
const CLIENT_ID: &str = "docker";

/// Checks that a token server may be asked.
///
/// Only https; plain http only if the service itself is reached by plain http and the token server is on a loopback
/// address as it is, or on the very host that was configured as insecure.
pub(crate) fn check_realm(realm: &str, home: &Origin) -> Result<Url, AuthError> {
    let refuse = |reason| AuthError::Realm { realm: crate::foreign_text(realm.as_bytes(), 200), reason };
    let url = Url::parse(realm).map_err(|_| refuse("it is not an address"))?;
    let origin = Origin::of(&url).map_err(|_| refuse("only https addresses without a user name are accepted"))?;
    if origin.scheme() == Scheme::Http {
        let both_local = home.is_loopback() && origin.is_loopback();
        if home.scheme() != Scheme::Http || !(both_local || home.same_host(&origin)) {
            return Err(refuse("it is not https, and whoever listens on the way would learn the password"));
        }
    }
    Ok(url)
}

/// Asks the token server and returns the header to send and how long it is valid.
pub(crate) async fn fetch(
    http: &HttpClient,
    key: &TokenKey,
    credential: &Credential,
) -> Result<(HeaderValue, Duration), AuthError> {
    let realm = check_realm(&key.realm, http.home())?;
    // Only GET requests follow redirects: an identity token goes to the realm and nowhere else.
    let request = match credential {
        Credential::IdentityToken(token) => exchange(realm, key, token),
        other => ask(realm, key, other)?,
    };
    let response = http.send_following(request.patience(Patience::TOKEN)).await?;
    if !response.status().is_success() {
        return Err(denied(response.into_status_error().await));
    }
    let body = response.bytes(MAX_TOKEN_BYTES).await?;
    read(&body)
}

/// GET with the query sorted by key, as the reference sends it.
fn ask(mut realm: Url, key: &TokenKey, credential: &Credential) -> Result<Request, AuthError> {
    {
        let mut query = realm.query_pairs_mut();
        if let Credential::Password { username, .. } = credential {
            query.append_pair("account", username);
        }
        for scope in &key.scopes {
            query.append_pair("scope", scope.as_str());
        }
        if let Some(service) = &key.service {
            query.append_pair("service", service);
        }
    }
    if realm.query() == Some("") {
        realm.set_query(None);
    }
    let request = Request::get(realm);
    Ok(match credential {
        Credential::Password { username, password } => request.header(AUTHORIZATION, basic(username, password)?),
        _ => request,
    })
}

fn exchange(realm: Url, key: &TokenKey, token: &SecretString) -> Request {
    let scopes: Vec<&str> = key.scopes.iter().map(super::scope::Scope::as_str).collect();
    let scopes = scopes.join(" ");
    let mut fields = vec![
        ("client_id", CLIENT_ID),
        ("grant_type", "refresh_token"),
        ("refresh_token", token.expose_secret()),
        ("scope", scopes.as_str()),
    ];
    fields.extend(key.service.as_deref().map(|service| ("service", service)));
    Request::new(http::Method::POST, realm).form(&fields)
}

/// Makes the header for a user name and password.
pub(crate) fn basic(username: &str, password: &SecretString) -> Result<HeaderValue, AuthError> {
    if username.contains(':') {
        return Err(AuthError::UserName);
    }
    let text = SecretString::from(format!("{username}:{}", password.expose_secret()));
    sensitive(&format!("Basic {}", STANDARD.encode(text.expose_secret())))
}

fn sensitive(text: &str) -> Result<HeaderValue, AuthError> {
    let mut value = HeaderValue::from_str(text).map_err(|_| AuthError::TokenCharacters)?;
    value.set_sensitive(true);
    Ok(value)
}

fn denied(error: HttpError) -> AuthError {
    match error {
        HttpError::Status(status) if matches!(status.status.as_u16(), 400 | 401 | 403) => AuthError::Denied(status),
        other => AuthError::Http(other),
    }
}

/// Reads `access_token`, else `token`; the reference reads only the first when it exchanged an identity token.
fn read(body: &[u8]) -> Result<(HeaderValue, Duration), AuthError> {
    #[derive(Deserialize)]
    struct TokenAnswer {
        token: Option<SecretString>,
        access_token: Option<SecretString>,
        expires_in: Option<u64>,
    }
    let answer: TokenAnswer = serde_json::from_slice(body).map_err(|_| AuthError::TokenAnswer)?;
    let given = |token: &SecretString| !token.expose_secret().is_empty();
    let access = answer.access_token.filter(given);
    let token = access.or(answer.token.filter(given));
    let token = token.ok_or(AuthError::TokenAnswer)?;
    let valid = |b: u8| b.is_ascii_alphanumeric() || b"-._~+/=:".contains(&b);
    if token.expose_secret().len() > MAX_TOKEN_LENGTH || !token.expose_secret().bytes().all(valid) {
        return Err(AuthError::TokenCharacters);
    }
    let seconds = answer.expires_in.unwrap_or(0).clamp(*LIFETIME.start(), *LIFETIME.end());
    Ok((sensitive(&format!("Bearer {}", token.expose_secret()))?, Duration::from_secs(seconds)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn origin(text: &str) -> Origin {
        Origin::of(&Url::parse(text).unwrap()).unwrap()
    }

    #[test]
    fn only_https_realms_are_asked() {
        let secure = origin("https://reg.test");
        assert!(check_realm("https://auth.test/token?a=b", &secure).is_ok());
        for realm in [
            "http://auth.test/token",
            "http://reg.test/token",
            "http://127.0.0.1/token",
            "file:///etc/passwd",
            "https://u:p@auth.test",
            "auth.test",
            "",
            "javascript:x",
            "https://",
        ] {
            assert!(check_realm(realm, &secure).is_err(), "{realm}");
        }
    }

    #[test]
    fn plain_http_realms_are_for_plain_http_places_only() {
        let local = origin("http://127.0.0.1:5000");
        assert!(check_realm("http://localhost:5001/token", &local).is_ok());
        assert!(check_realm("http://auth.test/token", &local).is_err());
        let insecure = origin("http://reg.test:5000");
        assert!(check_realm("http://reg.test:5001/token", &insecure).is_ok());
        assert!(check_realm("http://other.test/token", &insecure).is_err());
        assert!(check_realm("http://127.0.0.1/token", &insecure).is_err());
        assert!(check_realm("http://127.0.0.1/token", &origin("https://127.0.0.1")).is_err());
    }

    #[test]
    fn access_token_wins_and_short_lifetimes_are_a_minute() {
        let (value, lifetime) = read(br#"{"token":"a","access_token":"b","expires_in":1}"#).unwrap();
        assert_eq!((value.to_str().unwrap(), lifetime.as_secs()), ("Bearer b", 60));
        assert!(value.is_sensitive());
        assert_eq!(read(br#"{"token":"a"}"#).unwrap().0, "Bearer a");
    }

    #[test]
    fn hostile_token_answers_are_refused() {
        for body in [
            r#"{"token":"a\r\nX-Evil: b"}"#,
            r#"{"token":"a b"}"#,
            r#"{"token":""}"#,
            "{}",
            "null",
            "",
            "[]",
            r#"{"token":1}"#,
            r#"{"token":"ü"}"#,
        ] {
            assert!(read(body.as_bytes()).is_err(), "{body}");
        }
        let long = format!(r#"{{"token":"{}"}}"#, "a".repeat(MAX_TOKEN_LENGTH + 1));
        assert!(read(long.as_bytes()).is_err());
    }

    #[test]
    fn the_query_is_sorted_and_names_the_account() {
        let key = TokenKey {
            realm: String::new(),
            service: Some("svc".into()),
            scopes: vec![super::super::Scope::repository(
                "docker.io/library/alpine",
                &[super::super::Action::Push, super::super::Action::Pull],
            )],
        };
        let credential = Credential::Password { username: "al".into(), password: "x".into() };
        let request = ask(Url::parse("https://a.test/token").unwrap(), &key, &credential).unwrap();
        assert_eq!(
            request.url.query().unwrap(),
            "account=al&scope=repository%3Adocker.io%2Flibrary%2Falpine%3Apush%2Cpull&service=svc"
        );
        let anonymous = ask(Url::parse("https://a.test/token").unwrap(), &key, &Credential::Anonymous).unwrap();
        assert!(anonymous.headers.is_empty());
    }
}
