//! Servers that stall, flood, cut and mislead.

use std::time::{Duration, Instant};

use ::http::header::{AUTHORIZATION, HeaderValue};
use ::http::{Method, StatusCode};
use countersign_registry::http::{
    HttpClient, HttpError, HttpOptions, Origin, Patience, ProxyRules, Request, WaitingFor,
};
use countersign_testkit::{FakeServer, Port, Reply};

use crate::support::{QUICK, client_for, get, url};

async fn body(server: &FakeServer, limit: u64) -> Result<bytes::Bytes, HttpError> {
    let address = server.url();
    client_for(&address).send(get(&format!("{address}/x"))).await?.bytes(limit).await
}

#[tokio::test]
async fn nobody_there_is_absence() {
    let port = Port::take();
    let address = format!("http://{}", port.address());
    let error = client_for(&address).send(get(&address)).await.unwrap_err();
    assert!(matches!(error, HttpError::Unreachable { .. }), "{error:?}");
    assert!(error.is_absence());
}

#[tokio::test]
async fn a_server_that_never_answers_is_given_up() {
    let server = FakeServer::plain();
    server.on("/x", Reply::silence());
    let begin = Instant::now();
    let error = body(&server, 100).await.unwrap_err();
    assert!(matches!(error, HttpError::Timeout { waiting_for: WaitingFor::Answer, .. }), "{error:?}");
    assert!(begin.elapsed() < Duration::from_secs(5));
}

#[tokio::test]
async fn a_server_that_stops_in_the_middle_is_given_up() {
    let server = FakeServer::plain();
    server.on("/x", Reply::status(200).announcing(100).then("half").then_hang());
    let error = body(&server, 100).await.unwrap_err();
    assert!(matches!(error, HttpError::Timeout { waiting_for: WaitingFor::Body, .. }), "{error:?}");
}

#[tokio::test]
async fn a_byte_now_and_then_is_given_up_in_the_end() {
    let server = FakeServer::plain();
    server.on("/x", Reply::status(200).announcing(1000).then_dripping(&[b'a'; 1000], Duration::from_millis(100)));
    let address = server.url();
    let mut patience = QUICK;
    patience.total = Duration::from_secs(1);
    let response = client_for(&address).send(get(&format!("{address}/x")).patience(patience)).await.unwrap();
    let error = response.bytes(1000).await.unwrap_err();
    assert!(matches!(error, HttpError::Timeout { waiting_for: WaitingFor::Body, .. }), "{error:?}");
}

#[tokio::test]
async fn a_trickle_is_given_up_long_before_the_end_of_patience() {
    let server = FakeServer::plain();
    server.on("/x", Reply::status(200).announcing(1000).then_dripping(&[b'a'; 1000], Duration::from_millis(50)));
    let address = server.url();
    let patience = Patience { total: Duration::from_hours(1), trickle: Duration::from_millis(500), ..QUICK };
    let begin = Instant::now();
    let response = client_for(&address).send(get(&format!("{address}/x")).patience(patience)).await.unwrap();
    let error = response.bytes(1000).await.unwrap_err();
    assert!(matches!(error, HttpError::Timeout { waiting_for: WaitingFor::Body, .. }), "{error:?}");
    assert!(begin.elapsed() < Duration::from_secs(10));
}

#[tokio::test]
async fn endless_and_overlong_bodies_are_cut_off() {
    let server = FakeServer::plain();
    server.on("/x", Reply::status(200).then_endlessly(vec![b'a'; 10_000]));
    assert!(matches!(body(&server, 100_000).await, Err(HttpError::Oversized { limit: 100_000, .. })));
    server.on("/x", Reply::status(200).announcing(10_000_000_000).then("a").then_hang());
    assert!(matches!(body(&server, 100).await, Err(HttpError::Oversized { .. })));
    server.on("/x", Reply::ok("12345"));
    assert_eq!(body(&server, 5).await.unwrap(), "12345");
    assert!(matches!(body(&server, 4).await, Err(HttpError::Oversized { .. })));
}

#[tokio::test]
async fn endless_headers_are_cut_off() {
    let server = FakeServer::plain();
    server.on("/x", Reply::raw("HTTP/1.1 200 OK\r\n").then_endlessly("X-Filler: aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\r\n"));
    let error = body(&server, 100).await.unwrap_err();
    assert!(matches!(error, HttpError::Protocol { .. }), "{error:?}");
}

#[tokio::test]
async fn what_is_no_http_is_a_protocol_error() {
    let server = FakeServer::plain();
    server.on("/x", Reply::raw("SSH-2.0-OpenSSH_9.2\r\n"));
    let error = body(&server, 100).await.unwrap_err();
    assert!(matches!(error, HttpError::Protocol { .. }), "{error:?}");
    assert!(!error.is_absence());
}

#[tokio::test]
async fn a_body_that_is_cut_short_is_not_taken_for_whole() {
    let server = FakeServer::plain();
    for reply in [
        Reply::status(200).announcing(100).then("half").then_cut(),
        Reply::status(200).chunked().then("half").then_cut(),
    ] {
        server.on("/x", reply);
        let error = body(&server, 100).await.unwrap_err();
        assert!(matches!(error, HttpError::Unreachable { .. }), "{error:?}");
    }
}

