//! PKCS#8, plain and encrypted: what is read beside the reference's own form, and what is refused.

use std::time::{Duration, Instant};

use countersign_crypto::{KeyError, KeyType, PrivateKeyError};
use countersign_keyfile::{KeyBlock, KeyFileError, MAX_ITERATIONS};
use der::asn1::{ObjectIdentifier, OctetString};
use der::{Any, AnyRef, Encode as _, Sequence};

use crate::golden::{block, bytes, key_vectors, read, text};

const EC: &str = "1.2.840.10045.2.1";
const P256: &str = "1.2.840.10045.3.1.7";
const RSA: &str = "1.2.840.113549.1.1.1";

#[derive(Sequence)]
struct Algorithm {
    oid: ObjectIdentifier,
    #[asn1(optional = "true")]
    parameters: Option<Any>,
}

#[derive(Sequence)]
struct Info {
    version: u8,
    algorithm: Algorithm,
    key: OctetString,
    #[asn1(optional = "true")]
    extra: Option<Any>,
}

fn oid(text: &str) -> ObjectIdentifier {
    ObjectIdentifier::new(text).unwrap()
}

fn info(version: u8, algorithm: &str, parameters: Option<Any>, key: &[u8], extra: Option<Any>) -> KeyBlock {
    let algorithm = Algorithm { oid: oid(algorithm), parameters };
    let der = Info { version, algorithm, key: OctetString::new(key).unwrap(), extra }.to_der().unwrap();
    armored("PRIVATE KEY", &der)
}

fn armored(label: &str, der: &[u8]) -> KeyBlock {
    block(pem::encode(&pem::Pem::new(label, der)).as_bytes())
}

fn curve(text: &str) -> Any {
    Any::encode_from(&oid(text)).unwrap()
}

fn private(name: &str) -> Vec<u8> {
    bytes(key_vectors().iter().find(|vector| vector["name"] == name).unwrap(), "private_b64")
}

#[test]
fn versions_zero_and_one_are_read_and_no_other() {
    let key = private("ecdsa-P-256");
    for version in [0, 1] {
        info(version, EC, Some(curve(P256)), &key, None).decode().unwrap();
    }
    for version in [2, 3, 255] {
        let verdict = info(version, EC, Some(curve(P256)), &key, None).decode();
        assert!(matches!(verdict, Err(KeyFileError::Malformed(_))));
    }
}

#[test]
fn rsa_is_read_with_and_without_null() {
    let key = private("rsa-2048");
    for version in [0, 1] {
        info(version, RSA, None, &key, None).decode().unwrap();
        info(version, RSA, Some(Any::null()), &key, None).decode().unwrap();
    }
    assert!(info(0, RSA, Some(curve(P256)), &key, None).decode().is_err());
}

#[test]
fn the_curve_may_stand_inside_outside_or_in_both_but_only_one() {
    let whole = private("ecdsa-P-256");
    let without = {
        let key = sec1(&whole[7..39], None);
        info(0, EC, Some(curve(P256)), &key, None).decode().unwrap()
    };
    assert_eq!(without.to_private_bytes().unwrap().as_slice(), whole);
    info(0, EC, None, &whole, None).decode().unwrap();
    assert_eq!(
        info(0, EC, Some(curve("1.3.132.0.34")), &whole, None).decode().unwrap_err(),
        KeyFileError::Key(PrivateKeyError::Inconsistent(KeyType::Ecdsa))
    );
}

/// A SEC1 key of nothing but the number, and perhaps the name of the curve.
fn sec1(scalar: &[u8], curve: Option<&str>) -> Vec<u8> {
    #[derive(Sequence)]
    struct Sec1<'a> {
        version: u8,
        scalar: &'a der::asn1::OctetStringRef,
        #[asn1(context_specific = "0", tag_mode = "EXPLICIT", optional = "true")]
        curve: Option<ObjectIdentifier>,
    }
    Sec1 { version: 1, scalar: der::asn1::OctetStringRef::new(scalar).unwrap(), curve: curve.map(oid) }
        .to_der()
        .unwrap()
}

#[test]
fn curves_that_are_not_accepted_are_named() {
    for name in ["1.3.132.0.33", "1.3.132.0.10"] {
        let verdict = info(1, EC, Some(curve(name)), &sec1(&[7; 28], Some(name)), None).decode();
        assert_eq!(
            verdict.unwrap_err(),
            KeyFileError::Key(PrivateKeyError::Refused(KeyError::UnsupportedCurve(name.into())))
        );
    }
}

