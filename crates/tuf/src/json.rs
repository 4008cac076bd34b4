//! The one JSON reader for everything signed, and the canonical form that signatures cover.
//!
//! A document is read once, strictly, and brought to canonical form in the same pass (Notary protocol, canonical JSON:
//! no white space, members sorted by the bytes of their names, only `"` and `\` escaped). What is verified is that
//! form, and what is used afterwards is parsed from that very form with [`Cursor`]: a document cannot mean one thing to
//! the signature check and another to the reader. Text that is canonical already is not copied.
//!
//! Refused, where the reference reads on: repeated members at any depth, invalid UTF-8, lone surrogates, raw control
//! characters, numbers that are not integers in plain spelling within ±2^53, nesting beyond [`MAX_DEPTH`], and anything
//! after the value.

mod cursor;
mod write;

pub use cursor::{Cursor, Shape};
pub use write::{write_string, write_wire};

use bytes::Bytes;
use memchr::{memchr, memchr2};
use std::borrow::Cow;
use std::cmp::Ordering;
use std::ops::Range;

/// Deepest nesting of arrays and objects.
pub const MAX_DEPTH: usize = 64;
/// Largest document in bytes; offsets below it fit 32 bits.
pub const MAX_DOCUMENT: usize = 128 << 20;
/// Largest magnitude of a number: every implementation holds integers up to here exactly.
pub const MAX_INTEGER: u64 = 1 << 53;

/// Says why a text is not acceptable JSON; positions are byte offsets.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum JsonError {
    /// The document is larger than [`MAX_DOCUMENT`], or than its place allows.
    #[error("document of {0} bytes is too large")]
    TooLarge(usize),
    /// The document is not UTF-8.
    #[error("invalid UTF-8 at byte {0}")]
    Utf8(usize),
    /// The text ends in the middle of a value.
    #[error("document ends unexpectedly")]
    End,
    /// A character is not allowed where it stands.
    #[error("unexpected character {found:?} at byte {at}, expected {expected}")]
    Unexpected {
        /// Where.
        at: usize,
        /// What stands there.
        found: char,
        /// What was expected.
        expected: &'static str,
    },
    /// An escape sequence is malformed or names a lone surrogate.
    #[error("invalid escape sequence at byte {0}")]
    Escape(usize),
    /// A number is not an integer in plain spelling within ±2^53.
    #[error("number at byte {0} is not an integer of at most 2^53 in plain spelling")]
    Number(usize),
    /// An object has two members of one name.
    #[error("member {0:?} occurs twice in one object")]
    Repeated(String),
    /// Arrays and objects are nested too deeply.
    #[error("nesting deeper than {MAX_DEPTH} at byte {0}")]
    Depth(usize),
}

/// A value in canonical form: the bytes that a signature covers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Canonical(Bytes);

impl Canonical {
    /// Reads one whole document and brings it to canonical form.
    ///
    /// # Errors
    /// Everything listed at the head of this module.
    pub fn read(document: &Bytes) -> Result<Self, JsonError> {
        let mut reader = Reader::new(document)?;
        let value = reader.value()?;
        reader.end()?;
        Ok(value)
    }

    /// Takes bytes that this crate wrote in canonical form itself.
    pub(crate) fn trusted(canonical: Vec<u8>) -> Self {
        Self(canonical.into())
    }

    /// Returns the canonical bytes.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// Returns the canonical bytes, shared.
    #[must_use]
    pub fn to_bytes(&self) -> Bytes {
        self.0.clone()
    }

    /// Starts reading the value.
    #[must_use]
    pub fn cursor(&self) -> Cursor<'_> {
        Cursor::new(&self.0)
    }
}

/// A strict reader over one document that hands out canonical values.
pub struct Reader<'a> {
    document: &'a Bytes,
    /// Whether a backslash occurs anywhere; without one no string has to be looked at twice.
    escapes: bool,
    /// Whether a control character occurs anywhere.
    controls: bool,
    position: usize,
    depth: usize,
    /// Canonical output since the value's start, once it differs from the input.
    output: Option<Vec<u8>>,
    /// Where the value being read starts in the input.
    start: usize,
    members: Vec<Member>,
}

/// One member of an object, in output offsets.
#[derive(Clone, Copy)]
struct Member {
    start: u32,
    name_end: u32,
    end: u32,
}

