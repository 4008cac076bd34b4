//! A pipeline's surroundings: its key in an archive, a home, a place in memory, and a search over all of it.

use super::search::Search;
use crate::client::Client;
use countersign_testkit::{Finished, TrustService};
use std::path::{Path, PathBuf};
use std::process::Command;
use tempfile::TempDir;

/// The passphrase of the archive and of the key in it.
pub(super) const VARIABLE: &str = "DOCKER_TRUST_KEY_PASSPHRASE";

/// A key for a pipeline, as `countersign ci key` made it.
pub(super) struct PipelineKey {
    folder: TempDir,
    pub(super) passphrase: String,
    /// The id.
    pub(super) id: String,
}

impl PipelineKey {
    /// Has the owner of a repository make one, which is let in at once.
    pub(super) fn made_by(owner: &Client, repository: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let place = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
        let (archive, public, passphrase) = (place("archive"), place("public"), place("passphrase"));
        let made = owner
            .run(&[
                "ci",
                "key",
                repository,
                "--archive",
                &archive,
                "--public-out",
                &public,
                "--passphrase-out",
                &passphrase,
                "--format",
                "json",
            ])
            .succeeded();
        let report: serde_json::Value = serde_json::from_str(&made.stdout).unwrap();
        assert_eq!(report.pointer("/images/0/added"), Some(&true.into()), "{made}");
        let passphrase = std::fs::read_to_string(&passphrase).unwrap().trim_end().to_owned();
        assert!(!made.stdout.contains(&passphrase) && !made.stderr.contains(&passphrase), "{made}");
        Self { passphrase, id: report.get("key").unwrap().as_str().unwrap().to_owned(), folder }
    }

    /// The archive.
    pub(super) fn archive(&self) -> PathBuf {
        self.folder.path().join("archive")
    }

    /// The file with the passphrase.
    pub(super) fn passphrase_file(&self) -> PathBuf {
        self.folder.path().join("passphrase")
    }
}

/// A machine that runs jobs: home, temporary folder, place in memory.
pub(super) struct Agent {
    pub(super) client: Client,
    memory: TempDir,
    temporary: TempDir,
    passphrase: String,
    archive: PathBuf,
}

impl Agent {
    /// A machine that knows the trust service, and a job with this key.
    pub(super) fn of(service: &TrustService, key: &PipelineKey) -> Self {
        let memory = tempfile::Builder::new().prefix("agent-").tempdir_in("/dev/shm").unwrap();
        std::fs::set_permissions(memory.path(), std::os::unix::fs::PermissionsExt::from_mode(0o700)).unwrap();
        let temporary = tempfile::tempdir().unwrap();
        let client = Client::new()
            .of(service)
            .without("DOCKER_CONTENT_TRUST_ROOT_PASSPHRASE")
            .without("DOCKER_CONTENT_TRUST_REPOSITORY_PASSPHRASE")
            .env("XDG_RUNTIME_DIR", memory.path().to_str().unwrap())
            .env("TMPDIR", temporary.path().to_str().unwrap())
            .env(VARIABLE, &key.passphrase);
        Self { client, memory, temporary, passphrase: key.passphrase.clone(), archive: key.archive() }
    }

    /// The same with a variable.
    pub(super) fn env(mut self, name: &str, value: &str) -> Self {
        self.client = self.client.env(name, value);
        self
    }

    /// The place in memory.
    pub(super) fn memory(&self) -> &Path {
        self.memory.path()
    }

    /// What is in memory at this moment.
    pub(super) fn left_in_memory(&self) -> Vec<PathBuf> {
        std::fs::read_dir(self.memory()).unwrap().map(|entry| entry.unwrap().path()).collect()
    }

    /// `countersign ci VERB …` with the archive, not run yet.
    pub(super) fn command(&self, verb: &str, arguments: &[&str]) -> Command {
        let mut command = self.client.command(&["ci", verb, "--archive"]);
        command.arg(&self.archive).args(["--passphrase-env", VARIABLE]).args(arguments);
        command
    }

    /// Runs it.
    pub(super) fn ci(&self, verb: &str, arguments: &[&str]) -> Finished {
        Finished::of(&mut self.command(verb, arguments), b"")
    }

    /// Runs a script under `ci run`.
    pub(super) fn runs(&self, script: &str) -> Finished {
        self.ci("run", &["--", "sh", "-c", script])
    }

    /// What must not be anywhere on this machine.
    pub(super) fn search(&self) -> Search {
        Search::new()
            .passphrase(&self.passphrase)
            .private_keys()
            .within(self.client.folder())
            .within(self.memory.path())
            .within(self.temporary.path())
    }

    /// Panics if a key or passphrase is left, or was printed.
    #[track_caller]
    pub(super) fn is_clean_after(&self, finished: &Finished) {
        self.search().finds_nothing();
        assert_eq!(self.left_in_memory(), Vec::<PathBuf>::new());
        for output in [&finished.stdout, &finished.stderr] {
            assert_eq!(self.search().in_bytes(output.as_bytes()).count(), 0, "a secret was printed:\n{finished}");
        }
    }
}
