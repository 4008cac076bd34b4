//! Opening, modes, warnings, collections.

use std::fs;
use std::os::unix::fs::{PermissionsExt, chown, symlink};

use countersign_vault::{CacheUpdate, FileError, FileKind, TrustDirectory, Warning};
use jiff::Timestamp;
use rustix::fs::Mode;
use rustix::process::{geteuid, umask};

use crate::{Scratch, files, fixture, gun, make_pipe, mode, role};

#[test]
fn reading_creates_nothing_and_the_first_write_creates_the_directory() {
    let scratch = Scratch::new();
    let path = scratch.path().join("deeper/trust");
    let (first, second) = (TrustDirectory::at(&path).unwrap(), TrustDirectory::at(&path).unwrap());
    let collection = first.collection(&gun("a/b")).unwrap();
    assert_eq!(collection.read(&role("root")).unwrap(), None);
    assert!(first.collections().unwrap().is_empty() && first.warnings().unwrap().is_empty());
    assert!(first.keys().list().unwrap().keys.is_empty());
    assert!(!scratch.path().exists());
    let update = CacheUpdate::new().store(role("root"), b"root".to_vec());
    collection.lock().unwrap().commit(update).unwrap();
    // What another process has made meanwhile is found.
    let seen = second.collection(&gun("a/b")).unwrap().read(&role("root")).unwrap();
    assert_eq!(seen.as_deref(), Some(&b"root"[..]));
    assert!(second.warnings().unwrap().is_empty());
}

#[test]
fn a_missing_directory_is_told_apart_and_can_be_made() {
    let scratch = Scratch::new();
    let path = scratch.path().join("a/b");
    assert!(matches!(TrustDirectory::open(&path), Err(FileError::Missing { .. })));
    TrustDirectory::create(&path).unwrap();
    assert_eq!(TrustDirectory::open(&path).unwrap().path(), path);
    for made in [scratch.path(), scratch.path().join("a"), path] {
        assert_eq!(mode(made), 0o700);
    }
}

#[test]
fn a_file_or_pipe_is_no_trust_directory() {
    let scratch = Scratch::new();
    fs::write(scratch.path(), "").unwrap();
    assert!(matches!(TrustDirectory::open(scratch.path()), Err(FileError::NotDirectory { .. })));
    assert!(matches!(TrustDirectory::create(scratch.path()), Err(FileError::NotDirectory { .. })));
    fs::remove_file(scratch.path()).unwrap();
    make_pipe(&scratch.path());
    let error = TrustDirectory::open(scratch.path()).unwrap_err();
    assert!(matches!(error, FileError::NotDirectory { kind: FileKind::NamedPipe, .. }), "{error}");
}

#[test]
fn modes_are_for_the_owner_alone_whatever_the_umask() {
    let before = umask(Mode::empty());
    let results: Vec<_> = [Mode::empty(), Mode::from_raw_mode(0o777), Mode::from_raw_mode(0o022)]
        .into_iter()
        .map(|mask| {
            umask(mask);
            let scratch = Scratch { directory: tempfile::tempdir_in("/tmp").unwrap() };
            fs::set_permissions(scratch.directory.path(), fs::Permissions::from_mode(0o700)).unwrap();
            let locked = scratch.collection("h/a").lock().unwrap();
            locked.commit(CacheUpdate::new().store(role("targets/x/y"), vec![1]).seen(vec![2])).unwrap();
            locked.stage(Timestamp::UNIX_EPOCH, &[vec![3]]).unwrap();
            scratch
        })
        .collect();
    umask(before);
    for scratch in results {
        let trust = scratch.path();
        let names = files(&trust);
        assert_eq!(names.len(), 4, "{names:?}");
        for name in names {
            assert_eq!(mode(trust.join(&name)), 0o600, "{name}");
            let mut folder = trust.join(&name);
            while folder.pop() && folder.starts_with(&trust) {
                assert_eq!(mode(&folder), 0o700, "{}", folder.display());
            }
        }
    }
}

#[test]
fn the_directory_itself_may_be_a_link_but_nothing_in_it() {
    let scratch = Scratch::golden("notary-basic/trust");
    let link = scratch.directory.path().join("link");
    symlink(scratch.path(), &link).unwrap();
    let trust = TrustDirectory::open(&link).unwrap();
    let collection = trust.collection(&gun("golden.test/notary/basic")).unwrap();
    assert!(collection.read(&role("root")).unwrap().is_some());

    fs::rename(scratch.path().join("tuf"), scratch.directory.path().join("elsewhere")).unwrap();
    symlink(scratch.directory.path().join("elsewhere"), scratch.path().join("tuf")).unwrap();
    let error = collection.read(&role("root")).unwrap_err();
    assert!(matches!(error, FileError::NotDirectory { kind: FileKind::SymbolicLink, .. }), "{error}");
}

