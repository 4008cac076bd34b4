//! A trust service with people and machines of its own: passwords, certificates, and what each may do.

use crate::client::{Client, Ending, LOCAL, NETWORK};
use crate::registries::write_login;
use crate::stage::{Stage, pushed_digest};
use base64::Engine;
use countersign_testkit::{
    Account, Deployment, DockerClient, DockerRegistry, Dockerd, TestCa, TestCertificate, TrustService,
};
use serde_json::json;
use std::path::Path;
use tempfile::TempDir;

/// Starts a service with this `[access]`, beside files of people and of authorities.
fn service(folder: &TempDir, ca: &TestCa, access: &str, deployment: Deployment) -> TrustService {
    let write = |name: &str, text: &str| std::fs::write(folder.path().join(name), text).unwrap();
    let pair = ca.loopback_server();
    write("ca.pem", &ca.pem());
    write("tls.pem", &pair.certificate_pem);
    write("tls.key", &pair.key_pem);
    write("htpasswd", &(Account::ALICE.htpasswd() + &Account::BOB.htpasswd()));
    write("serve.toml", &format!("[tls]\ncertificate = \"tls.pem\"\nkey = \"tls.key\"\n{access}"));
    let builder = TrustService::builder(env!("CARGO_BIN_EXE_countersign")).arg("--config");
    let builder = builder.arg(folder.path().join("serve.toml").to_str().unwrap());
    builder.authority(folder.path().join("ca.pem")).deployed(deployment).start()
}

fn rule(user: &str, right: &str, collection: &str) -> String {
    format!("[[access.allow]]\nusers = [\"{user}\"]\ncollections = [\"{collection}\"]\nright = \"{right}\"\n")
}

/// A stage with alice, who may publish below `acme`, and bob, who may publish below `bob`.
fn peopled(access: &str) -> (Stage, TempDir) {
    let (folder, registry) = (tempfile::tempdir().unwrap(), DockerRegistry::start());
    let rules = ["alice", "bob"].map(|name| {
        let place = if name == "alice" { "acme" } else { "bob" };
        rule(name, "publish", &format!("{}/{place}", registry.host()))
    });
    let text = format!("[access]\npasswords = \"htpasswd\"\n{access}{}", rules.concat());
    let service = service(&folder, &TestCa::new(), &text, Deployment::Embedded);
    (Stage { engine: Dockerd::start(), registry, service }, folder)
}

fn login(client: DockerClient, registry: &str, pair: &str) -> DockerClient {
    let auth = base64::engine::general_purpose::STANDARD.encode(pair);
    client.write_configuration(&json!({"auths": {registry: {"auth": auth}}}));
    client
}

#[test]
fn docker_28_pulls_without_an_account_and_pushes_with_one_only_where_it_may() {
    let (stage, _folder) = peopled("anonymous-read = true\n");
    let host = stage.registry.host();
    let name = format!("{}:v1", stage.repository("acme/app"));
    stage.engine.build(&name, "one");
    let alice = stage.docker28().with_login(&host, Account::ALICE);
    let digest = pushed_digest(&alice.run(&["push", &name]).succeeded());
    let nobody = stage.docker28();
    let pulled = nobody.run(&["pull", &name]).succeeded();
    assert!(pulled.stdout.contains(&digest), "{pulled}");
    nobody.run(&["trust", "inspect", &name]).succeeded();

    let refused = nobody.run(&["push", &name]).failed();
    assert!(refused.stderr.contains("unauthorized: publishing needs a name and a password: log in first"), "{refused}");
    let wrong = login(stage.docker28(), &host, "alice:wonder");
    let refused = wrong.run(&["push", &name]).failed();
    assert!(refused.stderr.contains("unauthorized: incorrect username or password"), "{refused}");
    let bob = stage.docker28().with_login(&host, Account::BOB);
    let refused = bob.run(&["push", &name]).failed();
    assert!(refused.stderr.contains("denied: this account may not publish here"), "{refused}");
    bob.run(&["pull", &name]).succeeded();
    let beside = format!("{}:v1", stage.repository("acme2/app"));
    stage.engine.build(&beside, "two");
    let refused = alice.run(&["push", &beside]).failed();
    assert!(refused.stderr.contains("denied"), "{refused}");

    // What was signed goes on being signed by its owner.
    stage.engine.build(&name, "three");
    let digest = pushed_digest(&alice.run(&["push", &name]).succeeded());
    let pulled = nobody.run(&["pull", &name]).succeeded();
    assert!(pulled.stdout.contains(&digest), "{pulled}");
}

