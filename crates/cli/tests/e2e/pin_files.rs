//! `countersign pin` and `countersign trust show`: pins that are kept, handed over and explained.

use crate::client::{Client, Ending, TRUST, USER};
use crate::stage::Shop;
use countersign_testkit::Finished;
use serde_json::Value;

fn root_key(client: &Client, shop: &Shop) -> String {
    let root: Value =
        serde_json::from_slice(&std::fs::read(client.metadata(&shop.gun()).join("root.json")).unwrap()).unwrap();
    root.pointer("/signed/roles/root/keyids/0").unwrap().as_str().unwrap().to_owned()
}

fn listed(client: &Client) -> Vec<Value> {
    let listed = client.run(&["pin", "list", "--format", "json"]).succeeded();
    serde_json::from_str(&listed.stdout).unwrap()
}

fn shown(client: &Client, arguments: &[&str]) -> Value {
    let shown = client.run(&[&["trust", "show", "--format", "json"], arguments].concat()).succeeded();
    serde_json::from_str(&shown.stdout).unwrap()
}

/// The collection is deleted at the service and made anew by somebody else.
fn swap_root(shop: &Shop) -> Client {
    shop.service.notary_client().run(&["delete", "--remote", &shop.gun()]).succeeded();
    let other = shop.client();
    shop.signed_by(&other, "v1", "another");
    other
}

#[test]
fn a_pin_is_handed_over_and_a_swapped_root_is_refused_by_who_never_saw_the_first() {
    let shop = Shop::open();
    let owner = shop.client();
    shop.signed_by(&owner, "v1", "one");
    let file = owner.folder().join("pin.toml");
    let path = file.to_str().unwrap();
    owner.run(&["pin", &shop.name("v1"), "--output", path]).succeeded();
    let id = root_key(&owner, &shop);
    let text = std::fs::read_to_string(&file).unwrap();
    assert!(text.contains(&id) && text.contains(&shop.gun()), "{text}");
    let same = owner.run(&["pin", &shop.gun(), "--output", "-"]).succeeded();
    assert_eq!(same.stdout, text);
    owner.run(&["pin", &shop.gun(), "--output", path]).refused(USER, "is there already");
    assert!(listed(&owner).is_empty(), "what is handed over is not kept here");

    let (reader, careless) = (shop.client(), shop.client());
    let imported = reader.run(&["pin", "import", path]).succeeded();
    assert_eq!(imported.stdout, format!("Pinned {} to root key {id}\n", shop.gun()));
    reader.run(&["pin", "import", path]).succeeded();
    assert_eq!(listed(&reader).len(), 1);
    swap_root(&shop);
    careless.run(&["verify", &shop.name("v1")]).succeeded();
    let refused = reader.run(&["verify", &shop.name("v1")]);
    refused.refused(TRUST, "unable to match any certificates to trust_pinning config");
    assert!(!reader.metadata(&shop.gun()).join("root.json").exists());

    reader.run(&["pin", "remove", &shop.name("v1")]).succeeded();
    assert!(listed(&reader).is_empty());
    reader.run(&["verify", &shop.name("v1")]).succeeded();
    reader.run(&["pin", "remove", &shop.gun()]).refused(USER, "no pin of");
}

#[test]
fn a_kept_pin_counts_under_every_name() {
    let shop = Shop::open();
    shop.signed_by(&shop.client(), "v1", "one");
    let reader = shop.client();
    let gun = shop.gun();
    let authority = reader.folder().join("ca.pem");
    std::fs::write(&authority, shop.service.authority_pem()).unwrap();
    let (url, own) = (shop.service.url(), reader.folder().join("notary"));
    let notary = ["-s", &url, "--tlscacert", authority.to_str().unwrap(), "-d", own.to_str().unwrap(), "list", &gun];
    let run = |name: &str, arguments: &[&str]| Finished::of(&mut reader.command_as(name, arguments), b"");

    reader.run(&["pin", "--root-key", &"0".repeat(64), &gun]).succeeded();
    let refused = run("notary", &notary);
    assert_eq!(refused.code, TRUST, "{refused}");
    let refused = run("docker-trust", &["trust", "inspect", &gun]);
    assert_ne!(refused.code, 0, "{refused}");
    assert!(!reader.metadata(&gun).exists() && !own.join("tuf").exists());

    reader.run(&["pin", "remove", &gun]).succeeded();
    run("notary", &notary).succeeded();
    run("docker-trust", &["trust", "inspect", &gun]).succeeded();
}

