//! Where the service keeps what it is given, and bringing that to this release's layout.

use super::document::{At, OnServer};
use super::settled::{Origin, Settled};
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
pub(super) const MOST_CONNECTIONS: i64 = 1000;

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
    /// Those of a service whose options have other names where they are given.
    pub(crate) fn named(database: Option<String>, password_file: Option<PathBuf>) -> Self {
        Self { database, database_password_file: password_file, database_connections: None }
    }

    /// Tells whether a database is named.
    pub(super) fn is_named(&self) -> bool {
        self.database.as_deref().is_some_and(|text| !text.is_empty())
    }

    /// Returns where metadata and keys are stored, how that is shown, and who says so. The option or the variable wins over
    /// all that the file says of the database.
    pub(super) fn storage(&self, said: Option<At<OnServer>>) -> Result<(Storage, String, Origin), CliError> {
        let given = self.database.as_deref().filter(|text| !text.is_empty());
        let (named, from) = match (given, said) {
            (Some(database), _) => {
                let url = DatabaseUrl::parse(database).map_err(CliError::user)?;
                let password_file = self.database_password_file.clone();
                let named = OnServer { url, password_file, connections: self.database_connections };
                (named, Origin::Option("--database"))
            }
            (None, Some(At { value, line })) => (value, Origin::Line(line)),
            (None, None) => return Ok((Storage::Sqlite, "a file in data-dir".to_owned(), Origin::Default)),
        };
        let (storage, shown) = named.storage()?;
        Ok((storage, shown, from))
    }
}

impl OnServer {
    fn storage(self) -> Result<(Storage, String), CliError> {
        let shown = self.url.to_string();
        let url = match self.password()? {
            Some(password) => self.url.with_password(&Password::new(&password).map_err(CliError::user)?),
            None => self.url,
        };
        let mut connections = Connections::default();
        connections.most = self.connections.unwrap_or(connections.most);
        Ok((Storage::Database { url: Box::new(url), connections }, shown))
    }

    fn password(&self) -> Result<Option<Zeroizing<String>>, CliError> {
        if let Some(file) = &self.password_file {
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
