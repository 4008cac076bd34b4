//! Export and import.

use std::collections::BTreeSet;
use std::fs;

use countersign_crypto::{Algorithm, KeyId, PrivateKey};
use countersign_vault::limits::MAX_BUNDLE_BYTES;
use countersign_vault::{
    Addition, ImportDefaults, ImportReport, KeyLabel, KeySelection, KeyStoreError, NoPassphrases, PassphraseSource,
    SkippedBlockReason,
};

use crate::keys::fixed;
use crate::{Scratch, files, fixture, gun};

const ROOT: &str = "fb87f3163f83d83dc4bb834f441e9e271b81b8f20daab0e0ca3e325b5e8aab9d";
const TARGETS: &str = "ff80063b7eeaa64dcbaad19841557cf2c3cb2d0b57dc61ab77cdfcab13d07e48";

fn bundle(name: &str) -> Vec<u8> {
    fs::read(fixture("key-bundles").join(name)).unwrap()
}

fn import(scratch: &Scratch, bundle: &[u8], source: &dyn PassphraseSource) -> ImportReport {
    scratch.trust().keys().import(bundle, &ImportDefaults::default(), source).unwrap()
}

fn single(report: &ImportReport) -> &SkippedBlockReason {
    assert_eq!((report.imported.len(), report.skipped.len()), (0, 1), "{report:?}");
    &report.skipped[0].reason
}

#[test]
fn a_bundle_of_notary_goes_in_and_comes_out_unchanged() {
    let scratch = Scratch::new();
    let all = bundle("export-all.pem");
    let report = import(&scratch, &all, &NoPassphrases);
    assert_eq!((report.imported.len(), report.skipped.len()), (6, 0), "{report:?}");
    let store = scratch.trust().keys();
    let export = |selection| String::from_utf8(store.export(&selection).unwrap().pem.to_vec()).unwrap();
    assert_eq!(export(KeySelection::All), String::from_utf8(all).unwrap());
    let one = KeySelection::Collections(BTreeSet::from([gun("golden.test/notary/basic")]));
    assert_eq!(export(one).into_bytes(), bundle("export-gun.pem"));
    let root = KeySelection::Ids(BTreeSet::from([ROOT.parse().unwrap()]));
    assert_eq!(export(root).into_bytes(), bundle("export-root.pem"));

    // The stored files are those that were exported once.
    let golden = fixture("notary-basic/trust/private");
    for name in files(&golden) {
        let stored = fs::read_to_string(scratch.path().join("private").join(&name)).unwrap();
        assert_eq!(stored, fs::read_to_string(golden.join(&name)).unwrap());
    }
    let again = import(&scratch, &bundle("export-all.pem"), &NoPassphrases);
    assert!(again.imported.iter().all(|key| key.addition == Addition::AlreadyThere), "{again:?}");
}

#[test]
fn several_collections_are_exported_together() {
    let scratch = Scratch::new();
    import(&scratch, &bundle("export-all.pem"), &NoPassphrases);
    let both = BTreeSet::from([gun("golden.test/notary/basic"), gun("golden.test/notary/basic2")]);
    let exported = scratch.trust().keys().export(&KeySelection::Collections(both)).unwrap();
    assert_eq!(exported.keys.len(), 4);
}

#[test]
fn a_key_that_is_not_there_cannot_be_exported() {
    let scratch = Scratch::new();
    let ids = KeySelection::Ids(BTreeSet::from([ROOT.parse().unwrap()]));
    assert!(matches!(scratch.trust().keys().export(&ids), Err(KeyStoreError::NotFound { .. })));
}

#[test]
fn an_unreadable_key_is_named_by_an_export() {
    let scratch = Scratch::golden("notary-basic/trust");
    fs::write(scratch.path().join(format!("private/{TARGETS}.key")), "damaged").unwrap();
    let exported = scratch.trust().keys().export(&KeySelection::All).unwrap();
    assert_eq!((exported.keys.len(), exported.skipped.len()), (2, 1));
}

#[test]
fn keys_in_every_form_are_imported_under_their_own_id() {
    let manifest: serde_json::Value = serde_json::from_slice(&fs::read(fixture("manifest.json")).unwrap()).unwrap();
    let set = manifest["sets"].as_array().unwrap().iter().find(|set| set["name"] == "key-bundles").unwrap();
    let stored = |name: &str| set["imports"][name]["stored_as"][0].as_str().unwrap().strip_suffix(".key").unwrap();
    for kind in ["ec-p256", "ec-p384", "rsa2048", "rsa4096"] {
        let expected: KeyId = stored(&format!("{kind}.key")).parse().unwrap();
        for form in ["key", "traditional.key", "pkcs8-enc.key", "traditional-enc.key"] {
            let scratch = Scratch::new();
            let report = import(&scratch, &bundle(&format!("inputs/{kind}.{form}")), &fixed("golden-user-pass"));
            let [imported] = report.imported.as_slice() else { panic!("{kind} {form}: {report:?}") };
            assert_eq!((imported.id, imported.label.role()), (expected, "delegation"), "{kind} {form}");
            let key = scratch.trust().keys().load(&expected, &fixed("golden-user-pass")).unwrap();
            assert_eq!(key.public_key().id(), expected);
            let text = fs::read_to_string(scratch.path().join(format!("private/{expected}.key"))).unwrap();
            assert!(text.starts_with("-----BEGIN ENCRYPTED PRIVATE KEY-----\nrole: delegation\n\n"), "{text}");
        }
    }
}

