//! Whose name to use: docker's `config.json`, credential helpers, the environment.

mod config_file;
mod helper;
mod lookup;
mod source;

use secrecy::SecretString;

pub use config_file::{ConfigError, DockerConfig, MAX_CONFIG_BYTES};
pub use helper::{HELPER_PATIENCE, HelperError, MAX_HELPER_OUTPUT};
pub use lookup::{CredentialError, CredentialStore};
pub use source::CredentialSource;

/// What to say to a registry or token server about oneself.
#[derive(Clone, Default)]
pub enum Credential {
    /// Nothing.
    #[default]
    Anonymous,
    /// A user name and a password.
    Password {
        /// The user name.
        username: String,
        /// The password.
        password: SecretString,
    },
    /// A token that is exchanged for others at the token server; docker calls it identity token.
    IdentityToken(SecretString),
}

impl Credential {
    /// Takes a user name and a password; if either is empty there is no credential.
    #[must_use]
    pub fn password(username: &str, password: SecretString) -> Self {
        use secrecy::ExposeSecret as _;
        if username.is_empty() || password.expose_secret().is_empty() {
            return Self::Anonymous;
        }
        Self::Password { username: username.to_owned(), password }
    }

    /// Tells whether there is nothing to say.
    #[must_use]
    pub fn is_anonymous(&self) -> bool {
        matches!(self, Self::Anonymous)
    }
}

impl std::fmt::Debug for Credential {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Anonymous => f.write_str("Anonymous"),
            Self::Password { username, .. } => {
                f.debug_struct("Password").field("username", username).finish_non_exhaustive()
            }
            Self::IdentityToken(_) => f.write_str("IdentityToken(…)"),
        }
    }
}
