//! Clients and contents for the tests.

use std::collections::HashMap;
use std::io::{Cursor, Read};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use countersign_image::{
    ContentError, Descriptor, Digest, HasContent, ImageManifest, ImageSink, ImageSource, MediaType, RegistryHost,
    Repository,
};
use countersign_registry::credentials::Credential;
use countersign_registry::distribution::{BlobContent, RegistryClient, RegistryError, RegistryOptions, RetryPolicy};
use countersign_registry::http::{HttpClient, HttpOptions, Origin, Patience, Request, TlsOptions};
use countersign_registry::{Progress, Step};
use url::Url;

pub(crate) fn url(text: &str) -> Url {
    Url::parse(text).unwrap()
}

pub(crate) fn client_for(text: &str) -> HttpClient {
    HttpClient::new(HttpOptions::new(Origin::of(&url(text)).unwrap()))
}

pub(crate) fn client_trusting(text: &str, tls: TlsOptions) -> HttpClient {
    let mut options = HttpOptions::new(Origin::of(&url(text)).unwrap());
    options.tls = tls;
    HttpClient::new(options)
}

pub(crate) fn get(text: &str) -> Request {
    Request::get(url(text)).patience(QUICK)
}

/// Patience for servers that never answer.
pub(crate) const QUICK: Patience = Patience {
    answer: Duration::from_millis(500),
    idle: Duration::from_millis(500),
    total: Duration::from_secs(5),
    trickle: Duration::from_secs(5),
};

pub(crate) const QUICK_RETRIES: RetryPolicy =
    RetryPolicy { attempts: 4, first_pause: Duration::from_millis(5), longest_pause: Duration::from_millis(50) };

pub(crate) fn options(host: &str) -> RegistryOptions {
    let mut options = RegistryOptions::new(RegistryHost::parse(host).unwrap());
    options.retries = QUICK_RETRIES;
    options
}

pub(crate) async fn connect(host: &str) -> RegistryClient {
    RegistryClient::connect(options(host)).await.unwrap()
}

pub(crate) async fn connect_as(host: &str, credential: Credential) -> Result<RegistryClient, RegistryError> {
    RegistryClient::connect(RegistryOptions { credential: credential.into(), ..options(host) }).await
}

pub(crate) fn password(name: &str, password: &str) -> Credential {
    Credential::password(name, password.into())
}

pub(crate) fn repository(host: &str, path: &str) -> Repository {
    Repository::parse(&format!("{host}/{path}")).unwrap()
}

/// Bytes that no compression shortens and that differ with the seed.
pub(crate) fn junk(seed: u64, length: usize) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
    let mut bytes = Vec::with_capacity(length + 8);
    while bytes.len() < length {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        bytes.extend_from_slice(&state.to_le_bytes());
    }
    bytes.truncate(length);
    bytes
}

pub(crate) fn layer(bytes: &[u8]) -> Descriptor {
    Descriptor::of(MediaType::OCI_LAYER_GZIP, bytes)
}

pub(crate) fn content(bytes: Vec<u8>) -> Arc<dyn BlobContent> {
    let bytes: Arc<[u8]> = bytes.into();
    Arc::new(move || Ok(Box::new(Cursor::new(Arc::clone(&bytes))) as Box<dyn Read + Send>))
}

/// Images in memory, as source and as sink.
#[derive(Default)]
pub(crate) struct Memory(pub(crate) Mutex<HashMap<Digest, Vec<u8>>>);

impl Memory {
    pub(crate) fn put(&self, media_type: MediaType, bytes: Vec<u8>) -> Descriptor {
        let descriptor = Descriptor::of(media_type, &bytes);
        self.0.lock().unwrap().insert(descriptor.digest.clone(), bytes);
        descriptor
    }

    pub(crate) fn image(&self, seed: u64, layers: &[usize]) -> Descriptor {
        let config = self.put(
            MediaType::OCI_CONFIG,
            format!(r#"{{"architecture":"amd64","os":"linux","seed":{seed}}}"#).into_bytes(),
        );
        let layers = layers
            .iter()
            .zip(0..)
            .map(|(length, n)| self.put(MediaType::OCI_LAYER_GZIP, junk(seed + n, *length)))
            .collect();
        let manifest = ImageManifest::new(MediaType::OCI_MANIFEST, config, layers).to_bytes().unwrap();
        self.put(MediaType::OCI_MANIFEST, manifest)
    }

    pub(crate) fn get(&self, digest: &Digest) -> Option<Vec<u8>> {
        self.0.lock().unwrap().get(digest).cloned()
    }
}

impl ImageSource for Memory {
    fn document(&self, descriptor: &Descriptor) -> Result<Vec<u8>, ContentError> {
        self.get(&descriptor.digest).ok_or_else(|| ContentError::Missing(descriptor.digest.clone()))
    }

    fn blob(&self, descriptor: &Descriptor) -> Result<Box<dyn Read + Send>, ContentError> {
        Ok(Box::new(Cursor::new(self.document(descriptor)?)))
    }
}

impl ImageSink for Memory {
    fn has(&self, descriptor: &Descriptor) -> Result<HasContent, ContentError> {
        Ok(if self.get(&descriptor.digest).is_some() { HasContent::Present } else { HasContent::Absent })
    }

    fn put_document(&self, descriptor: &Descriptor, bytes: &[u8]) -> Result<(), ContentError> {
        self.put_blob(descriptor, &mut Cursor::new(bytes))
    }

    fn put_blob(&self, descriptor: &Descriptor, content: &mut dyn Read) -> Result<(), ContentError> {
        let mut bytes = Vec::new();
        content.read_to_end(&mut bytes)?;
        descriptor.digest.verify(&bytes)?;
        self.0.lock().unwrap().insert(descriptor.digest.clone(), bytes);
        Ok(())
    }
}

/// Keeps what was reported.
#[derive(Default)]
pub(crate) struct Notes(pub(crate) Mutex<Vec<(Digest, String)>>);

impl Progress for Notes {
    fn report(&self, digest: &Digest, step: Step<'_>) {
        self.0.lock().unwrap().push((digest.clone(), format!("{step:?}")));
    }
}

impl Notes {
    pub(crate) fn of(&self, digest: &Digest) -> Vec<String> {
        self.0.lock().unwrap().iter().filter(|(of, _)| of == digest).map(|(_, text)| text.clone()).collect()
    }
}
