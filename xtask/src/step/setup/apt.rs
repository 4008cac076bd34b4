//! Debian's package manager.

use super::spelled;
use crate::command;
use crate::report::line;
use anyhow::{Context, bail};
use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::process::Command;

const INSTALL: [&str; 4] = ["install", "--yes", "--no-install-recommends", "--option=DPkg::Lock::Timeout=300"];

/// What Debian asks before a package starts its service.
const POLICY: &str = "/usr/sbin/policy-rc.d";
/// The answer: no. The comment tells a left-over of ours from somebody else's policy.
const NO_SERVICES: &str = "#!/bin/sh\n# countersign xtask: installing packages must not start services\nexit 101\n";

/// Installs packages without what they recommend and without starting their services.
///
/// # Errors
/// This process is not root, or the package manager fails.
pub(super) fn install(packages: &BTreeSet<&str>) -> anyhow::Result<()> {
    let names = spelled(packages);
    if !is_root()? {
        bail!("Debian packages are missing; run this as root, or: apt-get install --no-install-recommends {names}");
    }
    line(&format!("setup: installing {names}"));
    let _policy = NoServices::at(Path::new(POLICY))?;
    command::run(apt().arg("update"))?;
    command::run(apt().args(INSTALL).args(packages))
}

fn apt() -> Command {
    let mut apt = Command::new("apt-get");
    apt.env("DEBIAN_FRONTEND", "noninteractive").arg("--quiet");
    apt
}

fn is_root() -> anyhow::Result<bool> {
    Ok(fs::metadata("/proc/self").context("cannot tell who runs this")?.uid() == 0)
}

/// Keeps services from being started as long as it lives.
struct NoServices {
    ours: Option<PathBuf>,
}

impl NoServices {
    /// Puts our policy there; a policy that the machine has already stays, and decides.
    fn at(place: &Path) -> anyhow::Result<Self> {
        if place.exists() && fs::read(place).is_ok_and(|text| text != NO_SERVICES.as_bytes()) {
            return Ok(Self { ours: None });
        }
        let ours = Some(place.to_owned());
        let mut options = fs::OpenOptions::new();
        let mut file = options.write(true).create(true).truncate(true).mode(0o755).open(place)?;
        std::io::Write::write_all(&mut file, NO_SERVICES.as_bytes())?;
        Ok(Self { ours })
    }
}

impl Drop for NoServices {
    fn drop(&mut self) {
        if let Some(place) = &self.ours
            && let Err(error) = fs::remove_file(place)
        {
            line(&format!("setup: cannot remove {}: {error}", place.display()));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{NO_SERVICES, NoServices};
    use std::fs;
    use std::os::unix::fs::PermissionsExt;
    use std::process::Command;

    fn folder(name: &str) -> std::path::PathBuf {
        let folder = std::env::temp_dir().join(format!("xtask-{name}-{}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        folder
    }

    #[test]
    fn the_policy_says_no_and_goes_away() {
        let folder = folder("policy");
        let place = folder.join("policy-rc.d");
        let policy = NoServices::at(&place).unwrap();
        assert_eq!(fs::metadata(&place).unwrap().permissions().mode() & 0o777, 0o755);
        assert_eq!(Command::new(&place).status().unwrap().code(), Some(101));
        drop(policy);
        assert!(!place.exists());
        fs::remove_dir_all(folder).unwrap();
    }

    #[test]
    fn what_a_killed_run_left_goes_away_and_another_policy_stays() {
        let folder = folder("left");
        let (left, other) = (folder.join("left"), folder.join("other"));
        fs::write(&left, NO_SERVICES).unwrap();
        fs::write(&other, "#!/bin/sh\nexit 0\n").unwrap();
        drop((NoServices::at(&left).unwrap(), NoServices::at(&other).unwrap()));
        assert!(!left.exists());
        assert_eq!(fs::read_to_string(&other).unwrap(), "#!/bin/sh\nexit 0\n");
        fs::remove_dir_all(folder).unwrap();
    }
}
