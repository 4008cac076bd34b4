//! Leaving the reference's databases: everything in them is taken over by a service of ours, and everybody goes on.
#![expect(clippy::indexing_slicing, reason = "these are tests; a failure is the answer")]

use super::house::{Dump, House, Running, Who};
use super::rows::Table;
use super::{COLLECTIONS, DELEGATIONS, DOCKER, EDWARDS, NEW, ROTATIONS, publish};
use crate::client::{Ending, TRUST, USER};
use countersign_testkit::{
    Deployment, DockerClient, Finished, Keyserver, NotaryClient, Process, Product, TrustService, digest, fixtures,
};
use serde_json::Value;
use std::collections::BTreeMap;
use std::fmt::Write;
use std::process::Command;
use std::time::Duration;

const LIMIT: Duration = Duration::from_mins(1);

/// A new service beside the old databases, which has been started once and does not run.
fn new_service(deployment: Deployment) -> TrustService {
    let mut service = TrustService::builder(env!("CARGO_BIN_EXE_countersign")).deployed(deployment).start();
    service.kill();
    service
}

fn command(house: &House, service: &TrustService, deployment: Deployment, rest: &[&str]) -> Command {
    let mut command = house.importing(rest);
    command.arg("--data-dir").arg(service.data_dir());
    if deployment != Deployment::Embedded {
        command.args(["--database", service.database_url()]);
    }
    command
}

fn import(house: &House, service: &TrustService, deployment: Deployment) -> Finished {
    Finished::of(&mut command(house, service, deployment, &["--format", "json"]), b"")
}

fn rows(finished: &Finished) -> BTreeMap<String, Value> {
    let rows: Vec<Value> = serde_json::from_str(&finished.stdout).unwrap_or_else(|error| panic!("{error}: {finished}"));
    rows.into_iter().map(|row| (row["gun"].as_str().unwrap().to_owned(), row)).collect()
}

fn read(client: &NotaryClient, gun: &str) -> (i32, String) {
    let listed = client.run(&["list", gun]);
    (listed.code, listed.stdout)
}

fn lists(service: &TrustService, gun: &str, name: &str) {
    let listed = service.notary_client().run(&["list", gun]).succeeded();
    assert!(listed.stdout.lines().any(|line| line.starts_with(name)), "{gun}: {name}: {listed}");
}

/// Every file that was in the old database is served byte for byte, by its version.
fn every_version_is_served(service: &TrustService, files: &Table) {
    let authority = service.data_dir().join("ca.pem");
    let (mut config, mut wanted) = (String::new(), Vec::new());
    let folder = tempfile::tempdir().unwrap();
    for (id, row) in files {
        let [gun, role] = ["gun", "role"].map(|name| row[name].as_str().unwrap());
        let path = folder.path().join(id.to_string());
        let url = format!("{}/v2/{gun}/_trust/tuf/{}.{role}.json", service.url(), row["version"]);
        write!(config, "url = \"{url}\"\noutput = \"{}\"\n", path.display()).unwrap();
        wanted.push((path, row["sha256"].as_str().unwrap().trim_end().to_owned(), url));
    }
    let mut curl = Command::new("curl");
    curl.arg("--silent").arg("--fail").arg("--cacert").arg(authority).args(["--config", "-"]);
    Finished::of(&mut curl, config.as_bytes()).succeeded();
    for (path, sha256, url) in wanted {
        assert_eq!(digest::sha256_hex(&std::fs::read(path).unwrap()), sha256, "{url}");
    }
}

