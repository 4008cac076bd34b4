//! `countersign import move`: a saved collection goes on at another trust service.

use super::folder::ArchiveFolder;
use crate::audit::{Action, Entry};
use crate::command::Format;
use crate::context::{Context, GlobalOptions};
use crate::error::CliError;
use crate::notes;
use crate::output::{data, harmless, message};
use crate::progress::showing;
use crate::prompt::Voice;
use clap::Args;
use countersign_notary::{Access, ServiceAddress, ServiceError};
use countersign_trust::{
    CollectionClient, Destination, Holder, MovePlan, Source, Standing, TrustError, released_names,
};
use countersign_tuf::{Collection, Gun, RoleName};
use serde_json::json;
use std::path::PathBuf;

/// Have a saved collection go on at another trust service, with the same root of trust
///
/// Run it where the owner's root key is. All roots move along, and one more is signed that names the new service's keys:
/// clients that know any of them go on without a word. Everything is handed over in one upload, whole or not at all; done
/// again after an interruption it finds out by itself where it was. The new service has to be a Countersign.
#[derive(Debug, Args)]
pub(crate) struct Move {
    /// The folder of archives that countersign import http has made
    #[arg(value_name = "ARCHIVE")]
    folder: PathBuf,
    /// The collection
    #[arg(value_name = "GUN")]
    gun: String,
    /// The new trust service's address, beginning with https:
    #[arg(long, value_name = "URL")]
    to: String,
    /// Show what would be done, and do nothing
    #[arg(long)]
    dry_run: bool,
    /// Do not ask
    #[arg(short, long)]
    yes: bool,
    /// How to print the outcome
    #[arg(long, value_enum, default_value = "text")]
    format: Format,
}

impl Move {
    pub(super) async fn run(&self, options: &GlobalOptions) -> Result<(), CliError> {
        let context = Context::new(options)?;
        let gun = Gun::parse(&self.gun)
            .map_err(|error| CliError::user(format!("{:?} is no collection's name: {error}", self.gun)))?;
        let address = ServiceAddress::parse(&self.to).map_err(CliError::user)?;
        let (archive, service) = ArchiveFolder::at(&self.folder).read(&gun)?;
        let pinning = context.pinning_of(&gun);
        let to = context.connection.open(&Destination::from(address), &gun, Access::Write)?;
        let client = CollectionClient::new(&context.directory, to, &pinning, &context.passphrases, context.now)?;
        let standing = showing("asking the new service", Box::pin(client.plan_move(&archive))).await?;
        let plan = match standing {
            Standing::Moved(collection) => return self.tell(&collection, "moved already"),
            Standing::Ready(plan) => plan,
        };
        self.show(&plan, &service);
        if self.dry_run {
            return match self.format {
                Format::Json => data(described(&plan.collection, "can move")),
                Format::Text => Ok(()),
            };
        }
        if !self.yes && !Voice::Native.confirms(format!("Move {gun} to {}?", self.to)) {
            return Err(CliError::user("nothing was moved: not confirmed"));
        }
        let moved = showing("signing and handing over", Box::pin(client.make_move(&plan))).await;
        let collection = moved
            .map_err(explained)
            .map_err(|error| context.audit.refused(Action::Sign, gun.as_str(), "root", error))?;
        notes::show(&collection);
        let keys = collection.root().signers().collect();
        let source = Source::of(&collection);
        let entry = Entry { action: Action::Sign, name: "root", digest: None, keys, source };
        context.audit.entry(gun.as_str(), &entry, "was moved")?;
        self.tell(&collection, "moved")
    }

    /// Says on stderr what will be done.
    fn show(&self, plan: &MovePlan, service: &str) {
        let collection = &plan.collection;
        let (gun, root) = (collection.gun(), collection.root().version);
        let names = released_names(collection).len();
        let holder = match plan.snapshot {
            Holder::Service => "the timestamp and the snapshot",
            Holder::Client => "the timestamp; the snapshot key stays yours",
        };
        message(format_args!("{gun}, as {} gave it out", harmless(service)));
        message(format_args!("  {names} released names stay signed as they are"));
        message(format_args!("  roots {} to {root} move along: who knows one of them goes on", plan.oldest_root));
        message(format_args!("  root {} is signed with your root key: {} signs {holder}", root.get() + 1, self.to));
        let list = |roles: &[RoleName]| roles.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
        if !plan.renewed.is_empty() {
            message(format_args!("  expired, signed anew as it is: {}", list(&plan.renewed)));
        }
        if !plan.expired.is_empty() {
            message(format_args!("  expired, to be signed again by whoever has the key: {}", list(&plan.expired)));
        }
        if plan.oldest_root.get() > 1 {
            message(format_args!("  earlier roots are not in the archive: who knows only those has to trust anew"));
        }
        if plan.recertified {
            message(format_args!(
                "  the root certificate has ended: the same key gets a new one, which whoever pins certificates has to pin"
            ));
        }
    }

    fn tell(&self, collection: &Collection, state: &str) -> Result<(), CliError> {
        match self.format {
            Format::Json => data(described(collection, state)),
            Format::Text => {
                let (gun, root) = (collection.gun(), collection.root().version);
                data(format_args!("{gun} {state}: {} has it with root {root}", self.to))
            }
        }
    }
}

fn described(collection: &Collection, state: &str) -> serde_json::Value {
    json!({
        "gun": collection.gun().as_str(), "state": state, "root": collection.root().version.get(),
        "snapshot": collection.snapshot().version.get(), "timestamp": collection.timestamp().version.get(),
        "tags": released_names(collection).len(),
    })
}

/// Adds what to do about a move that was not confirmed.
fn explained(error: TrustError) -> CliError {
    let hint = match &error {
        TrustError::Service(ServiceError::Rejected(_)) => {
            "nothing was moved; whole collections are taken in by countersign serve alone, other services refuse the upload"
        }
        TrustError::Service(_) | TrustError::NotReadBack { .. } => {
            "do the same again: it finds out whether the collection has moved"
        }
        _ => return error.into(),
    };
    CliError::from(error).hint(hint)
}
