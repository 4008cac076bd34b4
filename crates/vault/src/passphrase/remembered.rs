//! Putting sources together, and asking a person only once.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::{Origin, Passphrase, PassphraseRequest, PassphraseSource, Reply};

/// Asks the first source, and the second when the first has nothing (more) to offer.
#[derive(Debug, Clone, Copy)]
pub struct Sequence<A, B>(pub A, pub B);

impl<A: PassphraseSource, B: PassphraseSource> PassphraseSource for Sequence<A, B> {
    fn passphrase(&self, request: &PassphraseRequest<'_>) -> Reply {
        match self.0.passphrase(request) {
            Reply::Unavailable => self.1.passphrase(request),
            reply => reply,
        }
    }

    fn accepted(&self, request: &PassphraseRequest<'_>, passphrase: &Passphrase) {
        self.0.accepted(request, passphrase);
        self.1.accepted(request, passphrase);
    }
}

/// Offers the passphrase that did for the last key of the same alias, once per key, and asks the source behind it otherwise.
///
/// Only passphrases that opened or now protect a key are remembered; the reference remembers wrong ones too and asks a
/// person more often for it.
#[derive(Debug)]
pub struct Remembered<S> {
    source: S,
    known: Mutex<BTreeMap<String, Passphrase>>,
}

impl<S> Remembered<S> {
    /// Wraps a source.
    pub fn new(source: S) -> Self {
        Self { source, known: Mutex::default() }
    }

    fn known(&self) -> MutexGuard<'_, BTreeMap<String, Passphrase>> {
        // The map is whole after every operation, also one that panicked.
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<S: PassphraseSource> PassphraseSource for Remembered<S> {
    fn passphrase(&self, request: &PassphraseRequest<'_>) -> Reply {
        if request.attempt == 1
            && let Some(passphrase) = self.known().get(request.alias)
        {
            return Reply::Passphrase(passphrase.clone(), Origin::Remembered);
        }
        self.source.passphrase(request)
    }

    fn accepted(&self, request: &PassphraseRequest<'_>, passphrase: &Passphrase) {
        self.known().insert(request.alias.to_owned(), passphrase.clone());
        self.source.accepted(request, passphrase);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};

    use super::super::{EnvironmentPassphrases, NoPassphrases, Purpose};
    use super::*;

    struct Person(AtomicU32);

    impl PassphraseSource for Person {
        fn passphrase(&self, _: &PassphraseRequest<'_>) -> Reply {
            let count = self.0.fetch_add(1, Ordering::SeqCst);
            Reply::Passphrase(passphrase(&format!("typed {count}")), Origin::Person)
        }
    }

    fn passphrase(text: &str) -> Passphrase {
        Passphrase::new(text.as_bytes().to_vec()).unwrap()
    }

    fn request(alias: &str, attempt: u32) -> PassphraseRequest<'_> {
        PassphraseRequest { alias, key_id: None, purpose: Purpose::Existing, attempt, refused: None }
    }

    fn text(reply: &Reply) -> String {
        let Reply::Passphrase(passphrase, _) = reply else { panic!("no passphrase") };
        String::from_utf8(passphrase.bytes().to_vec()).unwrap()
    }

    #[test]
    fn a_person_is_asked_when_the_environment_was_wrong() {
        let environment = EnvironmentPassphrases::docker(|_| Some("from environment".into()));
        let source = Sequence(environment, Person(AtomicU32::new(0)));
        assert_eq!(text(&source.passphrase(&request("root", 1))), "from environment");
        assert_eq!(text(&source.passphrase(&request("root", 2))), "typed 0");
        assert!(matches!(Sequence(NoPassphrases, NoPassphrases).passphrase(&request("root", 1)), Reply::Unavailable));
    }

    #[test]
    fn what_was_accepted_serves_the_same_alias_once_per_key() {
        let source = Remembered::new(Person(AtomicU32::new(0)));
        let first = source.passphrase(&request("targets", 1));
        assert_eq!(text(&first), "typed 0");
        // Not accepted yet: not remembered.
        assert_eq!(text(&source.passphrase(&request("targets", 1))), "typed 1");
        source.accepted(&request("targets", 1), &passphrase("right"));
        let Reply::Passphrase(again, Origin::Remembered) = source.passphrase(&request("targets", 1)) else {
            panic!("not remembered")
        };
        assert_eq!(again.bytes(), b"right");
        assert_eq!(text(&source.passphrase(&request("targets", 2))), "typed 2");
        assert_eq!(text(&source.passphrase(&request("root", 1))), "typed 3");
    }
}
