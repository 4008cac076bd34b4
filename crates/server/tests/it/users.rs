//! Who is let in: names and passwords, certificates, rules, and how often.

use std::num::{NonZeroU32, NonZeroU64};
use std::path::{Path, PathBuf};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use countersign_server::{
    Access, AccessError, Allowance, ClientCertificates, Config, Demand, Reading, Right, Service, StartError, Tls,
    TlsError, UserAccess,
};
use countersign_testkit::{Account, TestCa, TestCertificate};
use tempfile::TempDir;

use crate::service::{Answered, TestService};

const OURS: &str = "/v2/r.test/acme/app/_trust/tuf/";
const OTHERS: &str = "/v2/r.test/acme2/app/_trust/tuf/";
const ALICE: &str = "alice:wonderland";
const BOB: &str = "bob:builder-pass";

/// A service with alice, who may publish below `r.test/acme`, and bob, who may read there.
struct House {
    service: TestService,
    folder: TempDir,
}

fn allow(user: &str, right: Right, collection: &str) -> Allowance {
    Allowance { users: vec![user.to_owned()], collections: vec![collection.to_owned()], right }
}

fn people(folder: &Path) -> PathBuf {
    let file = folder.join("htpasswd");
    fs_err::write(&file, Account::ALICE.htpasswd() + &Account::BOB.htpasswd()).unwrap();
    file
}

fn users(folder: &Path) -> UserAccess {
    UserAccess {
        passwords: Some(people(folder)),
        allow: vec![allow("alice", Right::Publish, "r.test/acme"), allow("bob", Right::Read, "r.test/acme")],
        ..UserAccess::default()
    }
}

impl House {
    async fn start() -> Self {
        Self::with(|_, _| {}).await
    }

    async fn with(change: impl FnOnce(&mut UserAccess, &mut Config)) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mut users = users(folder.path());
        let service = TestService::with(|config| {
            change(&mut users, config);
            config.access = Access::Users(users);
        })
        .await;
        Self { service, folder }
    }

    /// Sends a request with a name and a password, or with nothing.
    async fn ask(&self, method: &str, path: &str, login: &str) -> Answered {
        let request = self.service.client.request(method.parse().unwrap(), format!("{}{path}", self.service.base));
        let request = if login.is_empty() { request } else { request.header("Authorization", basic(login)) };
        self.service.send(request).await
    }

    async fn get(&self, path: &str, login: &str) -> u16 {
        self.ask("GET", path, login).await.status.as_u16()
    }

    async fn token(&self, scope: &str, login: &str) -> Answered {
        self.ask("GET", &format!("/auth/token?service=countersign&scope=repository:{scope}"), login).await
    }

    async fn with_token(&self, path: &str, token: &str) -> Answered {
        let request = self.service.client.get(format!("{}{path}", self.service.base));
        self.service.send(request.header("Authorization", format!("Bearer {token}"))).await
    }
}

fn basic(login: &str) -> String {
    format!("Basic {}", STANDARD.encode(login))
}

fn file(name: &str) -> String {
    format!("{OURS}{name}")
}

#[tokio::test]
async fn the_first_answer_sends_clients_to_the_desk() {
    let house = House::start().await;
    let asked = house.ask("GET", "/v2/", "").await;
    assert_eq!(asked.error(), "401 UNAUTHORIZED");
    let host = house.service.base.trim_start_matches("http://");
    assert_eq!(
        asked.header("www-authenticate"),
        format!("Bearer realm=\"https://{host}/auth/token\",service=\"countersign\",scope=\"registry:catalog:*\"")
    );
    assert_eq!(house.get("/v2/", ALICE).await, 200);
    assert_eq!(house.get("/_notary_server/health", "").await, 200);
    let elsewhere = House::with(|users, _| users.realm = Some("https://t.test/auth/token".to_owned())).await;
    let asked = elsewhere.ask("GET", "/v2/", "").await;
    assert!(asked.header("www-authenticate").starts_with("Bearer realm=\"https://t.test/auth/token\","));
}

