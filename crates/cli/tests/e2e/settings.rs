//! The settings file: several trust services at once, pins and policies, and what is not understood.

use crate::client::{Client, Ending, LOCAL, NETWORK, TRUST, USER};
use crate::stage::{Shop, first_line_with};
use countersign_testkit::{FakeServer, Finished, Reply, TestCa};
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::time::Duration;

/// Writes the person's settings file, which only they can change.
fn settle(client: &Client, text: &str) -> PathBuf {
    let folder = client.folder().join(".config/countersign");
    std::fs::create_dir_all(&folder).unwrap();
    std::fs::set_permissions(&folder, std::fs::Permissions::from_mode(0o700)).unwrap();
    let file = folder.join("config.toml");
    std::fs::write(&file, text).unwrap();
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o600)).unwrap();
    file
}

/// Somebody who knows both shops' services only from the settings file, their authorities too.
fn customer(one: &Shop, other: &Shop) -> Client {
    let client = Client::new();
    let rules = [("one", one), ("other", other)].map(|(name, shop)| {
        let ca = client.folder().join(format!("{name}.pem"));
        std::fs::write(&ca, shop.service.authority_pem()).unwrap();
        let (host, service, ca) = (shop.registry.host(), shop.service.url(), ca.display().to_string());
        format!("[images.\"{host}\"]\nservice = \"{service}\"\nservice-ca = \"{ca}\"\n")
    });
    settle(&client, &rules.concat());
    client
}

/// Runs a command at a terminal where somebody types this.
fn at_terminal(client: &Client, arguments: &[&str], typed: &str) -> Finished {
    let line = std::iter::once(env!("CARGO_BIN_EXE_countersign")).chain(arguments.iter().copied());
    let line = line.map(|word| format!("'{word}'")).collect::<Vec<_>>().join(" ");
    let mut command = std::process::Command::new("script");
    command.args(["--quiet", "--return", "--command", &line, "/dev/null"]);
    client.set(&mut command);
    Finished::of(&mut command, typed.as_bytes())
}

#[test]
fn two_registries_have_their_own_trust_services_at_once() {
    let (one, other) = (Shop::open(), Shop::open());
    let client = customer(&one, &other);
    let first = one.signed_by(&client, "v1", "one");
    let second = other.signed_by(&client, "v1", "other");
    assert_ne!(first, second);
    for (shop, digest) in [(&one, &first), (&other, &second)] {
        let verified = client.run(&["verify", &shop.name("v1")]).succeeded();
        assert_eq!(verified.stdout, format!("{}@{digest}\n", shop.gun()));
        shop.client().run(&["verify", &shop.name("v1")]).succeeded();
    }
    // Each service has its own registry's collection and no other.
    let crossed = Client::new().of(&one.service);
    crossed.run(&["verify", &other.name("v1")]).refused(TRUST, "does not have trust data");
    // The variable still wins, and the option over it.
    let stranger = customer(&one, &other).env("DOCKER_CONTENT_TRUST_SERVER", "https://localhost:1");
    stranger.run(&["verify", &one.name("v1")]).refused(NETWORK, "https://localhost:1 cannot be reached");
    let refused = stranger.run(&["verify", "--server", "https://localhost:2", &one.name("v1")]);
    refused.refused(NETWORK, "https://localhost:2 cannot be reached");
}

#[test]
fn what_the_settings_file_says_wrongly_stops_everything_and_is_named() {
    let shop = Shop::open();
    let client = shop.client();
    shop.signed_by(&client, "v1", "one");
    let verify = || client.run(&["verify", &shop.name("v1")]);
    for (text, part) in [
        ("frist-use = \"deny\"\n", "config.toml line 1 (frist-use): unknown field"),
        ("\nfirst-use = \"never\"\n", "config.toml line 2 (first-use): unknown variant"),
        ("service = \"http://x\"\n", "config.toml line 1 (service): valid https URL required"),
        ("[images.acme]\n", "begin with the registry"),
        ("x", "config.toml line 1"),
    ] {
        settle(&client, text);
        let refused = verify().refused(LOCAL, part);
        assert!(refused.stderr.contains("understood whole or not at all"), "{refused}");
        assert_eq!(refused.stdout, "");
    }
    let file = settle(&client, "");
    verify().succeeded();
    for mode in [0o666, 0o620] {
        std::fs::set_permissions(&file, std::fs::Permissions::from_mode(mode)).unwrap();
        verify().refused(LOCAL, "chmod go-w");
    }
    std::fs::remove_file(&file).unwrap();
    verify().succeeded();
    let named = Client::new().sharing(client.config_dir()).env("COUNTERSIGN_CONFIG", "/nowhere/config.toml");
    named.run(&["verify", &shop.name("v1")]).refused(LOCAL, "COUNTERSIGN_CONFIG names it");
}

