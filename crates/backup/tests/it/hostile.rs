//! Archives that somebody made to do harm.

use std::io::Write;

use countersign_backup::limits::{MAX_ENTRIES, MAX_FILE_BYTES, MAX_KEYS};
use countersign_backup::{ArchiveError, Container, Contents, ManifestError, OpenError};
use countersign_crypto::{Algorithm, PrivateKey, SystemRandom};
use countersign_keyfile::{KeyBlock, Protection};
use countersign_testkit::Gpg;
use flate2::Compression;
use flate2::write::GzEncoder;
use tar::{EntryType, Header};

use crate::tarball::{Tarball, gz};
use crate::{ARCHIVE, Scratch, passphrase};

fn name(letter: char) -> String {
    format!("{}.key", letter.to_string().repeat(64))
}

/// A good key first, so that nothing is refused for having none.
fn with_key() -> (Tarball, Scratch) {
    let scratch = Scratch::with_keys();
    let key = &scratch.keys()[0];
    (Tarball::default().file(&format!("private/{}", key.file_name()), key.pem()), scratch)
}

#[test]
fn paths_that_lead_out_are_refused_whatever_they_hold() {
    for path in [
        "../x",
        "private/../../x.key",
        "..",
        "/../etc/passwd",
        "a/..",
        "private\\..\\x",
        "C:\\x",
        "c:/x.key",
        "x\ny",
        "x\u{1b}[2J",
    ] {
        for kind in [EntryType::Regular, EntryType::Directory] {
            let archive = with_key().0.entry(path, kind, "", b"").gz();
            let error = Contents::read(&archive).unwrap_err();
            assert!(matches!(error, ArchiveError::UnsafePath { .. }), "{path:?}: {error}");
        }
    }
    assert!(Contents::read(&with_key().0.file("private/..hidden", b"").gz()).is_ok(), "only the name begins so");
}

#[test]
fn a_slash_in_front_is_dropped_as_tar_does_because_nothing_is_written_there() {
    let contents = Contents::read(&with_key().0.file("/etc/passwd", b"root").gz()).unwrap();
    assert_eq!(contents.left_out[0].path, "etc/passwd");
}

#[test]
fn links_devices_pipes_and_sparse_files_are_refused() {
    for (kind, said) in [
        (EntryType::Symlink, "symbolic link"),
        (EntryType::Link, "hard link"),
        (EntryType::Char, "device"),
        (EntryType::Block, "device"),
        (EntryType::Fifo, "named pipe"),
        (EntryType::new(b'V'), "unknown kind"),
        (EntryType::new(b'Z'), "unknown kind"),
    ] {
        for path in ["private/x", &format!("private/{}", name('a'))] {
            let archive = with_key().0.entry(path, kind, "/etc", b"").gz();
            let error = Contents::read(&archive).unwrap_err();
            assert!(matches!(error, ArchiveError::Kind { .. }) && error.to_string().contains(said), "{error}");
        }
    }
    // The classic pair: a link, then a file through it.
    let pair = with_key().0.entry("a", EntryType::Symlink, "/tmp", b"").file("a/x.key", b"").gz();
    assert!(matches!(Contents::read(&pair), Err(ArchiveError::Kind { .. })));
}

#[test]
fn a_sparse_file_of_a_petabyte_takes_no_room() {
    let mut header = Header::new_gnu();
    header.set_entry_type(EntryType::GNUSparse);
    header.set_path("private/huge").unwrap();
    header.set_size(0);
    let gnu = header.as_gnu_mut().unwrap();
    gnu.set_real_size(1 << 50);
    gnu.sparse[0].set_offset(1 << 50);
    gnu.sparse[0].set_length(0);
    header.set_cksum();
    let error = Contents::read(&with_key().0.raw(header.as_bytes()).gz()).unwrap_err();
    assert!(matches!(error, ArchiveError::Kind { kind: "a sparse file", .. }), "{error}");
}

