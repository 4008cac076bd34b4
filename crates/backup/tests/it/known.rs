//! The record of known backups.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use countersign_backup::{KnownBackups, RecordError};

use crate::Scratch;

#[test]
fn each_backup_is_remembered_with_its_keys_and_a_new_one_takes_the_place_of_its_file() {
    let scratch = Scratch::with_keys();
    let known = KnownBackups::at(scratch.path().join("state/countersign"));
    assert_eq!(known.list().unwrap(), []);
    let id = scratch.keys()[0].id();
    assert_eq!(known.latest_with(&id).unwrap(), None);
    let one = scratch.back_up("one").unwrap();
    known.add(&scratch.path().join("one"), &one).unwrap();
    known.add(&scratch.path().join("one"), &one).unwrap();
    known.add(&scratch.path().join("two"), &scratch.back_up("two").unwrap()).unwrap();
    let listed = known.list().unwrap();
    assert_eq!(listed.len(), 2);
    assert_eq!(listed[0].file, scratch.path().join("one"));
    assert_eq!(listed[0].sha256, one.sha256.hex());
    assert_eq!(listed[0].keys.len(), 4);
    assert_eq!(known.latest_with(&id).unwrap().unwrap().date, crate::now());
    assert_eq!(known.latest_with(&"a".repeat(64).parse().unwrap()).unwrap(), None);
    assert_eq!(fs::metadata(known.path()).unwrap().permissions().mode() & 0o777, 0o600);
}

#[test]
fn a_record_that_cannot_be_read_is_not_written_over() {
    let scratch = Scratch::with_keys();
    let known = KnownBackups::at(scratch.path());
    let written = scratch.back_up("one").unwrap();
    for broken in ["", "{", r#"{"version": 2, "backups": []}"#] {
        fs::write(known.path(), broken).unwrap();
        assert!(matches!(known.list(), Err(RecordError::Malformed { .. })), "{broken}");
        assert!(known.add(&scratch.path().join("one"), &written).is_err());
        assert_eq!(fs::read_to_string(known.path()).unwrap(), broken);
    }
}

#[test]
fn backups_made_at_once_are_all_remembered() {
    let scratch = Scratch::with_keys();
    let known = KnownBackups::at(scratch.path().join("state"));
    let written = scratch.back_up("one").unwrap();
    std::thread::scope(|scope| {
        for number in 0..8 {
            let (known, written, file) = (&known, &written, scratch.path().join(number.to_string()));
            scope.spawn(move || known.add(&file, written).unwrap());
        }
    });
    assert_eq!(known.list().unwrap().len(), 8);
}
