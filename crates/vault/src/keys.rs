//! The store of private keys.
use crate::TrustDirectory;
/// The store.
#[derive(Debug, Clone)]
pub struct KeyStore {
    directory: TrustDirectory,
}
impl KeyStore {
    pub(crate) fn new(directory: TrustDirectory) -> Self {
        Self { directory }
    }
}
