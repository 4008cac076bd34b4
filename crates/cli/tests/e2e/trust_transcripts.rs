//! The recorded sections about `docker trust`: played by the plugin, and by docker 28 to judge the stage.

use crate::client::Client;
use crate::stage::{Shop, Stage};
use crate::transcript::{Part, Personality, Transcript};
use countersign_testkit::{DockerClient, NotaryClient, Port, fixtures};
use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

mod docker_28 {
    use super::*;

    const JUDGE: Personality = Personality::Docker28;

    #[test]
    fn inspecting_is_set_right() {
        let why = "docker's order of two digests for one tag is random";
        inspecting(JUDGE).finish_except(&[
            ("targets and targets/releases disagree on v1 (pretty)", why),
            ("the same, JSON; row order is random", why),
        ]);
    }

    #[test]
    fn reading_is_set_right() {
        reading(JUDGE).finish();
    }

    #[test]
    fn usage_is_set_right() {
        usage(JUDGE).finish();
    }

    #[test]
    fn keys_are_set_right() {
        keys(JUDGE).finish();
    }

    #[test]
    fn signing_is_set_right() {
        // Which of a tag's two digests docker takes for the one that is signed already is random.
        let why = "docker's order of two digests for one tag is random";
        signing(JUDGE).finish_except(&[("base targets holds an older digest: releases is rolled back to it", why)]);
    }

    #[test]
    fn revoking_is_set_right() {
        revoking(JUDGE).finish();
    }

    #[test]
    fn signers_are_set_right() {
        signers(JUDGE).finish();
    }

    #[test]
    fn configuration_is_set_right() {
        configuration(JUDGE).finish();
    }
}

mod plugin {
    use super::*;

    const OURS: Personality = Personality::Plugin;

    #[test]
    fn inspecting_is_as_docker_does() {
        inspecting(OURS).finish();
    }

    #[test]
    fn reading_is_as_docker_does() {
        reading(OURS).finish();
    }

    #[test]
    fn usage_is_as_dockers() {
        usage(OURS).finish();
    }

    #[test]
    fn the_plugin_of_docker_29_is_matched_where_it_is_right() {
        usage_of_29(OURS).finish();
    }

    #[test]
    fn what_docker_29_says_without_a_plugin_is_said_no_more() {
        without_a_plugin(OURS).finish();
    }

    #[test]
    fn keys_are_as_dockers() {
        keys(OURS).finish();
    }

    #[test]
    fn signing_is_as_docker_does() {
        signing(OURS).finish();
    }

    #[test]
    fn revoking_is_as_docker_does() {
        revoking(OURS).finish();
    }

    #[test]
    fn signers_are_as_dockers() {
        signers(OURS).finish();
    }

    #[test]
    fn configuration_is_as_dockers() {
        configuration(OURS).finish();
    }
}

/// An address at which nobody listens.
fn nobody() -> String {
    Port::take().address().to_string()
}

fn input(name: &str) -> String {
    fixtures::path(&format!("delegations/inputs/{name}")).to_str().unwrap().to_owned()
}

/// Makes a collection with the notary client, and alice a signer and releaser in it.
fn delegated_to_alice(owner: &NotaryClient, gun: &str) {
    for role in ["targets/alice", "targets/releases"] {
        owner.run(&["delegation", "add", "-p", gun, role, &input("rel1.crt"), "--all-paths"]).succeeded();
    }
}

fn signed(owner: &NotaryClient, gun: &str, tag: &str, digest: char, roles: &[&str]) {
    let digest = digest.to_string().repeat(64);
    let mut arguments = vec!["addhash", "-p", gun, tag, "524", "--sha256", &digest];
    for role in roles {
        arguments.extend(["--roles", *role]);
    }
    owner.run(&arguments).succeeded();
}

