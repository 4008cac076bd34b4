//! `countersign doctor`: what is not as it should be, and the command that mends it. Nothing is changed.

mod ailments;
mod backups;
mod collections;
mod docker;
mod finding;
mod home;
mod keys;
mod kind;
mod pins;
mod refusals;
mod repair;
mod services;
mod startup_files;
mod tls;
mod variables;

use super::Format;
use crate::context::{Context, ContextOptions, GlobalOptions, Parts};
use crate::error::{CliError, Kind as ErrorKind};
use crate::output::data;
use crate::period::Period;
use crate::settings::{Settings, SettingsError};
use clap::Args;
use countersign_image::Reference;
use countersign_registry::credentials::CredentialStore;
use countersign_registry::http::{Patience, ProxyRules};
use countersign_trust::Destination;
use countersign_trust::condition::Horizon;
use countersign_tuf::Gun;
use countersign_vault::is_secret_variable;
use finding::{Finding, Report};
use jiff::Timestamp;
use kind::Severity;
use repair::Commands;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

/// How early is warned of what expires where nothing else is said.
const WARN_BEFORE: Period = Period::days(30);
/// The same for timestamps: services renew them days ahead.
const WARN_TIMESTAMP_BEFORE: Period = Period::days(1);

/// Check this machine, its keys and its trust services without changing anything, and say what mends what is wrong
///
/// Without images everything is looked at that the trust directory knows, and every trust service that is configured. No
/// passphrase is asked for. Ends with 6 when something is found.
#[derive(Debug, Args)]
pub(crate) struct Doctor {
    /// Look at these images' collections alone, besides this machine; a tag does not matter
    #[arg(value_name = "IMAGE")]
    images: Vec<String>,
    /// Ask no trust service
    #[arg(long)]
    offline: bool,
    /// Warn of what expires within this time [default: the settings file, else 30d]
    #[arg(long, value_name = "TIME")]
    warn_before: Option<Period>,
    /// Warn of a timestamp that expires within this time; the service renews it by itself
    #[arg(long, value_name = "TIME", default_value_t = WARN_TIMESTAMP_BEFORE)]
    warn_timestamp_before: Period,
    /// Warn of keys that are older than this [default: the settings file, else no key is too old]
    #[arg(long, value_name = "TIME")]
    rotate_every: Option<Period>,
    /// How long a trust service may take to answer
    #[arg(long, value_name = "TIME", default_value_t = Period::seconds(15))]
    timeout: Period,
    /// From which severity on the command fails
    #[arg(long, value_enum, default_value = "warning")]
    fail_on: Severity,
    /// How to print
    #[arg(long, value_enum, default_value = "text")]
    format: Format,
}

/// Whether trust services are asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Network {
    Asked,
    LeftAlone,
}

/// What every check works with.
struct Bench {
    now: Timestamp,
    horizon: Horizon,
    rotate_every: Option<Period>,
    network: Network,
    /// How long a service may take.
    limit: Duration,
    commands: Commands,
    docker_config: PathBuf,
    trust_dir: PathBuf,
    /// The collections that were named; none means all.
    named: Vec<Gun>,
}

impl Bench {
    fn patience(&self) -> Patience {
        Patience { answer: self.limit, idle: self.limit, total: self.limit, trickle: self.limit }
    }

    /// Tells whether a collection is to be looked at.
    fn is_wanted(&self, gun: &Gun) -> bool {
        self.named.is_empty() || self.named.contains(gun)
    }
}

/// A collection and where its trust service is.
struct Subject {
    gun: Gun,
    to: Destination,
}

impl Doctor {
    pub(crate) async fn run(&self, options: &GlobalOptions) -> Result<(), CliError> {
        let mut report = Report::default();
        let now = Timestamp::now();
        self.examine(options, now, &mut report).await?;
        report.sort();
        match self.format {
            Format::Text => report.print()?,
            Format::Json => data(report.json(now))?,
        }
        let severities = [Severity::Note, Severity::Warning, Severity::Error];
        let failing = severities.into_iter().filter(|severity| *severity >= self.fail_on);
        match failing.map(|severity| report.count(severity)).sum() {
            0 => Ok(()),
            _ => Err(CliError::new(ErrorKind::Findings, format!("not everything is in order: {}", report.summary()))),
        }
    }

