//! Signatures that must be refused, and the odd ones that must not.

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{
    ECDSA_P384_SHA256_ASN1, RSA_PKCS1_SHA512, RSA_PSS_SHA256, RSA_PSS_SHA512, RsaEncoding, RsaKeyPair,
    RsaPssSaltLength, UnparsedPublicKey,
};
use countersign_crypto::{Algorithm, KeyType, Message, Method, PrivateKey, PublicKey, SignatureError, Signer as _};
use der::asn1::UintRef;
use der::{Encode as _, Sequence};

use crate::golden::{bytes, key_vector};
use crate::public_keys::rsa_key;

const MESSAGE: &[u8] = b"the signed bytes";
const EVERY_METHOD: [&str; 8] =
    ["ecdsa", "rsapss", "rsapkcs1v15", "eddsa", "pycrypto-pkcs#1 pss", "none", "", "rsapss-sha256"];

const P256_ORDER: &str = "ffffffff00000000ffffffffffffffffbce6faada7179e84f3b9cac2fc632551";

fn verify(key: &PublicKey, method: &Method, signature: &[u8]) -> Result<(), SignatureError> {
    key.verifying_key().unwrap().verify(method, &Message::new(MESSAGE), signature)
}

fn ecdsa(algorithm: Algorithm) -> PrivateKey {
    PrivateKey::generate(algorithm).unwrap()
}

#[derive(Sequence)]
struct DerSignature<'a> {
    r: UintRef<'a>,
    s: UintRef<'a>,
}

fn to_der(fixed: &[u8]) -> Vec<u8> {
    let (r, s) = fixed.split_at(fixed.len() / 2);
    DerSignature { r: UintRef::new(r).unwrap(), s: UintRef::new(s).unwrap() }.to_der().unwrap()
}

/// Big-endian a - b; a must be the larger.
fn subtract(a: &[u8], b: &[u8]) -> Vec<u8> {
    let mut borrow = 0_i16;
    let mut out: Vec<u8> = a
        .iter()
        .zip(b)
        .rev()
        .map(|(a, b)| {
            let difference = i16::from(*a) - i16::from(*b) - borrow;
            borrow = i16::from(difference < 0);
            u8::try_from(difference.rem_euclid(256)).unwrap()
        })
        .collect();
    out.reverse();
    out
}

#[test]
fn ecdsa_signatures_have_the_full_width_of_the_curve() {
    for (algorithm, length) in [(Algorithm::EcdsaP256, 64), (Algorithm::EcdsaP384, 96), (Algorithm::EcdsaP521, 132)] {
        let key = ecdsa(algorithm);
        let signature = key.sign(MESSAGE).unwrap();
        assert_eq!(signature.len(), length);
        verify(key.public_key(), &Method::Ecdsa, &signature).unwrap();
    }
}

#[test]
fn p384_signatures_are_over_sha256_and_not_over_a_digest_of_our_own() {
    let key = ecdsa(Algorithm::EcdsaP384);
    let signature = to_der(&key.sign(MESSAGE).unwrap());
    UnparsedPublicKey::new(&ECDSA_P384_SHA256_ASN1, key.public_key().bytes()).verify(MESSAGE, &signature).unwrap();
}

#[test]
fn ecdsa_signatures_with_leading_zeros_are_accepted() {
    let key = ecdsa(Algorithm::EcdsaP256);
    let verifying = key.public_key().verifying_key().unwrap();
    let (mut in_r, mut in_s) = (false, false);
    for count in 0_u32.. {
        let message = count.to_be_bytes();
        let signature = key.sign(&message).unwrap();
        if signature[0] == 0 || signature[32] == 0 {
            in_r |= signature[0] == 0;
            in_s |= signature[32] == 0;
            verifying.verify(&Method::Ecdsa, &Message::new(&message), &signature).unwrap();
        }
        if in_r && in_s {
            break;
        }
    }
}

