//! A registry inside the process: blobs and manifests in memory, plain HTTP on a loopback port.
//!
//! It speaks the OCI distribution specification 1.1 as far as pushing and pulling need it, checks what is pushed,
//! and can be told to misbehave. Everything it keeps is bounded.
#![warn(
    clippy::expect_used,
    clippy::panic,
    reason = "the demo uses this module: unlike the rest of the kit it has to stand its ground"
)]

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;

use crate::background::Background;

pub use faults::Fault;
pub use store::{Manifest, Refusal};

mod faults;
mod names;
mod routes;
mod store;
mod uploads;

/// The most requests remembered.
const REMEMBERED_REQUESTS: usize = 10_000;

/// A running registry; it ends when dropped.
#[derive(Debug)]
pub struct MemoryRegistry {
    address: SocketAddr,
    shared: Arc<Shared>,
    _background: Background,
}

#[derive(Debug, Default)]
struct Shared {
    store: Mutex<store::Store>,
    faults: Mutex<Vec<Fault>>,
    requests: Mutex<Vec<String>>,
}

impl MemoryRegistry {
    /// Starts an empty registry on a loopback port that the system chooses.
    ///
    /// # Errors
    ///
    /// When there is no port or no thread to be had.
    pub fn start() -> io::Result<Self> {
        let shared = Arc::<Shared>::default();
        let router = routes::router(Arc::clone(&shared));
        let (background, address) = Background::run(move || {
            let listener = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
            listener.set_nonblocking(true)?;
            let address = listener.local_addr()?;
            let listener = tokio::net::TcpListener::from_std(listener)?;
            let serving = async move {
                let _ = axum::serve(listener, router).await;
            };
            Ok((serving, address))
        })?;
        Ok(Self { address, shared, _background: background })
    }

    /// Host and port, as the first part of an image name: `127.0.0.1:PORT`.
    #[must_use]
    pub fn host(&self) -> String {
        self.address.to_string()
    }

    /// The base URL without a slash at its end.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// The digest a tag points to.
    #[must_use]
    pub fn tag(&self, repository: &str, tag: &str) -> Option<String> {
        self.shared.store().resolve(repository, tag).map(|(digest, _)| digest)
    }

    /// The manifest with this tag or digest, as it would be served.
    #[must_use]
    pub fn manifest(&self, repository: &str, reference: &str) -> Option<Manifest> {
        self.shared.store().resolve(repository, reference).map(|(_, manifest)| manifest)
    }

    /// The bytes of a blob, as they would be served.
    #[must_use]
    pub fn blob(&self, repository: &str, digest: &str) -> Option<Bytes> {
        self.shared.store().blob(repository, digest)
    }

    /// Puts an image under a tag without any client, and returns the manifest's digest.
    ///
    /// # Errors
    ///
    /// When the names are malformed or the registry is full.
    pub fn put_image(&self, repository: &str, tag: &str, image: &crate::Image) -> Result<String, Refusal> {
        let mut store = self.shared.store();
        store.put_blob(repository, image.config.clone())?;
        store.put_blob(repository, image.layer.clone())?;
        store.put_manifest(repository, tag, image.manifest())
    }

    /// Makes a tag point to another manifest of the repository, behind everybody's back.
    ///
    /// # Errors
    ///
    /// When there is no such manifest.
    pub fn repoint_tag(&self, repository: &str, tag: &str, digest: &str) -> Result<(), Refusal> {
        self.shared.store().repoint(repository, tag, digest)
    }

    /// Serves other bytes for a blob from now on, under its old digest.
    pub fn corrupt_blob(&self, digest: &str, bytes: impl Into<Bytes>) {
        self.shared.store().corrupt_blob(digest, bytes.into());
    }

    /// Serves other bytes for a manifest from now on, under its old digest.
    ///
    /// # Errors
    ///
    /// When there is no such manifest.
    pub fn corrupt_manifest(&self, repository: &str, digest: &str, bytes: impl Into<Bytes>) -> Result<(), Refusal> {
        self.shared.store().corrupt_manifest(repository, digest, bytes.into())
    }

    /// Makes coming requests go wrong.
    pub fn inject(&self, fault: Fault) {
        lock(&self.shared.faults).push(fault);
    }

    /// Serves everything right again.
    pub fn clear_faults(&self) {
        lock(&self.shared.faults).clear();
    }

    /// The first ten thousand requests since the last call, as `METHOD /path?query`, forgetting them.
    #[must_use]
    pub fn take_request_lines(&self) -> Vec<String> {
        std::mem::take(&mut *lock(&self.shared.requests))
    }
}

impl Shared {
    fn store(&self) -> MutexGuard<'_, store::Store> {
        lock(&self.store)
    }

    fn remember(&self, line: String) {
        let mut requests = lock(&self.requests);
        if requests.len() < REMEMBERED_REQUESTS {
            requests.push(line);
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
