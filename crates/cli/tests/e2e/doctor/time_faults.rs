//! What was signed years ago, and by a clock that somebody else has: the named commands make it new.

use super::{Clinic, Examined, SECRETS, commands, notary_passphrases};
use crate::client::{Client, TRUST};
use crate::stage::Shop;
use countersign_testkit::clock::faketime_library;
use countersign_testkit::{MemoryRegistry, TestCa, TrustService};
use std::fs;

/// The same person, at another time.
fn at(person: &Client, offset: &str) -> Client {
    let clock = person.again().env("LD_PRELOAD", faketime_library().to_str().unwrap());
    clock.env("FAKETIME", offset).env("FAKETIME_DONT_FAKE_MONOTONIC", "1")
}

/// A shop whose owner has signed `v1` so many days ago, and only then.
fn signed_days_ago(days: u32) -> Clinic {
    let ca = TestCa::new();
    let certificate = ca.loopback_server();
    let folder = tempfile::tempdir().unwrap();
    let (chain, key) = (folder.path().join("chain.pem"), folder.path().join("key.pem"));
    fs::write(&chain, certificate.certificate_pem).unwrap();
    fs::write(&key, certificate.key_pem).unwrap();
    let service = TrustService::builder(env!("CARGO_BIN_EXE_countersign"))
        .arg("--tls-cert")
        .arg(chain.to_str().unwrap())
        .arg("--tls-key")
        .arg(key.to_str().unwrap())
        .start();
    let shop = Shop { registry: MemoryRegistry::start().unwrap(), service };
    let owner = Client::new().at(&shop.service.url(), &ca.pem()).env(SECRETS[2], "the archive's own secret");
    let owner = notary_passphrases(owner);
    shop.signed_by(&at(&owner, &format!("-{days}d")), "v1", "one");
    let clinic = Clinic { shop, owner };
    clinic.back_up();
    clinic
}

fn ids(found: &super::Diagnosis) -> Vec<&str> {
    found.ids().into_iter().filter(|id| *id != "passphrase-in-environment").collect()
}

#[test]
fn tags_that_expire_soon_are_signed_anew_as_they_are() {
    let clinic = signed_days_ago(1080);
    let (owner, gun) = (&clinic.owner, clinic.shop.gun());
    let found = owner.examined();
    assert_eq!(ids(&found), ["targets-expires-soon"], "{}", found.finished);
    let finding = &found.findings()[0];
    let named = commands(finding);
    assert!(named[0].contains(" witness ") && named[0].ends_with(&format!("{gun} targets --publish")), "{named:?}");
    let after = owner.mended_by(&named, &[]);
    assert_eq!(ids(&after), [""; 0], "{}", after.finished);
    owner.run(&["verify", &clinic.shop.name("v1")]).succeeded();
}

#[test]
fn tags_that_have_expired_are_signed_anew_as_they_are() {
    // No service stores what has expired: it expires in five days, and six days later it is looked at.
    let clinic = signed_days_ago(1090);
    let (later, gun) = (at(&clinic.owner, "+6d"), clinic.shop.gun());
    assert_eq!(later.run(&["verify", &clinic.shop.name("v1")]).code, TRUST);
    let found = later.examined();
    assert_eq!(ids(&found), ["clock-far-off", "targets-expired"], "{}", found.finished);
    let named = commands(&found.findings()[1]);
    assert_eq!(named, [format!("countersign key recover {gun} --apply")]);
    let after = later.mended_by(&named, &[]);
    assert_eq!(ids(&after), ["clock-far-off"], "{}", after.finished);
    clinic.owner.run(&["verify", &clinic.shop.name("v1")]).succeeded();
}

#[test]
fn a_clock_that_is_a_day_off_is_told_by_the_service() {
    let clinic = signed_days_ago(0);
    let found = at(&clinic.owner, "+30h").examined();
    assert_eq!(ids(&found), ["clock-far-off"], "{}", found.finished);
    let found = at(&clinic.owner, "-20m").examined();
    assert_eq!(ids(&found), ["clock-off", "clock-behind"], "{}", found.finished);
    let found = at(&clinic.owner, "+15d").examined_with(&[&clinic.shop.gun()]);
    assert_eq!(ids(&found), ["clock-far-off", "timestamp-expired"], "{}", found.finished);
}