/// The story: the reference's collections are taken over, and its users sign on.
fn taken_over(product: Product, deployment: Deployment) {
    let house = House::with(product, Dump::Ecdsa);
    let before = house.rows();
    let theirs = house.start(Who::Theirs);
    let baseline: BTreeMap<&str, _> = COLLECTIONS.iter().map(|gun| (*gun, read(&house.notary(), gun))).collect();
    drop(theirs);
    let mut service = new_service(deployment);
    let imported = import(&house, &service, deployment);
    let found = rows(&imported);
    service.restart();
    for (gun, (code, text)) in &baseline {
        assert_eq!(read(&service.notary_client(), gun), (*code, text.clone()), "{gun}: {imported}\n{}", service.log());
        if *code == 0 {
            assert_eq!(found[*gun]["state"], "taken over", "{imported}");
            assert_eq!(found[*gun]["problems"], Value::Array(vec![]), "{imported}");
        }
    }
    imported.succeeded();
    assert_eq!(house.rows(), before, "the old databases are only read");
    every_version_is_served(&service, &before.files);

    let rotations = service.notary_client().with_golden_trust("rotations/trust");
    publish(&rotations, ROTATIONS, "new1", &[]);
    lists(&service, ROTATIONS, "new1");
    let user = service.notary_client().with_golden_trust("delegations/user");
    publish(&user, DELEGATIONS, "new2", &["--roles", "targets/releases"]);
    lists(&service, DELEGATIONS, "new2");
    let maker = service.notary_client();
    maker.run(&["init", NEW]).succeeded();
    publish(&maker, NEW, "new3", &[]);
    let docker = || service.trusting(DockerClient::newest());
    let owner = docker().with_golden_trust("docker28/owner/trust");
    owner.run(&["trust", "key", "generate", "carol"]).succeeded();
    owner.run(&["trust", "signer", "add", "--key", "carol.pub", "carol", DOCKER]).succeeded();
    let alice = docker().with_golden_trust("docker28/alice/trust");
    let alice = alice.with_env("DOCKER_CONTENT_TRUST_REPOSITORY_PASSPHRASE", fixtures::USER_PASSPHRASE);
    alice.run(&["trust", "revoke", "--yes", &format!("{DOCKER}:3.0")]).succeeded();
    let seen = docker().run(&["trust", "inspect", DOCKER]).succeeded();
    assert!(seen.stdout.contains("\"Name\": \"carol\"") && seen.stdout.contains("\"SignedTag\": \"1.0\""), "{seen}");
    assert!(!seen.stdout.contains("\"SignedTag\": \"3.0\""), "{seen}");
    // The service's own keys go on being exchanged.
    for role in ["timestamp", "snapshot"] {
        rotations.run(&["key", "rotate", ROTATIONS, role, "-r"]).succeeded();
    }
    lists(&service, ROTATIONS, "new1");
    // What somebody has published here since is not overwritten.
    service.kill();
    let again = import(&house, &service, deployment);
    assert_eq!(again.code, 0, "{again}");
    assert!(rows(&again)[ROTATIONS]["remarks"].to_string().contains("signed at the new service since"), "{again}");
    service.restart();
    lists(&service, ROTATIONS, "new1");
}

#[test]
fn docker_and_notary_publish_on_after_everything_was_imported_from_postgresql() {
    taken_over(Product::Postgres, Deployment::Embedded);
}

#[test]
fn docker_and_notary_publish_on_after_everything_was_imported_from_mariadb() {
    taken_over(Product::MariaDb, Deployment::Embedded);
}

#[test]
fn docker_and_notary_publish_on_after_everything_was_imported_into_postgresql() {
    taken_over(Product::MariaDb, Deployment::Postgres);
}

#[test]
fn docker_and_notary_publish_on_after_everything_was_imported_into_mariadb() {
    taken_over(Product::Postgres, Deployment::MariaDb);
}

#[test]
fn collections_whose_keys_are_ed25519_are_imported_and_signed_on() {
    let house = House::with(Product::Postgres, Dump::Edwards);
    let mut service = new_service(Deployment::Embedded);
    import(&house, &service, Deployment::Embedded).succeeded();
    service.restart();
    every_version_is_served(&service, &house.rows().files);
    let owner = service.notary_client().with_golden_trust("server-keys-ed25519/trust");
    publish(&owner, EDWARDS, "new1", &[]);
    lists(&service, EDWARDS, "new1");
}

