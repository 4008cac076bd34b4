//! The tools that the tests run.

mod apt;

use crate::command;
use crate::report::line;
use crate::workspace::Workspace;
use anyhow::bail;
use std::collections::BTreeSet;
use std::path::Path;

/// Programs that the tests run for real, and the Debian packages that bring them.
const TOOLS: &[(&str, &str)] = &[
    ("/usr/bin/cc", "gcc"),
    ("/usr/bin/curl", "curl"),
    ("/usr/bin/docker", "docker.io"),
    ("/usr/sbin/dockerd", "docker.io"),
    ("/usr/bin/docker-registry", "docker-registry"),
    ("/usr/bin/faketime", "faketime"),
    ("/usr/bin/gpg", "gnupg"),
    ("/usr/bin/gpgconf", "gnupg"),
    // Jenkins' own version, 2.4, for the pipelines.
    ("/usr/bin/groovyc", "groovy"),
    ("/usr/bin/jq", "jq"),
    ("/usr/bin/kill", "procps"),
    // The databases that the service can be run on: tests start servers of their own, as another user.
    ("/usr/sbin/mariadbd", "mariadb-server"),
    ("/usr/bin/pg_lsclusters", "postgresql"),
    ("/usr/bin/notary", "notary"),
    ("/usr/bin/notary-server", "notary"),
    ("/usr/bin/openssl", "openssl"),
    ("/usr/bin/setpriv", "util-linux"),
    ("/usr/bin/skopeo", "skopeo"),
    ("/usr/bin/softhsm2-util", "softhsm2"),
    ("/usr/bin/strace", "strace"),
];

/// The last docker client with content trust built in. It is used where the machine has it.
pub(super) const DOCKER_28: &str = "/usr/local/bin/docker";

/// How cargo-nextest is built where there is none: unoptimised and without its updater, for it mostly waits for tests.
const NEXTEST: [&str; 6] = [
    "cargo-nextest",
    "--version=0.9.143",
    "--locked",
    "--debug",
    "--no-default-features",
    "--features=default-no-update",
];

/// Tells whether the machine has the docker client 28.
pub(super) fn has_docker_28() -> bool {
    Path::new(DOCKER_28).is_file()
}

/// Installs what is missing, and nothing when nothing is.
pub(super) fn run(workspace: &Workspace) -> anyhow::Result<()> {
    let missing = missing_packages(|program| Path::new(program).is_file());
    if !missing.is_empty() {
        apt::install(&missing)?;
        let still = missing_packages(|program| Path::new(program).is_file());
        if !still.is_empty() {
            bail!("installed, but their programs are not where they should be: {}", spelled(&still));
        }
    }
    if command::output(workspace.cargo().args(["nextest", "--version"])).is_err() {
        line("setup: building cargo-nextest; this takes some minutes, once");
        command::run(workspace.cargo().arg("install").args(NEXTEST))?;
    }
    Ok(())
}

fn missing_packages(is_there: impl Fn(&str) -> bool) -> BTreeSet<&'static str> {
    TOOLS.iter().filter(|(program, _)| !is_there(program)).map(|(_, package)| *package).collect()
}

fn spelled(packages: &BTreeSet<&str>) -> String {
    packages.iter().copied().collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::{TOOLS, missing_packages};
    use crate::sources;
    use crate::workspace::Workspace;

    #[test]
    fn nothing_is_missing_where_every_program_is() {
        assert!(missing_packages(|_| true).is_empty());
    }

    #[test]
    fn a_missing_program_asks_for_its_package_once() {
        let missing = missing_packages(|program| !program.contains("docker"));
        assert_eq!(missing.into_iter().collect::<Vec<_>>(), ["docker-registry", "docker.io"]);
    }

    #[test]
    fn every_package_that_the_testkit_asks_for_is_installed() {
        let tools = include_str!("../../../crates/testkit/src/tool.rs").split("#[cfg(test)]").next().unwrap();
        let asked: Vec<&str> =
            tools.split("Debian package ").skip(1).filter_map(|rest| rest.split(['"', ' ', ')']).next()).collect();
        assert!(asked.len() >= 5, "{asked:?}");
        for package in asked {
            assert!(TOOLS.iter().any(|(_, known)| *known == package), "add {package} to TOOLS");
        }
    }

    /// What every Debian machine has; `ssh` is a script that the test writes.
    const EVERYWHERE: [&str; 15] = [
        "base64",
        "bash",
        "cp",
        "date",
        "env",
        "find",
        "gzip",
        "mkfifo",
        "script",
        "sh",
        "setpriv",
        "sha256sum",
        "ssh",
        "tar",
        "unshare",
    ];

    #[test]
    fn every_program_that_a_crate_starts_by_name_is_installed() {
        let workspace = Workspace::of_this_program().unwrap();
        for file in sources::files(workspace.top()).unwrap() {
            if !file.starts_with("crates") || file.extension().is_none_or(|extension| extension != "rs") {
                continue;
            }
            let text = sources::text(workspace.top(), &file).unwrap();
            let started = text.split("Command::new(\"").skip(1).filter_map(|rest| rest.split('"').next());
            for program in started.map(|path| path.rsplit('/').next().unwrap()) {
                let known = TOOLS.iter().any(|(path, _)| path.rsplit('/').next() == Some(program));
                assert!(known || EVERYWHERE.contains(&program), "{}: add {program} to TOOLS", file.display());
            }
        }
    }
}
