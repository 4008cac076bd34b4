//! Signing step by step: what `docker trust sign` needs, what a signature changes at the service, and what it leaves here.

use crate::client::{Client, Ending, NETWORK, TRUST};
use crate::stage::Shop;
use base64::{Engine as _, engine::general_purpose::STANDARD};
use countersign_testkit::{FakeServer, Image, Port, Reply, fixtures};
use serde_json::{Value, json};
use std::path::Path;
use std::sync::{Arc, Mutex};

/// An engine that knows no image.
fn empty_engine(client: &Client) -> (FakeServer, String) {
    let socket = client.folder().join("engine.sock");
    let engine = FakeServer::unix(&socket);
    engine.handle(|request| {
        let ping = request.path.ends_with("/_ping");
        ping.then(|| Reply::ok("OK").header("Api-Version", "1.41").header("Ostype", "linux"))
    });
    engine.otherwise(Reply::status(404).then("{\"message\":\"No such image\"}"));
    (engine, format!("unix://{}", socket.display()))
}

fn log_in(client: &Client, shop: &Shop, name: &str) {
    let auth = STANDARD.encode(format!("{name}:password"));
    let config = json!({"auths": {shop.registry.host(): {"auth": auth}}});
    std::fs::write(client.config_dir().join("config.json"), config.to_string()).unwrap();
}

#[test]
fn a_login_name_becomes_the_first_signer_if_it_can_be_one() {
    let shop = Shop::open();
    shop.put("v1", "one");
    let signing = |login: Option<&str>| {
        let client = shop.client();
        let (_engine, host) = empty_engine(&client);
        let client = client.env("DOCKER_HOST", &host);
        login.inspect(|name| log_in(&client, &shop, name));
        (client.plugin(&["trust", "sign", &shop.name("v1")]), client)
    };
    for name in ["Dave", "dave@example.com", "da.ve", "-dave", "da/ve", "releases", "dâve"] {
        let (refused, client) = signing(Some(name));
        assert!(refused.failed().stderr.contains("cannot be a signer's name"), "{name}");
        assert!(!client.trust_dir().join("private").exists(), "{name}: no key is made in vain");
    }
    let (refused, _) = signing(None);
    assert!(refused.failed().stderr.contains("nobody is logged in"));
    shop.client().run(&["verify", &shop.name("v1")]).refused(TRUST, "does not have trust data");
    let (signed, client) = signing(Some("dave_2"));
    assert!(signed.succeeded().stdout.starts_with("Created signer: dave_2\n"));
    let inspected = client.plugin(&["trust", "inspect", &shop.name("v1")]).succeeded();
    assert!(inspected.stdout.contains("\"dave_2\""), "{inspected}");
}

#[test]
fn a_tag_that_is_released_is_signed_without_an_engine() {
    let shop = Shop::open();
    let owner = shop.client().env("DOCKER_HOST", "unix:///nowhere/docker.sock");
    let digest = shop.signed_by(&owner, "v1", "one");
    let signed = owner.plugin(&["trust", "sign", &shop.name("v1")]).succeeded();
    let hex = digest.trim_start_matches("sha256:");
    assert!(signed.stdout.contains(&format!("Existing signatures for tag v1 digest {hex} from:")), "{signed}");
    let refused = owner.plugin(&["trust", "sign", "--local", &shop.name("v1")]).failed();
    assert!(refused.stderr.contains("/nowhere/docker.sock"), "{refused}");
}

/// The versions that the service serves, by role; none where it has no file.
fn versions(shop: &Shop, roles: &[&str]) -> Vec<Option<u64>> {
    let reader = shop.client();
    reader.run(&["verify", &shop.name("v1")]).succeeded();
    let version = |role: &&str| {
        let text = std::fs::read(reader.metadata(&shop.gun()).join(format!("{role}.json"))).ok()?;
        serde_json::from_slice::<Value>(&text).unwrap().pointer("/signed/version").and_then(Value::as_u64)
    };
    roles.iter().map(version).collect()
}

