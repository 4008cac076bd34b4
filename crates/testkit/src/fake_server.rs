//! A scripted HTTP server: it answers what the test says, however wrong, and records what it was asked.

use std::collections::{HashMap, VecDeque};
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use tokio::io::{AsyncRead, AsyncWrite};

pub use reply::Reply;
pub use request::Request;

use crate::background::Background;

mod reply;
mod request;
mod wire;

type Handler = Arc<dyn Fn(&Request) -> Option<Reply> + Send + Sync>;

/// A server on a loopback port or a Unix socket that replies as scripted; unknown paths get 404.
///
/// One request per connection: every reply closes it.
#[derive(Debug)]
pub struct FakeServer {
    place: Place,
    script: Arc<Mutex<Script>>,
    _background: Background,
}

#[derive(Debug)]
enum Place {
    Tcp { scheme: &'static str, address: SocketAddr },
    Unix(PathBuf),
}

#[derive(Default)]
struct Script {
    handler: Option<Handler>,
    routes: HashMap<String, VecDeque<Reply>>,
    fallback: Option<Reply>,
    requests: Vec<Request>,
}

impl std::fmt::Debug for Script {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Script").field("routes", &self.routes.keys()).finish_non_exhaustive()
    }
}

impl FakeServer {
    /// Starts a server that speaks plain HTTP on a loopback port.
    #[must_use]
    pub fn plain() -> Self {
        Self::tcp("http", None)
    }

    /// Starts a server that speaks HTTPS on a loopback port, for instance with
    /// [`TestCertificate::server_config`](crate::TestCertificate::server_config).
    #[must_use]
    pub fn tls(config: Arc<rustls::ServerConfig>) -> Self {
        Self::tcp("https", Some(tokio_rustls::TlsAcceptor::from(config)))
    }

    /// Starts a server on a Unix socket at this path, as an engine has it.
    #[must_use]
    pub fn unix(path: &Path) -> Self {
        let (script, socket) = (Arc::<Mutex<Script>>::default(), path.to_owned());
        let shared = Arc::clone(&script);
        let started = Background::run(move || {
            let listener = tokio::net::UnixListener::bind(&socket)?;
            let accept = async move {
                while let Ok((stream, _)) = listener.accept().await {
                    tokio::spawn(serve(stream, Arc::clone(&shared)));
                }
            };
            Ok((accept, ()))
        });
        let (background, ()) = started.unwrap_or_else(|error| panic!("no fake server at {}: {error}", path.display()));
        Self { place: Place::Unix(path.to_owned()), script, _background: background }
    }

    /// Starts a server that serves a golden set of metadata: `docker28` at `server/step-08`, for instance.
    #[must_use]
    pub fn serving(config: Arc<rustls::ServerConfig>, set: crate::fixtures::Set, folder: &str) -> Self {
        let server = Self::tls(config);
        server.on("/v2/", Reply::json("{}"));
        for (path, bytes) in set.served(folder) {
            server.on(&path, Reply::json(bytes));
        }
        server
    }

    fn tcp(scheme: &'static str, tls: Option<tokio_rustls::TlsAcceptor>) -> Self {
        let script = Arc::<Mutex<Script>>::default();
        let shared = Arc::clone(&script);
        let started = Background::run(move || {
            let listener = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
            listener.set_nonblocking(true)?;
            let address = listener.local_addr()?;
            let listener = tokio::net::TcpListener::from_std(listener)?;
            Ok((accept_tcp(listener, tls, shared), address))
        });
        let (background, address) = started.unwrap_or_else(|error| panic!("no fake server: {error}"));
        Self { place: Place::Tcp { scheme, address }, script, _background: background }
    }

    /// The server's base URL, without a slash at its end: `https://127.0.0.1:PORT`, or `unix:///path`.
    #[must_use]
    pub fn url(&self) -> String {
        match &self.place {
            Place::Tcp { scheme, address } => format!("{scheme}://{address}"),
            Place::Unix(path) => format!("unix://{}", path.display()),
        }
    }

    /// Host and port: `127.0.0.1:PORT`; empty for a Unix socket.
    #[must_use]
    pub fn host(&self) -> String {
        match &self.place {
            Place::Tcp { address, .. } => address.to_string(),
            Place::Unix(_) => String::new(),
        }
    }

    /// Sets the reply for a path (without its query), for all methods, from now on.
    pub fn on(&self, path: &str, reply: Reply) {
        self.on_each(path, [reply]);
    }

    /// Sets the replies for a path, one for each request; the last one repeats.
    pub fn on_each(&self, path: &str, replies: impl IntoIterator<Item = Reply>) {
        self.script().routes.insert(path.to_owned(), replies.into_iter().collect());
    }

    /// Sets the reply for every path that has none.
    pub fn otherwise(&self, reply: Reply) {
        self.script().fallback = Some(reply);
    }

    /// Asks this function first, for every request; where it returns `None` the routes decide.
    pub fn handle(&self, handler: impl Fn(&Request) -> Option<Reply> + Send + Sync + 'static) {
        self.script().handler = Some(Arc::new(handler));
    }

    /// Forgets the reply for a path: it is not found from now on.
    pub fn remove(&self, path: &str) {
        self.script().routes.remove(path);
    }

    /// All requests so far, oldest first.
    #[must_use]
    pub fn requests(&self) -> Vec<Request> {
        self.script().requests.clone()
    }

    /// All requests so far as `METHOD /path?query`, oldest first, forgetting them.
    #[must_use]
    pub fn take_request_lines(&self) -> Vec<String> {
        std::mem::take(&mut self.script().requests).iter().map(Request::line).collect()
    }

    fn script(&self) -> std::sync::MutexGuard<'_, Script> {
        self.script.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

async fn accept_tcp(
    listener: tokio::net::TcpListener,
    tls: Option<tokio_rustls::TlsAcceptor>,
    script: Arc<Mutex<Script>>,
) {
    while let Ok((stream, _)) = listener.accept().await {
        let script = Arc::clone(&script);
        match tls.clone() {
            None => drop(tokio::spawn(serve(stream, script))),
            Some(tls) => drop(tokio::spawn(async move {
                // A client that refuses the certificate is what many tests are about.
                match tls.accept(stream).await {
                    Ok(stream) => serve(stream, script).await,
                    Err(_) => Ok(()),
                }
            })),
        }
    }
}

async fn serve(mut stream: impl AsyncRead + AsyncWrite + Unpin, script: Arc<Mutex<Script>>) -> io::Result<()> {
    let Some(request) = wire::read_request(&mut stream).await? else { return Ok(()) };
    let head_only = request.method == "HEAD";
    let mut reply = reply_to(&script, &request);
    if head_only {
        reply = reply.without_body();
    }
    wire::write_reply(&mut stream, reply).await
}

fn reply_to(script: &Mutex<Script>, request: &Request) -> Reply {
    let lock = || script.lock().unwrap_or_else(PoisonError::into_inner);
    let handler = {
        let mut script = lock();
        script.requests.push(request.clone());
        script.handler.clone()
    };
    // The handler runs without the lock, so that it may use the server itself.
    if let Some(reply) = handler.and_then(|handler| handler(request)) {
        return reply;
    }
    let mut script = lock();
    let scripted = script.routes.get_mut(&request.path).and_then(|replies| match replies.len() {
        0 | 1 => replies.front().cloned(),
        _ => replies.pop_front(),
    });
    scripted.or_else(|| script.fallback.clone()).unwrap_or_else(|| Reply::status(404))
}