#[test]
fn ed25519_is_read_under_both_identifiers_and_each_only_in_its_form() {
    let notary = private("ed25519");
    let seed = [&[4, 32][..], &notary[32..64]].concat();
    let ours = info(0, "1.3.6.1.4.1.11591.15.1", None, &notary, None).decode().unwrap();
    let standard = info(0, "1.3.101.112", None, &seed, None).decode().unwrap();
    assert_eq!(ours.public_key(), standard.public_key());
    assert!(info(0, "1.3.6.1.4.1.11591.15.1", None, &seed, None).decode().is_err());
    assert!(info(0, "1.3.101.112", None, &notary, None).decode().is_err());
}

#[test]
fn a_public_key_beside_the_private_one_has_to_belong_to_it() {
    let notary = private("ed25519");
    let seed = [&[4, 32][..], &notary[32..64]].concat();
    let beside = |public: &[u8]| {
        let value = [&[0x81, u8::try_from(public.len() + 1).unwrap(), 0][..], public].concat();
        let extra = Any::from(AnyRef::try_from(value.as_slice()).unwrap());
        info(1, "1.3.101.112", None, &seed, Some(extra)).decode()
    };
    beside(&notary[..32]).unwrap();
    for wrong in [&[7; 32][..], &notary[32..64], &[]] {
        assert_eq!(beside(wrong).unwrap_err(), KeyFileError::Key(PrivateKeyError::Inconsistent(KeyType::Ed25519)));
    }
}

#[test]
fn unknown_algorithms_and_extra_members_are_refused() {
    let verdict = info(0, "1.2.840.10040.4.1", None, &[1, 2, 3], None).decode();
    assert!(matches!(verdict, Err(KeyFileError::Key(PrivateKeyError::UnsupportedType(_)))));
    let verdict = info(0, EC, Some(curve(P256)), &private("ecdsa-P-256"), Some(Any::null())).decode();
    assert!(matches!(verdict, Err(KeyFileError::Malformed(_))));
    for garbage in [&[][..], &[0x30, 0], &[0x30, 0x80, 0, 0], &[0xff; 50]] {
        if garbage.is_empty() {
            continue;
        }
        assert!(matches!(armored("PRIVATE KEY", garbage).decode(), Err(KeyFileError::Malformed(_))));
    }
}

#[test]
fn encryption_by_modern_openssl_is_read() {
    for kind in ["ec-p256", "ec-p384", "rsa2048", "rsa4096"] {
        let file = read(&format!("key-bundles/inputs/{kind}.pkcs8-enc.key"));
        let plain = block(&read(&format!("key-bundles/inputs/{kind}.key"))).decode().unwrap();
        let encrypted = block(&file).decrypt(b"golden-user-pass").unwrap();
        assert_eq!(encrypted.public_key(), plain.public_key());
    }
}

/// A vector's encrypted body, in which a test replaces bytes.
fn encrypted() -> (Vec<u8>, Vec<u8>) {
    let vector = key_vectors().remove(0);
    let body = pem::parse(text(&vector, "encrypted_pem")).unwrap().into_contents();
    (body, text(&vector, "passphrase").as_bytes().to_vec())
}

fn replaced(from: &str, to: &str) -> KeyBlock {
    let (mut body, _) = encrypted();
    let (from, to) = (hex::decode(from).unwrap(), hex::decode(to).unwrap());
    let start = body.windows(from.len()).position(|window| window == from).unwrap();
    body.splice(start..start + from.len(), to.iter().copied());
    armored("ENCRYPTED PRIVATE KEY", &body)
}

#[test]
fn no_rounds_and_endless_rounds_are_refused_at_once() {
    let start = Instant::now();
    // The rounds stand behind the salt as INTEGER 2048; the lengths around them are kept.
    assert_eq!(
        replaced("02020800", "02020000").decrypt(b"p").unwrap_err(),
        KeyFileError::UnsupportedEncryption("unknown parameters".into()),
        "not DER"
    );
    let with_rounds = |rounds: u32| {
        let (body, passphrase) = encrypted();
        let mut scheme = Parts::of(&body);
        scheme.rounds = rounds;
        armored("ENCRYPTED PRIVATE KEY", &scheme.to_body()).decrypt(&passphrase)
    };
    with_rounds(2048).unwrap();
    for rounds in [0, MAX_ITERATIONS + 1, 100_000_000, 1 << 31, u32::MAX] {
        assert_eq!(
            with_rounds(rounds).unwrap_err(),
            KeyFileError::Iterations { found: rounds.into(), limit: MAX_ITERATIONS }
        );
    }
    assert!(start.elapsed() < Duration::from_secs(2));
}

/// The parts of the reference's encrypted form, put together again with other rounds, salt or IV.
struct Parts {
    salt: Vec<u8>,
    rounds: u32,
    iv: Vec<u8>,
    text: Vec<u8>,
}

