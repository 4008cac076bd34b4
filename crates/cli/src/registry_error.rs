//! Whose turn it is when a registry or an image's content fails.

use crate::error::{CliError, Kind};
use countersign_image::{ContentError, TreeError};
use countersign_registry::auth::AuthError;
use countersign_registry::distribution::RegistryError;
use countersign_registry::http::HttpError;

const LOGIN_HINT: &str = "if the image is private: docker login";
const NAME_HINT: &str = "check the name; if the image is private: docker login";
const TLS_HINT: &str = "put the registry's CA into /etc/docker/certs.d/<host:port>/ca.crt; or, if you accept that anybody can answer for it: --insecure-registry";

/// Where an image's content comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Source {
    Registry,
    Disk,
}

impl From<RegistryError> for CliError {
    fn from(error: RegistryError) -> Self {
        sorted(error, Source::Registry)
    }
}

/// Sorts an error of sending what lies on this machine's disk: damage is then this machine's.
pub(crate) fn of_push_from_disk(error: RegistryError) -> CliError {
    sorted(error, Source::Disk)
}

fn sorted(error: RegistryError, source: Source) -> CliError {
    let content = if source == Source::Disk { Kind::Local } else { Kind::Trust };
    let (kind, hint) = match &error {
        RegistryError::Auth(auth) => of_auth(auth),
        RegistryError::NotFound(_) => (Kind::User, Some(NAME_HINT)),
        RegistryError::OtherRegistry { .. } | RegistryError::Tree(TreeError::NoPlatform { .. }) => (Kind::User, None),
        RegistryError::NotARegistry { .. } | RegistryError::TooMany { .. } => (Kind::Network, None),
        RegistryError::Digest(_) | RegistryError::Size { .. } | RegistryError::Disagreement { .. } => {
            (Kind::Trust, None)
        }
        RegistryError::Document(_)
        | RegistryError::TreeBytes(_)
        | RegistryError::Tree(TreeError::TooDeep | TreeError::TooMany)
        | RegistryError::Content(ContentError::Digest(_) | ContentError::Size { .. }) => (content, None),
        RegistryError::Content(ContentError::Missing(_) | ContentError::Io(_) | ContentError::Medium(_)) => {
            (Kind::Local, None)
        }
        RegistryError::Interrupted => (Kind::Internal, None),
    };
    let said = CliError::new(kind, error);
    match hint {
        Some(hint) => said.hint(hint),
        None => said,
    }
}

fn of_auth(error: &AuthError) -> (Kind, Option<&'static str>) {
    match error {
        AuthError::Http(http) => of_http(http),
        AuthError::Denied(_) | AuthError::NoCredentials => (Kind::Network, Some(NAME_HINT)),
        AuthError::CredentialsUnavailable { .. } => (Kind::Network, Some(LOGIN_HINT)),
        AuthError::Realm { .. } | AuthError::TokenAnswer | AuthError::TokenCharacters => (Kind::Network, None),
        AuthError::UserName => (Kind::Local, Some(LOGIN_HINT)),
    }
}

