//! Whether a request is still being sent.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use futures_util::StreamExt;
use http_body_util::{BodyExt, BodyStream, StreamBody};
use tokio::time::{Instant, sleep_until};

use super::Body;

/// When a request's body last moved.
#[derive(Debug)]
pub(super) struct Activity {
    start: Instant,
    /// Milliseconds after the start.
    last: AtomicU64,
}

impl Default for Activity {
    fn default() -> Self {
        Self { start: Instant::now(), last: AtomicU64::new(0) }
    }
}

impl Activity {
    /// Notes each piece of the body when it is taken.
    pub(super) fn watch(self: &Arc<Self>, body: Body) -> Body {
        if body.is_end_stream_now() {
            return body;
        }
        let activity = Arc::clone(self);
        let watched = BodyStream::new(body).inspect(move |_: &io::Result<_>| {
            let elapsed = u64::try_from(activity.start.elapsed().as_millis()).unwrap_or(u64::MAX);
            activity.last.store(elapsed, Ordering::Relaxed);
        });
        StreamBody::new(watched).boxed_unsync()
    }

    /// Ends when nothing has moved for so long.
    pub(super) async fn silence(&self, limit: Duration) {
        loop {
            let last = self.start + Duration::from_millis(self.last.load(Ordering::Relaxed));
            let end = last + limit;
            if Instant::now() >= end {
                return;
            }
            sleep_until(end).await;
        }
    }
}

/// Telling a body of no bytes, whose length can be announced, from one that is streamed.
trait IsEmpty {
    fn is_end_stream_now(&self) -> bool;
}

impl IsEmpty for Body {
    fn is_end_stream_now(&self) -> bool {
        hyper::body::Body::is_end_stream(self)
    }
}
