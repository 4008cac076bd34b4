//! What must be accepted: otherwise refusing everything would pass all other tests.

use crate::workshop::*;
use base64::{Engine as _, engine::general_purpose::STANDARD};
use countersign_crypto::certificate::Certificate;
use countersign_crypto::{Algorithm, Curve, KeyId, KeyType, PrivateKey, PublicKey, Signer};
use countersign_tuf::update::{Absence, Answer};
use countersign_tuf::{Note, RoleName};
use rcgen::{BasicConstraints, CertificateParams, DistinguishedName, DnType, IsCa, Issuer, KeyPair, KeyUsagePurpose};
use serde_json::{Value, json};
use std::sync::Arc;

/// Attack catalogue A1-1.
#[test]
fn first_fetch_cached_fetch_update_and_a_moved_tag() {
    let mut repository = Repository::new();
    let mut client = repository.client();
    let empty = client.update(&repository.service()).unwrap();
    assert!(empty.list(&[RoleName::Targets]).is_empty());
    assert!(empty.notes().iter().any(|note| matches!(note, Note::FirstUse(ids) if ids.len() == 1)));

    repository.tag("targets", "v1", "old");
    assert!(holds(&client.update(&repository.service()).unwrap(), "v1", "old"));
    let again = client.update(&repository.service()).unwrap();
    assert!(holds(&again, "v1", "old"));
    assert!(again.downloaded().is_empty(), "nothing is new");

    repository.tag("targets", "v1", "new");
    let moved = client.update(&repository.service()).unwrap();
    assert!(holds(&moved, "v1", "new") && !holds(&moved, "v1", "old"));
    assert!(holds(&repository.client().update(&repository.service()).unwrap(), "v1", "new"));
}

/// Attack catalogue A1-2.
#[test]
fn one_and_four_honest_rotations_of_the_root_are_followed() {
    let mut repository = Repository::new();
    let mut far_behind = repository.warm_client();
    for _ in 0..3 {
        repository.rotate("root");
    }
    let mut behind = repository.warm_client();
    repository.rotate("root");
    repository.tag("targets", "v1", "x");
    for client in [&mut behind, &mut far_behind] {
        let collection = client.update(&repository.service()).unwrap();
        assert_eq!(collection.root().version.get(), 5);
        assert!(holds(&collection, "v1", "x"));
    }
}

/// Attack catalogue A1-3.
#[test]
fn an_intermediate_root_that_has_expired_is_a_link_all_the_same() {
    let mut repository = Repository::new();
    let mut client = repository.warm_client();
    let (one, two, three) = (repository.keys["root"][0].clone(), Key::root(), Key::root());
    repository.next_root(std::slice::from_ref(&two), &[one, two.clone()], |root| {
        root["expires"] = "2026-11-01T00:00:00Z".into();
    });
    repository.next_root(std::slice::from_ref(&three), &[two, three.clone()], |_| ());
    repository.link();
    assert_eq!(client.update(&repository.service()).unwrap().root().version.get(), 3);
}

/// Attack catalogue A1-4.
#[test]
fn an_expired_cached_root_speaks_for_its_successors() {
    for rotations in [1, 3] {
        let mut repository = Repository::new();
        repository.edit("root", |root| root["expires"] = "2026-12-01T00:00:00Z".into());
        repository.link();
        let mut client = repository.warm_client();
        for _ in 0..rotations {
            repository.rotate("root");
        }
        repository.edit("timestamp", |timestamp| timestamp["expires"] = "2027-01-10T00:00:00Z".into());
        client.now = at("2027-01-01T00:00:00Z");
        let collection = client.update(&repository.service()).unwrap();
        assert_eq!(collection.root().version.get(), 1 + rotations);
    }
}

/// Attack catalogue A1-4: not the root but its certificate has expired (the reference is stuck then).
#[test]
fn a_cached_root_with_an_expired_certificate_speaks_for_its_successor() {
    let key = Key::new();
    let mut keys = Repository::new().keys;
    keys.insert("root".into(), vec![key.certified_at(GUN, at("2016-12-10T00:00:00Z"))]);
    let mut repository = Repository::with_keys(GUN, keys);
    let mut client = repository.warm_client();
    client.now = at("2026-12-20T00:00:00Z");
    repository.edit("timestamp", |timestamp| timestamp["expires"] = "2027-01-10T00:00:00Z".into());
    assert!(client.update(&repository.service()).is_err());
    repository.rotate("root");
    assert_eq!(client.update(&repository.service()).unwrap().root().version.get(), 2);
}

