//! Where the service keeps what it is given, and bringing that to this release's layout.

use super::settled::Settled;
use super::{Flags, chain};
use crate::error::{CliError, Kind};
use crate::output::{data, message};
use clap::Args;
use countersign_server::{Connections, DatabaseUrl, Layout, Password, Service, Storage};
use std::path::PathBuf;
use zeroize::Zeroizing;

/// Where the database's password is when no file is named.
const PASSWORD: &str = "COUNTERSIGN_DATABASE_PASSWORD";
const DATABASE: &str =
    "Keep metadata and keys in this PostgreSQL, MySQL or MariaDB database, which several services may share";
const PASSWORD_FILE: &str =
    "The file with the database's password [default: the variable COUNTERSIGN_DATABASE_PASSWORD]";
/// Most connections that can be asked for.
const MOST_CONNECTIONS: i64 = 1000;

#[derive(Debug, Clone, Default, Args)]
pub(crate) struct DatabaseOptions {
    /// The database on a server, instead of a file.
    #[arg(long, help = DATABASE, value_name = "URL", env = "COUNTERSIGN_DATABASE", hide_env_values = true)]
    database: Option<String>,
    /// The file with its password, instead of the variable.
    #[arg(long, help = PASSWORD_FILE, value_name = "FILE", requires = "database")]
    database_password_file: Option<PathBuf>,
    /// Connections to the database at the same time [default: 10]
    #[arg(long, value_name = "N", requires = "database", value_parser = clap::value_parser!(u32).range(1..=MOST_CONNECTIONS))]
    database_connections: Option<u32>,
}

impl DatabaseOptions {
    /// Returns where metadata and keys are stored.
    pub(super) fn storage(&self) -> Result<Storage, CliError> {
        match self.database.as_deref().filter(|text| !text.is_empty()) {
            Some(database) => self.on_a_server(database),
            None => Ok(Storage::Sqlite),
        }
    }

    fn on_a_server(&self, database: &str) -> Result<Storage, CliError> {
        let mut url = DatabaseUrl::parse(database).map_err(CliError::user)?;
        if let Some(password) = self.password()? {
            url = url.with_password(&Password::new(&password).map_err(CliError::user)?);
        }
        let mut connections = Connections::default();
        connections.most = self.database_connections.unwrap_or(connections.most);
        Ok(Storage::Database { url: Box::new(url), connections })
    }

    fn password(&self) -> Result<Option<Zeroizing<String>>, CliError> {
        if let Some(file) = &self.database_password_file {
            let text = fs_err::read_to_string(file).map_err(|error| CliError::new(Kind::Local, error))?;
            return Ok(Some(Zeroizing::new(text)));
        }
        Ok(std::env::var(PASSWORD).ok().map(Zeroizing::new))
    }
}

/// Bring the database to this release's layout, as starting the service does
#[derive(Debug, Args)]
pub(crate) struct Migrate {
    /// The settings file [default: countersign/serve.toml in the XDG configuration directory, if it is there]
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Where the service keeps everything [default: countersign/serve in the XDG data directory]
    #[arg(long, value_name = "DIR")]
    data_dir: Option<PathBuf>,
    #[command(flatten)]
    database: DatabaseOptions,
    /// Change nothing; say what would be done, and end with 6 when the database is not of this release
    #[arg(long)]
    check: bool,
}

impl Migrate {
    pub(crate) async fn run(&self) -> Result<(), CliError> {
        let flags = Flags {
            config: self.config.clone(),
            data_dir: self.data_dir.clone(),
            database: self.database.clone(),
            ..Flags::default()
        };
        let config = Settled::of(&flags)?.config;
        let local = |error: &dyn std::error::Error| CliError::new(Kind::Local, chain(error));
        let before = Service::layout(&config).await.map_err(|error| local(&error))?;
        if self.check {
            return report(&before);
        }
        Service::migrate(&config).await.map_err(|error| local(&error))?;
        data(format_args!("migrations applied now: {}, before: {}", before.pending.len(), before.applied.len()))
    }
}

fn report(layout: &Layout) -> Result<(), CliError> {
    data(format_args!("migrations applied: {}, pending: {}", layout.applied.len(), layout.pending.len()))?;
    if let Some(version) = layout.unfinished {
        let text = format!("migration {version} began and did not end: restore the database from a backup");
        return Err(CliError::new(Kind::Findings, text));
    }
    if let Some(version) = layout.unknown.first() {
        let text = format!("a newer release has changed the database (migration {version}): use that release");
        return Err(CliError::new(Kind::Findings, text));
    }
    if layout.pending.is_empty() {
        message("the database is of this release");
        return Ok(());
    }
    Err(CliError::new(
        Kind::Findings,
        "the database is not of this release yet: `countersign serve migrate` changes that",
    ))
}
