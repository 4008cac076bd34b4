//! Tables as the client prints them: padded columns, a line of dashes below the headers.

use crate::output::escaped;

/// Spaces between two columns.
const GAP: usize = 4;

/// Lays out a table, each line with its end. Every column but the last is padded to its widest cell.
pub(super) fn table<const N: usize>(headers: [&str; N], rows: &[[String; N]]) -> String {
    let mut columns = Columns::headed(headers);
    for row in rows {
        columns.measure(row.each_ref().map(String::as_str));
    }
    let mut text = columns.head();
    for row in rows {
        columns.line(row.each_ref().map(String::as_str), &mut text);
    }
    text
}

/// A table whose rows are seen twice: measured first, then written.
pub(super) struct Columns<'a, const N: usize> {
    headers: [&'a str; N],
    widths: [usize; N],
}

impl<'a, const N: usize> Columns<'a, N> {
    /// Begins with columns as wide as their headers.
    pub(super) fn headed(headers: [&'a str; N]) -> Self {
        Self { headers, widths: headers.map(str::len) }
    }

    /// Makes the columns wide enough for a row.
    pub(super) fn measure(&mut self, row: [&str; N]) {
        for (width, cell) in self.widths.iter_mut().zip(row) {
            *width = (*width).max(length(&escaped(cell)));
        }
    }

    /// Writes the headers and the dashes below them.
    pub(super) fn head(&self) -> String {
        let mut text = String::new();
        self.line(self.headers, &mut text);
        let dashes = self.headers.map(|header| "-".repeat(header.len()));
        self.line(dashes.each_ref().map(String::as_str), &mut text);
        text
    }

    /// Appends a row, with its end.
    pub(super) fn line(&self, row: [&str; N], text: &mut String) {
        for (column, (cell, width)) in row.iter().zip(self.widths).enumerate() {
            let cell = escaped(cell);
            text.push_str(&cell);
            if column + 1 < N {
                text.extend(std::iter::repeat_n(' ', width.saturating_sub(length(&cell)) + GAP));
            }
        }
        text.push('\n');
    }
}

fn length(text: &str) -> usize {
    if text.is_ascii() { text.len() } else { text.chars().count() }
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
