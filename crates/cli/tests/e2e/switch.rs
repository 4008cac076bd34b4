//! Whether content trust is on: the flag, the variable, and what is said about it.

use crate::client::{Ending, NETWORK, TRUST, USER};
use crate::stage::{Shop, Stage};

#[test]
fn only_dockers_words_for_no_switch_trust_off_and_it_is_said() {
    let stage = Stage::set();
    let reader = stage.countersign();
    let name = format!("{}:v1", stage.repository("acme/app"));
    stage.engine.build(&name, "one");
    reader.run(&["push", "--disable-content-trust", &name]).succeeded();
    for off in ["0", "f", "F", "false", "FALSE", "False"] {
        let pulled = stage.countersign().env("DOCKER_CONTENT_TRUST", off).run(&["pull", &name]).succeeded();
        let warning = "warning: content trust is off (DOCKER_CONTENT_TRUST): nothing is signed or verified";
        assert!(pulled.stderr.contains(warning), "{off}: {pulled}");
    }
    for on in ["", "1", "true", "no", "off", "2", " 0", "0 ", "tRuE", "fALSE"] {
        let refused = stage.countersign().env("DOCKER_CONTENT_TRUST", on).run(&["pull", &name]);
        refused.refused(TRUST, "does not have trust data for");
    }
    // The flag wins over the variable, both ways.
    let off = stage.countersign().env("DOCKER_CONTENT_TRUST", "0");
    off.run(&["pull", "--disable-content-trust=false", &name]).refused(TRUST, "does not have trust data for");
    let on = stage.countersign().env("DOCKER_CONTENT_TRUST", "1");
    on.run(&["pull", "--disable-content-trust", &name]).succeeded();
    on.run(&["pull", "--disable-content-trust=perhaps", &name]).refused(USER, "use true or false");
}

#[test]
fn verifying_and_signing_have_no_switch() {
    let shop = Shop::open();
    let reader = shop.client().env("DOCKER_CONTENT_TRUST", "0");
    shop.put("v1", "one");
    reader.run(&["verify", &shop.name("v1")]).refused(TRUST, "does not have trust data for");
    reader.run(&["verify", "--disable-content-trust", &shop.name("v1")]).refused(USER, "unexpected argument");
}

#[test]
fn without_a_named_service_the_registrys_own_host_is_asked_and_nobody_else() {
    let shop = Shop::open();
    shop.put("v1", "one");
    let reader = shop.client().without("DOCKER_CONTENT_TRUST_SERVER");
    reader.run(&["verify", &shop.name("v1")]).refused(NETWORK, &shop.registry.host());
    for bad in ["http://127.0.0.1:1", "127.0.0.1:1", "https://", "https://u:p@127.0.0.1:1", "https:///x"] {
        let reader = shop.client().env("DOCKER_CONTENT_TRUST_SERVER", bad);
        reader.run(&["verify", &shop.name("v1")]).refused(USER, "valid https URL required for trust server, got");
    }
}

#[test]
fn a_reader_that_goes_away_is_no_mishap_to_talk_about() {
    for words in [&["completion", "bash"][..], &["notary", "--help"], &["docker-trust", "trust", "--help"]] {
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_countersign"));
        let output = command.args(words).stdout(writer).stderr(std::process::Stdio::piped()).output().unwrap();
        assert!(!output.status.success(), "{words:?}");
        assert_eq!(String::from_utf8_lossy(&output.stderr), "", "{words:?}");
    }
}