#[test]
fn keys_that_others_can_read_are_warned_about() {
    let scratch = Scratch::golden("notary-basic/trust");
    let private = scratch.path().join("private");
    assert_eq!(scratch.trust().warnings().unwrap(), []);

    let key = private.join("fb87f3163f83d83dc4bb834f441e9e271b81b8f20daab0e0ca3e325b5e8aab9d.key");
    fs::set_permissions(&key, fs::Permissions::from_mode(0o640)).unwrap();
    fs::set_permissions(&private, fs::Permissions::from_mode(0o755)).unwrap();
    symlink(&key, private.join("link.key")).unwrap();
    make_pipe(&private.join("pipe.key"));
    let expected = [
        Warning::OpenToOthers { path: private.clone(), mode: 0o755 },
        Warning::OpenToOthers { path: key, mode: 0o640 },
        Warning::LeftOut { path: private.join("link.key"), kind: FileKind::SymbolicLink },
        Warning::LeftOut { path: private.join("pipe.key"), kind: FileKind::NamedPipe },
    ];
    assert_eq!(scratch.trust().warnings().unwrap(), expected);
}

#[test]
fn a_directory_that_others_can_write_is_warned_about() {
    let scratch = Scratch::golden("notary-basic/trust");
    fs::set_permissions(scratch.path(), fs::Permissions::from_mode(0o777)).unwrap();
    fs::set_permissions(scratch.path().join("tuf"), fs::Permissions::from_mode(0o770)).unwrap();
    let warnings = scratch.trust().warnings().unwrap();
    assert_eq!(
        warnings,
        [
            Warning::OpenToOthers { path: scratch.path(), mode: 0o777 },
            Warning::OpenToOthers { path: scratch.path().join("tuf"), mode: 0o770 },
        ]
    );
}

#[test]
fn what_belongs_to_another_user_is_warned_about() {
    // An administrator can give a key away; anybody else looks at a directory of the administrator's.
    if geteuid().is_root() {
        let scratch = Scratch::golden("notary-basic/trust");
        let key = fs::read_dir(scratch.path().join("private")).unwrap().next().unwrap().unwrap().path();
        chown(&key, Some(12345), None).unwrap();
        assert_eq!(scratch.trust().warnings().unwrap(), [Warning::OwnedByAnother { path: key, owner: 12345 }]);
    } else {
        let warnings = TrustDirectory::open("/").unwrap().warnings().unwrap();
        assert!(warnings.contains(&Warning::OwnedByAnother { path: "/".into(), owner: 0 }), "{warnings:?}");
    }
}

#[test]
fn collections_are_found_by_their_metadata() {
    let scratch = Scratch::golden("docker28/alice/trust");
    for name in ["h/a", "h/a/b", "h/metadata", "h/changelist"] {
        let update = CacheUpdate::new().store(role("root"), vec![1]).store(role("targets/metadata/root"), vec![2]);
        scratch.collection(name).lock().unwrap().commit(update).unwrap();
    }
    scratch.collection("h/staged").lock().unwrap().stage(Timestamp::UNIX_EPOCH, &[vec![1]]).unwrap();
    let names: Vec<_> = scratch.trust().collections().unwrap().iter().map(ToString::to_string).collect();
    assert_eq!(names, ["127.0.0.1:45100/golden/docker28", "h/a", "h/a/b", "h/changelist", "h/metadata"]);
}

#[test]
fn every_golden_directory_opens_without_loss() {
    for (path, expected) in [
        ("docker28/owner/trust", "127.0.0.1:45100/golden/docker28"),
        ("docker28/fresh/trust", "127.0.0.1:45100/golden/docker28"),
        ("docker20/owner/trust", "127.0.0.1:45100/golden/docker20"),
        ("notary-basic/trust-staged", "golden.test/notary/basic"),
        ("compat-notary0.1", "docker.com/notary0.1/samplerepo"),
        ("compat-notary0.3", "docker.com/notary0.3/tst"),
        ("rotations/trust", "golden.test/notary/rotations"),
    ] {
        let trust = TrustDirectory::open(fixture(path)).unwrap();
        assert_eq!(trust.collections().unwrap(), [gun(expected)], "{path}");
    }
}
