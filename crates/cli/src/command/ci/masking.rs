//! Secrets in what is printed: telling the CI system what to mask, and masking in what a command prints.
//!
//! Jenkins masks what its credentials binding put into a variable, GitLab what is a masked variable, Azure and GitHub what is
//! a secret of theirs: for a passphrase that came in a variable there is nothing to say, and saying it would be the only way
//! to print it. One that came from a file or a descriptor is unknown to them. Azure and GitHub then take a line on the
//! step's output that they hide; Jenkins and GitLab have nothing of the kind.

use super::supply::Known;
use crate::output::message;
use countersign_vault::Passphrase;
use rustix::fs::FileType;
use zeroize::Zeroizing;

/// What stands where a secret was.
const MASK: &[u8] = b"***";
/// Shorter secrets are not looked for in bytes: they would be found everywhere.
const SHORTEST: usize = 4;

/// A CI system.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum CiSystem {
    Azure,
    GitHub,
    GitLab,
    Jenkins,
}

impl CiSystem {
    /// Knows the system by the variable that it sets.
    pub(super) fn of(lookup: impl Fn(&str) -> Option<std::ffi::OsString>) -> Option<Self> {
        let is = |name: &str| lookup(name).is_some_and(|value| value.eq_ignore_ascii_case("true"));
        if is("GITHUB_ACTIONS") {
            Some(Self::GitHub)
        } else if is("TF_BUILD") {
            Some(Self::Azure)
        } else if is("GITLAB_CI") {
            Some(Self::GitLab)
        } else {
            lookup("JENKINS_URL").filter(|value| !value.is_empty()).map(|_| Self::Jenkins)
        }
    }

    /// The system that this process runs in.
    pub(super) fn of_this_process() -> Option<Self> {
        Self::of(|name| std::env::var_os(name))
    }

    /// The line that makes the system mask a value, where there is one.
    fn line(self, secret: &str) -> Option<String> {
        let escaped = |percent: &str| secret.replace('%', percent).replace('\r', "%0D").replace('\n', "%0A");
        match self {
            Self::GitHub => Some(format!("::add-mask::{}", escaped("%25"))),
            Self::Azure => Some(format!("##vso[task.setsecret]{}", escaped("%AZP25"))),
            Self::GitLab | Self::Jenkins => None,
        }
    }
}

/// Tells the CI system about a passphrase that it does not know, if it can be told and hears it.
pub(super) fn register(passphrase: &Passphrase, known: Known) {
    let Some(system) = CiSystem::of_this_process().filter(|_| known == Known::ToUsAlone) else { return };
    let Some(line) = std::str::from_utf8(passphrase.bytes()).ok().and_then(|secret| system.line(secret)) else {
        return;
    };
    let line = Zeroizing::new(line);
    // A file would keep it: only the system's own pipe is told.
    let stderr = rustix::fs::fstat(rustix::stdio::stderr());
    if stderr.is_ok_and(|found| FileType::from_raw_mode(found.st_mode) == FileType::Fifo) {
        message(line.as_str());
    }
}

/// Masks secrets in a stream, wherever its pieces are cut. What may be the beginning of a secret waits for what follows.
#[derive(Debug, Default)]
pub(super) struct Masker {
    secrets: Vec<Zeroizing<Vec<u8>>>,
    held: Zeroizing<Vec<u8>>,
}

