//! Keys as objects on a token: making, importing, listing and deleting them.

use countersign_crypto::device::{DeviceKey, PrivateParts, ecdsa_public_key, ed25519_public_key, rsa_public_key};
use countersign_crypto::{Algorithm, Curve, KeyId, PrivateKey, PublicKey, Random as _, SystemRandom};
use cryptoki::mechanism::Mechanism;
use cryptoki::object::{Attribute, AttributeType, KeyType, ObjectClass, ObjectHandle};
use cryptoki::session::Session;
use zeroize::Zeroize;

use super::{Token, TokenError};
use crate::keys::KeyLabel;
use crate::token::label_text;

/// Ed25519 as an object identifier in DER (RFC 8410).
const ED25519_OID: [u8; 5] = [0x06, 0x03, 0x2b, 0x65, 0x70];
/// Most keys that are looked at on one token.
const MAX_KEYS: usize = 4096;
/// 65537, the exponent of every RSA key that is made.
const RSA_EXPONENT: [u8; 3] = [1, 0, 1];

impl Token {
    /// Makes a key that the token does not hand out, and proves that it signs. Returns its public half.
    pub(in crate::token) fn generate(&self, algorithm: Algorithm, label: &str) -> Result<PublicKey, TokenError> {
        let (mechanism, kind) = match algorithm {
            Algorithm::EcdsaP256 => (Mechanism::EccKeyPairGen, Attribute::EcParams(curve_oid(Curve::P256))),
            Algorithm::EcdsaP384 => (Mechanism::EccKeyPairGen, Attribute::EcParams(curve_oid(Curve::P384))),
            Algorithm::EcdsaP521 => (Mechanism::EccKeyPairGen, Attribute::EcParams(curve_oid(Curve::P521))),
            Algorithm::Ed25519 => (Mechanism::EccEdwardsKeyPairGen, Attribute::EcParams(ED25519_OID.to_vec())),
            Algorithm::Rsa { bits } => (Mechanism::RsaPkcsKeyPairGen, Attribute::ModulusBits(u64::from(bits).into())),
        };
        let provisional = self.provisional_id()?;
        let mut public = public_template(&provisional, label);
        public.push(kind);
        if matches!(algorithm, Algorithm::Rsa { .. }) {
            public.push(Attribute::PublicExponent(RSA_EXPONENT.to_vec()));
        }
        let private = private_template(&provisional, label);
        let session = self.session();
        let made = session.generate_key_pair(&mechanism, &public, &private);
        let (public, private) = made.map_err(self.failed("make a key"))?;
        let finished = self.public_key(&session, public).and_then(|key| {
            let id = key.canonical_id();
            if self.private_handle(&session, &id)?.is_some() {
                return Err(TokenError::KeyThere { token: self.name.clone(), id });
            }
            let named = [Attribute::Id(id.as_bytes().to_vec())];
            for handle in [public, private] {
                session.update_attributes(handle, &named).map_err(self.failed("name a key"))?;
            }
            self.prove(&session, private, &key)?;
            Ok(key)
        });
        finished.map_err(|error| undo(&session, &[private, public], &hex(&provisional), error))
    }

    /// Puts a private key on the token, which does not hand it out any more, and proves that it signs.
    pub(in crate::token) fn import(&self, key: &PrivateKey, label: &KeyLabel) -> Result<(), TokenError> {
        let id = key.public_key().canonical_id();
        let session = self.session();
        if self.private_handle(&session, &id)?.is_some() {
            return Err(TokenError::KeyThere { token: self.name.clone(), id });
        }
        let (public, mut private) = self.templates(key, &id, label)?;
        let made = session.create_object(&private);
        wipe(&mut private);
        let private = made.map_err(self.failed("take a key"))?;
        let mut handles = vec![private];
        let finished = session.create_object(&public).map_err(self.failed("take a key")).and_then(|public| {
            handles.push(public);
            self.prove(&session, private, key.public_key())
        });
        finished.map_err(|error| undo(&session, &handles, &id.to_string(), error))
    }

