//! What is wrong with the arguments, in pflag's words.

use super::flag::Flag;

/// Says why flags cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum FlagError {
    /// No flag is spelled like this.
    #[error("bad flag syntax: {0}")]
    Syntax(String),
    /// There is no such flag.
    #[error("unknown flag: --{0}")]
    Unknown(String),
    /// There is no such letter.
    #[error("unknown shorthand flag: {letter:?} in -{letters}")]
    UnknownLetter {
        /// The letter.
        letter: char,
        /// The argument it stands in, from it on.
        letters: String,
    },
    /// The value is missing.
    #[error("flag needs an argument: --{0}")]
    NoValue(String),
    /// The value is missing after a letter.
    #[error("flag needs an argument: {letter:?} in -{letters}")]
    NoValueOfLetter {
        /// The letter.
        letter: char,
        /// The argument it stands in, from it on.
        letters: String,
    },
    /// The value is of another type.
    #[error("invalid argument {value:?} for {name:?} flag: {reason}")]
    Invalid {
        /// What was given.
        value: String,
        /// The flag, in both forms.
        name: String,
        /// What is wrong with it.
        reason: String,
    },
}

impl FlagError {
    /// Refuses a flag's value.
    pub(crate) fn invalid(flag: &Flag, value: &str, reason: impl Into<String>) -> Self {
        let name = match flag.short {
            Some(letter) => format!("-{letter}, --{}", flag.long),
            None => format!("--{}", flag.long),
        };
        Self::Invalid { value: value.to_owned(), name, reason: reason.into() }
    }

    /// Tells whether there is no such flag, rather than one used wrongly.
    pub(crate) fn is_unknown(&self) -> bool {
        matches!(self, Self::Unknown(_) | Self::UnknownLetter { .. })
    }
}
