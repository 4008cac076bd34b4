//! The vectors made with the reference: one per key type.

use countersign_crypto::certificate::CertificateBundle;
use countersign_crypto::{KeyType, Message, Method, PrivateKey, PublicKey, Signer as _};

use crate::golden::{bytes, key_vectors, text};

#[test]
fn ids_are_the_hash_of_the_canonical_json() {
    for vector in key_vectors() {
        let key = PublicKey::new(text(&vector, "keytype").into(), bytes(&vector, "public_b64"));
        assert_eq!(key.to_json(), text(&vector, "key_id_hash_input"));
        assert_eq!(key.id().to_string(), text(&vector, "key_id"));
        assert_eq!(key.canonical_id(), key.id());
    }
}

#[test]
fn signatures_of_the_reference_verify_and_only_over_their_message() {
    for vector in key_vectors() {
        let key = PublicKey::new(text(&vector, "keytype").into(), bytes(&vector, "public_b64"));
        let key = key.verifying_key().unwrap();
        let method = Method::parse(text(&vector, "sig_method"));
        let signature = bytes(&vector, "sig_b64");
        key.verify(&method, &Message::new(text(&vector, "message").as_bytes()), &signature).unwrap();
        key.verify(&method, &Message::new(b"another"), &signature).unwrap_err();
    }
}

#[test]
fn private_keys_of_the_reference_are_read_written_alike_and_sign() {
    for vector in key_vectors() {
        let key_type = KeyType::from(text(&vector, "keytype"));
        let private = PrivateKey::from_private_bytes(&key_type, &bytes(&vector, "private_b64")).unwrap();
        assert_eq!(private.public_key().bytes(), bytes(&vector, "public_b64"));
        assert_eq!(private.to_private_bytes().unwrap().as_slice(), bytes(&vector, "private_b64"));
        assert_eq!(private.method().as_str(), text(&vector, "sig_method"));
        let signature = private.sign(b"hello").unwrap();
        assert_eq!(signature.len(), bytes(&vector, "sig_b64").len());
        let verifying = private.public_key().verifying_key().unwrap();
        verifying.verify(&private.method(), &Message::new(b"hello"), &signature).unwrap();
    }
}

#[test]
fn certificates_have_two_ids() {
    for vector in key_vectors().iter().filter(|vector| !vector["cert_pem"].is_null()) {
        let pem = text(vector, "cert_pem").as_bytes();
        let key = PublicKey::new(text(vector, "cert_keytype").into(), pem.to_vec());
        assert_eq!(key.id().to_string(), text(vector, "cert_tuf_key_id"));
        assert_eq!(key.canonical_id().to_string(), text(vector, "cert_canonical_key_id"));
        assert_eq!(key.verifying_key().unwrap().identity(), key.canonical_id());
        let bundle = CertificateBundle::parse(pem).unwrap();
        assert_eq!(bundle.rebuild_pem(), pem);
        assert_eq!(bundle.rebuilt_key().unwrap(), key);
        assert_eq!(bundle.leaf().common_name(), Some("example.com/vectors"));
        assert_eq!(bundle.leaf().public_key().unwrap().bytes(), bytes(vector, "public_b64"));
    }
}

#[test]
fn a_signature_verifies_under_the_certificate_of_its_key() {
    for vector in key_vectors().iter().filter(|vector| !vector["cert_pem"].is_null()) {
        let key = PublicKey::new(text(vector, "cert_keytype").into(), text(vector, "cert_pem").into());
        let method = Method::parse(text(vector, "sig_method"));
        let message = Message::new(text(vector, "message").as_bytes());
        key.verifying_key().unwrap().verify(&method, &message, &bytes(vector, "sig_b64")).unwrap();
    }
}

#[test]
fn the_inline_vector_of_the_specification() {
    let json =
        r#"{"keytype":"ed25519","keyval":{"private":null,"public":"F11GPYCF/U7l3paOqY1kbysx44ecmCQT30SDTe0Rn+w="}}"#;
    let key = PublicKey::new(
        KeyType::Ed25519,
        base64::Engine::decode(
            &base64::engine::general_purpose::STANDARD,
            "F11GPYCF/U7l3paOqY1kbysx44ecmCQT30SDTe0Rn+w=",
        )
        .unwrap(),
    );
    assert_eq!(key.to_json(), json);
    assert_eq!(key.id().to_string(), "d13fb991ff306cd6888781a1a6c51f6949b08da8345c1df1cd1a4f8507ac1e76");
}
