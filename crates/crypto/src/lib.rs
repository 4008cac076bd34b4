//! Public keys, signatures, certificates and digests; the only crate that names the cryptographic library.
