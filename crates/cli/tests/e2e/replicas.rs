//! Several services over one database on a server: what one has acknowledged, every one serves, at once.

use crate::client::{Client, Ending, LOCAL, USER};
use countersign_testkit::{DatabaseServer, Deployment, DockerClient, Product, TrustService};

const PROGRAM: &str = env!("CARGO_BIN_EXE_countersign");
/// What `serve migrate --check` ends with when there is something to do.
const FINDINGS: i32 = 6;
const PASSWORD: &str = "a password that must not be seen";

/// Two services over one database, with the same secret and different authorities.
fn two_replicas(database: &str) -> [TrustService; 2] {
    let first = TrustService::builder(PROGRAM).deployed(Deployment::Embedded).arg("--database").arg(database).start();
    let secret = std::fs::read(first.data_dir().join("secret")).unwrap();
    let second = TrustService::builder(PROGRAM)
        .deployed(Deployment::Embedded)
        .arg("--database")
        .arg(database)
        .file("secret", &secret)
        .start();
    [first, second]
}

#[test]
fn what_one_replica_has_acknowledged_docker_28_reads_from_the_other_at_once() {
    for product in [Product::Postgres, Product::MariaDb] {
        let server = DatabaseServer::start(product);
        let [a, b] = two_replicas(&server.database());
        let gun = "replicas.example.test/acme/app";
        let owners = [a.notary_client(), b.notary_client()];
        let (here, there) = (&owners[0], &owners[1]);
        std::fs::write(here.folder().join("content"), "one").unwrap();
        here.run(&["init", "--publish", gun]).succeeded();
        for round in 0..5 {
            let target = format!("v{round}");
            here.run(&["add", "--publish", gun, &target, "content"]).succeeded();
            let listed = there.run(&["list", gun]).succeeded();
            assert!(listed.stdout.contains(&target), "{product:?}, {target}: {listed}");
            let reader = b.trusting(DockerClient::v28());
            let inspected = reader.run(&["trust", "inspect", gun]).succeeded();
            assert!(inspected.stdout.contains(&format!("\"{target}\"")), "{product:?}, {target}: {inspected}");
        }
        here.run(&["delete", "--remote", gun]).succeeded();
        b.trusting(DockerClient::v28()).run(&["trust", "inspect", gun]).failed();
    }
}

#[test]
fn a_replica_with_another_secret_does_not_start() {
    let server = DatabaseServer::start(Product::Postgres);
    let database = server.database();
    let first = TrustService::builder(PROGRAM).deployed(Deployment::Embedded).arg("--database").arg(&database).start();
    let other = Client::new();
    let start = ["serve", "--listen", "127.0.0.1:0", "--data-dir", "data", "--database", &database];
    other.run(&start).refused(LOCAL, "under another secret");
    drop(first);
    other.run(&start).refused(LOCAL, "under another secret");
}

#[test]
fn a_password_comes_from_a_file_or_a_variable_and_is_never_shown() {
    let server = DatabaseServer::start(Product::MariaDb);
    server.statement(&format!("CREATE USER 'trust'@'%' IDENTIFIED BY '{PASSWORD}'; GRANT ALL ON *.* TO 'trust'@'%'"));
    let database = server.database().replace("root@", "trust@");
    let check = ["serve", "migrate", "--check", "--database", &database];
    let refused = Client::new().run(&check).failed();
    assert!(refused.stderr.contains("Access denied"), "{refused}");

    let person = Client::new().env("COUNTERSIGN_DATABASE_PASSWORD", PASSWORD);
    person.run(&check).refused(FINDINGS, "not of this release yet");
    let migrated = person.run(&["serve", "migrate", "--database", &database]).succeeded();
    assert!(migrated.stdout.contains("before: 0"), "{migrated}");
    person.run(&check).succeeded();

    let person = Client::new();
    std::fs::write(person.folder().join("password"), format!("{PASSWORD}\n")).unwrap();
    person.run(&[&check[..], &["--database-password-file", "password"]].concat()).succeeded();

    let told = database.replace("trust@", "trust:hush@");
    let refused = Client::new().run(&["serve", "--database", &told]).failed();
    assert!(refused.stderr.contains("file or a variable") && !refused.stderr.contains("hush"), "{refused}");
}

#[test]
fn the_embedded_database_is_migrated_and_checked_too() {
    let person = Client::new();
    let check = ["serve", "migrate", "--check", "--data-dir", "data"];
    person.run(&check).refused(FINDINGS, "not of this release yet");
    person.run(&["serve", "migrate", "--data-dir", "data"]).succeeded();
    let checked = person.run(&check).succeeded();
    assert!(checked.stdout.contains("pending: 0"), "{checked}");
}

#[test]
fn old_versions_go_when_the_rules_say_so_and_the_collection_lives_on_beside_the_running_service() {
    let server = DatabaseServer::start(Product::Postgres);
    let database = server.database();
    let service =
        TrustService::builder(PROGRAM).deployed(Deployment::Embedded).arg("--database").arg(&database).start();
    let (owner, gun) = (service.notary_client(), "retention.example.test/acme/app");
    std::fs::write(owner.folder().join("content"), "one").unwrap();
    owner.run(&["init", "--publish", gun]).succeeded();
    for round in 0..4 {
        owner.run(&["add", "--publish", gun, &format!("v{round}"), "content"]).succeeded();
    }
    let person = Client::new();
    person.run(&["serve", "retention", "--database", &database]).refused(USER, "everything is kept");
    let settings = format!("[storage]\ndatabase = \"{database}\"\nconnections = 2\n[retention]\nversions = 2\n");
    std::fs::write(person.folder().join("serve.toml"), settings).unwrap();
    let look = ["serve", "retention", "--config", "serve.toml"];
    let lately = person.run(&look).succeeded();
    assert!(
        lately.stdout.contains("collections; would go: 0 versions"),
        "all was current within the last hour: {lately}"
    );
    let _ = server.ask(&database, "UPDATE countersign_files SET stored_at = stored_at - 7200000000");
    let dry = person.run(&look).succeeded();
    assert!(
        dry.stdout.contains("would go")
            && !dry.stdout.contains("collections; would go: 0 ")
            && dry.stderr.contains("--apply"),
        "{dry}"
    );
    let again = person.run(&look).succeeded();
    assert_eq!(dry.stdout, again.stdout, "a dry run changes nothing");
    let applied = person.run(&[&look[..], &["--apply", "--format", "json"]].concat()).succeeded();
    assert!(applied.stdout.contains("\"applied\":true"), "{applied}");
    let after = person.run(&look).succeeded();
    assert!(after.stdout.contains("would go: 0 versions, 0 bytes"), "{after}");
    owner.run(&["add", "--publish", gun, "after", "content"]).succeeded();
    let listed = service.notary_client().run(&["list", gun]).succeeded();
    assert!(["v0", "v3", "after"].iter().all(|name| listed.stdout.contains(name)), "{listed}");
}
