//! Passwords that were right a moment ago: comparing them takes long, and a client asks often.

use std::time::Duration;

use countersign_crypto::digest::sha256;
use countersign_crypto::{Random, RandomError, SystemRandom};
use moka::sync::Cache;
use zeroize::Zeroizing;

/// How long a right password is remembered.
const WHILE: Duration = Duration::from_mins(5);
/// How many are.
const MOST: u64 = 10_000;

/// Remembers pairs of a hash and its password by a digest that nobody outside this process can compute.
pub(super) struct Remembered {
    key: Zeroizing<[u8; 32]>,
    known: Cache<[u8; 32], ()>,
}

/// What stands for a user, the user's hash and a password; after a change of the password it is another one.
#[derive(Debug, Clone, Copy)]
pub(super) struct Mark([u8; 32]);

impl Remembered {
    pub(super) fn new() -> Result<Self, RandomError> {
        let mut key = Zeroizing::new([0; 32]);
        SystemRandom.fill(key.as_mut())?;
        Ok(Self { key, known: Cache::builder().max_capacity(MOST).time_to_live(WHILE).build() })
    }

    pub(super) fn mark(&self, name: &str, hash: &str, password: &str) -> Mark {
        // Parts of one length each: none can be moved into another.
        let mut parts = Zeroizing::new(Vec::with_capacity(128));
        parts.extend_from_slice(self.key.as_ref());
        for part in [name, hash, password] {
            parts.extend_from_slice(sha256(part.as_bytes()).as_bytes());
        }
        Mark(*sha256(&parts).as_bytes())
    }

    pub(super) fn knows(&self, Mark(mark): Mark) -> bool {
        self.known.contains_key(&mark)
    }

    pub(super) fn remember(&self, Mark(mark): Mark) {
        self.known.insert(mark, ());
    }
}

impl std::fmt::Debug for Remembered {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Remembered")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_right_is_known_for_this_name_hash_and_password_only() {
        let remembered = Remembered::new().unwrap();
        remembered.remember(remembered.mark("alice", "hash", "password"));
        assert!(remembered.knows(remembered.mark("alice", "hash", "password")));
        for (name, hash, password) in [
            ("bob", "hash", "password"),
            ("alice", "new", "password"),
            ("alice", "hash", "Password"),
            ("alice", "hashp", "assword"),
        ] {
            assert!(!remembered.knows(remembered.mark(name, hash, password)), "{name} {hash} {password}");
        }
        assert!(!Remembered::new().unwrap().knows(remembered.mark("alice", "hash", "password")));
    }
}
