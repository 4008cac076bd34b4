//! `countersign doctor`: a healthy home has no finding; each planted fault is found, alone, and what is named mends it; and
//! nothing is ever changed.

#![expect(clippy::indexing_slicing, reason = "tests may index")]

mod collection_faults;
mod home_faults;
mod key_faults;
mod service_faults;
mod time_faults;
mod variable_faults;

use crate::client::Client;
use crate::stage::Shop;
use countersign_testkit::Finished;
use serde_json::Value;
use std::collections::BTreeMap;
use std::os::unix::fs::{MetadataExt, symlink};
use std::path::Path;

/// What doctor is run without: it asks for no passphrase.
const SECRETS: [&str; 3] = [
    "DOCKER_CONTENT_TRUST_ROOT_PASSPHRASE",
    "DOCKER_CONTENT_TRUST_REPOSITORY_PASSPHRASE",
    "COUNTERSIGN_BACKUP_PASSPHRASE",
];

/// What doctor said.
struct Diagnosis {
    finished: Finished,
    report: Value,
}

impl Diagnosis {
    fn of(finished: Finished) -> Self {
        let line = finished.stdout.lines().last().unwrap_or_default();
        let report = serde_json::from_str(line).unwrap_or_else(|error| panic!("no report ({error}):\n{finished}"));
        Self { finished, report }
    }

    fn findings(&self) -> &[Value] {
        self.report["findings"].as_array().unwrap()
    }

    fn ids(&self) -> Vec<&str> {
        self.findings().iter().map(|finding| finding["id"].as_str().unwrap()).collect()
    }

    /// The one finding, which is this one; the exit code fits its severity.
    #[track_caller]
    fn only(&self, id: &str) -> &Value {
        assert_eq!(self.ids(), [id], "{}", self.finished);
        let finding = &self.findings()[0];
        let code = if finding["severity"] == "note" { 0 } else { 6 };
        assert_eq!(self.finished.code, code, "{}", self.finished);
        finding
    }

    #[track_caller]
    fn nothing(&self) {
        assert_eq!(self.ids(), [""; 0], "{}", self.finished);
        assert_eq!(self.finished.code, 0, "{}", self.finished);
    }
}

/// The commands that a finding names.
fn commands(finding: &Value) -> Vec<String> {
    let commands = finding["repair"]["commands"].as_array().unwrap();
    commands.iter().map(|command| command.as_str().unwrap().to_owned()).collect()
}

/// A file as it was: kind and mode, time of the last change, owner, content.
type State = (u32, (i64, i64), u32, Vec<u8>);

/// Everything below a folder, as it is now.
fn state(folder: &Path) -> BTreeMap<String, State> {
    let mut found = BTreeMap::new();
    enter(folder, &mut found);
    found
}

fn enter(path: &Path, found: &mut BTreeMap<String, State>) {
    let metadata = std::fs::symlink_metadata(path).unwrap();
    let content = match () {
        () if metadata.is_symlink() => std::fs::read_link(path).unwrap().into_os_string().into_encoded_bytes(),
        () if metadata.is_file() => std::fs::read(path).unwrap(),
        () => Vec::new(),
    };
    let state = (metadata.mode(), (metadata.mtime(), metadata.mtime_nsec()), metadata.uid(), content);
    found.insert(path.to_str().unwrap().to_owned(), state);
    if metadata.is_dir() {
        for entry in std::fs::read_dir(path).unwrap() {
            enter(&entry.unwrap().path(), found);
        }
    }
}

/// Whoever can be examined.
trait Examined {
    /// Runs doctor, without passphrases, and sees that it changes nothing.
    fn examined_with(&self, arguments: &[&str]) -> Diagnosis;

    fn examined(&self) -> Diagnosis {
        self.examined_with(&[])
    }

    /// Runs these lines in a shell, and doctor after them in the same shell.
    fn mended_by(&self, lines: &[String], arguments: &[&str]) -> Diagnosis;
}

impl Examined for Client {
    fn examined_with(&self, arguments: &[&str]) -> Diagnosis {
        let before = state(self.folder());
        let mut command = self.command(&[&["doctor", "--format", "json"], arguments].concat());
        for secret in SECRETS {
            command.env_remove(secret);
        }
        let diagnosis = Diagnosis::of(Finished::of(&mut command, b""));
        assert!(before == state(self.folder()), "something was changed by\n{}", diagnosis.finished);
        diagnosis
    }

