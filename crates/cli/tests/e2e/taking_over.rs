//! In the place of the reference's server and signer, on their own databases, with their own configuration files; and back.

mod house;
mod importing;
mod rows;

use countersign_testkit::{DockerClient, NotaryClient, Product};
use house::{Dump, House, Who};
use std::collections::BTreeMap;

const DOCKER: &str = "127.0.0.1:45100/golden/docker28";
const ROTATIONS: &str = "golden.test/notary/rotations";
const DELEGATIONS: &str = "golden.test/notary/delegations";
const EDWARDS: &str = "golden.test/notary/server-ed25519";
const NEW: &str = "example.com/made/here";
/// Every collection in the dumps.
const COLLECTIONS: [&str; 7] = [
    DOCKER,
    "127.0.0.1:45100/golden/docker20",
    ROTATIONS,
    DELEGATIONS,
    "golden.test/notary/basic",
    "golden.test/notary/x509",
    "golden.test/none2",
];

/// What somebody who has never seen them reads of collections, with exit codes.
fn read_all(house: &House, collections: &[&str]) -> BTreeMap<String, (i32, String)> {
    collections
        .iter()
        .map(|gun| {
            let listed = house.notary().run(&["list", gun]);
            ((*gun).to_owned(), (listed.code, listed.stdout))
        })
        .collect()
}

fn publish(client: &NotaryClient, gun: &str, name: &str, role: &[&str]) {
    std::fs::write(client.folder().join(name), name).unwrap();
    client.run(&[&["add", gun, name, name, "--publish"], role].concat()).succeeded();
}

fn lists(house: &House, gun: &str, names: &[&str]) {
    let listed = house.notary().run(&["list", gun]).succeeded();
    for name in names {
        assert!(listed.stdout.lines().any(|line| line.starts_with(name)), "{gun}: {name}: {listed}");
    }
}

/// Whether docker shows a tag of the collection as signed, or somebody as one of its signers.
fn shows(house: &House, member: &str, value: &str) -> bool {
    let seen = house.trusting(DockerClient::newest()).run(&["trust", "inspect", DOCKER]).succeeded();
    seen.stdout.contains(&format!("\"{member}\": \"{value}\""))
}

fn is_signed(house: &House, tag: &str) -> bool {
    shows(house, "SignedTag", tag)
}

/// The owner lets somebody else sign, who has just made a key.
fn add_signer(owner: &DockerClient, name: &str) {
    owner.run(&["trust", "key", "generate", name]).succeeded();
    owner.run(&["trust", "signer", "add", "--key", &format!("{name}.pub"), name, DOCKER]).succeeded();
}

fn revoke(docker: &DockerClient, tag: &str) {
    docker.run(&["trust", "revoke", "--yes", &format!("{DOCKER}:{tag}")]).succeeded();
}

/// The story on one product: the reference, then ours, then the reference, then ours, all on one database.
fn there_and_back(product: Product) {
    let house = House::with(product, Dump::Ecdsa);
    let before = house.rows();
    let theirs = house.start(Who::Theirs);
    let baseline = read_all(&house, &COLLECTIONS);
    assert!(baseline.values().filter(|(code, _)| *code == 0).count() >= 5, "{baseline:?}");
    drop(theirs);

    let ours = house.start(Who::Ours);
    assert_eq!(read_all(&house, &COLLECTIONS), baseline, "clients notice");
    assert!(is_signed(&house, "1.0") && is_signed(&house, "2.0") && is_signed(&house, "3.0"));
    before.are_kept_in(&house.rows());
    let rotations = house.notary().with_golden_trust("rotations/trust");
    publish(&rotations, ROTATIONS, "ours1", &[]);
    let user = house.notary().with_golden_trust("delegations/user");
    publish(&user, DELEGATIONS, "ours2", &["--roles", "targets/releases"]);
    let owner = house.trusting(DockerClient::newest()).with_golden_trust("docker28/owner/trust");
    add_signer(&owner, "carol");
    let maker = house.notary();
    maker.run(&["init", NEW]).succeeded();
    maker.run(&["key", "rotate", NEW, "snapshot", "-r"]).succeeded();
    publish(&maker, NEW, "ours3", &[]);
    let by_ours = house.rows();
    before.are_kept_in(&by_ours);
    by_ours.added_since(&before).are_laid_out_as_the_references(5, 2);
    drop(ours);

    let theirs = house.start(Who::Theirs);
    lists(&house, ROTATIONS, &["ours1"]);
    lists(&house, DELEGATIONS, &["ours2"]);
    lists(&house, NEW, &["ours3"]);
    assert!(shows(&house, "Name", "carol") && is_signed(&house, "1.0"));
    publish(&rotations, ROTATIONS, "theirs1", &[]);
    publish(&user, DELEGATIONS, "theirs2", &["--roles", "targets/releases"]);
    publish(&maker, NEW, "theirs3", &[]);
    maker.run(&["key", "rotate", NEW, "timestamp", "-r"]).succeeded();
    let alice = house.trusting(DockerClient::newest()).with_golden_trust("docker28/alice/trust");
    let alice =
        alice.with_env("DOCKER_CONTENT_TRUST_REPOSITORY_PASSPHRASE", countersign_testkit::fixtures::USER_PASSPHRASE);
    revoke(&alice, "3.0");
    let by_theirs = house.rows();
    by_ours.are_kept_in(&by_theirs);
    by_theirs.added_since(&by_ours).are_laid_out_as_the_references(5, 1);
    drop(theirs);

    let _ours = house.start(Who::Ours);
    lists(&house, ROTATIONS, &["ours1", "theirs1"]);
    lists(&house, DELEGATIONS, &["ours2", "theirs2"]);
    lists(&house, NEW, &["ours3", "theirs3"]);
    publish(&rotations, ROTATIONS, "again1", &[]);
    publish(&maker, NEW, "again3", &[]);
    maker.run(&["key", "rotate", NEW, "timestamp", "-r"]).succeeded();
    add_signer(&owner, "dave");
    lists(&house, NEW, &["ours3", "theirs3", "again3"]);
    lists(&house, ROTATIONS, &["ours1", "theirs1", "again1"]);
    assert!(shows(&house, "Name", "dave") && shows(&house, "Name", "carol") && !is_signed(&house, "3.0"));
    let at_the_end = house.rows();
    by_theirs.are_kept_in(&at_the_end);
    at_the_end.added_since(&by_theirs).are_laid_out_as_the_references(4, 1);
}

