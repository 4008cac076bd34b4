//! Tokens that are locked, removed, full or broken: a clear word, and nothing changed.

use super::{Holder, PIN, files, made, with_token};
use crate::client::{Client, Ending, LOCAL, TRUST, USER};
use crate::stage::Shop;
use countersign_testkit::{Finished, SoftHsm};
use std::path::{Path, PathBuf};
use std::process::Command;

/// Builds the module that misbehaves.
fn module(folder: &Path) -> PathBuf {
    let (source, library) = (folder.join("module.c"), folder.join("module.so"));
    std::fs::write(&source, include_str!("module.c")).unwrap();
    let built =
        Command::new("cc").args(["-w", "-shared", "-fPIC", "-o"]).arg(&library).arg(&source).arg("-ldl").output();
    let built = built.unwrap();
    assert!(built.status.success(), "{}", String::from_utf8_lossy(&built.stderr));
    library
}

/// The same person behind the module that misbehaves.
fn behind(Holder { client, hsm }: Holder) -> Holder {
    let library = module(client.folder());
    let log = client.folder().join("fault.log");
    let client = with_token(client, &hsm, &library, "")
        .env("FAULT_MODULE", SoftHsm::module().to_str().unwrap())
        .env("FAULT_LOG", log.to_str().unwrap());
    Holder { client, hsm }
}

fn logged(client: &Client, what: &str) -> usize {
    let log = std::fs::read_to_string(client.folder().join("fault.log")).unwrap_or_default();
    log.lines().filter(|line| *line == what).count()
}

/// Everything that is kept of keys and metadata, with its bytes.
fn state(folder: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    let mut found = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).into_iter().flatten() {
            let path = entry.unwrap().path();
            match (path.is_dir(), path.ends_with("locks")) {
                (true, false) => folders.push(path),
                (true, true) => {}
                (false, _) if path.extension().is_some_and(|extension| extension == "lock") => {}
                (false, _) => found.push((path.clone(), std::fs::read(&path).unwrap())),
            }
        }
    }
    found.sort();
    found
}

#[test]
fn a_wrong_pin_is_tried_once() {
    let shop = Shop::open();
    let holder = Holder::new(shop.client());
    made(&holder.client, &["--role", "root"]);
    made(&holder.client, &["--role", "targets", "--gun", &shop.gun()]);
    let Holder { client, hsm: _hsm } = behind(holder);
    shop.signed_by(&client, "v1", "one");
    let right = logged(&client, "login");
    shop.put("v2", "two");
    let client = client.env(PIN, "000000");
    // Two keys of the token would be of use, and there is a line that would do: neither makes a second try.
    let typed = format!("{}\n", super::THE_PIN);
    let refused = Finished::of(&mut client.command(&["sign", &shop.name("v2")]), typed.as_bytes());
    let refused = refused.refused(LOCAL, "does not take the PIN in COUNTERSIGN_TOKEN_PIN");
    assert!(!refused.stderr.contains("000000"), "{refused}");
    assert_eq!(logged(&client, "login"), right + 1);
    shop.client().run(&["verify", &shop.name("v2")]).refused(TRUST, "");
    client.env(PIN, super::THE_PIN).run(&["sign", &shop.name("v2")]).succeeded();
}

#[test]
fn a_locked_token_is_not_asked_and_the_last_try_is_a_persons() {
    let Holder { client, hsm: _hsm } = behind(Holder::new(Client::new()));
    made(&client, &["--role", "root"]);
    let before = logged(&client, "login");
    let client = client.env("FAULT", "locked");
    client.run(&["key", "adopt", "hsm"]).refused(LOCAL, "is locked");
    let client = client.env("FAULT", "last-try");
    client.run(&["key", "adopt", "hsm"]).refused(LOCAL, "only a person at a terminal");
    assert_eq!(logged(&client, "login"), before, "no PIN was tried");
    let client = client.env("FAULT", "locks-now");
    client.run(&["key", "adopt", "hsm"]).refused(LOCAL, "is locked");
    assert_eq!(logged(&client, "login"), before + 1);
}

#[test]
fn signatures_that_are_not_the_keys_are_never_used() {
    let shop = Shop::open();
    let holder = Holder::new(shop.client());
    made(&holder.client, &["--role", "root"]);
    made(&holder.client, &["--role", "targets", "--gun", &shop.gun()]);
    let Holder { client, hsm: _slots } = behind(holder);
    shop.signed_by(&client, "v1", "one");
    let before = state(&client.trust_dir());
    shop.put("v2", "two");
    for fault in ["garbage", "other-key", "short", "empty"] {
        let refused = Finished::of(client.command(&["sign", &shop.name("v2")]).env("FAULT", fault), b"");
        let refused = refused.refused(LOCAL, "signature that is not by the key");
        assert!(!refused.stderr.contains("panicked"), "{fault}: {refused}");
    }
    assert_eq!(state(&client.trust_dir()), before);
    shop.client().run(&["verify", &shop.name("v2")]).refused(TRUST, "");
    client.run(&["sign", &shop.name("v2")]).succeeded();
}

