//! The real openssl verifies what this crate signs, and the other way round.

use std::path::PathBuf;
use std::process::Command;

use countersign_crypto::{Algorithm, Message, PrivateKey, Signer as _, certificate};
use der::asn1::UintRef;
use der::{Decode as _, Encode as _, Sequence};

use crate::golden::now;

const MESSAGE: &[u8] = b"the signed bytes";

#[derive(Sequence)]
struct DerSignature<'a> {
    r: UintRef<'a>,
    s: UintRef<'a>,
}

/// A folder with the message, the keys and signatures for openssl.
struct Desk(tempfile::TempDir);

impl Desk {
    fn new() -> Self {
        let desk = Self(tempfile::tempdir().unwrap());
        desk.put("message", MESSAGE);
        desk
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn put(&self, name: &str, content: &[u8]) {
        std::fs::write(self.path(name), content).unwrap();
    }

    fn get(&self, name: &str) -> Vec<u8> {
        std::fs::read(self.path(name)).unwrap()
    }

    fn openssl(&self, command: &str) -> bool {
        let output = Command::new("openssl").args(command.split(' ')).current_dir(self.0.path()).output();
        let output = output.unwrap_or_else(|error| panic!("these tests need openssl: {error}"));
        output.status.success()
    }
}

/// What makes openssl sign or verify as the protocol does.
fn options(algorithm: Algorithm) -> &'static str {
    match algorithm {
        Algorithm::Rsa { .. } => {
            "dgst -sha256 -sigopt rsa_padding_mode:pss -sigopt rsa_pss_saltlen:32 -sigopt rsa_mgf1_md:sha256"
        }
        _ => "dgst -sha256",
    }
}

const HASHING: [Algorithm; 4] =
    [Algorithm::EcdsaP256, Algorithm::EcdsaP384, Algorithm::EcdsaP521, Algorithm::Rsa { bits: 2048 }];

fn put_public(desk: &Desk, key: &PrivateKey) {
    desk.put("public.pem", pem::encode(&pem::Pem::new("PUBLIC KEY", key.public_key().bytes())).as_bytes());
}

#[test]
fn openssl_verifies_our_signatures() {
    let desk = Desk::new();
    for algorithm in HASHING {
        let key = PrivateKey::generate(algorithm).unwrap();
        put_public(&desk, &key);
        let mut signature = key.sign(MESSAGE).unwrap();
        if key.curve().is_some() {
            let (r, s) = signature.split_at(signature.len() / 2);
            let der = DerSignature { r: UintRef::new(r).unwrap(), s: UintRef::new(s).unwrap() };
            signature = der.to_der().unwrap();
        }
        desk.put("signature", &signature);
        let verify = format!("{} -verify public.pem -signature signature message", options(algorithm));
        assert!(desk.openssl(&verify), "{algorithm:?}");
        desk.put("other", b"other bytes");
        assert!(!desk.openssl(&verify.replace(" message", " other")), "{algorithm:?}");
    }
}

#[test]
fn our_keys_verify_signatures_by_openssl() {
    let desk = Desk::new();
    for algorithm in HASHING {
        let key = PrivateKey::generate(algorithm).unwrap();
        desk.put("private.der", &key.to_private_bytes().unwrap());
        assert!(desk.openssl(&format!("{} -sign private.der -keyform DER -out signature message", options(algorithm))));
        let mut signature = desk.get("signature");
        if let Some(curve) = key.curve() {
            let parsed = DerSignature::from_der(&signature).unwrap();
            let mut fixed = Vec::new();
            for half in [parsed.r.as_bytes(), parsed.s.as_bytes()] {
                fixed.resize(fixed.len() + curve.field_length() - half.len(), 0);
                fixed.extend_from_slice(half);
            }
            signature = fixed;
        }
        let verifying = key.public_key().verifying_key().unwrap();
        verifying.verify(&key.method(), &Message::new(MESSAGE), &signature).unwrap();
    }
}

#[test]
fn openssl_verifies_our_certificates() {
    let desk = Desk::new();
    for algorithm in HASHING {
        let key = PrivateKey::generate(algorithm).unwrap();
        desk.put("certificate.pem", &certificate::self_signed("example.com/app", &key, now()).unwrap());
        let time = now().as_second() + 1;
        let verify = "verify -partial_chain -check_ss_sig -trusted certificate.pem -attime";
        assert!(desk.openssl(&format!("{verify} {time} certificate.pem")), "{algorithm:?}");
        assert!(!desk.openssl(&format!("{verify} {} certificate.pem", time - 60)), "not valid yet");
    }
}

#[test]
fn pss_certificates_with_sha1_or_an_unreadable_hash_are_weak() {
    let desk = Desk::new();
    let weak = |der: &[u8]| {
        let certificate = certificate::Certificate::from_der(der).unwrap();
        let verdict = certificate.check(certificate.not_before(), certificate::Expiry::Enforced);
        match verdict {
            Ok(()) => false,
            Err(certificate::CertificateError::WeakSignature { .. }) => true,
            Err(error) => panic!("{error}"),
        }
    };
    for (hash, expected) in [("sha256", false), ("sha1", true)] {
        let made = desk.openssl(&format!(
            "req -x509 -newkey rsa:2048 -nodes -keyout key -subj /CN=h.test -addext basicConstraints=CA:FALSE \
             -{hash} -sigopt rsa_padding_mode:pss -sigopt rsa_pss_saltlen:20 -outform DER -out {hash}.der"
        ));
        assert!(made, "{hash}");
        assert_eq!(weak(&desk.get(&format!("{hash}.der"))), expected, "{hash}");
    }
    // The hash's own tag, in both places where the algorithm stands, becomes one that nobody knows.
    let mut der = desk.get("sha256.der");
    let tagged = [0xa0, 0x0f, 0x30, 0x0d, 0x06, 0x09, 0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x02, 0x01];
    let places: Vec<usize> = (0..der.len()).filter(|at| der[*at..].starts_with(&tagged)).collect();
    assert_eq!(places.len(), 2);
    for at in places {
        der[at] = 0xaf;
    }
    assert!(weak(&der));
}
