//! Reading typed values from canonical bytes.

use super::{unquote, unquoted};
use std::borrow::Cow;

/// Says that a value has not the shape that its place asks for.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{place}: expected {expected}")]
pub struct Shape {
    /// The member that is wrong.
    pub place: Cow<'static, str>,
    /// What belongs there.
    pub expected: &'static str,
}

impl Shape {
    /// Names a member and what belongs there.
    pub fn new(place: impl Into<Cow<'static, str>>, expected: &'static str) -> Self {
        Self { place: place.into(), expected }
    }
}

/// Walks over one canonical value; the bytes are known to be well-formed, so only shapes can be wrong.
#[derive(Debug, Clone, Copy)]
pub struct Cursor<'a> {
    bytes: &'a [u8],
    position: usize,
}

impl<'a> Cursor<'a> {
    pub(crate) fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, position: 0 }
    }

    /// Continues in the middle of canonical bytes, at the start of a value.
    pub(crate) fn at(bytes: &'a [u8], position: usize) -> Self {
        Self { bytes, position }
    }

    /// Returns the offset of the next value.
    #[must_use]
    pub fn position(&self) -> usize {
        self.position
    }

    fn current(&self) -> Option<u8> {
        self.bytes.get(self.position).copied()
    }

    /// Takes `null` if it stands here.
    pub fn take_null(&mut self) -> bool {
        let null = self.current() == Some(b'n');
        if null {
            self.position += 4;
        }
        null
    }

    /// Reads a string.
    ///
    /// # Errors
    /// Another kind of value stands here.
    pub fn string(&mut self, place: &'static str) -> Result<Cow<'a, str>, Shape> {
        let (quoted, escaped) = self.quoted().ok_or_else(|| Shape::new(place, "a string"))?;
        let text = if escaped {
            String::from_utf8(unquote(quoted).into_owned()).map(Cow::Owned).ok()
        } else {
            std::str::from_utf8(unquoted(quoted)).map(Cow::Borrowed).ok()
        };
        text.ok_or_else(|| Shape::new(place, "UTF-8"))
    }

    /// Reads an unsigned integer.
    ///
    /// # Errors
    /// Another kind of value or a negative number stands here.
    pub fn unsigned(&mut self, place: &'static str) -> Result<u64, Shape> {
        let rest = self.bytes.get(self.position..).unwrap_or_default();
        let digits = rest.iter().take_while(|b| b.is_ascii_digit()).count();
        let number = rest.get(..digits).and_then(|n| std::str::from_utf8(n).ok()).and_then(|n| n.parse().ok());
        self.position += digits;
        number.ok_or_else(|| Shape::new(place, "an integer, not negative"))
    }

    /// Reads `true` or `false`.
    ///
    /// # Errors
    /// Another kind of value stands here.
    pub fn boolean(&mut self, place: &'static str) -> Result<bool, Shape> {
        let (value, length) = match self.current() {
            Some(b't') => (true, 4),
            Some(b'f') => (false, 5),
            _ => return Err(Shape::new(place, "true or false")),
        };
        self.position += length;
        Ok(value)
    }

    /// Reads an object, calling `member` with each name and a cursor that it must move past the value.
    ///
    /// # Errors
    /// Another kind of value stands here, or `member` fails.
    pub fn object<E: From<Shape>>(
        &mut self,
        place: &'static str,
        mut member: impl FnMut(&str, &mut Self) -> Result<(), E>,
    ) -> Result<(), E> {
        self.items(place, b'{', b'}', "an object", |cursor| {
            let name = cursor.string(place)?;
            cursor.position += 1;
            member(&name, cursor)
        })
    }

    /// Reads an array, calling `item` with a cursor that it must move past each value.
    ///
    /// # Errors
    /// Another kind of value stands here, or `item` fails.
    pub fn array<E: From<Shape>>(
        &mut self,
        place: &'static str,
        item: impl FnMut(&mut Self) -> Result<(), E>,
    ) -> Result<(), E> {
        self.items(place, b'[', b']', "an array", item)
    }

    fn items<E: From<Shape>>(
        &mut self,
        place: &'static str,
        open: u8,
        close: u8,
        expected: &'static str,
        mut item: impl FnMut(&mut Self) -> Result<(), E>,
    ) -> Result<(), E> {
        if self.current() != Some(open) {
            return Err(Shape::new(place, expected).into());
        }
        self.position += 1;
        if self.current() == Some(close) {
            self.position += 1;
            return Ok(());
        }
        loop {
            item(self)?;
            let separator = self.current();
            self.position += 1;
            match separator {
                Some(b',') => {}
                Some(byte) if byte == close => return Ok(()),
                _ => return Err(Shape::new(place, expected).into()),
            }
        }
    }

    /// Skips one value of any kind and returns its canonical bytes.
    pub fn skip(&mut self) -> &'a [u8] {
        let start = self.position;
        let mut depth = 0_usize;
        loop {
            match self.current() {
                Some(b'"') => {
                    self.quoted();
                }
                Some(b'{' | b'[') => {
                    depth += 1;
                    self.position += 1;
                }
                Some(b'}' | b']') => {
                    depth = depth.saturating_sub(1);
                    self.position += 1;
                }
                Some(_) => self.scalar_or_separator(),
                None => break,
            }
            if depth == 0 {
                break;
            }
        }
        self.bytes.get(start..self.position).unwrap_or_default()
    }

    /// Moves past a number or word, or over the separators inside a container.
    fn scalar_or_separator(&mut self) {
        let rest = self.bytes.get(self.position..).unwrap_or_default();
        let length = rest.iter().take_while(|b| !matches!(b, b'"' | b'{' | b'}' | b'[' | b']' | b',' | b':')).count();
        self.position += length.max(1);
    }

    /// Moves past a string; tells its quoted text, and whether anything in it is escaped.
    fn quoted(&mut self) -> Option<(&'a [u8], bool)> {
        if self.current() != Some(b'"') {
            return None;
        }
        let start = self.position;
        let mut end = start + 1;
        let mut escaped = false;
        loop {
            let rest = self.bytes.get(end..)?;
            end += memchr::memchr2(b'"', b'\\', rest)?;
            if self.bytes.get(end) == Some(&b'"') {
                self.position = end + 1;
                return Some((self.bytes.get(start..=end)?, escaped));
            }
            escaped = true;
            end += 2;
        }
    }
}
