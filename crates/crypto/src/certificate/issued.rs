//! The path from the certificate of a token's signer to a bundle of trusted certificates.
//!
//! Such leaves are made with plain tools: they may be of X.509's first version, and the bundle may hold the leaf itself. The
//! path builder for pins knows neither (Notary protocol, authentication; Go's `x509.Verify` with any usage takes both).

use der::Encode as _;
use der::asn1::ObjectIdentifier;
use jiff::Timestamp;
use webpki::ALL_VERIFICATION_ALGS;

use super::{Certificate, ChainError, Expiry};

/// Most authorities between a leaf and a trusted certificate.
const MAX_BETWEEN: usize = 6;
/// Most signatures that are verified for one leaf, whatever is sent with it.
const MAX_SIGNATURES: usize = 32;

/// Critical extensions that are understood, or that say nothing about who may sign: basic constraints, key usage, extended
/// key usage, alternative names.
const UNDERSTOOD: [ObjectIdentifier; 4] = [
    ObjectIdentifier::new_unwrap("2.5.29.19"),
    ObjectIdentifier::new_unwrap("2.5.29.15"),
    ObjectIdentifier::new_unwrap("2.5.29.37"),
    ObjectIdentifier::new_unwrap("2.5.29.17"),
];

/// Looks for a path from the leaf over some of the others to a trusted certificate.
pub(super) fn verify(
    leaf: &Certificate,
    others: &[Certificate],
    trusted: &[Certificate],
    now: Timestamp,
) -> Result<(), ChainError> {
    if !is_usable(leaf, now) {
        return Err(ChainError::NoPath(
            "it is expired, not valid yet, too weak, or has unknown critical parts".to_owned(),
        ));
    }
    let mut search = Search { others, trusted, now, signatures: MAX_SIGNATURES };
    if search.leads_up(leaf, &mut Vec::new()) {
        Ok(())
    } else {
        Err(ChainError::NoPath("no signature of a trusted certificate leads to it".to_owned()))
    }
}

struct Search<'a> {
    others: &'a [Certificate],
    trusted: &'a [Certificate],
    now: Timestamp,
    /// How many signatures may still be verified.
    signatures: usize,
}

impl Search<'_> {
    fn leads_up(&mut self, certificate: &Certificate, between: &mut Vec<usize>) -> bool {
        if self.trusted.contains(certificate) {
            return true;
        }
        let (trusted, others) = (self.trusted, self.others);
        if trusted.iter().any(|issuer| self.issued(issuer, certificate, between.len())) {
            return true;
        }
        if between.len() == MAX_BETWEEN {
            return false;
        }
        for (index, issuer) in others.iter().enumerate() {
            if between.contains(&index) || !self.issued(issuer, certificate, between.len()) {
                continue;
            }
            between.push(index);
            if self.leads_up(issuer, between) {
                return true;
            }
            between.pop();
        }
        false
    }

    /// Tells whether an authority, which may have so many others below it, has signed a certificate.
    fn issued(&mut self, issuer: &Certificate, certificate: &Certificate, below: usize) -> bool {
        let fits = issuer.parsed.tbs_certificate().subject() == certificate.parsed.tbs_certificate().issuer()
            && issuer.may_issue()
            && issuer.path_length().is_none_or(|limit| below <= limit)
            && is_usable(issuer, self.now);
        if !fits || self.signatures == 0 {
            return false;
        }
        self.signatures -= 1;
        is_signed_by(certificate, issuer).unwrap_or(false)
    }
}

fn is_usable(certificate: &Certificate, now: Timestamp) -> bool {
    certificate.not_before() <= now
        && certificate.check(now, Expiry::Enforced).is_ok()
        && certificate.parsed.tbs_certificate().extensions().is_none_or(|extensions| {
            extensions.iter().all(|extension| !extension.critical || UNDERSTOOD.contains(&extension.extn_id))
        })
}

/// Verifies the signature; an error is a certificate that cannot be written as it was read.
fn is_signed_by(certificate: &Certificate, issuer: &Certificate) -> Result<bool, der::Error> {
    let (parsed, tbs) = (&certificate.parsed, certificate.parsed.tbs_certificate());
    if parsed.signature_algorithm() != tbs.signature() {
        return Ok(false);
    }
    let info = issuer.parsed.tbs_certificate().subject_public_key_info();
    let (Some(key), Some(signature)) = (info.subject_public_key.as_bytes(), parsed.signature().as_bytes()) else {
        return Ok(false);
    };
    let (of_key, of_signature, message) =
        (info.algorithm.to_der()?, parsed.signature_algorithm().to_der()?, tbs.to_der()?);
    let fitting = ALL_VERIFICATION_ALGS.iter().filter(|algorithm| {
        content(&of_key) == Some(algorithm.public_key_alg_id().as_ref())
            && content(&of_signature) == Some(algorithm.signature_alg_id().as_ref())
    });
    Ok(fitting.into_iter().any(|algorithm| algorithm.verify_signature(key, &message, signature).is_ok()))
}