#[test]
fn docker_28_reads_with_an_account_only_where_nobody_may_read_without() {
    let (stage, _folder) = peopled("");
    let host = stage.registry.host();
    let name = format!("{}:v1", stage.repository("acme/app"));
    stage.engine.build(&name, "one");
    let alice = stage.docker28().with_login(&host, Account::ALICE);
    let digest = pushed_digest(&alice.run(&["push", &name]).succeeded());
    let pulled = alice.run(&["pull", &name]).succeeded();
    assert!(pulled.stdout.contains(&digest), "{pulled}");
    for person in [stage.docker28(), stage.docker28().with_login(&host, Account::BOB)] {
        let refused = person.run(&["pull", &name]).failed();
        let told = "you are not authorized to perform this operation: server returned 401";
        assert!(refused.stderr.contains(told), "{refused}");
    }
}

#[test]
fn notary_and_our_client_do_with_passwords_what_their_people_may_over_two_replicas() {
    let gun = "people.test/acme/app";
    let (folder, registry) = (tempfile::tempdir().unwrap(), DockerRegistry::start());
    let text = format!(
        "[access]\npasswords = \"htpasswd\"\n{}{}{}{}",
        rule("alice", "manage", "people.test/acme"),
        rule("bob", "read", "people.test/acme"),
        rule("alice", "publish", &registry.host()),
        rule("bob", "read", &registry.host()),
    );
    let service = service(&folder, &TestCa::new(), &text, Deployment::Replicas);
    let stage = Stage { engine: Dockerd::start(), registry, service };
    let alice = stage.notary().with_account(Account::ALICE);
    alice.run(&["init", "--publish", gun]).succeeded();
    let digest = "ab".repeat(32);
    alice.run(&["addhash", "--publish", gun, "v1", "7", "--sha256", &digest]).succeeded();
    alice.run(&["key", "rotate", gun, "snapshot", "-r"]).succeeded();
    let bob = stage.notary().with_account(Account::BOB);
    for _ in 0..4 {
        let listed = bob.run(&["list", gun]).succeeded();
        assert!(listed.stdout.contains(&digest), "{listed}");
    }
    bob.run(&["delete", "--remote", gun]).failed();
    stage.notary().run(&["list", gun]).failed();
    let strange = stage.notary().with_account(Account::ALICE).run(&["init", "--publish", "people.test/other"]).failed();
    assert!(strange.stderr.contains("denied") || strange.stdout.contains("denied"), "{strange}");
    alice.run(&["delete", "--remote", gun]).succeeded();

    let name = format!("{}:v1", stage.repository("acme/app"));
    stage.engine.build(&name, "one");
    let of = |account: Account| {
        let client = stage.countersign();
        write_login(&client, &stage.registry.host(), &format!("{}:{}", account.name, account.password));
        client
    };
    let (alice, bob, nobody) = (of(Account::ALICE), of(Account::BOB), stage.countersign());
    alice.run(&["push", &name]).succeeded();
    for client in [&nobody, &bob] {
        let refused = client.run(&["push", &name]);
        assert_eq!(refused.code, NETWORK, "{refused}");
    }
    bob.run(&["verify", &name]).succeeded();
    let refused = nobody.run(&["verify", &name]);
    assert_eq!(refused.code, NETWORK, "{refused}");
}

/// Puts a certificate where docker and our client look for what they show to a service.
fn show(config: &Path, service: &TrustService, certificate: &TestCertificate) {
    let folder = config.join("tls").join(service.url().trim_start_matches("https://"));
    std::fs::create_dir_all(&folder).unwrap();
    std::fs::write(folder.join("client.cert"), &certificate.certificate_pem).unwrap();
    std::fs::write(folder.join("client.key"), &certificate.key_pem).unwrap();
}

