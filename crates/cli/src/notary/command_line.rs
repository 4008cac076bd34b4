//! Every command and flag of the notary client, in its own words.

use crate::cobra::{Command, Flag};

/// The flags of every command.
static GLOBAL: [Flag; 8] = [
    Flag::value("configFile", "string", "Path to the configuration file to use").short('c'),
    Flag::switch("debug", "Debug output").short('D'),
    Flag::value("server", "string", "Remote trust server location").short('s'),
    Flag::value("tlscacert", "string", "Trust certs signed only by this CA"),
    Flag::value("tlscert", "string", "Path to TLS certificate file"),
    Flag::value("tlskey", "string", "Path to TLS key file"),
    Flag::value("trustDir", "string", "Directory where the trust data is persisted to").short('d'),
    Flag::switch("verbose", "Verbose output").short('v'),
];

const PUBLISH: Flag = Flag::switch(
    "publish",
    "Automatically attempt to publish after staging the change. Will also publish existing staged changes.",
)
.short('p');
const CUSTOM: Flag = Flag::value("custom", "string", "Path to the file containing custom data for this target");
const ADD_ROLES: Flag = Flag::list("roles", "strings", "Delegation roles to add this target to").short('r');
const OUTPUT: Flag = Flag::value("output", "string", "Filepath to write export output to").short('o');

static VERSION: [Flag; 1] = [Flag::switch("version", "Print the version number of notary")];
static WITH_PUBLISH: [Flag; 1] = [PUBLISH];
static ADD: [Flag; 3] = [CUSTOM, PUBLISH, ADD_ROLES];
static ADDHASH: [Flag; 5] = [
    CUSTOM,
    PUBLISH,
    ADD_ROLES,
    Flag::value("sha256", "string", "hex encoded sha256 of the target to add"),
    Flag::value("sha512", "string", "hex encoded sha512 of the target to add"),
];
static DELETE: [Flag; 1] = [Flag::switch("remote", "Delete remote data for GUN in addition to local cache")];
static INIT: [Flag; 3] = [
    PUBLISH,
    Flag::value(
        "rootcert",
        "string",
        "Root certificate must match root key if a root key is supplied, otherwise it must match a key present in keystore",
    ),
    Flag::value("rootkey", "string", "Root key to initialize the repository with"),
];
static LIST: [Flag; 1] =
    [Flag::list("roles", "strings", "Delegation roles to list targets for (will shadow targets role)").short('r')];
static REMOVE: [Flag; 2] =
    [PUBLISH, Flag::list("roles", "strings", "Delegation roles to remove this target from").short('r')];
static RESET: [Flag; 2] = [
    Flag::switch("all", "Reset all changes shown in the status list"),
    Flag::integers("number", "Numbers of specific changes to exclusively reset, as shown in status list").short('n'),
];
static VERIFY: [Flag; 3] = [
    Flag::value("input", "string", "Read from a file, instead of STDIN").short('i'),
    Flag::value("output", "string", "Write to a file, instead of STDOUT").short('o'),
    Flag::switch("quiet", "No output except for errors").short('q'),
];

static DELEGATION_ADD: [Flag; 3] = [
    Flag::switch("all-paths", "Add all paths to this delegation"),
    Flag::list("paths", "strings", "List of paths to add"),
    PUBLISH,
];
static DELEGATION_PURGE: [Flag; 2] =
    [Flag::list("key", "strings", "Delegation key IDs to be removed from the GUN"), PUBLISH];
static DELEGATION_REMOVE: [Flag; 4] = [
    Flag::switch("all-paths", "Remove all paths from this delegation"),
    Flag::list("paths", "strings", "List of paths to remove"),
    PUBLISH,
    Flag::switch("yes", "Answer yes to the removal question (no confirmation)").short('y'),
];
static DELEGATION: [Command; 4] = [
    Command::named(
        "add",
        "[ GUN ] [ Role ] <X509 file path 1> ...",
        "Add a keys to delegation using the provided public key X509 certificates.",
    )
    .long("Add a keys to delegation using the provided public key PEM encoded X509 certificates in a specific Global Unique Name.")
    .flags(&DELEGATION_ADD),
    Command::named("list", "[ GUN ]", "Lists delegations for the Global Unique Name.")
        .long("Lists all delegations known to notary for a specific Global Unique Name."),
    Command::named("purge", "[ GUN ]", "Remove KeyID(s) from all delegation roles in the given GUN.")
        .long("Remove KeyID(s) from all delegation roles in the given GUN, for which the signing keys are available. Warnings will be printed for delegations that cannot be updated.")
        .flags(&DELEGATION_PURGE),
    Command::named("remove", "[ GUN ] [ Role ] <KeyID 1> ...", "Remove KeyID(s) from the specified Role delegation.")
        .long("Remove KeyID(s) from the specified Role delegation in a specific Global Unique Name.")
        .flags(&DELEGATION_REMOVE),
];

