//! Where the database is. The password is never part of it: arguments are seen by every user of a machine, and end up in logs.

use std::fmt;
use std::net::IpAddr;
use std::path::PathBuf;
use std::str::FromStr;

use sqlx::mysql::{MySqlConnectOptions, MySqlSslMode};
use sqlx::postgres::{PgConnectOptions, PgSslMode};
use url::Url;
use zeroize::Zeroizing;

/// The longest password, in bytes.
const MAX_PASSWORD: usize = 4096;

/// Says why a database's address was not understood (operator).
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum DatabaseUrlError {
    /// It is no URL of a kind that is known.
    #[error("a database is wanted such as postgres://user@host/name or mysql://user@host/name")]
    Unknown,
    /// It has a password.
    #[error(
        "the address of the database has a password, which others could read: give it in a file or a variable instead"
    )]
    HasPassword,
    /// One of the settings behind `?` is wrong; the text says which.
    #[error("the address of the database has a setting that is not understood: {0}")]
    Setting(String),
    /// It names no database.
    #[error("the address names no database: it is wanted after the host, such as postgres://user@host/name")]
    NoName,
    /// The password has a line break or is too long.
    #[error("the password of the database has several lines or is too long")]
    Password,
}

/// A password, which is never printed.
#[derive(Clone)]
pub struct Password(Zeroizing<String>);

impl Password {
    /// Takes the text of a file or variable; one line end after it is no part of it.
    ///
    /// # Errors
    /// Refuses several lines and what is too long.
    pub fn new(text: &str) -> Result<Self, DatabaseUrlError> {
        let line = text.strip_suffix('\n').unwrap_or(text);
        let line = line.strip_suffix('\r').unwrap_or(line);
        if line.contains(['\n', '\r', '\0']) || line.len() > MAX_PASSWORD {
            return Err(DatabaseUrlError::Password);
        }
        Ok(Self(Zeroizing::new(line.to_owned())))
    }
}

impl fmt::Debug for Password {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Password(…)")
    }
}

/// Where a database is and who opens it.
///
/// Unless `sslmode` (`ssl-mode`) says otherwise, the server of another machine must prove who it is.
#[derive(Clone)]
pub struct DatabaseUrl {
    options: Options,
    url: Url,
}

/// What the driver is told; it knows the password.
#[derive(Clone)]
pub(crate) enum Options {
    Postgres(PgConnectOptions),
    MySql(MySqlConnectOptions),
}

impl DatabaseUrl {
    /// Reads an address without a password.
    ///
    /// # Errors
    /// Refuses what is no address of a `PostgreSQL`, `MySQL` or `MariaDB` database, and one with a password.
    pub fn parse(text: &str) -> Result<Self, DatabaseUrlError> {
        let url = Url::parse(text).map_err(|_| DatabaseUrlError::Unknown)?;
        let secret = |key: &str| key.eq_ignore_ascii_case("password");
        if url.password().is_some() || url.query_pairs().any(|(key, _)| secret(&key)) {
            return Err(DatabaseUrlError::HasPassword);
        }
        let setting = |error: &sqlx::Error| DatabaseUrlError::Setting(error.to_string());
        let given = |names: &[&str]| url.query_pairs().any(|(key, _)| names.contains(&&*key));
        let options = match url.scheme() {
            "postgres" | "postgresql" => {
                let mut options = PgConnectOptions::from_str(text).map_err(|error| setting(&error))?;
                let near = is_near(options.get_host(), options.get_socket());
                if !near && !given(&["sslmode", "ssl-mode"]) {
                    options = options.ssl_mode(PgSslMode::VerifyFull);
                }
                Options::Postgres(options.application_name("countersign"))
            }
            "mysql" | "mariadb" => {
                let mut options = MySqlConnectOptions::from_str(text).map_err(|error| setting(&error))?;
                let near = is_near(options.get_host(), options.get_socket());
                if !near && !given(&["sslmode", "ssl-mode"]) {
                    options = options.ssl_mode(MySqlSslMode::VerifyIdentity);
                }
                Options::MySql(options)
            }
            _ => return Err(DatabaseUrlError::Unknown),
        };
        if url.path().trim_matches('/').is_empty() {
            return Err(DatabaseUrlError::NoName);
        }
        Ok(Self { options, url })
    }

    /// Adds the password.
    #[must_use]
    pub fn with_password(mut self, password: &Password) -> Self {
        self.options = match self.options {
            Options::Postgres(options) => Options::Postgres(options.password(&password.0)),
            Options::MySql(options) => Options::MySql(options.password(&password.0)),
        };
        self
    }

    /// Takes what is known already; the URL is for showing.
    pub(crate) fn from_parts(options: Options, url: Url) -> Self {
        Self { options, url }
    }

    pub(crate) fn options(&self) -> Options {
        self.options.clone()
    }
}

