//! What to do about the usual failures.

use super::{CliError, Kind};
use countersign_notary::ServiceAddress;
use countersign_registry::http::TlsFault;
use countersign_trust::{Destination, TlsFiles};
use countersign_tuf::{Expired, RoleName};
use countersign_vault::TokenError;
use std::sync::OnceLock;

/// Where passphrases come from.
pub(super) const PASSPHRASES: &str = "passphrases come from DOCKER_CONTENT_TRUST_ROOT_PASSPHRASE (root keys) and \
     DOCKER_CONTENT_TRUST_REPOSITORY_PASSPHRASE (all others), for notary from NOTARY_…_PASSPHRASE, for one collection's keys \
     from COUNTERSIGN_PASSPHRASE_FOR_…, from a file or descriptor named by the same with _FILE or _FD, from a passphrase \
     command, or are asked for: at a terminal, else as lines on standard input";

/// Says what mends a token's failure.
pub(super) fn of_token(error: &TokenError) -> CliError {
    let kind = match error {
        TokenError::NotBuilt
        | TokenError::Unknown { .. }
        | TokenError::Ambiguous { .. }
        | TokenError::KeyThere { .. } => Kind::User,
        _ => Kind::Local,
    };
    let hint = match error {
        TokenError::Unknown { .. } | TokenError::NotConfigured { .. } => {
            "tokens are [tokens.NAME] in the settings, or a pkcs11: URI in COUNTERSIGN_TOKEN or --token"
        }
        TokenError::NotThere { .. } | TokenError::Removed { .. } => {
            "put the token in and try again; nothing was changed"
        }
        TokenError::NoPin { .. } => {
            "a PIN comes from pin-file or pin-source in the token's settings, from COUNTERSIGN_TOKEN_PIN or the file or \
             descriptor named by the same with _FILE or _FD, from the passphrase command, or is asked for"
        }
        TokenError::WrongPin { .. } => "make sure that it is the right one before you try again; nothing was changed",
        TokenError::Locked { .. } => {
            "whoever holds the token's SO PIN (PUK) can unlock it with the token's own tools; nothing was changed"
        }
        TokenError::Full { .. } => {
            "delete a key that is not needed any more: countersign key remove; nothing was changed"
        }
        TokenError::BadSignature { .. } => {
            "nothing was published: the token or its module is broken, or holds another key under this id"
        }
        TokenError::Module { .. } => "the module is a shared library that came with the token; nothing was changed",
        _ => return CliError::new(kind, error),
    };
    CliError::new(kind, error).hint(hint)
}

/// Where this process looks for certificates; errors come from where nobody knows it any more.
static TLS_FILES: OnceLock<TlsFiles> = OnceLock::new();

/// Tells hints where this process looks for certificates.
pub(crate) fn tls_files_are(files: &TlsFiles) {
    // The first context of a process is the one that commands work with.
    let _ = TLS_FILES.set(files.clone());
}

/// Says what mends a TLS failure, whose fault the message names: only an unknown authority is mended by a file.
pub(super) fn of_tls(message: &str) -> Vec<String> {
    let is = |fault: TlsFault| message.contains(&fault.to_string());
    if is(TlsFault::Expired) {
        let renew = "if it is right, the operator of the trust service has to renew the service's certificate";
        return vec![clock(), renew.to_owned()];
    }
    if is(TlsFault::WrongName) {
        let show =
            "is this the address that the certificate is for? countersign trust show says what named the address";
        return vec![show.to_owned()];
    }
    if is(TlsFault::NotTls) {
        return vec!["trust services are asked over https only: is this the right port?".to_owned()];
    }
    if is(TlsFault::CutOff) {
        return Vec::new();
    }
    let unknown = || "tls/<host:port>/ca.crt in docker's configuration folder".to_owned();
    let place = authority_file(message).unwrap_or_else(unknown);
    vec![format!(
        "put the service's CA into {place}; for a service started with countersign serve: countersign serve --trust-ca"
    )]
}

/// Finds the file into which the authority of the service in a message belongs.
fn authority_file(message: &str) -> Option<String> {
    let (before, _) = message.split_once(" cannot be trusted")?;
    let address = ServiceAddress::parse(before.rsplit(' ').next()?).ok()?;
    let file = TLS_FILES.get()?.authority_file(&Destination::from(address));
    if file.as_os_str().is_empty() {
        return Some("a file that root_ca of remote_server in the configuration names".to_owned());
    }
    Some(file.display().to_string())
}

/// Says who can renew what has expired, and what this machine takes for now.
pub(super) fn of_expired(expired: &Expired) -> Vec<String> {
    let who = match &expired.role {
        RoleName::Root => {
            "the owner of the root key has to publish a new root (countersign key rotate IMAGE root --root-certificate)"
                .to_owned()
        }
        RoleName::Targets => "whoever holds the repository key (targets) has to sign something again".to_owned(),
        RoleName::Snapshot => "the operator of the trust service can renew it if the service holds the snapshot key, \
             otherwise whoever holds it, by publishing"
            .to_owned(),
        RoleName::Timestamp => {
            "the operator of the trust service can renew it: the service signs timestamps by itself, \
             unless it is down or somebody plays back old ones"
                .to_owned()
        }
        role @ RoleName::Delegation(_) => format!("whoever signs for {role} has to sign something again"),
    };
    vec![who, clock()]
}

/// Says what this machine takes for now.
pub(super) fn clock() -> String {
    format!("this machine's clock says {}: if that is wrong, set it", now())
}

/// Says what a service means that refuses an upload, where its words alone do not help; they are every trust service's.
pub(super) fn of_rejection(reason: &str) -> Option<String> {
    if reason.contains("leaf certificates") {
        return Some(format!(
            "the service finds no root certificate that is valid now: this machine's clock says {}, and a certificate made \
             by a clock that is ahead is not valid yet",
            now()
        ));
    }
    reason.contains("no snapshot was included").then(|| {
        "only who holds the snapshot key can publish; for others to sign too its owner hands it to the service: \
         notary key rotate GUN snapshot -r"
            .to_owned()
    })
}

fn now() -> String {
    jiff::Timestamp::now().strftime("%Y-%m-%d %H:%M UTC").to_string()
}