static KEY_EXPORT: [Flag; 3] = [
    Flag::list("gun", "strings", "GUNs for which to export keys"),
    Flag::list("key", "strings", "Key IDs to export"),
    OUTPUT,
];
static KEY_GENERATE: [Flag; 2] = [
    OUTPUT,
    Flag::value("role", "string", "Role to generate key with, defaulting to \"root\".").short('r').default("\"root\""),
];
static KEY_IMPORT: [Flag; 2] = [
    Flag::value("gun", "string", "Gun to import key with, if a gun is not already given in a PEM header").short('g'),
    Flag::value("role", "string", "Role to import key with, if a role is not already given in a PEM header").short('r'),
];
static KEY_ROTATE: [Flag; 3] = [
    Flag::list("key", "strings", "New key(s) to rotate to. If not specified, one will be generated.").short('k'),
    Flag::integer("legacy", "Number of old version's root roles to sign with to support old clients").short('l'),
    Flag::switch("server-managed", "Signing and key management will be handled by the remote server (no key will be generated or stored locally). Required for timestamp role, optional for snapshot role").short('r'),
];
static KEY: [Command; 7] = [
    Command::named("export", "", "Exports all keys from all local keystores. Can be filtered using the --key and --gun flags.")
        .long("Exports all keys from all local keystores. Which keys are exported can be restricted by using the --key or --gun flags. By default the result is sent to stdout, it can be directed to a file with the -o flag. Keys stored in a Yubikey cannot be exported.")
        .flags(&KEY_EXPORT),
    Command::named("generate", "[ algorithm ]", "Generates a new key with a given algorithm.")
        .long("Generates a new key with a given algorithm. If hardware key storage (e.g. a Yubikey) is available, generated root keys will be stored both on hardware and on disk (so that it can be backed up).  Please make sure to back up and then remove this on-key disk immediatelyafterwards. If a `--output` file name is provided, two files will be written, <output>.pem and <output>-key.pem, containing the publicand private keys respectively (the key will not be stored in Notary's key storage, including any connected hardware storage). If no `--role` is provided, \"root\" will be assumed.")
        .flags(&KEY_GENERATE),
    Command::named("import", "pemfile [ pemfile ... ]", "Imports all keys from all provided .pem files")
        .long("Imports all keys from all provided .pem files by reading each PEM block from the file and writing that block to a unique object in the local keystore. A Yubikey will be the preferred import location for root keys if present.")
        .flags(&KEY_IMPORT),
    Command::named("list", "", "Lists keys.").long("Lists all keys known to notary."),
    Command::named("passwd", "[ keyID ]", "Changes the passphrase for the key with the given keyID.")
        .long("Changes the passphrase for the key with the given keyID.  Will require validation of the old passphrase."),
    Command::named("remove", "[ keyID ]", "Removes the key with the given keyID.")
        .long("Removes the key with the given keyID.  If the key is stored in more than one location, you will be asked which one to remove."),
    Command::named("rotate", "[ GUN ] [ key role ]", "Rotate a signing (non-root) key of the given type for the given Globally Unique Name and role.")
        .long("Generates a new key for the given Globally Unique Name and role (one of \"snapshot\", \"targets\", \"root\", or \"timestamp\").  If rotating to a server-managed key, a new key is requested from the server rather than generated.  If the generation or key request is successful, the key rotation is immediately published.  No other changes, even if they are staged, will be published.")
        .flags(&KEY_ROTATE),
];

