//! Pins: for nothing, or missing where the first use is denied. Those that do not match are found with the collections.

use super::collections::Examined;
use super::finding::{Finding, Report};
use super::{Bench, kind};
use crate::context::{Context, FirstUsePolicy};
use crate::settings::covers;
use countersign_tuf::Gun;

pub(super) fn check(bench: &Bench, context: &Context, known: &[Gun], examined: &[Examined], report: &mut Report) {
    if bench.named.is_empty() {
        for (prefix, pin) in context.settings().pins() {
            if known.iter().any(|gun| covers(prefix, gun.as_str())) {
                continue;
            }
            let message = format!("no collection below {prefix} is known here");
            let remove = bench.commands.ours(&["pin", "remove", prefix]);
            let advice =
                "keep it if the image is to be used here for the first time; a name with a slip in it protects nothing";
            let finding = Finding::new(&kind::PIN_UNUSED, pin.named_by(), message).about(prefix);
            report.add(finding.command(remove).advice(advice));
        }
    }
    for one in examined.iter().filter(|one| one.condition.root.is_some()) {
        let (policy, by) = context.first_use(&one.gun);
        if policy == FirstUsePolicy::Deny && context.pin(&one.gun).is_none() {
            let message =
                format!("{} is known here, but not pinned: a lost trust directory could not be made again", one.gun);
            let pin = bench.commands.ours(&["pin", one.gun.as_str()]);
            report.add(Finding::new(&kind::PIN_NONE, by, message).about(&one.gun).command(pin));
        }
    }
}
