//! Collections: damaged, lost or staged here, deleted or rolled back there, and what expires.

use super::{Clinic, Examined, commands, notary_passphrases};
use crate::client::Client;
use crate::shim::forged::forge::{Forge, GUN, Key, expiry};
use crate::stage::Shop;
use countersign_crypto::certificate::self_signed;
use countersign_crypto::{Algorithm, PrivateKey};
use countersign_keyfile::{KeyBlock, Protection};
use countersign_testkit::fixtures::ROOT_PASSPHRASE;
use countersign_testkit::{FakeServer, TestCa};
use jiff::{Timestamp, ToSpan};
use serde_json::{Value, json};
use std::fs;

const RELEASES: &str = "targets/releases";

#[test]
fn cached_files_that_are_damaged_or_lost() {
    let clinic = Clinic::open();
    let (owner, gun) = (&clinic.owner, clinic.shop.gun());
    let metadata = owner.metadata(&gun);
    for role in ["targets", "snapshot", "timestamp"] {
        let file = metadata.join(format!("{role}.json"));
        fs::write(&file, "{\"signed\":").unwrap();
        let found = owner.examined();
        let finding = found.only("cache-damaged");
        assert_eq!(finding["where"], file.to_str().unwrap());
        owner.mended_by(&commands(finding), &[]).nothing();
    }
    let root_key = {
        let shown = owner.run(&["trust", "show", &gun, "--format", "json"]).succeeded();
        serde_json::from_str::<Value>(&shown.stdout).unwrap()["cachedRoot"]["keys"][0].as_str().unwrap().to_owned()
    };
    let mended = |finding: &Value| {
        let named = commands(finding).join("\n").replace("ROOT_KEY_ID", &root_key);
        owner.mended_by(&[named], &[]).nothing();
    };
    for arguments in [[].as_slice(), &["--offline"]] {
        fs::write(metadata.join("root.json"), "{").unwrap();
        let found = owner.examined_with(arguments);
        mended(found.only("cached-root-damaged"));
        fs::remove_file(metadata.join("root.json")).unwrap();
        let found = owner.examined_with(arguments);
        mended(found.only("cached-root-lost"));
    }
    fs::write(metadata.join("seen.json"), "[]").unwrap();
    let found = owner.examined();
    let finding = found.only("seen-damaged");
    owner.mended_by(&commands(finding), &[]).nothing();
}

#[test]
fn changes_that_were_staged_and_never_published() {
    let clinic = Clinic::open();
    let owner = notary_passphrases(clinic.owner.again());
    let (gun, trust) = (clinic.shop.gun(), owner.trust_dir());
    fs::write(owner.folder().join("file"), "content").unwrap();
    owner.run(&["notary", "-d", trust.to_str().unwrap(), "add", &gun, "v9", "file"]).succeeded();
    let found = clinic.owner.examined();
    let finding = found.only("changes-staged");
    assert_eq!(finding["subject"], gun);
    let after = owner.mended_by(&commands(finding), &[]);
    assert!(after.ids().iter().all(|id| *id == "passphrase-in-environment"), "{}", after.finished);
    let listed = owner.run(&["inspect", &gun]).succeeded();
    assert!(listed.stdout.contains("v9"), "{listed}");
}

#[test]
fn a_collection_that_the_service_lost_or_never_had() {
    let mut clinic = Clinic::open();
    let gun = clinic.shop.gun();
    let unknown = format!("{gun}/other");
    let found = clinic.owner.examined_with(&[&unknown]);
    assert!(found.only("collection-unknown")["message"].as_str().unwrap().starts_with("nobody has signed"));
    clinic.shop.service.lose_everything_published();
    let found = clinic.owner.examined();
    let finding = found.only("collection-unknown");
    assert!(finding["message"].as_str().unwrap().contains("has seen published"), "{finding}");
    assert_eq!(commands(finding), [format!("countersign trust show {gun}")]);
}

/// Somebody who has verified an honest collection, and the service that will have another state of it.
struct Scene {
    server: FakeServer,
    reader: Client,
}

impl Scene {
    fn set() -> Self {
        let ca = TestCa::new();
        let server = FakeServer::tls(ca.loopback_server().server_config());
        Self { reader: Client::new().of_fake(&server, &ca), server }
    }

    fn serve(&self, forge: &Forge) {
        forge.serve(&self.server);
    }
}

