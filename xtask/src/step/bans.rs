//! Packages that are not wanted; the part of `deny.toml` that needs no tool.

use crate::sources;
use crate::workspace::{Scope, Workspace};
use anyhow::bail;
use std::collections::BTreeSet;
use std::path::Path;

/// Second cryptographic providers and TLS stacks: one process has one of each, and it is aws-lc-rs under rustls.
const BANNED: [&str; 4] = ["native-tls", "openssl", "openssl-sys", "ring"];

/// Where packages come from, as the lock file spells it.
const SOURCE: &str = "registry+https://github.com/rust-lang/crates.io-index";

/// Fails when a banned package is used, or one from another source is locked.
pub(super) fn run(workspace: &Workspace) -> anyhow::Result<()> {
    let mut wrong = banned(&workspace.tree(Scope::Everything)?);
    wrong.extend(foreign(&sources::text(workspace.top(), Path::new("Cargo.lock"))?));
    if !wrong.is_empty() {
        bail!("{}", wrong.join("\n"));
    }
    Ok(())
}

fn banned(tree: &BTreeSet<String>) -> Vec<String> {
    let found = BANNED.iter().filter(|name| tree.contains(**name));
    found.map(|name| format!("{name} is banned; `cargo tree --workspace --invert {name}` shows who uses it")).collect()
}

fn foreign(lock: &str) -> Vec<String> {
    let sources = lock.lines().filter_map(|line| line.strip_prefix("source = \"")?.strip_suffix('"'));
    let others: BTreeSet<&str> = sources.filter(|source| *source != SOURCE).collect();
    others.into_iter().map(|source| format!("a package comes from {source}, not from the public registry")).collect()
}

#[cfg(test)]
mod tests {
    use super::{SOURCE, banned, foreign};

    #[test]
    fn a_banned_package_is_named() {
        let tree = ["bytes", "ring"].map(str::to_owned).into();
        assert_eq!(banned(&tree), ["ring is banned; `cargo tree --workspace --invert ring` shows who uses it"]);
        assert_eq!(banned(&["bytes".to_owned()].into()), Vec::<String>::new());
    }

    #[test]
    fn a_package_from_elsewhere_is_named() {
        let lock = format!("[[package]]\nname = \"a\"\nsource = \"{SOURCE}\"\n");
        assert_eq!(foreign(&lock), Vec::<String>::new());
        let found = foreign(&lock.replace(SOURCE, "git+https://example.com/a"));
        assert_eq!(found, ["a package comes from git+https://example.com/a, not from the public registry"]);
    }
}
