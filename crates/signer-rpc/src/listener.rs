//! Connections of clients that have shown who they are: handshakes happen side by side, within a time, and only whoever is
//! admitted gets as far as a call.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use tokio_util::sync::CancellationToken;
use tonic::transport::server::Connected;

use crate::limits::{ACCEPT_PAUSE, CONNECTIONS, HANDSHAKE};
use crate::service::Caller;
use crate::tls::{self, Clients, Fresh};

/// A connection to an admitted client; it gives its place back when dropped.
pub(crate) struct Connection {
    stream: TlsStream<TcpStream>,
    caller: Caller,
    _place: OwnedSemaphorePermit,
}

/// Accepts connections and hands on those of admitted clients, until told to end.
pub(crate) async fn accept(
    listener: TcpListener,
    tls: Arc<Fresh<rustls::ServerConfig>>,
    clients: Arc<Clients>,
    admitted: mpsc::Sender<io::Result<Connection>>,
    ending: CancellationToken,
) {
    let places = Arc::new(Semaphore::new(CONNECTIONS));
    loop {
        let next = async {
            let place = Arc::clone(&places).acquire_owned().await.ok()?;
            Some((place, listener.accept().await))
        };
        let accepted = tokio::select! {
            () = ending.cancelled() => return,
            accepted = next => accepted,
        };
        match accepted {
            Some((place, Ok((stream, peer)))) => {
                let tls = TlsAcceptor::from(tls.get());
                let (clients, admitted) = (Arc::clone(&clients), admitted.clone());
                let ending = ending.clone();
                tokio::spawn(async move {
                    tokio::select! {
                        () = ending.cancelled() => {}
                        () = admit(stream, peer, tls, &clients, place, admitted) => {}
                    }
                });
            }
            Some((_, Err(error))) => {
                tracing::warn!(%error, "a connection was not accepted");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
            None => return,
        }
    }
}

async fn admit(
    stream: TcpStream,
    peer: SocketAddr,
    tls: TlsAcceptor,
    clients: &Clients,
    place: OwnedSemaphorePermit,
    admitted: mpsc::Sender<io::Result<Connection>>,
) {
    // Answers are written in one piece; waiting for more would only delay them.
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(%error, "no delay cannot be set");
    }
    let stream = match tokio::time::timeout(HANDSHAKE, tls.accept(stream)).await {
        Ok(Ok(stream)) => stream,
        Ok(Err(error)) => return tracing::warn!(%peer, %error, "a client was refused in the TLS handshake"),
        Err(_) => return tracing::warn!(%peer, "a TLS handshake took too long"),
    };
    let leaf = stream.get_ref().1.peer_certificates().and_then(<[_]>::first);
    let names = leaf.map(tls::names).unwrap_or_default();
    if leaf.is_none() || !clients.admit(&names) {
        return tracing::warn!(%peer, ?names, "a client that is not on the list was refused");
    }
    let connection = Connection { caller: tls::caller(&names, peer), stream, _place: place };
    let _ = admitted.send(Ok(connection)).await;
}

impl Connected for Connection {
    type ConnectInfo = Caller;

    fn connect_info(&self) -> Caller {
        self.caller.clone()
    }
}

impl AsyncRead for Connection {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, into: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, into)
    }
}

impl AsyncWrite for Connection {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
