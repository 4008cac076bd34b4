//! Who releases a tag: `targets/releases` and `targets`, and while one of them cannot be verified nobody.

use crate::client::{Ending, LOCAL, TRUST, USER};
use crate::stage::Shop;
use countersign_testkit::{Finished, NotaryClient, fixtures};

const SIZE: &str = "524";

fn input(name: &str) -> String {
    fixtures::path(&format!("delegations/inputs/{name}")).to_str().unwrap().to_owned()
}

/// A collection with a signed tag, and its owner with a key for delegations.
fn owned(shop: &Shop) -> NotaryClient {
    let owner = shop.service.notary_client();
    owner.run(&["key", "import", &input("rel1.key"), "--role", "targets/releases"]).succeeded();
    owner.run(&["init", "-p", &shop.gun()]).succeeded();
    owner
}

fn delegate(shop: &Shop, owner: &NotaryClient, role: &str, certificate: &str) {
    owner.run(&["delegation", "add", "-p", &shop.gun(), role, &input(certificate), "--all-paths"]).succeeded();
}

fn sign(shop: &Shop, owner: &NotaryClient, roles: &[&str], tag: &str, digest: &str) -> Finished {
    let gun = shop.gun();
    let mut arguments = vec!["addhash", "-p", &gun, tag, SIZE, "--sha256", digest];
    for role in roles {
        arguments.extend(["--roles", *role]);
    }
    owner.run(&arguments).succeeded()
}

#[test]
fn a_signer_whose_paths_do_not_cover_a_tag_is_not_sent_after_keys() {
    let shop = Shop::open();
    let owner = owned(&shop);
    let (gun, certificate) = (shop.gun(), input("rel1.crt"));
    owner.run(&["delegation", "add", "-p", &gun, "targets/releases", &certificate, "--paths", "v"]).succeeded();
    owner.run(&["key", "rotate", &gun, "snapshot", "-r"]).succeeded();
    let signer = shop.client();
    let key = signer.folder().join("rel1.key");
    std::fs::copy(input("rel1.key"), &key).unwrap();
    std::fs::set_permissions(&key, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
    signer.run(&["key", "load", key.to_str().unwrap()]).succeeded();
    shop.signed_by(&signer, "v1", "one");
    shop.put("x1", "two");
    let refused = signer.run(&["sign", &shop.name("x1")]);
    let refused = refused.refused(USER, "x1 may not be signed by targets/releases");
    assert!(refused.stderr.contains("keys are not what is missing"), "{refused}");
    let stranger = shop.client().run(&["sign", &shop.name("x1")]);
    stranger.refused(LOCAL, "no valid signing keys for delegation roles");
}

#[test]
fn roles_beside_and_below_releases_release_nothing() {
    let shop = Shop::open();
    let owner = owned(&shop);
    let (good, bad) = ("a".repeat(64), "b".repeat(64));
    delegate(&shop, &owner, "targets/releases", "rel1.crt");
    sign(&shop, &owner, &["targets/releases"], "v1", &good);
    sign(&shop, &owner, &["targets"], "owned", &good);
    for role in ["targets/releases-bot", "targets/releases2", "targets/releases/sub"] {
        delegate(&shop, &owner, role, "rel1.crt");
        for tag in ["v1", "owned", "theirs"] {
            sign(&shop, &owner, &[role], tag, &bad);
        }
    }
    let reader = shop.client();
    for tag in ["v1", "owned"] {
        let verified = reader.run(&["verify", &shop.name(tag)]).succeeded();
        assert_eq!(verified.stdout, format!("{}@sha256:{good}\n", shop.gun()));
    }
    reader.run(&["verify", &shop.name("theirs")]).refused(TRUST, "No valid trust data for theirs");
    let inspected = reader.run(&["inspect", &shop.gun()]).succeeded();
    let report: serde_json::Value = serde_json::from_str(&inspected.stdout).unwrap();
    let tags: Vec<_> = report[0]["SignedTags"].as_array().unwrap().iter().map(|tag| &tag["SignedTag"]).collect();
    assert_eq!(tags, ["owned", "v1"], "{inspected}");
    assert!(!inspected.stdout.contains(&bad), "{inspected}");
    let revoked = shop.client().run(&["revoke", &shop.name("theirs")]);
    revoked.refused(TRUST, "No valid trust data for theirs");
}

#[test]
fn while_releases_cannot_be_verified_no_older_digest_is_shown_or_used() {
    let shop = Shop::open();
    let owner = owned(&shop);
    let (old, new) = ("a".repeat(64), "b".repeat(64));
    sign(&shop, &owner, &["targets"], "v1", &old);
    delegate(&shop, &owner, "targets/releases", "rel1.crt");
    sign(&shop, &owner, &["targets/releases"], "v1", &new);
    let reader = shop.client();
    let verified = reader.run(&["verify", &shop.name("v1")]).succeeded();
    assert!(verified.stdout.contains(&new), "{verified}");

    // The key is replaced, and nobody has signed with the new one yet.
    let listed = owner.run(&["delegation", "list", &shop.gun()]).succeeded();
    let is_id = |word: &&str| word.len() == 64 && word.bytes().all(|b| b.is_ascii_hexdigit());
    let id = listed.stdout.split_whitespace().find(is_id).unwrap().to_owned();
    delegate(&shop, &owner, "targets/releases", "rel2.crt");
    owner.run(&["delegation", "remove", "-p", &shop.gun(), "targets/releases", &id]).succeeded();
    for client in [&reader, &shop.client()] {
        for image in [shop.name("v1"), shop.gun()] {
            let refused = client.run(&["inspect", &image]).refused(TRUST, "targets/releases cannot be verified");
            assert_eq!(refused.stdout, "[]\n", "{refused}");
            assert!(refused.stderr.contains(&format!("no signatures or cannot access {image}")), "{refused}");
            let refused = client.run(&["inspect", "--pretty", &image]);
            refused.refused(TRUST, "targets/releases cannot be verified");
        }
        client.run(&["verify", &shop.name("v1")]).refused(TRUST, "targets/releases cannot be verified");
        client.run(&["revoke", "--yes", &shop.gun()]).refused(TRUST, "targets/releases cannot be verified");
    }
}
