//! `countersign inspect`: who signed which tags, printed as docker prints it.

use crate::context::{Context, GlobalOptions};
use crate::error::CliError;
use crate::notes;
use crate::output::{data, harmless, message};
use crate::progress::showing;
use clap::Args;
use countersign_image::{Reference, Tag};
use countersign_notary::Access;
use countersign_trust::TrustError;
use countersign_trust::report::{Owner, REPOSITORY_ADMINISTRATOR, Report, natural};
use countersign_tuf::update::Purpose;
use std::fmt::Write;

/// Show signed tags, signers and keys
#[derive(Debug, Args)]
pub(crate) struct Inspect {
    /// Images; with a tag only that tag is shown
    #[arg(value_name = "IMAGE[:TAG]", required = true)]
    images: Vec<String>,
    /// Print for people instead of JSON
    #[arg(long)]
    pretty: bool,
}

impl Inspect {
    pub(crate) async fn run(&self, options: &GlobalOptions) -> Result<(), CliError> {
        let context = Context::new(options)?;
        let (mut reports, mut failure) = (Vec::new(), None);
        for (index, image) in self.images.iter().enumerate() {
            match report(&context, image).await {
                Ok(report) if self.pretty => {
                    data(pretty(&report).trim_end_matches('\n'))?;
                    if index + 1 < self.images.len() {
                        data("\n")?;
                    }
                }
                Ok(report) => reports.push(report),
                Err(error) => {
                    message(format_args!("no signatures or cannot access {}", harmless(image)));
                    failure.get_or_insert(error);
                    if self.pretty {
                        break;
                    }
                }
            }
        }
        if !self.pretty {
            data(json(&reports)?)?;
        }
        failure.map_or(Ok(()), Err)
    }
}

async fn report(context: &Context, image: &str) -> Result<Report, CliError> {
    let reference = Reference::parse(image)?;
    let pinning = context.pinning(&reference);
    let client = context.client(&reference, &pinning, Access::Read)?;
    let collection = showing("looking for signatures", Box::pin(client.update(Purpose::Read))).await?;
    notes::show(&collection);
    let tag = reference.tag().filter(|_| reference.digest().is_none()).map(Tag::as_str);
    Ok(Report::new(image, &collection, tag).map_err(TrustError::from)?)
}

/// Writes the reports as docker does: four spaces, and everything escaped that Go and terminals mind.
pub(crate) fn json(reports: &[Report]) -> Result<String, CliError> {
    let mut output = Vec::new();
    let formatter = serde_json::ser::PrettyFormatter::with_indent(b"    ");
    let mut serializer = serde_json::Serializer::with_formatter(&mut output, formatter);
    serde::Serialize::serialize(reports, &mut serializer).map_err(|error| CliError::internal(&error))?;
    let text = String::from_utf8(output).map_err(|error| CliError::internal(&error))?;
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        // Inside strings only: outside of them JSON has none of these characters.
        match c {
            '<'
            | '>'
            | '&'
            | '\u{7f}'..='\u{9f}'
            | '\u{200e}'
            | '\u{200f}'
            | '\u{2028}'..='\u{202e}'
            | '\u{2066}'..='\u{2069}' => {
                let _ = write!(escaped, "\\u{:04x}", u32::from(c));
            }
            _ => escaped.push(c),
        }
    }
    Ok(escaped)
}

/// Writes a report as docker does with `--pretty`.
pub(crate) fn pretty(report: &Report) -> String {
    let mut text = String::new();
    let name = harmless(&report.name);
    if report.signed_tags.is_empty() {
        let _ = write!(text, "\nNo signatures for {name}\n\n");
    } else {
        let _ = write!(text, "\nSignatures for {name}\n\n");
        let rows = report.signed_tags.iter().map(|tag| {
            let signers = match tag.signers.as_slice() {
                [only] if only == REPOSITORY_ADMINISTRATOR => format!("({only})"),
                signers => {
                    let mut signers: Vec<String> = signers.iter().map(|signer| harmless(signer)).collect();
                    signers.sort();
                    signers.join(", ")
                }
            };
            vec![harmless(&tag.signed_tag), tag.digest.clone(), signers]
        });
        text.push_str(&table(&["SIGNED TAG", "DIGEST", "SIGNERS"], rows.collect()));
    }
    if !report.signers.is_empty() {
        let _ = write!(text, "\nList of signers and their keys for {name}\n\n");
        let mut signers: Vec<&Owner> = report.signers.iter().collect();
        signers.sort_by(|a, b| natural(&a.name, &b.name));
        let rows = signers.into_iter().map(|owner| {
            let keys: Vec<&str> = owner.keys.iter().map(|key| key.id.get(..12).unwrap_or(&key.id)).collect();
            vec![harmless(&owner.name), keys.join(", ")]
        });
        text.push_str(&table(&["SIGNER", "KEYS"], rows.collect()));
    }
    let _ = write!(text, "\nAdministrative keys for {name}\n\n");
    for owner in report.administrative_keys.iter().rev() {
        let keys: Vec<&str> = owner.keys.iter().map(|key| key.id.as_str()).collect();
        let _ = writeln!(text, "  {} Key:\t{}", owner.name, keys.join(", "));
    }
    text
}

/// Lays a table out as Go's tab writer does for docker: three blanks between columns, at least ten wide, the last unpadded.
fn table(header: &[&str], rows: Vec<Vec<String>>) -> String {
    let header = header.iter().map(|cell| (*cell).to_owned()).collect();
    let rows: Vec<Vec<String>> = std::iter::once(header).chain(rows).collect();
    let columns = rows.first().map_or(0, Vec::len);
    let width = |column: usize| {
        rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count() + 3).max().unwrap_or(0).max(10)
    };
    let widths: Vec<usize> = (0..columns).map(width).collect();
    let mut text = String::new();
    for row in &rows {
        for (column, (cell, width)) in row.iter().zip(&widths).enumerate() {
            if column + 1 == columns {
                let _ = writeln!(text, "{cell}");
            } else {
                let _ = write!(text, "{cell:<width$}");
            }
        }
    }
    text
}
