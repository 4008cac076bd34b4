//! Signatures and thresholds.

use crate::workshop::*;
use base64::{Engine as _, engine::general_purpose::STANDARD, engine::general_purpose::URL_SAFE};
use countersign_crypto::{Algorithm, Signer};
use countersign_tuf::update::UpdateError;
use countersign_tuf::{BrokenReason, RoleName, ThresholdError};
use serde_json::{Value, json};
use std::time::{Duration, Instant};

fn tagged() -> Repository {
    let mut repository = Repository::new();
    repository.tag("targets", "v1", "x");
    repository
}

/// The repository with another `signatures` for one role, listed as it has to be.
fn with_signatures(repository: &Repository, name: &str, signatures: &Value) -> Repository {
    let mut forged = repository.clone();
    let signed = String::from_utf8(canonical(&forged.payload(name))).unwrap();
    forged.put_bytes(name, envelope(&signed, signatures));
    match name {
        "timestamp" => {}
        "snapshot" => forged.link_timestamp(),
        _ => forged.link(),
    }
    forged
}

fn signature(repository: &Repository, name: &str) -> Value {
    repository.keys[name][0].sign(&canonical(&repository.payload(name)))
}

const ROLES: [&str; 4] = ["root", "targets", "snapshot", "timestamp"];

/// Attack catalogue A5-54.
#[test]
fn an_added_tag_needs_the_signature_of_the_publisher() {
    let repository = tagged();
    let mut payload = repository.payload("targets");
    payload["targets"]["evil"] = image("evil");
    payload["version"] = (repository.version("targets") + 1).into();
    let old: Value = serde_json::from_slice(&repository.files["targets"]).unwrap();
    let over = String::from_utf8(canonical(&payload)).unwrap();
    let files = [
        seal(&payload, &[Key::new()]),
        envelope(&over, &old["signatures"]),
        seal(&payload, &[repository.keys["snapshot"][0].clone(), repository.keys["timestamp"][0].clone()]),
        seal(&payload, &[]),
    ];
    for file in files {
        let mut forged = repository.clone();
        forged.put_bytes("targets", file);
        forged.link();
        for mut client in [repository.client(), repository.warm_client()] {
            assert!(matches!(client.refuses(&forged.service()), UpdateError::Threshold(_)));
        }
    }
}

/// Attack catalogue A5-55.
#[test]
fn broken_and_missing_signatures_are_refused() {
    let repository = tagged();
    for name in ROLES {
        let good = signature(&repository, name);
        let bytes = STANDARD.decode(good["sig"].as_str().unwrap()).unwrap();
        let sig = |text: String| {
            let mut one = good.clone();
            one["sig"] = text.into();
            json!([one])
        };
        let changed = |change: &dyn Fn(&mut Vec<u8>)| {
            let mut bytes = bytes.clone();
            change(&mut bytes);
            sig(STANDARD.encode(bytes))
        };
        let der = {
            let integer = |half: &[u8]| [&[2, 33, 0], half].concat();
            let body = [integer(&bytes[..32]), integer(&bytes[32..])].concat();
            [vec![0x30, u8::try_from(body.len()).unwrap()], body].concat()
        };
        let url_safe = URL_SAFE.encode([0xfb; 64]);
        assert!(url_safe.contains('-') || url_safe.contains('_'));
        for signatures in [
            json!([]),
            json!(null),
            json!({}),
            json!("x"),
            json!([null]),
            json!([[]]),
            json!([good["sig"]]),
            sig("!!!".into()),
            sig(hex::encode(&bytes)),
            sig(url_safe),
            sig(STANDARD.encode(&bytes).trim_end_matches('=').to_owned()),
            sig(format!("{}\n", STANDARD.encode(&bytes))),
            sig(String::new()),
            changed(&|bytes| bytes[5] ^= 1),
            changed(&|bytes| bytes[40] ^= 0x80),
            changed(&|bytes| bytes.truncate(63)),
            changed(&|bytes| bytes.push(0)),
            changed(&|bytes| bytes.insert(0, 0)),
            changed(&|bytes| bytes.rotate_left(32)),
            sig(STANDARD.encode(der)),
        ] {
            let forged = with_signatures(&repository, name, &signatures);
            forged.client().refuses(&forged.service());
        }
        let mut without = repository.clone();
        let signed = String::from_utf8(canonical(&without.payload(name))).unwrap();
        without.put_bytes(name, format!("{{\"signed\":{signed}}}"));
        match name {
            "timestamp" => {}
            "snapshot" => without.link_timestamp(),
            _ => without.link(),
        }
        without.client().refuses(&without.service());
    }
}

