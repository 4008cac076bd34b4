//! Keys and algorithms: what the crypto room refuses must not count here either.

use crate::workshop::*;
use base64::{Engine as _, engine::general_purpose::STANDARD};
use countersign_crypto::certificate::Certificate;
use countersign_crypto::{Algorithm, KeyType, PublicKey, Signer};
use countersign_tuf::metadata::read_public_key;
use countersign_tuf::update::UpdateError;
use serde_json::{Value, json};

/// A collection whose timestamp key is listed as given; the timestamp is signed with whatever the caller says.
fn with_timestamp_key(public: &PublicKey, signature: impl FnOnce(&[u8]) -> (String, Vec<u8>)) -> Repository {
    let mut repository = Repository::new();
    repository.edit("root", |root| {
        root["keys"][public.id().to_string()] = serde_json::from_str(&public.to_json()).unwrap();
        root["roles"]["timestamp"]["keyids"] = json!([public.id().to_string()]);
    });
    repository.link();
    let payload = canonical(&repository.payload("timestamp"));
    let (method, bytes) = signature(&payload);
    let signatures = json!([{ "keyid": public.id().to_string(), "method": method, "sig": STANDARD.encode(bytes) }]);
    repository.put_bytes("timestamp", envelope(&String::from_utf8(payload).unwrap(), &signatures));
    repository
}

fn fixture_key(name: &str) -> PublicKey {
    let pem = std::fs::read(crate::folder::fixtures(&format!("x509/{name}.crt"))).unwrap();
    Certificate::list_from_pem(&pem).unwrap()[0].public_key().unwrap()
}

/// Attack catalogue A6-63 and A6-68: with openssl signing, so that only the key can be at fault.
#[test]
fn short_rsa_and_weak_curves_do_not_verify() {
    let sign = |name: &str, options: &[&str], payload: &[u8]| {
        let folder = tempfile::tempdir().unwrap();
        let (message, output) = (folder.path().join("message"), folder.path().join("signature"));
        std::fs::write(&message, payload).unwrap();
        let status = std::process::Command::new("openssl")
            .args(["dgst", "-sha256", "-sign"])
            .arg(crate::folder::fixtures(&format!("x509/{name}.key")))
            .args(options)
            .arg("-out")
            .args([&output, &message])
            .status()
            .unwrap();
        assert!(status.success());
        std::fs::read(output).unwrap()
    };
    let pss = ["-sigopt", "rsa_padding_mode:pss", "-sigopt", "rsa_pss_saltlen:32"];
    let with = |name: &str, method: &str, options: &[&str]| {
        with_timestamp_key(&fixture_key(name), |payload| (method.to_owned(), sign(name, options, payload)))
    };
    // The same way with keys that are good enough, to show that the way is right.
    for (method, options) in [("rsapss", &pss[..]), ("rsapkcs1v15", &[])] {
        let good = with("rsa2048", method, options);
        good.client().update(&good.service()).unwrap();
        let short = with("rsa1024", method, options);
        assert!(matches!(short.client().refuses(&short.service()), UpdateError::Threshold(_)));
    }
    // PSS announced as PKCS#1 and the reverse (attack catalogue A6-69), and PSS with another salt length.
    let zero_salt = ["-sigopt", "rsa_padding_mode:pss", "-sigopt", "rsa_pss_saltlen:0"];
    for (method, options) in [("rsapkcs1v15", &pss[..]), ("rsapss", &[]), ("rsapss", &zero_salt[..])] {
        let swapped = with("rsa2048", method, options);
        assert!(matches!(swapped.client().refuses(&swapped.service()), UpdateError::Threshold(_)));
    }
    let weak = with_timestamp_key(&fixture_key("ec-p224"), |payload| {
        let der = sign("ec-p224", &[], payload);
        ("ecdsa".to_owned(), fixed_width(&der, 28))
    });
    assert!(matches!(weak.client().refuses(&weak.service()), UpdateError::Threshold(_)));
    let good = with_timestamp_key(&fixture_key("ec-p256"), |payload| {
        let der = sign("ec-p256", &[], payload);
        ("ecdsa".to_owned(), fixed_width(&der, 32))
    });
    good.client().update(&good.service()).unwrap();
}

