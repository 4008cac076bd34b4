//! Engines that misbehave, on a socket.

use std::time::{Duration, Instant};

use countersign_engine::{
    Engine, EngineError, Event, ImageName, Limits, PushTarget, PushedManifest, RegistryAuth, pushed_manifest,
};
use countersign_image::{Digest, Platform, Reference};
use countersign_testkit::{FakeServer, Reply};
use futures_util::{StreamExt, TryStreamExt};
use tempfile::TempDir;

use crate::{endpoint, repository, tag};

const PUSH: &str = "/v1.41/images/reg.test/acme/app/push";

struct Fake {
    server: FakeServer,
    _folder: TempDir,
}

impl Fake {
    fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let server = FakeServer::unix(&folder.path().join("docker.sock"));
        server.on("/_ping", Reply::ok("OK").header("Api-Version", "1.41").header("Ostype", "linux"));
        Self { server, _folder: folder }
    }

    async fn connect(&self) -> Result<Engine, EngineError> {
        let limits = Limits {
            connect: Duration::from_secs(2),
            first_byte: Duration::from_millis(300),
            idle: Duration::from_millis(300),
            line_bytes: 1 << 10,
            stream_bytes: 1 << 16,
            answer_bytes: 1 << 12,
            message_bytes: 64,
            ..Limits::default()
        };
        Engine::connect(endpoint(&self.server.url()), limits).await
    }

    /// What comes of a push of `reg.test/acme/app:v1`.
    async fn push(&self, reply: Reply) -> Result<PushedManifest, EngineError> {
        self.server.on(PUSH, reply);
        let (engine, app) = (self.connect().await.unwrap(), repository("reg.test/acme/app"));
        let push = engine.push(&app, PushTarget::Tag(&tag("v1")), &RegistryAuth::anonymous());
        pushed_manifest(push, &app, &tag("v1"), |_| ()).await
    }
}

fn digest(byte: &str) -> String {
    format!("sha256:{}", byte.repeat(32))
}

fn aux(tag: &str, digest: &str) -> String {
    format!("{{\"progressDetail\":{{}},\"aux\":{{\"Tag\":\"{tag}\",\"Digest\":\"{digest}\",\"Size\":524}}}}\r\n")
}

fn is_bad(outcome: &Result<PushedManifest, EngineError>) -> bool {
    matches!(outcome, Err(EngineError::BadAnswer { .. }))
}

#[tokio::test]
async fn requests_are_what_the_interface_says() {
    let fake = Fake::start();
    fake.server.otherwise(Reply::ok(""));
    let engine = fake.connect().await.unwrap();
    let (app, auth) =
        (repository("reg.test:5000/acme/app"), RegistryAuth::password("reg.test:5000", "bob", "?>?>".into()));
    let wanted = Digest::parse(&digest("ab")).unwrap();
    let name = ImageName::from(&app.with_tag(tag("v1")));
    let platform = Platform::parse("linux/arm/v7").unwrap();
    engine.push(&app, PushTarget::Tag(&tag("v1")), &auth).finish().await.unwrap();
    engine.push(&app, PushTarget::AllTags, &auth).finish().await.unwrap();
    engine.pull(&app, &wanted, Some(&platform), &RegistryAuth::anonymous()).finish().await.unwrap();
    engine.tag(&name, &repository("docker.io/library/alpine"), &tag("v2")).await.unwrap();
    engine.remove_reference(&Reference::parse("[::1]:5000/a:1").unwrap()).await.unwrap();
    engine.load(futures_util::stream::iter([Ok("tar".into())])).finish().await.unwrap();
    let _ = engine.save(&[name, ImageName::id(&wanted)]).await.unwrap();
    let requests = fake.server.requests();
    assert_eq!(
        requests.iter().map(countersign_testkit::fake_server::Request::line).collect::<Vec<_>>(),
        [
            "GET /_ping".to_owned(),
            "POST /v1.41/images/reg.test:5000/acme/app/push?tag=v1".to_owned(),
            "POST /v1.41/images/reg.test:5000/acme/app/push".to_owned(),
            format!(
                "POST /v1.41/images/create?fromImage=reg.test%3A5000%2Facme%2Fapp&tag=sha256%3A{}&platform=linux%2Farm%2Fv7",
                wanted.hex()
            ),
            "POST /v1.41/images/reg.test:5000/acme/app:v1/tag?repo=alpine&tag=v2".to_owned(),
            "DELETE /v1.41/images/%5B::1%5D:5000/a:1?noprune=true".to_owned(),
            "POST /v1.41/images/load?quiet=true".to_owned(),
            format!("GET /v1.41/images/get?names=reg.test%3A5000%2Facme%2Fapp%3Av1&names=sha256%3A{}", wanted.hex()),
        ]
    );
    let auth = "eyJ1c2VybmFtZSI6ImJvYiIsInBhc3N3b3JkIjoiPz4_PiIsInNlcnZlcmFkZHJlc3MiOiJyZWcudGVzdDo1MDAwIn0=";
    assert_eq!(requests[1].header("x-registry-auth"), Some(auth));
    assert_eq!(requests[3].header("x-registry-auth"), Some("e30="));
    assert_eq!(requests[6].body.as_ref(), b"tar");
    assert!(requests.iter().all(|request| request.header("host") == Some("api.moby.localhost")));
}

