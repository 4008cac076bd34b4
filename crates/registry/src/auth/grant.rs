//! What a token allows, for messages about refusals.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::HeaderValue;
use serde::Deserialize;

/// Longest text about what was granted, in characters.
const TEXT_LIMIT: usize = 300;
/// Most entries that are named.
const MAX_ENTRIES: usize = 8;

#[derive(Deserialize)]
struct Claims {
    access: Vec<Access>,
}

#[derive(Deserialize)]
struct Access {
    #[serde(default)]
    r#type: String,
    #[serde(default)]
    name: String,
    #[serde(default)]
    actions: Vec<String>,
}

/// Reads what a token says that it allows, in the spelling of scopes and fit for a terminal; none if it does not say.
///
/// Nothing is verified: it is the service that believes the token or not.
pub(super) fn granted(authorization: &HeaderValue) -> Option<String> {
    let token = authorization.to_str().ok()?.strip_prefix("Bearer ")?;
    let payload = token.split('.').nth(1)?.trim_end_matches('=');
    let claims: Claims = serde_json::from_slice(&URL_SAFE_NO_PAD.decode(payload).ok()?).ok()?;
    let allowed = claims.access.iter().filter(|access| !access.actions.is_empty()).take(MAX_ENTRIES);
    let texts: Vec<String> =
        allowed.map(|access| format!("{}:{}:{}", access.r#type, access.name, access.actions.join(","))).collect();
    let text = if texts.is_empty() { "nothing".to_owned() } else { texts.join(" ") };
    Some(crate::foreign_text(text.as_bytes(), TEXT_LIMIT))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn token(claims: &str) -> HeaderValue {
        HeaderValue::from_str(&format!("Bearer e30.{}.c2ln", URL_SAFE_NO_PAD.encode(claims))).unwrap()
    }

    #[test]
    fn what_a_token_allows_is_told_and_what_is_no_such_token_tells_nothing() {
        let read = |claims: &str| granted(&token(claims));
        let some = r#"{"access":[{"type":"repository","name":"a/b","actions":["pull"]}]}"#;
        assert_eq!(read(some).unwrap(), "repository:a/b:pull");
        assert_eq!(read(r#"{"access":[]}"#).unwrap(), "nothing");
        assert_eq!(read(r#"{"access":[{"type":"repository","name":"a","actions":[]}]}"#).unwrap(), "nothing");
        let hostile = read("{\"access\":[{\"type\":\"x\\u001b[2J\",\"name\":\"\",\"actions\":[\"a\"]}]}").unwrap();
        assert!(!hostile.contains('\u{1b}'), "{hostile:?}");
        for other in ["{}", "null", r#"{"access":3}"#] {
            assert_eq!(read(other), None, "{other}");
        }
        for other in ["Bearer opaque", "Bearer a.b.c", "Basic YTpi", ""] {
            assert_eq!(granted(&HeaderValue::from_static(other)), None, "{other}");
        }
    }
}
