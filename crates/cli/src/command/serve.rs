//! `countersign serve`: run the trust service.

mod access;
mod audit;
mod backup;
mod config;
mod document;
mod retention;
mod settled;
mod storage;

use self::audit::AuditOptions;
pub(crate) use self::storage::DatabaseOptions;
use super::operation::{Observed, Operation, OperationOptions, Told};
use crate::context::{GlobalOptions, docker_config};
use crate::error::{CliError, Kind};
use crate::output::{data, message};
use crate::runtime;
use clap::{Args, Subcommand};
use countersign_server::{Access, AuditSink, Config, Drained, KeyserverConfig, KeyserverIdentity, Running, Service};
use countersign_telemetry::Systemd;
use etcetera::BaseStrategy;
use settled::Settled;
use std::net::{Ipv4Addr, SocketAddr};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::time::Duration;
use tokio::signal::unix::{SignalKind, signal};

/// Time for one call of the keyserver; a publication takes two.
const KEYSERVER_TIMEOUT: Duration = Duration::from_secs(5);

/// Run the trust service
#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true)]
pub(crate) struct Serve {
    #[command(subcommand)]
    command: Option<ServeCommand>,
    #[command(flatten)]
    flags: Flags,
    /// Put the service's CA where docker looks for it, in docker's configuration folder
    #[arg(long, conflicts_with = "tls_cert")]
    trust_ca: bool,
}

#[derive(Debug, Subcommand)]
enum ServeCommand {
    Backup(Box<backup::Save>),
    #[command(subcommand)]
    Config(Box<config::Look>),
    Migrate(Box<storage::Migrate>),
    Restore(Box<backup::Restore>),
    Retention(Box<retention::Retain>),
}

/// What can be said on the command line, and wins over the settings file.
#[derive(Debug, Default, Args)]
pub(crate) struct Flags {
    /// The settings file [default: countersign/serve.toml in the XDG configuration directory, if it is there]
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// The IP address and port to listen on [default: 127.0.0.1:4443]
    #[arg(long, value_name = "ADDR:PORT", value_parser = listen_address)]
    listen: Option<SocketAddr>,
    /// Where to keep everything [default: countersign/serve in the XDG data directory]
    #[arg(long, value_name = "DIR")]
    data_dir: Option<PathBuf>,
    #[command(flatten)]
    database: DatabaseOptions,
    /// A certificate chain in PEM instead of one by the service's own CA
    #[arg(long, value_name = "FILE", requires = "tls_key")]
    tls_cert: Option<PathBuf>,
    /// The certificate's private key in PEM
    #[arg(long, value_name = "FILE", requires = "tls_cert")]
    tls_key: Option<PathBuf>,
    /// Another name or address that the service's own certificate is for (repeatable)
    #[arg(long, value_name = "NAME", conflicts_with = "tls_cert")]
    tls_name: Vec<String>,
    /// The keyserver that makes and uses the keys of timestamps and snapshots, instead of this service
    #[arg(long, value_name = "HOST:PORT", value_parser = keyserver_address, requires_all = ["keyserver_ca", "keyserver_cert", "keyserver_key"])]
    keyserver: Option<(String, u16)>,
    /// The CA that the keyserver's certificate must come from
    #[arg(long, value_name = "FILE", requires = "keyserver")]
    keyserver_ca: Option<PathBuf>,
    /// The certificate chain in PEM that is shown to the keyserver
    #[arg(long, value_name = "FILE", requires = "keyserver")]
    keyserver_cert: Option<PathBuf>,
    /// That certificate's private key in PEM
    #[arg(long, value_name = "FILE", requires = "keyserver")]
    keyserver_key: Option<PathBuf>,
    #[command(flatten)]
    audit: AuditOptions,
    #[command(flatten)]
    operation: OperationOptions,
    /// The clock is right, although timestamps were signed at a later time: sign again, anew what was signed ahead
    #[arg(long)]
    trust_clock: bool,
    /// The database was set back to an older state: sign everything anew once, at versions ahead of those that readers have seen
    #[arg(long)]
    restored: bool,
}

/// A service, by where it keeps everything.
#[derive(Debug, Args)]
pub(crate) struct Place {
    /// The service's settings file [default: countersign/serve.toml in the XDG configuration directory, if it is there]
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Where the service keeps everything [default: countersign/serve in the XDG data directory]
    #[arg(long, value_name = "DIR")]
    data_dir: Option<PathBuf>,
    #[command(flatten)]
    database: DatabaseOptions,
}

