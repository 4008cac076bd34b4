//! Where a database is, in the words of the reference's configuration: those of the Go drivers for `MySQL` and `PostgreSQL`.
//!
//! What is not understood is refused by name; nothing is ignored that would change what happens.

use std::collections::BTreeMap;

use percent_encoding::percent_decode_str;
use sqlx::mysql::{MySqlConnectOptions, MySqlSslMode};
use sqlx::postgres::{PgConnectOptions, PgSslMode};
use url::Url;

use crate::networked::url::Options;
use crate::{DatabaseUrl, DatabaseUrlError};

/// The reference's name for a kind of database.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Backend {
    /// `mysql`.
    MySql,
    /// `postgres`.
    Postgres,
}

/// The `MySQL` driver's settings that change nothing here: times are read as text, statements are prepared, every value is
/// checked by its type, and waits have bounds of their own.
const HARMLESS: [&str; 10] = [
    "parsetime",
    "interpolateparams",
    "multistatements",
    "maxallowedpacket",
    "timeout",
    "readtimeout",
    "writetimeout",
    "checkconnliveness",
    "allownativepasswords",
    "columnswithalias",
];
const MYSQL_PORT: u16 = 3306;

impl DatabaseUrl {
    /// Reads `storage.db_url` of the reference's configuration for this backend; the password may be part of it, as it is
    /// there. Connections are protected as the reference's driver would protect them.
    ///
    /// # Errors
    /// Refuses what is no address of such a database, and settings that are not understood, by name.
    pub fn of_reference(backend: Backend, text: &str) -> Result<Self, DatabaseUrlError> {
        match backend {
            Backend::MySql => mysql(text),
            Backend::Postgres => postgres(text),
        }
    }
}

fn setting(text: impl Into<String>) -> DatabaseUrlError {
    DatabaseUrlError::Setting(text.into())
}

/// Names a setting that is not understood, if it looks like one: where a quote or a sign was forgotten it is part of the password.
fn unknown(key: &str, value: &str) -> DatabaseUrlError {
    let plain =
        |text: &str| text.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'.'));
    match (plain(key), plain(value)) {
        (true, true) => setting(format!("{key}={value}")),
        (true, false) => setting(key),
        (false, _) => setting("something that is no setting"),
    }
}

/// Writes what may be shown of the address.
fn shown(scheme: &str, user: &str, place: &str, name: &str) -> Result<Url, DatabaseUrlError> {
    let place = if place.starts_with('/') { "localhost" } else { place };
    let mut url = Url::parse(&format!("{scheme}://{place}/")).map_err(|_| DatabaseUrlError::Unknown)?;
    url.set_path(name);
    url.set_username(user).map_err(|()| DatabaseUrlError::Unknown)?;
    Ok(url)
}

/// Reads `[user[:password]@][net[(address)]]/name[?key=value…]`.
fn mysql(text: &str) -> Result<DatabaseUrl, DatabaseUrlError> {
    // The password may have any character, slashes and question marks too: as in the reference's driver, what comes after the
    // last slash is the name of the database and the settings, and who connects ends before the last `@`.
    let (place, tail) = text.rsplit_once('/').ok_or(DatabaseUrlError::Unknown)?;
    let (name, settings) = tail.split_once('?').unwrap_or((tail, ""));
    if name.is_empty() {
        return Err(DatabaseUrlError::NoName);
    }
    let name = percent_decode_str(name).decode_utf8().map_err(|_| DatabaseUrlError::Unknown)?;
    let (who, place) = place.rsplit_once('@').unwrap_or(("", place));
    let (user, password) = who.split_once(':').map_or((who, None), |(user, password)| (user, Some(password)));
    let (net, address) = match place.split_once('(') {
        Some((net, address)) => (net, address.strip_suffix(')').ok_or(DatabaseUrlError::Unknown)?),
        None => (place, ""),
    };
    // Sent as it is unless the settings say otherwise, as the reference's driver does.
    let mut options = MySqlConnectOptions::new().username(user).database(&name).ssl_mode(MySqlSslMode::Disabled);
    if let Some(password) = password {
        options = options.password(password);
    }
    let (options, place) = match net {
        "tcp" | "" => {
            let (host, port) = host_and_port(address, MYSQL_PORT)?;
            (options.host(host.trim_matches(['[', ']'])).port(port), format!("{host}:{port}"))
        }
        "unix" => (options.socket(if address.is_empty() { "/tmp/mysql.sock" } else { address }), "/".to_owned()),
        // Never shown: where the `@` was forgotten it has the password.
        _ => return Err(setting("the network is tcp or unix")),
    };
    let options = with_mysql_settings(options, settings)?;
    Ok(DatabaseUrl::from_parts(Options::MySql(options), shown("mysql", user, &place, &name)?))
}

