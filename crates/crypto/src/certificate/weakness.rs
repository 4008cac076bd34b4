//! What makes a certificate too weak, whatever else it says.

use der::asn1::ObjectIdentifier;
use der::{Decode as _, Encode as _};
use pkcs1::{RsaPssParamsOwned, RsaPublicKeyRef};

use crate::spki::{RSA_BITS, RSA_ENCRYPTION, bits};

const RSA_PSS: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.10");
const SHA1: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.14.3.2.26");

/// Signature algorithms over broken hashes.
const WEAK: [(ObjectIdentifier, &str); 8] = [
    (ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.5"), "RSA with SHA-1"),
    (ObjectIdentifier::new_unwrap("1.3.14.3.2.29"), "RSA with SHA-1"),
    (ObjectIdentifier::new_unwrap("1.2.840.10040.4.3"), "DSA with SHA-1"),
    (ObjectIdentifier::new_unwrap("1.3.14.3.2.27"), "DSA with SHA-1"),
    (ObjectIdentifier::new_unwrap("1.2.840.10045.4.1"), "ECDSA with SHA-1"),
    (ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.2"), "RSA with MD2"),
    (ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.3"), "RSA with MD4"),
    (ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.4"), "RSA with MD5"),
];

/// Returns the name of the signature algorithm if it is broken.
pub(super) fn weak_signature(certificate: &x509_cert::Certificate) -> Option<&'static str> {
    let algorithm = certificate.signature_algorithm();
    if algorithm.oid == RSA_PSS {
        // Absent parameters mean SHA-1 (RFC 4055, 3.1); unreadable ones deserve no better.
        let der = algorithm.parameters.as_ref().and_then(|parameters| parameters.to_der().ok());
        let hash =
            der.as_deref().and_then(|der| RsaPssParamsOwned::from_der(der).ok()).map(|parameters| parameters.hash.oid);
        return hash.is_none_or(|hash| hash == SHA1).then_some("RSA-PSS with SHA-1");
    }
    WEAK.iter().find(|(oid, _)| *oid == algorithm.oid).map(|(_, name)| *name)
}

/// Returns the length of the RSA modulus if it is too short, and zero if it cannot be read.
pub(super) fn short_rsa(certificate: &x509_cert::Certificate) -> Option<usize> {
    let info = certificate.tbs_certificate().subject_public_key_info();
    if info.algorithm.oid != RSA_ENCRYPTION {
        return None;
    }
    let size = info
        .subject_public_key
        .as_bytes()
        .and_then(|key| RsaPublicKeyRef::from_der(key).ok())
        .map_or(0, |key| bits(&key.modulus));
    (size < *RSA_BITS.start()).then_some(size)
}
