//! `countersign keyserver`: run the signing service; list its keys, take in others, or seal them under another passphrase.

mod import;
mod list;
mod settings;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;

use clap::{Args, Subcommand};
use countersign_keyservice::{
    Clients, Clock, Config, Drained, Identity, KeyAlias, KeyService, KeyStorage, KeyTokens, Limits, Passphrases,
    PinPlaces, Variables, rotate,
};
use countersign_telemetry::Systemd;
use countersign_vault::{ServiceTokenLimits, TokenConfig, TokenUriError};
use etcetera::BaseStrategy;

use self::import::Import;
use self::list::List;
use self::settings::Settings;
use super::operation::{Observed, Operation, OperationOptions};
use super::serve::{chain, listen_address};
use crate::context::{GlobalOptions, variable};
use crate::error::{CliError, Kind};
use crate::output::{data, message};
use crate::runtime;

/// Where the service listens when nothing is said: the reference's port.
const LISTEN: &str = "127.0.0.1:7899";
/// The alias of a service that was not told one.
const ALIAS: &str = "default";

/// Run the signing service: the keys of timestamps and snapshots, away from the trust service
#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = false)]
pub(crate) struct Keyserver {
    #[command(flatten)]
    options: Options,
    #[command(subcommand)]
    action: Option<Action>,
}

#[derive(Debug, Subcommand)]
enum Action {
    RotateAlias(RotateAlias),
    List(List),
    #[command(subcommand)]
    Import(Box<Import>),
}

/// Encrypt every key under another passphrase, while the service runs
#[derive(Debug, Args)]
struct RotateAlias {
    /// The passphrase's name; one that is nowhere to be found is made in the data folder
    #[arg(value_name = "ALIAS", value_parser = alias)]
    to: KeyAlias,
}

#[derive(Debug, Args)]
struct Options {
    /// The settings file [default: countersign/keyserver.toml in the XDG configuration directory, if it is there]
    #[arg(long, value_name = "FILE", global = true)]
    settings: Option<PathBuf>,
    /// Where to keep everything [default: countersign/keyserver in the XDG data directory]
    #[arg(long, value_name = "DIR", global = true)]
    data_dir: Option<PathBuf>,
    /// A file with the passphrase for an alias (repeatable); otherwise from a variable, or made in the data folder
    #[arg(long, value_name = "ALIAS=FILE", value_parser = passphrase_file, global = true)]
    passphrase_file: Vec<(KeyAlias, PathBuf)>,
    /// The IP address and port to listen on [default: 127.0.0.1:7899]
    #[arg(long, value_name = "ADDR:PORT", value_parser = listen_address)]
    listen: Option<SocketAddr>,
    /// The service's certificate chain in PEM
    #[arg(long, value_name = "FILE")]
    tls_cert: Option<PathBuf>,
    /// The certificate's private key in PEM
    #[arg(long, value_name = "FILE")]
    tls_key: Option<PathBuf>,
    /// The CA that clients' certificates must come from
    #[arg(long, value_name = "FILE")]
    client_ca: Option<PathBuf>,
    /// A name in the certificate of a client that may call (repeatable) [default: every client of the CA]
    #[arg(long, value_name = "NAME")]
    client: Vec<String>,
    /// A PKCS#11 token for keys (repeatable); --alias pkcs11:NAME makes new ones there. Its PIN is never an argument
    #[arg(long, value_name = "NAME=URI", value_parser = token)]
    token: Vec<TokenConfig>,
    /// The name of the passphrase that new keys are encrypted under, or pkcs11:NAME for a token [default: default]
    #[arg(long, value_name = "ALIAS", value_parser = alias)]
    alias: Option<KeyAlias>,
    #[command(flatten)]
    operation: OperationOptions,
}