#[tokio::test]
async fn an_error_body_is_read_only_at_its_beginning() {
    let server = FakeServer::plain();
    server.on("/x", Reply::status(500).then("\x1b[2Jsorry").then_endlessly(vec![b'a'; 10_000]));
    let address = server.url();
    let response = client_for(&address).send(get(&format!("{address}/x"))).await.unwrap();
    let Err(HttpError::Status(status)) = response.success().await else { panic!() };
    assert_eq!(status.body.len(), countersign_registry::http::MAX_ERROR_BODY);
    assert!(status.text.starts_with("\\u{1b}[2Jsorry"), "{}", status.text);
}

#[tokio::test]
async fn an_encoding_nobody_asked_for_is_refused() {
    let server = FakeServer::plain();
    server.on("/x", Reply::ok("not really zipped").header("Content-Encoding", "gzip"));
    assert!(matches!(body(&server, 100).await, Err(HttpError::Protocol { .. })));
    assert!(server.requests()[0].header("accept-encoding").is_none());
}

#[tokio::test]
async fn redirects_are_followed_only_where_asked() {
    let server = FakeServer::plain();
    let address = server.url();
    server.on("/x", Reply::status(307).header("Location", "/y"));
    server.on("/y", Reply::ok("there"));
    let client = client_for(&address);
    assert_eq!(client.send(get(&format!("{address}/x"))).await.unwrap().status(), StatusCode::TEMPORARY_REDIRECT);
    let response = client.send_following(get(&format!("{address}/x"))).await.unwrap();
    assert_eq!(response.url().path(), "/y");
    let post = Request::new(Method::POST, url(&format!("{address}/x")));
    assert_eq!(client.send_following(post).await.unwrap().status(), StatusCode::TEMPORARY_REDIRECT);
}

#[tokio::test]
async fn credentials_do_not_follow_a_redirect_to_another_host() {
    let (home, other) = (FakeServer::plain(), FakeServer::plain());
    home.on("/same", Reply::status(302).header("Location", "/end"));
    home.on("/end", Reply::ok(""));
    home.on("/other", Reply::status(302).header("Location", &format!("{}/end", other.url())));
    other.on("/end", Reply::ok(""));
    let address = home.url();
    for path in ["/same", "/other"] {
        let request =
            get(&format!("{address}{path}")).header(AUTHORIZATION, HeaderValue::from_static("Basic c2VjcmV0"));
        client_for(&address).send_following(request).await.unwrap();
    }
    assert!(home.requests().iter().all(|request| request.header("authorization").is_some()));
    assert_eq!(other.requests().len(), 1);
    assert!(other.requests()[0].header("authorization").is_none());
}

#[tokio::test]
async fn redirects_without_end_or_to_strange_places_are_refused() {
    let server = FakeServer::plain();
    let address = server.url();
    for target in [
        "/x",
        "file:///etc/passwd",
        "http://user:pw@127.0.0.1/",
        "http://169.254.169.254/latest",
        "http://[fe80::1]/",
        "http://[::ffff:169.254.169.254]/",
        "",
        "http://",
    ] {
        server.on("/x", Reply::status(301).header("Location", target));
        let error = client_for(&address).send_following(get(&format!("{address}/x"))).await.unwrap_err();
        assert!(matches!(error, HttpError::Redirect { .. } | HttpError::Address { .. }), "{target}: {error:?}");
        assert!(!error.is_absence());
    }
}

#[tokio::test]
async fn a_proxy_sees_only_the_name_and_cannot_pretend() {
    let proxy = FakeServer::plain();
    proxy.otherwise(Reply::raw("HTTP/1.1 200 OK\r\n\r\ngarbage in place of a handshake"));
    let rules = ProxyRules::from_lookup(|name| (name == "HTTPS_PROXY").then(|| proxy.url())).unwrap();
    let mut options = HttpOptions::new(Origin::of(&url("https://reg.test")).unwrap());
    options.proxies = rules;
    let client = HttpClient::new(options);
    let request = get("https://reg.test/v2/secret").header(AUTHORIZATION, HeaderValue::from_static("Bearer hidden"));
    let error = client.send(request).await.unwrap_err();
    assert!(matches!(error, HttpError::Tls { .. }), "{error:?}");
    let seen = proxy.requests();
    assert_eq!(seen.len(), 1);
    assert_eq!(seen[0].method, "CONNECT");
    assert!(seen[0].header("authorization").is_none());
    assert!(!format!("{seen:?}").contains("hidden"));
}

#[tokio::test]
async fn loopback_does_not_go_through_a_proxy() {
    let (proxy, server) = (FakeServer::plain(), FakeServer::plain());
    server.on("/x", Reply::ok("direct"));
    let rules = ProxyRules::from_lookup(|name| (name == "HTTP_PROXY").then(|| proxy.url())).unwrap();
    let address = server.url();
    let mut options = HttpOptions::new(Origin::of(&url(&address)).unwrap());
    options.proxies = rules;
    let response = HttpClient::new(options).send(get(&format!("{address}/x"))).await.unwrap();
    assert_eq!(response.bytes(10).await.unwrap(), "direct");
    assert!(proxy.requests().is_empty());
}

#[tokio::test]
async fn junk_five_times_and_then_honest_service_works() {
    let server = FakeServer::plain();
    server.on_each("/x", (0..5).map(|_| Reply::raw("junk\r\n\r\n")).chain([Reply::ok("fine")]));
    let address = server.url();
    let client = client_for(&address);
    for _ in 0..5 {
        assert!(client.send(get(&format!("{address}/x"))).await.is_err());
    }
    assert_eq!(client.send(get(&format!("{address}/x"))).await.unwrap().bytes(10).await.unwrap(), "fine");
}