/// Attack catalogue A1-5.
#[test]
fn replaced_targets_snapshot_and_timestamp_keys_are_accepted() {
    for role in ["targets", "snapshot", "timestamp"] {
        let mut repository = Repository::new();
        repository.tag("targets", "v1", "x");
        let mut client = repository.warm_client();
        repository.rotate(role);
        assert!(holds(&client.update(&repository.service()).unwrap(), "v1", "x"), "{role}, warm");
        assert!(holds(&repository.client().update(&repository.service()).unwrap(), "v1", "x"), "{role}, cold");
    }
}

/// Attack catalogue A1-6.
#[test]
fn versions_driven_up_with_a_stolen_key_start_again_after_its_rotation_in_one_run() {
    for stolen in ["targets", "snapshot", "timestamp"] {
        let mut repository = Repository::new();
        repository.tag("targets", "v1", "x");
        let honest = repository.clone();
        repository.edit(stolen, |payload| payload["version"] = 2_147_483_647_u64.into());
        match stolen {
            "targets" => repository.link(),
            "snapshot" => repository.link_timestamp(),
            _ => {}
        }
        let mut client = repository.warm_client();
        // Back to low versions, under a new key; what was driven up is taken back.
        let mut recovered = honest;
        for role in ["snapshot", "timestamp"] {
            let version = if role == stolen { 2 } else { repository.version(role) };
            recovered.edit(role, |payload| payload["version"] = version.into());
        }
        recovered.rotate(stolen);
        let collection = client.update(&recovered.service()).unwrap_or_else(|error| panic!("{stolen}: {error}"));
        assert!(holds(&collection, "v1", "x"));
        client.update(&recovered.service()).unwrap();
    }
}

/// Attack catalogue A1-7.
#[test]
fn every_algorithm_serves_for_every_role() {
    let rsa = Key::of(Algorithm::Rsa { bits: 2048 });
    let curves = [Algorithm::EcdsaP256, Algorithm::EcdsaP384, Algorithm::EcdsaP521].map(Key::of);
    let edwards = Key::of(Algorithm::Ed25519);
    for key in curves.iter().chain([&rsa, &edwards]) {
        let mut keys = Repository::new().keys;
        keys.insert("timestamp".into(), vec![key.clone()]);
        keys.insert("snapshot".into(), vec![Key::new(), key.clone()]);
        if !std::ptr::eq(key, &raw const edwards) {
            keys.insert("root".into(), vec![key.certified(GUN)]);
        }
        keys.insert("targets".into(), vec![key.clone()]);
        let mut repository = Repository::with_keys(GUN, keys);
        repository.tag("targets", "v1", "x");
        assert!(holds(&repository.client().update(&repository.service()).unwrap(), "v1", "x"), "{:?}", key.public);
    }
}

/// Attack catalogue A1-7.
#[test]
fn two_root_keys_and_thresholds_of_two_are_accepted() {
    let mut keys = Repository::new().keys;
    for role in ["targets", "snapshot", "timestamp"] {
        keys.insert(role.into(), vec![Key::new(), Key::new()]);
    }
    keys.insert("root".into(), vec![Key::root(), Key::root()]);
    let mut repository = Repository::with_keys(GUN, keys);
    repository.edit("root", |root| {
        for role in ["root", "targets", "snapshot", "timestamp"] {
            root["roles"][role]["threshold"] = 2.into();
        }
    });
    repository.tag("targets", "v1", "x");
    let mut client = repository.client();
    assert!(holds(&client.update(&repository.service()).unwrap(), "v1", "x"));
}

