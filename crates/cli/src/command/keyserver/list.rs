//! `countersign keyserver list`: the keys of a signing service.

use std::path::Path;

use clap::Args;
use countersign_keyservice::list;
use jiff::Timestamp;

use crate::command::Format;
use crate::command::serve::chain;
use crate::error::{CliError, Kind};
use crate::output::Listing;

/// List the keys, also while the service runs; nothing secret is shown or needed
#[derive(Debug, Args)]
pub(super) struct List {
    /// How to print the keys
    #[arg(long, value_enum, default_value = "text")]
    format: Format,
}

impl List {
    pub(super) async fn run(&self, data_dir: &Path) -> Result<(), CliError> {
        let keys = list(data_dir).await.map_err(|error| CliError::new(Kind::Local, chain(&error)))?;
        let header = &["COLLECTION", "ROLE", "KEY", "ALGORITHM", "UNDER", "MADE", "LAST USED"];
        let mut listing = Listing::new(header, "no keys");
        for key in keys {
            let day = |time: Timestamp| time.strftime("%Y-%m-%d").to_string();
            let used = key.last_used.map_or_else(|| "waits".to_owned(), day);
            let cells = [
                key.gun.to_string(),
                key.role.to_string(),
                key.id.to_string(),
                key.algorithm.as_str().to_owned(),
                key.alias.to_string(),
                day(key.created_at),
                used,
            ];
            let object = serde_json::json!({
                "gun": key.gun.as_str(),
                "role": key.role.as_str(),
                "id": key.id.to_string(),
                "algorithm": key.algorithm.as_str(),
                "alias": key.alias.as_str(),
                "token": key.alias.token(),
                "created": key.created_at.to_string(),
                "lastUsed": key.last_used.map(|time| time.to_string()),
            });
            listing.row(&cells, object);
        }
        listing.print(self.format)
    }
}
