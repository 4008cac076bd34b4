//! Chains from a leaf to pinned authorities.

use countersign_crypto::certificate::{Certificate, CertificateBundle, ChainError};
use rcgen::{BasicConstraints, ExtendedKeyUsagePurpose, KeyUsagePurpose};

use crate::golden::{json, now, read};
use crate::issuing::{Issued, at, authority, params, pem, self_signed};

fn root() -> Issued {
    self_signed(authority("Root", BasicConstraints::Unconstrained))
}

fn verdict(bundle: &[&Issued], pins: &[&Issued]) -> Result<(), ChainError> {
    let pins: Vec<Certificate> = pins.iter().map(|pin| pin.certificate.clone()).collect();
    CertificateBundle::parse(&pem(bundle)).unwrap().verify_chain_to(&pins, now())
}

fn no_path(verdict: &Result<(), ChainError>) -> bool {
    matches!(verdict, Err(ChainError::NoPath(_)))
}

#[test]
fn golden_chains_reach_their_authority() {
    let pin = |path: &str| Certificate::list_from_pem(&read(&format!("x509/{path}"))).unwrap();
    for chain in
        ["root-leaf.chain.crt", "root-leaf-eku.chain.crt", "root-leaf-rsa.chain.crt", "root-leaf-othercn.chain.crt"]
    {
        let bundle = CertificateBundle::parse(&read(&format!("x509/{chain}"))).unwrap();
        bundle.verify_chain_to(&pin("ca.crt"), now()).unwrap();
        bundle.verify_chain_to(&pin("intermediate.crt"), now()).unwrap();
        assert!(bundle.verify_chain_to(&pin("ca-flag.crt"), now()).is_err());
    }
    let alone = CertificateBundle::parse(&read("x509/root-leaf.crt")).unwrap();
    assert!(no_path(&alone.verify_chain_to(&pin("ca.crt"), now())), "the intermediate is missing");
    let direct = CertificateBundle::parse(&read("x509/root-leaf-direct.crt")).unwrap();
    direct.verify_chain_to(&pin("ca.crt"), now()).unwrap();
}

#[test]
fn pinned_authorities_decide_as_with_the_reference_except_for_extended_key_usage() {
    let verdicts = json("x509/rootcert.json");
    for (name, folder) in [
        ("chain", "chain"),
        ("chain, leaf for code signing", "chain-leaf-for-code-signing"),
        ("leaf", "leaf"),
        ("leaf issued by the CA itself", "leaf-issued-by-the-CA-itself"),
        ("rsa chain", "rsa-chain"),
    ] {
        let bundle = listed_bundle(folder).1;
        for (pin, case) in [("ca.crt", "pinned to the CA"), ("intermediate.crt", "pinned to the intermediate")] {
            let pins = Certificate::list_from_pem(&read(&format!("x509/{pin}"))).unwrap();
            let ours = bundle.verify_chain_to(&pins, now()).is_ok();
            let reference = verdicts[name]["trust_pinning"][case]["rc"] == 0;
            let only_usage = name == "chain, leaf for code signing" && pin == "intermediate.crt";
            assert_eq!(ours, reference || only_usage, "{name}, {case}");
        }
    }
}

/// The root key of a golden repository: the ID it is listed under and its certificates.
fn listed_bundle(folder: &str) -> (String, CertificateBundle) {
    let root = json(&format!("x509/rootcert-repos/{folder}/root.json"));
    let keys = root["signed"]["keys"].as_object().unwrap();
    let (id, key) = keys.iter().find(|(_, key)| key["keytype"].as_str().unwrap().ends_with("-x509")).unwrap();
    (id.clone(), CertificateBundle::parse(&crate::golden::bytes(&key["keyval"], "public")).unwrap())
}

#[test]
fn golden_repositories_hold_the_keys_that_rebuilding_gives() {
    for repository in ["chain-leaf-for-code-signing", "leaf-issued-by-the-CA-itself", "rsa-chain", "leaf"] {
        let (id, bundle) = listed_bundle(repository);
        assert_eq!(bundle.rebuilt_key().unwrap().id().to_string(), id);
        assert_eq!(bundle.leaf().common_name(), Some("golden.test/notary/x509-rootcert"));
    }
}

#[test]
fn a_chain_for_code_signing_only_is_accepted() {
    let root = root();
    let mut leaf = params("example.com/app");
    leaf.extended_key_usages = vec![ExtendedKeyUsagePurpose::CodeSigning];
    assert_eq!(verdict(&[&root.issue(leaf)], &[&root]), Ok(()));
}

#[test]
fn several_pins_are_tried() {
    let (other, root) = (root(), root());
    let leaf = root.issue(params("example.com/app"));
    assert_eq!(verdict(&[&leaf], &[&other, &root]), Ok(()));
}

#[test]
fn an_impostor_authority_of_the_same_name_is_refused() {
    let (real, impostor) = (root(), root());
    let leaf = impostor.issue(params("example.com/app"));
    assert!(no_path(&verdict(&[&leaf], &[&real])));
    let sub = impostor.issue(authority("Sub", BasicConstraints::Unconstrained));
    let leaf = sub.issue(params("example.com/app"));
    assert!(no_path(&verdict(&[&leaf, &sub, &impostor], &[&real])));
}

#[test]
fn a_leaf_used_as_authority_is_refused() {
    let root = root();
    let tenant = root.issue(params("example.com/tenant"));
    let leaf = tenant.issue(params("example.com/app"));
    assert!(no_path(&verdict(&[&leaf], &[&root])));
    assert_eq!(
        verdict(&[&leaf], &[&tenant]),
        Err(ChainError::NoUsableAuthority { pins: 1 }),
        "not even when the leaf itself is pinned"
    );
    assert!(CertificateBundle::parse(&pem(&[&leaf, &tenant])).is_err());
}

