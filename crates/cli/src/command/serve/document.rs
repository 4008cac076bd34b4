//! The service's settings file, read strictly: what is not understood is an error that names file, line and key.

use super::access::{self, AccessTable, Decided};
use super::audit::{SaidOfAudit, word};
use super::storage::MOST_CONNECTIONS;
use crate::command::operation::{Lines, pause};
use crate::settings::{Reader, SettingsError};
use countersign_server::{
    AuditChainName, AuditSink, AuditedRenewals, CacheAges, DatabaseUrl, GunPrefixes, KeyAlgorithm, KeyserverConfig,
    KeyserverIdentity, Limits, MetricsConfig, Retention,
};
use jiff::SignedDuration;
use serde::Deserialize;
use std::net::SocketAddr;
use std::num::{NonZeroU32, NonZeroU64, NonZeroUsize};
use std::path::PathBuf;
use std::time::Duration;
use toml::Spanned;

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct Document {
    listen: Option<Spanned<String>>,
    data_dir: Option<Spanned<String>>,
    collections: Option<Spanned<Vec<String>>>,
    key_algorithm: Option<Spanned<Algorithm>>,
    tls: Option<Tls>,
    access: Option<Spanned<AccessTable>>,
    keyserver: Option<KeyserverTable>,
    audit: Option<AuditTable>,
    caching: Option<Caching>,
    limits: Option<LimitsTable>,
    storage: Option<StorageTable>,
    retention: Option<Spanned<RetentionTable>>,
    log: Option<LogTable>,
    metrics: Option<MetricsTable>,
    admin: Option<AdminTable>,
    traces: Option<TracesTable>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct LogTable {
    format: Option<Spanned<Lines>>,
    level: Option<Spanned<String>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct MetricsTable {
    listen: Option<Spanned<String>>,
    collections: Option<Spanned<usize>>,
    survey_pause: Option<Spanned<String>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct AdminTable {
    socket: Option<Spanned<String>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct TracesTable {
    endpoint: Option<Spanned<String>>,
}

#[derive(Deserialize, Clone, Copy)]
#[serde(rename_all = "kebab-case")]
enum Algorithm {
    Ecdsa,
    Ed25519,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct Tls {
    certificate: Option<Spanned<String>>,
    key: Option<Spanned<String>>,
    names: Option<Spanned<Vec<String>>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct KeyserverTable {
    address: Spanned<String>,
    ca: Spanned<String>,
    certificate: Spanned<String>,
    key: Spanned<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct AuditTable {
    to: Spanned<String>,
    name: Option<Spanned<String>>,
    renewals: Option<Spanned<bool>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct Caching {
    current: Option<Spanned<u32>>,
    immutable: Option<Spanned<u32>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct LimitsTable {
    upload_size: Option<Spanned<String>>,
    uploads: Option<Spanned<usize>>,
    large_uploads: Option<Spanned<usize>>,
    connections: Option<Spanned<usize>>,
    connections_per_client: Option<Spanned<NonZeroUsize>>,
    requests_per_address: Option<Spanned<NonZeroU32>>,
    requests_per_user: Option<Spanned<NonZeroU32>>,
    upload_size_per_hour: Option<Spanned<String>>,
    header_time: Option<Spanned<String>>,
    body_time: Option<Spanned<String>>,
    connection_time: Option<Spanned<String>>,
    drain_time: Option<Spanned<String>>,
    drain_delay: Option<Spanned<String>>,
    memory: Option<Spanned<String>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct StorageTable {
    database: Spanned<String>,
    password_file: Option<Spanned<String>>,
    connections: Option<Spanned<u32>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct RetentionTable {
    versions: Option<NonZeroU32>,
    days: Option<NonZeroU32>,
}

/// A value and the line that it is in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct At<T> {
    pub(super) value: T,
    pub(super) line: usize,
}

/// The database on a server that a file names.
#[derive(Debug)]
pub(super) struct OnServer {
    pub(super) url: DatabaseUrl,
    pub(super) password_file: Option<PathBuf>,
    pub(super) connections: Option<u32>,
}

/// What a file says.
#[derive(Debug, Default)]
pub(super) struct Said {
    pub(super) listen: Option<At<SocketAddr>>,
    pub(super) data_dir: Option<At<PathBuf>>,
    pub(super) collections: Option<At<(GunPrefixes, Vec<String>)>>,
    pub(super) key_algorithm: Option<At<KeyAlgorithm>>,
    /// The certificate and its key: both or neither.
    pub(super) certificate: Option<At<(PathBuf, PathBuf)>>,
    pub(super) names: Option<At<Vec<String>>>,
    pub(super) access: Option<At<Decided>>,
    pub(super) keyserver: Option<At<KeyserverConfig>>,
    pub(super) audit: SaidOfAudit,
    pub(super) caching: Option<At<CacheAges>>,
    pub(super) storage: Option<At<OnServer>>,
    pub(super) retention: Option<At<Retention>>,
    pub(super) observed: Observing,
    pub(super) limits: Limits,
    /// The limits that the file names, with their lines.
    pub(super) limited: Vec<(&'static str, At<String>)>,
}

/// What a file says for those who run the service.
#[derive(Debug, Default)]
pub(super) struct Observing {
    pub(super) format: Option<At<Lines>>,
    pub(super) level: Option<At<String>>,
    pub(super) metrics: Option<At<SocketAddr>>,
    pub(super) collections: Option<At<usize>>,
    pub(super) survey_pause: Option<At<Duration>>,
    pub(super) socket: Option<At<PathBuf>>,
    pub(super) traces: Option<At<String>>,
    pub(super) drain_delay: Option<At<Duration>>,
}

/// Reads a file's text; files that it names are looked for beside it.
pub(super) fn read(reader: &Reader<'_>) -> Result<Said, SettingsError> {
    let document: Document = reader.parse()?;
    let at = |value: &Spanned<String>| reader.line(&value.span());
    let listen = document.listen.map(|text| {
        let value = super::listen_address(text.get_ref()).map_err(|reason| reader.refuse(&text, "listen", reason));
        Ok::<_, SettingsError>(At { value: value?, line: at(&text) })
    });
    let data_dir = document.data_dir.map(|text| path(reader, &text, "data-dir"));
    let (certificate, names) = document.tls.map(|tls| certificate(reader, tls)).transpose()?.unwrap_or_default();
    let delay = document.limits.as_ref().and_then(|limits| limits.drain_delay.clone());
    let observed = Observing { drain_delay: time(reader, delay, "drain-delay", pause)?, ..Observing::default() };
    let observed = observing(reader, observed, (document.log, document.metrics, document.admin, document.traces))?;
    let (limits, limited) = document.limits.map(|table| limits(reader, &table)).transpose()?.unwrap_or_default();
    Ok(Said {
        listen: listen.transpose()?,
        data_dir: data_dir.transpose()?,
        collections: document.collections.map(|list| collections(reader, list)).transpose()?,
        key_algorithm: document.key_algorithm.map(|name| algorithm(reader, &name)),
        certificate,
        names,
        access: document.access.map(|table| access::decide(reader, &table)).transpose()?,
        keyserver: document.keyserver.map(|table| keyserver(reader, &table)).transpose()?,
        audit: document.audit.map(|table| audit(reader, &table)).transpose()?.unwrap_or_default(),
        caching: document.caching.map(|table| caching(reader, &table)).transpose()?.flatten(),
        storage: document.storage.map(|table| storage(reader, &table)).transpose()?,
        retention: document.retention.map(|table| retention(reader, &table)).transpose()?,
        observed,
        limits,
        limited,
    })
}

type Tables = (Option<LogTable>, Option<MetricsTable>, Option<AdminTable>, Option<TracesTable>);

fn observing(
    reader: &Reader<'_>,
    said: Observing,
    (log, metrics, admin, traces): Tables,
) -> Result<Observing, SettingsError> {
    let at = |text: Spanned<String>| At { line: reader.line(&text.span()), value: text.into_inner() };
    let mut said = said;
    if let Some(LogTable { format, level }) = log {
        said.format = format.map(|format| At { line: reader.line(&format.span()), value: *format.get_ref() });
        said.level = level.map(at);
    }
    if let Some(MetricsTable { listen, collections, survey_pause }) = metrics {
        said.metrics = listen
            .map(|text| match super::listen_address(text.get_ref()) {
                Ok(value) => Ok(At { value, line: reader.line(&text.span()) }),
                Err(reason) => Err(reader.refuse(&text, "listen", reason)),
            })
            .transpose()?;
        if let Some(number) = &collections
            && *number.get_ref() > MetricsConfig::MAX_EXPIRING
        {
            return Err(reader.refuse(number, "collections", format!("at most {}", MetricsConfig::MAX_EXPIRING)));
        }
        said.collections = collections.map(|value| At { line: reader.line(&value.span()), value: value.into_inner() });
        said.survey_pause = time(reader, survey_pause, "survey-pause", duration)?;
    }
    let socket = admin.and_then(|admin| admin.socket);
    said.socket = socket.map(|text| path(reader, &text, "socket")).transpose()?;
    said.traces = traces.and_then(|traces| traces.endpoint).map(at);
    Ok(said)
}

/// Reads a time.
fn time(
    reader: &Reader<'_>,
    text: Option<Spanned<String>>,
    key: &str,
    read: fn(&str) -> Result<Duration, String>,
) -> Result<Option<At<Duration>>, SettingsError> {
    let Some(text) = text else { return Ok(None) };
    let value = read(text.get_ref()).map_err(|reason| reader.refuse(&text, key, reason))?;
    Ok(Some(At { value, line: reader.line(&text.span()) }))
}

pub(super) fn path(reader: &Reader<'_>, text: &Spanned<String>, key: &str) -> Result<At<PathBuf>, SettingsError> {
    Ok(At { value: reader.path(text, key)?.value, line: reader.line(&text.span()) })
}

fn algorithm(reader: &Reader<'_>, name: &Spanned<Algorithm>) -> At<KeyAlgorithm> {
    let value = match name.get_ref() {
        Algorithm::Ecdsa => KeyAlgorithm::EcdsaP256,
        Algorithm::Ed25519 => KeyAlgorithm::Ed25519,
    };
    At { value, line: reader.line(&name.span()) }
}

fn collections(
    reader: &Reader<'_>,
    list: Spanned<Vec<String>>,
) -> Result<At<(GunPrefixes, Vec<String>)>, SettingsError> {
    if list.get_ref().is_empty() {
        return Err(reader.refuse(&list, "collections", "no prefix is named: nothing could be served"));
    }
    let prefixes =
        GunPrefixes::new(list.get_ref().clone()).map_err(|error| reader.refuse(&list, "collections", error))?;
    let line = reader.line(&list.span());
    Ok(At { value: (prefixes, list.into_inner()), line })
}

type Certified = (Option<At<(PathBuf, PathBuf)>>, Option<At<Vec<String>>>);

fn certificate(reader: &Reader<'_>, tls: Tls) -> Result<Certified, SettingsError> {
    let names = |list: Spanned<Vec<String>>| At { line: reader.line(&list.span()), value: list.into_inner() };
    match (tls.certificate, tls.key, tls.names) {
        (Some(certificate), Some(key), None) => {
            let (chain, key) = (path(reader, &certificate, "certificate")?, path(reader, &key, "key")?);
            Ok((Some(At { value: (chain.value, key.value), line: chain.line }), None))
        }
        (None, None, list) => Ok((None, list.map(names))),
        (Some(_), Some(_), Some(list)) => {
            Err(reader.refuse(&list, "names", "names are for the service's own certificate, and another one is named"))
        }
        (Some(value), None, _) => Err(reader.refuse(&value, "certificate", "a certificate needs its key")),
        (None, Some(value), _) => Err(reader.refuse(&value, "key", "a key needs its certificate")),
    }
}

fn keyserver(reader: &Reader<'_>, table: &KeyserverTable) -> Result<At<KeyserverConfig>, SettingsError> {
    let refused = |reason: String| reader.refuse(&table.address, "address", reason);
    let (host, port) = super::keyserver_address(table.address.get_ref()).map_err(refused)?;
    let identity = KeyserverIdentity {
        certificate: path(reader, &table.certificate, "certificate")?.value,
        key: path(reader, &table.key, "key")?.value,
    };
    let authority = path(reader, &table.ca, "ca")?.value;
    let value = KeyserverConfig { host, port, authority, identity, timeout: super::KEYSERVER_TIMEOUT };
    Ok(At { value, line: reader.line(&table.address.span()) })
}

fn audit(reader: &Reader<'_>, table: &AuditTable) -> Result<SaidOfAudit, SettingsError> {
    let to = match word(table.to.get_ref()) {
        Some(value) => At { value, line: reader.line(&table.to.span()) },
        None => path(reader, &table.to, "audit.to").map(|at| At { value: AuditSink::File(at.value), line: at.line })?,
    };
    let name = table.name.as_ref().map(|text| match AuditChainName::parse(text.get_ref()) {
        Ok(value) => Ok(At { value, line: reader.line(&text.span()) }),
        Err(error) => Err(reader.refuse(text, "audit.name", error)),
    });
    let renewals = table.renewals.as_ref().map(|said| {
        let value = if *said.get_ref() { AuditedRenewals::Recorded } else { AuditedRenewals::LeftOut };
        At { value, line: reader.line(&said.span()) }
    });
    Ok(SaidOfAudit { to: Some(to), name: name.transpose()?, renewals })
}

fn caching(reader: &Reader<'_>, table: &Caching) -> Result<Option<At<CacheAges>>, SettingsError> {
    let Some(first) = table.current.as_ref().or(table.immutable.as_ref()) else { return Ok(None) };
    let default = CacheAges::default();
    let of = |value: &Option<Spanned<u32>>, default: u32| value.as_ref().map_or(default, |value| *value.get_ref());
    let ages = CacheAges::new(of(&table.current, default.current()), of(&table.immutable, default.consistent()));
    let ages = ages.ok_or_else(|| reader.refuse(first, "caching", format!("at most {} seconds", CacheAges::MAX)))?;
    Ok(Some(At { value: ages, line: reader.line(&first.span()) }))
}

fn storage(reader: &Reader<'_>, table: &StorageTable) -> Result<At<OnServer>, SettingsError> {
    let url = DatabaseUrl::parse(table.database.get_ref());
    let url = url.map_err(|error| reader.refuse(&table.database, "storage.database", error))?;
    let password_file = table.password_file.as_ref().map(|text| path(reader, text, "password-file")).transpose()?;
    if let Some(connections) = &table.connections
        && !(1..=MOST_CONNECTIONS).contains(&i64::from(*connections.get_ref()))
    {
        return Err(reader.refuse(connections, "connections", format!("1 to {MOST_CONNECTIONS} are possible")));
    }
    let connections = table.connections.as_ref().map(|connections| *connections.get_ref());
    let value = OnServer { url, password_file: password_file.map(|file| file.value), connections };
    Ok(At { value, line: reader.line(&table.database.span()) })
}

fn retention(reader: &Reader<'_>, table: &Spanned<RetentionTable>) -> Result<At<Retention>, SettingsError> {
    let RetentionTable { versions, days } = table.get_ref();
    let nothing = || reader.refuse(table, "retention", "it says nothing: name versions, days or both");
    let value = super::retention::rules(*versions, *days).ok_or_else(nothing)?;
    Ok(At { value, line: reader.line(&table.span()) })
}

type Limited = (Limits, Vec<(&'static str, At<String>)>);

fn limits(reader: &Reader<'_>, table: &LimitsTable) -> Result<Limited, SettingsError> {
    let (mut limits, mut named) = (Limits::default(), Vec::new());
    let numbers = [
        ("uploads", &table.uploads, &mut limits.uploads),
        ("large-uploads", &table.large_uploads, &mut limits.large_uploads),
        ("connections", &table.connections, &mut limits.connections),
    ];
    for (key, said, limit) in numbers {
        let Some(value) = said else { continue };
        *limit = *value.get_ref();
        if *limit == 0 {
            return Err(reader.refuse(value, key, "with none at all nobody is served"));
        }
        named.push((key, At { value: limit.to_string(), line: reader.line(&value.span()) }));
    }
    if let Some(value) = &table.connections_per_client {
        limits.client_connections = Some(*value.get_ref());
        let at = At { value: value.get_ref().to_string(), line: reader.line(&value.span()) };
        named.push(("connections-per-client", at));
    }
    for (key, said, rate) in [
        ("requests-per-address", &table.requests_per_address, &mut limits.rates.of_address),
        ("requests-per-user", &table.requests_per_user, &mut limits.rates.of_name),
    ] {
        let Some(value) = said else { continue };
        *rate = Some(*value.get_ref());
        named.push((key, At { value: value.get_ref().to_string(), line: reader.line(&value.span()) }));
    }
    let times = [
        ("header-time", &table.header_time, &mut limits.header),
        ("body-time", &table.body_time, &mut limits.body),
        ("connection-time", &table.connection_time, &mut limits.connection),
        ("drain-time", &table.drain_time, &mut limits.drain),
    ];
    for (key, said, limit) in times {
        let Some(text) = said else { continue };
        *limit = duration(text.get_ref()).map_err(|reason| reader.refuse(text, key, reason))?;
        named.push((key, At { value: text.get_ref().clone(), line: reader.line(&text.span()) }));
    }
    let (mut upload, mut hourly) = (limits.upload_bytes as u64, 0);
    for (key, said, limit) in [
        ("upload-size", &table.upload_size, &mut upload),
        ("upload-size-per-hour", &table.upload_size_per_hour, &mut hourly),
        ("memory", &table.memory, &mut limits.memory),
    ] {
        let Some(text) = said else { continue };
        *limit = size(text.get_ref()).map_err(|reason| reader.refuse(text, key, reason))?;
        named.push((key, At { value: text.get_ref().clone(), line: reader.line(&text.span()) }));
    }
    limits.upload_bytes = usize::try_from(upload).unwrap_or(usize::MAX);
    limits.rates.upload_bytes = NonZeroU64::new(hourly);
    Ok((limits, named))
}

/// Reads a time such as `30s`, `5m` or `1h 30m`.
fn duration(text: &str) -> Result<Duration, String> {
    let parsed = text.parse::<SignedDuration>().ok().and_then(|duration| Duration::try_from(duration).ok());
    let parsed = parsed.filter(|duration| !duration.is_zero());
    parsed.ok_or_else(|| "a time is wanted, such as 30s, 5m or 1h 30m".to_owned())
}

/// Reads a number of bytes such as `500`, `64KiB` or `128 MiB`.
fn size(text: &str) -> Result<u64, String> {
    let digits = text.trim_end_matches(|c: char| !c.is_ascii_digit());
    let unit = match text.get(digits.len()..).unwrap_or_default().trim() {
        "" => Some(1),
        "KiB" => Some(1 << 10),
        "MiB" => Some(1 << 20),
        "GiB" => Some(1 << 30),
        _ => None,
    };
    let bytes = digits.parse::<u64>().ok().zip(unit).and_then(|(number, unit)| number.checked_mul(unit));
    bytes.filter(|bytes| *bytes > 0).ok_or_else(|| "a size is wanted, such as 65536, 64KiB or 128MiB".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use countersign_server::{Access, OwnHost};
    use std::path::Path;

    #[test]
    fn rates_are_limits_too() {
        let text = "[limits]\nrequests-per-address = 50\nrequests-per-user = 20\nupload-size-per-hour = \"2GiB\"\n";
        let said = said(text).unwrap();
        let rates = said.limits.rates;
        assert_eq!((rates.of_address, rates.of_name), (NonZeroU32::new(50), NonZeroU32::new(20)));
        assert_eq!(rates.upload_bytes, NonZeroU64::new(2 << 30));
        assert_eq!(said.limited.len(), 3);
    }

    fn said(text: &str) -> Result<Said, SettingsError> {
        read(&Reader::of(Path::new("/s/serve.toml"), text))
    }

    #[test]
    fn every_key_is_read() {
        let said = said(
            "listen = \"0.0.0.0:443\"\ndata-dir = \"data\"\ncollections = [\"docker.io/acme/\"]\nkey-algorithm = \"ed25519\"\n\
             [tls]\ncertificate = \"c.pem\"\nkey = \"/k.pem\"\n[access.tokens]\nrealm = \"https://a.test/t\"\nservice = \"s\"\n\
             issuer = \"i\"\ncertificates = \"b.pem\"\nkeys = \"k.json\"\nown-host = true\n[caching]\ncurrent = 0\n\
             [limits]\nupload-size = \"1MiB\"\nconnections = 7\ndrain-time = \"1m 30s\"\n[retention]\nversions = 3\ndays = 9\n\
             [storage]\ndatabase = \"postgres://u@h/d\"\npassword-file = \"p\"\nconnections = 8\n\
             [keyserver]\naddress = \"keys.test:7899\"\nca = \"ca.pem\"\ncertificate = \"me.pem\"\nkey = \"/me.key\"\n",
        )
        .unwrap();
        assert_eq!(said.listen.unwrap().value.to_string(), "0.0.0.0:443");
        assert_eq!(said.data_dir.unwrap(), At { value: "/s/data".into(), line: 2 });
        assert_eq!(said.certificate.unwrap().value, ("/s/c.pem".into(), "/k.pem".into()));
        assert_eq!(said.key_algorithm.unwrap().value, KeyAlgorithm::Ed25519);
        let Access::Tokens(tokens) = said.access.unwrap().value.access else { panic!("no tokens") };
        assert_eq!((tokens.certificates.unwrap(), tokens.own_host), ("/s/b.pem".into(), OwnHost::Yes));
        assert_eq!((said.limits.upload_bytes, said.limits.connections), (1 << 20, 7));
        assert_eq!(said.limits.drain, Duration::from_secs(90));
        assert_eq!(
            said.retention.unwrap(),
            At {
                value: Retention::VersionsAndAge(NonZeroU32::new(3).unwrap(), SignedDuration::from_hours(216)),
                line: 21
            }
        );
        let At { value: storage, line: 25 } = said.storage.unwrap() else { panic!("another line") };
        assert_eq!((storage.password_file.unwrap(), storage.connections), ("/s/p".into(), Some(8)));
        let At { value: keyserver, line: 29 } = said.keyserver.unwrap() else { panic!("another line") };
        assert_eq!((keyserver.host.as_str(), keyserver.port), ("keys.test", 7899));
        assert_eq!((keyserver.authority, keyserver.identity.key), ("/s/ca.pem".into(), "/me.key".into()));
        assert_eq!(said.caching.unwrap().value, CacheAges::new(0, 2_592_000).unwrap());
        let named: Vec<_> = said.limited.iter().map(|(key, at)| (*key, at.line)).collect();
        assert_eq!(named, [("connections", 19), ("drain-time", 20), ("upload-size", 18)]);
    }

    #[test]
    fn what_is_not_understood_is_refused_by_line_and_key() {
        for (text, line, key, part) in [
            ("lisen = \"127.0.0.1:1\"", 1, "lisen", "unknown field"),
            ("listen = 4443", 1, "listen", "string"),
            ("\nlisten = \"trust.example\"", 2, "listen", "127.0.0.1:4443"),
            ("data-dir = \"\"", 1, "data-dir", "empty"),
            ("collections = []", 1, "collections", "nothing could be served"),
            ("collections = [\"docker.io\"]", 1, "collections", "slash"),
            ("key-algorithm = \"rsa\"", 1, "key-algorithm", "unknown variant"),
            ("[tls]\ncertificate = \"c\"", 2, "certificate", "needs its key"),
            ("[tls]\nkey = \"c\"", 2, "key", "needs its certificate"),
            ("[tls]\ncertificate = \"c\"\nkey = \"k\"\nnames = []", 4, "names", "own certificate"),
            ("[tls]\nclient = \"c\"", 2, "client", "unknown field"),
            ("[keyserver]\naddress = \"keys.test:7899\"", 1, "", "missing field"),
            (
                "[keyserver]\naddress = \"keys.test\"\nca = \"a\"\ncertificate = \"c\"\nkey = \"k\"",
                2,
                "address",
                "a port are wanted",
            ),
            ("[limits]\nrequests-per-address = 0", 2, "requests-per-address", ""),
            ("[limits]\nrequests-per-user = -1", 2, "requests-per-user", ""),
            ("[limits]\nupload-size-per-hour = \"0\"", 2, "upload-size-per-hour", "128MiB"),
            ("[caching]\ncurrent = 99999999", 2, "caching", "at most"),
            ("[caching]\ncurrent = -1", 2, "current", ""),
            ("[limits]\nconnections = 0", 2, "connections", "nobody"),
            ("[limits]\nconnections-per-client = 0", 2, "connections-per-client", ""),
            ("[limits]\nupload-size = \"1MB\"", 2, "upload-size", "128MiB"),
            ("[limits]\nupload-size = \"99999999999999999999\"", 2, "upload-size", "128MiB"),
            ("[limits]\nheader-time = \"soon\"", 2, "header-time", "30s"),
            ("[limits]\nheader-time = \"-1s\"", 2, "header-time", "30s"),
            ("[audit]\nname = \"a\"", 1, "", "missing field"),
            ("[audit]\nto = \"\"", 2, "audit.to", "empty"),
            ("[audit]\nto = \"stdout\"\nname = \"a b\"", 3, "audit.name", "letters"),
            ("[audit]\nto = \"stdout\"\nrenewals = 1", 3, "renewals", ""),
            ("[retention]", 1, "retention", "says nothing"),
            ("[retention]\nversions = 0", 2, "versions", ""),
            ("[retention]\nweeks = 1", 2, "weeks", "unknown field"),
            ("[storage]\ndatabase = \"sqlite:x\"", 2, "storage.database", "postgres"),
            ("[storage]\ndatabase = \"postgres://u:secret@h/d\"", 2, "storage.database", "password"),
            ("[storage]\nconnections = 1", 1, "", "database"),
            ("[storage]\ndatabase = \"postgres://u@h/d\"\nconnections = 0", 3, "connections", "1000"),
            ("listen = \"127.0.0.1:1\"\nlisten = \"127.0.0.1:2\"", 2, "listen", "duplicate"),
        ] {
            let error = said(text).unwrap_err();
            let told = error.to_string();
            assert!(told.contains(&format!("line {line}")) && told.contains(part), "{text}: {told}");
            assert!(key.is_empty() || told.contains(&format!("({key})")), "{text}: {told}");
        }
    }
}
