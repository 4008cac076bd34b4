//! A small HTTP listener for operators: plain HTTP/1.1 on an address or a socket of its own, apart from the service's clients.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use http::header::{CACHE_CONTROL, CONTENT_TYPE};
use http::{HeaderValue, Method, Response, StatusCode};
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, UnixListener};
use tokio::task::{AbortHandle, JoinHandle};

/// Open connections. Where one more comes the oldest ends, which has had its time: whoever opens many and says nothing must
/// not keep away those who ask whether the service lives.
const CONNECTIONS: usize = 64;
/// Time for a request's header, and for the next one on an open connection.
const HEADER: Duration = Duration::from_secs(30);
/// Time for a connection, whatever happens on it.
const CONNECTION: Duration = Duration::from_mins(10);
/// Time for the body of a request.
const BODY: Duration = Duration::from_secs(5);
/// Bytes of the body of a request.
const MAX_BODY: usize = 4096;
/// Pause after the system refused a connection.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// An answer.
pub type Answer = Response<Bytes>;

/// What is asked for.
#[derive(Debug)]
pub struct Asked {
    /// The method.
    pub method: Method,
    /// The path, as it was sent.
    pub path: String,
    /// What follows the question mark.
    pub query: Option<String>,
    /// The body.
    pub body: Bytes,
}

/// What a listener hands out.
#[async_trait]
pub trait Pages: Send + Sync + 'static {
    /// Answers; none where there is nothing.
    async fn answer(&self, asked: Asked) -> Option<Answer>;
}

/// Makes an answer of text.
pub fn text(status: StatusCode, content_type: &'static str, body: impl Into<Bytes>) -> Answer {
    let mut answer = Response::new(body.into());
    *answer.status_mut() = status;
    answer.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    answer.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    answer
}

/// A listener; it ends when dropped.
#[derive(Debug)]
pub struct Listener {
    task: JoinHandle<()>,
    address: Option<SocketAddr>,
    socket: Option<PathBuf>,
}

impl Listener {
    /// Listens on an address.
    ///
    /// # Errors
    /// The address cannot be had.
    pub async fn on_address(address: SocketAddr, pages: Arc<dyn Pages>) -> std::io::Result<Self> {
        let listener = TcpListener::bind(address).await?;
        let address = Some(listener.local_addr()?);
        let accept = async move || Ok(listener.accept().await?.0);
        Ok(Self { task: tokio::spawn(serve(accept, pages)), address, socket: None })
    }

    /// Listens on a socket in the file system that only this user can open. One that an earlier process left is replaced.
    ///
    /// # Errors
    /// The socket cannot be made, or something else is in its place.
    pub fn on_socket(path: &Path, pages: Arc<dyn Pages>) -> std::io::Result<Self> {
        let listener = private_socket(path)?;
        let accept = async move || Ok(listener.accept().await?.0);
        Ok(Self { task: tokio::spawn(serve(accept, pages)), address: None, socket: Some(path.to_owned()) })
    }

    /// Returns the address that is listened on, with the port that was taken.
    #[must_use]
    pub fn address(&self) -> Option<SocketAddr> {
        self.address
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        self.task.abort();
        if let Some(path) = &self.socket {
            // The next process replaces one that is left.
            let _ = fs_err::remove_file(path);
        }
    }
}

/// Makes the socket beside its place, closes it to others, and only then puts it there.
fn private_socket(path: &Path) -> std::io::Result<UnixListener> {
    use std::os::unix::fs::{FileTypeExt, PermissionsExt};
    match fs_err::symlink_metadata(path) {
        Ok(found) if !found.file_type().is_socket() => {
            let text = format!("{} is there, and is no socket", path.display());
            return Err(std::io::Error::new(std::io::ErrorKind::AlreadyExists, text));
        }
        _ => {}
    }
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let staging = tempfile::Builder::new().prefix(".countersign-").tempdir_in(folder)?;
    let made = staging.path().join("s");
    let listener = UnixListener::bind(&made)?;
    fs_err::set_permissions(&made, std::fs::Permissions::from_mode(0o600))?;
    fs_err::rename(&made, path)?;
    Ok(listener)
}

