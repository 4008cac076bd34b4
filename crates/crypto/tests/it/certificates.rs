//! Certificates: reading, checking, rebuilding, making.

use countersign_crypto::certificate::{
    self, Certificate, CertificateBundle, CertificateError, Expiry, MAX_CERTIFICATES, MAX_PEM,
};
use countersign_crypto::{Algorithm, KeyType, PrivateKey, PublicKey};
use der::{Decode as _, Encode as _};
use x509_cert::ext::Extension;

use crate::golden::{bytes, json, key_vectors, now, read, text};
use crate::issuing::{at, params, pem, self_signed};

fn first(path: &str) -> Certificate {
    Certificate::list_from_pem(&read(&format!("x509/{path}"))).unwrap().remove(0)
}

#[test]
fn golden_certificates_have_the_ids_the_reference_gives_them() {
    let manifest = json("manifest.json");
    let set = manifest["sets"].as_array().unwrap().iter().find(|set| set["name"] == "x509").unwrap();
    let certificates = set["certificates"].as_object().unwrap();
    assert!(certificates.len() > 20);
    for (file, expected) in certificates {
        let key_type = KeyType::from(text(expected, "keytype"));
        let key = PublicKey::new(key_type, first(file).to_pem().into_bytes());
        assert_eq!(key.id().to_string(), text(expected, "id"), "{file}");
        assert_eq!(key.canonical_id().to_string(), text(expected, "canonical"), "{file}");
    }
}

#[test]
fn delegation_certificates_pass_and_fail_as_with_the_reference() {
    let verdicts = json("x509/delegation-add.json");
    let mut seen = 0;
    for (file, verdict) in verdicts.as_object().unwrap() {
        let is_bare = std::path::Path::new(file).extension().is_some_and(|extension| extension == "pub");
        let path = if is_bare { format!("key-bundles/inputs/{file}") } else { format!("x509/{file}") };
        let text = read(&path);
        let ours =
            PublicKey::from_pem(&text).is_ok() && (is_bare || first(file).check(now(), Expiry::Enforced).is_ok());
        // The reference takes P-224; it is too weak for us.
        let expected = verdict["rc"] == 0 && file != "ec-p224.crt";
        assert_eq!(ours, expected, "{file}");
        seen += 1;
    }
    assert!(seen > 25);
}

#[test]
fn expired_certificates_fail_only_when_expiry_counts() {
    let certificate = first("expired.crt");
    assert!(matches!(certificate.check(now(), Expiry::Enforced), Err(CertificateError::Expired { .. })));
    certificate.check(now(), Expiry::Ignored).unwrap();
    certificate.check(certificate.not_after(), Expiry::Enforced).unwrap();
    let after = certificate.not_after().checked_add(jiff::SignedDuration::from_nanos(1)).unwrap();
    assert!(certificate.check(after, Expiry::Enforced).is_err());
}

#[test]
fn validity_may_begin_one_day_from_now_and_no_later() {
    let certificate = self_signed(params("example.com/app")).certificate;
    assert_eq!(certificate.not_before(), at("2026-01-01T00:00:00Z"));
    certificate.check(at("2025-12-31T00:00:00Z"), Expiry::Enforced).unwrap();
    assert!(matches!(
        certificate.check(at("2025-12-30T23:59:59Z"), Expiry::Enforced),
        Err(CertificateError::NotYetValid { .. })
    ));
    assert!(first("not-yet-valid.crt").check(now(), Expiry::Enforced).is_err());
    first("not-yet-valid.crt").check(now(), Expiry::Ignored).unwrap();
}

#[test]
fn inverted_validity_is_refused_even_when_expiry_does_not_count() {
    let mut inverted = params("example.com/app");
    std::mem::swap(&mut inverted.not_before, &mut inverted.not_after);
    let certificate = self_signed(inverted).certificate;
    for expiry in [Expiry::Enforced, Expiry::Ignored] {
        assert!(matches!(certificate.check(now(), expiry), Err(CertificateError::InvertedValidity { .. })));
    }
    certificate.certified_key().unwrap_err();
}

#[test]
fn sha1_and_short_rsa_are_refused_even_when_expiry_does_not_count() {
    for expiry in [Expiry::Enforced, Expiry::Ignored] {
        assert!(matches!(first("sha1.crt").check(now(), expiry), Err(CertificateError::WeakSignature { .. })));
        assert!(matches!(
            first("rsa1024.crt").check(now(), expiry),
            Err(CertificateError::ShortRsa { bits: 1024, .. })
        ));
        first("sha512.crt").check(now(), expiry).unwrap();
    }
    for (file, key_type) in [("sha1.crt", KeyType::RsaX509), ("rsa1024.crt", KeyType::RsaX509)] {
        let key = PublicKey::new(key_type, read(&format!("x509/{file}")));
        assert!(key.verifying_key().is_err(), "{file} must not verify");
    }
}