/// Attack catalogue A1-8: s beyond half the order, r or s with leading zeros, methods in capitals.
#[test]
fn ecdsa_signatures_go_never_normalises_are_accepted() {
    // The order of P-256.
    let order: [u8; 32] =
        hex::decode("ffffffff00000000ffffffffffffffffbce6faada7179e84f3b9cac2fc632551").unwrap().try_into().unwrap();
    let minus = |s: &[u8]| {
        let (mut difference, mut borrow) = ([0_u8; 32], 0_i16);
        for at in (0..32).rev() {
            let digit = i16::from(order[at]) - i16::from(s[at]) - borrow;
            borrow = i16::from(digit < 0);
            difference[at] = u8::try_from(digit.rem_euclid(256)).unwrap();
        }
        difference
    };
    let mut repository = Repository::new();
    repository.tag("targets", "v1", "x");
    let honest: Value = serde_json::from_slice(&repository.files["timestamp"]).unwrap();
    let sign = |mirror: bool| {
        let canonical = canonical(&honest["signed"]);
        let mut signature = repository.keys["timestamp"][0].private.sign(&canonical).unwrap();
        if mirror {
            let other = minus(&signature[32..]);
            signature[32..].copy_from_slice(&other);
        }
        signature
    };
    let mut leading_zeros = None;
    for _ in 0..4096 {
        let signature = sign(false);
        if signature[0] == 0 || signature[32] == 0 {
            leading_zeros = Some(signature);
            break;
        }
    }
    for signature in [sign(false), sign(true), leading_zeros.unwrap()] {
        let mut file = honest.clone();
        file["signatures"][0]["sig"] = STANDARD.encode(signature).into();
        file["signatures"][0]["method"] = "ECDSA".into();
        let service = repository.service().serve("timestamp", serde_json::to_vec(&file).unwrap());
        assert!(holds(&repository.client().update(&service).unwrap(), "v1", "x"));
    }
}

/// Attack catalogue A1-9.
#[test]
fn one_good_signature_is_enough_beside_a_broken_and_an_unknown_one() {
    let mut repository = Repository::new();
    repository.tag("targets", "v1", "x");
    let mut file: Value = serde_json::from_slice(&repository.files["timestamp"]).unwrap();
    let good = file["signatures"][0].clone();
    let mut broken = good.clone();
    broken["sig"] = STANDARD.encode([7; 64]).into();
    let unknown = Key::new().sign(b"anything");
    let mut odd = good.clone();
    odd["keyid"] = "no key id".into();
    file["signatures"] = json!([broken, unknown, odd, good]);
    let service = repository.service().serve("timestamp", serde_json::to_vec(&file).unwrap());
    assert!(holds(&repository.client().update(&service).unwrap(), "v1", "x"));
}

/// Attack catalogue A1-10.
#[test]
fn unknown_signed_members_unknown_hashes_and_the_nulls_of_go_are_accepted() {
    let mut repository = Repository::new();
    repository.tag("targets", "v1", "x");
    repository.edit("root", |root| root["x-note"] = json!({ "a": [1, null, "b"] }));
    repository.edit("targets", |targets| {
        targets["x-note"] = json!([]);
        targets["targets"]["v1"]["hashes"]["blake3"] = "AAAA".into();
        targets["targets"]["v1"]["custom"] = Value::Null;
        targets["delegations"] = json!({ "keys": null, "roles": null });
    });
    repository.link();
    assert!(holds(&repository.client().update(&repository.service()).unwrap(), "v1", "x"));

    let mut bare = Repository::new();
    bare.edit("targets", |targets| {
        targets["targets"] = Value::Null;
        targets["delegations"] = Value::Null;
    });
    bare.link();
    bare.edit("snapshot", |snapshot| {
        snapshot["x-note"] = 1.into();
        for (_, entry) in snapshot["meta"].as_object_mut().unwrap() {
            entry["hashes"].as_object_mut().unwrap().remove("sha512");
            entry["hashes"]["md5"] = "AAAA".into();
        }
    });
    bare.link_timestamp();
    bare.client().update(&bare.service()).unwrap();
}

