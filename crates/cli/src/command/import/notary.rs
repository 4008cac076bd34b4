//! `countersign import notary`: everything in the databases of a reference's server and signer, taken over by a service of ours.

use crate::command::Format;
use crate::command::serve::{Place, chain};
use crate::context::variable;
use crate::error::{CliError, Kind};
use crate::output::{Listing, message};
use clap::Args;
use countersign_server::import::{Done, ImportError, Importer, KeysGo, OldService, Outcome};
use countersign_server::{Alias, Backend, DatabaseUrl, DatabaseUrlError, Password};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;
use tokio::signal::unix::{Signal, SignalKind, signal};
use zeroize::Zeroizing;

/// How often the old service's change feed is asked while it is followed.
const LOOK: Duration = Duration::from_secs(1);
/// How long is waited at most when a database is away.
const LONGEST_PAUSE: Duration = Duration::from_secs(30);
/// What the signer's variables with passphrases begin with.
const PREFIX: &str = "NOTARY_SIGNER_";

/// Take over all collections and keys from the databases of a Notary server and signer
///
/// Every collection is verified while it is copied, and what is broken is said and left out. The passphrases of the signer's
/// keys are read from the variables that the signer has them in. The old databases are only read. Interrupted, it goes on
/// where it was when it is started again. The new service must not run meanwhile.
#[derive(Debug, Args)]
pub(crate) struct Notary {
    /// The server's database: a URL, or what the server's configuration file says
    #[arg(long, value_name = "URL", env = "COUNTERSIGN_IMPORT_SERVER_DB", hide_env_values = true)]
    server_db: String,
    /// The signer's database
    #[arg(long, value_name = "URL", env = "COUNTERSIGN_IMPORT_SIGNER_DB", hide_env_values = true)]
    signer_db: String,
    #[command(flatten)]
    place: Place,
    /// Leave the keys at the signer, ours or the reference's, which the new service is to use with --keyserver
    #[arg(long)]
    keep_signer: bool,
    /// Follow what changes at the old service, until SIGINT or SIGTERM; then take the rest and end
    #[arg(long)]
    follow: bool,
    /// How to print the outcome
    #[arg(long, value_enum, default_value = "text")]
    format: Format,
}

impl Notary {
    pub(super) async fn run(&self) -> Result<(), CliError> {
        let config = self.place.config()?;
        let old = OldService { server: database(&self.server_db)?, signer: database(&self.signer_db)? };
        let keys = if self.keep_signer { KeysGo::Nowhere } else { KeysGo::ToTheService };
        let opened = Importer::open(&config, &old, keys, Arc::new(passphrase)).await;
        let mut importer = opened.map_err(|error| failed(&error))?;
        let mut ledger = Ledger::default();
        let ended = self.take_all(&mut importer, &mut ledger).await;
        importer.close().await;
        let printed = ledger.end(self.format);
        ended?;
        printed
    }

    async fn take_all(&self, importer: &mut Importer, ledger: &mut Ledger) -> Result<(), CliError> {
        let mut told = if self.follow { Some(Told::listen()?) } else { None };
        tokio::select! {
            taken = take_what_is_there(importer, ledger) => taken.map_err(|error| failed(&error))?,
            () = told_to_end(told.as_mut()) => {
                let error = CliError::new(Kind::Local, "this was ended before everything was copied: nothing was followed");
                return Err(error.hint("what was taken over is kept: the same command goes on where this one ended"));
            }
        }
        if told.is_some() {
            message("following: stop the old service, then end this with SIGINT or SIGTERM");
            let mut pause = LOOK;
            loop {
                tokio::select! {
                    () = told_to_end(told.as_mut()) => break,
                    () = tokio::time::sleep(pause) => {}
                }
                match importer.take_changes(&mut |outcome| ledger.changed(outcome)).await {
                    Ok(count) => {
                        if count > 0 {
                            message(format_args!("changes followed: {count}"));
                        }
                        pause = LOOK;
                    }
                    // A database that is restarted comes back.
                    Err(error @ (ImportError::Old { .. } | ImportError::New(_))) => {
                        message(format_args!("not followed for now: {}", chain(&error)));
                        pause = (pause * 2).min(LONGEST_PAUSE);
                    }
                    Err(error) => return Err(failed(&error)),
                }
            }
        }
        take_the_rest(importer, ledger).await.map_err(|error| failed(&error))?;
        message("everything that is there has been taken over: start the new service");
        Ok(())
    }
}

