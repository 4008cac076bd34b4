//! Keys with the encryption of old PEM files.

use countersign_crypto::{KeyType, PrivateKeyError};
use countersign_keyfile::KeyFileError;

use crate::golden::{block, json, read, text};

#[test]
fn vectors_of_the_reference_open() {
    let vectors = json("vectors/legacy-keys.json");
    for vector in vectors.as_array().unwrap() {
        let block = block(text(vector, "pem").as_bytes());
        assert!(block.is_encrypted());
        assert_eq!(block.decode().unwrap_err(), KeyFileError::PassphraseNeeded);
        let key = block.decrypt(text(vector, "passphrase").as_bytes()).unwrap();
        assert_eq!(key.public_key().id().to_string(), text(vector, "key_id"));
        assert_eq!(key.public_key().key_type().as_str(), text(vector, "keytype"));
        for wrong in [&b""[..], b"legacy-pas", b"legacy-pass ", &[0xff; 4]] {
            assert_eq!(block.decrypt(wrong).unwrap_err(), KeyFileError::WrongPassphrase);
        }
    }
}

#[test]
fn unencrypted_old_forms_are_read() {
    for kind in ["ec-p256", "ec-p384", "rsa2048", "rsa4096"] {
        let old = block(&read(&format!("key-bundles/inputs/{kind}.traditional.key"))).decode().unwrap();
        let new = block(&read(&format!("key-bundles/inputs/{kind}.key"))).decode().unwrap();
        assert_eq!(old.public_key(), new.public_key());
    }
}

fn encrypted() -> String {
    String::from_utf8(read("key-bundles/inputs/ec-p256.traditional-enc.key")).unwrap()
}

#[test]
fn unknown_ciphers_are_refused() {
    for cipher in ["BF-CBC", "RC2-40-CBC", "AES-256-GCM", "aes-128-cbc", "", "CAMELLIA-256-CBC"] {
        let pem = encrypted().replace("AES-128-CBC", cipher);
        assert_eq!(
            block(pem.as_bytes()).decrypt(b"p").unwrap_err(),
            KeyFileError::UnsupportedEncryption(cipher.to_owned())
        );
    }
}

#[test]
fn broken_headers_are_refused() {
    let whole = encrypted();
    let line = whole.lines().find(|line| line.starts_with("DEK-Info")).unwrap().to_owned();
    for bad in [
        "DEK-Info: AES-128-CBC",
        "DEK-Info: AES-128-CBC,",
        "DEK-Info: AES-128-CBC,06D3",
        "DEK-Info: AES-128-CBC,zz",
        "DEK-Info: DES-CBC,06D3BA373E9EEEA8E2CD738397E31D76",
        "role: targets",
    ] {
        let verdict = block(whole.replace(&line, bad).as_bytes()).decrypt(b"p");
        assert!(matches!(verdict, Err(KeyFileError::Malformed(_))), "{bad}: {verdict:?}");
    }
}

#[test]
fn a_key_encrypted_in_two_ways_at_once_is_refused() {
    let pem = encrypted().replace("EC PRIVATE KEY", "ENCRYPTED PRIVATE KEY");
    assert!(matches!(block(pem.as_bytes()).decrypt(b"p"), Err(KeyFileError::Malformed(_))));
}

#[test]
fn a_legacy_body_under_the_wrong_label_gives_no_key() {
    let pem = String::from_utf8(read("key-bundles/inputs/ec-p256.traditional.key")).unwrap();
    for (label, key_type) in [("RSA", KeyType::Rsa), ("ED25519", KeyType::Ed25519)] {
        let pem = pem.replace("EC PRIVATE", &format!("{label} PRIVATE"));
        assert_eq!(
            block(pem.as_bytes()).decode().unwrap_err(),
            KeyFileError::Key(PrivateKeyError::Malformed(key_type))
        );
    }
}
