//! The same with the keys on a PKCS#11 token of the signing service.

use super::{GUN, PROGRAM, add, publish, tags};
use crate::client::Client;
use crate::docker::signed_by_one_and_verified_by_the_other;
use crate::stage::Stage;
use countersign_testkit::port::{Answer, accepts};
use countersign_testkit::{
    Deployment, Image, KeyPlace, Keyserver, MemoryRegistry, NotaryClient, Port, Process, TestCa, TrustService,
};
use std::process::Command;
use std::time::Duration;

const GRACE: Duration = Duration::from_secs(5);
const START_LIMIT: Duration = Duration::from_secs(20);

fn on_token() -> TrustService {
    TrustService::builder(PROGRAM).deployed(Deployment::Token).start()
}

/// The keys as the signing service lists them.
fn listed(keyserver: &Keyserver) -> serde_json::Value {
    let output = keyserver.command(&["list", "--format", "json"]).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

#[test]
fn docker_28_and_docker_20_sign_and_verify_with_the_keys_on_a_token() {
    let stage = Stage::deployed(Deployment::Token);
    let from_28 = ("from28", stage.docker28(), stage.docker20());
    signed_by_one_and_verified_by_the_other(&stage, [from_28, ("from20", stage.docker20(), stage.docker28())]);
}

#[test]
fn notary_and_countersign_publish_and_rotate_and_go_on_over_restarts_with_the_keys_on_a_token() {
    let mut service = on_token();
    let (owner, reader) = (service.notary_client(), service.notary_client());
    owner.run(&["init", GUN]).succeeded();
    add(&owner, "tag-1");
    publish(&owner);
    for (number, role) in ["snapshot", "timestamp"].into_iter().enumerate() {
        owner.run(&["key", "rotate", GUN, role, "-r"]).succeeded();
        service.keyserver().restart(Keyserver::ON_TOKEN);
        add(&owner, &format!("tag-{}", number + 2));
        publish(&owner);
        assert_eq!(tags(&reader), number + 2, "{role}");
    }
    let registry = MemoryRegistry::start().unwrap();
    let (signer, verifier) = (Client::new().of(&service), Client::new().of(&service));
    let name = format!("{}/acme/app:v1", registry.host());
    registry.put_image("acme/app", "v1", &Image::with_message("on a token")).unwrap();
    signer.run(&["sign", &name]).succeeded();
    verifier.run(&["verify", &name]).succeeded();
    let keys = listed(service.keyserver());
    let keys = keys.as_array().unwrap();
    assert!(keys.len() >= 4, "{keys:?}");
    for key in keys {
        assert_eq!((&key["token"], &key["alias"]), (&"hsm".into(), &Keyserver::ON_TOKEN.into()), "{key}");
    }
    // What is in the folder signs nothing: the private keys are not in it.
    let said = std::fs::read(service.keyserver().file("keys/keys.db")).unwrap();
    assert!(!said.windows(4).any(|window| window == b"PBES"), "no encrypted key");
}

#[test]
fn a_token_that_goes_away_stops_publishing_and_nothing_else_until_it_is_back() {
    let mut service = on_token();
    let owner = service.notary_client();
    owner.run(&["init", GUN]).succeeded();
    add(&owner, "tag-1");
    publish(&owner);
    service.keyserver().token().take_out();
    add(&owner, "tag-2");
    for _ in 0..2 {
        assert_ne!(owner.run(&["publish", GUN]).code, 0);
    }
    assert!(service.log().contains("status=503"), "{}", service.log());
    assert_eq!(tags(&service.notary_client()), 1, "readers read on");
    service.keyserver().token().put_in();
    publish(&owner);
    assert_eq!(tags(&service.notary_client()), 2);
    // A keyserver that is started meanwhile waits for it as well.
    service.keyserver().token().take_out();
    service.keyserver().restart(Keyserver::ON_TOKEN);
    add(&owner, "tag-3");
    assert_ne!(owner.run(&["publish", GUN]).code, 0);
    service.keyserver().token().put_in();
    publish(&owner);
    assert_eq!(tags(&service.notary_client()), 3);
}

#[test]
fn collections_move_onto_a_token_by_rotation_and_go_on_with_their_keys_until_then() {
    let mut service = super::apart();
    let owner = service.notary_client();
    owner.run(&["init", GUN]).succeeded();
    add(&owner, "tag-1");
    publish(&owner);
    service.keyserver().give_token();
    service.keyserver().restart(Keyserver::ON_TOKEN);
    add(&owner, "tag-2");
    publish(&owner);
    assert_eq!(listed(service.keyserver())[0]["alias"], "first");
    owner.run(&["key", "rotate", GUN, "timestamp", "-r"]).succeeded();
    // While the token is away, the key that was left is of no use and nobody else's is touched.
    let other = service.notary_client();
    assert_eq!(tags(&other), 2);
    assert!(listed(service.keyserver()).as_array().unwrap().iter().any(|key| key["token"] == "hsm"));
}

#[test]
fn the_references_server_publishes_with_keys_on_the_token_of_our_keyserver() {
    let keyserver = Keyserver::start_with(PROGRAM, KeyPlace::Token);
    let (authority, port, folder) = (TestCa::new(), Port::take(), tempfile::tempdir().unwrap());
    let certificate = authority.loopback_server();
    let file = |name: &str, text: &str| {
        let path = folder.path().join(name);
        std::fs::write(&path, text).unwrap();
        path.display().to_string()
    };
    let of_keyserver = |name: &str| keyserver.file(name).display().to_string();
    let configuration = serde_json::json!({
        "server": {
            "http_addr": port.address().to_string(),
            "tls_cert_file": file("server.crt", &certificate.certificate_pem),
            "tls_key_file": file("server.key", &certificate.key_pem),
        },
        "trust_service": {
            "type": "remote", "hostname": "localhost", "port": keyserver.port().to_string(), "key_algorithm": "ecdsa",
            "tls_ca_file": of_keyserver("ca.pem"), "tls_client_cert": of_keyserver("service.crt"),
            "tls_client_key": of_keyserver("service.key"),
        },
        "storage": {"backend": "memory"},
    });
    let mut command = Command::new("/usr/bin/notary-server");
    command.arg("-config").arg(file("server.json", &configuration.to_string()));
    let mut process = Process::start(&command, &folder.path().join("log"), GRACE);
    process.wait_until(START_LIMIT, || (accepts(port.address()) == Answer::Yes).into());
    let client = || NotaryClient::new(&format!("https://{}", port.address()), &authority.pem());
    let owner = client();
    owner.run(&["init", GUN]).succeeded();
    for role in ["snapshot", "timestamp"] {
        owner.run(&["key", "rotate", GUN, role, "-r"]).succeeded();
        add(&owner, &format!("tag-{role}"));
        publish(&owner);
    }
    assert_eq!(tags(&client()), 2);
    let keys = listed(&keyserver);
    assert!(keys.as_array().unwrap().iter().all(|key| key["token"] == "hsm") && keys[0].is_object(), "{keys}");
}

#[test]
fn a_wrong_pin_keeps_the_keyserver_from_starting_and_is_not_repeated() {
    let mut keyserver = Keyserver::start_with(PROGRAM, KeyPlace::Token);
    keyserver.process().stop().unwrap();
    std::fs::write(keyserver.file("pin"), "wrong-wrong-wrong\n").unwrap();
    let refused = keyserver.command(&["--alias", Keyserver::ON_TOKEN, "--listen", "127.0.0.1:0"]).output().unwrap();
    let said = String::from_utf8_lossy(&refused.stderr);
    // The unit in packaging does not start it again after this code: each start would be another try.
    assert_eq!(refused.status.code(), Some(8), "{said}");
    assert!(said.contains("does not take the PIN") && !said.contains("wrong-wrong"), "{said}");
    let unit = concat!(env!("CARGO_MANIFEST_DIR"), "/../../packaging/systemd/countersign-keyserver.service");
    assert!(std::fs::read_to_string(unit).unwrap().contains("\nRestartPreventExitStatus=8\n"));
}

#[test]
fn the_guides_walk_through_makes_a_token_and_a_keyserver_with_its_keys_on_it() {
    let guide = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/guides/separate-signing-service.md");
    let guide = std::fs::read_to_string(guide).unwrap();
    let blocks = |heading: &str| -> Vec<String> {
        let part = guide.split(heading).nth(1).unwrap_or_else(|| panic!("{heading}"));
        let part = part.split("\n## ").next().unwrap();
        part.split("```sh\n").skip(1).map(|block| block.split("```").next().unwrap().to_owned()).collect()
    };
    let (folder, port) = (tempfile::tempdir().unwrap(), Port::take());
    let tokens = blocks("### Trying it with SoftHSM");
    let script = [&blocks("## Certificates")[0], &tokens[0]].map(String::as_str).concat();
    let here = |text: &str| {
        text.replace("keys.example.com", "localhost")
            .replace("127.0.0.1:7899", &port.address().to_string())
            .replace("localhost:7899", &format!("localhost:{}", port.number()))
    };
    let shell = |text: &str| {
        let mut shell = Command::new("/bin/sh");
        let program = std::path::Path::new(PROGRAM).parent().unwrap().display().to_string();
        shell.arg("-ec").arg(here(text)).current_dir(folder.path()).env("HOME", folder.path());
        shell.env("PATH", format!("{program}:/usr/bin:/bin"));
        shell
    };
    let made = shell(&script).output().unwrap();
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    let mut keyserver =
        Process::start(&shell(&format!("exec {}", tokens[1].trim_start())), &folder.path().join("log"), GRACE);
    keyserver.wait_until(START_LIMIT, || (accepts(port.address()) == Answer::Yes).into());
    let mut builder = TrustService::builder(PROGRAM).deployed(Deployment::Embedded);
    for (option, value) in [
        ("--keyserver", format!("localhost:{}", port.number())),
        ("--keyserver-ca", folder.path().join("signing-ca.pem").display().to_string()),
        ("--keyserver-cert", folder.path().join("service.crt").display().to_string()),
        ("--keyserver-key", folder.path().join("service.key").display().to_string()),
    ] {
        builder = builder.arg(option).arg(&value);
    }
    let service = builder.start();
    let owner = service.notary_client();
    owner.run(&["init", GUN]).succeeded();
    add(&owner, "tag-1");
    publish(&owner);
    let listed = shell(&tokens[2]).output().unwrap();
    let said = String::from_utf8_lossy(&listed.stdout);
    assert!(said.contains(GUN) && said.contains("pkcs11:hsm"), "{said}{}", String::from_utf8_lossy(&listed.stderr));
}
