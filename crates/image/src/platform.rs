//! Platforms: operating system, architecture and variant.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::reference::excerpt;

/// Longest part of a platform in bytes.
const MAX_PART_LENGTH: usize = 64;

/// What an image runs on, as an index says it of its entries.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Platform {
    /// The processor architecture in Go's spelling, for example `amd64`.
    #[serde(default)]
    pub architecture: String,
    /// The operating system in Go's spelling, for example `linux`.
    #[serde(default)]
    pub os: String,
    /// The version of the operating system; Windows images have one.
    #[serde(rename = "os.version", default, skip_serializing_if = "Option::is_none")]
    pub os_version: Option<String>,
    /// Features of the operating system that the image needs.
    #[serde(rename = "os.features", default, skip_serializing_if = "Vec::is_empty")]
    pub os_features: Vec<String>,
    /// The variant of the architecture, for example `v7`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub variant: Option<String>,
}

/// Says that a text is no platform.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not a platform: write os/architecture or os/architecture/variant, for example linux/arm64")]
pub struct PlatformError(pub String);

impl Platform {
    /// Parses `os/architecture[/variant]`, or one of the two alone, and normalises the spelling.
    ///
    /// # Errors
    /// Refuses more than three parts, empty parts, and anything but letters, digits, `.`, `-` and `_`.
    pub fn parse(text: &str) -> Result<Self, PlatformError> {
        let valid = |part: &&str| {
            !part.is_empty()
                && part.len() <= MAX_PART_LENGTH
                && part.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-".contains(&b))
        };
        let parts: Vec<&str> = text.split('/').collect();
        if !parts.iter().all(valid) {
            return Err(PlatformError(excerpt(text)));
        }
        let host = Self::host();
        let platform = match *parts {
            [one] if is_os(&one.to_ascii_lowercase()) => Self::new(one, &host.architecture, host.variant.as_deref()),
            [one] => Self::new(&host.os, one, None),
            [os, architecture] => Self::new(os, architecture, None),
            [os, architecture, variant] => Self::new(os, architecture, Some(variant)),
            _ => return Err(PlatformError(excerpt(text))),
        };
        Ok(platform)
    }

    /// Puts a platform together and normalises the spelling.
    #[must_use]
    pub fn new(os: &str, architecture: &str, variant: Option<&str>) -> Self {
        let os = match os.to_ascii_lowercase().as_str() {
            "macos" => "darwin".to_owned(),
            other => other.to_owned(),
        };
        let variant = variant.map(str::to_ascii_lowercase);
        let (architecture, variant) = normalise(&architecture.to_ascii_lowercase(), variant.as_deref());
        Self { architecture, os, os_version: None, os_features: Vec::new(), variant }
    }

    /// Returns the platform that containers run on beside this program: Linux, except on Windows.
    #[must_use]
    pub fn host() -> Self {
        let os = if cfg!(windows) { "windows" } else { "linux" };
        Self::new(os, std::env::consts::ARCH, None)
    }

    /// Returns how well an image for `offered` runs where this platform is wanted: lower is better, nothing means not at all.
    ///
    /// The order is containerd's: the same variant first, then older ones of the same family.
    #[must_use]
    pub fn rank(&self, offered: &Self) -> Option<usize> {
        let offered_normal = Self::new(&offered.os, &offered.architecture, offered.variant.as_deref());
        let version_fits = match (&self.os_version, &offered.os_version) {
            (Some(wanted), Some(offered)) => build_of(wanted) == build_of(offered),
            _ => true,
        };
        if self.os != offered_normal.os || !version_fits {
            return None;
        }
        self.accepted().iter().position(|(architecture, variant)| {
            *architecture == offered_normal.architecture && *variant == offered_normal.variant
        })
    }

    /// Lists the architectures and variants that run on this platform, the best first.
    fn accepted(&self) -> Vec<(String, Option<String>)> {
        let older = |prefix: &str, newest: u8, oldest: u8| -> Vec<(String, Option<String>)> {
            (oldest..=newest).rev().map(|number| (prefix.to_owned(), Some(format!("v{number}")))).collect()
        };
        let number = self.variant.as_deref().and_then(|variant| variant.strip_prefix('v')?.parse::<u8>().ok());
        let mut list = vec![(self.architecture.clone(), self.variant.clone())];
        match (self.architecture.as_str(), number) {
            ("arm", Some(number @ 6..=8)) => list.extend(older("arm", number - 1, 5)),
            ("arm64", None) => list.extend(older("arm", 8, 5)),
            ("amd64", Some(number @ 2..=4)) => {
                list.extend(older("amd64", number - 1, 2));
                list.push(("amd64".to_owned(), None));
            }
            _ => {}
        }
        list
    }
}

