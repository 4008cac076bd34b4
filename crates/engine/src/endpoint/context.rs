//! Docker's context store.
//!
//! Source: docker's command line client: `contexts/meta/<sha256 of the name>/meta.json`, TLS files in
//! `contexts/tls/<the same>/docker`.

use std::path::Path;

use countersign_image::Digest;
use serde::Deserialize;

use super::file;
use super::{EndpointError, TlsSettings, Verification, pair};
use crate::json;

/// The deepest nesting of configuration files.
const JSON_DEPTH: usize = 32;

/// The name of a context: letters and digits, then also `_`, `.`, `+` and `-`, at least two characters.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct ContextName(String);

impl ContextName {
    pub(super) fn parse(text: &str) -> Result<Self, EndpointError> {
        let mut bytes = text.bytes();
        let first = bytes.next().is_some_and(|first| first.is_ascii_alphanumeric());
        let rest = bytes.all(|byte| byte.is_ascii_alphanumeric() || b"_.+-".contains(&byte));
        if first && rest && text.len() >= 2 {
            Ok(Self(text.to_owned()))
        } else {
            Err(EndpointError::ContextName(text.to_owned()))
        }
    }
}

/// What a context says about its engine.
#[derive(Debug)]
pub(super) struct Context {
    pub(super) host: String,
    pub(super) tls: Option<TlsSettings>,
}

#[derive(Deserialize)]
struct Meta {
    #[serde(rename = "Name")]
    name: String,
    #[serde(rename = "Endpoints", default)]
    endpoints: Endpoints,
}

#[derive(Default, Deserialize)]
struct Endpoints {
    docker: Option<DockerEndpoint>,
}

#[derive(Deserialize)]
struct DockerEndpoint {
    #[serde(rename = "Host", default)]
    host: String,
    #[serde(rename = "SkipTLSVerify", default)]
    skip_tls_verify: bool,
}

#[derive(Deserialize)]
struct Configuration {
    #[serde(rename = "currentContext", default)]
    current_context: String,
}

/// The context that `config.json` names, if any.
pub(super) fn current(config_dir: &Path) -> Result<Option<String>, EndpointError> {
    let path = config_dir.join("config.json");
    let Some(bytes) = file::read(&path)? else { return Ok(None) };
    // Docker takes an empty file for an empty configuration.
    if bytes.iter().all(u8::is_ascii_whitespace) {
        return Ok(None);
    }
    let configuration: Configuration =
        json::object(&bytes, JSON_DEPTH).map_err(|error| EndpointError::File { path, reason: error.to_string() })?;
    Ok(Some(configuration.current_context).filter(|name| !name.is_empty()))
}

pub(super) fn read(config_dir: &Path, name: &ContextName) -> Result<Context, EndpointError> {
    let store = config_dir.join("contexts");
    let place = Digest::of(name.0.as_bytes()).hex();
    let path = store.join("meta").join(&place).join("meta.json");
    let Some(bytes) = file::read(&path)? else {
        return Err(EndpointError::NoContext { name: name.0.clone(), path });
    };
    let broken = |reason: String| EndpointError::File { path: path.clone(), reason };
    let meta: Meta = json::object(&bytes, JSON_DEPTH).map_err(|error| broken(error.to_string()))?;
    if meta.name != name.0 {
        return Err(broken(format!("it is about the context {:?}, not {:?}", meta.name, name.0)));
    }
    let endpoint = meta.endpoints.docker.ok_or_else(|| EndpointError::NoEndpoint(name.0.clone()))?;
    let tls = tls(&store.join("tls").join(place).join("docker"), &endpoint)?;
    let host = if endpoint.host.is_empty() { format!("unix://{}", super::DEFAULT_SOCKET) } else { endpoint.host };
    Ok(Context { host, tls })
}

fn tls(folder: &Path, endpoint: &DockerEndpoint) -> Result<Option<TlsSettings>, EndpointError> {
    let existing = |name: &str| Some(folder.join(name)).filter(|path| path.exists());
    let (ca, client) = (existing("ca.pem"), pair(existing("cert.pem"), existing("key.pem"))?);
    if ca.is_none() && client.is_none() && !endpoint.skip_tls_verify {
        return Ok(None);
    }
    let verification = if endpoint.skip_tls_verify { Verification::Skipped } else { Verification::Required };
    Ok(Some(TlsSettings { verification, ca, client }))
}

#[cfg(test)]
mod tests {
    use super::ContextName;

    #[test]
    fn names_follow_dockers_grammar() {
        for name in ["default", "a1", "my_ctx.x+y-z"] {
            assert!(ContextName::parse(name).is_ok(), "{name}");
        }
        for name in ["", "a", "-ab", ".ab", "a b", "a/b", "../x", "ä1"] {
            assert!(ContextName::parse(name).is_err(), "{name}");
        }
    }
}