async fn serve<S, A>(mut accept: A, pages: Arc<dyn Pages>)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    A: AsyncFnMut() -> std::io::Result<S>,
{
    let mut open = VecDeque::<AbortHandle>::with_capacity(CONNECTIONS);
    loop {
        match accept().await {
            Ok(stream) => {
                open.retain(|connection| !connection.is_finished());
                if open.len() >= CONNECTIONS
                    && let Some(oldest) = open.pop_front()
                {
                    oldest.abort();
                }
                let speaking = tokio::time::timeout(CONNECTION, speak(stream, Arc::clone(&pages)));
                open.push_back(tokio::spawn(speaking).abort_handle());
            }
            Err(error) => {
                tracing::warn!(%error, "a connection of an operator was not accepted");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

async fn speak(stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static, pages: Arc<dyn Pages>) {
    let service = service_fn(move |request: http::Request<Incoming>| {
        let pages = Arc::clone(&pages);
        async move { Ok::<_, Infallible>(answer(&*pages, request).await.map(Full::new)) }
    });
    let mut builder = http1::Builder::new();
    builder.timer(TokioTimer::new()).header_read_timeout(HEADER).max_buf_size(16 * 1024);
    if let Err(error) = builder.serve_connection(TokioIo::new(stream), service).await {
        tracing::debug!(%error, "a connection of an operator ended badly");
    }
}

async fn answer(pages: &dyn Pages, request: http::Request<Incoming>) -> Answer {
    let (parts, body) = request.into_parts();
    let body = match tokio::time::timeout(BODY, Limited::new(body, MAX_BODY).collect()).await {
        Ok(Ok(body)) => body.to_bytes(),
        _ => return text(StatusCode::BAD_REQUEST, "text/plain", "the body is too long or too slow\n"),
    };
    let query = parts.uri.query().map(str::to_owned);
    let asked = Asked { method: parts.method, path: parts.uri.path().to_owned(), query, body };
    let found = pages.answer(asked).await;
    found.unwrap_or_else(|| text(StatusCode::NOT_FOUND, "text/plain", "there is nothing here\n"))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpStream;

    use super::*;

    struct Echo;

    #[async_trait]
    impl Pages for Echo {
        async fn answer(&self, asked: Asked) -> Option<Answer> {
            (asked.path == "/echo").then(|| text(StatusCode::OK, "text/plain", asked.body))
        }
    }

    async fn ask(mut stream: impl AsyncRead + AsyncWrite + Unpin, request: &str) -> String {
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        answer
    }

    #[tokio::test]
    async fn pages_are_answered_on_an_address_and_too_much_is_refused() {
        let listener = Listener::on_address("127.0.0.1:0".parse().unwrap(), Arc::new(Echo)).await.unwrap();
        let address = listener.address().unwrap();
        let connect = || async { TcpStream::connect(address).await.unwrap() };
        let end = "Host: x\r\nConnection: close\r\n";
        let echoed = ask(connect().await, &format!("PUT /echo HTTP/1.1\r\n{end}Content-Length: 3\r\n\r\nabc")).await;
        assert!(echoed.starts_with("HTTP/1.1 200") && echoed.ends_with("abc"), "{echoed}");
        let nothing = ask(connect().await, &format!("GET /other HTTP/1.1\r\n{end}\r\n")).await;
        assert!(nothing.starts_with("HTTP/1.1 404"), "{nothing}");
        let long = "x".repeat(MAX_BODY + 1);
        let head = format!("PUT /echo HTTP/1.1\r\n{end}Content-Length: {}\r\n\r\n", long.len());
        let refused = ask(connect().await, &(head + &long)).await;
        assert!(refused.starts_with("HTTP/1.1 400"), "{refused}");
        drop(listener);
        tokio::time::timeout(Duration::from_secs(5), async {
            while TcpStream::connect(address).await.is_ok() {
                tokio::task::yield_now().await;
            }
        })
        .await
        .unwrap();
    }

    #[tokio::test]
    async fn whoever_says_nothing_on_all_connections_keeps_nobody_away() {
        let listener = Listener::on_address("127.0.0.1:0".parse().unwrap(), Arc::new(Echo)).await.unwrap();
        let address = listener.address().unwrap();
        let mut silent = Vec::new();
        for _ in 0..2 * CONNECTIONS {
            silent.push(TcpStream::connect(address).await.unwrap());
        }
        let asked = ask(TcpStream::connect(address).await.unwrap(), "GET /echo HTTP/1.1\r\nConnection: close\r\n\r\n");
        let answer = tokio::time::timeout(Duration::from_secs(5), asked).await.unwrap();
        assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    }

    #[tokio::test]
    async fn a_socket_is_its_owners_alone_and_replaces_one_that_was_left() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("admin.sock");
        drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
        let listener = Listener::on_socket(&path, Arc::new(Echo)).unwrap();
        assert_eq!(fs_err::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        let stream = tokio::net::UnixStream::connect(&path).await.unwrap();
        let answer = ask(stream, "GET /echo HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").await;
        assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
        drop(listener);
        assert!(!path.exists());
        assert_eq!(fs_err::read_dir(folder.path()).unwrap().count(), 0);
        fs_err::write(&path, "a file").unwrap();
        assert!(Listener::on_socket(&path, Arc::new(Echo)).is_err(), "a file is not replaced");
    }
}
