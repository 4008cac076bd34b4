//! Who is let in: tokens, good and bad.

use std::collections::BTreeSet;
use std::path::Path;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use countersign_crypto::certificate::Certificate;
use countersign_server::{Access, AccessError, OwnHost, Reading, StartError, TokenAccess};
use countersign_testkit::fixtures;
use countersign_testkit::token_service::{KeyReference, TokenAlgorithm, TokenKey};
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::owner::Owner;
use crate::service::{Answered, TestService};

const GUN: &str = "golden.test/notary/auth";
const ROOT: &str = "/v2/golden.test/notary/auth/_trust/tuf/root.json";

/// A service that trusts one key, and the key.
struct Guarded {
    service: TestService,
    key: TokenKey,
    folder: tempfile::TempDir,
}

fn settings(certificates: Option<&Path>, keys: Option<&Path>) -> TokenAccess {
    TokenAccess {
        realm: "https://auth.test/token".to_owned(),
        service: "interop".to_owned(),
        issuer: "interop-issuer".to_owned(),
        certificates: certificates.map(Path::to_owned),
        keys: keys.map(Path::to_owned),
        own_host: OwnHost::No,
        reading: Reading::Allowed,
    }
}

impl Guarded {
    async fn start(reference: KeyReference) -> Self {
        let (folder, key) = (tempfile::tempdir().unwrap(), TokenKey::new(TokenAlgorithm::Es256, reference));
        let bundle = folder.path().join("bundle.pem");
        fs_err::write(&bundle, key.certificate_pem()).unwrap();
        let access = Access::Tokens(settings(Some(&bundle), None));
        Self { service: TestService::with(|config| config.access = access).await, key, folder }
    }

    fn now(&self) -> Timestamp {
        self.service.time.now()
    }

    /// Good claims, for everything on the one collection.
    fn claims(&self) -> Value {
        let now = self.now().as_second();
        json!({
            "iss": "interop-issuer", "sub": "alice", "aud": "interop", "exp": now + 300, "nbf": now - 10,
            "access": [{"type": "repository", "name": GUN, "actions": ["push", "pull"]}],
        })
    }

    /// The good claims with some of them replaced, or taken away by `null`.
    fn token(&self, changes: &Value) -> String {
        let mut claims = self.claims();
        for (name, value) in changes.as_object().unwrap() {
            claims[name] = value.clone();
        }
        claims.as_object_mut().unwrap().retain(|_, value| !value.is_null());
        self.key.sign(&claims)
    }

    async fn ask(&self, method: &str, path: &str, token: &str) -> Answered {
        ask(&self.service, method, path, &format!("Bearer {token}")).await
    }

    /// Asks for the root, which is not there: 404 is whoever was let in.
    async fn root(&self, token: &str) -> u16 {
        self.ask("GET", ROOT, token).await.status.as_u16()
    }
}

/// A client that sends a token with everything.
fn client_with(token: &str) -> reqwest::Client {
    let headers = [(reqwest::header::AUTHORIZATION, format!("Bearer {token}").parse().unwrap())];
    reqwest::Client::builder().no_proxy().default_headers(headers.into_iter().collect()).build().unwrap()
}

async fn ask(service: &TestService, method: &str, path: &str, authorization: &str) -> Answered {
    let request = service.client.request(method.parse().unwrap(), format!("{}{path}", service.base));
    service.send(request.header("Authorization", authorization)).await
}

/// A challenge with the actions of its scope in alphabetical order.
fn sorted(challenge: &str) -> String {
    let Some((before, rest)) = challenge.split_once("scope=\"") else { return challenge.to_owned() };
    let (scope, after) = rest.split_once('"').unwrap();
    let (resource, actions) = scope.rsplit_once(':').unwrap();
    let actions: BTreeSet<&str> = actions.split(',').collect();
    format!("{before}scope=\"{resource}:{}\"{after}", actions.into_iter().collect::<Vec<_>>().join(","))
}

