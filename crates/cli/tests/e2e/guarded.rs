//! A trust service that asks for tokens, and one with a settings file.

use crate::client::{Client, Ending, LOCAL, NETWORK};
use crate::stage::{Stage, pushed_digest};
use countersign_testkit::{Account, DockerRegistry, Dockerd, TestCa, TokenService, TrustService};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// Writes a settings file that sends clients to a token service.
fn settings(folder: &Path, tokens: &TokenService) -> PathBuf {
    std::fs::write(folder.join("tokens.pem"), tokens.certificate_pem()).unwrap();
    let text = format!(
        "[access.tokens]\nrealm = \"{}\"\nservice = \"{}\"\nissuer = \"{}\"\ncertificates = \"tokens.pem\"\n",
        tokens.realm(),
        TokenService::SERVICE,
        TokenService::ISSUER
    );
    let file = folder.join("serve.toml");
    std::fs::write(&file, text).unwrap();
    file
}

/// A stage whose trust service asks for tokens; one authority vouches for both services.
fn guarded() -> (Stage, TokenService, TempDir) {
    let (folder, ca) = (tempfile::tempdir().unwrap(), TestCa::new());
    let (tokens, pair) = (TokenService::start_tls(&ca), ca.loopback_server());
    let write = |name: &str, text: &str| std::fs::write(folder.path().join(name), text).unwrap();
    write("ca.pem", &ca.pem());
    write("tls.pem", &pair.certificate_pem);
    write("tls.key", &pair.key_pem);
    let file = settings(folder.path(), &tokens);
    let text = std::fs::read_to_string(&file).unwrap();
    write("serve.toml", &format!("{text}[tls]\ncertificate = \"tls.pem\"\nkey = \"tls.key\"\n"));
    let builder = TrustService::builder(env!("CARGO_BIN_EXE_countersign")).arg("--config");
    let service = builder.arg(file.to_str().unwrap()).authority(folder.path().join("ca.pem")).start();
    (Stage { engine: Dockerd::start(), registry: DockerRegistry::start(), service }, tokens, folder)
}

#[test]
fn docker_28_signs_and_verifies_with_tokens_and_is_refused_without() {
    let (stage, tokens, _folder) = guarded();
    let host = stage.registry.host();
    let name = format!("{}:v1", stage.repository("acme/app"));
    stage.engine.build(&name, "one");
    let alice = stage.docker28().with_login(&host, Account::ALICE);
    let digest = pushed_digest(&alice.run(&["push", &name]).succeeded());
    let bob = stage.docker28().with_login(&host, Account::BOB);
    let pulled = bob.run(&["pull", &name]).succeeded();
    assert!(pulled.stdout.contains(&digest), "{pulled}");
    assert!(!tokens.requests().is_empty());

    // Whoever has no account gets a token for nothing, and whoever may only read cannot sign.
    let nobody = stage.docker28();
    let refused = nobody.run(&["pull", &name]).failed();
    assert!(
        refused.stderr.contains("you are not authorized to perform this operation: server returned 401"),
        "{refused}"
    );
    let other = format!("{}:v1", stage.repository("acme/other"));
    stage.engine.build(&other, "two");
    for person in [&nobody, &bob] {
        let refused = person.run(&["push", &other]).failed();
        assert!(refused.stderr.contains("401"), "{refused}");
    }
    alice.run(&["trust", "inspect", &other]).failed();
    alice.run(&["push", &other]).succeeded();
}

