//! `countersign keyserver import`: keys that were made elsewhere go on here, and their collections with them.

use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};
use countersign_keyservice::{Arrival, Arrived, FromSigner, Intake, IntakeError, KeyAlias, Passphrases};
use countersign_server::departure::{Departure, DepartureError, OwnKey, Standing};

use super::alias;
use crate::command::Format;
use crate::command::import::database;
use crate::command::serve::{DatabaseOptions, Place, chain};
use crate::error::{CliError, Kind};
use crate::output::{Listing, message};

/// Take in keys that were made elsewhere, also while services run; done again, it goes on where it was
#[derive(Debug, Subcommand)]
pub(super) enum Import {
    Service(Service),
    Signer(Signer),
}

/// Take in the keys that a trust service of ours made itself, so that it can use this keyserver for them
///
/// Each key is opened with the service's secret, compared with its public half and with the current root of its collection,
/// encrypted under the alias, and opened again from where it was stored. The service keeps its own copy until --let-go takes
/// it out of its database.
#[derive(Debug, Args)]
pub(super) struct Service {
    /// The trust service's settings file [default: countersign/serve.toml in the XDG configuration directory, if it is there]
    #[arg(long, value_name = "FILE")]
    from_config: Option<PathBuf>,
    /// Where the trust service keeps everything: its file secret is needed [default: as its settings say]
    #[arg(long, value_name = "DIR")]
    from_data_dir: Option<PathBuf>,
    /// The trust service's database on a server, if it is not in that folder
    #[arg(long, value_name = "URL", env = "COUNTERSIGN_DATABASE", hide_env_values = true)]
    from_database: Option<String>,
    /// The file with its password [default: the variable that the trust service has it in]
    #[arg(long, value_name = "FILE", requires = "from_database")]
    from_database_password_file: Option<PathBuf>,
    /// Take the private keys that are here out of the trust service's database: from its next start on it asks this keyserver
    #[arg(long)]
    let_go: bool,
    #[command(flatten)]
    common: Common,
}

/// Take in the keys of the reference's signer; its database is only read
///
/// The passphrases are looked for as for this keyserver's own keys, in the variables that the signer has them in, too.
#[derive(Debug, Args)]
pub(super) struct Signer {
    /// The signer's database: a URL, or what the signer's configuration file says
    #[arg(long, value_name = "URL", env = "COUNTERSIGN_IMPORT_SIGNER_DB", hide_env_values = true)]
    signer_db: String,
    #[command(flatten)]
    common: Common,
}

#[derive(Debug, Args)]
struct Common {
    /// The name of the passphrase that the keys are encrypted under here [default: that for new keys]
    #[arg(long, value_name = "ALIAS", value_parser = alias)]
    alias: Option<KeyAlias>,
    /// How to print the outcome
    #[arg(long, value_enum, default_value = "text")]
    format: Format,
}

impl Import {
    fn common(&self) -> &Common {
        match self {
            Self::Service(service) => &service.common,
            Self::Signer(signer) => &signer.common,
        }
    }

    /// The alias that was asked for.
    pub(super) fn alias(&self) -> Option<&KeyAlias> {
        self.common().alias.as_ref()
    }

    pub(super) async fn run(
        &self,
        data_dir: &Path,
        passphrases: &Passphrases,
        alias: &KeyAlias,
    ) -> Result<(), CliError> {
        let mut ledger = Ledger::new();
        let taken = match self {
            // The other side first: nothing is made here when there is nothing to take.
            Self::Service(service) => {
                let departure = Departure::open(&service.place().config()?).await.map_err(|error| not_there(&error))?;
                let intake = Intake::open(data_dir, passphrases, alias).await.map_err(|error| failed(&error))?;
                let taken = service.take(&departure, &intake, &mut ledger).await;
                departure.close().await;
                intake.close().await;
                taken
            }
            Self::Signer(signer) => {
                let url = database(&signer.signer_db)?;
                let intake = Intake::open(data_dir, passphrases, alias).await.map_err(|error| failed(&error))?;
                let taken = intake.take_from_signer(&url, &mut |key| ledger.of_signer(&key)).await;
                intake.close().await;
                taken.map_err(|error| failed(&error))
            }
        };
        let printed = ledger.end(self.common().format);
        taken?;
        printed
    }
}

impl Service {
    fn place(&self) -> Place {
        let database = DatabaseOptions::named(self.from_database.clone(), self.from_database_password_file.clone());
        Place::new(self.from_config.clone(), self.from_data_dir.clone(), database)
    }

    async fn take(&self, departure: &Departure, intake: &Intake, ledger: &mut Ledger) -> Result<(), CliError> {
        let mut after = None;
        loop {
            let page = departure.page(after.as_ref()).await.map_err(|error| not_there(&error))?;
            let Some(last) = page.last() else { break };
            after = Some(last.id);
            for key in page {
                self.take_one(departure, intake, key, ledger).await?;
            }
        }
        if self.let_go && ledger.broken == 0 {
            message(
                "start the trust service again with --keyserver; when it is seen to publish, its file secret can go",
            );
        }
        Ok(())
    }

