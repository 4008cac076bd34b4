//! The cached metadata.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::symlink;

use countersign_tuf::RoleName;
use countersign_vault::limits::MAX_METADATA_BYTES;
use countersign_vault::{CacheUpdate, CollectionError, FileError, FileKind};

use crate::{Scratch, files, fixture, gun, make_pipe, role};

const GUN: &str = "registry.example:5000/team/app";

fn stored(roles: &[&str]) -> CacheUpdate {
    roles.iter().fold(CacheUpdate::new(), |update, name| update.store(role(name), name.as_bytes().to_vec()))
}

#[test]
fn what_docker_and_notary_cached_is_read_byte_for_byte() {
    for (trust, gun) in [
        ("docker28/alice/trust", "127.0.0.1:45100/golden/docker28"),
        ("delegations/owner", "golden.test/notary/delegations"),
        ("compat-notary0.3", "docker.com/notary0.3/tst"),
    ] {
        let scratch = Scratch::golden(trust);
        let collection = scratch.collection(gun);
        let metadata = fixture(trust).join("tuf").join(gun).join("metadata");
        let names = files(&metadata);
        assert!(names.len() > 3);
        for name in names {
            let read = collection.read(&role(name.strip_suffix(".json").unwrap())).unwrap().unwrap();
            assert_eq!(read, fs::read(metadata.join(&name)).unwrap(), "{trust} {name}");
        }
        assert!(collection.has_any().unwrap());
        assert_eq!(collection.read_seen().unwrap(), None);
    }
}

#[test]
fn files_get_the_names_that_docker_and_notary_use() {
    let scratch = Scratch::new();
    let roles = ["root", "targets", "snapshot", "timestamp", "targets/releases", "targets/releases/sub"];
    scratch.collection(GUN).lock().unwrap().commit(stored(&roles).seen(b"{}".to_vec())).unwrap();
    let metadata = scratch.path().join("tuf/registry.example:5000/team/app/metadata");
    let mut expected = roles.map(|role| format!("{role}.json")).to_vec();
    expected.push("seen.json".to_owned());
    expected.sort();
    assert_eq!(files(&metadata), expected);
    assert_eq!(scratch.collection(GUN).read_seen().unwrap().unwrap(), b"{}");
}

#[test]
fn nothing_there_is_not_an_error() {
    let scratch = Scratch::new();
    let collection = scratch.collection(GUN);
    assert_eq!(collection.read(&RoleName::Root).unwrap(), None);
    assert_eq!(collection.read(&role("targets/a/b")).unwrap(), None);
    assert_eq!(collection.read_seen().unwrap(), None);
    assert!(!collection.has_any().unwrap());
    assert!(collection.changes().unwrap().staged.is_empty());
    assert_eq!(files(&scratch.path()), Vec::<String>::new(), "reading makes nothing");
}

#[test]
fn a_lost_root_is_not_a_first_visit() {
    for left in ["targets", "snapshot", "timestamp", "targets/releases"] {
        let scratch = Scratch::new();
        let collection = scratch.collection(GUN);
        collection.lock().unwrap().commit(stored(&[left])).unwrap();
        assert_eq!(collection.read(&RoleName::Root).unwrap(), None);
        assert!(collection.has_any().unwrap(), "{left}");
    }
    let scratch = Scratch::new();
    scratch.collection(GUN).lock().unwrap().commit(CacheUpdate::new().seen(vec![1])).unwrap();
    assert!(scratch.collection(GUN).has_any().unwrap());
}

/// Puts something in the root's place and expects that reading it fails and that the collection counts as used.
fn refused(put: impl Fn(&std::path::Path)) -> FileError {
    let scratch = Scratch::new();
    let collection = scratch.collection(GUN);
    collection.lock().unwrap().commit(stored(&["root"])).unwrap();
    let root = collection.path().join("metadata/root.json");
    fs::rename(&root, root.with_file_name("was")).unwrap();
    put(&root);
    assert!(collection.has_any().unwrap());
    collection.read(&RoleName::Root).unwrap_err()
}

