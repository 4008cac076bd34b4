//! Everything that can happen to keys.

use crate::client::Client;
use countersign_crypto::{Algorithm, PrivateKey};
use countersign_testkit::{Finished, TrustService, fixtures};
use countersign_vault::{EnvironmentPassphrases, KeyLabel, TrustDirectory};
use jiff::{SignedDuration, Timestamp};
use serde_json::Value;
use std::cell::Cell;

/// How long a certificate counts that ends soon: those who know the collection have to see it before.
const SOON: SignedDuration = SignedDuration::from_secs(90);
/// How long the certificates that Countersign makes count.
const VALIDITY: SignedDuration = SignedDuration::from_hours(3650 * 24);

/// One row of the table.
pub(super) struct Story {
    pub(super) row: &'static str,
    pub(super) before: Before,
    pub(super) certificate: Certificate,
    /// What happens after others have seen it; returns a text that clients follow.
    pub(super) play: fn(&Scene<'_>) -> Option<String>,
}

/// How a collection begins in which `v1` is signed.
#[derive(Clone, Copy)]
pub(super) enum Before {
    /// The owner signs; the trust service has the snapshot key.
    OwnerSigns,
    /// The same, and the owner has the snapshot key.
    OwnerKeepsSnapshot,
    /// Alice signs, and nobody else.
    AliceSigns,
}

/// When the root certificate of the beginning ends.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Certificate {
    /// In ten years.
    Lasts,
    /// Before the story is played, and long after others have seen the collection.
    EndsSoon,
}

use Certificate::{EndsSoon, Lasts};

const fn story(row: &'static str, before: Before, play: fn(&Scene<'_>) -> Option<String>) -> Story {
    Story { row, before, certificate: Lasts, play }
}

const fn expired(row: &'static str, play: fn(&Scene<'_>) -> Option<String>) -> Story {
    Story { row, before: Before::OwnerSigns, certificate: EndsSoon, play }
}

pub(super) const STORIES: &[Story] = &[
    story("targets", Before::OwnerSigns, |scene| scene.rotate(&[])),
    story("snapshot-here", Before::OwnerSigns, |scene| scene.rotate(&["snapshot", "--local"])),
    story("snapshot-to-service", Before::OwnerKeepsSnapshot, |scene| scene.rotate(&["snapshot", "-r"])),
    story("snapshot-at-service", Before::OwnerSigns, |scene| scene.rotate(&["snapshot"])),
    story("timestamp", Before::OwnerSigns, |scene| scene.rotate(&["timestamp"])),
    story("root-new-key", Before::OwnerSigns, |scene| scene.rotate(&["root"])),
    story("root-new-certificate", Before::OwnerSigns, |scene| scene.rotate(&["root", "--root-certificate"])),
    story("root-three-times", Before::OwnerSigns, |scene| {
        scene
            .rotate(&["root"])
            .or_else(|| scene.rotate(&["root", "--root-certificate"]))
            .or_else(|| scene.rotate(&["root"]))
    }),
    expired("expired", |_| None),
    expired("expired-new-certificate", |scene| {
        scene.rotate(&["root", "--root-certificate"]);
        None
    }),
    expired("expired-new-certificate-told", |scene| {
        Some(scene.hinted(&["rotate", &scene.gun, "root", "--root-certificate"]))
    }),
    expired("expired-new-key", |scene| {
        scene.rotate(&["root", "--new-key"]);
        None
    }),
    expired("expired-recovered", |scene| {
        scene.key(&["recover", &scene.gun, "--apply"]);
        None
    }),
    story("repository-keys-lost", Before::OwnerKeepsSnapshot, |scene| {
        scene.lose(&["targets", "snapshot"]);
        scene.key(&["recover", &scene.gun, "--apply"]);
        None
    }),
    story("root-key-lost", Before::OwnerSigns, |scene| {
        scene.lose(&["root"]);
        (scene.put)("v2");
        scene.owner.run(&["sign", &scene.name("v2")]).succeeded();
        None
    }),
    story("new-chain", Before::OwnerSigns, |scene| {
        scene.new_chain(&["--re-sign-all"]);
        None
    }),
    story("new-chain-told", Before::OwnerSigns, |scene| Some(scene.new_chain(&["--re-sign-all"]))),
    story("new-chain-not-confirmed", Before::OwnerSigns, |scene| Some(scene.new_chain(&["--re-sign-none"]))),
    story("signer", Before::AliceSigns, |scene| scene.drill(&["alice"], &["--re-sign", "v1"])),
    story("signer-not-confirmed", Before::AliceSigns, |scene| scene.drill(&["alice"], &["--re-sign-none"])),
    story("signer-nobody-left-here", Before::AliceSigns, |scene| {
        scene.lose(&["bob"]);
        scene.drill(&["alice"], &["--re-sign-none"])
    }),
    story("repository-key", Before::OwnerSigns, |scene| scene.drill(&[&scene.id("targets")], &["--re-sign-all"])),
    story("repository-key-not-confirmed", Before::OwnerSigns, |scene| {
        scene.drill(&[&scene.id("targets")], &["--re-sign-none"])
    }),
    story("root-key", Before::OwnerSigns, |scene| scene.drill(&[&scene.id("root")], &[])),
    story("all-keys", Before::OwnerKeepsSnapshot, |scene| {
        let ids = ["root", "targets", "snapshot"].map(|role| scene.id(role));
        scene.drill(&ids.each_ref().map(String::as_str), &["--re-sign-all"])
    }),
];

