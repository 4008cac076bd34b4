//! The trust directory against golden data, hostile contents and the real notary.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "helpers of tests may stop the test"
)]

mod bundle;
mod cache;
mod carried;
mod changelist;
mod directory;
mod keys;
mod legacy;
mod reference;

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use countersign_tuf::{Gun, RoleName};
use countersign_vault::{LocalCollection, TrustDirectory};
use tempfile::TempDir;

/// A directory that lives as long as the test.
struct Scratch {
    directory: TempDir,
}

impl Scratch {
    fn new() -> Self {
        Self { directory: tempfile::tempdir().unwrap() }
    }

    /// Copies a golden trust directory, with the modes that git does not keep.
    fn golden(path: &str) -> Self {
        let scratch = Self::new();
        copy(&fixture(path), &scratch.path());
        scratch
    }

    fn path(&self) -> PathBuf {
        self.directory.path().join("trust")
    }

    fn trust(&self) -> TrustDirectory {
        TrustDirectory::create(self.path()).unwrap()
    }

    fn collection(&self, gun: &str) -> LocalCollection {
        self.trust().collection(&self::gun(gun)).unwrap()
    }
}

fn fixture(path: &str) -> PathBuf {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../../fixtures")).join(path)
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    fs::set_permissions(to, fs::Permissions::from_mode(0o700)).unwrap();
    for entry in fs::read_dir(from).unwrap().map(Result::unwrap) {
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy(&entry.path(), &target);
        } else {
            fs::copy(entry.path(), &target).unwrap();
            fs::set_permissions(&target, fs::Permissions::from_mode(0o600)).unwrap();
        }
    }
}

/// All files below a directory, relative to it, sorted.
fn files(directory: &Path) -> Vec<String> {
    fn collect(directory: &Path, prefix: &str, found: &mut Vec<String>) {
        for entry in fs::read_dir(directory).unwrap().map(Result::unwrap) {
            let name = format!("{prefix}{}", entry.file_name().to_string_lossy());
            if entry.file_type().unwrap().is_dir() {
                collect(&entry.path(), &format!("{name}/"), found);
            } else {
                found.push(name);
            }
        }
    }
    let mut found = Vec::new();
    collect(directory, "", &mut found);
    found.sort();
    found
}

fn mode(path: impl AsRef<Path>) -> u32 {
    fs::symlink_metadata(path).unwrap().permissions().mode() & 0o7777
}

fn gun(text: &str) -> Gun {
    Gun::parse(text).unwrap()
}

fn role(text: &str) -> RoleName {
    RoleName::parse(text).unwrap()
}

fn make_pipe(path: &Path) {
    assert!(std::process::Command::new("mkfifo").arg(path).status().unwrap().success());
}
