//! The table of routes, row by row, and what is general to all (Notary protocol, server HTTP API).

use serde_json::json;

use crate::owner::{Owner, key_id};
use crate::service::TestService;

const GUN: &str = "example.com:5000/a/b";
const JSON: &str = "application/json; charset=utf-8";
const TEXT: &str = "text/plain; charset=utf-8";

async fn published() -> (TestService, Owner) {
    let service = TestService::start().await;
    let owner = Owner::of(&service, GUN).await.delegating(&["targets/releases"]);
    owner.publish_first(&service).await;
    service.upload(GUN, &[("targets/releases", owner.delegation("targets/releases", 1, &["r1"]))]).await.ok();
    (service, owner)
}

fn sha256(bytes: &[u8]) -> String {
    countersign_testkit::digest::sha256_hex(bytes)
}

#[tokio::test]
async fn get_v2_answers_the_ping() {
    let service = TestService::start().await;
    let answer = service.get("/v2/").await.ok();
    assert_eq!(answer.text(), "{}");
    assert_eq!(answer.header("content-type"), TEXT);
}

#[tokio::test]
async fn post_tuf_takes_an_upload() {
    let service = TestService::start().await;
    let owner = Owner::of(&service, GUN).await;
    let parts = [("root", owner.root(1)), ("targets", owner.targets(2, &["v1"]))];
    let answer = service.upload(GUN, &parts).await.ok();
    assert_eq!(answer.text(), "");
    for (name, bytes) in parts {
        assert_eq!(service.file(GUN, &format!("{name}.json")).await.ok().body, bytes, "exactly the bytes received");
    }
}

#[tokio::test]
async fn get_by_checksum() {
    let (service, owner) = published().await;
    for (role, bytes) in
        [("root", owner.root(1)), ("targets/releases", service.file(GUN, "targets/releases.json").await.body)]
    {
        // Signatures differ from one signing to the next: what is served is what counts.
        let bytes = if role == "root" { service.file(GUN, "root.json").await.body } else { bytes };
        let digest = sha256(&bytes);
        let answer = service.file(GUN, &format!("{role}.{digest}.json")).await.ok();
        assert_eq!(answer.body, bytes);
        assert_eq!(answer.header("cache-control"), "public, max-age=2592000, s-maxage=2592000, immutable");
        assert_eq!(answer.header("last-modified"), "Sun, 22 Nov 2026 12:00:00 GMT");
        assert_eq!(answer.header("content-type"), TEXT);
        let upper = digest.to_uppercase();
        assert_eq!(service.file(GUN, &format!("{role}.{upper}.json")).await.ok().body, bytes);
        assert_eq!(service.file(GUN, &format!("targets.{digest}.json")).await.error(), "404 METADATA_NOT_FOUND");
    }
    for digits in [64, 96, 128] {
        let missing = service.file(GUN, &format!("root.{}.json", "0".repeat(digits))).await;
        assert_eq!(missing.error(), "404 METADATA_NOT_FOUND");
        assert_eq!(missing.json()["errors"][0]["detail"], json!({}));
    }
}

#[tokio::test]
async fn get_by_version() {
    let (service, owner) = published().await;
    let first = service.file(GUN, "targets.json").await.body;
    service.upload(GUN, &[("targets", owner.targets(7, &["v2"]))]).await.ok();
    let answer = service.file(GUN, "1.targets.json").await.ok();
    assert_eq!(answer.body, first);
    assert_eq!(answer.header("cache-control"), "public, max-age=2592000, s-maxage=2592000, immutable");
    assert_eq!(service.file(GUN, "0001.targets.json").await.ok().body, first);
    assert_eq!(service.file(GUN, "7.targets.json").await.ok().body, service.file(GUN, "targets.json").await.body);
    for name in
        ["1.timestamp.json", "2.timestamp.json", "3.timestamp.json", "3.snapshot.json", "1.targets/releases.json"]
    {
        service.file(GUN, name).await.ok();
    }
    for name in
        ["0.root.json", "2.root.json", "3.targets.json", "99999999999999999999.root.json", "1.targets/none.json"]
    {
        assert_eq!(service.file(GUN, name).await.error(), "404 METADATA_NOT_FOUND", "{name}");
    }
}

