//! The signing service's settings file, read strictly: what is not understood is an error.

use std::collections::BTreeMap;
use std::io::{ErrorKind, Read};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use countersign_keyservice::KeyAlias;
use countersign_vault::TokenConfig;
use etcetera::BaseStrategy;
use serde::Deserialize;

use super::token_config;
use crate::command::operation::{Lines, Operation, pause};
use crate::command::serve::listen_address;
use crate::error::{CliError, Kind};

/// Largest settings file in bytes.
const MAX_FILE: u64 = 1 << 20;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct Document {
    listen: Option<String>,
    data_dir: Option<PathBuf>,
    tls_cert: Option<PathBuf>,
    tls_key: Option<PathBuf>,
    client_ca: Option<PathBuf>,
    #[serde(default)]
    clients: Vec<String>,
    alias: Option<String>,
    #[serde(default)]
    passphrase_files: BTreeMap<String, PathBuf>,
    #[serde(default)]
    tokens: BTreeMap<String, String>,
    #[serde(default)]
    log: LogTable,
    metrics_listen: Option<String>,
    admin_socket: Option<PathBuf>,
    traces: Option<String>,
    drain_delay: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct LogTable {
    format: Option<Lines>,
    level: Option<String>,
}

/// What the file says; all paths are whole.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Settings {
    pub(super) listen: Option<SocketAddr>,
    pub(super) data_dir: Option<PathBuf>,
    pub(super) tls_cert: Option<PathBuf>,
    pub(super) tls_key: Option<PathBuf>,
    pub(super) client_ca: Option<PathBuf>,
    pub(super) clients: Vec<String>,
    pub(super) alias: Option<KeyAlias>,
    pub(super) passphrase_files: BTreeMap<KeyAlias, PathBuf>,
    pub(super) metrics: Option<SocketAddr>,
    pub(super) operation: Operation,
    pub(super) tokens: BTreeMap<String, TokenConfig>,
}

impl Settings {
    /// Reads the named file, or else the usual one if it is there.
    pub(super) fn read(named: Option<&Path>) -> Result<Self, CliError> {
        let usual = || Some(etcetera::base_strategy::Xdg::new().ok()?.config_dir().join("countersign/keyserver.toml"));
        let Some(path) = named.map(Path::to_owned).or_else(usual) else { return Ok(Self::default()) };
        let wrong = |error: String| CliError::new(Kind::Local, format!("{}: {error}", path.display()));
        let text = match fs_err::File::open(&path) {
            Ok(file) => {
                let mut text = String::new();
                file.take(MAX_FILE + 1).read_to_string(&mut text).map_err(|error| wrong(error.to_string()))?;
                text
            }
            Err(error) if error.kind() == ErrorKind::NotFound && named.is_none() => return Ok(Self::default()),
            Err(error) => return Err(CliError::new(Kind::Local, error)),
        };
        if text.len() as u64 > MAX_FILE {
            return Err(wrong("the file is too large".to_owned()));
        }
        Self::parse(&text, path.parent().unwrap_or(Path::new(""))).map_err(wrong)
    }

    /// Reads the text; paths in it start from the folder.
    fn parse(text: &str, folder: &Path) -> Result<Self, String> {
        let document: Document = toml::from_str(text).map_err(|error| error.to_string())?;
        let whole = |path: PathBuf| folder.join(path);
        let alias = |name: &str| KeyAlias::parse(name).map_err(|error| error.to_string());
        let files = document.passphrase_files.into_iter().map(|(name, path)| Ok((alias(&name)?, whole(path))));
        let tokens = document.tokens.iter().map(|(name, uri)| Ok((name.clone(), token_config(name, uri)?)));
        Ok(Self {
            listen: document.listen.as_deref().map(listen_address).transpose()?,
            data_dir: document.data_dir.map(whole),
            tls_cert: document.tls_cert.map(whole),
            tls_key: document.tls_key.map(whole),
            client_ca: document.client_ca.map(whole),
            clients: document.clients,
            alias: document.alias.as_deref().map(alias).transpose()?,
            tokens: tokens.collect::<Result<_, String>>()?,
            passphrase_files: files.collect::<Result<_, String>>()?,
            metrics: document.metrics_listen.as_deref().map(listen_address).transpose()?,
            operation: Operation {
                log_format: document.log.format.map(Into::into).unwrap_or_default(),
                log_level: document.log.level,
                admin_socket: document.admin_socket.map(whole),
                traces: document.traces,
                drain_delay: document.drain_delay.as_deref().map(pause).transpose()?.unwrap_or_default(),
            },
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_start_from_the_files_folder() {
        let text = r#"
            listen = "0.0.0.0:7899"
            tls-cert = "server.crt"
            client-ca = "/etc/ca.pem"
            clients = ["trust.example.com"]
            alias = "2026-11"
            [passphrase-files]
            "2026-11" = "secrets/2026-11"
            [tokens]
            hsm = "pkcs11:token=keys?module-path=/usr/lib/p11.so"
        "#;
        let read = Settings::parse(text, Path::new("/etc/countersign")).unwrap();
        assert_eq!(read.listen, Some("0.0.0.0:7899".parse().unwrap()));
        assert_eq!(read.tls_cert.unwrap(), Path::new("/etc/countersign/server.crt"));
        assert_eq!(read.client_ca.unwrap(), Path::new("/etc/ca.pem"));
        assert_eq!(read.tokens["hsm"].module(), Path::new("/usr/lib/p11.so"));
        let file = &read.passphrase_files[&read.alias.unwrap()];
        assert_eq!(file, Path::new("/etc/countersign/secrets/2026-11"));
    }

    #[test]
    fn what_is_not_understood_is_an_error() {
        for wrong in [
            "x = 1",
            "listen = \"host:1\"",
            "alias = \"a/b\"",
            "clients = \"one\"",
            "[passphrase-files]\n\"-\" = \"x\"",
            "[tokens]\n\"a/b\" = \"pkcs11:?module-path=/x\"",
            "[tokens]\na = \"pkcs11:token=a\"",
            "[tokens]\na = \"pkcs11:?module-path=/x&pin-value=1234\"",
        ] {
            assert!(Settings::parse(wrong, Path::new("/")).is_err(), "{wrong}");
        }
    }
}
