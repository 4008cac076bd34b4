//! `config.json`, pins, certificates, logging in, and working from the cache, beside the notary client 0.7.

use crate::client::TRUST;
use crate::notary_pair::{Pair, ours};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use countersign_testkit::{
    Account, FakeServer, Finished, NotaryClient, Passphrases, Reply, TestCa, TokenService, TrustService,
};
use serde_json::{Value, json};
use std::process::Command;

const GUN: &str = "example.test/settings";

fn service() -> TrustService {
    TrustService::start(env!("CARGO_BIN_EXE_countersign"))
}

/// A service with one name signed, and the id of the collection's root key.
fn signed(service: &TrustService) -> (NotaryClient, String) {
    let owner = service.notary_client();
    std::fs::write(owner.folder().join("hello"), "hello\n").unwrap();
    owner.run(&["init", GUN, "-p"]).succeeded();
    owner.run(&["add", GUN, "one", "hello", "-p"]).succeeded();
    owner.run(&["list", GUN]).succeeded();
    let root = std::fs::read(owner.trust_dir().join("tuf").join(GUN).join("metadata/root.json")).unwrap();
    let root: Value = serde_json::from_slice(&root).unwrap();
    let id = root.pointer("/signed/roles/root/keyids/0").and_then(Value::as_str).unwrap().to_owned();
    (owner, id)
}

fn configured(service: &TrustService, configuration: &Value) -> Pair {
    let client = || service.notary_client().with_configuration(&configuration.to_string());
    Pair::of(client(), ours(client()), "settings")
}

#[test]
fn pins_speak_before_a_collection_is_known() {
    let service = service();
    let (_owner, id) = signed(&service);
    let list = |pinning: Value, like: Option<i32>| {
        let mut pair = configured(&service, &json!({ "trust_pinning": pinning }));
        match like {
            None => pair.same(&format!("list {GUN}")),
            Some(code) => pair.same_but(code, &format!("list {GUN}")),
        }
    };
    list(json!({"disable_tofu": true}), Some(TRUST));
    list(json!({"disable_tofu": true, "certs": {GUN: [id]}}), None);
    list(json!({"certs": {GUN: ["00", id]}}), None);
    list(json!({"certs": {"example.test/*": [id]}}), None);
    list(json!({"certs": {"example.test/*": ["aaaa"]}}), Some(TRUST));
    list(json!({"certs": {"example.test/*": ["aaaa"], "example.test/set*": [id]}}), None);
    list(json!({"certs": {GUN: ["aaaa"], "example.test/*": [id]}}), Some(TRUST));
    list(json!({"certs": {"other/*": ["aaaa"]}}), None);
    list(json!({"ca": {"example.test/": "missing.pem"}}), None);
    list(json!({"ca": {"example.test/": "ca.pem"}}), Some(TRUST));
}

/// Issues a root certificate by an authority for everybody's own collection, each with a root key of its own.
const ISSUE: &str = r#"set -e
openssl ecparam -genkey -name prime256v1 -noout -out ca.key
openssl req -x509 -new -key ca.key -days 30 -subj "/CN=Our authority" -out authority.pem
openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -keyout other.key -days 30 \
  -subj "/CN=Another authority" -out another.pem
openssl ecparam -genkey -name prime256v1 -noout -out open.pem
openssl pkcs8 -topk8 -v2 aes-256-cbc -v2prf hmacWithSHA1 -in open.pem -passout "pass:$PASSPHRASE" -out root-key.pem
openssl req -new -key open.pem -subj "/CN=$(echo "$1" | sed 's,/,\\/,g')" -out request.pem
printf 'basicConstraints=CA:FALSE\nkeyUsage=digitalSignature\n' > extensions
openssl x509 -req -in request.pem -CA authority.pem -CAkey ca.key -CAcreateserial \
  -days 20 -extfile extensions -out root.crt
"#;

#[test]
fn a_root_that_an_authority_vouches_for_is_taken_under_its_pin_and_no_other() {
    let service = service();
    let mut pair = Pair::at(&service, "issued");
    for (person, gun) in pair.both().into_iter().zip(["a.example.test/issued", "b.example.test/issued"]) {
        let mut issue = Command::new("sh");
        issue.args(["-c", ISSUE, "issue", gun]).env("PASSPHRASE", Passphrases::golden().root);
        Finished::of(issue.current_dir(person.folder()), b"").succeeded();
    }
    pair.same("init GUN --rootkey root-key.pem --rootcert root.crt -p");
    pair.file("hello", "hello\n");
    pair.same("add GUN one hello -p");
    // Whoever has never been here reads each collection under the authority that vouches for it, or does not.
    for (owner, gun) in pair.both().into_iter().zip(["a.example.test/issued", "b.example.test/issued"]) {
        for (authority, code) in [("authority.pem", None), ("another.pem", Some(TRUST))] {
            let pinning = json!({"trust_pinning": {"disable_tofu": true, "ca": {"": authority}}});
            let mut readers = configured(&service, &pinning);
            readers.file(authority, std::fs::read(owner.folder().join(authority)).unwrap());
            match code {
                None => readers.same(&format!("lookup {gun} one")),
                Some(code) => readers.same_but(code, &format!("lookup {gun} one")),
            }
        }
    }
}

