//! Registries and engines that lie, and what one logs in with.

use crate::client::{Client, Ending, NETWORK, TRUST};
use crate::stage::{Shop, Stage};
use countersign_testkit::memory_registry::Fault;
use countersign_testkit::{Account, DockerRegistry, FakeServer, Finished, Image, Reply, TrustService, fixtures};
use serde_json::json;
use std::process::Command;

/// Writes what `docker login` leaves behind.
fn log_in(client: &Client, registry: &str, name: &str, password: &str) {
    write_login(client, registry, &format!("{name}:{password}"));
}

/// The same for a name and password with a colon between them.
pub(crate) fn write_login(client: &Client, registry: &str, pair: &str) {
    let encoded = Finished::of(Command::new("base64").arg("-w0"), pair.as_bytes()).succeeded().stdout;
    let config = json!({"auths": {registry: {"auth": encoded}}});
    std::fs::write(client.config_dir().join("config.json"), config.to_string()).unwrap();
}

#[test]
fn bytes_that_do_not_hash_to_the_signed_digest_are_refused_and_nothing_is_left() {
    let (stage, shop) = (Stage::set(), Shop::open());
    let owner = shop.client().with_engine(&stage.engine);
    let reader = shop.client().with_engine(&stage.engine);
    let digest = shop.signed_by(&owner, "v1", "good");
    let evil = Image::with_message("evil");
    shop.put("evil", "evil");
    shop.registry.corrupt_manifest("acme/app", &digest, evil.manifest().bytes).unwrap();
    shop.registry.inject(Fault::lying_digest(&digest).path("/manifests/"));
    let layout = format!("oci:{}", reader.folder().join("layout").display());
    for arguments in [&["pull"][..], &["pull", "--to", &layout]] {
        let refused = reader.run(&[arguments, &[&shop.name("v1")]].concat());
        assert!(matches!(refused.code, TRUST | NETWORK), "{refused}");
        assert!(refused.stdout.is_empty(), "{refused}");
    }
    reader.run(&["pull", "--to", &layout, &shop.name("v1")]).refused(TRUST, "other content than asked for");
    stage.docker().run(&["image", "inspect", &shop.name("v1")]).failed();
    assert!(!reader.folder().join("layout/index.json").exists());
    // Signing what the registry calls by a digest that it does not have is refused as well.
    owner.run(&["sign", "--digest", &digest, &shop.name("v3")]).refused(TRUST, "other content than asked for");
}

#[test]
fn a_digest_header_that_lies_does_not_get_signed() {
    let shop = Shop::open();
    let owner = shop.client();
    let digest = shop.put("v1", "good");
    let other = Image::with_message("evil").digest();
    shop.registry.inject(Fault::lying_digest(&other).path("/manifests/"));
    let ended = owner.run(&["sign", &shop.name("v1")]);
    assert!(!ended.stdout.contains(&other), "{ended}");
    assert!(ended.code == TRUST || ended.stdout.contains(&digest), "{ended}");
}

#[test]
fn layers_that_differ_are_refused_and_no_image_appears() {
    let shop = Shop::open();
    let owner = shop.client();
    shop.signed_by(&owner, "v1", "good");
    let image = Image::with_message("good");
    let layer = countersign_testkit::digest::oci_digest(&image.layer);
    for (what, bytes) in
        [("other", vec![b'x'; image.layer.len()]), ("short", vec![b'x'; 3]), ("long", vec![0; 1 << 20])]
    {
        shop.registry.corrupt_blob(&layer, bytes);
        for form in ["oci", "oci-archive", "docker-archive"] {
            let place = owner.folder().join(format!("{what}-{form}"));
            let refused = owner.run(&["pull", "--to", &format!("{form}:{}", place.display()), &shop.name("v1")]);
            assert!(matches!(refused.code, TRUST | NETWORK), "{what} {form}: {refused}");
            assert!(!place.is_file() && !place.join("index.json").exists(), "{what} {form}");
        }
    }
}

/// An engine that says it has pushed this.
fn engine_claiming(client: &Client, digest: &str, size: usize) -> (FakeServer, String) {
    let socket = client.folder().join("engine.sock");
    let engine = FakeServer::unix(&socket);
    let aux = json!({"progressDetail": {}, "aux": {"Tag": "v1", "Digest": digest, "Size": size}});
    engine.handle(move |request| {
        let ping = request.path.ends_with("/_ping");
        let push = request.path.ends_with("/push");
        let ping = ping.then(|| Reply::ok("OK").header("Api-Version", "1.41").header("Ostype", "linux"));
        ping.or_else(|| push.then(|| Reply::json(format!("{aux}\r\n"))))
    });
    (engine, format!("unix://{}", socket.display()))
}

