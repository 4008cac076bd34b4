//! The workspace as cargo describes it.

use crate::command;
use anyhow::Context;
use serde::Deserialize;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

/// The folder of the project and what cargo knows about it.
#[derive(Debug)]
pub(crate) struct Workspace {
    top: PathBuf,
}

/// Our own packages, as `cargo metadata --no-deps` lists them.
#[derive(Debug, Deserialize)]
pub(crate) struct Members {
    /// The packages.
    pub(crate) packages: Vec<Package>,
}

/// One package.
#[derive(Debug, Deserialize)]
pub(crate) struct Package {
    pub(crate) name: String,
    /// What its manifest names.
    pub(crate) dependencies: Vec<Dependency>,
}

/// A dependency named in a manifest.
#[derive(Debug, Deserialize)]
pub(crate) struct Dependency {
    pub(crate) name: String,
    kind: Option<String>,
}

/// What a dependency is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// The crate itself or its build script.
    Product,
    /// Its tests.
    Tests,
}

/// Whose packages are asked for.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Scope<'a> {
    /// Those of the whole workspace, tests and build scripts included.
    Everything,
    /// Those that are linked into this crate.
    LinkedInto(&'a str),
}

impl Dependency {
    /// What the dependency is for.
    pub(crate) fn kind(&self) -> Kind {
        if self.kind.as_deref() == Some("dev") { Kind::Tests } else { Kind::Product }
    }
}

impl Workspace {
    /// Finds the workspace that this program was built in.
    ///
    /// # Errors
    /// The folder is gone.
    pub(crate) fn of_this_program() -> anyhow::Result<Self> {
        let own =
            std::env::var_os("CARGO_MANIFEST_DIR").map_or_else(|| env!("CARGO_MANIFEST_DIR").into(), PathBuf::from);
        let top = own.join("..").canonicalize().with_context(|| format!("no workspace around {}", own.display()))?;
        Ok(Self { top })
    }

    /// The folder that holds everything.
    pub(crate) fn top(&self) -> &Path {
        &self.top
    }

    /// Cargo, to be run at the top of the workspace.
    pub(crate) fn cargo(&self) -> std::process::Command {
        let mut cargo = command::cargo();
        cargo.current_dir(&self.top);
        cargo
    }

    /// Asks cargo for our own packages and what their manifests name.
    ///
    /// # Errors
    /// Cargo fails or answers something else than expected.
    pub(crate) fn members(&self) -> anyhow::Result<Members> {
        let text = command::output(self.cargo().args(["metadata", "--format-version", "1", "--no-deps"]))?;
        serde_json::from_str(&text).context("cargo metadata answered something unexpected")
    }

    /// Asks cargo for the names of the packages that are compiled on this machine.
    ///
    /// `cargo metadata` is no help: it also lists optional packages that no feature turns on.
    ///
    /// # Errors
    /// Cargo fails.
    pub(crate) fn tree(&self, scope: Scope<'_>) -> anyhow::Result<BTreeSet<String>> {
        let mut cargo = self.cargo();
        cargo.args(["tree", "--quiet", "--prefix", "none", "--format", "{p}"]);
        // With features unified by somebody's setting, every crate's tree is the workspace's.
        cargo.env_remove("CARGO_RESOLVER_FEATURE_UNIFICATION");
        match scope {
            Scope::Everything => cargo.args(["--workspace", "--edges", "normal,build,dev"]),
            Scope::LinkedInto(name) => cargo.args(["--package", name, "--edges", "normal"]),
        };
        Ok(names(&command::output(&mut cargo)?))
    }
}

/// The first word of every line.
fn names(tree: &str) -> BTreeSet<String> {
    tree.lines().filter_map(|line| line.split_whitespace().next()).map(str::to_owned).collect()
}

#[cfg(test)]
mod tests {
    use super::{Scope, Workspace, names};

    #[test]
    fn a_package_is_named_by_the_first_word_of_its_line() {
        let tree = names("tuf v0.1.0 (/a b)\nbytes v1.12.1\n\nbytes v1.12.1 (*)\n");
        assert_eq!(tree.into_iter().collect::<Vec<_>>(), ["bytes", "tuf"]);
    }

    #[test]
    fn cargo_knows_this_workspace() {
        let workspace = Workspace::of_this_program().unwrap();
        assert!(workspace.members().unwrap().packages.iter().any(|package| package.name == "xtask"));
        assert!(workspace.tree(Scope::LinkedInto("xtask")).unwrap().contains("serde_json"));
        assert!(workspace.tree(Scope::Everything).unwrap().contains("aws-lc-rs"));
    }
}
