//! From keys that the trust service made itself to a signing service, without a client noticing.

use super::{GUN, PROGRAM, add, publish, tags};
use countersign_testkit::{Deployment, Keyserver, TrustService};
use std::collections::BTreeMap;

/// Takes keys in and returns, for each, its role and what became of it.
fn import(
    keyserver: &Keyserver,
    service: &TrustService,
    deployment: Deployment,
    more: &[&str],
) -> BTreeMap<String, (String, String)> {
    let mut command = keyserver.command(&["import", "service", "--format", "json"]);
    command.arg("--from-data-dir").arg(service.data_dir()).args(more).env_remove("COUNTERSIGN_DATABASE");
    if deployment != Deployment::Embedded {
        command.args(["--from-database", service.database_url()]);
    }
    let output = command.output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let keys: Vec<serde_json::Value> = serde_json::from_slice(&output.stdout).unwrap();
    let text = |value: &serde_json::Value| value.as_str().unwrap().to_owned();
    keys.iter().map(|key| (text(&key["id"]), (text(&key["gun"]), text(&key["state"])))).collect()
}

fn all(keys: &BTreeMap<String, (String, String)>, state: &str) -> bool {
    keys.values().all(|(_, found)| found == state)
}

fn moved(deployment: Deployment) {
    let mut service = TrustService::builder(PROGRAM).deployed(deployment).start();
    let (owner, reader) = (service.notary_client(), service.notary_client());
    owner.run(&["init", GUN]).succeeded();
    add(&owner, "tag-1");
    publish(&owner);
    // A key that is out of use, a snapshot key of the service's, and one that waits for its first publication.
    owner.run(&["key", "rotate", GUN, "timestamp", "-r"]).succeeded();
    owner.run(&["key", "rotate", GUN, "snapshot", "-r"]).succeeded();
    let later = service.notary_client();
    later.run(&["init", "example.com/later"]).succeeded();
    assert_eq!(tags(&reader), 1);
    let keyserver = Keyserver::start(PROGRAM);
    // Beside the running service, and again: nothing is changed there, and nothing is done twice.
    let taken = import(&keyserver, &service, deployment, &[]);
    assert!(taken.len() >= 4 && all(&taken, "taken in"), "{taken:?}");
    add(&owner, "tag-2");
    publish(&owner);
    let again = import(&keyserver, &service, deployment, &[]);
    assert!(all(&again, "was here") && again.len() == taken.len(), "{again:?}");
    service.restart_with(&keyserver.arguments());
    add(&owner, "tag-3");
    publish(&owner);
    let let_go = import(&keyserver, &service, deployment, &["--let-go"]);
    assert!(all(&let_go, "moved") && let_go.len() == taken.len(), "{let_go:?}");
    assert!(all(&import(&keyserver, &service, deployment, &["--let-go"]), "at a keyserver"));
    // Nothing that signs is left at the service, which starts without what opened it.
    service.kill();
    std::fs::remove_file(service.data_dir().join("secret")).unwrap();
    service.restart();
    add(&owner, "tag-4");
    publish(&owner);
    assert_eq!((tags(&reader), tags(&service.notary_client())), (4, 4));
    let listed = keyserver.command(&["list", "--format", "json"]).output().unwrap();
    let listed: Vec<serde_json::Value> = serde_json::from_slice(&listed.stdout).unwrap();
    assert_eq!(listed.len(), taken.len(), "no key was made in the place of another: {listed:?}");
    assert!(listed.iter().all(|key| taken.contains_key(key["id"].as_str().unwrap())), "{listed:?}");
    std::fs::write(later.folder().join("tag-1"), "x").unwrap();
    later.run(&["add", "example.com/later", "tag-1", "tag-1"]).succeeded();
    later.run(&["publish", "example.com/later"]).succeeded();
    for role in ["timestamp", "snapshot"] {
        owner.run(&["key", "rotate", GUN, role, "-r"]).succeeded();
    }
    assert_eq!(tags(&reader), 4);
    let audit = std::fs::read_to_string(keyserver.file("keys/audit.log")).unwrap();
    assert!(!audit.contains(r#""event":"refuse""#), "{audit}");
    assert_eq!(audit.matches(r#""event":"import","uid":"#).count(), taken.len(), "{audit}");
}

#[test]
fn collections_go_on_at_a_keyserver_with_the_keys_that_their_service_had_made() {
    moved(Deployment::Embedded);
}

#[test]
fn collections_in_a_database_on_a_server_do_so_too() {
    moved(Deployment::Postgres);
}

#[test]
fn keys_of_another_secret_or_that_somebody_changed_are_named_and_stay_where_they_are() {
    let service = TrustService::builder(PROGRAM).deployed(Deployment::Embedded).start();
    let owner = service.notary_client();
    owner.run(&["init", GUN]).succeeded();
    add(&owner, "tag-1");
    publish(&owner);
    let keyserver = Keyserver::start(PROGRAM);
    let secret = service.data_dir().join("secret");
    let right = std::fs::read_to_string(&secret).unwrap();
    let run = |more: &[&str]| {
        let mut command = keyserver.command(&["import", "service", "--let-go"]);
        command.arg("--from-data-dir").arg(service.data_dir()).args(more).env_remove("COUNTERSIGN_DATABASE");
        let output = command.output().unwrap();
        let said = [output.stdout, output.stderr].concat();
        (output.status.code(), String::from_utf8_lossy(&said).into_owned())
    };
    std::fs::write(&secret, format!("{}\n", "0".repeat(64))).unwrap();
    let (code, said) = run(&[]);
    assert!(code == Some(5) && said.contains("BROKEN") && said.contains("could not be taken in"), "{said}");
    std::fs::remove_file(&secret).unwrap();
    let (code, said) = run(&[]);
    assert!(code == Some(5) && said.contains("secret"), "{said}");
    std::fs::write(&secret, right).unwrap();
    let (code, said) = run(&["--alias", "pkcs11:hsm"]);
    assert!(code == Some(2) && said.contains("is a token"), "{said}");
    // All the while the service has signed with its own.
    add(&owner, "tag-2");
    publish(&owner);
    let (code, said) = run(&[]);
    assert!(code == Some(0) && said.contains("moved"), "{said}");
}
