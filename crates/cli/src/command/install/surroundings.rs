//! What stands around the new names: `PATH`, other programs of the same names, and the docker that will call the plugin.

use super::place::is_same;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// The first docker that does not bring `docker trust` itself.
const WITHOUT_TRUST: u32 = 29;

/// What was found.
#[derive(Debug)]
pub(super) struct Surroundings {
    path: Vec<PathBuf>,
    program: PathBuf,
    docker: Option<String>,
}

impl Surroundings {
    /// Looks around, and asks the docker in `PATH` for its version.
    pub(super) fn of_this_process(program: &Path) -> Self {
        let variable: OsString = std::env::var_os("PATH").unwrap_or_default();
        let path: Vec<PathBuf> = std::env::split_paths(&variable).filter(|folder| folder.is_absolute()).collect();
        let docker = path.iter().map(|folder| folder.join("docker"));
        let docker = docker.filter(|candidate| candidate.is_file() && !is_same(candidate, program));
        let mut docker = docker;
        let docker = docker.find_map(|docker| version(&docker));
        Self { path, program: program.to_owned(), docker }
    }

    /// Says what will not work as it may be expected.
    pub(super) fn remarks(&self, programs: &Path, names: &[&str], plugins: &Path) -> Vec<String> {
        let mut remarks = Vec::new();
        if !self.path.iter().any(|folder| folder == programs) {
            remarks.push(format!("{} is not in PATH: put it there, before the folder of docker", programs.display()));
        }
        for name in names {
            remarks.extend(self.hidden(programs, name));
        }
        if let Some(version) = &self.docker {
            remarks.extend(Self::built_in(version));
        }
        let default = Path::new(super::SYSTEM_PLUGINS);
        if plugins == default
            && let Some(own) = self.other_plugin()
        {
            remarks.push(format!("{} comes before it for this person", own.display()));
        }
        remarks
    }

    /// Another program of the name, before or behind the link.
    fn hidden(&self, programs: &Path, name: &str) -> Option<String> {
        let link = programs.join(name);
        let found: Vec<PathBuf> =
            self.path.iter().map(|folder| folder.join(name)).filter(|path| path.is_file()).collect();
        let others = || found.iter().filter(|path| !is_same(path, &self.program));
        let before = found.iter().take_while(|path| **path != link).find(|path| !is_same(path, &self.program));
        match (before, others().next()) {
            (Some(other), _) if self.path.iter().any(|folder| folder == programs) => Some(format!(
                "{} comes before {} in PATH: put {} first",
                other.display(),
                link.display(),
                programs.display()
            )),
            (None, Some(other)) => Some(format!(
                "shells that have run {} before keep running it: hash -r in each of them, or open new ones",
                other.display()
            )),
            _ => None,
        }
    }

    fn built_in(version: &str) -> Option<String> {
        let major: u32 = version.split('.').next()?.parse().ok()?;
        (major < WITHOUT_TRUST).then(|| {
            format!(
                "docker {version} has its own `docker trust` and does not call the plugin: with it, run \
                 `countersign docker-trust …`, or install the shim"
            )
        })
    }

    fn other_plugin(&self) -> Option<PathBuf> {
        let own = etcetera::home_dir().ok()?.join(".docker/cli-plugins/docker-trust");
        (own.is_file() && !is_same(&own, &self.program)).then_some(own)
    }
}

/// Asks a docker client for its version: `Docker version 28.2.2, build …`.
fn version(docker: &Path) -> Option<String> {
    let asked = Command::new(docker).arg("--version").stdin(Stdio::null()).stderr(Stdio::null()).output().ok()?;
    let text = String::from_utf8_lossy(&asked.stdout).into_owned();
    let version = text.strip_prefix("Docker version ")?.split([',', ' ', '\n']).next()?;
    version.starts_with(|c: char| c.is_ascii_digit()).then(|| version.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_docker_before_29_keeps_the_name() {
        assert!(Surroundings::built_in("28.5.2").is_some_and(|text| text.contains("docker 28.5.2")));
        assert!(Surroundings::built_in("20.10.24+dfsg1").is_some());
        assert_eq!(Surroundings::built_in("29.0.0"), None);
        assert_eq!(Surroundings::built_in("unknown"), None);
    }
}
