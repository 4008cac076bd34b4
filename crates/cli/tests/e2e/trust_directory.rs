//! The trust directory in trouble, and names that try to leave it.

use crate::client::{Client, Ending, LOCAL, TRUST, USER};
use crate::stage::Shop;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

/// All files below a folder with their bytes.
fn files_below(folder: &Path) -> Vec<(std::path::PathBuf, Vec<u8>)> {
    let mut found = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).into_iter().flatten().map(|entry| entry.unwrap().path()) {
            if entry.is_dir() {
                folders.push(entry);
            } else {
                found.push((entry.clone(), std::fs::read(&entry).unwrap()));
            }
        }
    }
    found.sort();
    found
}

#[test]
fn what_was_verified_is_right_although_it_cannot_be_kept() {
    let shop = Shop::open();
    let (owner, reader) = (shop.client(), shop.client());
    shop.signed_by(&owner, "v1", "one");
    reader.run(&["verify", &shop.name("v1")]).succeeded();
    let digest = shop.signed_by(&owner, "v2", "two");
    let trust = reader.trust_dir();
    let before = files_below(&trust);
    let read_only = format!("mount --bind {0} {0} && mount -o remount,bind,ro {0}", trust.display());
    let verified = reader.run_after(&read_only, &["verify", &shop.name("v2")]).succeeded();
    assert_eq!(verified.stdout, format!("{}@{digest}\n", shop.gun()), "{verified}");
    assert!(verified.stderr.contains("cannot be kept"), "{verified}");
    assert!(files_below(&trust) == before, "nothing was written");

    // A full disk: the old cache stays whole.
    let full = format!(
        "cp -a {0} {0}.copy && mount -t tmpfs -o size=64k tmpfs {0} && cp -a {0}.copy/. {0}/ \
         && (cat /dev/zero > {0}/fill 2>/dev/null || true)",
        trust.display()
    );
    let verified = reader.run_after(&full, &["verify", &shop.name("v2")]).succeeded();
    assert!(verified.stdout.contains(&digest), "{verified}");
    assert!(verified.stderr.contains("cannot be kept"), "{verified}");

    // Without a key nothing can be signed, and a key that cannot be stored is no key.
    let newcomer = shop.client();
    std::fs::create_dir(newcomer.trust_dir()).unwrap();
    let read_only = read_only.replace(trust.to_str().unwrap(), newcomer.trust_dir().to_str().unwrap());
    shop.registry.put_image("acme/new", "v1", &countersign_testkit::Image::with_message("new")).unwrap();
    let new = format!("{}/acme/new:v1", shop.registry.host());
    newcomer.run_after(&read_only, &["sign", &new]).refused(LOCAL, "Read-only file system");
    newcomer.run(&["verify", &new]).refused(TRUST, "does not have trust data");
}

#[test]
fn a_damaged_cache_is_repaired_and_a_damaged_root_is_never_replaced() {
    let shop = Shop::open();
    let owner = shop.client();
    let digest = shop.signed_by(&owner, "v1", "one");
    let metadata = owner.metadata(&shop.gun());
    let expected = format!("{}@{digest}\n", shop.gun());
    for role in ["timestamp", "snapshot", "targets"] {
        let whole = std::fs::read(metadata.join(format!("{role}.json"))).unwrap();
        for damaged in [&b""[..], b"null", b"{", b"\0\0\0\0", &whole[..whole.len() / 2]] {
            std::fs::write(metadata.join(format!("{role}.json")), damaged).unwrap();
            let verified = owner.run(&["verify", &shop.name("v1")]).succeeded();
            assert_eq!(verified.stdout, expected, "{role}: {verified}");
        }
        std::fs::remove_file(metadata.join(format!("{role}.json"))).unwrap();
        std::fs::create_dir(metadata.join(format!("{role}.json"))).unwrap();
        let odd = owner.run(&["verify", &shop.name("v1")]);
        assert!(odd.code == LOCAL || odd.stdout == expected, "{role}: {odd}");
        std::fs::remove_dir(metadata.join(format!("{role}.json"))).unwrap();
        owner.run(&["verify", &shop.name("v1")]).succeeded();
    }
    let root = metadata.join("root.json");
    let whole = std::fs::read(&root).unwrap();
    for damaged in [&b""[..], b"null", b"{}", &whole[..whole.len() / 2]] {
        std::fs::write(&root, damaged).unwrap();
        for command in ["verify", "sign", "inspect"] {
            let refused = owner.run(&[command, &shop.name("v1")]).refused(LOCAL, "the cached root cannot be used");
            assert!(refused.stderr.contains("backup"), "{refused}");
        }
        assert_eq!(std::fs::read(&root).unwrap(), damaged, "left for whoever looks into it");
    }
    for kind in ["dir", "link", "pipe"] {
        std::fs::remove_file(&root).unwrap();
        match kind {
            "dir" => std::fs::create_dir(&root).unwrap(),
            "link" => std::os::unix::fs::symlink("root.json", &root).unwrap(),
            _ => assert!(std::process::Command::new("mkfifo").arg(&root).status().unwrap().success()),
        }
        let refused = owner.run(&["verify", &shop.name("v1")]);
        assert_eq!((refused.code, refused.stdout.as_str()), (LOCAL, ""), "{kind}: {refused}");
        if kind == "dir" {
            std::fs::remove_dir(&root).unwrap();
            std::fs::write(&root, b"").unwrap();
        }
    }
}

