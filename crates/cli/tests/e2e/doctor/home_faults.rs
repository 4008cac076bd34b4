//! The trust directory: permissions, owners, links, room, leftovers.

use super::{Clinic, Diagnosis, Examined, commands};
use std::fs;
use std::os::unix::fs::{PermissionsExt, chown, symlink};
use std::path::Path;
use std::time::{Duration, SystemTime};

fn chmod(path: &Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

fn made_old(path: &Path, days: u64) {
    let then = SystemTime::now() - Duration::from_hours(24 * days);
    fs::File::options().write(true).open(path).unwrap().set_modified(then).unwrap();
}

#[test]
fn what_others_can_read_or_change() {
    let clinic = Clinic::open();
    let owner = &clinic.owner;
    let key = clinic.key_file("targets");
    for (path, mode, id) in [
        (owner.trust_dir(), 0o755, "trust-directory-open"),
        (owner.trust_dir().join("private"), 0o750, "trust-directory-open"),
        (key.clone(), 0o640, "key-file-open"),
        (owner.config_dir().to_owned(), 0o775, "config-open"),
    ] {
        chmod(&path, mode);
        let found = owner.examined();
        let finding = found.only(id);
        assert_eq!(finding["where"], path.to_str().unwrap());
        owner.mended_by(&commands(finding), &[]).nothing();
    }
    chown(&key, Some(4321), None).unwrap();
    let found = owner.examined();
    let finding = found.only("owned-by-another");
    assert!(finding["message"].as_str().unwrap().contains("4321"), "{finding}");
    owner.mended_by(&commands(finding), &[]).nothing();
}

#[test]
fn a_link_in_place_of_a_key() {
    let clinic = Clinic::open();
    let key = clinic.key_file("targets");
    let elsewhere = clinic.owner.folder().join("elsewhere.key");
    fs::rename(&key, &elsewhere).unwrap();
    symlink(&elsewhere, &key).unwrap();
    let found = clinic.owner.examined();
    assert_eq!(found.ids(), ["left-out", "key-missing"], "what is left out is missing: {}", found.finished);
    clinic.owner.mended_by(&commands(&found.findings()[0]), &[]).nothing();
    assert!(key.symlink_metadata().unwrap().is_file());
}

#[test]
fn what_a_killed_process_has_left() {
    let Clinic { shop: _shop, owner } = Clinic::open();
    let file = owner.trust_dir().join("private/.countersign-0b1f8bd2-0000-4000-8000-000000000000.tmp");
    fs::write(&file, "half a k").unwrap();
    chmod(&file, 0o600);
    owner.examined().nothing();
    made_old(&file, 1);
    let found = owner.examined();
    let finding = found.only("temporary-left");
    assert_eq!(commands(finding), [format!("rm {}", file.display())]);
    owner.mended_by(&commands(finding), &[]).nothing();

    // Keys that were about to get their names are not to be thrown away.
    fs::write(&file, "a key").unwrap();
    chmod(&file, 0o600);
    made_old(&file, 1);
    fs::create_dir_all(owner.trust_dir().join(".countersign/keys")).unwrap();
    fs::write(owner.trust_dir().join(".countersign/keys/arriving"), "x").unwrap();
    let found = owner.examined();
    assert_eq!(commands(found.only("temporary-left")), ["countersign key restore ARCHIVE"]);
}

#[test]
fn something_else_in_the_trust_directorys_place() {
    let clinic = Clinic::open();
    let other = clinic.owner.again();
    let file = other.folder().join("file");
    fs::write(&file, "").unwrap();
    let found = other.examined_with(&["--trust-dir", file.to_str().unwrap()]);
    found.only("trust-directory-unusable");
    assert!(found.report["notChecked"][0]["what"].as_str().unwrap().contains("keys"), "{}", found.finished);
}

#[test]
fn a_disk_that_is_full_or_read_only() {
    let Clinic { shop: _shop, owner } = Clinic::open();
    let trust = owner.trust_dir();
    let trust = trust.to_str().unwrap();
    let without = "unset DOCKER_CONTENT_TRUST_ROOT_PASSPHRASE DOCKER_CONTENT_TRUST_REPOSITORY_PASSPHRASE COUNTERSIGN_BACKUP_PASSPHRASE";
    let run = |preparation: &str| {
        Diagnosis::of(owner.run_after(&format!("{without}; {preparation}"), &["doctor", "--format", "json"]))
    };
    let read_only = format!("mount --bind {trust} {trust}; mount -o remount,bind,ro {trust}");
    let found = run(&read_only);
    let named = commands(found.only("read-only"));
    assert_eq!(named, [format!("mount -o remount,rw {trust}")]);
    run(&format!("{read_only}; {}", named[0])).nothing();

    let full = format!(
        "cp -a {trust} {trust}.copy; mount -t tmpfs -o size=2m,mode=700 none {trust}; cp -a {trust}.copy/. {trust}; rm -r {trust}.copy; \
         head -c 1500k /dev/zero > {trust}/ballast"
    );
    let found = run(&full);
    assert!(commands(found.only("disk-full"))[0].starts_with("df "), "{}", found.finished);
    run(&format!("{full}; rm {trust}/ballast")).nothing();
}
