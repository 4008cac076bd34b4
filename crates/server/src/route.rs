//! What a request asks for: a method and a path become a [`Route`], or the reason why not.

use countersign_crypto::digest::Sha256Digest;
use countersign_storage::ServiceRole;
use countersign_tuf::{Gun, RoleName, Version};
use http::Method;

use crate::metrics::Operation;
use crate::path;

/// A request that exists.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Route {
    /// `GET /v2/`
    Ping,
    /// `POST /v2/{gun}/_trust/tuf/`
    Upload(Gun),
    /// `GET /v2/{gun}/_trust/tuf/{role}.{checksum}.json`
    ByChecksum(Gun, RoleName, Sha256Digest),
    /// `GET /v2/{gun}/_trust/tuf/{version}.{role}.json`
    ByVersion(Gun, RoleName, Version),
    /// `GET /v2/{gun}/_trust/tuf/{role}.json`
    Current(Gun, RoleName),
    /// `GET /v2/{gun}/_trust/tuf/{snapshot|timestamp}.key`
    Key(Gun, ServiceRole),
    /// `POST /v2/{gun}/_trust/tuf/{snapshot|timestamp}.key`
    RotateKey(Gun, ServiceRole),
    /// `DELETE /v2/{gun}/_trust/tuf/`
    Delete(Gun),
    /// `GET /v2/{gun}/_trust/changefeed`, or without a collection
    Changes(Option<Gun>),
    /// `GET /_notary_server/health`
    Health,
    /// `GET /livez`
    Live,
    /// `GET /readyz`
    Ready,
    /// `GET /metrics`
    Metrics,
    /// `GET /auth/token`, where the service has users of its own
    Token,
}

/// Why a request has no route.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum NoRoute {
    /// The path is not clean: the clean one, fit for a header.
    Redirect(String),
    /// The method is none of the service's.
    MethodNotAllowed,
    /// There is nothing there.
    NotFound,
    /// The collection's prefix is not served.
    NotServed,
    /// The route exists, but names something that cannot be stored here.
    NothingStored(Gun),
    /// An upload for a name that is no collection's, or whose prefix is not served.
    InvalidGun,
}

/// Beginnings of collection names; a name is served when it begins with one of them. None at all: every name.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct GunPrefixes(Vec<String>);

/// Says that a text is no prefix of collection names.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("invalid GUN prefix {0:?}: it must end in a slash, be a clean path, and not begin with a slash")]
pub struct GunPrefixError(pub String);

impl GunPrefixes {
    /// Checks the prefixes; each must end in a slash, so that only whole segments match.
    ///
    /// # Errors
    /// Names the first text that is no prefix (Notary protocol, server keys).
    pub fn new(prefixes: Vec<String>) -> Result<Self, GunPrefixError> {
        match prefixes.iter().find(|text| !is_prefix(text)) {
            Some(bad) => Err(GunPrefixError(bad.clone())),
            None => Ok(Self(prefixes)),
        }
    }

    pub(crate) fn serves(&self, gun: &Gun) -> bool {
        self.0.is_empty() || self.0.iter().any(|prefix| gun.as_str().starts_with(prefix.as_str()))
    }

    pub(crate) fn as_slice(&self) -> &[String] {
        &self.0
    }
}

fn is_prefix(text: &str) -> bool {
    text.strip_suffix('/').is_some_and(|folder| Gun::parse(folder).is_ok())
}

impl Route {
    /// Finds the route of a request (Notary protocol, routes).
    pub(crate) fn find(method: &Method, uri: &http::Uri, prefixes: &GunPrefixes) -> Result<Self, NoRoute> {
        // `*` and `host:port`: forms of methods that are not served.
        if !uri.path().starts_with('/') {
            return Err(NoRoute::MethodNotAllowed);
        }
        if path::is_plain(uri.path()) {
            return Self::at(method, uri.path(), prefixes);
        }
        let decoded = path::decode(uri.path()).ok_or(NoRoute::NotFound)?;
        let cleaned = path::clean(&decoded);
        if cleaned != decoded {
            let query = uri.query().map_or_else(String::new, |query| format!("?{query}"));
            return Err(NoRoute::Redirect(path::encode(&cleaned) + &query));
        }
        Self::at(method, &cleaned, prefixes)
    }