#[test]
fn one_path_twice_and_paths_that_differ_in_capitals_are_refused() {
    let (tarball, scratch) = with_key();
    let key = &scratch.keys()[0];
    let path = format!("private/{}", key.file_name());
    let archive = tarball.file(&path, key.pem()).gz();
    assert!(matches!(Contents::read(&archive), Err(ArchiveError::Repeated { .. })));
    let archive = with_key().0.file("private/x.key", b"").file("private/X.key", b"").gz();
    assert!(matches!(Contents::read(&archive), Err(ArchiveError::Repeated { .. })));
    let archive = with_key().0.file("./a", b"").file("a", b"").gz();
    assert!(matches!(Contents::read(&archive), Err(ArchiveError::Repeated { .. })));
}

#[test]
fn one_key_in_two_places_is_fine_when_it_is_the_same_file_and_refused_otherwise() {
    let scratch = Scratch::with_keys();
    let keys = scratch.keys();
    let name = keys[0].file_name();
    let twice = |other: &[u8]| {
        Tarball::default()
            .file(&format!("private/{name}"), keys[0].pem())
            .file(&format!("old/private/{name}"), other)
            .gz()
    };
    assert_eq!(Contents::read(&twice(keys[0].pem())).unwrap().keys.len(), 1);
    let error = Contents::read(&twice(keys[1].pem())).unwrap_err();
    assert_eq!(error, ArchiveError::TwoForms { id: keys[0].id() });
}

#[test]
fn a_name_of_gigabytes_and_sizes_beyond_the_archive_are_refused() {
    for (kind, size) in [
        (EntryType::GNULongName, 4_u64 << 30),
        (EntryType::GNULongLink, 4 << 30),
        (EntryType::XHeader, 4 << 30),
        (EntryType::Regular, 4 << 30),
        (EntryType::Regular, u64::MAX >> 1),
        (EntryType::Regular, u64::MAX),
    ] {
        let mut header = Header::new_gnu();
        header.set_entry_type(kind);
        header.set_path("private/x.key").unwrap();
        header.set_size(size);
        header.set_cksum();
        let archive = with_key().0.raw(header.as_bytes()).gz();
        assert!(Contents::read(&archive).is_err(), "{kind:?} of {size} bytes");
    }
    let long = "a/".repeat(3000);
    let mut header = Header::new_gnu();
    header.set_entry_type(EntryType::GNULongName);
    header.set_size(long.len() as u64);
    header.set_cksum();
    let archive = with_key().0.raw(header.as_bytes()).raw(long.as_bytes()).raw(&[0; 144]).file("x", b"").gz();
    assert!(matches!(Contents::read(&archive), Err(ArchiveError::UnsafePath { .. })));
}

#[test]
fn bombs_are_refused_before_they_fill_the_memory() {
    // Zeros shrink to a thousandth.
    let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
    for _ in 0..64 {
        encoder.write_all(&vec![0; 1 << 20]).unwrap();
    }
    let bomb = encoder.finish().unwrap();
    assert!(matches!(Contents::read(&bomb), Err(ArchiveError::Expansion { .. })));
    let gpg = Gpg::new();
    // The bomb inside the encryption, and one made of OpenPGP's own compression, one in the other.
    let Container::Locked(locked) = Container::read(&gpg.symmetric(ARCHIVE, &["-z", "0"], &bomb)).unwrap() else {
        panic!("not locked")
    };
    let archive = locked.open(&passphrase(ARCHIVE)).unwrap();
    assert!(matches!(Contents::read(&archive), Err(ArchiveError::Expansion { .. })));
    let zeros = vec![0; 64 << 20];
    let message = gpg.symmetric(ARCHIVE, &["--compress-algo", "zlib", "-z", "9"], &zeros);
    let Container::Locked(locked) = Container::read(&message).unwrap() else { panic!("not locked") };
    assert!(matches!(locked.open(&passphrase(ARCHIVE)), Err(OpenError::TooLarge { .. })));
    let large = vec![0x1f; MAX_FILE_BYTES + 1];
    assert!(matches!(Container::read(&large), Err(OpenError::TooLarge { .. })));
}

