//! The differences that the compatibility page owns up to.

use std::collections::BTreeSet;

const PAGE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/reference/compatibility.md");
const HEADING: &str = "## Transcripts";

/// A row of the table: `| section: comment | reason |`.
pub(super) struct Row {
    pub(super) section: String,
    pub(super) comment: String,
    pub(super) reason: String,
}

/// Returns the comments of a section that are listed.
pub(super) fn comments(section: &str) -> BTreeSet<String> {
    rows().into_iter().filter(|row| row.section == section).map(|row| row.comment).collect()
}

/// Reads the table.
pub(super) fn rows() -> Vec<Row> {
    let page = std::fs::read_to_string(PAGE).unwrap_or_else(|error| panic!("{PAGE}: {error}"));
    let chapter = page.lines().skip_while(|line| *line != HEADING).skip(1);
    let rows = chapter.take_while(|line| !line.starts_with("## ")).filter(|line| line.starts_with("| "));
    rows.filter_map(row).collect()
}

fn row(line: &str) -> Option<Row> {
    let mut cells = line.trim_matches('|').split('|').map(|cell| cell.trim().to_owned());
    let (section, comment) = cells.next()?.split_once(": ").map(|(a, b)| (a.to_owned(), b.to_owned()))?;
    Some(Row { section, comment, reason: cells.next()? })
}