#[test]
fn an_engines_claims_are_looked_up_in_the_registry_before_they_are_signed() {
    let shop = Shop::open();
    let digest = shop.put("v1", "good");
    let size = Image::with_message("good").manifest().bytes.len();
    let absent = format!("sha256:{}", "a".repeat(64));
    for (digest, size, code, message) in [
        (digest.as_str(), size + 1, TRUST, "not signed"),
        (&absent, size, NETWORK, "is not in the registry"),
        ("sha256:zz", size, NETWORK, "digest"),
    ] {
        let owner = shop.client();
        let (_engine, host) = engine_claiming(&owner, digest, size);
        let refused = owner.env("DOCKER_HOST", &host).run(&["push", &shop.name("v1")]);
        assert_eq!((refused.code, refused.stdout.as_str()), (code, ""), "{refused}");
        assert!(refused.stderr.contains(message), "{refused}");
    }
    shop.client().run(&["verify", &shop.name("v1")]).refused(TRUST, "does not have trust data");
    let owner = shop.client();
    let (_engine, host) = engine_claiming(&owner, &digest, size);
    owner.env("DOCKER_HOST", &host).run(&["push", &shop.name("v1")]).succeeded();
}

#[test]
fn credentials_are_used_where_asked_for_and_never_shown() {
    let registry = DockerRegistry::builder().passwords().start();
    let service = TrustService::start(env!("CARGO_BIN_EXE_countersign"));
    let stage_engine = countersign_testkit::Dockerd::start();
    let name = format!("{}/acme/app:v1", registry.host());
    stage_engine.build(&name, "one");
    let person = || Client::new().of(&service).with_engine(&stage_engine);
    let (alice, anonymous, wrong) = (person(), person(), person());
    log_in(&alice, &registry.host(), Account::ALICE.name, Account::ALICE.password);
    log_in(&wrong, &registry.host(), Account::ALICE.name, "not-her-password");
    anonymous.run(&["push", &name]).refused(NETWORK, "no basic auth credentials");
    for arguments in [&["push"][..], &["-vvv", "push"], &["-vvv", "sign"]] {
        let refused = wrong.run(&[arguments, &[&name]].concat());
        assert_eq!(refused.code, NETWORK, "{refused}");
        let printed = format!("{refused}");
        assert!(!printed.contains("not-her-password") && !printed.contains("bm90LWhlci1wYXNzd29yZ"), "{printed}");
    }
    let pushed = alice.run(&["-vvv", "push", &name]).succeeded();
    let printed = format!("{pushed}");
    for secret in [Account::ALICE.password, fixtures::ROOT_PASSPHRASE, fixtures::REPOSITORY_PASSPHRASE, "PRIVATE KEY"] {
        assert!(!printed.contains(secret), "{secret} in the log of -vvv");
    }
    let pulled = alice.run(&["pull", &name]).succeeded();
    assert!(pulled.stdout.starts_with(&name), "{pulled}");
}

#[test]
fn a_credential_helper_that_fails_is_named_where_credentials_are_wanted_and_nowhere_else() {
    use std::os::unix::fs::PermissionsExt;
    let shop = Shop::open();
    let owner = shop.client();
    let config = owner.config_dir().join("config.json");
    std::fs::write(&config, r#"{"credsStore":"countersign-test-missing"}"#).unwrap();
    shop.signed_by(&owner, "v1", "one");
    owner.run(&["verify", &shop.name("v1")]).succeeded();
    let private = DockerRegistry::builder().passwords().start();
    let name = format!("{}/acme/app:v1", private.host());
    let refused = owner.run(&["sign", &name]).refused(NETWORK, "cannot get the credentials for");
    assert!(refused.stderr.contains("countersign-test-missing"), "{refused}");
    let helper = owner.folder().join("docker-credential-junk");
    std::fs::write(&helper, "#!/bin/sh\nprintf '\\033[2Jjunk %s' \"$(cat)\"\n").unwrap();
    std::fs::set_permissions(&helper, std::fs::Permissions::from_mode(0o755)).unwrap();
    std::fs::write(&config, r#"{"credsStore":"junk"}"#).unwrap();
    let path = format!("{}:/usr/bin:/bin", owner.folder().display());
    let refused = owner.env("PATH", &path).run(&["sign", &name]);
    let refused = refused.refused(NETWORK, "cannot get the credentials for");
    assert!(!refused.stderr.contains('\u{1b}'), "{refused}");
}
