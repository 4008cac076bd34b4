use std::time::Duration;

use base64::Engine;
use countersign_testkit::token_service::{KeyReference, TokenAlgorithm, TokenKey};
use countersign_testkit::{Account, DockerRegistry, FakeServer, TokenService};
use serde_json::Value;

use crate::http::{get, request};

fn fetch(tokens: &TokenService, query: &str, headers: &[(&str, &str)]) -> Value {
    let host = tokens.realm().trim_start_matches("http://").trim_end_matches("/token").to_owned();
    let answer = get(&host, &format!("/token?{query}"), headers);
    serde_json::from_str(answer.split("\r\n\r\n").nth(1).unwrap()).unwrap()
}

fn basic(account: Account) -> String {
    let pair = format!("{}:{}", account.name, account.password);
    format!("Basic {}", base64::engine::general_purpose::STANDARD.encode(pair))
}

fn try_token(registry: &DockerRegistry, token: &str, path: &str) -> String {
    let answer = get(&registry.host(), path, &[("Authorization", &format!("Bearer {token}"))]);
    answer.split(' ').nth(1).unwrap().to_owned()
}

#[test]
fn docker_registry_accepts_tokens_of_both_algorithms_and_both_references() {
    for (algorithm, reference) in [
        (TokenAlgorithm::Es256, KeyReference::Id),
        (TokenAlgorithm::Rs256, KeyReference::Id),
        (TokenAlgorithm::Es256, KeyReference::Certificate),
        (TokenAlgorithm::Rs256, KeyReference::Certificate),
    ] {
        let tokens = TokenService::with_key(FakeServer::plain(), TokenKey::new(algorithm, reference));
        let registry = DockerRegistry::builder().tokens(&tokens).start();
        let path = "/v2/acme/app/tags/list";
        let challenge = get(&registry.host(), path, &[]);
        assert!(challenge.contains(&tokens.challenge("repository:acme/app:pull")), "{challenge}");
        let answer = fetch(
            &tokens,
            "service=test-registry&scope=repository:acme/app:pull",
            &[("Authorization", &basic(Account::BOB))],
        );
        let token = answer["token"].as_str().unwrap();
        assert_eq!(try_token(&registry, token, path), "404", "{algorithm:?} {reference:?}: {}", registry.log());
        assert_eq!(try_token(&registry, token, "/v2/acme/other/tags/list"), "401");
        let (rest, _) = token.rsplit_once('.').unwrap();
        assert_eq!(try_token(&registry, &format!("{rest}.AAAA"), path), "401");
    }
}

#[test]
fn bob_may_pull_and_nobody_may_pull_what_is_public() {
    let tokens = TokenService::start();
    let actions = |answer: &Value| {
        let claims = answer["token"].as_str().unwrap().split('.').nth(1).unwrap().to_owned();
        let claims = base64::engine::general_purpose::URL_SAFE_NO_PAD.decode(claims).unwrap();
        serde_json::from_slice::<Value>(&claims).unwrap()["access"].to_string()
    };
    let bob = fetch(&tokens, "scope=repository:h:5000/a:pull,push", &[("Authorization", &basic(Account::BOB))]);
    assert_eq!(actions(&bob), r#"[{"actions":["pull"],"name":"h:5000/a","type":"repository"}]"#);
    assert_eq!(actions(&fetch(&tokens, "scope=repository:a:pull", &[])), "[]");
    assert!(actions(&fetch(&tokens, "scope=repository:public/a:pull", &[])).contains("public/a"));
}

#[test]
fn a_wrong_password_is_refused_and_a_refresh_token_works() {
    let tokens = TokenService::start();
    let wrong = format!("Basic {}", base64::engine::general_purpose::STANDARD.encode("alice:guess"));
    assert_eq!(fetch(&tokens, "", &[("Authorization", &wrong)])["details"], "incorrect username or password");
    let offline = fetch(&tokens, "offline_token=true", &[("Authorization", &basic(Account::ALICE))]);
    let refresh = offline["refresh_token"].as_str().unwrap();
    assert_eq!(refresh, TokenService::refresh_token(Account::ALICE));
    let host = tokens.realm().trim_start_matches("http://").trim_end_matches("/token").to_owned();
    let body = format!("grant_type=refresh_token&refresh_token={refresh}&scope=repository:a:push");
    let answer = request(&host, "POST", "/token", &[], body.as_bytes());
    assert!(answer.starts_with("HTTP/1.1 200") && answer.contains("access_token"), "{answer}");
}

#[test]
fn an_expired_token_is_refused() {
    let tokens = TokenService::start();
    let registry = DockerRegistry::builder().tokens(&tokens).start();
    let access = [("repository", "acme/app", "pull")];
    assert_eq!(try_token(&registry, &tokens.token(Account::ALICE, &access), "/v2/acme/app/tags/list"), "404");
    let mut claims = serde_json::json!({
        "iss": TokenService::ISSUER, "aud": TokenService::SERVICE, "exp": 1_000_000_000, "nbf": 0,
        "access": [{"type": "repository", "name": "acme/app", "actions": ["pull"]}],
    });
    assert_eq!(try_token(&registry, &tokens.sign(&claims), "/v2/acme/app/tags/list"), "401");
    claims["exp"] = 32_503_680_000_u64.into();
    assert_eq!(try_token(&registry, &tokens.sign(&claims), "/v2/acme/app/tags/list"), "404");
    tokens.set_lifetime(Duration::from_secs(30));
    assert_eq!(fetch(&tokens, "", &[])["expires_in"], 30);
}