#[test]
fn docker_and_notary_publish_on_with_us_and_the_reference_in_turn_on_its_postgresql() {
    there_and_back(Product::Postgres);
}

#[test]
fn docker_and_notary_publish_on_with_us_and_the_reference_in_turn_on_its_mariadb() {
    there_and_back(Product::MariaDb);
}

#[test]
fn keys_of_ed25519_that_the_reference_made_sign_on() {
    for product in [Product::Postgres, Product::MariaDb] {
        let house = House::with(product, Dump::Edwards);
        let before = house.rows();
        let ours = house.start(Who::Ours);
        let (code, golden) = read_all(&house, &[EDWARDS]).remove(EDWARDS).unwrap();
        assert_eq!(code, 0, "{golden}");
        let owner = house.notary().with_golden_trust("server-keys-ed25519/trust");
        publish(&owner, EDWARDS, "ours1", &[]);
        owner.run(&["key", "rotate", EDWARDS, "timestamp", "-r"]).succeeded();
        drop(ours);
        let _theirs = house.start(Who::Theirs);
        publish(&owner, EDWARDS, "theirs1", &[]);
        lists(&house, EDWARDS, &["ours1", "theirs1"]);
        let after = house.rows();
        before.are_kept_in(&after);
        after.added_since(&before).are_laid_out_as_the_references(3, 1);
    }
}

/// How many targets each of two publishers adds.
const EACH: usize = 6;
/// How often a publisher tries again when others were faster.
const TRIES: usize = 30;

/// Publishes one target after the other, again when somebody else was faster; returns the names that were accepted.
fn publish_against_others(client: &NotaryClient, who: &str) -> Vec<String> {
    let names = (0..EACH).map(|n| format!("{who}{n}"));
    names
        .inspect(|name| {
            std::fs::write(client.folder().join(name), name).unwrap();
            client.run(&["add", ROTATIONS, name, name]).succeeded();
            let accepted = (0..TRIES).any(|_| client.run(&["publish", ROTATIONS]).code == 0);
            assert!(accepted, "{name} was never accepted");
        })
        .collect()
}

/// Ours and the reference's server on one database at the same time: the unique index is the fence between them.
#[test]
fn beside_the_references_server_nothing_that_either_accepted_is_lost() {
    for product in [Product::Postgres, Product::MariaDb] {
        let house = House::with(product, Dump::Ecdsa);
        let before = house.rows();
        let _ours = house.start(Who::Ours);
        let (_theirs, beside) = house.start_theirs_beside();
        let owner = || house.notary().with_golden_trust("rotations/trust");
        let (one, other) = (owner(), owner().with_server(&beside));
        let accepted: Vec<String> = std::thread::scope(|scope| {
            let (one, other) = (&one, &other);
            let working = [
                scope.spawn(move || publish_against_others(one, "ours")),
                scope.spawn(move || publish_against_others(other, "theirs")),
            ];
            working.into_iter().flat_map(|work| work.join().unwrap()).collect()
        });
        for server in [house.notary(), house.notary().with_server(&beside)] {
            let listed = server.run(&["list", ROTATIONS]).succeeded();
            for name in &accepted {
                assert!(listed.stdout.lines().any(|line| line.starts_with(name.as_str())), "{name}: {listed}");
            }
        }
        let after = house.rows();
        before.are_kept_in(&after);
        let added = after.added_since(&before);
        let timestamps = added.files.values().filter(|row| row["role"] == "timestamp").count();
        assert!(timestamps >= 2 * EACH, "{product:?}: {timestamps}");
        added.of(ROTATIONS).have_no_gaps();
    }
}