/// Attack catalogue A1-11.
#[test]
fn spellings_of_the_transport_do_not_matter_for_signatures() {
    let names = ["zürich", "\u{ff61}", "😀", "a<b>&c", "line\u{2028}sep\u{2029}", "quote\"back\\slash", "v1"];
    let mut repository = Repository::new();
    for name in names {
        repository.tag("targets", name, name);
    }
    let pretty = |file: &[u8]| serde_json::to_vec_pretty(&serde_json::from_slice::<Value>(file).unwrap()).unwrap();
    let escaped = |file: &[u8]| {
        let text = String::from_utf8(file.to_vec()).unwrap();
        text.chars().flat_map(escape).collect::<String>().into_bytes()
    };
    let raw = |file: &[u8]| serde_json::to_vec(&serde_json::from_slice::<Value>(file).unwrap()).unwrap();
    for respell in [&pretty as &dyn Fn(&[u8]) -> Vec<u8>, &escaped, &raw] {
        let mut respelled = repository.clone();
        for role in ["root", "targets"] {
            let file = respell(&respelled.files[role]);
            respelled.put_bytes(role, file);
        }
        respelled.link();
        for role in ["snapshot", "timestamp"] {
            let file = respell(&respelled.files[role]);
            respelled.put_bytes(role, file);
            if role == "snapshot" {
                respelled.link_timestamp();
            }
        }
        let collection = respelled.client().update(&respelled.service()).unwrap();
        for name in names {
            assert!(holds(&collection, name, name), "{name}");
        }
    }
}

fn escape(c: char) -> Vec<char> {
    if c.is_ascii() {
        return vec![c];
    }
    let mut units = [0; 2];
    c.encode_utf16(&mut units).iter().flat_map(|unit| format!("\\u{unit:04X}").chars().collect::<Vec<_>>()).collect()
}

/// Attack catalogue A1-12.
#[test]
fn expiry_with_nanoseconds_and_a_zone_offset_is_accepted() {
    let mut repository = Repository::new();
    repository.edit("root", |root| root["expires"] = "2036-11-19T10:08:44.742505789+05:30".into());
    repository.edit("targets", |targets| targets["expires"] = "2029-11-21T15:39:51.5-08:00".into());
    repository.link();
    repository.client().update(&repository.service()).unwrap();
}

/// Attack catalogue A1-13.
#[test]
fn root_certificates_as_people_have_them_are_accepted() {
    let long = format!("registry.test:5000/{}", "a".repeat(100));
    for (gun, common_name) in [
        (GUN, GUN),
        (GUN, "registry.test/*"),
        (GUN, "registry.test/team/app*"),
        (GUN, "*"),
        ("localhost:5000/a", "localhost:5000/a"),
        (&long, &long),
    ] {
        let mut keys = Repository::new().keys;
        keys.insert("root".into(), vec![Key::new().certified(common_name)]);
        let repository = Repository::with_keys(gun, keys);
        let collection = repository.client().update(&repository.service()).unwrap();
        let warned = collection.notes().contains(&Note::WildcardRoot);
        assert_eq!(warned, common_name.ends_with('*'), "{common_name}");
    }
    let mut keys = Repository::new().keys;
    let soon_expired = at("2016-11-27T12:00:00Z");
    keys.insert("root".into(), vec![Key::new().certified_at(GUN, soon_expired)]);
    let repository = Repository::with_keys(GUN, keys);
    repository.client().update(&repository.service()).unwrap();
}

/// A root certificate below an authority and an intermediate one, and the authority.
pub(crate) struct Chain {
    pub(crate) key: Key,
    pub(crate) authority: Certificate,
    pub(crate) intermediate: Certificate,
}

pub(crate) fn params(common_name: &str) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, common_name);
    params.not_before = rcgen::date_time_ymd(2026, 1, 1);
    params.not_after = rcgen::date_time_ymd(2036, 1, 1);
    params
}

pub(crate) fn authority(common_name: &str, constraints: BasicConstraints) -> CertificateParams {
    let mut params = params(common_name);
    params.is_ca = IsCa::Ca(constraints);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
    params
}

/// Issues the chain; `change` may spoil the parameters of the intermediate authority and of the leaf.
pub(crate) fn chain(common_name: &str, change: impl FnOnce(&mut CertificateParams, &mut CertificateParams)) -> Chain {
    let [root_key, middle_key, leaf_key] = [(); 3].map(|()| KeyPair::generate().unwrap());
    let root = authority("Authority", BasicConstraints::Unconstrained);
    let mut middle = authority("Intermediate", BasicConstraints::Constrained(0));
    let mut leaf = params(common_name);
    change(&mut middle, &mut leaf);
    let certificate = |der: &[u8]| Certificate::from_der(der).unwrap();
    let top = certificate(root.self_signed(&root_key).unwrap().der());
    let below = certificate(middle.signed_by(&middle_key, &Issuer::from_params(&root, &root_key)).unwrap().der());
    let end = certificate(leaf.signed_by(&leaf_key, &Issuer::from_params(&middle, &middle_key)).unwrap().der());
    let pem = format!("{}{}", end.to_pem(), below.to_pem());
    let public = PublicKey::new(KeyType::EcdsaX509, pem.into_bytes());
    let private = private_key(&leaf_key);
    Chain { key: Key { private, public }, authority: top, intermediate: below }
}