#[test]
fn what_expires_is_found_before_and_after() {
    for (role, soon, over) in [
        ("root", "root-expires-soon", "root-expired"),
        ("targets", "targets-expires-soon", "targets-expired"),
        ("snapshot", "snapshot-expires-soon", "snapshot-expired"),
        ("timestamp", "timestamp-expires-soon", "timestamp-expired"),
        (RELEASES, "delegation-expires-soon", "delegation-expired"),
    ] {
        let scene = Scene::set();
        let mut forge = Forge::honest();
        scene.serve(&forge);
        let healthy = scene.reader.examined_with(&[GUN]);
        healthy.nothing();
        forge.edit(role, |file| file["expires"] = expiry(10).into());
        scene.serve(&forge);
        let arguments = [GUN, "--warn-before", "30d", "--warn-timestamp-before", "13d"];
        let found = scene.reader.examined_with(&arguments);
        let finding = found.only(soon);
        assert_eq!(finding["where"], format!("{role} of {GUN}"));
        assert!(finding["repair"]["advice"].as_str().is_some_and(|advice| !advice.is_empty()), "{finding}");
        let within = [GUN, "--warn-before", "9d", "--warn-timestamp-before", "9d"];
        scene.reader.examined_with(&within).nothing();
        forge.edit(role, |file| file["expires"] = expiry(-1).into());
        scene.serve(&forge);
        scene.reader.examined_with(&[GUN]).only(over);
    }
}

#[test]
fn a_root_certificate_that_ends_soon_is_replaced() {
    let shop = Shop::open();
    let (owner, gun) = (notary_passphrases(shop.client()), shop.gun());
    let began = Timestamp::now().checked_sub(24.hours() * (3650 - 20)).unwrap();
    let key = PrivateKey::generate(Algorithm::EcdsaP256).unwrap();
    let block =
        KeyBlock::seal(&key, Protection::Compatible(ROOT_PASSPHRASE.as_bytes()), &mut countersign_crypto::SystemRandom)
            .unwrap();
    for (name, content) in
        [("root.key", block.to_pem().as_bytes().to_vec()), ("root.crt", self_signed(&gun, &key, began).unwrap())]
    {
        fs::write(owner.folder().join(name), content).unwrap();
    }
    let (trust, url) = (owner.trust_dir(), shop.service.url());
    let authority = owner.config_dir().join("tls").join(url.trim_start_matches("https://")).join("ca.crt");
    let notary = ["notary", "-d", trust.to_str().unwrap(), "-s", &url, "--tlscacert", authority.to_str().unwrap()];
    let init = ["init", &gun, "--rootkey", "root.key", "--rootcert", "root.crt", "--publish"];
    owner.run(&[notary.as_slice(), &init].concat()).succeeded();
    let about_keys = ["passphrase-in-environment", "backup-never"];
    let ids = |found: &super::Diagnosis| {
        let ids = found.ids().into_iter().filter(|id| !about_keys.contains(id)).map(str::to_owned);
        ids.collect::<Vec<String>>()
    };
    let found = owner.examined_with(&["--warn-before", "10d"]);
    assert_eq!(ids(&found), [""; 0], "{}", found.finished);
    let found = owner.examined();
    assert_eq!(ids(&found), ["root-certificate-expires-soon"], "{}", found.finished);
    let finding = found.findings().iter().find(|finding| finding["id"] == "root-certificate-expires-soon").unwrap();
    assert_eq!(commands(finding), [format!("countersign key rotate {gun} root --root-certificate")]);
    let after = owner.mended_by(&[commands(finding)[0].clone() + " --yes"], &[]);
    assert_eq!(ids(&after), [""; 0], "{}", after.finished);
}