#[test]
fn keys_can_stay_at_the_signer_whoever_made_it() {
    for who in [Who::Theirs, Who::Ours] {
        let house = House::with(Product::Postgres, Dump::Ecdsa);
        let _signer = house.start_signer(who);
        let mut builder = TrustService::builder(env!("CARGO_BIN_EXE_countersign")).deployed(Deployment::Embedded);
        for argument in house.signer_arguments() {
            builder = builder.arg(&argument);
        }
        let mut service = builder.start();
        service.kill();
        let mut import = command(&house, &service, Deployment::Embedded, &["--keep-signer"]);
        // Nobody needs to know the passphrases for that.
        import.env_remove("NOTARY_SIGNER_INTEROPALIAS");
        Finished::of(&mut import, b"").succeeded();
        service.restart();
        let rotations = service.notary_client().with_golden_trust("rotations/trust");
        publish(&rotations, ROTATIONS, "new1", &[]);
        let user = service.notary_client().with_golden_trust("delegations/user");
        publish(&user, DELEGATIONS, "new2", &["--roles", "targets/releases"]);
        lists(&service, ROTATIONS, "new1");
        lists(&service, DELEGATIONS, "new2");
    }
}

#[test]
fn the_signers_keys_go_into_a_keyserver_of_ours_and_all_else_into_the_service() {
    for product in [Product::Postgres, Product::MariaDb] {
        let house = House::with(product, Dump::Ecdsa);
        let keyserver = Keyserver::start(env!("CARGO_BIN_EXE_countersign"));
        let mut unknown = house.taking_keys(&keyserver);
        unknown.env_remove("NOTARY_SIGNER_INTEROPALIAS");
        let unknown = Finished::of(&mut unknown, b"");
        assert_eq!(unknown.code, 5, "{unknown}");
        assert!(unknown.stdout.contains("NOTARY_SIGNER_") || unknown.stdout.contains("passphrase"), "{unknown}");
        let states = |finished: &Finished| -> Vec<String> {
            let keys: Vec<Value> = serde_json::from_str(&finished.stdout).unwrap();
            keys.iter().map(|key| key["state"].as_str().unwrap().to_owned()).collect()
        };
        let taken = states(&Finished::of(&mut house.taking_keys(&keyserver), b"").succeeded());
        assert!(taken.len() > 3 && taken.iter().all(|state| state == "taken in"), "{taken:?}");
        let again = states(&Finished::of(&mut house.taking_keys(&keyserver), b"").succeeded());
        assert!(again.len() == taken.len() && again.iter().all(|state| state == "was here"), "{again:?}");
        let mut service = new_service(Deployment::Embedded);
        let mut import = command(&house, &service, Deployment::Embedded, &["--keep-signer"]);
        Finished::of(&mut import, b"").succeeded();
        service.restart_with(&keyserver.arguments());
        let rotations = service.notary_client().with_golden_trust("rotations/trust");
        publish(&rotations, ROTATIONS, "new1", &[]);
        let user = service.notary_client().with_golden_trust("delegations/user");
        publish(&user, DELEGATIONS, "new2", &["--roles", "targets/releases"]);
        lists(&service, ROTATIONS, "new1");
        lists(&service, DELEGATIONS, "new2");
    }
}

#[test]
fn an_import_that_is_killed_again_and_again_goes_on_where_it_was_and_loses_nothing() {
    let house = House::with(Product::Postgres, Dump::Ecdsa);
    let mut service = new_service(Deployment::Embedded);
    let (mut killed, mut wait) = (0, 40);
    let finished = loop {
        let log = service.data_dir().join("import.log");
        let mut running = Process::start(
            &command(&house, &service, Deployment::Embedded, &["--format", "json"]),
            &log,
            Duration::from_secs(1),
        );
        std::thread::sleep(Duration::from_millis(wait));
        if running.log().contains("start the new service") || killed > 60 {
            drop(running);
            break import(&house, &service, Deployment::Embedded);
        }
        running.kill();
        killed += 1;
        wait += 15;
    };
    assert!(killed >= 3, "it was over before it could be killed");
    finished.succeeded();
    service.restart();
    every_version_is_served(&service, &house.rows().files);
    let rotations = service.notary_client().with_golden_trust("rotations/trust");
    publish(&rotations, ROTATIONS, "new1", &[]);
    lists(&service, ROTATIONS, "new1");
}

