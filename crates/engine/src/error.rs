//! What goes wrong with an engine.

use std::fmt;
use std::time::Duration;

use countersign_image::Digest;

use crate::ApiVersion;

/// Says why an engine did not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum EngineError {
    /// Environment: nobody answers there, or the connection broke before an answer.
    #[error("cannot reach the engine at {endpoint}: {reason}: is it running, and may you use it?")]
    Unreachable {
        /// The endpoint, as `DOCKER_HOST` would name it.
        endpoint: String,
        /// What the connection said.
        reason: String,
    },
    /// Environment: the settings for TLS with the engine cannot be used.
    #[error("cannot use TLS with the engine at {endpoint}: {reason}")]
    Tls {
        /// The endpoint, as `DOCKER_HOST` would name it.
        endpoint: String,
        /// What is wrong with certificates or keys.
        reason: String,
    },
    /// Engine: it took longer than allowed.
    #[error("the engine was silent for {} seconds while {waiting_for}", limit.as_secs_f64())]
    Silent {
        /// What was waited for.
        waiting_for: &'static str,
        /// How long.
        limit: Duration,
    },
    /// Engine: it refuses, or could not do it, in its own words.
    #[error("{}", Visible(message))]
    Api {
        /// The HTTP status, if the whole answer was an error; errors in a stream have none.
        status: Option<u16>,
        /// The engine's words, unescaped.
        message: String,
    },
    /// Engine: its answer is not what the interface says, or not whole.
    #[error("the engine's answer cannot be understood: {}", Visible(reason))]
    BadAnswer {
        /// What is wrong with it.
        reason: String,
    },
    /// Engine: it speaks only versions older than any known here.
    #[error("the engine speaks version {theirs} of its interface, and {oldest} is the oldest usable: update it")]
    TooOld {
        /// The engine's newest version.
        theirs: ApiVersion,
        /// The oldest version understood here.
        oldest: ApiVersion,
    },
    /// Engine: it pushed an image and did not tell which.
    #[error("the engine pushed {image} without telling its digest")]
    NoDigest {
        /// Where it was pushed to, with the tag.
        image: String,
    },
    /// Engine: it told two digests for one pushed tag.
    #[error("the engine told two digests for {image}: {first} and {second}")]
    TwoDigests {
        /// Where it was pushed to, with the tag.
        image: String,
        /// What it told first.
        first: Digest,
        /// What it told then.
        second: Digest,
    },
    /// Engine: it says it pulled an image by digest, and does not have it under that digest.
    #[error("the engine does not have {image} after pulling it; it has {}", listed(found))]
    NotPulled {
        /// What was asked for, with the digest.
        image: String,
        /// The digests it has the image under.
        found: Vec<String>,
    },
    /// Caller: the bytes given to be sent could not be read.
    #[error("cannot read what should be sent to the engine: {0}")]
    Input(std::io::Error),
}

impl EngineError {
    pub(crate) fn bad(reason: impl Into<String>) -> Self {
        Self::BadAnswer { reason: reason.into() }
    }

    /// Tells whether the engine answered that there is no such thing.
    #[must_use]
    pub fn is_not_found(&self) -> bool {
        matches!(self, Self::Api { status: Some(404), .. })
    }
}

fn listed(digests: &[String]) -> String {
    if digests.is_empty() { "none".to_owned() } else { digests.join(", ") }
}

/// Text of an engine with control characters made visible, so that an error message cannot drive a terminal.
struct Visible<'a>(&'a str);

impl fmt::Display for Visible<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        use fmt::Write;
        for character in self.0.chars() {
            if character.is_control() && character != '\n' {
                write!(f, "{}", character.escape_default())?;
            } else {
                f.write_char(character)?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::EngineError;

    #[test]
    fn an_engines_words_cannot_drive_a_terminal() {
        let error = EngineError::Api { status: None, message: "a\u{1b}[31m\u{9b}b\n".to_owned() };
        assert_eq!(error.to_string(), "a\\u{1b}[31m\\u{9b}b\n");
    }
}
