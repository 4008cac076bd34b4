//! Processes killed at each step, and two processes at once.
//!
//! Each test runs itself again as a child that dies at the first durable step, then at the second, until the child gets
//! through; after every death the directory must be in a state that the next run can use.

use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus};
use std::time::Duration;

use countersign_tuf::{Gun, RoleName};
use jiff::Timestamp;

use crate::failpoint::counting::{CRASH_AT, recorded};
use crate::{
    CacheUpdate, CarriedKey, Differing, ImportDefaults, KeyStoreError, LocalCollection, Origin, Passphrase,
    PassphraseRequest, PassphraseSource, Reply, TrustDirectory,
};

const CHILD_DIRECTORY: &str = "COUNTERSIGN_CRASH_DIRECTORY";
const MOST_STEPS: usize = 200;

/// Runs the named test as a child in a directory; the child dies at the given step.
fn run(test: &str, directory: &Path, at: Option<usize>) -> ExitStatus {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", test, "--nocapture"]).env(CHILD_DIRECTORY, directory);
    command.env_remove(CRASH_AT);
    if let Some(at) = at {
        command.env(CRASH_AT, at.to_string());
    }
    command.stdout(std::process::Stdio::null()).status().unwrap()
}

fn child_directory() -> Option<TrustDirectory> {
    let path = std::env::var_os(CHILD_DIRECTORY)?;
    Some(TrustDirectory::open(PathBuf::from(path)).unwrap())
}

/// Kills the child at every step; `prepare` makes the state before, `check` judges what each death left.
fn kill_at_every_step(test: &str, prepare: impl Fn(&TrustDirectory), check: impl Fn(&TrustDirectory, usize)) {
    for at in 1..=MOST_STEPS {
        let temporary = tempfile::tempdir().unwrap();
        let directory = TrustDirectory::create(temporary.path().join("trust")).unwrap();
        prepare(&directory);
        let status = run(test, directory.path(), Some(at));
        check(&directory, at);
        if status.success() {
            assert!(at > 5, "only {at} steps: the steps are not marked");
            return;
        }
        let signal = std::os::unix::process::ExitStatusExt::signal(&status);
        assert_eq!(signal, Some(9), "the child failed by itself: {status}");
    }
    panic!("more than {MOST_STEPS} steps");
}

fn collection(directory: &TrustDirectory) -> LocalCollection {
    directory.collection(&Gun::parse("registry.example:5000/team/app").unwrap()).unwrap()
}

fn role(name: &str) -> RoleName {
    RoleName::parse(name).unwrap()
}

const ROLES: [&str; 6] = ["root", "targets/a", "targets/a/deep", "targets", "snapshot", "timestamp"];

fn update(content: &str) -> CacheUpdate {
    let update = ROLES.iter().fold(CacheUpdate::new(), |update, name| update.store(role(name), content.into()));
    update.seen(content.into())
}

#[test]
fn a_killed_commit_leaves_each_file_old_or_new_and_the_next_one_succeeds() {
    if let Some(directory) = child_directory() {
        return collection(&directory).lock().unwrap().commit(update("new").keep_delegations([])).unwrap();
    }
    let stale = role("targets/stale");
    let name = "crash_tests::a_killed_commit_leaves_each_file_old_or_new_and_the_next_one_succeeds";
    let prepare = |directory: &TrustDirectory| {
        let update = update("old").store(role("targets/stale"), b"old".to_vec());
        collection(directory).lock().unwrap().commit(update).unwrap();
    };
    kill_at_every_step(name, prepare, |directory, _| {
        let collection = collection(directory);
        let read = |name: &str| String::from_utf8(collection.read(&role(name)).unwrap().unwrap()).unwrap();
        let mut states: Vec<String> = ROLES.iter().map(|name| read(name)).collect();
        states.push(String::from_utf8(collection.read_seen().unwrap().unwrap()).unwrap());
        // New files come first, in the order of the list above: no file is new before one that it needs.
        let news = states.iter().take_while(|state| *state == "new").count();
        assert!(states.iter().skip(news).all(|state| state == "old"), "{states:?}");
        if collection.read(&stale).unwrap().is_none() {
            assert_eq!(news, states.len(), "removed before the update was complete");
        }
        let locked = collection.lock().unwrap();
        locked.commit(update("newer").keep_delegations([])).unwrap();
        assert_eq!(read("timestamp"), "newer");
        assert_eq!(collection.read(&stale).unwrap(), None);
        assert_eq!(leftovers(directory.path()), Vec::<PathBuf>::new());
    });
}