#[tokio::test]
async fn notes_of_other_kinds_and_for_other_tags_do_not_disturb() {
    let fake = Fake::start();
    let (a, b) = (digest("aa"), digest("bb"));
    let descriptor = |digest: &str| format!("{{\"mediaType\":\"m\",\"digest\":\"{digest}\",\"size\":1}}");
    let instead = format!(
        "{{\"aux\":{{\"manifestPushedInsteadOfIndex\":true,\"originalIndex\":{},\"selectedManifest\":{}}}}}\n",
        descriptor(&b),
        descriptor(&a)
    );
    let lines = [&aux("v0", &b), "{\"aux\":{\"other\":[1]}}\n", &aux("v1", &a), &instead, &aux("v1", &a)].concat();
    let pushed = fake.push(Reply::ok(lines)).await.unwrap();
    assert_eq!((pushed.digest.to_string(), pushed.size), (a, 524));
}

#[tokio::test]
async fn an_engine_that_tells_the_digest_only_to_people_is_understood() {
    let a = digest("aa");
    let line = format!("{{\"status\":\"v1: digest: {a} size: 524\"}}\n");
    let pushed = Fake::start().push(Reply::ok(line.clone())).await.unwrap();
    assert_eq!((pushed.digest.to_string(), pushed.size), (a, 524));
    let outcome = Fake::start().push(Reply::ok(line + &aux("v1", &digest("bb")))).await;
    assert!(matches!(outcome, Err(EngineError::TwoDigests { .. })), "{outcome:?}");
}

#[tokio::test]
async fn two_digests_for_one_tag_are_refused() {
    let lines = aux("v1", &digest("aa")) + &aux("v1", &digest("bb"));
    let outcome = Fake::start().push(Reply::ok(lines)).await;
    assert!(matches!(outcome, Err(EngineError::TwoDigests { .. })), "{outcome:?}");
}

#[tokio::test]
async fn a_push_without_a_digest_is_refused() {
    for lines in ["", "{\"status\":\"v1: digest: sha256:00 size: 1\"}\n", &aux("v2", &digest("aa"))] {
        let outcome = Fake::start().push(Reply::ok(lines.to_owned())).await;
        assert!(matches!(outcome, Err(EngineError::NoDigest { .. })), "{outcome:?}");
    }
}

#[tokio::test]
async fn an_error_after_the_digest_is_an_error() {
    let lines = aux("v1", &digest("aa")) + "{\"errorDetail\":{\"message\":\"denied\"},\"error\":\"denied\"}\n";
    let outcome = Fake::start().push(Reply::ok(lines)).await;
    assert!(
        matches!(outcome, Err(EngineError::Api { status: None, ref message }) if message == "denied"),
        "{outcome:?}"
    );
}

