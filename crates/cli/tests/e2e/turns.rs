//! Docker 28, notary 0.7 and Countersign take turns on one trust directory and one collection, in any order.
//!
//! A random walk: each step somebody changes something, then all three have to see the same. `TURNS_SEED` and
//! `TURNS_STEPS` choose another walk or a longer one; a failure prints the walk so far.

use crate::client::Client;
use crate::stage::{Stage, pushed_digest};
use countersign_testkit::{DockerClient, Finished, NotaryClient, Passphrases, fixtures};
use std::collections::{BTreeMap, BTreeSet};

const STEPS: u64 = 100;
const TAGS: [&str; 5] = ["1.0", "1.1", "2.0", "edge", "latest"];
const PEOPLE: [&str; 3] = ["alice", "bob", "carol"];

/// Who does something.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Actor {
    Docker,
    Notary,
    Countersign,
    OurDockerTrust,
    OurNotary,
}

#[derive(Debug, Clone, Copy)]
enum Action {
    Sign,
    Revoke,
    Stage,
    Rotate,
    AddSigner,
    RemoveSigner,
    Witness,
}

type Tags = BTreeMap<&'static str, String>;

/// What the collection has to hold, role by role.
#[derive(Debug, Default)]
struct Expected {
    targets: Tags,
    releases: Option<Tags>,
    signers: BTreeMap<&'static str, Tags>,
}

impl Expected {
    /// Docker's rule: with delegations all of them and never `targets`.
    fn signed(&mut self, tag: &'static str, digest: &str) {
        match &mut self.releases {
            None => drop(self.targets.insert(tag, digest.to_owned())),
            Some(releases) => {
                releases.insert(tag, digest.to_owned());
                for signed in self.signers.values_mut() {
                    signed.insert(tag, digest.to_owned());
                }
            }
        }
    }

    /// The roles that docker signs with.
    fn roles(&self) -> Vec<String> {
        if self.releases.is_none() {
            return vec!["targets".to_owned()];
        }
        let signers = self.signers.keys().map(|name| format!("targets/{name}"));
        std::iter::once("targets/releases".to_owned()).chain(signers).collect()
    }

    /// The roles that hold a tag.
    fn holders(&self, tag: &str) -> Vec<String> {
        let mut roles: Vec<String> = self.targets.get(tag).map(|_| "targets".to_owned()).into_iter().collect();
        roles.extend(self.releases.iter().filter(|tags| tags.contains_key(tag)).map(|_| "targets/releases".to_owned()));
        roles.extend(
            self.signers.iter().filter(|(_, tags)| tags.contains_key(tag)).map(|(n, _)| format!("targets/{n}")),
        );
        roles
    }

    fn remove(&mut self, tag: &str, from: &[String]) {
        for role in from {
            match role.as_str() {
                "targets" => drop(self.targets.remove(tag)),
                "targets/releases" => drop(self.releases.as_mut().and_then(|tags| tags.remove(tag))),
                name => drop(self.signers.get_mut(&name["targets/".len()..]).and_then(|tags| tags.remove(tag))),
            }
        }
    }

    /// Tags and digests that are released: what `docker trust inspect` shows.
    fn released(&self) -> BTreeSet<(String, String)> {
        let tags = self.targets.iter().chain(self.releases.iter().flatten());
        tags.map(|(tag, digest)| ((*tag).to_owned(), digest.clone())).collect()
    }

    /// The digest that is pulled.
    fn pulled(&self, tag: &str) -> Option<&String> {
        self.releases.as_ref().and_then(|tags| tags.get(tag)).or_else(|| self.targets.get(tag))
    }
}

struct Walk {
    stage: Stage,
    app: String,
    docker: DockerClient,
    notary: NotaryClient,
    ours: Client,
    expected: Expected,
    history: Vec<String>,
    random: u64,
    images: u64,
}

impl Walk {
    fn begin(seed: u64) -> Self {
        let stage = Stage::set();
        let app = stage.repository("acme/turns");
        let docker = stage.docker28();
        let passphrases =
            Passphrases { delegation: fixtures::REPOSITORY_PASSPHRASE.to_owned(), ..Passphrases::golden() };
        let notary = stage.notary().with_passphrases(passphrases);
        let ours = Client::new().sharing(&docker.config_dir()).of(&stage.service).with_engine(&stage.engine);
        let ours = ours
            .env("NOTARY_ROOT_PASSPHRASE", fixtures::ROOT_PASSPHRASE)
            .env("NOTARY_TARGETS_PASSPHRASE", fixtures::REPOSITORY_PASSPHRASE)
            .env("NOTARY_SNAPSHOT_PASSPHRASE", fixtures::REPOSITORY_PASSPHRASE)
            .env("NOTARY_DELEGATION_PASSPHRASE", fixtures::REPOSITORY_PASSPHRASE);
        let (expected, history) = (Expected::default(), Vec::new());
        Self { stage, app, docker, notary, ours, expected, history, random: seed, images: 0 }
    }