pub(crate) fn private_key(pair: &KeyPair) -> Arc<PrivateKey> {
    // Inside the PKCS#8 stands a SEC1 key: a sequence of version 1, the 32 bytes of the key, and more (RFC 5915).
    let pkcs8 = pair.serialize_der();
    let version = pkcs8.windows(5).position(|window| window == [2, 1, 1, 4, 32]).unwrap();
    Arc::new(PrivateKey::from_sec1_der_on(Curve::P256, &pkcs8[version - 2..]).unwrap())
}

/// Attack catalogue A1-14.
#[test]
fn pins_by_certificate_by_authority_and_over_an_intermediate_let_the_owner_in() {
    let chain = chain(GUN, |_, _| ());
    let mut keys = Repository::new().keys;
    keys.insert("root".into(), vec![chain.key.clone()]);
    let repository = Repository::with_keys(GUN, keys);
    let id: KeyId = chain.key.public.id();
    for pin in 0..4 {
        let mut client = repository.client();
        match pin {
            0 => client.pinning.pin_certificates(GUN, [id]),
            1 => client.pinning.pin_certificates("registry.test/*", [Key::new().public.id(), id]),
            2 => client.pinning.pin_authorities("registry.test", vec![chain.authority.clone()]),
            _ => client.pinning.pin_authorities("registry.test/team/", vec![chain.intermediate.clone()]),
        }
        let collection = client.update(&repository.service()).unwrap();
        assert!(!collection.notes().iter().any(|note| matches!(note, Note::FirstUse(_))), "{pin}");
        client.update(&repository.service()).unwrap();
    }
}

/// Attack catalogue A1-15.
#[test]
fn delegations_nested_without_paths_never_signed_and_revoked_are_accepted() {
    let mut repository = Repository::new();
    repository.delegate("targets/a", &["a/"]);
    repository.delegate("targets/none", &[]);
    repository.delegate("targets/unsigned", &[""]);
    repository.tag("targets/a", "a/1", "one");
    repository.delegate("targets/a/b", &["a/b/"]);
    repository.tag("targets/a/b", "a/b/1", "two");
    repository.tag("targets/none", "n", "three");
    let mut client = repository.client();
    let collection = client.update(&repository.service()).unwrap();
    assert!(holds(&collection, "a/1", "one") && holds(&collection, "a/b/1", "two"));
    assert!(!holds(&collection, "n", "three"));
    assert!(collection.broken().is_empty());

    repository.revise("targets", |targets| {
        targets["delegations"]["roles"].as_array_mut().unwrap().retain(|role| role["name"] != "targets/a");
    });
    repository.link();
    let collection = client.update(&repository.service()).unwrap();
    assert!(!holds(&collection, "a/1", "one") && !holds(&collection, "a/b/1", "two"));
}

/// Attack catalogue A1-16.
#[test]
fn two_thousand_tags_are_listed_and_an_unexpired_cache_speaks_for_an_absent_service() {
    let mut repository = Repository::new();
    repository.revise("targets", |targets| {
        for n in 0..2000 {
            targets["targets"][format!("v{n}")] = image(&format!("image {n}"));
        }
    });
    repository.link();
    let mut client = repository.client();
    assert_eq!(client.update(&repository.service()).unwrap().list(&[RoleName::Targets]).len(), 2000);
    for absence in [Absence::Unreachable("503".into()), Absence::NotFound] {
        let collection = client.update(&Service::away(&absence)).unwrap();
        assert!(holds(&collection, "v1999", "image 1999"));
        assert!(collection.notes().contains(&Note::CachedTimestamp(absence)));
        assert!(collection.downloaded().is_empty());
    }
    let missing = repository.service().lie("timestamp", Answer::Missing);
    assert!(holds(&client.update(&missing).unwrap(), "v0", "image 0"));
}