impl Parts {
    fn of(body: &[u8]) -> Self {
        let at = |marker: &str| {
            let marker = hex::decode(marker).unwrap();
            body.windows(marker.len()).position(|window| window == marker).unwrap() + marker.len()
        };
        let salt = at("06092a864886f70d01050c300e0408");
        let iv = at("060960864801650304012a0410");
        let text = at("060960864801650304012a0410") + 16 + 3;
        Self {
            salt: body[salt..salt + 8].to_vec(),
            rounds: 2048,
            iv: body[iv..iv + 16].to_vec(),
            text: body[text..].to_vec(),
        }
    }

    fn to_body(&self) -> Vec<u8> {
        let sequence = |parts: &[&[u8]]| Any::new(der::Tag::Sequence, parts.concat()).unwrap().to_der().unwrap();
        let octets = |bytes: &[u8]| OctetString::new(bytes).unwrap().to_der().unwrap();
        let name = |text: &str| oid(text).to_der().unwrap();
        let parameters = sequence(&[&octets(&self.salt), &self.rounds.to_der().unwrap()]);
        let kdf = sequence(&[&name("1.2.840.113549.1.5.12"), &parameters]);
        let cipher = sequence(&[&name("2.16.840.1.101.3.4.1.42"), &octets(&self.iv)]);
        let scheme = sequence(&[&name("1.2.840.113549.1.5.13"), &sequence(&[&kdf, &cipher])]);
        sequence(&[&scheme, &octets(&self.text)])
    }
}

#[test]
fn an_empty_salt_a_short_iv_and_a_cut_ciphertext_are_refused() {
    let (body, passphrase) = encrypted();
    let verdict = |change: &dyn Fn(&mut Parts)| {
        let mut parts = Parts::of(&body);
        change(&mut parts);
        armored("ENCRYPTED PRIVATE KEY", &parts.to_body()).decrypt(&passphrase)
    };
    verdict(&|_| {}).unwrap();
    assert!(matches!(verdict(&|parts| parts.salt.clear()), Err(KeyFileError::Malformed(_))));
    assert!(verdict(&|parts| parts.salt = vec![0; 1000]).is_err());
    assert!(verdict(&|parts| parts.iv.truncate(8)).is_err());
    assert!(matches!(verdict(&|parts| parts.text.truncate(17)), Err(KeyFileError::Malformed(_))));
    assert!(matches!(verdict(&|parts| parts.text.clear()), Err(KeyFileError::Malformed(_))));
    assert_eq!(verdict(&|parts| parts.text.truncate(64)).unwrap_err(), KeyFileError::WrongPassphrase);
}

#[test]
fn other_encryptions_are_refused_by_name() {
    // PBES1 with MD5 and DES, then the reference's form with other identifiers in it.
    let pbes1 = Any::new(
        der::Tag::Sequence,
        hex::decode("301b06092a864886f70d010503300e0408000102030405060702020800040400010203").unwrap(),
    )
    .unwrap()
    .to_der()
    .unwrap();
    let verdict = armored("ENCRYPTED PRIVATE KEY", &pbes1).decrypt(b"p");
    assert!(matches!(verdict, Err(KeyFileError::UnsupportedEncryption(_))), "{verdict:?}");
    for (from, to) in [
        ("060960864801650304012a", "060960864801650304012f"), // AES-256-CFB
        ("06092a864886f70d01050c", "06092a864886f70d01050b"), // not PBKDF2
        ("06092a864886f70d01050d", "06092a864886f70d01050e"), // not PBES2
    ] {
        let verdict = replaced(from, to).decrypt(b"p");
        assert!(matches!(verdict, Err(KeyFileError::UnsupportedEncryption(_))), "{to}: {verdict:?}");
    }
    for garbage in [&[0x30, 0][..], &[0xff; 50], b"hello"] {
        let verdict = armored("ENCRYPTED PRIVATE KEY", garbage).decrypt(b"p");
        assert!(matches!(verdict, Err(KeyFileError::Malformed(_))));
    }
}

#[test]
fn every_changed_byte_of_the_ciphertext_is_noticed() {
    for vector in key_vectors() {
        let body = pem::parse(text(&vector, "encrypted_pem")).unwrap().into_contents();
        let passphrase = text(&vector, "passphrase").as_bytes();
        let step = if body.len() > 600 { 61 } else { 5 };
        // The first block tells version and algorithm, and may be read in more than one way; see the next test.
        for position in (95..body.len()).step_by(step) {
            let mut damaged = body.clone();
            damaged[position] ^= 0x10;
            let verdict = armored("ENCRYPTED PRIVATE KEY", &damaged).decrypt(passphrase);
            assert!(verdict.is_err(), "{} at {position}", text(&vector, "name"));
        }
    }
}

