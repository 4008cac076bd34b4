use base64::Engine;
use countersign_testkit::port::{Answer, accepts};
use countersign_testkit::{Account, DockerRegistry, TestCa};

use crate::http::get;

#[test]
fn a_plain_registry_answers_and_ends_with_its_value() {
    let registry = DockerRegistry::start();
    let host = registry.host();
    let answer = get(&host, "/v2/", &[]);
    assert!(answer.starts_with("HTTP/1.1 200 OK"), "{answer}");
    drop(registry);
    assert_eq!(accepts(host.parse().unwrap()), Answer::No);
}

#[test]
fn a_registry_with_passwords_lets_in_who_knows_one() {
    let registry = DockerRegistry::builder().passwords().start();
    let basic = |account: &str| format!("Basic {}", base64::engine::general_purpose::STANDARD.encode(account));
    let answer = get(&registry.host(), "/v2/", &[]);
    assert!(answer.starts_with("HTTP/1.1 401") && answer.contains("Basic realm=\"test\""), "{answer}");
    for account in [Account::ALICE, Account::BOB] {
        let right = basic(&format!("{}:{}", account.name, account.password));
        assert!(get(&registry.host(), "/v2/", &[("Authorization", &right)]).starts_with("HTTP/1.1 200"));
        let wrong = basic(&format!("{}:guess", account.name));
        assert!(get(&registry.host(), "/v2/", &[("Authorization", &wrong)]).starts_with("HTTP/1.1 401"));
    }
}

#[test]
fn a_registry_with_tls_refuses_plain_http() {
    let registry = DockerRegistry::builder().tls(&TestCa::new()).start();
    let answer = get(&registry.host(), "/v2/", &[]);
    assert!(answer.contains("Client sent an HTTP request to an HTTPS server"), "{answer}");
    assert!(registry.url().starts_with("https://"));
}
