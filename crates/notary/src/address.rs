//! Where a trust service is.

use countersign_tuf::Gun;
use std::fmt;
use url::Url;

/// The address of a trust service: an https URL, optionally with a path under which the service lives.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServiceAddress {
    url: Url,
    /// Host and port as written.
    authority: String,
}

/// Says why a text is not the address of a trust service.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("valid https URL required for trust server, got {0}")]
pub struct ServiceAddressError(pub String);

impl ServiceAddress {
    /// Reads an address. A trailing slash is of no importance.
    ///
    /// # Errors
    /// The text is no URL, has another scheme than https, no host, a user name, a query or a fragment.
    pub fn parse(text: &str) -> Result<Self, ServiceAddressError> {
        let refuse = || ServiceAddressError(text.escape_debug().take(256).collect());
        let url = Url::parse(text).map_err(|_| refuse())?;
        let plain =
            url.username().is_empty() && url.password().is_none() && url.query().is_none() && url.fragment().is_none();
        match authority(text).filter(|_| url.scheme() == "https" && plain) {
            Some(authority) => Ok(Self { url, authority: authority.to_owned() }),
            None => Err(refuse()),
        }
    }

    /// Returns the service that a registry is taken to have when none is named: https on the same host and port.
    ///
    /// # Errors
    /// The registry's name makes no URL.
    pub fn of_registry(host: &str) -> Result<Self, ServiceAddressError> {
        let host = if matches!(host, "docker.io" | "index.docker.io") { "notary.docker.io" } else { host };
        Self::parse(&format!("https://{host}"))
    }

    /// Returns the URL.
    #[must_use]
    pub fn url(&self) -> &Url {
        &self.url
    }

    /// Returns host and port as written, the name of docker's folder for the service's certificates: `h` and `h:443` are
    /// one service with two folders.
    #[must_use]
    pub fn authority(&self) -> &str {
        &self.authority
    }

    /// Returns the URL at which a trust service answers whoever asks whether it is there.
    #[must_use]
    pub fn entrance(&self) -> Url {
        let mut url = self.url.clone();
        if let Ok(mut segments) = url.path_segments_mut() {
            segments.pop_if_empty().extend(["v2", ""]);
        }
        url
    }

    /// Builds the URL of something of a collection; `path` may have slashes.
    pub(crate) fn of_collection(&self, gun: &Gun, path: &str) -> Url {
        let mut url = self.url.clone();
        if let Ok(mut segments) = url.path_segments_mut() {
            segments.pop_if_empty().push("v2").extend(gun.segments()).extend(["_trust", "tuf"]).extend(path.split('/'));
        }
        url
    }
}

/// Finds host and port where they belong. The URL standard reads `https:///x` and `https:x` as the host `x`, and drops
/// blanks and line breaks: an address with a slip in it must not lead to a stranger.
fn authority(text: &str) -> Option<&str> {
    let after_scheme = text.get(..8).filter(|scheme| scheme.eq_ignore_ascii_case("https://")).and(text.get(8..));
    let authority = after_scheme?.split(['/', '?', '#']).next()?;
    let clean = text.chars().all(|c| c.is_ascii_graphic() && c != '\\');
    let is_escape = |rest: &str| rest.len() >= 2 && rest.bytes().take(2).all(|byte| byte.is_ascii_hexdigit());
    let escaped = text.split('%').skip(1).all(is_escape);
    // Folders have this name; dots alone would lead out of theirs.
    let named = !authority.is_empty()
        && !authority.starts_with(':')
        && !authority.contains('@')
        && !matches!(authority, "." | "..");
    (clean && escaped && named).then_some(authority)
}

impl fmt::Display for ServiceAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.url.as_str().trim_end_matches('/'))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn url(address: &str, gun: &str, path: &str) -> String {
        ServiceAddress::parse(address).unwrap().of_collection(&Gun::parse(gun).unwrap(), path).to_string()
    }

    #[test]
    fn collection_urls() {
        let expected = "https://trust.test:4443/v2/reg.test:5000/a/_trust/tuf/targets/releases.json";
        for address in ["https://trust.test:4443", "https://trust.test:4443/", "HTTPS://trust.test:4443"] {
            assert_eq!(url(address, "reg.test:5000/a", "targets/releases.json"), expected);
        }
        assert_eq!(url("https://h/sub/", "a", "root.json"), "https://h/sub/v2/a/_trust/tuf/root.json");
        assert_eq!(url("https://h", "a", ""), "https://h/v2/a/_trust/tuf/");
        for (address, entrance) in [("https://h:1", "https://h:1/v2/"), ("https://h/sub/", "https://h/sub/v2/")] {
            assert_eq!(ServiceAddress::parse(address).unwrap().entrance().as_str(), entrance);
        }
    }

    #[test]
    fn what_is_no_https_address_is_refused() {
        for text in [
            "",
            "trust.test",
            "http://trust.test",
            "https://",
            "https:///x",
            "https:x",
            "https:/x",
            "https:\\\\x",
            "https://h\\@evil",
            "https://@",
            "https://@h",
            "https://:443",
            "https://h\n.evil",
            " https://h",
            "https://h ",
            "https://h\t/x",
            "https://h/%zz",
            "https://h/a%2",
            "https://h%",
            "https://bücher",
            "https://u:p@h",
            "https://h?x",
            "https://h#x",
            "ftp://h",
        ] {
            assert!(ServiceAddress::parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn the_authority_is_what_was_written() {
        for (text, authority) in [
            ("https://trust.test", "trust.test"),
            ("https://trust.test/sub/", "trust.test"),
            ("https://trust.test:443", "trust.test:443"),
            ("https://trust.test:0443/", "trust.test:0443"),
            ("HTTPS://Trust.Test:4443", "Trust.Test:4443"),
            ("https://[::1]:443", "[::1]:443"),
        ] {
            assert_eq!(ServiceAddress::parse(text).unwrap().authority(), authority);
        }
        for text in ["https://..", "https://.", "https://../x"] {
            assert!(ServiceAddress::parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn registries_have_a_service_of_their_own() {
        assert_eq!(ServiceAddress::of_registry("docker.io").unwrap().authority(), "notary.docker.io");
        assert_eq!(ServiceAddress::of_registry("reg.test:5000").unwrap().authority(), "reg.test:5000");
    }
}
