//! The names that the program answers to.

use std::ffi::{OsStr, OsString};
use std::path::Path;

/// Whose command line is spoken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Name {
    /// The program's own.
    Countersign,
    /// The notary client's.
    Notary,
    /// The Docker CLI plugin's that brings `docker trust`.
    DockerTrust,
    /// Docker's.
    Docker,
    /// That of the reference's server.
    NotaryServer,
    /// That of the reference's signer.
    NotarySigner,
}

/// How the program was called.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct CalledAs {
    /// The name.
    pub(crate) name: Name,
    /// The arguments behind it.
    pub(crate) arguments: Vec<OsString>,
}

impl Name {
    fn of(text: &OsStr) -> Option<Self> {
        match text.to_str()? {
            "notary" => Some(Self::Notary),
            "docker-trust" => Some(Self::DockerTrust),
            "docker" => Some(Self::Docker),
            "notary-server" => Some(Self::NotaryServer),
            "notary-signer" => Some(Self::NotarySigner),
            _ => None,
        }
    }
}

impl CalledAs {
    /// Tells by the file name the program was started with; `countersign notary …` is the same as `notary …`.
    pub(crate) fn of(mut command_line: impl Iterator<Item = OsString>) -> Self {
        let program = command_line.next().unwrap_or_default();
        let mut arguments: Vec<OsString> = command_line.collect();
        let by_file = Path::new(&program).file_stem().and_then(Name::of);
        if let Some(name) = by_file {
            return Self { name, arguments };
        }
        match arguments.first().and_then(|word| Name::of(word)) {
            Some(name) => {
                arguments.remove(0);
                Self { name, arguments }
            }
            None => Self { name: Name::Countersign, arguments },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_file_name_decides_and_the_first_word_otherwise() {
        let called = |line: &[&str]| CalledAs::of(line.iter().map(OsString::from));
        let is = |line: &[&str], name, rest: &[&str]| {
            assert_eq!(
                called(line),
                CalledAs { name, arguments: rest.iter().map(OsString::from).collect() },
                "{line:?}"
            );
        };
        is(&["/usr/local/bin/notary", "list", "gun"], Name::Notary, &["list", "gun"]);
        is(&["docker-trust", "docker", "x"], Name::DockerTrust, &["docker", "x"]);
        is(&["docker.exe", "pull"], Name::Docker, &["pull"]);
        is(&["countersign", "notary", "list"], Name::Notary, &["list"]);
        is(&["/usr/bin/notary-server", "-config=x"], Name::NotaryServer, &["-config=x"]);
        is(&["countersign", "notary-signer", "-version"], Name::NotarySigner, &["-version"]);
        is(&["countersign", "docker", "notary"], Name::Docker, &["notary"]);
        is(&["./countersign", "--verbose", "docker"], Name::Countersign, &["--verbose", "docker"]);
        is(&[], Name::Countersign, &[]);
    }
}