#[test]
fn an_encrypted_key_that_cannot_be_opened_is_left_out_and_said_so() {
    let scratch = Scratch::new();
    for source in [&NoPassphrases as &dyn PassphraseSource, &fixed("wrong")] {
        let report = import(&scratch, &bundle("inputs/ec-p256.pkcs8-enc.key"), source);
        assert_eq!(single(&report), &SkippedBlockReason::NotOpened);
    }
    let plain = import(&scratch, &bundle("inputs/ec-p256.key"), &NoPassphrases);
    assert_eq!(single(&plain), &SkippedBlockReason::NoNewPassphrase);
    assert!(scratch.trust().keys().list().unwrap().keys.is_empty());
}

#[test]
fn what_is_no_private_key_is_left_out_and_the_rest_goes_in() {
    let scratch = Scratch::new();
    let mut mixed = bundle("inputs/ec-p256.pub");
    mixed.extend(bundle("inputs/ec-p256.crt"));
    mixed.extend(bundle("export-root.pem"));
    let report = import(&scratch, &mixed, &NoPassphrases);
    assert_eq!(report.imported.len(), 1);
    assert_eq!(report.skipped.iter().map(|skipped| skipped.index).collect::<Vec<_>>(), [0, 1]);
    let nothing = scratch.trust().keys().import(b"no key here", &ImportDefaults::default(), &NoPassphrases);
    assert!(matches!(nothing, Err(KeyStoreError::NoKeys)));
    let large = vec![b'\n'; MAX_BUNDLE_BYTES + 1];
    let large = scratch.trust().keys().import(&large, &ImportDefaults::default(), &NoPassphrases);
    assert!(matches!(large, Err(KeyStoreError::BundleTooLarge { .. })));
}

#[test]
fn a_path_header_cannot_lead_out_of_the_store() {
    let root = String::from_utf8(bundle("export-root.pem")).unwrap();
    for path in ["../../evil", "/etc/evil", "..", "a\\b", &"0".repeat(63), &ROOT.to_uppercase()] {
        let scratch = Scratch::new();
        let report = import(&scratch, root.replace(ROOT, path).as_bytes(), &NoPassphrases);
        assert!(matches!(single(&report), SkippedBlockReason::Path(_)), "{path}: {report:?}");
        assert_eq!(fs::read_dir(scratch.directory.path()).unwrap().count(), 1);
    }
    let scratch = Scratch::new();
    let hostile = root.replace(ROOT, &format!("tuf_keys/../../x/{ROOT}")).replace("role: root", "role: targets");
    let report = import(&scratch, hostile.as_bytes(), &NoPassphrases);
    assert!(matches!(single(&report), SkippedBlockReason::Collection(_)), "{report:?}");
}

#[test]
fn collections_come_from_the_old_path_then_the_header_then_the_caller() {
    let text = String::from_utf8(bundle("export-root.pem")).unwrap();
    let block = |path: &str, headers: &str| {
        text.replace(&format!("path: {ROOT}\nrole: root"), &format!("path: {path}\n{headers}"))
    };
    let defaults = ImportDefaults { role: Some("snapshot".to_owned()), gun: Some(gun("from/caller")) };
    let label = |block: String| {
        let scratch = Scratch::new();
        let report = scratch.trust().keys().import(block.as_bytes(), &defaults, &NoPassphrases).unwrap();
        let [imported] = report.imported.as_slice() else { panic!("{report:?}") };
        (imported.label.role().to_owned(), imported.label.gun().map(ToString::to_string))
    };
    let of = |role: &str, gun: Option<&str>| (role.to_owned(), gun.map(str::to_owned));
    assert_eq!(label(block(ROOT, "role: targets\ngun: from/header")), of("targets", Some("from/header")));
    assert_eq!(label(block(ROOT, "role: targets")), of("targets", Some("from/caller")));
    assert_eq!(label(block(ROOT, "gun: from/header")), of("snapshot", Some("from/header")));
    let old = format!("tuf_keys/from/path/{ROOT}");
    assert_eq!(label(block(&old, "role: targets\ngun: from/header")), of("targets", Some("from/path")));
    assert_eq!(label(block(&format!("root_keys/{ROOT}"), "role: root")), of("root", None));
    assert_eq!(label(block(ROOT, "role: alice\ngun: from/header")), of("alice", None));
}

