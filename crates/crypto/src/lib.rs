//! Public keys, signatures, certificates and digests; the only crate that names the cryptographic library.
//!
//! A [`PublicKey`] is what metadata lists: bytes with a label, never trusted as such. [`PublicKey::verifying_key`]
//! applies every rule about keys and returns a [`VerifyingKey`], the only thing that verifies. The key decides the
//! algorithm; the method a signature names can only disagree and thereby make it invalid.
//!
//! A [`PrivateKey`] signs through the [`Signer`] trait, which devices and remote services implement too;
//! [`CertifiedSigner`] lets the same key sign under a certificate. Nothing here reads a clock, a file or the environment.

mod curve;
mod hexadecimal;
mod jws;
mod key_id;
mod key_type;
mod private_key;
mod public_key;
mod random;
mod signer;
mod spki;
mod verifying_key;

pub mod certificate;
pub mod device;
pub mod digest;

pub use curve::Curve;
pub use jws::{JwsAlgorithm, JwsKey};
pub use key_id::KeyId;
pub use key_type::{KeyType, Method};
pub use private_key::{Algorithm, PrivateKey, PrivateKeyError};
pub use public_key::{KeyError, PublicKey};
pub use random::{Random, RandomError, SystemRandom};
pub use signer::{CertifiedSigner, KeyMismatch, SignError, Signer};
pub use verifying_key::{Message, SignatureError, VerifyingKey};
