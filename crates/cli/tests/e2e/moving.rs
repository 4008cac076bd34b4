//! `countersign import move`: a collection goes on at a service of one's own, and nobody who knew it notices.

use crate::client::{Client, Ending, NETWORK, TRUST, USER};
use crate::reference_server::Reference;
use crate::stage::Shop;
use countersign_testkit::{DockerClient, Finished, Image, MemoryRegistry, NotaryClient, TrustService};
use serde_json::Value;
use std::path::{Path, PathBuf};

const PROGRAM: &str = env!("CARGO_BIN_EXE_countersign");

fn json(finished: &Finished) -> Value {
    serde_json::from_str(&finished.stdout).unwrap_or_else(|error| panic!("{error}: {finished}"))
}

/// Saves a collection where its owner keeps it.
fn save(owner: &Client, url: &str, gun: &str) -> PathBuf {
    let folder = owner.folder().join("archive");
    owner.run(&["import", "http", url, gun, "--to", folder.to_str().unwrap()]).succeeded();
    folder
}

fn moving(owner: &Client, archive: &Path, gun: &str, to: &TrustService, rest: &[&str]) -> Finished {
    let url = to.url();
    owner.run(&[&["import", "move", archive.to_str().unwrap(), gun, "--to", &url, "--format", "json"], rest].concat())
}

/// The notary client of somebody who now asks the other service.
fn at(client: NotaryClient, service: &TrustService) -> NotaryClient {
    std::fs::write(client.folder().join("ca.pem"), service.authority_pem()).unwrap();
    client.with_server(&service.url())
}

/// Three people who have just looked at the collection.
struct Readers {
    countersign: Client,
    notary: NotaryClient,
    docker: DockerClient,
}

impl Readers {
    fn of(reference: &Reference, gun: &str, tag: &str) -> Self {
        let readers =
            Self { countersign: reference.client(), notary: reference.notary(), docker: reference.docker28() };
        readers.assert_see(gun, &[tag]);
        readers
    }

    fn at(self, service: &TrustService) -> Self {
        Self {
            countersign: self.countersign.of(service),
            notary: at(self.notary, service),
            docker: service.trusting(self.docker),
        }
    }

    fn assert_see(&self, gun: &str, tags: &[&str]) {
        let listed = self.notary.run(&["list", gun]).succeeded();
        let inspected = self.docker.run(&["trust", "inspect", gun]).succeeded();
        for tag in tags {
            self.countersign.run(&["verify", &format!("{gun}:{tag}")]).succeeded();
            assert!(listed.stdout.contains(tag), "{tag}: {listed}");
            assert!(inspected.stdout.contains(&format!("\"SignedTag\": \"{tag}\"")), "{tag}: {inspected}");
        }
    }
}

/// A collection at the reference's server, with signers and four roots, and people who saw it at different times.
struct Old {
    reference: Reference,
    registry: MemoryRegistry,
    owner: Client,
    gun: String,
    readers: Vec<Readers>,
}

impl Old {
    fn lived_in() -> Self {
        let (reference, registry) = (Reference::start(), MemoryRegistry::start().unwrap());
        let (owner, gun) = (reference.client(), format!("{}/acme/app", registry.host()));
        let mut old = Self { reference, registry, owner, gun, readers: Vec::new() };
        old.sign("v1");
        old.look("v1");
        old.owner.plugin(&["trust", "key", "generate", "alice"]).succeeded();
        old.owner.plugin(&["trust", "signer", "add", "--key", "alice.pub", "alice", &old.gun]).succeeded();
        old.owner.run(&["key", "rotate", &old.gun, "targets"]).succeeded();
        old.sign("v2");
        old.look("v2");
        old.owner.run(&["key", "rotate", &old.gun, "root", "--yes"]).succeeded();
        old.owner.run(&["key", "rotate", &old.gun, "snapshot", "--server-managed"]).succeeded();
        old.sign("v3");
        old.look("v3");
        old
    }

    fn sign(&self, tag: &str) {
        self.registry.put_image("acme/app", tag, &Image::with_message(tag)).unwrap();
        self.owner.run(&["sign", &format!("{}:{tag}", self.gun)]).succeeded();
    }

    fn look(&mut self, tag: &str) {
        self.readers.push(Readers::of(&self.reference, &self.gun, tag));
    }
}

#[test]
fn docker_28_notary_and_countersign_of_every_age_go_on_when_a_collection_has_moved() {
    let old = Old::lived_in();
    let gun = old.gun.clone();
    let archive = save(&old.owner, &old.reference.url, &gun);
    let Old { reference, registry, owner, readers, .. } = old;
    drop(reference);
    let service = TrustService::start(PROGRAM);
    let owner = owner.of(&service);
    let moved = json(&moving(&owner, &archive, &gun, &service, &["--yes"]).succeeded());
    assert_eq!((&moved["state"], &moved["root"]), (&"moved".into(), &5.into()), "{moved}");
    let readers: Vec<Readers> = readers.into_iter().map(|readers| readers.at(&service)).collect();
    for readers in &readers {
        readers.assert_see(&gun, &["v1", "v2", "v3"]);
    }
    // Its owner goes on with the keys they have, and everybody follows, newcomers too.
    registry.put_image("acme/app", "v4", &Image::with_message("v4")).unwrap();
    owner.run(&["sign", &format!("{gun}:v4")]).succeeded();
    let fresh = Readers {
        countersign: Client::new().of(&service),
        notary: service.notary_client(),
        docker: service.trusting(DockerClient::v28()),
    };
    for readers in readers.iter().chain([&fresh]) {
        readers.assert_see(&gun, &["v1", "v4"]);
    }
    // Done again it says that it is done.
    let again = json(&moving(&owner, &archive, &gun, &service, &[]).succeeded());
    assert_eq!(again["state"], "moved already", "{again}");
}

