//! Requests about one collection.

use crate::address::ServiceAddress;
use crate::error::ServiceError;
use crate::multipart;
use bytes::Bytes;
use countersign_crypto::digest::sha256;
use countersign_crypto::{PublicKey, Random, SystemRandom};
use countersign_registry::auth::{Action, Scope, Session};
use countersign_registry::http::{HttpError, Patience, Request, Response};
use countersign_tuf::metadata::read_public_key;
use countersign_tuf::update::{Answer, Fetch, Which};
use countersign_tuf::{Gun, RoleName, Version};
use http::{HeaderValue, Method, StatusCode};
use std::collections::BTreeMap;

/// Most bytes of a public key answer.
const MAX_KEY: u64 = 256 << 10;
/// How long a metadata file may take: large collections come over slow lines, but never a minute without progress.
const METADATA: Patience = Patience::seconds(60, 60, 600);
/// How long a publication may take: the service validates the whole collection before it answers.
const PUBLICATION: Patience = Patience::seconds(180, 60, 900);

/// What a caller is going to do; decides which token is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// Reading.
    Read,
    /// Publishing.
    Write,
    /// Rotating the service's keys and deleting.
    Administer,
}

impl Access {
    fn actions(self) -> &'static [Action] {
        match self {
            Self::Read => &[Action::Pull],
            Self::Write => &[Action::Push, Action::Pull],
            Self::Administer => &[Action::All],
        }
    }
}

/// One collection at one trust service.
#[derive(Debug)]
pub struct TrustService {
    address: ServiceAddress,
    gun: Gun,
    session: Session,
    scope: Scope,
    reading: Patience,
    publishing: Patience,
}

impl TrustService {
    /// Prepares to speak for a collection; the session's HTTP client must be at home at the service.
    #[must_use]
    pub fn new(address: ServiceAddress, gun: Gun, session: Session, access: Access) -> Self {
        let scope = Scope::repository(gun.as_str(), access.actions());
        Self { address, gun, session, scope, reading: METADATA, publishing: PUBLICATION }
    }

    /// Waits as long as this for every answer, instead of ten minutes for a file and a quarter of an hour for a
    /// publication.
    #[must_use]
    pub fn with_patience(mut self, patience: Patience) -> Self {
        (self.reading, self.publishing) = (patience, patience);
        self
    }

    /// Returns the service's address.
    #[must_use]
    pub fn address(&self) -> &ServiceAddress {
        &self.address
    }

    /// Returns the collection.
    #[must_use]
    pub fn gun(&self) -> &Gun {
        &self.gun
    }

    /// Fetches a file that an update wants.
    pub async fn fetch(&self, wanted: Fetch<'_>) -> Answer {
        let role = wanted.role;
        let path = match wanted.which {
            Which::Current => format!("{role}.json"),
            Which::Version(version) => format!("{version}.{role}.json"),
            Which::Checksum(hash) => format!("{role}.{}.json", hash.hex()),
        };
        match self.get(&path, wanted.limit).await {
            Ok(Some(file)) => Answer::File(file),
            Ok(None) => Answer::Missing,
            Err(error) => Answer::Away(error.into_absence()),
        }
    }

    /// Asks whether anybody answers here at all, be it with a refusal or a failure.
    pub async fn answers(&self) -> bool {
        let url = self.address.of_collection(&self.gun, "timestamp.json");
        self.send(Request::get(url).patience(self.reading)).await.is_ok()
    }

    /// Asks whether whatever answers here speaks the protocol of trust services: also where it has nothing of the collection, it
    /// says so in that protocol's words (Notary protocol, errors), which a registry or another web server does not.
    ///
    /// # Errors
    /// There is no answer from which that could be told.
    pub async fn is_trust_service(&self) -> Result<bool, ServiceError> {
        let url = self.address.of_collection(&self.gun, "timestamp.json");
        let response = self.send(Request::get(url).patience(self.reading)).await?;
        match response.status() {
            StatusCode::OK => Ok(true),
            StatusCode::NOT_FOUND => match response.into_status_error().await {
                HttpError::Status(status) => Ok(status.has_code("METADATA_NOT_FOUND")),
                error => Err(error.into()),
            },
            _ => Err(self.explained(response.into_status_error().await.into())),
        }
    }

    /// Tells which access was asked for and not granted, as far as the last token says; none where nothing is known to be
    /// missing.
    #[must_use]
    pub fn shortfall(&self) -> Option<String> {
        let granted = self.session.grant(std::slice::from_ref(&self.scope))?;
        let (resource, asked) = self.scope.as_str().rsplit_once(':')?;
        let actions = granted.split(' ').filter_map(|entry| entry.rsplit_once(':'));
        let actions: Vec<&str> =
            actions.filter(|(name, _)| *name == resource).flat_map(|(_, list)| list.split(',')).collect();
        let has = |action: &str| actions.contains(&action) || actions.contains(&"*");
        (!asked.split(',').all(has)).then(|| format!("{} was asked for, {granted} was granted", self.scope))
    }

