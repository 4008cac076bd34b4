//! A client that does as little as it can: one connection, one request at a time, answers read by their length.

use std::sync::Arc;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

pub(crate) trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

/// Where a server is and how it is spoken to.
#[derive(Clone)]
pub(crate) struct Address {
    pub(crate) socket: std::net::SocketAddr,
    pub(crate) tls: Option<Arc<rustls::ClientConfig>>,
}

impl Address {
    pub(crate) fn plain(socket: std::net::SocketAddr) -> Self {
        Self { socket, tls: None }
    }

    pub(crate) fn tls(socket: std::net::SocketAddr, authority: &[u8]) -> Self {
        let mut roots = rustls::RootCertStore::empty();
        roots.add(CertificateDer::from_pem_slice(authority).unwrap()).unwrap();
        let config = rustls::ClientConfig::builder().with_root_certificates(roots).with_no_client_auth();
        Self { socket, tls: Some(Arc::new(config)) }
    }

    pub(crate) async fn connect(&self) -> Connection {
        let stream = TcpStream::connect(self.socket).await.unwrap();
        stream.set_nodelay(true).unwrap();
        let stream: Box<dyn Stream> = match &self.tls {
            None => Box::new(stream),
            Some(config) => {
                let name = ServerName::try_from("127.0.0.1").unwrap();
                Box::new(TlsConnector::from(Arc::clone(config)).connect(name, stream).await.unwrap())
            }
        };
        Connection { stream, buffer: Vec::with_capacity(1 << 16) }
    }
}

pub(crate) struct Connection {
    stream: Box<dyn Stream>,
    buffer: Vec<u8>,
}

impl Connection {
    /// Sends a request; returns the status and where in [`Connection::body`] the body is.
    pub(crate) async fn ask(&mut self, request: &[u8]) -> u16 {
        self.stream.write_all(request).await.unwrap();
        self.stream.flush().await.unwrap();
        self.buffer.clear();
        let head = loop {
            assert!(self.stream.read_buf(&mut self.buffer).await.unwrap() > 0, "the connection was closed");
            if let Some(end) = self.buffer.windows(4).position(|window| window == b"\r\n\r\n") {
                break end + 4;
            }
        };
        let text = std::str::from_utf8(&self.buffer[..head]).unwrap();
        let length = text.lines().find_map(|line| {
            let (name, value) = line.split_once(": ")?;
            name.eq_ignore_ascii_case("content-length").then(|| value.parse::<usize>().unwrap())
        });
        let status = text[9..12].parse().unwrap();
        let whole = head + length.unwrap_or(0);
        while self.buffer.len() < whole {
            assert!(self.stream.read_buf(&mut self.buffer).await.unwrap() > 0, "the connection was closed");
        }
        self.buffer.drain(..head);
        status
    }

    pub(crate) fn body(&self) -> &[u8] {
        &self.buffer
    }
}

pub(crate) fn get(path: &str) -> Vec<u8> {
    format!("GET {path} HTTP/1.1\r\nHost: load\r\n\r\n").into_bytes()
}

/// An upload of one file.
pub(crate) fn post(gun: &str, files: &[(&str, &[u8])]) -> Vec<u8> {
    let mut body = Vec::new();
    for (role, file) in files {
        let head = format!("--b\r\nContent-Disposition: form-data; name=\"files\"; filename=\"{role}\"\r\n\r\n");
        body.extend_from_slice(head.as_bytes());
        body.extend_from_slice(file);
        body.extend_from_slice(b"\r\n");
    }
    body.extend_from_slice(b"--b--\r\n");
    let length = body.len();
    let mut request = format!(
        "POST /v2/{gun}/_trust/tuf/ HTTP/1.1\r\nHost: load\r\nContent-Type: multipart/form-data; boundary=b\r\n\
         Content-Length: {length}\r\n\r\n"
    )
    .into_bytes();
    request.append(&mut body);
    request
}
