//! Entries and their places.

use std::fmt;

use countersign_crypto::digest::{Sha256Digest, sha256};
use serde::{Deserialize, Serialize};

/// Longest line, in bytes without the newline.
pub const MAX_LINE: usize = 64 * 1024;
/// Longest name of a chain, in bytes.
const MAX_NAME: usize = 128;
/// Bytes that a place takes in a line at most: chain, number, two hashes and the names of these members.
const PLACE: usize = 512;
/// The beginning of the last member.
const HASH: &str = ",\"hash\":\"";
/// Bytes of a hash in hexadecimal.
const HEX: usize = 64;
/// What ends a line.
const END: &str = "\"}";

/// The name of a chain: who writes it. Letters, digits, and `.`, `_`, `:`, `-`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ChainName(String);

/// Says that a text is no name of a chain.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("invalid name of a chain {0:?}: 1 to {MAX_NAME} letters, digits, dots, colons, dashes and underscores")]
pub struct ChainNameError(pub String);

impl ChainName {
    /// Reads a name.
    ///
    /// # Errors
    /// When it is empty, too long, or has another character.
    pub fn parse(text: &str) -> Result<Self, ChainNameError> {
        let fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | ':' | '-');
        if text.is_empty() || text.len() > MAX_NAME || !text.chars().all(fits) {
            return Err(ChainNameError(text.chars().take(MAX_NAME).collect()));
        }
        Ok(Self(text.to_owned()))
    }

    /// Returns the text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for ChainName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Where a chain stands: the number and hash of its last entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Head {
    /// The entry's number; the first is 1.
    pub seq: u64,
    /// The entry's hash.
    pub hash: Sha256Digest,
}

impl Head {
    /// Before the first entry.
    pub const BEGINNING: Self = Self { seq: 0, hash: Sha256Digest::from_bytes([0; 32]) };
}

/// What was left of a line that was not written whole: named by the entry that goes on after it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Torn {
    /// How many bytes there are.
    pub bytes: u64,
    /// Their SHA-256 in hexadecimal.
    pub sha256: String,
}

impl Torn {
    /// Describes what is left.
    #[must_use]
    pub fn of(fragment: &[u8]) -> Self {
        Self { bytes: fragment.len() as u64, sha256: sha256(fragment).hex() }
    }
}

/// What an entry says, before its place in a chain is known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Draft(String);

/// Says that something cannot be an entry.
#[derive(Debug, thiserror::Error)]
pub enum DraftError {
    /// It is no object, or has no member.
    #[error("an entry is an object with members")]
    NoObject,
    /// It is too long for a line.
    #[error("an entry of {0} bytes is too long")]
    TooLong(usize),
    /// It cannot be written as JSON.
    #[error("an entry cannot be written as JSON")]
    Json(#[from] serde_json::Error),
}

impl Draft {
    /// Writes the members of an object. JSON escapes control characters, so that nothing in it can end the line.
    ///
    /// # Errors
    /// When it is no object with members, or too long for a line.
    pub fn new(entry: &impl Serialize) -> Result<Self, DraftError> {
        let text = serde_json::to_string(entry)?;
        let members = text.strip_prefix('{').and_then(|text| text.strip_suffix('}')).unwrap_or_default();
        if members.is_empty() {
            return Err(DraftError::NoObject);
        }
        if members.len() > MAX_LINE - PLACE {
            return Err(DraftError::TooLong(members.len()));
        }
        Ok(Self(members.to_owned()))
    }

    /// Gives the entry its place after `head`: returns the line, without a newline, and where the chain stands then.
    #[must_use]
    pub fn chained(&self, chain: &ChainName, head: &Head) -> (String, Head) {
        let seq = head.seq + 1;
        let mut line = format!("{{\"chain\":\"{chain}\",\"seq\":{seq},{},\"prev\":\"{}\"", self.0, head.hash.hex());
        let hash = sha256(line.as_bytes());
        line.push_str(HASH);
        line.push_str(&hash.hex());
        line.push_str(END);
        (line, Head { seq, hash })
    }
}

/// What every entry has.
#[derive(Debug, Deserialize)]
pub(crate) struct Placed {
    pub(crate) chain: String,
    pub(crate) seq: u64,
    #[serde(default)]
    pub(crate) time: String,
    #[serde(default)]
    pub(crate) torn: Option<Torn>,
    pub(crate) prev: String,
}

/// Why a line is no entry, whatever came before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Unfit {
    TooLong,
    Shape,
    Hash,
}

/// Reads a line whose hash is right.
pub(crate) fn read(line: &[u8]) -> Result<(Placed, Sha256Digest), Unfit> {
    if line.len() > MAX_LINE {
        return Err(Unfit::TooLong);
    }
    let text = std::str::from_utf8(line).map_err(|_| Unfit::Shape)?;
    let inner = text.strip_suffix(END).ok_or(Unfit::Shape)?;
    let (before, hex) = inner.len().checked_sub(HEX).and_then(|at| inner.split_at_checked(at)).ok_or(Unfit::Shape)?;
    let body = before.strip_suffix(HASH).ok_or(Unfit::Shape)?;
    let said = Sha256Digest::from_hex(hex).map_err(|_| Unfit::Shape)?;
    let hash = sha256(body.as_bytes());
    if hash != said {
        return Err(Unfit::Hash);
    }
    let placed = serde_json::from_str(text).map_err(|_| Unfit::Shape)?;
    Ok((placed, hash))
}

/// Reads the chain and the place of a line, if it is an entry whose own hash is right; what came before it is not looked at.
#[must_use]
pub fn sealed_head(line: &[u8]) -> Option<(ChainName, Head)> {
    let (placed, hash) = read(line).ok()?;
    Some((ChainName::parse(&placed.chain).ok()?, Head { seq: placed.seq, hash }))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn names_have_no_characters_that_json_would_escape() {
        for fine in ["a", "trust-1.example.com:4443", &"x".repeat(128)] {
            assert_eq!(ChainName::parse(fine).unwrap().as_str(), fine);
        }
        for wrong in ["", "a b", "a\"b", "ä", "a\nb", &"x".repeat(129)] {
            assert!(ChainName::parse(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn an_entry_is_one_line_whatever_is_in_it() {
        let hostile = "a\n{\"seq\":1}\u{2028}\u{1b}[31m\r\",\"hash\":\"";
        let draft = Draft::new(&json!({"gun": hostile})).unwrap();
        let (line, head) = draft.chained(&ChainName::parse("c").unwrap(), &Head::BEGINNING);
        assert!(!line.contains(['\n', '\r', '\u{1b}']), "{line}");
        assert_eq!(sealed_head(line.as_bytes()).unwrap().1, head);
        let read: serde_json::Value = serde_json::from_str(&line).unwrap();
        assert_eq!(read["gun"], hostile);
    }

    #[test]
    fn what_is_no_object_or_too_long_is_no_entry() {
        assert!(matches!(Draft::new(&json!([1])), Err(DraftError::NoObject)));
        assert!(matches!(Draft::new(&json!({})), Err(DraftError::NoObject)));
        assert!(matches!(Draft::new(&json!({"a": "x".repeat(MAX_LINE)})), Err(DraftError::TooLong(_))));
    }
}