impl<'a> Reader<'a> {
    /// Prepares to read a document.
    ///
    /// # Errors
    /// Refuses documents beyond [`MAX_DOCUMENT`] and invalid UTF-8.
    pub fn new(document: &'a Bytes) -> Result<Self, JsonError> {
        if document.len() > MAX_DOCUMENT {
            return Err(JsonError::TooLarge(document.len()));
        }
        if let Err(error) = std::str::from_utf8(document) {
            return Err(JsonError::Utf8(error.valid_up_to()));
        }
        let escapes = memchr(b'\\', document).is_some();
        // Without an early end the compiler looks at many bytes at once.
        let controls = document.iter().min().is_some_and(|lowest| *lowest < 0x20);
        Ok(Self { document, escapes, controls, position: 0, depth: 0, output: None, start: 0, members: Vec::new() })
    }

    /// Reads the next value and returns its canonical form, sharing the input's memory when that is canonical.
    ///
    /// # Errors
    /// The text is not acceptable JSON.
    pub fn value(&mut self) -> Result<Canonical, JsonError> {
        self.skip_blanks();
        self.start = self.position;
        self.output = None;
        self.any()?;
        let value = match self.output.take() {
            Some(output) => Bytes::from(output),
            None => self.document.slice(self.start..self.position),
        };
        // What follows, blanks for example, is no reason to copy what has been read.
        self.start = self.position;
        Ok(Canonical(value))
    }

    /// Reads `{`, or `}`/`,`/`:` punctuation of an envelope that the caller takes apart by itself.
    ///
    /// # Errors
    /// Something else stands there.
    pub fn punctuation(&mut self, byte: u8, expected: &'static str) -> Result<(), JsonError> {
        self.skip_blanks();
        self.expect(byte, expected)
    }

    /// Returns the next character that is not white space without consuming it.
    pub fn peek(&mut self) -> Option<u8> {
        self.skip_blanks();
        self.current()
    }

    /// Checks that nothing but white space follows.
    ///
    /// # Errors
    /// Something follows.
    pub fn end(&mut self) -> Result<(), JsonError> {
        self.skip_blanks();
        if self.position == self.document.len() { Ok(()) } else { Err(self.unexpected("the end of the document")) }
    }

    fn current(&self) -> Option<u8> {
        self.document.get(self.position).copied()
    }

    fn unexpected(&self, expected: &'static str) -> JsonError {
        let rest = self.document.get(self.position..).unwrap_or_default();
        let window = rest.get(..4).unwrap_or(rest);
        match String::from_utf8_lossy(window).chars().next() {
            Some(found) => JsonError::Unexpected { at: self.position, found, expected },
            None => JsonError::End,
        }
    }

    fn expect(&mut self, byte: u8, expected: &'static str) -> Result<(), JsonError> {
        if self.current() != Some(byte) {
            return Err(self.unexpected(expected));
        }
        self.keep(1);
        Ok(())
    }

    /// Takes `length` input bytes over into the output.
    fn keep(&mut self, length: usize) {
        let end = self.position + length;
        if let Some(output) = &mut self.output {
            output.extend_from_slice(self.document.get(self.position..end).unwrap_or_default());
        }
        self.position = end;
    }

    /// Leaves `length` input bytes out: from here on the output differs from the input.
    fn drop_input(&mut self, length: usize) {
        self.own_output();
        self.position += length;
    }

    fn own_output(&mut self) -> &mut Vec<u8> {
        let same = self.document.get(self.start..self.position).unwrap_or_default();
        self.output.get_or_insert_with(|| {
            let mut copy = Vec::with_capacity(same.len() + 64);
            copy.extend_from_slice(same);
            copy
        })
    }

    fn output_length(&self) -> u32 {
        let length = self.output.as_ref().map_or(self.position - self.start, Vec::len);
        u32::try_from(length).unwrap_or(u32::MAX)
    }

    fn output_slice(&self, range: Range<u32>) -> &[u8] {
        let range = range.start as usize..range.end as usize;
        match &self.output {
            Some(output) => output.get(range),
            None => self.document.get(self.start + range.start..self.start + range.end),
        }
        .unwrap_or_default()
    }

    fn skip_blanks(&mut self) {
        if self.current().is_none_or(|byte| byte > b' ') {
            return;
        }
        let rest = self.document.get(self.position..).unwrap_or_default();
        let blanks = rest.iter().take_while(|b| matches!(b, b' ' | b'\t' | b'\n' | b'\r')).count();
        if blanks > 0 {
            self.drop_input(blanks);
        }
    }

