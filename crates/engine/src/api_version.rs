//! Versions of the Docker Engine API.

use std::fmt;
use std::str::FromStr;

/// A version such as 1.41.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ApiVersion {
    major: u16,
    minor: u16,
}

impl ApiVersion {
    /// The newest version spoken here (engine 28).
    pub const NEWEST: Self = Self { major: 1, minor: 51 };
    /// The oldest version spoken here (engine 17.06); engines that name none are older still.
    pub const OLDEST: Self = Self { major: 1, minor: 30 };

    /// Returns the version to speak with an engine whose newest version is this one, if there is any.
    ///
    /// Source: Docker Engine API, "Versioned API and SDK", version negotiation: the older of both newest versions.
    #[must_use]
    pub fn negotiated(self) -> Option<Self> {
        let chosen = self.min(Self::NEWEST);
        (chosen >= Self::OLDEST).then_some(chosen)
    }
}

impl fmt::Display for ApiVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.major, self.minor)
    }
}

impl FromStr for ApiVersion {
    type Err = NotAVersion;

    fn from_str(text: &str) -> Result<Self, NotAVersion> {
        let number = |text: &str| {
            let digits = text.bytes().all(|byte| byte.is_ascii_digit());
            text.parse().ok().filter(|_| digits).ok_or(NotAVersion)
        };
        let (major, minor) = text.split_once('.').ok_or(NotAVersion)?;
        Ok(Self { major: number(major)?, minor: number(minor)? })
    }
}

/// Says that a text is no version.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a version of the engine's interface")]
pub struct NotAVersion;

#[cfg(test)]
mod tests {
    use super::ApiVersion;

    #[test]
    fn the_older_of_both_newest_versions_is_spoken() {
        let negotiated = |text: &str| text.parse::<ApiVersion>().unwrap().negotiated().map(|chosen| chosen.to_string());
        assert_eq!(negotiated("1.41"), Some("1.41".to_owned()));
        assert_eq!(negotiated("1.99"), Some(ApiVersion::NEWEST.to_string()));
        assert_eq!(negotiated("2.0"), Some(ApiVersion::NEWEST.to_string()));
        assert_eq!(negotiated("1.9"), None);
    }

    #[test]
    fn texts_that_are_no_versions_are_refused() {
        for text in ["", "1", "1.", ".1", "1.41.2", "+1.4", "1.x", "99999.1", "v1.41"] {
            assert!(text.parse::<ApiVersion>().is_err(), "{text}");
        }
    }
}