#[test]
fn a_killed_first_commit_never_leaves_metadata_without_root() {
    if let Some(directory) = child_directory() {
        return collection(&directory).lock().unwrap().commit(update("new")).unwrap();
    }
    let name = "crash_tests::a_killed_first_commit_never_leaves_metadata_without_root";
    kill_at_every_step(
        name,
        |_| {},
        |directory, _| {
            let collection = collection(directory);
            let root = collection.read(&RoleName::Root).unwrap();
            assert_eq!(root.is_some(), collection.has_any().unwrap());
            collection.lock().unwrap().commit(update("newer")).unwrap();
            assert_eq!(leftovers(directory.path()), Vec::<PathBuf>::new());
        },
    );
}

#[test]
fn a_killed_removal_never_leaves_metadata_without_root() {
    if let Some(directory) = child_directory() {
        return collection(&directory).lock().unwrap().remove().unwrap();
    }
    let name = "crash_tests::a_killed_removal_never_leaves_metadata_without_root";
    let prepare = |directory: &TrustDirectory| {
        let locked = collection(directory).lock().unwrap();
        locked.commit(update("old")).unwrap();
        locked.stage(Timestamp::UNIX_EPOCH, &[b"1".to_vec(), b"2".to_vec()]).unwrap();
    };
    kill_at_every_step(name, prepare, |directory, _| {
        let collection = collection(directory);
        let root = collection.read(&RoleName::Root).unwrap();
        assert_eq!(root.is_some(), collection.has_any().unwrap());
        let changes = collection.changes().unwrap();
        if changes.staged.len() == 1 {
            assert_eq!(changes.staged[0].bytes, b"1", "the second change makes no sense without the first");
        }
        collection.lock().unwrap().remove().unwrap();
        assert!(!collection.path().exists());
    });
}

#[test]
fn a_killed_staging_leaves_whole_changes_in_order() {
    if let Some(directory) = child_directory() {
        let changes = [b"second".to_vec(), b"third".to_vec()];
        return collection(&directory).lock().unwrap().stage(Timestamp::UNIX_EPOCH, &changes).map(drop).unwrap();
    }
    let name = "crash_tests::a_killed_staging_leaves_whole_changes_in_order";
    let prepare = |directory: &TrustDirectory| {
        collection(directory).lock().unwrap().stage(Timestamp::UNIX_EPOCH, &[b"first".to_vec()]).unwrap();
    };
    kill_at_every_step(name, prepare, |directory, _| {
        let collection = collection(directory);
        let changes = collection.changes().unwrap();
        let contents: Vec<_> = changes.staged.iter().map(|change| change.bytes.as_slice()).collect();
        let all: [&[u8]; 3] = [b"first", b"second", b"third"];
        assert_eq!(contents, &all[..contents.len()]);
        assert!(!contents.is_empty() && changes.skipped.is_empty(), "{changes:?}");
        // Every regular file counts as a change for docker and notary: none may be there that is no change.
        let names = std::fs::read_dir(collection.path().join("changelist")).unwrap().count();
        assert_eq!(names, contents.len());
    });
}

#[test]
fn a_write_is_flushed_before_it_gets_its_name_and_the_name_is_flushed_too() {
    let temporary = tempfile::tempdir().unwrap();
    let folder = crate::folder::Folder::open_top(temporary.path()).unwrap();
    let steps = recorded(|| folder.replace("x", b"y").unwrap());
    assert_eq!(steps, ["file made", "file written", "file synced", "file renamed", "directory synced"]);
}

#[test]
fn all_files_of_a_commit_are_on_the_disk_before_the_first_is_in_force() {
    let temporary = tempfile::tempdir().unwrap();
    let locked = collection(&TrustDirectory::create(temporary.path()).unwrap()).lock().unwrap();
    let steps = recorded(|| locked.commit(update("x")).unwrap());
    let first_rename = steps.iter().position(|step| *step == "file renamed").unwrap();
    let last_flush = steps.iter().rposition(|step| *step == "file synced").unwrap();
    assert!(last_flush < first_rename, "{steps:?}");
    assert_eq!(steps.iter().filter(|step| **step == "file synced").count(), ROLES.len() + 1);
}