fn with_mysql_settings(
    mut options: MySqlConnectOptions,
    settings: &str,
) -> Result<MySqlConnectOptions, DatabaseUrlError> {
    for (key, value) in url::form_urlencoded::parse(settings.as_bytes()) {
        match (key.to_ascii_lowercase().as_str(), &*value) {
            (known, _) if HARMLESS.contains(&known) => {}
            ("loc", "UTC") | ("charset", _) => {}
            ("collation", value) => options = options.collation(value),
            ("tls", "false" | "False" | "FALSE" | "0") => options = options.ssl_mode(MySqlSslMode::Disabled),
            ("tls", "true" | "True" | "TRUE" | "1") => options = options.ssl_mode(MySqlSslMode::VerifyIdentity),
            ("tls", "skip-verify") => options = options.ssl_mode(MySqlSslMode::Required),
            ("tls", "preferred") => options = options.ssl_mode(MySqlSslMode::Preferred),
            ("allowcleartextpasswords", value) => {
                options = options.enable_cleartext_plugin(value.eq_ignore_ascii_case("true"));
            }
            _ => return Err(unknown(&key, &value)),
        }
    }
    Ok(options)
}

fn host_and_port(text: &str, usual: u16) -> Result<(&str, u16), DatabaseUrlError> {
    if text.is_empty() {
        return Ok(("127.0.0.1", usual));
    }
    match text.rsplit_once(':') {
        Some((host, port)) if !host.contains(':') || host.ends_with(']') => {
            Ok((host, port.parse().map_err(|_| DatabaseUrlError::Unknown)?))
        }
        _ => Ok((text, usual)),
    }
}

/// Reads a URL, or words such as `host=db user=server dbname=notaryserver`.
fn postgres(text: &str) -> Result<DatabaseUrl, DatabaseUrlError> {
    let mut said = match Url::parse(text) {
        Ok(url) if matches!(url.scheme(), "postgres" | "postgresql") => of_url(&url)?,
        _ => of_words(text)?,
    };
    let mut take = |key: &str| said.remove(key).filter(|value| !value.is_empty());
    let mut options = PgConnectOptions::new().application_name("countersign");
    let host = take("host").unwrap_or_else(|| "localhost".to_owned());
    options = if host.starts_with('/') { options.socket(&host) } else { options.host(host.trim_matches(['[', ']'])) };
    let port: u16 = take("port").unwrap_or_else(|| "5432".to_owned()).parse().map_err(|_| DatabaseUrlError::Unknown)?;
    options = options.port(port);
    let user = take("user").unwrap_or_default();
    if !user.is_empty() {
        options = options.username(&user);
    }
    if let Some(password) = take("password") {
        options = options.password(&password);
    }
    let name = take("dbname").ok_or(DatabaseUrlError::NoName)?;
    options = options.database(&name);
    let root = take("sslrootcert");
    options = options.ssl_mode(match (take("sslmode").as_deref(), &root) {
        (Some("disable"), _) => PgSslMode::Disable,
        // With an authority of one's own the reference's driver asks for its certificate even so.
        (None | Some("require"), None) => PgSslMode::Require,
        (None | Some("require"), Some(_)) | (Some("verify-ca"), _) => PgSslMode::VerifyCa,
        (Some("verify-full"), _) => PgSslMode::VerifyFull,
        (Some(other), _) => return Err(setting(format!("sslmode={other}"))),
    });
    if let Some(root) = root {
        options = options.ssl_root_cert(root);
    }
    if let Some(certificate) = take("sslcert") {
        options = options.ssl_client_cert(certificate);
    }
    if let Some(key) = take("sslkey") {
        options = options.ssl_client_key(key);
    }
    if let Some(path) = take("search_path") {
        options = options.options([("search_path", path)]);
    }
    // Who connects is told by the program itself, and waits have bounds of their own.
    for harmless in ["application_name", "fallback_application_name", "connect_timeout", "binary_parameters"] {
        said.remove(harmless);
    }
    if let Some((key, value)) = said.first_key_value() {
        return Err(unknown(key, value));
    }
    let place = if host.starts_with('/') { host } else { format!("{host}:{port}") };
    Ok(DatabaseUrl::from_parts(Options::Postgres(options), shown("postgres", &user, &place, &name)?))
}