/// A good token with another header and, unless the good one is wanted, another signature.
fn with_header(token: &str, header: &Value, signature: Option<&[u8]>) -> String {
    let parts: Vec<&str> = token.split('.').collect();
    let signature = signature.map_or_else(|| parts[2].to_owned(), |bytes| URL_SAFE_NO_PAD.encode(bytes));
    format!("{}.{}.{signature}", URL_SAFE_NO_PAD.encode(header.to_string()), parts[1])
}

#[tokio::test]
async fn every_token_of_the_golden_set_is_answered_as_the_reference_answers() {
    let golden: Value =
        serde_json::from_slice(&fs_err::read(fixtures::path("auth-tokens/tokens.json")).unwrap()).unwrap();
    let mut access = settings(Some(&fixtures::path("auth-tokens/issuer.crt")), None);
    "http://127.0.0.1:1/token".clone_into(&mut access.realm);
    let service = TestService::with(|config| config.access = Access::Tokens(access)).await;
    let requests = golden["requests"].as_object().unwrap();
    let mut judged = 0;
    for (name, case) in golden["cases"].as_object().unwrap() {
        let authorization = format!("Bearer {}", case["token"].as_str().unwrap());
        for (request, line) in requests {
            let answer = ask(&service, line[0].as_str().unwrap(), line[1].as_str().unwrap(), &authorization).await;
            let expected = &case["answers"][request];
            assert_eq!(answer.status.as_u16(), expected["status"], "{name}: {request}");
            let challenge = expected["challenge"].as_str().unwrap_or_default().replace("PORT", "1");
            assert_eq!(sorted(answer.header("www-authenticate")), sorted(&challenge), "{name}: {request}");
            judged += 1;
        }
    }
    assert!(judged > 150, "{judged}");
}

#[tokio::test]
async fn who_sends_no_token_learns_nothing_but_where_tokens_are_to_be_had() {
    let guarded = Guarded::start(KeyReference::Id).await;
    let service = &guarded.service;
    let asked = service.get(ROOT).await;
    assert_eq!(asked.error(), "401 UNAUTHORIZED");
    assert_eq!(
        asked.header("www-authenticate"),
        "Bearer realm=\"https://auth.test/token\",service=\"interop\",scope=\"repository:golden.test/notary/auth:pull\""
    );
    let expected = json!([{"Type": "repository", "Class": "", "Name": GUN, "Action": "pull"}]);
    assert_eq!(asked.json()["errors"][0]["detail"], expected);
    for authorization in ["Basic YWxpY2U6eA==", "Bearer", "Bearer a b", "x"] {
        let answer = ask(service, "GET", ROOT, authorization).await;
        assert_eq!(answer.status, 401, "{authorization}");
        assert!(!answer.header("www-authenticate").contains("error="), "{authorization}");
    }
    for path in ["/v2/", "/nothing", "/v2/a*b/_trust/tuf/root.json", "/v2/_trust/changefeed?records=1"] {
        assert_eq!(service.get(path).await.status, 401, "{path}");
    }
    for path in ["/_notary_server/health", "/metrics"] {
        assert_eq!(service.get(path).await.status, 200, "{path}");
    }
}

#[tokio::test]
async fn a_collection_that_exists_and_one_that_does_not_look_alike_from_outside() {
    let mut guarded = Guarded::start(KeyReference::Id).await;
    let path = format!("/v2/{GUN}/_trust/tuf/");
    let token = guarded.token(&json!({}));
    let anonymous = std::mem::replace(&mut guarded.service.client, client_with(&token));
    Owner::of(&guarded.service, GUN).await.publish_first(&guarded.service).await;
    guarded.service.file(GUN, "root.json").await.ok();
    guarded.service.client = anonymous;
    let elsewhere = guarded.token(&json!({"access": [{"type": "repository", "name": "x/y", "actions": ["*"]}]}));
    for file in ["root.json", "1.root.json", "timestamp.key", "0.root.json"] {
        let answers = [
            guarded.service.file(GUN, file).await,
            guarded.service.file("never/seen", file).await,
            guarded.ask("GET", &format!("{path}{file}"), &elsewhere).await,
        ];
        for answer in &answers {
            assert_eq!(answer.error(), "401 UNAUTHORIZED", "{file}");
        }
        let told = |answer: &Answered, gun: &str| answer.text().replace(gun, "GUN");
        assert_eq!(told(&answers[0], GUN), told(&answers[1], "never/seen"), "{file}");
    }
}

