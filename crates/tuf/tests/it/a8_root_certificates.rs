//! Root certificates, pinning, cross-repository replay.

use crate::a1_accepted::{Chain, authority, chain};
use crate::workshop::*;
use countersign_crypto::certificate::Certificate;
use countersign_crypto::{KeyType, PublicKey};
use countersign_tuf::update::{Absence, Answer, LostRoot, Request, Update, UpdateError};
use countersign_tuf::{FirstUse, Note, Pinning, RoleName, RootError};
use rcgen::{BasicConstraints, IsCa, KeyPair};
use serde_json::json;

/// A collection of the name whose root keys are as given.
fn with_root(keys: Vec<Key>) -> Repository {
    let mut all = Repository::new().keys;
    all.insert("root".into(), keys);
    Repository::with_keys(GUN, all)
}

fn no_leaf(error: &UpdateError) -> bool {
    matches!(error, UpdateError::Root(RootError::NoLeafCertificates(_)))
}

/// Attack catalogue A8-80.
#[test]
fn a_certificate_for_another_name_is_refused() {
    for common_name in [
        "registry.test/team/other",
        "registry.test/team/ap",
        "registry.test/team/app2",
        "registry.test/team/app/",
        "Registry.test/team/app",
        "registry.test/team/\u{430}pp",
        "registry.test/team/app ",
        " registry.test/team/app",
        "registry.test/team/app\0",
        "",
        "other.test/*",
        "registry.test/other/*",
        "registry.test/*/app",
        "*/team/app",
        "registry.test/team/app/*",
        "registry.test/team/app?",
    ] {
        let repository = with_root(vec![Key::new().certified(common_name)]);
        let error = repository.client().refuses(&repository.service());
        assert!(no_leaf(&error), "{common_name:?}: {error}");
    }
}

fn fixture(name: &str) -> Vec<u8> {
    std::fs::read(crate::folder::fixtures(&format!("x509/{name}"))).unwrap()
}

/// Attack catalogue A8-81.
#[test]
fn certificates_that_fail_the_checks_are_no_root_keys() {
    let key = Key::new();
    let pem = |key: &Key| String::from_utf8(key.public.bytes().to_vec()).unwrap();
    let good = key.certified(GUN);
    let listed = |text: String| key.under(PublicKey::new(KeyType::EcdsaX509, text.into_bytes()));
    let ca = chain(GUN, |_, leaf| leaf.is_ca = IsCa::Ca(BasicConstraints::Unconstrained));
    let two_leaves = format!("{}{}", pem(&good), pem(&key.certified(GUN)));
    let ca_first = {
        let chain = chain(GUN, |_, _| ());
        let text = String::from_utf8(chain.key.public.bytes().to_vec()).unwrap();
        let end = text.find("-----END CERTIFICATE-----\n").unwrap() + "-----END CERTIFICATE-----\n".len();
        chain.key.under(PublicKey::new(KeyType::EcdsaX509, format!("{}{}", &text[end..], &text[..end]).into_bytes()))
    };
    let with_private = format!("{}-----BEGIN EC PRIVATE KEY-----\nAAAA\n-----END EC PRIVATE KEY-----\n", pem(&good));
    for bad in [
        key.certified_at(GUN, at("2016-11-01T00:00:00Z")),
        key.certified_at(GUN, at("2026-11-24T12:00:00Z")),
        ca.key,
        listed(two_leaves),
        ca_first,
        listed(with_private),
        listed("garbage".into()),
        listed(pem(&good).replace("CERTIFICATE", "PUBLIC KEY")),
        listed(pem(&good).replace('\n', "\r\n")),
        listed(format!("\n{}", pem(&good))),
        listed(format!("# note\n{}", pem(&good))),
        key.under(PublicKey::new(KeyType::RsaX509, good.public.bytes().to_vec())),
        key.under(PublicKey::new(KeyType::Ecdsa, good.public.bytes().to_vec())),
        key.clone(),
    ] {
        let repository = with_root(vec![bad]);
        repository.client().refuses(&repository.service());
    }
    let tomorrow = with_root(vec![key.certified_at(GUN, at("2026-11-23T11:00:00Z"))]);
    tomorrow.client().update(&tomorrow.service()).unwrap();
    for weak in ["rsa1024.crt", "sha1.crt"] {
        let certificate = Certificate::list_from_pem(&fixture(weak)).unwrap().remove(0);
        let common_name = certificate.common_name().unwrap().to_owned();
        let public = PublicKey::new(KeyType::RsaX509, certificate.to_pem().into_bytes());
        let repository = with_root(vec![key.under(public)]);
        let mut client = Client::new(&common_name);
        assert!(no_leaf(&client.refuses(&repository.service())), "{weak}");
    }
}

