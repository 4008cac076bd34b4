//! What it means that a collection cannot be verified.

use super::finding::Finding;
use super::{Bench, Subject, kind, repair, services};
use crate::context::Context;
use countersign_notary::TrustService;
use countersign_trust::TrustError;
use countersign_trust::condition::{Ailment, Phase};
use countersign_tuf::RootError;
use countersign_tuf::update::{Absence, UpdateError};
use std::path::PathBuf;

/// What the reason for a refusal is.
pub(super) enum Reason {
    /// A finding of its own.
    Finding(Finding),
    /// Something that is found when the collection's condition is looked at.
    Ailment(Ailment),
    /// It is known already, or nothing is wrong.
    Known,
}

/// Explains a refusal after the service was asked.
pub(super) async fn explain(
    bench: &Bench,
    context: &Context,
    subject: &Subject,
    service: &TrustService,
    error: &TrustError,
) -> Reason {
    let absent = matches!(
        error,
        TrustError::Update(UpdateError::NoTrustData(_) | UpdateError::Away { absence: Absence::NotFound, .. })
    );
    if !absent {
        return of_error(bench, context, subject, error);
    }
    match service.is_trust_service().await {
        Ok(true) => Reason::Finding(unknown(bench, context, subject)),
        Ok(false) => {
            let message = "it does not know what trust data is: a registry or another web server answers";
            Reason::Finding(services::not_one(&subject.to, message))
        }
        Err(error) => of_error(bench, context, subject, &error.into()),
    }
}

/// Explains a refusal by what is here.
pub(super) fn of_error(bench: &Bench, context: &Context, subject: &Subject, error: &TrustError) -> Reason {
    let gun = subject.gun.as_str();
    let finding = |kind, place: String| Finding::new(kind, place, error).about(gun);
    let address = || subject.to.address.to_string();
    let pinned = || bench.commands.ours(&["pin", gun, "--root-key", "ROOT_KEY_ID"]);
    let TrustError::Update(update) = error else {
        return Reason::Finding(match error {
            TrustError::Seen { path, .. } => seen(bench, gun, path, error),
            _ => super::not_checked(gun, error),
        });
    };
    Reason::Finding(match update {
        UpdateError::Away { absence, .. } => return of_absence(bench, context, subject, absence, error),
        UpdateError::LostRoot(_) => finding(&kind::CACHED_ROOT_LOST, root_file(context, subject).display().to_string())
            .command(establish_anew(bench, gun))
            .advice(
                "better: restore root.json from a backup of the trust directory; ROOT_KEY_ID is what the owner says, by \
                 another way than the trust service",
            ),
        UpdateError::CachedRoot(_) => {
            return Reason::Finding(damaged_root(bench, context, subject, &error.to_string()));
        }
        UpdateError::Root(RootError::Pin(_)) => {
            let by = context.pin(&subject.gun).map(|(_, by)| by.to_string()).unwrap_or_default();
            finding(&kind::PIN_MISMATCH, by)
                .command(bench.commands.ours(&["pin", gun, "--root-key", "ROOT_KEY_ID", "--replace"]))
                .advice("only if the owner confirms the new root key, by another way: otherwise this is an attack")
        }
        UpdateError::Root(RootError::FirstUse(_)) => {
            let by = context.first_use(&subject.gun).1.to_string();
            finding(&kind::FIRST_USE_DENIED, by)
                .command(pinned())
                .advice("ROOT_KEY_ID is what the owner says, by another way than the trust service")
        }
        UpdateError::Root(RootError::Expired(expired)) | UpdateError::Expired(expired) => {
            let (role, at) = (expired.role.clone(), expired.at.clone());
            return Reason::Ailment(Ailment::Expiry { role, at, phase: Phase::Over });
        }
        _ => finding(&kind::METADATA_REFUSED, address())
            .command(bench.commands.ours(&["verify", gun]))
            .advice("ask the collection's owner and the service's operator: nothing of the answer must be relied on"),
    })
}

