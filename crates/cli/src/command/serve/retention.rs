//! `countersign serve retention`: which old versions go.

use super::settled::Settled;
use super::storage::DatabaseOptions;
use super::{Flags, chain};
use crate::command::Format;
use crate::error::{CliError, Kind};
use crate::output::{data, message};
use clap::Args;
use countersign_server::{Mode, Retention, RetentionReport, Service};
use jiff::{SignedDuration, Timestamp};
use serde_json::json;
use std::num::NonZeroU32;
use std::path::PathBuf;

/// Say which old versions the rules would take away, and how much they take in the database
///
/// Every root stays for ever, and so does what the current timestamp leads to. The service may be running.
#[derive(Debug, Args)]
pub(crate) struct Retain {
    /// Take them away
    #[arg(long)]
    apply: bool,
    /// Keep so many newest versions of every role, instead of what the settings file says
    #[arg(long, value_name = "N")]
    versions: Option<NonZeroU32>,
    /// Keep what was current within so many days, instead of what the settings file says
    #[arg(long, value_name = "N")]
    days: Option<NonZeroU32>,
    /// The settings file [default: countersign/serve.toml in the XDG configuration directory, if it is there]
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Where the service keeps everything [default: countersign/serve in the XDG data directory]
    #[arg(long, value_name = "DIR")]
    data_dir: Option<PathBuf>,
    #[command(flatten)]
    database: DatabaseOptions,
    /// How to print it
    #[arg(long, value_enum, default_value_t = Format::Text)]
    format: Format,
}

impl Retain {
    pub(crate) async fn run(&self) -> Result<(), CliError> {
        let flags = Flags {
            config: self.config.clone(),
            data_dir: self.data_dir.clone(),
            database: self.database.clone(),
            ..Flags::default()
        };
        let config = Settled::of(&flags)?.config;
        let Some(retention) = rules(self.versions, self.days).or(config.retention) else {
            return Err(CliError::user(
                "everything is kept: --versions, --days or [retention] in the settings file say what is to stay",
            ));
        };
        let mode = if self.apply { Mode::Apply } else { Mode::DryRun };
        let report = Service::retain(&config, retention, Timestamp::now(), mode).await;
        let report = report.map_err(|error| CliError::new(Kind::Local, chain(&error)))?;
        self.print(&report)?;
        for (gun, trouble) in &report.troubles {
            message(format_args!("{gun} keeps everything: {}", chain(trouble)));
        }
        if report.failed > 0 {
            let text = format!("{} collections keep everything because something is wrong with them", report.failed);
            return Err(CliError::new(Kind::Findings, text));
        }
        Ok(())
    }

    fn print(&self, report: &RetentionReport) -> Result<(), CliError> {
        let going = report.account.going();
        if self.format == Format::Json {
            let roles = report.account.0.iter().map(|(kind, figures)| {
                let amount =
                    |amount: &countersign_server::Amount| json!({"versions": amount.versions, "bytes": amount.bytes});
                json!({"role": kind, "stored": amount(&figures.stored), "going": amount(&figures.going),
                    "referred_to": amount(&figures.referred_to)})
            });
            return data(json!({"applied": self.apply, "collections": report.collections,
                "failed": report.failed, "roles": roles.collect::<Vec<_>>()}));
        }
        let verb = if self.apply { "gone" } else { "would go" };
        for (kind, figures) in &report.account.0 {
            data(format_args!(
                "{kind}: {} versions, {} bytes; {verb}: {} versions, {} bytes; kept for others: {} versions, {} bytes",
                figures.stored.versions,
                figures.stored.bytes,
                figures.going.versions,
                figures.going.bytes,
                figures.referred_to.versions,
                figures.referred_to.bytes,
            ))?;
        }
        data(format_args!(
            "{} collections; {verb}: {} versions, {} bytes",
            report.collections, going.versions, going.bytes
        ))?;
        if !self.apply && going.versions > 0 {
            message("nothing was changed: --apply takes them away");
        }
        Ok(())
    }
}

/// Returns what stays by these numbers.
pub(super) fn rules(versions: Option<NonZeroU32>, days: Option<NonZeroU32>) -> Option<Retention> {
    Retention::of(versions, days.map(|days| SignedDuration::from_hours(24 * i64::from(days.get()))))
}

/// Says what stays.
pub(super) fn describe(retention: Option<&Retention>) -> String {
    let days = |age: &SignedDuration| age.as_hours() / 24;
    match retention {
        None => "everything stays".to_owned(),
        Some(Retention::Versions(versions)) => format!("the {versions} newest versions of each role"),
        Some(Retention::Age(age)) => format!("what was current within {} days", days(age)),
        Some(Retention::VersionsAndAge(versions, age)) => {
            format!("the {versions} newest versions of each role, and what was current within {} days", days(age))
        }
    }
}