#[test]
fn a_collections_key_without_collection_is_left_out() {
    let text = String::from_utf8(bundle("export-root.pem")).unwrap().replace("role: root", "role: targets");
    let report = import(&Scratch::new(), text.as_bytes(), &NoPassphrases);
    assert!(matches!(single(&report), SkippedBlockReason::Label(_)), "{report:?}");
}

#[test]
fn a_plain_key_under_another_id_is_left_out() {
    let text = String::from_utf8(bundle("inputs/ec-p256.traditional.key")).unwrap();
    let begin = "-----BEGIN EC PRIVATE KEY-----\n";
    assert!(text.contains(begin));
    let text = text.replace(begin, &format!("{begin}path: {ROOT}\n\n"));
    let report = import(&Scratch::new(), text.as_bytes(), &fixed("a new passphrase"));
    assert!(matches!(single(&report), SkippedBlockReason::OtherKey { .. }), "{report:?}");
}

#[test]
fn a_key_that_is_there_is_replaced_only_by_itself() {
    let scratch = Scratch::golden("notary-basic/trust");
    let path = scratch.path().join(format!("private/{ROOT}.key"));
    let before = fs::read(&path).unwrap();
    // Another key, encrypted, that claims to be the root key.
    let targets =
        scratch.trust().keys().export(&KeySelection::Ids(BTreeSet::from([TARGETS.parse().unwrap()]))).unwrap();
    let impostor = String::from_utf8(targets.pem.to_vec()).unwrap().replace(TARGETS, ROOT);
    let report = import(&scratch, impostor.as_bytes(), &NoPassphrases);
    assert_eq!(single(&report), &SkippedBlockReason::NotOpened);
    let report = import(&scratch, impostor.as_bytes(), &fixed("golden-repo-pass"));
    assert!(matches!(single(&report), SkippedBlockReason::OtherKey { .. }), "{report:?}");
    assert_eq!(fs::read(&path).unwrap(), before);

    // The same key under another passphrase.
    let other = Scratch::golden("notary-basic/trust");
    let id: KeyId = ROOT.parse().unwrap();
    other.trust().keys().change_passphrase(&id, &fixed("golden-root-pass"), &fixed("another one")).unwrap();
    let changed = other.trust().keys().export(&KeySelection::Ids(BTreeSet::from([id]))).unwrap().pem;
    assert_eq!(single(&import(&scratch, &changed, &NoPassphrases)), &SkippedBlockReason::NotOpened);
    let report = import(&scratch, &changed, &fixed("another one"));
    assert_eq!(report.imported[0].addition, Addition::Added);
    scratch.trust().keys().load(&id, &fixed("another one")).unwrap();
}

#[test]
fn a_key_that_comes_twice_in_different_forms_is_taken_once() {
    let scratch = Scratch::new();
    let mut twice = bundle("inputs/ec-p256.key");
    twice.extend(bundle("inputs/ec-p256.traditional.key"));
    let report = import(&scratch, &twice, &fixed("a new passphrase"));
    assert_eq!(report.imported.len(), 1, "{report:?}");
    assert!(matches!(report.skipped[0].reason, SkippedBlockReason::Repeated(_)), "{report:?}");
}

#[test]
fn a_damaged_key_can_be_mended_by_importing_it() {
    let scratch = Scratch::golden("notary-basic/trust");
    let path = scratch.path().join(format!("private/{ROOT}.key"));
    let good = scratch.trust().keys().export(&KeySelection::Ids(BTreeSet::from([ROOT.parse().unwrap()]))).unwrap();
    fs::write(&path, "damaged").unwrap();
    assert_eq!(single(&import(&scratch, &good.pem, &NoPassphrases)), &SkippedBlockReason::NotOpened);
    assert_eq!(import(&scratch, &good.pem, &fixed("golden-root-pass")).imported.len(), 1);
    scratch.trust().keys().load(&ROOT.parse().unwrap(), &fixed("golden-root-pass")).unwrap();
}

#[test]
fn keys_of_every_kind_survive_export_and_import() {
    let (from, to) = (Scratch::new(), Scratch::new());
    let label = KeyLabel::new("targets/ops", None).unwrap();
    for algorithm in [Algorithm::EcdsaP384, Algorithm::Ed25519, Algorithm::Rsa { bits: 3072 }] {
        let key = PrivateKey::generate(algorithm).unwrap();
        from.trust().keys().add(&key, &label, &fixed("a new passphrase")).unwrap();
    }
    let exported = from.trust().keys().export(&KeySelection::All).unwrap();
    assert_eq!(import(&to, &exported.pem, &NoPassphrases).imported.len(), 3);
    for id in exported.keys {
        to.trust().keys().load(&id, &fixed("a new passphrase")).unwrap();
        assert_eq!(to.trust().keys().find(&id).unwrap().unwrap().role, "targets/ops");
    }
}
