//! What those who run the service see: metrics, health, and the ids of requests.

use std::time::Duration;

use countersign_server::MetricsConfig;
use jiff::SignedDuration;

use crate::keyserver::Place;
use crate::owner::Owner;
use crate::service::{Answered, TestService};

const GUN: &str = "example.com/watched";
const HOURS_OF_TIMESTAMP: i64 = 14 * 24;

/// A service whose metrics have an address of their own.
async fn apart(expiring: usize) -> TestService {
    let listen = Some("127.0.0.1:0".parse().unwrap());
    let survey_pause = Duration::from_hours(1);
    TestService::with(|config| config.metrics = MetricsConfig { listen, expiring, survey_pause }).await
}

/// Asks at the address of the metrics.
async fn operator(service: &TestService, path: &str) -> Answered {
    let address = service.running.metrics_address().unwrap();
    service.send(service.client.get(format!("http://{address}{path}"))).await
}

/// The value of a sample.
fn value(text: &str, sample: &str) -> i64 {
    let line = text.lines().find_map(|line| line.strip_prefix(sample)?.strip_prefix(' '));
    assert!(line.is_some(), "no {sample} in {text}");
    line.unwrap().parse().unwrap()
}

#[tokio::test]
async fn metrics_with_an_address_of_their_own_are_nowhere_else() {
    let service = apart(0).await;
    assert_eq!(service.get("/metrics").await.error(), "404 METADATA_NOT_FOUND");
    let text = operator(&service, "/metrics").await.ok().text();
    assert_eq!(value(&text, "countersign_refusals_total{code=\"METADATA_NOT_FOUND\"}"), 1);
    for path in ["/livez", "/readyz", "/_notary_server/health"] {
        assert_eq!(operator(&service, path).await.ok().text(), "{}", "{path}");
        assert_eq!(service.get(path).await.ok().text(), "{}", "{path}");
    }
    assert_eq!(operator(&service, "/v2/").await.status, 404, "clients are not served there");
    let again = operator(&service, "/metrics").await.ok().text();
    assert_eq!(value(&again, "http_requests_total{code=\"200\",method=\"get\",handler=\"prometheus\"}"), 1);
}

#[tokio::test]
async fn the_survey_says_what_expires_first_and_what_has_expired() {
    let service = apart(2).await;
    for gun in [GUN, "example.com/other"] {
        Owner::of(&service, gun).await.publish_first(&service).await;
    }
    service.running.survey_now().await;
    let text = operator(&service, "/metrics").await.ok().text();
    assert_eq!(value(&text, "countersign_collections"), 2);
    assert_eq!(value(&text, "countersign_stale_timestamps"), 0);
    let left = value(&text, "countersign_earliest_expiry_seconds{role=\"timestamp\"}");
    let whole = SignedDuration::from_hours(HOURS_OF_TIMESTAMP).as_secs();
    assert!((whole - 60..=whole).contains(&left), "{left}");
    for role in ["timestamp", "snapshot", "root"] {
        assert_eq!(value(&text, &format!("countersign_expired_collections{{role=\"{role}\"}}")), 0);
    }
    let named = text.matches("countersign_collection_expiry_seconds{gun=").count();
    assert_eq!(named, 2, "as many as asked for: {text}");

    // Nobody has renewed for a day longer than a timestamp lives.
    service.time.pass(SignedDuration::from_hours(HOURS_OF_TIMESTAMP + 24));
    let text = operator(&service, "/metrics").await.ok().text();
    assert!(value(&text, "countersign_earliest_expiry_seconds{role=\"timestamp\"}") < 0, "of now, not of the survey");
    service.running.survey_now().await;
    let text = operator(&service, "/metrics").await.ok().text();
    assert_eq!(value(&text, "countersign_stale_timestamps"), 2);
    assert_eq!(value(&text, "countersign_expired_collections{role=\"timestamp\"}"), 2);
    assert_eq!(value(&text, "countersign_expired_collections{role=\"root\"}"), 0);
    service.running.renew_now().await;
    service.running.survey_now().await;
    let text = operator(&service, "/metrics").await.ok().text();
    assert_eq!(value(&text, "countersign_stale_timestamps"), 0);
    assert_eq!(value(&text, "countersign_renewals_total"), 2);
}

#[tokio::test]
async fn no_collection_is_named_where_clients_are_served_or_unless_asked_for() {
    let service = TestService::with(|config| config.metrics.expiring = 10).await;
    Owner::of(&service, GUN).await.publish_first(&service).await;
    service.running.survey_now().await;
    let text = service.get("/metrics").await.ok().text();
    assert_eq!(value(&text, "countersign_collections"), 1);
    assert!(!text.contains(GUN) && !text.contains("gun="), "{text}");
    let quiet = apart(0).await;
    Owner::of(&quiet, GUN).await.publish_first(&quiet).await;
    quiet.running.survey_now().await;
    let text = operator(&quiet, "/metrics").await.ok().text();
    assert!(!text.contains(GUN) && !text.contains("gun="), "{text}");
}