#[test]
fn an_import_follows_what_is_published_until_the_old_service_is_stopped() {
    let house = House::with(Product::Postgres, Dump::Ecdsa);
    let theirs: Running = house.start(Who::Theirs);
    let mut service = new_service(Deployment::Embedded);
    let log = service.data_dir().join("import.log");
    let follow = command(&house, &service, Deployment::Embedded, &["--follow"]);
    let mut following = Process::start(&follow, &log, LIMIT);
    following.wait_until(LIMIT, || std::fs::read_to_string(&log).unwrap_or_default().contains("following:").into());
    // Published, made, deleted, made anew and rotated meanwhile.
    let rotations = house.notary().with_golden_trust("rotations/trust");
    publish(&rotations, ROTATIONS, "meanwhile", &[]);
    let maker = house.notary();
    maker.run(&["init", NEW]).succeeded();
    publish(&maker, NEW, "early", &[]);
    following
        .wait_until(LIMIT, || std::fs::read_to_string(&log).unwrap_or_default().contains("changes followed").into());
    maker.run(&["delete", NEW, "--remote"]).succeeded();
    let again = house.notary();
    again.run(&["init", NEW]).succeeded();
    publish(&again, NEW, "late", &[]);
    rotations.run(&["key", "rotate", ROTATIONS, "timestamp", "-r"]).succeeded();
    let user = house.notary().with_golden_trust("delegations/user");
    publish(&user, DELEGATIONS, "meanwhile2", &["--roles", "targets/releases"]);
    // The cut-over.
    drop(theirs);
    let ended = following.stop();
    let text = std::fs::read_to_string(&log).unwrap();
    assert!(ended.is_some_and(|status| status.success()), "{text}");
    service.restart();
    every_version_is_served(&service, &house.rows().files);
    for (gun, name) in [(ROTATIONS, "meanwhile"), (NEW, "late"), (DELEGATIONS, "meanwhile2")] {
        lists(&service, gun, name);
    }
    let owner = service.notary_client().with_golden_trust("delegations/user");
    publish(&owner, DELEGATIONS, "afterwards", &["--roles", "targets/releases"]);
    lists(&service, DELEGATIONS, "afterwards");
}

#[test]
fn what_is_broken_is_said_and_left_out_and_the_rest_goes_on() {
    let house = House::with(Product::Postgres, Dump::Ecdsa);
    let basic = "golden.test/notary/basic";
    // A file was changed, and its checksum with it; another one's checksum does not fit; a root is gone from the middle of the
    // chain; and a key is damaged.
    house.tamper_files(&format!(
        "UPDATE tuf_files SET data = convert_to(replace(convert_from(data, 'UTF8'), '\"version\":', '\"version\": '), 'UTF8'), \
         sha256 = encode(sha256(convert_to(replace(convert_from(data, 'UTF8'), '\"version\":', '\"version\": '), 'UTF8')), 'hex') \
         WHERE gun = '{basic}' AND role = 'targets'"
    ));
    house.tamper_files(&format!("UPDATE tuf_files SET data = data || 'x' WHERE gun = '{DOCKER}' AND role = 'root'"));
    house.tamper_files(&format!("DELETE FROM tuf_files WHERE gun = '{ROTATIONS}' AND role = 'root' AND version = 2"));
    house.tamper_keys(&format!(
        "UPDATE private_keys SET private = 'x' WHERE gun = '{DELEGATIONS}' AND role = 'timestamp'"
    ));
    let mut service = new_service(Deployment::Embedded);
    let imported = import(&house, &service, Deployment::Embedded);
    assert!(imported.code == TRUST && imported.stderr.contains("something is broken in 4 collections"), "{imported}");
    let found = rows(&imported);
    let state = |gun: &str| (found[gun]["state"].as_str().unwrap(), found[gun]["problems"].to_string());
    let (done, why) = state(basic);
    assert!(done == "left out" && why.contains("targets"), "{why}");
    let (done, why) = state(DOCKER);
    assert!(done == "left out" && why.contains("damaged"), "{why}");
    let (done, why) = state(DELEGATIONS);
    assert!(done == "taken over" && why.contains("timestamp key"), "{why}");
    let (done, why) = state(ROTATIONS);
    assert!(done == "taken over" && why.contains("readers that know one before 3 cannot follow"), "{why}");
    // It is said each time, also of what was copied before.
    let again = import(&house, &service, Deployment::Embedded);
    assert!(again.code == TRUST && again.stderr.contains("something is broken in 4 collections"), "{again}");
    let found = rows(&again);
    for (gun, why) in [(DELEGATIONS, "its timestamp key is not here"), (ROTATIONS, "cannot follow")] {
        assert!(found[gun]["state"] == "was here" && found[gun]["problems"].to_string().contains(why), "{again}");
    }
    service.restart();
    for gun in [basic, DOCKER] {
        service.notary_client().run(&["list", gun]).failed();
    }
    service.notary_client().run(&["list", "golden.test/notary/x509"]).succeeded();
}

