//! What a client is told that it lacks (distribution project, token authentication; RFC 6750).

use std::fmt::{self, Display, Formatter, Write};

use super::settings::AccessError;

/// A `WWW-Authenticate` header.
#[derive(Debug, Clone, Copy)]
pub(super) struct Challenge<'a> {
    pub(super) realm: Realm<'a>,
    pub(super) service: &'a str,
    /// The type, name and actions that are needed.
    pub(super) resource: Option<(&'a str, &'a str, &'a [&'a str])>,
    pub(super) error: Option<&'static str>,
}

/// Where tokens are to be had.
#[derive(Debug, Clone, Copy)]
pub(super) enum Realm<'a> {
    /// At this URL.
    Url(&'a str),
    /// At the host that the client asked, below `/auth/token`.
    OfHost(&'a str),
}

impl Display for Challenge<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str("Bearer realm=")?;
        match self.realm {
            Realm::Url(url) => quote(f, &[url])?,
            Realm::OfHost(host) => quote(f, &["https://", host, "/auth/token"])?,
        }
        f.write_str(",service=")?;
        quote(f, &[self.service])?;
        if let Some((kind, name, actions)) = self.resource {
            f.write_str(",scope=")?;
            quote(f, &[kind, ":", name, ":", &actions.join(",")])?;
        }
        match self.error {
            Some(error) => write!(f, ",error=\"{error}\""),
            None => Ok(()),
        }
    }
}

/// Writes a quoted string from which nothing can break out (RFC 9110, 5.6.4).
fn quote(f: &mut Formatter<'_>, parts: &[&str]) -> fmt::Result {
    f.write_char('"')?;
    for character in parts.iter().flat_map(|part| part.chars()) {
        match character {
            '"' | '\\' => write!(f, "\\{character}")?,
            control if control.is_control() => write!(f, "%{:02X}", u32::from(control))?,
            other => f.write_char(other)?,
        }
    }
    f.write_char('"')
}

/// Refuses a realm to which no client could go.
pub(super) fn check_realm(realm: &str) -> Result<(), AccessError> {
    let url = realm.parse::<http::Uri>().ok();
    if url.is_some_and(|url| matches!(url.scheme_str(), Some("http" | "https"))) {
        return Ok(());
    }
    Err(AccessError::Realm(realm.to_owned()))
}

/// Tells whether a client's word for this service may be repeated in a header.
pub(super) fn is_host(text: &str) -> bool {
    !text.is_empty()
        && text.len() <= 260
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._:[]".contains(&byte))
}

#[cfg(test)]
mod tests {
    use super::*;

    const PLAIN: Challenge<'static> =
        Challenge { realm: Realm::Url("https://auth.example/token"), service: "trust", resource: None, error: None };

    #[test]
    fn a_challenge_reads_like_the_references() {
        let challenge = Challenge {
            resource: Some(("repository", "example.com/x", &["push", "pull"])),
            error: Some("insufficient_scope"),
            ..PLAIN
        };
        assert_eq!(
            challenge.to_string(),
            "Bearer realm=\"https://auth.example/token\",service=\"trust\",scope=\"repository:example.com/x:push,pull\",\
             error=\"insufficient_scope\""
        );
        let host = Challenge { realm: Realm::OfHost("t.example:4443"), ..PLAIN };
        assert!(host.to_string().starts_with("Bearer realm=\"https://t.example:4443/auth/token\",service="));
    }

    #[test]
    fn a_name_cannot_bend_the_header() {
        let name = "a\",error=\"x\",realm=\"https://evil.example\\\r\nSet-Cookie: y";
        let challenge = Challenge { resource: Some(("repository", name, &["pull"])), ..PLAIN }.to_string();
        assert!(!challenge.contains(['\r', '\n']), "{challenge}");
        assert!(challenge.contains("scope=\"repository:a\\\",error=\\\"x\\\",realm=\\\"https"), "{challenge}");
        assert!(http::HeaderValue::from_bytes(challenge.as_bytes()).is_ok());
    }

    #[test]
    fn only_what_looks_like_a_host_is_repeated() {
        for good in ["a", "trust.example:4443", "[::1]:4443"] {
            assert!(is_host(good), "{good}");
        }
        for bad in ["", "a/b", "a@b", "a\"b", "a b", "a?b", "a#b", "\u{fc}", &"a".repeat(261)] {
            assert!(!is_host(bad), "{bad}");
        }
    }
}