#[test]
fn notary_and_our_client_sign_with_tokens_and_are_refused_without() {
    let (stage, _tokens, _folder) = guarded();
    let gun = "guarded.test/collection";
    let alice = stage.notary().with_account(Account::ALICE);
    alice.run(&["init", "--publish", gun]).succeeded();
    let digest = "ab".repeat(32);
    alice.run(&["addhash", "--publish", gun, "v1", "7", "--sha256", &digest]).succeeded();
    let bob = stage.notary().with_account(Account::BOB);
    let listed = bob.run(&["list", gun]).succeeded();
    assert!(listed.stdout.contains(&digest), "{listed}");
    bob.run(&["delete", "--remote", gun]).failed();
    stage.notary().run(&["list", gun]).failed();
    alice.run(&["delete", "--remote", gun]).succeeded();

    let name = format!("{}:v1", stage.repository("acme/app"));
    stage.engine.build(&name, "one");
    let push = |client: &Client| client.run(&["push", &name]);
    let nobody = stage.countersign();
    let refused = push(&nobody);
    assert_eq!(refused.code, NETWORK, "{refused}");
    let alice = stage.countersign();
    let account = Account::ALICE;
    let login = format!("{}:{}", account.name, account.password);
    crate::registries::write_login(&alice, &stage.registry.host(), &login);
    push(&alice).succeeded();
    let refused = nobody.run(&["verify", &name]);
    assert_eq!(refused.code, NETWORK, "{refused}");
    alice.run(&["verify", &name]).succeeded();
}

#[test]
fn a_bundle_is_read_again_on_sighup() {
    let person = Client::new();
    let (first, second) = (TokenService::start(), TokenService::start());
    let file = settings(person.folder(), &first);
    let builder = TrustService::builder(env!("CARGO_BIN_EXE_countersign")).env("COUNTERSIGN_LOG", "info");
    let service = builder.arg("--config").arg(file.to_str().unwrap()).start();
    std::fs::write(person.folder().join("tokens.pem"), second.certificate_pem()).unwrap();
    service.hang_up();
    let begun = Instant::now();
    while !service.log().contains("has been read again") {
        assert!(begun.elapsed() < Duration::from_secs(20), "{}", service.log());
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn a_settings_file_is_checked_and_explained_and_options_win_over_it() {
    let person = Client::new();
    let tokens = TokenService::start();
    let file = settings(person.folder(), &tokens);
    let text = format!(
        "listen = \"127.0.0.1:5443\"\ncollections = [\"docker.io/acme/\"]\n{}",
        std::fs::read_to_string(&file).unwrap()
    );
    std::fs::write(&file, &text).unwrap();
    let file = file.to_str().unwrap();
    person.run(&["serve", "config", "check", "--config", file]).succeeded();
    let explained = person.run(&["serve", "config", "explain", "--config", file, "--data-dir", "here"]).succeeded();
    for line in ["127.0.0.1:5443  (line 1)", "here  (--data-dir)", "docker.io/acme/  (line 2)", "ecdsa  (default)"] {
        assert!(explained.stdout.contains(line), "{line}: {explained}");
    }
    let json = ["serve", "config", "explain", "--config", file, "--listen", "127.0.0.1:1", "--format", "json"];
    let explained = person.run(&json).succeeded();
    let read: serde_json::Value = serde_json::from_str(&explained.stdout).unwrap();
    assert_eq!(read["settings"][0]["from"], "--listen", "{explained}");

    let check = |text: &str| {
        std::fs::write(file, text).unwrap();
        person.run(&["serve", "config", "check", "--config", file])
    };
    for (wrong, part) in [
        (text.replace("listen", "lisen"), "line 1 (lisen)"),
        (text.replace("[access.tokens]", "[access.token]"), "line 3"),
        (text.replace("\"tokens.pem\"", "\"missing.pem\""), "missing.pem"),
        (text.replace("realm = \"http", "realm = \"gopher"), "gopher"),
        ("[access]\n".to_owned(), "nobody could be let in"),
        (format!("{text}[tls]\ncertificate = \"tokens.pem\"\nkey = \"tokens.pem\"\n"), "private key"),
    ] {
        let refused = check(&wrong).refused(LOCAL, part);
        assert!(!refused.stderr.contains("panicked"), "{refused}");
    }
    person.run(&["serve", "--config", "nowhere.toml"]).refused(LOCAL, "it is not there");
}