    /// Finds the route of a decoded and clean path.
    fn at(method: &Method, path: &str, prefixes: &GunPrefixes) -> Result<Self, NoRoute> {
        match *method {
            Method::GET => get(path, prefixes),
            Method::POST => post(path, prefixes),
            Method::DELETE => delete(path, prefixes),
            Method::HEAD => head(path, prefixes),
            Method::PUT => Err(NoRoute::NotFound),
            _ => Err(NoRoute::MethodNotAllowed),
        }
    }

    /// Names the operation in metrics; what needs no measuring has no name.
    pub(crate) fn operation(&self) -> Option<Operation> {
        match self {
            Self::Upload(_) => Some(Operation::UpdateTuf),
            Self::ByChecksum(..) => Some(Operation::GetRoleByHash),
            Self::ByVersion(..) => Some(Operation::GetRoleByVersion),
            Self::Current(..) => Some(Operation::GetRole),
            Self::Key(..) => Some(Operation::GetKey),
            Self::RotateKey(..) => Some(Operation::RotateKey),
            Self::Delete(_) => Some(Operation::DeleteTuf),
            Self::Changes(_) => Some(Operation::Changefeed),
            Self::Ping | Self::Health | Self::Live | Self::Ready | Self::Metrics | Self::Token => None,
        }
    }
}

fn get(path: &str, prefixes: &GunPrefixes) -> Result<Route, NoRoute> {
    match path {
        "/v2/" => return Ok(Route::Ping),
        "/v2/_trust/changefeed" => return Ok(Route::Changes(None)),
        "/_notary_server/health" => return Ok(Route::Health),
        "/livez" => return Ok(Route::Live),
        "/readyz" => return Ok(Route::Ready),
        "/metrics" => return Ok(Route::Metrics),
        _ => {}
    }
    let below = path.strip_prefix("/v2/").ok_or(NoRoute::NotFound)?;
    if let Some(gun) = below.strip_suffix("/_trust/changefeed") {
        return Ok(Route::Changes(Some(served(gun, prefixes)?)));
    }
    let (gun, resource) = below.split_once("/_trust/tuf/").ok_or(NoRoute::NotFound)?;
    let gun = served(gun, prefixes)?;
    if let Some(role) = resource.strip_suffix(".key") {
        return Ok(Route::Key(gun, service_role(role)?));
    }
    let name = resource.strip_suffix(".json").ok_or(NoRoute::NotFound)?;
    metadata(gun, name)
}

/// Whoever keeps metadata may ask whether it changed; on everything else the method finds nothing, as with the reference.
fn head(path: &str, prefixes: &GunPrefixes) -> Result<Route, NoRoute> {
    match get(path, prefixes)? {
        route @ (Route::Current(..) | Route::ByVersion(..) | Route::ByChecksum(..)) => Ok(route),
        _ => Err(NoRoute::NotFound),
    }
}

/// Reads `role`, `role.checksum` or `version.role`; roles contain no dots.
fn metadata(gun: Gun, name: &str) -> Result<Route, NoRoute> {
    let Some((first, second)) = name.split_once('.') else {
        return Ok(Route::Current(gun, role(name)?));
    };
    if first.bytes().all(|byte| byte.is_ascii_digit()) {
        let role = role(second)?;
        let version = first.parse().ok().and_then(Version::new);
        let Some(version) = version else { return Err(NoRoute::NothingStored(gun)) };
        return Ok(Route::ByVersion(gun, role, version));
    }
    let role = role(first)?;
    if !matches!(second.len(), 64 | 96 | 128) || !second.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return Err(NoRoute::NotFound);
    }
    // Only SHA-256 is indexed; longer digests find nothing.
    match Sha256Digest::from_hex(&second.to_ascii_lowercase()) {
        Ok(digest) => Ok(Route::ByChecksum(gun, role, digest)),
        Err(_) => Err(NoRoute::NothingStored(gun)),
    }
}

fn post(path: &str, prefixes: &GunPrefixes) -> Result<Route, NoRoute> {
    let below = path.strip_prefix("/v2/").ok_or(NoRoute::NotFound)?;
    let (gun, resource) = below.split_once("/_trust/tuf/").ok_or(NoRoute::NotFound)?;
    if resource.is_empty() {
        return served(gun, prefixes).map(Route::Upload).map_err(|_| NoRoute::InvalidGun);
    }
    let role = resource.strip_suffix(".key").ok_or(NoRoute::NotFound)?;
    Ok(Route::RotateKey(served(gun, prefixes)?, service_role(role)?))
}

