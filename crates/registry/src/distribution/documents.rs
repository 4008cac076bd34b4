//! Manifests and indexes: fetched and hashed here, stored and compared with what the registry says.

use bytes::Bytes;
use countersign_image::{Descriptor, Digest, Document, MAX_DOCUMENT_BYTES, MediaType, Repository, Tag};
use http::header::{ACCEPT, CONTENT_LENGTH, CONTENT_TYPE, HeaderName, HeaderValue};
use http::{Method, StatusCode};

use super::connect::{RegistryClient, pull, push};
use super::error::RegistryError;
use crate::foreign_text;
use crate::http::{HttpError, Request, Response};

/// Where registries say which digest they computed. A claim, compared where it should agree and never believed.
pub(super) const CONTENT_DIGEST: HeaderName = HeaderName::from_static("docker-content-digest");

/// What a manifest or index is asked for by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DocumentName<'a> {
    /// A tag, which the registry may point anywhere.
    Tag(&'a Tag),
    /// A digest, which the bytes are checked against.
    Digest(&'a Digest),
}

/// A manifest or index whose bytes have the digest in its descriptor.
#[derive(Debug, Clone)]
pub struct FetchedDocument {
    /// The bytes as served.
    pub bytes: Bytes,
    /// Digest and size computed from the bytes.
    pub descriptor: Descriptor,
    /// The bytes, understood.
    pub document: Document,
}

/// What a registry says about a document without sending it. Nothing of it has been checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClaimedDocument {
    /// The digest the registry says.
    pub digest: Option<Digest>,
    /// The size the registry says, in bytes.
    pub size: Option<u64>,
}

/// A document that the registry stored: digest and size were computed here, and the registry agrees.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredDocument {
    /// The digest.
    pub digest: Digest,
    /// The size in bytes.
    pub size: u64,
}

impl std::fmt::Display for DocumentName<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Tag(tag) => tag.fmt(f),
            Self::Digest(digest) => digest.fmt(f),
        }
    }
}

impl RegistryClient {
    /// Fetches a manifest or index and hashes it.
    ///
    /// # Errors
    /// Fails if it is not there, has another digest than asked for, is too large, or can be read in two ways.
    pub async fn document(
        &self,
        repository: &Repository,
        name: DocumentName<'_>,
    ) -> Result<FetchedDocument, RegistryError> {
        self.retries.run(async || self.document_once(repository, name, None).await).await
    }

    /// Fetches the document that a descriptor names; digest, size and kind have to fit.
    ///
    /// # Errors
    /// As [`Self::document`]; also if the size or the kind differs.
    pub async fn described_document(
        &self,
        repository: &Repository,
        descriptor: &Descriptor,
    ) -> Result<FetchedDocument, RegistryError> {
        let name = DocumentName::Digest(&descriptor.digest);
        self.retries.run(async || self.document_once(repository, name, Some(descriptor)).await).await
    }

    async fn document_once(
        &self,
        repository: &Repository,
        name: DocumentName<'_>,
        wanted: Option<&Descriptor>,
    ) -> Result<FetchedDocument, RegistryError> {
        let response = self.ask_document(Method::GET, repository, name).await?;
        let Some(response) = found(response).await? else { return Err(missing(repository, name)) };
        let announced = media_type(&response)?;
        let bytes = response.bytes(MAX_DOCUMENT_BYTES as u64).await?;
        let digest = match name {
            DocumentName::Digest(digest) => {
                digest.verify(&bytes)?;
                digest.clone()
            }
            DocumentName::Tag(_) => Digest::of(&bytes),
        };
        if let Some(wanted) = wanted
            && wanted.size != bytes.len() as u64
        {
            return Err(RegistryError::Size { digest, wanted: wanted.size, found: bytes.len() as u64 });
        }
        let document = Document::parse(&bytes, announced.as_ref())?;
        if let Some(wanted) = wanted {
            // The index that listed the document has said what it is; that must hold whatever the server says.
            Document::parse(&bytes, Some(&wanted.media_type))?;
        }
        let descriptor = Descriptor::new(document.media_type().clone(), digest, bytes.len() as u64);
        Ok(FetchedDocument { bytes, descriptor, document })
    }