#[test]
fn an_unreadable_root_is_an_error_and_never_a_first_visit() {
    let directory = refused(|path| fs::create_dir(path).unwrap());
    assert!(matches!(directory, FileError::NotRegular { kind: FileKind::Directory, .. }), "{directory}");
    let link = refused(|path| symlink("was", path).unwrap());
    assert!(matches!(link, FileError::NotRegular { kind: FileKind::SymbolicLink, .. }), "{link}");
    let dangling = refused(|path| symlink("nowhere", path).unwrap());
    assert!(matches!(dangling, FileError::NotRegular { kind: FileKind::SymbolicLink, .. }), "{dangling}");
    let circle = refused(|path| symlink("root.json", path).unwrap());
    assert!(matches!(circle, FileError::NotRegular { kind: FileKind::SymbolicLink, .. }), "{circle}");
    let large = refused(|path| fs::File::create(path).unwrap().set_len(MAX_METADATA_BYTES + 1).unwrap());
    assert!(matches!(large, FileError::TooLarge { .. }), "{large}");
}

#[test]
fn a_pipe_or_socket_in_a_files_place_does_not_hang() {
    let pipe = refused(make_pipe);
    assert!(matches!(pipe, FileError::NotRegular { kind: FileKind::NamedPipe, .. }), "{pipe}");
    let socket = refused(|path| drop(std::os::unix::net::UnixListener::bind(path).unwrap()));
    assert!(matches!(socket, FileError::NotRegular { kind: FileKind::Socket, .. }), "{socket}");
}

#[test]
fn a_file_or_link_in_a_directorys_place_is_an_error() {
    for hurt in ["metadata", "../app", "../../team"] {
        for link in [true, false] {
            let scratch = Scratch::new();
            let collection = scratch.collection(GUN);
            collection.lock().unwrap().commit(stored(&["root"])).unwrap();
            let path = scratch.path().join("tuf/registry.example:5000/team/app").join(hurt);
            let path = fs::canonicalize(path).unwrap();
            let moved = scratch.directory.path().join("moved");
            fs::rename(&path, &moved).unwrap();
            if link {
                symlink(&moved, &path).unwrap();
            } else {
                fs::write(&path, "").unwrap();
            }
            let error = collection.read(&RoleName::Root).unwrap_err();
            assert!(matches!(error, FileError::NotDirectory { .. }), "{hurt}: {error}");
            assert!(collection.lock().unwrap().commit(stored(&["root"])).is_err());
        }
    }
}

#[test]
fn writing_replaces_a_link_or_pipe_and_does_not_follow_it() {
    let scratch = Scratch::new();
    let locked = scratch.collection(GUN).lock().unwrap();
    locked.commit(stored(&["root", "targets"])).unwrap();
    let victim = scratch.directory.path().join("victim");
    fs::write(&victim, "precious").unwrap();
    let metadata = locked.path().join("metadata");
    fs::remove_file(metadata.join("root.json")).unwrap();
    symlink(&victim, metadata.join("root.json")).unwrap();
    fs::remove_file(metadata.join("targets.json")).unwrap();
    make_pipe(&metadata.join("targets.json"));

    locked.commit(stored(&["root", "targets"])).unwrap();
    assert_eq!(fs::read(&victim).unwrap(), b"precious");
    assert_eq!(locked.read(&RoleName::Root).unwrap().unwrap(), b"root");
    assert_eq!(locked.read(&RoleName::Targets).unwrap().unwrap(), b"targets");
}