/// Attack catalogue A8-82.
#[test]
fn another_collection_served_under_this_name_is_refused_and_recovered_from() {
    let mut here = Repository::new();
    here.tag("targets", "v1", "x");
    let mut keys = Repository::new().keys;
    keys.insert("root".into(), vec![Key::new().certified("registry.test/team/b")]);
    let elsewhere = Repository::with_keys("registry.test/team/b", keys);
    assert!(no_leaf(&here.client().refuses(&elsewhere.service())));
    let mut client = here.warm_client();
    client.refuses(&elsewhere.service());
    let mut unrelated = Repository::new();
    unrelated.tag("targets", "v1", "evil");
    for _ in 0..3 {
        unrelated.link();
    }
    client.refuses(&unrelated.service());
    unrelated.rotate("root");
    client.refuses(&unrelated.service());
    assert!(holds(&client.update(&here.service()).unwrap(), "v1", "x"));
}

/// Attack catalogue A8-83: siblings under a wildcard cannot be told apart; that is pointed out.
#[test]
fn a_wildcard_root_is_pointed_out() {
    let repository = with_root(vec![Key::new().certified("registry.test/team/*")]);
    let collection = repository.client().update(&repository.service()).unwrap();
    assert!(collection.notes().contains(&Note::WildcardRoot));
    let mut sibling = Client::new("registry.test/team/sibling");
    assert!(sibling.update(&repository.service()).unwrap().notes().contains(&Note::WildcardRoot));
}

/// Attack catalogue A8-84 and A8-85: a file says neither where it belongs nor which role it is; the floor notices it.
#[test]
fn a_delegation_file_of_another_collection_is_noticed_by_the_floor() {
    let shared = Key::new();
    let make = |content: &str| {
        let mut repository = Repository::new();
        repository.keys.insert("targets/releases".into(), vec![shared.clone()]);
        repository.delegate("targets/releases", &[""]);
        repository.tag("targets/releases", "v1", content);
        repository
    };
    let (here, elsewhere) = (make("here"), make("elsewhere"));
    let mut client = here.warm_client();
    let mut forged = here.clone();
    forged.put_bytes("targets/releases", elsewhere.files["targets/releases"].clone());
    forged.link();
    client.refuses(&forged.service());
}

/// Attack catalogue A8-86.
#[test]
fn pins_that_do_not_match_keep_everybody_out() {
    let honest = chain(GUN, |_, _| ());
    let impostor = chain(GUN, |_, _| ());
    let repository = with_root(vec![honest.key.clone()]);
    let refused = |repository: &Repository, set: &dyn Fn(&mut Pinning)| {
        let mut client = repository.client();
        set(&mut client.pinning);
        let error = client.refuses(&repository.service());
        assert!(matches!(error, UpdateError::Root(RootError::Pin(_))), "{error}");
    };
    refused(&repository, &|pins| pins.pin_certificates(GUN, [Key::root().public.id()]));
    refused(&repository, &|pins| pins.pin_certificates("registry.test/*", [impostor.key.public.id()]));
    refused(&repository, &|pins| pins.pin_certificates(GUN, []));
    // The bare key, or the leaf without its intermediate, is not what is pinned.
    refused(&repository, &|pins| pins.pin_certificates(GUN, [honest.key.public.canonical_id()]));
    // An authority of the same name with another key; the leaf as an authority; none at all.
    refused(&repository, &|pins| pins.pin_authorities(GUN, vec![impostor.authority.clone()]));
    let leaf = Certificate::list_from_pem(honest.key.public.bytes()).unwrap().remove(0);
    refused(&repository, &|pins| pins.pin_authorities(GUN, vec![leaf.clone()]));
    refused(&repository, &|pins| pins.pin_authorities(GUN, Vec::new()));
    // The exact pin decides, even where a wildcard or an authority would let it in.
    refused(&repository, &|pins| {
        pins.pin_certificates(GUN, [Key::root().public.id()]);
        pins.pin_certificates("registry.test/*", [honest.key.public.id()]);
        pins.pin_authorities("", vec![honest.authority.clone()]);
    });
    let self_made = with_root(vec![Key::root()]);
    refused(&self_made, &|pins| pins.pin_authorities(GUN, vec![honest.authority.clone()]));
}