fn delete(path: &str, prefixes: &GunPrefixes) -> Result<Route, NoRoute> {
    let below = path.strip_prefix("/v2/").ok_or(NoRoute::NotFound)?;
    let gun = below.strip_suffix("/_trust/tuf/").ok_or(NoRoute::NotFound)?;
    served(gun, prefixes).map(Route::Delete)
}

fn served(gun: &str, prefixes: &GunPrefixes) -> Result<Gun, NoRoute> {
    let gun = Gun::parse(gun).map_err(|_| NoRoute::NotFound)?;
    if prefixes.serves(&gun) { Ok(gun) } else { Err(NoRoute::NotServed) }
}

fn role(name: &str) -> Result<RoleName, NoRoute> {
    RoleName::parse(name).map_err(|_| NoRoute::NotFound)
}

fn service_role(name: &str) -> Result<ServiceRole, NoRoute> {
    match name {
        "snapshot" => Ok(ServiceRole::Snapshot),
        "timestamp" => Ok(ServiceRole::Timestamp),
        _ => Err(NoRoute::NotFound),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn find(method: &str, path: &str) -> Result<Route, NoRoute> {
        Route::find(&method.parse().unwrap(), &path.parse().unwrap(), &GunPrefixes::default())
    }

    fn gun() -> Gun {
        Gun::parse("example.com:5000/a/b").unwrap()
    }

    #[test]
    fn every_route_of_the_protocol_is_found() {
        let at = |rest: &str| format!("/v2/example.com:5000/a/b/_trust/{rest}");
        let hash = "AB".repeat(32);
        let digest = Sha256Digest::from_hex(&"ab".repeat(32)).unwrap();
        let releases = RoleName::parse("targets/releases").unwrap();
        for (method, path, route) in [
            ("GET", "/v2/".to_owned(), Route::Ping),
            ("POST", at("tuf/"), Route::Upload(gun())),
            (
                "GET",
                at(&format!("tuf/targets/releases.{hash}.json")),
                Route::ByChecksum(gun(), releases.clone(), digest),
            ),
            ("GET", at("tuf/007.root.json"), Route::ByVersion(gun(), RoleName::Root, Version::new(7).unwrap())),
            ("GET", at("tuf/1.targets/releases.json"), Route::ByVersion(gun(), releases.clone(), Version::FIRST)),
            ("GET", at("tuf/targets/releases.json"), Route::Current(gun(), releases)),
            ("GET", at("tuf/timestamp.json"), Route::Current(gun(), RoleName::Timestamp)),
            ("GET", at("tuf/snapshot.key"), Route::Key(gun(), ServiceRole::Snapshot)),
            ("POST", at("tuf/timestamp.key"), Route::RotateKey(gun(), ServiceRole::Timestamp)),
            ("DELETE", at("tuf/"), Route::Delete(gun())),
            ("GET", at("changefeed?records=1"), Route::Changes(Some(gun()))),
            ("GET", "/v2/_trust/changefeed".to_owned(), Route::Changes(None)),
            ("GET", "/_notary_server/health".to_owned(), Route::Health),
            ("GET", "/livez".to_owned(), Route::Live),
            ("GET", "/readyz?exclude=signer".to_owned(), Route::Ready),
            ("GET", "/metrics".to_owned(), Route::Metrics),
        ] {
            assert_eq!(find(method, &path), Ok(route), "{method} {path}");
        }
    }

    #[test]
    fn a_role_may_look_like_the_protocols_own_segments() {
        let role = RoleName::parse("targets/_trust/tuf/x").unwrap();
        assert_eq!(
            find("GET", "/v2/g/_trust/tuf/targets/_trust/tuf/x.json"),
            Ok(Route::Current(Gun::parse("g").unwrap(), role))
        );
    }

    #[test]
    fn what_cannot_exist_is_not_found() {
        let at = |rest: &str| format!("/v2/g/_trust/tuf/{rest}");
        for path in [
            "/".to_owned(),
            "/v2".to_owned(),
            "/v2/g".to_owned(),
            "/v2/_trust/tuf/root.json".to_owned(),
            "/v2/g/_trust/tuf".to_owned(),
            "/v2/a*b/_trust/tuf/root.json".to_owned(),
            "/v2/a%00b/_trust/tuf/root.json".to_owned(),
            at(""),
            at("root"),
            at("Root.json"),
            at("targets/A.json"),
            at("root.key"),
            at("targets.key"),
            at("targets/releases.key"),
            at("1.2.root.json"),
            at("-1.root.json"),
            at("+1.root.json"),
            at(".json"),
            at("x.root.json"),
            at(&format!("root.{}.json", "a".repeat(63))),
            at(&format!("root.{}.json", "a".repeat(65))),
            at(&format!("root.{}.json", "g".repeat(64))),
        ] {
            assert_eq!(find("GET", &path), Err(NoRoute::NotFound), "{path}");
        }
        for path in [
            at("0.root.json"),
            at("99999999999999999999.root.json"),
            at(&format!("root.{}.json", "a".repeat(96))),
            at(&format!("root.{}.json", "a".repeat(128))),
        ] {
            assert_eq!(find("GET", &path), Err(NoRoute::NothingStored(Gun::parse("g").unwrap())), "{path}");
        }
    }

    #[test]
    fn methods_have_their_answers() {
        for (method, path) in [("HEAD", "/v2/"), ("PUT", "/v2/"), ("HEAD", "/v2/g/_trust/tuf/timestamp.key")] {
            assert_eq!(find(method, path), Err(NoRoute::NotFound));
        }
        let root = Route::Current(Gun::parse("g").unwrap(), RoleName::Root);
        assert_eq!(find("HEAD", "/v2/g/_trust/tuf/root.json"), Ok(root));
        for method in ["PATCH", "TRACE", "OPTIONS", "FOO"] {
            assert_eq!(find(method, "/v2/"), Err(NoRoute::MethodNotAllowed));
        }
        assert_eq!(find("POST", "/v2/g/_trust/tuf/root.json"), Err(NoRoute::NotFound));
        assert_eq!(find("POST", "/v2/a*b/_trust/tuf/"), Err(NoRoute::InvalidGun));
        assert_eq!(find("DELETE", "/v2/g/_trust/tuf/root.json"), Err(NoRoute::NotFound));
    }

    #[test]
    fn unclean_paths_are_redirected_before_anything_else() {
        let redirect = |to: &str| Err(NoRoute::Redirect(to.to_owned()));
        assert_eq!(find("GET", "/v2//g/../h/_trust/tuf/root.json?x=1"), redirect("/v2/h/_trust/tuf/root.json?x=1"));
        assert_eq!(find("GET", "/v2/%2e%2e/%2e%2e/etc/passwd"), redirect("/etc/passwd"));
        assert_eq!(find("FOO", "//evil.example/"), redirect("/evil.example/"));
        assert_eq!(find("GET", "/v2/..%2f%0d%0aX:y"), redirect("/%0D%0AX:y"));
    }

    proptest! {
        #[test]
        fn a_route_is_only_found_at_a_clean_path(path in "(/|v2|_trust|tuf|root|targets|\\.|%2[eEfF]|json|key|[a-z0-9]){0,30}") {
            let Ok(uri) = format!("/{path}").parse::<http::Uri>() else { return Ok(()) };
            match Route::find(&Method::GET, &uri, &GunPrefixes::default()) {
                Ok(_) => prop_assert!(!uri.path().contains("//") && !uri.path().contains("/../")),
                Err(NoRoute::Redirect(to)) => {
                    let again = Route::find(&Method::GET, &to.parse().unwrap(), &GunPrefixes::default());
                    prop_assert!(!matches!(again, Err(NoRoute::Redirect(_))), "{} redirects twice", uri);
                }
                Err(_) => {}
            }
        }
    }

    #[test]
    fn prefixes_match_whole_segments() {
        let prefixes = GunPrefixes::new(vec!["docker.io/".to_owned()]).unwrap();
        let find = |method: &str, gun: &str, rest: &str| {
            Route::find(&method.parse().unwrap(), &format!("/v2/{gun}/_trust/{rest}").parse().unwrap(), &prefixes)
        };
        assert!(find("GET", "docker.io/x", "tuf/root.json").is_ok());
        for gun in ["docker.io.evil/x", "docker.io", "x/docker.io/y"] {
            assert_eq!(find("GET", gun, "tuf/root.json"), Err(NoRoute::NotServed), "{gun}");
            assert_eq!(find("POST", gun, "tuf/"), Err(NoRoute::InvalidGun), "{gun}");
            assert_eq!(find("DELETE", gun, "tuf/"), Err(NoRoute::NotServed), "{gun}");
            assert_eq!(find("GET", gun, "changefeed"), Err(NoRoute::NotServed), "{gun}");
        }
        for bad in ["", "/", "a", "/a/", "../", "a/../b/", "a//"] {
            assert!(GunPrefixes::new(vec![bad.to_owned()]).is_err(), "{bad:?}");
        }
    }
}