    /// Deletes a key for good.
    pub(in crate::token) fn delete(&self, id: &KeyId) -> Result<(), TokenError> {
        let session = self.session();
        let private = self.private_handle(&session, id)?;
        let private = private.ok_or_else(|| TokenError::NoKey { token: self.name.clone(), id: *id })?;
        session.destroy_object(private).map_err(self.failed("delete a key"))?;
        // Without its private half the public one is of no use, and of no danger.
        let left = |source| TokenError::LeftOver { id: id.to_string(), source: Box::new(source) };
        let of_public = [Attribute::Class(ObjectClass::PUBLIC_KEY), Attribute::Id(id.as_bytes().to_vec())];
        let publics = session.find_objects(&of_public).map_err(self.failed("find a key")).map_err(left)?;
        for public in publics {
            session.destroy_object(public).map_err(self.failed("delete a key")).map_err(left)?;
        }
        Ok(())
    }

    /// Lists the keys whose private half is there and that can be used: public half and label.
    pub(in crate::token) fn keys(&self) -> Result<Vec<(PublicKey, String)>, TokenError> {
        let session = self.session();
        let template = [Attribute::Class(ObjectClass::PUBLIC_KEY)];
        let handles = session.find_objects(&template).map_err(self.failed("list its keys"))?;
        if handles.len() > MAX_KEYS {
            let what = format!("it holds more than {MAX_KEYS} keys");
            return Err(TokenError::Answer { token: self.name.clone(), what });
        }
        let mut found = Vec::new();
        for handle in handles {
            // Keys of kinds that cannot sign here are somebody else's.
            let Ok(key) = self.public_key(&session, handle) else { continue };
            let label = session.get_attributes(handle, &[AttributeType::Label]).map_err(self.failed("read a key"))?;
            let label = label.into_iter().find_map(|attribute| match attribute {
                Attribute::Label(label) => Some(String::from_utf8_lossy(&label).into_owned()),
                _ => None,
            });
            if self.private_handle(&session, &key.canonical_id())?.is_some() {
                found.push((key, label.unwrap_or_default()));
            }
        }
        found.sort_by_key(|(key, _)| key.canonical_id());
        Ok(found)
    }

    /// Reads the public half of a key, and the label of its private half, which nobody without the PIN can write; none when
    /// either is missing.
    pub(in crate::token) fn labelled(&self, id: &KeyId) -> Result<Option<(PublicKey, String)>, TokenError> {
        let session = self.session();
        let Some(private) = self.private_handle(&session, id)? else { return Ok(None) };
        let label = session.get_attributes(private, &[AttributeType::Label]).map_err(self.failed("read a key"))?;
        let label = label.into_iter().find_map(|attribute| match attribute {
            Attribute::Label(label) => String::from_utf8(label).ok(),
            _ => None,
        });
        let of_public = [Attribute::Class(ObjectClass::PUBLIC_KEY), Attribute::Id(id.as_bytes().to_vec())];
        let publics = session.find_objects(&of_public).map_err(self.failed("find a key"))?;
        let (Some(public), Some(label)) = (publics.first(), label) else { return Ok(None) };
        let public = self.public_key(&session, *public)?;
        Ok((public.canonical_id() == *id).then_some((public, label)))
    }

    /// Tells whether the token still answers in this session.
    pub(in crate::token) fn answers(&self) -> Result<(), TokenError> {
        self.session().get_session_info().map(drop).map_err(self.failed("answer"))
    }

    /// Checks that the token in the slot is still the one that was opened.
    pub(in crate::token) fn is_there(&self) -> Result<(), TokenError> {
        let info = self.module.library().get_token_info(self.slot).map_err(self.failed("answer"))?;
        if info.label().trim_end() == &*self.identity.label && info.serial_number().trim_end() == &*self.identity.serial
        {
            Ok(())
        } else {
            Err(TokenError::Removed { token: self.name.clone() })
        }
    }

    /// Finds the private half of a key by our name for it.
    pub(super) fn private_handle(&self, session: &Session, id: &KeyId) -> Result<Option<ObjectHandle>, TokenError> {
        let template = [Attribute::Class(ObjectClass::PRIVATE_KEY), Attribute::Id(id.as_bytes().to_vec())];
        let found = session.find_objects(&template).map_err(self.failed("find a key"))?;
        match found.as_slice() {
            [] => Ok(None),
            [one] => Ok(Some(*one)),
            _ => {
                let what = format!("{} private keys have the id {id}", found.len());
                Err(TokenError::Answer { token: self.name.clone(), what })
            }
        }
    }

