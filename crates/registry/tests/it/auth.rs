//! Challenges, tokens, and servers that fish for passwords.

use countersign_image::RegistryHost;
use countersign_registry::auth::{Action, AuthError, Scope, Session};
use countersign_registry::credentials::{Credential, CredentialSource, CredentialStore};
use countersign_registry::distribution::RegistryError;
use countersign_registry::http::{HttpError, TlsOptions};
use countersign_testkit::{Account, DockerRegistry, FakeServer, Reply, TestCa, TokenService};
use std::path::Path;

use crate::support::{client_for, client_trusting, connect, connect_as, get, password, repository};

const ALICE: Account = Account::ALICE;

fn alice() -> Credential {
    password(ALICE.name, ALICE.password)
}

fn scope() -> [Scope; 1] {
    [Scope::repository("acme/app", &[Action::Pull])]
}

#[tokio::test]
async fn a_registry_with_passwords_lets_in_who_knows_one() {
    let registry = DockerRegistry::builder().passwords().start();
    let app = repository(&registry.host(), "acme/app");
    let client = connect_as(&registry.host(), alice()).await.unwrap();
    assert!(matches!(client.tags(&app).await, Err(RegistryError::NotFound(_))));
    let anonymous = connect(&registry.host()).await;
    assert!(matches!(anonymous.tags(&app).await, Err(RegistryError::Auth(AuthError::NoCredentials))));
    let wrong = connect_as(&registry.host(), password("alice", "wrong-secret")).await.unwrap();
    let error = wrong.tags(&app).await.unwrap_err();
    assert!(!format!("{error} {error:?}").contains("wrong-secret"));
    assert!(matches!(error, RegistryError::Auth(AuthError::Http(HttpError::Status(_)))), "{error:?}");
}

#[tokio::test]
async fn a_registry_with_tokens_is_entered_with_a_password_or_an_identity_token() {
    let service = TokenService::start();
    let registry = DockerRegistry::builder().tokens(&service).start();
    let app = repository(&registry.host(), "acme/app");
    let client = connect_as(&registry.host(), alice()).await.unwrap();
    assert!(matches!(client.tags(&app).await, Err(RegistryError::NotFound(_))));
    assert!(matches!(client.tags(&app).await, Err(RegistryError::NotFound(_))));
    let asked = service.requests();
    assert_eq!(asked.len(), 1, "one token serves both requests");
    assert_eq!(asked[0].query, "account=alice&scope=repository%3Aacme%2Fapp%3Apull&service=test-registry");
    let token = TokenService::refresh_token(ALICE);
    let client = connect_as(&registry.host(), Credential::IdentityToken(token.into())).await.unwrap();
    assert!(matches!(client.tags(&app).await, Err(RegistryError::NotFound(_))));
    assert_eq!(service.requests()[1].method, "POST");
}

#[tokio::test]
async fn wrong_credentials_are_refused_by_the_token_server() {
    let service = TokenService::start();
    let registry = DockerRegistry::builder().tokens(&service).start();
    let client = connect_as(&registry.host(), password("alice", "wrong-secret")).await.unwrap();
    let error = client.tags(&repository(&registry.host(), "acme/app")).await.unwrap_err();
    assert!(matches!(error, RegistryError::Auth(AuthError::Denied(_))), "{error:?}");
    assert!(!format!("{error} {error:?}").contains("wrong-secret"));
}

/// A service that challenges with one realm until it sees any authorisation.
fn challenging(server: FakeServer, realm: &str) -> FakeServer {
    let challenge = format!("Bearer realm=\"{realm}\",service=\"s\"");
    server.handle(move |request| {
        (request.path == "/x" && request.header("authorization").is_none())
            .then(|| Reply::status(401).header("WWW-Authenticate", &challenge))
    });
    server.on("/x", Reply::ok("in"));
    server
}

fn ca_options(ca: &TestCa) -> TlsOptions {
    let directory = tempfile::tempdir().unwrap();
    std::fs::write(directory.path().join("ca.crt"), ca.pem()).unwrap();
    TlsOptions::from_directory(directory.path()).unwrap()
}

async fn try_x(server: &FakeServer, tls: TlsOptions) -> Result<bytes::Bytes, AuthError> {
    let session = Session::new(client_trusting(&server.url(), tls), alice());
    let response = session.send(get(&format!("{}/x", server.url())), &scope()).await?;
    Ok(response.success().await?.bytes(100).await?)
}

