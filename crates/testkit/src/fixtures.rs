//! The golden data, made by the real tools.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::LazyLock;

use serde_json::Value;
use tempfile::TempDir;

/// The passphrase of every root key in the golden data.
pub const ROOT_PASSPHRASE: &str = "golden-root-pass";
/// The passphrase of every targets and snapshot key in the golden data.
pub const REPOSITORY_PASSPHRASE: &str = "golden-repo-pass";
/// The passphrase of every delegation and signer key in the golden data.
pub const USER_PASSPHRASE: &str = "golden-user-pass";

const FOLDER_MODE: u32 = 0o700;
const FILE_MODE: u32 = 0o600;

/// The path of a golden file or folder, such as `docker28/owner/trust`; panics if there is none.
#[must_use]
pub fn path(name: &str) -> PathBuf {
    let path = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../../fixtures")).join(name);
    path.canonicalize().unwrap_or_else(|error| panic!("no golden data at {}: {error}", path.display()))
}

/// The bytes of a golden file.
#[must_use]
pub fn bytes(name: &str) -> Vec<u8> {
    fs::read(path(name)).unwrap_or_else(|error| panic!("cannot read golden file {name}: {error}"))
}

/// The text of a golden file.
#[must_use]
pub fn text(name: &str) -> String {
    String::from_utf8(bytes(name)).unwrap_or_else(|error| panic!("golden file {name} is not text: {error}"))
}

/// A golden file parsed as JSON.
#[must_use]
pub fn json(name: &str) -> Value {
    serde_json::from_slice(&bytes(name)).unwrap_or_else(|error| panic!("golden file {name} is not JSON: {error}"))
}

/// Copies a golden folder, such as `docker28/owner/trust`, into a temporary folder, with folders of mode 0700 and
/// files of mode 0600 (git keeps neither).
#[must_use]
pub fn copy(name: &str) -> TempDir {
    let target = tempfile::tempdir().expect("a temporary folder");
    copy_to(name, target.path());
    target
}

/// Copies a golden folder into an existing or new folder, with the modes of [`copy`].
pub fn copy_to(name: &str, target: &Path) {
    copy_tree(&path(name), target);
}

/// One set of golden data and its facts, as `manifest.json` has them.
#[derive(Clone, Copy, Debug)]
pub struct Set {
    facts: &'static Value,
}

impl Set {
    /// The set with this name, such as `docker28`; panics if there is none.
    #[must_use]
    pub fn named(name: &str) -> Self {
        let sets = manifest()["sets"].as_array().expect("a list of sets in manifest.json");
        let facts = sets.iter().find(|set| set["name"] == name);
        Self { facts: facts.unwrap_or_else(|| panic!("no set {name} in manifest.json")) }
    }

    /// The set's globally unique name; panics for sets without one, or with several.
    #[must_use]
    pub fn gun(&self) -> &'static str {
        self.facts["gun"].as_str().expect("a set with one gun")
    }

    /// All facts about the set.
    #[must_use]
    pub fn facts(&self) -> &'static Value {
        self.facts
    }

    /// The facts about the final state: `versions`, `roles`, `keys`, `delegations`, `targets`.
    #[must_use]
    pub fn expect(&self) -> &'static Value {
        &self.facts["expect"]
    }

    /// The files a server serves at one step, as a map from path below the server's root (`/v2/GUN/_trust/tuf/…`) to
    /// bytes: every version of every role, and the current ones by role name, and all by checksum.
    ///
    /// `folder` is below the set's folder: `server`, or `server/step-03`.
    #[must_use]
    pub fn served(&self, folder: &str) -> Vec<(String, Vec<u8>)> {
        let name = self.facts["name"].as_str().expect("a set with a name");
        let root = path(&format!("{name}/{folder}"));
        let base = format!("/v2/{}/_trust/tuf", self.gun());
        let mut served = Vec::new();
        for (file, bytes) in files_below(&root) {
            let Some(role) = file.strip_suffix(".json").filter(|role| !matches!(*role, "changefeed" | "expect")) else {
                continue;
            };
            let (parent, name) = role.rsplit_once('/').map_or(("", role), |(parent, name)| (parent, name));
            let separator = if parent.is_empty() { "" } else { "/" };
            let (version, name) = name.split_once('.').map_or((None, name), |(version, name)| (Some(version), name));
            let role = format!("{parent}{separator}{name}");
            let digest = crate::digest::sha256_hex(&bytes);
            served.push((format!("{base}/{role}.{digest}.json"), bytes.clone()));
            let version = version.map(|version| format!("{version}.")).unwrap_or_default();
            served.push((format!("{base}/{version}{role}.json"), bytes));
        }
        served
    }
}

/// The whole index of the golden data.
#[must_use]
pub fn manifest() -> &'static Value {
    static MANIFEST: LazyLock<Value> = LazyLock::new(|| json("manifest.json"));
    &MANIFEST
}

fn files_below(root: &Path) -> Vec<(String, Vec<u8>)> {
    let mut found = Vec::new();
    let mut folders = vec![root.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).expect("a golden folder").map(|entry| entry.expect("its entry").path()) {
            if entry.is_dir() {
                folders.push(entry);
            } else {
                let name = entry.strip_prefix(root).expect("a path below the folder").to_string_lossy().into_owned();
                found.push((name, fs::read(&entry).expect("a golden file")));
            }
        }
    }
    found.sort();
    found
}

fn copy_tree(source: &Path, target: &Path) {
    fs::create_dir_all(target).expect("a folder for the copy");
    set_mode(target, FOLDER_MODE);
    for entry in fs::read_dir(source).expect("a golden folder").map(|entry| entry.expect("its entry").path()) {
        let copy = target.join(entry.file_name().unwrap_or_default());
        if entry.is_dir() {
            copy_tree(&entry, &copy);
        } else {
            fs::copy(&entry, &copy).expect("a copy of a golden file");
            set_mode(&copy, FILE_MODE);
        }
    }
}

fn set_mode(path: &Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).expect("permissions of a copy");
}

#[cfg(test)]
mod tests {
    use super::{Set, copy};
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn a_copied_trust_directory_is_private() {
        let trust = copy("docker28/owner/trust");
        let mode = |path: &str| trust.path().join(path).metadata().unwrap().permissions().mode() & 0o777;
        let root = Set::named("docker28").facts()["private_keys"]["owner"][0]["file"].as_str().unwrap().to_owned();
        assert_eq!(mode("private"), 0o700);
        assert_eq!(mode(&format!("private/{root}")), 0o600);
    }

    #[test]
    fn a_served_set_has_its_roles_by_name_version_and_checksum() {
        let set = Set::named("docker28");
        let served = set.served("server/step-08");
        let base = format!("/v2/{}/_trust/tuf", set.gun());
        for name in ["root.json", "1.root.json", "timestamp.json", "targets/releases.json", "2.targets/releases.json"] {
            assert!(served.iter().any(|(path, _)| *path == format!("{base}/{name}")), "{name} in {served:?}");
        }
        assert!(served.iter().any(|(path, _)| path.len() == format!("{base}/root.").len() + 64 + 5));
        assert!(!served.iter().any(|(path, _)| path.contains("expect")));
    }
}