/// Attack catalogue A8-86: an intermediate that has expired, or that may not issue leaves, leads nowhere.
#[test]
fn chains_with_an_expired_or_unfit_intermediate_are_refused() {
    let expired = chain(GUN, |middle, _| middle.not_after = rcgen::date_time_ymd(2026, 11, 1));
    let no_authority = chain(GUN, |middle, _| middle.key_usages = vec![rcgen::KeyUsagePurpose::DigitalSignature]);
    let other_tenant = chain("registry.test/team/other", |_, _| ());
    for Chain { key, authority, .. } in [expired, no_authority, other_tenant] {
        let repository = with_root(vec![key]);
        let mut client = repository.client();
        client.pinning.pin_authorities("registry.test", vec![authority]);
        client.refuses(&repository.service());
    }
    // Two authorities below one that allows none: the path is too long.
    let [top_key, middle_key, low_key, leaf_key] = [(); 4].map(|()| KeyPair::generate().unwrap());
    let top = authority("Top", BasicConstraints::Constrained(0));
    let (middle, low) =
        (authority("Middle", BasicConstraints::Unconstrained), authority("Low", BasicConstraints::Unconstrained));
    let leaf = crate::a1_accepted::params(GUN);
    let issue = |params: &rcgen::CertificateParams, key: &KeyPair, by: &rcgen::CertificateParams, by_key: &KeyPair| {
        let der = params.signed_by(key, &rcgen::Issuer::from_params(by, by_key)).unwrap();
        Certificate::from_der(der.der()).unwrap()
    };
    let anchor = Certificate::from_der(top.self_signed(&top_key).unwrap().der()).unwrap();
    let bundle = [
        issue(&leaf, &leaf_key, &low, &low_key),
        issue(&low, &low_key, &middle, &middle_key),
        issue(&middle, &middle_key, &top, &top_key),
    ];
    let pem: String = bundle.iter().map(Certificate::to_pem).collect();
    let private = crate::a1_accepted::private_key(&leaf_key);
    let key = Key { private, public: PublicKey::new(KeyType::EcdsaX509, pem.into_bytes()) };
    let repository = with_root(vec![key]);
    repository.client().update(&repository.service()).unwrap();
    let mut client = repository.client();
    client.pinning.pin_authorities("registry.test", vec![anchor]);
    assert!(matches!(client.refuses(&repository.service()), UpdateError::Root(RootError::Pin(_))));
}

/// Attack catalogue A8-87: pins that could not be loaded are an empty list, not "no pin".
#[test]
fn an_empty_pin_does_not_fall_back_to_first_use() {
    let repository = Repository::new();
    for certificates in [true, false] {
        let mut client = repository.client();
        if certificates {
            client.pinning.pin_certificates("registry.test/*", []);
        } else {
            client.pinning.pin_authorities("registry.test/", Vec::new());
        }
        assert!(matches!(client.refuses(&repository.service()), UpdateError::Root(RootError::Pin(_))));
    }
}

/// Attack catalogue A8-88.
#[test]
fn with_first_use_denied_an_unpinned_collection_is_refused_at_first_contact_only() {
    let repository = Repository::new();
    let mut cold = repository.client();
    cold.pinning = Pinning::new(FirstUse::Deny);
    assert!(matches!(cold.refuses(&repository.service()), UpdateError::Root(RootError::FirstUse(_))));
    let mut warm = repository.warm_client();
    warm.pinning = Pinning::new(FirstUse::Deny);
    warm.update(&repository.service()).unwrap();
    let mut rotated = repository.clone();
    rotated.rotate("root");
    warm.update(&rotated.service()).unwrap();
}

/// Attack catalogue A8-89.
#[test]
fn a_pinned_prefix_ends_at_a_path_boundary() {
    let honest = chain(GUN, |_, _| ());
    let repository = with_root(vec![Key::root()]);
    let mut client = repository.client();
    client.pinning.pin_authorities("registry.test/team/ap", vec![honest.authority]);
    // Not covered by the pin, and so a first use.
    let collection = client.update(&repository.service()).unwrap();
    assert!(collection.notes().iter().any(|note| matches!(note, Note::FirstUse(_))));
}