fn inspecting(personality: Personality) -> Transcript {
    let shop = Shop::open();
    let (owner, reader) = (shop.service.notary_client(), shop.client());
    let mut transcript = Transcript::of("inspect", Part::Trust, personality);
    transcript.call("reg.test:5000", &shop.registry.host());
    owner.run(&["key", "import", &input("rel1.key"), "--role", "alice"]).succeeded();
    let app = shop.gun();
    owner.run(&["init", "-p", &app]).succeeded();
    signed(&owner, &app, "v1", '1', &[]);
    signed(&owner, &app, "v2", '2', &[]);
    for comment in [
        "inspect",
        "inspect pretty",
        "inspect unsigned tag v3",
        "inspect pretty unsigned tag v3",
        "inspect multiple, second failing",
        "inspect --pretty multiple fail",
        "inspect multiple fail first",
        "inspect invalid ref",
        "inspect no args",
    ] {
        transcript.play(comment, &reader);
    }
    delegated_to_alice(&owner, &app);
    let both = ["targets/releases", "targets/alice"];
    signed(&owner, &app, "v1", '3', &both);
    transcript.play("targets and targets/releases disagree on v1 (pretty)", &reader);
    transcript.play("the same, JSON; row order is random", &reader);

    let new = format!("{}/acme/newrepo", shop.registry.host());
    owner.run(&["init", "-p", &new]).succeeded();
    delegated_to_alice(&owner, &new);
    transcript.play("inspect repo with signer, no tags", &reader);
    transcript.play("inspect pretty repo with signer, no tags", &reader);

    let long = format!("{}/acme/rv", shop.registry.host());
    owner.run(&["init", "-p", &long]).succeeded();
    delegated_to_alice(&owner, &long);
    signed(&owner, &long, "v1", '1', &both);
    signed(&owner, &long, "averyveryverylongtagname-1.2.3", '1', &both);
    transcript.play("long tag", &reader);
    let away = Client::new().at(&format!("https://{}", nobody()), &shop.service.authority_pem());
    transcript.play("server down, cold cache", &away);
    transcript
}

fn reading(personality: Personality) -> Transcript {
    let shop = Shop::open();
    let mut transcript = Transcript::of("reading", Part::Trust, personality);
    transcript.call("reg.test:5000", &shop.registry.host());
    transcript.play("repository unknown", &shop.client());
    transcript
}

fn usage(personality: Personality) -> Transcript {
    let mut transcript = Transcript::of("usage", Part::Trust, personality);
    for comment in ["trust help", "trust bogus", "noargs inspect", "noargs sign", "bad flag"] {
        transcript.play(comment, &Client::new());
    }
    transcript
}

fn usage_of_29(personality: Personality) -> Transcript {
    let mut transcript = Transcript::of("plugin29", Part::Trust, personality);
    transcript.play("plugin: trust bogus", &Client::new());
    transcript.play("plugin: trust help sign", &Client::new());
    // No way leads to Docker Hub's service: a proxy that nobody runs stands before it.
    let alone = Client::new().env("HTTPS_PROXY", &format!("http://{}", nobody()));
    transcript.play("Hub server: warning (no network here)", &alone);
    transcript
}

/// What docker 29 says where no plugin is installed: the same lines once ours is.
fn without_a_plugin(personality: Personality) -> Transcript {
    let shop = Shop::open();
    let (owner, reader) = (shop.service.notary_client(), shop.client());
    let mut transcript = Transcript::of("docker29", Part::Trust, personality);
    transcript.call("reg.test:5000", &shop.registry.host());
    let gun = format!("{}/acme/signme", shop.registry.host());
    owner.run(&["init", "-p", &gun]).succeeded();
    signed(&owner, &gun, "1.0", '2', &[]);
    transcript.play("no plugin installed", &reader);
    let inspected = transcript.play("no plugin installed, with a flag", &reader).succeeded();
    assert!(inspected.stdout.contains("(Repo Admin)"), "{inspected}");
    transcript
}

/// Writes a file that only its owner can read.
fn write(person: &Client, name: &str, content: &[u8]) {
    let path = person.folder().join(name);
    std::fs::write(&path, content).unwrap();
    std::fs::set_permissions(&path, Permissions::from_mode(0o600)).unwrap();
}

/// A private key in a form that `openssl` makes, as a file of this person.
fn made_by_openssl(person: &Client, name: &str, arguments: &[&str]) {
    let made = std::process::Command::new("openssl").args(arguments).output().unwrap();
    assert!(made.status.success(), "{made:?}");
    write(person, name, &made.stdout);
}

