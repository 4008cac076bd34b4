//! A stored file with the headers that go with it, made once.

use std::ops::Deref;

use countersign_storage::Stored;
use http::HeaderValue;

use crate::answer;
use crate::coding::Coding;

/// A stored file, ready to be answered with.
#[derive(Debug)]
pub(crate) struct Content {
    stored: Stored,
    last_modified: HeaderValue,
    /// Of the plain file and of each compressed form, in the order of [`Coding::ALL`].
    tags: [HeaderValue; 3],
}

impl Content {
    pub(crate) fn new(stored: Stored) -> Self {
        let hex = stored.sha256.hex();
        let [zstd, gzip] = Coding::ALL.map(|coding| format!("\"{hex}.{}\"", coding.name()));
        let tags = [format!("\"{hex}\""), zstd, gzip].map(|tag| value(&tag));
        Self { last_modified: value(&answer::http_date(stored.stored_at)), tags, stored }
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