#[test]
fn a_directory_in_a_files_place_stops_the_commit_and_leaves_no_litter() {
    let scratch = Scratch::new();
    let locked = scratch.collection(GUN).lock().unwrap();
    locked.commit(stored(&["root"])).unwrap();
    fs::create_dir(locked.path().join("metadata/targets.json")).unwrap();
    let error = locked.commit(stored(&["targets", "timestamp"])).unwrap_err();
    assert!(matches!(error, CollectionError::File(FileError::NotRegular { kind: FileKind::Directory, .. })), "{error}");
    assert!(!error.is_unwritable());
    assert_eq!(files(&locked.path().join("metadata")), ["root.json"]);
}

#[test]
fn metadata_above_the_limit_is_not_written() {
    let scratch = Scratch::new();
    let locked = scratch.collection(GUN).lock().unwrap();
    let large = vec![0; usize::try_from(countersign_vault::limits::MAX_SEEN_BYTES).unwrap() + 1];
    let error = locked.commit(stored(&["root"]).seen(large)).unwrap_err();
    assert!(matches!(error, CollectionError::File(FileError::TooLarge { .. })), "{error}");
    assert!(!locked.has_any().unwrap());
}

#[test]
fn stale_delegations_go_and_current_ones_stay() {
    let scratch = Scratch::new();
    let locked = scratch.collection(GUN).lock().unwrap();
    locked.commit(stored(&["root", "targets/a", "targets/a/deep", "targets/b/only/deep", "targets/c"])).unwrap();
    fs::write(locked.path().join("metadata/targets/notes.txt"), "").unwrap();
    locked.commit(stored(&["targets/new"]).keep_delegations([role("targets/a")])).unwrap();
    let kept = locked.cached_delegations().unwrap();
    assert_eq!(kept.iter().map(RoleName::as_str).collect::<Vec<_>>(), ["targets/a", "targets/new"]);
    assert_eq!(
        files(&locked.path().join("metadata")),
        ["root.json", "targets/a.json", "targets/new.json", "targets/notes.txt"]
    );
    assert!(!locked.path().join("metadata/targets/b").exists());
}

#[test]
fn a_role_can_be_forgotten_but_not_the_root() {
    let scratch = Scratch::new();
    let locked = scratch.collection(GUN).lock().unwrap();
    locked.commit(stored(&["root", "timestamp", "targets"])).unwrap();
    locked.commit(CacheUpdate::new().forget(RoleName::Timestamp).forget(RoleName::Root)).unwrap();
    assert_eq!(files(&locked.path().join("metadata")), ["root.json", "targets.json"]);
}

#[test]
fn removal_takes_this_collection_only() {
    let scratch = Scratch::new();
    let others = ["h/a/b", "h/ab", "h/a/metadata", "h/a/changelist", "h/z"];
    for name in ["h/a"].iter().chain(&others) {
        let locked = scratch.collection(name).lock().unwrap();
        locked.commit(stored(&["root", "targets", "targets/x/y"]).seen(vec![1])).unwrap();
        locked.stage(jiff::Timestamp::UNIX_EPOCH, &[vec![1]]).unwrap();
    }
    let locked = scratch.collection("h/a").lock().unwrap();
    locked.remove().unwrap();
    locked.remove().unwrap();
    assert!(!locked.has_any().unwrap() && locked.changes().unwrap().staged.is_empty());
    for name in others {
        let collection = scratch.collection(name);
        assert!(collection.read(&role("targets/x/y")).unwrap().is_some(), "{name}");
        assert_eq!(collection.changes().unwrap().staged.len(), 1, "{name}");
    }
    for name in others {
        scratch.collection(name).lock().unwrap().remove().unwrap();
    }
    assert_eq!(fs::read_dir(scratch.path().join("tuf")).unwrap().count(), 0, "empty directories stay behind");
}

#[test]
fn collections_whose_files_could_be_anothers_are_refused() {
    let scratch = Scratch::new();
    for name in [
        "a/metadata/targets",
        "a/metadata/x",
        "a/metadata/targets/metadata",
        "a/Metadata/x",
        "a/changelist/x",
        "a/CHANGELIST/x/y",
    ] {
        let error = scratch.trust().collection(&gun(name)).unwrap_err();
        assert!(matches!(error, CollectionError::ReservedSegment { .. }), "{name}");
    }
    for name in ["a/metadata", "metadata/a", "a/changelist", "metadata", "a/metadata2/x"] {
        scratch.trust().collection(&gun(name)).unwrap();
    }
}

