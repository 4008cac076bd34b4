//! Uploads that must be refused, and what must not change by them.

use serde_json::{Value, json};

use crate::owner::{Key, Owner, file_meta, public, signed};
use crate::service::{Answered, TestService, multipart};

const GUN: &str = "example.com/uploads";
const ELSEWHERE: &str = "example.com/elsewhere";
const FORM: &str = "multipart/form-data; boundary=BOUNDARY";

async fn published() -> (TestService, Owner) {
    let service = TestService::start().await;
    let owner = Owner::of(&service, GUN).await.delegating(&["targets/a"]);
    owner.publish_first(&service).await;
    (service, owner)
}

/// The name in the detail of a refused update.
fn refusal(answer: &Answered) -> String {
    assert_eq!(answer.error(), "400 INVALID_UPDATE", "{}", answer.text());
    answer.json()["errors"][0]["detail"]["Name"].as_str().unwrap_or_default().to_owned()
}

fn message(answer: &Answered) -> String {
    answer.json()["errors"][0]["detail"]["Error"]["Msg"].as_str().unwrap_or_default().to_owned()
}

async fn timestamp(service: &TestService) -> Vec<u8> {
    service.file(GUN, "timestamp.json").await.ok().body
}

#[tokio::test]
async fn a_body_that_is_no_form_is_refused() {
    let service = TestService::start().await;
    let whole = multipart(&[("root", b"{}".to_vec())]);
    for content_type in [
        "",
        "application/json",
        "multipart/form-data",
        "multipart/form-data; boundary=",
        "multipart/mixed; boundary=BOUNDARY",
    ] {
        let answer = service.upload_body(GUN, content_type, whole.clone()).await;
        assert_eq!(answer.error(), "400 MALFORMED_UPLOAD", "{content_type:?}");
    }
}

#[tokio::test]
async fn every_broken_form_is_refused_and_answered() {
    let (service, owner) = published().await;
    let before = timestamp(&service).await;
    let header = "--BOUNDARY\r\nContent-Disposition: form-data; name=\"files\"; filename=\"targets\"\r\n";
    for (what, body) in [
        ("empty", String::new()),
        ("a boundary that never comes", "x".repeat(100_000)),
        ("another boundary", "--OTHER--\r\n".to_owned()),
        ("a cut part header", header.to_owned()),
        ("a header without colon", format!("{header}no colon\r\n\r\n{{}}\r\n--BOUNDARY--\r\n")),
        (
            "an endless part header",
            format!("{header}X: {}\r\n\r\n{{}}\r\n--BOUNDARY--\r\n", "y".repeat(12 * 1024 * 1024)),
        ),
        ("no closing boundary", format!("{header}\r\n{{}}")),
        (
            "the same role twice",
            String::from_utf8(multipart(&[("targets", b"{}".to_vec()), ("targets", b"{}".to_vec())])).unwrap(),
        ),
        ("white space", " ".repeat(40 * 1024 * 1024)),
    ] {
        let answer = service.upload_body(GUN, FORM, body).await;
        assert_eq!(answer.error(), "400 MALFORMED_UPLOAD", "{what}");
    }
    let parts: Vec<_> = (0..5000).map(|n| (format!("targets/{n}"), b"{}".to_vec())).collect();
    let parts: Vec<_> = parts.iter().map(|(role, bytes)| (role.as_str(), bytes.clone())).collect();
    assert_eq!(service.upload(GUN, &parts).await.error(), "400 MALFORMED_UPLOAD");
    assert_eq!(timestamp(&service).await, before, "nothing has changed");
    service.upload(GUN, &[("targets", owner.targets(2, &["v2"]))]).await.ok();
}

#[tokio::test]
async fn a_form_cut_at_every_byte_is_answered() {
    let (service, owner) = published().await;
    let before = timestamp(&service).await;
    let body = multipart(&[("targets", owner.targets(2, &["v2"]))]);
    let last = body.len() - b"\r\n".len();
    for end in (0..200).chain(last - 40..last).chain((200..last).step_by(97)) {
        let answer = service.upload_body(GUN, FORM, body[..end].to_vec()).await;
        assert_eq!(answer.status, 400, "cut at {end}");
    }
    assert_eq!(timestamp(&service).await, before);
}