    fn any(&mut self) -> Result<(), JsonError> {
        match self.current() {
            Some(b'{') => self.nested(Self::object),
            Some(b'[') => self.nested(Self::array),
            Some(b'"') => self.string(),
            Some(b'-' | b'0'..=b'9') => self.number(),
            Some(b't') => self.word(b"true"),
            Some(b'f') => self.word(b"false"),
            Some(b'n') => self.word(b"null"),
            _ => Err(self.unexpected("a value")),
        }
    }

    fn nested(&mut self, body: fn(&mut Self) -> Result<(), JsonError>) -> Result<(), JsonError> {
        if self.depth == MAX_DEPTH {
            return Err(JsonError::Depth(self.position));
        }
        self.depth += 1;
        self.keep(1);
        self.skip_blanks();
        body(self)?;
        self.depth -= 1;
        Ok(())
    }

    fn word(&mut self, word: &'static [u8]) -> Result<(), JsonError> {
        if self.document.get(self.position..).is_some_and(|rest| rest.starts_with(word)) {
            self.keep(word.len());
            return Ok(());
        }
        Err(self.unexpected("true, false or null"))
    }

    fn number(&mut self) -> Result<(), JsonError> {
        let rest = self.document.get(self.position..).unwrap_or_default();
        let sign = usize::from(rest.first() == Some(&b'-'));
        let digits = rest.iter().skip(sign).take_while(|b| b.is_ascii_digit()).count();
        let number = rest.get(sign..sign + digits).unwrap_or_default();
        let value =
            if digits <= 16 { std::str::from_utf8(number).ok().and_then(|n| n.parse::<u64>().ok()) } else { None };
        let plain = match number {
            [] => false,
            [b'0'] => sign == 0,
            [first, ..] => *first != b'0',
        };
        let ended = !matches!(rest.get(sign + digits), Some(b'.' | b'e' | b'E' | b'+' | b'-'));
        if !plain || !ended || value.is_none_or(|value| value > MAX_INTEGER) {
            return Err(JsonError::Number(self.position));
        }
        self.keep(sign + digits);
        Ok(())
    }

    fn string(&mut self) -> Result<(), JsonError> {
        self.keep(1);
        loop {
            let rest = self.document.get(self.position..).unwrap_or_default();
            let run = if self.escapes { memchr2(b'"', b'\\', rest) } else { memchr(b'"', rest) };
            let (text, special) = rest.split_at(run.ok_or(JsonError::End)?);
            let control = if self.controls { text.iter().position(|b| *b < 0x20) } else { None };
            if let Some(control) = control {
                self.position += control;
                return Err(self.unexpected("no raw control character"));
            }
            let run = text.len();
            let special = special.first().copied();
            self.keep(run);
            if special == Some(b'"') {
                self.keep(1);
                return Ok(());
            }
            self.escape()?;
        }
    }

    fn escape(&mut self) -> Result<(), JsonError> {
        let at = self.position;
        let plain = match self.document.get(at + 1) {
            Some(b'"' | b'\\') => {
                self.keep(2);
                return Ok(());
            }
            Some(b'/') => '/',
            Some(b'b') => '\u{8}',
            Some(b'f') => '\u{c}',
            Some(b'n') => '\n',
            Some(b'r') => '\r',
            Some(b't') => '\t',
            Some(b'u') => return self.unicode_escape(at),
            _ => return Err(JsonError::Escape(at)),
        };
        self.drop_input(2);
        self.push_char(plain);
        Ok(())
    }

    fn unicode_escape(&mut self, at: usize) -> Result<(), JsonError> {
        let first = self.hex4(at + 2).ok_or(JsonError::Escape(at))?;
        let (decoded, length) = if let Some(c) = char::from_u32(first) {
            (c, 6)
        } else {
            let second = match self.document.get(at + 6..at + 8) {
                Some(b"\\u") if first < 0xDC00 => self.hex4(at + 8).filter(|low| (0xDC00..0xE000).contains(low)),
                _ => None,
            };
            let low = second.ok_or(JsonError::Escape(at))?;
            let scalar = 0x1_0000 + ((first - 0xD800) << 10) + (low - 0xDC00);
            (char::from_u32(scalar).ok_or(JsonError::Escape(at))?, 12)
        };
        self.drop_input(length);
        self.push_char(decoded);
        Ok(())
    }

    fn hex4(&self, at: usize) -> Option<u32> {
        let digits = self.document.get(at..at + 4)?;
        digits.iter().try_fold(0, |value, b| Some(value << 4 | char::from(*b).to_digit(16)?))
    }

