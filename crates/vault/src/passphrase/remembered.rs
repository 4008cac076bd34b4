//! Putting sources together, and asking a person only once.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::{Origin, Passphrase, PassphraseRequest, PassphraseSource, Purpose, Reply};

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

    fn accepted(&self, request: &PassphraseRequest<'_>, passphrase: &Passphrase, origin: &Origin) {
        self.0.accepted(request, passphrase, origin);
        self.1.accepted(request, passphrase, origin);
    }
}

/// Offers the passphrase that a person gave for the last key of the same alias, once per key, and asks the source behind it
/// otherwise.
///
/// Only passphrases that opened or now protect a key are remembered; the reference remembers wrong ones too and asks a
/// person more often for it. What did not come from a person is not remembered: it may be for one key alone, and its source
/// can be asked again. PINs are never remembered.
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
        if request.purpose != Purpose::Pin
            && !request.tried.contains(&Origin::Remembered)
            && let Some(passphrase) = self.known().get(request.alias)
        {
            return Reply::Passphrase(passphrase.clone(), Origin::Remembered);
        }
        self.source.passphrase(request)
    }

    fn accepted(&self, request: &PassphraseRequest<'_>, passphrase: &Passphrase, origin: &Origin) {
        if *origin == Origin::Person && request.purpose != Purpose::Pin {
            self.known().insert(request.alias.to_owned(), passphrase.clone());
        }
        self.source.accepted(request, passphrase, origin);
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

    fn request(alias: &str, tried: Vec<Origin>) -> PassphraseRequest<'_> {
        PassphraseRequest { tried, ..PassphraseRequest::new(alias, Purpose::Existing) }
    }

    fn text(reply: &Reply) -> String {
        let Reply::Passphrase(passphrase, _) = reply else { panic!("no passphrase") };
        String::from_utf8(passphrase.bytes().to_vec()).unwrap()
    }

    #[test]
    fn a_person_is_asked_when_the_environment_was_wrong() {
        let environment =
            EnvironmentPassphrases::docker(|name| (!name.starts_with("COUNTERSIGN")).then(|| "it".into()));
        let source = Sequence(environment, Person(AtomicU32::new(0)));
        let first = source.passphrase(&request("root", vec![]));
        assert_eq!(text(&first), "it");
        let Reply::Passphrase(_, origin) = first else { panic!("no passphrase") };
        assert_eq!(text(&source.passphrase(&request("root", vec![origin]))), "typed 0");
        assert!(matches!(
            Sequence(NoPassphrases, NoPassphrases).passphrase(&request("root", vec![])),
            Reply::Unavailable
        ));
    }

    #[test]
    fn what_a_person_gave_serves_the_same_alias_once_per_key() {
        let source = Remembered::new(Person(AtomicU32::new(0)));
        let ask = |alias| source.passphrase(&request(alias, vec![]));
        assert_eq!(text(&ask("targets")), "typed 0");
        // Not accepted yet: not remembered.
        assert_eq!(text(&ask("targets")), "typed 1");
        source.accepted(&request("targets", vec![]), &passphrase("right"), &Origin::Person);
        let Reply::Passphrase(again, Origin::Remembered) = ask("targets") else { panic!("not remembered") };
        assert_eq!(again.bytes(), b"right");
        let after = source.passphrase(&request("targets", vec![Origin::Environment("X".into()), Origin::Remembered]));
        assert_eq!(text(&after), "typed 2");
        assert_eq!(text(&ask("root")), "typed 3");
    }

    #[test]
    fn what_did_not_come_from_a_person_and_pins_are_not_remembered() {
        let source = Remembered::new(Person(AtomicU32::new(0)));
        for origin in [Origin::Environment("X".into()), Origin::Command, Origin::File] {
            source.accepted(&request("targets", vec![]), &passphrase("for one key"), &origin);
        }
        let pin = PassphraseRequest::new("targets", Purpose::Pin);
        source.accepted(&pin, &passphrase("123456"), &Origin::Person);
        assert_eq!(text(&source.passphrase(&request("targets", vec![]))), "typed 0");
        source.accepted(&request("targets", vec![]), &passphrase("typed"), &Origin::Person);
        assert_eq!(text(&source.passphrase(&pin)), "typed 1", "nor is a passphrase a PIN");
    }
}
