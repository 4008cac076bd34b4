//! Proxies by environment, with the rules of Go programs.

use reqwest::{NoProxy, Proxy};
use secrecy::{ExposeSecret, SecretString};
use url::Url;

/// Hosts that are never asked for through a proxy.
const LOOPBACK: &str = "localhost,127.0.0.0/8,::1";

/// Which requests go through which proxy.
#[derive(Clone, Default)]
pub struct ProxyRules {
    https: Option<SecretString>,
    http: Option<SecretString>,
    exceptions: String,
}

/// Says why the proxy settings cannot be used. Their text is not repeated, for it may hold a password.
#[derive(Debug, thiserror::Error)]
pub enum ProxyError {
    /// The address is not a URL.
    #[error("{variable} does not hold the address of a proxy")]
    Malformed {
        /// The environment variable.
        variable: &'static str,
    },
    /// The kind of proxy is not supported.
    #[error("{variable} names a proxy of kind {scheme:?}: only http and https proxies are supported")]
    Unsupported {
        /// The environment variable.
        variable: &'static str,
        /// The kind of proxy.
        scheme: String,
    },
}

impl ProxyRules {
    /// Uses no proxy.
    #[must_use]
    pub fn none() -> Self {
        Self::default()
    }

    /// Reads `HTTPS_PROXY`, `HTTP_PROXY` and `NO_PROXY`, in capitals or not, from the process's environment.
    ///
    /// # Errors
    /// Fails if a variable does not hold the address of an http or https proxy.
    pub fn from_environment() -> Result<Self, ProxyError> {
        Self::from_lookup(|name| std::env::var(name).ok())
    }

    /// Reads the same variables from anywhere.
    ///
    /// # Errors
    /// Fails if a variable does not hold the address of an http or https proxy.
    pub fn from_lookup(lookup: impl Fn(&str) -> Option<String>) -> Result<Self, ProxyError> {
        let either = |upper: &str, lower: &str| {
            lookup(upper).filter(|v| !v.is_empty()).or_else(|| lookup(lower).filter(|v| !v.is_empty()))
        };
        // A web server hands a client's "Proxy:" header to its programs as HTTP_PROXY (CVE-2016-5386).
        let as_web_program = lookup("REQUEST_METHOD").is_some();
        let http = if as_web_program { None } else { either("HTTP_PROXY", "http_proxy") };
        Ok(Self {
            https: either("HTTPS_PROXY", "https_proxy").map(|text| checked(&text, "HTTPS_PROXY")).transpose()?,
            http: http.map(|text| checked(&text, "HTTP_PROXY")).transpose()?,
            exceptions: either("NO_PROXY", "no_proxy").unwrap_or_default(),
        })
    }

    /// Lists the proxies in the HTTP library's terms.
    pub(crate) fn proxies(&self) -> reqwest::Result<Vec<Proxy>> {
        let exceptions = || NoProxy::from_string(&format!("{LOOPBACK},{}", without_ports(&self.exceptions)));
        let https = self.https.as_ref().map(|url| Proxy::https(url.expose_secret()));
        let http = self.http.as_ref().map(|url| Proxy::http(url.expose_secret()));
        https.into_iter().chain(http).map(|proxy| Ok(proxy?.no_proxy(exceptions()))).collect()
    }
}

impl std::fmt::Debug for ProxyRules {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ProxyRules")
            .field("https", &self.https.is_some())
            .field("http", &self.http.is_some())
            .finish_non_exhaustive()
    }
}

fn checked(text: &str, variable: &'static str) -> Result<SecretString, ProxyError> {
    let text = if text.contains("://") { text.to_owned() } else { format!("http://{text}") };
    let url = Url::parse(&text).map_err(|_| ProxyError::Malformed { variable })?;
    if !matches!(url.scheme(), "http" | "https") {
        return Err(ProxyError::Unsupported { variable, scheme: url.scheme().to_owned() });
    }
    if url.host_str().is_none_or(str::is_empty) {
        return Err(ProxyError::Malformed { variable });
    }
    Ok(SecretString::from(text))
}

/// The library knows no ports in exceptions; `host:port` then excepts the whole host.
fn without_ports(exceptions: &str) -> String {
    let host = |entry: &str| match entry.trim().rsplit_once(':') {
        Some((host, port)) if !host.contains(':') && port.bytes().all(|b| b.is_ascii_digit()) => host.to_owned(),
        _ => entry.trim().to_owned(),
    };
    exceptions.split(',').map(host).collect::<Vec<_>>().join(",")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rules(variables: &[(&str, &str)]) -> Result<ProxyRules, ProxyError> {
        ProxyRules::from_lookup(|name| {
            variables.iter().find(|(key, _)| *key == name).map(|(_, value)| (*value).to_owned())
        })
    }

    #[test]
    fn variables_are_read_in_capitals_first() {
        let read = rules(&[("https_proxy", "http://low:1"), ("HTTPS_PROXY", "up:2"), ("http_proxy", "low:3")]).unwrap();
        assert_eq!(read.https.unwrap().expose_secret(), "http://up:2");
        assert_eq!(read.http.unwrap().expose_secret(), "http://low:3");
        assert!(rules(&[("HTTPS_PROXY", "")]).unwrap().https.is_none());
    }

    #[test]
    fn a_web_program_ignores_the_variable_its_visitors_can_set() {
        assert!(rules(&[("HTTP_PROXY", "evil:1"), ("REQUEST_METHOD", "GET")]).unwrap().http.is_none());
    }

    #[test]
    fn unusable_settings_are_refused_without_repeating_them() {
        for value in ["http://", "socks5://secret@a:1", "http://user:secret@:x"] {
            let error = rules(&[("HTTPS_PROXY", value)]).unwrap_err();
            assert!(!error.to_string().contains("secret"), "{error}");
        }
        let debug = format!("{:?}", rules(&[("HTTPS_PROXY", "http://user:secret@a:1")]).unwrap());
        assert!(!debug.contains("secret"), "{debug}");
    }

    #[test]
    fn ports_in_exceptions_except_the_host() {
        assert_eq!(without_ports("a:5000, .b ,::1,10.0.0.0/8"), "a,.b,::1,10.0.0.0/8");
    }
}