/// Returns what is in a short DER sequence.
fn content(sequence: &[u8]) -> Option<&[u8]> {
    match sequence {
        [0x30, length, content @ ..] if usize::from(*length) == content.len() && *length < 0x80 => Some(content),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use jiff::ToSpan as _;
    use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, CustomExtension, DnType, IsCa, KeyPair};

    use super::*;

    fn params(name: &str, authority: IsCa) -> CertificateParams {
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = authority;
        params
    }

    fn key() -> KeyPair {
        KeyPair::generate().unwrap()
    }

    fn root(name: &str) -> CertifiedIssuer<'static, KeyPair> {
        CertifiedIssuer::self_signed(params(name, IsCa::Ca(BasicConstraints::Unconstrained)), key()).unwrap()
    }

    fn read(certificate: &rcgen::Certificate) -> Certificate {
        Certificate::from_der(certificate.der()).unwrap()
    }

    fn of(issuer: &CertifiedIssuer<'_, KeyPair>) -> Certificate {
        read(issuer.as_ref())
    }

    fn now() -> Timestamp {
        Timestamp::now()
    }

    #[test]
    fn a_path_over_authorities_counts_and_gaps_do_not() {
        let top = root("top");
        let middle = params("middle", IsCa::Ca(BasicConstraints::Constrained(0)));
        let middle = CertifiedIssuer::signed_by(middle, key(), &top).unwrap();
        let leaf = read(&params("leaf", IsCa::NoCa).signed_by(&key(), &middle).unwrap());
        let (top, middle) = (of(&top), of(&middle));
        let trusted = [top];
        leaf.verify_issued(std::slice::from_ref(&middle), &trusted, now()).unwrap();
        leaf.verify_issued(&[], std::slice::from_ref(&middle), now()).unwrap();
        leaf.verify_issued(&[], std::slice::from_ref(&leaf), now()).unwrap();
        assert!(leaf.verify_issued(&[], &trusted, now()).is_err(), "the authority between is missing");
        let impostor = of(&root("middle"));
        assert!(leaf.verify_issued(&[impostor], &trusted, now()).is_err(), "the name alone is not enough");
        assert!(leaf.verify_issued(&[], &[], now()).is_err());
    }

    #[test]
    fn what_is_no_authority_issues_nothing() {
        let top = root("top");
        let leaf = CertifiedIssuer::signed_by(params("leaf", IsCa::NoCa), key(), &top).unwrap();
        let below = read(&params("below", IsCa::NoCa).signed_by(&key(), &leaf).unwrap());
        let leaf = of(&leaf);
        assert!(below.verify_issued(std::slice::from_ref(&leaf), &[of(&top)], now()).is_err());
        assert!(below.verify_issued(&[], &[leaf], now()).is_err());
    }

    #[test]
    fn a_limit_on_the_path_is_kept() {
        let top = root("top");
        let short = |name| params(name, IsCa::Ca(BasicConstraints::Constrained(0)));
        let one = CertifiedIssuer::signed_by(short("one"), key(), &top).unwrap();
        let two = CertifiedIssuer::signed_by(short("two"), key(), &one).unwrap();
        let leaf = read(&params("leaf", IsCa::NoCa).signed_by(&key(), &two).unwrap());
        assert!(leaf.verify_issued(&[of(&one), of(&two)], &[of(&top)], now()).is_err());
    }

    #[test]
    fn outside_of_its_time_nothing_counts() {
        let top = root("top");
        let mut params = params("leaf", IsCa::NoCa);
        params.not_before = rcgen::date_time_ymd(2020, 1, 1);
        params.not_after = rcgen::date_time_ymd(2030, 1, 1);
        let leaf = read(&params.signed_by(&key(), &top).unwrap());
        let trusted = [of(&top), leaf.clone()];
        for (time, counts) in
            [("2025-01-01T00:00:00Z", true), ("2019-12-31T23:00:00Z", false), ("2030-01-02T00:00:00Z", false)]
        {
            let time: Timestamp = time.parse().unwrap();
            assert_eq!(leaf.verify_issued(&[], &trusted, time).is_ok(), counts, "{time}");
        }
        assert!(leaf.verify_issued(&[], &trusted, now() + 1.hours()).is_ok());
    }

    #[test]
    fn a_critical_extension_that_is_not_understood_is_refused() {
        let top = root("top");
        let mut params = params("leaf", IsCa::NoCa);
        let mut extension = CustomExtension::from_oid_content(&[1, 3, 6, 1, 4, 1, 99_999], vec![5, 0]);
        extension.set_criticality(true);
        params.custom_extensions.push(extension);
        let leaf = read(&params.signed_by(&key(), &top).unwrap());
        assert!(leaf.verify_issued(&[], &[of(&top)], now()).is_err());
    }

    #[test]
    fn many_authorities_of_one_name_are_not_all_tried() {
        let leaf = read(&params("leaf", IsCa::NoCa).signed_by(&key(), &root("top")).unwrap());
        let others: Vec<Certificate> = (0..40).map(|_| of(&root("top"))).collect();
        let mut search = Search { others: &others, trusted: &[], now: now(), signatures: MAX_SIGNATURES };
        assert!(!search.leads_up(&leaf, &mut Vec::new()));
        assert_eq!(search.signatures, 0);
    }
}