#[test]
fn two_leaves_and_an_authority_in_front_are_refused() {
    for file in ["two-certs.crt", "ca.crt", "ca-flag.crt", "intermediate.crt"] {
        let verdict = CertificateBundle::parse(&read(&format!("x509/{file}")));
        assert_eq!(verdict.unwrap_err(), CertificateError::NotLeafFirst, "{file}");
    }
    let reversed = [read("x509/intermediate.crt"), read("x509/root-leaf.crt")].concat();
    assert_eq!(CertificateBundle::parse(&reversed).unwrap_err(), CertificateError::NotLeafFirst);
}

#[test]
fn a_private_key_among_the_certificates_is_refused() {
    let text = [read("x509/root-leaf.crt"), read("x509/root-leaf.key")].concat();
    assert!(matches!(CertificateBundle::parse(&text), Err(CertificateError::UnexpectedBlock(_))));
    assert!(matches!(CertificateBundle::parse(&read("x509/root-leaf.key")), Err(CertificateError::UnexpectedBlock(_))));
}

#[test]
fn garbage_is_refused() {
    for bad in [&b""[..], b"garbage", &[0; 100], &read("x509/not-a-cert.crt"), b"-----BEGIN CERTIFICATE-----\n"] {
        CertificateBundle::parse(bad).unwrap_err();
        PublicKey::new(KeyType::EcdsaX509, bad.to_vec()).verifying_key().unwrap_err();
    }
    let der = first("root-leaf.crt").der().to_vec();
    for length in 0..der.len() {
        Certificate::from_der(&der[..length]).unwrap_err();
    }
    Certificate::from_der(&[der.as_slice(), &[0]].concat()).unwrap_err();
    Certificate::from_der(&vec![0x30; MAX_PEM + 1]).unwrap_err();
}

#[test]
fn too_many_certificates_are_refused() {
    let one = self_signed(params("example.com/app"));
    let many = pem(&vec![&one; MAX_CERTIFICATES + 1]);
    assert_eq!(Certificate::list_from_pem(&many).unwrap_err(), CertificateError::TooLarge);
    assert_eq!(Certificate::list_from_pem(&vec![b'a'; MAX_PEM + 1]).unwrap_err(), CertificateError::TooLarge);
}

#[test]
fn rebuilding_normalises_the_text_and_so_changes_the_id() {
    let normal = read("x509/root-leaf.chain.crt");
    let bundle = CertificateBundle::parse(&normal).unwrap();
    let expected = bundle.rebuild_pem();
    let text = String::from_utf8(expected.clone()).unwrap();
    assert!(!text.contains('\r') && text.ends_with("-----END CERTIFICATE-----\n"));
    assert!(text.lines().all(|line| line.len() <= 64));
    for variant in
        [text.replace('\n', "\r\n"), format!("a remark\n{text}"), text.replace("-----\n-----", "-----\n\n-----")]
    {
        let bundle = CertificateBundle::parse(variant.as_bytes()).unwrap();
        assert_eq!(bundle.rebuild_pem(), expected);
        let listed = PublicKey::new(KeyType::EcdsaX509, variant.into_bytes());
        assert_ne!(listed.id(), bundle.rebuilt_key().unwrap().id());
        assert_eq!(listed.canonical_id(), bundle.rebuilt_key().unwrap().canonical_id());
    }
}

#[test]
fn intermediates_that_fail_the_checks_are_dropped() {
    let bundle = CertificateBundle::parse(&read("x509/root-leaf.chain.crt")).unwrap();
    assert_eq!(bundle.intermediates().len(), 1);
    let whole = bundle.clone().checked(now(), Expiry::Enforced).unwrap();
    assert_eq!(whole, bundle);

    let root = self_signed(crate::issuing::authority("Root", rcgen::BasicConstraints::Unconstrained));
    let mut old = crate::issuing::authority("Old", rcgen::BasicConstraints::Unconstrained);
    old.not_after = rcgen::date_time_ymd(2026, 2, 1);
    let old = root.issue(old);
    let leaf = old.issue(params("example.com/app"));
    let bundle = CertificateBundle::parse(&pem(&[&leaf, &old])).unwrap();
    let id = bundle.rebuilt_key().unwrap().id();
    let dropped = bundle.clone().checked(now(), Expiry::Enforced).unwrap();
    assert!(dropped.intermediates().is_empty());
    assert_ne!(dropped.rebuilt_key().unwrap().id(), id);
    assert_eq!(bundle.checked(now(), Expiry::Ignored).unwrap().rebuilt_key().unwrap().id(), id);
}

#[test]
fn a_bundle_whose_leaf_fails_is_refused_as_a_whole() {
    let bundle = CertificateBundle::parse(&read("x509/expired.crt")).unwrap();
    assert!(bundle.checked(now(), Expiry::Enforced).is_err());
}

fn extensions(certificate: &Certificate) -> Vec<Extension> {
    let parsed = x509_cert::Certificate::from_der(certificate.der()).unwrap();
    parsed.tbs_certificate().extensions().unwrap().clone()
}

