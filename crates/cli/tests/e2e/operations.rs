//! What those who run the services see and say: the word to systemd, the log and its level, traces, an end in order.

use crate::client::{Client, Ending, NETWORK, USER};
use crate::stage::Shop;
use countersign_testkit::{Deployment, Keyserver, Port, TrustService};
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::trace::v1::Span;
use prost::Message;
use rustix::process::{Pid, Signal, kill_process};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::unix::net::{UnixDatagram, UnixStream};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

const PROGRAM: &str = env!("CARGO_BIN_EXE_countersign");
const SOON: Duration = Duration::from_secs(20);

/// A running `countersign serve` on ports of its own.
struct Served {
    process: Child,
    port: Port,
    operators: Port,
    said: Arc<Mutex<String>>,
}

impl Served {
    fn start(person: &Client, arguments: &[&str], environment: &[(&str, &str)]) -> Self {
        let (port, operators) = (Port::take(), Port::take());
        let (listen, metrics) = (port.address().to_string(), operators.address().to_string());
        let mut command =
            person.command(&["serve", "--data-dir", "data", "--listen", &listen, "--metrics-listen", &metrics]);
        command.args(arguments).envs(environment.iter().copied()).stdout(Stdio::null()).stderr(Stdio::piped());
        let mut process = command.spawn().unwrap();
        let said = Arc::new(Mutex::new(String::new()));
        let (lines, words) = (BufReader::new(process.stderr.take().unwrap()).lines(), Arc::clone(&said));
        std::thread::spawn(move || {
            for line in lines.map_while(Result::ok) {
                let mut words = words.lock().unwrap();
                words.push_str(&line);
                words.push('\n');
            }
        });
        let served = Self { process, port, operators, said };
        served.until("it serves", |served| get(served.operators.address(), "/readyz").is_ok());
        served
    }

    fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.process), signal).unwrap();
    }

    fn said(&self) -> String {
        self.said.lock().unwrap().clone()
    }

    fn until(&self, what: &str, holds: impl Fn(&Self) -> bool) {
        let begun = Instant::now();
        while !holds(self) {
            assert!(begun.elapsed() < SOON, "not within time: {what}\n{}", self.said());
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Waits for the end; returns the exit code.
    fn ended(&mut self) -> Option<i32> {
        let begun = Instant::now();
        loop {
            if let Some(status) = self.process.try_wait().unwrap() {
                return status.code();
            }
            assert!(begun.elapsed() < SOON, "it does not end: {}", self.said());
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Asks the service over TLS, with a header; returns the whole answer.
    fn ask(&self, path: &str, header: &str) -> String {
        let mut client = Command::new("openssl");
        client.args(["s_client", "-quiet", "-connect", &self.port.address().to_string()]);
        let mut client = client.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
        let request = format!("GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n{header}\r\n\r\n");
        let mut stdin = client.stdin.take().unwrap();
        stdin.write_all(request.as_bytes()).unwrap();
        let mut answer = String::new();
        client.stdout.take().unwrap().read_to_string(&mut answer).unwrap();
        drop(stdin);
        client.wait().unwrap();
        answer
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Sends a request and returns the answer's status and body.
fn exchange(mut stream: impl Read + Write, request: &str) -> std::io::Result<(u16, String)> {
    stream.write_all(request.as_bytes())?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    let status = answer.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or_default();
    let body = answer.split_once("\r\n\r\n").map(|(_, body)| body.to_owned()).unwrap_or_default();
    Ok((status, body))
}

fn get(address: SocketAddr, path: &str) -> std::io::Result<(u16, String)> {
    exchange(TcpStream::connect(address)?, &format!("GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"))
}

/// Reads what systemd is told until a message has this line.
fn heard(socket: &UnixDatagram, line: &str) -> String {
    let mut buffer = [0; 4096];
    loop {
        let length = socket.recv(&mut buffer).unwrap();
        let text = String::from_utf8_lossy(buffer.get(..length).unwrap()).into_owned();
        if text.lines().any(|found| found == line) {
            return text;
        }
    }
}

#[test]
fn systemd_hears_of_the_start_of_reloads_of_life_and_of_the_end() {
    let person = Client::new();
    let path = person.folder().join("notify");
    let socket = UnixDatagram::bind(&path).unwrap();
    socket.set_read_timeout(Some(SOON)).unwrap();
    let variables = [("NOTIFY_SOCKET", path.to_str().unwrap()), ("WATCHDOG_USEC", "300000")];
    let mut service = Served::start(&person, &[], &variables);
    let ready = heard(&socket, "READY=1");
    assert!(ready.contains(&format!("STATUS=serving on {}", service.port.address())), "{ready}");
    for _ in 0..3 {
        heard(&socket, "WATCHDOG=1");
    }
    service.signal(Signal::HUP);
    let reloading = heard(&socket, "RELOADING=1");
    assert!(reloading.contains("MONOTONIC_USEC="), "{reloading}");
    heard(&socket, "READY=1");
    service.signal(Signal::TERM);
    heard(&socket, "STOPPING=1");
    assert_eq!(service.ended(), Some(0));
}

#[test]
fn every_line_is_json_with_the_requests_id_and_signals_and_a_socket_change_how_much_is_said() {
    let person = Client::new();
    let socket = person.folder().join("admin.sock");
    let arguments = ["--log-format", "json", "--admin-socket", socket.to_str().unwrap()];
    let mut service = Served::start(&person, &arguments, &[]);
    service.ask("/v2/", "X-Request-Id: quiet-1");
    assert!(!service.said().contains("quiet-1"), "warnings alone, unless told otherwise: {}", service.said());

    service.signal(Signal::USR1);
    service.until("the level is raised", |service| service.said().contains("the log level is info now"));
    let answer = service.ask("/v2/", "X-Request-Id: loud-1");
    assert!(answer.to_lowercase().contains("x-request-id: loud-1\r\n"), "{answer}");
    service.until("the request is logged", |service| service.said().contains("loud-1"));
    let said = service.said();
    let line = said.lines().find(|line| line.contains("loud-1")).unwrap();
    let line: serde_json::Value = serde_json::from_str(line).unwrap();
    let found = (&line["request_id"], &line["msg"], &line["level"], &line["path"], &line["status"]);
    assert_eq!(found, (&"loud-1".into(), &"request".into(), &"info".into(), &"/v2/".into(), &200.into()));
    assert!(line["time"].as_str().unwrap().parse::<jiff::Timestamp>().is_ok(), "{line}");

    let level = |method: &str, body: &str| {
        let length = body.len();
        let head = format!("{method} /log-level HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: {length}");
        exchange(UnixStream::connect(&socket).unwrap(), &format!("{head}\r\n\r\n{body}")).unwrap()
    };
    assert_eq!(level("GET", ""), (200, "info\n".to_owned()));
    assert_eq!(level("PUT", "error\n"), (200, "error\n".to_owned()));
    assert_eq!(level("PUT", "loud").0, 400);
    service.ask("/v2/", "X-Request-Id: quiet-2");
    assert_eq!(level("PUT", "countersign_server=info,warn").0, 200);
    service.ask("/v2/", "X-Request-Id: loud-2");
    service.until("the request is logged", |service| service.said().contains("loud-2"));
    assert!(!service.said().contains("quiet-2"));
    service.signal(Signal::USR2);
    service.until("the level falls", |service| service.said().contains("the log level is warn now"));
    service.signal(Signal::TERM);
    assert_eq!(service.ended(), Some(0));
    assert!(!socket.exists(), "the socket goes with the service");
}

#[test]
fn a_service_told_to_end_is_first_not_ready_and_still_serves() {
    let person = Client::new();
    let mut service = Served::start(&person, &["--drain-delay", "10m"], &[]);
    service.signal(Signal::TERM);
    let ready = |service: &Served| get(service.operators.address(), "/readyz").unwrap();
    service.until("it is not ready", |service| ready(service).0 == 503);
    assert!(ready(&service).1.contains("draining"));
    assert!(service.ask("/v2/", "X: y").starts_with("HTTP/1.1 200"), "balancers need a while to notice");
    assert_eq!(get(service.operators.address(), "/livez").unwrap().0, 200);
    service.signal(Signal::TERM);
    assert_eq!(service.ended(), Some(NETWORK), "told twice, it ends at once");

    let mut service = Served::start(&person, &["--drain-delay", "200ms"], &[]);
    service.signal(Signal::TERM);
    assert_eq!(service.ended(), Some(0));
}

/// A collector of traces: takes what is exported by OTLP over HTTP.
struct Collector {
    address: SocketAddr,
    spans: Arc<Mutex<Vec<(String, Span)>>>,
}

impl Collector {
    fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let (address, spans) = (listener.local_addr().unwrap(), Arc::new(Mutex::new(Vec::new())));
        let taken = Arc::clone(&spans);
        std::thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let taken = Arc::clone(&taken);
                std::thread::spawn(move || while take(&stream, &taken).is_some() {});
            }
        });
        Self { address, spans }
    }

    fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    fn spans(&self) -> Vec<(String, Span)> {
        self.spans.lock().unwrap().clone()
    }
}

/// Takes one export; none at the end of the connection.
fn take(mut stream: &TcpStream, taken: &Mutex<Vec<(String, Span)>>) -> Option<()> {
    let mut reader = BufReader::new(stream);
    let (mut length, mut line) = (0, String::new());
    reader.read_line(&mut line).ok().filter(|read| *read > 0)?;
    assert!(line.starts_with("POST /v1/traces HTTP/1.1"), "{line}");
    while line.trim() != "" {
        line.clear();
        reader.read_line(&mut line).ok()?;
        if let Some(value) = line.to_lowercase().strip_prefix("content-length:") {
            length = value.trim().parse().ok()?;
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body).ok()?;
    let export = ExportTraceServiceRequest::decode(body.as_slice()).unwrap();
    for of_resource in export.resource_spans {
        let attributes = of_resource.resource.unwrap_or_default().attributes;
        let name = attributes.iter().find(|pair| pair.key == "service.name").unwrap();
        let service = format!("{:?}", name.value);
        let spans = of_resource.scope_spans.into_iter().flat_map(|scope| scope.spans);
        taken.lock().unwrap().extend(spans.map(|span| (service.clone(), span)));
    }
    stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n").ok()
}

#[test]
fn a_publication_is_one_trace_through_the_database_and_the_keyserver() {
    let collector = Collector::start();
    let mut keyserver = Keyserver::start(PROGRAM);
    let settings = keyserver.file("keyserver.toml");
    let text = std::fs::read_to_string(&settings).unwrap();
    std::fs::write(&settings, format!("traces = \"{}\"\n{text}", collector.url())).unwrap();
    keyserver.restart("first");
    let mut builder =
        TrustService::builder(PROGRAM).deployed(Deployment::Embedded).env("OTEL_BSP_SCHEDULE_DELAY", "100");
    for argument in keyserver.arguments() {
        builder = builder.arg(&argument);
    }
    let service = builder.env("OTEL_EXPORTER_OTLP_ENDPOINT", &collector.url()).start();
    let shop = Shop { service, ..Shop::open() };
    shop.signed_by(&shop.client(), "v1", "one");

    let begun = Instant::now();
    let (trace, spans) = loop {
        let spans = collector.spans();
        let upload = spans.iter().find(|(_, span)| span.name == "UpdateTUF").map(|(_, span)| span.trace_id.clone());
        if let Some(trace) = upload {
            let of_trace: Vec<_> = spans.into_iter().filter(|(_, span)| span.trace_id == trace).collect();
            if of_trace.iter().any(|(_, span)| span.name == "Sign") {
                break (trace, of_trace);
            }
        }
        assert!(begun.elapsed() < SOON, "not the whole trace: {:?}", collector.spans());
        std::thread::sleep(Duration::from_millis(50));
    };
    let find = |name: &str| {
        let found = spans.iter().find(|(_, span)| span.name == name);
        found.unwrap_or_else(|| panic!("no {name} in {trace:?}: {spans:?}"))
    };
    let (server, upload) = find("UpdateTUF");
    assert!(server.contains("countersign-serve") && upload.parent_span_id.is_empty());
    for part in ["database.state", "database.publish", "signer.sign"] {
        assert_eq!(find(part).1.parent_span_id, upload.span_id, "{part}");
    }
    let (signer, span) = find("Sign");
    assert!(signer.contains("countersign-keyserver"), "{signer}");
    let asked: Vec<_> =
        spans.iter().filter(|(_, span)| span.name == "signer.sign").map(|(_, span)| &span.span_id).collect();
    assert!(asked.contains(&&span.parent_span_id), "the keyserver's part is below the question");
}

#[test]
fn traces_by_a_protocol_that_is_not_spoken_are_refused_and_not_left_out() {
    let person = Client::new().env("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc");
    let refused =
        person.run(&["serve", "--data-dir", "data", "--listen", "127.0.0.1:0", "--traces", "http://127.0.0.1:1"]);
    refused.refused(USER, "http/protobuf");
}
