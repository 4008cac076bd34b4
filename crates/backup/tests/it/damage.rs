//! Archives with flipped bits, cut short, continued and joined: refused, every one of them.

use std::fs;

use countersign_backup::{ArchiveError, Container, Contents, OpenError};
use countersign_testkit::Gpg;

use crate::tarball::{Tarball, gz};
use crate::{ARCHIVE, Scratch, passphrase};

/// What a refusal looks like, at whichever stage.
fn refused(message: &[u8]) -> Option<String> {
    let archive = match Container::read(message) {
        Ok(Container::Locked(locked)) => match locked.open(&passphrase(ARCHIVE)) {
            Ok(archive) => archive,
            Err(error) => return Some(error.to_string()),
        },
        Ok(Container::Plain(archive)) => archive,
        Ok(Container::NeedsGpg(reason)) => return Some(reason.to_owned()),
        Err(error) => return Some(error.to_string()),
    };
    Contents::read(&archive).err().map(|error| error.to_string())
}

fn archive() -> Vec<u8> {
    let scratch = Scratch::with_keys();
    scratch.back_up("a").unwrap();
    fs::read(scratch.path().join("a")).unwrap()
}

/// The same keys by hand, with a passphrase that is tried in no time: for thousands of tries.
fn quick() -> Vec<u8> {
    let scratch = Scratch::with_keys();
    let mut tarball = Tarball::default();
    for key in scratch.keys() {
        tarball = tarball.file(&key.file_name(), key.pem());
    }
    Gpg::new().symmetric(ARCHIVE, &["--s2k-count", "1024"], &tarball.gz())
}

#[test]
fn a_flipped_bit_anywhere_is_refused() {
    let flipped = |good: &[u8], at: usize, bit: usize| {
        let mut bad = good.to_vec();
        bad[at] ^= 1 << bit;
        assert!(refused(&bad).is_some(), "bit {bit} of byte {at} of {}", good.len());
    };
    let ours = archive();
    assert_eq!(refused(&ours), None);
    // Each try takes all the rounds of the passphrase: the frame, the ends, and samples in between.
    for (at, bit) in [0, 1, 3, 5, 9, 14, 20, 60, ours.len() / 2, ours.len() - 1].into_iter().zip((0..8).cycle()) {
        flipped(&ours, at, bit);
    }
    let by_hand = quick();
    assert_eq!(refused(&by_hand), None);
    // Byte 14 is the number of rounds: more of them take their time, and give another key.
    for (at, bit) in (0..40).chain((40..by_hand.len()).step_by(61)).filter(|at| *at != 14).zip((0..8).cycle()) {
        flipped(&by_hand, at, bit);
    }
    flipped(&by_hand, 14, 0);
    for at in [24, 2, 1] {
        flipped(&by_hand, by_hand.len() - at, 7);
    }
}

#[test]
fn damage_behind_the_beginning_is_not_taken_for_a_wrong_passphrase() {
    let good = archive();
    for at in [good.len() / 2, good.len() - 1, good.len() - 30] {
        let mut bad = good.clone();
        bad[at] ^= 0x10;
        let Container::Locked(locked) = Container::read(&bad).unwrap() else { panic!("not locked") };
        assert!(matches!(locked.open(&passphrase(ARCHIVE)), Err(OpenError::Damaged(_))), "{at}");
    }
}

#[test]
fn a_cut_anywhere_and_anything_behind_the_end_is_refused() {
    let good = quick();
    assert_eq!(refused(&good), None);
    for length in 0..good.len() {
        assert!(refused(&good[..length]).is_some(), "{length} of {}", good.len());
    }
    for more in [&[0][..], b"\n", &good, &good[..good.len() / 2], &[0xcb, 0]] {
        let longer = [&good, more].concat();
        assert!(refused(&longer).is_some(), "{} more bytes", more.len());
    }
}

#[test]
fn an_archive_that_is_not_encrypted_is_refused_when_it_is_cut_at_any_block_or_joined() {
    let scratch = Scratch::with_keys();
    let mut tarball = Tarball::default();
    for key in scratch.keys() {
        tarball = tarball.file(&format!("private/{}", key.file_name()), key.pem());
    }
    let tar = tarball.tar();
    assert_eq!(refused(&gz(&tar)), None);
    assert_eq!(refused(&tar), None);
    for end in (0..tar.len()).step_by(512) {
        assert!(refused(&gz(&tar[..end])).is_some(), "cut at {end}, then compressed");
        assert!(refused(&tar[..end]).is_some(), "cut at {end}");
    }
    let compressed = gz(&tar);
    for end in (0..compressed.len()).step_by(61).chain(compressed.len() - 9..compressed.len()) {
        assert!(refused(&compressed[..end]).is_some(), "compressed, then cut at {end}");
    }
    assert!(refused(&[compressed.as_slice(), &compressed].concat()).unwrap().contains("follows"));
    assert!(refused(&gz(&[tar.as_slice(), &tar].concat())).unwrap().contains("follows"));
    assert!(refused(&[compressed.as_slice(), b"\0"].concat()).is_some());
    assert_eq!(refused(&gz(&[tar.as_slice(), &[0; 8192]].concat())), None, "tar fills its last record with zeros");
    for at in (0..compressed.len()).step_by(29) {
        let mut bad = compressed.clone();
        bad[at] ^= 4;
        // The time and the system in gzip's own header mean nothing.
        if !(4..10).contains(&at) {
            assert!(refused(&bad).is_some(), "byte {at}");
        }
    }
}

#[test]
fn armor_with_a_wrong_letter_is_refused() {
    let (scratch, gpg) = (Scratch::with_keys(), Gpg::new());
    let mut tarball = Tarball::default();
    for key in scratch.keys() {
        tarball = tarball.file(&key.file_name(), key.pem());
    }
    let armored = gpg.symmetric(ARCHIVE, &["--armor"], &tarball.gz());
    assert_eq!(refused(&armored), None);
    let body = armored.windows(2).position(|two| two == b"\n\n").unwrap() + 2;
    for at in (body..armored.len() - 40).step_by(armored.len() / 40) {
        let mut bad = armored.clone();
        bad[at] = if bad[at] == b'A' { b'B' } else { b'A' };
        assert!(refused(&bad).is_some(), "letter {at}");
    }
    for length in (0..armored.len() - 45).step_by(97) {
        assert!(refused(&armored[..length]).is_some(), "{length}");
    }
}

#[test]
fn archives_of_something_else_are_named_as_that() {
    for other in [&b""[..], b"hello", b"PK\x03\x04zip", b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR", b"\x7fELF", &[0; 2048]] {
        assert_eq!(Container::read(other).unwrap_err(), OpenError::NotAnArchive, "{other:?}");
    }
    let text = gz(b"a text and no tar");
    assert!(matches!(Contents::read(&text), Err(ArchiveError::NotTar)));
    let gpg = Gpg::new();
    let message = gpg.symmetric(ARCHIVE, &[], b"a text");
    let Container::Locked(locked) = Container::read(&message).unwrap() else { panic!("not locked") };
    assert!(matches!(Contents::read(&locked.open(&passphrase(ARCHIVE)).unwrap()), Err(ArchiveError::NotTar)));
    assert_eq!(Contents::read(&Tarball::default().file("etc/passwd", b"root").gz()).unwrap_err(), ArchiveError::NoKeys);
    assert_eq!(Contents::read(&Tarball::default().gz()).unwrap_err(), ArchiveError::NoKeys);
}
