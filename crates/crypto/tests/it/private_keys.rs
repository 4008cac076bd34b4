//! Private keys: what is read, what is refused, what is never shown.

use std::sync::Arc;

use countersign_crypto::{
    Algorithm, CertifiedSigner, Curve, KeyError, KeyType, Message, PrivateKey, PrivateKeyError, PublicKey, Signer,
    certificate,
};
use der::Encode as _;
use der::asn1::ObjectIdentifier;
use sec1::{EcParameters, EcPrivateKey};

use crate::golden::{bytes, key_vector, now, text};

const EVERY_ALGORITHM: [Algorithm; 5] = [
    Algorithm::EcdsaP256,
    Algorithm::EcdsaP384,
    Algorithm::EcdsaP521,
    Algorithm::Ed25519,
    Algorithm::Rsa { bits: 2048 },
];

fn vector(name: &str) -> Vec<u8> {
    bytes(&key_vector(name), "private_b64")
}

fn sec1(scalar: &[u8], curve: Option<&str>, public: Option<&[u8]>) -> Vec<u8> {
    let parameters = curve.map(|oid| EcParameters::NamedCurve(ObjectIdentifier::new(oid).unwrap()));
    EcPrivateKey { private_key: scalar, parameters, public_key: public }.to_der().unwrap()
}

const P256: &str = "1.2.840.10045.3.1.7";

#[test]
fn new_keys_survive_their_private_bytes() {
    for algorithm in EVERY_ALGORITHM {
        let key = PrivateKey::generate(algorithm).unwrap();
        let bytes = key.to_private_bytes().unwrap();
        let again = PrivateKey::from_private_bytes(key.public_key().key_type(), &bytes).unwrap();
        assert_eq!(again.public_key(), key.public_key());
        assert_eq!(again.to_private_bytes().unwrap(), bytes);
        let signature = again.sign(b"m").unwrap();
        let verifying = key.public_key().verifying_key().unwrap();
        verifying.verify(&key.method(), &Message::new(b"m"), &signature).unwrap();
    }
}

#[test]
fn rsa_lengths_that_are_not_offered_are_not_generated() {
    for bits in [0, 1024, 2047, 16_384] {
        let algorithm = Algorithm::Rsa { bits };
        assert_eq!(PrivateKey::generate(algorithm).unwrap_err(), PrivateKeyError::UnsupportedAlgorithm(algorithm));
    }
}

#[test]
fn sec1_without_public_key_or_with_the_curve_from_outside_is_read() {
    let whole = PrivateKey::from_sec1_der(&vector("ecdsa-P-256")).unwrap();
    let scalar = &vector("ecdsa-P-256")[7..39];
    let bare = PrivateKey::from_sec1_der(&sec1(scalar, Some(P256), None)).unwrap();
    assert_eq!(bare.public_key(), whole.public_key());
    assert_eq!(bare.to_private_bytes().unwrap().as_slice(), vector("ecdsa-P-256"), "written in full");
    let outside = PrivateKey::from_sec1_der_on(Curve::P256, &sec1(scalar, None, None)).unwrap();
    assert_eq!(outside.public_key(), whole.public_key());
    assert!(matches!(
        PrivateKey::from_sec1_der(&sec1(scalar, None, None)),
        Err(PrivateKeyError::Refused(KeyError::UnsupportedCurve(_)))
    ));
    assert!(PrivateKey::from_sec1_der_on(Curve::P384, &sec1(scalar, Some(P256), None)).is_err());
}

#[test]
fn sec1_scalars_with_too_many_or_too_few_zeros_are_read() {
    let padded = [&[0; 4][..], &[7; 32]].concat();
    let long = PrivateKey::from_sec1_der(&sec1(&padded, Some(P256), None)).unwrap();
    let exact = PrivateKey::from_sec1_der(&sec1(&[7; 32], Some(P256), None)).unwrap();
    assert_eq!(long.public_key(), exact.public_key());
    let short = PrivateKey::from_sec1_der(&sec1(&[7], Some(P256), None)).unwrap();
    let mut full = [0; 32];
    full[31] = 7;
    let full = PrivateKey::from_sec1_der(&sec1(&full, Some(P256), None)).unwrap();
    assert_eq!(short.public_key(), full.public_key());
}

#[test]
fn sec1_scalars_zero_order_and_too_long_are_refused() {
    let order = hex::decode("ffffffff00000000ffffffffffffffffbce6faada7179e84f3b9cac2fc632551").unwrap();
    for scalar in [&[0; 32][..], &[], &order, &[0xff; 32], &[1; 33]] {
        let verdict = PrivateKey::from_sec1_der(&sec1(scalar, Some(P256), None));
        assert_eq!(verdict.unwrap_err(), PrivateKeyError::Malformed(KeyType::Ecdsa));
    }
}

