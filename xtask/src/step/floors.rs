//! The floors: a crate uses only crates on lower floors, or earlier ones on its own.

use crate::workspace::{Kind, Members, Package, Scope, Workspace};
use anyhow::bail;
use std::collections::BTreeSet;

/// The floors from below, and the crates of each in order. A new crate gets its place here.
const FLOORS: [&[&str]; 4] = [
    // Pure: no async, no files, no clock, no environment.
    &["countersign-crypto", "countersign-tuf", "countersign-keyfile", "countersign-image", "countersign-audit"],
    // Adapters, one outside thing each.
    &[
        "countersign-telemetry",
        "countersign-vault",
        "countersign-backup",
        "countersign-registry",
        "countersign-notary",
        "countersign-layout",
        "countersign-engine",
        "countersign-storage",
        "countersign-signer-rpc",
    ],
    // Use cases.
    &["countersign-trust", "countersign-keyservice", "countersign-server"],
    // Edges.
    &["countersign"],
];

/// Beside the floors. Any crate's tests may use the first; none of them uses our own crates, so that the tests do not
/// prove the code with itself.
const BESIDE: [&str; 2] = [TESTKIT, "xtask"];
const TESTKIT: &str = "countersign-testkit";

/// The only product that uses the testkit: `countersign demo` runs on its in-process registry.
const DEMO: &str = "countersign";

/// Packages that only these crates name.
const RESERVED: [(&str, &str); 1] = [("aws-lc-rs", "countersign-crypto")];

/// Packages that would bring files, sockets, a runtime or a log into the lowest floor; what verifies must not depend on
/// whether somebody is watching.
const IMPURE: [&str; 11] =
    ["async-std", "fs-err", "hyper", "log", "mio", "reqwest", "rustix", "socket2", "tempfile", "tokio", "tracing"];

/// Fails when a crate uses one above it, has no place, or a pure one is not pure.
pub(super) fn run(workspace: &Workspace) -> anyhow::Result<()> {
    let mut wrong = upward_edges(&workspace.members()?);
    for name in FLOORS.first().copied().unwrap_or_default() {
        wrong.extend(impurities(name, &workspace.tree(Scope::LinkedInto(name))?));
    }
    if !wrong.is_empty() {
        bail!("{}", wrong.join("\n"));
    }
    Ok(())
}

fn upward_edges(members: &Members) -> Vec<String> {
    let mut wrong: Vec<String> = members.packages.iter().flat_map(edges_of).collect();
    for name in FLOORS.concat() {
        if !members.packages.iter().any(|package| package.name == name) {
            wrong.push(format!("{name} has a place on a floor but does not exist: remove it from the floors"));
        }
    }
    wrong
}

fn edges_of(package: &Package) -> Vec<String> {
    let name = package.name.as_str();
    if place(name).is_none() && !BESIDE.contains(&name) {
        return vec![format!("{name} has no floor: give it a place in xtask's floors")];
    }
    let edges = package.dependencies.iter().filter(|edge| !allowed(name, &edge.name, edge.kind()));
    edges.map(|edge| format!("{name} must not use {}: {}", edge.name, reason(&edge.name))).collect()
}

fn allowed(by: &str, named: &str, kind: Kind) -> bool {
    if let Some((_, only)) = RESERVED.into_iter().find(|(reserved, _)| *reserved == named) {
        return by == only;
    }
    if named == TESTKIT {
        return kind == Kind::Tests || by == DEMO;
    }
    match (place(by), place(named)) {
        _ if named == "xtask" => false,
        // With other features, for its own tests.
        _ if by == named => kind == Kind::Tests,
        (_, None) => true,
        (None, Some(_)) => false,
        (Some(by), Some(named)) => named < by,
    }
}

fn reason(named: &str) -> String {
    if let Some((_, only)) = RESERVED.into_iter().find(|(reserved, _)| *reserved == named) {
        return format!("only {only} names it");
    }
    if named == TESTKIT { "it is for tests".to_owned() } else { "it is not below it".to_owned() }
}

/// The position of a crate from the lowest upwards.
fn place(name: &str) -> Option<usize> {
    FLOORS.concat().iter().position(|other| *other == name)
}

fn impurities(name: &str, linked: &BTreeSet<String>) -> Vec<String> {
    let found = IMPURE.iter().filter(|impure| linked.contains(**impure));
    found.map(|impure| format!("{name} is on the pure floor, but links {impure}")).collect()
}

#[cfg(test)]
mod tests {
    use super::{FLOORS, Kind, TESTKIT, allowed, impurities, upward_edges};
    use crate::workspace::Members;

    #[test]
    fn lower_floors_and_earlier_crates_may_be_used_and_nothing_else() {
        let order = FLOORS.concat();
        for (user_place, user) in order.iter().enumerate() {
            for (used_place, used) in order.iter().enumerate() {
                assert_eq!(allowed(user, used, Kind::Product), used_place < user_place, "{user} → {used}");
                assert_eq!(allowed(user, used, Kind::Tests), used_place <= user_place, "{user} → {used} in tests");
            }
        }
    }

    #[test]
    fn the_testkit_is_for_tests_and_the_demo() {
        assert!(allowed("countersign-trust", TESTKIT, Kind::Tests));
        assert!(!allowed("countersign-trust", TESTKIT, Kind::Product));
        assert!(allowed("countersign", TESTKIT, Kind::Product));
    }

    #[test]
    fn the_testkit_does_not_prove_the_code_with_itself() {
        assert!(!allowed(TESTKIT, "countersign-crypto", Kind::Product));
        assert!(!allowed(TESTKIT, "countersign-crypto", Kind::Tests));
        assert!(allowed(TESTKIT, "serde", Kind::Product));
    }

    #[test]
    fn only_the_crypto_crate_names_the_cryptographic_library() {
        assert!(allowed("countersign-crypto", "aws-lc-rs", Kind::Product));
        assert!(!allowed("countersign-server", "aws-lc-rs", Kind::Product));
        assert!(!allowed(TESTKIT, "aws-lc-rs", Kind::Tests));
    }

    #[test]
    fn an_edge_that_runs_up_and_a_crate_without_a_floor_are_named() {
        let members: Members = serde_json::from_str(
            r#"{"packages": [
                {"name": "countersign-image", "dependencies": [
                    {"name": "countersign-vault", "kind": null}, {"name": "countersign-testkit", "kind": "dev"}]},
                {"name": "countersign-new", "dependencies": []}]}"#,
        )
        .unwrap();
        let wrong = upward_edges(&members);
        assert_eq!(wrong[0], "countersign-image must not use countersign-vault: it is not below it");
        assert_eq!(wrong[1], "countersign-new has no floor: give it a place in xtask's floors");
        assert_eq!(wrong[2], "countersign-crypto has a place on a floor but does not exist: remove it from the floors");
    }

    #[test]
    fn a_runtime_in_a_pure_crate_is_named() {
        let linked = ["bytes", "tokio"].map(str::to_owned).into();
        assert_eq!(impurities("countersign-tuf", &linked), ["countersign-tuf is on the pure floor, but links tokio"]);
    }

    #[test]
    fn a_log_in_a_pure_crate_is_named() {
        let linked = ["der", "log"].map(str::to_owned).into();
        assert_eq!(
            impurities("countersign-crypto", &linked),
            ["countersign-crypto is on the pure floor, but links log"]
        );
    }
}
