//! Access to the golden data, and a source of bytes that a test chooses.

use std::collections::VecDeque;
use std::path::PathBuf;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use countersign_crypto::{Random, RandomError};
use countersign_keyfile::{KeyBlock, KeyFile};

pub(crate) fn path(path: &str) -> PathBuf {
    PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../../fixtures")).join(path)
}

pub(crate) fn read(file: &str) -> Vec<u8> {
    let file = path(file);
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

/// The only block of a text.
pub(crate) fn block(text: &[u8]) -> KeyBlock {
    KeyFile::parse_one(text).unwrap()
}

/// Gives out chosen bytes, and fails when they are used up.
pub(crate) struct Script(VecDeque<u8>);

impl Script {
    pub(crate) fn new(bytes: &[&[u8]]) -> Self {
        Self(bytes.concat().into())
    }
}

impl Random for Script {
    fn fill(&mut self, out: &mut [u8]) -> Result<(), RandomError> {
        for byte in out {
            *byte = self.0.pop_front().ok_or(RandomError)?;
        }
        Ok(())
    }
}
