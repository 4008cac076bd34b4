//! The real notary (0.7) and docker (28) read what is written here.

use std::path::Path;
use std::process::{Command, Output};

use countersign_vault::CacheUpdate;
use jiff::Timestamp;

use crate::{Scratch, files, fixture, role};

/// Runs notary in a trust directory with nothing but these variables; no server answers.
pub(crate) fn notary(trust: &Path, arguments: &[&str], variables: &[(&str, &str)]) -> Output {
    let mut command = Command::new("notary");
    command.arg("-d").arg(trust).args(["-s", "http://127.0.0.1:1"]).args(arguments);
    command.env_clear().env("HOME", trust.join("..")).envs(variables.iter().copied());
    command.stdin(std::process::Stdio::null());
    command.output().expect("the tests need the notary client")
}

pub(crate) fn success(output: &Output) -> String {
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{out}\n{err}");
    out.into_owned()
}

const OLD_GUN: &str = "docker.com/notary0.1/samplerepo";

/// Commits the cache of a collection whose metadata do not expire for a century.
fn with_old_collection() -> Scratch {
    let scratch = Scratch::new();
    let metadata = fixture("compat-notary0.1/tuf").join(OLD_GUN).join("metadata");
    let update = files(&metadata).iter().fold(CacheUpdate::new(), |update, name| {
        let bytes = std::fs::read(metadata.join(name)).unwrap();
        update.store(role(name.strip_suffix(".json").unwrap()), bytes)
    });
    scratch.collection(OLD_GUN).lock().unwrap().commit(update.seen(b"not for notary".to_vec())).unwrap();
    scratch
}

#[test]
fn notary_verifies_the_cache_and_ignores_the_record_of_versions() {
    let scratch = with_old_collection();
    let list = success(&notary(&scratch.path(), &["list", OLD_GUN], &[]));
    assert!(list.contains("LICENSE"), "{list}");
    assert_eq!(scratch.collection(OLD_GUN).read_seen().unwrap().unwrap(), b"not for notary");
}

#[test]
fn notary_sees_staged_changes_in_order() {
    let scratch = with_old_collection();
    let change = |path: &str| {
        let data = "eyJsZW5ndGgiOjAsImhhc2hlcyI6e319";
        format!(r#"{{"action":"create","role":"targets","type":"target","path":"{path}","data":"{data}"}}"#)
            .into_bytes()
    };
    let locked = scratch.collection(OLD_GUN).lock().unwrap();
    locked.stage(Timestamp::UNIX_EPOCH, &[change("zebra"), change("ant")]).unwrap();
    let status = success(&notary(&scratch.path(), &["status", OLD_GUN], &[]));
    let (zebra, ant) = (status.find("zebra").unwrap(), status.find("ant").unwrap());
    assert!(zebra < ant && status.matches("create").count() == 2, "{status}");

    success(&notary(&scratch.path(), &["reset", OLD_GUN, "-n", "0"], &[]));
    let left = locked.changes().unwrap().staged;
    assert_eq!(left.iter().map(|change| change.bytes.clone()).collect::<Vec<_>>(), [change("ant")]);
}

#[test]
fn notary_deletes_the_collection_with_all_that_belongs_to_it() {
    let scratch = with_old_collection();
    success(&notary(&scratch.path(), &["delete", OLD_GUN], &[]));
    assert!(!scratch.collection(OLD_GUN).has_any().unwrap());
}