    async fn take_one(
        &self,
        departure: &Departure,
        intake: &Intake,
        own: OwnKey,
        ledger: &mut Ledger,
    ) -> Result<(), CliError> {
        let sealed = own.sealed();
        let OwnKey { id, gun, role, created_at, last_used, standing, .. } = own;
        let mut entry = Entry::new(id.to_string(), gun.to_string(), role.as_str());
        let key = match standing {
            Standing::Named(key) => Ok(key),
            Standing::Waits(key) => {
                entry.remarks.push("it has not signed yet".to_owned());
                Ok(key)
            }
            Standing::OutOfUse(key) => {
                entry.remarks.push("the current root names another one".to_owned());
                Ok(key)
            }
            Standing::Retired => Err(State::Retired),
            Standing::Elsewhere => Err(State::Elsewhere),
            Standing::Broken(why) => {
                entry.remarks.push(why);
                Err(State::Broken)
            }
            _ => Err(State::Broken),
        };
        let mut state = match key {
            Ok(key) => {
                let arrival = Arrival { key: *key, gun, role, created_at, last_used };
                entry.of(intake.take(arrival).await.map_err(|error| failed(&error))?)
            }
            Err(state) => state,
        };
        if self.let_go && (state.is_here() || state == State::Retired) {
            departure.let_go(&sealed).await.map_err(|error| not_there(&error))?;
            state = if state == State::Retired { state } else { State::Moved };
        }
        ledger.put(entry, state);
        Ok(())
    }
}

fn not_there(error: &DepartureError) -> CliError {
    let error = CliError::new(Kind::Local, chain(error));
    error.hint("what was taken in is kept: the same command goes on where this one ended")
}

fn failed(error: &IntakeError) -> CliError {
    match error {
        IntakeError::ToToken(_) => CliError::user(chain(error)),
        IntakeError::Alias(_) => CliError::new(Kind::Local, chain(error)),
        _ => CliError::new(Kind::Local, chain(error))
            .hint("what was taken in is kept: the same command goes on where this one ended"),
    }
}

/// What became of a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Taken,
    WasHere,
    Moved,
    Stays,
    Elsewhere,
    Retired,
    Broken,
}

impl State {
    fn is_here(self) -> bool {
        matches!(self, Self::Taken | Self::WasHere)
    }

    fn as_str(self) -> &'static str {
        match self {
            Self::Taken => "taken in",
            Self::WasHere => "was here",
            Self::Moved => "moved",
            Self::Stays => "stays there",
            Self::Elsewhere => "at a keyserver",
            Self::Retired => "out of use",
            Self::Broken => "BROKEN",
        }
    }
}

struct Entry {
    id: String,
    gun: String,
    role: &'static str,
    remarks: Vec<String>,
}

impl Entry {
    fn new(id: String, gun: String, role: &'static str) -> Self {
        Self { id, gun, role, remarks: Vec::new() }
    }

    fn of(&mut self, arrived: Arrived) -> State {
        let (state, remark) = match arrived {
            Arrived::Now => (State::Taken, None),
            Arrived::Before => (State::WasHere, None),
            Arrived::AnotherWaits => (State::Stays, Some("another key waits here for its first use".to_owned())),
            Arrived::No(why) => (State::Broken, Some(why)),
            _ => (State::Broken, None),
        };
        self.remarks.extend(remark);
        state
    }
}

struct Ledger {
    listing: Listing,
    broken: usize,
}

impl Ledger {
    fn new() -> Self {
        Self { listing: Listing::new(&["COLLECTION", "ROLE", "KEY", "STATE", "REMARKS"], "no keys"), broken: 0 }
    }

    fn of_signer(&mut self, key: &FromSigner) {
        let (gun, role) = key.of.as_ref().map_or_else(Default::default, |(gun, role)| (gun.to_string(), role.as_str()));
        let mut entry = Entry::new(key.id.clone(), gun, role);
        let state = entry.of(key.arrived.clone());
        self.put(entry, state);
    }

    fn put(&mut self, entry: Entry, state: State) {
        self.broken += usize::from(state == State::Broken);
        let Entry { id, gun, role, remarks } = entry;
        let object = serde_json::json!({
            "gun": gun, "role": role, "id": id, "state": state.as_str().to_lowercase(), "remarks": remarks,
        });
        self.listing.row(&[gun, role.to_owned(), id, state.as_str().to_owned(), remarks.join("; ")], object);
    }

    fn end(self, format: Format) -> Result<(), CliError> {
        self.listing.print(format)?;
        match self.broken {
            0 => Ok(()),
            count => Err(CliError::new(Kind::Local, format!("keys that could not be taken in: {count}"))),
        }
    }
}
