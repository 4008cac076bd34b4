//! HTTP/1.1 by hand, because the replies have to be wrong in ways that no HTTP library allows.

use std::fmt::Write;
use std::io;

use bytes::{Buf, Bytes, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

use super::reply::{Framing, Head, Reply, Step};
use super::request::Request;

/// The largest request head, in bytes.
const HEAD_LIMIT: usize = 1 << 20;
/// The most headers of a request.
const HEADER_LIMIT: usize = 256;
/// The largest request body, in bytes.
const BODY_LIMIT: usize = 256 << 20;

/// Reads one request; `None` when the client closes the connection without having sent one.
pub(super) async fn read_request(stream: &mut (impl AsyncRead + AsyncWrite + Unpin)) -> io::Result<Option<Request>> {
    let mut buffer = BytesMut::new();
    let mut request = loop {
        if let Some((length, request)) = parse_head(&buffer)? {
            buffer.advance(length);
            break request;
        }
        if buffer.len() > HEAD_LIMIT || stream.read_buf(&mut buffer).await? == 0 {
            return Ok(None);
        }
    };
    if request.header("expect").is_some() {
        stream.write_all(b"HTTP/1.1 100 Continue\r\n\r\n").await?;
    }
    let length = request.header("content-length").and_then(|length| length.parse().ok());
    request.body = if request.header("transfer-encoding").is_some_and(|coding| coding.contains("chunked")) {
        read_chunks(stream, &mut buffer).await?
    } else {
        read_exactly(stream, &mut buffer, length.unwrap_or(0)).await?
    };
    Ok(Some(request))
}

fn parse_head(buffer: &[u8]) -> io::Result<Option<(usize, Request)>> {
    let mut headers = [httparse::EMPTY_HEADER; HEADER_LIMIT];
    let mut head = httparse::Request::new(&mut headers);
    let httparse::Status::Complete(length) = head.parse(buffer).map_err(io::Error::other)? else { return Ok(None) };
    let target = head.path.unwrap_or_default();
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let headers = head.headers.iter().map(|header| (header.name.to_ascii_lowercase(), text(header.value)));
    let request = Request {
        method: head.method.unwrap_or_default().to_owned(),
        path: path.to_owned(),
        query: query.to_owned(),
        headers: headers.collect(),
        body: Bytes::new(),
    };
    Ok(Some((length, request)))
}

async fn read_exactly(
    stream: &mut (impl AsyncRead + Unpin),
    buffer: &mut BytesMut,
    length: usize,
) -> io::Result<Bytes> {
    if length > BODY_LIMIT {
        return Err(io::Error::other("request body too large"));
    }
    while buffer.len() < length {
        if stream.read_buf(buffer).await? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
    }
    Ok(buffer.split_to(length).freeze())
}

async fn read_chunks(stream: &mut (impl AsyncRead + Unpin), buffer: &mut BytesMut) -> io::Result<Bytes> {
    let mut body = BytesMut::new();
    loop {
        let (consumed, size) = loop {
            match httparse::parse_chunk_size(buffer).map_err(|_| io::Error::other("bad chunk size"))? {
                httparse::Status::Complete(found) => break found,
                httparse::Status::Partial if stream.read_buf(buffer).await? == 0 => {
                    return Err(io::ErrorKind::UnexpectedEof.into());
                }
                httparse::Status::Partial => (),
            }
        };
        buffer.advance(consumed);
        let size = usize::try_from(size).map_err(io::Error::other)?;
        if body.len().saturating_add(size) > BODY_LIMIT {
            return Err(io::Error::other("request body too large"));
        }
        body.extend_from_slice(&read_exactly(stream, buffer, size).await?);
        read_exactly(stream, buffer, 2).await?;
        if size == 0 {
            return Ok(body.freeze());
        }
    }
}

/// Writes the reply and closes the connection.
pub(super) async fn write_reply(stream: &mut (impl AsyncRead + AsyncWrite + Unpin), reply: Reply) -> io::Result<()> {
    tokio::time::sleep(reply.delay).await;
    let chunked = matches!(reply.framing, Framing::Chunked);
    stream.write_all(&head(&reply)).await?;
    stream.flush().await?;
    for step in reply.steps {
        match step {
            Step::Bytes(bytes) => write_piece(stream, &bytes, &reply.framing).await?,
            Step::Pause(pause) => tokio::time::sleep(pause).await,
            Step::Hang => return wait_for_close(stream).await,
            Step::Endless(bytes) => loop {
                write_piece(stream, &bytes, &reply.framing).await?;
            },
            Step::Cut => return Ok(()),
        }
    }
    if chunked {
        stream.write_all(b"0\r\n\r\n").await?;
    }
    stream.shutdown().await
}

fn head(reply: &Reply) -> Bytes {
    let status = match &reply.head {
        Head::Raw(bytes) => return bytes.clone(),
        Head::Status(status) => *status,
    };
    let reason = http::StatusCode::from_u16(status).ok().and_then(|status| status.canonical_reason()).unwrap_or("-");
    let mut head = format!("HTTP/1.1 {status} {reason}\r\nConnection: close\r\n");
    for (name, value) in &reply.headers {
        let _ = write!(head, "{name}: {value}\r\n");
    }
    match reply.framing {
        Framing::Length => drop(write!(head, "Content-Length: {}\r\n", reply.length())),
        Framing::Announced(length) => drop(write!(head, "Content-Length: {length}\r\n")),
        Framing::Chunked => head.push_str("Transfer-Encoding: chunked\r\n"),
        Framing::Close => (),
    }
    head.push_str("\r\n");
    head.into()
}

async fn write_piece(stream: &mut (impl AsyncWrite + Unpin), bytes: &[u8], framing: &Framing) -> io::Result<()> {
    if matches!(framing, Framing::Chunked) {
        if bytes.is_empty() {
            return Ok(());
        }
        stream.write_all(format!("{:x}\r\n", bytes.len()).as_bytes()).await?;
        stream.write_all(bytes).await?;
        stream.write_all(b"\r\n").await?;
    } else {
        stream.write_all(bytes).await?;
    }
    stream.flush().await
}

async fn wait_for_close(stream: &mut (impl AsyncRead + Unpin)) -> io::Result<()> {
    let mut ignored = [0; 1024];
    while stream.read(&mut ignored).await? != 0 {}
    Ok(())
}
