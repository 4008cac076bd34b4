//! The form in which the signer keeps its keys.

use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use countersign_crypto::{Algorithm, KeyType, PrivateKey, PublicKey, SystemRandom};
use countersign_keyfile::{KeyFileError, MAX_ITERATIONS, jwe};

use crate::golden::{Script, bytes, json, key_vectors, text};

#[test]
fn vectors_of_the_reference_open() {
    for vector in key_vectors() {
        let passphrase = text(&vector, "signer_db_passphrase").as_bytes();
        let sealed = text(&vector, "signer_db_private_jwe");
        assert_eq!(jwe::open(sealed, passphrase).unwrap().as_slice(), bytes(&vector, "private_b64"));
        let key = jwe::open_key(sealed, &text(&vector, "keytype").into(), passphrase).unwrap();
        assert_eq!(key.public_key().id().to_string(), text(&vector, "key_id"));
    }
}

#[test]
fn rows_of_the_reference_database_open() {
    for (file, least) in [
        ("database-ecdsa/notarysigner.private_keys.json", 19),
        ("server-keys-ed25519/database/notarysigner.private_keys.json", 3),
    ] {
        let rows = json(file);
        let rows = rows.as_array().unwrap();
        assert!(rows.len() >= least);
        for row in rows {
            assert_eq!((text(row, "keywrap_alg"), text(row, "encryption_alg")), (jwe::KEY_WRAP, jwe::ENCRYPTION));
            let key_type = KeyType::from(text(row, "algorithm"));
            let key = jwe::open_key(text(&row["private"], "text"), &key_type, b"interop-signer-pass").unwrap();
            let public = PublicKey::new(key_type, bytes(&row["public"], "base64"));
            assert_eq!(key.public_key(), &public);
            assert_eq!(public.id().to_string(), text(row, "key_id"));
        }
    }
}

#[test]
fn the_same_randomness_gives_the_bytes_of_the_reference() {
    // The content key is not in the vector, but with it everything else is determined.
    let vector = key_vectors().remove(0);
    let passphrase = text(&vector, "signer_db_passphrase").as_bytes();
    let parts: Vec<&str> = text(&vector, "signer_db_private_jwe").split('.').collect();
    let decoded: Vec<Vec<u8>> = parts.iter().map(|part| URL_SAFE_NO_PAD.decode(part).unwrap()).collect();
    let header: serde_json::Value = serde_json::from_slice(&decoded[0]).unwrap();
    let salt = URL_SAFE_NO_PAD.decode(text(&header, "p2s")).unwrap();
    let mut random = Script::new(&[&salt, &decoded[2], &[9; 32]]);
    let sealed = jwe::seal(b"content", passphrase, &mut random).unwrap();
    let ours: Vec<&str> = sealed.split('.').collect();
    assert_eq!(ours[0], parts[0], "header");
    assert_eq!(ours[2], parts[2], "IV");
    assert_eq!(ours[1].len(), parts[1].len());
}

#[test]
fn keys_of_every_kind_survive() {
    for algorithm in [Algorithm::EcdsaP256, Algorithm::Ed25519, Algorithm::Rsa { bits: 2048 }] {
        let key = PrivateKey::generate(algorithm).unwrap();
        let sealed = jwe::seal_key(&key, b"p", &mut SystemRandom).unwrap();
        let again = jwe::open_key(&sealed, key.public_key().key_type(), b"p").unwrap();
        assert_eq!(again.public_key(), key.public_key());
    }
}

#[test]
fn an_empty_text_survives() {
    let sealed = jwe::seal(b"", b"p", &mut SystemRandom).unwrap();
    assert!(jwe::open(&sealed, b"p").unwrap().is_empty());
}

#[test]
fn a_wrong_passphrase_is_told_from_damaged_content() {
    let sealed = jwe::seal(b"content", b"right", &mut SystemRandom).unwrap();
    assert_eq!(jwe::open(&sealed, b"wrong").unwrap_err(), KeyFileError::WrongPassphrase);
    let parts: Vec<String> = sealed.split('.').map(str::to_owned).collect();
    let damaged = |part: usize| {
        let mut parts = parts.clone();
        let mut bytes = URL_SAFE_NO_PAD.decode(&parts[part]).unwrap();
        bytes[0] ^= 1;
        parts[part] = URL_SAFE_NO_PAD.encode(bytes);
        jwe::open(&parts.join("."), b"right").unwrap_err()
    };
    assert_eq!(damaged(1), KeyFileError::WrongPassphrase);
    for part in [2, 3, 4] {
        assert_eq!(damaged(part), KeyFileError::Damaged);
    }
}

fn with_header(header: &str) -> Result<(), KeyFileError> {
    let sealed = jwe::seal(b"content", b"p", &mut SystemRandom).unwrap();
    let (_, rest) = sealed.split_once('.').unwrap();
    jwe::open(&format!("{}.{rest}", URL_SAFE_NO_PAD.encode(header)), b"p").map(drop)
}

