//! Reading arguments by a table of flags, with pflag's grammar.

use super::error::FlagError;
use super::flag::{Flag, Takes};
use std::ffi::OsString;

/// Whether flags may stand behind the first positional argument.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Interspersed {
    /// Anywhere up to `--`.
    Yes,
    /// Only before the first positional argument, as for `docker run`.
    No,
}

/// One use of a flag.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Occurrence {
    /// The flag.
    pub(crate) flag: &'static Flag,
    /// Its value; invalid UTF-8 is replaced.
    pub(crate) value: String,
    /// The argument it stands in, counted from 0.
    pub(crate) index: usize,
    /// Whether the value is the argument behind that one.
    pub(crate) apart: bool,
}

/// An argument that is no flag and no value of one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Positional {
    /// The text; invalid UTF-8 is replaced.
    pub(crate) text: String,
    /// Its place among all arguments, counted from 0.
    pub(crate) index: usize,
}

/// What the arguments say.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Parsed {
    /// The flags in their order.
    pub(crate) occurrences: Vec<Occurrence>,
    /// The other arguments in their order.
    pub(crate) positional: Vec<Positional>,
}

/// Reads arguments.
///
/// # Errors
/// As pflag: at the first argument that is wrong.
pub(crate) fn parse(
    flags: &[&'static Flag],
    arguments: &[OsString],
    interspersed: Interspersed,
) -> Result<Parsed, FlagError> {
    let texts: Vec<_> = arguments.iter().map(|argument| argument.to_string_lossy()).collect();
    let mut reader = Reader { flags, texts: &texts, at: 0, parsed: Parsed::default() };
    while let Some(text) = reader.take() {
        let index = reader.at - 1;
        if text == "--" {
            reader.rest_is_positional();
        } else if let Some(long) = text.strip_prefix("--") {
            reader.long(long, index, text)?;
        } else if let Some(letters) = text.strip_prefix('-').filter(|letters| !letters.is_empty()) {
            reader.letters(letters, index)?;
        } else {
            reader.parsed.positional.push(Positional { text: text.to_owned(), index });
            if interspersed == Interspersed::No {
                reader.rest_is_positional();
            }
        }
    }
    Ok(reader.parsed)
}

struct Reader<'a> {
    flags: &'a [&'static Flag],
    texts: &'a [std::borrow::Cow<'a, str>],
    at: usize,
    parsed: Parsed,
}