/// All texts of one to `longest` of the segments, joined by slashes.
fn combinations(segments: &[&str], longest: usize) -> Vec<String> {
    let mut all: Vec<String> = segments.iter().map(ToString::to_string).collect();
    let mut last = all.clone();
    for _ in 1..longest {
        last = last.iter().flat_map(|head| segments.iter().map(move |tail| format!("{head}/{tail}"))).collect();
        all.extend(last.iter().cloned());
    }
    all
}

#[test]
fn no_two_accepted_collections_share_a_file() {
    let mut roles: Vec<String> = ["root", "targets", "snapshot", "timestamp", "seen"].map(str::to_owned).to_vec();
    roles
        .extend(combinations(&["a", "metadata", "root", "changelist"], 3).iter().map(|name| format!("targets/{name}")));
    let trust = Scratch::new().trust();
    let names = combinations(&["a", "metadata", "changelist", "targets", "root.json"], 4);
    let accepted: Vec<_> = names.iter().filter_map(|name| trust.collection(&gun(name)).ok()).collect();
    assert!(accepted.len() > 200 && accepted.len() < names.len());
    let changelists: BTreeSet<_> = accepted.iter().map(|collection| collection.path().join("changelist")).collect();
    let mut seen = BTreeSet::new();
    for collection in &accepted {
        for role in &roles {
            let file = collection.path().join("metadata").join(format!("{role}.json"));
            assert!(!changelists.contains(file.parent().unwrap()), "{} counts as a change", file.display());
            assert!(seen.insert(file.clone()), "{} belongs to two collections", file.display());
        }
    }
    // Nor does one need a directory where another has a file.
    for collection in &accepted {
        assert!(collection.path().ancestors().all(|path| !seen.contains(path)), "{}", collection.gun());
    }
}

#[test]
fn the_allowed_neighbours_share_no_file() {
    let roles = ["root", "targets", "snapshot", "timestamp", "targets/metadata", "targets/metadata/root", "targets/x"];
    let scratch = Scratch::new();
    let names = ["a", "a/metadata", "a/changelist", "a/b", "a/root.json", "metadata", "metadata/a"];
    for name in names {
        let update = roles.iter().fold(CacheUpdate::new(), |u, r| u.store(role(r), format!("{name} {r}").into_bytes()));
        let locked = scratch.collection(name).lock().unwrap();
        locked.commit(update.seen(name.into())).unwrap();
        locked.stage(jiff::Timestamp::UNIX_EPOCH, &[name.into()]).unwrap();
    }
    for name in names {
        let collection = scratch.collection(name);
        for r in roles {
            assert_eq!(collection.read(&role(r)).unwrap().unwrap(), format!("{name} {r}").as_bytes());
        }
        assert_eq!(collection.read_seen().unwrap().unwrap(), name.as_bytes());
        let changes = collection.changes().unwrap();
        assert_eq!(changes.staged.iter().map(|c| c.bytes.clone()).collect::<Vec<_>>(), [name.as_bytes().to_vec()]);
        assert!(changes.skipped.is_empty());
    }
}

#[test]
fn a_read_only_directory_is_told_apart_when_writing() {
    // Modes do not stop the superuser; a file in the lock directory's place stops anyone.
    let scratch = Scratch::golden("docker28/alice/trust");
    let collection = scratch.collection("127.0.0.1:45100/golden/docker28");
    fs::write(scratch.path().join(".countersign"), "").unwrap();
    assert!(collection.lock().is_err());
    assert!(collection.read(&RoleName::Root).unwrap().is_some(), "reading needs no lock");
}
