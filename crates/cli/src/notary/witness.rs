//! `notary witness`: signing roles anew as they are.

use super::context::Session;
use super::failure::Failure;
use super::invocation::{Invocation, parse_gun};
use super::{print, publish};
use crate::output::{harmless, message};
use countersign_trust::{Decision, Difference, WitnessSubject};
use countersign_tuf::RoleName;
use countersign_tuf::metadata::FileMeta;

/// Most names that are shown one by one for each role.
const MAX_SHOWN: usize = 200;

/// Stages that roles are signed anew.
pub(super) async fn run(invocation: &Invocation) -> Result<(), Failure> {
    const WANTED: &str = "Please provide a GUN and at least one role to witness";
    let arguments = invocation.arguments();
    let [gun, names @ ..] = arguments.as_slice() else { return Err(invocation.refuse(WANTED)) };
    if names.is_empty() {
        return Err(invocation.refuse(WANTED));
    }
    let refuse =
        |name: &str| Failure::user(format!("tuf: invalid role {name}. only targets and delegations can be witnessed"));
    let role = |name: &&str| RoleName::parse(name).ok().filter(RoleName::lists_targets).ok_or_else(|| refuse(name));
    let gun = parse_gun(gun)?;
    let roles = names.iter().map(role).collect::<Result<Vec<RoleName>, Failure>>()?;
    let session = Session::open(invocation, gun, publish::reach(invocation))?;
    session.here()?.stage_witness(&roles)?;
    let list = super::bullets(&roles);
    print(format_args!("The following roles were successfully marked for witnessing on the next publish:\n{list}"))?;
    publish::if_wanted(invocation, &session).await
}

/// Shows what is about to be signed although nobody can verify it, and goes on: whoever witnesses has asked for that.
pub(super) fn show(subjects: &[WitnessSubject]) -> Decision {
    for subject in subjects {
        let Some(reason) = &subject.reason else { continue };
        message(format_args!(
            "warning: {} version {} cannot be verified ({}); what it holds is about to be signed:",
            subject.role,
            subject.version,
            harmless(&reason.to_string())
        ));
        let known = subject.last_verified.is_some();
        let differences = subject.differences();
        message(if known {
            "  compared with what this machine last verified:"
        } else {
            "  nothing of it was verified before:"
        });
        for difference in differences.iter().take(MAX_SHOWN) {
            show_one(difference);
        }
        if differences.len() > MAX_SHOWN {
            message(format_args!("  … and {} more names", differences.len() - MAX_SHOWN));
        }
        if differences.is_empty() {
            message("  the names are the same");
        }
        if subject.delegations_differ() {
            message("  and who else may sign below it is different");
            for role in subject.content.delegations.iter() {
                let keys: Vec<String> = role.keys.key_ids.iter().map(ToString::to_string).collect();
                message(format_args!("  delegation {} with keys {}", role.name, keys.join(", ")));
            }
        }
    }
    Decision::Sign
}

fn show_one(difference: &Difference) {
    let name = harmless(&difference.name);
    match (&difference.before, &difference.after) {
        (None, Some(after)) => message(format_args!("  + {name} {}", shown(after))),
        (Some(before), None) => message(format_args!("  - {name} {}", shown(before))),
        (Some(before), Some(after)) => {
            message(format_args!("  ~ {name} {} instead of {}", shown(after), shown(before)));
        }
        (None, None) => {}
    }
}

fn shown(meta: &FileMeta) -> String {
    let digest = match (meta.sha256, meta.sha512) {
        (Some(hash), _) => format!("sha256:{}", hash.hex()),
        (None, Some(hash)) => format!("sha512:{}", hash.hex()),
        (None, None) => "without a hash".to_owned(),
    };
    format!("{digest} {}", meta.length)
}