#[test]
fn the_header_is_authenticated() {
    // The same values in another spelling derive the same keys, but are not what was sealed.
    let sealed = jwe::seal(b"content", b"p", &mut SystemRandom).unwrap();
    let (header, rest) = sealed.split_once('.').unwrap();
    let header = String::from_utf8(URL_SAFE_NO_PAD.decode(header).unwrap()).unwrap();
    let spaced = URL_SAFE_NO_PAD.encode(header.replace(",\"", ", \""));
    assert_eq!(jwe::open(&format!("{spaced}.{rest}"), b"p").unwrap_err(), KeyFileError::Damaged);
}

#[test]
fn other_algorithms_are_refused() {
    for (alg, enc) in [
        ("dir", "A256GCM"),
        ("none", "A256GCM"),
        ("RSA-OAEP", "A256GCM"),
        ("PBES2-HS512+A256KW", "A256GCM"),
        (jwe::KEY_WRAP, "A128CBC-HS256"),
        (jwe::KEY_WRAP, "none"),
    ] {
        let header = format!(r#"{{"alg":"{alg}","enc":"{enc}","p2c":8192,"p2s":"AAAAAAAAAAAAAAAA"}}"#);
        assert!(matches!(with_header(&header), Err(KeyFileError::UnsupportedEncryption(_))), "{header}");
    }
}

#[test]
fn unknown_repeated_and_missing_header_members_are_refused() {
    let good = format!(r#""alg":"{}","enc":"{}","p2c":8192,"p2s":"AAAAAAAAAAAAAAAA""#, jwe::KEY_WRAP, jwe::ENCRYPTION);
    assert_eq!(with_header(&format!("{{{good}}}")), Err(KeyFileError::WrongPassphrase));
    for extra in [r#","zip":"DEF""#, r#","crit":["exp"]"#, r#","kid":"x""#, r#","p2c":1"#] {
        assert!(matches!(with_header(&format!("{{{good}{extra}}}")), Err(KeyFileError::Malformed(_))), "{extra}");
    }
    for bad in ["", "{}", "[]", "null", "{", &good] {
        assert!(matches!(with_header(bad), Err(KeyFileError::Malformed(_))), "{bad}");
    }
}

#[test]
fn no_rounds_and_endless_rounds_are_refused_at_once() {
    let start = Instant::now();
    for rounds in ["0", "10000001", "2147483647", "4294967296", "18446744073709551615"] {
        let header = format!(
            r#"{{"alg":"{}","enc":"{}","p2c":{rounds},"p2s":"AAAAAAAAAAAAAAAA"}}"#,
            jwe::KEY_WRAP,
            jwe::ENCRYPTION
        );
        let expected = KeyFileError::Iterations { found: rounds.parse().unwrap(), limit: MAX_ITERATIONS };
        assert_eq!(with_header(&header), Err(expected));
    }
    assert!(start.elapsed() < Duration::from_secs(2));
}

#[test]
fn salts_of_unusual_length_are_refused() {
    for salt in ["", "AAAA", &"AAAA".repeat(22)] {
        let header = format!(r#"{{"alg":"{}","enc":"{}","p2c":8192,"p2s":"{salt}"}}"#, jwe::KEY_WRAP, jwe::ENCRYPTION);
        assert!(matches!(with_header(&header), Err(KeyFileError::Malformed(_))));
    }
}

#[test]
fn texts_that_are_no_compact_jwe_are_refused() {
    let good = jwe::seal(b"content", b"p", &mut SystemRandom).unwrap();
    let (header, rest) = good.split_once('.').unwrap();
    for bad in [
        String::new(),
        "....".to_owned(),
        header.to_owned(),
        format!("{good}."),
        format!("{good}.AAAA"),
        format!("{good}="),
        format!(" {good}"),
        format!("{good}\n"),
        format!("{header}..{}", rest.split_once('.').unwrap().1),
        good.replace('.', " "),
    ] {
        assert!(matches!(jwe::open(&bad, b"p"), Err(KeyFileError::Malformed(_))), "{bad}");
    }
    assert!(matches!(jwe::open(&"A".repeat(1_000_000), b"p"), Err(KeyFileError::TooLarge(_))));
}

#[test]
fn a_key_of_another_type_or_another_thing_is_refused() {
    let key = PrivateKey::generate(Algorithm::EcdsaP256).unwrap();
    let sealed = jwe::seal_key(&key, b"p", &mut SystemRandom).unwrap();
    for key_type in ["ed25519", "rsa", "gpg"] {
        assert!(matches!(jwe::open_key(&sealed, &key_type.into(), b"p"), Err(KeyFileError::Key(_))));
    }
    let other = jwe::seal(b"not a key", b"p", &mut SystemRandom).unwrap();
    assert!(matches!(jwe::open_key(&other, &KeyType::Ecdsa, b"p"), Err(KeyFileError::Key(_))));
}

#[test]
fn an_empty_passphrase_seals_nothing() {
    assert_eq!(jwe::seal(b"x", b"", &mut SystemRandom).unwrap_err(), KeyFileError::EmptyPassphrase);
}