/// Attack catalogue A8-90.
#[test]
fn a_rotation_away_from_the_pinned_certificate_is_refused() {
    let mut repository = Repository::new();
    let mut client = repository.warm_client();
    client.pinning.pin_certificates(GUN, [repository.keys["root"][0].public.id()]);
    client.update(&repository.service()).unwrap();
    repository.rotate("root");
    assert!(matches!(client.refuses(&repository.service()), UpdateError::Root(RootError::Pin(_))));
    // Once the pin follows, so does the client, over a link that the pin does not know.
    repository.rotate("root");
    client.pinning = Pinning::default();
    let pins = [client_root_key(&client), repository.keys["root"][0].public.id()];
    client.pinning.pin_certificates(GUN, pins);
    client.update(&repository.service()).unwrap();
}

fn client_root_key(client: &Client) -> countersign_crypto::KeyId {
    let root: serde_json::Value = serde_json::from_slice(&client.cache[&RoleName::Root]).unwrap();
    root["signed"]["roles"]["root"]["keyids"][0].as_str().unwrap().parse().unwrap()
}

/// Attack catalogue A8-90: the same with authorities.
#[test]
fn a_rotation_away_from_the_pinned_authority_is_refused() {
    let (ours, foreign) = (chain(GUN, |_, _| ()), chain(GUN, |_, _| ()));
    let mut repository = with_root(vec![ours.key.clone()]);
    let mut client = repository.client();
    client.pinning.pin_authorities("registry.test", vec![ours.authority.clone()]);
    client.update(&repository.service()).unwrap();
    repository.rotate_to("root", vec![foreign.key]);
    assert!(matches!(client.refuses(&repository.service()), UpdateError::Root(RootError::Pin(_))));
}

/// Attack catalogue A8-91.
#[test]
fn the_root_key_taken_on_first_use_is_named_once() {
    let repository = Repository::new();
    let mut client = repository.client();
    let noted = |collection: &countersign_tuf::Collection| {
        collection.notes().iter().find_map(|note| match note {
            Note::FirstUse(ids) => Some(ids.clone()),
            _ => None,
        })
    };
    let collection = client.update(&repository.service()).unwrap();
    assert_eq!(noted(&collection), Some(vec![repository.keys["root"][0].public.id()]));
    assert_eq!(noted(&client.update(&repository.service()).unwrap()), None);
}

/// Attack catalogue A8-92.
#[test]
fn a_pin_added_later_is_held_against_the_cached_root() {
    let repository = Repository::new();
    let mut client = repository.warm_client();
    client.pinning.pin_certificates(GUN, [Key::root().public.id()]);
    assert!(matches!(client.refuses(&repository.service()), UpdateError::Root(RootError::Pin(_))));
}

/// Attack catalogue A8-92: an authority whose certificate was issued anew, after the leaf, still lets the leaf in.
#[test]
fn an_authority_certificate_younger_than_the_leaf_does_not_lock_out_the_cached_root() {
    let [top_key, leaf_key] = [(); 2].map(|()| KeyPair::generate().unwrap());
    let mut top = authority("Authority", BasicConstraints::Unconstrained);
    let leaf = crate::a1_accepted::params(GUN);
    let leaf = leaf.signed_by(&leaf_key, &rcgen::Issuer::from_params(&top, &top_key)).unwrap();
    top.not_before = rcgen::date_time_ymd(2026, 6, 1);
    let anchor = Certificate::from_der(top.self_signed(&top_key).unwrap().der()).unwrap();
    let pem = Certificate::from_der(leaf.der()).unwrap().to_pem();
    let private = crate::a1_accepted::private_key(&leaf_key);
    let repository = with_root(vec![Key { private, public: PublicKey::new(KeyType::EcdsaX509, pem.into_bytes()) }]);
    let mut client = repository.client();
    client.pinning.pin_authorities("registry.test", vec![anchor]);
    client.update(&repository.service()).unwrap();
    client.update(&repository.service()).unwrap();
}

