//! The registry part of a canonical name.

use std::fmt;
use std::net::IpAddr;

use crate::grammar;

/// The registry that short names mean.
const DOCKER_HUB: &str = "docker.io";
/// The host that serves Docker Hub's registry interface.
const DOCKER_HUB_API: &str = "registry-1.docker.io";
/// The key under which docker keeps the credentials of Docker Hub.
const DOCKER_HUB_CREDENTIAL_KEY: &str = "https://index.docker.io/v1/";

/// A registry as written in a canonical name: a host and an optional port, in the writer's spelling.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RegistryHost(Box<str>);

impl RegistryHost {
    /// Parses `host[:port]`; `index.docker.io` becomes `docker.io`. Returns nothing if the text is not a registry.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let text = if text == "index.docker.io" { DOCKER_HUB } else { text };
        grammar::is_domain(text).then(|| Self(text.into()))
    }

    /// Returns Docker Hub, the registry of names that name none.
    #[must_use]
    pub fn docker_hub() -> Self {
        Self(DOCKER_HUB.into())
    }

    /// Returns the registry as written, for example `reg.test:5000`.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Returns the host without the port; an IPv6 address keeps its brackets.
    #[must_use]
    pub fn host(&self) -> &str {
        grammar::split_port(&self.0).0
    }

    /// Returns the port if one is written.
    #[must_use]
    pub fn port(&self) -> Option<u16> {
        grammar::split_port(&self.0).1.and_then(|port| port.parse().ok())
    }

    /// Tells whether this is Docker Hub.
    #[must_use]
    pub fn is_docker_hub(&self) -> bool {
        &*self.0 == DOCKER_HUB
    }

    /// Returns the `host[:port]` that serves the registry interface: Docker Hub's differs from its name.
    #[must_use]
    pub fn api_host(&self) -> &str {
        if self.is_docker_hub() { DOCKER_HUB_API } else { &self.0 }
    }

    /// Returns the key under which docker's configuration and helpers keep this registry's credentials.
    #[must_use]
    pub fn credential_key(&self) -> &str {
        if self.is_docker_hub() { DOCKER_HUB_CREDENTIAL_KEY } else { &self.0 }
    }

    /// Tells whether the host is `localhost` or a loopback address by its spelling alone.
    ///
    /// Unlike the reference, names are not resolved: whoever controls a name could otherwise switch protection off.
    #[must_use]
    pub fn is_loopback(&self) -> bool {
        let host = self.host();
        let bare = host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(host);
        host.eq_ignore_ascii_case("localhost")
            || bare.parse::<IpAddr>().is_ok_and(|address| address.to_canonical().is_loopback())
    }
}

impl fmt::Display for RegistryHost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for RegistryHost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "RegistryHost({})", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn docker_hub_has_its_own_api_host_and_credential_key() {
        let hub = RegistryHost::parse("index.docker.io").unwrap();
        assert_eq!(hub, RegistryHost::docker_hub());
        assert_eq!(
            (hub.as_str(), hub.api_host(), hub.credential_key()),
            ("docker.io", "registry-1.docker.io", "https://index.docker.io/v1/")
        );
        let other = RegistryHost::parse("registry-1.docker.io").unwrap();
        assert!(!other.is_docker_hub());
        assert_eq!(other.credential_key(), "registry-1.docker.io");
    }

    #[test]
    fn loopback_is_decided_by_spelling() {
        for (host, expected) in [
            ("localhost", true),
            ("LocalHost:5000", true),
            ("127.0.0.1", true),
            ("127.9.9.9:1", true),
            ("[::1]:5000", true),
            ("[::ffff:127.0.0.1]", true),
            ("localhost.example.com", false),
            ("128.0.0.1", false),
            ("reg.test", false),
            ("[::2]", false),
            ("127.0.0.1.example.com", false),
        ] {
            assert_eq!(RegistryHost::parse(host).unwrap().is_loopback(), expected, "{host}");
        }
    }
}