impl Keyserver {
    pub(crate) async fn run(&self, options: &GlobalOptions) -> Result<(), CliError> {
        countersign_keyservice::hide_memory();
        let settings = Settings::read(self.options.settings.as_deref())?;
        match &self.action {
            None => self.options.serve(settings, options.verbose).await,
            Some(Action::RotateAlias(wish)) => {
                runtime::start_log(runtime::level(options.verbose));
                self.options.rotate(settings, &wish.to).await
            }
            Some(Action::Import(wish)) => {
                runtime::start_log(runtime::level(options.verbose));
                let data_dir = self.options.data_dir(&settings)?;
                let passphrases = self.options.passphrases(&settings, &data_dir);
                let alias = wish.alias().or(self.options.alias.as_ref()).or(settings.alias.as_ref()).cloned();
                wish.run(&data_dir, &passphrases, &alias.map_or_else(default_alias, Ok)?).await
            }
            Some(Action::List(wish)) => {
                runtime::start_log(runtime::level(options.verbose));
                wish.run(&self.options.data_dir(&settings)?).await
            }
        }
    }
}

impl Options {
    async fn serve(&self, settings: Settings, verbose: u8) -> Result<(), CliError> {
        let operation = self.observed(&settings);
        let config = self.config(settings)?;
        let mut observed = Observed::start("countersign-keyserver", &operation, verbose)?;
        let served = serve(config, &operation, &mut observed).await;
        observed.end().await;
        served
    }

    /// Says what the operator wants: options win over the settings.
    fn observed(&self, settings: &Settings) -> Operation {
        let (flags, said) = (&self.operation, &settings.operation);
        Operation {
            log_format: flags.log_format.map_or(said.log_format, Into::into),
            log_level: said.log_level.clone(),
            admin_socket: flags.admin_socket.clone().or_else(|| said.admin_socket.clone()),
            traces: flags.traces.clone().or_else(|| said.traces.clone()),
            drain_delay: flags.drain_delay.unwrap_or(said.drain_delay),
        }
    }

    async fn rotate(&self, settings: Settings, to: &KeyAlias) -> Result<(), CliError> {
        let data_dir = self.data_dir(&settings)?;
        let passphrases = self.passphrases(&settings, &data_dir);
        let done = rotate(&data_dir, &passphrases, to).await;
        let done = done.map_err(|error| CliError::new(Kind::Local, chain(&error)))?;
        match done.sealed {
            1 => data(format_args!("1 key is encrypted under {to} now"))?,
            sealed => data(format_args!("{sealed} keys are encrypted under {to} now"))?,
        }
        if done.on_tokens > 0 {
            message(format_args!("{} stay on tokens", done.on_tokens));
        }
        for (id, trouble) in &done.left {
            message(format_args!("{id}: {}", chain(trouble)));
        }
        if !done.left.is_empty() {
            let left = format!("{} keys are still under another alias", done.left.len());
            return Err(CliError::new(Kind::Local, left));
        }
        if settings.alias.as_ref().or(self.alias.as_ref()) != Some(to) {
            message(format_args!(
                "start the service with --alias {to}, or alias = \"{to}\" in its settings: until then it encrypts new keys under the old one"
            ));
        }
        Ok(())
    }

    fn config(&self, settings: Settings) -> Result<Config, CliError> {
        let needed = |flag: Option<&PathBuf>, set: Option<&PathBuf>, name: &str, key: &str| {
            flag.or(set).cloned().ok_or_else(|| {
                let text = format!(
                    "--{name} is missing (or {key} in the settings): the signing service only talks over mutual TLS"
                );
                CliError::user(text)
            })
        };
        let data_dir = self.data_dir(&settings)?;
        let passphrases = self.passphrases(&settings, &data_dir);
        let listen = self.listen.or(settings.listen);
        Ok(Config {
            listen: listen.map_or_else(|| LISTEN.parse().map_err(|error| CliError::internal(&error)), Ok)?,
            identity: Identity {
                certificate: needed(self.tls_cert.as_ref(), settings.tls_cert.as_ref(), "tls-cert", "tls-cert")?,
                key: needed(self.tls_key.as_ref(), settings.tls_key.as_ref(), "tls-key", "tls-key")?,
            },
            clients: Clients {
                authority: needed(self.client_ca.as_ref(), settings.client_ca.as_ref(), "client-ca", "client-ca")?,
                names: if self.client.is_empty() { settings.clients } else { self.client.clone() },
            },
            alias: self.alias.clone().or(settings.alias).map_or_else(default_alias, Ok)?,
            passphrases,
            tokens: self.tokens(&settings.tokens),
            data_dir,
            storage: KeyStorage::Folder,
            metrics: self.operation.metrics_listen.or(settings.metrics),
            clock: Clock::system(),
            limits: Limits::default(),
        })
    }

