//! `countersign inspect`: who signed which tags, printed as docker prints it.

use crate::context::{Context, GlobalOptions};
use crate::error::CliError;
use crate::notes;
use crate::output::{data, harmless, message, unwritten};
use crate::progress::showing;
use clap::Args;
use countersign_image::{Reference, Tag};
use countersign_notary::Access;
use countersign_trust::TrustError;
use countersign_trust::report::{Owner, REPOSITORY_ADMINISTRATOR, Report, natural};
use countersign_tuf::update::Purpose;
use std::fmt::Write as _;
use std::io::{self, Write as _};

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
            print_json(&reports)?;
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

/// Writes the reports to stdout as docker does: four spaces, and everything escaped that Go and terminals mind.
pub(crate) fn print_json(reports: &[Report]) -> Result<(), CliError> {
    let mut stdout = io::BufWriter::new(io::stdout().lock());
    let written = write_json(reports, &mut stdout).and_then(|()| stdout.write_all(b"\n")).and_then(|()| stdout.flush());
    written.map_err(|error| unwritten(&error))
}

fn write_json(reports: &[Report], to: impl io::Write) -> io::Result<()> {
    let formatter = Escaping(serde_json::ser::PrettyFormatter::with_indent(b"    "));
    let mut serializer = serde_json::Serializer::with_formatter(to, formatter);
    Ok(serde::Serialize::serialize(reports, &mut serializer)?)
}

/// Escapes in strings what Go escapes there, and what could forge lines or turn text around.
struct Escaping<'a>(serde_json::ser::PrettyFormatter<'a>);

impl serde_json::ser::Formatter for Escaping<'_> {
    fn write_string_fragment<W: ?Sized + io::Write>(&mut self, writer: &mut W, fragment: &str) -> io::Result<()> {
        let mut rest = fragment;
        while let Some(at) = rest.find(is_escaped) {
            let (before, behind) = rest.split_at(at);
            writer.write_all(before.as_bytes())?;
            let mut chars = behind.chars();
            if let Some(c) = chars.next() {
                write!(writer, "\\u{:04x}", u32::from(c))?;
            }
            rest = chars.as_str();
        }
        writer.write_all(rest.as_bytes())
    }

    fn begin_array<W: ?Sized + io::Write>(&mut self, writer: &mut W) -> io::Result<()> {
        self.0.begin_array(writer)
    }

    fn end_array<W: ?Sized + io::Write>(&mut self, writer: &mut W) -> io::Result<()> {
        self.0.end_array(writer)
    }

    fn begin_array_value<W: ?Sized + io::Write>(&mut self, writer: &mut W, first: bool) -> io::Result<()> {
        self.0.begin_array_value(writer, first)
    }

    fn end_array_value<W: ?Sized + io::Write>(&mut self, writer: &mut W) -> io::Result<()> {
        self.0.end_array_value(writer)
    }

    fn begin_object<W: ?Sized + io::Write>(&mut self, writer: &mut W) -> io::Result<()> {
        self.0.begin_object(writer)
    }

    fn end_object<W: ?Sized + io::Write>(&mut self, writer: &mut W) -> io::Result<()> {
        self.0.end_object(writer)
    }

    fn begin_object_key<W: ?Sized + io::Write>(&mut self, writer: &mut W, first: bool) -> io::Result<()> {
        self.0.begin_object_key(writer, first)
    }

    fn begin_object_value<W: ?Sized + io::Write>(&mut self, writer: &mut W) -> io::Result<()> {
        self.0.begin_object_value(writer)
    }

    fn end_object_value<W: ?Sized + io::Write>(&mut self, writer: &mut W) -> io::Result<()> {
        self.0.end_object_value(writer)
    }
}

fn is_escaped(c: char) -> bool {
    matches!(
        c,
        '<' | '>'
            | '&'
            | '\u{7f}'..='\u{9f}'
            | '\u{200e}'
            | '\u{200f}'
            | '\u{2028}'..='\u{202e}'
            | '\u{2066}'..='\u{2069}'
    )
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
