//! The real openssl reads what this crate writes, and the other way round.

use std::process::Command;

use countersign_crypto::{Algorithm, PrivateKey, SystemRandom};
use countersign_keyfile::{KeyBlock, Protection};

use crate::golden::block;

fn openssl(arguments: &[&str]) -> Vec<u8> {
    let output = Command::new("openssl").args(arguments).output();
    let output = output.unwrap_or_else(|error| panic!("these tests need openssl: {error}"));
    assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    output.stdout
}

fn file(folder: &tempfile::TempDir, name: &str, content: &[u8]) -> String {
    let path = folder.path().join(name);
    std::fs::write(&path, content).unwrap();
    path.to_str().unwrap().to_owned()
}

fn public_der(key: &str, passphrase: &str) -> Vec<u8> {
    openssl(&["pkey", "-in", key, "-passin", &format!("pass:{passphrase}"), "-pubout", "-outform", "DER"])
}

#[test]
fn openssl_reads_what_is_written() {
    let folder = tempfile::tempdir().unwrap();
    for algorithm in [Algorithm::EcdsaP256, Algorithm::EcdsaP384, Algorithm::EcdsaP521, Algorithm::Rsa { bits: 2048 }] {
        let key = PrivateKey::generate(algorithm).unwrap();
        for protection in [
            Protection::None,
            Protection::Compatible(b"pass word"),
            Protection::Pbkdf2Sha256(b"pass word"),
            Protection::Scrypt(b"pass word"),
        ] {
            let pem = KeyBlock::seal(&key, protection, &mut SystemRandom).unwrap().to_pem();
            let path = file(&folder, "key.pem", pem.as_bytes());
            assert_eq!(public_der(&path, "pass word"), key.public_key().bytes(), "{algorithm:?} {protection:?}");
        }
    }
}

#[test]
fn every_legacy_cipher_of_openssl_is_read() {
    let folder = tempfile::tempdir().unwrap();
    let plain = openssl(&["genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256"]);
    let plain = file(&folder, "plain.pem", &plain);
    for cipher in ["-aes-128-cbc", "-aes-192-cbc", "-aes-256-cbc", "-des3"] {
        let pem = openssl(&["ec", "-in", &plain, cipher, "-passout", "pass:secret"]);
        assert!(String::from_utf8_lossy(&pem).contains("DEK-Info"));
        let key = block(&pem).decrypt(b"secret").unwrap();
        assert_eq!(key.public_key().bytes(), public_der(&plain, ""), "{cipher}");
        block(&pem).decrypt(b"Secret").unwrap_err();
    }
    let pem = openssl(&[
        "ec",
        "-in",
        &plain,
        "-des-cbc",
        "-passout",
        "pass:secret",
        "-provider",
        "legacy",
        "-provider",
        "default",
    ]);
    assert_eq!(block(&pem).decrypt(b"secret").unwrap().public_key().bytes(), public_der(&plain, ""));
}

#[test]
fn every_hash_and_aes_of_openssl_pkcs8_is_read() {
    let folder = tempfile::tempdir().unwrap();
    let plain =
        file(&folder, "plain.pem", &openssl(&["genpkey", "-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:2048"]));
    for hash in ["hmacWithSHA1", "hmacWithSHA224", "hmacWithSHA256", "hmacWithSHA384", "hmacWithSHA512"] {
        for cipher in ["aes-128-cbc", "aes-192-cbc", "aes-256-cbc"] {
            let pem = openssl(&[
                "pkcs8",
                "-topk8",
                "-in",
                &plain,
                "-v2",
                cipher,
                "-v2prf",
                hash,
                "-iter",
                "4000",
                "-passout",
                "pass:secret",
            ]);
            let key = block(&pem).decrypt(b"secret").unwrap();
            assert_eq!(key.public_key().bytes(), public_der(&plain, ""), "{hash} {cipher}");
        }
    }
}

#[test]
fn ed25519_of_openssl_is_read() {
    let folder = tempfile::tempdir().unwrap();
    let pem = openssl(&["genpkey", "-algorithm", "ED25519"]);
    let path = file(&folder, "key.pem", &pem);
    let key = block(&pem).decode().unwrap();
    assert!(public_der(&path, "").ends_with(key.public_key().bytes()));
}

#[test]
fn scrypt_of_openssl_is_read() {
    let folder = tempfile::tempdir().unwrap();
    let plain = openssl(&["genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256"]);
    let plain = file(&folder, "plain.pem", &plain);
    for cost in [&[][..], &["-scrypt_N", "1024", "-scrypt_r", "4", "-scrypt_p", "2"]] {
        let mut arguments = vec!["pkcs8", "-topk8", "-in", plain.as_str(), "-passout", "pass:secret", "-scrypt"];
        arguments.extend(cost);
        let pem = openssl(&arguments);
        assert_eq!(block(&pem).decrypt(b"secret").unwrap().public_key().bytes(), public_der(&plain, ""));
        block(&pem).decrypt(b"Secret").unwrap_err();
    }
}

#[test]
fn triple_des_of_openssl_is_refused_without_work() {
    let folder = tempfile::tempdir().unwrap();
    let plain = openssl(&["genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256"]);
    let plain = file(&folder, "plain.pem", &plain);
    let pem = openssl(&["pkcs8", "-topk8", "-in", &plain, "-passout", "pass:secret", "-v2", "des3"]);
    let verdict = block(&pem).decrypt(b"secret");
    assert!(matches!(verdict, Err(countersign_keyfile::KeyFileError::UnsupportedEncryption(_))), "{verdict:?}");
}