#[test]
fn new_certificates_have_exactly_the_fields_of_the_reference() {
    for vector in key_vectors().iter().filter(|vector| !vector["cert_pem"].is_null()) {
        let key_type = text(vector, "keytype").into();
        let key = PrivateKey::from_private_bytes(&key_type, &bytes(vector, "private_b64")).unwrap();
        let made = certificate::self_signed("example.com/vectors", &key, now()).unwrap();
        let ours = CertificateBundle::parse(&made).unwrap();
        assert_eq!(ours.rebuild_pem(), made);
        let theirs = CertificateBundle::parse(text(vector, "cert_pem").as_bytes()).unwrap();
        assert_eq!(extensions(ours.leaf()), extensions(theirs.leaf()));
        let (a, b) = (
            x509_cert::Certificate::from_der(ours.leaf().der()).unwrap(),
            x509_cert::Certificate::from_der(theirs.leaf().der()).unwrap(),
        );
        let (a, b) = (a.tbs_certificate(), b.tbs_certificate());
        assert_eq!(a.version(), b.version());
        assert_eq!(a.signature(), b.signature());
        assert_eq!(a.subject().to_der().unwrap(), b.subject().to_der().unwrap());
        assert_eq!(a.issuer().to_der().unwrap(), b.issuer().to_der().unwrap());
        assert_eq!(a.subject_public_key_info(), b.subject_public_key_info());
        let days = |certificate: &Certificate| {
            certificate.not_after().duration_since(certificate.not_before()).as_hours() / 24
        };
        assert_eq!((days(ours.leaf()), days(theirs.leaf())), (3650, 3650));
        assert_eq!(ours.leaf().not_before(), now());
        assert_eq!(ours.rebuilt_key().unwrap().canonical_id(), key.public_key().id());
        ours.rebuilt_key().unwrap().verifying_key().unwrap();
    }
}

#[test]
fn new_certificates_are_signed_by_their_own_key() {
    for algorithm in [Algorithm::EcdsaP256, Algorithm::EcdsaP384, Algorithm::EcdsaP521, Algorithm::Rsa { bits: 2048 }] {
        let key = PrivateKey::generate(algorithm).unwrap();
        let pem = certificate::self_signed("example.com/app", &key, now()).unwrap();
        let certificate = Certificate::list_from_pem(&pem).unwrap().remove(0);
        let der = rustls_pki_types::CertificateDer::from(certificate.der());
        let end_entity = webpki::EndEntityCert::try_from(&der).unwrap();
        let parsed = x509_cert::Certificate::from_der(certificate.der()).unwrap();
        let message = parsed.tbs_certificate().to_der().unwrap();
        let signature = parsed.signature().as_bytes().unwrap();
        let verified = webpki::ALL_VERIFICATION_ALGS
            .iter()
            .filter(|known| known.signature_alg_id().as_ref() == &parsed.signature_algorithm().to_der().unwrap()[2..])
            .any(|known| end_entity.verify_signature(*known, &message, signature).is_ok());
        assert!(verified, "{algorithm:?}");
    }
}

#[test]
fn common_names_may_be_long_and_of_any_letters() {
    let key = PrivateKey::generate(Algorithm::EcdsaP256).unwrap();
    let long = format!("registry.example.com/{}", "very-long/".repeat(30));
    for name in ["a", "under_score", "docker.io/library/*", "bücher.example/ß", long.as_str()] {
        let pem = certificate::self_signed(name, &key, now()).unwrap();
        let bundle = CertificateBundle::parse(&pem).unwrap();
        assert_eq!(bundle.leaf().common_name(), Some(name));
        bundle.checked(now(), Expiry::Enforced).unwrap();
    }
}

#[test]
fn two_common_names_count_as_none() {
    let mut two = params("example.com/one");
    two.distinguished_name.push(rcgen::DnType::CustomDnType(vec![2, 5, 4, 3]), "example.com/two");
    assert_eq!(self_signed(two).certificate.common_name(), None);
}

#[test]
fn ed25519_keys_get_no_certificate() {
    let key = PrivateKey::generate(Algorithm::Ed25519).unwrap();
    assert!(matches!(certificate::self_signed("example.com/app", &key, now()), Err(CertificateError::NotIssued(_))));
}

#[test]
fn certificates_over_one_key_share_their_identity() {
    let key = PrivateKey::generate(Algorithm::EcdsaP256).unwrap();
    let listed = |name: &str| PublicKey::new(KeyType::EcdsaX509, certificate::self_signed(name, &key, now()).unwrap());
    let (one, two) = (listed("example.com/one"), listed("example.com/two"));
    assert_ne!(one.id(), two.id());
    let identity = |key: &PublicKey| key.verifying_key().unwrap().identity();
    assert_eq!(identity(&one), identity(&two));
    assert_eq!(identity(&one), identity(key.public_key()));
}

#[test]
fn messages_show_no_control_characters_of_a_name() {
    let mut bad = params("evil\u{1b}[2Jname");
    bad.not_after = rcgen::date_time_ymd(2026, 2, 1);
    let error = self_signed(bad).certificate.check(now(), Expiry::Enforced).unwrap_err();
    assert!(!error.to_string().contains('\u{1b}'), "{error}");
}
