//! The contract on `SQLite`, and what only `SQLite` promises.
#![expect(clippy::unwrap_used, reason = "tests may unwrap")]

mod backup;
mod crash;
mod following;
mod full_disk;
mod many;
mod networked;
mod packed;
mod reference;
mod rotten;
mod sqlite;
mod sqlite_signing_keys;