    fn tokens(&self, set: &BTreeMap<String, TokenConfig>) -> KeyTokens {
        let mut tokens = set.clone();
        tokens.extend(self.token.iter().map(|token| (token.name().to_owned(), token.clone())));
        let pins = PinPlaces::new(Variables::new(|name| variable(name)?.into_string().ok()));
        KeyTokens::new(tokens.into_values().collect(), &pins, ServiceTokenLimits::default())
    }

    fn data_dir(&self, settings: &Settings) -> Result<PathBuf, CliError> {
        if let Some(given) = self.data_dir.as_ref().or(settings.data_dir.as_ref()) {
            return Ok(given.clone());
        }
        let strategy = etcetera::base_strategy::Xdg::new();
        let strategy =
            strategy.map_err(|_| CliError::new(Kind::Local, "there is no home directory: name one with --data-dir"))?;
        Ok(strategy.data_dir().join("countersign/keyserver"))
    }

    fn passphrases(&self, settings: &Settings, data_dir: &std::path::Path) -> Passphrases {
        let mut files: BTreeMap<_, _> = settings.passphrase_files.clone();
        files.extend(self.passphrase_file.iter().cloned());
        Passphrases::new(files, Variables::new(|name| variable(name)?.into_string().ok()), data_dir)
    }
}

async fn serve(config: Config, operation: &Operation, observed: &mut Observed) -> Result<(), CliError> {
    countersign_server::raise_file_limit();
    let service = KeyService::start(config).await;
    let service = service.map_err(|error| {
        let kind = if error.is_of_pin() { Kind::Pin } else { Kind::Local };
        CliError::new(kind, chain(&error))
    })?;
    message(format_args!("the signing service is listening on {}", service.address()));
    observed.serves(&format!("serving on {}", service.address()), service.liveness());
    // Certificates are read again when they change; nothing else is read twice.
    observed.told_to_end().await;
    message("shutting down: answering the calls that have begun; once more ends at once");
    Systemd.stopping("answering the calls that have begun");
    let ending = async {
        service.announce_end();
        tokio::time::sleep(operation.drain_delay).await;
        service.shut_down().await
    };
    let drained = tokio::select! {
        drained = ending => drained,
        () = observed.told_to_end() => Drained::Partly,
    };
    match drained {
        Drained::Completely => Ok(()),
        Drained::Partly => Err(CliError::new(Kind::Network, "some calls were not answered in time and were cut")),
    }
}

fn default_alias() -> Result<KeyAlias, CliError> {
    KeyAlias::parse(ALIAS).map_err(|error| CliError::internal(&error))
}

fn alias(text: &str) -> Result<KeyAlias, String> {
    KeyAlias::parse(text).map_err(|error| error.to_string())
}

fn token(text: &str) -> Result<TokenConfig, String> {
    let (name, uri) = text.split_once('=').ok_or("NAME=URI is wanted, such as hsm=pkcs11:token=keys?module-path=/…")?;
    token_config(name, uri)
}

/// Reads a token whose name can be part of an alias.
fn token_config(name: &str, uri: &str) -> Result<TokenConfig, String> {
    alias(&format!("pkcs11:{name}"))?;
    TokenConfig::of_uri(Some(name), uri, None).map_err(|error| match error {
        TokenUriError::NoModule => "nothing names the PKCS#11 module: add module-path=/… to the URI".to_owned(),
        other => other.to_string(),
    })
}

fn passphrase_file(text: &str) -> Result<(KeyAlias, PathBuf), String> {
    let (name, file) = text.split_once('=').ok_or("ALIAS=FILE is wanted, such as 2026-11=/run/secrets/2026-11")?;
    if file.is_empty() { Err("the file is missing".to_owned()) } else { Ok((alias(name)?, file.into())) }
}
