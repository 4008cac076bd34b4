//! Variables and quotes in a word, as the builder replaces them.

use std::iter::Peekable;
use std::str::Chars;

/// How deep `${A:-${B:-…}}` may be.
const MAX_DEPTH: usize = 16;
/// The longest word that may come of it, in bytes.
const MAX_LENGTH: usize = 64 << 10;

/// What a variable stands for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Value {
    /// This text.
    Text(String),
    /// Nothing: it is not set.
    Unset,
    /// Something that only the builder knows.
    Unknown,
}

/// Replaces variables and takes quotes away.
///
/// # Errors
/// Says what is not understood.
pub(super) fn expand(word: &str, escape: char, lookup: &dyn Fn(&str) -> Value) -> Result<String, String> {
    let mut expander = Expander { chars: word.chars().peekable(), escape, lookup, depth: 0, length: 0 };
    expander.until(None)
}

struct Expander<'a> {
    chars: Peekable<Chars<'a>>,
    escape: char,
    lookup: &'a dyn Fn(&str) -> Value,
    depth: usize,
    length: usize,
}

impl Expander<'_> {
    fn until(&mut self, stop: Option<char>) -> Result<String, String> {
        let mut text = String::new();
        loop {
            let Some(c) = self.chars.next() else {
                return if stop.is_some() { Err("a ${ has no }".to_owned()) } else { Ok(text) };
            };
            if Some(c) == stop {
                return Ok(text);
            }
            match c {
                '\'' => self.single_quoted(&mut text)?,
                '"' => self.double_quoted(&mut text)?,
                '$' => text.push_str(&self.dollar()?),
                c if c == self.escape => text.extend(self.chars.next()),
                c => text.push(c),
            }
            if text.len() > MAX_LENGTH {
                return Err("a word becomes too long".to_owned());
            }
        }
    }

    fn single_quoted(&mut self, text: &mut String) -> Result<(), String> {
        for c in self.chars.by_ref() {
            if c == '\'' {
                return Ok(());
            }
            text.push(c);
        }
        Err("a quote has no end".to_owned())
    }

    fn double_quoted(&mut self, text: &mut String) -> Result<(), String> {
        while let Some(c) = self.chars.next() {
            match c {
                '"' => return Ok(()),
                '$' => text.push_str(&self.dollar()?),
                c if c == self.escape => match self.chars.next() {
                    Some(next) if next == '"' || next == '$' || next == self.escape => text.push(next),
                    Some(next) => text.extend([c, next]),
                    None => text.push(c),
                },
                c => text.push(c),
            }
        }
        Err("a quote has no end".to_owned())
    }

    fn dollar(&mut self) -> Result<String, String> {
        if self.chars.next_if_eq(&'{').is_none() {
            let name = self.name();
            return if name.is_empty() { Err("a $ stands before no name".to_owned()) } else { self.value(&name) };
        }
        let name = self.name();
        if name.is_empty() {
            return Err("a ${ stands before no name".to_owned());
        }
        match self.chars.next() {
            Some('}') => self.value(&name),
            Some(':') => match self.chars.next() {
                Some(operator @ ('-' | '+')) => self.alternative(&name, operator, Empty::IsUnset),
                _ => Err(format!("${{{name}:…}} is not understood")),
            },
            Some(operator @ ('-' | '+')) => self.alternative(&name, operator, Empty::IsSet),
            _ => Err(format!("${{{name}…}} is not understood")),
        }
    }

    fn alternative(&mut self, name: &str, operator: char, empty: Empty) -> Result<String, String> {
        self.depth += 1;
        if self.depth > MAX_DEPTH {
            return Err("variables are nested too deeply".to_owned());
        }
        let other = self.until(Some('}'))?;
        self.depth -= 1;
        let value = match (self.lookup)(name) {
            Value::Unknown => return Err(unknown(name)),
            Value::Text(text) if !(text.is_empty() && empty == Empty::IsUnset) => Some(text),
            Value::Text(_) | Value::Unset => None,
        };
        Ok(match (operator, value) {
            ('-', Some(value)) => value,
            ('+', None) => String::new(),
            _ => other,
        })
    }

    fn name(&mut self) -> String {
        let mut name = String::new();
        while let Some(c) =
            self.chars.next_if(|c| *c == '_' || c.is_ascii_alphabetic() || (c.is_ascii_digit() && !name.is_empty()))
        {
            name.push(c);
        }
        name
    }

    fn value(&mut self, name: &str) -> Result<String, String> {
        let text = match (self.lookup)(name) {
            Value::Text(text) => text,
            Value::Unset => String::new(),
            Value::Unknown => return Err(unknown(name)),
        };
        self.length += text.len();
        if self.length > MAX_LENGTH { Err("a word becomes too long".to_owned()) } else { Ok(text) }
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Empty {
    IsSet,
    IsUnset,
}

fn unknown(name: &str) -> String {
    format!("${name} is known to the builder only; name one platform with --platform, or the image itself")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(word: &str) -> Result<String, String> {
        expand(word, '\\', &|name| match name {
            "A" => Value::Text("alpine".to_owned()),
            "EMPTY" => Value::Text(String::new()),
            "TARGETARCH" => Value::Unknown,
            _ => Value::Unset,
        })
    }

    #[test]
    fn variables_quotes_and_escapes_are_replaced_as_a_builder_does() {
        for (word, expected) in [
            ("plain:1", "plain:1"),
            ("$A:3", "alpine:3"),
            ("${A}x", "alpinex"),
            ("$Ax", ""),
            ("a$NONE.b", "a.b"),
            ("${NONE:-b}", "b"),
            ("${EMPTY:-b}", "b"),
            ("${EMPTY-b}", ""),
            ("${A:+b}", "b"),
            ("${EMPTY:+b}", ""),
            ("${EMPTY+b}", "b"),
            ("${NONE+b}", ""),
            ("${NONE:-${A}:1}", "alpine:1"),
            ("\"$A\"", "alpine"),
            ("'$A'", "$A"),
            ("\\$A", "$A"),
            ("\"\\$A\\x\"", "$A\\x"),
            ("a'b'\"c\"d", "abcd"),
        ] {
            assert_eq!(of(word).as_deref(), Ok(expected), "{word}");
        }
    }

    #[test]
    fn what_is_not_understood_is_told() {
        for word in [
            "${A",
            "${}",
            "$",
            "$1",
            "$@",
            "${A#x}",
            "${A%x}",
            "${A/x/y}",
            "${A:?x}",
            "${A:1}",
            "'x",
            "\"x",
            "${1}",
            "$TARGETARCH",
            "${TARGETARCH:-x}",
            "${!A}",
        ] {
            assert!(of(word).is_err(), "{word}");
        }
        let deep = "${N:-".repeat(40) + &"}".repeat(40);
        assert!(of(&deep).is_err());
    }

    #[test]
    fn the_escape_character_is_the_directives() {
        let backtick = expand("a`$b\\c", '`', &|_| Value::Unset);
        assert_eq!(backtick.as_deref(), Ok("a$b\\c"));
    }

    #[test]
    fn a_word_cannot_grow_without_end() {
        let big = |_: &str| Value::Text("x".repeat(MAX_LENGTH));
        assert!(expand("$A$A", '\\', &big).is_err());
    }
}
