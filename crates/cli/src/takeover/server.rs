//! `notary-server`.

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, ToSocketAddrs, UdpSocket};
use std::path::PathBuf;
use std::time::Duration;

use countersign_server::{
    Access, CacheAges, ClientCertificates, Config, Connections, Demand, Drained, GunPrefixes, KeyAlgorithm, Keys,
    KeyserverConfig, KeyserverIdentity, OwnHost, Reading, Service, Storage, Tls, TokenAccess,
};

use super::settings::Settings;
use super::{chain, log, scratch, unless_told_again, until_told, wrong};
use crate::error::CliError;
use crate::output::message;

/// Time for one call of the signer.
const SIGNER_TIMEOUT: Duration = Duration::from_secs(5);

/// Runs the server until it is told to end.
pub(super) async fn run(settings: &Settings, level: log::Level) -> Result<(), CliError> {
    countersign_server::raise_file_limit();
    let folder = scratch()?;
    let config = config(settings, folder.path().to_owned())?;
    let service = Service::start(config).await.map_err(|error| wrong(chain(&error)))?;
    message(format_args!("the trust service is listening on {}", service.address()));
    until_told(level, || service.reload()).await?;
    match unless_told_again(service.shut_down()).await? {
        Some(Drained::Completely) => Ok(()),
        _ => Err(wrong("some connections did not end in time and were cut")),
    }
}

fn config(settings: &Settings, folder: PathBuf) -> Result<Config, CliError> {
    let listen = settings.get("server.http_addr").ok_or_else(|| wrong("http listen address required for server"))?;
    let mut config = Config::new(address(&listen)?, folder);
    config.gun_prefixes = GunPrefixes::new(settings.list("repositories.gun_prefixes")?).map_err(wrong)?;
    (config.keys, config.key_algorithm) = keys(settings)?;
    config.storage = match (settings.database()?, &config.keys) {
        (None, _) => Storage::Sqlite,
        (Some(url), Keys::Keyserver(_)) => {
            Storage::Reference { url: Box::new(url), connections: Connections::default() }
        }
        (Some(_), Keys::Here) => {
            return Err(wrong(
                "trust_service.type local is not supported with a database: its keys would be lost at each restart",
            ));
        }
    };
    config.cache_ages = cache_ages(settings)?;
    config.tls = tls(settings)?;
    // Whoever it is may do what whoever has a token may: the reference looks at no names.
    config.client_certificates = settings.path("server.client_ca_file").map(|authority| ClientCertificates {
        authority,
        revoked: None,
        demand: Demand::Required,
    });
    config.access = access(settings)?;
    Ok(config)
}

/// Reads where to listen; without a host that is every address of this machine.
pub(super) fn address(text: &str) -> Result<SocketAddr, CliError> {
    let unusable = || wrong(format!("{text:?} is no address to listen on"));
    if let Some(port) = text.strip_prefix(':') {
        let port = port.parse().map_err(|_| unusable())?;
        // A socket for every address of IPv6 takes those of IPv4 too, where there is IPv6.
        let everywhere = UdpSocket::bind((Ipv6Addr::UNSPECIFIED, 0)).is_ok();
        return Ok(if everywhere {
            SocketAddr::from((Ipv6Addr::UNSPECIFIED, port))
        } else {
            SocketAddr::from((Ipv4Addr::UNSPECIFIED, port))
        });
    }
    text.to_socket_addrs().ok().and_then(|mut found| found.next()).ok_or_else(unusable)
}

