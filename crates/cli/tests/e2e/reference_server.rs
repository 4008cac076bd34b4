//! Our clients at the reference's own server.

use crate::client::{Client, Ending, TRUST};
use crate::notary_pair::ours;
use countersign_testkit::port::{Answer, accepts};
use countersign_testkit::{DockerClient, Image, MemoryRegistry, NotaryClient, Port, Process, TestCa};
use std::process::Command;
use std::time::Duration;

/// `notary-server` with its keys and metadata in memory.
pub(crate) struct Reference {
    pub(crate) url: String,
    ca: TestCa,
    _process: Process,
    _port: Port,
    _folder: tempfile::TempDir,
}

impl Reference {
    pub(crate) fn start() -> Self {
        let (ca, folder, port) = (TestCa::new(), tempfile::tempdir().unwrap(), Port::take());
        let (address, certificate) = (port.address(), ca.loopback_server());
        let file = |name: &str, text: String| {
            let path = folder.path().join(name);
            std::fs::write(&path, text).unwrap();
            path.display().to_string()
        };
        let configuration = serde_json::json!({
            "server": {
                "http_addr": address.to_string(),
                "tls_cert_file": file("server.crt", certificate.certificate_pem),
                "tls_key_file": file("server.key", certificate.key_pem),
            },
            "trust_service": {"type": "local"},
            "storage": {"backend": "memory"},
        });
        let mut command = Command::new("/usr/bin/notary-server");
        command.arg("-config").arg(file("server.json", configuration.to_string()));
        let mut process = Process::start(&command, &folder.path().join("log"), Duration::from_secs(5));
        process.wait_until(Duration::from_secs(20), || (accepts(address) == Answer::Yes).into());
        Self { url: format!("https://{address}"), ca, _process: process, _port: port, _folder: folder }
    }

    pub(crate) fn client(&self) -> Client {
        self.known_by(Client::new())
    }

    /// The same person, who asks this server.
    pub(crate) fn known_by(&self, client: Client) -> Client {
        client.at(&self.url, &self.ca.pem())
    }

    pub(crate) fn docker28(&self) -> DockerClient {
        DockerClient::v28().with_content_trust(&self.url, &self.ca.pem())
    }

    pub(crate) fn notary(&self) -> NotaryClient {
        NotaryClient::new(&self.url, &self.ca.pem())
    }
}

#[test]
fn a_collection_lives_at_the_reference_s_server_from_its_first_signature_on() {
    let (reference, registry) = (Reference::start(), MemoryRegistry::start().unwrap());
    let (owner, gun) = (reference.client(), format!("{}/acme/app", registry.host()));
    let name = |tag: &str| format!("{gun}:{tag}");
    let put = |tag: &str, text: &str| registry.put_image("acme/app", tag, &Image::with_message(text)).unwrap();
    let verified = |tag: &str, digest: &str| {
        let verified = reference.client().run(&["verify", &name(tag)]).succeeded();
        assert_eq!(verified.stdout, format!("{gun}@{digest}\n"), "{verified}");
    };
    for (tag, text) in [("v1", "one"), ("v2", "two"), ("v1", "another")] {
        let digest = put(tag, text);
        owner.run(&["sign", &name(tag)]).succeeded();
        verified(tag, &digest);
    }
    let again = owner.run(&["sign", &name("v1")]).succeeded();
    assert!(again.stdout.starts_with("Already signed"), "{again}");
    owner.plugin(&["trust", "key", "generate", "alice"]).succeeded();
    owner.plugin(&["trust", "signer", "add", "--key", "alice.pub", "alice", &gun]).succeeded();
    let digest = put("v3", "three");
    owner.run(&["sign", &name("v3")]).succeeded();
    verified("v3", &digest);
    owner.run(&["revoke", &name("v3")]).succeeded();
    reference.client().run(&["verify", &name("v3")]).refused(TRUST, "No valid trust data for v3");
    let listed = reference.notary().run(&["list", &gun]).succeeded();
    assert!(listed.stdout.contains("v1") && listed.stdout.contains("v2"), "{listed}");
}

#[test]
fn every_role_is_rotated_and_a_collection_deleted_at_the_reference_s_server() {
    const GUN: &str = "example.test/app";
    let reference = Reference::start();
    let (owner, early) = (ours(reference.notary()), ours(reference.notary()));
    std::fs::write(owner.folder().join("hello"), "hello\n").unwrap();
    owner.run(&["init", GUN, "-p"]).succeeded();
    owner.run(&["add", GUN, "one", "hello", "-p"]).succeeded();
    early.run(&["list", GUN]).succeeded();
    for (number, role) in [&["snapshot", "-r"][..], &["targets"], &["root"], &["timestamp", "-r"]].iter().enumerate() {
        owner.run_with_input(&[&["key", "rotate", GUN], *role].concat(), "yes\n").succeeded();
        owner.run(&["add", GUN, &format!("more{number}"), "hello", "-p"]).succeeded();
        for reader in [&early, &ours(reference.notary()), &reference.notary()] {
            let listed = reader.run(&["list", GUN]).succeeded();
            assert!(listed.stdout.contains(&format!("more{number}")), "{role:?}: {listed}");
        }
    }
    owner.run(&["delete", GUN, "--remote"]).succeeded();
    ours(reference.notary()).run(&["list", GUN]).failed();
}