fn of_absence(bench: &Bench, context: &Context, subject: &Subject, absence: &Absence, error: &TrustError) -> Reason {
    let finding = |kind| Finding::new(kind, &subject.to.address, error).about(&subject.gun);
    Reason::Finding(match absence {
        Absence::Refused(_) => {
            let registry = subject.gun.segments().next().unwrap_or_default();
            finding(&kind::ACCESS_REFUSED).command(repair::line(["docker", "login", registry])).advice(
                "the trust service takes the registry's credentials; if they are right, its operator has to grant access",
            )
        }
        Absence::Hostile(_) => services::not_one(&subject.to, &error.to_string()),
        Absence::NotFound => unknown(bench, context, subject),
        Absence::Unreachable(reason) if is_slow(reason) => slow(bench, subject),
        Absence::Unreachable(_) | Absence::Tls(_) => {
            let there = "is the trust service running, and is this its address? countersign trust show IMAGE says what named it";
            let url = subject.to.address.entrance().to_string();
            let finding =
                Finding::new(&kind::SERVICE_UNREACHABLE, &subject.to.address, error).about(&subject.to.address);
            finding.command(repair::line(["curl", "-v", &*url])).advice(there)
        }
    })
}

/// Tells whether a service was waited for in vain: who hears of an absence has only the words of the HTTP client.
fn is_slow(reason: &str) -> bool {
    reason.contains("took longer than")
}

/// Tells whether a service that failed so need not be asked about other collections.
pub(super) fn is_away(error: &TrustError) -> bool {
    matches!(error, TrustError::Update(UpdateError::Away { absence: Absence::Unreachable(_), .. }))
}

/// Says that a service took too long about a collection.
pub(super) fn slow(bench: &Bench, subject: &Subject) -> Finding {
    let message = format!("it greets, but did not answer within {} s about {}", bench.limit.as_secs_f32(), subject.gun);
    Finding::new(&kind::SERVICE_SLOW, &subject.to.address, message)
        .about(&subject.to.address)
        .command(bench.commands.ours(&["doctor", "--timeout", "2m"]))
        .advice("a service that is often so slow needs its operator's care")
}

fn unknown(bench: &Bench, context: &Context, subject: &Subject) -> Finding {
    let gun = subject.gun.as_str();
    let named = context.destination(&subject.gun).map(|(_, by)| by.to_string()).unwrap_or_default();
    let address = &subject.to.address;
    let (message, advice) = if root_file(context, subject).exists() {
        let message = format!("{address} has nothing of {gun}, which this machine has seen published ({named})");
        (message, "it was deleted there, or this is another service: trust show says what named it")
    } else {
        let message = format!("nobody has signed {gun} at {address} ({named})");
        (message, "sign it with countersign sign IMAGE:TAG, or name the service where it is signed")
    };
    Finding::new(&kind::COLLECTION_UNKNOWN, address, message)
        .about(gun)
        .command(bench.commands.ours(&["trust", "show", gun]))
        .advice(advice)
}

/// Says that the cached root cannot be read.
pub(super) fn damaged_root(bench: &Bench, context: &Context, subject: &Subject, reason: &str) -> Finding {
    let (gun, file) = (subject.gun.as_str(), root_file(context, subject));
    Finding::new(&kind::CACHED_ROOT_DAMAGED, file.display(), reason)
        .about(gun)
        .command(repair::on_file(&["rm"], &file))
        .command(establish_anew(bench, gun))
        .advice(
            "better: restore root.json from a backup of the trust directory; ROOT_KEY_ID is what the owner says, by another \
             way than the trust service",
        )
}

/// Says that the record of versions seen cannot be read.
fn seen(bench: &Bench, gun: &str, path: &str, error: &TrustError) -> Finding {
    Finding::new(&kind::SEEN_DAMAGED, path, error)
        .about(gun)
        .command(repair::line(["rm", path]))
        .command(bench.commands.ours(&["trust", "show", gun, "--online"]))
        .advice("without the record an older state could be taken for the present one: compare what is signed with its owner")
}

fn establish_anew(bench: &Bench, gun: &str) -> String {
    bench.commands.ours(&["trust", "show", gun, "--online", "--re-establish-trust", "--pin", "ROOT_KEY_ID"])
}

fn root_file(context: &Context, subject: &Subject) -> PathBuf {
    let mut path = context.directory.path().join("tuf");
    path.extend(subject.gun.segments());
    path.join("metadata/root.json")
}
