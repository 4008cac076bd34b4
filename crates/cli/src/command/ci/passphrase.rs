//! Passphrases of the keys in an archive: those of docker's variables, else the archive's own.

use super::supply::RootKeys;
use countersign_vault::{
    EnvironmentPassphrases, Origin, Passphrase, PassphraseRequest, PassphraseSource, Purpose, Reply, Sequence,
};

const ROOT: &str = "root";

/// Offers the archive's passphrase for the keys in it, once for each; nobody is asked.
pub(super) struct OfArchive {
    passphrase: Option<Passphrase>,
    root_keys: RootKeys,
}

impl PassphraseSource for OfArchive {
    fn passphrase(&self, request: &PassphraseRequest<'_>) -> Reply {
        let offered = request.tried.contains(&Origin::Remembered) || request.purpose == Purpose::New;
        let refused = request.alias == ROOT && self.root_keys == RootKeys::Refused;
        match &self.passphrase {
            Some(passphrase) if !offered && !refused => Reply::Passphrase(passphrase.clone(), Origin::Remembered),
            _ => Reply::Unavailable,
        }
    }
}

/// One passphrase for a key that is being made, and for opening it again.
pub(super) struct OfNew(pub(super) Passphrase);

impl PassphraseSource for OfNew {
    fn passphrase(&self, request: &PassphraseRequest<'_>) -> Reply {
        if request.attempt > 1 {
            return Reply::Unavailable;
        }
        Reply::Passphrase(self.0.clone(), Origin::Remembered)
    }
}

/// The passphrases for signing in this process.
pub(super) fn of_keys(passphrase: Option<Passphrase>, root_keys: RootKeys) -> Box<dyn PassphraseSource> {
    let environment = EnvironmentPassphrases::docker(|name| std::env::var_os(name));
    Box::new(Sequence(environment, OfArchive { passphrase, root_keys }))
}

/// The passphrase that a command needs in a variable for the keys of a kind: programs other than ours read nothing else.
pub(super) fn for_others(alias: &str, passphrase: Option<Passphrase>, root_keys: RootKeys) -> Option<Passphrase> {
    match of_keys(passphrase, root_keys).passphrase(&PassphraseRequest::new(alias, Purpose::Existing)) {
        Reply::Passphrase(passphrase, _) => Some(passphrase),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn offers(source: &OfArchive, request: &PassphraseRequest<'_>) -> bool {
        matches!(source.passphrase(request), Reply::Passphrase(..))
    }

    #[test]
    fn the_archives_passphrase_is_offered_once_for_keys_that_are_there_and_never_for_root_keys_unasked() {
        let passphrase = Passphrase::new(b"of the archive".to_vec()).ok();
        let source = OfArchive { passphrase: passphrase.clone(), root_keys: RootKeys::Refused };
        let request = PassphraseRequest::new("targets", Purpose::Existing);
        assert!(offers(&source, &request));
        assert!(!offers(&source, &PassphraseRequest { tried: vec![Origin::Remembered], attempt: 2, ..request }));
        assert!(!offers(&source, &PassphraseRequest::new("targets", Purpose::New)));
        let root = PassphraseRequest::new("root", Purpose::Existing);
        assert!(!offers(&source, &root));
        assert!(offers(&OfArchive { passphrase, root_keys: RootKeys::Allowed }, &root));
    }
}
