//! What may have been meant by a command that does not exist, as cobra guesses it.

use super::command_line::ROOT;
use super::failure::Failure;

/// Most letters that may differ.
const DISTANCE: usize = 2;

/// Refuses a command.
pub(super) fn unknown_command(word: &str) -> Failure {
    let names = ROOT.children.iter().map(|command| command.name);
    let similar: Vec<&str> =
        names.filter(|name| distance(word, name) <= DISTANCE || name.starts_with(&word.to_lowercase())).collect();
    let guess = match similar.as_slice() {
        [] => String::new(),
        similar => format!("\n\nDid you mean this?\n\t{}\n", similar.join("\n\t")),
    };
    Failure::user(format!("unknown command {word:?} for \"notary\"")).more(guess)
}

/// Counts the letters to insert, remove or replace between two words, capitals aside.
fn distance(a: &str, b: &str) -> usize {
    let (a, b) = (a.to_lowercase(), b.to_lowercase());
    let mut row: Vec<usize> = (0..=b.chars().count()).collect();
    for (line, from) in a.chars().enumerate() {
        let mut corner = line;
        let mut left = line + 1;
        let mut next = vec![left];
        for (to, above) in b.chars().zip(row.iter().skip(1)) {
            left = if from == to { corner } else { 1 + corner.min(left).min(*above) };
            corner = *above;
            next.push(left);
        }
        row = next;
    }
    row.last().copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_distance_counts_single_letters() {
        for (a, b, letters) in [("lst", "list", 1), ("LIST", "list", 0), ("", "key", 3), ("kitten", "sitting", 3)] {
            assert_eq!(distance(a, b), letters, "{a} {b}");
        }
    }
}
