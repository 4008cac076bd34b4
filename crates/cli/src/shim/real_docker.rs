//! Finding the docker that stands behind the shim, and becoming it.
//!
//! The shim must never find itself: candidates are compared with this program by device and inode, after following links.
//! Wrappers in between that call `docker` again are told by a guard variable, which names everything that a chain of `exec`
//! has already been through; what calls `docker` anew in a process of its own starts afresh, but not without end.

use std::ffi::{OsStr, OsString};
use std::fmt;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The variable that names the real docker.
pub(crate) const DOCKER_VARIABLE: &str = "COUNTERSIGN_DOCKER";
/// The variable that keeps wrappers from calling each other for ever: `PID DEPTH DEVICE:INODE…`.
const GUARD_VARIABLE: &str = "COUNTERSIGN_SHIM_GUARD";
/// How often docker may call docker, through plugins or wrappers.
const MAX_DEPTH: u32 = 24;

/// Says why there is no docker to call.
#[derive(Debug, thiserror::Error)]
pub(crate) enum RealDockerError {
    /// The variable names something else.
    #[error("{DOCKER_VARIABLE} is {0}, which is not a program that can be run")]
    NotAProgram(String),
    /// The variable names this program.
    #[error("{DOCKER_VARIABLE} is {0}, which is Countersign itself: name the docker behind it")]
    Itself(String),
    /// Nothing is there but this program.
    #[error(
        "there is no docker in PATH behind Countersign: install the docker client, or name it in {DOCKER_VARIABLE}"
    )]
    None,
    /// Wrappers call each other.
    #[error(
        "docker and its wrappers have called each other {MAX_DEPTH} times: name the real docker in {DOCKER_VARIABLE}"
    )]
    Loop,
    /// The system refuses to run it.
    #[error("cannot run {program}: {error}")]
    Run {
        /// The docker.
        program: String,
        /// What the system says.
        error: std::io::Error,
    },
}

/// The docker behind the shim.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct RealDocker {
    program: PathBuf,
    guard: String,
}

/// A file, however it is called.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct FileId {
    device: u64,
    inode: u64,
}

impl FileId {
    fn of(path: &Path) -> Option<Self> {
        let metadata = fs_err::metadata(path).ok()?;
        Some(Self { device: metadata.dev(), inode: metadata.ino() })
    }

    fn parse(text: &str) -> Option<Self> {
        let (device, inode) = text.split_once(':')?;
        Some(Self { device: device.parse().ok()?, inode: inode.parse().ok()? })
    }
}

impl fmt::Display for FileId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.device, self.inode)
    }
}

/// What the guard variable says.
#[derive(Debug, Default, PartialEq, Eq)]
struct Guard {
    depth: u32,
    /// What this very process has been before it called `exec`.
    been: Vec<FileId>,
}

impl Guard {
    fn parse(text: Option<&str>, process: u32) -> Self {
        let mut words = text.unwrap_or_default().split(' ');
        let same = words.next().and_then(|word| word.parse().ok()) == Some(process);
        let depth = words.next().and_then(|word| word.parse().ok()).unwrap_or(0);
        let been = if same { words.filter_map(FileId::parse).collect() } else { Vec::new() };
        Self { depth, been }
    }

    fn text(&self, process: u32) -> String {
        let been: Vec<String> = self.been.iter().map(ToString::to_string).collect();
        format!("{process} {} {}", self.depth, been.join(" "))
    }
}

impl RealDocker {
    /// Finds it: the one that is named, or the first in `PATH` that is not this program.
    ///
    /// # Errors
    /// There is none, or wrappers call each other.
    pub(crate) fn find() -> Result<Self, RealDockerError> {
        let named = std::env::var_os(DOCKER_VARIABLE).filter(|value| !value.is_empty());
        let path = std::env::var_os("PATH").unwrap_or_default();
        let itself = std::env::current_exe().ok().and_then(|program| FileId::of(&program));
        let guard = std::env::var(GUARD_VARIABLE).ok();
        Self::find_in(named.as_deref(), &path, itself, guard.as_deref(), std::process::id())
    }

    fn find_in(
        named: Option<&OsStr>,
        path: &OsStr,
        itself: Option<FileId>,
        guard: Option<&str>,
        process: u32,
    ) -> Result<Self, RealDockerError> {
        let mut guard = Guard::parse(guard, process);
        guard.depth += 1;
        if guard.depth > MAX_DEPTH {
            return Err(RealDockerError::Loop);
        }
        guard.been.extend(itself);
        let (program, id) = match named {
            Some(named) => Self::named(Path::new(named), itself)?,
            None => std::env::split_paths(path)
                .filter(|folder| folder.is_absolute())
                .map(|folder| folder.join("docker"))
                .filter_map(|candidate| Some((runnable(&candidate)?, candidate)))
                .find(|(id, _)| !guard.been.contains(id))
                .map(|(id, candidate)| (candidate, id))
                .ok_or(RealDockerError::None)?,
        };
        guard.been.push(id);
        Ok(Self { program, guard: guard.text(process) })
    }

    fn named(program: &Path, itself: Option<FileId>) -> Result<(PathBuf, FileId), RealDockerError> {
        let text = || crate::output::harmless(&program.display().to_string());
        let id = runnable(program).ok_or_else(|| RealDockerError::NotAProgram(text()))?;
        if Some(id) == itself {
            return Err(RealDockerError::Itself(text()));
        }
        Ok((program.to_owned(), id))
    }

    /// Where it is.
    pub(crate) fn program(&self) -> &Path {
        &self.program
    }

