//! Whether the docker on the path still reads the variable that switches content trust on.

use crate::context::variable;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// The first docker without content trust.
pub(crate) const FIRST_WITHOUT: u32 = 29;
/// How long docker may take to say its version.
const PATIENCE: Duration = Duration::from_secs(2);
/// How often it is looked at meanwhile.
const LOOK: Duration = Duration::from_millis(5);

/// Says that `DOCKER_CONTENT_TRUST` is set, but that the docker that people call does not read it.
pub(super) fn dead_variable() -> Option<String> {
    variable("DOCKER_CONTENT_TRUST")?;
    let docker = on_path()?;
    if is_ours(&docker) {
        return None;
    }
    let version = version(&docker)?;
    (version >= FIRST_WITHOUT).then(|| {
        format!(
            "DOCKER_CONTENT_TRUST is set, but {} is docker {version}, which does not read it: plain docker pull and push \
             are neither verified nor signed; countersign install puts a docker in front of it that does both",
            docker.display()
        )
    })
}

pub(crate) fn on_path() -> Option<PathBuf> {
    let path = variable("PATH")?;
    std::env::split_paths(&path).map(|folder| folder.join("docker")).find(|file| file.is_file())
}

/// Tells whether a program is this one under another name.
pub(crate) fn is_ours(docker: &Path) -> bool {
    let (Ok(docker), Ok(own)) = (docker.canonicalize(), std::env::current_exe().and_then(|own| own.canonicalize()))
    else {
        return false;
    };
    docker == own || docker.file_name() == own.file_name()
}

/// Asks docker for its version; it answers from itself, without an engine.
pub(crate) fn version(docker: &Path) -> Option<u32> {
    let mut command = Command::new(docker);
    command.arg("--version").stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
    let mut child = command.spawn().ok()?;
    let began = Instant::now();
    while child.try_wait().ok()?.is_none() {
        if began.elapsed() > PATIENCE {
            let _ = child.kill();
            let _ = child.wait();
            return None;
        }
        std::thread::sleep(LOOK);
    }
    let output = child.wait_with_output().ok()?;
    major(&String::from_utf8_lossy(&output.stdout))
}

/// Reads `Docker version 29.0.1, build …`.
fn major(text: &str) -> Option<u32> {
    text.strip_prefix("Docker version ")?.split('.').next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dockers_version_is_read_from_its_own_words() {
        assert_eq!(major("Docker version 29.0.1, build abc\n"), Some(29));
        assert_eq!(major("Docker version 20.10.24+dfsg1, build 297e128\n"), Some(20));
        assert_eq!(major("podman version 4.3.1"), None);
        assert_eq!(major(""), None);
    }
}