#[test]
fn ecdsa_signatures_with_high_s_are_accepted() {
    let key = ecdsa(Algorithm::EcdsaP256);
    let mut signature = key.sign(MESSAGE).unwrap();
    let other = subtract(&hex::decode(P256_ORDER).unwrap(), &signature[32..]);
    signature[32..].copy_from_slice(&other);
    verify(key.public_key(), &Method::Ecdsa, &signature).unwrap();
}

#[test]
fn ecdsa_zero_order_one_and_maximum_are_refused() {
    let key = ecdsa(Algorithm::EcdsaP256);
    let order = hex::decode(P256_ORDER).unwrap();
    let mut one = vec![0; 32];
    one[31] = 1;
    let good = key.sign(MESSAGE).unwrap();
    let (r, s) = good.split_at(32);
    let zero = vec![0; 32];
    let top = vec![0xff; 32];
    for (r, s) in [
        (zero.as_slice(), zero.as_slice()),
        (&zero, s),
        (r, &zero),
        (&order, &order),
        (&order, s),
        (r, &order),
        (&one, &one),
        (&top, &top),
        (s, r),
    ] {
        let signature = [r, s].concat();
        assert_eq!(verify(key.public_key(), &Method::Ecdsa, &signature), Err(SignatureError::Invalid));
    }
}

#[test]
fn ecdsa_signatures_of_another_shape_are_refused() {
    for algorithm in [Algorithm::EcdsaP256, Algorithm::EcdsaP384, Algorithm::EcdsaP521] {
        let key = ecdsa(algorithm);
        let good = key.sign(MESSAGE).unwrap();
        let mut longer = good.clone();
        longer.push(0);
        let padded = [&[0][..], &good].concat();
        let wider = [&[0][..], &good[..good.len() / 2], &[0], &good[good.len() / 2..]].concat();
        for bad in
            [Vec::new(), good[1..].to_vec(), good[..good.len() - 1].to_vec(), longer, padded, wider, to_der(&good)]
        {
            assert!(matches!(verify(key.public_key(), &Method::Ecdsa, &bad), Err(SignatureError::Length { .. })));
        }
    }
}

#[test]
fn every_flipped_bit_is_refused() {
    for algorithm in [Algorithm::EcdsaP256, Algorithm::Ed25519] {
        let key = ecdsa(algorithm);
        let verifying = key.public_key().verifying_key().unwrap();
        let good = key.sign(MESSAGE).unwrap();
        for bit in 0..8 * good.len() {
            let mut bad = good.clone();
            bad[bit / 8] ^= 1 << (bit % 8);
            verifying.verify(&key.method(), &Message::new(MESSAGE), &bad).unwrap_err();
        }
    }
}

#[test]
fn the_key_decides_the_algorithm() {
    for algorithm in [
        Algorithm::EcdsaP256,
        Algorithm::EcdsaP384,
        Algorithm::EcdsaP521,
        Algorithm::Ed25519,
        Algorithm::Rsa { bits: 2048 },
    ] {
        let key = PrivateKey::generate(algorithm).unwrap();
        let good = key.sign(MESSAGE).unwrap();
        for method in EVERY_METHOD.map(Method::parse) {
            let verdict = verify(key.public_key(), &method, &good);
            assert_eq!(verdict.is_ok(), method == key.method(), "{algorithm:?} {method}");
        }
    }
}

#[test]
fn a_signature_by_another_key_is_refused() {
    let (one, two) = (ecdsa(Algorithm::EcdsaP256), ecdsa(Algorithm::EcdsaP256));
    assert_eq!(verify(one.public_key(), &Method::Ecdsa, &two.sign(MESSAGE).unwrap()), Err(SignatureError::Invalid));
}

fn rsa_pair() -> (PublicKey, RsaKeyPair) {
    let vector = key_vector("rsa-2048");
    let pair = RsaKeyPair::from_der(&bytes(&vector, "private_b64")).unwrap();
    (PublicKey::new(KeyType::Rsa, bytes(&vector, "public_b64")), pair)
}

