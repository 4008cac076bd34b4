//! A stored file with the headers that go with it, made once.

use std::ops::Deref;
use std::sync::Arc;

use bytes::Bytes;
use countersign_storage::Stored;
use http::HeaderValue;
use tokio::sync::OwnedSemaphorePermit;

use crate::answer;
use crate::coding::Coding;

/// A stored file, ready to be answered with.
#[derive(Debug)]
pub(crate) struct Content {
    stored: Stored,
    last_modified: HeaderValue,
    /// Of the plain file and of each compressed form, in the order of [`Coding::ALL`].
    tags: [HeaderValue; 3],
    /// Its part of the memory for files on their way to readers; small ones take none.
    room: Option<OwnedSemaphorePermit>,
}

/// A body that keeps its file in memory as one that is being sent.
struct OnItsWay(Arc<Content>);

impl AsRef<[u8]> for OnItsWay {
    fn as_ref(&self) -> &[u8] {
        &self.0.bytes
    }
}

impl Content {
    pub(crate) fn new(stored: Stored) -> Self {
        let hex = stored.sha256.hex();
        let [zstd, gzip] = Coding::ALL.map(|coding| format!("\"{hex}.{}\"", coding.name()));
        let tags = [format!("\"{hex}\""), zstd, gzip].map(|tag| value(&tag));
        Self { last_modified: value(&answer::http_date(stored.stored_at)), tags, stored, room: None }
    }

    /// A file that takes part of a bounded memory until it is neither kept nor on its way to any reader.
    pub(crate) fn in_room(stored: Stored, room: OwnedSemaphorePermit) -> Self {
        Self { room: Some(room), ..Self::new(stored) }
    }

    /// Tells whether it takes part of that memory.
    pub(crate) fn has_room(&self) -> bool {
        self.room.is_some()
    }

    /// Returns the bytes to send.
    pub(crate) fn body(self: &Arc<Self>) -> Bytes {
        if self.has_room() { Bytes::from_owner(OnItsWay(Arc::clone(self))) } else { self.bytes.clone() }
    }

    pub(crate) fn stored(&self) -> &Stored {
        &self.stored
    }

    pub(crate) fn last_modified(&self) -> &HeaderValue {
        &self.last_modified
    }

    /// Returns the strong entity tag of the file in this coding, or of the plain one.
    pub(crate) fn tag(&self, coding: Option<Coding>) -> &HeaderValue {
        let [plain, zstd, gzip] = &self.tags;
        match coding {
            None => plain,
            Some(Coding::Zstd) => zstd,
            Some(Coding::Gzip) => gzip,
        }
    }
}

impl Deref for Content {
    type Target = Stored;

    fn deref(&self) -> &Stored {
        &self.stored
    }
}

/// Hexadecimal digits and dates are fit for a header.
fn value(text: &str) -> HeaderValue {
    HeaderValue::from_str(text).unwrap_or(HeaderValue::from_static(""))
}
