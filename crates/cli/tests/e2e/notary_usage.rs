//! Help, usage and wrong arguments: every one printed as the notary client 0.7 prints it.

use crate::notary_pair::{Pair, ours};
use countersign_testkit::{NotaryClient, TestCa};

/// Nobody listens there: none of these lines gets that far.
fn nowhere() -> Pair {
    let client = || NotaryClient::new("https://127.0.0.1:1", &TestCa::new().pem());
    Pair::of(client(), ours(client()), "usage")
}

const COMMANDS: [&str; 32] = [
    "add",
    "addhash",
    "completion",
    "completion bash",
    "delegation",
    "delegation add",
    "delegation list",
    "delegation purge",
    "delegation remove",
    "delete",
    "help",
    "init",
    "key",
    "key export",
    "key generate",
    "key import",
    "key list",
    "key passwd",
    "key remove",
    "key rotate",
    "list",
    "lookup",
    "publish",
    "remove",
    "reset",
    "status",
    "verify",
    "version",
    "witness",
    "completion fish",
    "completion powershell",
    "completion zsh",
];

#[test]
fn the_help_of_every_command_is_the_reference_s() {
    let mut pair = nowhere();
    for command in COMMANDS.iter().filter(|command| !command.starts_with("completion ")) {
        pair.same(&format!("{command} --help"));
        pair.same(&format!("help {command}"));
    }
    for line in ["-h", "--help bogus", "help", "help key bogus", "init -ph", "key -h", "delegation add GUN -h"] {
        pair.same(line);
    }
}

#[test]
fn commands_without_their_arguments_show_how_they_are_used() {
    let mut pair = nowhere();
    for command in COMMANDS.iter().filter(|command| {
        !matches!(**command, "version" | "key list" | "key generate" | "key export")
            && !command.starts_with("completion ")
    }) {
        pair.same(command);
    }
    for line in [
        "-D",
        "-v",
        "-s x",
        "add GUN",
        "add GUN t",
        "addhash GUN t",
        "addhash GUN t 1",
        "addhash GUN t -- -1",
        "delegation add GUN",
        "delegation add GUN targets/x",
        "delegation list GUN h",
        "delegation remove GUN",
        "delegation purge GUN",
        "delegation purge GUN h",
        "key list x",
        "key generate a b",
        "key rotate GUN",
        "key export x",
        "lookup GUN",
        "remove GUN",
        "reset GUN",
        "verify GUN",
        "witness GUN",
        "init --publish",
    ] {
        pair.same(line);
    }
}

#[test]
fn wrong_words_and_flags_are_refused_in_the_same_words() {
    let mut pair = nowhere();
    for line in [
        "bogus",
        "lst",
        "bogus --help",
        "key bogus",
        "delegation bogus x",
        "completion bogus",
        "completion bash x",
        "--bogus",
        "-h --bogus",
        "key --bogus",
        "key list -h -x",
        "init --bogus",
        "init --h",
        "init -x",
        "init -c",
        "init -p=maybe",
        "init --rootkey",
        "add -p=x",
        "list -r",
        "list --roles",
        "reset -n",
        "reset GUN -n a",
        "verify -q=x",
        "key rotate --legacy",
        "key rotate GUN snapshot -l x",
        "key generate rsa",
        "key remove a b",
        "key remove abc",
        "key passwd a b",
        "key passwd abc",
        "key export --gun a --key b",
    ] {
        pair.same(line);
    }
}

#[test]
fn the_version_is_told_in_the_same_places() {
    let pair = nowhere();
    for line in ["version", "--version", "version x"] {
        let [reference, ours] = pair.run(line, "");
        let labels = |text: &str| -> Vec<String> {
            let words = text.split([',', '\n']).map(|part| part.split(':').next().unwrap_or_default().to_owned());
            words.collect()
        };
        assert_eq!(labels(&reference.succeeded().stdout), labels(&ours.clone().succeeded().stdout), "{ours}");
        assert!(ours.stdout.contains("0.7.0+countersign"), "{ours}");
    }
}

#[test]
fn shells_are_answered() {
    let client = ours(NotaryClient::new("https://127.0.0.1:1", &TestCa::new().pem()));
    let ask = |words: &[&str]| {
        let mut command = client.bare_command();
        countersign_testkit::Finished::of(command.args(words), b"").succeeded().stdout
    };
    assert_eq!(ask(&["__complete", "k"]), "key\tOperates on keys.\n:4\n");
    assert_eq!(ask(&["__completeNoDesc", "delegation", ""]), "add\nlist\npurge\nremove\n:4\n");
    for shell in ["bash", "fish", "powershell", "zsh"] {
        assert!(ask(&["completion", shell]).contains("__complete"), "{shell}");
    }
}
