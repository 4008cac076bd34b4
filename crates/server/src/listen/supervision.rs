//! Watching a connection: while something moves it goes on, else it is ended.

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use hyper::body::{Body, Frame, Incoming, SizeHint};
use hyper::rt::bounds::Http2ServerConnExec;
use hyper::server::conn::{http1, http2};
use hyper::service::HttpService;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::Semaphore;

use super::Ending;
use super::first::{First, first};

/// Bytes of an answer handed to the connection at once; between them it is seen whether the client still reads.
const PIECE: usize = 64 * 1024;

/// How often a connection is looked at; so long, and up to twice that, one on which nothing moves keeps its place while
/// others wait for one.
const LOOK: Duration = Duration::from_secs(1);

/// The times of one connection.
#[derive(Debug, Clone, Copy)]
pub(super) struct Times {
    pub(super) idle: Duration,
    pub(super) life: Duration,
    pub(super) drain: Duration,
}

/// What moves on one connection.
#[derive(Debug, Default)]
pub(super) struct Progress {
    /// Requests begun and pieces of answers taken.
    steps: AtomicU64,
    /// Requests being handled; handlers have limits of their own.
    running: AtomicU64,
}

/// A request that is being handled.
pub(super) struct Running(Arc<Progress>);

impl Progress {
    pub(super) fn begin(self: &Arc<Self>) -> Running {
        self.step();
        self.running.fetch_add(1, Ordering::Relaxed);
        Running(Arc::clone(self))
    }

    fn step(&self) {
        self.steps.fetch_add(1, Ordering::Relaxed);
    }

    /// Returns the steps so far, none while a request is being handled.
    fn seen(&self) -> Option<u64> {
        (self.running.load(Ordering::Relaxed) == 0).then(|| self.steps.load(Ordering::Relaxed))
    }
}

impl Running {
    /// Ends the handling and begins the writing.
    pub(super) fn write(self, bytes: Bytes) -> Paced {
        Paced { bytes, progress: Arc::clone(&self.0) }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.0.running.fetch_sub(1, Ordering::Relaxed);
    }
}

/// An answer's body that notes how far it has got.
pub(super) struct Paced {
    bytes: Bytes,
    progress: Arc<Progress>,
}

impl Body for Paced {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        if self.bytes.is_empty() {
            return Poll::Ready(None);
        }
        self.progress.step();
        let piece = self.bytes.len().min(PIECE);
        Poll::Ready(Some(Ok(Frame::data(self.bytes.split_to(piece)))))
    }

    fn is_end_stream(&self) -> bool {
        self.bytes.is_empty()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.bytes.len() as u64)
    }
}

/// A connection that can be asked to end.
pub(super) trait Drain: Future<Output = hyper::Result<()>> {
    /// Asks it to finish what was asked of it, and to take no more.
    fn drain(self: Pin<&mut Self>);
}

impl<I, S> Drain for http1::Connection<TokioIo<I>, S>
where
    Self: Future<Output = hyper::Result<()>>,
    I: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    S: HttpService<Incoming, Error = Infallible, ResBody = Paced>,
{
    fn drain(self: Pin<&mut Self>) {
        self.graceful_shutdown();
    }
}

impl<I, S> Drain for http2::Connection<TokioIo<I>, S, TokioExecutor>
where
    Self: Future<Output = hyper::Result<()>>,
    I: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    S: HttpService<Incoming, Error = Infallible, ResBody = Paced>,
    TokioExecutor: Http2ServerConnExec<S::Future, Paced>,
{
    fn drain(self: Pin<&mut Self>) {
        self.graceful_shutdown();
    }
}

/// Runs a connection; one on which nothing moves, that is too old, or that is told to, is asked to end, and cut if it
/// does not. While no place is free, silence is not suffered for long.
pub(super) async fn supervise(
    connection: impl Drain,
    progress: &Progress,
    ending: &Ending,
    times: Times,
    places: &Semaphore,
) -> hyper::Result<()> {
    let mut connection = std::pin::pin!(connection);
    let patience = match first(connection.as_mut(), watch(progress, ending, times, places)).await {
        First::Main(result) => return result,
        First::Aside(patience) => patience,
    };
    connection.as_mut().drain();
    // Whoever says now has said soon before.
    tokio::select! {
        () = ending.now.cancelled() => Ok(()),
        ended = tokio::time::timeout(patience, connection) => ended.unwrap_or(Ok(())),
    }
}

/// Waits until a connection has to end; returns how long it may take for that.
async fn watch(progress: &Progress, ending: &Ending, times: Times, places: &Semaphore) -> Duration {
    let mut soon = std::pin::pin!(ending.soon.cancelled());
    let mut old = std::pin::pin!(tokio::time::sleep(times.life));
    let look = LOOK.min(times.idle);
    let (mut before, mut silent) = (None, Duration::ZERO);
    loop {
        tokio::select! {
            () = soon.as_mut() => return times.drain,
            () = old.as_mut() => return times.drain,
            () = tokio::time::sleep(look) => {
                let seen = progress.seen();
                silent = if seen.is_some() && seen == before { silent + look } else { Duration::ZERO };
                before = seen;
                // Whoever has said nothing for so long has nothing to finish.
                if silent >= times.idle || (!silent.is_zero() && places.available_permits() == 0) {
                    return look;
                }
            }
        }
    }
}
