//! `countersign key adopt`: keys that a token holds already.

use crate::command::Format;
use crate::context::Context;
use crate::error::CliError;
use crate::output::{Listing, message};
use clap::Args;
use countersign_tuf::Gun;
use countersign_vault::{Addition, KeyLabel, NewKeyPlace};

/// Take up the keys that a token holds: made with another trust directory, or known to one that was lost
///
/// Keys that were made here say on the token what they are for. For all others --role says it.
#[derive(Debug, Args)]
pub(crate) struct Adopt {
    /// The token: a name from the settings, or a pkcs11: URI
    token: String,
    /// What keys are for that do not say it: root, targets, snapshot, a delegation or a signer
    #[arg(long)]
    role: Option<String>,
    /// The collection of targets and snapshot keys that do not say it
    #[arg(long, requires = "role")]
    gun: Option<Gun>,
    /// How to print
    #[arg(long, value_enum, default_value = "text")]
    format: Format,
}

impl Adopt {
    pub(super) fn run(&self, context: &Context) -> Result<(), CliError> {
        let label = self.role.as_deref().map(|role| KeyLabel::new(role, self.gun.as_ref()));
        let label = label.transpose().map_err(CliError::user)?;
        let store = context.keys_on(&self.token)?;
        let NewKeyPlace::Token(name) = store.new_key_place() else { return Ok(()) };
        let adopted = store.adopt(name, label.as_ref(), &context.passphrases)?;
        let mut rows =
            Listing::new(&["ROLE", "KEY ID", "COLLECTION", "KNOWN"], "The token holds no keys that can sign here.");
        for key in &adopted {
            let role = key.label.as_ref().map(|label| label.role().to_owned());
            let gun = key.label.as_ref().and_then(|label| label.gun()).map(ToString::to_string);
            let known = match (&key.label, key.addition) {
                (None, _) => "no: name its role with --role",
                (Some(_), Addition::Added) => "now",
                (Some(_), Addition::AlreadyThere) => "before",
            };
            let object = serde_json::json!({
                "id": key.id.to_string(), "role": role, "gun": gun, "known": known,
            });
            rows.row(
                &[role.unwrap_or_default(), key.id.to_string(), gun.unwrap_or_default(), known.to_owned()],
                object,
            );
        }
        if adopted.iter().any(|key| key.label.is_none()) {
            message("some keys on the token do not say what they are for, and were not taken up");
        }
        rows.print(self.format)
    }
}