impl<'a> Reader<'a> {
    fn take(&mut self) -> Option<&'a str> {
        let text = self.texts.get(self.at)?;
        self.at += 1;
        Some(text)
    }

    fn rest_is_positional(&mut self) {
        while let Some(text) = self.take() {
            self.parsed.positional.push(Positional { text: text.to_owned(), index: self.at - 1 });
        }
    }

    fn long(&mut self, name: &str, index: usize, whole: &str) -> Result<(), FlagError> {
        if name.is_empty() || name.starts_with(['-', '=']) {
            return Err(FlagError::Syntax(whole.to_owned()));
        }
        let (name, value) = name.split_once('=').map_or((name, None), |(name, value)| (name, Some(value)));
        let flag = self.flags.iter().find(|flag| flag.long == name);
        let flag = *flag.ok_or_else(|| FlagError::Unknown(name.to_owned()))?;
        if let Some(value) = value.or(flag.implied()) {
            return self.set(flag, value, index, Apart::No);
        }
        let value = self.take().ok_or_else(|| FlagError::NoValue(name.to_owned()))?;
        self.set(flag, value, index, Apart::Yes)
    }

    /// Reads `-abc`, `-pvalue`, `-p=value` and `-p value`.
    fn letters(&mut self, letters: &str, index: usize) -> Result<(), FlagError> {
        let mut rest = letters;
        while let Some(letter) = rest.chars().next() {
            let letters = rest;
            rest = rest.get(letter.len_utf8()..).unwrap_or_default();
            let flag = self.flags.iter().find(|flag| flag.short == Some(letter));
            let flag = *flag.ok_or_else(|| FlagError::UnknownLetter { letter, letters: letters.to_owned() })?;
            if let Some(value) = rest.strip_prefix('=').filter(|value| !value.is_empty()) {
                return self.set(flag, value, index, Apart::No);
            }
            if let Some(implied) = flag.implied() {
                self.set(flag, implied, index, Apart::No)?;
                continue;
            }
            if !rest.is_empty() {
                return self.set(flag, rest, index, Apart::No);
            }
            let Some(value) = self.take() else {
                return Err(FlagError::NoValueOfLetter { letter, letters: letters.to_owned() });
            };
            return self.set(flag, value, index, Apart::Yes);
        }
        Ok(())
    }

    fn set(&mut self, flag: &'static Flag, value: &str, index: usize, apart: Apart) -> Result<(), FlagError> {
        check(flag, value)?;
        let apart = apart == Apart::Yes;
        self.parsed.occurrences.push(Occurrence { flag, value: value.to_owned(), index, apart });
        Ok(())
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Apart {
    Yes,
    No,
}

fn check(flag: &Flag, value: &str) -> Result<(), FlagError> {
    let refuse = |function: &str, text: &str| {
        Err(FlagError::invalid(flag, value, format!("strconv.{function}: parsing {text:?}: invalid syntax")))
    };
    match flag.takes {
        Takes::Nothing if boolean(value).is_none() => refuse("ParseBool", value),
        Takes::Integer if value.parse::<i64>().is_err() => refuse("ParseInt", value),
        Takes::Integers => match value.split(',').find(|number| number.parse::<i64>().is_err()) {
            Some(wrong) => refuse("Atoi", wrong),
            None => Ok(()),
        },
        _ => Ok(()),
    }
}

/// Reads a boolean as Go spells it.
pub(crate) fn boolean(text: &str) -> Option<bool> {
    match text {
        "1" | "t" | "T" | "true" | "TRUE" | "True" => Some(true),
        "0" | "f" | "F" | "false" | "FALSE" | "False" => Some(false),
        _ => None,
    }
}

impl Parsed {
    /// Tells whether a flag was used at all.
    pub(crate) fn was_set(&self, long: &str) -> bool {
        self.value(long).is_some()
    }

    /// Tells whether a flag that is on or off is on.
    pub(crate) fn is_on(&self, long: &str) -> bool {
        self.value(long).and_then(boolean).unwrap_or(false)
    }

    /// Returns a flag's last value.
    pub(crate) fn value(&self, long: &str) -> Option<&str> {
        self.uses(long).last().map(|used| used.value.as_str())
    }

    /// Returns all values of a flag; those of a list are taken apart.
    pub(crate) fn values(&self, long: &str) -> Vec<&str> {
        let split = |used: &'_ Occurrence| matches!(used.flag.takes, Takes::List(_) | Takes::Integers);
        self.uses(long)
            .flat_map(|used| if split(used) { used.value.split(',').collect() } else { vec![used.value.as_str()] })
            .collect()
    }

    /// Returns each use of a flag.
    pub(crate) fn uses(&self, long: &str) -> impl DoubleEndedIterator<Item = &Occurrence> {
        self.occurrences.iter().filter(move |used| used.flag.long == long)
    }

    /// Returns the text of the positional arguments.
    pub(crate) fn texts(&self) -> Vec<&str> {
        self.positional.iter().map(|positional| positional.text.as_str()).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    static FLAGS: [Flag; 6] = [
        Flag::switch("publish", "").short('p'),
        Flag::switch("detach", "").short('d'),
        Flag::value("server", "string", "").short('s'),
        Flag::list("roles", "strings", "").short('r'),
        Flag::integers("number", "").short('n'),
        Flag::optional("pull", "string", "missing", ""),
    ];

    fn read(arguments: &[&str], interspersed: Interspersed) -> Result<Parsed, FlagError> {
        let flags: Vec<&'static Flag> = FLAGS.iter().collect();
        parse(&flags, &arguments.iter().map(OsString::from).collect::<Vec<_>>(), interspersed)
    }

    fn error(arguments: &[&str]) -> String {
        read(arguments, Interspersed::Yes).unwrap_err().to_string()
    }

    #[test]
    fn values_are_attached_in_every_way_pflag_knows() {
        for line in [
            &["--server", "x"][..],
            &["--server=x"],
            &["-s", "x"],
            &["-sx"],
            &["-s=x"],
            &["-pds", "x"],
            &["-pdsx"],
            &["-s", "y", "-s", "x"],
        ] {
            assert_eq!(read(line, Interspersed::Yes).unwrap().value("server"), Some("x"), "{line:?}");
        }
        assert_eq!(read(&["--server", "--publish"], Interspersed::Yes).unwrap().value("server"), Some("--publish"));
        let parsed = read(&["--server="], Interspersed::Yes).unwrap();
        assert_eq!((parsed.value("server"), parsed.was_set("server")), (Some(""), true));
    }

    #[test]
    fn switches_take_values_only_behind_an_equals_sign() {
        let parsed = read(&["-p", "false"], Interspersed::Yes).unwrap();
        assert!(parsed.is_on("publish"));
        assert_eq!(parsed.texts(), ["false"]);
        assert!(!read(&["--publish=false"], Interspersed::Yes).unwrap().is_on("publish"));
        assert!(!read(&["-p=0"], Interspersed::Yes).unwrap().is_on("publish"));
        assert_eq!(read(&["--pull", "always"], Interspersed::Yes).unwrap().value("pull"), Some("missing"));
    }

    #[test]
    fn lists_are_taken_apart_and_gathered() {
        let parsed = read(&["-r", "a,b", "--roles=c", "-n1,2"], Interspersed::Yes).unwrap();
        assert_eq!(parsed.values("roles"), ["a", "b", "c"]);
        assert_eq!(parsed.values("number"), ["1", "2"]);
    }

    #[test]
    fn positional_arguments_keep_their_places() {
        let parsed = read(&["a", "-s", "x", "b", "--", "-p"], Interspersed::Yes).unwrap();
        let places: Vec<_> = parsed.positional.iter().map(|p| (p.text.as_str(), p.index)).collect();
        assert_eq!(places, [("a", 0), ("b", 3), ("-p", 5)]);
        assert_eq!((parsed.occurrences[0].index, parsed.occurrences[0].apart), (1, true));
        assert_eq!(read(&["-"], Interspersed::Yes).unwrap().texts(), ["-"]);
        let parsed = read(&["-p", "image", "-p", "--nonsense"], Interspersed::No).unwrap();
        assert_eq!(parsed.texts(), ["image", "-p", "--nonsense"]);
    }

    #[test]
    fn errors_are_worded_as_pflag_words_them() {
        assert_eq!(error(&["--bogus=1"]), "unknown flag: --bogus");
        assert_eq!(error(&["-px"]), "unknown shorthand flag: 'x' in -x");
        assert_eq!(error(&["-xyz"]), "unknown shorthand flag: 'x' in -xyz");
        assert_eq!(error(&["--server"]), "flag needs an argument: --server");
        assert_eq!(error(&["-ps"]), "flag needs an argument: 's' in -s");
        assert_eq!(error(&["---x"]), "bad flag syntax: ---x");
        assert_eq!(error(&["--=x"]), "bad flag syntax: --=x");
        assert_eq!(
            error(&["--publish=maybe"]),
            "invalid argument \"maybe\" for \"-p, --publish\" flag: strconv.ParseBool: parsing \"maybe\": invalid syntax"
        );
        assert_eq!(
            error(&["-n1,b"]),
            "invalid argument \"1,b\" for \"-n, --number\" flag: strconv.Atoi: parsing \"b\": invalid syntax"
        );
    }
}
