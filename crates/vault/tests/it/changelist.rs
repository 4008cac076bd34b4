//! The staged changes.

use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::symlink;

use countersign_vault::limits::{MAX_CHANGE_BYTES, MAX_CHANGES};
use countersign_vault::{CollectionError, LockedCollection};
use jiff::Timestamp;

use crate::{Scratch, make_pipe};

const GUN: &str = "golden.test/notary/basic";

fn staged(locked: &LockedCollection) -> Vec<String> {
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    locked.changes().unwrap().staged.into_iter().map(|change| text(change.bytes)).collect()
}

fn at(seconds: i64) -> Timestamp {
    Timestamp::from_second(seconds).unwrap()
}

#[test]
fn changes_that_notary_staged_are_read_in_its_order() {
    let scratch = Scratch::golden("notary-basic/trust");
    let changes = scratch.collection(GUN).changes().unwrap();
    let mut names = crate::files(&scratch.collection(GUN).path().join("changelist"));
    names.sort();
    assert_eq!(changes.staged.iter().map(|change| change.id.to_string()).collect::<Vec<_>>(), names);
    assert_eq!(names.len(), 11);
    assert!(changes.skipped.is_empty());
    let first: serde_json::Value = serde_json::from_slice(&changes.staged[0].bytes).unwrap();
    assert_eq!(first["path"], "staged");
}

#[test]
fn names_are_those_of_the_reference() {
    let scratch = Scratch::new();
    let now = Timestamp::from_nanosecond(1_795_342_286_147_849_591).unwrap();
    let ids = scratch.collection(GUN).lock().unwrap().stage(now, &[b"x".to_vec()]).unwrap();
    let name = ids[0].as_str();
    assert!(name.starts_with("01795342286147849591_") && name.ends_with(".change"), "{name}");
    assert_eq!(name.len(), "01795342286147849591_590e7ccd-5367-418e-a923-fbd44300af66.change".len());
}

#[test]
fn order_is_kept_within_one_instant_and_when_the_clock_goes_back() {
    let scratch = Scratch::new();
    let locked = scratch.collection(GUN).lock().unwrap();
    let batch: Vec<Vec<u8>> = (0..10).map(|n| n.to_string().into_bytes()).collect();
    let ids = locked.stage(at(1_000_000), &batch).unwrap();
    locked.stage(at(1_000_000), &[b"10".to_vec()]).unwrap();
    locked.stage(at(5), &[b"11".to_vec()]).unwrap();
    locked.stage(at(-5), &[b"12".to_vec()]).unwrap();
    assert_eq!(staged(&locked), (0..13).map(|n| n.to_string()).collect::<Vec<_>>());

    locked.remove_changes(&ids[2..]).unwrap();
    locked.remove_changes(&ids[2..]).unwrap();
    assert_eq!(staged(&locked), ["0", "1", "10", "11", "12"]);
    locked.clear_changes().unwrap();
    assert_eq!(staged(&locked), Vec::<String>::new());
}

#[test]
fn hostile_entries_are_left_out_and_named() {
    let scratch = Scratch::new();
    let locked = scratch.collection(GUN).lock().unwrap();
    locked.stage(at(1), &[b"good".to_vec()]).unwrap();
    let folder = locked.path().join("changelist");
    let victim = scratch.directory.path().join("victim");
    fs::write(&victim, "evil").unwrap();
    symlink(&victim, folder.join("00000000000000000000_link.change")).unwrap();
    make_pipe(&folder.join("00000000000000000000_pipe.change"));
    fs::write(folder.join("new\nline.change"), "evil").unwrap();
    fs::write(folder.join(".hidden"), "evil").unwrap();
    fs::write(folder.join(std::ffi::OsStr::from_bytes(b"\xff\xfe.change")), "evil").unwrap();
    fs::create_dir(folder.join("directory.change")).unwrap();
    fs::write(folder.join("plain"), "by hand").unwrap();

    let changes = locked.changes().unwrap();
    assert_eq!(changes.skipped.len(), 5, "{changes:?}");
    assert_eq!(staged(&locked), ["good", "by hand"]);
    locked.clear_changes().unwrap();
    assert_eq!(fs::read(&victim).unwrap(), b"evil");
    assert_eq!(fs::read_dir(&folder).unwrap().count(), 1, "only the directory stays");
}

#[test]
fn an_oversized_change_stops_everything() {
    let scratch = Scratch::new();
    let locked = scratch.collection(GUN).lock().unwrap();
    locked.stage(at(1), &[b"good".to_vec()]).unwrap();
    let large = vec![b'x'; usize::try_from(MAX_CHANGE_BYTES).unwrap() + 1];
    assert!(matches!(locked.stage(at(2), std::slice::from_ref(&large)), Err(CollectionError::TooManyChanges { .. })));
    fs::write(locked.path().join("changelist/large.change"), large).unwrap();
    assert!(matches!(locked.changes(), Err(CollectionError::File(_))));
}

#[test]
fn too_many_or_too_much_in_all_stops_everything() {
    let scratch = Scratch::new();
    let locked = scratch.collection(GUN).lock().unwrap();
    locked.stage(at(1), &[b"good".to_vec()]).unwrap();
    let folder = locked.path().join("changelist");
    for n in 0..64 {
        let file = fs::File::create(folder.join(format!("{n}.change"))).unwrap();
        file.set_len(MAX_CHANGE_BYTES).unwrap();
    }
    assert!(matches!(locked.changes(), Err(CollectionError::TooManyChanges { .. })));
    let many = vec![Vec::new(); MAX_CHANGES - 64];
    assert!(matches!(locked.stage(at(2), &many), Err(CollectionError::TooManyChanges { .. })));
}

#[test]
fn a_change_from_the_end_of_time_is_reported_when_nothing_can_follow_it() {
    let scratch = Scratch::new();
    let locked = scratch.collection(GUN).lock().unwrap();
    locked.stage(at(1), &[b"good".to_vec()]).unwrap();
    let last = format!("{:020}_x.change", u64::MAX);
    fs::write(locked.path().join("changelist").join(&last), "x").unwrap();
    let error = locked.stage(at(2), &[b"more".to_vec()]).unwrap_err();
    assert!(matches!(&error, CollectionError::NoLaterChange { last: name, .. } if name.as_str() == last), "{error}");
}

#[test]
fn a_link_in_the_changelists_place_is_refused() {
    let scratch = Scratch::new();
    let locked = scratch.collection(GUN).lock().unwrap();
    locked.stage(at(1), &[b"good".to_vec()]).unwrap();
    let folder = locked.path().join("changelist");
    let moved = scratch.directory.path().join("moved");
    fs::rename(&folder, &moved).unwrap();
    symlink(&moved, &folder).unwrap();
    assert!(locked.changes().is_err());
    assert!(locked.stage(at(2), &[b"x".to_vec()]).is_err());
    assert!(locked.clear_changes().is_err());
    assert_eq!(fs::read_dir(&moved).unwrap().count(), 1);
}