/// Takes the first three numbers of a Windows version, which decide whether an image runs.
fn build_of(version: &str) -> Vec<&str> {
    version.split('.').take(3).collect()
}

fn is_os(text: &str) -> bool {
    matches!(
        text,
        "linux"
            | "windows"
            | "darwin"
            | "macos"
            | "freebsd"
            | "netbsd"
            | "openbsd"
            | "solaris"
            | "illumos"
            | "plan9"
            | "aix"
            | "android"
            | "wasip1"
            | "js"
    )
}

fn normalise(architecture: &str, variant: Option<&str>) -> (String, Option<String>) {
    let (architecture, variant) = match (architecture, variant) {
        ("i386" | "i486" | "i586" | "i686" | "x86", _) => ("386", None),
        ("x86_64" | "x86-64" | "amd64", Some("v1") | None) => ("amd64", None),
        ("x86_64" | "x86-64", variant) => ("amd64", variant),
        ("aarch64" | "arm64", Some("8" | "v8") | None) => ("arm64", None),
        ("aarch64", variant) => ("arm64", variant),
        ("armhf", _) | ("arm", None | Some("7")) => ("arm", Some("v7")),
        ("armel", _) | ("arm", Some("6")) => ("arm", Some("v6")),
        ("arm", Some("5")) => ("arm", Some("v5")),
        ("arm", Some("8")) => ("arm", Some("v8")),
        ("powerpc64le", variant) => ("ppc64le", variant),
        other => other,
    };
    (architecture.to_owned(), variant.map(str::to_owned))
}

impl fmt::Display for Platform {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.os.escape_default(), self.architecture.escape_default())?;
        self.variant.iter().try_for_each(|variant| write!(f, "/{}", variant.escape_default()))
    }
}

impl FromStr for Platform {
    type Err = PlatformError;
    fn from_str(text: &str) -> Result<Self, PlatformError> {
        Self::parse(text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spellings_are_normalised() {
        for (text, expected) in [
            ("linux/x86_64", "linux/amd64"),
            ("linux/aarch64", "linux/arm64"),
            ("linux/arm64/v8", "linux/arm64"),
            ("linux/arm", "linux/arm/v7"),
            ("Linux/ARMHF", "linux/arm/v7"),
            ("linux/armel", "linux/arm/v6"),
            ("linux/i686", "linux/386"),
            ("macos/arm64", "darwin/arm64"),
            ("linux/amd64/v1", "linux/amd64"),
            ("windows/amd64", "windows/amd64"),
        ] {
            assert_eq!(Platform::parse(text).unwrap().to_string(), expected);
        }
        assert_eq!(Platform::parse("s390x").unwrap().to_string(), "linux/s390x");
    }

    #[test]
    fn texts_that_are_no_platforms_are_refused() {
        for text in ["", "/", "linux/", "a/b/c/d", "linux/am d64", "linux/\u{1b}[2J", &"a".repeat(100)] {
            assert!(Platform::parse(text).is_err(), "{text:?}");
        }
    }

    #[test]
    fn the_same_variant_is_best_and_newer_ones_do_not_run() {
        let v7 = Platform::parse("linux/arm/v7").unwrap();
        assert_eq!(v7.rank(&Platform::parse("linux/arm/v7").unwrap()), Some(0));
        assert_eq!(v7.rank(&Platform::parse("linux/arm/v6").unwrap()), Some(1));
        assert_eq!(v7.rank(&Platform::parse("linux/arm/v8").unwrap()), None);
        assert_eq!(v7.rank(&Platform::parse("linux/arm64").unwrap()), None);
        let arm64 = Platform::parse("linux/arm64").unwrap();
        assert_eq!(arm64.rank(&Platform::parse("linux/arm/v7").unwrap()), Some(2));
        let v3 = Platform::parse("linux/amd64/v3").unwrap();
        assert_eq!(v3.rank(&Platform::parse("linux/amd64").unwrap()), Some(2));
        assert_eq!(Platform::parse("linux/amd64").unwrap().rank(&Platform::parse("windows/amd64").unwrap()), None);
    }

    #[test]
    fn windows_builds_must_match_if_both_are_known() {
        let with =
            |version: &str| Platform { os_version: Some(version.into()), ..Platform::new("windows", "amd64", None) };
        assert_eq!(with("10.0.20348.1").rank(&with("10.0.20348.9")), Some(0));
        assert_eq!(with("10.0.20348.1").rank(&with("10.0.17763.1")), None);
        assert_eq!(Platform::new("windows", "amd64", None).rank(&with("10.0.17763.1")), Some(0));
    }

    #[test]
    fn control_characters_do_not_reach_the_screen() {
        assert_eq!(Platform::new("\u{1b}[2J", "x", None).to_string(), "\\u{1b}[2j/x");
    }
}
