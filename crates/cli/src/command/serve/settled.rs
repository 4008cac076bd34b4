//! What counts in the end: options before the file, the file before defaults; and where each value comes from.

use super::access::{self, Decided};
use super::document::{self, At, Observing, Said};
use super::{Flags, default_data_dir};
use crate::command::operation::{Lines, Operation, OperationOptions};
use crate::context::variable;
use crate::error::CliError;
use crate::settings::{Reader, SettingsError, read_trusted};
use countersign_server::{
    Access, ClientCertificates, ClockCheck, Config, KeyAlgorithm, Keys, MetricsConfig, Retention, Tls,
};
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Where the service listens when nothing is said.
const DEFAULT_LISTEN: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 4443);
/// The settings file in the folder of this person's settings.
const FILE: &str = "countersign/serve.toml";

/// Everything decided.
#[derive(Debug)]
pub(super) struct Settled {
    pub(super) config: Config,
    pub(super) operation: Operation,
    /// The settings file, if there is one.
    pub(super) file: Option<PathBuf>,
    pub(super) rows: Vec<Row>,
}

/// One setting, its value, and who says so.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Row {
    pub(super) key: String,
    pub(super) value: String,
    pub(super) from: Origin,
}

/// Where a value comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Origin {
    Default,
    Option(&'static str),
    /// A line of the settings file.
    Line(usize),
}

impl Settled {
    /// Reads the settings file, if there is one, and lets options win over it.
    pub(super) fn of(flags: &Flags) -> Result<Self, CliError> {
        let file = Self::place(flags.config.as_deref());
        let text = file.as_deref().map(read_trusted).transpose()?.flatten();
        match (&file, &text, &flags.config) {
            (Some(file), Some(text), _) => {
                let said = document::read(&Reader::of(file, text))?;
                Ok(Self { file: Some(file.clone()), ..Self::decide(flags, said)? })
            }
            (Some(file), None, Some(_)) => Err(SettingsError::of_file(file, "it is not there").into()),
            _ => Self::decide(flags, Said::default()),
        }
    }

    /// Returns where the settings are: where somebody says, else `countersign/serve.toml` in the configuration folder.
    fn place(named: Option<&Path>) -> Option<PathBuf> {
        if let Some(named) = named {
            return Some(named.to_owned());
        }
        let base = variable("XDG_CONFIG_HOME").map(PathBuf::from).filter(|path| path.is_absolute());
        base.or_else(|| Some(etcetera::home_dir().ok()?.join(".config"))).map(|base| base.join(FILE))
    }

    fn decide(flags: &Flags, said: Said) -> Result<Self, CliError> {
        let mut chooser = Chooser { rows: Vec::new() };
        let listen = chooser.choose(
            "listen",
            ("--listen", flags.listen),
            said.listen,
            || Ok(DEFAULT_LISTEN),
            ToString::to_string,
        )?;
        let data_dir = chooser.choose(
            "data-dir",
            ("--data-dir", flags.data_dir.clone()),
            said.data_dir,
            default_data_dir,
            |path| path.display().to_string(),
        )?;
        let mut config = Config::new(listen, data_dir);
        let (storage, shown, from) = flags.database.storage(said.storage)?;
        config.storage = storage;
        chooser.row("storage", shown, from);
        config.tls = tls(&mut chooser, flags, said.certificate, said.names)?;
        if let Some(At { value: (prefixes, list), line }) = said.collections {
            config.gun_prefixes = prefixes;
            chooser.row("collections", list.join(" "), Origin::Line(line));
        } else {
            chooser.row("collections", "all".to_owned(), Origin::Default);
        }
        let ecdsa = || Ok(KeyAlgorithm::EcdsaP256);
        config.key_algorithm =
            chooser.choose("key-algorithm", ("", None), said.key_algorithm, ecdsa, |name| spelled(*name))?;
        (config.access, config.client_certificates) = access(&mut chooser, said.access)?;
        config.audit = flags.audit.settle(said.audit, &mut chooser.rows)?;
        let ages =
            |ages: &countersign_server::CacheAges| format!("{} s, immutable {} s", ages.current(), ages.consistent());
        config.cache_ages = chooser.choose("caching", ("", None), said.caching, || Ok(config.cache_ages), ages)?;
        config.retention = retention(&mut chooser, said.retention);
        config.limits = said.limits;
        for (key, At { value, line }) in said.limited {
            chooser.row(&format!("limits.{key}"), value, Origin::Line(line));
        }
        config.keys = chooser.choose(
            "keyserver",
            ("--keyserver", flags.keyserver().map(Keys::Keyserver)),
            said.keyserver.map(|At { value, line }| At { value: Keys::Keyserver(value), line }),
            || Ok(Keys::Here),
            where_keys_are,
        )?;
        if flags.trust_clock {
            config.clock_check = ClockCheck::OperatorsWord;
        }
        config.renewal.restored = flags.restored;
        let (operation, metrics) = observe(&mut chooser, &flags.operation, said.observed)?;
        config.metrics = metrics;
        if let Some(audit) = &mut config.audit {
            audit.settings = Some(super::audit::fingerprint(&chooser.rows));
        }
        Ok(Self { config, operation, file: None, rows: chooser.rows })
    }
}

fn retention(chooser: &mut Chooser, said: Option<At<Retention>>) -> Option<Retention> {
    let (retention, from) = said.map(|At { value, line }| (value, Origin::Line(line))).unzip();
    let from = from.unwrap_or(Origin::Default);
    chooser.row("retention", super::retention::describe(retention.as_ref()), from);
    retention
}