fn keys(settings: &Settings) -> Result<(Keys, KeyAlgorithm), CliError> {
    match settings.get("trust_service.type").as_deref() {
        Some("local") => return Ok((Keys::Here, KeyAlgorithm::Ed25519)),
        Some("remote") => {}
        _ => return Err(wrong("must specify either a \"local\" or \"remote\" type for trust_service")),
    }
    let algorithm = match settings.get("trust_service.key_algorithm").unwrap_or_default().as_str() {
        "ecdsa" => KeyAlgorithm::EcdsaP256,
        "ed25519" => KeyAlgorithm::Ed25519,
        "rsa" => return Err(wrong("trust_service.key_algorithm rsa is not supported: no signer makes such keys")),
        other => return Err(wrong(format!("invalid key algorithm configured: {other}"))),
    };
    let half = "either pass both client key and cert, or neither";
    let identity = settings.pair("trust_service.tls_client_cert", "trust_service.tls_client_key", half)?;
    let (certificate, key) = identity.ok_or_else(|| {
        wrong("trust_service.tls_client_cert and trust_service.tls_client_key are needed: signers are asked over mutual TLS")
    })?;
    let authority = settings.path("trust_service.tls_ca_file").ok_or_else(|| {
        wrong("trust_service.tls_ca_file is needed: the system's authorities do not vouch for a signer")
    })?;
    let port = settings.get("trust_service.port").unwrap_or_default();
    Ok((
        Keys::Keyserver(KeyserverConfig {
            host: settings.get("trust_service.hostname").ok_or_else(|| wrong("trust_service.hostname is missing"))?,
            port: port.parse().map_err(|_| wrong(format!("trust_service.port {port:?} is no port")))?,
            authority,
            identity: KeyserverIdentity { certificate, key },
            timeout: SIGNER_TIMEOUT,
        }),
        algorithm,
    ))
}

fn cache_ages(settings: &Settings) -> Result<CacheAges, CliError> {
    let usual = CacheAges::default();
    let wanted = || wrong(format!("must specify a cache-control max-age between 0 and {}", CacheAges::MAX));
    let age = |key: &str, usual: u32| match settings.get(key) {
        Some(text) => text.parse::<u32>().map_err(|_| wanted()),
        None => Ok(usual),
    };
    let current = age("caching.max_age.current_metadata", usual.current())?;
    let consistent = age("caching.max_age.consistent_metadata", usual.consistent())?;
    CacheAges::new(current, consistent).ok_or_else(wanted)
}

fn tls(settings: &Settings) -> Result<Tls, CliError> {
    let half = "either include both a cert and key file, or no TLS information at all to disable TLS";
    let pair = settings.pair("server.tls_cert_file", "server.tls_key_file", half)?;
    Ok(pair.map_or(Tls::None, |(certificate, key)| Tls::Files { certificate, key }))
}

/// Variables win over none of the options: the reference takes them as one value.
fn access(settings: &Settings) -> Result<Access, CliError> {
    match settings.get("auth.type").as_deref() {
        None => return Ok(Access::Open),
        Some("token") => {}
        Some(other) => return Err(wrong(format!("auth.type {other} is not supported: token is"))),
    }
    let option = |name: &str| {
        let missing = || wrong(format!("token auth requires a valid option string: {name:?}"));
        settings.in_file(&format!("auth.options.{name}")).ok_or_else(missing)
    };
    let own_host = match settings.in_file("auth.options.autoredirect").as_deref() {
        Some("true") => OwnHost::Yes,
        None | Some("false") => OwnHost::No,
        Some(other) => return Err(wrong(format!("auth.options.autoredirect {other} is neither true nor false"))),
    };
    Ok(Access::Tokens(TokenAccess {
        realm: option("realm")?,
        service: option("service")?,
        issuer: option("issuer")?,
        // Not from the file's folder, as all other paths are, but as it is.
        certificates: Some(option("rootcertbundle")?.into()),
        keys: None,
        own_host,
        reading: Reading::Allowed,
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_without_a_host_is_every_address() {
        let found = address(":4443").unwrap();
        assert!(found.ip().is_unspecified() && found.port() == 4443);
        assert_eq!(address("127.0.0.1:1").unwrap().to_string(), "127.0.0.1:1");
        assert!(address("localhost:1").unwrap().ip().is_loopback());
        for wrong in ["", ":", ":x", "nowhere"] {
            assert!(address(wrong).is_err(), "{wrong}");
        }
    }
}
