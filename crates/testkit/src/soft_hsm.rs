//! PKCS#11 tokens in software, with a store of their own.

use crate::tool::Tool;
use std::path::{Path, PathBuf};
use std::process::Command;
use tempfile::TempDir;

/// Where Debian's `SoftHSM` keeps its module.
const MODULE: &str = "/usr/lib/softhsm/libsofthsm2.so";

/// Slots of tokens that belong to one test.
#[derive(Debug)]
pub struct SoftHsm {
    folder: TempDir,
}

impl Default for SoftHsm {
    fn default() -> Self {
        Self::new()
    }
}

impl SoftHsm {
    /// Makes slots without a token.
    ///
    /// # Panics
    /// When the files cannot be written.
    #[must_use]
    pub fn new() -> Self {
        let folder = tempfile::tempdir().expect("a folder for tokens");
        let tokens = folder.path().join("tokens");
        std::fs::create_dir(&tokens).expect("a folder for tokens");
        let text = format!(
            "directories.tokendir = {}\nobjectstore.backend = file\nlog.level = ERROR\nslots.removable = true\n",
            tokens.display()
        );
        std::fs::write(folder.path().join("softhsm2.conf"), text).expect("a configuration");
        Self { folder }
    }

    /// The PKCS#11 module.
    #[must_use]
    pub fn module() -> &'static Path {
        Path::new(MODULE)
    }

    /// The value for `SOFTHSM2_CONF`.
    #[must_use]
    pub fn configuration(&self) -> PathBuf {
        self.folder.path().join("softhsm2.conf")
    }

    /// Where the tokens are stored.
    #[must_use]
    pub fn store(&self) -> PathBuf {
        self.folder.path().join("tokens")
    }

    /// Sets up a token in the next free slot.
    ///
    /// # Panics
    /// When `softhsm2-util` does not do it.
    pub fn set_up(&self, label: &str, pin: &str) {
        self.util(&["--init-token", "--free", "--label", label, "--so-pin", "so-pin-of-the-test", "--pin", pin]);
    }

    /// Takes all tokens out.
    ///
    /// # Panics
    /// When their files cannot be moved.
    pub fn take_out(&self) {
        std::fs::rename(self.store(), self.folder.path().join("drawer")).expect("the tokens move");
        std::fs::create_dir(self.store()).expect("a folder without tokens");
    }

    /// Puts them in again.
    ///
    /// # Panics
    /// When their files cannot be moved.
    pub fn put_in(&self) {
        std::fs::remove_dir(self.store()).expect("a folder without tokens");
        std::fs::rename(self.folder.path().join("drawer"), self.store()).expect("the tokens move");
    }

    fn util(&self, arguments: &[&str]) {
        let mut util = Command::new(Tool::SOFTHSM2_UTIL.path());
        util.env_clear().env("SOFTHSM2_CONF", self.configuration()).args(arguments);
        let output = util.output().expect("softhsm2-util starts");
        assert!(output.status.success(), "{arguments:?}: {output:?}");
    }
}