#[test]
fn an_owner_s_own_snapshot_key_stays_theirs_when_a_collection_moves() {
    const GUN: &str = "example.test/app";
    let reference = Reference::start();
    let owner = reference.client();
    std::fs::write(owner.folder().join("hello"), "hello\n").unwrap();
    let trust_dir = owner.trust_dir();
    let notary = |owner: &Client, url: &str, words: &[&str]| {
        owner.run(&[&["notary", "-s", url, "-d", trust_dir.to_str().unwrap()], words].concat())
    };
    let ca = owner.config_dir().join("tls").join(reference.url.trim_start_matches("https://")).join("ca.crt");
    let ca = ca.to_str().unwrap();
    let owner = owner.env("NOTARY_ROOT_PASSPHRASE", "r").env("NOTARY_TARGETS_PASSPHRASE", "t");
    let owner = owner.env("NOTARY_SNAPSHOT_PASSPHRASE", "s").env("DOCKER_CONTENT_TRUST_ROOT_PASSPHRASE", "r");
    let owner = owner.env("DOCKER_CONTENT_TRUST_REPOSITORY_PASSPHRASE", "s");
    notary(&owner, &reference.url, &["--tlscacert", ca, "init", GUN, "-p"]).succeeded();
    let reader = reference.notary();
    reader.run(&["list", GUN]).succeeded();
    let archive = save(&owner, &reference.url, GUN);
    let service = TrustService::start(PROGRAM);
    let owner = owner.of(&service);
    moving(&owner, &archive, GUN, &service, &["--yes"]).succeeded();
    at(reader, &service).run(&["list", GUN]).succeeded();
    let current = owner.run(&["key", "list"]).succeeded();
    assert!(current.stdout.contains("snapshot"), "{current}");
}

#[test]
fn a_collection_moves_only_with_its_root_key_and_consent_and_not_onto_another() {
    let (shop, other) = (Shop::open(), TrustService::start(PROGRAM));
    let owner = shop.client();
    shop.signed_by(&owner, "v1", "one");
    let gun = shop.gun();
    let archive = save(&owner, &shop.service.url(), &gun);
    let stranger = shop.client().of(&other);
    let refused = moving(&stranger, &archive, &gun, &other, &["--yes"]).failed();
    assert!(refused.stderr.contains("root"), "{refused}");
    let owner = owner.of(&other);
    let planned = moving(&owner, &archive, &gun, &other, &["--dry-run"]).succeeded();
    assert!(planned.stderr.contains("roots 1 to 1 move along"), "{planned}");
    moving(&owner, &archive, &gun, &other, &[]).refused(USER, "nothing was moved: not confirmed");
    stranger.run(&["verify", &shop.name("v1")]).failed();
    // Somebody else has the name there.
    stranger.run(&["sign", &shop.name("v1")]).succeeded();
    moving(&owner, &archive, &gun, &other, &["--yes"]).refused(TRUST, "does not go on from the archived one");
    other.notary_client().run(&["delete", "--remote", &gun]).succeeded();
    moving(&owner, &archive, &gun, &other, &["--yes"]).succeeded();
    stranger.run(&["verify", &shop.name("v1")]).refused(TRUST, "");
    let nowhere = ["import", "move", archive.to_str().unwrap(), &gun, "--to", "https://127.0.0.1:1", "--yes"];
    owner.run(&nowhere).refused(NETWORK, "");
}

#[test]
fn an_archive_that_is_older_than_what_its_owner_knows_does_not_move() {
    let (shop, other) = (Shop::open(), TrustService::start(PROGRAM));
    let owner = shop.client();
    shop.signed_by(&owner, "v1", "one");
    let gun = shop.gun();
    let archive = save(&owner, &shop.service.url(), &gun);
    shop.signed_by(&owner, "v2", "two");
    let owner = owner.of(&other);
    moving(&owner, &archive, &gun, &other, &["--yes"]).refused(TRUST, "save the collection again");
    save(&owner, &shop.service.url(), &gun);
    moving(&owner, &archive, &gun, &other, &["--yes"]).succeeded();
    owner.run(&["verify", &shop.name("v2")]).succeeded();
}

#[test]
fn a_service_that_takes_no_whole_collections_is_said_to_be_one_and_nothing_moves() {
    let (shop, reference) = (Shop::open(), Reference::start());
    let owner = shop.client();
    shop.signed_by(&owner, "v1", "one");
    let gun = shop.gun();
    let archive = save(&owner, &shop.service.url(), &gun);
    let owner = reference.known_by(owner);
    let words = ["import", "move", archive.to_str().unwrap(), &gun, "--to", &reference.url, "--yes"];
    let refused = owner.run(&words).failed();
    assert!(refused.stderr.contains("taken in by countersign serve alone"), "{refused}");
    reference.client().run(&["verify", &shop.name("v1")]).refused(TRUST, "");
}