#[test]
fn docker_28_notary_and_our_client_show_certificates_and_nobody_connects_without() {
    let (folder, clients, registry) = (tempfile::tempdir().unwrap(), TestCa::new(), DockerRegistry::start());
    std::fs::write(folder.path().join("clients.pem"), clients.pem()).unwrap();
    let text = format!(
        "[access.certificates]\nauthority = \"clients.pem\"\n{}{}{}",
        rule("builder", "publish", &registry.host()),
        rule("builder", "publish", "people.test/acme"),
        rule("*", "read", "people.test"),
    );
    let service = service(&folder, &TestCa::new(), &text, Deployment::Embedded);
    let stage = Stage { engine: Dockerd::start(), registry, service };
    let (builder, reader) = (clients.client("builder"), clients.client("reader"));

    let notary = |certificate: &TestCertificate| {
        let client = stage.notary();
        std::fs::write(client.folder().join("client.pem"), &certificate.certificate_pem).unwrap();
        std::fs::write(client.folder().join("client.key"), &certificate.key_pem).unwrap();
        let configuration = json!({"remote_server": {"tls_client_cert": "client.pem", "tls_client_key": "client.key"}});
        client.with_configuration(&configuration.to_string())
    };
    let (gun, digest) = ("people.test/acme/app", "ab".repeat(32));
    notary(&builder).run(&["init", "--publish", "people.test/other"]).failed();
    let owner = notary(&builder);
    owner.run(&["init", "--publish", gun]).succeeded();
    owner.run(&["addhash", "--publish", gun, "v1", "7", "--sha256", &digest]).succeeded();
    let listed = notary(&reader).run(&["list", gun]).succeeded();
    assert!(listed.stdout.contains(&digest), "{listed}");
    notary(&reader).run(&["init", "--publish", "people.test/acme/more"]).failed();
    stage.notary().run(&["list", gun]).failed();
    notary(&TestCa::new().client("builder")).run(&["list", gun]).failed();

    let name = format!("{}:v1", stage.repository("acme/app"));
    stage.engine.build(&name, "one");
    let ours = |certificate: &TestCertificate| {
        let client = stage.countersign();
        show(client.config_dir(), &stage.service, certificate);
        client
    };
    ours(&builder).run(&["push", &name]).succeeded();
    ours(&builder).run(&["verify", &name]).succeeded();
    for client in [ours(&reader), stage.countersign()] {
        let refused = client.run(&["verify", &name]);
        assert_eq!(refused.code, NETWORK, "{refused}");
    }
    let docker = stage.docker28();
    stage.docker28().run(&["pull", &name]).failed();
    show(&docker.config_dir(), &stage.service, &builder);
    docker.run(&["pull", &name]).succeeded();
    let other = format!("{}:v1", stage.repository("acme/more"));
    stage.engine.build(&other, "two");
    docker.run(&["push", &other]).succeeded();
}

#[test]
fn settings_of_access_are_checked_and_explained() {
    let person = Client::new();
    let put = |name: &str, text: &str| std::fs::write(person.folder().join(name), text).unwrap();
    let ca = TestCa::new();
    put("clients.pem", &ca.pem());
    put("htpasswd", &Account::ALICE.htpasswd());
    put("rules.toml", &rule("alice", "publish", "a/").replace("access.allow", "allow"));
    let text = "[access]\npasswords = \"htpasswd\"\nanonymous-read = true\nrules = \"rules.toml\"\n\
                [access.certificates]\nauthority = \"clients.pem\"\nrequired = false\n\
                [limits]\nrequests-per-address = 50\nrequests-per-user = 20\nupload-size-per-hour = \"1GiB\"\n\
                [keyserver]\naddress = \"keys.test:7899\"\nca = \"ca.pem\"\ncertificate = \"me.pem\"\nkey = \"me.key\"\n";
    put("serve.toml", text);
    let file = person.folder().join("serve.toml");
    let file = file.to_str().unwrap();
    let check = || person.run(&["serve", "config", "check", "--config", file]);
    check().succeeded();
    let explained = person.run(&["serve", "config", "explain", "--config", file]).succeeded();
    for part in [
        "htpasswd; everybody may read  (line 1)",
        "rules.toml  (line 1)",
        "optional, signed by",
        "limits.requests-per-address",
        "limits.requests-per-user",
        "1GiB  (line 11)",
        "keys.test:7899  (line 13)",
    ] {
        assert!(explained.stdout.contains(part), "{part}: {explained}");
    }
    for (name, wrong, part) in [
        ("htpasswd", "alice:$apr1$x$yyyyyyyyyyyyyyyyyyyyyy\n", "htpasswd -B"),
        ("rules.toml", "[[allow]]\nusers = [\"anonymous\"]\nright = \"publish\"\n", "without a name"),
        ("clients.pem", "", "clients.pem"),
    ] {
        let good = std::fs::read_to_string(person.folder().join(name)).unwrap();
        put(name, wrong);
        check().refused(LOCAL, part);
        person.run(&["serve", "--config", file, "--listen", "127.0.0.1:0"]).refused(LOCAL, part);
        put(name, &good);
    }
    check().succeeded();
}