impl Masker {
    /// Masks these.
    pub(super) fn of<'a>(secrets: impl IntoIterator<Item = &'a [u8]>) -> Self {
        let mut secrets: Vec<_> = secrets.into_iter().filter(|secret| secret.len() >= SHORTEST).collect();
        // Of two that begin alike the longer one is taken.
        secrets.sort_by_key(|secret| std::cmp::Reverse(secret.len()));
        secrets.dedup();
        let secrets = secrets.into_iter().map(|secret| Zeroizing::new(secret.to_vec())).collect();
        Self { secrets, held: Zeroizing::default() }
    }

    /// Takes a piece and returns what can be passed on.
    pub(super) fn pass(&mut self, piece: &[u8]) -> Vec<u8> {
        self.held.extend_from_slice(piece);
        self.masked(|secret, rest| secret.len() > rest.len() && secret.starts_with(rest))
    }

    /// Returns what was held back: nothing follows that could make it a secret.
    pub(super) fn end(&mut self) -> Vec<u8> {
        self.masked(|_, _| false)
    }

    /// Masks what is held, up to where the rest may still become a secret.
    fn masked(&mut self, may_become: impl Fn(&[u8], &[u8]) -> bool) -> Vec<u8> {
        let mut passed = Vec::with_capacity(self.held.len());
        let mut rest = self.held.as_slice();
        while let Some((first, after)) = rest.split_first() {
            if self.secrets.iter().any(|secret| may_become(secret, rest)) {
                break;
            }
            if let Some(secret) = self.secrets.iter().find(|secret| rest.starts_with(secret)) {
                passed.extend_from_slice(MASK);
                rest = rest.get(secret.len()..).unwrap_or_default();
            } else {
                passed.push(*first);
                rest = after;
            }
        }
        self.held = Zeroizing::new(rest.to_vec());
        passed
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn masked(secrets: &[&str], pieces: &[&str]) -> String {
        let mut masker = Masker::of(secrets.iter().map(|secret| secret.as_bytes()));
        let mut all: Vec<u8> = pieces.iter().flat_map(|piece| masker.pass(piece.as_bytes())).collect();
        all.extend(masker.end());
        String::from_utf8(all).unwrap()
    }

    #[test]
    fn a_secret_is_masked_wherever_the_stream_is_cut() {
        let text = "before hunter2! and hunter2 hunter2!hunter2! after hunt";
        let expected = "before *** and hunter2 ****** after hunt";
        assert_eq!(masked(&["hunter2!"], &[text]), expected);
        for cut in 0..=text.len() {
            let (one, other) = text.split_at(cut);
            assert_eq!(masked(&["hunter2!"], &[one, other]), expected, "cut at {cut}");
        }
        let bytes: Vec<String> = text.chars().map(String::from).collect();
        let bytes: Vec<&str> = bytes.iter().map(String::as_str).collect();
        assert_eq!(masked(&["hunter2!"], &bytes), expected);
    }

    #[test]
    fn of_two_secrets_that_begin_alike_the_longer_one_is_taken_and_short_ones_are_left() {
        assert_eq!(masked(&["abcd", "abcdefgh"], &["abcdef", "gh abcdefg abcd"]), "*** ***efg ***");
        assert_eq!(masked(&["aaab"], &["aaa", "aab"]), "aa***");
        assert_eq!(masked(&["ab", ""], &["cab"]), "cab");
    }

    #[test]
    fn nothing_waits_that_cannot_become_a_secret() {
        let mut masker = Masker::of([b"hunter2!".as_slice()]);
        assert_eq!(masker.pass(b"line\n"), b"line\n");
        assert_eq!(masker.pass(b"prompt h"), b"prompt ");
        assert_eq!(masker.pass(b"x"), b"hx");
    }

    #[test]
    fn each_system_is_known_by_its_variable_and_told_in_its_own_words() {
        let system = |name: &'static str, value: &'static str| CiSystem::of(move |n| (n == name).then(|| value.into()));
        assert_eq!(system("GITHUB_ACTIONS", "true"), Some(CiSystem::GitHub));
        assert_eq!(system("TF_BUILD", "True"), Some(CiSystem::Azure));
        assert_eq!(system("GITLAB_CI", "true"), Some(CiSystem::GitLab));
        assert_eq!(system("JENKINS_URL", "https://ci.example/"), Some(CiSystem::Jenkins));
        assert_eq!(system("GITHUB_ACTIONS", "false"), None);
        assert_eq!(CiSystem::GitHub.line("a%b").as_deref(), Some("::add-mask::a%25b"));
        assert_eq!(CiSystem::Azure.line("a%b").as_deref(), Some("##vso[task.setsecret]a%AZP25b"));
        assert_eq!((CiSystem::GitLab.line("x"), CiSystem::Jenkins.line("x")), (None, None));
    }
}