fn rsa_sign(pair: &RsaKeyPair, encoding: &'static dyn RsaEncoding) -> Vec<u8> {
    let mut signature = vec![0; pair.public_modulus_len()];
    pair.sign(encoding, &SystemRandom::new(), MESSAGE, &mut signature).unwrap();
    signature
}

#[test]
fn rsa_pkcs1_verifies_only_when_announced_as_such() {
    let (key, pair) = rsa_pair();
    let pkcs1 = rsa_sign(&pair, &aws_lc_rs::signature::RSA_PKCS1_SHA256);
    verify(&key, &Method::RsaPkcs1v15, &pkcs1).unwrap();
    verify(&key, &Method::RsaPss, &pkcs1).unwrap_err();
    let pss = rsa_sign(&pair, &RSA_PSS_SHA256);
    verify(&key, &Method::RsaPss, &pss).unwrap();
    verify(&key, &Method::RsaPkcs1v15, &pss).unwrap_err();
}

#[test]
fn rsa_pss_with_another_salt_length_or_hash_is_refused() {
    let (key, pair) = rsa_pair();
    for bad in [
        rsa_sign(&pair, const { &RSA_PSS_SHA256.with_pss_salt_length(RsaPssSaltLength::Custom(0)) }),
        rsa_sign(&pair, const { &RSA_PSS_SHA256.with_pss_salt_length(RsaPssSaltLength::Custom(20)) }),
        rsa_sign(&pair, const { &RSA_PSS_SHA256.with_pss_salt_length(RsaPssSaltLength::Custom(64)) }),
        rsa_sign(&pair, &RSA_PSS_SHA512),
        rsa_sign(&pair, &RSA_PKCS1_SHA512),
    ] {
        for method in [Method::RsaPss, Method::RsaPkcs1v15] {
            assert_eq!(verify(&key, &method, &bad), Err(SignatureError::Invalid));
        }
    }
}

#[test]
fn rsa_signatures_of_another_length_are_refused() {
    let (key, pair) = rsa_pair();
    let good = rsa_sign(&pair, &RSA_PSS_SHA256);
    for bad in [&good[1..], &[&[0], good.as_slice()].concat(), &[], &[0; 256][..255]] {
        assert!(matches!(verify(&key, &Method::RsaPss, bad), Err(SignatureError::Length { expected: 256, .. })));
    }
    assert_eq!(verify(&key, &Method::RsaPss, &[0; 256]), Err(SignatureError::Invalid));
    assert_eq!(verify(&key, &Method::RsaPss, &[0xff; 256]), Err(SignatureError::Invalid));
}

#[test]
fn rsa_pkcs1_forged_by_garbage_after_the_hash_is_refused() {
    let modulus = hex::decode(include_str!("data/exponent-3-modulus.hex").trim()).unwrap();
    let forged = hex::decode(include_str!("data/exponent-3-forgery.hex").trim()).unwrap();
    let key = PublicKey::new(KeyType::Rsa, rsa_key(&modulus, &[3]));
    let verdict = key.verifying_key().unwrap().verify(&Method::RsaPkcs1v15, &Message::new(b"forged"), &forged);
    assert_eq!(verdict, Err(SignatureError::Invalid));
}

#[test]
fn pycrypto_signatures_verify_only_by_keys_in_pem() {
    let (key, pair) = rsa_pair();
    let pem = pem::encode(&pem::Pem::new("PUBLIC KEY", key.bytes()));
    let in_pem = PublicKey::new(KeyType::Rsa, pem.into_bytes());
    let signature = rsa_sign(&pair, &RSA_PSS_SHA256);
    verify(&in_pem, &Method::PycryptoPss, &signature).unwrap();
    verify(&in_pem, &Method::RsaPss, &signature).unwrap_err();
    verify(&key, &Method::PycryptoPss, &signature).unwrap_err();
    assert_ne!(in_pem.id(), key.id());
    assert_eq!(in_pem.verifying_key().unwrap().identity(), key.id(), "thresholds count the public key");
}