/// The two integers of an ECDSA signature in DER, each with a fixed number of bytes.
fn fixed_width(der: &[u8], width: usize) -> Vec<u8> {
    let integer = |at: usize| {
        let length = usize::from(der[at + 1]);
        let digits = &der[at + 2..at + 2 + length];
        let digits = &digits[digits.iter().take_while(|digit| **digit == 0).count()..];
        ([vec![0; width - digits.len()], digits.to_vec()].concat(), at + 2 + length)
    };
    let (r, next) = integer(2);
    [r, integer(next).0].concat()
}

/// Attack catalogue A6-64.
#[test]
fn ed25519_keys_of_small_order_verify_nothing() {
    // The identity and the other points of small order in their canonical spellings (RFC 8032).
    for point in [
        "0100000000000000000000000000000000000000000000000000000000000000",
        "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
        "0000000000000000000000000000000000000000000000000000000000000000",
        "0000000000000000000000000000000000000000000000000000000000000080",
        "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05",
        "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a",
    ] {
        let public = PublicKey::new(KeyType::Ed25519, hex::decode(point).unwrap());
        for r in [point, "0100000000000000000000000000000000000000000000000000000000000000"] {
            let signature = [hex::decode(r).unwrap(), vec![0; 32]].concat();
            let repository = with_timestamp_key(&public, |_| ("eddsa".into(), signature));
            assert!(matches!(repository.client().refuses(&repository.service()), UpdateError::Threshold(_)));
        }
    }
}

/// Attack catalogue A6-65.
#[test]
fn an_ed25519_signature_has_one_spelling() {
    let key = Key::of(Algorithm::Ed25519);
    let order = hex::decode("edd3f55c1a631258d69cf7a2def9de1400000000000000000000000000000010").unwrap();
    let plus_order = |payload: &[u8]| {
        let mut signature = key.private.sign(payload).unwrap();
        let mut carry = 0_u16;
        for at in 0..32 {
            let sum = u16::from(signature[32 + at]) + u16::from(order[at]) + carry;
            signature[32 + at] = u8::try_from(sum & 0xff).unwrap();
            carry = sum >> 8;
        }
        ("eddsa".to_owned(), signature)
    };
    let honest = with_timestamp_key(&key.public, |payload| ("eddsa".into(), key.private.sign(payload).unwrap()));
    honest.client().update(&honest.service()).unwrap();
    let forged = with_timestamp_key(&key.public, plus_order);
    assert!(matches!(forged.client().refuses(&forged.service()), UpdateError::Threshold(_)));
}

/// Attack catalogue A6-66.
#[test]
fn malformed_and_mislabelled_keys_are_refused_without_a_crash() {
    for name in ["root", "targets", "snapshot", "timestamp"] {
        let repository = Repository::new();
        let id = repository.keys[name][0].id();
        let honest = repository.keys[name][0].json();
        let with = |change: &dyn Fn(&mut Value)| {
            let mut key = honest.clone();
            change(&mut key);
            key
        };
        let listed: Vec<Value> = vec![
            with(&|key| key["keytype"] = "rsa".into()),
            with(&|key| key["keytype"] = "ed25519".into()),
            with(&|key| key["keytype"] = "dsa".into()),
            with(&|key| key["keytype"] = "".into()),
            with(&|key| key["keytype"] = Value::Null),
            with(&|key| key["keyval"] = Value::Null),
            with(&|key| key["keyval"] = json!({})),
            with(&|key| key["keyval"]["public"] = Value::Null),
            with(&|key| key["keyval"]["public"] = "".into()),
            with(&|key| key["keyval"]["public"] = "%%%".into()),
            with(&|key| key["keyval"]["public"] = "AAAA".into()),
            with(&|key| key["keyval"]["public"] = 7.into()),
            with(&|key| {
                key.as_object_mut().unwrap().remove("keytype");
            }),
            Value::Null,
            json!([]),
            json!("x"),
        ];
        let mut roots: Vec<Repository> =
            listed.into_iter().map(|key| edit_root(&repository, |root| root["keys"][&id] = key)).collect();
        for keyids in [json!([]), json!(null), json!(["00"]), json!([7]), json!("x"), json!(["ab".repeat(32)])] {
            roots.push(edit_root(&repository, |root| root["roles"][name]["keyids"] = keyids));
        }
        roots.push(edit_root(&repository, |root| root["roles"][name] = Value::Null));
        roots.push(edit_root(&repository, |root| {
            root["roles"].as_object_mut().unwrap().remove(name);
        }));
        roots.push(edit_root(&repository, |root| {
            root["keys"].as_object_mut().unwrap().remove(&id);
        }));
        for forged in roots {
            forged.client().refuses(&forged.service());
        }
    }
    for (member, value) in [("keys", json!(null)), ("keys", json!([])), ("roles", json!(null)), ("roles", json!([]))] {
        let forged = edit_root(&Repository::new(), |root| root[member] = value);
        forged.client().refuses(&forged.service());
    }
}