#[tokio::test]
async fn no_signature_another_algorithm_or_a_borrowed_key_is_a_token() {
    let guarded = Guarded::start(KeyReference::Id).await;
    let good = guarded.token(&json!({}));
    assert_eq!(guarded.root(&good).await, 404);
    let id = guarded.key.id();
    let certificate = guarded.key.certificate_pem();
    let der = Certificate::list_from_pem(certificate.as_bytes()).unwrap()[0].der().to_vec();
    let spki = Certificate::from_der(&der).unwrap().spki_der().to_vec();
    for algorithm in ["none", "None", "NONE", "", "RS256", "ES384", "PS256", "es256"] {
        for signature in [None, Some(&[][..]), Some(&[0; 64]), Some(&[0; 256])] {
            let token = with_header(&good, &json!({"alg": algorithm, "kid": id}), signature);
            assert_eq!(guarded.root(&token).await, 401, "{algorithm} {signature:?}");
        }
    }
    for signature in [&[][..], &[0; 64], &[255; 64]] {
        let token = with_header(&good, &json!({"alg": "ES256", "kid": id}), Some(signature));
        assert_eq!(guarded.root(&token).await, 401, "{signature:?}");
    }
    // Shared secrets made of what everybody can read.
    for secret in [certificate.as_bytes(), &der, &spki] {
        let token = with_header(&good, &json!({"alg": "HS256", "kid": id}), None);
        let signed = token.rsplit_once('.').unwrap().0;
        let token = format!("{signed}.{}", URL_SAFE_NO_PAD.encode(hmac(secret, signed.as_bytes())));
        assert_eq!(guarded.root(&token).await, 401);
    }
    for shape in
        ["", ".", "..", "...", &good.replace('.', ""), &format!("{good}."), &format!("{good}.x"), &format!("{good}=")]
    {
        assert_eq!(guarded.root(shape).await, 401, "{shape}");
    }
    let critical = with_header(&good, &json!({"alg": "ES256", "kid": id, "crit": ["exp"]}), None);
    assert_eq!(guarded.root(&critical).await, 401);
    let long = "x".repeat(40_000);
    assert_eq!(guarded.root(&long).await, 401);
    assert_eq!(guarded.root(&good).await, 404, "the good one is still good");
}

/// HMAC with SHA-256 (RFC 2104), for a signature that must not count.
fn hmac(secret: &[u8], message: &[u8]) -> Vec<u8> {
    let mut key = [0_u8; 64];
    let short = if secret.len() > 64 { Sha256::digest(secret).to_vec() } else { secret.to_vec() };
    key[..short.len()].copy_from_slice(&short);
    let hash = |pad: u8, message: &[u8]| {
        let padded: Vec<u8> = key.iter().map(|byte| byte ^ pad).collect();
        Sha256::digest([&padded, message].concat()).to_vec()
    };
    hash(0x5c, &hash(0x36, message))
}

