//! A service in this process, with a folder, a clock and a client of its own.

use std::io::Write as _;
use std::net::SocketAddr;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use countersign_server::{Clock, Config, Drained, Running, Service, Tls};
use countersign_testkit::clock::FIXTURE_CLOCK;
use jiff::{SignedDuration, Timestamp};
use reqwest::header::HeaderMap;
use reqwest::{Client, Method, StatusCode};
use serde_json::Value;
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// A service under test.
pub(crate) struct TestService {
    pub(crate) running: Running,
    pub(crate) folder: TempDir,
    pub(crate) client: Client,
    pub(crate) base: String,
    pub(crate) time: Time,
}

/// A clock that the test sets.
#[derive(Clone)]
pub(crate) struct Time(Arc<Mutex<Timestamp>>);

impl Time {
    pub(crate) fn new() -> Self {
        Self(Arc::new(Mutex::new(FIXTURE_CLOCK)))
    }

    pub(crate) fn now(&self) -> Timestamp {
        *self.0.lock().unwrap()
    }

    pub(crate) fn pass(&self, duration: SignedDuration) {
        *self.0.lock().unwrap() += duration;
    }

    pub(crate) fn clock(&self) -> Clock {
        let time = self.clone();
        Clock::new(move || time.now())
    }
}

/// An answer, read to its end.
#[derive(Debug, Clone)]
pub(crate) struct Answered {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Vec<u8>,
}

impl Answered {
    pub(crate) fn text(&self) -> String {
        String::from_utf8(self.body.clone()).unwrap()
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap()
    }

    /// The error's code, with the status in front.
    pub(crate) fn error(&self) -> String {
        let json: Value = serde_json::from_slice(&self.body).unwrap_or_default();
        format!("{} {}", self.status.as_u16(), json["errors"][0]["code"].as_str().unwrap_or("(no code)"))
    }

    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }

    #[track_caller]
    pub(crate) fn ok(self) -> Self {
        assert_eq!(self.status, 200, "{}", self.text());
        self
    }
}

/// A client that follows no redirects.
pub(crate) fn client() -> Client {
    // Two tests of one process may both be first.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let builder = Client::builder().redirect(reqwest::redirect::Policy::none()).timeout(Duration::from_mins(1));
    builder.no_proxy().build().unwrap()
}

impl TestService {
    pub(crate) async fn start() -> Self {
        Self::with(|_| {}).await
    }

    /// Starts with settings of one's own; plain HTTP and the fixture clock unless changed.
    pub(crate) async fn with(change: impl FnOnce(&mut Config)) -> Self {
        Self::in_folder(tempfile::tempdir().unwrap(), change).await
    }

    pub(crate) async fn in_folder(folder: TempDir, change: impl FnOnce(&mut Config)) -> Self {
        let time = Time::new();
        let mut config = Config::new("127.0.0.1:0".parse().unwrap(), folder.path().join("data"));
        config.tls = Tls::None;
        config.clock = time.clock();
        change(&mut config);
        let running = Service::start(config).await.unwrap();
        let base = format!("http://{}", running.address());
        Self { running, folder, client: client(), base, time }
    }

    /// A service that encrypts its keys under the secret of another one.
    pub(crate) async fn with_secret(secret: &[u8], change: impl FnOnce(&mut Config)) -> Self {
        let folder = tempfile::tempdir().unwrap();
        std::fs::DirBuilder::new().mode(0o700).create(folder.path().join("data")).unwrap();
        let mut file = std::fs::OpenOptions::new();
        let mut file = file.create(true).write(true).mode(0o600).open(folder.path().join("data/secret")).unwrap();
        file.write_all(secret).unwrap();
        Self::in_folder(folder, change).await
    }

    /// Ends the service and starts it again on the same folder.
    pub(crate) async fn restart(self) -> Self {
        let Self { running, folder, time, .. } = self;
        assert_eq!(running.shut_down().await, Drained::Completely);
        let again = Self::in_folder(folder, |config| config.clock = time.clock()).await;
        Self { time, ..again }
    }

    pub(crate) async fn request(&self, method: &str, path: &str) -> Answered {
        let method = Method::from_bytes(method.as_bytes()).unwrap();
        self.send(self.client.request(method, format!("{}{path}", self.base))).await
    }

    pub(crate) async fn get(&self, path: &str) -> Answered {
        self.request("GET", path).await
    }

    /// Gets a file of a collection's metadata, such as `root.json`.
    pub(crate) async fn file(&self, gun: &str, name: &str) -> Answered {
        self.get(&format!("/v2/{gun}/_trust/tuf/{name}")).await
    }

    pub(crate) async fn delete(&self, gun: &str) -> Answered {
        self.request("DELETE", &format!("/v2/{gun}/_trust/tuf/")).await
    }

    pub(crate) async fn upload(&self, gun: &str, parts: &[(&str, Vec<u8>)]) -> Answered {
        self.upload_body(gun, "multipart/form-data; boundary=BOUNDARY", multipart(parts)).await
    }

    pub(crate) async fn upload_body(&self, gun: &str, content_type: &str, body: impl Into<reqwest::Body>) -> Answered {
        let url = format!("{}/v2/{gun}/_trust/tuf/", self.base);
        self.send(self.client.post(url).header("Content-Type", content_type).body(body)).await
    }

    /// Sends bytes over a connection of their own and reads to its end.
    pub(crate) async fn raw(&self, request: &str) -> String {
        raw(self.running.address(), request.as_bytes()).await
    }

    /// Takes the tables away under the running service.
    pub(crate) async fn damage_database(&self) {
        let path = self.folder.path().join("data/trust.db");
        let options = sqlx::sqlite::SqliteConnectOptions::new().filename(path).foreign_keys(false);
        let pool = sqlx::SqlitePool::connect_with(options).await.unwrap();
        for statement in
            ["DROP TABLE current_files", "DROP TABLE tuf_files", "DROP TABLE changefeed", "DROP TABLE service_keys"]
        {
            sqlx::query(statement).execute(&pool).await.unwrap();
        }
        pool.close().await;
    }

    /// Changes the database behind the service's back.
    pub(crate) async fn tamper(&self, statement: &'static str) {
        let path = self.folder.path().join("data/trust.db");
        let pool =
            sqlx::SqlitePool::connect_with(sqlx::sqlite::SqliteConnectOptions::new().filename(path)).await.unwrap();
        assert!(sqlx::query(statement).execute(&pool).await.unwrap().rows_affected() > 0, "{statement}");
        pool.close().await;
    }

    pub(crate) async fn send(&self, request: reqwest::RequestBuilder) -> Answered {
        let response = request.send().await.unwrap();
        let (status, headers) = (response.status(), response.headers().clone());
        Answered { status, headers, body: response.bytes().await.unwrap().to_vec() }
    }
}

/// Sends bytes over a connection of their own and reads to its end.
pub(crate) async fn raw(address: SocketAddr, request: &[u8]) -> String {
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(request).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    answer
}

/// A body as the reference's client makes it.
pub(crate) fn multipart(parts: &[(&str, Vec<u8>)]) -> Vec<u8> {
    let mut body = Vec::new();
    for (role, bytes) in parts {
        let start = if body.is_empty() { "" } else { "\r\n" };
        let header = format!(
            "{start}--BOUNDARY\r\nContent-Disposition: form-data; name=\"files\"; filename=\"{role}\"\r\n\
             Content-Type: application/octet-stream\r\n\r\n"
        );
        body.extend_from_slice(header.as_bytes());
        body.extend_from_slice(bytes);
    }
    body.extend_from_slice(b"\r\n--BOUNDARY--\r\n");
    body
}
