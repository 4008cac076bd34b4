//! JSON: one reader, one meaning.

use crate::workshop::*;
use base64::{Engine as _, engine::general_purpose::STANDARD};
use countersign_tuf::RoleName;
use countersign_tuf::update::UpdateError;
use serde_json::{Value, json};

const ROLES: [&str; 4] = ["root", "targets", "snapshot", "timestamp"];

/// The repository with any bytes as a role's file, listed as they have to be.
fn with_file(repository: &Repository, name: &str, file: impl Into<bytes::Bytes>) -> Repository {
    let mut forged = repository.clone();
    forged.put_bytes(name, file);
    match name {
        "timestamp" => {}
        "snapshot" => forged.link_timestamp(),
        _ => forged.link(),
    }
    forged
}

#[track_caller]
fn refused(repository: &Repository, name: &str, file: impl Into<bytes::Bytes>) -> UpdateError {
    let forged = with_file(repository, name, file);
    let error = forged.client().refuses(&forged.service());
    // A client that knows the honest state refuses it as well.
    let mut warm = repository.warm_client();
    warm.refuses(&forged.service());
    error
}

fn tagged() -> Repository {
    let mut repository = Repository::new();
    repository.tag("targets", "v1", "x");
    repository
}

fn signed(repository: &Repository, name: &str) -> String {
    String::from_utf8(canonical(&repository.payload(name))).unwrap()
}

fn malformed(error: &UpdateError) -> bool {
    matches!(error, UpdateError::Metadata { .. })
}

/// Attack catalogue A9-93: the signature check sees the last member, a lenient decoder merges both.
#[test]
fn a_repeated_targets_member_is_refused() {
    let repository = tagged();
    let honest = signed(&repository, "targets");
    let evil = format!("\"targets\":{}", json!({ "evil": image("evil") }));
    let spelled = honest.replacen("\"targets\":", &format!("{evil},\"targets\":"), 1);
    assert_ne!(spelled, honest);
    for over in [honest.as_bytes(), spelled.as_bytes()] {
        let file = seal_raw(&spelled, over, &repository.keys["targets"]);
        let error = refused(&repository, "targets", file);
        assert!(malformed(&error) && error.to_string().contains("twice"), "{error}");
    }
    // Deeper: one tag twice.
    let entry = image("evil").to_string();
    let spelled = honest.replacen("\"v1\":", &format!("\"v1\":{entry},\"v1\":"), 1);
    refused(&repository, "targets", seal_raw(&spelled, honest.as_bytes(), &repository.keys["targets"]));
    let escaped = honest.replacen("\"v1\":", &format!("\"\\u0076\\u0031\":{entry},\"v1\":"), 1);
    refused(&repository, "targets", seal_raw(&escaped, honest.as_bytes(), &repository.keys["targets"]));
}

/// Attack catalogue A9-94.
#[test]
fn repeated_delegations_are_refused() {
    let mut repository = tagged();
    repository.delegate("targets/a", &["a/"]);
    let honest = signed(&repository, "targets");
    let mut wider = repository.payload("targets")["delegations"].clone();
    wider["roles"][0]["paths"] = json!([""]);
    let spelled = honest.replacen("\"delegations\":", &format!("\"delegations\":{wider},\"delegations\":"), 1);
    refused(&repository, "targets", seal_raw(&spelled, honest.as_bytes(), &repository.keys["targets"]));
    let spelled = honest.replacen("\"paths\":", "\"paths\":[\"\"],\"paths\":", 1);
    refused(&repository, "targets", seal_raw(&spelled, honest.as_bytes(), &repository.keys["targets"]));
}

/// Attack catalogue A9-95.
#[test]
fn a_repeated_listing_is_refused() {
    let repository = tagged();
    let honest = signed(&repository, "snapshot");
    let spelled = honest.replacen("\"meta\":", "\"meta\":{},\"meta\":", 1);
    refused(&repository, "snapshot", seal_raw(&spelled, honest.as_bytes(), &repository.keys["snapshot"]));
}