    async fn examine(&self, options: &GlobalOptions, now: Timestamp, report: &mut Report) -> Result<(), CliError> {
        let named = self.images.iter().map(|image| Ok(Reference::parse(image)?.gun().clone()));
        let named = named.collect::<Result<BTreeSet<Gun>, CliError>>()?.into_iter().collect();
        let (read, broken_variable) = ContextOptions::despite_variables(options)?;
        let settings = Settings::load();
        let bench = self.bench(options, &read, settings.as_ref().ok(), named, now);
        variables::check(&bench, broken_variable.as_ref(), report);
        startup_files::check(report);
        let audit_log = read.audit_log.clone();
        let audit_log = audit_log.or_else(|| settings.as_ref().ok()?.audit_log().map(Path::to_owned));
        variables::check_audit_log(audit_log.as_deref(), report);
        if let Ok(settings) = &settings {
            variables::check_passphrase_command(settings, report);
        }
        docker::check(&bench, report);
        let credentials = CredentialStore::from_environment(&bench.docker_config).withholding(is_secret_variable);
        let credentials = Arc::new(credentials);
        for remark in credentials.remarks() {
            let place = bench.docker_config.join("config.json");
            let advice = "mend the file, or remove it and log in again: docker login";
            report.add(Finding::new(&kind::DOCKER_CONFIG_UNUSABLE, place.display(), remark).advice(advice));
        }
        let Some(directory) = home::check(&bench, report) else {
            report.not_made("keys and collections", "the trust directory cannot be read");
            return Ok(());
        };
        keys::check_files(&bench, &directory, report);
        backups::check(&bench, &directory, report);
        let settings = match (settings, broken_variable) {
            (Ok(settings), None) => settings,
            (Err(error), _) => {
                report.add(settings_finding(&error));
                report.not_made("trust services, collections and pins", "the settings are not understood");
                return Ok(());
            }
            (Ok(_), Some(_)) => {
                report.not_made("trust services, collections and pins", "it is not known which services count");
                return Ok(());
            }
        };
        let proxies = match ProxyRules::from_environment() {
            Ok(proxies) => proxies,
            Err(error) => {
                let advice = "a proxy is named as http://HOST:PORT";
                let place = "HTTPS_PROXY, HTTP_PROXY, NO_PROXY";
                report.add(Finding::new(&kind::PROXY_INVALID, place, error).advice(advice));
                report.not_made("trust services, collections and pins", "the proxies are not understood");
                return Ok(());
            }
        };
        let context = Context::observing(Parts { options: read, settings, proxies, directory, credentials, now })?;
        look(&bench, &context, report).await;
        Ok(())
    }

    fn bench(
        &self,
        options: &GlobalOptions,
        read: &ContextOptions,
        settings: Option<&Settings>,
        named: Vec<Gun>,
        now: Timestamp,
    ) -> Bench {
        let warn_before = self.warn_before.or_else(|| settings?.warn_before()).unwrap_or(WARN_BEFORE);
        let rotate_every = self.rotate_every.or_else(|| settings?.keys().rotate_every());
        Bench {
            now,
            horizon: Horizon {
                now,
                soon: warn_before.after(now),
                timestamp_soon: self.warn_timestamp_before.after(now),
            },
            rotate_every,
            network: if self.offline { Network::LeftAlone } else { Network::Asked },
            limit: self.timeout.as_duration().max(Duration::from_millis(100)),
            commands: Commands::new(options, &read.trust_dir),
            docker_config: read.docker_config.clone(),
            trust_dir: read.trust_dir.clone(),
            named,
        }
    }
}

/// Looks at services, collections, and what rests on them.
async fn look(bench: &Bench, context: &Context, report: &mut Report) {
    let known = known_collections(context, report);
    let guns = if bench.named.is_empty() { known.clone() } else { bench.named.clone() };
    let mut subjects = Vec::new();
    for gun in guns {
        match context.destination(&gun) {
            Ok((to, _)) => subjects.push(Subject { gun, to }),
            Err(error) => report.add(not_checked(gun.as_str(), &error.message)),
        }
    }
    let destinations = destinations(bench, context, &subjects);
    variables::check_services(context, report);
    tls::check(bench, context, &destinations, report);
    let standings = services::check(bench, context, &destinations, report).await;
    let examined = collections::check(bench, context, &subjects, &standings, report).await;
    keys::check_uses(bench, context, &examined, report);
    pins::check(bench, context, &known, &examined, report);
    if bench.network == Network::LeftAlone {
        report.not_made("trust services, and what they have of the collections", "--offline was given");
    }
    let services = destinations.iter().map(|to| to.address.to_string()).collect();
    report.looked_at(examined.iter().map(|one| one.gun.to_string()).collect(), services);
}

fn known_collections(context: &Context, report: &mut Report) -> Vec<Gun> {
    context.directory.collections().unwrap_or_else(|error| {
        let place = context.directory.path().join("tuf");
        report.add(Finding::new(&kind::TRUST_DIRECTORY_UNUSABLE, place.display(), error).advice(home::MOVE_AWAY));
        Vec::new()
    })
}

/// Returns the services of the collections and, where no image was named, all that are configured.
fn destinations(bench: &Bench, context: &Context, subjects: &[Subject]) -> Vec<Destination> {
    let mut all: Vec<Destination> = subjects.iter().map(|subject| subject.to.clone()).collect();
    if bench.named.is_empty() {
        match context.server() {
            Some((server, _)) => all.push(server),
            None => all.extend(context.settings().services().map(|(_, to, _)| to)),
        }
    }
    let mut once: Vec<Destination> = Vec::new();
    for to in all {
        if !once.iter().any(|known| known.address == to.address) {
            once.push(to);
        }
    }
    once
}

fn settings_finding(error: &SettingsError) -> Finding {
    let place = if error.line > 0 {
        format!("{} line {}", error.file.display(), error.line)
    } else {
        error.file.display().to_string()
    };
    // The reason ends with the command.
    match error.reason.split_once("chmod go-w") {
        Some(_) => {
            Finding::new(&kind::SETTINGS_OPEN, place, error).command(repair::on_file(&["chmod", "go-w"], &error.file))
        }
        None => Finding::new(&kind::SETTINGS_INVALID, place, error)
            .advice("mend the line: docs/reference/configuration.md has every key"),
    }
}

/// Says that a check could not be made, and why.
fn not_checked(what: &str, why: impl std::fmt::Display) -> Finding {
    Finding::new(&kind::NOT_CHECKED, what, why).advice("mend what is in the way, and run countersign doctor again")
}
