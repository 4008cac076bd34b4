//! The commands that mend, as a shell takes them.

use crate::context::GlobalOptions;
use countersign_trust::{Destination, TlsFiles};
use std::path::{Path, PathBuf};

/// Spells a command line; every word that a shell would change is quoted.
pub(super) fn line<'a>(words: impl IntoIterator<Item = &'a str>) -> String {
    words.into_iter().map(quoted).collect::<Vec<_>>().join(" ")
}

/// Spells a command about a file.
pub(super) fn on_file(command: &[&str], file: &Path) -> String {
    let file = file.to_string_lossy();
    line(command.iter().copied().chain([&*file]))
}

fn quoted(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./:=@%+,".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        word.to_owned()
    } else {
        format!("'{}'", word.replace('\'', "'\\''"))
    }
}

/// Commands of this program, for the same configuration that was looked at.
#[derive(Debug)]
pub(super) struct Commands {
    options: Vec<String>,
    trust_dir: PathBuf,
}

impl Commands {
    pub(super) fn new(options: &GlobalOptions, trust_dir: &Path) -> Self {
        let mut given = Vec::new();
        let mut path = |name: &str, value: Option<&Path>| {
            if let Some(value) = value {
                given.extend([name.to_owned(), value.display().to_string()]);
            }
        };
        path("--config", options.config.as_deref());
        path("--trust-dir", options.trust_dir.as_deref());
        path("--server", options.server.as_deref().filter(|text| !text.is_empty()).map(Path::new));
        Self { options: given, trust_dir: trust_dir.to_owned() }
    }

    /// A command of this program.
    pub(super) fn ours(&self, words: &[&str]) -> String {
        line(["countersign"].into_iter().chain(words.iter().copied()).chain(self.options.iter().map(String::as_str)))
    }

    /// A command in notary's words, about a collection at its service.
    pub(super) fn notary(&self, to: Option<(&Destination, &TlsFiles)>, words: &[&str]) -> String {
        let mut given = vec!["countersign".to_owned(), "notary".to_owned()];
        given.extend(["-d".to_owned(), self.trust_dir.display().to_string()]);
        if let Some((to, tls)) = to {
            given.extend(["-s".to_owned(), to.address.to_string()]);
            let files = [to.authorities.clone(), Some(tls.authority_file(to))];
            if let Some(file) = files.into_iter().flatten().find(|file| file.is_file()) {
                given.extend(["--tlscacert".to_owned(), file.display().to_string()]);
            }
        }
        line(given.iter().map(String::as_str).chain(words.iter().copied()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shell_takes_every_word_as_it_is() {
        assert_eq!(line(["chmod", "600", "/home/a b/k.key"]), "chmod 600 '/home/a b/k.key'");
        assert_eq!(line(["rm", "it's;rm -rf $HOME"]), "rm 'it'\\''s;rm -rf $HOME'");
        assert_eq!(line(["x", ""]), "x ''");
    }
}
