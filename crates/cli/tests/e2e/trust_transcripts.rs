//! The recorded sections about `docker trust`: played by the plugin, and by docker 28 to judge the stage.

use crate::client::Client;
use crate::stage::Shop;
use crate::transcript::{Part, Personality, Transcript};
use countersign_testkit::{NotaryClient, Port, fixtures};

mod docker_28 {
    use super::*;

    #[test]
    fn inspect() {
        let why = "docker's order of two digests for one tag is random";
        inspecting(Personality::Docker28).finish_except(&[
            ("targets and targets/releases disagree on v1 (pretty)", why),
            ("the same, JSON; row order is random", why),
        ]);
    }
}

/// An address at which nobody listens.
fn nobody() -> String {
    Port::take().address().to_string()
}

fn input(name: &str) -> String {
    fixtures::path(&format!("delegations/inputs/{name}")).to_str().unwrap().to_owned()
}

/// Makes a collection with the notary client, and alice a signer and releaser in it.
fn delegated_to_alice(owner: &NotaryClient, gun: &str) {
    for role in ["targets/alice", "targets/releases"] {
        owner.run(&["delegation", "add", "-p", gun, role, &input("rel1.crt"), "--all-paths"]).succeeded();
    }
}

fn signed(owner: &NotaryClient, gun: &str, tag: &str, digest: char, roles: &[&str]) {
    let digest = digest.to_string().repeat(64);
    let mut arguments = vec!["addhash", "-p", gun, tag, "524", "--sha256", &digest];
    for role in roles {
        arguments.extend(["--roles", *role]);
    }
    owner.run(&arguments).succeeded();
}

fn inspecting(personality: Personality) -> Transcript {
    let shop = Shop::open();
    let (owner, reader) = (shop.service.notary_client(), shop.client());
    let mut transcript = Transcript::of("inspect", Part::Trust, personality);
    transcript.call("reg.test:5000", &shop.registry.host());
    owner.run(&["key", "import", &input("rel1.key"), "--role", "alice"]).succeeded();
    let app = shop.gun();
    owner.run(&["init", "-p", &app]).succeeded();
    signed(&owner, &app, "v1", '1', &[]);
    signed(&owner, &app, "v2", '2', &[]);
    for comment in [
        "inspect",
        "inspect pretty",
        "inspect unsigned tag v3",
        "inspect pretty unsigned tag v3",
        "inspect multiple, second failing",
        "inspect --pretty multiple fail",
        "inspect multiple fail first",
        "inspect invalid ref",
        "inspect no args",
    ] {
        transcript.play(comment, &reader);
    }
    delegated_to_alice(&owner, &app);
    let both = ["targets/releases", "targets/alice"];
    signed(&owner, &app, "v1", '3', &both);
    transcript.play("targets and targets/releases disagree on v1 (pretty)", &reader);
    transcript.play("the same, JSON; row order is random", &reader);

    let new = format!("{}/acme/newrepo", shop.registry.host());
    owner.run(&["init", "-p", &new]).succeeded();
    delegated_to_alice(&owner, &new);
    transcript.play("inspect repo with signer, no tags", &reader);
    transcript.play("inspect pretty repo with signer, no tags", &reader);

    let long = format!("{}/acme/rv", shop.registry.host());
    owner.run(&["init", "-p", &long]).succeeded();
    delegated_to_alice(&owner, &long);
    signed(&owner, &long, "v1", '1', &both);
    signed(&owner, &long, "averyveryverylongtagname-1.2.3", '1', &both);
    transcript.play("long tag", &reader);
    let away = Client::new().at(&format!("https://{}", nobody()), &shop.service.authority_pem());
    transcript.play("server down, cold cache", &away);
    transcript
}
