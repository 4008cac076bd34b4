//! The least HTTP client: one request on one connection, the whole answer as text.

use std::fmt::Write as _;
use std::io::{Read, Write};
use std::net::TcpStream;

pub(crate) fn get(host: &str, path: &str, headers: &[(&str, &str)]) -> String {
    request(host, "GET", path, headers, b"")
}

pub(crate) fn request(host: &str, method: &str, path: &str, headers: &[(&str, &str)], body: &[u8]) -> String {
    let mut stream = TcpStream::connect(host).unwrap();
    stream.set_read_timeout(Some(std::time::Duration::from_secs(20))).unwrap();
    let mut head =
        format!("{method} {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\nContent-Length: {}\r\n", body.len());
    for (name, value) in headers {
        write!(head, "{name}: {value}\r\n").unwrap();
    }
    stream.write_all(format!("{head}\r\n").as_bytes()).unwrap();
    stream.write_all(body).unwrap();
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer);
    String::from_utf8_lossy(&answer).into_owned()
}
