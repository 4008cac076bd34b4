//! `countersign key rotate --compromised`: what goes, what stays, and that nothing is signed anew unasked.

use crate::client::{Client, Ending, LOCAL, USER};
use crate::stage::Shop;
use countersign_testkit::Finished;
use serde_json::{Value, json};

fn parsed(finished: Finished) -> Value {
    let finished = finished.succeeded();
    serde_json::from_str(&finished.stdout).unwrap_or_else(|error| panic!("{error} in\n{finished}"))
}

fn key_of(client: &Client, role: &str) -> String {
    let listed = parsed(client.run(&["key", "list", "--format", "json"]));
    let found = listed.as_array().unwrap().iter().find(|key| key.get("role") == Some(&role.into())).cloned();
    found.unwrap_or_else(|| panic!("no {role} key")).get("id").unwrap().as_str().unwrap().to_owned()
}

/// A shop whose owner has let alice and bob sign. Alice has signed `a`, bob has signed `b`, both have signed `both`.
struct Team {
    shop: Shop,
    owner: Client,
    alice: Client,
    bob: Client,
}

impl Team {
    fn gather() -> Self {
        let shop = Shop::open();
        let (owner, alice, bob) = (shop.client(), shop.client(), shop.client());
        for (name, person) in [("alice", &alice), ("bob", &bob)] {
            person.run(&["key", "generate", name]).succeeded();
            let file = format!("{name}.pub");
            std::fs::copy(person.folder().join(&file), owner.folder().join(&file)).unwrap();
            owner.plugin(&["trust", "signer", "add", "--key", &file, name, &shop.gun()]).succeeded();
        }
        for (tag, people) in [("b", vec![&bob]), ("both", vec![&bob, &alice]), ("a", vec![&alice])] {
            shop.put(tag, tag);
            for person in people {
                person.run(&["sign", &shop.name(tag)]).succeeded();
            }
        }
        Self { shop, owner, alice, bob }
    }

    fn drill(&self, who: &Client, arguments: &[&str]) -> Finished {
        who.run(&[&["key", "rotate", &self.shop.gun(), "--format", "json", "--yes"], arguments].concat())
    }

    /// The tags that everybody can verify, with and without an earlier state.
    fn verified(&self, reader: &Client) -> Vec<&'static str> {
        let both = |tag: &&str| {
            let [old, new] =
                [reader, &self.shop.client()].map(|client| client.run(&["verify", &self.shop.name(tag)]).code);
            assert_eq!(old, new, "{tag}");
            old == 0
        };
        ["a", "b", "both"].into_iter().filter(both).collect()
    }
}

fn names(value: &Value, list: &str) -> Vec<String> {
    let list = value.get(list).unwrap_or_else(|| panic!("no {list} in {value}"));
    let name = |entry: &Value| entry.as_str().or_else(|| entry.get("name")?.as_str()).unwrap().to_owned();
    list.as_array().unwrap().iter().map(name).collect()
}

#[test]
fn what_only_a_compromised_signer_has_signed_goes_and_the_rest_stays() {
    let team = Team::gather();
    let reader = team.shop.client();
    assert_eq!(team.verified(&reader), ["a", "b", "both"]);
    // Bob's key is needed to sign what is released, and it is not with the owner.
    let shown = parsed(team.drill(&team.owner, &["--compromised", "alice", "--dry-run"]));
    assert_eq!((names(&shown, "names"), shown.get("published")), (vec!["a".to_owned()], Some(&json!(false))));
    assert_eq!(team.verified(&reader), ["a", "b", "both"], "a dry run changes nothing");
    team.drill(&team.owner, &["--compromised", "alice", "--re-sign", "a"])
        .refused(LOCAL, "targets/releases cannot be signed here");
    assert_eq!(team.verified(&reader), ["a", "b", "both"], "a refusal changes nothing");

    // The owner with bob's key at hand: `a` is not confirmed.
    std::fs::copy(
        team.bob.trust_dir().join("private").join(format!("{}.key", key_of(&team.bob, "bob"))),
        team.owner.trust_dir().join("private").join(format!("{}.key", key_of(&team.bob, "bob"))),
    )
    .unwrap();
    let done = parsed(team.drill(&team.owner, &["--compromised", "alice", "--re-sign-none"]));
    assert_eq!((names(&done, "signedAnew"), names(&done, "releasedNoMore")), (vec![], vec!["a".to_owned()]));
    assert_eq!(names(&done, "rolesGone"), ["targets/alice"]);
    assert_eq!(team.verified(&reader), ["b", "both"]);
    // Alice can sign nothing any more, bob can.
    team.alice.run(&["sign", &team.shop.name("a")]).refused(LOCAL, "no valid signing keys");
    team.bob.run(&["sign", &team.shop.name("a")]).succeeded();
    assert_eq!(team.verified(&reader), ["a", "b", "both"]);
}