/// Attack catalogue A5-56.
#[test]
fn signatures_that_fit_everything_with_a_careless_verifier_are_refused() {
    let repository = tagged();
    let order = hex::decode("ffffffff00000000ffffffffffffffffbce6faada7179e84f3b9cac2fc632551").unwrap();
    let one = [vec![0; 31], vec![1]].concat();
    for half in [vec![0; 32], order, one, vec![0xff; 32]] {
        let mut forged = signature(&repository, "timestamp");
        forged["sig"] = STANDARD.encode([half.clone(), half].concat()).into();
        let forged = with_signatures(&repository, "timestamp", &json!([forged]));
        assert!(matches!(forged.client().refuses(&forged.service()), UpdateError::Threshold(_)));
    }
}

/// Attack catalogue A5-57.
#[test]
fn the_key_decides_the_algorithm_and_a_signature_counts_for_its_own_key_only() {
    let repository = tagged();
    for name in ROLES {
        let good = signature(&repository, name);
        let with = |member: &str, value: Value| {
            let mut one = good.clone();
            one[member] = value;
            json!([one])
        };
        let mut nameless = good.clone();
        nameless.as_object_mut().unwrap().remove("method");
        let other = repository.keys[if name == "targets" { "snapshot" } else { "targets" }][0].id();
        for signatures in [
            with("keyid", other.into()),
            with("keyid", good["keyid"].as_str().unwrap().to_uppercase().into()),
            with("keyid", 7.into()),
            with("keyid", "".into()),
            with("keyid", format!("{}0", good["keyid"].as_str().unwrap()).into()),
            with("method", Value::Null),
            with("method", "none".into()),
            with("method", "".into()),
            with("method", "sha256".into()),
            with("method", "rsapss".into()),
            with("method", "eddsa".into()),
            with("method", "rsapkcs1v15".into()),
            json!([nameless]),
        ] {
            let forged = with_signatures(&repository, name, &signatures);
            forged.client().refuses(&forged.service());
        }
    }
}

/// A collection in which one role asks for two keys.
fn two_of(name: &str, keys: Vec<Key>) -> Repository {
    let mut all = Repository::new().keys;
    all.insert(name.into(), keys);
    let mut repository = Repository::with_keys(GUN, all);
    repository.edit("root", |root| root["roles"][name]["threshold"] = 2.into());
    repository.link();
    repository
}

fn not_met(error: &UpdateError) -> bool {
    error.to_string().contains("1 of 2 needed keys have signed")
}

/// Attack catalogue A5-58.
#[test]
fn one_key_of_two_is_not_two_however_often_it_signs() {
    for name in ROLES {
        let new = || if name == "root" { Key::root() } else { Key::new() };
        let repository = two_of(name, vec![new(), new()]);
        repository.client().update(&repository.service()).unwrap();
        let one = signature(&repository, name);
        let again = signature(&repository, name);
        for signatures in [json!([one]), json!([one, one]), json!([one, again, one])] {
            let forged = with_signatures(&repository, name, &signatures);
            let error = forged.client().refuses(&forged.service());
            assert!(not_met(&error), "{name}: {error}");
        }
        let listed_twice = {
            let mut forged = repository.clone();
            let id = forged.keys[name][0].id();
            forged.edit("root", |root| root["roles"][name]["keyids"] = json!([id, id]));
            with_signatures(&forged, name, &json!([signature(&forged, name), signature(&forged, name)]))
        };
        let error = listed_twice.client().refuses(&listed_twice.service());
        assert!(not_met(&error), "{name}: {error}");
    }
}

/// Attack catalogue A5-58.
#[test]
fn a_key_under_a_second_false_id_spoils_the_file() {
    for name in ["targets", "snapshot", "timestamp"] {
        let mut repository = two_of(name, vec![Key::new(), Key::new()]);
        let key = repository.keys[name][0].clone();
        let false_id = "ab".repeat(32);
        repository.edit("root", |root| {
            root["keys"][&false_id] = key.json();
            root["roles"][name]["keyids"] = json!([key.id(), false_id]);
        });
        let mut second = signature(&repository, name);
        second["keyid"] = false_id.into();
        let forged = with_signatures(&repository, name, &json!([signature(&repository, name), second]));
        let error = forged.client().refuses(&forged.service());
        assert!(matches!(error, UpdateError::Threshold(ThresholdError::KeyId { .. })), "{error}");
    }
}

