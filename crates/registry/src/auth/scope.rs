//! What a token is to allow.

use std::fmt;

/// Something that may be done with a repository.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Action {
    /// Read.
    Pull,
    /// Write.
    Push,
    /// Everything, also deleting and rotating keys; written `*`.
    All,
}

/// The scope of a token in the token protocol's spelling, for example `repository:library/alpine:pull`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Scope(Box<str>);

impl Action {
    /// Returns the action as written in a scope.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Pull => "pull",
            Self::Push => "push",
            Self::All => "*",
        }
    }
}

impl Scope {
    /// Asks for actions on a repository, in the order given.
    ///
    /// `name` is the path on the registry for a registry, and the whole collection name for a trust service.
    #[must_use]
    pub fn repository(name: &str, actions: &[Action]) -> Self {
        let actions: Vec<&str> = actions.iter().map(|action| action.as_str()).collect();
        Self(format!("repository:{name}:{}", actions.join(",")).into())
    }

    /// Returns the scope as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}