/// Attack catalogue A9-96.
#[test]
fn repeated_members_and_names_that_look_alike_are_refused_anywhere() {
    let repository = tagged();
    for name in ROLES {
        let honest = signed(&repository, name);
        let keys = &repository.keys[name];
        for (spelled, over) in [
            (honest.replacen("\"version\":", "\"version\":1,\"version\":", 1), &honest),
            (honest.replacen("\"_type\":", "\"_type\":\"x\",\"_type\":", 1), &honest),
            (honest.replacen("\"expires\":", "\"expires\":\"2099-01-01T00:00:00Z\",\"expires\":", 1), &honest),
        ] {
            assert_ne!(spelled, honest);
            assert!(malformed(&refused(&repository, name, seal_raw(&spelled, over.as_bytes(), keys))));
        }
        let text = String::from_utf8(repository.files[name].to_vec()).unwrap();
        let twice = text.replacen("{\"signed\":", "{\"signed\":{},\"signed\":", 1);
        assert!(malformed(&refused(&repository, name, twice)));
        let last = text.replacen(",\"signatures\":", ",\"signatures\":[],\"signatures\":", 1);
        assert!(malformed(&refused(&repository, name, last)));
        for (right, wrong) in [("\"signed\"", "\"Signed\""), ("\"signatures\"", "\"SIGNATURES\"")] {
            assert!(malformed(&refused(&repository, name, text.replacen(right, wrong, 1))));
            let beside = text.replacen('{', &format!("{{{wrong}:{{}},"), 1);
            assert!(malformed(&refused(&repository, name, beside)));
        }
    }
    // A signed member that only looks like a known one is the known one for the reference: nobody is to see two things.
    for (role, name) in [
        ("targets", "Targets"),
        ("targets", "DELEGATIONS"),
        ("targets", "target\u{17f}"),
        ("root", "\u{212a}eys"),
        ("snapshot", "Meta"),
        ("timestamp", "eXpires"),
    ] {
        let mut odd = tagged();
        odd.edit(role, |payload| payload[name] = json!({ "evil": image("evil") }));
        odd.link();
        assert!(malformed(&odd.client().refuses(&odd.service())), "{name} in {role}");
    }
    let mut inside = tagged();
    inside.edit("targets", |targets| targets["targets"]["v1"]["Length"] = json!(7));
    inside.edit("root", |root| root["roles"]["targets"]["Threshold"] = json!(7));
    inside.link();
    assert!(malformed(&inside.client().refuses(&inside.service())));
    let mut renamed = tagged();
    renamed.edit("targets", |targets| {
        let entries = targets.as_object_mut().unwrap().remove("targets").unwrap();
        targets["Targets"] = entries;
    });
    renamed.link();
    assert!(malformed(&renamed.client().refuses(&renamed.service())));
}

/// Attack catalogue A9-97.
#[test]
fn what_is_no_file_at_all_is_refused_without_a_crash() {
    let repository = tagged();
    for name in ROLES {
        let honest = repository.files[name].clone();
        let half = honest.slice(..honest.len() / 2);
        let files: Vec<bytes::Bytes> =
            ["", "null", "[]", "\"x\"", "1", "true", "{}", "<html><body>503</body></html>", "\0\0\0\0"]
                .map(bytes::Bytes::from)
                .into_iter()
                .chain([half, honest.slice(..honest.len() - 1), honest.slice(1..)])
                .collect();
        for file in files {
            assert!(malformed(&refused(&repository, name, file)), "{name}");
        }
    }
}

/// Attack catalogue A9-98.
#[test]
fn a_payload_of_null_or_none_is_refused_without_a_crash() {
    let repository = tagged();
    for name in ROLES {
        let file: Value = serde_json::from_slice(&repository.files[name]).unwrap();
        let signatures = &file["signatures"];
        for payload in ["null", "[]", "{}", "\"x\"", "0", "true"] {
            assert!(malformed(&refused(&repository, name, envelope(payload, signatures))), "{name} {payload}");
        }
        refused(&repository, name, format!("{{\"signatures\":{signatures}}}"));
        for payload in ["null", "{}"] {
            refused(&repository, name, seal_raw(payload, payload.as_bytes(), &repository.keys[name]));
        }
    }
}