#[tokio::test]
async fn claims_that_are_missing_wrong_or_of_another_kind_are_refused() {
    let guarded = Guarded::start(KeyReference::Id).await;
    for changes in [
        json!({"iss": null}),
        json!({"iss": "other"}),
        json!({"iss": 1}),
        json!({"iss": ["interop-issuer"]}),
        json!({"iss": ""}),
        json!({"aud": null}),
        json!({"aud": "other"}),
        json!({"aud": ["interop"]}),
        json!({"aud": "interop "}),
        json!({"aud": 1}),
        json!({"exp": null}),
        json!({"exp": "9999999999"}),
        json!({"exp": -1}),
        json!({"exp": 1e300}),
        json!({"exp": 0}),
        json!({"nbf": "0"}),
        json!({"nbf": 1e300}),
        json!({"nbf": 9_999_999_999_i64}),
        json!({"access": [null]}),
        json!({"access": "all"}),
        json!({"access": {}}),
        json!({"access": [[]]}),
        json!({"access": [{"type": "repository", "name": GUN, "actions": "pull"}]}),
        json!({"access": [{"type": "repository", "actions": ["pull"]}]}),
        json!({"sub": 7}),
    ] {
        let answer = guarded.ask("GET", ROOT, &guarded.token(&changes)).await;
        assert_eq!(answer.status, 401, "{changes}");
        assert!(answer.header("www-authenticate").ends_with("error=\"invalid_token\""), "{changes}");
    }
    for changes in [json!({"nbf": null}), json!({"sub": null}), json!({"nbf": -5}), json!({"other": [1]})] {
        assert_eq!(guarded.root(&guarded.token(&changes)).await, 404, "{changes}");
    }
}

#[tokio::test]
async fn a_name_that_is_nearly_the_right_one_gives_nothing() {
    let guarded = Guarded::start(KeyReference::Id).await;
    for access in [
        json!(null),
        json!([]),
        json!([{"type": "repository", "name": "golden.test/notary", "actions": ["*"]}]),
        json!([{"type": "repository", "name": "golden.test/notary/", "actions": ["*"]}]),
        json!([{"type": "repository", "name": "golden.test/notary/*", "actions": ["*"]}]),
        json!([{"type": "repository", "name": "*", "actions": ["*"]}]),
        json!([{"type": "repository", "name": "GOLDEN.test/notary/auth", "actions": ["*"]}]),
        json!([{"type": "repository", "name": "golden.test/notary/x/../auth", "actions": ["*"]}]),
        json!([{"type": "repository", "name": "golden.test/notary/auth ", "actions": ["*"]}]),
        json!([{"type": "Repository", "name": GUN, "actions": ["*"]}]),
        json!([{"type": "registry", "name": GUN, "actions": ["*"]}]),
        json!([{"type": "repository", "name": GUN, "actions": ["PULL", "pull,push", "", "push"]}]),
    ] {
        let answer = guarded.ask("GET", ROOT, &guarded.token(&json!({"access": access}))).await;
        assert_eq!(answer.status, 401, "{access}");
        assert!(answer.header("www-authenticate").ends_with("error=\"insufficient_scope\""), "{access}");
    }
}

#[tokio::test]
async fn each_request_needs_its_own_actions() {
    let guarded = Guarded::start(KeyReference::Id).await;
    let base = format!("/v2/{GUN}/_trust/tuf/");
    let requests =
        [("GET", "root.json"), ("POST", ""), ("GET", "timestamp.key"), ("POST", "snapshot.key"), ("DELETE", "")];
    for (actions, expected) in [
        (&["pull"][..], [404, 401, 401, 401, 401]),
        (&["push"], [401; 5]),
        (&["pull", "push"], [404, 400, 200, 401, 401]),
        (&["*"], [404, 400, 200, 200, 200]),
    ] {
        let access = json!([{"type": "repository", "name": GUN, "actions": actions}]);
        let token = guarded.token(&json!({"access": access}));
        for ((method, path), status) in requests.into_iter().zip(expected) {
            let answer = guarded.ask(method, &format!("{base}{path}"), &token).await;
            assert_eq!(answer.status, status, "{actions:?}: {method} {path}");
        }
    }
    let both = guarded.token(&json!({}));
    assert_eq!(guarded.ask("POST", &base, &both).await.error(), "400 MALFORMED_UPLOAD");
    assert_eq!(guarded.ask("DELETE", &base, &both).await.status, 401);
    assert_eq!(guarded.ask("POST", &format!("{base}timestamp.key"), &both).await.status, 401);
}