/// What was ended before it had copied everything has not followed anything, and does not say so.
#[test]
fn an_import_that_is_told_to_end_while_it_copies_ends_as_a_failure() {
    let house = House::with(Product::Postgres, Dump::Ecdsa);
    let service = new_service(Deployment::Embedded);
    let log = service.data_dir().join("import.log");
    let follow = command(&house, &service, Deployment::Embedded, &["--follow"]);
    std::thread::scope(|scope| {
        // Nobody reads files while somebody holds their table.
        let holder = scope.spawn(|| house.tamper_files("BEGIN; LOCK TABLE tuf_files; SELECT pg_sleep(8); COMMIT"));
        std::thread::sleep(Duration::from_millis(500));
        let mut following = Process::start(&follow, &log, LIMIT);
        let said = || std::fs::read_to_string(&log).unwrap_or_default();
        following.wait_until(LIMIT, || said().contains("keys taken over").into());
        let ended = following.stop();
        assert_eq!(ended.and_then(|status| status.code()), Some(5), "{}", said());
        assert!(
            said().contains("before everything was copied") && !said().contains("start the new service"),
            "{}",
            said()
        );
        holder.join().unwrap();
    });
    assert_eq!(import(&house, &service, Deployment::Embedded).code, 0);
}

/// Its new keys come before the deletion of the old collection is heard of, which would retire them with the old ones.
#[test]
fn a_collection_that_was_deleted_and_made_anew_between_two_imports_has_its_new_keys() {
    let house = House::with(Product::Postgres, Dump::Ecdsa);
    let theirs: Running = house.start(Who::Theirs);
    let maker = house.notary();
    maker.run(&["init", NEW]).succeeded();
    publish(&maker, NEW, "early", &[]);
    let mut service = new_service(Deployment::Embedded);
    assert_eq!(import(&house, &service, Deployment::Embedded).code, 0);
    maker.run(&["delete", NEW, "--remote"]).succeeded();
    let again = house.notary();
    again.run(&["init", NEW]).succeeded();
    again.run(&["key", "rotate", NEW, "snapshot", "-r"]).succeeded();
    publish(&again, NEW, "late", &[]);
    let imported = import(&house, &service, Deployment::Embedded);
    assert_eq!(imported.code, 0, "{imported}");
    assert_eq!(rows(&imported)[NEW]["problems"].as_array().map(Vec::len), Some(0), "{imported}");
    drop(theirs);
    assert_eq!(import(&house, &service, Deployment::Embedded).code, 0);
    service.restart();
    lists(&service, NEW, "late");
    let owner = service.notary_client();
    let copied = Command::new("cp").arg("-rT").arg(again.trust_dir()).arg(owner.trust_dir()).status().unwrap();
    assert!(copied.success());
    publish(&owner, NEW, "afterwards", &[]);
    lists(&service, NEW, "afterwards");
}

/// A key that waited is taken over; at the old service it signs, and another one is made that signs, too: whichever id is lower.
#[test]
fn a_key_that_has_signed_is_taken_whichever_key_waited_in_its_place_before() {
    for first in ["min", "max"] {
        let house = House::with(Product::Postgres, Dump::Ecdsa);
        let second = if first == "min" { "max" } else { "min" };
        let pick = |which: &str| {
            format!(
                "(SELECT {which}(key_id) FROM private_keys WHERE gun <> '' AND gun NOT IN ('{ROTATIONS}', '{DELEGATIONS}'))"
            )
        };
        // Two keys of others, so that what they are encrypted under is right: one waits, the other is not there yet.
        house.tamper_keys(&format!(
            "CREATE TABLE aside AS SELECT * FROM private_keys WHERE key_id = {second}; \
             UPDATE aside SET gun = 'example.com/rotated', role = 'timestamp', last_used = now(); \
             UPDATE private_keys SET gun = 'example.com/rotated', role = 'timestamp', last_used = NULL WHERE key_id = {first}; \
             DELETE FROM private_keys WHERE key_id = (SELECT key_id FROM aside)",
            first = pick(first),
            second = pick(second),
        ));
        let service = new_service(Deployment::Embedded);
        import(&house, &service, Deployment::Embedded);
        house.tamper_keys(
            "UPDATE private_keys SET last_used = now() WHERE gun = 'example.com/rotated'; \
             INSERT INTO private_keys SELECT * FROM aside",
        );
        let again = import(&house, &service, Deployment::Embedded);
        assert!(!rows(&again).contains_key("example.com/rotated"), "{first}: {again}");
    }
}