#[test]
fn pins_keep_the_case_of_names() {
    let service = service();
    let owner = service.notary_client();
    owner.run(&["init", "example.test/Capitals", "-p"]).succeeded();
    let reader = |pinning: Value| {
        ours(service.notary_client().with_configuration(&json!({"trust_pinning": pinning}).to_string()))
    };
    let list = ["list", "example.test/Capitals"];
    let wrong = reader(json!({"certs": {"example.test/Capitals": ["00"]}})).run(&list).failed();
    assert_eq!(wrong.code, TRUST, "{wrong}");
    reader(json!({"certs": {"example.test/capitals": ["00"]}})).run(&list).succeeded();
}

#[test]
fn a_known_collection_stays_known_whatever_is_said_of_first_use() {
    let service = service();
    let (owner, _) = signed(&service);
    let strict = json!({"trust_pinning": {"disable_tofu": true}}).to_string();
    let reader = ours(service.notary_client());
    reader.run(&["list", GUN]).succeeded();
    std::fs::write(reader.folder().join("config.json"), strict).unwrap();
    let listed = reader.run(&["list", GUN]).succeeded();
    assert_eq!(listed.stdout, owner.run(&["list", GUN]).succeeded().stdout);
}

#[test]
fn broken_configurations_are_refused_in_the_same_words() {
    let service = service();
    for configuration in
        [json!({"trust_pinning": {"certs": {"a": "b"}}}), json!({"remote_server": {"tls_client_cert": "only.pem"}})]
    {
        configured(&service, &configuration).same("list GUN");
    }
    configured(&service, &json!({"trust_pinning": {"certs": {"a": "b"}}})).same("key list");
    let mut pair = configured(&service, &json!({}));
    for line in [
        "status GUN --configFile none.json",
        "list GUN --tlscacert none.pem",
        "status GUN --tlscacert none.pem",
        "list GUN -s foo",
        "list GUN --tlscert x",
    ] {
        pair.same(line);
    }
    for broken in ["{bad", "[]"] {
        let client = ours(service.notary_client().with_configuration(broken));
        let refused = client.run(&["status", GUN]).failed();
        assert!(
            refused.stdout.starts_with("\n* fatal: error opening config file: While parsing config: "),
            "{refused}"
        );
    }
}

#[test]
fn the_configuration_file_alone_is_enough() {
    let service = service();
    let (_owner, _) = signed(&service);
    let configuration = json!({
        "trust_dir": "elsewhere",
        "remote_server": {"url": service.url(), "root_ca": "ca.pem"},
    });
    for client in configured(&service, &configuration).both() {
        let mut command = client.bare_command();
        command.args(["-c", "config.json", "list", GUN]);
        let listed = Finished::of(&mut command, b"").succeeded();
        assert!(listed.stdout.contains("one "), "{listed}");
        assert!(client.folder().join("elsewhere/tuf").join(GUN).join("metadata/root.json").is_file());
    }
}

#[test]
fn the_flag_for_the_server_wins_over_the_configuration() {
    let service = service();
    let (_owner, _) = signed(&service);
    let mut pair = configured(&service, &json!({"remote_server": {"url": "https://127.0.0.1:1"}}));
    pair.same(&format!("list {GUN}"));
    let [_, ours] = pair.both();
    let listed = ours.run(&["list", GUN]).succeeded();
    assert!(listed.stdout.contains("one "), "{listed}");
    let mut command = ours.bare_command();
    command.args(["-c", "config.json", "list", GUN]);
    let refused = Finished::of(&mut command, b"").failed();
    assert!(refused.stderr.contains("https://127.0.0.1:1 cannot be reached"), "{refused}");
    // With neither there is the reference's default.
    let mut command = ours.bare_command();
    let refused = Finished::of(command.args(["list", GUN]), b"").failed();
    assert!(refused.stderr.contains("https://notary-server:4443"), "{refused}");
}

