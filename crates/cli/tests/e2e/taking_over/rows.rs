//! The rows of the reference's tables, and what each of them has to look like.
#![expect(clippy::indexing_slicing, reason = "these are tests; a failure is the answer")]

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::Value;
use std::collections::BTreeMap;

/// A table's rows by their ids.
pub(super) type Table = BTreeMap<u64, Value>;

/// Everything in both databases.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Rows {
    pub(super) files: Table,
    pub(super) changes: Table,
    pub(super) keys: Table,
}

impl Rows {
    /// Checks that every row is there unchanged, but for when keys were last used.
    pub(super) fn are_kept_in(&self, later: &Self) {
        let kept = |one: &Table, other: &Table, but: &[&str]| {
            for (id, row) in one {
                let (mut row, mut found) =
                    (row.clone(), other.get(id).cloned().unwrap_or_else(|| panic!("{id} is gone")));
                for column in but {
                    row[column] = Value::Null;
                    found[column] = Value::Null;
                }
                assert_eq!(row, found);
            }
        };
        kept(&self.files, &later.files, &[]);
        kept(&self.changes, &later.changes, &[]);
        kept(&self.keys, &later.keys, &["last_used", "updated_at"]);
    }

    /// Returns the rows that were not there.
    pub(super) fn added_since(&self, earlier: &Self) -> Self {
        let added = |one: &Table, other: &Table| {
            one.iter().filter(|(id, _)| !other.contains_key(id)).map(|(id, row)| (*id, row.clone())).collect()
        };
        Self {
            files: added(&self.files, &earlier.files),
            changes: added(&self.changes, &earlier.changes),
            keys: added(&self.keys, &earlier.keys),
        }
    }

    /// Returns the rows of one collection.
    pub(super) fn of(&self, gun: &str) -> Self {
        let of = |table: &Table| {
            table.iter().filter(|(_, row)| row["gun"] == gun).map(|(id, row)| (*id, row.clone())).collect()
        };
        Self { files: of(&self.files), changes: of(&self.changes), keys: of(&self.keys) }
    }

    /// Checks at least so many publications (what has grown old since the dumps were made is signed anew, too) and so many keys:
    /// the same checks for rows that we wrote and for rows that the reference wrote.
    pub(super) fn are_laid_out_as_the_references(&self, publications: usize, keys: usize) {
        let timestamps: Vec<&Value> = self.files.values().filter(|row| row["role"] == "timestamp").collect();
        assert!(timestamps.len() >= publications, "{:#?}", summary(&self.files));
        assert_eq!(self.changes.len(), timestamps.len(), "{:#?}", self.changes);
        for row in self.files.values() {
            let data = hex(text(row, "data"));
            assert_eq!(text(row, "sha256"), countersign_testkit::digest::sha256_hex(&data), "{}", row["role"]);
            assert!(row["deleted_at"].is_null() && is_time(text(row, "created_at")), "{row}");
            assert_eq!(row["created_at"], row["updated_at"]);
            let document: Value = serde_json::from_slice(&data).unwrap();
            assert_eq!(document["signed"]["version"], row["version"]);
        }
        // Every timestamp has its change, which is of the same publication.
        for timestamp in timestamps {
            let same =
                |change: &&Value| ["gun", "version", "sha256"].iter().all(|name| change[name] == timestamp[name]);
            let change = self.changes.values().find(same).unwrap_or_else(|| panic!("no change: {timestamp}"));
            assert!(change["category"] == "update" && is_time(text(change, "created_at")), "{change}");
        }
        assert_eq!(self.keys.len(), keys, "{:#?}", summary(&self.keys));
        for row in self.keys.values() {
            check_key(row);
        }
    }
}

impl Rows {
    /// Checks that the timestamps of these rows, of one collection, have one version after the other, each with its change.
    pub(super) fn have_no_gaps(&self) {
        let versions = |table: &Table, wanted: &dyn Fn(&Value) -> bool| {
            let mut found: Vec<u64> =
                table.values().filter(|row| wanted(row)).map(|row| row["version"].as_u64().unwrap()).collect();
            found.sort_unstable();
            found
        };
        let timestamps = versions(&self.files, &|row| row["role"] == "timestamp");
        assert!(timestamps.windows(2).all(|pair| pair[0] + 1 == pair[1]), "{timestamps:?}");
        assert_eq!(versions(&self.changes, &|_| true), timestamps);
    }
}

fn summary(table: &Table) -> Vec<String> {
    let row = |row: &Value| format!("{} {} {}", row["gun"], row["role"], row["version"]);
    table.values().map(row).collect()
}

/// A row of `private_keys`, as the dumps have them.
fn check_key(row: &Value) {
    let fixed =
        [("encryption_alg", "A256GCM"), ("keywrap_alg", "PBES2-HS256+A128KW"), ("passphrase_alias", "interopalias")];
    for (column, value) in fixed {
        assert_eq!(text(row, column), value);
    }
    let public = hex(text(row, "public"));
    let length = if row["algorithm"] == "ecdsa" { 91 } else { 32 };
    assert_eq!(public.len(), length, "{row}");
    assert!(text(row, "key_id").len() == 64 && text(row, "key_id") == text(row, "key_id").to_lowercase());
    assert!(["timestamp", "snapshot"].contains(&text(row, "role")) && !text(row, "gun").is_empty());
    assert!(row["deleted_at"].is_null() && is_time(text(row, "created_at")) && is_time(text(row, "updated_at")));
    let private = String::from_utf8(hex(text(row, "private"))).unwrap();
    let parts: Vec<&str> = private.split('.').collect();
    assert_eq!(parts.len(), 5, "a compact JWE");
    let header: BTreeMap<String, Value> = serde_json::from_slice(&URL_SAFE_NO_PAD.decode(parts[0]).unwrap()).unwrap();
    assert_eq!(header.keys().collect::<Vec<_>>(), ["alg", "enc", "p2c", "p2s"]);
    let salt = URL_SAFE_NO_PAD.decode(header["p2s"].as_str().unwrap()).unwrap();
    let said = (&header["alg"], &header["enc"], &header["p2c"], salt.len());
    assert_eq!(said, (&"PBES2-HS256+A128KW".into(), &"A256GCM".into(), &8192.into(), 12));
}

fn text<'a>(row: &'a Value, column: &str) -> &'a str {
    row[column].as_str().unwrap_or_else(|| panic!("{column} is no text: {row}"))
}

fn hex(text: &str) -> Vec<u8> {
    let digits = text.as_bytes().chunks(2).map(|pair| std::str::from_utf8(pair).unwrap());
    digits.map(|pair| u8::from_str_radix(pair, 16).unwrap()).collect()
}

/// A time of these minutes, in UTC.
fn is_time(text: &str) -> bool {
    let time: jiff::civil::DateTime = text.parse().unwrap();
    let time = time.to_zoned(jiff::tz::TimeZone::UTC).unwrap().timestamp();
    time.duration_since(jiff::Timestamp::now()).abs() < jiff::SignedDuration::from_mins(10)
}