#[tokio::test]
async fn a_realm_on_plain_http_never_sees_the_password_of_an_https_service() {
    let ca = TestCa::new();
    let fisher = FakeServer::plain();
    fisher.otherwise(Reply::json(r#"{"token":"t"}"#));
    let server = challenging(FakeServer::tls(ca.loopback_server().server_config()), &format!("{}/token", fisher.url()));
    assert!(matches!(try_x(&server, ca_options(&ca)).await, Err(AuthError::Realm { .. })));
    assert!(fisher.requests().is_empty());
}

#[tokio::test]
async fn realms_that_are_no_token_servers_are_refused() {
    let ca = TestCa::new();
    for realm in [
        "file:///etc/passwd",
        "gopher://x",
        "https://169.254.169.254/token",
        "https://[fe80::1]/",
        "https://user:pw@auth.test/",
        "nonsense",
        "https://0.0.0.0/",
    ] {
        let server = challenging(FakeServer::tls(ca.loopback_server().server_config()), realm);
        let error = try_x(&server, ca_options(&ca)).await.unwrap_err();
        assert!(
            matches!(error, AuthError::Realm { .. } | AuthError::Http(HttpError::Address { .. })),
            "{realm}: {error:?}"
        );
    }
}

#[tokio::test]
async fn a_token_server_that_redirects_to_plain_http_gets_nothing_there() {
    let ca = TestCa::new();
    let fisher = FakeServer::plain();
    let desk = FakeServer::tls(ca.loopback_server().server_config());
    desk.otherwise(Reply::status(307).header("Location", &format!("{}/token", fisher.url())));
    let server = challenging(FakeServer::tls(ca.loopback_server().server_config()), &format!("{}/token", desk.url()));
    let error = try_x(&server, ca_options(&ca)).await.unwrap_err();
    assert!(matches!(error, AuthError::Http(HttpError::Redirect { .. })), "{error:?}");
    assert!(fisher.requests().is_empty());
}

#[tokio::test]
async fn the_password_does_not_follow_the_token_server_to_another_host() {
    let (desk, other) = (FakeServer::plain(), FakeServer::plain());
    desk.otherwise(Reply::status(302).header("Location", &format!("{}/token", other.url())));
    other.otherwise(Reply::json(r#"{"token":"t"}"#));
    let server = challenging(FakeServer::plain(), &format!("{}/token", desk.url()));
    assert_eq!(try_x(&server, TlsOptions::system()).await.unwrap(), "in");
    assert!(desk.requests()[0].header("authorization").is_some());
    assert!(other.requests()[0].header("authorization").is_none());
}

#[tokio::test]
async fn an_identity_token_is_not_sent_on_by_a_redirect() {
    let (desk, other) = (FakeServer::plain(), FakeServer::plain());
    desk.otherwise(Reply::status(307).header("Location", &format!("{}/token", other.url())));
    let server = challenging(FakeServer::plain(), &format!("{}/token", desk.url()));
    let session = Session::new(client_for(&server.url()), Credential::IdentityToken("identity".into()));
    assert!(session.send(get(&format!("{}/x", server.url())), &scope()).await.is_err());
    assert!(other.requests().is_empty());
}

#[tokio::test]
async fn a_service_that_says_401_for_ever_is_asked_twice() {
    let service = FakeServer::plain();
    let realm = format!("{}/token", service.url());
    service.on("/token", Reply::json(r#"{"token":"t"}"#));
    service.on("/x", Reply::status(401).header("WWW-Authenticate", &format!("Bearer realm=\"{realm}\"")));
    let error = try_x(&service, TlsOptions::system()).await.unwrap_err();
    assert!(matches!(error, AuthError::Http(HttpError::Status(_))), "{error:?}");
    assert_eq!(service.take_request_lines().len(), 3);
}

#[tokio::test]
async fn hostile_tokens_are_refused() {
    let desk = FakeServer::plain();
    let server = challenging(FakeServer::plain(), &format!("{}/token", desk.url()));
    for reply in [
        Reply::json(r#"{"token":"a\r\nX-Evil: b"}"#),
        Reply::json(r#"{"token":""}"#),
        Reply::json("null"),
        Reply::status(200).announcing(200_000_000).then(r#"{"token":""#).then_hang(),
        Reply::status(200).then(r#"{"token":""#).then_endlessly(vec![b'a'; 10_000]),
        Reply::status(500),
    ] {
        desk.otherwise(reply);
        assert!(try_x(&server, TlsOptions::system()).await.is_err());
    }
    assert!(server.requests().iter().all(|request| request.header("authorization").is_none()));
}

#[tokio::test]
async fn a_token_that_is_no_longer_accepted_is_replaced_once() {
    let server = FakeServer::plain();
    server.on_each("/token", [Reply::json(r#"{"token":"old"}"#), Reply::json(r#"{"token":"new"}"#)]);
    let challenge = format!("Bearer realm=\"{}/token\"", server.url());
    server.handle(move |request| {
        let accepted = request.path != "/x" || request.header("authorization") == Some("Bearer new");
        (!accepted).then(|| Reply::status(401).header("WWW-Authenticate", &challenge))
    });
    server.on("/x", Reply::ok("in"));
    let session = Session::new(client_for(&server.url()), alice());
    let ask = || get(&format!("{}/x", server.url()));
    assert_eq!(session.send(ask(), &scope()).await.unwrap().status(), 401);
    assert_eq!(session.send(ask(), &scope()).await.unwrap().status(), 200);
}

/// A source that runs a helper, which writes down that it ran.
fn helper(folder: &Path, script: &str) -> CredentialSource {
    use std::os::unix::fs::PermissionsExt;
    let program = folder.join("docker-credential-test");
    std::fs::write(&program, format!("#!/bin/sh\necho ran >> {}/ran\n{script}\n", folder.display())).unwrap();
    std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o755)).unwrap();
    std::fs::write(folder.join("config.json"), r#"{"credsStore":"test"}"#).unwrap();
    let search = format!("{}:/usr/bin:/bin", folder.display());
    let store = CredentialStore::new(folder, None, search.into());
    CredentialSource::of_registry(std::sync::Arc::new(store), RegistryHost::parse("reg.test").unwrap())
}

#[tokio::test]
async fn a_helper_runs_once_and_only_for_a_service_that_asks() {
    let folder = tempfile::tempdir().unwrap();
    let runs = || std::fs::read_to_string(folder.path().join("ran")).map_or(0, |text| text.lines().count());
    let source = helper(folder.path(), r#"echo '{"Username":"alice","Secret":"wonderland"}'"#);
    let open = FakeServer::plain();
    open.on("/x", Reply::ok("in"));
    let session = Session::new(client_for(&open.url()), source.clone());
    assert_eq!(session.send(get(&format!("{}/x", open.url())), &scope()).await.unwrap().status(), 200);
    assert_eq!(runs(), 0);
    let closed = FakeServer::plain();
    closed.on("/x", Reply::ok("in"));
    closed.handle(|request| {
        let basic = request.header("authorization").is_some_and(|value| value.starts_with("Basic "));
        (!basic).then(|| Reply::status(401).header("WWW-Authenticate", "Basic realm=x"))
    });
    for _ in 0..2 {
        let session = Session::new(client_for(&closed.url()), source.clone());
        assert_eq!(session.send(get(&format!("{}/x", closed.url())), &scope()).await.unwrap().status(), 200);
    }
    assert_eq!(runs(), 1);
}

#[tokio::test]
async fn a_helper_that_fails_is_named_by_the_refusal_and_by_nothing_else() {
    let folder = tempfile::tempdir().unwrap();
    let source = helper(folder.path(), "exit 1");
    let desk = FakeServer::plain();
    desk.otherwise(Reply::json(r#"{"token":"t"}"#));
    let public = challenging(FakeServer::plain(), &format!("{}/token", desk.url()));
    let try_at = async |server: &FakeServer| {
        let session = Session::new(client_for(&server.url()), source.clone());
        session.send(get(&format!("{}/x", server.url())), &scope()).await
    };
    assert_eq!(try_at(&public).await.unwrap().status(), 200, "an anonymous token will do");
    let basic = FakeServer::plain();
    basic.otherwise(Reply::status(401).header("WWW-Authenticate", "Basic realm=x"));
    let realm = format!("Bearer realm=\"{}/token\"", desk.url());
    let never = FakeServer::plain();
    never.otherwise(Reply::status(401).header("WWW-Authenticate", &realm));
    let unwilling = FakeServer::plain();
    let denied = challenging(FakeServer::plain(), &format!("{}/token", unwilling.url()));
    unwilling.otherwise(Reply::status(403));
    for server in [&basic, &never, &denied] {
        let error = try_at(server).await.unwrap_err();
        assert!(matches!(error, AuthError::CredentialsUnavailable { .. }), "{error:?}");
        assert!(error.to_string().contains("cannot get the credentials for reg.test"), "{error}");
    }
}

#[tokio::test]
async fn basic_credentials_stay_with_the_service_that_asked() {
    let (home, other) = (FakeServer::plain(), FakeServer::plain());
    home.handle(|request| {
        (request.header("authorization").is_none())
            .then(|| Reply::status(401).header("WWW-Authenticate", "Basic realm=x"))
    });
    home.on("/x", Reply::status(307).header("Location", &format!("{}/x", other.url())));
    other.on("/x", Reply::status(401).header("WWW-Authenticate", "Basic realm=y"));
    assert!(try_x(&home, TlsOptions::system()).await.is_err());
    assert_eq!(other.requests().len(), 1);
    assert!(other.requests()[0].header("authorization").is_none());
}
