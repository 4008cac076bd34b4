//! Archives made by hand, with the real tar and gpg.

use std::fs;
use std::path::Path;
use std::process::Command;

use countersign_backup::{Container, Contents, OpenError};
use countersign_testkit::{Gpg, fixtures};

use crate::{ARCHIVE, Scratch, passphrase};

/// `tar czf` in a folder.
fn tar(folder: &Path, arguments: &[&str]) -> Vec<u8> {
    let archive = tempfile::NamedTempFile::new().unwrap();
    let mut command = Command::new("tar");
    command.current_dir(folder).arg("czf").arg(archive.path()).args(arguments);
    assert!(command.output().unwrap().status.success());
    fs::read(archive.path()).unwrap()
}

/// A home whose `.docker/trust` is the scratch's trust directory.
fn home(scratch: &Scratch) -> std::path::PathBuf {
    let home = scratch.path().join("root");
    fs::create_dir_all(home.join(".docker")).unwrap();
    fs::rename(scratch.path().join("trust"), home.join(".docker/trust")).unwrap();
    home
}

fn open(message: &[u8]) -> Contents {
    match Container::read(message).unwrap() {
        Container::Locked(locked) => Contents::read(&locked.open(&passphrase(ARCHIVE)).unwrap()).unwrap(),
        Container::Plain(archive) => Contents::read(&archive).unwrap(),
        Container::NeedsGpg(reason) => panic!("{reason}"),
    }
}

#[test]
fn every_prefix_and_every_manner_of_gpg_is_read() {
    let (scratch, gpg) = (Scratch::with_keys(), Gpg::new());
    let keys = scratch.keys();
    let home = home(&scratch);
    let private = home.join(".docker/trust/private/");
    let text = private.to_str().unwrap();
    let check = |message: &[u8], what: &str| {
        let contents = open(message);
        assert_eq!((contents.keys.len(), contents.broken.len()), (keys.len(), 0), "{what}");
        for key in &keys {
            assert_eq!(contents.key(key.id()).unwrap().pem(), key.pem(), "{what}");
        }
        assert_eq!(contents.left_out, [], "{what}");
        assert!(contents.manifest.is_none());
    };
    let archives = [
        // tar says that it removes the leading slash.
        ("tar czf … ~/.docker/trust/private/", tar(scratch.path(), &[text])),
        ("absolute", tar(scratch.path(), &["-P", text])),
        ("from the home", tar(&home, &[".docker/trust/private"])),
        ("from the root", tar(scratch.path(), &["root/.docker/trust/private"])),
        ("from the trust directory", tar(&home.join(".docker/trust"), &["private"])),
        ("from inside", tar(&private, &["."])),
        ("posix", tar(&home, &["--format=posix", ".docker"])),
        ("ustar", tar(&home, &["--format=ustar", ".docker/trust"])),
        ("v7", tar(&home, &["--format=v7", ".docker/trust/private"])),
    ];
    for (what, archive) in &archives {
        if *what == "posix" || *what == "ustar" {
            // The locks of this program are in it too.
            assert_eq!(open(archive).keys.len(), keys.len(), "{what}");
        } else {
            check(archive, what);
        }
    }
    check(&gpg.symmetric(ARCHIVE, &[], &archives[0].1), "as the guides say");
    let archive = &archives[0].1;
    let plain_tar = {
        let mut tar = Vec::new();
        std::io::Read::read_to_end(&mut flate2::read::GzDecoder::new(archive.as_slice()), &mut tar).unwrap();
        tar
    };
    // Few rounds: how long a passphrase takes to try is not what is tested here.
    for options in [
        &["--armor"][..],
        &["--compress-algo", "zlib", "--compress-level", "9"],
        &["--compress-algo", "zip"],
        &["--compress-algo", "bzip2"],
        &["--compress-algo", "none"],
        &["--s2k-mode", "1"],
        &["--s2k-digest-algo", "SHA512", "--s2k-count", "65011712"],
        &["--cipher-algo", "3DES"],
        &["--cipher-algo", "AES"],
        &["--cipher-algo", "TWOFISH"],
        &["--cipher-algo", "CAMELLIA256"],
        &["--set-filename", "docker-trust-backup.tar.gz"],
    ] {
        let options = [&["--s2k-count", "65536"], options].concat();
        check(&gpg.symmetric(ARCHIVE, &options, archive), &format!("{options:?}"));
        check(&gpg.symmetric(ARCHIVE, &options, &plain_tar), &format!("{options:?}, not compressed by tar"));
    }
    check(&plain_tar, "plain tar");
}