#[tokio::test]
async fn what_the_desk_gives_out_opens_what_the_password_opens() {
    let house = House::start().await;
    let answer = house.token("r.test/acme/app:push,pull", ALICE).await.ok();
    assert_eq!(answer.header("cache-control"), "no-store");
    let token = answer.json()["token"].as_str().unwrap().to_owned();
    assert_eq!(house.with_token(&file("root.json"), &token).await.status, 404);
    assert_eq!(house.with_token(&file("timestamp.key"), &token).await.status, 200);
    let denied = house.with_token(&format!("{OTHERS}root.json"), &token).await;
    assert_eq!(denied.error(), "401 UNAUTHORIZED");
    assert!(denied.header("www-authenticate").ends_with(",error=\"insufficient_scope\""));
    for token in ["anonymous", "x", "YWxpY2U6d3Jvbmc"] {
        assert_eq!(house.with_token(&file("root.json"), token).await.status, 401, "{token}");
    }
}

#[tokio::test]
async fn the_desk_says_what_is_wrong_in_words_that_clients_repeat() {
    let house = House::start().await;
    let nobody = house.token("r.test/acme/app:push,pull", "").await;
    assert_eq!(nobody.error(), "401 UNAUTHORIZED");
    assert!(nobody.text().contains("log in first"));
    assert!(nobody.header("www-authenticate").starts_with("Basic "));
    let wrong = house.token("r.test/acme/app:pull", "alice:wonder").await;
    assert_eq!(wrong.error(), "401 UNAUTHORIZED");
    assert!(wrong.text().contains("incorrect username or password"));
    let unknown = house.token("r.test/acme/app:pull", "mallory:wonder").await;
    assert_eq!((unknown.error(), unknown.text()), (wrong.error(), wrong.text()), "the same for whoever is unknown");
    assert_eq!(house.token("r.test/acme/app:push,pull", BOB).await.error(), "403 DENIED");
    assert_eq!(house.token("r.test/acme2/app:push,pull", ALICE).await.error(), "403 DENIED");
    // Whoever comes to read is never sent away without a word: notary comes again with a password only then.
    assert_eq!(house.token("r.test/acme/app:pull", "").await.status, 200);
    assert_eq!(house.token("r.test/acme/app:*", ALICE).await.status, 200);
    assert_eq!(house.ask("POST", "/auth/token", ALICE).await.status, 401);
}

#[tokio::test]
async fn without_users_there_is_no_desk() {
    let service = TestService::start().await;
    assert_eq!(service.get("/auth/token").await.error(), "404 METADATA_NOT_FOUND");
}

#[tokio::test]
async fn nothing_is_allowed_but_what_rules_allow() {
    let house = House::start().await;
    for (method, path, login, status) in [
        ("GET", file("root.json"), "", 401),
        ("GET", file("root.json"), ALICE, 404),
        ("GET", file("root.json"), BOB, 404),
        ("GET", file("timestamp.key"), BOB, 401),
        ("GET", file("timestamp.key"), ALICE, 200),
        ("POST", OURS.to_owned(), BOB, 401),
        ("POST", OURS.to_owned(), ALICE, 400),
        ("POST", OTHERS.to_owned(), ALICE, 401),
        ("POST", file("timestamp.key"), ALICE, 401),
        ("DELETE", OURS.to_owned(), ALICE, 401),
        ("GET", format!("{OTHERS}root.json"), ALICE, 401),
        ("GET", "/v2/_trust/changefeed".to_owned(), ALICE, 401),
        ("GET", "/v2/r.test/acme/app/_trust/changefeed".to_owned(), "", 401),
        ("GET", "/nowhere".to_owned(), ALICE, 401),
        ("GET", file("root.json"), "alice:wrong", 401),
        ("GET", file("root.json"), "alice:", 401),
        ("GET", file("root.json"), ":", 401),
        ("GET", file("root.json"), "alice:wonderland\0", 401),
        ("GET", file("root.json"), "anonymous:wonderland", 401),
        ("GET", file("root.json"), "*:wonderland", 401),
    ] {
        let answer = house.ask(method, &path, login).await;
        assert_eq!(answer.status.as_u16(), status, "{method} {path} {login:?}: {}", answer.text());
    }
    let long = format!("alice:wonderland{}", "x".repeat(100));
    assert_eq!(house.get(&file("root.json"), &long).await, 401, "what bcrypt would cut off");
}

