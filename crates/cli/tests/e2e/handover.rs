//! One trust directory in turns with docker and notary, and signing as somebody the owner let in.

use crate::client::{Client, Ending, LOCAL};
use crate::stage::{Shop, Stage, pushed_digest};
use countersign_testkit::{DockerClient, fixtures};
use serde_json::Value;
use std::path::Path;

/// The payload of a cached metadata file.
fn cached(folder: &Path, role: &str) -> Value {
    let text = std::fs::read(folder.join(format!("{role}.json"))).unwrap();
    serde_json::from_slice::<Value>(&text).unwrap().get_mut("signed").unwrap().take()
}

/// The names of the files in docker's key folder.
fn key_files(config: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(config.join("trust/private")).unwrap();
    let mut names: Vec<_> = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

#[test]
fn a_trust_directory_of_docker_is_taken_over_and_given_back() {
    let stage = Stage::set();
    let app = stage.repository("acme/app");
    for docker in [stage.docker(), stage.docker20()] {
        let app =
            format!("{app}-{}", docker.folder().file_name().unwrap().to_string_lossy().to_lowercase().replace('.', ""));
        let ours = Client::new().sharing(docker.config_dir().as_path()).of(&stage.service).with_engine(&stage.engine);
        let push = |tag: &str| {
            stage.engine.build(&format!("{app}:{tag}"), &format!("{app}{tag}"));
            format!("{app}:{tag}")
        };
        docker.run(&["push", &push("v1")]).succeeded();
        let keys = key_files(&docker.config_dir());

        let verified = ours.run(&["verify", &format!("{app}:v1")]).succeeded();
        assert!(!verified.stderr.contains("first use"), "docker's cached root is the anchor: {verified}");
        let signed = ours.run(&["push", &push("v2")]).succeeded();
        assert!(!signed.stderr.contains("initializing"), "{signed}");
        assert_eq!(key_files(&docker.config_dir()), keys, "docker's keys sign, no others are made");

        let pulled = docker.run(&["pull", &format!("{app}:v2")]).succeeded();
        assert!(pulled.stdout.contains("Pull (1 of 1)"), "{pulled}");
        let digest = pushed_digest(&docker.run(&["push", &push("v3")]).succeeded());
        let verified = ours.run(&["verify", &format!("{app}:v3")]).succeeded();
        assert!(verified.stdout.contains(&digest), "{verified}");
        let notary = stage.notary();
        let trust = docker.config_dir().join("trust");
        let listed = notary.run(&["--trustDir", trust.to_str().unwrap(), "list", &app]).succeeded();
        for tag in ["v1", "v2", "v3"] {
            assert!(listed.stdout.contains(tag), "{listed}");
        }
    }
}

#[test]
fn what_we_begin_docker_and_notary_continue() {
    let stage = Stage::set();
    let ours = stage.countersign();
    let app = stage.repository("acme/app");
    let name = |tag: &str| format!("{app}:{tag}");
    for tag in ["v1", "v2"] {
        stage.engine.build(&name(tag), tag);
    }
    ours.run(&["push", &name("v1")]).succeeded();
    let docker = stage.docker();
    std::fs::remove_dir_all(docker.config_dir()).unwrap();
    copy(ours.config_dir(), &docker.config_dir());
    let pushed = docker.run(&["push", &name("v2")]).succeeded();
    assert!(pushed.stdout.contains("Successfully signed"), "{pushed}");
    let notary = stage.notary();
    let trust = docker.config_dir().join("trust");
    let with_trust =
        |arguments: &[&str]| notary.run(&[&["--trustDir", trust.to_str().unwrap()], arguments].concat()).succeeded();
    with_trust(&["key", "rotate", &app, "targets"]);
    with_trust(&["key", "rotate", &app, "snapshot", "--server-managed"]);
    let listed = with_trust(&["key", "list"]);
    assert!(listed.stdout.contains("root") && listed.stdout.contains("targets"), "{listed}");

    // Our own directory knows nothing of the rotations; it follows them and finds its key replaced.
    ours.run(&["verify", &name("v2")]).succeeded();
    ours.run(&["push", &name("v2")]).succeeded();
    stage.engine.build(&name("v2"), "changed");
    ours.run(&["push", &name("v2")]).refused(LOCAL, "at least one of these keys must be available");
}

fn copy(from: &Path, to: &Path) {
    let mut command = std::process::Command::new("cp");
    assert!(command.arg("-a").arg(from).arg(to).status().unwrap().success());
}

#[test]
fn golden_keys_of_docker_sign_again() {
    let stage = Stage::set();
    let name = format!("{}:v1", stage.repository("acme/app"));
    stage.engine.build(&name, "one");
    let owner = stage.countersign().with_golden_trust("docker28/owner/trust");
    let root = "7ac60cb962d8e4d2e2390778c2e08c9446b30921edde669e57989893fd82b76b";
    let listed = owner.run(&["key", "list"]).succeeded();
    assert!(
        listed.stdout.lines().nth(1).is_some_and(|line| line.starts_with("root") && line.contains(root)),
        "{listed}"
    );
    let before = key_files(owner.config_dir()).len();
    owner.run(&["push", &name]).succeeded();
    assert_eq!(key_files(owner.config_dir()).len(), before + 1, "the root key is used again, a repository key is made");
    stage.docker().run(&["pull", &name]).succeeded();
}

#[test]
fn the_root_key_of_a_notary_0_1_directory_signs_again() {
    let shop = Shop::open();
    let owner = shop.client().with_golden_trust("compat-notary0.1");
    let owner = owner.env("DOCKER_CONTENT_TRUST_ROOT_PASSPHRASE", "randompass");
    let root = "d0c623c8e70c70d42a8a8125c44a8598588b3f6e31d5c21a83cbc338dfde8a68";
    let listed = owner.run(&["key", "list"]).succeeded();
    assert!(listed.stdout.lines().any(|line| line.starts_with("root") && line.contains(root)), "{listed}");
    shop.signed_by(&owner, "v1", "one");
    let listed = owner.run(&["key", "list"]).succeeded();
    let roots: Vec<_> = listed.stdout.lines().filter(|line| line.starts_with("root")).collect();
    assert_eq!(roots.len(), 1, "{listed}");
    shop.client().run(&["verify", &shop.name("v1")]).succeeded();
}

struct Team {
    stage: Stage,
    app: String,
    owner: DockerClient,
}

impl Team {
    /// An owner with docker 20.10, one signed tag, and these signers with keys made by `docker trust key generate`.
    fn of(signers: &[&str]) -> (Self, Vec<DockerClient>) {
        let stage = Stage::set();
        let app = stage.repository("acme/app");
        let owner = stage.docker20();
        stage.engine.build(&format!("{app}:v1"), "one");
        owner.run(&["push", &format!("{app}:v1")]).succeeded();
        let people = signers.iter().map(|name| {
            let person = stage.docker();
            person.run(&["trust", "key", "generate", name]).succeeded();
            let public = person.folder().join(format!("{name}.pub"));
            owner.run(&["trust", "signer", "add", "--key", public.to_str().unwrap(), name, &app]).succeeded();
            person
        });
        let people = people.collect();
        (Self { stage, app, owner }, people)
    }

    fn build(&self, tag: &str) -> String {
        let name = format!("{}:{tag}", self.app);
        self.stage.engine.build(&name, tag);
        name
    }
}

#[test]
fn a_signer_signs_her_role_and_releases_and_never_targets() {
    let (team, people) = Team::of(&["alice"]);
    let ours = Client::new().sharing(people[0].config_dir().as_path());
    let ours = ours.of(&team.stage.service).with_engine(&team.stage.engine);
    let name = team.build("v2");
    let signed = ours.run(&["push", &name]).succeeded();
    assert!(signed.stderr.contains("had not seen"), "she hears what she starts from: {signed}");
    let metadata = ours.metadata(&team.app);
    let has_tag = |role: &str| cached(&metadata, role)["targets"].get("v2").is_some();
    assert!(has_tag("targets/alice") && has_tag("targets/releases") && !has_tag("targets"));
    let digest = signed.stdout.trim().rsplit_once('@').unwrap().1.to_owned();
    let pulled = team.stage.docker().run(&["pull", &name]).succeeded();
    assert!(pulled.stdout.contains(&digest), "{pulled}");
    let inspected = team.owner.run(&["trust", "inspect", "--pretty", &team.app]).succeeded();
    assert!(inspected.stdout.lines().any(|line| line.starts_with("v2") && line.ends_with("alice")), "{inspected}");

    // Nobody signs for her: neither a stranger nor the owner, who has the repository key.
    let v3 = team.build("v3");
    team.stage.countersign().run(&["push", &v3]).refused(LOCAL, "no valid signing keys for delegation roles");
    let owner = Client::new().sharing(team.owner.config_dir().as_path());
    let owner = owner.of(&team.stage.service).with_engine(&team.stage.engine);
    let refused = owner.run(&["push", &v3]).refused(LOCAL, "no valid signing keys for delegation roles");
    assert!(refused.stderr.contains("key load"), "{refused}");
    // The owner may take a tag of targets back, but not pretend that hers is gone.
    owner.run(&["revoke", &name]).refused(crate::client::TRUST, "would stay valid");
    ours.run(&["revoke", &name]).succeeded();
    ours.run(&["verify", &name]).refused(crate::client::TRUST, "No valid trust data for v2");
    ours.run(&["revoke", &format!("{}:v1", team.app)]).refused(crate::client::TRUST, "would stay valid");
}

#[test]
fn a_loaded_key_signs_for_its_delegation() {
    let (team, people) = Team::of(&["alice"]);
    let private = people[0].config_dir().join("trust/private");
    let file = std::fs::read_dir(private).unwrap().next().unwrap().unwrap().path();
    let other = team.stage.countersign();
    // A file of the store itself: docker prints success and stores nothing.
    let loaded = other.run(&["key", "load", "--name", "alice", file.to_str().unwrap()]).succeeded();
    assert!(loaded.stdout.starts_with("Successfully imported alice key "), "{loaded}");
    let name = team.build("v2");
    other.run(&["push", &name]).succeeded();
    team.stage.docker().run(&["pull", &name]).succeeded();

    // A key made here, and a signer added by docker with its public half.
    let carol = team.stage.countersign();
    carol.run(&["key", "generate", "carol"]).succeeded();
    let public = carol.folder().join("carol.pub");
    team.owner.run(&["trust", "signer", "add", "--key", public.to_str().unwrap(), "carol", &team.app]).succeeded();
    let name = team.build("v3");
    carol.run(&["push", &name]).succeeded();
    let inspected = team.owner.run(&["trust", "inspect", "--pretty", &name]).succeeded();
    assert!(inspected.stdout.lines().any(|line| line.starts_with("v3") && line.ends_with("carol")), "{inspected}");
}

#[test]
fn inspect_prints_what_docker_prints_byte_for_byte() {
    let (team, people) = Team::of(&["bob", "alice", "zed"]);
    for (person, tag) in people.iter().zip(["1.10", "1.9", "v10"]) {
        person.run(&["trust", "sign", &team.build(tag)]).succeeded();
    }
    let second = format!("{}:1.9", team.app);
    people[0].run(&["trust", "sign", &second]).succeeded();
    let plain = team.stage.repository("acme/plain");
    for tag in ["v2", "v10", "a", "V3"] {
        team.stage.engine.build(&format!("{plain}:{tag}"), tag);
        team.owner.run(&["push", &format!("{plain}:{tag}")]).succeeded();
    }
    let (docker, ours) = (team.stage.docker(), team.stage.countersign());
    let one = format!("{}:1.9", team.app);
    let unsigned = format!("{}:none", team.app);
    let unknown = team.stage.repository("acme/unknown");
    for images in [
        &[team.app.as_str()][..],
        &[&plain],
        &[&one],
        &[&unsigned],
        &[&team.app, &plain, &one],
        &[&unknown],
        &[&plain, &unknown, &one],
    ] {
        for pretty in [&[][..], &["--pretty"]] {
            let theirs = docker.run(&[&["trust", "inspect"], pretty, images].concat());
            let mine = ours.run(&[&["inspect"], pretty, images].concat());
            assert!(mine.stdout == theirs.stdout, "{mine}\n{theirs}");
            assert_eq!(mine.code == 0, theirs.code == 0, "{mine}\n{theirs}");
            assert_eq!(mine.stderr.contains("no signatures or cannot access"), theirs.code != 0, "{mine}");
        }
    }
    let golden: Value = serde_json::from_str(&fixtures::text("docker28/out/inspect.json")).unwrap();
    let mine = ours.run(&["inspect", &plain]).succeeded();
    let mine: Value = serde_json::from_str(&mine.stdout).unwrap();
    let members = |value: &Value| value[0].as_object().unwrap().keys().cloned().collect::<Vec<_>>();
    assert_eq!(members(&mine), members(&golden));
}