#[test]
fn two_processes_never_hold_a_collection_at_once_and_lose_no_change() {
    const EACH: usize = 20;
    if let Some(directory) = child_directory() {
        let collection = collection(&directory.with_lock_wait(Duration::from_mins(1)));
        for _ in 0..EACH {
            let locked = collection.lock().unwrap();
            let count =
                collection.read_seen().unwrap().map_or(0, |seen| String::from_utf8(seen).unwrap().parse().unwrap());
            let next: usize = count + 1;
            locked.commit(update(&next.to_string())).unwrap();
            locked.stage(Timestamp::UNIX_EPOCH, &[next.to_string().into_bytes()]).unwrap();
        }
        return;
    }
    let name = "crash_tests::two_processes_never_hold_a_collection_at_once_and_lose_no_change";
    let temporary = tempfile::tempdir().unwrap();
    let directory = TrustDirectory::create(temporary.path()).unwrap();
    std::thread::scope(|scope| {
        let children: Vec<_> = (0..3).map(|_| scope.spawn(|| run(name, directory.path(), None))).collect();
        for child in children {
            assert!(child.join().unwrap().success());
        }
    });
    let collection = collection(&directory);
    assert_eq!(collection.read_seen().unwrap().unwrap(), (3 * EACH).to_string().into_bytes());
    let changes = collection.changes().unwrap().staged;
    let numbers: Vec<usize> = changes.iter().map(|c| std::str::from_utf8(&c.bytes).unwrap().parse().unwrap()).collect();
    assert_eq!(numbers, (1..=3 * EACH).collect::<Vec<_>>());
}

/// Ends the child also when the test fails.
struct Ended(std::process::Child);
impl Drop for Ended {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn a_lock_dies_with_its_process_and_a_living_one_is_reported() {
    if let Some(directory) = child_directory() {
        let _locked = collection(&directory).lock().unwrap();
        std::fs::write(directory.path().join("locked"), "").unwrap();
        std::thread::sleep(Duration::from_mins(1));
        return;
    }
    let temporary = tempfile::tempdir().unwrap();
    let directory = TrustDirectory::create(temporary.path()).unwrap().with_lock_wait(Duration::from_millis(50));
    let child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "crash_tests::a_lock_dies_with_its_process_and_a_living_one_is_reported", "--nocapture"])
        .env(CHILD_DIRECTORY, directory.path())
        .spawn()
        .unwrap();
    let child = Ended(child);
    while !directory.path().join("locked").exists() {
        std::thread::sleep(Duration::from_millis(5));
    }
    let error = collection(&directory).lock().unwrap_err();
    let crate::LockError::Busy { path, .. } = &error else { panic!("{error}") };
    assert!(path.starts_with(directory.path().join(".countersign")), "{}", path.display());
    assert!(error.to_string().contains(path.to_str().unwrap()), "{error}");
    drop(child);
    collection(&directory.with_lock_wait(Duration::from_secs(10))).lock().unwrap();
}

