//! What both services offer whoever runs them: the log and its level, traces, the word to systemd, the order of an end.

use crate::context::variable;
use crate::error::{CliError, Kind};
use crate::output::message;
use crate::runtime;
use clap::{Args, ValueEnum};
use countersign_telemetry::{AdminSocket, Log, LogFormat, Systemd, Traces, Watchdog};
use serde::Deserialize;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;
use tokio::signal::unix::{Signal, SignalKind};

/// The variable that says what the log shows, before everything else.
const LOG: &str = "COUNTERSIGN_LOG";

/// How lines of the log are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Lines {
    /// For people.
    Text,
    /// One JSON object a line.
    Json,
}

/// What can be said on the command line.
#[derive(Debug, Clone, Default, Args)]
pub(crate) struct OperationOptions {
    /// How the log on stderr is written [default: text]
    #[arg(long, value_enum, value_name = "FORMAT")]
    pub(crate) log_format: Option<Lines>,
    /// An IP address and port of their own for /metrics, /livez and /readyz, by plain HTTP
    #[arg(long, value_name = "ADDR:PORT", value_parser = super::serve::listen_address)]
    pub(crate) metrics_listen: Option<SocketAddr>,
    /// A socket on which this user can ask for the log level and change it
    #[arg(long, value_name = "FILE")]
    pub(crate) admin_socket: Option<PathBuf>,
    /// The OpenTelemetry collector that traces are sent to, by OTLP over HTTP; `OTEL_…` variables count first
    #[arg(long, value_name = "URL")]
    pub(crate) traces: Option<String>,
    /// Told to end, say so in /readyz for this long before connections are refused [default: 0s]
    #[arg(long, value_name = "TIME", value_parser = pause)]
    pub(crate) drain_delay: Option<Duration>,
}

/// What was decided.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Operation {
    pub(crate) log_format: LogFormat,
    pub(crate) log_level: Option<String>,
    pub(crate) admin_socket: Option<PathBuf>,
    pub(crate) traces: Option<String>,
    pub(crate) drain_delay: Duration,
}

impl From<Lines> for LogFormat {
    fn from(lines: Lines) -> Self {
        match lines {
            Lines::Text => Self::Text,
            Lines::Json => Self::Json,
        }
    }
}

/// What is on while a service runs.
pub(crate) struct Observed {
    log: Log,
    traces: Option<Traces>,
    _admin: Option<AdminSocket>,
    watchdog: Option<Watchdog>,
    more: Signal,
    less: Signal,
    terminate: Signal,
    interrupt: Signal,
    hangup: Signal,
}

/// What a service was told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Told {
    End,
    Reload,
}

impl Observed {
    /// Starts the log, and what else was asked for.
    pub(crate) fn start(service: &'static str, operation: &Operation, verbose: u8) -> Result<Self, CliError> {
        let variable = variable(LOG).and_then(|text| text.into_string().ok());
        let said = if verbose > 0 { None } else { operation.log_level.clone() };
        let filter = variable.or(said).unwrap_or_else(|| runtime::level(verbose).to_owned());
        let log = Log::start(operation.log_format, &filter).map_err(CliError::user)?;
        let listen_for = super::serve::listen_for;
        let admin = operation.admin_socket.as_deref().map(|path| {
            let failed =
                |error| CliError::new(Kind::Local, format!("{} cannot be listened on: {error}", path.display()));
            AdminSocket::open(path, log.clone()).map_err(failed)
        });
        let traces = Traces::start(service, operation.traces.as_deref());
        Ok(Self {
            traces: traces.map_err(|error| CliError::user(super::serve::chain(&error)))?,
            _admin: admin.transpose()?,
            watchdog: None,
            more: listen_for(SignalKind::user_defined1())?,
            less: listen_for(SignalKind::user_defined2())?,
            terminate: listen_for(SignalKind::terminate())?,
            interrupt: listen_for(SignalKind::interrupt())?,
            hangup: listen_for(SignalKind::hangup())?,
            log,
        })
    }

    /// Says that the service serves, and from now on that it lives, as long as it does.
    pub(crate) fn serves(&mut self, status: &str, liveness: impl Fn() -> bool + Send + 'static) {
        Systemd.ready(status);
        self.watchdog = Systemd.watch(liveness);
    }

    /// Waits until the service is told something; what is for the log is done meanwhile.
    pub(crate) async fn told(&mut self) -> Told {
        loop {
            let level = tokio::select! {
                _ = self.terminate.recv() => return Told::End,
                _ = self.interrupt.recv() => return Told::End,
                _ = self.hangup.recv() => return Told::Reload,
                _ = self.more.recv() => self.log.more(),
                _ = self.less.recv() => self.log.less(),
            };
            match level {
                Some(level) => message(format_args!("the log level is {level} now")),
                None => message(format_args!("the log level stays {}: there is none beyond", self.log.level())),
            }
        }
    }

    /// Waits until the service is told to end; once more, or the first time.
    pub(crate) async fn told_to_end(&mut self) {
        while self.told().await != Told::End {}
    }

    /// Does the last thing: sends the spans that are left.
    pub(crate) async fn end(self) {
        if let Some(traces) = self.traces {
            traces.end().await;
        }
    }
}

/// Reads a time that may be none at all, such as `5s` or `0s`.
pub(crate) fn pause(text: &str) -> Result<Duration, String> {
    let parsed = text.parse::<jiff::SignedDuration>().ok().and_then(|time| Duration::try_from(time).ok());
    parsed.ok_or_else(|| "a time is wanted, such as 0s, 5s or 1m 30s".to_owned())
}
