//! Pins: what a root may be before it is known.

use crate::client::{Client, Ending, LOCAL, TRUST, USER};
use crate::stage::{Shop, first_line_with};

#[test]
fn a_pinned_root_key_is_the_only_one_accepted() {
    let shop = Shop::open();
    let owner = shop.client();
    shop.signed_by(&owner, "v1", "one");
    let first = shop.client().run(&["verify", &shop.name("v1")]).succeeded();
    let id = first_line_with(&first.stderr, "its root key ").split(' ').next().unwrap().to_owned();
    let verified = shop.client().run(&["verify", "--pin", &id, "--no-first-use", &shop.name("v1")]).succeeded();
    assert!(!verified.stderr.contains("first use"), "{verified}");
    let other = "0".repeat(64);
    let refused = shop.client().run(&["verify", "--pin", &other, &shop.name("v1")]);
    let refused = refused.refused(TRUST, "unable to match any certificates to trust_pinning");
    assert!(refused.stderr.contains("--pin"), "{refused}");
    // A pin that comes later holds against the cached root too.
    owner.run(&["verify", "--pin", &other, &shop.name("v1")]).refused(TRUST, "unable to match any certificates");
    owner.run(&["verify", "--pin", &other, "--pin", &id, &shop.name("v1")]).succeeded();
    owner.run(&["verify", "--pin", "zz", &shop.name("v1")]).refused(USER, "--pin");
}

#[test]
fn without_first_use_only_what_is_known_or_made_here_counts() {
    let shop = Shop::open();
    let owner = shop.client();
    shop.put("v1", "one");
    let signed = owner.run(&["sign", "--no-first-use", &shop.name("v1")]).succeeded();
    assert!(signed.stdout.starts_with("Successfully signed"), "{signed}");
    owner.run(&["verify", "--no-first-use", &shop.name("v1")]).succeeded();
    let stranger = shop.client();
    for command in ["verify", "sign", "inspect"] {
        let refused = stranger.run(&[command, "--no-first-use", &shop.name("v1")]);
        refused.refused(TRUST, "trust on first use is not allowed");
    }
    assert!(!stranger.trust_dir().join("tuf").exists());
}

#[test]
fn authorities_hold_against_new_and_known_collections() {
    let shop = Shop::open();
    let owner = shop.client();
    shop.put("v1", "one");
    let authority = owner.folder().join("authority.pem");
    std::fs::write(&authority, countersign_testkit::TestCa::new().pem()).unwrap();
    let pinned = ["--pin-ca", authority.to_str().unwrap(), &shop.name("v1")];
    let with = |command: &'static str| [&[command][..], &pinned].concat();
    // Nothing is published that this machine itself would refuse.
    let refused = owner.run(&with("sign")).refused(TRUST, "would not satisfy the pins");
    assert!(refused.stderr.contains("nothing was published"), "{refused}");
    owner.run(&["verify", &shop.name("v1")]).refused(TRUST, "does not have trust data");
    owner.run(&["sign", &shop.name("v1")]).succeeded();
    for command in ["verify", "sign"] {
        owner.run(&with(command)).refused(TRUST, "unable to match any certificates");
    }
    owner
        .run(&["verify", "--pin-ca", "missing.pem", &shop.name("v1")])
        .refused(LOCAL, "could not load root cert from CA path");
    std::fs::write(&authority, "junk").unwrap();
    owner.run(&with("verify")).refused(LOCAL, "could not load root cert from CA path");
    owner
        .run(&["verify", "--pin", &"0".repeat(64), "--pin-ca", "x", &shop.name("v1")])
        .refused(USER, "cannot be used with");
}

#[test]
fn a_collection_made_anew_is_accepted_only_with_consent_and_its_root_key() {
    let shop = Shop::open();
    let (reader, owner) = (shop.client(), shop.client());
    shop.signed_by(&owner, "v1", "one");
    let id = |client: &Client| {
        let first = client.run(&["verify", &shop.name("v1")]).succeeded();
        first_line_with(&first.stderr, "its root key ").split(' ').next().unwrap().to_owned()
    };
    let old = id(&reader);
    shop.service.notary_client().run(&["delete", "--remote", &shop.gun()]).succeeded();
    let digest = shop.signed_by(&shop.client(), "v1", "two");
    let new = id(&shop.client());
    assert_ne!(old, new);

    let other = "0".repeat(64);
    let cache = || std::fs::read(reader.metadata(&shop.gun()).join("root.json")).unwrap();
    let before = cache();
    for options in [
        &[][..],
        &["--re-establish-trust"],
        &["--pin", &new],
        &["--pin", &old],
        &["--re-establish-trust", "--pin", &old],
        &["--re-establish-trust", "--pin", &other],
    ] {
        let refused = reader.run(&[&["verify"], options, &[&shop.name("v1")]].concat());
        refused.refused(TRUST, "countersign: ");
        assert!(cache() == before, "{options:?}");
    }
    let said = reader.run(&["verify", &shop.name("v1")]).refused(TRUST, "potential malicious behavior");
    assert!(said.stderr.contains("--re-establish-trust --pin ID"), "{said}");
    let agreed = reader.run(&["verify", "--re-establish-trust", "--pin", &new, &shop.name("v1")]).succeeded();
    assert!(agreed.stdout.contains(&digest) && agreed.stderr.contains("is replaced by the pinned one"), "{agreed}");
    let verified = reader.run(&["verify", &shop.name("v1")]).succeeded();
    assert!(verified.stdout.contains(&digest), "{verified}");
}
