//! What mends an ailment of a collection: a command where the key for it is here, else who has to do something.

use super::finding::Finding;
use super::kind::Kind;
use super::{Bench, Subject, kind};
use crate::context::Context;
use countersign_crypto::KeyId;
use countersign_trust::condition::{Ailment, Condition, Phase};
use countersign_tuf::RoleName;
use jiff::Timestamp;
use std::collections::BTreeSet;

/// A collection that is not well, and who looks at it.
pub(super) struct Patient<'a> {
    pub(super) bench: &'a Bench,
    pub(super) context: &'a Context,
    pub(super) subject: &'a Subject,
    pub(super) condition: &'a Condition,
    /// The canonical ids of the keys that are here.
    pub(super) here: &'a BTreeSet<KeyId>,
}

/// Stands for the file with a signer's certificate or public key.
const SIGNER: &str = "SIGNER_CERTIFICATE";

impl Patient<'_> {
    /// Says what is wrong, and what mends it.
    pub(super) fn finding(&self, ailment: Ailment) -> Finding {
        match ailment {
            Ailment::Expiry { role, at, phase } => {
                let message = format!("{role} metadata {} at {at}", verb(phase));
                self.renewed(&role, phase, self.about(expiry(&role, phase), &role, message))
            }
            Ailment::RootCertificate { key, at, phase } => self.root_certificate(&key, at, phase),
            Ailment::DelegationCertificate { role, key, at, phase } => {
                self.delegation_certificate(&role, &key, at, phase)
            }
            Ailment::NoKeys(role) => {
                let add = self.delegation(&["add", self.gun(), role.as_str(), SIGNER, "--publish"]);
                self.about(&kind::DELEGATION_WITHOUT_KEYS, &role, format!("{role} has no key: nobody can sign for it"))
                    .command(self.delegation(&["remove", self.gun(), role.as_str(), "--yes", "--publish"]))
                    .advice(format!("or give it the signer's key: {add}"))
            }
            Ailment::Unreachable { role, threshold, usable } => {
                let message = format!("{role} needs {threshold} signatures, and {usable} of its keys can make one");
                let finding = self.about(&kind::THRESHOLD_UNREACHABLE, &role, message);
                finding.command(match role {
                    RoleName::Delegation(_) => {
                        self.delegation(&["add", self.gun(), role.as_str(), SIGNER, "--publish"])
                    }
                    role => self.rotate(&role),
                })
            }
            Ailment::OneOfMany { role, keys } => {
                let message = format!("{role} has {keys} keys, and each of them alone is enough");
                self.about(&kind::THRESHOLD_ONE, &role, message)
                    .advice("docker and notary know no other way; keep each of the keys as if it were the only one")
            }
            Ailment::UnusableKey { role, key, reason } => {
                let message = format!("the key {key} of {role} counts for nothing: {reason}");
                let finding = self.about(&kind::KEY_WEAK, &role, message);
                finding.command(match role {
                    RoleName::Delegation(_) => {
                        self.delegation(&["remove", self.gun(), role.as_str(), &key.to_string(), "--publish"])
                    }
                    role => self.rotate(&role),
                })
            }
            Ailment::Broken { role, reason } => {
                let message = format!("{role} cannot be verified: {reason}");
                let advice = "look first at what it signs: the signer, or whoever holds the repository key, has to sign it again";
                self.about(&kind::DELEGATION_BROKEN, &role, message).command(self.witness(&role)).advice(advice)
            }
        }
    }

    fn gun(&self) -> &str {
        self.subject.gun.as_str()
    }

    fn about(&self, kind: &'static Kind, role: &RoleName, message: String) -> Finding {
        Finding::new(kind, format!("{role} of {}", self.gun()), message).about(self.gun())
    }

    fn notary(&self, words: &[&str]) -> String {
        self.bench.commands.notary(Some((&self.subject.to, &self.context.connection.tls)), words)
    }

    fn delegation(&self, words: &[&str]) -> String {
        self.notary(&[&["delegation"], words].concat())
    }

    /// Signs a role's file anew, as it is.
    fn witness(&self, role: &RoleName) -> String {
        self.notary(&["witness", self.gun(), role.as_str(), "--publish"])
    }

    fn rotate(&self, role: &RoleName) -> String {
        self.bench.commands.ours(&["key", "rotate", self.gun(), role.as_str()])
    }

    /// Tells whether a key of a role is here.
    fn holds(&self, wanted: &RoleName) -> bool {
        let keys = self.condition.keys();
        let mut of_role = keys.iter().filter(|(role, _)| role == wanted).flat_map(|(_, keys)| keys);
        of_role.any(|key| self.here.contains(&key.canonical_id()))
    }

    fn root_certificate(&self, key: &KeyId, at: Timestamp, phase: Phase) -> Finding {
        let kind = match phase {
            Phase::Over => &kind::ROOT_CERTIFICATE_EXPIRED,
            Phase::Soon => &kind::ROOT_CERTIFICATE_EXPIRES_SOON,
        };
        let message = format!("the certificate of the root key {key} {} at {at}", verb(phase));
        let finding = self.about(kind, &RoleName::Root, message);
        if self.holds(&RoleName::Root) {
            finding.command(self.bench.commands.ours(&["key", "rotate", self.gun(), "root", "--root-certificate"]))
        } else {
            finding.advice("whoever holds the root key has to publish a root with a new certificate")
        }
    }

    fn delegation_certificate(&self, role: &RoleName, key: &KeyId, at: Timestamp, phase: Phase) -> Finding {
        let kind = match phase {
            Phase::Over => &kind::DELEGATION_CERTIFICATE_EXPIRED,
            Phase::Soon => &kind::DELEGATION_CERTIFICATE_EXPIRES_SOON,
        };
        let message = format!("the certificate of the key {key} of {role} {} at {at}", verb(phase));
        self.about(kind, role, message)
            .command(self.delegation(&["remove", self.gun(), role.as_str(), &key.to_string()]))
            .command(self.delegation(&["add", self.gun(), role.as_str(), SIGNER]))
            .command(self.notary(&["publish", self.gun()]))
            .advice("SIGNER_CERTIFICATE is the signer's new one, in PEM; the repository key has to be here")
    }

    /// Says how a role's metadata gets a new date.
    fn renewed(&self, role: &RoleName, phase: Phase, finding: Finding) -> Finding {
        let holds = self.holds(role);
        match role {
            RoleName::Timestamp => finding.advice(
                "the operator of the trust service has to look after it: the service signs timestamps by itself, unless it is \
                 down, its clock is wrong, or somebody plays back old ones",
            ),
            // Of what has expired nobody has a valid view any more on which to publish.
            RoleName::Snapshot | RoleName::Root | RoleName::Targets if holds && phase == Phase::Over => {
                finding.command(self.bench.commands.ours(&["key", "recover", self.gun(), "--apply"]))
            }
            RoleName::Snapshot | RoleName::Root if holds => finding.command(self.notary(&["publish", self.gun()])),
            RoleName::Snapshot => finding.advice(
                "the operator of the trust service has to look after it, or whoever holds the snapshot key has to publish",
            ),
            RoleName::Root => finding.advice("whoever holds the root key has to publish a new root"),
            role if holds => finding.command(self.witness(role)),
            role => finding.advice(format!("whoever signs for {role} has to sign something again")),
        }
    }
}

