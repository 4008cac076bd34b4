//! Following the root from the trusted version to the newest, link by link.

use super::{Absence, Answer, MAX_ROTATIONS, Purpose, State, Tree, Update, UpdateError};
use crate::collection::Note;
use crate::metadata::Root;
use crate::name::{RoleName, Version};
use crate::pinning::Pin;
use crate::root_trust::{self, Age, RootError};
use crate::verify::{Rollback, Unverified};
use countersign_crypto::digest::sha256;

impl Update<'_> {
    /// Looks for a newer root when something does not verify under the trusted one; that failing, fails with the cause.
    pub(super) fn try_newer_root(&mut self, cause: UpdateError) -> Result<(), UpdateError> {
        if self.root_checked {
            return Err(cause);
        }
        self.state = State::NewestRoot(Box::new(cause));
        Ok(())
    }

    /// The newest root says by its version how long the chain is; nothing else of it is believed before its turn.
    pub(super) fn newest_root(&mut self, answer: Answer, cause: UpdateError) -> Result<(), UpdateError> {
        self.root_checked = true;
        let file = match answer {
            Answer::File(file) => file,
            Answer::Away(absence) => return Err(without_newest(cause, absence)),
            Answer::Missing | Answer::Remnants => return Err(cause),
        };
        let newest = super::read::<Root>(&RoleName::Root, file)?;
        let trusted = self.trusted_root()?;
        let (current, found) = (trusted.version, newest.untrusted().version);
        if found < current {
            return Err(Rollback { role: RoleName::Root, version: found, floor: current }.into());
        }
        if found == current {
            let same = sha256(newest.file()) == sha256(trusted.file());
            if same && self.is_to_be_renewed(&cause) {
                self.state = State::CachedTimestamp;
                return Ok(());
            }
            return Err(if same { cause } else { UpdateError::ForeignRoot { version: found } });
        }
        if found.get() - current.get() > MAX_ROTATIONS {
            return Err(UpdateError::TooManyRotations { from: current, to: found });
        }
        self.follow(newest)
    }

    pub(super) fn root_link(
        &mut self,
        answer: Answer,
        newest: Unverified<Root>,
        version: Version,
    ) -> Result<(), UpdateError> {
        let file = match answer {
            Answer::File(file) => file,
            Answer::Away(absence) => return Err(UpdateError::Away { role: RoleName::Root, absence }),
            _ => return Err(UpdateError::MissingRoot { version }),
        };
        let link = super::read::<Root>(&RoleName::Root, file)?;
        self.step(link, Place::Link)?;
        self.follow(newest)
    }

    /// Tells whether nothing but its age is wrong with the root that is to be replaced.
    fn is_to_be_renewed(&self, cause: &UpdateError) -> bool {
        let aged = matches!(cause, UpdateError::Root(RootError::Expired(_) | RootError::NoLeafCertificates(_)));
        aged && self.request.purpose == Purpose::Renew
    }

    /// Takes the newest root if it is next in the chain, else asks for the link before it.
    fn follow(&mut self, newest: Unverified<Root>) -> Result<(), UpdateError> {
        let next = self.trusted_root()?.version.next();
        match next {
            Some(version) if version < newest.untrusted().version => {
                self.state = State::RootLink { newest: Box::new(newest), version };
                Ok(())
            }
            _ => {
                self.step(newest, Place::Newest)?;
                if let Some(root) = &self.root {
                    self.downloaded.insert(RoleName::Root, root.file().clone());
                }
                self.begin_again();
                Ok(())
            }
        }
    }

    /// Goes back to the timestamp under the new root; what was fetched under the old one is no part of the result.
    fn begin_again(&mut self) {
        self.timestamp = None;
        self.snapshot = None;
        self.tree = Tree::default();
        self.downloaded.retain(|role, _| *role == RoleName::Root);
        self.notes.retain(|note| matches!(note, Note::FirstUse(_)));
        self.state = State::Timestamp;
    }

    fn step(&mut self, next: Unverified<Root>, place: Place) -> Result<(), UpdateError> {
        let trusted = self.trusted_root()?;
        // Only the newest root has to match a pin: pins name the present owner, links lead to it.
        let (pin, age) = match place {
            Place::Newest => (self.later_pin(), self.newest_age()),
            Place::Link => (Pin::FirstUse, Age::Past(self.request.now)),
        };
        let verified = root_trust::verify_successor(trusted, next, &self.request.gun, pin, age)?;
        self.root = Some(verified);
        Ok(())
    }
}

/// Where a root is in the chain.
#[derive(Clone, Copy)]
enum Place {
    /// It leads to the newest.
    Link,
    /// Nothing comes after it.
    Newest,
}

/// Tells what went wrong where the newest root cannot be had: what was bad before stays bad, the service's absence does not
/// make it harmless. Only where nothing was bad yet is absence the reason.
fn without_newest(cause: UpdateError, absence: Absence) -> UpdateError {
    match cause {
        UpdateError::NoTrustData(_) | UpdateError::Root(_) => UpdateError::Away { role: RoleName::Root, absence },
        bad => bad,
    }
}
