//! The reference's server, run for real beside ours: the same requests must get the same answers.
//!
//! Left out are the reference's defects (Notary protocol, reference defects) and what its memory backend does otherwise.

use std::net::SocketAddr;
use std::process::Command;
use std::time::Duration;

use countersign_server::{Clock, KeyAlgorithm};
use countersign_testkit::port::{Answer, accepts};
use countersign_testkit::{Port, Process};
use jiff::Timestamp;
use serde_json::Value;

use crate::owner::{Key, Owner, public, signed};
use crate::service::{TestService, multipart, raw};

const GUN: &str = "example.com/both";
const FORM: &str = "multipart/form-data; boundary=BOUNDARY";

struct Reference {
    address: SocketAddr,
    _process: Process,
    _port: Port,
    _folder: tempfile::TempDir,
}

fn reference() -> Reference {
    let (folder, port) = (tempfile::tempdir().unwrap(), Port::take());
    let address = port.address();
    let configuration = format!(
        r#"{{"server":{{"http_addr":"{address}"}},"trust_service":{{"type":"local"}},"storage":{{"backend":"memory"}}}}"#
    );
    let file = folder.path().join("server.json");
    fs_err::write(&file, configuration).unwrap();
    let mut command = Command::new("/usr/bin/notary-server");
    command.arg("-config").arg(&file);
    let mut process = Process::start(&command, &folder.path().join("log"), Duration::from_secs(5));
    process.wait_until(Duration::from_secs(20), || (accepts(address) == Answer::Yes).into());
    Reference { address, _process: process, _port: port, _folder: folder }
}

/// What must be alike: status, some headers, and the body of failures.
#[derive(Debug, PartialEq, Eq)]
struct Alike {
    status: String,
    content_type: Option<String>,
    cache_control: Option<String>,
    location: Option<String>,
    failure: Option<Value>,
    newline: bool,
}

async fn ask(address: SocketAddr, method: &str, path: &str, upload: Option<(&str, &[u8])>) -> (Alike, String) {
    let mut request = format!("{method} {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n").into_bytes();
    if let Some((content_type, body)) = upload {
        request.extend(format!("Content-Type: {content_type}\r\nContent-Length: {}\r\n\r\n", body.len()).bytes());
        request.extend_from_slice(body);
    } else {
        request.extend_from_slice(b"\r\n");
    }
    let answer = raw(address, &request).await;
    let (head, body) = answer.split_once("\r\n\r\n").unwrap_or((&answer, ""));
    let header = |name: &str| {
        head.lines().find_map(|line| {
            let (found, value) = line.split_once(": ")?;
            found.eq_ignore_ascii_case(name).then(|| value.to_owned())
        })
    };
    let status = head.split(' ').nth(1).unwrap_or_default().to_owned();
    let failed = status.starts_with(['4', '5']);
    let alike = Alike {
        content_type: header("content-type"),
        // What never changes is called so here.
        cache_control: header("cache-control").map(|policy| policy.replace(", immutable", "")),
        location: header("location"),
        failure: failed.then(|| serde_json::from_str(body).unwrap_or(Value::Null)),
        newline: failed && body.ends_with('\n'),
        status,
    };
    (alike, body.to_owned())
}

/// Both servers, each with an owner that uses its keys.
struct Both {
    ours: (SocketAddr, Owner),
    theirs: (SocketAddr, Owner),
}

impl Both {
    async fn same(&self, method: &str, path: &str) {
        let (ours, _) = ask(self.ours.0, method, path, None).await;
        let (theirs, _) = ask(self.theirs.0, method, path, None).await;
        assert_eq!(ours, theirs, "{method} {path}: ours and the reference's");
    }

    async fn same_body(&self, what: &str, content_type: &str, body: &[u8]) {
        let path = format!("/v2/{GUN}/_trust/tuf/");
        let (ours, _) = ask(self.ours.0, "POST", &path, Some((content_type, body))).await;
        let (theirs, _) = ask(self.theirs.0, "POST", &path, Some((content_type, body))).await;
        assert_eq!(ours, theirs, "{what}: ours and the reference's");
    }

