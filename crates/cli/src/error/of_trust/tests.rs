use super::*;
use countersign_registry::http::TlsFault;
use countersign_tuf::{Expired, Expires, Gun, RoleName};

fn hints(error: impl Into<CliError>) -> String {
    error.into().hints.join("\n")
}

fn tls(fault: &TlsFault) -> ServiceError {
    ServiceError::Tls(format!("https://trust.test:4443 cannot be trusted: {fault}"))
}

#[test]
fn only_an_unknown_authority_is_mended_by_a_file() {
    assert!(hints(tls(&TlsFault::UnknownAuthority)).contains("ca.crt"));
    let clock = hints(tls(&TlsFault::Expired));
    assert!(clock.contains("clock says") && !clock.contains("ca.crt"), "{clock}");
    for fault in [TlsFault::WrongName, TlsFault::NotTls, TlsFault::CutOff] {
        assert!(!hints(tls(&fault)).contains("ca.crt"), "{fault}");
    }
}

#[test]
fn who_can_renew_what_has_expired_is_named() {
    let at = Expires::parse("2020-01-01T00:00:00Z").unwrap();
    for (role, who) in [
        ("root", "owner of the root key"),
        ("targets", "holds the repository key"),
        ("snapshot", "operator of the trust service"),
        ("timestamp", "operator of the trust service"),
        ("targets/alice", "whoever signs for targets/alice"),
    ] {
        let expired = Expired { role: RoleName::parse(role).unwrap(), at: at.clone() };
        let error = CliError::from(TrustError::Update(UpdateError::Expired(expired)));
        assert!(error.message.contains("2020"), "{error:?}");
        let hints = error.hints.join("\n");
        assert!(hints.contains(who) && hints.contains("clock says"), "{role}: {hints}");
    }
}

#[test]
fn a_name_outside_of_the_paths_is_no_matter_of_keys() {
    let gun = Gun::parse("a.test/x").unwrap();
    let roles = vec![RoleName::parse("targets/releases").unwrap()];
    let error = CliError::from(TrustError::OutsidePaths { gun, name: "x1".to_owned(), roles });
    assert_eq!(error.kind, Kind::User);
    assert!(error.message.starts_with("x1 may not be signed by targets/releases"), "{error:?}");
    assert!(!error.hints.concat().contains("key load"), "{error:?}");
}

#[test]
fn an_upload_whose_certificate_is_not_valid_yet_is_explained() {
    let rejected = ServiceError::Rejected("unable to retrieve valid leaf certificates".to_owned());
    assert!(hints(rejected).contains("not valid yet"));
    assert_eq!(hints(ServiceError::Rejected("stale".to_owned())), "");
    let key = ServiceError::Rejected("no snapshot was included in update and server does not hold it".to_owned());
    assert!(hints(key).contains("notary key rotate"));
}