    /// A number below `end` (`SplitMix64`).
    fn below(&mut self, end: usize) -> usize {
        self.random = self.random.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.random;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        usize::try_from((mixed ^ (mixed >> 31)) % u64::try_from(end).unwrap()).unwrap()
    }

    fn one_of<T: Copy>(&mut self, choices: &[T]) -> T {
        *choices.get(self.below(choices.len())).unwrap()
    }

    fn name(&self, tag: &str) -> String {
        format!("{}:{tag}", self.app)
    }

    /// Runs somebody's command; it has to work.
    fn run(&mut self, actor: Actor, arguments: &[&str], input: &str) -> Finished {
        let trust = self.docker.config_dir().join("trust");
        let trust = trust.to_str().unwrap();
        let finished = match actor {
            Actor::Docker => self.docker.run_with_input(arguments, input),
            Actor::Notary => self.notary.run_with_input(&[&["-d", trust], arguments].concat(), input),
            Actor::Countersign => Finished::of(&mut self.ours.command(arguments), input.as_bytes()),
            Actor::OurDockerTrust => {
                let words = [&["docker-trust"], arguments].concat();
                Finished::of(&mut self.ours.command(&words), input.as_bytes())
            }
            Actor::OurNotary => {
                let url = self.stage.service.url();
                let authority = self.notary.folder().join("ca.pem");
                let globals = ["notary", "-d", trust, "-s", &url, "--tlscacert", authority.to_str().unwrap()];
                Finished::of(&mut self.ours.command(&[&globals[..], arguments].concat()), input.as_bytes())
            }
        };
        self.history.push(format!("{actor:?}: {finished}"));
        assert_eq!(finished.code, 0, "the walk so far:\n{}", self.history.join("\n"));
        finished
    }

    /// Builds an image that no tag has had yet.
    fn build(&mut self, tag: &str) -> String {
        self.images += 1;
        let name = self.name(tag);
        self.stage.engine.build(&name, &format!("image {}", self.images));
        name
    }

    /// Puts a new image into the registry, unsigned, and returns its digest and size.
    fn put(&mut self, tag: &str) -> (String, String) {
        let name = self.build(tag);
        let pushed = self.docker.run(&["push", "--disable-content-trust", &name]).succeeded();
        let size = pushed.stdout.trim().rsplit_once("size: ").unwrap().1.lines().next().unwrap().to_owned();
        (pushed_digest(&pushed), size)
    }

    fn sign(&mut self, actor: Actor) {
        let tag = self.one_of(&TAGS);
        let digest = match actor {
            Actor::Docker => {
                let name = self.build(tag);
                pushed_digest(&self.run(actor, &["push", &name], ""))
            }
            Actor::Countersign => {
                let (digest, _) = self.put(tag);
                let name = self.name(tag);
                self.run(actor, &["sign", &name], "");
                digest
            }
            Actor::OurDockerTrust => {
                // Of a tag that is released already, `sign` signs what is released.
                let verb = if self.expected.pulled(tag).is_none() { "sign" } else { "push" };
                let name = self.build(tag);
                pushed_digest(&self.run(actor, &[verb, &name], ""))
            }
            Actor::Notary | Actor::OurNotary => {
                let digest = self.add_hash(actor, tag, &["-p"]);
                self.expected.signed(tag, &digest);
                return;
            }
        };
        self.expected.signed(tag, &digest);
    }

    /// Has one of the notary clients add a tag, and returns its digest.
    fn add_hash(&mut self, actor: Actor, tag: &'static str, flags: &[&str]) -> String {
        let (digest, size) = self.put(tag);
        let (app, roles) = (self.app.clone(), self.expected.roles().join(","));
        let hex = digest.trim_start_matches("sha256:");
        let line = ["addhash", &app, tag, &size, "--sha256", hex, "-r", &roles];
        self.run(actor, &[&line, flags].concat(), "");
        digest
    }