#[tokio::test]
async fn get_current() {
    let (service, _) = published().await;
    for role in ["root", "targets", "snapshot", "timestamp", "targets/releases"] {
        let answer = service.file(GUN, &format!("{role}.json")).await.ok();
        assert_eq!(answer.header("cache-control"), "public, max-age=300, s-maxage=300, must-revalidate", "{role}");
        assert_eq!(answer.header("last-modified"), "Sun, 22 Nov 2026 12:00:00 GMT");
        assert!(!answer.body.ends_with(b"\n"));
        assert!(answer.headers.get("etag").is_some_and(|tag| tag.len() == 66 || tag.len() == 71));
    }
    let missing = service.file(GUN, "targets/none.json").await;
    assert_eq!((missing.error().as_str(), missing.header("cache-control")), ("404 METADATA_NOT_FOUND", ""));
}

#[tokio::test]
async fn get_key_returns_the_key_in_use() {
    let (service, owner) = published().await;
    for (name, used) in [("snapshot.key", &owner.snapshot_key), ("timestamp.key", &owner.timestamp_key)] {
        let answer = service.file(GUN, name).await.ok();
        assert_eq!(key_id(&answer.json()), key_id(used));
        assert!(answer.text().starts_with(r#"{"keytype":"ecdsa","keyval":{"public":""#));
        assert!(answer.text().ends_with(r#"","private":null}}"#));
    }
}

#[tokio::test]
async fn post_key_returns_a_new_key() {
    let (service, owner) = published().await;
    let path = format!("/v2/{GUN}/_trust/tuf/timestamp.key");
    let first = service.request("POST", &path).await.ok().json();
    assert_ne!(key_id(&first), key_id(&owner.timestamp_key));
    let again = service.request("POST", &path).await.ok().json();
    assert_eq!(first, again, "until it has signed");
    assert_eq!(
        key_id(&service.get(&path).await.ok().json()),
        key_id(&owner.timestamp_key),
        "the one in use is unchanged"
    );
}

#[tokio::test]
async fn delete_removes_everything_of_one_collection() {
    let (service, _) = published().await;
    let neighbours = [format!("{GUN}b"), format!("{GUN}/c"), "example.com:5000/a".to_owned()];
    for neighbour in &neighbours {
        Owner::of(&service, neighbour).await.publish_first(&service).await;
    }
    let targets = sha256(&service.file(GUN, "targets.json").await.body);
    let key = service.file(GUN, "timestamp.key").await.ok().body;
    assert_eq!(service.delete(GUN).await.ok().text(), "");
    let by_digest = format!("targets.{targets}.json");
    for name in ["root.json", "timestamp.json", "1.root.json", "targets/releases.json", by_digest.as_str()] {
        assert_eq!(service.file(GUN, name).await.error(), "404 METADATA_NOT_FOUND", "{name}");
    }
    for neighbour in &neighbours {
        service.file(neighbour, "timestamp.json").await.ok();
    }
    assert_eq!(service.delete(GUN).await.ok().text(), "", "also when nothing is there");
    assert_ne!(service.file(GUN, "timestamp.key").await.ok().body, key, "the old key has signed and is not handed out");
}

#[tokio::test]
async fn changefeed_of_one_and_of_all() {
    let (service, _) = published().await;
    Owner::of(&service, "other").await.publish_first(&service).await;
    service.delete("other").await.ok();
    let timestamp = sha256(&service.file(GUN, "1.timestamp.json").await.body);
    let all = service.get("/v2/_trust/changefeed?records=0").await.ok();
    let first = json!({
        "ID": "1", "CreatedAt": "2026-11-22T12:00:00Z", "GUN": GUN, "Version": 1, "SHA256": timestamp, "Category": "update",
    });
    let all = all.json();
    assert_eq!(all["count"], 4);
    assert_eq!(all["records"][0], first);
    let last = json!({
        "ID": "4", "CreatedAt": "2026-11-22T12:00:00Z", "GUN": "other", "Version": 0, "SHA256": "", "Category": "deletion",
    });
    assert_eq!(all["records"][3], last);
    let one = service.get(&format!("/v2/{GUN}/_trust/changefeed?records=100&change_id=1")).await.ok().json();
    assert_eq!((&one["count"], &one["records"][0]["ID"]), (&json!(1), &json!("2")));
    let newest = service.get("/v2/_trust/changefeed?records=1&change_id=-1").await.ok().json();
    assert_eq!(newest["records"][0]["ID"], "4");
    let before = service.get("/v2/_trust/changefeed?records=-1&change_id=4").await.ok().json();
    assert_eq!(before["records"][0]["ID"], "3");
    let empty = service.get("/v2/none/_trust/changefeed?records=1").await.ok();
    assert_eq!(empty.text(), r#"{"count":0,"records":[]}"#);
}

#[tokio::test]
async fn changefeed_survives_every_number() {
    let (service, _) = published().await;
    for query in ["records=-5", "records=2147483647", "records=-2147483648", "records=1&change_id=9223372036854775807"]
    {
        service.get(&format!("/v2/_trust/changefeed?{query}")).await.ok();
    }
    for query in
        ["", "records=", "records=x", "records=2147483648", "records=1&change_id=x", "records=1&change_id=1'--"]
    {
        let answer = service.get(&format!("/v2/_trust/changefeed?{query}")).await;
        assert_eq!(answer.error(), "400 INVALID_PARAMETERS", "{query}");
    }
}

#[tokio::test]
async fn health_is_json() {
    let service = TestService::start().await;
    let answer = service.get("/_notary_server/health").await.ok();
    assert_eq!((answer.text().as_str(), answer.header("content-type")), ("{}", JSON));
}

#[tokio::test]
async fn metrics_name_operations_and_no_collections() {
    let (service, _) = published().await;
    service.file(GUN, "root.json").await.ok();
    service.file(GUN, "2.root.json").await;
    let answer = service.get("/metrics").await.ok();
    assert!(answer.header("content-type").starts_with("text/plain; version=0.0.4"));
    let text = answer.text();
    for line in [
        r#"notary_server_http_requests_total{code="200",method="post",operation="UpdateTUF"} 2"#,
        r#"notary_server_http_requests_total{code="200",method="get",operation="GetRole"} 1"#,
        r#"notary_server_http_requests_total{code="404",method="get",operation="GetRoleByVersion"} 1"#,
        r#"notary_server_http_requests_total{code="200",method="get",operation="GetKey"} 2"#,
    ] {
        assert!(text.lines().any(|found| found == line), "{line} in {text}");
    }
    assert!(!text.contains("example.com"));
}

#[tokio::test]
async fn unknown_paths_are_not_found() {
    let (service, _) = published().await;
    for path in [
        "/",
        "/v2",
        "/v1/",
        "/v2/x",
        "/v2/_trust/tuf/root.json",
        "/v2/x/_trust/tuf/Root.json",
        "/v2/x/_trust/tuf/root.key",
        "/v2/a%00b/_trust/tuf/root.json",
        "/v2/a*b/_trust/tuf/root.json",
        "/v2/%ff/_trust/tuf/root.json",
    ] {
        let answer = service.get(path).await;
        assert_eq!(answer.error(), "404 METADATA_NOT_FOUND", "{path}");
        assert_eq!(answer.header("content-type"), JSON);
        assert!(answer.body.ends_with(b"\n"));
        assert!(answer.json()["errors"][0].get("detail").is_none(), "{path}");
    }
    let long = format!("/v2/{}/_trust/tuf/root.json", "a".repeat(9000));
    assert_eq!(service.get(&long).await.error(), "404 METADATA_NOT_FOUND");
}

#[tokio::test]
async fn other_methods() {
    let (service, _) = published().await;
    for path in ["/v2/", &format!("/v2/{GUN}/_trust/tuf/root.json")] {
        let head = service.request("HEAD", &path.replace("root.json", "timestamp.key")).await;
        assert_eq!((head.status.as_u16(), head.header("content-type"), head.body.len()), (404, JSON, 0));
        assert_eq!(service.request("PUT", path).await.error(), "404 METADATA_NOT_FOUND");
        for method in ["PATCH", "OPTIONS", "TRACE", "FOO"] {
            let answer = service.request(method, path).await;
            assert_eq!((answer.status.as_u16(), answer.body.len()), (405, 0), "{method}");
        }
    }
}

#[tokio::test]
async fn targets_that_are_no_paths_are_not_allowed() {
    let service = TestService::start().await;
    for line in ["CONNECT example.com:443", "OPTIONS *"] {
        let answer = service.raw(&format!("{line} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")).await;
        assert!(answer.starts_with("HTTP/1.1 405 "), "{line}: {answer}");
    }
    let answer = service.raw("GET http://example.com/v2/ HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").await;
    assert!(answer.starts_with("HTTP/1.1 200 ") && answer.ends_with("{}"), "{answer}");
}

#[tokio::test]
async fn unclean_paths_are_redirected() {
    let service = TestService::start().await;
    for (path, clean) in [
        ("/v2//", "/v2/"),
        ("/v2/x/%2e%2e/y/_trust/tuf/root.json?a=b", "/v2/y/_trust/tuf/root.json?a=b"),
        ("/v2/..%2f..%2fetc/passwd", "/etc/passwd"),
        ("/v2/x%0d%0aX-Evil:%20y//", "/v2/x%0D%0AX-Evil:%20y/"),
    ] {
        // A client library would clean the path itself.
        let answer =
            service.raw(&format!("GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")).await.to_lowercase();
        assert!(answer.starts_with("http/1.1 301 "), "{path}: {answer}");
        assert!(answer.contains(&format!("\r\nlocation: {}\r\n", clean.to_lowercase())), "{path}: {answer}");
        assert!(answer.ends_with("\r\n\r\n") && !answer.contains("\r\nx-evil"), "{path}: {answer}");
    }
}

#[tokio::test]
async fn sql_in_names_is_only_a_name() {
    let (service, _) = published().await;
    for gun in ["x'%3BDROP%20TABLE%20tuf_files", "x'OR'1'='1", "example.com:5000/a/_"] {
        let answer = service.file(gun, "root.json").await;
        assert_eq!(answer.status, 404, "{gun}");
        service.delete(gun).await;
    }
    service.file(GUN, "root.json").await.ok();
}

#[tokio::test]
async fn gun_prefixes_are_checked_first() {
    let prefixes = countersign_server::GunPrefixes::new(vec!["docker.io/".to_owned(), "b/".to_owned()]).unwrap();
    let service = TestService::with(|config| config.gun_prefixes = prefixes).await;
    let refused = service.upload("docker.io.evil/x", &[]).await;
    assert_eq!(refused.error(), "400 INVALID_GUN");
    assert_eq!(refused.json()["errors"][0]["detail"], "Require GUNs with prefix: [docker.io/ b/]");
    for name in ["root.json", "timestamp.key"] {
        assert_eq!(service.file("docker.io.evil/x", name).await.error(), "404 METADATA_NOT_FOUND");
    }
    assert_eq!(service.delete("docker.io.evil/x").await.error(), "404 METADATA_NOT_FOUND");
    service.file("docker.io/x", "timestamp.key").await.ok();
}

#[tokio::test]
async fn caching_can_be_forbidden() {
    let ages = countersign_server::CacheAges::new(0, 60).unwrap();
    let service = TestService::with(|config| config.cache_ages = ages).await;
    Owner::of(&service, GUN).await.publish_first(&service).await;
    let answer = service.file(GUN, "root.json").await.ok();
    assert_eq!(answer.header("cache-control"), "max-age=0, no-cache, no-store");
    assert_eq!(answer.header("pragma"), "no-cache");
    let answer = service.file(GUN, "1.root.json").await.ok();
    assert_eq!(answer.header("cache-control"), "public, max-age=60, s-maxage=60, immutable");
    assert_eq!(countersign_server::CacheAges::new(0, 31_536_001), None);
}