#[test]
fn sec1_with_the_public_key_of_another_is_refused() {
    let other = PrivateKey::generate(Algorithm::EcdsaP256).unwrap();
    let public = other.public_key().bytes();
    let key = sec1(&[7; 32], Some(P256), Some(&public[public.len() - 65..]));
    assert_eq!(PrivateKey::from_sec1_der(&key).unwrap_err(), PrivateKeyError::Inconsistent(KeyType::Ecdsa));
}

#[test]
fn curves_that_are_not_accepted_cannot_sign_either() {
    for curve in ["1.3.132.0.33", "1.3.132.0.10"] {
        assert!(matches!(
            PrivateKey::from_sec1_der(&sec1(&[7; 28], Some(curve), None)),
            Err(PrivateKeyError::Refused(KeyError::UnsupportedCurve(_)))
        ));
    }
}

#[test]
fn ed25519_in_the_wrong_length_or_with_another_public_key_is_refused() {
    let good = vector("ed25519");
    for length in [0, 31, 32, 64, 95] {
        assert_eq!(
            PrivateKey::from_ed25519_notary(&good[..length]).unwrap_err(),
            PrivateKeyError::Malformed(KeyType::Ed25519)
        );
    }
    assert!(PrivateKey::from_ed25519_notary(&[good.as_slice(), &[0]].concat()).is_err());
    for position in [0, 40, 70] {
        let mut bad = good.clone();
        bad[position] ^= 1;
        assert_eq!(PrivateKey::from_ed25519_notary(&bad).unwrap_err(), PrivateKeyError::Inconsistent(KeyType::Ed25519));
    }
    assert!(PrivateKey::from_ed25519_seed(&[0; 31]).is_err());
}

#[test]
fn rsa_that_is_cut_damaged_or_short_is_refused() {
    let good = vector("rsa-2048");
    PrivateKey::from_pkcs1_der(&good).unwrap();
    for length in (0..good.len()).step_by(97) {
        PrivateKey::from_pkcs1_der(&good[..length]).unwrap_err();
    }
    let mut damaged = good.clone();
    damaged[900] ^= 1;
    PrivateKey::from_pkcs1_der(&damaged).unwrap_err();
    PrivateKey::from_pkcs1_der(&[good.as_slice(), &[0]].concat()).unwrap_err();
}

#[test]
fn private_bytes_of_another_type_are_refused() {
    let names = [("ecdsa-P-256", KeyType::Ecdsa), ("rsa-2048", KeyType::Rsa), ("ed25519", KeyType::Ed25519)];
    for (name, right) in &names {
        for (_, key_type) in &names {
            let verdict = PrivateKey::from_private_bytes(key_type, &vector(name));
            assert_eq!(verdict.is_ok(), key_type == right, "{name} as {key_type}");
        }
    }
    assert!(matches!(PrivateKey::from_private_bytes(&"gpg".into(), &[]), Err(PrivateKeyError::UnsupportedType(_))));
}

#[test]
fn debug_never_shows_the_secret() {
    for algorithm in EVERY_ALGORITHM {
        let key = PrivateKey::generate(algorithm).unwrap();
        let shown = format!("{key:?} {key:#?}");
        assert!(shown.len() < 800, "{shown}");
        let secret = key.to_private_bytes().unwrap();
        assert!(!shown.contains(&hex::encode(&secret[40..48])), "{shown}");
        assert!(!shown.contains(&format!("{:?}", &secret[40..44])), "{shown}");
    }
}

#[test]
fn a_certified_signer_signs_under_the_id_of_the_certificate() {
    let vector = key_vector("ecdsa-P-384");
    let key = Arc::new(PrivateKey::from_sec1_der(&bytes(&vector, "private_b64")).unwrap());
    let certificate = PublicKey::new(KeyType::EcdsaX509, text(&vector, "cert_pem").into());
    let signer: Box<dyn Signer> = Box::new(Arc::clone(&key).with_public_key(certificate.clone()).unwrap());
    assert_eq!(signer.public_key(), &certificate);
    assert_eq!(signer.method(), key.method());
    let signature = signer.sign(b"m").unwrap();
    certificate.verifying_key().unwrap().verify(&signer.method(), &Message::new(b"m"), &signature).unwrap();
}

#[test]
fn a_certificate_of_another_key_is_not_joined() {
    let one: Arc<dyn Signer> = Arc::new(PrivateKey::generate(Algorithm::EcdsaP256).unwrap());
    let two = PrivateKey::generate(Algorithm::EcdsaP256).unwrap();
    let pem = certificate::self_signed("example.com/app", &two, now()).unwrap();
    let error = CertifiedSigner::new(Arc::clone(&one), PublicKey::new(KeyType::EcdsaX509, pem)).unwrap_err();
    assert_eq!((error.expected, error.actual), (two.public_key().id(), one.public_key().id()));
}
