//! Multi-platform images: what is signed is the index.

use crate::client::Ending;
use crate::stage::{Shop, Stage};
use countersign_testkit::Image;
use countersign_testkit::digest::oci_digest;
use serde_json::json;
use std::io::{Read, Write};

const INDEX: &str = "application/vnd.docker.distribution.manifest.list.v2+json";

/// Sends one request to a registry over plain HTTP and returns the status.
fn send(host: &str, method: &str, path: &str, media_type: &str, body: &[u8]) -> String {
    let mut stream = std::net::TcpStream::connect(host).unwrap();
    let head = format!(
        "{method} {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\nContent-Type: {media_type}\r\nContent-Length: {}\r\n\r\n",
        body.len()
    );
    stream.write_all(head.as_bytes()).unwrap();
    stream.write_all(body).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

fn put_blob(host: &str, repository: &str, bytes: &[u8]) {
    let started = send(host, "POST", &format!("/v2/{repository}/blobs/uploads/"), "application/octet-stream", b"");
    let place = started.lines().find_map(|line| line.strip_prefix("Location: ")).unwrap().trim();
    let path = place.split_once(host).map_or(place, |(_, path)| path);
    let path = format!("{path}&digest={}", oci_digest(bytes));
    let stored = send(host, "PUT", &path, "application/octet-stream", bytes);
    assert!(stored.starts_with("HTTP/1.1 201"), "{stored}");
}

/// Puts an image for this machine and one for another under an index, and returns the index's digest.
pub(crate) fn put_index(host: &str, repository: &str, tag: &str) -> String {
    let mut entries = Vec::new();
    for (architecture, text) in [("s390x", "for others"), ("amd64", "for us")] {
        let image = Image::with_message(text);
        put_blob(host, repository, &image.config);
        put_blob(host, repository, &image.layer);
        let manifest = image.manifest();
        let path = format!("/v2/{repository}/manifests/{}", image.digest());
        let stored = send(host, "PUT", &path, &manifest.media_type, &manifest.bytes);
        assert!(stored.starts_with("HTTP/1.1 201"), "{stored}");
        entries.push(json!({
            "mediaType": manifest.media_type, "digest": image.digest(), "size": manifest.bytes.len(),
            "platform": {"os": "linux", "architecture": architecture},
        }));
    }
    let index = json!({"schemaVersion": 2, "mediaType": INDEX, "manifests": entries}).to_string();
    let stored = send(host, "PUT", &format!("/v2/{repository}/manifests/{tag}"), INDEX, index.as_bytes());
    assert!(stored.starts_with("HTTP/1.1 201"), "{stored}");
    oci_digest(index.as_bytes())
}

#[test]
fn sign_takes_the_index_and_everybody_pulls_their_platform_by_it() {
    let stage = Stage::set();
    let (owner, reader, docker) = (stage.countersign(), stage.countersign(), stage.docker());
    let name = stage.repository("acme/multi:v1");
    let digest = put_index(&stage.registry.host(), "acme/multi", "v1");
    let signed = owner.run(&["sign", &name]).succeeded();
    assert_eq!(signed.stdout, format!("Successfully signed {name}@{digest}\n"), "{signed}");
    let verified = reader.run(&["verify", "--format", "json", &name]).succeeded();
    let verified: serde_json::Value = serde_json::from_str(&verified.stdout).unwrap();
    assert_eq!((verified["digest"].as_str(), verified["role"].as_str()), (Some(digest.as_str()), Some("targets")));
    let pulled = reader.run(&["pull", &name]).succeeded();
    assert_eq!(pulled.stdout, format!("{name}@{digest}\n"), "{pulled}");
    let label = ["image", "inspect", "--format", "{{.Config.Labels.message}}", &name];
    assert_eq!(docker.run(&label).succeeded().stdout, "for us\n");
    docker.run(&["rmi", &name]).succeeded();
    let pulled = docker.run(&["pull", &name]).succeeded();
    assert!(pulled.stdout.contains(&format!("Digest: {digest}")), "{pulled}");
}

#[test]
fn an_image_for_one_platform_is_not_taken_for_another() {
    let shop = Shop::open();
    let (owner, reader) = (shop.client(), shop.client());
    shop.signed_by(&owner, "v1", "one");
    let name = shop.name("v1");
    for other in ["windows/amd64", "linux/s390x"] {
        let refused = reader.run(&["pull", "--platform", other, "--to", "oci:other", &name]);
        refused.refused(crate::client::USER, "the image is for linux/amd64 alone");
    }
    reader.run(&["pull", "--platform", "linux/amd64", "--to", "oci:ours", &name]).succeeded();
    reader.run(&["pull", "--to", "oci:any", &name]).succeeded();
}

#[test]
fn a_digest_that_is_not_in_the_registry_is_not_signed() {
    let stage = Stage::set();
    let owner = stage.countersign();
    let name = stage.repository("acme/multi:v1");
    put_index(&stage.registry.host(), "acme/multi", "v1");
    let absent = format!("sha256:{}", "0".repeat(64));
    let refused = owner.run(&["sign", "--digest", &absent, &name]);
    refused.refused(crate::client::USER, "is not in the registry");
    owner.run(&["sign", &stage.repository("acme/multi:v2")]).refused(crate::client::USER, "is not in the registry");
    assert!(!owner.trust_dir().join("tuf").exists());
}