/// Attack catalogue A5-59.
#[test]
fn one_private_key_in_two_wrappings_is_one_key() {
    for name in ["targets", "snapshot", "timestamp"] {
        let bare = Key::new();
        let pairs = [vec![bare.certified("a"), bare.certified("b")], vec![bare.clone(), bare.certified("a")]];
        for keys in pairs {
            let repository = two_of(name, keys);
            let error = repository.client().refuses(&repository.service());
            assert!(not_met(&error), "{name}: {error}");
        }
    }
    let bare = Key::new();
    let repository = two_of("root", vec![bare.certified(GUN), bare.certified(GUN)]);
    let error = repository.client().refuses(&repository.service());
    assert!(not_met(&error), "{error}");
}

/// Attack catalogue A5-60.
#[test]
fn thresholds_that_are_no_positive_number_or_beyond_the_keys_are_refused() {
    let repository = tagged();
    for name in ROLES {
        for threshold in ["0", "-1", "1.5", "\"1\"", "null", "1180591620717411303424", "2", "9007199254740992"] {
            let mut forged = repository.clone();
            let mut payload = forged.payload("root");
            payload["roles"][name]["threshold"] = 424_242.into();
            let signed = String::from_utf8(canonical(&payload)).unwrap().replace("424242", threshold);
            let file = seal_raw(&signed, signed.as_bytes(), &forged.keys["root"]);
            forged.put_bytes("root", file);
            forged.link();
            forged.client().refuses(&forged.service());
        }
    }
    for threshold in [json!(0), json!(-1), json!(null)] {
        let mut forged = repository.clone();
        forged.delegate("targets/a", &[""]);
        forged.edit("targets", |targets| targets["delegations"]["roles"][0]["threshold"] = threshold);
        forged.link();
        assert!(matches!(forged.client().refuses(&forged.service()), UpdateError::Metadata { .. }));
    }
    let mut forged = repository.clone();
    forged.delegate("targets/a", &[""]);
    forged.tag("targets/a", "w", "y");
    forged.revise("targets", |targets| targets["delegations"]["roles"][0]["threshold"] = 2.into());
    forged.link();
    let collection = forged.client().update(&forged.service()).unwrap();
    assert!(matches!(collection.broken()[&role("targets/a")].reason, BrokenReason::Threshold(_)));
}

/// Attack catalogue A5-61.
#[test]
fn thousands_of_signatures_and_keys_take_bounded_time() {
    let began = Instant::now();
    let repository = tagged();
    let mut bad = signature(&repository, "timestamp");
    bad["sig"] = STANDARD.encode([3; 64]).into();
    let forged = with_signatures(&repository, "timestamp", &Value::Array(vec![bad; 4500]));
    assert!(matches!(forged.client().refuses(&forged.service()), UpdateError::Metadata { .. }));

    let mut many_keys = tagged();
    let key = Key::new();
    many_keys.edit("root", |root| {
        for n in 0..3000 {
            let id = format!("{n:064x}");
            root["keys"][&id] = key.json();
            root["roles"]["timestamp"]["keyids"].as_array_mut().unwrap().push(id.into());
        }
    });
    many_keys.link();
    many_keys.client().update(&many_keys.service()).unwrap();
    assert!(began.elapsed() < Duration::from_secs(20), "{:?}", began.elapsed());
}

/// Attack catalogue A5-54: thresholds count for delegations as for everybody.
#[test]
fn a_delegation_with_too_few_signatures_is_not_used() {
    let mut repository = tagged();
    repository.keys.insert("targets/a".into(), vec![Key::new(), Key::of(Algorithm::Ed25519)]);
    repository.delegate("targets/a", &[""]);
    repository.revise("targets", |targets| targets["delegations"]["roles"][0]["threshold"] = 2.into());
    repository.tag("targets/a", "w", "y");
    assert!(holds(&repository.client().update(&repository.service()).unwrap(), "w", "y"));
    let lone = repository.keys["targets/a"][1].clone();
    assert_eq!(lone.private.method().as_str(), "eddsa");
    let file = seal(&repository.payload("targets/a"), &[lone.clone(), lone]);
    repository.put_bytes("targets/a", file);
    repository.link();
    let collection = repository.client().update(&repository.service()).unwrap();
    assert!(collection.targets(&role("targets/a")).is_none());
    assert!(collection.get("w", &[RoleName::Targets]).is_err());
}
