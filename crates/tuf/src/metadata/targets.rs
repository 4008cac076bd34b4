//! The targets payload, of `targets` and of every delegation: names and what they stand for.

use super::{
    Delegations, Envelope, FileMeta, Header, MetadataError, Payload, skip_unknown, write_expires, write_version,
};
use crate::expires::Expires;
use crate::json::{Cursor, Shape, unquote, write_string};
use crate::name::{RoleName, Version};
use bytes::Bytes;
use std::borrow::Cow;
use std::collections::BTreeMap;
use std::ops::Range;

/// Most targets that one file may list.
pub const MAX_TARGETS: usize = 4_000_000;

/// The targets and delegations signed by one role.
#[derive(Debug, Clone)]
pub struct Targets {
    /// The version.
    pub version: Version,
    /// When it expires.
    pub expires: Expires,
    /// Who else may sign.
    pub delegations: Delegations,
    /// The signed names.
    pub entries: Entries,
}

/// The signed names of one file, sorted by their bytes.
///
/// The entries stay in the verified canonical text and are found in it by binary search: a collection with a hundred
/// thousand tags costs its file and twelve bytes a tag.
#[derive(Debug, Clone, Default)]
pub struct Entries {
    text: Bytes,
    index: Vec<Entry>,
    changes: BTreeMap<Box<str>, Option<FileMeta>>,
}

/// Where one `"name":meta` stands in the text.
#[derive(Debug, Clone, Copy)]
struct Entry {
    name: u32,
    meta: u32,
    end: u32,
}

impl Entries {
    fn read(text: &Bytes, cursor: &mut Cursor<'_>) -> Result<Self, Shape> {
        let mut index = Vec::new();
        if cursor.take_null() {
            return Ok(Self::default());
        }
        let mut name_start = cursor.position() + 1;
        cursor.object("targets", |_, value| {
            let meta_start = value.position();
            FileMeta::read(value)?;
            let offset = |position: usize| u32::try_from(position).unwrap_or(u32::MAX);
            index.push(Entry { name: offset(name_start), meta: offset(meta_start), end: offset(value.position()) });
            name_start = value.position() + 1;
            if index.len() > MAX_TARGETS { Err(Shape::new("targets", "at most 4000000 targets")) } else { Ok(()) }
        })?;
        index.shrink_to_fit();
        Ok(Self { text: text.clone(), index, changes: BTreeMap::new() })
    }

    fn slice(&self, range: Range<u32>) -> &[u8] {
        self.text.get(range.start as usize..range.end as usize).unwrap_or_default()
    }