fn verb(phase: Phase) -> &'static str {
    match phase {
        Phase::Over => "expired",
        Phase::Soon => "expires",
    }
}

fn expiry(role: &RoleName, phase: Phase) -> &'static Kind {
    match (role, phase) {
        (RoleName::Timestamp, Phase::Over) => &kind::TIMESTAMP_EXPIRED,
        (RoleName::Timestamp, Phase::Soon) => &kind::TIMESTAMP_EXPIRES_SOON,
        (RoleName::Snapshot, Phase::Over) => &kind::SNAPSHOT_EXPIRED,
        (RoleName::Snapshot, Phase::Soon) => &kind::SNAPSHOT_EXPIRES_SOON,
        (RoleName::Targets, Phase::Over) => &kind::TARGETS_EXPIRED,
        (RoleName::Targets, Phase::Soon) => &kind::TARGETS_EXPIRES_SOON,
        (RoleName::Root, Phase::Over) => &kind::ROOT_EXPIRED,
        (RoleName::Root, Phase::Soon) => &kind::ROOT_EXPIRES_SOON,
        (RoleName::Delegation(_), Phase::Over) => &kind::DELEGATION_EXPIRED,
        (RoleName::Delegation(_), Phase::Soon) => &kind::DELEGATION_EXPIRES_SOON,
    }
}