#[tokio::test]
async fn a_stream_that_breaks_off_is_refused() {
    let whole = aux("v1", &digest("aa"));
    let half = whole.get(..60).unwrap().to_owned();
    let fake = Fake::start();
    for reply in [
        Reply::ok(whole.clone()).chunked().then_cut(),
        Reply::ok(whole.clone()).announcing(4_096),
        Reply::ok(half.clone()).chunked(),
        Reply::ok(half).until_close(),
    ] {
        let outcome = fake.push(reply).await;
        assert!(is_bad(&outcome), "{outcome:?}");
    }
    let unended = whole.trim_end().to_owned();
    assert!(fake.push(Reply::ok(unended).chunked()).await.is_ok());
}

#[tokio::test]
async fn a_stream_that_is_no_progress_is_refused() {
    let fake = Fake::start();
    let deep = format!("{{\"aux\":{}{}}}\n", "[".repeat(40), "]".repeat(40));
    for body in ["<html>hello</html>", "[1]\n", "{\"status\":7}\n", "{\"status\":\"a\"}{\"status\":\"b\"}\n", &deep] {
        let outcome = fake.push(Reply::ok(body.to_owned())).await;
        assert!(is_bad(&outcome), "{body}: {outcome:?}");
    }
}

#[tokio::test]
async fn long_lines_and_endless_streams_are_refused_with_bounded_memory() {
    let fake = Fake::start();
    let outcome = fake.push(Reply::ok("{\"status\":\"").then_endlessly("x".repeat(4_096))).await;
    assert!(is_bad(&outcome), "{outcome:?}");
    let outcome = fake.push(Reply::ok("").then_endlessly("{\"status\":\"x\"}\n".repeat(64))).await;
    assert!(is_bad(&outcome), "{outcome:?}");
}

#[tokio::test]
async fn an_engine_that_is_silent_is_given_up() {
    let fake = Fake::start();
    let start = Instant::now();
    for reply in [Reply::silence(), Reply::ok("{\"status\":\"a\"}\n").chunked().then_hang()] {
        let outcome = fake.push(reply).await;
        assert!(matches!(outcome, Err(EngineError::Silent { .. })), "{outcome:?}");
    }
    assert!(start.elapsed() < Duration::from_secs(5));
}

#[tokio::test]
async fn an_answer_that_drips_is_given_up() {
    let fake = Fake::start();
    let facts = format!("{{\"Id\":\"{}\"}}", digest("ab"));
    let drip = |reply: Reply| reply.chunked().then_dripping(facts.as_bytes(), Duration::from_millis(100));
    fake.server.on("/v1.41/images/a:1/json", drip(Reply::ok("")));
    let (engine, name) = (fake.connect().await.unwrap(), ImageName::from(&Reference::parse("a:1").unwrap()));
    let start = Instant::now();
    assert!(matches!(engine.inspect(&name).await, Err(EngineError::Silent { .. })));
    assert!(start.elapsed() < Duration::from_secs(2));
    fake.server.on("/v1.41/images/a:1/json", drip(Reply::status(500)));
    assert!(matches!(engine.inspect(&name).await, Err(EngineError::Api { status: Some(500), .. })));
    assert!(start.elapsed() < Duration::from_secs(9));
}

#[tokio::test]
async fn an_engine_that_is_slow_is_waited_for() {
    let slow = Reply::ok("").chunked().then_dripping(aux("v1", &digest("aa")).as_bytes(), Duration::from_millis(5));
    let outcome = Fake::start().push(slow.after(Duration::from_millis(100))).await;
    assert!(outcome.is_ok(), "{outcome:?}");
}

#[tokio::test]
async fn a_slow_upload_is_no_silence() {
    let fake = Fake::start();
    fake.server.on("/v1.41/images/load", Reply::ok(""));
    let engine = fake.connect().await.unwrap();
    let pieces = futures_util::stream::iter(0..10).then(|_| async {
        tokio::time::sleep(Duration::from_millis(100)).await;
        Ok("piece".into())
    });
    engine.load(pieces).finish().await.unwrap();
}

