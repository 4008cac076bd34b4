//! Keys that the reference wrote, in every set of golden data.

use countersign_crypto::{Algorithm, PrivateKey, SystemRandom};
use countersign_keyfile::{KeyBlock, KeyFile, KeyFileError, Label, Protection};

use crate::golden::{Script, block, bytes, json, key_vectors, read, text};

#[test]
fn plain_keys_of_the_reference_are_read_and_written_alike() {
    for vector in key_vectors() {
        let pem = text(&vector, "plain_pem");
        let read = block(pem.as_bytes());
        assert_eq!((read.label(), read.is_encrypted()), (&Label::Plain, false));
        assert_eq!((read.role(), read.gun(), read.path()), (Some("targets"), Some("example.com/vectors"), None));
        let key = read.decode().unwrap();
        assert_eq!(key.public_key().id().to_string(), text(&vector, "key_id"));
        assert_eq!(key.to_private_bytes().unwrap().as_slice(), bytes(&vector, "private_b64"));
        assert_eq!(read.to_pem().as_str(), pem);
        let mut written = KeyBlock::seal(&key, Protection::None, &mut Script::new(&[])).unwrap();
        written.set_role(Some("targets")).unwrap();
        written.set_gun(Some("example.com/vectors")).unwrap();
        assert_eq!(written.to_pem().as_str(), pem);
    }
}

#[test]
fn encrypted_keys_of_the_reference_are_read_and_written_alike() {
    for vector in key_vectors() {
        let pem = text(&vector, "encrypted_pem");
        let passphrase = text(&vector, "passphrase").as_bytes();
        let read = block(pem.as_bytes());
        assert_eq!((read.label(), read.is_encrypted()), (&Label::Encrypted, true));
        assert_eq!(read.decode().unwrap_err(), KeyFileError::PassphraseNeeded);
        assert_eq!(read.decrypt(b"wrong").unwrap_err(), KeyFileError::WrongPassphrase);
        let key = read.decrypt(passphrase).unwrap();
        assert_eq!(key.public_key().id().to_string(), text(&vector, "key_id"));

        let (salt, iv) = salt_and_iv(pem);
        let mut random = Script::new(&[&salt, &iv]);
        let mut written = KeyBlock::seal(&key, Protection::Compatible(passphrase), &mut random).unwrap();
        written.set_gun(Some("example.com/vectors")).unwrap();
        written.set_role(Some("targets")).unwrap();
        assert_eq!(written.to_pem().as_str(), pem);
    }
}

/// Salt and IV of the reference's form, where they always stand in the last bytes before the ciphertext.
fn salt_and_iv(pem: &str) -> (Vec<u8>, Vec<u8>) {
    let body = pem::parse(pem).unwrap().into_contents();
    let after = |marker: &[u8], length: usize| {
        let start = body.windows(marker.len()).position(|window| window == marker).unwrap() + marker.len();
        body[start..start + length].to_vec()
    };
    let pbkdf2 = hex::decode("06092a864886f70d01050c300e0408").unwrap();
    let aes256 = hex::decode("060960864801650304012a0410").unwrap();
    (after(&pbkdf2, 8), after(&aes256, 16))
}

/// Every private key the manifest describes, with where it stands.
fn described(set: &serde_json::Value, found: &mut Vec<serde_json::Value>) {
    match set {
        serde_json::Value::Object(members) => {
            if members.contains_key("pem") && members.contains_key("passphrase") {
                found.push(set.clone());
            }
            members.values().for_each(|member| described(member, found));
        }
        serde_json::Value::Array(members) => members.iter().for_each(|member| described(member, found)),
        _ => {}
    }
}

#[test]
fn every_private_key_of_the_golden_sets_opens_with_its_passphrase() {
    let manifest = json("manifest.json");
    let mut opened = 0;
    for set in manifest["sets"].as_array().unwrap() {
        let mut keys = Vec::new();
        described(set, &mut keys);
        for key in keys {
            let id = text(&key, "id");
            let files = files_named(text(set, "name"), text(&key, "file"));
            assert!(!files.is_empty(), "{}", text(&key, "file"));
            for file in files {
                let blocks = KeyFile::parse(&file).unwrap();
                let passphrase = text(&key, "passphrase").as_bytes();
                let headers = key["headers"].as_object().unwrap();
                let same = |block: &&KeyBlock| {
                    headers.iter().all(|(name, value)| block.header(name) == value.as_str())
                        && headers.len() == block.headers().count()
                };
                let private = blocks.blocks().iter().filter(same).find_map(|block| {
                    block.decrypt(passphrase).ok().filter(|key| key.public_key().id().to_string() == id)
                });
                let private = private.unwrap_or_else(|| panic!("{id} does not open"));
                assert_eq!(private.public_key().key_type().as_str(), text(&key, "keytype"));
                opened += 1;
            }
        }
    }
    assert!(opened >= 39, "{opened}");
}