#[test]
fn a_lost_root_is_trusted_anew_only_with_consent() {
    let shop = Shop::open();
    let owner = shop.client();
    let digest = shop.signed_by(&owner, "v1", "one");
    std::fs::remove_file(owner.metadata(&shop.gun()).join("root.json")).unwrap();
    for command in ["verify", "sign", "revoke", "inspect"] {
        let refused = owner.run(&[command, &shop.name("v1")]).refused(TRUST, "is missing from the trust directory");
        assert!(refused.stderr.contains("--re-establish-trust"), "{refused}");
    }
    let verified = owner.run(&["verify", "--re-establish-trust", &shop.name("v1")]).succeeded();
    assert!(verified.stdout.contains(&digest) && verified.stderr.contains("first use of"), "{verified}");
    owner.run(&["verify", &shop.name("v1")]).succeeded();
}

#[test]
fn trust_directories_are_for_their_owner_whatever_the_umask() {
    let shop = Shop::open();
    let owner = shop.client();
    shop.put("v1", "one");
    owner.run_after("umask 0", &["sign", &shop.name("v1")]).succeeded();
    let mut folders = vec![owner.trust_dir()];
    while let Some(folder) = folders.pop() {
        for path in std::fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path()) {
            let mode = path.metadata().unwrap().permissions().mode() & 0o777;
            assert_eq!(mode, if path.is_dir() { 0o700 } else { 0o600 }, "{}", path.display());
            if path.is_dir() {
                folders.push(path);
            }
        }
    }
}

#[test]
fn what_others_can_read_or_change_is_pointed_out() {
    let shop = Shop::open();
    let owner = shop.client();
    shop.signed_by(&owner, "v1", "one");
    let quiet = owner.run(&["verify", &shop.name("v1")]).succeeded();
    assert!(!quiet.stderr.contains("WARNING"), "{quiet}");
    let key = files_below(&owner.trust_dir().join("private")).remove(0).0;
    std::fs::set_permissions(&key, std::fs::Permissions::from_mode(0o644)).unwrap();
    std::fs::set_permissions(owner.trust_dir(), std::fs::Permissions::from_mode(0o777)).unwrap();
    for command in [&["verify", &shop.name("v1")][..], &["sign", &shop.name("v1")], &["key", "list"]] {
        let told = owner.run(command).succeeded();
        for (path, mode) in [(&key, "mode 644): chmod 600"), (&owner.trust_dir(), "mode 777): chmod 700")] {
            let wanted = format!("WARNING: {0} is open to others ({mode} {0}", path.display());
            assert!(told.stderr.lines().any(|line| line == wanted), "{wanted}: {told}");
        }
    }
}