#[test]
fn versions_at_the_service_are_dockers_but_where_nothing_changes() {
    let shop = Shop::open();
    let owner = shop.client();
    let expect = |what: &str, expected: [u64; 6]| {
        let roles = ["root", "targets", "snapshot", "timestamp", "targets/alice", "targets/releases"];
        let expected = expected.map(|version| (version > 0).then_some(version));
        assert_eq!(versions(&shop, &roles), expected, "{what}");
    };
    shop.signed_by(&owner, "v1", "one");
    expect("the first signature", [1, 2, 1, 1, 0, 0]);
    owner.run(&["sign", &shop.name("v1")]).succeeded();
    expect("the same again, for which docker has a snapshot made", [1, 2, 1, 1, 0, 0]);
    shop.signed_by(&owner, "v2", "two");
    expect("another tag", [1, 3, 2, 2, 0, 0]);
    owner.plugin(&["trust", "key", "generate", "alice"]).succeeded();
    owner.plugin(&["trust", "signer", "add", "--key", "alice.pub", "alice", &shop.gun()]).succeeded();
    expect("a signer", [1, 4, 3, 3, 0, 0]);
    shop.signed_by(&owner, "v3", "three");
    expect("the first signature with delegations", [1, 4, 4, 4, 1, 1]);
}

fn staged(folder: &Path) -> usize {
    std::fs::read_dir(folder).map_or(0, Iterator::count)
}

/// Docker publishes with the next tag what an earlier command had left in the change list, without a word.
#[test]
fn signing_neither_publishes_what_waits_in_the_change_list_nor_leaves_anything_there() {
    let shop = Shop::open();
    let notary = shop.service.notary_client();
    notary.run(&["init", "-p", &shop.gun()]).succeeded();
    notary.run(&["key", "rotate", &shop.gun(), "snapshot", "-r"]).succeeded();
    let list = notary.trust_dir().join("tuf").join(shop.gun()).join("changelist");
    let ours = shop.client();
    std::os::unix::fs::symlink(notary.trust_dir(), ours.trust_dir()).unwrap();
    notary.run(&["addhash", &shop.gun(), "ghost", "524", "--sha256", &"a".repeat(64)]).succeeded();
    assert_eq!(staged(&list), 1);
    shop.signed_by(&ours, "v1", "one");
    ours.plugin(&["trust", "sign", &shop.name("v1")]).succeeded();
    ours.plugin(&["trust", "revoke", &shop.name("v1")]).succeeded();
    shop.put("v2", "two");
    let nobody = format!("https://{}", Port::take().address());
    let away = shop.client().sharing(ours.config_dir()).env("DOCKER_CONTENT_TRUST_SERVER", &nobody);
    away.run(&["sign", &shop.name("v2")]).refused(NETWORK, "the trust service is away");
    let wrong = shop.client().sharing(ours.config_dir());
    let wrong = wrong.env("DOCKER_CONTENT_TRUST_REPOSITORY_PASSPHRASE", "not-the-passphrase");
    wrong.run(&["sign", &shop.name("v2")]).failed();
    assert_eq!(staged(&list), 1, "the change of somebody else is left to them, and nothing came in addition");
    shop.signed_by(&ours, "v3", "three");
    let listed = shop.service.notary_client().run(&["list", &shop.gun()]).succeeded();
    assert!(listed.stdout.contains("v3") && !listed.stdout.contains("ghost"), "{listed}");
    let status = notary.run(&["status", &shop.gun()]).succeeded();
    assert!(status.stdout.contains("ghost"), "{status}");
}