#[test]
fn no_pin_takes_anothers_place_in_silence() {
    let shop = Shop::open();
    let owner = shop.client();
    shop.signed_by(&owner, "v1", "one");
    let other = "0".repeat(64);
    owner.run(&["pin", "--root-key", &other, &shop.gun()]).succeeded();
    owner.run(&["verify", &shop.name("v1")]).refused(TRUST, "unable to match any certificates");
    let id = root_key(&owner, &shop);
    let pin = |more: &[&str]| owner.run(&[&["pin", "--root-key", &id, &shop.gun()], more].concat());
    pin(&[]).refused(USER, "another pin of");
    assert!(listed(&owner)[0]["pin"]["root-keys"][0] == other);
    pin(&["--replace"]).succeeded();
    owner.run(&["verify", &shop.name("v1")]).succeeded();

    let file = owner.folder().join("two.toml");
    let text = format!(
        "[images.\"a.test/x\"]\nroot-keys = [\"{id}\"]\n[images.\"{}\"]\nroot-keys = [\"{other}\"]\n",
        shop.gun()
    );
    std::fs::write(&file, text).unwrap();
    owner.run(&["pin", "import", file.to_str().unwrap()]).refused(USER, "another pin of");
    assert_eq!(listed(&owner).len(), 1, "all pins of a file or none");
    for (text, part) in [
        ("", "there is no pin in it"),
        ("service = \"https://evil.test\"\n", "a file of pins has only"),
        ("[images.\"a.test\"]\nroot-keys = [\"x\"]\n", "no key id"),
    ] {
        std::fs::write(&file, text).unwrap();
        let refused = owner.run(&["pin", "import", file.to_str().unwrap()]);
        assert!(refused.code != 0 && refused.stderr.contains(part), "{refused}");
    }
    assert_eq!(listed(&owner).len(), 1);
}

#[test]
fn a_pin_of_an_authority_has_to_fit_the_root() {
    let shop = Shop::open();
    let owner = shop.client();
    shop.signed_by(&owner, "v1", "one");
    owner.run(&["pin", "--ca", &shop.gun()]).refused(USER, "comes without an authority");
    let authority = owner.folder().join("authority.pem");
    std::fs::write(&authority, countersign_testkit::TestCa::new().pem()).unwrap();
    let with = ["pin", "--ca-file", authority.to_str().unwrap(), &shop.gun()];
    owner.run(&with).refused(TRUST, "unable to match any certificates");
    assert!(listed(&owner).is_empty());
}

