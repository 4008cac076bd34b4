//! Uploads under way.

use std::collections::BTreeMap;

use bytes::{Bytes, BytesMut};

use super::store::{Refusal, TOTAL_LIMIT};

/// The most uploads at a time; the oldest is forgotten for a new one.
const UPLOAD_LIMIT: usize = 256;

/// Uploads by number.
#[derive(Debug, Default)]
pub(super) struct Uploads {
    next: u64,
    running: BTreeMap<u64, Upload>,
}

#[derive(Debug)]
struct Upload {
    repository: String,
    received: BytesMut,
}

impl Uploads {
    /// Starts an upload and returns its id.
    pub(super) fn start(&mut self, repository: &str) -> String {
        if self.running.len() >= UPLOAD_LIMIT {
            self.running.pop_first();
        }
        self.next += 1;
        self.running.insert(self.next, Upload { repository: repository.to_owned(), received: BytesMut::new() });
        self.next.to_string()
    }

    /// How many bytes an upload has so far.
    pub(super) fn received(&self, repository: &str, id: &str) -> Result<usize, Refusal> {
        let upload = id.parse().ok().and_then(|id: u64| self.running.get(&id));
        let upload = upload.filter(|upload| upload.repository == repository);
        upload.map(|upload| upload.received.len()).ok_or_else(|| Refusal::UnknownUpload(id.to_owned()))
    }

    /// Adds bytes, which have to start at `offset` if one is given; returns the new length.
    pub(super) fn add(
        &mut self,
        repository: &str,
        id: &str,
        offset: Option<usize>,
        bytes: &[u8],
    ) -> Result<usize, Refusal> {
        let expected = self.received(repository, id)?;
        let held: usize = self.running.values().map(|upload| upload.received.len()).sum();
        if held.saturating_add(bytes.len()) > TOTAL_LIMIT {
            return Err(Refusal::Full);
        }
        if let Some(offered) = offset.filter(|offered| *offered != expected) {
            return Err(Refusal::Range { expected, offered });
        }
        let upload = id.parse().ok().and_then(|id: u64| self.running.get_mut(&id));
        let upload = upload.ok_or_else(|| Refusal::UnknownUpload(id.to_owned()))?;
        upload.received.extend_from_slice(bytes);
        Ok(upload.received.len())
    }

    /// Ends an upload and returns what it has.
    pub(super) fn finish(&mut self, repository: &str, id: &str) -> Result<Bytes, Refusal> {
        self.received(repository, id)?;
        let upload = id.parse().ok().and_then(|id: u64| self.running.remove(&id));
        upload.map(|upload| upload.received.freeze()).ok_or_else(|| Refusal::UnknownUpload(id.to_owned()))
    }
}