#[tokio::test]
async fn keys_that_a_token_brings_along_are_not_trusted() {
    let guarded = Guarded::start(KeyReference::Id).await;
    let stranger = TokenKey::new(TokenAlgorithm::Es256, KeyReference::Certificate);
    let own = stranger.sign(&guarded.claims());
    assert_eq!(guarded.root(&own).await, 401, "an own certificate");
    let point = |key: &TokenKey| {
        let certificate = Certificate::list_from_pem(key.certificate_pem().as_bytes()).unwrap().remove(0);
        let spki = certificate.spki_der();
        let (x, y) = spki[spki.len() - 64..].split_at(32);
        let (x, y) = (URL_SAFE_NO_PAD.encode(x), URL_SAFE_NO_PAD.encode(y));
        (json!({"kty": "EC", "crv": "P-256", "x": x, "y": y}), STANDARD.encode(certificate.der()))
    };
    let ((strange, _), (trusted, certificate)) = (point(&stranger), point(&guarded.key));
    let mut borrowed = strange.clone();
    borrowed["kid"] = json!(guarded.key.id());
    let mut dressed = strange.clone();
    dressed["x5c"] = json!([certificate]);
    let id = guarded.key.id();
    for header in [
        json!({"alg": "ES256", "jwk": strange}),
        json!({"alg": "ES256", "jwk": borrowed}),
        json!({"alg": "ES256", "jwk": borrowed, "kid": id}),
        json!({"alg": "ES256", "jwk": dressed}),
        json!({"alg": "ES256", "jwk": trusted}),
        json!({"alg": "ES256", "kid": id}),
        json!({"alg": "ES256", "kid": "../../etc/passwd"}),
        json!({"alg": "ES256", "kid": "' OR 1=1 --"}),
        json!({"alg": "ES256", "kid": ""}),
        json!({"alg": "ES256", "jku": "http://127.0.0.1:1/keys", "x5u": "http://127.0.0.1:1/c"}),
        json!({"alg": "ES256", "x5c": ["junk"], "kid": id}),
        json!({"alg": "ES256", "x5c": [STANDARD.encode(b"junk")], "kid": id}),
        json!({"alg": "ES256", "x5c": [certificate], "kid": id}),
        json!({"alg": "ES256", "x5c": vec![certificate.clone(); 9]}),
    ] {
        assert_eq!(guarded.root(&with_header(&own, &header, None)).await, 401, "{header}");
    }
}

#[tokio::test]
async fn a_trusted_key_may_be_named_in_each_of_the_references_ways() {
    let guarded = Guarded::start(KeyReference::Certificate).await;
    assert_eq!(guarded.root(&guarded.token(&json!({}))).await, 404, "by its certificate");
    let guarded = Guarded::start(KeyReference::Id).await;
    assert_eq!(guarded.root(&guarded.token(&json!({}))).await, 404, "by its id");
}

#[tokio::test]
async fn clocks_may_differ_by_a_minute_and_no_more() {
    let guarded = Guarded::start(KeyReference::Id).await;
    let now = guarded.now().as_second();
    for (changes, status) in [
        (json!({"exp": now - 60}), 404),
        (json!({"exp": now - 61}), 401),
        (json!({"nbf": now + 1}), 404),
        (json!({"nbf": now + 60}), 404),
        (json!({"nbf": now + 61}), 401),
    ] {
        assert_eq!(guarded.root(&guarded.token(&changes)).await, status, "{changes}");
    }
    let token = guarded.token(&json!({}));
    assert_eq!(guarded.root(&token).await, 404);
    guarded.service.time.pass(SignedDuration::from_secs(361));
    assert_eq!(guarded.root(&token).await, 401, "the same token, later");
}