/// A collection and its owner.
pub(super) struct Scene<'a> {
    pub(super) gun: String,
    owner: Client,
    service: &'a TrustService,
    /// Puts an image under a tag into the registry.
    put: Box<dyn Fn(&str) + 'a>,
    pub(super) certificate_end: Cell<Option<Timestamp>>,
}

impl<'a> Scene<'a> {
    pub(super) fn new(gun: String, owner: Client, service: &'a TrustService, put: Box<dyn Fn(&str) + 'a>) -> Self {
        Self { gun, owner, service, put, certificate_end: Cell::new(None) }
    }

    pub(super) fn begin(&self, before: Before) {
        match before {
            Before::OwnerSigns => self.owner_signs(),
            Before::OwnerKeepsSnapshot => self.owner_keeps_snapshot(),
            Before::AliceSigns => self.alice_signs(),
        }
    }

    fn name(&self, tag: &str) -> String {
        format!("{}:{tag}", self.gun)
    }

    fn owner_signs(&self) {
        (self.put)("v1");
        self.owner.run(&["sign", &self.name("v1")]).succeeded();
    }

    fn owner_keeps_snapshot(&self) {
        self.owner_signs();
        self.key(&["rotate", &self.gun, "snapshot", "--local"]);
    }

    /// Alice signs `v1`, from a machine of her own; bob is a signer whose key is with the owner.
    fn alice_signs(&self) {
        (self.put)("v1");
        let alice = Client::new().of(self.service);
        for (name, person) in [("alice", &alice), ("bob", &self.owner)] {
            person.run(&["key", "generate", name]).succeeded();
            let file = format!("{name}.pub");
            if name == "alice" {
                std::fs::copy(person.folder().join(&file), self.owner.folder().join(&file)).unwrap();
            }
            self.owner.plugin(&["trust", "signer", "add", "--key", &file, name, &self.gun]).succeeded();
        }
        alice.run(&["sign", &self.name("v1")]).succeeded();
    }

    /// Gives the collection a root key whose certificate ends soon.
    pub(super) fn shorten_certificate(&self) {
        let key = PrivateKey::generate(Algorithm::EcdsaP256).unwrap();
        let passphrases = EnvironmentPassphrases::docker(|name| {
            (name == "DOCKER_CONTENT_TRUST_ROOT_PASSPHRASE").then(|| fixtures::ROOT_PASSPHRASE.into())
        });
        let directory = TrustDirectory::open(self.owner.trust_dir()).unwrap();
        directory.keys().add(&key, &KeyLabel::root(), &passphrases).unwrap();
        let end = Timestamp::now() + SOON;
        let certificate = countersign_crypto::certificate::self_signed(&self.gun, &key, end - VALIDITY).unwrap();
        std::fs::write(self.owner.folder().join("short.crt"), certificate).unwrap();
        self.rotate(&["root", "--root-certificate=short.crt"]);
        self.certificate_end.set(Some(end + SignedDuration::from_secs(1)));
    }

    /// `countersign key …`, without questions.
    fn key(&self, arguments: &[&str]) -> Finished {
        self.owner.run(&[&["key"], arguments, &["--yes"]].concat()).succeeded()
    }

    fn rotate(&self, arguments: &[&str]) -> Option<String> {
        self.key(&[&["rotate", &self.gun], arguments].concat());
        None
    }

    /// What a command tells about what clients have to do, as commands of a shell.
    fn hinted(&self, arguments: &[&str]) -> String {
        let told = self.key(arguments).stderr;
        let hint = told.lines().find(|line| line.contains("the root certificate in their caches has expired")).unwrap();
        assert!(hint.contains(&format!("notary delete {}", self.gun)), "{hint}");
        assert!(hint.contains(&format!("tuf/{}/metadata", self.gun)), "{hint}");
        format!("rm -r ~/.docker/trust/tuf/{0}/metadata\nnotary delete {0}\n", self.gun)
    }

    fn drill(&self, who: &[&str], arguments: &[&str]) -> Option<String> {
        let who: Vec<&str> = who.iter().flat_map(|who| ["--compromised", who]).collect();
        self.key(&[&["rotate", &self.gun], who.as_slice(), arguments].concat());
        None
    }

    /// Loses every key, begins anew, and returns the text for everybody.
    fn new_chain(&self, arguments: &[&str]) -> String {
        self.lose(&["root", "targets"]);
        let notice = self.owner.folder().join("notice.txt");
        let notice = notice.to_str().unwrap();
        self.key(&[&["recover", &self.gun, "--new-chain", "--apply", "--notice", notice], arguments].concat());
        let text = std::fs::read_to_string(notice).unwrap();
        // Where nothing is signed, there is nothing to verify yet.
        if arguments == ["--re-sign-none"] { text.replace("countersign verify", "#") } else { text }
    }

    fn listed(&self) -> Vec<Value> {
        let listed = self.owner.run(&["key", "list", "--format", "json"]).succeeded();
        serde_json::from_str(&listed.stdout).unwrap()
    }

    fn id(&self, role: &str) -> String {
        let key = self.listed().into_iter().find(|key| key.get("role") == Some(&role.into()));
        key.unwrap().get("id").unwrap().as_str().unwrap().to_owned()
    }

    fn lose(&self, roles: &[&str]) {
        for key in self.listed() {
            if roles.iter().any(|role| key.get("role") == Some(&(*role).into())) {
                std::fs::remove_file(key.get("path").unwrap().as_str().unwrap()).unwrap();
            }
        }
    }
}
