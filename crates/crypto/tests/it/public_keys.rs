//! Public keys that must be refused.

use std::time::{Duration, Instant};

use countersign_crypto::{KeyError, KeyType, PublicKey};
use der::asn1::{BitStringRef, ObjectIdentifier, UintRef};
use der::{AnyRef, Decode as _, Encode as _, Sequence};

use crate::golden::{bytes, key_vector, key_vectors, read, text};

#[derive(Sequence)]
struct RsaNumbers<'a> {
    modulus: UintRef<'a>,
    exponent: UintRef<'a>,
}

#[derive(Sequence)]
struct Algorithm<'a> {
    oid: ObjectIdentifier,
    #[asn1(optional = "true")]
    parameters: Option<AnyRef<'a>>,
}

#[derive(Sequence)]
struct Info<'a> {
    algorithm: Algorithm<'a>,
    key: BitStringRef<'a>,
}

fn info(oid: &str, parameters: Option<AnyRef<'_>>, key: &[u8]) -> Vec<u8> {
    let algorithm = Algorithm { oid: ObjectIdentifier::new(oid).unwrap(), parameters };
    Info { algorithm, key: BitStringRef::from_bytes(key).unwrap() }.to_der().unwrap()
}

/// A DER public key made of any two numbers.
pub(crate) fn rsa_key(modulus: &[u8], exponent: &[u8]) -> Vec<u8> {
    let numbers = RsaNumbers { modulus: UintRef::new(modulus).unwrap(), exponent: UintRef::new(exponent).unwrap() };
    info("1.2.840.113549.1.1.1", Some(AnyRef::NULL), &numbers.to_der().unwrap())
}

fn modulus(bits: usize) -> Vec<u8> {
    let mut modulus = vec![0xa5; bits / 8];
    modulus[0] |= 0x80;
    modulus
}

fn refusal(key_type: KeyType, key: &[u8]) -> KeyError {
    PublicKey::new(key_type, key.to_vec()).verifying_key().unwrap_err()
}

#[test]
fn rsa_keys_of_every_accepted_size_pass() {
    for bits in [2048, 3072, 4096, 8192] {
        PublicKey::new(KeyType::Rsa, rsa_key(&modulus(bits), &[1, 0, 1])).verifying_key().unwrap();
    }
    PublicKey::new(KeyType::Rsa, rsa_key(&modulus(2048), &[3])).verifying_key().unwrap();
}

#[test]
fn rsa_keys_that_are_short_or_huge_are_refused_at_once() {
    let start = Instant::now();
    for bits in [512, 1024, 2040, 8200, 16_384, 65_536] {
        let error = refusal(KeyType::Rsa, &rsa_key(&modulus(bits), &[1, 0, 1]));
        assert!(matches!(error, KeyError::RsaSize { .. } | KeyError::Malformed { .. }), "{bits}: {error}");
    }
    assert!(start.elapsed() < Duration::from_secs(1));
    assert_eq!(refusal(KeyType::Rsa, &rsa_key(&modulus(1024), &[1, 0, 1])), KeyError::RsaSize { bits: 1024 });
}

#[test]
fn rsa_modulus_one_bit_short_is_refused() {
    let mut short = modulus(2048);
    short[0] = 0x7f;
    assert_eq!(refusal(KeyType::Rsa, &rsa_key(&short, &[1, 0, 1])), KeyError::RsaSize { bits: 2047 });
}

#[test]
fn rsa_exponents_zero_one_even_and_huge_are_refused() {
    for exponent in [&[0][..], &[1], &[2], &[1, 0, 0], &[0xff; 64]] {
        let error = refusal(KeyType::Rsa, &rsa_key(&modulus(2048), exponent));
        assert!(matches!(error, KeyError::UnsafeRsa(_)), "{exponent:?}: {error}");
    }
}

#[test]
fn rsa_even_modulus_is_refused() {
    let mut even = modulus(2048);
    even[255] = 0xa4;
    assert!(matches!(refusal(KeyType::Rsa, &rsa_key(&even, &[1, 0, 1])), KeyError::UnsafeRsa(_)));
}

#[test]
fn rsa_without_null_parameters_is_refused() {
    let good = rsa_key(&modulus(2048), &[1, 0, 1]);
    let inner = Info::from_der(&good).unwrap();
    let key = inner.key.as_bytes().unwrap();
    for bad in [info("1.2.840.113549.1.1.1", None, key), key.to_vec()] {
        assert!(matches!(refusal(KeyType::Rsa, &bad), KeyError::Malformed { .. }));
    }
}

