use countersign_testkit::{FakeServer, Reply};

use crate::http::{get, request};

#[test]
fn replies_follow_the_script_and_requests_are_recorded() {
    let server = FakeServer::plain();
    server.on_each("/a", [Reply::status(503).header("Retry-After", "1"), Reply::ok("second")]);
    assert!(get(&server.host(), "/a?x=1", &[]).starts_with("HTTP/1.1 503 Service Unavailable"));
    assert!(get(&server.host(), "/a", &[]).ends_with("\r\n\r\nsecond"));
    assert!(get(&server.host(), "/a", &[]).ends_with("second"));
    server.remove("/a");
    assert!(request(&server.host(), "POST", "/a", &[("X-A", "b")], b"{\"n\":1}").starts_with("HTTP/1.1 404"));
    let requests = server.requests();
    assert_eq!(requests[3].json()["n"], 1);
    assert_eq!(requests[3].header("x-a"), Some("b"));
    assert_eq!(server.take_request_lines(), ["GET /a?x=1", "GET /a", "GET /a", "POST /a"]);
    assert!(server.requests().is_empty());
}

#[test]
fn a_handler_is_asked_before_the_routes() {
    let server = FakeServer::plain();
    server.otherwise(Reply::ok("otherwise"));
    server.handle(|request| (request.method == "DELETE").then(|| Reply::status(405)));
    assert!(request(&server.host(), "DELETE", "/", &[], b"").starts_with("HTTP/1.1 405"));
    assert!(get(&server.host(), "/", &[]).ends_with("otherwise"));
}

#[test]
fn bodies_can_be_cut_and_lengths_can_lie() {
    let server = FakeServer::plain();
    server.on("/cut", Reply::ok("half").chunked().then_cut());
    server.on("/short", Reply::ok("half").announcing(8));
    server.on("/raw", Reply::raw("nonsense\r\n\r\n"));
    assert!(get(&server.host(), "/cut", &[]).ends_with("4\r\nhalf\r\n"));
    let short = get(&server.host(), "/short", &[]);
    assert!(short.contains("Content-Length: 8") && short.ends_with("\r\n\r\nhalf"), "{short}");
    assert_eq!(get(&server.host(), "/raw", &[]), "nonsense\r\n\r\n");
}

#[test]
fn head_gets_the_length_and_no_body() {
    let server = FakeServer::plain();
    server.on("/a", Reply::ok("12345"));
    let answer = request(&server.host(), "HEAD", "/a", &[], b"");
    assert!(answer.ends_with("Content-Length: 5\r\n\r\n"), "{answer}");
}

#[test]
fn chunked_requests_are_put_together() {
    let server = FakeServer::plain();
    server.on("/a", Reply::status(204));
    let host = server.host();
    let mut stream = std::net::TcpStream::connect(&host).unwrap();
    let text = "POST /a HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n";
    std::io::Write::write_all(&mut stream, text.as_bytes()).unwrap();
    let mut answer = String::new();
    std::io::Read::read_to_string(&mut stream, &mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 204"));
    assert_eq!(server.requests()[0].body.as_ref(), b"abcde");
}