#[test]
fn trust_show_names_service_pin_policy_and_keys_and_what_says_so() {
    let shop = Shop::open();
    let owner = shop.client();
    let before = shown(&owner, &[&shop.name("v1")]);
    assert_eq!(before["service"]["source"]["variable"], "DOCKER_CONTENT_TRUST_SERVER");
    assert_eq!(before["service"]["url"], shop.service.url());
    assert_eq!((&before["cachedRoot"], &before["pin"]), (&Value::Null, &Value::Null));
    assert!(!owner.trust_dir().exists(), "looking makes nothing");
    shop.signed_by(&owner, "v1", "one");
    let id = root_key(&owner, &shop);
    owner.run(&["pin", &shop.gun()]).succeeded();
    let known = shown(&owner, &[&shop.name("v1")]);
    assert_eq!(known["cachedRoot"]["keys"][0], id);
    assert_eq!(known["pin"]["pin"]["root-keys"][0], id);
    assert!(known["pin"]["source"]["file"].as_str().unwrap().contains("/pins.d/"), "{known}");
    assert_eq!(known["signingKeys"][0]["role"], "targets");
    assert_eq!(known["firstUse"]["policy"], "allow");

    let text = owner.run(&["trust", "show", &shop.name("v1")]).succeeded();
    for part in ["Trust service", "variable DOCKER_CONTENT_TRUST_SERVER", "Would sign     targets with key", "pins.d/"]
    {
        assert!(text.stdout.contains(part), "{part}: {text}");
    }
    // Offline unless asked; then what the service has is verified.
    let stranger = shop.client();
    assert_eq!(shown(&stranger, &[&shop.gun()])["cachedRoot"], Value::Null);
    let online = shown(&stranger, &["--online", &shop.gun()]);
    assert_eq!(online["cachedRoot"]["version"], 1);
    assert_eq!(online["signingKeys"], serde_json::json!([]));
    let flagged = shown(&stranger, &["--server", "https://elsewhere.test", "--no-first-use", "hub/image"]);
    assert_eq!(flagged["service"]["source"]["option"], "--server");
    assert_eq!(flagged["collection"], "docker.io/hub/image");
    assert_eq!(flagged["firstUse"]["policy"], "deny");
    let hub = shown(&Client::new(), &["hub/image"]);
    assert_eq!(hub["service"]["url"], "https://notary.docker.io");
    owner.run(&["pin", "--replace", "--root-key", &"0".repeat(64), &shop.gun()]).succeeded();
    let contradicted = owner.run(&["trust", "show", &shop.gun()]).succeeded();
    assert!(contradicted.stdout.contains("it will be refused"), "{contradicted}");
}

#[test]
fn a_dead_variable_under_docker_29_is_pointed_out_and_a_living_one_is_not() {
    let client = Client::new();
    let bin = client.folder().join("bin");
    std::fs::create_dir(&bin).unwrap();
    let docker = bin.join("docker");
    let show = |version: &str, trust: &str| -> Finished {
        std::fs::write(&docker, format!("#!/bin/sh\necho 'Docker version {version}, build x'\n")).unwrap();
        let mut command = client.command(&["trust", "show", "hub/image"]);
        command.env("PATH", format!("{}:/usr/bin:/bin", bin.display())).env("DOCKER_CONTENT_TRUST", trust);
        Finished::of(&mut command, b"").succeeded()
    };
    show("28.2.2", "1");
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    std::fs::set_permissions(&docker, mode).unwrap();
    assert!(show("29.0.1", "1").stdout.contains("does not read it"));
    assert!(!show("28.2.2", "1").stdout.contains("does not read it"));
    assert!(!show("29.0.1", "").stdout.contains("does not read it"));
}

#[test]
fn completion_scripts_and_manual_pages_are_whole() {
    let client = Client::new();
    for shell in ["bash", "zsh", "fish", "powershell"] {
        let script = client.run(&["completion", shell]).succeeded().stdout;
        assert!(script.contains("countersign") && script.contains("verify"), "{shell}");
        if shell == "bash" {
            let file = client.folder().join("completion.bash");
            std::fs::write(&file, &script).unwrap();
            let mut check = std::process::Command::new("bash");
            Finished::of(check.arg("-n").arg(&file), b"").succeeded();
        }
    }
    client.run(&["completion", "tcsh"]).refused(USER, "invalid value");
    client.run(&["man", "pages"]).succeeded();
    let pages = client.folder().join("pages");
    for page in ["countersign.1", "countersign-pin.1", "countersign-pin-import.1", "countersign-trust-show.1"] {
        let text = std::fs::read_to_string(pages.join(page)).unwrap();
        assert!(text.contains(".TH") && text.contains(".SH NAME"), "{page}");
    }
}