impl Place {
    /// A service whose options have other names where they are given.
    pub(crate) fn new(config: Option<PathBuf>, data_dir: Option<PathBuf>, database: DatabaseOptions) -> Self {
        Self { config, data_dir, database }
    }

    /// Tells whether something says where the service keeps everything.
    pub(crate) fn is_named(&self) -> bool {
        self.data_dir.is_some() || self.database.is_named()
    }

    /// Reads the settings that the service will have.
    pub(crate) fn config(&self) -> Result<Config, CliError> {
        let flags = Flags {
            config: self.config.clone(),
            data_dir: self.data_dir.clone(),
            database: self.database.clone(),
            ..Flags::default()
        };
        Ok(Settled::of(&flags)?.config)
    }
}

impl Serve {
    pub(crate) async fn run(&self, options: &GlobalOptions) -> Result<(), CliError> {
        if let Some(command) = &self.command {
            runtime::start_log(runtime::level(options.verbose));
            return match command {
                ServeCommand::Backup(save) => save.run().await,
                ServeCommand::Restore(restore) => restore.run().await,
                ServeCommand::Config(look) => look.run(),
                ServeCommand::Migrate(migrate) => migrate.run().await,
                ServeCommand::Retention(retain) => retain.run().await,
            };
        }
        let Settled { config, operation, .. } = Settled::of(&self.flags)?;
        let mut observed = Observed::start("countersign-serve", &operation, options.verbose)?;
        let served = self.serve(config, &operation, &mut observed, options).await;
        observed.end().await;
        served
    }

    async fn serve(
        &self,
        config: Config,
        operation: &Operation,
        observed: &mut Observed,
        options: &GlobalOptions,
    ) -> Result<(), CliError> {
        countersign_server::raise_file_limit();
        let open = config.access == Access::Open && config.client_certificates.is_none();
        let audited = config.audit.as_ref().is_some_and(|audit| audit.sink == AuditSink::Stdout);
        let started = tokio::select! {
            started = Service::start(config) => started,
            () = observed.told_to_end() => return Ok(()),
        };
        let service = started.map_err(|error| CliError::new(Kind::Local, chain(&error)))?;
        let trusted = if self.trust_ca {
            Some(install_authority(&service, &docker_config(options.config.as_deref())?)?)
        } else {
            None
        };
        announce(&service, trusted.as_deref(), if audited { Lines::Audit } else { Lines::Shell })?;
        if open && !service.address().ip().is_loopback() {
            message("whoever reaches this address may publish and delete: [access] in the settings file says who may");
        }
        let status = format!("serving on {}", service.address());
        observed.serves(&status, service.liveness());
        while observed.told().await == Told::Reload {
            Systemd.reloading();
            service.reload();
            Systemd.ready(&status);
        }
        message("shutting down: answering the requests that have begun; once more ends at once");
        Systemd.stopping("answering the requests that have begun");
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
            Drained::Partly => Err(CliError::new(Kind::Network, "some connections did not end in time and were cut")),
        }
    }
}

impl Flags {
    /// Returns the keyserver, if one is named.
    fn keyserver(&self) -> Option<KeyserverConfig> {
        let (host, port) = self.keyserver.clone()?;
        let identity =
            KeyserverIdentity { certificate: self.keyserver_cert.clone()?, key: self.keyserver_key.clone()? };
        let authority = self.keyserver_ca.clone()?;
        Some(KeyserverConfig { host, port, authority, identity, timeout: KEYSERVER_TIMEOUT })
    }
}

fn default_data_dir() -> Result<PathBuf, CliError> {
    let strategy = etcetera::base_strategy::Xdg::new();
    let strategy =
        strategy.map_err(|_| CliError::new(Kind::Local, "there is no home directory: name one with --data-dir"))?;
    Ok(strategy.data_dir().join("countersign/serve"))
}

/// Reads where to listen. A name would have to be looked up, and may stand for several addresses; `localhost` is known.
pub(super) fn listen_address(text: &str) -> Result<SocketAddr, String> {
    let wanted = || {
        "an IP address and a port are wanted, such as 127.0.0.1:4443, [::1]:4443, or 0.0.0.0:4443 for all addresses of this \
         machine"
            .to_owned()
    };
    match text.strip_prefix("localhost:") {
        Some(port) => port.parse().map(|port| SocketAddr::from((Ipv4Addr::LOCALHOST, port))).map_err(|_| wanted()),
        None => text.parse().map_err(|_| wanted()),
    }
}

