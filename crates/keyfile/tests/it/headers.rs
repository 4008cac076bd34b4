//! PEM text and its headers.

use countersign_crypto::{Algorithm, PrivateKey, SystemRandom};
use countersign_keyfile::{KeyBlock, KeyFile, KeyFileError, Label, MAX_HEADERS, MAX_TEXT, Protection};

use crate::golden::{block, read};

const PEM: &str = "-----BEGIN PRIVATE KEY-----\nMAA=\n-----END PRIVATE KEY-----\n";

fn sealed() -> KeyBlock {
    let key = PrivateKey::generate(Algorithm::EcdsaP256).unwrap();
    KeyBlock::seal(&key, Protection::Compatible(b"passphrase"), &mut SystemRandom).unwrap()
}

#[test]
fn headers_are_sorted_with_a_blank_line_behind() {
    let mut block = sealed();
    block.set_role(Some("targets/releases")).unwrap();
    block.set_path(Some("abc")).unwrap();
    block.set_gun(Some("127.0.0.1:45100/golden/docker28")).unwrap();
    let pem = block.to_pem();
    let lines: Vec<_> = pem.lines().take(5).collect();
    assert_eq!(
        lines,
        [
            "-----BEGIN ENCRYPTED PRIVATE KEY-----",
            "gun: 127.0.0.1:45100/golden/docker28",
            "path: abc",
            "role: targets/releases",
            ""
        ]
    );
    let again = crate::golden::block(pem.as_bytes());
    assert_eq!(again.gun(), Some("127.0.0.1:45100/golden/docker28"), "with the port");
    assert_eq!(again.to_pem(), pem);
}

#[test]
fn proc_type_comes_first_when_a_migrated_key_gets_its_headers() {
    let file = "compat-notary0.1/private/tuf_keys/docker.com/notary0.1/samplerepo/\
                7fc757801b9bab4ec9e35bfe7a6b61668ff6f4c81b5632af19e6c728ab799599_targets.key";
    let mut key = block(&read(file));
    key.set_role(Some("targets")).unwrap();
    key.set_gun(Some("docker.com/notary0.1/samplerepo")).unwrap();
    let pem = key.to_pem();
    assert!(pem.starts_with(
        "-----BEGIN EC PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\n\
         DEK-Info: AES-256-CBC,471240bb633cce396bd638240847fb59\n\
         gun: docker.com/notary0.1/samplerepo\nrole: targets\n\n"
    ));
    let key = block(pem.as_bytes()).decrypt(b"randompass").unwrap();
    assert!(file.contains(&key.public_key().id().to_string()));
}

#[test]
fn headers_are_set_replaced_and_removed() {
    let mut block = sealed();
    block.set_role(Some("alice")).unwrap();
    block.set_role(Some("bob")).unwrap();
    assert_eq!(block.headers().collect::<Vec<_>>(), [("role", "bob")]);
    block.set_role(None).unwrap();
    assert_eq!(block.headers().count(), 0);
    assert!(!block.to_pem().contains("\n\n"));
}

#[test]
fn headers_that_would_break_the_file_are_refused() {
    let mut block = sealed();
    for bad in ["a\nrole: root", "a\r", "a\u{0}b", " a", "a ", "\u{1b}[2J"] {
        assert!(matches!(block.set_role(Some(bad)), Err(KeyFileError::InvalidHeader { .. })), "{bad:?}");
        assert!(matches!(block.set_gun(Some(bad)), Err(KeyFileError::InvalidHeader { .. })), "{bad:?}");
        assert!(matches!(block.set_path(Some(bad)), Err(KeyFileError::InvalidHeader { .. })), "{bad:?}");
    }
    assert_eq!(block.headers().count(), 0);
}

#[test]
fn of_two_headers_with_one_name_the_last_counts() {
    let pem = PEM.replace("\nMAA=", "\nrole: one\nrole: two\n\nMAA=");
    assert_eq!(block(pem.as_bytes()).role(), Some("two"));
}