    /// Reads the public half of a key.
    fn public_key(&self, session: &Session, handle: ObjectHandle) -> Result<PublicKey, TokenError> {
        let nonsense = |what: &dyn std::fmt::Display| TokenError::Answer {
            token: self.name.clone(),
            what: what.to_string().chars().take(200).collect(),
        };
        let wanted = [
            AttributeType::KeyType,
            AttributeType::EcParams,
            AttributeType::EcPoint,
            AttributeType::Modulus,
            AttributeType::PublicExponent,
        ];
        let (mut kind, mut parameters, mut point, mut modulus, mut exponent) = (None, None, None, None, None);
        for attribute in session.get_attributes(handle, &wanted).map_err(self.failed("read a key"))? {
            match attribute {
                Attribute::KeyType(found) => kind = Some(found),
                Attribute::EcParams(found) => parameters = Some(found),
                Attribute::EcPoint(found) => point = Some(found),
                Attribute::Modulus(found) => modulus = Some(found),
                Attribute::PublicExponent(found) => exponent = Some(found),
                _ => {}
            }
        }
        let key = match (kind, parameters, point, modulus, exponent) {
            (Some(KeyType::RSA), _, _, Some(modulus), Some(exponent)) => {
                rsa_public_key(without_zeros(&modulus), without_zeros(&exponent))
            }
            (Some(KeyType::EC), Some(parameters), Some(point), ..) => {
                let curve = Curve::ALL.into_iter().find(|curve| curve_oid(*curve) == parameters);
                let curve = curve.ok_or_else(|| nonsense(&"a key on a curve that is not accepted"))?;
                ecdsa_public_key(curve, octets(&point, curve.point_length()))
            }
            (Some(KeyType::EC_EDWARDS), _, Some(point), ..) => ed25519_public_key(octets(&point, 32)),
            _ => return Err(nonsense(&"a key of a kind that cannot sign")),
        };
        key.map_err(|error| nonsense(&error))
    }

    /// Writes the objects of a key that is imported.
    fn templates(
        &self,
        key: &PrivateKey,
        id: &KeyId,
        label: &KeyLabel,
    ) -> Result<(Vec<Attribute>, Vec<Attribute>), TokenError> {
        let name = id.as_bytes().to_vec();
        let label = label_text(label);
        let (mut public, mut private) = (public_template(&name, &label), private_template(&name, &label));
        public.push(Attribute::Class(ObjectClass::PUBLIC_KEY));
        private.push(Attribute::Class(ObjectClass::PRIVATE_KEY));
        let parts = PrivateParts::of(key);
        let parts = parts.map_err(|error| TokenError::Answer { token: self.name.clone(), what: error.to_string() })?;
        match parts {
            PrivateParts::Ecdsa { curve, scalar, point } => {
                for template in [&mut public, &mut private] {
                    template.extend([Attribute::KeyType(KeyType::EC), Attribute::EcParams(curve_oid(curve))]);
                }
                public.push(Attribute::EcPoint(octet_string(&point)));
                private.push(Attribute::Value(scalar.to_vec()));
            }
            PrivateParts::Ed25519 { seed, public: point } => {
                for template in [&mut public, &mut private] {
                    template
                        .extend([Attribute::KeyType(KeyType::EC_EDWARDS), Attribute::EcParams(ED25519_OID.to_vec())]);
                }
                public.push(Attribute::EcPoint(octet_string(&point)));
                private.push(Attribute::Value(seed.to_vec()));
            }
            PrivateParts::Rsa(parts) => {
                for template in [&mut public, &mut private] {
                    template.extend([
                        Attribute::KeyType(KeyType::RSA),
                        Attribute::Modulus(parts.modulus.clone()),
                        Attribute::PublicExponent(parts.public_exponent.clone()),
                    ]);
                }
                private.extend([
                    Attribute::PrivateExponent(parts.private_exponent.to_vec()),
                    Attribute::Prime1(parts.prime_1.to_vec()),
                    Attribute::Prime2(parts.prime_2.to_vec()),
                    Attribute::Exponent1(parts.exponent_1.to_vec()),
                    Attribute::Exponent2(parts.exponent_2.to_vec()),
                    Attribute::Coefficient(parts.coefficient.to_vec()),
                ]);
            }
        }
        Ok((public, private))
    }