#[test]
fn roles_that_nobody_or_anybody_can_sign_for() {
    type Wrong = (&'static str, fn(&mut Value));
    let wrong: [Wrong; 2] = [
        ("delegation-without-keys", |targets| {
            let roles = &mut targets["delegations"]["roles"];
            let more = json!({"keyids": [], "name": "targets/bob", "paths": [""], "threshold": 1});
            roles.as_array_mut().unwrap().push(more);
        }),
        ("threshold-unreachable", |targets| {
            let roles = &mut targets["delegations"]["roles"];
            let mut more = roles[0].clone();
            (more["name"], more["threshold"]) = ("targets/bob".into(), 2.into());
            roles.as_array_mut().unwrap().push(more);
        }),
    ];
    for (id, change) in wrong {
        let scene = Scene::set();
        let mut forge = Forge::honest();
        forge.edit("targets", change);
        scene.serve(&forge);
        let found = scene.reader.examined_with(&[GUN]);
        let finding = found.only(id);
        assert_eq!(finding["where"], format!("targets/bob of {GUN}"));
        assert!(commands(finding)[0].contains(" delegation "), "{finding}");
    }
    let scene = Scene::set();
    let mut forge = Forge::honest();
    forge.edit("root", |root| {
        let other = root["roles"]["targets"]["keyids"][0].clone();
        root["roles"]["snapshot"]["keyids"].as_array_mut().unwrap().push(other);
    });
    scene.serve(&forge);
    scene.reader.examined_with(&[GUN]).only("threshold-one");
}

#[test]
fn signers_whose_certificates_end_or_whose_signatures_do_not_count() {
    for (days_ago, id) in [(3640, "delegation-certificate-expires-soon"), (3660, "delegation-certificate-expired")] {
        let scene = Scene::set();
        let mut forge = Forge::honest();
        forge.rekey(RELEASES, Key::certified("signer", days_ago));
        scene.serve(&forge);
        let found = scene.reader.examined_with(&[GUN]);
        assert_eq!(commands(found.only(id)).len(), 3);
    }
    let scene = Scene::set();
    let mut forge = Forge::honest();
    forge.signers.insert(RELEASES, Key::new());
    scene.serve(&forge);
    let found = scene.reader.examined_with(&[GUN]);
    assert!(commands(found.only("delegation-broken"))[0].ends_with(&format!("witness {GUN} {RELEASES} --publish")));
}

#[test]
fn delegations_are_mended_by_the_named_commands() {
    let clinic = Clinic::open();
    let (owner, gun) = (notary_passphrases(clinic.owner.again()), clinic.shop.gun());
    let key = PrivateKey::generate(Algorithm::EcdsaP256).unwrap();
    for (name, days_ago) in [("old.crt", 3640), ("new.crt", 1)] {
        let began = Timestamp::now().checked_sub(24.hours() * days_ago).unwrap();
        fs::write(owner.folder().join(name), self_signed("ops", &key, began).unwrap()).unwrap();
    }
    let (trust, url) = (owner.trust_dir(), clinic.shop.service.url());
    let authority = owner.config_dir().join("tls").join(url.trim_start_matches("https://")).join("ca.crt");
    let notary = ["notary", "-d", trust.to_str().unwrap(), "-s", &url, "--tlscacert", authority.to_str().unwrap()];
    let add = ["delegation", "add", &gun, "targets/ops", "old.crt", "--all-paths", "--publish"];
    owner.run(&[notary.as_slice(), &add].concat()).succeeded();
    owner.run(&["verify", &clinic.shop.name("v1")]).succeeded();
    let found = clinic.owner.examined();
    let finding = found.only("delegation-certificate-expires-soon");
    let named = commands(finding).join("\n").replace("SIGNER_CERTIFICATE", "new.crt");
    let after = owner.mended_by(&[named], &[]);
    assert!(after.ids().iter().all(|id| *id == "passphrase-in-environment"), "{}", after.finished);
}

#[test]
fn a_clock_behind_what_was_verified_is_pointed_out() {
    let clinic = Clinic::open();
    let seen = clinic.owner.metadata(&clinic.shop.gun()).join("seen.json");
    let mut record: Value = serde_json::from_slice(&fs::read(&seen).unwrap()).unwrap();
    record["verifiedAt"] = (record["verifiedAt"].as_u64().unwrap() + 9000).into();
    fs::write(&seen, record.to_string()).unwrap();
    clinic.owner.examined().only("clock-behind");
}

#[test]
fn an_older_state_is_no_state() {
    let scene = Scene::set();
    scene.serve(&Forge::honest());
    scene.reader.run(&["verify", &format!("{GUN}:v1")]).succeeded();
    scene.reader.examined().nothing();
    scene.serve(&Forge::honest().at_version(4));
    let found = scene.reader.examined();
    let finding = found.only("metadata-refused");
    assert_eq!(commands(finding), [format!("countersign verify {GUN}")]);
}

#[test]
fn a_certificate_for_a_wildcard_of_names_is_noted() {
    let scene = Scene::set();
    let mut forge = Forge::honest();
    forge.rekey("root", Key::certified("registry.test/team/*", 1));
    scene.serve(&forge);
    scene.reader.examined_with(&[GUN]).only("root-wildcard");
}