#[test]
fn our_server_works_with_the_references_signer_and_its_server_with_ours() {
    let house = House::with(Product::Postgres, Dump::Ecdsa);
    let rotations = house.notary().with_golden_trust("rotations/trust");
    let maker = house.notary();
    for (server, signer, name) in [(Who::Ours, Who::Theirs, "one"), (Who::Theirs, Who::Ours, "two")] {
        let _both = house.start_both(server, signer);
        publish(&rotations, ROTATIONS, name, &[]);
        lists(&house, ROTATIONS, &[name]);
        if name == "one" {
            maker.run(&["init", NEW]).succeeded();
            maker.run(&["key", "rotate", NEW, "snapshot", "-r"]).succeeded();
        }
        publish(&maker, NEW, name, &[]);
        maker.run(&["key", "rotate", NEW, "timestamp", "-r"]).succeeded();
        lists(&house, NEW, &[name]);
    }
}

#[test]
fn what_cannot_be_done_is_refused_by_name() {
    let house = House::with(Product::Postgres, Dump::Edwards);
    let refused = |program: &str, change: &dyn Fn(&mut serde_json::Value), named: &str| {
        let ended = house.run_once(program, change);
        let line: serde_json::Value = serde_json::from_str(ended.stderr.lines().last().unwrap_or_default())
            .unwrap_or_else(|_| panic!("no line of JSON: {ended}"));
        assert_eq!((ended.code, line["level"].as_str()), (1, Some("fatal")), "{ended}");
        assert!(line["msg"].as_str().unwrap().contains(named), "{named}: {ended}");
    };
    let set = |pointer: &'static str, value: &'static str| {
        move |document: &mut serde_json::Value| {
            let (table, key) = pointer.rsplit_once('/').unwrap();
            document.pointer_mut(table).unwrap()[key] = value.into();
        }
    };
    refused("notary-server", &set("/server/http_port", "1"), "server.http_port");
    refused("notary-server", &set("/server/client_ca_file", "x"), "authorities of clients");
    refused("notary-server", &set("/storage/backend", "rethinkdb"), "rethinkdb");
    refused("notary-server", &set("/trust_service/type", "local"), "local");
    refused("notary-server", &set("/trust_service/key_algorithm", "rsa"), "rsa");
    refused("notary-server", &set("/trust_service/tls_client_key", ""), "both client key and cert");
    refused("notary-server", &set("/storage/db_url", "postgres://h/x?sslmode=allow"), "sslmode=allow");
    refused("notary-server", &|document| document["auth"] = serde_json::json!({"type": "htpasswd"}), "htpasswd");
    refused(
        "notary-server",
        &|document| document["repositories"] = serde_json::json!({"gun_prefixes": ["/a/"]}),
        "/a/",
    );
    refused("notary-server", &|document| document["logging"] = serde_json::json!({"level": "loud"}), "loud");
    refused("notary-signer", &set("/server/client_ca_file", ""), "server.client_ca_file");
    refused("notary-signer", &set("/storage/default_alias", ""), "default alias");
    refused(
        "notary-signer",
        &|document| document["reporting"] = serde_json::json!({"bugsnag": {"api_key": "k"}}),
        "bugsnag",
    );
    let ended = house.flags("notary-server", &["-bootstrap"]);
    assert!(ended.stderr.contains("store does not support bootstrapping") && ended.code == 1, "{ended}");
    let ended = house.flags("notary-server", &["-debug"]);
    assert!(ended.stderr.contains("-debug") && ended.code == 2, "{ended}");
    let said = house.flags("notary-signer", &["-version"]).succeeded();
    assert!(said.stdout.starts_with("notary-signer Version: "), "{said}");
}

#[test]
fn an_empty_database_is_given_the_references_tables_which_the_reference_takes() {
    for product in [Product::Postgres, Product::MariaDb] {
        let house = House::with(product, Dump::Nothing);
        let maker = house.notary();
        let ours = house.start(Who::Ours);
        maker.run(&["init", NEW]).succeeded();
        publish(&maker, NEW, "ours", &[]);
        drop(ours);
        let _theirs = house.start(Who::Theirs);
        publish(&maker, NEW, "theirs", &[]);
        lists(&house, NEW, &["ours", "theirs"]);
    }
}

#[test]
fn variables_win_over_the_file_and_signals_change_the_level() {
    let house = House::with(Product::Postgres, Dump::Edwards);
    let mut ours = house.start_with(&[("NOTARY_SERVER_REPOSITORIES_GUN_PREFIXES", "golden.test/ other/")]);
    lists(&house, EDWARDS, &[]);
    let refused = house.notary().run(&["init", "example.com/x", "--publish"]).failed();
    assert!(refused.code != 0, "{refused}");
    ours.raise_level();
    ours.waits_for_server_line("Successfully setting log level to warning");
}