#[test]
fn each_tag_is_asked_about_and_only_those_confirmed_are_signed_anew() {
    let team = Team::gather();
    team.shop.put("a2", "a2");
    team.alice.run(&["sign", &team.shop.name("a2")]).succeeded();
    let reader = team.shop.client();
    let bob = format!("{}.key", key_of(&team.bob, "bob"));
    let private = |client: &Client| client.trust_dir().join("private").join(&bob);
    std::fs::copy(private(&team.bob), private(&team.owner)).unwrap();
    let alice = key_of(&team.alice, "alice");
    let arguments = ["key", "rotate", &team.shop.gun(), "--compromised", &alice];
    // Nobody answers: nothing is done.
    team.owner.run(&arguments).refused(USER, "nothing was changed: not confirmed");
    assert_eq!(team.verified(&reader), ["a", "b", "both"]);
    // No to `a`, yes to `a2`, and yes to it all.
    let asked = Finished::of(&mut team.owner.command(&arguments), b"n\ny\ny\n").succeeded();
    assert!(
        asked.stderr.contains("Sign a anew as sha256:") && asked.stderr.contains("Sign a2 anew as sha256:"),
        "{asked}"
    );
    assert!(asked.stdout.contains("signed anew: a2") && asked.stdout.contains("released no more: a"), "{asked}");
    assert_eq!(team.verified(&reader), ["b", "both"]);
    reader.run(&["verify", &team.shop.name("a2")]).succeeded();
    let inspected = reader.run(&["inspect", &team.shop.name("a2")]).succeeded();
    assert!(inspected.stdout.contains("bob") && !inspected.stdout.contains("alice"), "{inspected}");
}

#[test]
fn without_a_remaining_signer_here_the_release_waits_for_one() {
    let team = Team::gather();
    let reader = team.shop.client();
    reader.run(&["verify", &team.shop.name("b")]).succeeded();
    let done = team.drill(&team.owner, &["--compromised", "alice", "--re-sign-none"]).succeeded();
    assert!(
        done.stderr.contains("targets/releases") && done.stderr.contains("until one of its signers signs again"),
        "{done}"
    );
    assert_eq!(team.verified(&reader), [""; 0], "what alice alone has signed last counts no more");
    team.bob.run(&["sign", &team.shop.name("b")]).succeeded();
    assert_eq!(team.verified(&reader), ["b", "both"]);
}

#[test]
fn a_compromised_repository_key_lets_nothing_stay_unasked() {
    let team = Team::gather();
    let reader = team.shop.client();
    reader.run(&["verify", &team.shop.name("b")]).succeeded();
    let targets = key_of(&team.owner, "targets");
    // Whoever had the repository key could have let in mallory.
    team.owner.run(&["key", "generate", "mallory"]).succeeded();
    let mallory = key_of(&team.owner, "mallory");
    team.owner.plugin(&["trust", "signer", "add", "--key", "mallory.pub", "mallory", &team.shop.gun()]).succeeded();
    let kept = ["--keep-signer", "alice", "--keep-signer", "bob", "--keep-signer", "releases", "--re-sign-none"];
    let done = parsed(
        team.drill(&team.owner, &[&["--compromised", &targets, "--compromised", &mallory], kept.as_slice()].concat()),
    );
    assert_eq!(names(&done, "rolesGone"), ["targets/mallory"]);
    let new = key_of(&team.owner, "targets");
    assert_ne!(new, targets);
    assert_eq!(team.verified(&reader), ["a", "b", "both"]);
    let signers = reader.run(&["inspect", &team.shop.gun()]).succeeded().stdout;
    assert!(signers.contains("alice") && signers.contains("bob") && !signers.contains("mallory"), "{signers}");
}

