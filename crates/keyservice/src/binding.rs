//! What ties a private key to its row: whoever can write to the database can neither give a key another collection or role,
//! nor put one key in another's place.
//!
//! The code is made with a key that is derived from the private key, so that it can be neither forged nor used to guess a
//! passphrase without the private key itself.

use countersign_crypto::{PrivateKey, PrivateKeyError};
use countersign_storage::{Binding, NewServiceKey};
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use zeroize::Zeroizing;

/// Keeps this use of the private key apart from any other.
const PURPOSE: &[u8] = b"countersign keyserver: binding of a private key to its row, version 1";

/// Makes the code for a row with this private key.
pub(crate) fn bind(private: &PrivateKey, row: &NewServiceKey) -> Result<Binding, PrivateKeyError> {
    let bytes = private.to_private_bytes()?;
    let key = Zeroizing::new(code(PURPOSE, &[&bytes]));
    let fields = [row.id.as_bytes(), row.gun.as_str().as_bytes(), row.role.as_str().as_bytes()];
    let rest = [row.algorithm.as_str().as_bytes(), row.public.as_slice()];
    Ok(Binding(code(key.as_slice(), &[&fields[..], &rest[..]].concat())))
}

/// Returns the HMAC-SHA-256 (RFC 2104) of fields, each after its length.
fn code(key: &[u8], fields: &[&[u8]]) -> [u8; 32] {
    // A key of any length is fine, so this never fails; if it did, nothing would match the code.
    let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(key) else { return [0; 32] };
    for field in fields {
        mac.update(&u64::try_from(field.len()).unwrap_or(u64::MAX).to_be_bytes());
        mac.update(field);
    }
    mac.finalize().into_bytes().into()
}

#[cfg(test)]
mod tests {
    use countersign_crypto::Algorithm;
    use countersign_storage::{EncryptedKey, ServiceRole};
    use countersign_tuf::Gun;

    use super::*;

    fn row(key: &PrivateKey) -> NewServiceKey {
        let public = key.public_key();
        NewServiceKey {
            id: public.canonical_id(),
            gun: Gun::parse("example.com/a").unwrap(),
            role: ServiceRole::Timestamp,
            algorithm: public.key_type().clone(),
            public: public.bytes().to_vec(),
            private: EncryptedKey::new(""),
        }
    }

    #[test]
    fn every_part_of_the_row_counts() {
        let key = PrivateKey::generate(Algorithm::EcdsaP256).unwrap();
        let other = PrivateKey::generate(Algorithm::EcdsaP256).unwrap();
        let whole = row(&key);
        let code = bind(&key, &whole).unwrap();
        assert_eq!(bind(&key, &whole).unwrap(), code);
        let changed = [
            NewServiceKey { gun: Gun::parse("example.com/b").unwrap(), ..whole.clone() },
            NewServiceKey { role: ServiceRole::Snapshot, ..whole.clone() },
            NewServiceKey { id: other.public_key().canonical_id(), ..whole.clone() },
            NewServiceKey { public: other.public_key().bytes().to_vec(), ..whole.clone() },
        ];
        for changed in changed {
            assert_ne!(bind(&key, &changed).unwrap(), code, "{changed:?}");
        }
        assert_ne!(bind(&other, &whole).unwrap(), code);
    }
}
