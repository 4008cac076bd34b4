//! Collections: what the service has of them, what is cached, and what becomes of it soon.

use super::ailments::Patient;
use super::finding::{Finding, Report};
use super::refusals::{self, Reason};
use super::services::{AT_ONCE, Standing, Standings};
use super::{Bench, Network, Subject, kind, not_checked, repair};
use crate::context::Context;
use crate::error::CliError;
use countersign_crypto::KeyId;
use countersign_notary::Access;
use countersign_trust::condition::{Ailment, Condition, Phase, wildcard_names};
use countersign_trust::{CollectionClient, ConnectionError, TrustError};
use countersign_tuf::metadata::Root;
use countersign_tuf::update::UpdateError;
use countersign_tuf::{Collection, Gun, Note, RoleName, RootError};
use futures_util::StreamExt as _;
use futures_util::stream;
use std::cell::RefCell;
use std::collections::BTreeSet;
use std::time::Duration;

/// How many answers a collection may take, one after the other, each as long as the service may take for one.
const ANSWERS: u32 = 3;

/// A collection that was looked at.
pub(super) struct Examined {
    pub(super) gun: Gun,
    /// The best that is known of it: from the service, else from the cache.
    pub(super) condition: Condition,
}

/// Whether the service was asked about a collection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Asked {
    Yes,
    No,
}

/// What is shared while several collections are looked at.
struct Desk<'a> {
    bench: &'a Bench,
    context: &'a Context,
    /// The canonical ids of the keys that are here.
    keys: BTreeSet<KeyId>,
    /// Services that have just been too slow: others need not wait for them, too.
    slow: RefCell<BTreeSet<String>>,
}

/// Looks at all collections, several at once.
pub(super) async fn check(
    bench: &Bench,
    context: &Context,
    subjects: &[Subject],
    standings: &Standings,
    report: &mut Report,
) -> Vec<Examined> {
    let listing = context.directory.keys().list().unwrap_or_default();
    let keys = listing.keys.iter().map(|key| key.id).collect();
    let desk = Desk { bench, context, keys, slow: RefCell::default() };
    let looked = stream::iter(subjects).map(|subject| desk.examine(subject, standings.of(&subject.to)));
    let looked: Vec<_> = looked.buffered(AT_ONCE).collect().await;
    let mut examined = Vec::new();
    for (one, found) in looked {
        report.extend(found.findings);
        for (what, why) in found.not_made {
            report.not_made(what, why);
        }
        examined.extend(one);
    }
    examined
}

/// What was found about one collection.
#[derive(Default)]
struct Found {
    findings: Vec<Finding>,
    not_made: Vec<(String, &'static str)>,
}

impl Desk<'_> {
    async fn examine(&self, subject: &Subject, standing: Standing) -> (Option<Examined>, Found) {
        let mut found = Found::default();
        let (bench, context, gun) = (self.bench, self.context, &subject.gun);
        let pinning = context.pinning_of(gun);
        let opened = context.observed(&subject.to, gun, &pinning, Access::Read, bench.patience());
        let mut client = match opened {
            Ok(client) => client,
            Err(error) => {
                self.unopened(subject, &error, &mut found);
                let cached = context.directory.collection(gun).map(|local| Condition::cached(&local).0);
                return (cached.ok().map(|condition| Examined { gun: gun.clone(), condition }), found);
            }
        };
        let (cached, damages) = Condition::cached(client.local());
        if self.can_sign(&cached)
            && let Ok(writing) = context.observed(&subject.to, gun, &pinning, Access::Write, bench.patience())
        {
            client = writing;
        }
        for damage in damages {
            found.findings.push(self.damaged(subject, &damage.role, &damage.reason));
        }
        let (seen, asked) = self.observe(subject, standing, &client, &mut found).await;
        let condition = match &seen {
            Ok(collection) => {
                found.findings.extend(self.notes(subject, collection, asked));
                found.findings.extend(shortfall(subject, &client));
                Condition::of(collection)
            }
            Err(_) => cached,
        };
        let mut ailments = condition.ailments(bench.horizon);
        if let Err(error) = seen {
            let reason = self.explain(subject, asked, &client, &error, &ailments).await;
            match reason {
                Reason::Finding(finding) => found.findings.push(finding),
                Reason::Ailment(ailment) => ailments.push(ailment),
                Reason::Known => {}
            }
        }
        let patient = Patient { bench, context, subject, condition: &condition, here: &self.keys };
        found.findings.extend(ailments.into_iter().map(|ailment| patient.finding(ailment)));
        found.findings.extend(condition.root.iter().flat_map(|root| wildcards(gun, root)));
        found.findings.extend(self.staged(subject, &client));
        (Some(Examined { gun: gun.clone(), condition }), found)
    }

    fn unopened(&self, subject: &Subject, error: &CliError, found: &mut Found) {
        match self.context.connection.prepare(&subject.to) {
            // That was found when the files were looked at.
            Err(ConnectionError::Tls(_)) => {
                found.not_made.push((subject.gun.to_string(), "the certificates for its trust service cannot be used"));
            }
            _ => found.findings.push(not_checked(subject.gun.as_str(), &error.message)),
        }
    }