#[test]
fn a_service_that_goes_away_during_the_push_gets_no_signature_and_nothing_is_left_behind() {
    let shop = Shop::open();
    let owner = shop.client();
    shop.signed_by(&owner, "v0", "zero");
    let digest = shop.put("v1", "one");
    let size = Image::with_message("one").manifest().bytes.len();
    let (url, gun, name) = (shop.service.url(), shop.gun(), shop.name("v1"));
    let Shop { registry, service } = shop;
    let _registry = registry;
    let service = Arc::new(Mutex::new(service));
    let socket = owner.folder().join("engine.sock");
    let engine = FakeServer::unix(&socket);
    let falling = Arc::clone(&service);
    engine.handle(move |request| {
        let aux = json!({"progressDetail": {}, "aux": {"Tag": "v1", "Digest": digest, "Size": size}});
        if request.path.ends_with("/push") {
            falling.lock().unwrap().kill();
            return Some(Reply::json(format!("{aux}\r\n")));
        }
        let ping = request.path.ends_with("/_ping");
        ping.then(|| Reply::ok("OK").header("Api-Version", "1.41").header("Ostype", "linux"))
    });
    let owner = owner.env("DOCKER_HOST", &format!("unix://{}", socket.display()));
    for command in [&["push"][..], &["docker-trust", "trust", "push"]] {
        service.lock().unwrap().restart();
        let failed = owner.run(&[command, &[&name]].concat()).failed();
        assert!(!failed.stdout.contains("Successfully"), "{failed}");
        assert_eq!(staged(&owner.trust_dir().join("tuf").join(&gun).join("changelist")), 0, "{failed}");
    }
    service.lock().unwrap().restart();
    let reader = || Client::new().at(&url, &service.lock().unwrap().authority_pem());
    reader().run(&["verify", &name]).refused(TRUST, "No valid trust data for v1");
    owner.run(&["sign", &name]).succeeded();
    reader().run(&["verify", &name]).succeeded();
}

#[test]
fn signers_have_keys_of_every_kind_bare_or_in_certificates_and_several_of_them() {
    let shop = Shop::open();
    let owner = shop.client();
    shop.signed_by(&owner, "v0", "zero");
    let input = |name: &str| fixtures::path(&format!("key-bundles/inputs/{name}")).to_str().unwrap().to_owned();
    for (name, keys) in
        [("rsa", vec!["rsa2048.pub"]), ("certified", vec!["rsa4096.crt"]), ("both", vec!["ec-p256.crt", "ec-p384.pub"])]
    {
        let mut words = vec!["trust".to_owned(), "signer".to_owned(), "add".to_owned()];
        words.extend(keys.iter().flat_map(|key| ["--key".to_owned(), input(key)]));
        words.extend([name.to_owned(), format!("{}:a-tag-is-no-matter", shop.gun())]);
        owner.plugin(&words.iter().map(String::as_str).collect::<Vec<_>>()).succeeded();
    }
    let inspected = owner.plugin(&["trust", "inspect", &shop.gun()]).succeeded();
    let report: Value = serde_json::from_str(&inspected.stdout).unwrap();
    let signers = report[0]["Signers"].as_array().unwrap();
    let keys: Vec<_> = signers
        .iter()
        .map(|signer| (signer["Name"].as_str().unwrap(), signer["Keys"].as_array().unwrap().len()))
        .collect();
    assert_eq!(keys, [("rsa", 1), ("certified", 1), ("both", 2)]);
    for (tag, file, signer) in [
        ("v1", "rsa2048.key", "rsa"),
        ("v2", "rsa4096.key", "certified"),
        ("v3", "ec-p256.key", "both"),
        ("v4", "ec-p384.key", "both"),
    ] {
        let person = shop.client();
        let key = person.folder().join(file);
        std::fs::copy(input(file), &key).unwrap();
        std::fs::set_permissions(&key, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
        // The role that the file of a key names is of no importance: its id is.
        person.plugin(&["trust", "key", "load", "--name", "whoever", key.to_str().unwrap()]).succeeded();
        let digest = shop.signed_by(&person, tag, tag);
        let verified = shop.client().run(&["verify", &shop.name(tag)]).succeeded();
        assert!(verified.stdout.contains(&digest), "{verified}");
        let pretty = shop.client().plugin(&["trust", "inspect", "--pretty", &shop.name(tag)]).succeeded();
        assert!(pretty.stdout.lines().any(|line| line.starts_with(tag) && line.ends_with(signer)), "{pretty}");
    }
    let listed = shop.service.notary_client().run(&["list", &shop.gun(), "-r", "targets/releases"]).succeeded();
    assert_eq!(listed.stdout.matches("targets/releases").count(), 4, "{listed}");
}