#[tokio::test]
async fn everybody_may_read_where_that_is_said_and_nobody_without_a_name_does_more() {
    let house = House::with(|users, _| users.reading = Reading::Everybody).await;
    let token = house.token("r.test/acme/app:pull", "").await.ok().json()["token"].as_str().unwrap().to_owned();
    for path in [file("root.json"), format!("{OTHERS}root.json")] {
        assert_eq!(house.get(&path, "").await, 404);
        assert_eq!(house.with_token(&path, &token).await.status, 404);
    }
    for path in [file("timestamp.key"), "/v2/_trust/changefeed".to_owned()] {
        assert_eq!(house.get(&path, "").await, 401);
        assert_eq!(house.with_token(&path, &token).await.status, 401);
    }
    assert_eq!(house.get("/v2/", "").await, 401, "or nobody would be asked for a password");
    for (method, path) in [("POST", OURS), ("DELETE", OURS)] {
        assert_eq!(house.ask(method, path, "").await.status, 401);
    }
    assert_eq!(house.get(&file("root.json"), "alice:wrong").await, 401, "a wrong password is no anonymity");
}

#[tokio::test]
async fn who_is_wrong_too_often_has_to_wait_and_who_was_right_does_not() {
    let house = House::start().await;
    assert_eq!(house.get(&file("root.json"), BOB).await, 404);
    for _ in 0..10 {
        assert_eq!(house.get(&file("root.json"), "bob:guess").await, 401);
        assert_eq!(house.get(&file("root.json"), "alice:guess").await, 401);
    }
    let told = house.ask("GET", &file("root.json"), "alice:guess").await;
    assert_eq!((told.error().as_str(), told.header("retry-after")), ("429 TOOMANYREQUESTS", "60"));
    assert_eq!(house.token("r.test/acme/app:pull", "alice:guess").await.status, 429);
    assert_eq!(house.get(&file("root.json"), ALICE).await, 429, "the right one cannot be found out either");
    assert_eq!(house.get(&file("root.json"), BOB).await, 404, "what was right a moment ago is remembered");
}

#[tokio::test]
async fn many_requests_at_once_with_a_right_password_are_all_let_in() {
    let house = House::start().await;
    let path = file("root.json");
    let asked = (0..40).map(|_| house.get(&path, ALICE));
    let answered = futures_util::future::join_all(asked).await;
    assert!(answered.iter().all(|status| *status == 404), "{answered:?}");
}

#[tokio::test]
async fn a_changed_password_counts_at_once_and_a_broken_file_leaves_the_old_one() {
    let house = House::start().await;
    let passwords = house.folder.path().join("htpasswd");
    assert_eq!(house.get(&file("root.json"), ALICE).await, 404);
    fs_err::write(&passwords, "alice:plain\n").unwrap();
    house.service.running.reload();
    assert_eq!(house.get(&file("root.json"), ALICE).await, 404);
    let swapped = Account::BOB.htpasswd().replace("bob:", "alice:");
    fs_err::write(&passwords, swapped).unwrap();
    house.service.running.reload();
    assert_eq!(house.get(&file("root.json"), ALICE).await, 401, "although it was right a moment ago");
    assert_eq!(house.get(&file("root.json"), "alice:builder-pass").await, 404);
    assert_eq!(house.get(&file("root.json"), BOB).await, 401, "bob is not there any more");
    fs_err::remove_file(&passwords).unwrap();
    house.service.running.reload();
    assert_eq!(house.get(&file("root.json"), "alice:builder-pass").await, 404);
}

#[tokio::test]
async fn changed_rules_count_at_once_and_broken_ones_leave_the_old() {
    let rules = tempfile::NamedTempFile::new().unwrap();
    let write = |text: &str| fs_err::write(rules.path(), text).unwrap();
    write("");
    let path = rules.path().to_owned();
    let house = House::with(|users, _| {
        users.allow.clear();
        users.rules = Some(path);
    })
    .await;
    assert_eq!(house.get(&file("root.json"), ALICE).await, 401);
    write("[[allow]]\nusers = [\"alice\"]\ncollections = [\"r.test/acme\"]\nright = \"read\"\n");
    house.service.running.reload();
    assert_eq!(house.get(&file("root.json"), ALICE).await, 404);
    assert_eq!(house.get(&file("root.json"), BOB).await, 401);
    write("[[allow]]\nusers = [\"*\"]\n");
    house.service.running.reload();
    assert_eq!((house.get(&file("root.json"), ALICE).await, house.get(&file("root.json"), BOB).await), (404, 401));
}