#[tokio::test]
async fn a_compressed_body_is_not_unpacked() {
    let service = TestService::start().await;
    let mut bomb = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    std::io::Write::write_all(&mut bomb, &vec![b' '; 100 << 20]).unwrap();
    let bomb = bomb.finish().unwrap();
    let request = service.client.post(format!("{}/v2/{GUN}/_trust/tuf/", service.base));
    let request = request.header("Content-Type", FORM).header("Content-Encoding", "gzip").body(bomb);
    assert_eq!(request.send().await.unwrap().status(), 400);
}

#[tokio::test]
async fn parts_without_a_file_name_are_refused() {
    let service = TestService::start().await;
    for header in
        ["X: y", "Content-Disposition: form-data; name=\"files\"", "Content-Disposition: form-data; filename=\"\""]
    {
        let body = format!("--BOUNDARY\r\n{header}\r\n\r\n{{}}\r\n--BOUNDARY--\r\n");
        assert_eq!(service.upload_body(GUN, FORM, body).await.error(), "400 NO_FILENAME", "{header}");
    }
}

#[tokio::test]
async fn hostile_role_names_are_refused() {
    let service = TestService::start().await;
    for role in [
        "../root",
        "/etc/passwd",
        "targets/",
        "targets//a",
        "targets/../root",
        "Root",
        "targets/A",
        "a b",
        "targets/%2e",
        "root.json.json",
    ] {
        let answer = service.upload(GUN, &[(role, b"{}".to_vec())]).await;
        assert_eq!(answer.error(), "400 INVALID_ROLE", "{role}");
        assert_eq!(answer.json()["errors"][0]["detail"], role.strip_suffix(".json").unwrap_or(role));
    }
}

#[tokio::test]
async fn the_suffix_json_is_no_part_of_the_role() {
    let service = TestService::start().await;
    let owner = Owner::of(&service, GUN).await;
    service.upload(GUN, &[("root.json", owner.root(1)), ("targets.json", owner.targets(1, &[]))]).await.ok();
    service.file(GUN, "root.json").await.ok();
}

