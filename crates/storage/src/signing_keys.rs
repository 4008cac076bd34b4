//! The keys of a signing service that is apart from the trust service: found by id alone, sealed under named passphrases.

use std::fmt;

use async_trait::async_trait;
use countersign_crypto::{KeyId, KeyType};
use countersign_tuf::Gun;
use jiff::Timestamp;

use crate::{EncryptedKey, NewServiceKey, PageSize, PendingKeyError, PendingLimits, ServiceRole, StoreError};

/// What keys are kept under: the name of a passphrase, or `pkcs11:` and the name of a token.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Alias(Box<str>);

/// Says that a name is no alias (caller).
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "{0:?} is no alias: 1 to {MAX_ALIAS} letters, digits, dots, hyphens and underscores are wanted, first a letter or digit; \
     or pkcs11: and the name of a token"
)]
pub struct AliasError(pub String);

/// The longest alias, in bytes: that of the reference's column.
pub const MAX_ALIAS: usize = 50;
/// Stands before the names of tokens.
const TOKEN: &str = "pkcs11:";

impl Alias {
    /// Reads an alias; it can be part of a file's name and, with a little change, of a variable's.
    ///
    /// # Errors
    /// It is empty, too long, or has other characters.
    pub fn parse(text: &str) -> Result<Self, AliasError> {
        let name = text.strip_prefix(TOKEN).unwrap_or(text);
        let first = name.bytes().next().is_some_and(|byte| byte.is_ascii_alphanumeric());
        let rest = name.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_'));
        if first && rest && text.len() <= MAX_ALIAS {
            Ok(Self(text.into()))
        } else {
            Err(AliasError(text.chars().take(80).collect()))
        }
    }

    /// Returns the name of the token that keys under this alias are on; none when they are encrypted under a passphrase.
    #[must_use]
    pub fn token(&self) -> Option<&str> {
        self.0.strip_prefix(TOKEN)
    }

    /// Returns the name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Alias {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A private key at rest, and the name of the passphrase that opens it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sealed {
    /// The passphrase's name.
    pub alias: Alias,
    /// The private key, encrypted.
    pub private: EncryptedKey,
}

/// What ties a private key to its row: a code over the row's id, collection, role and algorithm under a key that only the
/// private key gives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Binding(pub [u8; 32]);

/// A key to be stored; the private part of [`NewServiceKey`] is sealed under the alias.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewSigningKey {
    /// Id, collection, role, algorithm, public and private part.
    pub key: NewServiceKey,
    /// The name of the passphrase that the private part is encrypted under.
    pub alias: Alias,
    /// What ties the private part to all else; none where the store has no place for it, which is the reference's.
    pub binding: Option<Binding>,
}

/// A stored key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SigningKey {
    /// What was stored.
    pub stored: NewSigningKey,
    /// When it was stored.
    pub created_at: Timestamp,
    /// When it last signed; none: never, the key is pending.
    pub last_used: Option<Timestamp>,
}

impl SigningKey {
    /// Returns the private part as it is at rest.
    #[must_use]
    pub fn sealed(&self) -> Sealed {
        Sealed { alias: self.stored.alias.clone(), private: self.stored.key.private.clone() }
    }
}

/// Says whether a key was sealed anew.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Resealed {
    /// It was.
    Yes,
    /// Somebody else has changed the row since it was read; nothing was stored.
    ChangedSince,
}

/// Says what became of a key that was made elsewhere.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Taken {
    /// It is stored.
    Stored,
    /// A key with its id was there, deleted or not.
    Known,
    /// It has not signed yet, and another key waits for its collection and role.
    AnotherWaits,
}

/// Stores a signing service's keys.
///
/// What every implementation promises (Notary protocol, signer database):
/// - There is at most one pending key per collection, role and algorithm, however many ask at once.
/// - A key that has signed is never handed out anew, and never removed to make room.
/// - A deleted key is found no more, and its row stays: its id is never given away again.
/// - Sealing anew changes the private part and its alias together, or neither.
#[async_trait]
pub trait SigningKeyStore: Send + Sync {
    /// Returns a key that was not deleted.
    ///
    /// # Errors
    /// Fails when the database does.
    async fn signing_key(&self, id: &KeyId) -> Result<Option<SigningKey>, StoreError>;

    /// Returns the pending key of a collection, role and algorithm.
    ///
    /// # Errors
    /// Fails when the database does.
    async fn pending(
        &self,
        gun: &Gun,
        role: ServiceRole,
        algorithm: &KeyType,
    ) -> Result<Option<SigningKey>, StoreError>;

    /// Stores a pending key, or returns the one that is already there for the same collection, role and algorithm.
    ///
    /// # Errors
    /// Refuses when the limit is reached and no pending key may give way, or when the database fails. A collection with a
    /// key that has signed gets its key also above the limit.
    async fn insert(
        &self,
        new: NewSigningKey,
        limits: PendingLimits,
        now: Timestamp,
    ) -> Result<SigningKey, PendingKeyError>;

    /// Records that a key has signed: it is no longer pending. Tells whether there is such a key that was not deleted.
    ///
    /// # Errors
    /// Fails when the database does.
    async fn mark_used(&self, id: &KeyId, now: Timestamp) -> Result<bool, StoreError>;

    /// Deletes a key; tells whether there was one.
    ///
    /// # Errors
    /// Fails when the database does.
    async fn delete(&self, id: &KeyId, now: Timestamp) -> Result<Option<SigningKey>, StoreError>;

    /// Returns a few keys, not deleted ones, for each alias that has any, those of an alias together: enough to check that all
    /// passphrases are at hand. Where others write to the database too, keys that cannot be read are left out.
    ///
    /// # Errors
    /// Fails when the database does.
    async fn some_of_each_alias(&self) -> Result<Vec<SigningKey>, StoreError>;

    /// Returns keys, deleted ones too, that are sealed under another alias than this, in the order of their ids.
    ///
    /// # Errors
    /// Fails when the database does.
    async fn sealed_otherwise(
        &self,
        alias: &Alias,
        after: Option<&KeyId>,
        size: PageSize,
    ) -> Result<Vec<SigningKey>, StoreError>;

    /// Replaces the private part of a key, if it still is the one that was read.
    ///
    /// # Errors
    /// Fails when the database does.
    async fn reseal(&self, id: &KeyId, from: &Sealed, to: &Sealed) -> Result<Resealed, StoreError>;

    /// Checks that keys can be read and written.
    ///
    /// # Errors
    /// Fails when the database does.
    async fn health(&self) -> Result<(), StoreError>;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_alias_is_a_plain_name() {
        for good in ["a", "2026-11", "Prod_1.b", "pkcs11", "pkcs11:hsm", &"x".repeat(MAX_ALIAS)] {
            assert_eq!(Alias::parse(good).unwrap().as_str(), good);
        }
        assert_eq!(Alias::parse("pkcs11:hsm").unwrap().token(), Some("hsm"));
        assert_eq!(Alias::parse("pkcs11").unwrap().token(), None);
        for bad in [
            "",
            "pkcs11:",
            "pkcs11:a:b",
            "pkcs11:../a",
            "other:a",
            ".",
            "..",
            "-x",
            "_x",
            "a/b",
            "a b",
            "ä",
            "a\0",
            &"x".repeat(MAX_ALIAS + 1),
        ] {
            assert!(Alias::parse(bad).is_err(), "{bad:?}");
        }
    }
}
