//! The key store: golden keys, new keys, and what must be refused.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};

use countersign_crypto::{Algorithm, KeyId, PrivateKey};
use countersign_vault::limits::{EXISTING_PASSPHRASE_ATTEMPTS, MAX_KEY_BYTES, NEW_PASSPHRASE_ATTEMPTS};
use countersign_vault::{
    Addition, EnvironmentPassphrases, FileKind, KeyLabel, KeyPlace, KeyProtection, KeyStoreError, NoPassphrases,
    Origin, Passphrase, PassphraseRequest, PassphraseSource, Purpose, Remembered, Removal, Reply, Sequence,
    SkippedKeyReason,
};

use crate::{Scratch, files, fixture, gun, make_pipe, mode};

/// Answers every request with the same text and counts the requests.
pub(crate) struct Fixed(&'static str, AtomicU32);

pub(crate) fn fixed(text: &'static str) -> Fixed {
    Fixed(text, AtomicU32::new(0))
}

impl PassphraseSource for Fixed {
    fn passphrase(&self, _: &PassphraseRequest<'_>) -> Reply {
        self.1.fetch_add(1, Ordering::SeqCst);
        Reply::Passphrase(Passphrase::new(self.0.as_bytes().to_vec()).unwrap(), Origin::Person)
    }
}

fn id(text: &str) -> KeyId {
    text.parse().unwrap()
}

const ROOT: &str = "fb87f3163f83d83dc4bb834f441e9e271b81b8f20daab0e0ca3e325b5e8aab9d";
const TARGETS: &str = "ff80063b7eeaa64dcbaad19841557cf2c3cb2d0b57dc61ab77cdfcab13d07e48";
const SNAPSHOT: &str = "c21a09cda566420875b9d8b26aeaad832f447924e39532524b005e976b0a2e3a";

fn key_path(scratch: &Scratch, id: &str) -> std::path::PathBuf {
    scratch.path().join(format!("private/{id}.key"))
}

/// What the manifest says about the private keys of a golden directory.
fn expected_keys(set: &str, owner: &str) -> Vec<serde_json::Value> {
    let manifest: serde_json::Value = serde_json::from_slice(&fs::read(fixture("manifest.json")).unwrap()).unwrap();
    let sets = manifest["sets"].as_array().unwrap();
    let keys = &sets.iter().find(|found| found["name"] == set).unwrap()["private_keys"];
    let keys = if owner.is_empty() { keys } else { &keys[owner] };
    keys.as_array().unwrap().clone()
}

#[test]
fn golden_keys_are_listed_and_opened() {
    for (set, owner, path) in [
        ("docker28", "owner", "docker28/owner/trust"),
        ("docker28", "alice", "docker28/alice/trust"),
        ("docker28", "bob", "docker28/bob/trust"),
        ("docker20", "owner", "docker20/owner/trust"),
        ("docker20", "bob", "docker20/bob/trust"),
        ("notary-basic", "", "notary-basic/trust"),
        ("rotations", "", "rotations/trust"),
        ("delegations", "owner", "delegations/owner"),
        ("delegations", "user", "delegations/user"),
    ] {
        let scratch = Scratch::golden(path);
        let store = scratch.trust().keys();
        let listing = store.list().unwrap();
        assert_eq!(listing.skipped, []);
        let expected = expected_keys(set, owner);
        assert_eq!(listing.keys.len(), expected.len(), "{path}");
        for key in expected {
            let found = store.find(&id(key["id"].as_str().unwrap())).unwrap().unwrap();
            assert!(listing.keys.contains(&found));
            assert_eq!(found.role, key["headers"]["role"].as_str().unwrap());
            assert_eq!(found.gun.as_ref().map(ToString::to_string).as_deref(), key["headers"]["gun"].as_str());
            assert_eq!(found.place, KeyPlace::Plain);
            let passphrase: &'static str = key["passphrase"].as_str().unwrap().to_owned().leak();
            let opened = store.load(&found.id, &fixed(passphrase)).unwrap();
            assert_eq!(opened.public_key().canonical_id(), found.id, "{path}");
        }
    }
}

#[test]
fn an_opened_key_is_not_asked_for_again() {
    let store = Scratch::golden("notary-basic/trust").trust().keys();
    let scratch = Scratch::golden("notary-basic/trust");
    drop(store);
    let store = scratch.trust().keys();
    store.load(&id(ROOT), &fixed("golden-root-pass")).unwrap();
    store.clone().load(&id(ROOT), &NoPassphrases).unwrap();
    assert!(scratch.trust().keys().load(&id(ROOT), &NoPassphrases).is_err(), "another store has its own memory");
}

#[test]
fn a_person_has_four_tries() {
    let scratch = Scratch::golden("notary-basic/trust");
    let wrong = fixed("wrong");
    let error = scratch.trust().keys().load(&id(ROOT), &wrong).unwrap_err();
    assert_eq!(error.to_string(), "password invalid, operation has failed.");
    let KeyStoreError::PassphraseInvalid { id: Some(found), role, refused } = error else { panic!("{error}") };
    assert_eq!((found, role.as_str(), refused), (id(ROOT), "root", Some(Origin::Person)));
    assert_eq!(wrong.1.load(Ordering::SeqCst), EXISTING_PASSPHRASE_ATTEMPTS);
}

#[test]
fn a_wrong_passphrase_from_the_environment_ends_at_once_or_falls_back_to_a_person() {
    let scratch = Scratch::golden("notary-basic/trust");
    let environment =
        || EnvironmentPassphrases::notary(|name| (name == "NOTARY_ROOT_PASSPHRASE").then(|| "wrong".into()));
    let error = scratch.trust().keys().load(&id(ROOT), &environment()).unwrap_err();
    let KeyStoreError::PassphraseInvalid { refused: Some(Origin::Environment(name)), .. } = error else {
        panic!("{error}")
    };
    assert_eq!(name, "NOTARY_ROOT_PASSPHRASE");
    scratch.trust().keys().load(&id(ROOT), &Sequence(environment(), fixed("golden-root-pass"))).unwrap();
}

#[test]
fn no_passphrase_is_tried_on_another_roles_key() {
    let scratch = Scratch::golden("notary-basic/trust");
    let environment = |name: &str| (name == "NOTARY_TARGETS_PASSPHRASE").then(|| "golden-repo-pass".into());
    let source = Remembered::new(EnvironmentPassphrases::notary(environment));
    let store = scratch.trust().keys();
    store.load(&id(TARGETS), &source).unwrap();
    // The snapshot key has the very same passphrase, but nobody said so.
    let error = store.load(&id(SNAPSHOT), &source).unwrap_err();
    assert!(matches!(error, KeyStoreError::PassphraseInvalid { refused: None, .. }), "{error}");
}

#[test]
fn a_flipped_bit_never_yields_a_key() {
    let scratch = Scratch::golden("notary-basic/trust");
    let path = key_path(&scratch, ROOT);
    let whole = fs::read(&path).unwrap();
    let body = whole.windows(2).position(|pair| pair == b"\n\n").unwrap() + 2;
    for at in (body..whole.len()).step_by(7) {
        let mut bytes = whole.clone();
        bytes[at] ^= 1;
        fs::write(&path, &bytes).unwrap();
        match scratch.trust().keys().load(&id(ROOT), &fixed("golden-root-pass")) {
            Err(
                KeyStoreError::PassphraseInvalid { .. }
                | KeyStoreError::Malformed { .. }
                | KeyStoreError::OtherKey { .. },
            ) => {}
            Err(error) => panic!("{at}: {error}"),
            // Base64 has bits that carry nothing at the end of the text: the key is then the same.
            Ok(key) => assert_eq!(key.public_key().id(), id(ROOT), "{at}"),
        }
    }
}

#[test]
fn a_key_under_another_keys_name_is_refused() {
    let scratch = Scratch::golden("notary-basic/trust");
    fs::rename(key_path(&scratch, TARGETS), key_path(&scratch, ROOT)).unwrap();
    let error = scratch.trust().keys().load(&id(ROOT), &fixed("golden-repo-pass")).unwrap_err();
    let KeyStoreError::OtherKey { expected, actual, .. } = error else { panic!("{error}") };
    assert_eq!((expected, actual), (id(ROOT), id(TARGETS)));
}

#[test]
fn bad_files_are_named_and_the_other_keys_stay_usable() {
    let scratch = Scratch::golden("notary-basic/trust");
    let private = scratch.path().join("private");
    let golden = fs::read_to_string(key_path(&scratch, ROOT)).unwrap();
    let name = |n: u8| format!("{n:064x}.key");
    let put = |n: u8, content: &[u8]| fs::write(private.join(name(n)), content).unwrap();
    put(1, b"");
    put(2, &golden.as_bytes()[..golden.len() / 2]);
    put(3, format!("{golden}{golden}").as_bytes());
    put(4, b"\x00\xff not a key");
    put(5, &vec![b'x'; usize::try_from(MAX_KEY_BYTES).unwrap() + 1]);
    put(6, golden.replace("role: root", "gun: ../../x\nrole: targets").as_bytes());
    put(7, &fs::read(fixture("key-bundles/inputs/ec-p256.pub")).unwrap());
    symlink(key_path(&scratch, ROOT), private.join(name(8))).unwrap();
    make_pipe(&private.join(name(9)));
    fs::write(private.join("notes.key"), &golden).unwrap();
    fs::write(private.join(format!("{}.key", ROOT.to_uppercase())), &golden).unwrap();
    fs::write(private.join("README"), "not a key at all").unwrap();
    fs::write(private.join("new\nline.key"), &golden).unwrap();

    let store = scratch.trust().keys();
    let listing = store.list().unwrap();
    assert_eq!(listing.keys.iter().map(|key| key.id.to_string()).collect::<Vec<_>>(), [SNAPSHOT, ROOT, TARGETS]);
    let reason = |file: String| {
        let found = listing.skipped.iter().find(|skipped| skipped.path == private.join(&file));
        found.unwrap_or_else(|| panic!("{file} is not among {listing:?}")).reason.clone()
    };
    for n in [1, 2, 3, 4, 6, 7] {
        assert!(matches!(reason(name(n)), SkippedKeyReason::Malformed(_)), "{n}: {:?}", reason(name(n)));
    }
    assert!(matches!(reason(name(5)), SkippedKeyReason::Unreadable(_)));
    assert_eq!(reason(name(8)), SkippedKeyReason::NotRegular(FileKind::SymbolicLink));
    assert_eq!(reason(name(9)), SkippedKeyReason::NotRegular(FileKind::NamedPipe));
    for file in ["notes.key", "new\nline.key", &format!("{}.key", ROOT.to_uppercase())] {
        assert_eq!(reason(file.to_owned()), SkippedKeyReason::Name);
    }
    assert_eq!(listing.skipped.len(), 12);
    store.load(&id(ROOT), &fixed("golden-root-pass")).unwrap();
    // Asked for by name, a bad file is an error and not a missing key.
    for n in 1..=9 {
        let asked = id(&format!("{n:064x}"));
        assert!(!matches!(store.load(&asked, &NoPassphrases), Err(KeyStoreError::NotFound { .. }) | Ok(_)), "{n}");
    }
}

#[test]
fn a_linked_key_directory_is_refused_not_hidden() {
    let scratch = Scratch::golden("notary-basic/trust");
    let moved = scratch.directory.path().join("moved");
    fs::rename(scratch.path().join("private"), &moved).unwrap();
    symlink(&moved, scratch.path().join("private")).unwrap();
    assert!(matches!(scratch.trust().keys().list(), Err(KeyStoreError::File(_))));
}

#[test]
fn carriage_returns_and_a_byte_order_mark_do_not_hide_a_key_unnoticed() {
    for change in [|text: &str| text.replace('\n', "\r\n"), |text: &str| format!("\u{feff}{text}")] {
        let scratch = Scratch::golden("notary-basic/trust");
        let text = fs::read_to_string(key_path(&scratch, ROOT)).unwrap();
        fs::write(key_path(&scratch, ROOT), change(&text)).unwrap();
        match scratch.trust().keys().load(&id(ROOT), &fixed("golden-root-pass")) {
            Ok(key) => assert_eq!(key.public_key().id(), id(ROOT)),
            Err(error) => assert!(matches!(error, KeyStoreError::Malformed { .. }), "{error}"),
        }
    }
}

#[test]
fn a_new_key_is_written_in_the_references_form() {
    let scratch = Scratch::new();
    let key = PrivateKey::generate(Algorithm::EcdsaP256).unwrap();
    let label = KeyLabel::new("targets", Some(&gun("h:5000/a"))).unwrap();
    let store = scratch.trust().keys();
    assert_eq!(store.add(&key, &label, &fixed("a new passphrase")).unwrap(), Addition::Added);
    let id = key.public_key().id();
    let path = key_path(&scratch, &id.to_string());
    assert_eq!(mode(&path), 0o600);
    let text = fs::read_to_string(&path).unwrap();
    assert!(text.starts_with("-----BEGIN ENCRYPTED PRIVATE KEY-----\ngun: h:5000/a\nrole: targets\n\n"), "{text}");
    assert_eq!(files(&scratch.path().join("private")), [format!("{id}.key")]);
    let loaded = store.load(&id, &fixed("a new passphrase")).unwrap();
    assert_eq!(loaded.public_key(), key.public_key());
    assert!(store.load(&id, &fixed("another")).is_ok(), "in memory");
    assert!(scratch.trust().keys().load(&id, &fixed("another")).is_err());

    assert_eq!(store.add(&key, &label, &fixed("different")).unwrap(), Addition::AlreadyThere);
    assert_eq!(fs::read_to_string(&path).unwrap(), text, "not rewritten");
    let error = store.add(&key, &KeyLabel::root(), &fixed("different")).unwrap_err();
    assert_eq!(error.to_string(), "key with same ID already exists for role: targets");
}

#[test]
fn the_strong_forms_are_written_on_request_read_without_one_and_undone() {
    let scratch = Scratch::new();
    let key = PrivateKey::generate(Algorithm::EcdsaP256).unwrap();
    let id = key.public_key().id();
    let pbkdf2 = scratch.trust().keys().with_protection(KeyProtection::Pbkdf2Sha256);
    pbkdf2.add(&key, &KeyLabel::root(), &fixed("a new passphrase")).unwrap();
    let seen = asn1(&scratch, &id.to_string());
    assert!(seen.contains("hmacWithSHA256") && seen.contains(":0927C0"), "600,000 rounds: {seen}");
    scratch.trust().keys().load(&id, &fixed("a new passphrase")).unwrap();
    assert!(scratch.trust().keys().load(&id, &fixed("another")).is_err());
    // The directory's choice is every store's; the way back is a change of the passphrase, perhaps to the same.
    let scrypt = scratch.trust().protecting(KeyProtection::Scrypt).keys();
    scrypt.change_passphrase(&id, &fixed("a new passphrase"), &fixed("another")).unwrap();
    let seen = asn1(&scratch, &id.to_string());
    assert!(seen.contains(":scrypt") && seen.contains(":4000"), "{seen}");
    scratch.trust().keys().load(&id, &fixed("another")).unwrap();
    scratch.trust().keys().change_passphrase(&id, &fixed("another"), &fixed("another")).unwrap();
    let seen = asn1(&scratch, &id.to_string());
    assert!(seen.contains("PBKDF2") && seen.contains(":0800") && !seen.contains("hmacWithSHA256"), "{seen}");
}

/// What openssl sees in a key file.
fn asn1(scratch: &Scratch, id: &str) -> String {
    // openssl reads no headers.
    let text = fs::read_to_string(key_path(scratch, id)).unwrap().replace("role: root\n\n", "");
    let bare = scratch.directory.path().join("bare.pem");
    fs::write(&bare, text).unwrap();
    let seen = Command::new("openssl").arg("asn1parse").arg("-in").arg(&bare).output().unwrap().stdout;
    String::from_utf8(seen).unwrap()
}

#[test]
fn every_kind_of_key_is_stored_and_opened() {
    let scratch = Scratch::new();
    let store = scratch.trust().keys();
    for algorithm in [
        Algorithm::EcdsaP256,
        Algorithm::EcdsaP384,
        Algorithm::EcdsaP521,
        Algorithm::Ed25519,
        Algorithm::Rsa { bits: 2048 },
    ] {
        let key = PrivateKey::generate(algorithm).unwrap();
        store.add(&key, &KeyLabel::new("alice", None).unwrap(), &fixed("a new passphrase")).unwrap();
        let loaded = store.load(&key.public_key().id(), &fixed("a new passphrase")).unwrap();
        assert_eq!(loaded.public_key(), key.public_key());
    }
    assert_eq!(store.list().unwrap().keys.len(), 5);
}

#[test]
fn without_a_new_passphrase_nothing_is_written() {
    struct Undecided(AtomicU32);
    impl PassphraseSource for Undecided {
        fn passphrase(&self, request: &PassphraseRequest<'_>) -> Reply {
            assert_eq!(request.purpose, Purpose::New);
            self.0.fetch_add(1, Ordering::SeqCst);
            Reply::Again
        }
    }
    let scratch = Scratch::new();
    let key = PrivateKey::generate(Algorithm::EcdsaP256).unwrap();
    let store = scratch.trust().keys();
    let undecided = Undecided(AtomicU32::new(0));
    for source in [&NoPassphrases as &dyn PassphraseSource, &undecided] {
        let error = store.add(&key, &KeyLabel::root(), source).unwrap_err();
        assert_eq!(error.to_string(), "maximum number of passphrase attempts exceeded");
    }
    assert_eq!(undecided.0.load(Ordering::SeqCst), NEW_PASSPHRASE_ATTEMPTS);
    assert_eq!(files(&scratch.path()), Vec::<String>::new());
}

#[test]
fn a_removed_key_is_gone_from_disk_and_memory() {
    let scratch = Scratch::golden("notary-basic/trust");
    let store = scratch.trust().keys();
    store.load(&id(ROOT), &fixed("golden-root-pass")).unwrap();
    assert_eq!(store.remove(&id(ROOT)).unwrap(), Removal::Removed);
    assert_eq!(store.remove(&id(ROOT)).unwrap(), Removal::Absent);
    let error = store.load(&id(ROOT), &fixed("golden-root-pass")).unwrap_err();
    assert_eq!(error.to_string(), format!("signing key not found: {ROOT}"));
    assert_eq!(store.list().unwrap().keys.len(), 2);
}

#[test]
fn a_passphrase_is_changed_and_the_headers_stay() {
    let scratch = Scratch::golden("notary-basic/trust");
    let store = scratch.trust().keys();
    let before = store.find(&id(TARGETS)).unwrap();
    store.change_passphrase(&id(TARGETS), &fixed("golden-repo-pass"), &fixed("another one")).unwrap();
    assert_eq!(store.find(&id(TARGETS)).unwrap(), before);
    let fresh = scratch.trust().keys();
    assert!(fresh.load(&id(TARGETS), &fixed("golden-repo-pass")).is_err());
    fresh.load(&id(TARGETS), &fixed("another one")).unwrap();

    let text = fs::read(key_path(&scratch, TARGETS)).unwrap();
    let wrong = store.change_passphrase(&id(TARGETS), &fixed("golden-repo-pass"), &fixed("x")).unwrap_err();
    assert!(matches!(wrong, KeyStoreError::PassphraseInvalid { .. }), "{wrong}");
    assert!(store.change_passphrase(&id(TARGETS), &fixed("another one"), &NoPassphrases).is_err());
    assert_eq!(fs::read(key_path(&scratch, TARGETS)).unwrap(), text);
}

/// Writes to the key's file while the passphrase is being typed.
struct Meddler<'a>(&'a Path);

impl PassphraseSource for Meddler<'_> {
    fn passphrase(&self, request: &PassphraseRequest<'_>) -> Reply {
        let text = fs::read_to_string(self.0).unwrap();
        fs::write(self.0, format!("{text}\n")).unwrap();
        fixed("typed meanwhile").passphrase(request)
    }
}

#[test]
fn a_key_that_another_process_wrote_meanwhile_is_not_overwritten() {
    let scratch = Scratch::golden("notary-basic/trust");
    let path = key_path(&scratch, TARGETS);
    let store = scratch.trust().keys();
    let error = store.change_passphrase(&id(TARGETS), &fixed("golden-repo-pass"), &Meddler(&path)).unwrap_err();
    assert!(matches!(error, KeyStoreError::ChangedMeanwhile { .. }), "{error}");
    scratch.trust().keys().load(&id(TARGETS), &fixed("golden-repo-pass")).unwrap();
}