/// Attack catalogue A9-99.
#[test]
fn nulls_and_lists_in_the_place_of_what_belongs_there_are_survived() {
    let mut repository = tagged();
    repository.delegate("targets/a", &[""]);
    let wrong = |change: &dyn Fn(&mut Value)| {
        let mut forged = repository.clone();
        forged.edit("targets", |targets| change(targets));
        forged.link();
        let error = forged.client().refuses(&forged.service());
        assert!(malformed(&error), "{error}");
    };
    wrong(&|targets| targets["delegations"]["roles"] = json!([null]));
    wrong(&|targets| targets["delegations"]["roles"] = json!({}));
    wrong(&|targets| targets["delegations"]["roles"] = json!([[]]));
    wrong(&|targets| targets["delegations"]["roles"][0]["name"] = Value::Null);
    wrong(&|targets| targets["delegations"]["roles"][0]["keyids"] = json!([null]));
    wrong(&|targets| targets["delegations"]["roles"][0]["keyids"] = json!({}));
    wrong(&|targets| targets["delegations"]["roles"][0]["paths"] = json!([null]));
    wrong(&|targets| targets["delegations"]["roles"][0]["paths"] = json!({}));
    wrong(&|targets| targets["delegations"]["keys"] = json!([]));
    wrong(&|targets| targets["delegations"]["keys"] = Value::Null);
    wrong(&|targets| {
        for (_, key) in targets["delegations"]["keys"].as_object_mut().unwrap() {
            *key = Value::Null;
        }
    });
    wrong(&|targets| targets["delegations"] = json!([]));
    wrong(&|targets| targets["targets"] = json!([]));
    wrong(&|targets| targets["targets"]["v1"] = Value::Null);
    wrong(&|targets| {
        targets.as_object_mut().unwrap().remove("targets");
    });
    for meta in [json!(null), json!([]), json!({ "root": null, "targets": null })] {
        let mut forged = repository.clone();
        forged.edit("snapshot", |snapshot| snapshot["meta"] = meta.clone());
        forged.link_timestamp();
        assert!(malformed(&forged.client().refuses(&forged.service())), "{meta}");
    }
}

/// Attack catalogue A9-100.
#[test]
fn deep_nesting_is_refused_without_deep_recursion() {
    let repository = tagged();
    for name in ROLES {
        let texts = ["[".repeat(500_000), "{\"a\":".repeat(150_000)];
        for text in texts.iter().filter(|text| name != "timestamp" || text.len() < 1 << 20) {
            assert!(malformed(&refused(&repository, name, text.clone())), "{name}");
        }
        let deep = format!("{}{}", "[".repeat(9_000), "]".repeat(9_000));
        let spelled = signed(&repository, name).replacen('{', &format!("{{\"x\":{deep},"), 1);
        let file = seal_raw(&spelled, spelled.as_bytes(), &repository.keys[name]);
        assert!(malformed(&refused(&repository, name, file)), "{name}");
    }
}

/// Attack catalogue A9-101.
#[test]
fn what_strict_json_does_not_have_is_refused() {
    let repository = tagged();
    for name in ROLES {
        let text = String::from_utf8(repository.files[name].to_vec()).unwrap();
        let utf16: Vec<u8> = text.encode_utf16().flat_map(u16::to_le_bytes).collect();
        let around: Vec<Vec<u8>> = vec![
            format!("{text}x").into(),
            format!("{text}{text}").into(),
            format!("{text} {{}}").into(),
            format!("{text}\0").into(),
            format!("\u{feff}{text}").into(),
            utf16,
            format!("/* c */{text}").into(),
            format!("{text}// c").into(),
            text.replace('"', "'").into(),
            text.replacen("]}", ",]}", 1).into(),
            text.replacen("]}", "],}", 1).into(),
        ];
        for file in around {
            assert!(malformed(&refused(&repository, name, file)), "{name}");
        }
        for value in [
            "NaN",
            "Infinity",
            "01",
            "0x1",
            "+1",
            "1.",
            ".1",
            "-",
            "tru",
            "undefined",
            "\"a\nb\"",
            "\"\\x41\"",
            "\"\\u12\"",
        ] {
            let spelled = signed(&repository, name).replacen('{', &format!("{{\"x\":{value},"), 1);
            let file = seal_raw(&spelled, spelled.as_bytes(), &repository.keys[name]);
            assert!(malformed(&refused(&repository, name, file)), "{name} {value}");
        }
    }
    let long_number = signed(&repository, "targets").replacen('{', &format!("{{\"x\":{},", "9".repeat(900_000)), 1);
    refused(&repository, "targets", seal_raw(&long_number, long_number.as_bytes(), &repository.keys["targets"]));
    let key = "ab".repeat(450_000);
    let long_key = signed(&repository, "root").replacen("\"keys\":{", &format!("\"keys\":{{\"{key}\":{{}},"), 1);
    refused(&repository, "root", seal_raw(&long_key, long_key.as_bytes(), &repository.keys["root"]));
}

