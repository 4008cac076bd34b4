//! The reference's server and signer, run for real, each with our part in the other's place; and the reference's client, which
//! notices nothing.

use std::net::SocketAddr;
use std::process::Command;
use std::time::Duration;

use countersign_server::{Backend, Clock, Connections, DatabaseUrl, KeyAlgorithm, Storage, Tls};
use countersign_testkit::port::{Answer, accepts};
use countersign_testkit::{DatabaseServer, NotaryClient, Port, Process, Product};
use serde_json::{Value, json};

use crate::keyserver::Place;
use crate::owner::{Key, Owner, file_meta, key_id, public, signed};
use crate::service::{Answered, TestService};

const GUN: &str = "example.com/both/ways";

/// One of the reference's programs, until dropped.
struct Reference {
    _process: Process,
    _folder: tempfile::TempDir,
}

fn run(program: &str, configuration: &Value, address: SocketAddr) -> Reference {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("config.json");
    fs_err::write(&file, configuration.to_string()).unwrap();
    let mut command = Command::new(program);
    command.arg("-config").arg(&file);
    let mut process = Process::start(&command, &folder.path().join("log"), Duration::from_secs(5));
    process.wait_until(Duration::from_secs(20), || (accepts(address) == Answer::Yes).into());
    Reference { _process: process, _folder: folder }
}