#[tokio::test]
async fn without_files_that_can_be_used_the_service_does_not_start() {
    use std::os::unix::fs::PermissionsExt;
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    let good = people(folder.path());
    fs_err::write(path("md5"), "alice:$apr1$x$yyyyyyyyyyyyyyyyyyyyyy\n").unwrap();
    fs_err::write(path("empty"), "").unwrap();
    fs_err::write(path("open"), Account::ALICE.htpasswd()).unwrap();
    fs_err::set_permissions(path("open"), std::fs::Permissions::from_mode(0o666)).unwrap();
    fs_err::write(path("rules"), "[[allow]]\n").unwrap();
    let of = |passwords: Option<PathBuf>| UserAccess { passwords, ..UserAccess::default() };
    for (access, part) in [
        (of(None), "nobody"),
        (of(Some(path("missing"))), "missing"),
        (of(Some(path("md5"))), "htpasswd -B"),
        (of(Some(path("empty"))), "no user"),
        (of(Some(path("open"))), "chmod o-w"),
        (of(Some(path(""))), "read"),
        (UserAccess { rules: Some(path("missing")), ..of(Some(good.clone())) }, "missing"),
        (UserAccess { rules: Some(path("rules")), ..of(Some(good.clone())) }, "rules"),
        (UserAccess { realm: Some("auth.test".to_owned()), ..of(Some(good.clone())) }, "auth.test"),
        (UserAccess { allow: vec![allow("anonymous", Right::Publish, "a")], ..of(Some(good)) }, "without a name"),
    ] {
        let mut config = Config::new("127.0.0.1:0".parse().unwrap(), path("data"));
        config.access = Access::Users(access.clone());
        assert!(config.check().is_err(), "{access:?}");
        let refused = Service::start(config).await.unwrap_err();
        assert!(matches!(refused, StartError::Access(_)), "{access:?}: {refused}");
        assert!(refused.to_string().contains(part), "{access:?}: {refused}");
    }
    let nobody = StartError::Access(AccessError::Nobody).to_string();
    assert!(nobody.contains("passwords"), "{nobody}");
}

#[tokio::test]
async fn an_address_that_asks_too_often_is_told_when_to_come_again_but_health_is_always_answered() {
    let house = House::with(|_, config| config.limits.rates.of_address = NonZeroU32::new(1)).await;
    let asked: Vec<u16> =
        futures_util::future::join_all((0..15).map(|_| house.get("/v2/", ""))).await.into_iter().collect();
    assert!(asked.contains(&401) && asked.contains(&429), "{asked:?}");
    let told = house.ask("GET", "/v2/", "").await;
    assert_eq!((told.error().as_str(), told.header("retry-after")), ("429 TOOMANYREQUESTS", "1"));
    for path in ["/_notary_server/health", "/livez", "/readyz", "/metrics"] {
        assert_eq!(house.get(path, "").await, 200, "{path}");
    }
    assert!(house.ask("GET", "/metrics", "").await.text().contains("TOOMANYREQUESTS"));
}

#[tokio::test]
async fn a_name_that_asks_too_often_waits_and_other_names_do_not() {
    let house = House::with(|_, config| config.limits.rates.of_name = NonZeroU32::new(1)).await;
    let path = file("root.json");
    let asked = futures_util::future::join_all((0..15).map(|_| house.get(&path, ALICE))).await;
    assert!(asked.contains(&404) && asked.contains(&429), "{asked:?}");
    assert_eq!(house.get(&path, ALICE).await, 429);
    assert_eq!(house.get(&path, BOB).await, 404);
}