/// Attack catalogue A12-121.
#[test]
fn damaged_cached_files_other_than_the_root_are_repaired() {
    let mut repository = Repository::new();
    repository.tag("targets", "v1", "x");
    let warm = repository.warm_client();
    for name in ["timestamp", "snapshot", "targets"] {
        for junk in ["", "null", "{}", "junk", "{\"signed\":"] {
            let mut client = warm.clone();
            client.cache.insert(role(name), junk.into());
            assert!(holds(&client.update(&repository.service()).unwrap(), "v1", "x"));
            assert_eq!(client.cache, warm.cache, "{name} {junk:?}");
        }
        let mut client = warm.clone();
        client.cache.remove(&role(name));
        client.update(&repository.service()).unwrap();
        assert_eq!(client.cache, warm.cache, "{name}");
    }
}

/// Attack catalogue A12-122 and A12-123.
#[test]
fn a_damaged_or_unreadable_cached_root_is_never_silently_made_anew() {
    let repository = Repository::new();
    let foreign = Repository::new();
    for junk in ["", "null", "{}", "junk", "{\"signed\":{},\"signatures\":[]}"] {
        let mut client = repository.warm_client();
        client.cache.insert(RoleName::Root, junk.into());
        client.refuses(&foreign.service());
        client.refuses(&repository.service());
    }
    let pinning = Pinning::default();
    let request = Request {
        gun: gun(),
        now: now(),
        pinning: &pinning,
        seen: countersign_tuf::Seen::default(),
        purpose: countersign_tuf::update::Purpose::Read,
        lost_root: LostRoot::Reestablish,
    };
    let mut update = Update::begin(request);
    assert!(update.feed(Answer::Away(Absence::Unreachable("input/output error".into()))).is_err());
}

/// Attack catalogue A12-124.
#[test]
fn a_lost_root_is_made_anew_with_consent_only() {
    let mut repository = Repository::new();
    repository.tag("targets", "v1", "old");
    let old = repository.clone();
    repository.tag("targets", "v1", "new");
    let mut client = repository.warm_client();
    client.cache.remove(&RoleName::Root);
    assert!(matches!(client.refuses(&repository.service()), UpdateError::LostRoot(_)));
    // The record of what was seen is trace enough.
    client.cache.clear();
    assert!(matches!(client.refuses(&repository.service()), UpdateError::LostRoot(_)));
    client.lost_root = LostRoot::Reestablish;
    // The floors hold even then.
    client.refuses(&old.service());
    assert!(holds(&client.update(&repository.service()).unwrap(), "v1", "new"));
}

/// Attack catalogue A12-125.
#[test]
fn edited_and_foreign_caches_are_not_shown() {
    let mut repository = Repository::new();
    repository.tag("targets", "v1", "x");
    let mut payload = repository.payload("targets");
    payload["targets"]["v1"] = image("evil");
    let edited = envelope(&payload.to_string(), &json!([]));
    let away = Service::away(&Absence::Unreachable("off".into()));
    let mut client = repository.warm_client();
    client.cache.insert(RoleName::Targets, edited);
    client.refuses(&away);
    assert!(holds(&client.update(&repository.service()).unwrap(), "v1", "x"));
    let mut foreign = Repository::new().warm_client();
    foreign.cache.remove(&RoleName::Root);
    let mut mixed = repository.warm_client();
    mixed.cache.extend(foreign.cache);
    mixed.refuses(&away);
    assert!(holds(&mixed.update(&repository.service()).unwrap(), "v1", "x"));
    let mut copied = Repository::with_keys("registry.test/team/b", {
        let mut keys = Repository::new().keys;
        keys.insert("root".into(), vec![Key::new().certified("registry.test/team/b")]);
        keys
    })
    .warm_client();
    copied.gun = gun();
    copied.refuses(&away);
    copied.refuses(&repository.service());
}

/// Root validation is the same for the root of a first contact and for one that is cached: both key thresholds count with
/// certificates that are valid now.
#[test]
fn a_threshold_met_only_with_an_expired_certificate_is_met_no_more() {
    let keys = vec![Key::root(), Key::new().certified_at(GUN, at("2016-12-10T00:00:00Z"))];
    let mut repository = with_root(keys);
    repository.edit("root", |root| root["roles"]["root"]["threshold"] = 2.into());
    repository.link();
    let mut client = repository.warm_client();
    client.now = at("2026-12-09T00:00:00Z");
    repository.revise("timestamp", |timestamp| timestamp["expires"] = "2026-12-30T00:00:00Z".into());
    client.now = at("2026-12-20T00:00:00Z");
    client.refuses(&repository.service());
    let mut cold = repository.client();
    cold.now = client.now;
    cold.refuses(&repository.service());
}