impl fmt::Debug for DatabaseUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "DatabaseUrl({})", self.url)
    }
}

impl fmt::Display for DatabaseUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.url.fmt(f)
    }
}

/// Tells whether the server is on this machine, by what the driver will do: settings and variables count for it too.
fn is_near(host: &str, socket: Option<&PathBuf>) -> bool {
    socket.is_some() || is_this_machine(host.trim_matches(['[', ']']))
}

fn is_this_machine(name: &str) -> bool {
    name.is_empty() || name == "localhost" || name.parse().is_ok_and(|address: IpAddr| address.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn postgres(text: &str) -> PgConnectOptions {
        match DatabaseUrl::parse(text).unwrap().options {
            Options::Postgres(options) => options,
            Options::MySql(_) => unreachable!("{text}"),
        }
    }

    fn mysql(text: &str) -> MySqlConnectOptions {
        match DatabaseUrl::parse(text).unwrap().options {
            Options::MySql(options) => options,
            Options::Postgres(_) => unreachable!("{text}"),
        }
    }

    #[test]
    fn the_server_of_another_machine_must_prove_who_it_is_unless_told_otherwise() {
        assert!(matches!(postgres("postgres://u@db.example/x").get_ssl_mode(), PgSslMode::VerifyFull));
        assert!(matches!(postgres("postgres://u@127.0.0.1:6/x").get_ssl_mode(), PgSslMode::Prefer));
        assert!(matches!(postgres("postgres://u@[::1]/x").get_ssl_mode(), PgSslMode::Prefer));
        assert!(matches!(postgres("postgres://u@db/x?host=/run/postgresql").get_ssl_mode(), PgSslMode::Prefer));
        for elsewhere in ["host=db.example", "hostaddr=192.0.2.7", "host=localhost&host=db.example"] {
            let url = format!("postgres://u@localhost/x?{elsewhere}");
            assert!(matches!(postgres(&url).get_ssl_mode(), PgSslMode::VerifyFull), "{url}");
        }
        assert!(matches!(postgres("postgresql://u@db/x?sslmode=require").get_ssl_mode(), PgSslMode::Require));
        assert!(matches!(mysql("mysql://u@db.example/x").get_ssl_mode(), MySqlSslMode::VerifyIdentity));
        for elsewhere in ["mysql://u@db.example/x?host=/run/s", "mysql://u@db.example/x?hostaddr=127.0.0.1"] {
            let refused = DatabaseUrl::parse(elsewhere).map(|url| url.options);
            let verifies = |options| matches!(options, Options::MySql(options) if matches!(options.get_ssl_mode(), MySqlSslMode::VerifyIdentity));
            assert!(refused.map_or(true, verifies), "{elsewhere}");
        }
        assert!(matches!(postgres("postgres://u@db.example/x?socket=/s").get_ssl_mode(), PgSslMode::VerifyFull));
        assert!(matches!(mysql("mysql://u@db.example/x?socket=/run/s").get_ssl_mode(), MySqlSslMode::Preferred));
        assert!(matches!(mysql("mariadb://u@localhost/x").get_ssl_mode(), MySqlSslMode::Preferred));
        assert!(matches!(mysql("mysql://u@db/x?ssl-mode=DISABLED").get_ssl_mode(), MySqlSslMode::Disabled));
    }

    #[test]
    fn a_password_in_the_address_is_refused_and_never_repeated() {
        for text in ["postgres://u:hush@h/x", "mysql://u:hush@h/x", "postgres://u@h/x?password=hush"] {
            let refused = DatabaseUrl::parse(text).unwrap_err();
            assert_eq!(refused, DatabaseUrlError::HasPassword, "{text}");
            assert!(!refused.to_string().contains("hush"));
        }
    }

    #[test]
    fn what_is_no_database_is_refused() {
        for text in ["", "x", "sqlite:trust.db", "https://h/x", "postgres"] {
            assert_eq!(DatabaseUrl::parse(text).unwrap_err(), DatabaseUrlError::Unknown, "{text}");
        }
        assert_eq!(DatabaseUrl::parse("postgres://u@h").unwrap_err(), DatabaseUrlError::NoName);
        assert!(matches!(DatabaseUrl::parse("postgres://u@h/x?sslmode=maybe"), Err(DatabaseUrlError::Setting(_))));
    }

    #[test]
    fn the_password_is_one_line_and_not_printed() {
        let password = Password::new;
        assert_eq!(*password("hush\n").unwrap().0, "hush");
        assert!(matches!(password("a\nb"), Err(DatabaseUrlError::Password)));
        let url = DatabaseUrl::parse("postgres://u@h/x").unwrap().with_password(&password("hush").unwrap());
        assert!(!url.to_string().contains("hush") && !format!("{url:?}").contains("hush"), "{url:?}");
    }
}
