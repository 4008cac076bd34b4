//! Passphrases in files that shells read when they start: backups, screens and other programs see them.

use super::finding::{Finding, Report};
use super::variables::{DEAD_PASSPHRASES, PASSPHRASES};
use super::{kind, repair};
use std::io::Read;
use std::path::{Path, PathBuf};

/// Files of a person, in the home directory.
const OWN: [&str; 10] = [
    ".profile",
    ".bash_profile",
    ".bash_login",
    ".bashrc",
    ".zshenv",
    ".zprofile",
    ".zshrc",
    ".zlogin",
    ".kshrc",
    ".pam_environment",
];
/// Files of everybody.
const SYSTEM: [&str; 4] = ["/etc/environment", "/etc/profile", "/etc/bash.bashrc", "/etc/zsh/zshenv"];
/// Largest file that is looked at, in bytes.
const MAX_FILE: u64 = 1 << 20;

/// Looks for lines that set a passphrase; what it is set to is not repeated.
pub(super) fn check(report: &mut Report) {
    let home = etcetera::home_dir().ok();
    let own = home.iter().flat_map(|home| OWN.iter().map(|name| home.join(name)));
    for file in own.chain(SYSTEM.iter().map(PathBuf::from)) {
        let Some(text) = text(&file) else { continue };
        let names = PASSPHRASES.into_iter().chain(DEAD_PASSPHRASES.into_iter().map(|(dead, _)| dead));
        for name in names.filter(|name| text.lines().any(|line| sets(line, name))) {
            let message = format!("{} sets {name} for every shell", file.display());
            let remove = repair::on_file(&["sed", "-i", &format!("/{name}=/d")], &file);
            let advice = format!("keep the passphrase in a file that only you can read, and name it in {name}_FILE");
            let finding = Finding::new(&kind::PASSPHRASE_IN_STARTUP_FILE, file.display(), message).about(name);
            report.add(finding.command(remove).advice(advice));
        }
    }
}

fn text(file: &Path) -> Option<String> {
    let is_small = std::fs::metadata(file).is_ok_and(|found| found.is_file() && found.len() <= MAX_FILE);
    let mut bytes = Vec::new();
    if is_small {
        std::fs::File::open(file).ok()?.take(MAX_FILE).read_to_end(&mut bytes).ok()?;
    }
    Some(String::from_utf8_lossy(&bytes).into_owned())
}

/// Tells whether a line gives a variable a value.
fn sets(line: &str, name: &str) -> bool {
    let code = line.trim_start();
    let mut assigned = code.split([' ', '\t', ';', '&']).filter_map(|word| word.split_once('='));
    !code.starts_with('#') && assigned.any(|(variable, value)| variable == name && !matches!(value, "" | "''" | "\"\""))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_lines_that_set_the_variable_count() {
        let name = PASSPHRASES[0];
        for line in [format!("export {name}=x"), format!("  {name}='a b'"), format!("A=1 {name}=x cmd")] {
            assert!(sets(&line, name), "{line}");
        }
        for line in
            [format!("# export {name}=x"), format!("unset {name}"), format!("{name}="), format!("{name}_FILE=/x")]
        {
            assert!(!sets(&line, name), "{line}");
        }
    }
}
