//! The elliptic curves that may sign.

use aws_lc_rs::digest::{Digest, SHA256, SHA384};
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_ASN1_SIGNING, ECDSA_P256_SHA256_FIXED, ECDSA_P256_SHA256_FIXED_SIGNING,
    ECDSA_P384_SHA384_ASN1_SIGNING, ECDSA_P384_SHA384_FIXED, ECDSA_P384_SHA384_FIXED_SIGNING, ECDSA_P521_SHA256_FIXED,
    ECDSA_P521_SHA256_FIXED_SIGNING, ECDSA_P521_SHA512_ASN1_SIGNING, EcdsaSigningAlgorithm, EcdsaVerificationAlgorithm,
};
use der::asn1::ObjectIdentifier;

use crate::digest::Sha256Digest;

/// Names an elliptic curve that is accepted for signatures; P-224 is not among them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Curve {
    /// NIST P-256.
    P256,
    /// NIST P-384.
    P384,
    /// NIST P-521.
    P521,
}

impl Curve {
    /// Every curve.
    pub const ALL: [Self; 3] = [Self::P256, Self::P384, Self::P521];

    /// Returns the object identifier that names the curve (RFC 5480).
    #[must_use]
    pub const fn oid(self) -> ObjectIdentifier {
        match self {
            Self::P256 => ObjectIdentifier::new_unwrap("1.2.840.10045.3.1.7"),
            Self::P384 => ObjectIdentifier::new_unwrap("1.3.132.0.34"),
            Self::P521 => ObjectIdentifier::new_unwrap("1.3.132.0.35"),
        }
    }

    /// Finds the curve an object identifier names.
    #[must_use]
    pub fn from_oid(oid: ObjectIdentifier) -> Option<Self> {
        Self::ALL.into_iter().find(|curve| curve.oid() == oid)
    }

    /// Returns the bytes of one coordinate, of one private number, and of each half of a signature.
    #[must_use]
    pub const fn field_length(self) -> usize {
        match self {
            Self::P256 => 32,
            Self::P384 => 48,
            Self::P521 => 66,
        }
    }

    /// Returns the bytes of a point that is written uncompressed, with its leading `04`.
    #[must_use]
    pub const fn point_length(self) -> usize {
        1 + 2 * self.field_length()
    }

    /// Returns the algorithm that checks r and s; its digest must come from [`Curve::digest`].
    pub(crate) const fn verification(self) -> &'static EcdsaVerificationAlgorithm {
        match self {
            Self::P256 => &ECDSA_P256_SHA256_FIXED,
            Self::P384 => &ECDSA_P384_SHA384_FIXED,
            Self::P521 => &ECDSA_P521_SHA256_FIXED,
        }
    }

    /// Returns the algorithm that makes r and s; its digest must come from [`Curve::digest`].
    pub(crate) const fn signing(self) -> &'static EcdsaSigningAlgorithm {
        match self {
            Self::P256 => &ECDSA_P256_SHA256_FIXED_SIGNING,
            Self::P384 => &ECDSA_P384_SHA384_FIXED_SIGNING,
            Self::P521 => &ECDSA_P521_SHA256_FIXED_SIGNING,
        }
    }

    /// Returns the algorithm that signs certificates: SHA-256, SHA-384 or SHA-512 after the curve's size.
    pub(crate) const fn certificate_signing(self) -> &'static EcdsaSigningAlgorithm {
        match self {
            Self::P256 => &ECDSA_P256_SHA256_ASN1_SIGNING,
            Self::P384 => &ECDSA_P384_SHA384_ASN1_SIGNING,
            Self::P521 => &ECDSA_P521_SHA512_ASN1_SIGNING,
        }
    }

    /// Presents a SHA-256 digest to the algorithms above.
    ///
    /// Notary hashes with SHA-256 on every curve. ECDSA reads a digest as a number, so that leading zero bytes change
    /// nothing as long as the whole fits the curve (FIPS 186-5, 6.4.1); on P-384, where the library only knows the
    /// 48-byte digest, sixteen zero bytes in front of the 32 give the very same number.
    pub(crate) fn digest(self, sha256: &Sha256Digest) -> Result<Digest, aws_lc_rs::error::Unspecified> {
        match self {
            Self::P256 | Self::P521 => Digest::import_less_safe(sha256.as_bytes(), &SHA256),
            Self::P384 => {
                let mut wide = [0; 48];
                for (to, from) in wide.iter_mut().skip(16).zip(sha256.as_bytes()) {
                    *to = *from;
                }
                Digest::import_less_safe(&wide, &SHA384)
            }
        }
    }
}
