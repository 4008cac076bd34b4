//! Tables as the client prints them: padded columns, a line of dashes below the headers.

use crate::output::harmless;
use std::fmt::Write;

/// Spaces between two columns.
const GAP: usize = 4;

/// Lays out a table, each line with its end. Every column but the last is padded to its widest cell.
pub(super) fn table<const N: usize>(headers: [&str; N], rows: &[[String; N]]) -> String {
    let header = headers.map(str::to_owned);
    let dashes = headers.map(|text| "-".repeat(text.len()));
    let safe: Vec<[String; N]> = rows.iter().map(|row| row.each_ref().map(|cell| harmless(cell))).collect();
    let all = || [&header, &dashes].into_iter().chain(&safe);
    let mut widths = [0; N];
    for row in all() {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(cell.chars().count());
        }
    }
    let mut text = String::new();
    for row in all() {
        for (column, (cell, width)) in row.iter().zip(widths).enumerate() {
            let padded = if column + 1 < N { width + GAP } else { 0 };
            let _ = write!(text, "{cell:padded$}");
        }
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_column_is_not_padded_and_a_header_counts_as_a_cell() {
        let rows = [["one".to_owned(), String::new()], ["lengthy".to_owned(), "x".to_owned()]];
        assert_eq!(table(["NAME", "P"], &rows), "NAME       P\n----       -\none        \nlengthy    x\n");
    }

    #[test]
    fn terminal_escapes_in_cells_are_shown() {
        assert_eq!(table(["A"], &[["\x1b[2J".to_owned()]]), "A\n-\n\\u{1b}[2J\n");
    }
}