static COMPLETION: [Command; 4] = [
    Command::named("bash", "", "Generate the autocompletion script for bash"),
    Command::named("fish", "", "Generate the autocompletion script for fish"),
    Command::named("powershell", "", "Generate the autocompletion script for powershell"),
    Command::named("zsh", "", "Generate the autocompletion script for zsh"),
];

static COMMANDS: [Command; 17] = [
    Command::named("add", "[ GUN ] <target> <file>", "Adds the file as a target to the trusted collection.")
        .long("Adds the file as a target to the local trusted collection identified by the Globally Unique Name. This is an offline operation.  Please then use `publish` to push the changes to the remote trusted collection.")
        .flags(&ADD),
    Command::named("addhash", "[ GUN ] <target> <byte size> <hashes>", "Adds the byte size and hash(es) as a target to the trusted collection.")
        .long("Adds the specified byte size and hash(es) as a target to the local trusted collection identified by the Globally Unique Name. This is an offline operation.  Please then use `publish` to push the changes to the remote trusted collection.")
        .flags(&ADDHASH),
    Command::named("completion", "", "Generate the autocompletion script for the specified shell")
        .long("Generate the autocompletion script for notary for the specified shell.\nSee each sub-command's help for details on how to use the generated script.")
        .children(&COMPLETION),
    Command::named("delegation", "", "Operates on delegations.").long("Operations on TUF delegations.").children(&DELEGATION),
    Command::named("delete", "[ GUN ]", "Deletes all content for a trusted collection")
        .long("Deletes all local content for a trusted collection identified by the Globally Unique Name. Remote data can also be deleted with an additional flag.")
        .flags(&DELETE),
    Command::named("help", "[command]", "Help about any command")
        .long("Help provides help for any command in the application.\nSimply type notary help [path to command] for full details."),
    Command::named("init", "[ GUN ]", "Initializes a local trusted collection.")
        .long("Initializes a local trusted collection identified by the Globally Unique Name. This is an online operation.")
        .flags(&INIT),
    Command::named("key", "", "Operates on keys.").long("Operations on private keys.").children(&KEY),
    Command::named("list", "[ GUN ]", "Lists targets for a remote trusted collection.")
        .long("Lists all targets for a remote trusted collection identified by the Globally Unique Name. This is an online operation.")
        .flags(&LIST),
    Command::named("lookup", "[ GUN ] <target>", "Looks up a specific target in a remote trusted collection.")
        .long("Looks up a specific target in a remote trusted collection identified by the Globally Unique Name."),
    Command::named("publish", "[ GUN ]", "Publishes the local trusted collection.")
        .long("Publishes the local trusted collection identified by the Globally Unique Name, sending the local changes to a remote trusted server."),
    Command::named("remove", "[ GUN ] <target>", "Removes a target from a trusted collection.")
        .long("Removes a target from the local trusted collection identified by the Globally Unique Name. This is an offline operation.  Please then use `publish` to push the changes to the remote trusted collection.")
        .flags(&REMOVE),
    Command::named("reset", "[ GUN ]", "Resets unpublished changes for the local trusted collection.")
        .long("Resets unpublished changes for the local trusted collection identified by the Globally Unique Name.")
        .flags(&RESET),
    Command::named("status", "[ GUN ]", "Displays status of unpublished changes to the local trusted collection.")
        .long("Displays status of unpublished changes to the local trusted collection identified by the Globally Unique Name."),
    Command::named("verify", "[ GUN ] <target>", "Verifies if the content is included in the remote trusted collection")
        .long("Verifies if the data passed in STDIN is included in the remote trusted collection identified by the Globally Unique Name.")
        .flags(&VERIFY),
    Command::named("version", "", "Print the version number of notary"),
    Command::named("witness", "[ GUN ] <role> ...", "Marks roles to be re-signed the next time they're published")
        .long("Marks roles to be re-signed the next time they're published. Currently will always bump version and expiry for role. N.B. behaviour may change when thresholding is introduced.")
        .flags(&WITH_PUBLISH),
];

/// The whole client.
pub(super) static ROOT: Command = Command::named("notary", "", "Notary allows the creation and management of trusted collections.")
    .long("Notary allows the creation and management of collections of signed targets, allowing the signing and validation of arbitrary content.")
    .flags(&VERSION)
    .persistent(&GLOBAL)
    .children(&COMMANDS);