#[test]
fn hostile_names_are_refused_before_anything_is_touched() {
    let shop = Shop::open();
    let client = shop.client();
    let host = shop.registry.host();
    let names = [
        "../../../x:v1",
        "/etc/passwd",
        "a/../../x",
        "a//b",
        "a/./b",
        "%2e%2e/x",
        "a\\b",
        "a\nb",
        "a?b",
        "a#b",
        "a b",
        "a:v1:v2",
        "a@sha256:zz",
        "",
        ":",
        "-",
        "A/B/C",
        "http://reg.test/a",
        "a/_trust/tuf/b",
        "ü/x",
        "a\u{202e}b",
        "a\u{1b}[2Jb",
    ];
    let long = "a".repeat(5000);
    let own: Vec<String> = names.iter().map(|name| format!("{host}/{name}")).collect();
    let all = names.into_iter().chain(own.iter().map(String::as_str)).chain([long.as_str()]);
    for name in all {
        for command in ["verify", "pull", "push", "sign", "revoke", "inspect"] {
            let refused = client.run(&[command, "--", name]);
            assert_eq!(refused.code, USER, "{name:?}: {refused}");
            assert_eq!(refused.stdout, if command == "inspect" { "[]\n" } else { "" }, "{name:?}");
            assert!(!refused.stderr.contains(['\u{1b}', '\u{202e}']), "{name:?}");
        }
    }
    // One collection's files are never another's.
    let inside = format!("{host}/a/metadata/b:v1");
    client.run(&["verify", &inside]).refused(USER, "may only come first or last");
    let digest = format!("{host}/acme/app@sha256:{}", "0".repeat(64));
    for command in ["verify", "pull", "push", "sign"] {
        client.run(&[command, &digest]).refused(USER, "names a digest: signatures are about tags");
    }
    client.run(&["revoke", &digest]).refused(USER, "cannot use a digest reference");
    assert!(files_below(&client.trust_dir().join("tuf")).is_empty());
}

#[test]
fn all_spellings_of_a_name_are_one_collection() {
    let away = Client::new().env("DOCKER_CONTENT_TRUST_SERVER", "https://127.0.0.1:1");
    for name in
        ["alpine", "library/alpine", "docker.io/alpine", "index.docker.io/alpine", "docker.io/library/alpine:latest"]
    {
        let refused = away.run(&["verify", name]);
        assert_eq!(refused.code, crate::client::NETWORK, "{refused}");
    }
    let shop = Shop::open();
    let owner = shop.client();
    let digest = shop.signed_by(&owner, "latest", "one");
    let verified = owner.run(&["verify", &shop.gun()]).succeeded();
    assert!(verified.stdout.contains(&digest), "{verified}");
}

#[test]
fn without_a_trust_directory_reading_creates_none_and_works_where_none_can_be_created() {
    let shop = Shop::open();
    let digest = shop.signed_by(&shop.client(), "v1", "one");
    let reader = shop.client();
    assert_eq!(reader.run(&["key", "list"]).code, 0);
    reader.run(&["verify", "--no-first-use", &shop.name("v1")]).refused(TRUST, "first use is not allowed");
    let unknown = format!("{}/other/unknown", shop.registry.host());
    reader.run(&["inspect", &unknown]).refused(TRUST, "does not have trust data");
    assert!(!reader.trust_dir().exists());

    let config = reader.config_dir().display();
    let read_only = format!("mount --bind '{config}' '{config}' && mount -o remount,bind,ro '{config}'");
    for (command, said) in
        [(&["verify"][..], &*digest), (&["inspect"], "SignedTag"), (&["pull", "--to", "oci:image"], &*digest)]
    {
        let read = reader.run_after(&read_only, &[command, &[&shop.name("v1")]].concat()).succeeded();
        assert!(read.stdout.contains(said), "{read}");
        assert!(read.stderr.contains("cannot be kept"), "{read}");
        // Standard error is a pipe here.
        assert!(!read.stderr.contains('\u{1b}'), "{read}");
    }
    reader.run_after(&read_only, &["key", "list"]).succeeded();
    assert!(!reader.trust_dir().exists());
}

#[test]
fn a_configuration_folder_that_cannot_be_made_is_an_error_that_names_it() {
    let shop = Shop::open();
    shop.put("v1", "one");
    // Nobody can make a folder there, not even root.
    let client = shop.client().env("DOCKER_CONFIG", "/proc/countersign");
    for line in [&["key", "generate", "alice"][..], &["docker-trust", "trust", "key", "generate", "alice"]] {
        let refused = client.run(line).failed();
        assert!(refused.stderr.contains("/proc/countersign") && !refused.stderr.contains("panicked"), "{refused}");
        assert!(!client.folder().join("alice.pub").exists(), "{refused}");
    }
}