#[test]
fn bytes_behind_the_der_are_refused() {
    for name in ["ecdsa-P-256", "rsa-2048"] {
        let vector = key_vector(name);
        let mut key = bytes(&vector, "public_b64");
        key.push(0);
        assert!(matches!(refusal(text(&vector, "keytype").into(), &key), KeyError::Malformed { .. }));
    }
}

#[test]
fn cut_keys_are_refused_at_every_length() {
    for vector in key_vectors() {
        let key = bytes(&vector, "public_b64");
        for length in 0..key.len() {
            refusal(text(&vector, "keytype").into(), &key[..length]);
        }
    }
}

#[test]
fn points_off_the_curve_at_infinity_or_compressed_are_refused() {
    let good = bytes(&key_vector("ecdsa-P-256"), "public_b64");
    let curve = ObjectIdentifier::new_unwrap("1.2.840.10045.3.1.7");
    let point = &good[good.len() - 65..];
    let with = |point: &[u8]| info("1.2.840.10045.2.1", Some(AnyRef::from(&curve)), point);
    assert_eq!(with(point), good);

    let mut off = point.to_vec();
    off[64] ^= 1;
    assert_eq!(refusal(KeyType::Ecdsa, &with(&off)), KeyError::BadPoint(KeyType::Ecdsa));
    let zero = [&[4][..], &[0; 64]].concat();
    assert_eq!(refusal(KeyType::Ecdsa, &with(&zero)), KeyError::BadPoint(KeyType::Ecdsa));
    let over = [&[4][..], &[0xff; 64]].concat();
    assert_eq!(refusal(KeyType::Ecdsa, &with(&over)), KeyError::BadPoint(KeyType::Ecdsa));
    let compressed = [&[2 + (point[64] & 1)], &point[1..33]].concat();
    let hybrid = [&[6 + (point[64] & 1)], &point[1..]].concat();
    for bad in [&[0][..], &[], &compressed, &hybrid, &point[..64], &[point, &[0]].concat()] {
        assert!(matches!(refusal(KeyType::Ecdsa, &with(bad)), KeyError::Malformed { .. }));
    }
}

#[test]
fn curves_without_a_name_or_with_another_are_refused() {
    let good = bytes(&key_vector("ecdsa-P-256"), "public_b64");
    let point = &good[good.len() - 65..];
    for curve in ["1.3.132.0.33", "1.3.132.0.10", "1.2.840.10045.3.1.1"] {
        let oid = ObjectIdentifier::new(curve).unwrap();
        let key = info("1.2.840.10045.2.1", Some(AnyRef::from(&oid)), point);
        assert_eq!(refusal(KeyType::Ecdsa, &key), KeyError::UnsupportedCurve(curve.into()));
    }
    for parameters in [None, Some(AnyRef::NULL)] {
        let key = info("1.2.840.10045.2.1", parameters, point);
        assert!(matches!(refusal(KeyType::Ecdsa, &key), KeyError::UnsupportedCurve(_)));
    }
}

#[test]
fn a_point_of_another_curve_is_refused() {
    let p384 = bytes(&key_vector("ecdsa-P-384"), "public_b64");
    let curve = ObjectIdentifier::new_unwrap("1.2.840.10045.3.1.7");
    let key = info("1.2.840.10045.2.1", Some(AnyRef::from(&curve)), &p384[p384.len() - 97..]);
    assert!(matches!(refusal(KeyType::Ecdsa, &key), KeyError::Malformed { .. }));
}

#[test]
fn p224_is_refused() {
    let pem = read("x509/ec-p224.crt");
    assert!(matches!(refusal(KeyType::EcdsaX509, &pem), KeyError::UnsupportedCurve(_)));
}

#[test]
fn mislabelled_keys_are_refused() {
    let ecdsa = bytes(&key_vector("ecdsa-P-256"), "public_b64");
    let rsa = bytes(&key_vector("rsa-2048"), "public_b64");
    let ed25519 = bytes(&key_vector("ed25519"), "public_b64");
    assert!(matches!(refusal(KeyType::Rsa, &ecdsa), KeyError::WrongKind { .. }));
    assert!(matches!(refusal(KeyType::Ecdsa, &rsa), KeyError::WrongKind { .. }));
    for key in [&ecdsa, &rsa] {
        assert!(matches!(refusal(KeyType::Ed25519, key), KeyError::Malformed { .. }));
    }
    for key_type in [KeyType::Ecdsa, KeyType::Rsa, KeyType::EcdsaX509, KeyType::RsaX509] {
        refusal(key_type, &ed25519);
    }
    let certificate = text(&key_vector("rsa-2048"), "cert_pem").as_bytes().to_vec();
    assert!(matches!(refusal(KeyType::EcdsaX509, &certificate), KeyError::WrongKind { .. }));
    refusal(KeyType::Rsa, &certificate);
    refusal(KeyType::Ecdsa, &certificate);
    refusal(KeyType::EcdsaX509, &ecdsa);
}

