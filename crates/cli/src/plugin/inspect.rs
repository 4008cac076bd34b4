//! `docker trust inspect`: who signed which tags.

use super::line::Call;
use super::session::{about, context};
use crate::command::inspect::{pretty, print_json};
use crate::context::Context;
use crate::error::CliError;
use crate::output::{data, harmless, message};
use crate::trusted::words::decorated;
use crate::trusted::{remark, retiring};
use countersign_image::{Reference, Tag};
use countersign_notary::Access;
use countersign_trust::TrustError;
use countersign_trust::report::Report;
use countersign_tuf::update::Purpose;

pub(super) async fn run(call: &Call) -> Result<(), CliError> {
    let context = context(call)?;
    let images = call.own.texts();
    let (mut reports, mut failures) = (Vec::new(), Vec::new());
    let is_pretty = call.own.is_on("pretty");
    for (index, image) in images.iter().enumerate() {
        match report(&context, image).await {
            Ok(report) if is_pretty => {
                data(pretty(&report).trim_end_matches('\n'))?;
                if index + 1 < images.len() {
                    data("\n")?;
                }
            }
            Ok(report) => reports.push(report),
            Err(error) => {
                failures.push((*image, error));
                if is_pretty {
                    break;
                }
            }
        }
    }
    if !is_pretty {
        print_json(&reports)?;
    }
    concluded(failures)
}

/// Says of each failure what docker says, with the cause as a hint; the first one decides how the command ends.
fn concluded(failures: Vec<(&str, CliError)>) -> Result<(), CliError> {
    let mut first = None;
    for (image, error) in failures {
        message(format_args!("no signatures or cannot access {}", harmless(image)));
        message(format_args!("  hint: {}", harmless(&error.message)));
        for hint in &error.hints {
            message(format_args!("  hint: {}", harmless(hint)));
        }
        first.get_or_insert(CliError::new(error.kind, ""));
    }
    first.map_or(Ok(()), Err)
}

async fn report(context: &Context, image: &str) -> Result<Report, CliError> {
    let reference = Reference::parse(image)?;
    let pinning = context.pinning(&reference);
    let client = context.client(&reference, &pinning, Access::Read)?;
    retiring(&client);
    let failed = |error: TrustError| decorated(error, about(reference.gun(), &client));
    let collection = client.update(Purpose::Read).await.map_err(failed)?;
    remark(&collection);
    let tag = reference.tag().filter(|_| reference.digest().is_none()).map(Tag::as_str);
    Report::new(image, &collection, tag).map_err(|error| failed(error.into()))
}