#[test]
fn signatures_that_python_made_verify() {
    // Signatures over one sentence by PyCrypto and by PyNaCl, as the reference's tests hold them.
    let sentence = b"The quick brown fox jumps over the lazy dog.";
    let pem = include_str!("data/pycrypto.pem").trim_end();
    let pycrypto = hex::decode(include_str!("data/pycrypto-signature.hex").trim_end()).unwrap();
    let nacl_key = hex::decode("846612b43cef909a0e4ea9c818379bca4723a2020619f95e7a0ccc6f0850b7dc").unwrap();
    let nacl = hex::decode(
        "166e7013e48f26dccb4e68fe4cf558d1cd3af902f8395534336a7f8b4c565886\
         94aa3ac671767246298a59d5ef4224f02c854f41bfcfe70241db4be1546d6a00",
    )
    .unwrap();
    for (key, method, signature) in [
        (PublicKey::new(KeyType::Rsa, pem.into()), "PyCrypto-PKCS#1 PSS", pycrypto),
        (PublicKey::new(KeyType::Ed25519, nacl_key), "eddsa", nacl),
    ] {
        let (key, method) = (key.verifying_key().unwrap(), Method::parse(method));
        key.verify(&method, &Message::new(sentence), &signature).unwrap();
        assert_eq!(key.verify(&method, &Message::new(b"another sentence"), &signature), Err(SignatureError::Invalid));
    }
}

#[test]
fn ed25519_with_the_group_order_added_to_s_is_refused() {
    const ORDER: &str = "edd3f55c1a631258d69cf7a2def9de1400000000000000000000000000000010";
    let key = PrivateKey::generate(Algorithm::Ed25519).unwrap();
    let mut signature = key.sign(MESSAGE).unwrap();
    let mut carry = 0_u16;
    for (byte, order) in signature[32..].iter_mut().zip(hex::decode(ORDER).unwrap()) {
        let sum = u16::from(*byte) + u16::from(order) + carry;
        *byte = u8::try_from(sum % 256).unwrap();
        carry = sum / 256;
    }
    assert_eq!(verify(key.public_key(), &Method::Eddsa, &signature), Err(SignatureError::Invalid));
}

#[test]
fn ed25519_of_another_length_is_refused() {
    let key = PrivateKey::generate(Algorithm::Ed25519).unwrap();
    let good = key.sign(MESSAGE).unwrap();
    for bad in [&good[..63], &[good.as_slice(), &[0]].concat(), &[]] {
        assert!(matches!(
            verify(key.public_key(), &Method::Eddsa, bad),
            Err(SignatureError::Length { expected: 64, .. })
        ));
    }
}

#[test]
fn ed25519_signs_the_message_itself() {
    // RFC 8032, 7.1, test 2.
    let seed = hex::decode("4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb").unwrap();
    let key = PrivateKey::from_ed25519_seed(&seed).unwrap();
    assert_eq!(
        hex::encode(key.sign(&[0x72]).unwrap()),
        "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da085ac1e43e15996e458f3613d0f11d8c\
         387b2eaeb4302aeeb00d291612bb0c00"
    );
}

#[test]
fn a_method_mismatch_names_no_more_than_a_little_of_the_method() {
    let key = ecdsa(Algorithm::EcdsaP256);
    let error = verify(key.public_key(), &Method::parse(&"\u{1b}[2J".repeat(5000)), &[]).unwrap_err();
    assert!(error.to_string().len() < 300, "{error}");
    assert!(!error.to_string().contains('\u{1b}'));
}

#[test]
fn the_message_is_hashed_once_and_shared() {
    let message = Message::new(MESSAGE);
    assert_eq!(message.sha256(), &countersign_crypto::digest::sha256(MESSAGE));
    assert_eq!(message.bytes(), MESSAGE);
}