    fn revoke(&mut self, actor: Actor) {
        let released: Vec<&'static str> = TAGS
            .into_iter()
            .filter(|tag| match &self.expected.releases {
                Some(releases) => releases.contains_key(tag),
                None => self.expected.targets.contains_key(tag),
            })
            .collect();
        if released.is_empty() {
            return self.sign(actor);
        }
        let tag = self.one_of(&released);
        let (app, name) = (self.app.clone(), self.name(tag));
        match actor {
            Actor::Docker => {
                self.run(actor, &["trust", "revoke", &name], "");
                self.expected.remove(tag, &self.expected.roles());
            }
            Actor::Countersign | Actor::OurDockerTrust => drop(self.run(actor, &["revoke", &name], "")),
            Actor::Notary | Actor::OurNotary => {
                let roles = self.expected.holders(tag).join(",");
                self.run(actor, &["remove", &app, tag, "-r", &roles, "-p"], "");
            }
        }
        if actor != Actor::Docker {
            self.expected.remove(tag, &self.expected.holders(tag));
        }
    }

    /// One stages, the other one looks and publishes.
    fn stage_and_publish(&mut self) {
        let pair = [Actor::Notary, Actor::OurNotary];
        let (first, second) = (self.one_of(&pair), self.one_of(&pair));
        let tag = self.one_of(&TAGS);
        let app = self.app.clone();
        let digest = self.add_hash(first, tag, &[]);
        let status = self.run(second, &["status", &app], "");
        assert!(status.stdout.contains(tag), "{status}");
        self.run(second, &["publish", &app], "");
        let status = self.run(first, &["status", &app], "");
        assert!(status.stdout.contains("No unpublished changes"), "{status}");
        self.expected.signed(tag, &digest);
    }

    fn rotate(&mut self, actor: Actor) {
        let app = self.app.clone();
        match self.below(5) {
            0 => self.run(actor, &["key", "rotate", &app, "targets"], ""),
            1 => self.run(actor, &["key", "rotate", &app, "snapshot", "-r"], ""),
            2 => self.run(actor, &["key", "rotate", &app, "snapshot"], ""),
            3 => self.run(actor, &["key", "rotate", &app, "timestamp", "-r"], ""),
            _ => self.run(actor, &["key", "rotate", &app, "root"], "yes\n"),
        };
    }