    /// Asks whether a document is there and what the registry says about it.
    ///
    /// # Errors
    /// Fails if the registry does not answer or forbids the question.
    pub async fn document_claim(
        &self,
        repository: &Repository,
        name: DocumentName<'_>,
    ) -> Result<Option<ClaimedDocument>, RegistryError> {
        self.retries
            .run(async || {
                let response = self.ask_document(Method::HEAD, repository, name).await?;
                let Some(response) = found(response).await? else { return Ok(None) };
                let digest = response.header(&CONTENT_DIGEST).and_then(|text| Digest::parse(text).ok());
                let size = response.header(&CONTENT_LENGTH).and_then(|text| text.parse().ok());
                Ok(Some(ClaimedDocument { digest, size }))
            })
            .await
    }

    /// Stores a manifest or index under a tag or its digest and makes sure that the registry stored these very bytes.
    ///
    /// If the registry does not say which digest it stored, the document is fetched again and hashed.
    ///
    /// # Errors
    /// Fails if the bytes are no acceptable document, if the digest asked for is not theirs, if the registry refuses, or
    /// if it stored something else.
    pub async fn put_document(
        &self,
        repository: &Repository,
        name: DocumentName<'_>,
        bytes: &Bytes,
    ) -> Result<StoredDocument, RegistryError> {
        let document = Document::parse(bytes, None)?;
        let sent = match name {
            DocumentName::Digest(digest) => {
                digest.verify(bytes)?;
                digest.clone()
            }
            DocumentName::Tag(_) => Digest::of(bytes),
        };
        let content_type = HeaderValue::from_str(document.media_type().as_str())
            .map_err(|_| RegistryError::NotFound(document.media_type().to_string()))?;
        let claimed = self
            .retries
            .run(async || {
                let address = self.address(repository, &format!("manifests/{name}"))?;
                let request = Request::new(Method::PUT, address).bytes(content_type.clone(), bytes.clone());
                let response = self.send(request, &[push(repository)]).await?.success().await?;
                Ok(response.headers().get(CONTENT_DIGEST).map(|value| foreign_text(value.as_bytes(), 200)))
            })
            .await?;
        match claimed {
            Some(claimed) if claimed != sent.to_string() && same_algorithm(&claimed, &sent) => {
                return Err(RegistryError::Disagreement { sent, claimed });
            }
            Some(claimed) if claimed == sent.to_string() => {}
            _ => {
                let stored = self.document(repository, name).await?;
                if stored.bytes != *bytes {
                    return Err(RegistryError::Disagreement { sent, claimed: stored.descriptor.digest.to_string() });
                }
            }
        }
        Ok(StoredDocument { digest: sent, size: bytes.len() as u64 })
    }

    async fn ask_document(
        &self,
        method: Method,
        repository: &Repository,
        name: DocumentName<'_>,
    ) -> Result<Response, RegistryError> {
        let address = self.address(repository, &format!("manifests/{name}"))?;
        let accept = HeaderValue::from_str(&MediaType::accept_documents()).unwrap_or(HeaderValue::from_static("*/*"));
        self.send(Request::new(method, address).header(ACCEPT, accept), &[pull(repository)]).await
    }
}

/// Tells whether a registry's claim can be compared: a registry may well name the same bytes by another algorithm.
fn same_algorithm(claimed: &str, sent: &Digest) -> bool {
    Digest::parse(claimed).map_or(true, |claimed| claimed.algorithm() == sent.algorithm())
}

/// Passes successes through, turns 404 into nothing and the rest into errors.
pub(super) async fn found(response: Response) -> Result<Option<Response>, RegistryError> {
    match response.status() {
        StatusCode::OK => Ok(Some(response)),
        StatusCode::NOT_FOUND => Ok(None),
        status if status.is_success() || status.is_redirection() => {
            Err(HttpError::protocol(response.url(), format!("{status} is no answer to this")).into())
        }
        _ => Err(response.into_status_error().await.into()),
    }
}

fn missing(repository: &Repository, name: DocumentName<'_>) -> RegistryError {
    let separator = if matches!(name, DocumentName::Tag(_)) { ':' } else { '@' };
    RegistryError::NotFound(format!("{repository}{separator}{name}"))
}

fn media_type(response: &Response) -> Result<Option<MediaType>, RegistryError> {
    let Some(text) = response.headers().get(CONTENT_TYPE) else { return Ok(None) };
    let parsed = text.to_str().ok().and_then(|text| MediaType::parse(text).ok());
    parsed.map(Some).ok_or_else(|| HttpError::protocol(response.url(), "the content type is malformed").into())
}