fn access(chooser: &mut Chooser, said: Option<At<Decided>>) -> Result<(Access, Option<ClientCertificates>), CliError> {
    let line = said.as_ref().map_or(0, |said| said.line);
    let (access, certificates) = match said {
        Some(At { value: Decided { access, certificates }, .. }) => (Some(At { value: access, line }), certificates),
        None => (None, None),
    };
    let access = chooser.choose("access", ("", None), access, || Ok(Access::Open), access::describe)?;
    if let Some(rules) = access::describe_rules(&access) {
        chooser.row("access.rules", rules, Origin::Line(line));
    }
    if let Some(At { value, line }) = &certificates {
        chooser.row("access.certificates", access::describe_certificates(value), Origin::Line(*line));
    }
    Ok((access, certificates.map(|certificates| certificates.value)))
}

fn observe(
    chooser: &mut Chooser,
    flags: &OperationOptions,
    said: Observing,
) -> Result<(Operation, MetricsConfig), CliError> {
    let address = |address: &Option<SocketAddr>| match address {
        Some(address) => address.to_string(),
        None => "with everything else".to_owned(),
    };
    let some = |at: At<SocketAddr>| At { value: Some(at.value), line: at.line };
    let option = ("--metrics-listen", flags.metrics_listen.map(Some));
    let listen = chooser.choose("metrics.listen", option, said.metrics.map(some), || Ok(None), address)?;
    let expiring = chooser.choose(
        "metrics.collections",
        ("", None),
        said.collections,
        || Ok(0),
        |number| if *number == 0 { "none is named".to_owned() } else { format!("the {number} that expire first") },
    )?;
    if expiring > 0 && listen.is_none() {
        let text = "metrics.collections names collections: give the metrics an address of their own (metrics.listen)";
        return Err(CliError::user(text));
    }
    let seconds = |time: &Duration| format!("{} s", time.as_secs());
    let default = MetricsConfig::default().survey_pause;
    let survey_pause =
        chooser.choose("metrics.survey-pause", ("", None), said.survey_pause, || Ok(default), seconds)?;
    let format = chooser.choose(
        "log.format",
        ("--log-format", flags.log_format),
        said.format,
        || Ok(Lines::Text),
        |lines| format!("{lines:?}").to_lowercase(),
    )?;
    let mut operation = Operation { log_format: format.into(), ..Operation::default() };
    if let Some(At { value, line }) = said.level {
        chooser.row("log.level", value.clone(), Origin::Line(line));
        operation.log_level = Some(value);
    }
    if flags.admin_socket.is_some() || said.socket.is_some() {
        let (option, none) = (("--admin-socket", flags.admin_socket.clone()), || Ok(PathBuf::new()));
        let show = |path: &PathBuf| path.display().to_string();
        operation.admin_socket = Some(chooser.choose("admin.socket", option, said.socket, none, show)?);
    }
    if flags.traces.is_some() || said.traces.is_some() {
        let (option, none) = (("--traces", flags.traces.clone()), || Ok(String::new()));
        operation.traces = Some(chooser.choose("traces.endpoint", option, said.traces, none, String::clone)?);
    }
    let option = ("--drain-delay", flags.drain_delay);
    let none = || Ok(Duration::ZERO);
    operation.drain_delay = chooser.choose("limits.drain-delay", option, said.drain_delay, none, seconds)?;
    Ok((operation, MetricsConfig { listen, expiring, survey_pause }))
}

fn tls(
    chooser: &mut Chooser,
    flags: &Flags,
    files: Option<At<(PathBuf, PathBuf)>>,
    names: Option<At<Vec<String>>>,
) -> Result<Tls, CliError> {
    let given = flags.tls_cert.clone().zip(flags.tls_key.clone());
    let own_names = (!flags.tls_name.is_empty()).then(|| flags.tls_name.clone());
    // Names on the command line are for the own certificate: they win over a certificate in the file, too.
    let files = if own_names.is_some() { None } else { files };
    if given.is_some() || files.is_some() {
        let show =
            |(certificate, key): &(PathBuf, PathBuf)| format!("{} with {}", certificate.display(), key.display());
        let none = || Err(CliError::user("there is no certificate"));
        let (certificate, key) = chooser.choose("tls.certificate", ("--tls-cert", given), files, none, show)?;
        return Ok(Tls::Files { certificate, key });
    }
    let show =
        |names: &Vec<String>| if names.is_empty() { "none beside localhost".to_owned() } else { names.join(" ") };
    let names = chooser.choose("tls.names", ("--tls-name", own_names), names, || Ok(Vec::new()), show)?;
    Ok(Tls::OwnAuthority { names })
}

fn spelled(algorithm: KeyAlgorithm) -> String {
    match algorithm {
        KeyAlgorithm::EcdsaP256 => "ecdsa".to_owned(),
        KeyAlgorithm::Ed25519 => "ed25519".to_owned(),
    }
}

fn where_keys_are(keys: &Keys) -> String {
    match keys {
        Keys::Keyserver(keyserver) => format!("{}:{}", keyserver.host, keyserver.port),
        Keys::Here => "none: this service makes and uses its keys itself".to_owned(),
    }
}

struct Chooser {
    rows: Vec<Row>,
}

impl Chooser {
    fn row(&mut self, key: &str, value: String, from: Origin) {
        self.rows.push(Row { key: key.to_owned(), value, from });
    }

    fn choose<T>(
        &mut self,
        key: &str,
        (option, given): (&'static str, Option<T>),
        said: Option<At<T>>,
        default: impl FnOnce() -> Result<T, CliError>,
        show: impl Fn(&T) -> String,
    ) -> Result<T, CliError> {
        let (value, from) = match (given, said) {
            (Some(value), _) => (value, Origin::Option(option)),
            (None, Some(At { value, line })) => (value, Origin::Line(line)),
            (None, None) => (default()?, Origin::Default),
        };
        self.row(key, show(&value), from);
        Ok(value)
    }
}