#[tokio::test]
async fn who_has_uploaded_too_much_waits_and_others_do_not() {
    let house = House::with(|_, config| config.limits.rates.upload_bytes = NonZeroU64::new(10)).await;
    let upload = async |login: &str| {
        let request = house.service.client.post(format!("{}{OURS}", house.service.base));
        let request =
            request.header("Authorization", basic(login)).header("Content-Type", "multipart/form-data; boundary=B");
        house.service.send(request.body("--B\r\n".repeat(10))).await
    };
    assert_eq!(upload(ALICE).await.error(), "400 MALFORMED_UPLOAD");
    let told = upload(ALICE).await;
    assert_eq!(told.error(), "429 TOOMANYREQUESTS");
    assert!(told.header("retry-after").parse::<u64>().unwrap() > 1000, "{}", told.header("retry-after"));
    assert_eq!(house.get(&file("root.json"), ALICE).await, 404, "reading goes on");
    assert_eq!(upload(BOB).await.error(), "401 UNAUTHORIZED");
}

/// A service that asks clients for certificates of one authority.
struct Mutual {
    service: TestService,
    folder: TempDir,
    clients: TestCa,
}

impl Mutual {
    async fn start(demand: Demand, change: impl FnOnce(&mut UserAccess, &mut ClientCertificates)) -> Self {
        let (folder, clients) = (tempfile::tempdir().unwrap(), TestCa::new());
        let authority = folder.path().join("clients.pem");
        fs_err::write(&authority, clients.pem()).unwrap();
        let revoked = folder.path().join("revoked.pem");
        fs_err::write(&revoked, clients.revoking(&[])).unwrap();
        let mut certificates = ClientCertificates { authority, revoked: Some(revoked), demand };
        let mut users = UserAccess { passwords: None, ..users(folder.path()) };
        change(&mut users, &mut certificates);
        let service = TestService::with(|config| {
            config.tls = Tls::OwnAuthority { names: Vec::new() };
            config.access = Access::Users(users);
            config.client_certificates = Some(certificates);
        })
        .await;
        Self { service, folder, clients }
    }

    /// The status of a request over a connection of its own; none where there is no connection.
    async fn ask(&self, certificate: Option<&TestCertificate>, login: &str, path: &str) -> Option<u16> {
        let authority = fs_err::read(self.service.running.authority().unwrap()).unwrap();
        let authority = reqwest::Certificate::from_pem(&authority).unwrap();
        let mut client = reqwest::Client::builder().tls_certs_only([authority]).no_proxy();
        if let Some(TestCertificate { certificate_pem, key_pem, .. }) = certificate {
            let pem = format!("{certificate_pem}{key_pem}");
            client = client.identity(reqwest::Identity::from_pem(pem.as_bytes()).unwrap());
        }
        let url = format!("https://localhost:{}{path}", self.service.running.address().port());
        let request = client.build().unwrap().get(url);
        let request = if login.is_empty() { request } else { request.header("Authorization", basic(login)) };
        request.send().await.ok().map(|answer| answer.status().as_u16())
    }

    async fn root(&self, certificate: &TestCertificate) -> Option<u16> {
        self.ask(Some(certificate), "", &file("root.json")).await
    }
}

#[tokio::test]
async fn without_a_certificate_of_the_right_authority_there_is_no_connection() {
    let mutual = Mutual::start(Demand::Required, |_, _| {}).await;
    let alice = mutual.clients.client("alice");
    assert_eq!(mutual.root(&alice).await, Some(404));
    assert_eq!(mutual.ask(Some(&alice), "", &file("timestamp.key")).await, Some(200));
    assert_eq!(mutual.ask(Some(&alice), "", "/v2/").await, Some(200));
    let stranger = TestCa::new();
    for refused in [stranger.client("alice"), mutual.clients.expired_client("alice"), mutual.clients.loopback_server()]
    {
        assert_eq!(mutual.root(&refused).await, None);
    }
    assert_eq!(mutual.ask(None, "", "/_notary_server/health").await, None);
}

#[tokio::test]
async fn the_subject_of_a_certificate_may_do_what_its_name_may() {
    let mutual = Mutual::start(Demand::Optional, |_, _| {}).await;
    let (alice, bob, mallory) =
        (mutual.clients.client("alice"), mutual.clients.client("bob"), mutual.clients.client("mallory"));
    for (certificate, path, status) in [
        (&alice, file("timestamp.key"), 200),
        (&alice, format!("{OTHERS}root.json"), 401),
        (&bob, file("root.json"), 404),
        (&bob, file("timestamp.key"), 401),
        (&mallory, file("root.json"), 401),
    ] {
        assert_eq!(mutual.ask(Some(certificate), "", &path).await, Some(status), "{path}");
    }
    assert_eq!(mutual.ask(None, "", &file("root.json")).await, Some(401));
    assert_eq!(mutual.ask(None, "", "/v2/").await, Some(200), "there is nothing that a client could ask for");
}