const EC: [&str; 5] = ["ecparam", "-name", "prime256v1", "-genkey", "-noout"];

fn keys(personality: Personality) -> Transcript {
    let mut transcript = Transcript::of("keys", Part::Trust, personality);
    let person = Client::new();
    std::fs::create_dir(person.folder().join("img1")).unwrap();
    for comment in [
        "key generate alice",
        "key generate alice again",
        "key generate --dir",
        "key generate --dir missing",
        "key generate bad name",
        "no passphrase variable, stdin empty",
    ] {
        transcript.play(comment, &person);
    }
    made_by_openssl(&person, "ec.pem", &EC);
    made_by_openssl(&person, "ecbad.pem", &EC);
    std::fs::set_permissions(person.folder().join("ecbad.pem"), Permissions::from_mode(0o644)).unwrap();
    write(&person, "garbage.pem", b"garbage\n");
    for comment in ["key load default name", "key load missing", "key load perms 644", "key load garbage"] {
        transcript.play(comment, &person);
    }
    let stored = stored_key(&person.trust_dir());
    let id = stored.file_stem().unwrap().to_str().unwrap().to_owned();
    let text = std::fs::read_to_string(&stored).unwrap();
    write(&person, "storekey.pem", text.as_bytes());
    let other = Client::new();
    write(&other, "storekey.pem", text.as_bytes());
    transcript.play("encrypted file without path header: nothing is stored", &other);
    let wrong = Client::new().env("DOCKER_CONTENT_TRUST_REPOSITORY_PASSPHRASE", "something else");
    write(&wrong, "storekey.pem", text.as_bytes());
    transcript.play("key load encrypted with wrong pass", &wrong);
    write(&person, "storekey2.pem", text.replacen("\nrole: ", &format!("\npath: {id}\nrole: "), 1).as_bytes());
    transcript.play("encrypted file with path header", &person);
    made_by_openssl(&person, "tgtkey.pem", &EC);
    let plain = std::fs::read_to_string(person.folder().join("tgtkey.pem")).unwrap();
    let targets = plain.replacen("-----\n", "-----\nrole: targets\n\n", 1);
    write(&person, "tgtkey.pem", targets.as_bytes());
    transcript.play("key load plain targets no gun", &person);
    made_by_openssl(&person, "ed.pem", &["genpkey", "-algorithm", "ed25519"]);
    transcript.play("standard Ed25519 PKCS#8", &person);
    transcript
}

/// One of the key files of a trust directory.
fn stored_key(trust_dir: &Path) -> std::path::PathBuf {
    std::fs::read_dir(trust_dir.join("private")).unwrap().next().unwrap().unwrap().path()
}

/// Somebody with our client and the docker of Debian, in one configuration folder.
fn pair(stage: &Stage) -> (DockerClient, Client) {
    let docker = stage.docker20();
    let person = stage.countersign().sharing(&docker.config_dir());
    (docker, person)
}

/// Makes alice a signer with a key of this machine.
fn alice_signs(docker: &DockerClient, repository: &str) {
    let public = docker.folder().join("alice.pub");
    if !public.exists() {
        docker.run(&["trust", "key", "generate", "alice"]).succeeded();
    }
    docker.run(&["trust", "signer", "add", "--key", "alice.pub", "alice", repository]).succeeded();
}