#[test]
fn a_changed_file_never_gives_another_key() {
    let vector = key_vectors().remove(0);
    let body = pem::parse(text(&vector, "encrypted_pem")).unwrap().into_contents();
    for position in 0..body.len() {
        let mut damaged = body.clone();
        damaged[position] ^= 1;
        if let Ok(key) = armored("ENCRYPTED PRIVATE KEY", &damaged).decrypt(text(&vector, "passphrase").as_bytes()) {
            assert_eq!(key.public_key().id().to_string(), text(&vector, "key_id"), "{position}");
        }
    }
}

#[test]
fn a_wrong_passphrase_is_called_that_every_time() {
    let (body, _) = encrypted();
    let block = armored("ENCRYPTED PRIVATE KEY", &body);
    for count in 0..600_u32 {
        assert_eq!(block.decrypt(&count.to_le_bytes()).unwrap_err(), KeyFileError::WrongPassphrase, "{count}");
    }
}

#[test]
fn a_passphrase_counts_byte_for_byte() {
    let (body, passphrase) = encrypted();
    let block = armored("ENCRYPTED PRIVATE KEY", &body);
    block.decrypt(&passphrase).unwrap();
    for change in [" ", "\n"] {
        let longer = [passphrase.as_slice(), change.as_bytes()].concat();
        assert_eq!(block.decrypt(&longer).unwrap_err(), KeyFileError::WrongPassphrase);
    }
    let huge = vec![b'p'; 10_000_000];
    assert_eq!(block.decrypt(&huge).unwrap_err(), KeyFileError::WrongPassphrase);
}

#[derive(Sequence)]
struct Scrypt {
    salt: OctetString,
    cost: u64,
    block_size: u16,
    parallelization: u16,
}

#[derive(Sequence)]
struct Pbes2 {
    kdf: Algorithm,
    cipher: Algorithm,
}

#[derive(Sequence)]
struct Encrypted {
    scheme: Algorithm,
    text: OctetString,
}

fn with_scrypt(salt: &[u8], cost: u64, block_size: u16, parallelization: u16) -> KeyFileError {
    let scrypt = Scrypt { salt: OctetString::new(salt).unwrap(), cost, block_size, parallelization };
    let kdf = Algorithm { oid: oid("1.3.6.1.4.1.11591.4.11"), parameters: Some(Any::encode_from(&scrypt).unwrap()) };
    let iv = OctetString::new([0; 16]).unwrap();
    let cipher = Algorithm { oid: oid("2.16.840.1.101.3.4.1.42"), parameters: Some(Any::encode_from(&iv).unwrap()) };
    let parameters = Some(Any::encode_from(&Pbes2 { kdf, cipher }).unwrap());
    let scheme = Algorithm { oid: oid("1.2.840.113549.1.5.13"), parameters };
    let body = Encrypted { scheme, text: OctetString::new([0; 160]).unwrap() }.to_der().unwrap();
    armored("ENCRYPTED PRIVATE KEY", &body).decrypt(b"p").unwrap_err()
}

#[test]
fn scrypt_that_would_take_all_memory_or_time_is_refused_at_once() {
    // Within the bounds work is done, and only the passphrase is wrong.
    assert_eq!(with_scrypt(b"salt", 1 << 14, 8, 1), KeyFileError::WrongPassphrase);
    let start = Instant::now();
    for (cost, block_size, parallelization) in [
        (1 << 19, 8, 1),
        (1 << 18, 9, 1),
        (1 << 40, 8, 1),
        (1 << 63, 8, 1),
        (1 << 10, u16::MAX, u16::MAX),
        (2, 8, u16::MAX),
        (1 << 14, 8, 65),
        (1000, 8, 1),
        (0, 8, 1),
        (1, 8, 1),
        (1 << 14, 0, 1),
        (1 << 14, 8, 0),
    ] {
        let refused = with_scrypt(b"salt", cost, block_size, parallelization);
        if (cost, parallelization) == (2, u16::MAX) {
            // Little work after all: p is large, but N is nothing.
            assert_eq!(refused, KeyFileError::WrongPassphrase);
            continue;
        }
        assert_eq!(refused, KeyFileError::Scrypt { cost, block_size, parallelization });
    }
    assert!(start.elapsed() < Duration::from_secs(3), "{:?}", start.elapsed());
    assert_eq!(with_scrypt(b"", 1 << 14, 8, 1), KeyFileError::Malformed("the salt is empty"));
}
