//! The program under the name `docker`, in front of the real one or of a stub that writes down how it was called.

mod compose;
pub(crate) mod forged;
mod images;
mod metadata;
mod passing;
mod refusing;
mod transcripts;

use crate::client::Client;
use countersign_testkit::Finished;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use tempfile::TempDir;

/// A person whose `docker` is the shim.
pub(crate) struct Shim {
    pub(crate) client: Client,
    folder: TempDir,
}

/// What stands behind the shim, and writes down how it was called: arguments, environment, input, terminal.
const STUB: &str = r#"#!/bin/sh
here="${STUB:?}"
: > "$here/arguments"
for argument; do printf '%s\0' "$argument" >> "$here/arguments"; done
cat "/proc/$$/environ" > "$here/environment"
if test -t 0; then echo terminal > "$here/input"; else cat > "$here/input"; fi
echo "$$" > "$here/process"
echo run >> "$here/runs"
test -f "$here/answer" && . "$here/answer"
test -f "$here/code" && exit "$(cat "$here/code")"
exit 0
"#;

impl Shim {
    /// Before this program.
    pub(crate) fn before(client: Client, real: &Path) -> Self {
        let folder = tempfile::tempdir().unwrap();
        for (bin, target) in [("bin", Path::new(env!("CARGO_BIN_EXE_countersign"))), ("real", real)] {
            std::fs::create_dir(folder.path().join(bin)).unwrap();
            symlink(target, folder.path().join(bin).join("docker")).unwrap();
        }
        std::fs::create_dir(folder.path().join("stub")).unwrap();
        let shim = Self { client, folder };
        let path = format!("{}:{}:/usr/bin:/bin", shim.path("bin").display(), shim.path("real").display());
        let stub = shim.path("stub").display().to_string();
        let Self { client, folder } = shim;
        Self { client: client.env("PATH", &path).env("STUB", &stub).env("DOCKER_CONTENT_TRUST", "1"), folder }
    }

    /// Before a stub.
    pub(crate) fn before_stub(client: Client) -> Self {
        let stub = tempfile::NamedTempFile::new().unwrap();
        let shim = Self::before(client, stub.path());
        let real = shim.path("real/docker");
        std::fs::remove_file(&real).unwrap();
        script(&real, STUB);
        shim
    }

    /// The same with an environment variable.
    pub(crate) fn env(self, name: &str, value: &str) -> Self {
        Self { client: self.client.env(name, value), ..self }
    }

    /// The same with content trust off.
    pub(crate) fn off(self) -> Self {
        Self { client: self.client.without("DOCKER_CONTENT_TRUST"), ..self }
    }

    /// A path in this person's folder for programs.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// The command, not run yet.
    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(self.path("bin/docker"));
        self.client.set(&mut command);
        command.arg0("docker").args(arguments);
        command
    }

    /// Runs `docker`.
    pub(crate) fn run(&self, arguments: &[&str]) -> Finished {
        Finished::of(&mut self.command(arguments), b"")
    }

    /// What the stub wrote down.
    pub(crate) fn stub(&self, what: &str) -> Vec<u8> {
        std::fs::read(self.path("stub").join(what)).unwrap_or_default()
    }

    /// The arguments of the stub's last call.
    pub(crate) fn arguments(&self) -> Vec<String> {
        nul_separated(&self.stub("arguments"))
    }

    /// The environment of the stub's last call, sorted.
    pub(crate) fn environment(&self) -> Vec<String> {
        let mut variables = nul_separated(&self.stub("environment"));
        variables.sort();
        variables
    }

    /// How often the stub was called.
    pub(crate) fn calls(&self) -> usize {
        self.stub("runs").split(|b| *b == b'\n').count() - 1
    }

    /// Has the stub do this too, as a shell script.
    pub(crate) fn answering(&self, script: &str) {
        std::fs::write(self.path("stub/answer"), script).unwrap();
    }
}

fn nul_separated(bytes: &[u8]) -> Vec<String> {
    let text = String::from_utf8_lossy(bytes).into_owned();
    text.split_terminator('\0').map(str::to_owned).collect()
}

/// Writes a program.
pub(crate) fn script(path: &Path, text: &str) {
    std::fs::write(path, text).unwrap();
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o755)).unwrap();
}