/// Attack catalogue A9-102: two byte strings must not share a signature.
#[test]
fn invalid_utf8_and_lone_surrogates_are_no_replacement_characters() {
    let mut repository = Repository::new();
    repository.tag("targets", "v\u{fffd}", "x");
    assert!(holds(&repository.client().update(&repository.service()).unwrap(), "v\u{fffd}", "x"));
    let honest = repository.files["targets"].to_vec();
    let at = honest.windows(3).position(|window| window == "\u{fffd}".as_bytes()).unwrap();
    for spelling in
        [&b"\xff"[..], b"\xc0\xaf", b"\xed\xa0\x80", b"\xf5\x80\x80\x80", b"\\ud800", b"\\udc00", b"\\ud800\\u0041"]
    {
        let file = [&honest[..at], spelling, &honest[at + 3..]].concat();
        assert!(malformed(&refused(&repository, "targets", file)));
    }
}

/// Attack catalogue A9-103.
#[test]
fn an_unsigned_member_beside_the_signed_ones_is_refused() {
    let repository = tagged();
    for name in ROLES {
        let text = String::from_utf8(repository.files[name].to_vec()).unwrap();
        for extra in ["\"x\":1,", "\"\":null,", "\"comment\":{\"a\":[]},", "\"custom\":\"\","] {
            assert!(malformed(&refused(&repository, name, text.replacen('{', &format!("{{{extra}"), 1))));
        }
    }
}

/// Attack catalogue A9-104, on whole files; the property test is beside the reader.
#[test]
fn members_in_any_order_mean_the_same() {
    let mut repository = tagged();
    repository.edit("targets", |targets| {
        targets["targets"]["v1"]["custom"] = json!({ "b": [1, 2, { "d": null, "c": "<&>" }], "a": "\u{2028}" });
    });
    repository.link();
    let file: Value = serde_json::from_slice(&repository.files["targets"]).unwrap();
    let reversed = format!("{{\"signatures\":{},\"signed\":{}}}", file["signatures"], reverse(&file["signed"]));
    let forged = with_file(&repository, "targets", reversed);
    let collection = forged.client().update(&forged.service()).unwrap();
    let meta = collection.get("v1", &[RoleName::Targets]).unwrap().meta;
    assert_eq!(meta.custom.unwrap(), "{\"a\":\"\u{2028}\",\"b\":[1,2,{\"c\":\"<&>\",\"d\":null}]}");
    assert!(STANDARD.encode(meta.sha256.unwrap().as_bytes()).ends_with('='));
}

/// The same value with all members in falling order.
fn reverse(value: &Value) -> String {
    match value {
        Value::Object(members) => {
            let mut sorted: Vec<_> = members.iter().collect();
            sorted.sort_by(|a, b| b.0.cmp(a.0));
            let members: Vec<String> = sorted
                .into_iter()
                .map(|(name, value)| format!("{} : {}", Value::from(name.as_str()), reverse(value)))
                .collect();
            format!("{{ {} }}", members.join(" , "))
        }
        Value::Array(items) => format!("[ {} ]", items.iter().map(reverse).collect::<Vec<_>>().join(" , ")),
        other => other.to_string(),
    }
}