fn signing(personality: Personality) -> Transcript {
    let stage = Stage::set();
    let (docker, person) = pair(&stage);
    let mut transcript = Transcript::of("sign", Part::Trust, personality);
    transcript.call("reg.test:5000", &stage.registry.host());
    let app = stage.repository("acme/app");
    for tag in ["v1", "v2", "v3"] {
        stage.engine.build(&format!("{app}:{tag}"), tag);
    }
    docker.run(&["push", &format!("{app}:v1")]).succeeded();
    docker.run(&["push", &format!("{app}:v2")]).succeeded();
    docker.run(&["push", "--disable-content-trust", &format!("{app}:v3")]).succeeded();
    alice_signs(&docker, &app);
    for comment in [
        "tag released in base targets, delegations added since",
        "sign v1 again",
        "sign v3 (not signed, local image present)",
        "sign --local v2",
        "sign no tag",
        "sign digest",
        "sign tag absent locally, unsigned",
    ] {
        transcript.play(comment, &person);
    }
    let (new, again) = (stage.repository("acme/signme"), stage.repository("acme/davesign"));
    stage.engine.build(&format!("{new}:1.0"), "signme");
    docker.run(&["push", "--disable-content-trust", &format!("{new}:1.0")]).succeeded();
    docker.run(&["tag", &format!("{new}:1.0"), &format!("{again}:1.0")]).succeeded();
    transcript.play("new repository, not logged in", &stage.countersign());
    let dave = stage.countersign();
    // "dave:x" in base64.
    let login = serde_json::json!({"auths": {stage.registry.host(): {"auth": "ZGF2ZTp4"}}});
    std::fs::write(dave.config_dir().join("config.json"), login.to_string()).unwrap();
    transcript.play("new repository, logged in as dave", &dave);

    let team = stage.repository("acme/rv");
    stage.engine.build(&format!("{team}:v1"), "rv");
    docker.run(&["push", &format!("{team}:v1")]).succeeded();
    docker.run(&["tag", &format!("{team}:v1"), &format!("{team}:v7")]).succeeded();
    alice_signs(&docker, &team);
    transcript.play("no matching key, delegations exist", &stage.countersign());
    transcript.play("wrong repository passphrase", &person);
    rolled_back(&stage, &mut transcript);
    transcript
}

/// The base role holds an older digest than the releases.
fn rolled_back(stage: &Stage, transcript: &mut Transcript) {
    let (docker, person) = pair(stage);
    let app = stage.repository("acme/app");
    let name = format!("{app}-two:v1");
    stage.engine.build(&name, "old");
    docker.run(&["push", &name]).succeeded();
    alice_signs(&docker, &format!("{app}-two"));
    stage.engine.build(&name, "new");
    docker.run(&["push", &name]).succeeded();
    transcript.call("reg.test:5000/acme/app:v1", &name);
    transcript.play("base targets holds an older digest: releases is rolled back to it", &person);
}

fn revoking(personality: Personality) -> Transcript {
    let stage = Stage::set();
    let (docker, person) = pair(&stage);
    let mut transcript = Transcript::of("revoke", Part::Trust, personality);
    transcript.call("reg.test:5000", &stage.registry.host());
    transcript.call("trust.test:4443", stage.service.url().trim_start_matches("https://"));
    let single = stage.repository("acme/signme");
    stage.engine.build(&format!("{single}:1.0"), "signme");
    docker.run(&["push", &format!("{single}:1.0")]).succeeded();
    transcript.play("revoke without any key, no delegations", &stage.countersign());
    let app = stage.repository("acme/app");
    for tag in ["v1", "v3"] {
        stage.engine.build(&format!("{app}:{tag}"), tag);
        docker.run(&["push", &format!("{app}:{tag}")]).succeeded();
    }
    for comment in ["trust revoke v3", "trust revoke v3 again", "trust revoke digest", "stdin empty = answer no"] {
        transcript.play(comment, &person);
    }
    let team = stage.repository("acme/rv");
    stage.engine.build(&format!("{team}:v1"), "rv");
    stage.engine.build(&format!("{team}:v2"), "rv2");
    docker.run(&["trust", "key", "generate", "alice"]).succeeded();
    docker.run(&["trust", "signer", "add", "--key", "alice.pub", "alice", &team]).succeeded();
    docker.run(&["push", &format!("{team}:v1")]).succeeded();
    transcript.play("revoke without keys (delegations)", &stage.countersign());
    docker.run(&["push", &format!("{team}:v2")]).succeeded();
    transcript.play("revoke -y all", &person);
    transcript.play("revoke -y all again", &person);
    transcript.play("revoke unknown repo tag", &person);
    transcript
}

