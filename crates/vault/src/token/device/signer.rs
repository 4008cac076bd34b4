//! Signing with a key on a token; nothing that it gives is used unchecked.

use std::fmt;
use std::sync::Arc;

use countersign_crypto::device::{DeviceKey, certificate_digest, ecdsa_signature_der};
use countersign_crypto::digest::sha256;
use countersign_crypto::{Message, Method, PublicKey, SignError, Signer};
use cryptoki::mechanism::eddsa::{EddsaParams, EddsaSignatureScheme};
use cryptoki::mechanism::rsa::{PkcsMgfType, PkcsPssParams};
use cryptoki::mechanism::{Mechanism, MechanismType};
use cryptoki::object::ObjectHandle;
use cryptoki::session::Session;

use super::{Token, TokenError};

/// Bytes of the salt of RSA-PSS, as the metadata's signatures have it.
const SALT: u64 = 32;

/// A key that a token holds.
struct TokenSigner {
    token: Arc<Token>,
    handle: ObjectHandle,
    public_key: PublicKey,
    kind: DeviceKey,
}

impl Token {
    /// Finds the private half of a key and makes it ready to sign.
    pub(in crate::token) fn signer(self: Arc<Self>, public_key: &PublicKey) -> Result<Arc<dyn Signer>, TokenError> {
        let id = public_key.canonical_id();
        let kind = DeviceKey::of(public_key);
        let kind = kind.ok_or_else(|| TokenError::Answer { token: self.name.clone(), what: "no key".to_owned() })?;
        let handle = self.private_handle(&self.session(), &id)?;
        let handle = handle.ok_or_else(|| TokenError::NoKey { token: self.name.clone(), id })?;
        Ok(Arc::new(TokenSigner { token: self, handle, public_key: public_key.clone(), kind }))
    }

    /// Signs a message as metadata is signed, and checks the signature.
    pub(super) fn sign_in(
        &self,
        session: &Session,
        handle: ObjectHandle,
        key: &PublicKey,
        kind: DeviceKey,
        message: &[u8],
    ) -> Result<Vec<u8>, TokenError> {
        let digest = sha256(message);
        let (mechanism, data) = match kind {
            DeviceKey::Ecdsa(_) => (Mechanism::Ecdsa, digest.as_bytes().as_slice()),
            DeviceKey::Rsa => {
                let (hash_alg, mgf) = (MechanismType::SHA256, PkcsMgfType::MGF1_SHA256);
                (
                    Mechanism::RsaPkcsPss(PkcsPssParams { hash_alg, mgf, s_len: SALT.into() }),
                    digest.as_bytes().as_slice(),
                )
            }
            DeviceKey::Ed25519 => (Mechanism::Eddsa(EddsaParams::new(EddsaSignatureScheme::Ed25519)), message),
        };
        let signature = session.sign(&mechanism, handle, data).map_err(self.failed("sign"))?;
        let bad = || TokenError::BadSignature { token: self.name.clone(), id: key.canonical_id() };
        let verifying = key.verifying_key().map_err(|_| bad())?;
        verifying.verify(&method(kind), &Message::new(message), &signature).map_err(|_| bad())?;
        Ok(signature)
    }
}

fn method(kind: DeviceKey) -> Method {
    match kind {
        DeviceKey::Ecdsa(_) => Method::Ecdsa,
        DeviceKey::Rsa => Method::RsaPss,
        DeviceKey::Ed25519 => Method::Eddsa,
    }
}

impl TokenSigner {
    fn refuse(&self, source: TokenError) -> SignError {
        SignError::Holder { key: self.public_key.canonical_id(), source: Box::new(source) }
    }
}

impl Signer for TokenSigner {
    fn public_key(&self) -> &PublicKey {
        &self.public_key
    }

    fn method(&self) -> Method {
        method(self.kind)
    }

    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, SignError> {
        let session = self.token.session();
        let signed = self.token.sign_in(&session, self.handle, &self.public_key, self.kind, message);
        signed.map_err(|error| self.refuse(error))
    }

    fn sign_certificate(&self, tbs: &[u8]) -> Result<Vec<u8>, SignError> {
        let session = self.token.session();
        let sign = |mechanism: &Mechanism<'_>, data: &[u8]| {
            let signed = session.sign(mechanism, self.handle, data);
            signed.map_err(|error| self.refuse(self.token.failed("sign a certificate")(error)))
        };
        match self.kind {
            DeviceKey::Ecdsa(curve) => {
                let raw = sign(&Mechanism::Ecdsa, &certificate_digest(curve, tbs))?;
                let id = self.public_key.canonical_id();
                let bad = || self.refuse(TokenError::BadSignature { token: self.token.name.clone(), id });
                ecdsa_signature_der(curve, &raw).ok_or_else(bad)
            }
            DeviceKey::Rsa => sign(&Mechanism::Sha256RsaPkcs, tbs),
            DeviceKey::Ed25519 => Err(SignError::NoCertificate { key: self.public_key.canonical_id() }),
        }
    }
}

impl fmt::Debug for TokenSigner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TokenSigner").field("public_key", &self.public_key).finish_non_exhaustive()
    }
}