#[test]
fn flags_choose_how_much_is_logged() {
    let service = service();
    let (_owner, _) = signed(&service);
    let reader = ours(service.notary_client());
    let logged = |flags: &[&str]| {
        let listed = reader.run(&[flags, &["list", GUN]].concat()).succeeded();
        assert!(listed.stdout.contains("one "), "{listed}");
        listed.stderr.lines().count()
    };
    reader.run(&["list", GUN]).succeeded();
    let (quiet, verbose, debug) = (logged(&[]), logged(&["-v"]), logged(&["-D"]));
    assert!(quiet <= verbose && verbose <= debug && quiet < debug, "{quiet} {verbose} {debug}");
}

#[test]
fn without_the_service_the_cache_speaks_for_readers_and_nobody_writes() {
    let service = service();
    let (owner, _) = signed(&service);
    let away = |client: NotaryClient| client.with_server("https://127.0.0.1:1");
    let reader = || {
        let client = away(service.notary_client());
        std::fs::remove_dir(client.trust_dir()).unwrap();
        let mut copy = Command::new("cp");
        copy.arg("-a").arg(owner.trust_dir()).arg(client.folder());
        Finished::of(&mut copy, b"").succeeded();
        client
    };
    let mut pair = Pair::of(reader(), ours(reader()), "away");
    pair.file("hello", "hello\n");
    for line in [
        "list EX",
        "lookup EX one",
        "verify EX one -i hello",
        "delegation list EX",
        "status EX",
        "publish EX",
        "add EX two hello -p",
        "key rotate EX snapshot -r",
        "key rotate EX targets",
        "delete GUN --remote",
        "list other/y",
        "verify other/y one -i hello",
        "init GUN",
    ] {
        pair.same(&line.replace("EX", GUN));
    }
}

#[test]
fn strangers_at_the_service_s_address_are_no_service() {
    let (ca, other) = (TestCa::new(), TestCa::new());
    let server = FakeServer::tls(other.loopback_server().server_config());
    let client = || NotaryClient::new(&server.url(), &ca.pem());
    let mut pair = Pair::of(client(), ours(client()), "strangers");
    pair.same("list GUN");
    pair.same("publish GUN");
    let plain = ours(NotaryClient::new("http://127.0.0.1:1", &ca.pem())).run(&["list", GUN]).failed();
    assert!(plain.stdout.contains("Trust server url has to be in the form of"), "{plain}");
}

/// Tells whether a bearer token lets its owner read a collection.
fn admits(token: &str, gun: &str) -> bool {
    let claims = token.split('.').nth(1).and_then(|part| URL_SAFE_NO_PAD.decode(part).ok()).unwrap_or_default();
    let claims: Value = serde_json::from_slice(&claims).unwrap_or_default();
    let mut access = claims.get("access").and_then(Value::as_array).into_iter().flatten();
    access.any(|entry| entry["name"] == gun && entry["actions"].to_string().contains("pull"))
}

#[test]
fn whoever_has_to_say_who_they_are_takes_it_from_the_variable() {
    let ca = TestCa::new();
    let tokens = TokenService::start_tls(&ca);
    let server = FakeServer::tls(ca.loopback_server().server_config());
    let challenge = tokens.challenge("repository:x:pull");
    server.handle(move |request| {
        let token = request.header("authorization").and_then(|value| value.strip_prefix("Bearer ")).unwrap_or_default();
        let gun = request.path.trim_start_matches("/v2/").split("/_trust").next().unwrap_or_default();
        let admitted = admits(token, gun);
        Some(if admitted { Reply::status(404) } else { Reply::status(401).header("WWW-Authenticate", &challenge) })
    });
    let client = || NotaryClient::new(&server.url(), &ca.pem());
    let bob = |client: NotaryClient| client.with_account(Account::BOB);
    let mut pair = Pair::of(bob(client()), ours(bob(client())), "account");
    pair.same_but(TRUST, "list GUN");
    let mut pair = Pair::of(client(), ours(client()), "stranger");
    pair.same("list GUN");
    let malformed = |client: NotaryClient| client.with_variable("NOTARY_AUTH", Some("no base64"));
    malformed(ours(client())).run(&["list", GUN]).failed();
    let pair = Account::BOB;
    let typed = format!("{}\n{}\n", pair.name, pair.password);
    let asked = ours(client()).run_with_input(&["list", GUN], &typed).failed();
    assert!(asked.stdout.contains("Enter username: Enter password: "), "{asked}");
    assert!(asked.stdout.contains("does not have trust data for"), "{asked}");
}