    fn name(&self, entry: Entry) -> Cow<'_, [u8]> {
        unquote(self.slice(entry.name..entry.meta.saturating_sub(1)))
    }

    fn meta(&self, entry: Entry) -> Option<FileMeta> {
        FileMeta::read(&mut Cursor::at(&self.text, entry.meta as usize)).ok()
    }

    /// Finds a name.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<FileMeta> {
        if let Some(change) = self.changes.get(name) {
            return change.clone();
        }
        let found = self.index.binary_search_by(|entry| self.name(*entry).as_ref().cmp(name.as_bytes())).ok()?;
        self.meta(*self.index.get(found)?)
    }

    /// Iterates over all names and what they stand for, by name.
    pub fn iter(&self) -> impl Iterator<Item = (Cow<'_, str>, FileMeta)> {
        let mut changes = self.changes.iter().peekable();
        let mut index = self.index.iter().peekable();
        std::iter::from_fn(move || {
            loop {
                let stored = index.peek().map(|entry| self.name(**entry));
                let edited = changes.peek().map(|(name, _)| name.as_bytes());
                let order = match (&stored, edited) {
                    (None, None) => return None,
                    (Some(_), None) => std::cmp::Ordering::Less,
                    (None, Some(_)) => std::cmp::Ordering::Greater,
                    (Some(stored), Some(edited)) => stored.as_ref().cmp(edited),
                };
                if order.is_lt() {
                    let entry = index.next()?;
                    let name = text_of(stored?);
                    return Some((name, self.meta(*entry)?));
                }
                if order.is_eq() {
                    index.next();
                }
                if let (name, Some(meta)) = changes.next()? {
                    return Some((Cow::Borrowed(&**name), meta.clone()));
                }
            }
        })
    }

    /// Counts the names, in time linear in the number of unsaved changes.
    #[must_use]
    pub fn len(&self) -> usize {
        let known = |name: &str| self.index.binary_search_by(|e| self.name(*e).as_ref().cmp(name.as_bytes())).is_ok();
        let added = self.changes.iter().filter(|(name, meta)| meta.is_some() && !known(name)).count();
        let removed = self.changes.iter().filter(|(name, meta)| meta.is_none() && known(name)).count();
        self.index.len() + added - removed
    }

    /// Tells whether there is no name.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Sets what a name stands for; tells whether that is a change.
    pub(crate) fn insert(&mut self, name: &str, meta: FileMeta) -> bool {
        if self.get(name).as_ref() == Some(&meta) {
            return false;
        }
        self.changes.insert(name.into(), Some(meta));
        true
    }

    /// Removes a name; tells whether it was there.
    pub(crate) fn remove(&mut self, name: &str) -> bool {
        let found = self.get(name).is_some();
        if found {
            self.changes.insert(name.into(), None);
        }
        found
    }

    /// Appends the canonical form: unchanged stretches of the text are copied whole.
    fn write(&self, output: &mut Vec<u8>) {
        output.push(b'{');
        let body = output.len();
        let mut kept = 0;
        for (name, change) in &self.changes {
            let place = self.index.binary_search_by(|entry| self.name(*entry).as_ref().cmp(name.as_bytes()));
            let (before, after) = match place {
                Ok(found) => (found, found + 1),
                Err(between) => (between, between),
            };
            self.write_stored(output, body, kept..before);
            kept = after;
            if let Some(meta) = change {
                separate(output, body);
                write_string(output, name);
                output.push(b':');
                meta.write(output);
            }
        }
        self.write_stored(output, body, kept..self.index.len());
        output.push(b'}');
    }

    fn write_stored(&self, output: &mut Vec<u8>, body: usize, range: Range<usize>) {
        if let Some([first, .., last] | [first @ last]) = self.index.get(range) {
            separate(output, body);
            output.extend_from_slice(self.slice(first.name..last.end));
        }
    }
}

fn separate(output: &mut Vec<u8>, body: usize) {
    if output.len() > body {
        output.push(b',');
    }
}