    /// Has a new key sign something, so that one that does not work is noticed before anybody relies on it.
    fn prove(&self, session: &Session, private: ObjectHandle, key: &PublicKey) -> Result<(), TokenError> {
        let kind = DeviceKey::of(key);
        let kind = kind.ok_or_else(|| TokenError::Answer { token: self.name.clone(), what: "no key".to_owned() })?;
        self.sign_in(session, private, key, kind, b"Countersign makes sure that this key signs.").map(drop)
    }

    /// Names a key that has no id yet.
    fn provisional_id(&self) -> Result<Vec<u8>, TokenError> {
        let mut id = vec![0; 16];
        SystemRandom
            .fill(&mut id)
            .map_err(|error| TokenError::Answer { token: self.name.clone(), what: error.to_string() })?;
        Ok(id)
    }
}

/// Takes away what was made before something went wrong.
fn undo(session: &Session, handles: &[ObjectHandle], id: &str, error: TokenError) -> TokenError {
    let undone = handles.iter().all(|handle| session.destroy_object(*handle).is_ok());
    if undone { error } else { TokenError::LeftOver { id: id.to_owned(), source: Box::new(error) } }
}

fn public_template(id: &[u8], label: &str) -> Vec<Attribute> {
    vec![
        Attribute::Token(true),
        Attribute::Private(false),
        Attribute::Verify(true),
        Attribute::Id(id.to_vec()),
        Attribute::Label(label.as_bytes().to_vec()),
    ]
}

fn private_template(id: &[u8], label: &str) -> Vec<Attribute> {
    vec![
        Attribute::Token(true),
        Attribute::Private(true),
        Attribute::Sensitive(true),
        Attribute::Extractable(false),
        Attribute::Sign(true),
        Attribute::Id(id.to_vec()),
        Attribute::Label(label.as_bytes().to_vec()),
    ]
}

/// Wipes what the template of a private key holds.
fn wipe(template: &mut [Attribute]) {
    for attribute in template {
        if let Attribute::Value(secret)
        | Attribute::PrivateExponent(secret)
        | Attribute::Prime1(secret)
        | Attribute::Prime2(secret)
        | Attribute::Exponent1(secret)
        | Attribute::Exponent2(secret)
        | Attribute::Coefficient(secret) = attribute
        {
            secret.zeroize();
        }
    }
}

/// Writes a curve's object identifier in DER: none has more than 127 bytes.
fn curve_oid(curve: Curve) -> Vec<u8> {
    short_der(0x06, curve.oid().as_bytes())
}

fn octet_string(bytes: &[u8]) -> Vec<u8> {
    if bytes.len() < 0x80 {
        return short_der(0x04, bytes);
    }
    let mut der = vec![0x04, 0x81, u8::try_from(bytes.len()).unwrap_or(u8::MAX)];
    der.extend_from_slice(bytes);
    der
}

fn short_der(tag: u8, bytes: &[u8]) -> Vec<u8> {
    let mut der = vec![tag, u8::try_from(bytes.len()).unwrap_or(u8::MAX)];
    der.extend_from_slice(bytes);
    der
}

/// Takes a point out of its octet string; some tokens give it bare.
fn octets(point: &[u8], length: usize) -> &[u8] {
    match point.split_at_checked(point.len().saturating_sub(length)) {
        Some(([0x04, ..], rest)) => rest,
        _ => point,
    }
}

fn without_zeros(number: &[u8]) -> &[u8] {
    let zeros = number.iter().take_while(|byte| **byte == 0).count();
    number.get(zeros..).unwrap_or_default()
}

fn hex(bytes: &[u8]) -> String {
    let digit = |nibble: u8| char::from_digit(nibble.into(), 16).unwrap_or_default();
    bytes.iter().flat_map(|byte| [digit(byte >> 4), digit(byte & 0xf)]).collect()
}