#[tokio::test]
async fn what_is_judged_is_what_is_served() {
    let guarded = Guarded::start(KeyReference::Id).await;
    let token = guarded.token(&json!({}));
    for path in [
        "/v2/golden.test/notary/auth/../other/_trust/tuf/root.json",
        "/v2/golden.test/notary/auth/%2e%2e/other/_trust/tuf/root.json",
        "/v2/golden.test/notary/auth/..%2fother/_trust/tuf/root.json",
        "/v2/golden.test/notary/auth//_trust/tuf/root.json",
        "/v2/golden.test/notary/auth%00/_trust/tuf/root.json",
        "/v2/other/_trust/tuf/root.json?x=/v2/golden.test/notary/auth/_trust/tuf/root.json",
        "/v2/golden.test/notary/auth/_trust/tuf/x/_trust/tuf/root.json",
    ] {
        let request =
            format!("GET {path} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {token}\r\nConnection: close\r\n\r\n");
        let answer = guarded.service.raw(&request).await;
        let status = answer.split(' ').nth(1).unwrap();
        assert!(matches!(status, "301" | "401"), "{path}: {answer}");
    }
    let spelled = guarded.ask("GET", "/v2/golden.test/%6eotary/auth/_trust/tuf/root.json", &token).await;
    assert_eq!(spelled.status, 404, "another spelling of the same name");
}

#[tokio::test]
async fn a_collections_name_cannot_bend_the_challenge() {
    let guarded = Guarded::start(KeyReference::Id).await;
    let path = "/v2/a%22,error=%22none%22,realm=%22https:%2f%2fevil.test%0d%0aX-Evil:1/_trust/tuf/root.json";
    let answer = guarded.service.get(path).await;
    assert!(matches!(answer.status.as_u16(), 301 | 401), "{}", answer.status);
    assert!(!answer.headers.contains_key("x-evil"));
    let answer = guarded.service.get("/v2/a%22,b%22/_trust/tuf/root.json").await;
    assert_eq!(answer.status, 401);
    let challenge = answer.header("www-authenticate");
    let open = challenge.replace("\\\"", "");
    assert_eq!(open.matches('"').count(), 6, "{challenge}");
}