#[tokio::test]
async fn names_that_stand_for_everybody_are_nobodys_in_a_certificate() {
    let mutual = Mutual::start(Demand::Required, |users, _| {
        users.allow = vec![allow("*", Right::Manage, "r.test")];
    })
    .await;
    for name in ["*", "anonymous", ""] {
        assert_eq!(mutual.root(&mutual.clients.client(name)).await, Some(401), "{name:?}");
    }
    assert_eq!(mutual.root(&mutual.clients.client("carol")).await, Some(404));
}

#[tokio::test]
async fn what_a_request_says_counts_before_the_certificate_of_its_connection() {
    let mutual = Mutual::start(Demand::Required, |users, certificates| {
        users.passwords = Some(people(certificates.authority.parent().unwrap()));
    })
    .await;
    let (alice, bob) = (mutual.clients.client("alice"), mutual.clients.client("bob"));
    assert_eq!(mutual.ask(Some(&bob), ALICE, &file("timestamp.key")).await, Some(200));
    assert_eq!(mutual.ask(Some(&alice), BOB, &file("timestamp.key")).await, Some(401));
    assert_eq!(mutual.ask(Some(&alice), "bob:wrong", &file("root.json")).await, Some(401));
    assert_eq!(mutual.ask(Some(&alice), "", "/v2/").await, Some(200), "whoever has a certificate needs no password");
}

#[tokio::test]
async fn a_revoked_certificate_counts_no_more_on_a_new_connection() {
    let mutual = Mutual::start(Demand::Required, |_, _| {}).await;
    let (alice, lost) = (mutual.clients.client("alice"), mutual.clients.client("alice"));
    assert_eq!((mutual.root(&alice).await, mutual.root(&lost).await), (Some(404), Some(404)));
    fs_err::write(mutual.folder.path().join("revoked.pem"), mutual.clients.revoking(&[&lost])).unwrap();
    mutual.service.running.reload();
    assert_eq!((mutual.root(&alice).await, mutual.root(&lost).await), (Some(404), None));
}

#[tokio::test]
async fn another_authority_counts_at_once_and_a_broken_file_leaves_the_old_one() {
    let mutual = Mutual::start(Demand::Required, |_, certificates| certificates.revoked = None).await;
    let (before, next) = (mutual.clients.client("alice"), TestCa::new());
    let after = next.client("alice");
    let file = mutual.folder.path().join("clients.pem");
    fs_err::write(&file, "junk").unwrap();
    mutual.service.running.reload();
    assert_eq!((mutual.root(&before).await, mutual.root(&after).await), (Some(404), None));
    fs_err::write(&file, next.pem()).unwrap();
    mutual.service.running.reload();
    assert_eq!((mutual.root(&before).await, mutual.root(&after).await), (None, Some(404)));
}

#[tokio::test]
async fn certificates_of_clients_that_cannot_be_checked_keep_the_service_from_starting() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    fs_err::write(path("junk"), "junk").unwrap();
    fs_err::write(path("good"), TestCa::new().pem()).unwrap();
    let own = Tls::OwnAuthority { names: Vec::new() };
    for (tls, authority, revoked) in [
        (own.clone(), "missing", None),
        (own.clone(), "junk", None),
        (own.clone(), "good", Some("missing")),
        (own, "good", Some("junk")),
        (Tls::None, "good", None),
    ] {
        let mut config = Config::new("127.0.0.1:0".parse().unwrap(), path("data"));
        config.tls = tls;
        config.access = Access::Users(UserAccess::default());
        let revoked = revoked.map(path);
        let certificates = ClientCertificates { authority: path(authority), revoked, demand: Demand::Optional };
        config.client_certificates = Some(certificates.clone());
        assert!(config.check().is_err(), "{certificates:?}");
        let refused = Service::start(config).await.unwrap_err();
        assert!(matches!(refused, StartError::Tls(_)), "{certificates:?}: {refused}");
        assert!(!matches!(refused, StartError::Tls(TlsError::Name(_))));
    }
}