/// Publishes, reads, rotates both keys of the service, publishes and reads.
fn publish_and_verify(owner: &NotaryClient, reader: &NotaryClient) {
    let said = |client: &NotaryClient, arguments: &[&str]| client.run(arguments).succeeded().stdout;
    let add = |name: &str| {
        fs_err::write(owner.folder().join(name), name).unwrap();
        said(owner, &["add", GUN, name, name]);
        said(owner, &["publish", GUN]);
    };
    said(owner, &["init", GUN]);
    said(owner, &["key", "rotate", GUN, "snapshot", "-r"]);
    add("v1");
    add("v2");
    let listed = said(reader, &["list", GUN]);
    assert!(listed.contains("v1") && listed.contains("v2"), "{listed}");
    for role in ["timestamp", "snapshot"] {
        said(owner, &["key", "rotate", GUN, role, "-r"]);
    }
    add("v3");
    let found = said(reader, &["lookup", GUN, "v3"]);
    assert!(found.contains("sha256:"), "{found}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_references_signer_holds_the_keys_of_our_service() {
    for algorithm in [KeyAlgorithm::EcdsaP256, KeyAlgorithm::Ed25519] {
        let place = Place::new();
        let configuration = json!({
            "server": {
                "grpc_addr": place.address().to_string(),
                "tls_cert_file": place.file("keyserver.crt"), "tls_key_file": place.file("keyserver.key"),
                "client_ca_file": place.file("ca.pem"),
            },
            "storage": {"backend": "memory"},
        });
        let _signer = run("/usr/bin/notary-signer", &configuration, place.address());
        let service = TestService::with(|config| {
            config.tls = Tls::OwnAuthority { names: Vec::new() };
            config.clock = Clock::system();
            config.keys = place.keys();
            config.key_algorithm = algorithm;
        })
        .await;
        let authority = fs_err::read_to_string(service.running.authority().unwrap()).unwrap();
        let client = || NotaryClient::new(&service.running.url(), &authority);
        tokio::task::block_in_place(|| publish_and_verify(&client(), &client()));
        // Health is asked for under the names that the reference has for it.
        drop(crate::service::client());
        let authority = reqwest::Certificate::from_pem(authority.as_bytes()).unwrap();
        let http = reqwest::Client::builder().tls_certs_only([authority]).no_proxy().build().unwrap();
        let health = http.get(format!("{}/_notary_server/health", service.running.url())).send().await.unwrap();
        assert_eq!((health.status().as_u16(), health.text().await.unwrap().as_str()), (200, "{}"));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn our_keyserver_holds_the_keys_of_the_references_server() {
    for algorithm in ["ecdsa", "ed25519"] {
        let place = Place::new();
        let keyserver = place.start().await;
        let port = Port::take();
        let configuration = json!({
            "server": {
                "http_addr": port.address().to_string(),
                "tls_cert_file": place.file("keyserver.crt"), "tls_key_file": place.file("keyserver.key"),
            },
            "trust_service": {
                "type": "remote", "hostname": "localhost", "port": place.address().port().to_string(),
                "key_algorithm": algorithm, "tls_ca_file": place.file("ca.pem"),
                "tls_client_cert": place.file("service.crt"), "tls_client_key": place.file("service.key"),
            },
            "storage": {"backend": "memory"},
        });
        let _server = run("/usr/bin/notary-server", &configuration, port.address());
        let authority = fs_err::read_to_string(place.file("ca.pem")).unwrap();
        let client = || NotaryClient::new(&format!("https://localhost:{}", port.number()), &authority);
        tokio::task::block_in_place(|| publish_and_verify(&client(), &client()));
        let audit = fs_err::read_to_string(place.file("keys/audit.log")).unwrap();
        for event in ["create", "sign"] {
            assert!(audit.contains(&format!(r#""event":"{event}","client":"trust-service""#)), "{audit}");
        }
        assert!(!audit.contains(r#""event":"refuse""#), "{audit}");
        keyserver.shut_down().await;
    }
}

/// A service on the reference's tables, whose keys are at a signer.
async fn on_the_references_tables(url: &str, place: &Place) -> TestService {
    let url = DatabaseUrl::of_reference(Backend::Postgres, &format!("{url}?sslmode=disable")).unwrap();
    let storage = Storage::Reference { url: Box::new(url), connections: Connections::default() };
    TestService::with(|config| (config.storage, config.keys) = (storage, place.keys())).await
}

fn signer_in_memory(place: &Place) -> Reference {
    let configuration = json!({
        "server": {
            "grpc_addr": place.address().to_string(),
            "tls_cert_file": place.file("keyserver.crt"), "tls_key_file": place.file("keyserver.key"),
            "client_ca_file": place.file("ca.pem"),
        },
        "storage": {"backend": "memory"},
    });
    run("/usr/bin/notary-signer", &configuration, place.address())
}

/// Uploads a root with another collection's key beside one of the owner's own, and a snapshot that he has signed: there the
/// service signs no file with either.
async fn with_a_snapshot_of_ones_own(service: &TestService, own: &Owner, others: &Value) -> Answered {
    let own_snapshots = Key::bare();
    let mut payload = own.root_payload(1);
    let ids = [public(&own_snapshots.public), others.clone()].map(|key| {
        let id = key_id(&key);
        payload["keys"][&id] = key;
        id
    });
    payload["roles"]["snapshot"]["keyids"] = json!(ids);
    let (root, targets) = (signed(&payload, &[&own.root_key]), own.targets(1, &["v1"]));
    let listed = json!({"root": file_meta(&root), "targets": file_meta(&targets)});
    let snapshot = json!({"_type": "Snapshot", "expires": own.expires(1095), "meta": listed, "version": 1});
    let parts = [("root", root), ("targets", targets), ("snapshot", signed(&snapshot, &[&own_snapshots]))];
    service.upload(&own.gun, &parts).await
}

/// The reference's signer says of no key which collection it is for: on its tables, where no row says it either, the server
/// alone can keep one collection's key from signing for another. Our keyserver says it itself.
#[tokio::test(flavor = "multi_thread")]
async fn on_the_references_tables_nobody_has_another_collections_key_sign() {
    let database = tokio::task::block_in_place(|| DatabaseServer::start(Product::Postgres));
    for whose in ["reference", "ours"] {
        let place = Place::new();
        let (theirs, ours) = match whose {
            "reference" => (Some(signer_in_memory(&place)), None),
            _ => (None, Some(place.start().await)),
        };
        let url = tokio::task::block_in_place(|| database.database());
        let service = on_the_references_tables(&url, &place).await;
        let victim = Owner::of(&service, "example.com/victim").await;
        victim.publish_first(&service).await;
        let own = Owner::of(&service, "example.com/thief").await;
        for (snapshot, timestamp) in [
            (&victim.snapshot_key, &victim.timestamp_key),
            (&own.snapshot_key, &victim.timestamp_key),
            (&victim.snapshot_key, &own.timestamp_key),
        ] {
            let thief = Owner::with("example.com/thief", service.time.now(), snapshot.clone(), timestamp.clone());
            let parts = [("root", thief.root(1)), ("targets", thief.targets(1, &["v1"]))];
            let refused = service.upload(&thief.gun, &parts).await;
            assert_eq!(refused.error(), "400 INVALID_UPDATE", "{whose}");
            assert_eq!(service.file(&thief.gun, "timestamp.json").await.status, 404, "{whose}");
        }
        // One more key beside his own, whose signature alone would do. Our signer has no such key for him.
        for role in ["timestamp", "snapshot"].into_iter().filter(|_| whose == "reference") {
            let mut payload = own.root_payload(1);
            let more = if role == "timestamp" { &victim.timestamp_key } else { &victim.snapshot_key };
            let id = key_id(more);
            payload["keys"][&id] = more.clone();
            payload["roles"][role]["keyids"].as_array_mut().unwrap().push(id.into());
            let parts = [("root", signed(&payload, &[&own.root_key])), ("targets", own.targets(1, &["v1"]))];
            assert_eq!(service.upload(&own.gun, &parts).await.error(), "400 INVALID_UPDATE", "{whose} {role}");
        }
        let answer = with_a_snapshot_of_ones_own(&service, &own, &victim.snapshot_key).await;
        if whose == "reference" {
            assert_eq!(answer.error(), "400 INVALID_UPDATE", "{}", answer.text());
            own.publish_first(&service).await;
        } else {
            // Ours has no such key for him, and signs nothing with it.
            answer.ok();
            let refused = service.upload(&own.gun, &[("targets", own.targets(2, &["v2"]))]).await;
            assert_eq!(refused.error(), "400 INVALID_UPDATE", "{}", refused.text());
            service.delete(&own.gun).await.ok();
            continue;
        }
        for owner in [&victim, &own] {
            let parts = [("targets", owner.targets(2, &["v2"]))];
            service.upload(&owner.gun, &parts).await.ok();
            assert_eq!(service.file(&owner.gun, "timestamp.key").await.ok().json(), owner.timestamp_key, "{whose}");
        }
        drop((theirs, ours));
    }
}

/// What a signer that restarts, or another server, gave out goes on counting: the root lists it.
#[tokio::test(flavor = "multi_thread")]
async fn a_server_on_the_references_tables_remembers_nothing_about_keys() {
    let database = tokio::task::block_in_place(|| DatabaseServer::start(Product::Postgres));
    let place = Place::new();
    let _signer = signer_in_memory(&place);
    let url = tokio::task::block_in_place(|| database.database());
    let service = on_the_references_tables(&url, &place).await;
    let owner = Owner::of(&service, "example.com/kept").await;
    owner.publish_first(&service).await;
    drop(service);
    let service = on_the_references_tables(&url, &place).await;
    service.upload(&owner.gun, &[("targets", owner.targets(2, &["v2"]))]).await.ok();
    assert_eq!(service.file(&owner.gun, "timestamp.key").await.ok().json(), owner.timestamp_key);
    // A snapshot key that the owner has is none of the signer's.
    let without = service.request("POST", "/v2/example.com/kept/_trust/tuf/snapshot.key").await.ok().json();
    assert_ne!(without, owner.snapshot_key);
    service.delete(&owner.gun).await.ok();
    let again = service.upload(&owner.gun, &[("root", owner.root(1)), ("targets", owner.targets(1, &["v1"]))]).await;
    assert_eq!(again.status, 400, "the keys of a deleted collection vouch for nothing");
}