fn of_url(url: &Url) -> Result<BTreeMap<String, String>, DatabaseUrlError> {
    let mut said = BTreeMap::new();
    let decoded = |text: &str| {
        let text = percent_decode_str(text).decode_utf8().map_err(|_| DatabaseUrlError::Unknown);
        text.map(std::borrow::Cow::into_owned)
    };
    said.insert("user".to_owned(), decoded(url.username())?);
    said.insert("password".to_owned(), decoded(url.password().unwrap_or_default())?);
    said.insert("host".to_owned(), decoded(url.host_str().unwrap_or_default())?);
    said.insert("port".to_owned(), url.port().map(|port| port.to_string()).unwrap_or_default());
    said.insert("dbname".to_owned(), decoded(url.path().trim_start_matches('/'))?);
    said.extend(url.query_pairs().map(|(key, value)| (key.into_owned(), value.into_owned())));
    Ok(said)
}

fn of_words(text: &str) -> Result<BTreeMap<String, String>, DatabaseUrlError> {
    let mut said = BTreeMap::new();
    let mut rest = text.trim_start();
    while !rest.is_empty() {
        let (key, after) = rest.split_once('=').ok_or(DatabaseUrlError::Unknown)?;
        let after = after.trim_start();
        let (value, after) = match after.strip_prefix('\'') {
            Some(quoted) => quoted.split_once('\'').ok_or(DatabaseUrlError::Unknown)?,
            None => after.split_once(char::is_whitespace).unwrap_or((after, "")),
        };
        if value.contains('\\') {
            return Err(setting("a value with a backslash"));
        }
        said.insert(key.trim().to_owned(), value.to_owned());
        rest = after.trim_start();
    }
    if said.is_empty() { Err(DatabaseUrlError::Unknown) } else { Ok(said) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn to_mysql(text: &str) -> MySqlConnectOptions {
        match DatabaseUrl::of_reference(Backend::MySql, text).unwrap().options() {
            Options::MySql(options) => options,
            Options::Postgres(_) => unreachable!("{text}"),
        }
    }

    fn to_postgres(text: &str) -> PgConnectOptions {
        match DatabaseUrl::of_reference(Backend::Postgres, text).unwrap().options() {
            Options::Postgres(options) => options,
            Options::MySql(_) => unreachable!("{text}"),
        }
    }

    #[test]
    fn addresses_of_the_reference_for_mysql_are_understood() {
        let read = to_mysql("server@tcp(mysql:3306)/notaryserver?parseTime=True");
        assert_eq!((read.get_host(), read.get_port(), read.get_username()), ("mysql", 3306, "server"));
        assert_eq!(read.get_database(), Some("notaryserver"));
        assert!(matches!(read.get_ssl_mode(), MySqlSslMode::Disabled));
        let read = to_mysql("u:p/a@s:s@tcp([::1])/x?tls=skip-verify&timeout=5s&charset=utf8");
        assert_eq!((read.get_host(), read.get_port(), read.get_username()), ("::1", 3306, "u"));
        assert!(matches!(read.get_ssl_mode(), MySqlSslMode::Required));
        assert!(to_mysql("u@unix(/run/mysqld/mysqld.sock)/x").get_socket().is_some());
        assert_eq!(to_mysql("u@/x").get_host(), "127.0.0.1");
        assert!(matches!(to_mysql("u@tcp(h:1)/x?tls=true").get_ssl_mode(), MySqlSslMode::VerifyIdentity));
    }

    #[test]
    fn addresses_of_the_reference_for_postgresql_are_understood() {
        let read = to_postgres("postgres://server:p%40ss@postgresql/notaryserver?sslmode=disable");
        assert_eq!((read.get_host(), read.get_port(), read.get_username()), ("postgresql", 5432, "server"));
        assert_eq!(read.get_database(), Some("notaryserver"));
        assert!(matches!(read.get_ssl_mode(), PgSslMode::Disable));
        assert!(matches!(to_postgres("postgres://u@h:1/x").get_ssl_mode(), PgSslMode::Require));
        let read = to_postgres("host=db port=77 user='a b' dbname=x sslmode=verify-full");
        assert_eq!((read.get_host(), read.get_port(), read.get_username()), ("db", 77, "a b"));
        assert!(matches!(read.get_ssl_mode(), PgSslMode::VerifyFull));
    }

    #[test]
    fn what_is_not_understood_is_refused_by_name() {
        let refused = |backend, text| DatabaseUrl::of_reference(backend, text).unwrap_err().to_string();
        for (text, named) in [
            ("u@tcp(h)/x?tls=custom", "tls=custom"),
            ("u@tcp(h)/x?loc=Local", "loc=Local"),
            ("u@tcp(h)/x?time_zone=%27CET%27", "time_zone"),
            ("u@cloudsql(h)/x", "tcp or unix"),
            ("u@tcp(h)/x?allowOldPasswords=1", "allowOldPasswords"),
        ] {
            assert!(refused(Backend::MySql, text).contains(named), "{text}");
        }
        for (text, named) in
            [("postgres://u@h/x?sslmode=allow", "sslmode=allow"), ("postgres://u@h/x?krbspn=y", "krbspn=y")]
        {
            assert!(refused(Backend::Postgres, text).contains(named), "{text}");
        }
        for text in ["", "nothing", "u@tcp(h/x", "u@tcp(h:x)/x"] {
            assert!(DatabaseUrl::of_reference(Backend::MySql, text).is_err(), "{text}");
        }
        for text in ["", "nothing", "postgres://u@h", "host=h"] {
            assert!(DatabaseUrl::of_reference(Backend::Postgres, text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_password_of_the_references_configuration_may_have_any_character() {
        for password in ["p?w", "a/b?c", "?", "/", "a@b?c/d", "(x)/y?z=1", "a:b"] {
            let read = to_mysql(&format!("server:{password}@tcp(db:7)/n?parseTime=True"));
            assert_eq!((read.get_host(), read.get_port(), read.get_username()), ("db", 7, "server"), "{password}");
            assert_eq!(read.get_database(), Some("n"), "{password}");
            let read = to_mysql(&format!("server:{password}@tcp(db)/n"));
            assert_eq!((read.get_host(), read.get_database()), ("db", Some("n")), "{password}");
        }
    }

    #[test]
    fn the_password_is_in_no_error() {
        for text in [
            "server:hush/n",
            "server:hush@tcp(db)",
            "server:a/hush?x@tcp(db)",
            "server:hush?a/b@tcp(db)",
            "server:hush@tcp(db/n",
            "server:hush@tcp(db:hush)/n",
            "server:hush@odd(db)/n?x=y",
            "server:x@tcp(db)/n?hush@x=y",
        ] {
            let error = DatabaseUrl::of_reference(Backend::MySql, text).unwrap_err();
            assert!(!format!("{error} {error:?}").contains("hush"), "{text}: {error}");
        }
        for text in [
            "postgres://u:p?hush@h/x?sslmode=disable",
            "host=h dbname=x password=hu hush sslmode=disable",
            "host=h dbname=x password=hu\\sh",
        ] {
            let error = DatabaseUrl::of_reference(Backend::Postgres, text).unwrap_err();
            assert!(!format!("{error} {error:?}").contains("hush"), "{text}: {error}");
        }
    }

    #[test]
    fn the_password_is_never_shown() {
        for (backend, text) in
            [(Backend::MySql, "u:hush@tcp(h:1)/x"), (Backend::Postgres, "postgres://u:hush@h:1/x?sslmode=disable")]
        {
            let url = DatabaseUrl::of_reference(backend, text).unwrap();
            assert!(!format!("{url} {url:?}").contains("hush"), "{url}");
            assert!(url.to_string().contains("u@h:1/x"), "{url}");
        }
    }
}