    fn push_char(&mut self, c: char) {
        let output = self.own_output();
        if matches!(c, '"' | '\\') {
            output.push(b'\\');
        }
        output.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes());
    }

    fn array(&mut self) -> Result<(), JsonError> {
        if self.current() == Some(b']') {
            self.keep(1);
            return Ok(());
        }
        loop {
            self.any()?;
            self.skip_blanks();
            if self.current() == Some(b']') {
                self.keep(1);
                return Ok(());
            }
            self.expect(b',', "',' or ']'")?;
            self.skip_blanks();
        }
    }

    fn object(&mut self) -> Result<(), JsonError> {
        if self.current() == Some(b'}') {
            self.keep(1);
            return Ok(());
        }
        let first = self.members.len();
        let mut sorted = true;
        loop {
            let start = self.output_length();
            if self.current() != Some(b'"') {
                return Err(self.unexpected("a member name"));
            }
            self.string()?;
            let name_end = self.output_length();
            sorted &= self.check_order(first, start..name_end)?;
            self.skip_blanks();
            self.expect(b':', "':'")?;
            self.skip_blanks();
            self.any()?;
            self.members.push(Member { start, name_end, end: self.output_length() });
            self.skip_blanks();
            if self.current() == Some(b'}') {
                break;
            }
            self.expect(b',', "',' or '}'")?;
            self.skip_blanks();
        }
        if !sorted {
            self.sort_members(first)?;
        }
        self.members.truncate(first);
        self.keep(1);
        Ok(())
    }

    /// Tells whether the name follows the previous member's name; equal names are an error.
    fn check_order(&self, first: usize, name: Range<u32>) -> Result<bool, JsonError> {
        if self.members.len() == first {
            return Ok(true);
        }
        let Some(previous) = self.members.last() else { return Ok(true) };
        let (before, name) = (self.output_slice(previous.start..previous.name_end), self.output_slice(name));
        let order = if self.escapes { compare_names(before, name) } else { unquoted(before).cmp(unquoted(name)) };
        match order {
            Ordering::Less => Ok(true),
            Ordering::Equal => Err(repeated(name)),
            Ordering::Greater => Ok(false),
        }
    }

    fn sort_members(&mut self, first: usize) -> Result<(), JsonError> {
        let mut members = self.members.split_off(first);
        let Some(body) = members.first().map(|member| member.start as usize) else { return Ok(()) };
        let output = self.own_output();
        let unsorted = output.split_off(body);
        let slice = |from: u32, to: u32| unsorted.get(from as usize - body..to as usize - body).unwrap_or_default();
        let name = |member: &Member| slice(member.start, member.name_end);
        members.sort_by(|a, b| compare_names(name(a), name(b)));
        if let Some([twice, _]) = members.array_windows().find(|[a, b]| compare_names(name(a), name(b)).is_eq()) {
            return Err(repeated(name(twice)));
        }
        for (index, member) in members.iter().enumerate() {
            if index > 0 {
                output.push(b',');
            }
            output.extend_from_slice(slice(member.start, member.end));
        }
        Ok(())
    }
}

/// Compares two quoted canonical names by their decoded bytes.
fn compare_names(a: &[u8], b: &[u8]) -> Ordering {
    unquote(a).cmp(&unquote(b))
}

fn repeated(name: &[u8]) -> JsonError {
    let name = unquote(name);
    JsonError::Repeated(String::from_utf8_lossy(name.get(..64).unwrap_or(&name)).into_owned())
}

/// Takes the quotes off a string.
fn unquoted(quoted: &[u8]) -> &[u8] {
    quoted.strip_prefix(b"\"").and_then(|rest| rest.strip_suffix(b"\"")).unwrap_or(quoted)
}

/// Decodes a quoted canonical string.
pub(crate) fn unquote(quoted: &[u8]) -> Cow<'_, [u8]> {
    let inner = unquoted(quoted);
    if memchr(b'\\', inner).is_none() {
        return Cow::Borrowed(inner);
    }
    let mut decoded = Vec::with_capacity(inner.len());
    let mut bytes = inner.iter();
    while let Some(byte) = bytes.next() {
        decoded.push(if *byte == b'\\' { bytes.next().copied().unwrap_or(b'\\') } else { *byte });
    }
    Cow::Owned(decoded)
}

#[cfg(test)]
mod tests;