#[test]
fn unknown_types_are_carried_but_never_verify() {
    for name in ["", "gpg", "ECDSA", "ecdsa-sha2-nistp256", "rsa ", "ed25519\u{0}"] {
        let key = PublicKey::new(name.into(), vec![1, 2, 3]);
        assert_eq!(key.key_type().as_str(), name);
        assert_eq!(key.bytes(), [1, 2, 3]);
        assert_eq!(key.canonical_id(), key.id());
        assert!(matches!(key.verifying_key(), Err(KeyError::UnsupportedType(_))));
    }
}

#[test]
fn messages_show_no_control_characters_of_a_key() {
    let nasty = "\u{1b}[2J\r\n";
    let pem = format!("-----BEGIN {nasty}-----\nAAAA\n-----END {nasty}-----\n");
    for error in [
        refusal(nasty.into(), &[]),
        PublicKey::from_pem(pem.as_bytes()).unwrap_err(),
        PublicKey::from_pem(pem.replacen("END", "END x", 1).as_bytes()).unwrap_err(),
        refusal(KeyType::EcdsaX509, pem.as_bytes()),
        refusal(KeyType::Rsa, pem.as_bytes()),
    ] {
        assert!(!error.to_string().chars().any(char::is_control), "{error:?}");
    }
}

#[test]
fn key_types_with_quotes_stay_one_canonical_string() {
    let key = PublicKey::new("a\"b\\c".into(), Vec::new());
    assert_eq!(key.to_json(), r#"{"keytype":"a\"b\\c","keyval":{"private":null,"public":""}}"#);
}

#[test]
fn ed25519_points_of_small_order_are_refused_in_every_spelling() {
    let order_eight = [
        "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05",
        "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a",
    ];
    let top = "ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f";
    let mut points: Vec<String> = order_eight.map(str::to_owned).to_vec();
    points.push("00".repeat(32));
    points.push(format!("01{}", "00".repeat(31)));
    points.extend(["ec", "ed", "ee"].map(|low| format!("{low}{top}")));
    for point in points {
        let mut key = hex::decode(&point).unwrap();
        for sign in [0, 0x80] {
            key[31] = (key[31] & 0x7f) | sign;
            assert_eq!(refusal(KeyType::Ed25519, &key), KeyError::BadPoint(KeyType::Ed25519), "{point} {sign}");
        }
    }
}

#[test]
fn ed25519_coordinates_beyond_the_field_are_refused() {
    for low in 0xed..=0xff {
        let mut key = [0xff; 32];
        key[0] = low;
        key[31] = 0x7f;
        assert_eq!(refusal(KeyType::Ed25519, &key), KeyError::BadPoint(KeyType::Ed25519));
    }
}

#[test]
fn pem_of_a_certificate_or_public_key_becomes_a_key() {
    let from = |path: &str| PublicKey::from_pem(&read(path)).unwrap();
    assert_eq!(
        from("key-bundles/inputs/ec-p256.pub").id().to_string(),
        "d1a92126e882dae7f39ea2c41c93e78cec5cfe521dfb71eb7d2a3256e3daced9"
    );
    assert_eq!(from("key-bundles/inputs/rsa2048.pub").key_type(), &KeyType::Rsa);
    assert_eq!(from("x509/rsa2048.crt").key_type(), &KeyType::RsaX509);
    for bad in ["key-bundles/inputs/ed25519.pub", "x509/ec-p224.crt", "x509/rsa1024.crt", "x509/sha1.crt"] {
        PublicKey::from_pem(&read(bad)).unwrap_err();
    }
    for bad in ["x509/not-a-cert.crt", "key-bundles/inputs/ec-p256.key", "README.md"] {
        PublicKey::from_pem(&read(bad)).unwrap_err();
    }
}

#[test]
fn debug_shows_the_id_and_not_the_bytes() {
    let key = PublicKey::new(KeyType::Ed25519, vec![7; 32]);
    let shown = format!("{key:?}");
    assert!(shown.contains(&key.id().to_string()), "{shown}");
    assert!(!shown.contains("7, 7"), "{shown}");
}