    /// Verifies the collection with the service if it answers, else with what is here.
    async fn observe(
        &self,
        subject: &Subject,
        standing: Standing,
        client: &CollectionClient<'_>,
        found: &mut Found,
    ) -> (Result<Collection, TrustError>, Asked) {
        let address = subject.to.address.to_string();
        let is_slow = self.slow.borrow().contains(&address);
        if standing == Standing::Answers && !is_slow {
            let limit: Duration = self.bench.limit.saturating_mul(ANSWERS);
            if let Ok(seen) = tokio::time::timeout(limit, client.observe()).await {
                if seen.as_ref().is_err_and(refusals::is_away) {
                    self.slow.borrow_mut().insert(address);
                }
                return (seen, Asked::Yes);
            }
            self.slow.borrow_mut().insert(address);
            found.findings.push(refusals::slow(self.bench, subject));
        } else if self.bench.network == Network::Asked {
            found
                .not_made
                .push((format!("what the service has of {}", subject.gun), "it does not answer as it should"));
        }
        (client.observe_here(), Asked::No)
    }

    async fn explain(
        &self,
        subject: &Subject,
        asked: Asked,
        client: &CollectionClient<'_>,
        error: &TrustError,
        ailments: &[Ailment],
    ) -> Reason {
        let is_over = |ailment: &Ailment| matches!(ailment, Ailment::RootCertificate { phase: Phase::Over, .. });
        match error {
            TrustError::Update(UpdateError::Root(RootError::NoLeafCertificates(_))) if ailments.iter().any(is_over) => {
                Reason::Known
            }
            TrustError::Update(UpdateError::Away { .. } | UpdateError::NoTrustData(_)) if asked == Asked::No => {
                Reason::Known
            }
            _ if asked == Asked::Yes => {
                refusals::explain(self.bench, self.context, subject, client.service(), error).await
            }
            _ => refusals::of_error(self.bench, self.context, subject, error),
        }
    }

    fn can_sign(&self, condition: &Condition) -> bool {
        let signs = |role: &RoleName| !matches!(role, RoleName::Root | RoleName::Snapshot | RoleName::Timestamp);
        let keys = condition.keys();
        keys.iter().any(|(role, keys)| signs(role) && keys.iter().any(|key| self.keys.contains(&key.canonical_id())))
    }

    fn damaged(&self, subject: &Subject, role: &RoleName, reason: &str) -> Finding {
        if *role == RoleName::Root {
            return refusals::damaged_root(self.bench, self.context, subject, reason);
        }
        let gun = &subject.gun;
        let place = self.context.directory.path().join("tuf").join(gun.as_str()).join(format!("metadata/{role}.json"));
        Finding::new(&kind::CACHE_DAMAGED, place.display(), format!("the cached {role} metadata is damaged: {reason}"))
            .about(gun)
            .command(self.bench.commands.ours(&["trust", "show", gun.as_str(), "--online"]))
    }

    fn notes(&self, subject: &Subject, collection: &Collection, asked: Asked) -> Vec<Finding> {
        let of_note = |note: &Note| match note {
            Note::ClockBehind => {
                let message =
                    "this machine's clock is behind the last verification: expired signatures could look fresh";
                let finding = Finding::new(&kind::CLOCK_BEHIND, "clock", message).about(&subject.gun);
                Some(finding.command("timedatectl set-ntp true"))
            }
            Note::CachedTimestamp(absence) if asked == Asked::Yes => {
                let error = UpdateError::Away { role: RoleName::Timestamp, absence: absence.clone() };
                match refusals::of_error(self.bench, self.context, subject, &error.into()) {
                    Reason::Finding(finding) => Some(finding),
                    Reason::Ailment(_) | Reason::Known => None,
                }
            }
            _ => None,
        };
        collection.notes().iter().filter_map(of_note).collect()
    }

    fn staged(&self, subject: &Subject, client: &CollectionClient<'_>) -> Option<Finding> {
        let (bench, gun) = (self.bench, &subject.gun);
        let place = client.local().path().join("changelist");
        let to = Some((&subject.to, &self.context.connection.tls));
        let reset = bench.commands.notary(None, &["reset", gun.as_str(), "--all"]);
        match client.staged() {
            Ok(staged) if staged.entries.is_empty() && staged.skipped.is_empty() => None,
            Ok(staged) => {
                let message = format!("{} change(s) wait to be published", staged.entries.len());
                let finding = Finding::new(&kind::CHANGES_STAGED, place.display(), message).about(gun);
                let publish = bench.commands.notary(to, &["publish", gun.as_str()]);
                Some(finding.command(publish).advice(format!("or drop them: {reset}")))
            }
            Err(error) => {
                let finding = Finding::new(&kind::CHANGES_STAGED, place.display(), error).about(gun);
                Some(finding.command(reset))
            }
        }
    }
}

fn wildcards(gun: &Gun, root: &Root) -> Vec<Finding> {
    let finding = |name: String| {
        let message = format!("the root certificate is for {name}: metadata of its siblings cannot be told apart");
        Finding::new(&kind::ROOT_WILDCARD, format!("root of {gun}"), message)
            .about(gun)
            .advice("a certificate of its own for each collection is safer: countersign key rotate IMAGE root")
    };
    wildcard_names(root, gun).into_iter().map(finding).collect()
}

/// Says which access is not granted, to those who have a key to sign with.
fn shortfall(subject: &Subject, client: &CollectionClient<'_>) -> Option<Finding> {
    let missing = client.service().shortfall()?;
    let registry = subject.gun.segments().next().unwrap_or_default();
    let finding = Finding::new(&kind::ACCESS_READ_ONLY, &subject.to.address, missing).about(&subject.gun);
    let login = finding.command(repair::line(["docker", "login", registry]));
    Some(login.advice("log in as somebody who may push, or ask the operator to grant it"))
}
