//! Whether content trust is on, as docker decides: `--disable-content-trust`, else `DOCKER_CONTENT_TRUST`, else off.

use crate::cobra::{Flag, Occurrence};
use std::ffi::{OsStr, OsString};

/// The variable that switches content trust on.
pub(crate) const TRUST_VARIABLE: &str = "DOCKER_CONTENT_TRUST";

/// The flag that has the last word.
pub(crate) const DISABLE: Flag = Flag::switch("disable-content-trust", "Skip image verification");

/// Whether images are signed and verified.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Trust {
    /// They are.
    On,
    /// They are not.
    Off,
}

impl Trust {
    /// Reads the variable: unset, empty and Go's spellings of "false" mean off, everything else means on.
    pub(crate) fn of_variable(value: Option<&OsStr>) -> Self {
        match value.map(OsStr::to_str) {
            None | Some(Some("" | "0" | "f" | "F" | "false" | "FALSE" | "False")) => Self::Off,
            Some(_) => Self::On,
        }
    }

    /// Reads the variable of this process.
    pub(crate) fn of_environment() -> Self {
        Self::of_variable(std::env::var_os(TRUST_VARIABLE).as_deref())
    }

    /// Lets the flag decide where it was used; the last use counts.
    pub(crate) fn or_flag(self, uses: &[Occurrence]) -> Self {
        let last = uses.iter().rfind(|used| used.flag.long == DISABLE.long);
        match last.map(|used| crate::cobra::boolean(&used.value)) {
            Some(Some(true)) => Self::Off,
            Some(_) => Self::On,
            None => self,
        }
    }
}

/// Tells whether the flag could be among the arguments.
pub(crate) fn may_be_named(arguments: &[OsString]) -> bool {
    let prefix = b"--disable-content-trust";
    arguments.iter().any(|argument| argument.as_encoded_bytes().starts_with(prefix))
}

/// Takes the flag out of arguments, wherever it was used.
pub(crate) fn without_flag(arguments: &[OsString], uses: &[Occurrence]) -> Vec<OsString> {
    let is_it = |index| uses.iter().any(|used| used.flag.long == DISABLE.long && used.index == index);
    arguments.iter().enumerate().filter(|(index, _)| !is_it(*index)).map(|(_, argument)| argument.clone()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::ffi::OsStrExt;

    #[test]
    fn the_variable_means_what_it_means_to_docker() {
        let of = |text: &str| Trust::of_variable(Some(OsStr::new(text)));
        for off in ["", "0", "f", "F", "false", "FALSE", "False"] {
            assert_eq!(of(off), Trust::Off, "{off:?}");
        }
        for on in ["1", "t", "T", "true", "TRUE", "True", "no", "off", "2", "tRuE", " 0", "0 ", "yes", "fALSE"] {
            assert_eq!(of(on), Trust::On, "{on:?}");
        }
        assert_eq!(Trust::of_variable(None), Trust::Off);
        assert_eq!(Trust::of_variable(Some(OsStr::from_bytes(&[0xff]))), Trust::On);
    }
}
