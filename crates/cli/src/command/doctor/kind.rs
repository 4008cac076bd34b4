//! Every kind of finding, by its stable name.

use serde::Serialize;

/// How much a finding matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Severity {
    /// Worth knowing; nothing has to be done.
    Note,
    /// Something will stop working, or is less safe than it seems.
    Warning,
    /// Something does not work, or must not be relied on.
    Error,
}

impl Severity {
    /// Returns the word for it.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Note => "note",
            Self::Warning => "warning",
            Self::Error => "error",
        }
    }
}

/// A kind of finding.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Kind {
    /// The stable name, for monitoring.
    pub(crate) id: &'static str,
    pub(crate) severity: Severity,
    /// What it means, in a few words.
    pub(crate) meaning: &'static str,
}

macro_rules! kinds {
    ($($name:ident $severity:ident $id:literal $meaning:literal;)*) => {
        $(pub(crate) static $name: Kind = Kind { id: $id, severity: Severity::$severity, meaning: $meaning };)*
        /// All kinds, in the order of the guide.
        #[cfg(test)]
        static ALL: &[&Kind] = &[$(&$name),*];
    };
}

kinds! {
    CONTENT_TRUST_OFF Warning "content-trust-off" "`DOCKER_CONTENT_TRUST` switches signing and verification off";
    CONTENT_TRUST_ODD Note "content-trust-odd" "`DOCKER_CONTENT_TRUST` is neither yes nor no, which counts as yes";
    CONTENT_TRUST_DEAD Error "content-trust-dead" "`DOCKER_CONTENT_TRUST` is set, but docker 29 and later do not read it";
    SERVER_VARIABLE_INVALID Error "server-variable-invalid" "`DOCKER_CONTENT_TRUST_SERVER` is no https address";
    SERVICES_CONTRADICT Warning "services-contradict" "`DOCKER_CONTENT_TRUST_SERVER` overrides another service that the settings name";
    PASSPHRASE_IN_ENVIRONMENT Note "passphrase-in-environment" "a passphrase is in a variable, where every program started here can read it";
    PASSPHRASE_IN_STARTUP_FILE Warning "passphrase-in-startup-file" "a shell's startup file sets a passphrase";
    PASSPHRASES_CONTRADICT Warning "passphrases-contradict" "a passphrase variable hides the file or descriptor that another one names";
    PASSPHRASE_FILE_UNUSABLE Error "passphrase-file-unusable" "the file that a passphrase variable names is not there or holds none";
    PASSPHRASE_FILE_OPEN Warning "passphrase-file-open" "others can read the file with a passphrase";
    PASSPHRASE_VARIABLE_DEAD Warning "passphrase-variable-dead" "a passphrase is in a variable that nobody reads since docker 1.12";
    PASSPHRASE_COMMAND_UNUSABLE Error "passphrase-command-unusable" "the program that is asked for passphrases is not there";
    PROXY_INVALID Error "proxy-invalid" "a proxy variable cannot be understood";
    AUDIT_LOG_UNUSABLE Error "audit-log-unusable" "the audit log cannot be written, so nothing can be signed or verified";

    SETTINGS_INVALID Error "settings-invalid" "a settings file or file of pins is not understood";
    SETTINGS_OPEN Error "settings-open" "others can change a settings file or file of pins";
    DOCKER_CONFIG_UNUSABLE Warning "docker-config-unusable" "docker's `config.json` or `DOCKER_AUTH_CONFIG` cannot be read";

    DOCKER_VARIABLE_INVALID Error "docker-variable-invalid" "`COUNTERSIGN_DOCKER` names no docker";
    SHIM_DANGLING Error "shim-dangling" "a `docker` in PATH is a link that leads nowhere";
    SHIM_SHADOWED Warning "shim-shadowed" "the shim is installed, but another docker comes first in PATH";
    SHIM_WITHOUT_DOCKER Error "shim-without-docker" "the shim has no docker behind it";
    PLUGIN_DANGLING Error "plugin-dangling" "docker's plugin for `docker trust` is a link that leads nowhere";
    PLUGIN_MISSING Note "plugin-missing" "docker 29 and later have no `docker trust` without the plugin";

    TRUST_DIRECTORY_UNUSABLE Error "trust-directory-unusable" "the trust directory, or something in it, cannot be read";
    TRUST_DIRECTORY_OPEN Warning "trust-directory-open" "others can read or change the trust directory";
    KEY_FILE_OPEN Error "key-file-open" "others can read or change a private key";
    CONFIG_OPEN Warning "config-open" "others can change docker's configuration folder";
    OWNED_BY_ANOTHER Error "owned-by-another" "something in the trust directory belongs to somebody else";
    LEFT_OUT Warning "left-out" "a link, pipe or device lies where a key or folder should be";
    READ_ONLY Error "read-only" "the trust directory cannot be written to";
    DISK_FULL Error "disk-full" "the disk with the trust directory is full";
    TEMPORARY_LEFT Note "temporary-left" "a process that was killed has left a temporary file";

    SERVICE_CLOSES Warning "service-closes" "notary.docker.io closes on 2026-12-08";
    SERVICE_CLOSED Error "service-closed" "notary.docker.io has closed";
    SERVICE_UNREACHABLE Error "service-unreachable" "the trust service does not answer";
    SERVICE_SLOW Error "service-slow" "the trust service takes longer than `--timeout`";
    SERVICE_UNWELL Error "service-unwell" "the trust service reports a failure of its own";
    NOT_A_TRUST_SERVICE Error "not-a-trust-service" "whatever answers is no trust service";
    ACCESS_REFUSED Error "access-refused" "the trust service does not let this person read";
    ACCESS_READ_ONLY Warning "access-read-only" "a signing key is here, but the service grants no writing";
    CLOCK_OFF Warning "clock-off" "this machine's clock and the service's differ by minutes";
    CLOCK_FAR_OFF Error "clock-far-off" "this machine's clock and the service's differ by a day or more";
    CLOCK_BEHIND Warning "clock-behind" "this machine's clock is behind the last verification";

    TLS_UNKNOWN_AUTHORITY Error "tls-unknown-authority" "the service's certificate comes from an unknown authority";
    TLS_WRONG_NAME Error "tls-wrong-name" "the service's certificate is for another name";
    TLS_CERTIFICATE_EXPIRED Error "tls-certificate-expired" "the service's certificate has expired or is not valid yet";
    TLS_NOT_SPOKEN Error "tls-not-spoken" "whatever answers does not speak TLS";
    TLS_REFUSED Error "tls-refused" "the service refuses this client's TLS connection";
    TLS_FAILED Error "tls-failed" "TLS fails for another reason";
    TLS_FILE_UNUSABLE Error "tls-file-unusable" "a file of authorities or client certificates cannot be used";
    CLIENT_CERTIFICATE_INCOMPLETE Error "client-certificate-incomplete" "a client certificate or its key is missing";
    TLS_FILE_EXPIRED Error "tls-file-expired" "an authority's or client's certificate has expired";
    TLS_FILE_EXPIRES_SOON Warning "tls-file-expires-soon" "an authority's or client's certificate expires soon";

    TIMESTAMP_EXPIRED Error "timestamp-expired" "the timestamp has expired";
    TIMESTAMP_EXPIRES_SOON Warning "timestamp-expires-soon" "the service has not renewed the timestamp in time";
    SNAPSHOT_EXPIRED Error "snapshot-expired" "the snapshot has expired";
    SNAPSHOT_EXPIRES_SOON Warning "snapshot-expires-soon" "the snapshot expires soon";
    TARGETS_EXPIRED Error "targets-expired" "the signed tags have expired";
    TARGETS_EXPIRES_SOON Warning "targets-expires-soon" "the signed tags expire soon";
    DELEGATION_EXPIRED Error "delegation-expired" "what a signer has signed has expired";
    DELEGATION_EXPIRES_SOON Warning "delegation-expires-soon" "what a signer has signed expires soon";
    ROOT_EXPIRED Error "root-expired" "the root has expired";
    ROOT_EXPIRES_SOON Warning "root-expires-soon" "the root expires soon";
    ROOT_CERTIFICATE_EXPIRED Error "root-certificate-expired" "a root key's certificate has expired";
    ROOT_CERTIFICATE_EXPIRES_SOON Warning "root-certificate-expires-soon" "a root key's certificate expires soon";
    DELEGATION_CERTIFICATE_EXPIRED Warning "delegation-certificate-expired" "a signer's certificate has expired";
    DELEGATION_CERTIFICATE_EXPIRES_SOON Warning "delegation-certificate-expires-soon" "a signer's certificate expires soon";

    THRESHOLD_UNREACHABLE Error "threshold-unreachable" "a role needs more signatures than it has keys";
    THRESHOLD_ONE Note "threshold-one" "a role has several keys, and one of them alone is enough";
    DELEGATION_WITHOUT_KEYS Warning "delegation-without-keys" "nobody can sign for a delegation";
    DELEGATION_BROKEN Error "delegation-broken" "a delegation is not signed by its present keys";
    KEY_WEAK Error "key-weak" "signatures of a role's key are never accepted";
    ROOT_WILDCARD Note "root-wildcard" "the root certificate is for more collections than this one";

    METADATA_REFUSED Error "metadata-refused" "what the service has is not acceptable: perhaps an attack";
    COLLECTION_UNKNOWN Error "collection-unknown" "the trust service does not have the collection";
    CACHE_DAMAGED Warning "cache-damaged" "cached metadata is damaged";
    CACHED_ROOT_DAMAGED Error "cached-root-damaged" "the cached root, on which trust rests, is damaged";
    CACHED_ROOT_LOST Error "cached-root-lost" "the cached root is gone although the collection was known";
    SEEN_DAMAGED Error "seen-damaged" "the record of versions seen is damaged";
    CHANGES_STAGED Warning "changes-staged" "changes were staged and never published";

    PIN_MISMATCH Error "pin-mismatch" "the root does not fit the pin";
    PIN_UNUSED Note "pin-unused" "a pin is for no collection that this machine knows";
    PIN_NONE Note "pin-none" "first use is denied, and a collection that is known here has no pin";
    FIRST_USE_DENIED Warning "first-use-denied" "an image is neither known nor pinned, and first use is denied";

    KEY_DAMAGED Error "key-damaged" "a key file cannot be read or is damaged";
    KEY_UNENCRYPTED Error "key-unencrypted" "a private key has no passphrase";
    KEY_MISNAMED Note "key-misnamed" "the name of a key file is no key id";
    KEY_DUPLICATE Note "key-duplicate" "two files hold one key";
    KEY_LEGACY_PLACE Note "key-legacy-place" "a key lies where notary 0.1 to 0.3 put it";
    KEY_WITHOUT_COLLECTION Note "key-without-collection" "a key signs nothing that this machine knows";
    KEY_MISSING Warning "key-missing" "the keys that sign a collection of this person are not here";
    KEY_TOO_OLD Warning "key-too-old" "a key is older than the policy allows";

    BACKUP_NEVER Warning "backup-never" "keys are in no backup that is known here";
    BACKUP_OLD Warning "backup-old" "keys have changed since their last backup";
    BACKUP_RECORD_UNUSABLE Warning "backup-record-unusable" "the record of backups cannot be read";

    NOT_CHECKED Warning "not-checked" "a check could not be made";
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    /// The rows of the guide's table: id, severity, meaning.
    fn documented() -> Vec<(String, String, String)> {
        let guide = include_str!("../../../../../docs/guides/doctor.md");
        let (_, table) = guide.split_once("## Findings").unwrap();
        let rows = table.lines().filter(|line| line.starts_with("| `"));
        rows.map(|line| {
            let cells: Vec<&str> = line.trim_matches('|').splitn(4, " | ").map(str::trim).collect();
            (cells[0].trim_matches('`').to_owned(), cells[1].to_owned(), cells[2].to_owned())
        })
        .collect()
    }

    #[test]
    fn the_guide_has_exactly_the_findings_of_the_program() {
        let here: Vec<_> = ALL
            .iter()
            .map(|kind| (kind.id.to_owned(), kind.severity.as_str().to_owned(), kind.meaning.to_owned()))
            .collect();
        assert_eq!(documented(), here);
    }

    #[test]
    fn ids_are_unique_and_plain() {
        let ids: BTreeSet<&str> = ALL.iter().map(|kind| kind.id).collect();
        assert_eq!(ids.len(), ALL.len());
        assert!(ids.iter().all(|id| id.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'-')));
    }
}
