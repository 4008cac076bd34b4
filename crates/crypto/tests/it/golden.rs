//! Access to the golden data.

use std::path::PathBuf;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use jiff::Timestamp;

/// The day after the golden data was made: some certificates are a minute younger than the rest.
pub(crate) fn now() -> Timestamp {
    "2026-11-23T00:00:00Z".parse().unwrap()
}

pub(crate) fn read(path: &str) -> Vec<u8> {
    let file = PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../../fixtures")).join(path);
    std::fs::read(&file).unwrap_or_else(|error| panic!("{}: {error}", file.display()))
}

pub(crate) fn json(path: &str) -> serde_json::Value {
    serde_json::from_slice(&read(path)).unwrap()
}

pub(crate) fn text<'a>(value: &'a serde_json::Value, member: &str) -> &'a str {
    value[member].as_str().unwrap_or_else(|| panic!("no text {member}"))
}

pub(crate) fn bytes(value: &serde_json::Value, member: &str) -> Vec<u8> {
    STANDARD.decode(text(value, member)).unwrap()
}

/// The entries of `vectors/keys.json`.
pub(crate) fn key_vectors() -> Vec<serde_json::Value> {
    json("vectors/keys.json").as_array().unwrap().clone()
}

pub(crate) fn key_vector(name: &str) -> serde_json::Value {
    key_vectors().into_iter().find(|vector| vector["name"] == name).unwrap()
}
