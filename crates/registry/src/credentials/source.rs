//! Credentials that are asked for when a service wants them, and not before.

use std::sync::Arc;

use countersign_image::RegistryHost;
use tokio::sync::OnceCell;

use super::{Credential, CredentialStore};

/// Where a session gets its credential: known from the start, or looked up once, when a service first asks for one.
///
/// Most collections are public: no helper is started for them. Clones share what was found.
#[derive(Debug, Clone)]
pub struct CredentialSource(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    place: Option<(Arc<CredentialStore>, RegistryHost)>,
    found: OnceCell<Found>,
}

/// What a look-up found.
#[derive(Debug)]
pub(crate) struct Found {
    pub(crate) credential: Credential,
    /// Why there is no credential although one may be configured, fit for a message.
    pub(crate) failure: Option<String>,
}

impl CredentialSource {
    /// Looks the registry's credential up in this store when it is wanted. If the store gives no answer the caller is
    /// anonymous, as with docker, and a refusal says why.
    #[must_use]
    pub fn of_registry(store: Arc<CredentialStore>, registry: RegistryHost) -> Self {
        Self(Arc::new(Inner { place: Some((store, registry)), found: OnceCell::new() }))
    }

    pub(crate) async fn find(&self) -> &Found {
        let look = async || {
            let Some((store, registry)) = &self.0.place else { return Found::from(Credential::Anonymous) };
            match store.find(registry).await {
                Ok(credential) => credential.into(),
                Err(error) => Found {
                    credential: Credential::Anonymous,
                    failure: Some(format!("cannot get the credentials for {registry}: {error}")),
                },
            }
        };
        self.0.found.get_or_init(look).await
    }
}

impl From<Credential> for CredentialSource {
    fn from(credential: Credential) -> Self {
        Self(Arc::new(Inner { place: None, found: OnceCell::new_with(Some(credential.into())) }))
    }
}

impl From<Credential> for Found {
    fn from(credential: Credential) -> Self {
        Self { credential, failure: None }
    }
}
