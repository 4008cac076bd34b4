//! What is asked, and how.

use crate::service::{BASE, Scripted};
use bytes::Bytes;
use countersign_crypto::digest::sha256;
use countersign_notary::Access;
use countersign_registry::credentials::Credential;
use countersign_testkit::Reply;
use countersign_tuf::update::{Answer, Fetch, Which};
use countersign_tuf::{RoleName, Version};
use std::collections::BTreeMap;

#[tokio::test]
async fn files_are_asked_for_by_name_version_and_checksum() {
    let scripted = Scripted::new();
    scripted.server.otherwise(Reply::ok("file"));
    let service = scripted.reader();
    let hash = sha256(b"x");
    let releases = RoleName::parse("targets/releases").unwrap();
    for (role, which, name) in [
        (&RoleName::Timestamp, Which::Current, "timestamp.json".to_owned()),
        (&RoleName::Root, Which::Version(Version::new(3).unwrap()), "3.root.json".to_owned()),
        (&RoleName::Snapshot, Which::Checksum(hash), format!("snapshot.{}.json", hash.hex())),
        (&releases, Which::Checksum(hash), format!("targets/releases.{}.json", hash.hex())),
    ] {
        let answer = service.fetch(Fetch { role, which, limit: 4 }).await;
        assert!(matches!(answer, Answer::File(file) if file == "file"));
        assert_eq!(scripted.server.take_request_lines(), [format!("GET {BASE}{name}")]);
    }
}

#[tokio::test]
async fn an_upload_is_one_form_with_a_part_for_each_role() {
    let scripted = Scripted::new();
    scripted.server.otherwise(Reply::status(200));
    let role = |text: &str| RoleName::parse(text).unwrap();
    let parts = BTreeMap::from([
        (role("root"), Bytes::from_static(b"{\"a\":1}")),
        (role("targets/releases"), Bytes::from_static(b"\r\n--x--\r\n")),
    ]);
    scripted.writer().publish(&parts).await.unwrap();
    let request = scripted.server.requests().remove(0);
    assert_eq!((request.method.as_str(), request.path.as_str()), ("POST", BASE));
    let content_type = request.header("Content-Type").unwrap().to_owned();
    let boundary = content_type.strip_prefix("multipart/form-data; boundary=").unwrap();
    assert!(boundary.len() >= 32 && boundary.len() <= 70, "{boundary}");
    let body = String::from_utf8(request.body.to_vec()).unwrap();
    assert_eq!(body.matches(&format!("--{boundary}\r\n")).count(), 2, "{body}");
    assert!(body.ends_with(&format!("--{boundary}--\r\n")), "{body}");
    assert!(body.contains("name=\"files\"; filename=\"targets/releases\"\r\n"), "{body}");
    assert_eq!(request.header("Content-Length").unwrap(), body.len().to_string());
    // Another upload has another boundary.
    scripted.writer().publish(&parts).await.unwrap();
    assert_ne!(scripted.server.requests()[1].header("Content-Type").unwrap(), content_type);
}

#[tokio::test]
async fn keys_are_got_and_rotated_and_collections_deleted_at_their_places() {
    let scripted = Scripted::new();
    let key = r#"{"keytype":"ecdsa","keyval":{"public":"MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAEerkFLMyQPhUoFmoWBqGcJhWRaWI7FtVxI5FkDiKqAs0HNNzdqVMLO+efHStM3qjukxt0WlpgySApUKJUlafKNQ==","private":null}}"#;
    scripted.server.otherwise(Reply::json(key));
    let service = scripted.client(Access::Administer, Credential::Anonymous);
    let got = service.key(&RoleName::Timestamp).await.unwrap();
    assert_eq!(got.id().to_string(), "d1a92126e882dae7f39ea2c41c93e78cec5cfe521dfb71eb7d2a3256e3daced9");
    service.rotate_key(&RoleName::Snapshot).await.unwrap();
    service.delete().await.unwrap();
    let expected = [format!("GET {BASE}timestamp.key"), format!("POST {BASE}snapshot.key"), format!("DELETE {BASE}")];
    assert_eq!(scripted.server.take_request_lines(), expected);
}

#[tokio::test]
async fn tokens_are_asked_for_what_is_going_to_be_done_with_the_whole_name() {
    for (access, actions) in [(Access::Read, "pull"), (Access::Write, "push%2Cpull"), (Access::Administer, "*")] {
        let scripted = Scripted::new();
        let realm = format!("Bearer realm=\"{}/token\",service=\"notary\"", scripted.server.url());
        scripted.server.on("/token", Reply::json(r#"{"token":"abc"}"#));
        scripted.server.handle(move |request| {
            let open = request.path == "/token" || request.header("Authorization") == Some("Bearer abc");
            (!open).then(|| Reply::status(401).header("WWW-Authenticate", &realm))
        });
        let credential = Credential::password("alice", "wonderland".into());
        let service = scripted.client(access, credential);
        let answer = service.fetch(Fetch { role: &RoleName::Root, which: Which::Current, limit: 4 }).await;
        assert!(matches!(answer, Answer::Missing), "{answer:?}");
        let lines = scripted.server.take_request_lines();
        let scope = format!("scope=repository%3Areg.test%3A5000%2Facme%2Fapp%3A{actions}");
        assert!(
            lines.iter().any(|line| line.starts_with("GET /token?account=alice&") && line.contains(&scope)),
            "{lines:?}"
        );
    }
}