async fn take_what_is_there(importer: &mut Importer, ledger: &mut Ledger) -> Result<(), ImportError> {
    let keys = importer.take_keys(&mut |outcome| ledger.key(outcome)).await?;
    message(format_args!("keys taken over: {keys}"));
    // What was deleted meanwhile goes before what is there is compared.
    importer.take_changes(&mut |outcome| ledger.changed(outcome)).await?;
    importer.take_collections(&mut |outcome| ledger.collection(outcome)).await?;
    message(format_args!("collections looked at: {}", ledger.rows.len()));
    while importer.take_changes(&mut |outcome| ledger.changed(outcome)).await? > 0 {}
    Ok(())
}

async fn take_the_rest(importer: &mut Importer, ledger: &mut Ledger) -> Result<(), ImportError> {
    while importer.take_changes(&mut |outcome| ledger.changed(outcome)).await? > 0 {}
    // Keys that were made meanwhile and have not signed yet are in no root. What is wrong with a key now is said again.
    ledger.forget_keys();
    importer.take_keys(&mut |outcome| ledger.key(outcome)).await.map(drop)
}

/// The signals that end the following.
struct Told {
    terminate: Signal,
    interrupt: Signal,
}

impl Told {
    fn listen() -> Result<Self, CliError> {
        let listen = |kind| signal(kind).map_err(|error| CliError::internal(&error));
        Ok(Self { terminate: listen(SignalKind::terminate())?, interrupt: listen(SignalKind::interrupt())? })
    }
}

/// Returns when somebody says so; never where nobody can.
async fn told_to_end(told: Option<&mut Told>) {
    let Some(Told { terminate, interrupt }) = told else { return std::future::pending().await };
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
}

/// Reads an address as the reference's configuration has it, or as a URL.
pub(crate) fn database(text: &str) -> Result<DatabaseUrl, CliError> {
    let url = match text.split_once("://") {
        Some(("postgres" | "postgresql", _)) => DatabaseUrl::of_reference(Backend::Postgres, text),
        Some(("mysql" | "mariadb", rest)) => mysql(text, rest),
        _ => DatabaseUrl::of_reference(Backend::MySql, text),
    };
    url.map_err(CliError::user)
}

/// Reads a URL, whose password goes a way of its own.
fn mysql(text: &str, rest: &str) -> Result<DatabaseUrl, DatabaseUrlError> {
    let place = rest.split(['/', '?']).next().unwrap_or_default();
    let Some((user, password)) = place.rsplit_once('@').and_then(|(who, _)| who.split_once(':')) else {
        return DatabaseUrl::parse(text);
    };
    let without = text.replacen(&format!("{user}:{password}@"), &format!("{user}@"), 1);
    let password =
        percent_encoding::percent_decode_str(password).decode_utf8().map_err(|_| DatabaseUrlError::Password)?;
    Ok(DatabaseUrl::parse(&without)?.with_password(&Password::new(&password)?))
}

/// The passphrase of an alias, where a signer has it: the reference's, or ours, which also takes a name that shells can export.
fn passphrase(alias: &Alias) -> Option<Zeroizing<String>> {
    let reference = format!("{PREFIX}{}", alias.as_str().to_uppercase().replace('.', "_"));
    let values = [exported(alias), reference].into_iter().filter_map(|name| variable(&name)?.into_string().ok());
    values.filter(|value| !value.is_empty()).map(Zeroizing::new).next()
}

/// The variable of an alias, in a form that shells can export.
fn exported(alias: &Alias) -> String {
    format!("{PREFIX}{}", alias.as_str().to_uppercase().replace(['.', '-'], "_"))
}

