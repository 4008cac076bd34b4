//! The change feed.

use countersign_storage::{Category, Change, ChangeQuery};
use countersign_tuf::Gun;
use serde::Serialize;
use serde_json::json;

use crate::answer::{self, Answer};
use crate::app::App;
use crate::error::{Code, Failure};
use crate::query;

/// Answers with a page of changes of one collection or of all.
pub(crate) async fn changes(app: &App, gun: Option<Gun>, parameters: Option<&str>) -> Result<Answer, Failure> {
    let query = read_query(gun, parameters.unwrap_or_default())?;
    let records: Vec<Record> = app.metadata.changes(&query).await?.iter().map(Record::from).collect();
    let page = Page { count: records.len(), records };
    Ok(answer::text(serde_json::to_vec(&page).unwrap_or_default()))
}

/// Reads the parameters: `records` is required and has 32 bits, `change_id` may be missing.
fn read_query(gun: Option<Gun>, parameters: &str) -> Result<ChangeQuery, Failure> {
    let invalid = || Failure::new(Code::InvalidParameters);
    let records = query::value(parameters, "records").unwrap_or_default();
    let records: i32 = records.parse().map_err(|_| {
        let reason = if is_number(&records) { "value out of range" } else { "invalid syntax" };
        invalid().detail(json!(format!("invalid records parameter: strconv.ParseInt: parsing {records:?}: {reason}")))
    })?;
    let change_id = query::value(parameters, "change_id").unwrap_or_default();
    let change_id: i64 = match change_id.as_str() {
        "" => 0,
        text => text.parse().map_err(|_| invalid().detail(json!({})))?,
    };
    Ok(ChangeQuery::new(gun, change_id, i64::from(records)))
}

fn is_number(text: &str) -> bool {
    let digits = text.strip_prefix(['-', '+']).unwrap_or(text);
    !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit())
}

#[derive(Serialize)]
struct Page {
    count: usize,
    records: Vec<Record>,
}

/// A change with the reference's names and in its order.
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Record {
    #[serde(rename = "ID")]
    id: String,
    created_at: String,
    #[serde(rename = "GUN")]
    gun: String,
    version: u64,
    #[serde(rename = "SHA256")]
    sha256: String,
    category: &'static str,
}

impl From<&Change> for Record {
    fn from(change: &Change) -> Self {
        let (version, sha256, category) = match &change.category {
            Category::Update { version, sha256 } => (version.get(), sha256.hex(), "update"),
            Category::Deletion => (0, String::new(), "deletion"),
        };
        let (id, created_at, gun) = (change.id.to_string(), change.created_at.to_string(), change.gun.to_string());
        Self { id, created_at, gun, version, sha256, category }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bad_parameters_are_named() {
        for (parameters, reason) in [
            ("", "parsing \\\"\\\": invalid syntax"),
            ("records=x", "parsing \\\"x\\\": invalid syntax"),
            ("records=2147483648", "parsing \\\"2147483648\\\": value out of range"),
            ("records=1%3BDROP", "invalid syntax"),
            ("records=1e3", "invalid syntax"),
            ("records=1&change_id=x", "\"detail\":{}"),
            ("records=1&change_id=99999999999999999999", "\"detail\":{}"),
            ("records=1&change_id=1;DROP TABLE changefeed", "\"detail\":{}"),
        ] {
            let body = read_query(None, parameters).unwrap_err().body();
            assert!(body.contains("INVALID_PARAMETERS") && body.contains(reason), "{parameters}: {body}");
        }
    }

    #[test]
    fn all_numbers_of_32_bits_are_survived() {
        for parameters in
            ["records=-2147483648", "records=2147483647&change_id=-1", "change_id=&records=0", "records=-5"]
        {
            assert!(read_query(None, parameters).is_ok(), "{parameters}");
        }
    }
}