#[test]
fn an_empty_cut_or_foreign_file_is_refused_with_a_clear_error() {
    for bad in [&b""[..], b"\n", b"garbage", &[0xff; 64], "\u{feff}".as_bytes()] {
        assert_eq!(KeyFile::parse(bad).unwrap_err(), KeyFileError::Empty);
    }
    let whole = sealed().to_pem();
    for length in 0..whole.len() - 5 {
        assert!(KeyFile::parse(&whole.as_bytes()[..length]).is_err(), "{length}");
    }
    for bad in
        [PEM.replace("MAA=", "M*A="), PEM.replace("END PRIVATE", "END PUBLIC"), PEM.replace("MAA=", "no colon\n\nMAA=")]
    {
        assert!(matches!(KeyFile::parse(bad.as_bytes()), Err(KeyFileError::NotPem(_))), "{bad}");
    }
}

#[test]
fn crlf_a_byte_order_mark_and_remarks_are_forgiven() {
    let pem = sealed().to_pem();
    for variant in [pem.replace('\n', "\r\n"), format!("\u{feff}{}", *pem), format!("a remark\n{}the end", *pem)] {
        assert_eq!(block(variant.as_bytes()).to_pem(), pem);
    }
}

#[test]
fn two_blocks_are_refused_where_one_is_expected() {
    let two = format!("{PEM}{PEM}");
    assert!(matches!(KeyFile::parse_one(two.as_bytes()), Err(KeyFileError::Malformed(_))));
    assert_eq!(KeyFile::parse(two.as_bytes()).unwrap().blocks().len(), 2);
}

#[test]
fn blocks_that_are_no_private_keys_are_carried_but_give_none() {
    let file = [read("key-bundles/inputs/ec-p256.crt"), read("key-bundles/inputs/ec-p256.key")].concat();
    let blocks = KeyFile::parse(&file).unwrap();
    assert_eq!(blocks.blocks()[0].label(), &Label::Other("CERTIFICATE".into()));
    for verdict in [blocks.blocks()[0].decode(), blocks.blocks()[0].decrypt(b"p")] {
        assert_eq!(verdict.unwrap_err(), KeyFileError::NotAPrivateKey("CERTIFICATE".into()));
    }
    blocks.blocks()[1].decode().unwrap();
}

#[test]
fn sizes_are_limited() {
    assert!(matches!(KeyFile::parse(&vec![b'\n'; MAX_TEXT + 1]), Err(KeyFileError::TooLarge(_))));
    let headers = "h: v\n".repeat(MAX_HEADERS + 1);
    let pem = PEM.replace("\nMAA=", &format!("\n{headers}\nMAA="));
    assert!(matches!(KeyFile::parse(pem.as_bytes()), Err(KeyFileError::TooLarge(_))));
    let pem = PEM.replace("MAA=", &"AAAA".repeat(30_000));
    assert!(matches!(KeyFile::parse(pem.as_bytes()), Err(KeyFileError::TooLarge(_))));
    assert!(matches!(KeyFile::parse(PEM.repeat(5000).as_bytes()), Err(KeyFileError::TooLarge(_))));
}

#[test]
fn debug_shows_neither_body_nor_passphrase() {
    let key = PrivateKey::generate(Algorithm::EcdsaP256).unwrap();
    let plain = KeyBlock::seal(&key, Protection::None, &mut SystemRandom).unwrap();
    let shown = format!("{plain:?} {:?}", Protection::Compatible(b"secret words"));
    assert!(shown.len() < 200, "{shown}");
    assert!(!shown.contains("secret") && !shown.contains("115, 101"), "{shown}");
}

#[test]
fn errors_do_not_repeat_the_text() {
    for pem in [PEM.replace("MAA=", "secret words\n\nMAA="), PEM.replace("MAA=", "secret!")] {
        let error = KeyFile::parse(pem.as_bytes()).unwrap_err();
        assert!(!error.to_string().contains("secret"), "{error}");
    }
    let evil = PEM.replace("PRIVATE KEY", "\u{1b}[2J");
    let error = block(evil.as_bytes()).decode().unwrap_err();
    assert!(!error.to_string().contains('\u{1b}'), "{error}");
}
