//! Where the trust directory is, given what the environment says.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};

/// Says why the place of the trust directory is not known.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the home directory is not known: set HOME, or name the trust directory")]
pub struct NoHome;

/// Returns docker's configuration directory: `DOCKER_CONFIG` unless it is unset or empty, otherwise `.docker` in the home
/// directory.
///
/// # Errors
/// [`NoHome`] when both are missing.
pub fn docker_config_directory(home: Option<&OsStr>, docker_config: Option<&OsStr>) -> Result<PathBuf, NoHome> {
    match filled(docker_config) {
        Some(directory) => Ok(directory.into()),
        None => Ok(Path::new(filled(home).ok_or(NoHome)?).join(".docker")),
    }
}

/// Returns docker's trust directory, `trust` in its configuration directory.
///
/// # Errors
/// [`NoHome`] when neither variable is set.
pub fn docker_trust_directory(home: Option<&OsStr>, docker_config: Option<&OsStr>) -> Result<PathBuf, NoHome> {
    Ok(docker_config_directory(home, docker_config)?.join("trust"))
}

/// Returns the notary client's trust directory: the configured one with a leading `~/` replaced by the home directory,
/// otherwise `.notary` there (Notary protocol, client configuration).
///
/// # Errors
/// [`NoHome`] when the home directory is needed and missing.
pub fn notary_trust_directory(home: Option<&OsStr>, configured: Option<&Path>) -> Result<PathBuf, NoHome> {
    let home = || filled(home).map(Path::new).ok_or(NoHome);
    match configured.filter(|path| !path.as_os_str().is_empty()) {
        None => Ok(home()?.join(".notary")),
        Some(path) => match path.strip_prefix("~") {
            Ok(rest) => Ok(home()?.join(rest)),
            Err(_) => Ok(path.to_owned()),
        },
    }
}

fn filled(value: Option<&OsStr>) -> Option<&OsStr> {
    value.filter(|value| !value.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn docker_looks_at_its_variable_first() {
        assert_eq!(docker_trust_directory(Some(OsStr::new("/h")), None).unwrap(), Path::new("/h/.docker/trust"));
        assert_eq!(
            docker_trust_directory(Some(OsStr::new("/h")), Some(OsStr::new(""))).unwrap(),
            Path::new("/h/.docker/trust")
        );
        assert_eq!(
            docker_trust_directory(Some(OsStr::new("/h")), Some(OsStr::new("/c"))).unwrap(),
            Path::new("/c/trust")
        );
        assert_eq!(docker_trust_directory(None, Some(OsStr::new("rel"))).unwrap(), Path::new("rel/trust"));
        assert_eq!(docker_trust_directory(None, None), Err(NoHome));
        assert_eq!(docker_trust_directory(Some(OsStr::new("")), None), Err(NoHome));
    }

    #[test]
    fn notary_expands_the_tilde_only_in_front() {
        assert_eq!(notary_trust_directory(Some(OsStr::new("/h")), None).unwrap(), Path::new("/h/.notary"));
        assert_eq!(notary_trust_directory(Some(OsStr::new("/h")), Some(Path::new("~/t"))).unwrap(), Path::new("/h/t"));
        assert_eq!(
            notary_trust_directory(Some(OsStr::new("/h")), Some(Path::new("a/~/t"))).unwrap(),
            Path::new("a/~/t")
        );
        assert_eq!(notary_trust_directory(Some(OsStr::new("/h")), Some(Path::new("~x/t"))).unwrap(), Path::new("~x/t"));
        assert_eq!(notary_trust_directory(None, Some(Path::new("/t"))).unwrap(), Path::new("/t"));
        assert_eq!(notary_trust_directory(None, Some(Path::new("~/t"))), Err(NoHome));
    }
}