#[tokio::test]
async fn a_changed_bundle_is_taken_up_without_a_restart() {
    let guarded = Guarded::start(KeyReference::Id).await;
    let next = TokenKey::new(TokenAlgorithm::Rs256, KeyReference::Id);
    let (old_token, new_token) = (guarded.token(&json!({})), next.sign(&guarded.claims()));
    assert_eq!((guarded.root(&old_token).await, guarded.root(&new_token).await), (404, 401));
    let bundle = guarded.folder.path().join("bundle.pem");
    fs_err::write(&bundle, "-----BEGIN junk").unwrap();
    guarded.service.running.reload();
    assert_eq!(guarded.root(&old_token).await, 404, "a broken file leaves the old keys in use");
    fs_err::write(&bundle, next.certificate_pem()).unwrap();
    guarded.service.running.reload();
    assert_eq!((guarded.root(&old_token).await, guarded.root(&new_token).await), (401, 404));
    // And by itself, when nobody tells.
    fs_err::write(&bundle, guarded.key.certificate_pem()).unwrap();
    let mut waited = 0;
    while guarded.root(&old_token).await != 404 {
        waited += 1;
        assert!(waited < 150, "the change is not noticed");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

#[tokio::test]
async fn a_key_set_counts_like_a_bundle() {
    let folder = tempfile::tempdir().unwrap();
    let key = TokenKey::new(TokenAlgorithm::Es256, KeyReference::Id);
    let certificate = Certificate::list_from_pem(key.certificate_pem().as_bytes()).unwrap().remove(0);
    let spki = certificate.spki_der();
    let (x, y) = spki[spki.len() - 64..].split_at(32);
    let jwk = json!({"kty": "EC", "crv": "P-256", "x": URL_SAFE_NO_PAD.encode(x), "y": URL_SAFE_NO_PAD.encode(y),
        "kid": "main", "use": "sig", "alg": "ES256"});
    let set = folder.path().join("keys.json");
    fs_err::write(&set, json!({"keys": [jwk]}).to_string()).unwrap();
    let access = Access::Tokens(settings(None, Some(&set)));
    let service = TestService::with(|config| config.access = access).await;
    let guarded = Guarded { service, key, folder };
    assert_eq!(guarded.root(&guarded.token(&json!({}))).await, 404);
    let unknown = with_header(&guarded.token(&json!({})), &json!({"alg": "ES256", "kid": "other"}), None);
    assert_eq!(guarded.root(&unknown).await, 401);
}

#[tokio::test]
async fn without_keys_that_can_be_used_the_service_does_not_start() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    fs_err::write(path("junk"), "junk").unwrap();
    fs_err::write(path("none.json"), "{\"keys\":[]}").unwrap();
    fs_err::write(path("secret.json"), "{\"keys\":[{\"kty\":\"oct\",\"k\":\"AAAA\"}]}").unwrap();
    let good = fixtures::path("auth-tokens/issuer.crt");
    let empty = TokenAccess { issuer: String::new(), ..settings(Some(&good), None) };
    let realm = TokenAccess { realm: "auth.test".to_owned(), ..settings(Some(&good), None) };
    for access in [
        settings(None, None),
        settings(Some(&path("missing")), None),
        settings(Some(&path("junk")), None),
        settings(None, Some(&path("none.json"))),
        settings(Some(&good), Some(&path("secret.json"))),
        empty,
        realm,
    ] {
        let mut config = countersign_server::Config::new("127.0.0.1:0".parse().unwrap(), path("data"));
        config.access = Access::Tokens(access.clone());
        let refused = countersign_server::Service::start(config).await.unwrap_err();
        assert!(matches!(refused, StartError::Access(_)), "{access:?}: {refused}");
        assert!(!matches!(refused, StartError::Access(AccessError::Realm(ref text)) if text != "auth.test"));
    }
}

#[tokio::test]
async fn clients_may_be_sent_to_the_host_that_they_asked() {
    let access =
        TokenAccess { own_host: OwnHost::Yes, ..settings(Some(&fixtures::path("auth-tokens/issuer.crt")), None) };
    let service = TestService::with(|config| config.access = Access::Tokens(access)).await;
    let ask = async |host: &str| {
        service.raw(&format!("GET /v2/ HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n")).await
    };
    assert!(ask("trust.example:4443").await.contains("realm=\"https://trust.example:4443/auth/token\""));
    assert!(ask("evil.test/x").await.contains("realm=\"https://auth.test/token\""));
}

#[tokio::test]
async fn everybody_reads_without_a_token_where_that_is_said_and_does_nothing_else() {
    let access =
        TokenAccess { reading: Reading::Everybody, ..settings(Some(&fixtures::path("auth-tokens/issuer.crt")), None) };
    let service = TestService::with(|config| config.access = Access::Tokens(access)).await;
    assert_eq!(service.get(ROOT).await.status, 404);
    for path in ["/v2/", "/v2/_trust/changefeed", "/v2/golden.test/notary/auth/_trust/tuf/timestamp.key"] {
        assert_eq!(service.get(path).await.status, 401, "{path}");
    }
    assert_eq!(service.delete(GUN).await.status, 401);
    assert_eq!(ask(&service, "GET", ROOT, "Bearer a.b.c").await.status, 401, "a bad token is no anonymity");
    assert_eq!(ask(&service, "GET", ROOT, "Basic YTpi").await.status, 401);
}
