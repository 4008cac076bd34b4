//! Forgetting a collection, here and at the service.

use crate::client::CollectionClient;
use crate::error::TrustError;

impl CollectionClient<'_> {
    /// Deletes what this machine has of the collection: cached metadata, the trust anchor among it, and staged changes.
    /// Private keys stay, and so do collections whose names continue this one's.
    ///
    /// # Errors
    /// Something could not be removed.
    pub fn delete_local(&self) -> Result<(), TrustError> {
        self.local.lock()?.remove()?;
        Ok(())
    }

    /// Deletes everything that the service has of the collection. Whoever knows it goes on refusing another one under the
    /// name.
    ///
    /// # Errors
    /// The service has not confirmed it.
    pub async fn delete_remote(&self) -> Result<(), TrustError> {
        Ok(self.service.delete().await?)
    }
}