/// Reads where the keyserver is; its certificate must be for this very name or address.
fn keyserver_address(text: &str) -> Result<(String, u16), String> {
    let parsed = text.rsplit_once(':').and_then(|(host, port)| Some((host, port.parse::<u16>().ok()?)));
    let is_name = |host: &str| !host.is_empty() && !host.contains(['/', '@', ' ']);
    match parsed {
        Some((host, port)) if is_name(host) && (!host.contains(':') || host.starts_with('[')) => {
            Ok((host.to_owned(), port))
        }
        _ => {
            Err("a name or address and a port are wanted, such as keys.example.com:7899 or [2001:db8::7]:7899"
                .to_owned())
        }
    }
}

pub(super) fn listen_for(kind: SignalKind) -> Result<tokio::signal::unix::Signal, CliError> {
    signal(kind).map_err(|error| CliError::internal(&error))
}

pub(super) fn chain(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(error.source(), |cause| cause.source());
    causes.fold(error.to_string(), |text, cause| format!("{text}: {cause}"))
}

/// What stdout is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Lines {
    /// For what a shell needs.
    Shell,
    /// For the audit log, and nothing else.
    Audit,
}

/// Prints the two lines that a shell needs, and what else is worth knowing.
fn announce(service: &Running, trusted: Option<&Path>, lines: Lines) -> Result<(), CliError> {
    if lines == Lines::Shell {
        data("export DOCKER_CONTENT_TRUST=1")?;
        data(format_args!("export DOCKER_CONTENT_TRUST_SERVER={}", service.url()))?;
    }
    message(format_args!("the trust service is listening on {}", service.address()));
    match (trusted, service.authority()) {
        (Some(installed), _) => message(format_args!("docker trusts its CA: {}", installed.display())),
        (None, Some(authority)) => {
            message(format_args!(
                "its CA is {}; start with --trust-ca to put it where docker looks for it",
                authority.display()
            ));
        }
        (None, None) => {}
    }
    Ok(())
}

/// Copies the CA to `tls/<host:port>/countersign.crt` in docker's configuration folder; other files there are left alone.
fn install_authority(service: &Running, docker_config: &Path) -> Result<PathBuf, CliError> {
    let Some(authority) = service.authority() else { return Err(CliError::user("there is no own CA to trust")) };
    let local = |error: std::io::Error| CliError::new(Kind::Local, error);
    let pem = fs_err::read(authority).map_err(local)?;
    let url = service.url();
    let name = url.split("://").nth(1).unwrap_or_default();
    let folder = docker_config.join("tls").join(name);
    // Whoever may write here chooses whom docker believes.
    std::fs::DirBuilder::new().recursive(true).mode(0o700).create(&folder).map_err(local)?;
    let file = folder.join("countersign.crt");
    let mut staged = tempfile::NamedTempFile::new_in(&folder).map_err(local)?;
    std::io::Write::write_all(&mut staged, &pem).map_err(local)?;
    staged.as_file().sync_all().map_err(local)?;
    staged.persist(&file).map_err(|error| local(error.error))?;
    Ok(file)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_keyserver_is_a_name_or_address_with_a_port() {
        for (text, host) in
            [("keys.example.com:7899", "keys.example.com"), ("[::1]:1", "[::1]"), ("127.0.0.1:1", "127.0.0.1")]
        {
            assert_eq!(keyserver_address(text).unwrap().0, host);
        }
        for wrong in ["", ":1", "host", "host:", "host:x", "::1:1", "https://host:1", "host:99999"] {
            assert!(keyserver_address(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn where_to_listen_is_an_address_or_localhost_and_anything_else_is_told_what_is_wanted() {
        for (text, address) in [
            ("127.0.0.1:4443", "127.0.0.1:4443"),
            ("localhost:4443", "127.0.0.1:4443"),
            ("[::1]:0", "[::1]:0"),
            ("0.0.0.0:80", "0.0.0.0:80"),
        ] {
            assert_eq!(listen_address(text).unwrap().to_string(), address);
        }
        for wrong in ["", ":4443", "4443", "trust.example:4443", "localhost", "localhost:", "localhost:x", "::1:4443x"]
        {
            let refused = listen_address(wrong).unwrap_err();
            assert!(refused.contains("127.0.0.1:4443") && refused.contains("0.0.0.0:4443"), "{wrong}: {refused}");
        }
    }
}
