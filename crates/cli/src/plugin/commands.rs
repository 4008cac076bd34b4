//! The commands of `docker trust` and their flags.

use crate::cobra::{Command, Flag};

/// The flags that docker takes before a command.
pub(super) static GLOBAL: [Flag; 11] = [
    Flag::value("config", "string", "Location of client config files"),
    Flag::value("context", "string", "Name of the context to use to connect to the daemon").short('c'),
    Flag::switch("debug", "Enable debug mode").short('D'),
    Flag::each("host", "list", "Daemon socket to connect to").short('H'),
    Flag::value("log-level", "string", "Set the logging level").short('l'),
    Flag::switch("tls", "Use TLS; implied by --tlsverify"),
    Flag::value("tlscacert", "string", "Trust certs signed only by this CA"),
    Flag::value("tlscert", "string", "Path to TLS certificate file"),
    Flag::value("tlskey", "string", "Path to TLS key file"),
    Flag::switch("tlsverify", "Use TLS and verify the remote"),
    Flag::switch("help", "Print usage").short('h').hidden(),
];

static HELP: [Flag; 1] = [Flag::switch("help", "Print usage").short('h').hidden()];
static LOCAL: [Flag; 1] = [Flag::switch("local", "Sign a locally tagged image")];
static PRETTY: [Flag; 1] = [Flag::switch("pretty", "Print the information in a human friendly format")];
static YES: [Flag; 1] = [Flag::switch("yes", "Do not prompt for confirmation").short('y')];
static DIR: [Flag; 1] = [Flag::value("dir", "string", "Directory to generate key in, defaults to current\ndirectory")];
static NAME: [Flag; 1] = [Flag::value("name", "string", "Name for the loaded key").default("\"signer\"")];
static KEY: [Flag; 1] = [Flag::each("key", "list", "Path to the signer's public key file")];
static FORCE: [Flag; 1] =
    [Flag::switch("force", "Do not prompt for confirmation before removing the most\nrecent signer").short('f')];
static PUSH: [Flag; 2] = [
    Flag::switch("all-tags", "Push and sign all tags of an image").short('a'),
    Flag::switch("quiet", "Suppress verbose output").short('q'),
];
static PULL: [Flag; 3] = [
    Flag::switch("all-tags", "Download all signed tags of the repository").short('a'),
    Flag::value("platform", "string", "Take this platform of a multi-platform image"),
    Flag::switch("quiet", "Suppress verbose output").short('q'),
];

static KEYS: [Command; 2] = [
    Command::named("generate", "NAME", "Generate and load a signing key-pair").flags(&DIR),
    Command::named("load", "[OPTIONS] KEYFILE", "Load a private key file for signing").flags(&NAME),
];

static SIGNERS: [Command; 2] = [
    Command::named("add", "OPTIONS NAME REPOSITORY [REPOSITORY...] ", "Add a signer").flags(&KEY),
    Command::named("remove", "[OPTIONS] NAME REPOSITORY [REPOSITORY...]", "Remove a signer").flags(&FORCE),
];

static CHILDREN: [Command; 7] = [
    Command::named("inspect", "IMAGE[:TAG] [IMAGE[:TAG]...]", "Return low-level information about keys and signatures")
        .flags(&PRETTY),
    Command::named("key", "COMMAND", "Manage keys for signing Docker images").children(&KEYS),
    Command::named("pull", "[OPTIONS] NAME[:TAG]", "Download an image as it is signed").flags(&PULL),
    Command::named("push", "[OPTIONS] NAME[:TAG]", "Upload an image and sign it").flags(&PUSH),
    Command::named("revoke", "[OPTIONS] IMAGE[:TAG]", "Remove trust for an image").flags(&YES),
    Command::named("sign", "IMAGE:TAG", "Sign an image").flags(&LOCAL),
    Command::named("signer", "COMMAND", "Manage entities who can sign Docker images").children(&SIGNERS),
];

/// `docker trust`.
pub(super) static TRUST: Command =
    Command::named("docker trust", "COMMAND", "Manage trust on Docker images").persistent(&HELP).children(&CHILDREN);

/// How many arguments a command takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Count {
    /// So many.
    Exactly(usize),
    /// So many or more.
    AtLeast(usize),
}

impl Count {
    pub(super) fn of(command: &str) -> Self {
        match command {
            "inspect" => Self::AtLeast(1),
            "signer add" | "signer remove" => Self::AtLeast(2),
            _ => Self::Exactly(1),
        }
    }
}
