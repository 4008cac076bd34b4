//! The reference's client, for real, over TLS with the service's own authority.

use countersign_server::{Clock, Tls};
use countersign_testkit::{NotaryClient, fixtures};

use crate::service::TestService;

const GUN: &str = "example.com/notary/real";

/// A service with its own authority and the real time, which the client looks at too.
async fn service() -> TestService {
    TestService::with(|config| {
        config.tls = Tls::OwnAuthority { names: Vec::new() };
        config.clock = Clock::system();
    })
    .await
}

fn notary(service: &TestService) -> NotaryClient {
    let authority = fs_err::read_to_string(service.running.authority().unwrap()).unwrap();
    NotaryClient::new(&service.running.url(), &authority)
}

fn run(client: &NotaryClient, arguments: &[&str]) -> String {
    tokio::task::block_in_place(|| client.run(arguments).succeeded().stdout)
}

/// Adds a target whose content is its name.
fn add(client: &NotaryClient, name: &str) {
    fs_err::write(client.folder().join(name), name).unwrap();
    run(client, &["add", GUN, name, name]);
}

#[tokio::test(flavor = "multi_thread")]
async fn init_add_publish_list_lookup_remove() {
    let service = service().await;
    let owner = notary(&service);
    run(&owner, &["init", GUN]);
    add(&owner, "v1");
    add(&owner, "v2");
    run(&owner, &["publish", GUN]);
    let reader = notary(&service);
    let listed = run(&reader, &["list", GUN]);
    assert!(listed.contains("v1") && listed.contains("v2"), "{listed}");
    let found = run(&reader, &["lookup", GUN, "v1"]);
    assert!(found.contains("sha256:"), "{found}");
    run(&owner, &["remove", GUN, "v1", "-p"]);
    let listed = run(&reader, &["list", GUN]);
    assert!(!listed.contains("v1") && listed.contains("v2"), "{listed}");
}

#[tokio::test(flavor = "multi_thread")]
async fn rotations_of_every_role() {
    let service = service().await;
    let owner = notary(&service);
    run(&owner, &["init", GUN]);
    add(&owner, "v1");
    run(&owner, &["publish", GUN]);
    let reader = notary(&service);
    run(&reader, &["list", GUN]);
    for rotation in [
        &["key", "rotate", GUN, "snapshot", "-r"][..],
        &["key", "rotate", GUN, "timestamp", "-r"],
        &["key", "rotate", GUN, "targets"],
        &["key", "rotate", GUN, "snapshot"],
    ] {
        run(&owner, rotation);
        assert!(run(&reader, &["list", GUN]).contains("v1"), "a warm reader after {rotation:?}");
        assert!(run(&notary(&service), &["list", GUN]).contains("v1"), "a fresh reader after {rotation:?}");
    }
    let rotated = tokio::task::block_in_place(|| owner.run_with_input(&["key", "rotate", GUN, "root"], "yes\n"));
    rotated.succeeded();
    assert!(run(&reader, &["list", GUN]).contains("v1"));
    add(&owner, "v2");
    run(&owner, &["publish", GUN]);
    assert!(run(&reader, &["list", GUN]).contains("v2"));
}

#[tokio::test(flavor = "multi_thread")]
async fn delegations_witness_and_removal() {
    let service = service().await;
    let owner = notary(&service);
    run(&owner, &["init", GUN]);
    run(&owner, &["publish", GUN]);
    run(&owner, &["key", "rotate", GUN, "snapshot", "-r"]);
    let certificate = fixtures::path("vectors/repo/delegation-cert-1.pem");
    let certificate = certificate.to_str().unwrap();
    run(&owner, &["delegation", "add", GUN, "targets/releases", certificate, "--all-paths"]);
    run(&owner, &["publish", GUN]);
    let listed = run(&notary(&service), &["delegation", "list", GUN]);
    assert!(listed.contains("targets/releases"), "{listed}");
    add(&owner, "v1");
    run(&owner, &["publish", GUN]);
    run(&owner, &["witness", GUN, "targets", "-p"]);
    assert!(run(&notary(&service), &["list", GUN]).contains("v1"));
    run(&owner, &["delegation", "remove", GUN, "targets/releases", "-y"]);
    run(&owner, &["publish", GUN]);
    let listed = run(&notary(&service), &["delegation", "list", GUN]);
    assert!(!listed.contains("targets/releases"), "{listed}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_delegate_publishes_without_the_owner() {
    let service = service().await;
    let (owner, delegate) = (notary(&service), notary(&service));
    let input = |name: &str| fixtures::path(&format!("delegations/inputs/{name}")).to_str().unwrap().to_owned();
    run(&delegate, &["key", "import", &input("rel1.key"), "--role", "targets/releases"]);
    run(&owner, &["init", GUN]);
    run(&owner, &["publish", GUN]);
    run(&owner, &["key", "rotate", GUN, "snapshot", "-r"]);
    run(&owner, &["delegation", "add", GUN, "targets/releases", &input("rel1.crt"), "--all-paths"]);
    run(&owner, &["publish", GUN]);
    fs_err::write(delegate.folder().join("nightly"), "nightly").unwrap();
    run(&delegate, &["add", GUN, "nightly", "nightly", "--roles", "targets/releases"]);
    run(&delegate, &["publish", GUN]);
    let listed = run(&notary(&service), &["list", GUN]);
    assert!(listed.contains("nightly") && listed.contains("targets/releases"), "{listed}");
}

#[tokio::test(flavor = "multi_thread")]
async fn deletion_and_a_new_beginning() {
    let service = service().await;
    let owner = notary(&service);
    run(&owner, &["init", GUN]);
    add(&owner, "v1");
    run(&owner, &["publish", GUN]);
    run(&owner, &["delete", GUN, "--remote"]);
    let reader = notary(&service);
    let gone = tokio::task::block_in_place(|| reader.run(&["list", GUN]).failed());
    assert!(gone.stdout.contains("does not have trust data for"), "{gone}");
    run(&owner, &["init", GUN]);
    add(&owner, "v1");
    run(&owner, &["publish", GUN]);
    assert!(run(&reader, &["list", GUN]).contains("v1"));
}
