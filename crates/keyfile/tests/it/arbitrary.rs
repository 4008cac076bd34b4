//! No input makes the readers panic.

use countersign_keyfile::{KeyFile, jwe};
use proptest::prelude::*;

use crate::golden::{key_vectors, text};

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_bytes(bytes in proptest::collection::vec(any::<u8>(), 0..512)) {
        let _ = KeyFile::parse(&bytes);
        for label in ["ENCRYPTED PRIVATE KEY", "PRIVATE KEY", "EC PRIVATE KEY", "RSA PRIVATE KEY", "ED25519 PRIVATE KEY"] {
            let pem = pem::encode(&pem::Pem::new(label, bytes.clone()));
            if let Ok(file) = KeyFile::parse(pem.as_bytes()) {
                for block in file.blocks() {
                    prop_assert!(block.decode().is_err());
                    prop_assert!(block.decrypt(b"p").is_err());
                }
            }
        }
    }

    #[test]
    fn any_text_as_jwe(text in ".{0,200}") {
        prop_assert!(jwe::open(&text, b"p").is_err());
    }

    #[test]
    fn any_change_of_a_real_file(position in 0_usize..2000, byte in any::<u8>(), vector in 0_usize..5) {
        let vectors = key_vectors();
        for member in ["plain_pem", "encrypted_pem"] {
            let mut changed = text(&vectors[vector], member).as_bytes().to_vec();
            let position = position % changed.len();
            changed[position] = byte;
            for block in KeyFile::parse(&changed).map(KeyFile::into_blocks).unwrap_or_default() {
                let _ = block.decrypt(text(&vectors[vector], "passphrase").as_bytes());
                let again = block.to_pem();
                prop_assert_eq!(KeyFile::parse(again.as_bytes()).unwrap().to_pem(), again);
            }
        }
    }
}
