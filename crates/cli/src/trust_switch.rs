//! Whether content trust is on: `--disable-content-trust`, else `DOCKER_CONTENT_TRUST`, else on.

use crate::error::CliError;
use crate::output;
use clap::Args;

/// The switch that docker has too.
#[derive(Debug, Args)]
pub(crate) struct TrustSwitch {
    /// Skip signing and verification
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    disable_content_trust: Option<String>,
}

/// How Go spells booleans in flags and variables.
pub(crate) fn boolean(text: &str) -> Option<bool> {
    match text {
        "1" | "t" | "T" | "true" | "TRUE" | "True" => Some(true),
        "0" | "f" | "F" | "false" | "FALSE" | "False" => Some(false),
        _ => None,
    }
}

impl TrustSwitch {
    /// Decides, and says so when trust is off.
    ///
    /// To docker an unset variable means off; here trust is what the program is for, so it takes a word to switch it off:
    /// the flag, or one of docker's spellings of "no" in the variable. Anything else in the variable means on.
    pub(crate) fn is_on(&self) -> Result<bool, CliError> {
        let (on, why) = match self.disable_content_trust.as_deref() {
            Some(flag) => {
                let disabled = boolean(flag).ok_or_else(|| {
                    CliError::user(format!("invalid argument {flag:?} for --disable-content-trust: use true or false"))
                })?;
                (!disabled, "--disable-content-trust")
            }
            None => (
                variable_is_on(
                    std::env::var_os("DOCKER_CONTENT_TRUST").and_then(|value| value.into_string().ok()).as_deref(),
                ),
                "DOCKER_CONTENT_TRUST",
            ),
        };
        if !on {
            output::message(format_args!("warning: content trust is off ({why}): nothing is signed or verified"));
        }
        Ok(on)
    }
}

fn variable_is_on(value: Option<&str>) -> bool {
    value.is_none_or(|value| value.is_empty() || boolean(value) != Some(false))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_dockers_spellings_of_no_switch_trust_off() {
        for off in ["0", "f", "F", "false", "FALSE", "False"] {
            assert!(!variable_is_on(Some(off)), "{off}");
        }
        for on in ["1", "t", "true", "no", "off", "2", "tRuE", " 0", "0 ", "yes", "n", "F ", "fALSE", "00"] {
            assert!(variable_is_on(Some(on)), "{on}");
        }
        assert!(variable_is_on(None) && variable_is_on(Some("")));
    }

    #[test]
    fn the_flag_wins() {
        let switch = |text: &str| TrustSwitch { disable_content_trust: Some(text.to_owned()) };
        assert!(switch("false").is_on().unwrap());
        assert!(!switch("true").is_on().unwrap());
        assert!(switch("maybe").is_on().is_err());
    }
}