#[test]
fn directories_of_old_clients_are_understood_as_migration_understands_them() {
    for (set, passphrase) in [("compat-notary0.1", "randompass"), ("compat-notary0.3", "password")] {
        let scratch = Scratch::new();
        fixtures::copy_to(set, &scratch.path().join("trust"));
        let keys = scratch.keys();
        assert!(keys.len() >= 3);
        let contents = open(&tar(scratch.path(), &["trust"]));
        assert_eq!(contents.keys.len(), keys.len());
        for key in &keys {
            let back = contents.key(key.id()).unwrap();
            assert_eq!((back.pem(), back.role(), back.gun()), (key.pem(), key.role(), key.gun()));
            back.open(&crate::Fixed(passphrase)).unwrap();
        }
        let left: Vec<&str> = contents.left_out.iter().map(|left| left.path.as_str()).collect();
        assert!(left.iter().any(|path| path.ends_with("metadata/root.json")), "metadata is no key: {left:?}");
    }
}

#[test]
fn an_archive_for_somebodys_public_key_is_left_to_gpg() {
    let (scratch, gpg) = (Scratch::with_keys(), Gpg::new());
    gpg.make_key("ops@example.test");
    let archive = tar(scratch.path(), &["trust/private"]);
    let message = gpg.encrypt_to("ops@example.test", &archive);
    let Container::NeedsGpg(reason) = Container::read(&message).unwrap() else { panic!("it is for a public key") };
    assert!(reason.contains("public key"), "{reason}");
    // To a passphrase as well: then no gpg is needed.
    let both = gpg.run(
        ARCHIVE,
        &["--trust-model", "always", "--recipient", "ops@example.test", "--encrypt", "--symmetric"],
        &archive,
    );
    assert!(both.status.success(), "{}", String::from_utf8_lossy(&both.stderr));
    assert_eq!(open(&both.stdout).keys.len(), 4);
    // Signed as well: the signature is not what an archive is trusted by.
    let signed = gpg.run(ARCHIVE, &["--sign", "--symmetric"], &archive);
    assert!(signed.status.success(), "{}", String::from_utf8_lossy(&signed.stderr));
    assert_eq!(open(&signed.stdout).keys.len(), 4);
}

#[test]
fn a_wrong_passphrase_is_told_apart_and_no_protection_is_refused() {
    let (scratch, gpg) = (Scratch::with_keys(), Gpg::new());
    let archive = tar(scratch.path(), &["trust/private"]);
    let message = gpg.symmetric(ARCHIVE, &[], &archive);
    let Container::Locked(locked) = Container::read(&message).unwrap() else { panic!("not locked") };
    for wrong in ["wrong", "archive passphras", "archive passphrase ", " "] {
        assert_eq!(locked.open(&passphrase(wrong)).unwrap_err(), OpenError::WrongPassphrase, "{wrong:?}");
    }
    let unprotected = gpg.symmetric(ARCHIVE, &["--rfc2440", "--disable-mdc"], &archive);
    if unprotected.get(..1).is_some() {
        match Container::read(&unprotected) {
            Err(OpenError::Damaged(reason)) => assert!(reason.contains("changed"), "{reason}"),
            // This gpg protects its messages whatever it is told.
            Ok(Container::Locked(_)) => {}
            other => panic!("{other:?}"),
        }
    }
}