#[test]
fn a_full_disk_leaves_the_old_cache_whole() {
    if let Some(directory) = child_directory() {
        let update = update("new").store(RoleName::Timestamp, vec![b'x'; 100_000]);
        let error = collection(&directory).lock().unwrap().commit(update).unwrap_err();
        assert!(error.is_unwritable(), "{error}");
        return;
    }
    let temporary = tempfile::tempdir().unwrap();
    let directory = TrustDirectory::create(temporary.path()).unwrap();
    collection(&directory).lock().unwrap().commit(update("old")).unwrap();
    // A limit on file sizes stands for the full disk; the signal that goes with it is ignored.
    let status = Command::new("sh")
        .args(["-c", r#"trap '' XFSZ; ulimit -f 20; exec "$0" "$@""#])
        .arg(std::env::current_exe().unwrap())
        .args(["--exact", "crash_tests::a_full_disk_leaves_the_old_cache_whole", "--nocapture"])
        .env(CHILD_DIRECTORY, directory.path())
        .status()
        .unwrap();
    assert!(status.success());
    let collection = collection(&directory);
    for name in ROLES {
        assert_eq!(collection.read(&role(name)).unwrap().unwrap(), b"old", "{name}");
    }
    assert_eq!(leftovers(directory.path()), Vec::<PathBuf>::new());
}

/// One passphrase for every key.
struct Fixed(&'static str);

impl PassphraseSource for Fixed {
    fn passphrase(&self, request: &PassphraseRequest<'_>) -> Reply {
        match request.attempt {
            1 => Reply::Passphrase(Passphrase::new(self.0.into()).unwrap(), Origin::Person),
            _ => Reply::Unavailable,
        }
    }
}

const OLD_DIRECTORY: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../fixtures/compat-notary0.1/private");
const BUNDLE: &[u8] = include_bytes!("../../../fixtures/key-bundles/inputs/ec-p256.key");

fn import(directory: &TrustDirectory, passphrase: &'static str) {
    let report = directory.keys().import(BUNDLE, &ImportDefaults::default(), &Fixed(passphrase)).unwrap();
    assert_eq!(report.imported.len(), 1);
}

/// Opens the only key with whichever of the passphrases fits and returns that one.
fn opens_with(directory: &TrustDirectory, passphrases: [&'static str; 2]) -> &'static str {
    let [key] = directory.keys().list().unwrap().keys.try_into().unwrap();
    let fits = |text: &&'static str| directory.keys().load(&key.id, &Fixed(text)).is_ok();
    passphrases.into_iter().find(fits).unwrap()
}

#[test]
fn a_killed_import_leaves_no_key_or_a_whole_one() {
    if let Some(directory) = child_directory() {
        return import(&directory, "new passphrase");
    }
    let name = "crash_tests::a_killed_import_leaves_no_key_or_a_whole_one";
    kill_at_every_step(
        name,
        |_| {},
        |directory, _| {
            assert_eq!(directory.keys().list().unwrap().skipped, []);
            if !directory.keys().list().unwrap().keys.is_empty() {
                opens_with(directory, ["new passphrase", "no passphrase"]);
            }
            import(directory, "newer passphrase");
            assert_eq!(leftovers(directory.path()), Vec::<PathBuf>::new());
        },
    );
}

#[test]
fn a_killed_change_of_passphrase_leaves_the_key_under_the_old_or_the_new_one() {
    let both = ["old passphrase", "new passphrase"];
    let change = |directory: &TrustDirectory, from: &'static str| {
        let store = directory.keys();
        let [key] = store.list().unwrap().keys.try_into().unwrap();
        store.change_passphrase(&key.id, &Fixed(from), &Fixed("new passphrase")).unwrap();
    };
    if let Some(directory) = child_directory() {
        return change(&directory, "old passphrase");
    }
    let name = "crash_tests::a_killed_change_of_passphrase_leaves_the_key_under_the_old_or_the_new_one";
    kill_at_every_step(
        name,
        |directory| import(directory, "old passphrase"),
        |directory, _| {
            assert_eq!(directory.keys().list().unwrap().skipped, []);
            change(directory, opens_with(directory, both));
            assert_eq!(leftovers(directory.path()), Vec::<PathBuf>::new());
        },
    );
}

#[test]
fn a_killed_migration_loses_no_key_and_can_be_continued() {
    if let Some(directory) = child_directory() {
        return drop(directory.keys().migrate().unwrap());
    }
    let name = "crash_tests::a_killed_migration_loses_no_key_and_can_be_continued";
    let prepare = |directory: &TrustDirectory| {
        let copied = Command::new("cp").args(["-r", OLD_DIRECTORY]).arg(directory.path()).status().unwrap();
        assert!(copied.success());
    };
    let open_all = |directory: &TrustDirectory| {
        let keys = directory.keys().list().unwrap().keys;
        assert_eq!(keys.len(), 3);
        for key in keys {
            directory.keys().load(&key.id, &Fixed("randompass")).unwrap();
        }
    };
    kill_at_every_step(name, prepare, |directory, _| {
        open_all(directory);
        assert_eq!(directory.keys().migrate().unwrap().kept, []);
        open_all(directory);
        assert!(!directory.keys().needs_migration().unwrap());
        assert_eq!(directory.keys().list().unwrap().skipped, []);
        assert_eq!(leftovers(directory.path()), Vec::<PathBuf>::new());
    });
}

/// Reads the keys of an old client as they come from an archive.
fn carried() -> Vec<CarriedKey> {
    let from = tempfile::tempdir().unwrap();
    assert!(Command::new("cp").args(["-r", OLD_DIRECTORY]).arg(from.path()).status().unwrap().success());
    let store = TrustDirectory::open(from.path()).unwrap().keys();
    store.list().unwrap().keys.iter().map(|key| store.carry(&key.id).unwrap()).collect()
}

#[test]
fn killed_while_keys_are_taken_in_all_of_them_arrive_or_none() {
    if let Some(directory) = child_directory() {
        return drop(directory.keys().take_in(&carried(), Differing::Refuse).unwrap());
    }
    let name = "crash_tests::killed_while_keys_are_taken_in_all_of_them_arrive_or_none";
    let ours = |directory: &TrustDirectory| import(directory, "new passphrase");
    let (mut none, mut all) = (0, 0);
    let counts = std::cell::RefCell::new((&mut none, &mut all));
    kill_at_every_step(name, ours, |directory, _| {
        assert_eq!(directory.keys().list().unwrap().skipped, []);
        // Whoever writes next finishes what had begun.
        directory.keys().take_in(&[], Differing::Refuse).unwrap();
        assert_eq!(leftovers(directory.path()), Vec::<PathBuf>::new());
        match directory.keys().list().unwrap().keys.len() {
            1 => *counts.borrow_mut().0 += 1,
            4 => *counts.borrow_mut().1 += 1,
            other => panic!("{other} keys"),
        }
        assert!(!directory.path().join(".countersign/keys/arriving").exists());
        let found = directory.keys().take_in(&carried(), Differing::Refuse).unwrap();
        assert_eq!(found.len(), 3);
        for key in carried() {
            directory.keys().load(&key.id(), &Fixed("randompass")).unwrap();
        }
    });
    assert!(none > 3 && all > 3, "{none} deaths before, {all} after the moment that decides");
}

#[test]
fn processes_that_import_and_change_keys_at_once_never_leave_half_a_key() {
    const CHANGES: usize = 10;
    let both = ["old passphrase", "new passphrase"];
    if let Some(directory) = child_directory() {
        let store = directory.with_lock_wait(Duration::from_mins(1)).keys();
        for _ in 0..CHANGES {
            let defaults = ImportDefaults::default();
            store.import(BUNDLE, &defaults, &Fixed("old passphrase")).unwrap();
            let listing = store.list().unwrap();
            assert_eq!(listing.skipped, []);
            for key in listing.keys {
                // Another process may be first; whatever it was, the answer says so and nothing is half done.
                match store.change_passphrase(&key.id, &Fixed("old passphrase"), &Fixed("new passphrase")) {
                    Ok(()) | Err(KeyStoreError::PassphraseInvalid { .. } | KeyStoreError::ChangedMeanwhile { .. }) => {}
                    Err(error) => panic!("{error}"),
                }
            }
        }
        return;
    }
    let name = "crash_tests::processes_that_import_and_change_keys_at_once_never_leave_half_a_key";
    let temporary = tempfile::tempdir().unwrap();
    let directory = TrustDirectory::create(temporary.path()).unwrap();
    std::thread::scope(|scope| {
        let children: Vec<_> = (0..3).map(|_| scope.spawn(|| run(name, directory.path(), None))).collect();
        for child in children {
            assert!(child.join().unwrap().success());
        }
    });
    opens_with(&directory, both);
    assert_eq!(leftovers(directory.path()), Vec::<PathBuf>::new());
}

/// Finds temporary files anywhere below a directory.
fn leftovers(directory: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(directory).unwrap().map(Result::unwrap) {
        if entry.file_type().unwrap().is_dir() {
            found.extend(leftovers(&entry.path()));
        } else if entry.file_name().to_string_lossy().ends_with(".tmp") {
            found.push(entry.path());
        }
    }
    found
}
