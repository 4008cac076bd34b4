//! Which tokens there are, as the owner says.

use std::path::{Path, PathBuf};

use super::{TokenIdentity, TokenUri, TokenUriError};

/// A token that keys can be on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TokenConfig {
    name: String,
    module: PathBuf,
    selector: TokenSelector,
    pin_file: Option<PathBuf>,
}

/// What a token has to say of itself; what is none may be anything.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TokenSelector {
    /// Its label.
    pub label: Option<String>,
    /// Its serial number.
    pub serial: Option<String>,
    /// Who made it.
    pub manufacturer: Option<String>,
    /// Its model.
    pub model: Option<String>,
}

impl TokenConfig {
    /// Takes a token that a module leads to, under a name of the owner's choice.
    #[must_use]
    pub fn new(name: &str, module: PathBuf, selector: TokenSelector, pin_file: Option<PathBuf>) -> Self {
        Self { name: name.to_owned(), module, selector, pin_file }
    }

    /// Takes a token that a `pkcs11:` URI describes; without a name its label is its name. The module of the URI counts before
    /// the given one.
    ///
    /// # Errors
    /// The URI is malformed, holds a PIN, or nothing names the module.
    pub fn of_uri(name: Option<&str>, uri: &str, module: Option<&Path>) -> Result<Self, TokenUriError> {
        let TokenUri { selector, module: named, pin_file } = uri.parse()?;
        let module = named.or_else(|| module.map(Path::to_owned)).ok_or(TokenUriError::NoModule)?;
        let name = name.or(selector.label.as_deref()).unwrap_or("token").to_owned();
        Ok(Self { name, module, selector, pin_file })
    }

    /// Returns the owner's name for it.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Returns the PKCS#11 module, a shared library.
    #[must_use]
    pub fn module(&self) -> &Path {
        &self.module
    }

    /// Returns what the token has to say of itself.
    #[must_use]
    pub fn selector(&self) -> &TokenSelector {
        &self.selector
    }

    /// Returns the file whose first line is the PIN.
    #[must_use]
    pub fn pin_file(&self) -> Option<&Path> {
        self.pin_file.as_deref()
    }

    /// Tells whether this can be that token, as far as the settings say.
    #[cfg_attr(not(feature = "pkcs11"), expect(dead_code, reason = "only a token is asked"))]
    pub(super) fn may_be(&self, identity: &TokenIdentity) -> bool {
        let fits = |wanted: &Option<String>, found: &str| wanted.as_ref().is_none_or(|wanted| wanted == found);
        fits(&self.selector.label, &identity.label) && fits(&self.selector.serial, &identity.serial)
    }
}