#[test]
fn more_entries_and_more_keys_than_any_backup_has_are_refused() {
    let mut tarball = Tarball::default();
    for _ in 0..=MAX_ENTRIES {
        tarball = tarball.entry("d/", EntryType::Directory, "", b"");
    }
    let error = Contents::read(&tarball.tar()).unwrap_err();
    assert_eq!(error, ArchiveError::TooLarge { what: "its entries", limit: MAX_ENTRIES });
    let mut tarball = Tarball::default();
    for number in 0..=MAX_KEYS {
        tarball = tarball.file(&format!("{number:064x}.key"), b"");
    }
    let error = Contents::read(&tarball.tar()).unwrap_err();
    assert_eq!(error, ArchiveError::TooLarge { what: "its keys", limit: MAX_KEYS });
}

#[test]
fn foreign_files_are_left_out_by_name_and_broken_keys_are_named() {
    let archive = with_key()
        .0
        .file("etc/passwd", b"root")
        .file("private/readme", b"hi")
        .file(".ssh/id.key", b"-----BEGIN")
        .file(&format!("private/{}", name('A')), b"")
        .file(&format!("private/{}", name('b')), b"garbage")
        .file(&format!("private/{}", name('c')), b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n")
        .file(&format!("private/{}", name('d')), b"")
        .gz();
    let contents = Contents::read(&archive).unwrap();
    assert_eq!(contents.keys.len(), 1);
    let left: Vec<&str> = contents.left_out.iter().map(|left| left.path.as_str()).collect();
    assert_eq!(left, ["etc/passwd", "private/readme", ".ssh/id.key", &format!("private/{}", name('A'))]);
    let broken: Vec<char> = contents.broken.iter().map(|key| key.path.chars().nth(8).unwrap()).collect();
    assert_eq!(broken, ['b', 'c', 'd']);
}

#[test]
fn a_key_that_is_not_encrypted_must_be_the_one_of_its_name() {
    let key = PrivateKey::generate(Algorithm::EcdsaP256).unwrap();
    let id = key.public_key().canonical_id();
    let mut block = KeyBlock::seal(&key, Protection::None, &mut SystemRandom).unwrap();
    block.set_role(Some("alice")).unwrap();
    let pem = block.to_pem();
    let good = Tarball::default().file(&format!("{id}.key"), pem.as_bytes()).gz();
    assert_eq!(Contents::read(&good).unwrap().keys[0].id(), id);
    let bad = Tarball::default().file(&name('e'), pem.as_bytes()).gz();
    assert!(matches!(Contents::read(&bad), Err(ArchiveError::OtherKey { actual, .. }) if actual == id));
}

#[test]
fn a_manifest_of_a_newer_version_is_refused_with_what_to_do() {
    let with =
        |manifest: &str| Contents::read(&with_key().0.file("trust/countersign-backup.json", manifest.as_bytes()).gz());
    let newer = with(r#"{"format": "countersign-backup", "version": 2, "surprise": {}}"#).unwrap_err();
    assert_eq!(newer, ArchiveError::Manifest(ManifestError::Version { found: 2 }));
    assert!(newer.to_string().contains("update"), "{newer}");
    for broken in ["", "{", "[]", r#"{"format": "other", "version": 1}"#, r#"{"format": "countersign-backup"}"#] {
        assert!(matches!(with(broken), Err(ArchiveError::Manifest(ManifestError::Malformed(_)))), "{broken}");
    }
    let stale = r#"{"format": "countersign-backup", "version": 1, "created": "2026-01-02T03:04:05Z", "keys": [
        {"id": "ID", "role": "root", "gun": null, "file": "x", "modified": null, "encrypted": true}]}"#;
    let missing = "e".repeat(64);
    let contents = with(&stale.replace("ID", &missing)).unwrap();
    assert_eq!(contents.manifest.unwrap().missing_from(&contents.keys), [missing.parse().unwrap()]);
}

#[test]
fn an_end_that_is_none_is_refused() {
    let (tarball, _scratch) = with_key();
    let unfinished = tarball.unfinished();
    for end in [&[][..], &[0; 512]] {
        assert!(matches!(Contents::read(&gz(&[&unfinished, end].concat())), Err(ArchiveError::Damaged(_))));
    }
    let hidden = [&unfinished[..], &[0; 1024], b"hidden", &[0; 506]].concat();
    assert!(matches!(Contents::read(&gz(&hidden)), Err(ArchiveError::Damaged(_))));
}