#[tokio::test]
async fn uploads_are_counted_by_what_became_of_them_and_refusals_by_their_code() {
    let service = TestService::start().await;
    let owner = Owner::of(&service, GUN).await;
    owner.publish_first(&service).await;
    let again = service.upload(GUN, &[("targets", owner.targets(1, &["v1"]))]).await;
    assert_eq!(again.error(), "400 VERSION");
    service.upload(GUN, &[("targets", b"{".to_vec())]).await;
    service.get("/v2/nothing/_trust/tuf/root.json").await;
    // The second reader is answered from memory, whoever filled it.
    service.file(GUN, "timestamp.json").await.ok();
    service.file(GUN, "timestamp.json").await.ok();
    let text = service.get("/metrics").await.ok().text();
    for (sample, count) in [
        ("countersign_publications_total{outcome=\"accepted\"}", 1),
        ("countersign_publications_total{outcome=\"conflict\"}", 1),
        ("countersign_publications_total{outcome=\"refused\"}", 1),
        ("countersign_publications_total{outcome=\"failed\"}", 0),
        ("countersign_refusals_total{code=\"VERSION\"}", 1),
        ("countersign_refusals_total{code=\"METADATA_NOT_FOUND\"}", 1),
        ("countersign_request_duration_seconds_count{operation=\"UpdateTUF\"}", 3),
        ("countersign_database_connections_max{pool=\"writer\"}", 1),
    ] {
        assert_eq!(value(&text, sample), count, "{sample}");
    }
    assert!(value(&text, "countersign_cache_requests_total{cache=\"current\",result=\"hit\"}") >= 1, "{text}");
    assert!(value(&text, "process_resident_memory_bytes") > 1_000_000);
}

#[tokio::test]
async fn a_service_that_is_about_to_end_answers_and_is_not_ready() {
    let service = apart(0).await;
    assert_eq!(operator(&service, "/readyz").await.status, 200);
    service.running.announce_end();
    let answer = operator(&service, "/readyz").await;
    assert_eq!((answer.status.as_u16(), answer.text().contains("draining")), (503, true));
    assert_eq!(service.get("/readyz").await.status, 503);
    service.get("/v2/").await.ok();
    operator(&service, "/livez").await.ok();
    let text = operator(&service, "/metrics").await.ok().text();
    assert_eq!(value(&text, "countersign_draining"), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn without_its_keyserver_a_service_is_not_ready_but_for_reading() {
    let place = Place::new();
    let keyserver = place.start().await;
    let keys_metrics = format!("http://{}/metrics", keyserver.metrics_address().unwrap());
    let service = TestService::with(|config| config.keys = place.keys()).await;
    Owner::of(&service, GUN).await.publish_first(&service).await;
    service.get("/readyz").await.ok();
    let text = service.get("/metrics").await.ok().text();
    assert_eq!(value(&text, "countersign_keyserver_calls_total{call=\"create\",outcome=\"ok\"}"), 2);
    let signed = value(&text, "countersign_keyserver_calls_total{call=\"sign\",outcome=\"ok\"}");
    assert!(signed >= 1);
    let there = service.send(service.client.get(&keys_metrics)).await.ok().text();
    assert_eq!(value(&there, "countersign_signing_calls_total{call=\"sign\",outcome=\"ok\"}"), signed);
    assert_eq!(value(&there, "countersign_signing_call_duration_seconds_count{call=\"create\"}"), 2);
    let ready = keys_metrics.replace("metrics", "readyz");
    service.send(service.client.get(&ready)).await.ok();
    keyserver.announce_end();
    assert_eq!(service.send(service.client.get(&ready)).await.status, 503);

    keyserver.shut_down().await;
    let begun = std::time::Instant::now();
    while service.get("/readyz").await.status == 200 {
        assert!(begun.elapsed() < Duration::from_secs(20), "its health is asked for again after a while");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let answer = service.get("/readyz").await;
    assert!(answer.text().contains("\"signer\"") && !answer.text().contains("database"), "{}", answer.text());
    service.get("/readyz?exclude=signer").await.ok();
    service.get("/livez").await.ok();
    let text = service.get("/metrics").await.ok().text();
    assert!(value(&text, "countersign_keyserver_calls_total{call=\"health\",outcome=\"away\"}") >= 1);
}

#[tokio::test]
async fn every_answer_has_the_requests_id_the_clients_own_if_it_is_harmless() {
    let service = TestService::start().await;
    let ask = |name: &'static str, id: &'static [u8]| {
        let id = reqwest::header::HeaderValue::from_bytes(id).unwrap();
        service.send(service.client.get(format!("{}/v2/", service.base)).header(name, id))
    };
    assert_eq!(ask("x-request-id", b"abc-1").await.header("x-request-id"), "abc-1");
    let trace = b"00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
    assert_eq!(ask("traceparent", trace).await.header("x-request-id"), "4bf92f3577b34da6a3ce929d0e0e4736");
    let mut seen = std::collections::BTreeSet::new();
    for hostile in [&b"a b"[..], b"<script>", b"\xff\xfe", b"x\"y"] {
        let answer = ask("x-request-id", hostile).await;
        let id = answer.header("x-request-id").to_owned();
        assert!(id.bytes().all(|byte| byte.is_ascii_hexdigit() || byte == b'-') && id.len() > 16, "{id}");
        assert!(seen.insert(id));
    }
    let refused = service.get("/nothing").await;
    assert!(!refused.header("x-request-id").is_empty());
}