fn failed(error: &ImportError) -> CliError {
    match error {
        ImportError::Passphrase { alias, .. } => CliError::user(chain(error))
            .hint(format!("give it in the variable {}, as the signer has it", exported(alias))),
        _ => CliError::new(Kind::Local, chain(error))
            .hint("what was taken over is kept: the same command goes on where this one ended"),
    }
}

/// What became of each collection.
#[derive(Default)]
struct Ledger {
    rows: BTreeMap<String, Row>,
}

#[derive(Default)]
struct Row {
    done: Option<Done>,
    files: u64,
    problems: Vec<String>,
    /// Each once: several looks may find the same.
    keys: BTreeSet<String>,
    remarks: Vec<String>,
}

impl Ledger {
    fn key(&mut self, outcome: Outcome) {
        self.rows.entry(outcome.gun).or_default().keys.extend(outcome.problems);
    }

    /// Before all keys are looked at once more: what has been taken since is not broken.
    fn forget_keys(&mut self) {
        self.rows.values_mut().for_each(|row| row.keys.clear());
        self.rows.retain(|_, row| row.done.is_some());
    }

    fn collection(&mut self, outcome: Outcome) {
        let row = self.rows.entry(outcome.gun).or_default();
        match outcome.done {
            Done::Copied(files) => row.files += files,
            Done::Deleted => row.files = 0,
            Done::Nothing | Done::LeftOut | Done::KeyLeftOut => {}
        }
        if outcome.done != Done::Nothing || row.done.is_none() {
            row.done = Some(outcome.done);
            (row.problems, row.remarks) = (outcome.problems, outcome.remarks);
        }
    }

    fn changed(&mut self, outcome: Outcome) {
        if outcome.done == Done::KeyLeftOut { self.key(outcome) } else { self.collection(outcome) }
    }

    /// Prints everything; something broken is an error.
    fn end(self, format: Format) -> Result<(), CliError> {
        let header = &["COLLECTION", "STATE", "FILES", "REMARKS"];
        let mut listing = Listing::new(header, "no collections");
        let mut broken = 0_usize;
        for (gun, row) in self.rows {
            let problems: Vec<String> = row.problems.into_iter().chain(row.keys).collect();
            broken += usize::from(!problems.is_empty());
            let state = match row.done {
                Some(Done::Copied(_)) => "taken over",
                Some(Done::Nothing) => "was here",
                Some(Done::Deleted) => "deleted",
                Some(Done::LeftOut) => "left out",
                Some(Done::KeyLeftOut) | None => "key left out",
            };
            let marked = problems.iter().map(|problem| format!("BROKEN: {problem}"));
            let text: Vec<String> = marked.chain(row.remarks.iter().cloned()).collect();
            listing.row(
                &[gun.clone(), state.to_owned(), row.files.to_string(), text.join("; ")],
                serde_json::json!({
                    "gun": gun, "state": state, "files": row.files, "problems": problems, "remarks": row.remarks,
                }),
            );
        }
        listing.print(format)?;
        match broken {
            0 => Ok(()),
            count => Err(CliError::new(Kind::Trust, format!("something is broken in {count} collections"))
                .hint("the old databases are unchanged: mend it there and do this again, or leave it behind")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn databases_are_named_as_the_reference_names_them_or_by_url() {
        for text in [
            "postgres://server:hush@db.example/notaryserver?sslmode=disable",
            "server:hush@tcp(db.example:3306)/notaryserver?parseTime=True",
            "mysql://server:hu%40sh@db.example/notaryserver",
            "mysql://server@db.example/notaryserver",
        ] {
            let shown = database(text).unwrap().to_string();
            assert!(shown.contains("db.example") && !shown.contains("hush") && !shown.contains("hu%40sh"), "{shown}");
        }
        for text in ["", "https://x/y", "notaryserver"] {
            assert!(database(text).is_err(), "{text}");
        }
    }
}