    async fn get(&self, path: &str, limit: u64) -> Result<Option<Bytes>, ServiceError> {
        let request = Request::get(self.address.of_collection(&self.gun, path)).patience(self.reading);
        let response = self.send(request).await?;
        match response.status() {
            StatusCode::OK => Ok(Some(response.bytes(limit).await?)),
            StatusCode::NOT_FOUND => Ok(None),
            // Nothing was uploaded that could be refused.
            status @ StatusCode::BAD_REQUEST => Err(ServiceError::Hostile(status.to_string())),
            _ => Err(self.explained(response.into_status_error().await.into())),
        }
    }

    /// Gets the public key that the service uses, or will use, for a role of this collection.
    ///
    /// # Errors
    /// The service does not give one that can be used.
    pub async fn key(&self, role: &RoleName) -> Result<PublicKey, ServiceError> {
        self.key_request(Method::GET, role).await
    }

    /// Has the service make a new key for a role; the key counts once a root lists it.
    ///
    /// # Errors
    /// The service does not give one that can be used.
    pub async fn rotate_key(&self, role: &RoleName) -> Result<PublicKey, ServiceError> {
        self.key_request(Method::POST, role).await
    }

    async fn key_request(&self, method: Method, role: &RoleName) -> Result<PublicKey, ServiceError> {
        let url = self.address.of_collection(&self.gun, &format!("{role}.key"));
        let response = self.send(Request::new(method, url).patience(self.reading)).await?;
        if response.status() != StatusCode::OK {
            return Err(self.refused(response).await);
        }
        let text = response.bytes(MAX_KEY).await?;
        read_public_key(&text).map_err(|error| ServiceError::Key { role: role.to_string(), error })
    }

    /// Publishes files: all of them are stored, or none.
    ///
    /// # Errors
    /// The service has not confirmed that they are stored; after a time-out they may be all the same.
    pub async fn publish(&self, parts: &BTreeMap<RoleName, Bytes>) -> Result<(), ServiceError> {
        let parts: Vec<(String, Bytes)> = parts.iter().map(|(role, part)| (role.to_string(), part.clone())).collect();
        self.upload(&parts).await
    }

    /// Hands over a collection that lived elsewhere: what its former service had, with versions, and what was signed for
    /// this one. All of it is stored, or nothing. Only Countersign's service takes such an upload; others refuse the names.
    ///
    /// # Errors
    /// As [`Self::publish`].
    pub async fn hand_over(
        &self,
        former: &BTreeMap<(RoleName, Version), Bytes>,
        parts: &BTreeMap<RoleName, Bytes>,
    ) -> Result<(), ServiceError> {
        let earlier = former.iter().map(|((role, version), part)| (format!("{version}.{role}"), part.clone()));
        let new = parts.iter().map(|(role, part)| (role.to_string(), part.clone()));
        self.upload(&earlier.chain(new).collect::<Vec<_>>()).await
    }

    async fn upload(&self, parts: &[(String, Bytes)]) -> Result<(), ServiceError> {
        let boundary = boundary(parts);
        let content_type = HeaderValue::from_str(&format!("multipart/form-data; boundary={boundary}"))
            .map_err(|error| ServiceError::Hostile(error.to_string()))?;
        let url = self.address.of_collection(&self.gun, "");
        let body = multipart::body(&boundary, parts);
        let request = Request::new(Method::POST, url).bytes(content_type, body).patience(self.publishing);
        self.confirm(request).await
    }

    /// Deletes everything that the service has of the collection.
    ///
    /// # Errors
    /// The service has not confirmed it.
    pub async fn delete(&self) -> Result<(), ServiceError> {
        let url = self.address.of_collection(&self.gun, "");
        self.confirm(Request::new(Method::DELETE, url).patience(self.publishing)).await
    }

    async fn confirm(&self, request: Request) -> Result<(), ServiceError> {
        let response = self.send(request).await?;
        if response.status() == StatusCode::OK { Ok(()) } else { Err(self.refused(response).await) }
    }

    async fn send(&self, request: Request) -> Result<Response, ServiceError> {
        let sent = self.session.send_without_redirects(request, std::slice::from_ref(&self.scope)).await;
        sent.map_err(|error| self.explained(error.into()))
    }

    async fn refused(&self, response: Response) -> ServiceError {
        if response.status() == StatusCode::NOT_FOUND {
            return ServiceError::NoTrustData {
                service: self.address.authority().to_owned(),
                gun: self.gun.to_string(),
            };
        }
        self.explained(response.into_status_error().await.into())
    }

    /// Adds to a refusal which access was asked for and what was granted.
    fn explained(&self, error: ServiceError) -> ServiceError {
        match (error, self.session.access(std::slice::from_ref(&self.scope))) {
            (ServiceError::Unauthorised(text), Some(access)) => ServiceError::Unauthorised(format!("{text}; {access}")),
            (error, _) => error,
        }
    }
}

/// Makes a boundary that does not occur in the parts: random, and where there is no randomness a hash of them.
fn boundary(parts: &[(String, Bytes)]) -> String {
    let mut bytes = [0; 30];
    if SystemRandom.fill(&mut bytes).is_ok() {
        return sha256(&bytes).hex();
    }
    let hashes: String = parts.iter().map(|(_, part)| sha256(part).hex()).collect();
    sha256(hashes.as_bytes()).hex()
}