    /// Uploads what each owner makes of it.
    async fn same_upload(&self, what: &str, parts: impl Fn(&Owner) -> Vec<(&'static str, Vec<u8>)>) -> String {
        let path = format!("/v2/{GUN}/_trust/tuf/");
        let mut answers = Vec::new();
        for (address, owner) in [&self.ours, &self.theirs] {
            answers.push(ask(*address, "POST", &path, Some((FORM, &multipart(&parts(owner))))).await.0);
        }
        assert_eq!(answers[0], answers[1], "{what}: ours and the reference's");
        answers.remove(0).status
    }
}

async fn owner(address: SocketAddr) -> Owner {
    let mut keys = Vec::new();
    for name in ["snapshot", "timestamp"] {
        let (answer, body) = ask(address, "GET", &format!("/v2/{GUN}/_trust/tuf/{name}.key"), None).await;
        assert_eq!(
            (answer.status.as_str(), answer.content_type.as_deref()),
            ("200", Some("text/plain; charset=utf-8"))
        );
        let start = r#"{"keytype":"ed25519","keyval":{"public":""#;
        assert!(body.starts_with(start) && body.ends_with(r#"","private":null}}"#), "{body}");
        keys.push(serde_json::from_str(&body).unwrap());
    }
    let timestamp = keys.pop().unwrap();
    Owner::with(GUN, Timestamp::now(), keys.pop().unwrap(), timestamp).delegating(&["targets/a"])
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_requests_get_the_same_answers() {
    let reference = reference();
    let service = TestService::with(|config| {
        config.clock = Clock::system();
        config.key_algorithm = KeyAlgorithm::Ed25519;
    })
    .await;
    let ours = service.running.address();
    let both = Both { ours: (ours, owner(ours).await), theirs: (reference.address, owner(reference.address).await) };
    before_the_first_publication(&both).await;
    malformed_uploads(&both).await;
    publications(&both).await;
    after_publications(&both).await;
    both.same("DELETE", &format!("/v2/{GUN}/_trust/tuf/")).await;
    both.same("DELETE", &format!("/v2/{GUN}/_trust/tuf/")).await;
    both.same("GET", &format!("/v2/{GUN}/_trust/tuf/root.json")).await;
}

async fn before_the_first_publication(both: &Both) {
    for (method, path) in [
        ("GET", "/v2/"),
        ("GET", "/v2"),
        ("GET", "/"),
        ("GET", "/v2/x/_trust/tuf/root.json"),
        ("GET", "/v2/x/_trust/tuf/5.root.json"),
        ("GET", "/v2/x/_trust/tuf/root.key"),
        ("GET", "/v2/x/_trust/tuf/nothing.json"),
        ("GET", "/v2/x/_trust/tuf/root.json/"),
        ("GET", "/v2//x?y=z"),
        ("GET", "/v2/x/../y/_trust/tuf/root.json"),
        ("GET", "/v2/a*b/_trust/tuf/root.json"),
        ("HEAD", "/v2/"),
        ("PUT", "/v2/"),
        ("PATCH", "/v2/"),
        ("OPTIONS", "/v2/"),
        ("DELETE", "/v2/"),
        ("POST", "/v2/"),
        ("GET", "/v2/_trust/changefeed"),
        ("GET", "/v2/_trust/changefeed?records=x"),
        ("GET", "/v2/_trust/changefeed?records=2147483648"),
        ("GET", "/v2/_trust/changefeed?records=1&change_id=x"),
        ("GET", "/v2/x/_trust/changefeed?records=10"),
        ("GET", "/_notary_server/health"),
        ("POST", "/v2/x/_trust/tuf/"),
        ("DELETE", "/v2/x/_trust/tuf/"),
    ] {
        both.same(method, path).await;
    }
}

async fn malformed_uploads(both: &Both) {
    let part = |header: &str, content: &str| {
        format!("--BOUNDARY\r\n{header}\r\n\r\n{content}\r\n--BOUNDARY--\r\n").into_bytes()
    };
    both.same_body("no form", "application/json", b"{}").await;
    both.same_body("no parts", FORM, b"\r\n--BOUNDARY--\r\n").await;
    both.same_body("no role", FORM, &part("Content-Disposition: form-data; name=\"files\"; filename=\"foo\"", "{}"))
        .await;
    both.same_body("no file name", FORM, &part("Content-Disposition: form-data; name=\"files\"", "{}")).await;
    both.same_body("no disposition", FORM, &part("X: y", "{}")).await;
    both.same_body("no JSON", FORM, &part("Content-Disposition: form-data; filename=\"root\"", "{")).await;
}

async fn publications(both: &Both) {
    let refused = "400";
    let answer = both.same_upload("targets without root", |owner| vec![("targets", owner.targets(1, &[]))]).await;
    assert_eq!(answer, refused);
    assert_eq!(both.same_upload("root alone", |owner| vec![("root", owner.root(1))]).await, refused);
    assert_eq!(
        both.same_upload("a first root of version 3", |owner| vec![
            ("root", owner.root(3)),
            ("targets", owner.targets(1, &[]))
        ])
        .await,
        refused
    );
    assert_eq!(
        both.same_upload("the first", |owner| vec![("root", owner.root(1)), ("targets", owner.targets(2, &["v1"]))])
            .await,
        "200"
    );
    assert_eq!(
        both.same_upload("an equal version", |owner| vec![("targets", owner.targets(2, &["v1"]))]).await,
        refused
    );
    assert_eq!(
        both.same_upload("an older version", |owner| vec![("targets", owner.targets(1, &["v1"]))]).await,
        refused
    );
    assert_eq!(both.same_upload("a gap", |owner| vec![("targets", owner.targets(5, &["v5"]))]).await, "200");
    assert_eq!(
        both.same_upload("a delegation", |owner| vec![("targets/a", owner.delegation("targets/a", 1, &["x"]))]).await,
        "200"
    );
    assert_eq!(
        both.same_upload("no delegation", |owner| vec![("targets/b", owner.delegation("targets/a", 1, &["x"]))]).await,
        refused
    );
    assert_eq!(both.same_upload("nothing", |_| Vec::new()).await, "200");
    assert_eq!(both.same_upload("a gap in roots", |owner| vec![("root", owner.root(4))]).await, refused);
    assert_eq!(both.same_upload("a root", |owner| vec![("root", owner.root(2))]).await, "200");
    let expired = |owner: &Owner| {
        let mut payload = owner.targets_payload(9, &[]);
        payload["expires"] = "2020-01-01T00:00:00Z".into();
        vec![("targets", signed(&payload, &[&owner.targets_key]))]
    };
    assert_eq!(both.same_upload("expired targets", expired).await, refused);
    let foreign = public(&Key::bare().public);
    let no_key = |owner: &Owner| {
        let id = crate::owner::key_id(&foreign);
        let mut payload = owner.root_payload(3);
        payload["keys"][&id] = foreign.clone();
        payload["roles"]["snapshot"]["keyids"] = vec![id].into();
        vec![("root", signed(&payload, &[&owner.root_key]))]
    };
    assert_eq!(both.same_upload("a snapshot key that the server lacks", no_key).await, refused);
}

async fn after_publications(both: &Both) {
    for name in [
        "root.json",
        "targets.json",
        "snapshot.json",
        "timestamp.json",
        "targets/a.json",
        "1.root.json",
        "2.root.json",
        "3.root.json",
        "2.targets.json",
        "3.targets.json",
        "5.targets.json",
        "1.snapshot.json",
        "5.timestamp.json",
        "6.timestamp.json",
        "targets/b.json",
    ] {
        both.same("GET", &format!("/v2/{GUN}/_trust/tuf/{name}")).await;
    }
    for query in ["records=0", "records=2", "records=2&change_id=3", "records=2&change_id=-1"] {
        let mut feeds = Vec::new();
        for address in [both.ours.0, both.theirs.0] {
            let (_, body) = ask(address, "GET", &format!("/v2/_trust/changefeed?{query}"), None).await;
            let mut feed: Value = serde_json::from_str(&body).unwrap();
            for record in feed["records"].as_array_mut().unwrap() {
                record["CreatedAt"].take();
                record["SHA256"].take();
            }
            feeds.push(feed);
        }
        assert_eq!(feeds[0], feeds[1], "changefeed {query}");
    }
}