#[test]
fn a_self_signed_leaf_is_refused() {
    let root = root();
    let leaf = self_signed(params("example.com/app"));
    assert!(no_path(&verdict(&[&leaf], &[&root])));
}

#[test]
fn a_path_longer_than_the_pin_allows_is_refused() {
    let root = self_signed(authority("Root", BasicConstraints::Constrained(0)));
    let direct = root.issue(params("example.com/app"));
    assert_eq!(verdict(&[&direct], &[&root]), Ok(()));
    let sub = root.issue(authority("Sub", BasicConstraints::Unconstrained));
    let leaf = sub.issue(params("example.com/app"));
    assert!(no_path(&verdict(&[&leaf, &sub], &[&root])));
    assert_eq!(verdict(&[&leaf, &sub], &[&root, &sub]), Ok(()), "unless the sub-authority is pinned too");
}

#[test]
fn a_path_longer_than_an_intermediate_allows_is_refused() {
    let root = root();
    let first = root.issue(authority("First", BasicConstraints::Constrained(0)));
    let second = first.issue(authority("Second", BasicConstraints::Unconstrained));
    let leaf = second.issue(params("example.com/app"));
    assert!(no_path(&verdict(&[&leaf, &second, &first], &[&root])));
    let direct = first.issue(params("example.com/app"));
    assert_eq!(verdict(&[&direct, &first], &[&root]), Ok(()));
}

#[test]
fn an_authority_that_may_not_sign_certificates_is_refused() {
    let root = root();
    let mut sub = authority("Sub", BasicConstraints::Unconstrained);
    sub.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    let sub = root.issue(sub);
    let leaf = sub.issue(params("example.com/app"));
    assert_eq!(verdict(&[&leaf], &[&sub]), Err(ChainError::NoUsableAuthority { pins: 1 }));
    assert!(no_path(&verdict(&[&leaf, &sub], &[&root])));
}

#[test]
fn an_expired_leaf_intermediate_or_pin_is_refused() {
    let root = root();
    let expired = |mut params: rcgen::CertificateParams| {
        params.not_before = rcgen::date_time_ymd(2020, 1, 1);
        params.not_after = rcgen::date_time_ymd(2021, 1, 1);
        params
    };
    let leaf = root.issue(expired(params("example.com/app")));
    assert!(no_path(&verdict(&[&leaf], &[&root])));
    let sub = root.issue(expired(authority("Sub", BasicConstraints::Unconstrained)));
    let leaf = sub.issue(params("example.com/app"));
    assert!(no_path(&verdict(&[&leaf, &sub], &[&root])));
    assert_eq!(verdict(&[&leaf], &[&sub]), Err(ChainError::NoUsableAuthority { pins: 1 }));
}

#[test]
fn a_pin_counts_from_its_first_second() {
    let mut late = authority("Root", BasicConstraints::Unconstrained);
    late.not_before = rcgen::date_time_ymd(2026, 11, 23);
    let root = self_signed(late);
    let leaf = root.issue(params("example.com/app"));
    let bundle = CertificateBundle::parse(&pem(&[&leaf])).unwrap();
    let pins = [root.certificate.clone()];
    let before = bundle.verify_chain_to(&pins, at("2026-11-22T23:59:59Z"));
    assert_eq!(before, Err(ChainError::NoUsableAuthority { pins: 1 }));
    bundle.verify_chain_to(&pins, at("2026-11-23T00:00:00Z")).unwrap();
}

#[test]
fn the_time_is_the_callers() {
    let root = root();
    let leaf = root.issue(params("example.com/app"));
    let bundle = CertificateBundle::parse(&pem(&[&leaf])).unwrap();
    let pins = [root.certificate.clone()];
    bundle.verify_chain_to(&pins, at("2026-01-02T00:00:00Z")).unwrap();
    for outside in ["2025-12-31T00:00:00Z", "2036-01-02T00:00:00Z", "1960-01-01T00:00:00Z"] {
        assert!(bundle.verify_chain_to(&pins, at(outside)).is_err(), "{outside}");
    }
}

#[test]
fn no_pins_is_never_success() {
    let root = root();
    let leaf = root.issue(params("example.com/app"));
    assert_eq!(verdict(&[&leaf], &[]), Err(ChainError::NoUsableAuthority { pins: 0 }));
}

#[test]
fn a_name_constraint_of_the_pin_is_applied() {
    let mut constrained = authority("Root", BasicConstraints::Unconstrained);
    constrained.name_constraints = Some(rcgen::NameConstraints {
        permitted_subtrees: vec![rcgen::GeneralSubtree::DnsName("allowed.example".to_owned())],
        excluded_subtrees: Vec::new(),
    });
    let root = self_signed(constrained);
    let mut leaf = params("example.com/app");
    leaf.subject_alt_names = vec![rcgen::SanType::DnsName("other.example".try_into().unwrap())];
    assert!(no_path(&verdict(&[&root.issue(leaf)], &[&root])));
}

#[test]
fn many_useless_intermediates_end_in_bounded_time() {
    let root = root();
    let mut chain = vec![root.issue(authority("Same", BasicConstraints::Unconstrained))];
    for _ in 0..30 {
        let next = chain.last().unwrap().issue(authority("Same", BasicConstraints::Unconstrained));
        chain.push(next);
    }
    let leaf = chain.last().unwrap().issue(params("example.com/app"));
    let stranger = self_signed(authority("Stranger", BasicConstraints::Unconstrained));
    let mut bundle = vec![&leaf];
    bundle.extend(&chain);
    let start = std::time::Instant::now();
    assert!(no_path(&verdict(&bundle, &[&stranger])));
    assert!(start.elapsed() < std::time::Duration::from_secs(5));
}