fn signers(personality: Personality) -> Transcript {
    let stage = Stage::set();
    let (docker, person) = pair(&stage);
    let mut transcript = Transcript::of("signers", Part::Trust, personality);
    transcript.call("reg.test:5000", &stage.registry.host());
    transcript.call("trust.test:4443", stage.service.url().trim_start_matches("https://"));
    docker.run(&["trust", "key", "generate", "alice"]).succeeded();
    docker.run(&["trust", "key", "generate", "bob"]).succeeded();
    write(&person, "alice.pub", &std::fs::read(docker.folder().join("alice.pub")).unwrap());
    write(&person, "garbage.pem", b"garbage\n");
    made_by_openssl(&person, "ec.pem", &EC);
    let app = stage.repository("acme/app");
    for tag in ["v1", "v3"] {
        stage.engine.build(&format!("{app}:{tag}"), tag);
    }
    docker.run(&["push", &format!("{app}:v1")]).succeeded();
    docker.run(&["push", "--disable-content-trust", &format!("{app}:v3")]).succeeded();
    for comment in [
        "signer add no key",
        "signer add releases",
        "signer add bad name",
        "signer add missing keyfile",
        "signer add garbage keyfile",
        "signer add privkey as key",
        "signer add alice to existing repo",
        "signer add alice to new repo",
        "signer add to two repos, one bad",
        "signer remove nonexist",
        "signer remove releases",
    ] {
        transcript.play(comment, &person);
    }
    docker.run(&["trust", "signer", "add", "--key", "bob.pub", "bob", &app]).succeeded();
    docker.run(&["push", &format!("{app}:v1")]).succeeded();
    transcript.play("other signers remain: silent no-op", &person);
    if personality != Personality::Docker28 {
        docker.run(&["trust", "signer", "add", "--key", "bob.pub", "bob", &app]).succeeded();
    }
    transcript.play("-f: silent no-op", &person);
    let left = last_signer(&stage);
    transcript.call("reg.test:5000/acme/app", &left.repository);
    transcript.play("last signer, stdin empty = no", &left.person);
    left.docker.run_with_input(&["trust", "signer", "remove", "alice", &left.repository], "y\n").succeeded();
    let private = left.person.trust_dir().join("private");
    std::fs::copy(&left.carls_key, private.join(left.carls_key.file_name().unwrap())).unwrap();
    transcript.play("the wedge after removing the last signer", &left.person);
    transcript.play("nothing signed in releases yet", &person);
    transcript.play("signer remove in nonexisting repo", &person);
    transcript
}

/// A repository whose releases only alice has signed, with the key of another person beside hers.
struct LastSigner {
    docker: DockerClient,
    person: Client,
    repository: String,
    carls_key: std::path::PathBuf,
    _carl: DockerClient,
}

fn last_signer(stage: &Stage) -> LastSigner {
    let (docker, person) = pair(stage);
    let repository = stage.repository("acme/app-left");
    for tag in ["v1", "v3"] {
        stage.engine.build(&format!("{repository}:{tag}"), &format!("left {tag}"));
    }
    docker.run(&["push", &format!("{repository}:v1")]).succeeded();
    docker.run(&["push", "--disable-content-trust", &format!("{repository}:v3")]).succeeded();
    docker.run(&["trust", "key", "generate", "alice"]).succeeded();
    docker.run(&["trust", "signer", "add", "--key", "alice.pub", "alice", &repository]).succeeded();
    docker.run(&["push", &format!("{repository}:v1")]).succeeded();
    // Somebody else, whose key is not here when alice goes, and comes afterwards.
    let carl = stage.docker20();
    carl.run(&["trust", "key", "generate", "carl"]).succeeded();
    std::fs::copy(carl.folder().join("carl.pub"), docker.folder().join("carl.pub")).unwrap();
    docker.run(&["trust", "signer", "add", "--key", "carl.pub", "carl", &repository]).succeeded();
    LastSigner { docker, person, repository, carls_key: stored_key(&carl.config_dir().join("trust")), _carl: carl }
}

fn configuration(personality: Personality) -> Transcript {
    let shop = Shop::open();
    let (owner, reader) = (shop.service.notary_client(), shop.client());
    let mut transcript = Transcript::of("tls", Part::Trust, personality);
    transcript.call("reg.test:5000", &shop.registry.host());
    let gun = format!("{}/acme/signme", shop.registry.host());
    owner.run(&["init", "-p", &gun]).succeeded();
    signed(&owner, &gun, "1.0", '2', &[]);
    std::fs::write(reader.config_dir().join("config.json"), "{bad").unwrap();
    transcript.play("config.json does not parse", &reader);
    transcript
}
