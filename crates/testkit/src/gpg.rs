//! The real gpg with a home of its own.

use crate::tool::Tool;
use std::fs::Permissions;
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Output, Stdio};
use tempfile::TempDir;

/// Somebody with an empty key ring, whose agent ends with this value.
#[derive(Debug)]
pub struct Gpg {
    home: TempDir,
}

impl Default for Gpg {
    fn default() -> Self {
        Self::new()
    }
}

impl Gpg {
    /// Makes an empty home; its path is short, because the agent's socket is in it.
    #[must_use]
    pub fn new() -> Self {
        let home = tempfile::Builder::new().prefix("gpg").tempdir_in("/tmp").expect("a home for gpg");
        std::fs::set_permissions(home.path(), Permissions::from_mode(0o700)).expect("a home of its own");
        Self { home }
    }

    /// The folder for `GNUPGHOME`.
    #[must_use]
    pub fn home(&self) -> &Path {
        self.home.path()
    }

    /// `gpg` with these arguments and nobody to ask, not run yet.
    #[must_use]
    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(Tool::GPG.path());
        command.env_clear().env("PATH", "/usr/bin:/bin").env("GNUPGHOME", self.home()).env("HOME", self.home());
        command.args(["--batch", "--no-tty", "--pinentry-mode", "loopback", "--quiet"]).args(arguments);
        command
    }

    /// Runs `gpg` with a passphrase (where it needs one) on some bytes.
    #[must_use]
    pub fn run(&self, passphrase: &str, arguments: &[&str], input: &[u8]) -> Output {
        let file = self.home().join("passphrase");
        std::fs::write(&file, passphrase).expect("a file for gpg");
        let mut command = self.command(&["--passphrase-file"]);
        command.arg(&file).args(arguments);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut gpg = command.spawn().expect("gpg starts");
        let mut stdin = gpg.stdin.take().expect("gpg reads");
        std::thread::scope(|scope| {
            scope.spawn(move || {
                // One that refuses does not read to the end.
                let _ = stdin.write_all(input);
            });
            gpg.wait_with_output().expect("gpg ends")
        })
    }

    /// Encrypts as people do by hand: `gpg --symmetric --cipher-algo AES256` and what else is given.
    #[must_use]
    pub fn symmetric(&self, passphrase: &str, arguments: &[&str], input: &[u8]) -> Vec<u8> {
        let arguments: Vec<&str> =
            ["--symmetric", "--cipher-algo", "AES256"].iter().chain(arguments).copied().collect();
        output(&self.run(passphrase, &arguments, input))
    }

    /// Decrypts, and panics with what gpg says when it does not.
    #[must_use]
    pub fn decrypt(&self, passphrase: &str, message: &[u8]) -> Vec<u8> {
        output(&self.run(passphrase, &["--decrypt"], message))
    }

    /// Makes a key without passphrase for somebody.
    pub fn make_key(&self, name: &str) {
        let _ = output(&self.run("", &["--quick-generate-key", name, "rsa2048", "sign,encr", "never"], b""));
    }

    /// Encrypts to somebody's public key.
    #[must_use]
    pub fn encrypt_to(&self, name: &str, input: &[u8]) -> Vec<u8> {
        output(&self.run("", &["--trust-model", "always", "--recipient", name, "--encrypt"], input))
    }
}

fn output(output: &Output) -> Vec<u8> {
    assert!(output.status.success(), "gpg: {}", String::from_utf8_lossy(&output.stderr));
    output.stdout.clone()
}

impl Drop for Gpg {
    fn drop(&mut self) {
        let mut command = Command::new(Tool::GPGCONF.path());
        let _ = command.args(["--kill", "all"]).env("GNUPGHOME", self.home()).output();
    }
}