#[test]
fn first_use_is_denied_asked_or_allowed_as_the_settings_say() {
    let shop = Shop::open();
    let owner = shop.client();
    let digest = shop.signed_by(&owner, "v1", "one");
    let stranger = || shop.client();
    let kept = |client: &Client| client.metadata(&shop.gun()).join("root.json").exists();

    let denied = stranger();
    settle(
        &denied,
        &format!("first-use = \"allow\"\n[images.\"{}/acme\"]\nfirst-use = \"deny\"\n", shop.registry.host()),
    );
    denied.run(&["verify", &shop.name("v1")]).refused(TRUST, "trust on first use is not allowed");
    assert!(!kept(&denied));

    let asked = stranger();
    settle(&asked, "first-use = \"ask\"\n");
    asked.run(&["verify", &shop.name("v1")]).refused(TRUST, "trust on first use is not allowed");
    assert!(!kept(&asked), "without a terminal nobody can be asked");
    let said_no = at_terminal(&asked, &["verify", &shop.name("v1")], "n\n");
    assert_eq!(said_no.code, TRUST, "{said_no}");
    assert!(said_no.stdout.contains("was never seen on this machine. Its root key is"), "{said_no}");
    assert!(!kept(&asked), "nothing is kept before somebody agrees");
    let said_yes = at_terminal(&asked, &["verify", &shop.name("v1")], "y\n");
    assert!(said_yes.code == 0 && said_yes.stdout.contains(&digest), "{said_yes}");
    assert!(kept(&asked));
    asked.run(&["verify", &shop.name("v1")]).succeeded();

    let id = first_line_with(&said_yes.stdout, "its root key ").split(' ').next().unwrap();
    let pinned = stranger();
    settle(&pinned, &format!("first-use = \"deny\"\n[images.\"{}\"]\nroot-keys = [\"{}\"]\n", shop.gun(), id));
    pinned.run(&["verify", &shop.name("v1")]).succeeded();
    let wrong = stranger();
    settle(&wrong, &format!("[images.\"{}\"]\nroot-keys = [\"{}\"]\n", shop.gun(), "0".repeat(64)));
    wrong.run(&["verify", &shop.name("v1")]).refused(TRUST, "unable to match any certificates to trust_pinning");
    wrong.run(&["verify", "--pin", "zz", &shop.name("v1")]).refused(USER, "--pin");
}

#[test]
fn people_at_a_terminal_see_that_a_slow_service_is_waited_for() {
    let ca = TestCa::new();
    let server = FakeServer::tls(ca.loopback_server().server_config());
    server.otherwise(Reply::status(404).after(Duration::from_millis(1500)));
    let client = Client::new().of_fake(&server, &ca).env("TERM", "xterm");
    let said = at_terminal(&client, &["verify", "127.0.0.1:1/acme/app"], "");
    assert!(said.code == TRUST && said.stdout.contains("looking for signatures"), "{said}");
    let said = client.run(&["verify", "127.0.0.1:1/acme/app"]).refused(TRUST, "does not have trust data");
    assert!(!said.stderr.contains("looking for signatures"), "{said}");
}

#[test]
fn the_audit_log_may_be_set_once_and_for_all() {
    let shop = Shop::open();
    let owner = shop.client();
    settle(&owner, "audit-log = \"audit.jsonl\"\n");
    shop.signed_by(&owner, "v1", "one");
    let log = std::fs::read_to_string(owner.folder().join(".config/countersign/audit.jsonl")).unwrap();
    assert!(log.lines().count() == 1 && log.contains("\"sign\""), "{log}");
}