#[tokio::test]
async fn errors_are_cut_and_cannot_drive_a_terminal() {
    let fake = Fake::start();
    let words = "{\"message\":\"no \\u001b[31mway\"}";
    for (reply, expected) in [
        (Reply::status(403).then(words), "no \\u{1b}[31mway".to_owned()),
        (Reply::status(500).then("plain"), "plain".to_owned()),
        (Reply::status(502), "the engine answered with status 502 Bad Gateway".to_owned()),
        (Reply::status(500).then("x").then_endlessly("x".repeat(1_024)), "x".repeat(64)),
    ] {
        let error = fake.push(reply).await.unwrap_err();
        assert_eq!(error.to_string(), expected);
        assert!(matches!(error, EngineError::Api { status: Some(_), .. }));
    }
}

#[tokio::test]
async fn answers_that_are_not_http_or_have_huge_heads_are_refused() {
    let fake = Fake::start();
    for reply in [Reply::raw("nonsense\r\n\r\n"), Reply::ok("").header("X-Large", &"x".repeat(1 << 20)), Reply::raw("")]
    {
        let outcome = fake.push(reply).await;
        assert!(matches!(outcome, Err(EngineError::BadAnswer { .. } | EngineError::Unreachable { .. })), "{outcome:?}");
    }
}

#[tokio::test]
async fn something_that_is_no_engine_is_refused() {
    let fake = Fake::start();
    for (version, expected) in [(None, "tells no version"), (Some("x"), "not a version"), (Some("1.12"), "1.12")] {
        let reply = Reply::ok("OK");
        fake.server.on("/_ping", version.map_or(reply.clone(), |version| reply.header("Api-Version", version)));
        let error = fake.connect().await.unwrap_err();
        assert!(error.to_string().contains(expected), "{error}");
    }
    fake.server.on("/_ping", Reply::status(404));
    assert!(matches!(fake.connect().await, Err(EngineError::Api { status: Some(404), .. })));
}

#[tokio::test]
async fn facts_that_are_none_are_refused() {
    let fake = Fake::start();
    let name = ImageName::from(&Reference::parse("a:1").unwrap());
    let engine = fake.connect().await.unwrap();
    let large = format!("{{\"Id\":\"{}\",\"Comment\":\"{}\"}}", digest("ab"), "x".repeat(5_000));
    for body in ["", "{}", "{\"Id\":\"sha256:zz\"}", "[]", &large] {
        fake.server.on("/v1.41/images/a:1/json", Reply::json(body.to_owned()));
        assert!(matches!(engine.inspect(&name).await, Err(EngineError::BadAnswer { .. })), "{body}");
    }
    let nulls = format!("{{\"Id\":\"{}\",\"RepoTags\":null,\"RepoDigests\":null}}", digest("ab"));
    fake.server.on("/v1.41/images/a:1/json", Reply::json(nulls));
    assert!(engine.inspect(&name).await.unwrap().unwrap().repo_tags.is_empty());
}

#[tokio::test]
async fn an_engine_that_says_it_pulled_something_else_is_caught() {
    let fake = Fake::start();
    let (app, wanted) = (repository("reg.test/acme/app"), Digest::parse(&digest("aa")).unwrap());
    let engine = fake.connect().await.unwrap();
    for other in [format!("reg.test/acme/app@{}", digest("bb")), format!("reg.test/acme/other@{wanted}")] {
        let facts = format!("{{\"Id\":\"{}\",\"RepoDigests\":[\"{other}\"]}}", digest("cc"));
        fake.server.on(&format!("/v1.41/images/reg.test/acme/app@{wanted}/json"), Reply::json(facts));
        let error = engine.confirm(&app, &wanted).await.unwrap_err();
        assert!(matches!(&error, EngineError::NotPulled { found, .. } if *found == [other]), "{error}");
    }
}

#[tokio::test]
async fn events_come_before_the_end() {
    let fake = Fake::start();
    fake.server.on(PUSH, Reply::ok("{\"status\":\"first\"}\n").chunked().then_hang());
    let engine = fake.connect().await.unwrap();
    let mut push = engine.push(&repository("reg.test/acme/app"), PushTarget::AllTags, &RegistryAuth::anonymous());
    let Some(Event::Status(status)) = push.try_next().await.unwrap() else { panic!("no status") };
    assert_eq!(status.text, "first");
}
