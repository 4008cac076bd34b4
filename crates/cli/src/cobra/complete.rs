//! Answers to a shell that completes a word (cobra's `__complete`).

use super::tree::{Command, find};
use std::ffi::OsString;
use std::fmt;

/// Candidates for a word.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Completions {
    /// Each with its description.
    pub(crate) candidates: Vec<(String, String)>,
    /// Whether names of files would do as well.
    pub(crate) files: bool,
}

/// Returns what could stand for the last of the words.
pub(crate) fn complete(root: &'static Command, words: &[OsString]) -> Completions {
    let (last, before) = words
        .split_last()
        .map_or((String::new(), &[][..]), |(last, before)| (last.to_string_lossy().into_owned(), before));
    let found = find(root, before.to_vec());
    if last.starts_with('-') {
        let mut candidates: Vec<_> = found
            .flags()
            .iter()
            .filter(|flag| !flag.hidden && format!("--{}", flag.long).starts_with(&last))
            .map(|flag| (format!("--{}", flag.long), flag.usage.replace('`', "")))
            .collect();
        candidates.sort();
        return Completions { candidates, files: false };
    }
    let children = found.command().children;
    let candidates = children
        .iter()
        .filter(|child| !child.hidden && child.name.starts_with(&last))
        .map(|child| (child.name.to_owned(), child.short.to_owned()))
        .collect();
    Completions { candidates, files: children.is_empty() }
}

/// In cobra's form: a candidate a line, its description behind a tab, and at the end what the shell may do besides.
impl fmt::Display for Completions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (candidate, description) in &self.candidates {
            writeln!(f, "{candidate}\t{description}")?;
        }
        write!(f, ":{}", if self.files { 0 } else { 4 })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cobra::Flag;

    static FLAGS: [Flag; 2] = [Flag::switch("local", "Sign locally"), Flag::switch("yes", "Agree").short('y')];
    static COMMANDS: [Command; 2] =
        [Command::named("inspect", "IMAGE", "Look"), Command::named("sign", "IMAGE", "Sign an image").flags(&FLAGS)];
    static ROOT: Command = Command::named("trust", "", "").children(&COMMANDS);

    fn answer(words: &[&str]) -> String {
        complete(&ROOT, &words.iter().map(OsString::from).collect::<Vec<_>>()).to_string()
    }

    #[test]
    fn commands_flags_and_files_are_offered_where_they_fit() {
        assert_eq!(answer(&["in"]), "inspect\tLook\n:4");
        assert_eq!(answer(&["sign", "--"]), "--local\tSign locally\n--yes\tAgree\n:4");
        assert_eq!(answer(&["sign", ""]), ":0");
        assert_eq!(answer(&["x"]), ":4");
    }
}