fn of_http(error: &HttpError) -> (Kind, Option<&'static str>) {
    match error {
        HttpError::Tls { .. } => (Kind::Network, Some(TLS_HINT)),
        HttpError::Status(status) if matches!(status.status.as_u16(), 401 | 403) => (Kind::Network, Some(LOGIN_HINT)),
        HttpError::Unreachable { .. }
        | HttpError::Timeout { .. }
        | HttpError::Status(_)
        | HttpError::Oversized { .. }
        | HttpError::Protocol { .. }
        | HttpError::Redirect { .. } => (Kind::Network, None),
        HttpError::Address { .. } => (Kind::User, None),
        HttpError::TlsFile(_) | HttpError::Proxy(_) | HttpError::Sending { .. } => (Kind::Local, None),
        HttpError::Setup(_) => (Kind::Internal, None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use countersign_image::{Digest, RegistryHost, Repository};
    use countersign_notary::ServiceAddress;
    use countersign_registry::http::{Origin, TlsFault};
    use std::io;

    fn digest() -> Digest {
        format!("sha256:{}", "a".repeat(64)).parse().unwrap()
    }

    fn origin() -> Origin {
        Origin::of(ServiceAddress::parse("https://reg.test").unwrap().url()).unwrap()
    }

    fn http(error: HttpError) -> RegistryError {
        RegistryError::Auth(AuthError::Http(error))
    }

    fn text() -> String {
        "x".to_owned()
    }

    /// Every variant with the kind when pulling and when pushing from disk.
    fn table() -> Vec<(RegistryError, Kind, Kind)> {
        use Kind::{Internal, Local, Network, Trust, User};
        let registry = || RegistryHost::parse("reg.test").unwrap();
        let repository = || Repository::parse("other.test/a").unwrap();
        let size = || ContentError::Size { digest: digest(), wanted: 1, found: 2 };
        let full = || io::Error::from(io::ErrorKind::StorageFull);
        let tree = |error| RegistryError::Tree(error);
        vec![
            (RegistryError::NotFound(text()), User, User),
            (RegistryError::OtherRegistry { repository: repository(), registry: registry() }, User, User),
            (RegistryError::TooMany { what: "tags", limit: 1 }, Network, Network),
            (RegistryError::Size { digest: digest(), wanted: 1, found: 2 }, Trust, Trust),
            (RegistryError::Disagreement { sent: digest(), claimed: text() }, Trust, Trust),
            (RegistryError::TreeBytes(1), Trust, Local),
            (tree(TreeError::TooDeep), Trust, Local),
            (tree(TreeError::TooMany), Trust, Local),
            (RegistryError::Content(size()), Trust, Local),
            (RegistryError::Content(ContentError::Missing(digest())), Local, Local),
            (RegistryError::Content(ContentError::Io(full())), Local, Local),
            (RegistryError::Content(ContentError::Medium(Box::new(full()))), Local, Local),
            (RegistryError::Interrupted, Internal, Internal),
            (RegistryError::Auth(AuthError::NoCredentials), Network, Network),
            (RegistryError::Auth(AuthError::TokenAnswer), Network, Network),
            (RegistryError::Auth(AuthError::TokenCharacters), Network, Network),
            (RegistryError::Auth(AuthError::UserName), Local, Local),
            (http(HttpError::Unreachable { origin: origin(), reason: text() }), Network, Network),
            (http(HttpError::Tls { origin: origin(), fault: TlsFault::UnknownAuthority }), Network, Network),
            (http(HttpError::Oversized { url: text(), limit: 1 }), Network, Network),
            (http(HttpError::Protocol { url: text(), reason: text() }), Network, Network),
            (http(HttpError::Address { url: text(), reason: "x" }), User, User),
            (http(HttpError::Sending { url: text(), reason: text() }), Local, Local),
            (http(HttpError::Setup(text())), Internal, Internal),
        ]
    }

    #[test]
    fn every_error_says_whose_turn_it_is() {
        for (error, pulling, _) in table() {
            let text = error.to_string();
            assert_eq!(CliError::from(error).kind, pulling, "pulling: {text}");
        }
        for (error, _, pushing) in table() {
            let text = error.to_string();
            assert_eq!(of_push_from_disk(error).kind, pushing, "pushing: {text}");
        }
    }

    #[test]
    fn hints_name_the_place_of_the_registrys_authority_and_the_login() {
        let tls = CliError::from(http(HttpError::Tls { origin: origin(), fault: TlsFault::UnknownAuthority }));
        assert!(tls.hints.iter().any(|hint| hint.contains("/etc/docker/certs.d/")), "{tls:?}");
        for error in [RegistryError::NotFound(text()), RegistryError::Auth(AuthError::NoCredentials)] {
            let said = CliError::from(error);
            assert!(said.hints.iter().any(|hint| hint.contains("docker login")), "{said:?}");
        }
    }
}
