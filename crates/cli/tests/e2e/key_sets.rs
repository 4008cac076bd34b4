//! Any set of keys, there and back: a backup, gpg and tar on another machine, docker; tar and gpg by hand, restored, signed with.
//!
//! `KEY_SETS_SEED` chooses other sets; the seed is part of every failure.

use crate::backup::{SECRET, key_files, restore_by_hand, tar};
use crate::client::Client;
use crate::stage::Stage;
use countersign_testkit::{DockerClient, Gpg};
use std::path::Path;

/// How many sets are tried: docker signs with each.
const SETS: u64 = 4;
const NAMES: [&str; 8] = ["alice", "bob", "c", "x-1_y", "0", "release-engineering", "zoe", "d_"];

/// Chooses with the digits of a hash.
fn chosen(seed: u64, set: u64, what: &str) -> bool {
    let digest = countersign_crypto::digest::sha256(format!("{seed} {set} {what}").as_bytes());
    digest.as_bytes()[0].is_multiple_of(2)
}

/// The ids of the keys in a trust directory.
fn ids(person: &Client, role: &str) -> Vec<String> {
    let listed = person.run(&["key", "list", "--format", "json"]).succeeded();
    let keys: Vec<serde_json::Value> = serde_json::from_str(&listed.stdout).unwrap();
    let of_role = keys.iter().filter(|key| key["role"] == role);
    of_role.map(|key| key["id"].as_str().unwrap().to_owned()).collect()
}

/// Signs with docker what was pushed, with the keys that it has.
fn docker_signs(stage: &Stage, docker: &DockerClient, name: &str) {
    stage.engine.build(name, name);
    let pushed = docker.run(&["push", name]).succeeded();
    assert!(pushed.stdout.contains(&format!("Successfully signed {name}")), "{pushed}");
    stage.countersign().run(&["verify", name]).succeeded();
}

/// Archives a trust directory's keys as people do by hand.
fn archived_by_hand(trust_dir: &Path, file: &Path) {
    let plain = tempfile::NamedTempFile::new().unwrap();
    let private = trust_dir.join("private/");
    tar(&["czf", plain.path().to_str().unwrap(), private.to_str().unwrap()]);
    std::fs::write(file, Gpg::new().symmetric(SECRET, &[], &std::fs::read(plain.path()).unwrap())).unwrap();
}

mod docker_28 {
    use super::*;

    #[test]
    fn any_set_of_keys_arrives_byte_for_byte_and_signs() {
        let seed = std::env::var("KEY_SETS_SEED").map_or(1, |seed| seed.parse().unwrap());
        let stage = Stage::set();
        let app = stage.repository("acme/sets");
        let owner = stage.countersign().with_archives();
        stage.engine.build(&format!("{app}:v0"), "zero");
        owner.run(&["push", &format!("{app}:v0")]).succeeded();
        for name in NAMES {
            owner.run(&["key", "generate", name]).succeeded();
        }
        for set in 0..SETS {
            let what = format!("KEY_SETS_SEED={seed}, set {set}");
            // The repository's key is in every set: with it docker signs.
            let mut keys = ids(&owner, "targets");
            let others = NAMES.into_iter().chain(["root"]).filter(|name| chosen(seed, set, name));
            keys.extend(others.flat_map(|role| ids(&owner, role)));
            let file = format!("{set}.gpg");
            let chosen = keys.iter().flat_map(|id| ["--key", id.as_str()]);
            let words: Vec<&str> = ["key", "backup", file.as_str()].into_iter().chain(chosen).collect();
            owner.run(&words).succeeded();
            let mut expected = key_files(&owner.trust_dir());
            expected.retain(|(name, _)| keys.iter().any(|id| name.starts_with(id)));
            assert_eq!(expected.len(), keys.len(), "{what}");

            let docker = stage.docker28();
            restore_by_hand(&owner.folder().join(&file), &docker.config_dir());
            assert_eq!(key_files(&docker.config_dir().join("trust")), expected, "{what}");
            docker_signs(&stage, &docker, &format!("{app}:v{set}"));

            // And back: what docker has, archived by hand, is restored and signs.
            let newcomer = stage.countersign().with_archives();
            archived_by_hand(&docker.config_dir().join("trust"), &newcomer.folder().join("by-hand.gpg"));
            newcomer.run(&["key", "restore", "by-hand.gpg", "--check"]).succeeded();
            assert_eq!(key_files(&newcomer.trust_dir()), expected, "{what}");
            newcomer.run(&["sign", &format!("{app}:v{set}")]).succeeded();
        }
    }
}