#[test]
fn a_signer_whom_a_compromised_repository_key_let_in_vouches_for_nothing() {
    let shop = Shop::open();
    let owner = shop.client();
    shop.signed_by(&owner, "evil", "evil");
    owner.run(&["key", "generate", "mallory"]).succeeded();
    owner.plugin(&["trust", "signer", "add", "--key", "mallory.pub", "mallory", &shop.gun()]).succeeded();
    // Now both `targets` and mallory say it, and mallory's key is not among those that are known to be compromised.
    owner.run(&["revoke", &shop.name("evil")]).succeeded();
    shop.signed_by(&owner, "evil", "evil");
    let notary = |words: &[&str]| {
        let (trust_dir, authority) = (owner.trust_dir(), owner.folder().join("authority.pem"));
        std::fs::write(&authority, shop.service.authority_pem()).unwrap();
        let [trust_dir, authority] = [&trust_dir, &authority].map(|path| path.to_str().unwrap());
        let service = ["notary", "-d", trust_dir, "-s", &shop.service.url(), "--tlscacert", authority];
        let mut command = owner.command(&[&service, words].concat());
        for role in ["TARGETS", "SNAPSHOT", "DELEGATION"] {
            command.env(format!("NOTARY_{role}_PASSPHRASE"), countersign_testkit::fixtures::REPOSITORY_PASSPHRASE);
        }
        Finished::of(&mut command, b"").succeeded()
    };
    let digest = shop.put("evil", "evil");
    let hex = digest.trim_start_matches("sha256:");
    let size = notary(&["lookup", &shop.gun(), "evil"]).stdout.trim().rsplit(' ').next().unwrap().to_owned();
    notary(&["addhash", &shop.gun(), "evil", &size, "--sha256", hex, "-r", "targets", "-p"]);
    shop.client().run(&["verify", &shop.name("evil")]).succeeded();
    let targets = key_of(&owner, "targets");
    let gun = shop.gun();
    let drill = ["key", "rotate", "--yes", &gun, "--compromised", &targets, "--re-sign-none", "--keep-no-signer"];
    let done = owner.run(&drill).succeeded();
    assert!(done.stdout.contains("released no more: evil"), "{done}");
    shop.client().run(&["verify", &shop.name("evil")]).refused(crate::client::TRUST, "No valid trust data for evil");
}

#[test]
fn tags_of_a_compromised_repository_key_are_asked_about_too() {
    let shop = Shop::open();
    let (owner, reader) = (shop.client(), shop.client());
    for tag in ["v1", "v2"] {
        shop.signed_by(&owner, tag, tag);
    }
    reader.run(&["verify", &shop.name("v1")]).succeeded();
    let targets = key_of(&owner, "targets");
    let base = ["key", "rotate", "--yes", &shop.gun(), "--compromised", &targets];
    owner.run(&[&base, ["--re-sign", "v3"].as_slice()].concat()).refused(USER, "v3 is none of the tags");
    let done = owner.run(&[&base, ["--re-sign", "v2"].as_slice()].concat()).succeeded();
    assert!(done.stdout.contains("signed anew: v2") && done.stdout.contains("released no more: v1"), "{done}");
    assert!(done.stdout.contains("old, removed"), "{done}");
    for client in [&reader, &shop.client()] {
        client.run(&["verify", &shop.name("v2")]).succeeded();
        client.run(&["verify", &shop.name("v1")]).refused(crate::client::TRUST, "No valid trust data for v1");
    }
}

#[test]
fn a_compromised_root_key_is_replaced_and_its_other_collections_are_named() {
    let shop = Shop::open();
    let (owner, reader) = (shop.client(), shop.client());
    shop.signed_by(&owner, "v1", "one");
    let other = format!("{}/acme/other", shop.registry.host());
    shop.registry.put_image("acme/other", "v1", &countersign_testkit::Image::with_message("other")).unwrap();
    owner.run(&["sign", &format!("{other}:v1")]).succeeded();
    reader.run(&["verify", &shop.name("v1")]).succeeded();
    let root = key_of(&owner, "root");
    let done = owner.run(&["key", "rotate", "--yes", &shop.gun(), "--compromised", &root]).succeeded();
    assert!(done.stdout.contains("Successfully rotated root key"), "{done}");
    assert!(done.stderr.contains(&format!("countersign key rotate {other} --compromised {root}")), "{done}");
    for client in [&reader, &shop.client()] {
        client.run(&["verify", &shop.name("v1")]).succeeded();
    }
    let again = owner.run(&["key", "rotate", "--yes", &shop.gun(), "--compromised", &root]);
    again.refused(USER, "has neither a key nor a signer");
}

#[test]
fn slips_in_names_are_refused_before_anything_is_asked() {
    let team = Team::gather();
    let refuse = |arguments: &[&str], message: &str| {
        team.drill(&team.owner, arguments).refused(USER, message);
    };
    refuse(&["--compromised", "carol"], "has neither a key nor a signer carol");
    refuse(&["--compromised", "releases"], "has neither a key nor a signer releases");
    refuse(&["--compromised", &"0".repeat(64)], "has neither a key nor a signer");
    refuse(&["--compromised", "alice", "--re-sign", "b"], "b is none of the tags that these keys alone have signed");
    refuse(&["--compromised", "alice", "--keep-signer", "bob"], "bob is none of the signers that could be kept");
    refuse(&["--compromised", "alice", "--local"], "cannot be used with");
    refuse(&["root", "--compromised", "alice"], "leave it out");
    // Silence takes no signature away.
    refuse(&["--compromised", "alice"], "it has to be said which tags are signed anew");
    let targets = key_of(&team.owner, "targets");
    refuse(&["--compromised", &targets, "--re-sign-none"], "it has to be said which signers stay");
}