    /// A command that runs it as a process of its own.
    pub(crate) fn command(&self) -> Command {
        let mut command = Command::new(&self.program);
        command.env(GUARD_VARIABLE, &self.guard);
        command
    }

    /// Becomes it; returns only if that fails.
    pub(crate) fn become_with(&self, arguments: &[OsString], trust: TrustVariable) -> RealDockerError {
        let mut command = self.command();
        trust.apply(&mut command);
        let error = command.args(arguments).exec();
        RealDockerError::Run { program: crate::output::harmless(&self.program.display().to_string()), error }
    }
}

/// What the real docker is to see of `DOCKER_CONTENT_TRUST`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum TrustVariable {
    /// What the shim sees.
    Untouched,
    /// Nothing: the shim has done what there was to do.
    Removed,
}

impl TrustVariable {
    /// Sets up the environment of a command.
    pub(crate) fn apply(self, command: &mut Command) {
        if self == Self::Removed {
            command.env_remove(super::switch::TRUST_VARIABLE);
        }
    }
}

fn runnable(path: &Path) -> Option<FileId> {
    let metadata = fs_err::metadata(path).ok()?;
    let runs = metadata.is_file() && metadata.permissions().mode() & 0o111 != 0;
    runs.then(|| FileId { device: metadata.dev(), inode: metadata.ino() })
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Folders(tempfile::TempDir);

    impl Folders {
        fn new() -> Self {
            Self(tempfile::tempdir().unwrap())
        }

        fn program(&self, path: &str) -> PathBuf {
            let path = self.0.path().join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(&path, "#!/bin/sh\n").unwrap();
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
            path
        }

        fn link(&self, target: &Path, path: &str) -> PathBuf {
            let path = self.0.path().join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::os::unix::fs::symlink(target, &path).unwrap();
            path
        }

        fn search(&self, folders: &[&str]) -> OsString {
            std::env::join_paths(folders.iter().map(|folder| self.0.path().join(folder))).unwrap()
        }
    }

    fn find(path: &OsStr, itself: &Path, guard: Option<&str>) -> Result<RealDocker, RealDockerError> {
        RealDocker::find_in(None, path, FileId::of(itself), guard, 7)
    }

    #[test]
    fn the_first_docker_that_is_not_this_program_is_the_real_one() {
        let folders = Folders::new();
        let itself = folders.program("opt/countersign");
        folders.link(&itself, "a/docker");
        folders.link(&folders.0.path().join("a/docker"), "b/docker");
        std::fs::create_dir_all(folders.0.path().join("c")).unwrap();
        std::fs::hard_link(&itself, folders.0.path().join("c/docker")).unwrap();
        let real = folders.program("d/docker");
        let path = folders.search(&["a", "b", "c", "missing", "d"]);
        assert_eq!(find(&path, &itself, None).unwrap().program(), real);
        let none = find(&folders.search(&["a", "b", "c"]), &itself, None).unwrap_err();
        assert!(matches!(none, RealDockerError::None), "{none}");
    }

    #[test]
    fn folders_and_files_that_cannot_be_run_are_no_docker() {
        let folders = Folders::new();
        let itself = folders.program("opt/countersign");
        std::fs::create_dir_all(folders.0.path().join("a/docker")).unwrap();
        std::fs::create_dir_all(folders.0.path().join("b")).unwrap();
        std::fs::write(folders.0.path().join("b/docker"), "").unwrap();
        let real = folders.program("c/docker");
        assert_eq!(find(&folders.search(&["a", "b", "c"]), &itself, None).unwrap().program(), real);
    }

    #[test]
    fn a_wrapper_that_comes_back_in_the_same_process_is_passed_over() {
        let folders = Folders::new();
        let itself = folders.program("opt/countersign");
        let other_copy = folders.program("a/docker");
        let wrapper = folders.program("b/docker");
        let real = folders.program("c/docker");
        let path = folders.search(&["a", "b", "c"]);
        let first = find(&path, &itself, None).unwrap();
        assert_eq!(first.program(), other_copy);
        let second = find(&path, &other_copy, Some(&first.guard)).unwrap();
        assert_eq!(second.program(), wrapper);
        let third = find(&path, &itself, Some(&second.guard)).unwrap();
        assert_eq!(third.program(), real);
    }

    #[test]
    fn a_process_of_its_own_starts_afresh_but_not_for_ever() {
        let folders = Folders::new();
        let itself = folders.program("opt/countersign");
        let wrapper = folders.program("a/docker");
        let path = folders.search(&["a"]);
        let mut guard = None;
        for process in 0..MAX_DEPTH {
            let found = RealDocker::find_in(None, &path, FileId::of(&itself), guard.as_deref(), process).unwrap();
            assert_eq!(found.program(), wrapper);
            guard = Some(found.guard);
        }
        let refused = RealDocker::find_in(None, &path, FileId::of(&itself), guard.as_deref(), 999).unwrap_err();
        assert!(matches!(refused, RealDockerError::Loop), "{refused}");
    }

    #[test]
    fn the_named_docker_wins_unless_it_is_this_program_or_none() {
        let folders = Folders::new();
        let itself = folders.program("opt/countersign");
        let link = folders.link(&itself, "a/docker");
        let named = folders.program("b/my-docker");
        let found = |named: &Path| {
            let path = folders.search(&["a"]);
            RealDocker::find_in(Some(named.as_os_str()), &path, FileId::of(&itself), None, 7)
        };
        assert_eq!(found(&named).unwrap().program(), named);
        assert!(matches!(found(&link), Err(RealDockerError::Itself(_))));
        assert!(matches!(found(Path::new("/nowhere/docker")), Err(RealDockerError::NotAProgram(_))));
    }
}