#[tokio::test]
async fn parts_that_are_no_metadata_are_refused() {
    let (service, _) = published().await;
    let before = timestamp(&service).await;
    let deep = "[".repeat(1_000_000);
    let digits = format!(r#"{{"signed":{{"_type":"Targets","version":{}}},"signatures":[]}}"#, "9".repeat(1_000_000));
    for role in ["root", "targets", "snapshot", "targets/a"] {
        for text in [
            "",
            "null",
            "[]",
            "{}",
            "{",
            r#"{"signed":null,"signatures":[]}"#,
            r#"{"signed":{},"signatures":null}"#,
            "\u{feff}{}",
            &deep,
            &digits,
        ] {
            let answer = service.upload(GUN, &[(role, text.as_bytes().to_vec())]).await;
            assert_eq!(answer.status, 400, "{role} {text:.40}");
        }
        let invalid = [b"{\"signed\":{\"_type\":\"".to_vec(), vec![0xff], b"\"},\"signatures\":[]}".to_vec()].concat();
        assert_eq!(service.upload(GUN, &[(role, invalid)]).await.status, 400, "{role}");
    }
    assert_eq!(service.upload(GUN, &[("targets", b"{}".to_vec())]).await.error(), "400 MALFORMED_JSON");
    assert_eq!(timestamp(&service).await, before);
}

#[tokio::test]
async fn trailing_data_and_repeated_members_are_refused() {
    let (service, owner) = published().await;
    let good = String::from_utf8(owner.targets(2, &["v2"])).unwrap();
    let twice = good.replacen(r#""version":2"#, r#""version":2,"version":2"#, 1);
    for bad in [format!("{good}{good}"), format!("{good}x"), twice, good.replacen('{', r#"{"extra":1,"#, 1)] {
        assert_eq!(service.upload(GUN, &[("targets", bad.clone().into_bytes())]).await.status, 400, "{bad}");
    }
    service.upload(GUN, &[("targets", good.into_bytes())]).await.ok();
}

#[tokio::test]
async fn another_spelling_of_the_same_content_is_stored_as_received() {
    let (service, owner) = published().await;
    let spaced = format!(" {} \n", String::from_utf8(owner.targets(2, &["v2"])).unwrap().replace("\":", "\" : "));
    let answer = service.upload(GUN, &[("targets", spaced.clone().into_bytes())]).await;
    if answer.status == 200 {
        assert_eq!(service.file(GUN, "targets.json").await.ok().text(), spaced);
        let snapshot = service.file(GUN, "snapshot.json").await.ok().json();
        assert_eq!(
            snapshot["signed"]["meta"]["targets"],
            file_meta(spaced.as_bytes()),
            "the hash of the bytes received"
        );
    } else {
        assert_eq!(answer.status, 400);
    }
}

#[tokio::test]
async fn bad_targets_are_refused_and_the_next_publication_works() {
    let (service, owner) = published().await;
    let before = timestamp(&service).await;
    let with = |name: &str, value: Value| {
        let mut payload = owner.targets_payload(2, &["v2"]);
        payload[name] = value;
        signed(&payload, &[&owner.targets_key])
    };
    let stranger = signed(&owner.targets_payload(2, &["evil"]), &[&Key::bare()]);
    for (what, bytes) in [
        ("another key", stranger),
        ("no signature", signed(&owner.targets_payload(2, &["evil"]), &[])),
        ("version 0", with("version", json!(0))),
        ("version -1", with("version", json!(-1))),
        ("version 2^63", with("version", json!(9_223_372_036_854_775_808_u64))),
        ("expired", with("expires", json!("2020-01-01T00:00:00Z"))),
        ("another type", with("_type", json!("Root"))),
        ("delegation role null", with("delegations", json!({"keys": {}, "roles": [null]}))),
        (
            "delegation of nothing",
            with(
                "delegations",
                json!({"keys": {}, "roles": [{"keyids": [], "name": "x", "paths": [""], "threshold": 1}]}),
            ),
        ),
    ] {
        let answer = service.upload(GUN, &[("targets", bytes)]).await;
        assert_eq!(answer.status, 400, "{what}: {}", answer.text());
        assert_eq!(timestamp(&service).await, before, "{what}");
    }
    let unknown = owner.delegation("targets/a", 1, &[]);
    let answer = service.upload(GUN, &[("targets/none", unknown)]).await;
    assert_eq!(refusal(&answer), "ErrBadTargets");
    assert_eq!(message(&answer), "tuf: invalid role targets/none. delegation does not exist");
    service.upload(GUN, &[("targets", owner.targets(2, &["v2"]))]).await.ok();
}

#[tokio::test]
async fn an_old_or_equal_version_is_a_version_error() {
    let (service, owner) = published().await;
    service.upload(GUN, &[("targets", owner.targets(5, &["v5"]))]).await.ok();
    let before = timestamp(&service).await;
    for version in [1, 4, 5] {
        let answer = service.upload(GUN, &[("targets", owner.targets(version, &["old"]))]).await;
        assert_eq!(answer.error(), "400 VERSION");
        assert_eq!(answer.json()["errors"][0]["detail"], json!({}));
    }
    let root = service.file(GUN, "root.json").await.body;
    assert_eq!(service.upload(GUN, &[("root", root)]).await.error(), "400 VERSION");
    assert_eq!(timestamp(&service).await, before);
}

#[tokio::test]
async fn the_highest_versions_lock_nobody_out_and_are_no_error_of_the_server() {
    let (service, owner) = published().await;
    for version in [(1 << 31) - 1, 1 << 31, (1 << 53) - 1, 1 << 53, (1 << 53) + 1, (1 << 63) - 1, u64::MAX] {
        let answer = service.upload(GUN, &[("targets", owner.targets(version, &["v"]))]).await;
        assert!(matches!(answer.status.as_u16(), 200 | 400), "{version}: {}", answer.text());
        let current = service.file(GUN, "targets.json").await.ok().json()["signed"]["version"].as_u64().unwrap();
        service.upload(GUN, &[("targets", owner.targets(current + 1, &["next"]))]).await.ok();
    }
}

#[tokio::test]
async fn a_stolen_key_cannot_use_up_the_versions() {
    let (service, owner) = published().await;
    service.upload(GUN, &[("targets/a", owner.delegation("targets/a", 1, &["a"]))]).await.ok();
    let step = countersign_tuf::accept::MAX_VERSION_STEP;
    for stored in [1, 1 + step] {
        for (role, kind) in [("targets", "ErrBadTargets"), ("targets/a", "ErrBadTargets")] {
            let file = |version: u64| match role {
                "targets" => owner.targets(version, &["v"]),
                role => owner.delegation(role, version, &["v"]),
            };
            let before = timestamp(&service).await;
            for version in [stored + step + 1, 1 << 53] {
                let answer = service.upload(GUN, &[(role, file(version))]).await;
                assert_eq!(refusal(&answer), kind, "{role} {version}");
                assert!(message(&answer).contains("ahead of the present version"), "{}", answer.text());
            }
            assert_eq!(timestamp(&service).await, before, "nothing is stored");
            service.upload(GUN, &[(role, file(stored + step))]).await.ok();
        }
    }
    service.upload(GUN, &[("targets", owner.targets(2 * step + 2, &["next"]))]).await.ok();
}

/// What whoever once had a stolen key left behind is legitimately there, and no reason to stay at the old service.
#[tokio::test]
async fn a_collection_whose_versions_were_once_driven_up_moves_here() {
    const HIGH: u64 = (1 << 31) - 1;
    let service = TestService::start().await;
    let mut owner = Owner::of(&service, GUN).await;
    let here = (owner.snapshot_key.clone(), owner.timestamp_key.clone());
    let (snapshot_key, timestamp_key) = (Key::bare(), Key::bare());
    (owner.snapshot_key, owner.timestamp_key) = (public(&snapshot_key.public), public(&timestamp_key.public));
    let (root, targets) = (owner.root(1), owner.targets(HIGH, &["v1"]));
    let mut payload = json!({"_type": "Snapshot", "expires": owner.expires(30), "version": HIGH});
    payload["meta"] = json!({"root": file_meta(&root), "targets": file_meta(&targets)});
    let snapshot = signed(&payload, &[&snapshot_key]);
    let mut payload = json!({"_type": "Timestamp", "expires": owner.expires(14), "version": HIGH});
    payload["meta"] = json!({"snapshot": file_meta(&snapshot)});
    let timestamp = signed(&payload, &[&timestamp_key]);
    (owner.snapshot_key, owner.timestamp_key) = here;
    let [targets_name, snapshot_name, timestamp_name] =
        ["targets", "snapshot", "timestamp"].map(|role| format!("{HIGH}.{role}"));
    let parts = [
        ("1.root", root),
        (&targets_name, targets.clone()),
        (&snapshot_name, snapshot),
        (&timestamp_name, timestamp),
        ("root", owner.root(2)),
    ];
    service.upload(GUN, &parts).await.ok();
    assert_eq!(service.file(GUN, "targets.json").await.ok().body, targets);
    service.upload(GUN, &[("targets", owner.targets(HIGH + 1, &["v2"]))]).await.ok();
}

#[tokio::test]
async fn bad_roots_are_refused() {
    let (service, owner) = published().await;
    let before = timestamp(&service).await;
    let with = |version: u64, change: &dyn Fn(&mut Value)| {
        let mut payload = owner.root_payload(version);
        change(&mut payload);
        signed(&payload, &[&owner.root_key])
    };
    let foreign = Owner::of(&service, "example.com/foreign").await;
    let foreign_key = foreign.timestamp_key.clone();
    let foreign_id = crate::owner::key_id(&foreign_key);
    let bare = Key::bare();
    for (what, bytes) in [
        ("another key", signed(&owner.root_payload(2), &[&Key::root(GUN, owner.now)])),
        ("a gap", owner.root(3)),
        ("expired", with(2, &|root| root["expires"] = json!("2020-01-01T00:00:00Z"))),
        ("threshold 0", with(2, &|root| root["roles"]["targets"]["threshold"] = json!(0))),
        ("no timestamp role", with(2, &|root| drop(root["roles"].as_object_mut().unwrap().remove("timestamp")))),
        (
            "a foreign timestamp key",
            with(2, &|root| {
                root["keys"][&foreign_id] = foreign_key.clone();
                root["roles"]["timestamp"]["keyids"] = json!([foreign_id]);
            }),
        ),
        (
            "a bare key",
            with(2, &|root| {
                root["keys"][bare.id()] = public(&bare.public);
                root["roles"]["root"]["keyids"] = json!([bare.id()]);
            }),
        ),
        ("a foreign root", foreign.root(2)),
    ] {
        let answer = service.upload(GUN, &[("root", bytes)]).await;
        assert_eq!(refusal(&answer), "ErrBadRoot", "{what}: {}", answer.text());
        assert_eq!(timestamp(&service).await, before, "{what}");
    }
    let gap = service.upload(GUN, &[("root", owner.root(3))]).await;
    assert_eq!(message(&gap), "Root modifications must increment the version. Current 1, new 3");
    service.upload(GUN, &[("root", owner.root(2))]).await.ok();
}

#[tokio::test]
async fn first_publications_that_cannot_be() {
    let service = TestService::start().await;
    let owner = Owner::of(&service, GUN).await;
    let targets = ("targets", owner.targets(1, &[]));
    let answer = service.upload(GUN, std::slice::from_ref(&targets)).await;
    assert_eq!(
        (refusal(&answer).as_str(), message(&answer).as_str()),
        ("ErrValidation", "no pre-existing root and no root provided in update.")
    );
    assert_eq!(refusal(&service.upload(GUN, &[]).await), "ErrValidation");
    let answer = service.upload(GUN, &[("root", owner.root(1))]).await;
    assert_eq!(
        (refusal(&answer).as_str(), message(&answer).as_str()),
        ("ErrValidation", "targets must be loaded first")
    );
    for version in [3, 7] {
        assert_eq!(
            refusal(&service.upload(GUN, &[("root", owner.root(version)), targets.clone()]).await),
            "ErrBadRoot"
        );
    }
    let stranger = Owner { timestamp_key: public(&Key::bare().public), ..Owner::of(&service, GUN).await };
    let answer = service.upload(GUN, &[("root", stranger.root(1)), ("targets", stranger.targets(1, &[]))]).await;
    assert_eq!(
        (refusal(&answer).as_str(), message(&answer).as_str()),
        ("ErrBadRoot", "no timestamp keys exist on the server")
    );
    let stranger = Owner { snapshot_key: public(&Key::bare().public), ..Owner::of(&service, GUN).await };
    let answer = service.upload(GUN, &[("root", stranger.root(1)), ("targets", stranger.targets(1, &[]))]).await;
    assert_eq!(refusal(&answer), "ErrBadHierarchy");
    let detail = json!({"Missing": "snapshot", "Msg": "no snapshot was included in update and server does not hold current snapshot key for repository"});
    assert_eq!(answer.json()["errors"][0]["detail"]["Error"], detail);
    assert_eq!(service.file(GUN, "root.json").await.error(), "404 METADATA_NOT_FOUND");
    service.upload(GUN, &[("root", owner.root(2)), targets]).await.ok();
}

#[tokio::test]
async fn an_uploaded_snapshot_must_fit_and_be_signed_by_its_key() {
    let service = TestService::start().await;
    let mut owner = Owner::of(&service, GUN).await;
    let snapshot_key = Key::bare();
    owner.snapshot_key = public(&snapshot_key.public);
    let (root, targets) = (owner.root(1), owner.targets(2, &["v1"]));
    let payload = |targets: &[u8], version: u64| {
        json!({
            "_type": "Snapshot", "expires": owner.expires(1095), "version": version,
            "meta": {"root": file_meta(&root), "targets": file_meta(targets)},
        })
    };
    let upload = async |snapshot: Vec<u8>| {
        service.upload(GUN, &[("root", root.clone()), ("targets", targets.clone()), ("snapshot", snapshot)]).await
    };
    assert_eq!(refusal(&upload(signed(&payload(b"other", 2), &[&snapshot_key])).await), "ErrBadSnapshot");
    assert_eq!(refusal(&upload(signed(&payload(&targets, 2), &[&Key::bare()])).await), "ErrBadSnapshot");
    assert_eq!(refusal(&upload(signed(&payload(&targets, 2), &[])).await), "ErrBadSnapshot");
    let good = signed(&payload(&targets, 2), &[&snapshot_key]);
    upload(good.clone()).await.ok();
    assert_eq!(service.file(GUN, "snapshot.json").await.ok().body, good);
}

#[tokio::test]
async fn a_timestamp_part_is_ignored() {
    let (service, owner) = published().await;
    let forged = signed(
        &json!({"_type": "Timestamp", "expires": owner.expires(9000), "version": 77, "meta": {"snapshot": file_meta(b"x")}}),
        &[&owner.targets_key],
    );
    service.upload(GUN, &[("targets", owner.targets(2, &["v2"])), ("timestamp", forged)]).await.ok();
    assert_eq!(service.file(GUN, "timestamp.json").await.ok().json()["signed"]["version"], 2);
}

#[tokio::test]
async fn an_upload_without_parts_bumps_snapshot_and_timestamp() {
    let (service, _) = published().await;
    service.upload(GUN, &[]).await.ok();
    for role in ["snapshot", "timestamp"] {
        assert_eq!(service.file(GUN, &format!("{role}.json")).await.ok().json()["signed"]["version"], 2, "{role}");
    }
    assert_eq!(service.file(GUN, "targets.json").await.ok().json()["signed"]["version"], 1);
}

#[tokio::test]
async fn delegates_publish_below_what_the_owner_delegated() {
    let (service, owner) = published().await;
    service.upload(GUN, &[("targets/a", owner.delegation("targets/a", 1, &["x"]))]).await.ok();
    let snapshot = service.file(GUN, "snapshot.json").await.ok().json();
    let listed = service.file(GUN, "targets/a.json").await.ok().body;
    assert_eq!(snapshot["signed"]["meta"]["targets/a"], file_meta(&listed));
    let stranger = signed(&owner.targets_payload(2, &[]), &[&Key::bare()]);
    assert_eq!(refusal(&service.upload(GUN, &[("targets/a", stranger)]).await), "ErrBadTargets");
    let nested = service.upload(GUN, &[("targets/a/b", owner.delegation("targets/a", 1, &[]))]).await;
    assert_eq!(refusal(&nested), "ErrBadTargets");
}

#[tokio::test]
async fn a_replay_after_deletion_with_a_repeated_member_is_refused() {
    let (service, owner) = published().await;
    let (root, targets) = (owner.root(1), String::from_utf8(owner.targets(1, &["v1"])).unwrap());
    service.delete(GUN).await.ok();
    let repeated = targets.replacen(r#""targets":{"#, r#""targets":{},"targets":{"#, 1);
    assert_ne!(repeated, targets);
    assert_eq!(service.upload(GUN, &[("root", root), ("targets", repeated.into_bytes())]).await.status, 400);
    assert_eq!(service.file(GUN, "root.json").await.status, 404);
}

#[tokio::test]
async fn too_large_an_upload_is_refused() {
    let service = TestService::with(|config| config.limits.upload_bytes = 100_000).await;
    let body = multipart(&[("targets", vec![b' '; 100_000])]);
    let answer = service.upload_body(GUN, FORM, body.clone()).await;
    assert_eq!(answer.error(), "413 MALFORMED_UPLOAD");
    let chunked = reqwest::Body::wrap_stream(futures_util::stream::iter(
        body.chunks(10_000).map(|chunk| Ok::<_, std::io::Error>(chunk.to_vec())).collect::<Vec<_>>(),
    ));
    let answer = service.upload_body(GUN, FORM, chunked).await;
    assert_eq!(answer.error(), "413 MALFORMED_UPLOAD");
}

#[tokio::test]
async fn twenty_thousand_signatures_take_bounded_time() {
    let (service, owner) = published().await;
    let good: Value = serde_json::from_slice(&owner.targets(2, &["v2"])).unwrap();
    let mut bad = good["signatures"][0].clone();
    bad["sig"] = json!("AAAA".repeat(21) + "AAA=");
    let many = serde_json::to_vec(&json!({"signed": good["signed"], "signatures": vec![bad; 20_000]})).unwrap();
    let begun = std::time::Instant::now();
    assert_eq!(service.upload(GUN, &[("targets", many)]).await.status, 400);
    assert!(begun.elapsed().as_secs() < 20, "{:?}", begun.elapsed());
}

#[tokio::test]
async fn answers_give_nothing_away() {
    let (service, owner) = published().await;
    let folder = service.folder.path().to_str().unwrap().to_owned();
    service.damage_database().await;
    for answer in [
        service.upload(GUN, &[("targets", owner.targets(2, &["v2"]))]).await,
        service.file("fresh", "timestamp.key").await,
        service.file(GUN, "1.root.json").await,
        service.get("/v2/_trust/changefeed?records=1").await,
        service.get("/_notary_server/health").await,
    ] {
        assert!(answer.status.is_server_error(), "{} {}", answer.status, answer.text());
        let text = answer.text();
        for secret in [folder.as_str(), "SELECT", "INSERT", "sqlite", "tuf_files", "src/"] {
            assert!(!text.contains(secret), "{secret} in {text}");
        }
    }
}

#[tokio::test]
async fn a_move_onto_a_collection_that_is_there_is_refused() {
    let (service, owner) = published().await;
    let before = timestamp(&service).await;
    let targets = owner.targets(2, &["v2"]);
    let answer = service.upload(GUN, &[("1.root", b"{}".to_vec()), ("targets", targets)]).await;
    assert_eq!(refusal(&answer), "ErrValidation");
    assert!(message(&answer).contains("here already"), "{}", answer.text());
    assert_eq!(timestamp(&service).await, before, "nothing has changed");
}

#[tokio::test]
async fn a_broken_move_leaves_nothing() {
    let (service, owner) = published().await;
    let file = async |name: &str| service.file(GUN, name).await.ok().body;
    let (root, snapshot) = (file("root.json").await, file("snapshot.json").await);
    let (targets, timestamp) = (file("targets.json").await, file("timestamp.json").await);
    let former =
        [("1.root", root.clone()), ("1.snapshot", snapshot), ("1.targets", targets), ("1.timestamp", timestamp)];
    // Roots of another name; and nothing new that its owner has signed.
    for parts in [former.iter().cloned().chain([("root", root)]).collect::<Vec<_>>(), former.to_vec()] {
        refusal(&service.upload(ELSEWHERE, &parts).await);
    }
    let junk = service.upload(ELSEWHERE, &[("1.root", b"{}".to_vec()), ("root", b"{}".to_vec())]).await;
    assert!(junk.error().starts_with("400 "), "{}", junk.text());
    for name in ["x.root", "0.root", "+1.root", "1.", ".root", "1.nothing", "1.2.root", "99999999999999999999.root"] {
        let answer = service.upload(ELSEWHERE, &[(name, b"{}".to_vec())]).await;
        assert_eq!(answer.error(), "400 INVALID_ROLE", "{name}");
    }
    let twice = service.upload(ELSEWHERE, &[("1.root", b"{}".to_vec()), ("01.root", b"{}".to_vec())]).await;
    assert_eq!(twice.error(), "400 MALFORMED_UPLOAD");
    assert_eq!(service.file(ELSEWHERE, "timestamp.json").await.error(), "404 METADATA_NOT_FOUND");
    drop(owner);
}