    fn mended_by(&self, lines: &[String], arguments: &[&str]) -> Diagnosis {
        let programs = tempfile::tempdir().unwrap();
        symlink(env!("CARGO_BIN_EXE_countersign"), programs.path().join("countersign")).unwrap();
        let doctor = format!("unset {}\ncountersign doctor --format json {}", SECRETS.join(" "), arguments.join(" "));
        let script = format!("set -e\nPATH=\"$PATH:{}\"\n{}\n{doctor}", programs.path().display(), lines.join("\n"));
        let mut command = std::process::Command::new("sh");
        self.set(command.args(["-c", &script]));
        Diagnosis::of(Finished::of(&mut command, b"y\ny\n"))
    }
}

/// A shop and its owner, who has signed `v1` and made backups of all keys.
struct Clinic {
    shop: Shop,
    owner: Client,
}

impl Clinic {
    fn open() -> Self {
        let shop = Shop::open();
        let owner = shop.client().env(SECRETS[2], "the archive's own secret");
        shop.signed_by(&owner, "v1", "one");
        let clinic = Self { shop, owner };
        clinic.back_up();
        clinic
    }

    fn back_up(&self) {
        let folder = self.owner.folder().join("archives");
        std::fs::create_dir_all(&folder).unwrap();
        for (name, roles) in [("root-keys.gpg", ["--role", "root"].as_slice()), ("keys.gpg", &[])] {
            let file = folder.join(name);
            let arguments = [&["key", "backup", "--force", file.to_str().unwrap()], roles].concat();
            self.owner.run(&arguments).succeeded();
        }
    }

    /// The file of the private key of a role.
    fn key_file(&self, role: &str) -> std::path::PathBuf {
        let listed = self.owner.run(&["key", "list", "--format", "json"]).succeeded();
        let listed: Value = serde_json::from_str(&listed.stdout).unwrap();
        let key = listed.as_array().unwrap().iter().find(|key| key["role"] == role).unwrap();
        key["path"].as_str().unwrap().into()
    }
}

/// Runs the named commands with the passphrases of both programs.
fn notary_passphrases(client: Client) -> Client {
    use countersign_testkit::fixtures::{REPOSITORY_PASSPHRASE, ROOT_PASSPHRASE};
    let client = client.env("NOTARY_ROOT_PASSPHRASE", ROOT_PASSPHRASE);
    ["TARGETS", "SNAPSHOT", "DELEGATION"]
        .iter()
        .fold(client, |client, role| client.env(&format!("NOTARY_{role}_PASSPHRASE"), REPOSITORY_PASSPHRASE))
}

#[test]
fn a_healthy_home_has_no_finding_and_is_not_changed() {
    let clinic = Clinic::open();
    let diagnosis = clinic.owner.examined();
    diagnosis.nothing();
    assert_eq!(diagnosis.report["collections"][0], clinic.shop.gun());
    assert_eq!(diagnosis.report["version"], 1);
    assert_eq!(diagnosis.report["notChecked"].as_array().unwrap().len(), 0, "{}", diagnosis.finished);
    clinic.owner.examined_with(&[&clinic.shop.gun()]).nothing();
    let offline = clinic.owner.examined_with(&["--offline"]);
    offline.nothing();
    assert!(offline.report["notChecked"][0]["why"].as_str().unwrap().contains("--offline"), "{}", offline.finished);
    let text = clinic.owner.run(&["doctor"]);
    assert!(text.stdout.contains("in-environment") && text.code == 0, "variables with passphrases are a note: {text}");
    // A consumer, who has no keys, is as healthy; so is somebody with nothing at all.
    let reader = clinic.shop.client();
    reader.examined().nothing();
    reader.run(&["verify", &clinic.shop.name("v1")]).succeeded();
    reader.examined().nothing();
}

#[test]
fn findings_are_listed_for_people_and_counted_from_the_severity_that_was_chosen() {
    let clinic = Clinic::open();
    let home = clinic.owner.trust_dir();
    std::fs::set_permissions(&home, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    let code = |arguments: &[&str]| clinic.owner.examined_with(arguments).finished.code;
    assert_eq!((code(&[]), code(&["--fail-on", "error"]), code(&["--fail-on", "note"])), (6, 0, 6));
    let listed = clinic.owner.run(&["doctor"]);
    let repair = format!("repair: chmod 700 {}", home.display());
    assert!(listed.stdout.contains("warning  trust-directory-open") && listed.stdout.contains(&repair), "{listed}");
    assert!(listed.stderr.contains("1 warning"), "{listed}");
    let wrong = clinic.owner.run(&["doctor", "--warn-before", "soon"]);
    assert!(wrong.code == 2 && wrong.stderr.contains("no length of time"), "{wrong}");
}