fn text_of(bytes: Cow<'_, [u8]>) -> Cow<'_, str> {
    match bytes {
        Cow::Borrowed(bytes) => String::from_utf8_lossy(bytes),
        Cow::Owned(bytes) => Cow::Owned(String::from_utf8_lossy(&bytes).into_owned()),
    }
}

impl Targets {
    /// Makes an empty file, version 1.
    #[must_use]
    pub fn empty(expires: Expires) -> Self {
        Self { version: Version::FIRST, expires, delegations: Delegations::default(), entries: Entries::default() }
    }
}

impl Payload for Targets {
    fn read(role: &RoleName, envelope: &Envelope) -> Result<Self, MetadataError> {
        let text = envelope.signed().to_bytes();
        let mut header = Header::default();
        let (mut delegations, mut entries) = (None, None);
        envelope.signed().cursor().object("signed", |name, value| {
            match name {
                _ if header.member("Targets", name, value)? => {}
                "delegations" => delegations = Some(Delegations::read(role, value)?),
                "targets" => entries = Some(Entries::read(&text, value)?),
                _ => skip_unknown(name, value)?,
            }
            Ok::<_, MetadataError>(())
        })?;
        let (version, expires) = header.finish(role)?;
        let delegations = delegations.unwrap_or_else(|| Delegations { roles: None, ..Delegations::default() });
        let entries = entries.ok_or_else(|| Shape::new("targets", "an object"))?;
        Ok(Self { version, expires, delegations, entries })
    }

    fn write(&self) -> Vec<u8> {
        let mut output = Vec::with_capacity(self.entries.text.len() + 1024);
        output.extend_from_slice(b"{\"_type\":\"Targets\",\"delegations\":");
        self.delegations.write(&mut output);
        write_expires(&mut output, &self.expires);
        output.extend_from_slice(b",\"targets\":");
        self.entries.write(&mut output);
        write_version(&mut output, self.version);
        output.push(b'}');
        output
    }

    fn version(&self) -> Version {
        self.version
    }

    fn expires(&self) -> &Expires {
        &self.expires
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use countersign_crypto::digest::sha256;
    use proptest::prelude::*;

    fn meta(number: u64) -> FileMeta {
        FileMeta::of_manifest(sha256(&number.to_be_bytes()), number)
    }

    /// Writes a file with the entries and reads it again.
    fn reread(entries: &Entries) -> Entries {
        let mut targets = Targets::empty(Expires::parse("2030-01-01T00:00:00Z").unwrap());
        targets.entries = entries.clone();
        let file = Envelope::compose(targets.write(), Vec::new());
        let read = Envelope::read(file.file().clone()).unwrap();
        assert_eq!(read.signed(), file.signed(), "what is composed is what is read");
        Targets::read(&RoleName::Targets, &read).unwrap().entries
    }

    fn agrees(entries: &Entries, model: &BTreeMap<String, u64>) -> Result<(), TestCaseError> {
        prop_assert_eq!(entries.len(), model.len());
        prop_assert_eq!(entries.is_empty(), model.is_empty());
        let all: Vec<(String, FileMeta)> = entries.iter().map(|(name, meta)| (name.into_owned(), meta)).collect();
        let expected: Vec<(String, FileMeta)> =
            model.iter().map(|(name, number)| (name.clone(), meta(*number))).collect();
        prop_assert_eq!(all, expected);
        for (name, number) in model {
            prop_assert_eq!(entries.get(name), Some(meta(*number)));
        }
        Ok(())
    }

    fn name() -> impl Strategy<Value = String> {
        prop_oneof![
            "[ab]{0,2}",
            "[\"\\\\<>&!\\[a]{0,3}",
            "[\u{7f}-\u{ff}\u{2028}\u{ff61}😀]{0,2}",
            "[^\\x00-\\x1f]{0,4}"
        ]
    }

    proptest! {
        /// Names with quotes and backslashes sort otherwise escaped than decoded; edits are spliced into stored text.
        #[test]
        fn entries_behave_as_a_map(
            rounds in prop::collection::vec(prop::collection::vec((name(), prop::option::of(0_u64..50)), 0..12), 1..4)
        ) {
            let (mut entries, mut model) = (Entries::default(), BTreeMap::new());
            for round in rounds {
                for (name, change) in round {
                    if let Some(number) = change {
                        let changed = model.insert(name.clone(), number) != Some(number);
                        prop_assert_eq!(entries.insert(&name, meta(number)), changed);
                    } else {
                        prop_assert_eq!(entries.remove(&name), model.remove(&name).is_some());
                    }
                    prop_assert_eq!(entries.get(&name), model.get(&name).map(|number| meta(*number)));
                }
                agrees(&entries, &model)?;
                entries = reread(&entries);
                agrees(&entries, &model)?;
            }
        }
    }

    #[test]
    fn what_is_not_there_is_not_found() {
        let mut entries = Entries::default();
        assert!(entries.is_empty() && entries.get("").is_none() && !entries.remove("a"));
        assert!(entries.insert("a", meta(1)) && !entries.insert("a", meta(1)));
        let read = reread(&entries);
        for name in ["", "A", "a ", "aa", "\"a\"", "b", "\\"] {
            assert_eq!(read.get(name), None, "{name:?}");
        }
    }
}