/// The contents of every file of a set whose path ends like this.
fn files_named(set: &str, end: &str) -> Vec<Vec<u8>> {
    let mut folders = vec![crate::golden::path(set)];
    let mut found = Vec::new();
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.ends_with(end) {
                found.push(std::fs::read(path).unwrap());
            }
        }
    }
    found
}

#[test]
fn files_of_the_reference_are_written_byte_for_byte() {
    for file in ["export-all.pem", "export-gun.pem", "export-root.pem", "generated-key.pem"] {
        let original = read(&format!("key-bundles/{file}"));
        let parsed = KeyFile::parse(&original).unwrap();
        assert_eq!(parsed.to_pem().as_bytes(), original, "{file}");
        let again: KeyFile = parsed.into_blocks().into_iter().collect();
        assert_eq!(again.to_pem().as_bytes(), original, "{file}");
    }
    for set in ["docker28", "docker20", "compat-notary0.1", "compat-notary0.3", "notary-basic"] {
        let files = files_ending(set, "key");
        assert!(!files.is_empty());
        for original in files {
            assert_eq!(block(&original).to_pem().as_bytes(), original);
        }
    }
}

fn files_ending(set: &str, extension: &str) -> Vec<Vec<u8>> {
    let mut folders = vec![crate::golden::path(set)];
    let mut found = Vec::new();
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|found| found == extension) {
                found.push(std::fs::read(path).unwrap());
            }
        }
    }
    found
}

#[test]
fn imported_keys_have_the_ids_the_reference_stored_them_under() {
    let manifest = json("manifest.json");
    let set = manifest["sets"].as_array().unwrap().iter().find(|set| set["name"] == "key-bundles").unwrap();
    let mut imported = 0;
    for (file, verdict) in set["imports"].as_object().unwrap() {
        let read = block(&read(&format!("key-bundles/inputs/{file}")));
        // The reference cannot compute the ID of an encrypted key, and does not know the standard's Ed25519 keys.
        assert_eq!(read.is_encrypted(), file.contains("-enc."), "{file}");
        if let Some(stored) = verdict["stored_as"][0].as_str() {
            let key = read.decode().unwrap();
            assert_eq!(format!("{}.key", key.public_key().id()), stored, "{file}");
            imported += 1;
        }
    }
    assert!(imported >= 8);
    let ed25519 = block(&read("key-bundles/inputs/ed25519.key")).decode().unwrap();
    let public = pem::parse(read("key-bundles/inputs/ed25519.pub")).unwrap().into_contents();
    assert!(public.ends_with(ed25519.public_key().bytes()));
}

#[test]
fn new_keys_of_every_kind_survive_every_protection() {
    for algorithm in [
        Algorithm::EcdsaP256,
        Algorithm::EcdsaP384,
        Algorithm::EcdsaP521,
        Algorithm::Ed25519,
        Algorithm::Rsa { bits: 2048 },
    ] {
        let key = PrivateKey::generate(algorithm).unwrap();
        for protection in [
            Protection::None,
            Protection::Compatible(b"p"),
            Protection::Compatible("pässwörd \u{0} ".as_bytes()),
            Protection::Pbkdf2Sha256(&[0xff; 300]),
            Protection::Scrypt(&[0xff; 300]),
        ] {
            let pem = KeyBlock::seal(&key, protection, &mut SystemRandom).unwrap().to_pem();
            let read = block(pem.as_bytes());
            let passphrase = match protection {
                Protection::None => &[][..],
                Protection::Compatible(passphrase)
                | Protection::Pbkdf2Sha256(passphrase)
                | Protection::Scrypt(passphrase) => passphrase,
            };
            assert_eq!(read.decrypt(passphrase).unwrap().public_key(), key.public_key());
        }
    }
}

#[test]
fn two_files_of_one_key_share_neither_salt_nor_iv() {
    let key = PrivateKey::generate(Algorithm::EcdsaP256).unwrap();
    let pem = || KeyBlock::seal(&key, Protection::Compatible(b"p"), &mut SystemRandom).unwrap().to_pem();
    let (one, two) = (pem(), pem());
    assert_ne!(salt_and_iv(&one).0, salt_and_iv(&two).0);
    assert_ne!(salt_and_iv(&one).1, salt_and_iv(&two).1);
}

#[test]
fn an_empty_passphrase_or_no_randomness_writes_nothing() {
    let key = PrivateKey::generate(Algorithm::EcdsaP256).unwrap();
    for protection in [Protection::Compatible(b""), Protection::Pbkdf2Sha256(b""), Protection::Scrypt(b"")] {
        let verdict = KeyBlock::seal(&key, protection, &mut SystemRandom);
        assert_eq!(verdict.unwrap_err(), KeyFileError::EmptyPassphrase);
    }
    let verdict = KeyBlock::seal(&key, Protection::Compatible(b"p"), &mut Script::new(&[&[0; 8]]));
    assert!(matches!(verdict, Err(KeyFileError::Random(_))));
}