    fn add_signer(&mut self, actor: Actor) {
        let person = self.one_of(&PEOPLE);
        if self.expected.signers.contains_key(person) {
            return self.sign(actor);
        }
        let app = self.app.clone();
        let public = self.docker.folder().join(format!("{person}.pub"));
        if !public.exists() {
            self.docker.run(&["trust", "key", "generate", person]).succeeded();
        }
        let public = public.to_str().unwrap().to_owned();
        let trust = |words: &[&'static str]| [words, &["signer", "add", "--key"]].concat();
        match actor {
            Actor::Docker => drop(self.run(actor, &[&trust(&["trust"])[..], &[&public, person, &app]].concat(), "")),
            Actor::Notary | Actor::OurNotary => {
                for role in [format!("targets/{person}"), "targets/releases".to_owned()] {
                    self.run(actor, &["delegation", "add", "-p", &app, &role, &public, "--all-paths"], "");
                }
            }
            Actor::Countersign | Actor::OurDockerTrust => {
                self.run(Actor::OurDockerTrust, &[&trust(&[])[..], &[&public, person, &app]].concat(), "");
            }
        }
        self.expected.signers.insert(person, Tags::new());
        self.expected.releases.get_or_insert_default();
    }

    /// Removes a signer, never the last one: nobody could sign then but the owner.
    fn remove_signer(&mut self, actor: Actor) {
        let people: Vec<&'static str> = self.expected.signers.keys().copied().collect();
        if people.len() < 2 {
            return self.add_signer(actor);
        }
        let (person, app) = (self.one_of(&people), self.app.clone());
        self.run(Actor::OurDockerTrust, &["signer", "remove", "--force", person, &app], "");
        self.expected.signers.remove(person);
    }

    fn witness(&mut self, actor: Actor) {
        let role = self.one_of(&self.expected.roles().iter().map(String::as_str).collect::<Vec<_>>()).to_owned();
        let tags = role.strip_prefix("targets/").map_or(Some(&self.expected.targets), |name| match name {
            "releases" => self.expected.releases.as_ref(),
            name => self.expected.signers.get(name),
        });
        if tags.is_none_or(BTreeMap::is_empty) {
            return self.sign(actor);
        }
        let app = self.app.clone();
        self.run(actor, &["witness", "-p", &app, &role], "");
    }

    fn step(&mut self) {
        let notaries = [Actor::Notary, Actor::OurNotary];
        let everybody = [Actor::Docker, Actor::Notary, Actor::Countersign, Actor::OurDockerTrust, Actor::OurNotary];
        let actions = [
            Action::Sign,
            Action::Sign,
            Action::Sign,
            Action::Revoke,
            Action::Stage,
            Action::Rotate,
            Action::AddSigner,
            Action::RemoveSigner,
            Action::Witness,
        ];
        match self.one_of(&actions) {
            Action::Sign => {
                let actor = self.one_of(&everybody);
                self.sign(actor);
            }
            Action::Revoke => {
                let actor = self.one_of(&everybody);
                self.revoke(actor);
            }
            Action::Stage => self.stage_and_publish(),
            Action::Rotate => {
                let actor = self.one_of(&notaries);
                self.rotate(actor);
            }
            Action::AddSigner => {
                let actor = self.one_of(&everybody);
                self.add_signer(actor);
            }
            Action::RemoveSigner => self.remove_signer(Actor::OurDockerTrust),
            Action::Witness => {
                let actor = self.one_of(&notaries);
                self.witness(actor);
            }
        }
    }

    /// All three see what there has to be.
    fn verify(&mut self) {
        let app = self.app.clone();
        let released = self.expected.released();
        for (actor, words) in [
            (Actor::Docker, &["trust", "inspect"][..]),
            (Actor::Countersign, &["inspect"]),
            (Actor::OurDockerTrust, &["inspect"]),
        ] {
            let seen = self.run(actor, &[words, &[&app]].concat(), "");
            let seen: serde_json::Value = serde_json::from_str(&seen.stdout).unwrap();
            let text = |value: &serde_json::Value| value.as_str().unwrap().to_owned();
            let rows = seen.pointer("/0/SignedTags").unwrap().as_array().unwrap();
            let of = |row: &serde_json::Value, member: &str| text(row.get(member).unwrap());
            let rows = rows.iter().map(|row| (of(row, "SignedTag"), format!("sha256:{}", of(row, "Digest"))));
            assert_eq!(
                rows.collect::<BTreeSet<_>>(),
                released,
                "{actor:?}, the walk so far:\n{}",
                self.history.join("\n")
            );
        }
        let mine = self.run(Actor::OurNotary, &["list", &app], "");
        let theirs = self.run(Actor::Notary, &["list", &app], "");
        assert_eq!(mine.stdout, theirs.stdout, "the walk so far:\n{}", self.history.join("\n"));
        let listed: BTreeSet<&str> = theirs.stdout.lines().filter_map(|line| line.split_whitespace().next()).collect();
        assert!(released.iter().all(|(tag, _)| listed.contains(tag.as_str())), "{theirs}");
        let tag = self.one_of(&TAGS);
        if let Some(digest) = self.expected.pulled(tag).cloned() {
            let name = self.name(tag);
            let verified = self.run(Actor::Countersign, &["verify", &name], "");
            assert!(verified.stdout.contains(&digest), "{verified}\n{}", self.history.join("\n"));
        }
    }

    /// Docker pulls, and somebody who has never seen the collection verifies.
    fn verify_afresh(&mut self) {
        for tag in TAGS {
            let Some(digest) = self.expected.pulled(tag).cloned() else { continue };
            let name = self.name(tag);
            let pulled = self.run(Actor::Docker, &["pull", &name], "");
            assert!(pulled.stdout.contains(&digest), "{pulled}\n{}", self.history.join("\n"));
            let verified = self.stage.countersign().run(&["verify", &name]).succeeded();
            assert!(verified.stdout.contains(&digest), "{verified}");
        }
    }
}

#[test]
fn docker_28_notary_and_countersign_take_turns_in_any_order() {
    let number = |name: &str, default: u64| std::env::var(name).map_or(default, |text| text.parse().unwrap());
    let mut walk = Walk::begin(number("TURNS_SEED", 20));
    let steps = number("TURNS_STEPS", STEPS);
    walk.sign(Actor::Docker);
    for step in 0..steps {
        walk.step();
        walk.verify();
        if step % 10 == 9 {
            walk.verify_afresh();
        }
    }
    assert!(u64::try_from(walk.history.len()).unwrap() > steps * 5, "every step was looked at by all three");
}