fn edit_root(repository: &Repository, change: impl FnOnce(&mut Value)) -> Repository {
    let mut forged = repository.clone();
    forged.edit("root", change);
    forged.link();
    forged
}

/// Attack catalogue A6-67: the reader survives; the service and the publisher refuse (see the tests of those).
#[test]
fn a_private_key_inside_a_root_does_not_trouble_the_reader() {
    let repository = edit_root(&Repository::new(), |root| {
        for (_, key) in root["keys"].as_object_mut().unwrap() {
            key["keyval"]["private"] = "c2VjcmV0".into();
        }
    });
    let collection = repository.client().update(&repository.service()).unwrap();
    assert!(collection.root().keys.carries_private());
}

/// Attack catalogue A6-68: points off the curve and at infinity, compressed points, bytes behind the key.
#[test]
fn ecdsa_keys_that_are_no_plain_points_verify_nothing() {
    let key = Key::new();
    let spki = key.public.bytes().to_vec();
    let point = spki.len() - 65;
    let changed = |change: &dyn Fn(&mut Vec<u8>)| {
        let mut bytes = spki.clone();
        change(&mut bytes);
        bytes
    };
    for bytes in [
        changed(&|bytes| bytes[point + 10] ^= 1),
        changed(&|bytes| bytes[point..].fill(0)),
        changed(&|bytes| bytes.push(0)),
        changed(&|bytes| bytes.extend_from_slice(b"\x30\x00")),
        changed(&|bytes| {
            bytes.truncate(point + 33);
            bytes[point] = 2;
        }),
    ] {
        let public = PublicKey::new(KeyType::Ecdsa, bytes);
        let repository = with_timestamp_key(&public, |payload| ("ecdsa".into(), key.private.sign(payload).unwrap()));
        assert!(matches!(repository.client().refuses(&repository.service()), UpdateError::Threshold(_)));
    }
}

/// Attack catalogue A15-267: what a service may not name as its key.
#[test]
fn served_keys_that_must_not_get_into_a_root_are_refused() {
    let read = |text: &str| read_public_key(&text.to_owned().into());
    let good = Key::new().public.to_json();
    read(&good).unwrap();
    read(&Key::of(Algorithm::Ed25519).public.to_json()).unwrap();
    let short = fixture_key("rsa1024").to_json();
    let identity = PublicKey::new(KeyType::Ed25519, [vec![1], vec![0; 31]].concat()).to_json();
    let private = good.replace("\"private\":null", "\"private\":\"c2VjcmV0\"");
    assert_ne!(private, good);
    let padded = format!("{good}{}", " ".repeat(300_000));
    let huge = PublicKey::new(KeyType::Rsa, vec![7; 300_000]).to_json();
    let twice = good.replacen('{', "{\"keytype\":\"ecdsa\",", 1);
    let unknown = PublicKey::new(KeyType::from("dsa"), vec![1, 2, 3]).to_json();
    let cases = [&short, &identity, &private, &padded, &huge, &twice, &unknown, "", "null", "[]", "{}", "<html>", "x"];
    for text in cases.map(String::from) {
        assert!(read(&text).is_err(), "{}", text.chars().take(80).collect::<String>());
    }
    assert!(read(&format!("{good}{good}")).is_err());
}