/// What whoever may reach the old service can leave in its tables: names that it takes and we do not, and keys for them.
#[test]
fn a_row_that_the_reference_takes_and_we_do_not_ends_neither_the_import_nor_the_signers_start() {
    let house = House::with(Product::Postgres, Dump::Ecdsa);
    house.tamper_files(
        "INSERT INTO changefeed (gun, version, sha256, category) VALUES ('a b', 1, repeat('0', 64), 'update'); \
         INSERT INTO tuf_files (gun, role, version, data, sha256) VALUES ('a b', 'timestamp', 1, 'x', repeat('0', 64))",
    );
    let key = |id: &str, alias: &str, private: &str, gun: &str, deleted: &str| {
        house.tamper_keys(&format!(
            "INSERT INTO private_keys (key_id, encryption_alg, keywrap_alg, algorithm, passphrase_alias, public, private, gun, role, \
             last_used, deleted_at) SELECT '{id}' || repeat('0', 63), encryption_alg, keywrap_alg, algorithm, '{alias}', public, \
             {private}, '{gun}', 'timestamp', now(), {deleted} FROM private_keys WHERE deleted_at IS NULL LIMIT 1"
        ));
    };
    key("0", "interopalias", "private", "a b", "NULL");
    key("1", "interopalias", "'x'", "example.com/damaged", "NULL");
    key("2", "thrownaway", "'x'", "example.com/old", "now()");
    let ours = house.start(Who::Ours);
    let rotations = house.notary().with_golden_trust("rotations/trust");
    publish(&rotations, ROTATIONS, "inplace", &[]);
    drop(ours);
    let mut service = new_service(Deployment::Embedded);
    let imported = import(&house, &service, Deployment::Embedded);
    assert!(imported.code == TRUST && imported.stderr.contains("something is broken in 3 collections"), "{imported}");
    let found = rows(&imported);
    for (gun, state, problem) in [
        ("a b", "left out", "no collection's name"),
        ("", "key left out", "cannot be read"),
        ("example.com/damaged", "key left out", "was left out"),
        (ROTATIONS, "taken over", "[]"),
        (DELEGATIONS, "taken over", "[]"),
    ] {
        let row = &found[gun];
        assert!(row["state"] == state && row["problems"].to_string().contains(problem), "{gun}: {imported}");
    }
    // One that comes while changes are followed.
    house.tamper_files(
        "INSERT INTO changefeed (gun, version, sha256, category) VALUES ('c d', 1, repeat('0', 64), 'update'), \
         ('e f', 0, '', 'deletion')",
    );
    let again = import(&house, &service, Deployment::Embedded);
    let found = rows(&again);
    assert_eq!((&found["c d"]["state"], &found["e f"]["state"]), (&"left out".into(), &"deleted".into()), "{again}");
    service.restart();
    lists(&service, ROTATIONS, "inplace");
    let rotations = service.notary_client().with_golden_trust("rotations/trust");
    publish(&rotations, ROTATIONS, "new1", &[]);
}

#[test]
fn a_passphrase_that_is_missing_or_wrong_is_told_before_anything_is_done() {
    let house = House::with(Product::MariaDb, Dump::Ecdsa);
    let service = new_service(Deployment::Embedded);
    let mut without = command(&house, &service, Deployment::Embedded, &[]);
    without.env_remove("NOTARY_SIGNER_INTEROPALIAS");
    Finished::of(&mut without, b"").refused(USER, "NOTARY_SIGNER_INTEROPALIAS");
    let mut wrong = command(&house, &service, Deployment::Embedded, &[]);
    wrong.env("NOTARY_SIGNER_INTEROPALIAS", "another");
    Finished::of(&mut wrong, b"").refused(USER, "interopalias cannot be opened");
}
