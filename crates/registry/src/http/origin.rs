//! Scheme, host and port: what credentials and client certificates are bound to.

use std::fmt;
use std::net::IpAddr;

use url::{Host, Url};

use super::error::HttpError;

/// How requests travel.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Scheme {
    /// Encrypted and authenticated.
    Https,
    /// In the clear.
    Http,
}

/// The place requests go to.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Origin {
    scheme: Scheme,
    host: Host<String>,
    port: u16,
}

impl Origin {
    /// Takes the origin of a URL.
    ///
    /// # Errors
    /// Refuses every scheme but http and https, and URLs that carry a user name or password.
    pub fn of(url: &Url) -> Result<Self, HttpError> {
        let refuse = |reason| HttpError::Address { url: shown(url), reason };
        let scheme = match url.scheme() {
            "https" => Scheme::Https,
            "http" => Scheme::Http,
            _ => return Err(refuse("only http and https are spoken")),
        };
        if !url.username().is_empty() || url.password().is_some() {
            return Err(refuse("a user name or password in an address is not accepted"));
        }
        let host = url.host().ok_or_else(|| refuse("there is no host"))?.to_owned();
        let port = url.port_or_known_default().ok_or_else(|| refuse("there is no port"))?;
        Ok(Self { scheme, host, port })
    }

    /// Returns the scheme.
    #[must_use]
    pub fn scheme(&self) -> Scheme {
        self.scheme
    }

    /// Tells whether another origin is on the same host, whatever the port and scheme.
    #[must_use]
    pub fn same_host(&self, other: &Self) -> bool {
        self.host == other.host
    }

    /// Tells whether the host is `localhost` or a loopback address by its spelling.
    #[must_use]
    pub fn is_loopback(&self) -> bool {
        match &self.host {
            Host::Domain(name) => name.eq_ignore_ascii_case("localhost"),
            _ => self.address().is_some_and(|address| address.to_canonical().is_loopback()),
        }
    }

    /// Returns the address if the host is one rather than a name.
    pub(crate) fn address(&self) -> Option<IpAddr> {
        match &self.host {
            Host::Domain(_) => None,
            Host::Ipv4(address) => Some(IpAddr::V4(*address)),
            Host::Ipv6(address) => Some(IpAddr::V6(*address)),
        }
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (scheme, default_port) = match self.scheme {
            Scheme::Https => ("https", 443),
            Scheme::Http => ("http", 80),
        };
        write!(f, "{scheme}://{}", self.host)?;
        if self.port == default_port { Ok(()) } else { write!(f, ":{}", self.port) }
    }
}

/// Shows a URL without what may be secret in it: user, password, query, fragment.
pub(crate) fn shown(url: &Url) -> String {
    const LIMIT: usize = 300;
    let mut bare = url.clone();
    bare.set_query(None);
    bare.set_fragment(None);
    let has_user = !bare.username().is_empty() || bare.password().is_some();
    if has_user && (bare.set_username("").is_err() || bare.set_password(None).is_err()) {
        return format!("{}:…", url.scheme());
    }
    crate::foreign::foreign_text(bare.as_str().as_bytes(), LIMIT)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn origin(text: &str) -> Origin {
        Origin::of(&Url::parse(text).unwrap()).unwrap()
    }

    #[test]
    fn origins_compare_scheme_host_and_port() {
        assert_eq!(origin("https://Reg.Test/a"), origin("https://reg.test:443/b?c"));
        assert_ne!(origin("https://reg.test"), origin("http://reg.test"));
        assert_ne!(origin("https://reg.test"), origin("https://reg.test:444"));
        assert_eq!(origin("https://[::1]:5000/").to_string(), "https://[::1]:5000");
    }

    #[test]
    fn loopback_is_decided_by_spelling() {
        for (text, expected) in [
            ("http://localhost", true),
            ("http://127.8.8.8:1", true),
            ("http://[::1]", true),
            ("http://2130706433", true),
            ("http://reg.test", false),
            ("http://0.0.0.0", false),
        ] {
            assert_eq!(origin(text).is_loopback(), expected, "{text}");
        }
    }

    #[test]
    fn other_schemes_and_user_names_are_refused() {
        for text in ["file:///etc/passwd", "ftp://a/b", "https://user:secret@reg.test/", "data:,x", "unix:/x"] {
            assert!(Origin::of(&Url::parse(text).unwrap()).is_err(), "{text}");
        }
    }

    #[test]
    fn secrets_in_addresses_are_not_shown() {
        assert_eq!(shown(&Url::parse("https://user:pw@reg.test/a?token=secret#x").unwrap()), "https://reg.test/a");
    }
}