#[test]
fn a_root_of_a_token_that_signs_garbage_makes_no_collection() {
    let shop = Shop::open();
    let holder = Holder::new(shop.client());
    made(&holder.client, &["--role", "root"]);
    let Holder { client, hsm: _hsm } = behind(holder);
    shop.put("v1", "one");
    for fault in ["garbage", "short", "removed"] {
        let client_now = client.command(&["sign", &shop.name("v1")]).env("FAULT", fault).output().unwrap();
        assert!(!client_now.status.success(), "{fault}: {client_now:?}");
    }
    shop.client().run(&["verify", &shop.name("v1")]).refused(TRUST, "");
    shop.signed_by(&client, "v1", "one");
}

#[test]
fn a_token_without_room_or_that_goes_away_leaves_nothing_behind() {
    let Holder { client, hsm } = behind(Holder::new(Client::new()));
    made(&client, &["--role", "root"]);
    let (token, directory) = (state(&hsm.store()), state(&client.trust_dir()));
    let file = client.folder().join("plain.pem");
    let key =
        Command::new("openssl").args(["genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256"]).output();
    std::fs::write(&file, key.unwrap().stdout).unwrap();
    std::fs::set_permissions(&file, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
    let file = file.to_str().unwrap();
    for (fault, said) in [
        ("full", "is full"),
        ("protected", "write-protected"),
        ("removed-half-way", "was removed"),
        ("garbage", "not by the key"),
        ("garbage-key", "makes no sense"),
        ("removed", "was removed"),
    ] {
        let now = |arguments: &[&str]| Finished::of(client.command(arguments).env("FAULT", fault), b"");
        let refused = now(&["key", "generate", "--token", "hsm", "--role", "root"]);
        assert!(refused.code != 0 && refused.stderr.contains(said), "{fault}: {refused}");
        if matches!(fault, "full" | "garbage" | "removed") {
            let refused = now(&["key", "load", file, "--token", "hsm", "--role", "root"]);
            assert!(refused.code != 0 && refused.stderr.contains(said), "{fault}: {refused}");
        }
        assert_eq!(state(&client.trust_dir()), directory, "{fault}");
        let names = |state: &[(PathBuf, Vec<u8>)]| state.iter().map(|(path, _)| path.clone()).collect::<Vec<_>>();
        assert_eq!(names(&state(&hsm.store())), names(&token), "{fault}: no object is left");
    }
    assert_eq!(files(&client), Vec::<PathBuf>::new());
}

#[test]
fn a_token_in_the_drawer_is_named_and_everything_else_goes_on() {
    let shop = Shop::open();
    let Holder { client, hsm } = Holder::new(shop.client());
    made(&client, &["--role", "targets", "--gun", &shop.gun()]);
    shop.signed_by(&client, "v1", "one");
    hsm.take_out();
    hsm.set_up("another token", "314159");
    let listed = client.run(&["key", "list"]).succeeded();
    assert!(listed.stdout.contains("token \"release keys\""), "{listed}");
    client.run(&["verify", &shop.name("v1")]).succeeded();
    shop.put("v2", "two");
    let refused = client.run(&["sign", &shop.name("v2")]).refused(LOCAL, "is not there");
    assert!(refused.stderr.contains("release keys") && refused.stderr.contains("another token"), "{refused}");
    std::fs::remove_dir_all(hsm.store()).unwrap();
    std::fs::create_dir(hsm.store()).unwrap();
    hsm.put_in();
    client.run(&["sign", &shop.name("v2")]).succeeded();
    // Without the settings it is known which token is wanted.
    shop.put("v3", "three");
    let client = client.without("COUNTERSIGN_CONFIG");
    client.run(&["sign", &shop.name("v3")]).refused(LOCAL, "no token in the settings can be that one");
}

#[test]
fn modules_that_are_missing_or_others_could_change_are_not_loaded() {
    let Holder { client, hsm } = Holder::new(Client::new());
    let library = module(client.folder());
    for (path, said) in [
        (client.folder().join("nowhere.so"), "No such file"),
        (client.folder().join("module.c"), "cannot be used"),
        (client.folder().to_owned(), "no file"),
    ] {
        let uri = format!("pkcs11:token=release%20keys?module-path={}", path.display());
        client.run(&["key", "adopt", &uri]).refused(LOCAL, said);
    }
    std::fs::set_permissions(&library, std::os::unix::fs::PermissionsExt::from_mode(0o777)).unwrap();
    let uri = format!("pkcs11:token=release%20keys?module-path={}", library.display());
    let client = client.env("FAULT_MODULE", SoftHsm::module().to_str().unwrap());
    client.run(&["key", "adopt", &uri]).refused(LOCAL, "others could change it");
    std::fs::set_permissions(&library, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    client.run(&["key", "adopt", &uri]).succeeded();
    // Two tokens of one name have to be told apart.
    hsm.set_up("release keys", super::THE_PIN);
    client.run(&["key", "adopt", "hsm"]).refused(USER, "2 tokens answer");
    client.run(&["key", "adopt", "other"]).refused(USER, "there is no token \"other\"");
}
