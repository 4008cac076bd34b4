//! `countersign key remove`: a private key that is to be gone.

use super::archive::known_backups;
use crate::context::Context;
use crate::error::CliError;
use crate::output::{data, harmless, message};
use crate::prompt::Voice;
use clap::{Args, ValueEnum};
use countersign_crypto::KeyId;
use countersign_vault::KeyEntry;

/// Remove a private key for good: its file, or the key on its token
#[derive(Debug, Args)]
pub(crate) struct Remove {
    /// The key
    #[arg(value_name = "KEY-ID")]
    id: KeyId,
    /// Of a key that is in a file and on a token, which one
    #[arg(long, value_enum)]
    only: Option<Place>,
    /// Do not ask
    #[arg(short, long)]
    yes: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Place {
    /// The file in the trust directory
    File,
    /// The key on its token
    Token,
}

impl Remove {
    pub(super) fn run(&self, context: &Context) -> Result<(), CliError> {
        let store = context.directory.keys();
        let entry = store.find(&self.id)?;
        let entry =
            entry.ok_or_else(|| CliError::user(format!("there is no key {} in the trust directory", self.id)))?;
        let place = match (self.only, entry.has_file(), entry.token.is_some()) {
            (None, true, true) => {
                let both = format!("the key {} is in a file and on a token", self.id);
                return Err(CliError::user(both).hint("say which one with --only file or --only token"));
            }
            (None | Some(Place::File), true, _) => Place::File,
            (None | Some(Place::Token), _, true) => Place::Token,
            (Some(place), ..) => return Err(CliError::user(format!("the key {} is not {}", self.id, place.spelled()))),
            (None, false, false) => return Err(CliError::user(format!("there is no key {}", self.id))),
        };
        self.warn(&entry, place);
        let question = format!("Remove the {} key {} {} for good?", harmless(&entry.role), self.id, place.spelled());
        if !self.yes && !Voice::Native.confirms(question) {
            return Err(CliError::user("not confirmed: nothing was removed"));
        }
        match place {
            Place::File => store.remove(&self.id)?,
            Place::Token => store.delete_on_token(&self.id, &context.passphrases)?,
        };
        data(format_args!("Removed the {} key {} {}", harmless(&entry.role), self.id, place.spelled()))
    }

    /// Says what will not be possible any more.
    fn warn(&self, entry: &KeyEntry, place: Place) {
        if entry.has_file() && entry.token.is_some() {
            message("the key stays where else it is");
            return;
        }
        let of = entry.gun.as_ref().map_or_else(String::new, |gun| format!(" of {gun}"));
        match entry.role.as_str() {
            "root" => message(
                "without its root key a collection can never get other keys: whoever trusts it has to begin anew once \
                 another key is lost or its certificate ends",
            ),
            role => message(format_args!("nobody can sign with this key as {}{of} any more", harmless(role))),
        }
        let id = self.id.to_string();
        let backups = known_backups().and_then(|known| known.list().ok()).unwrap_or_default();
        match backups.iter().find(|backup| backup.keys.contains(&id)) {
            Some(backup) if place == Place::File => {
                message(format_args!("it is in the backup {}", harmless(&backup.file.display().to_string())));
            }
            _ => message("it is in no backup that is known here"),
        }
    }
}

impl Place {
    fn spelled(self) -> &'static str {
        match self {
            Self::File => "in the trust directory",
            Self::Token => "on its token",
        }
    }
}
