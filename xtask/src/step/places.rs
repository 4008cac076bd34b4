//! Traces of somebody's machine in the project's files.

use crate::sources;
use crate::workspace::Workspace;
use anyhow::bail;
use std::path::{Component, Path, PathBuf};

/// Folders in which people and build machines keep work; spelled in two parts, or this file would be a finding.
const HOMES: [&str; 4] =
    [concat!("/ro", "ot/"), concat!("/wo", "rk/"), concat!("/Use", "rs/"), concat!("/build", "s/")];

/// Hosts from which packages come. They belong into the settings of a machine; `Cargo.lock` names the registry's index
/// by another address.
const REGISTRIES: [&str; 11] = [
    concat!("index.crates", ".io"),
    concat!("static.crates", ".io"),
    concat!("//crates", ".io"),
    concat!("pypi", ".org"),
    concat!("files.python", "hosted.org"),
    concat!("registry.npm", "js.org"),
    concat!("registry.yarn", "pkg.com"),
    concat!("proxy.go", "lang.org"),
    concat!("deb.deb", "ian.org"),
    concat!("security.deb", "ian.org"),
    concat!("arti", "factory"),
];

/// Environment variables that name folders of this machine.
const FOLDERS: [&str; 3] = ["HOME", "CARGO_HOME", "RUSTUP_HOME"];

/// Fails when a file of the project names a folder of a build machine or the host of a package registry.
pub(super) fn run(workspace: &Workspace) -> anyhow::Result<()> {
    let here = FOLDERS.iter().filter_map(std::env::var_os).map(PathBuf::from).chain([workspace.top().to_owned()]);
    let here: Vec<String> = here.filter_map(|folder| telling(&folder)).collect();
    let mut found = Vec::new();
    for file in sources::files(workspace.top())? {
        for (number, line) in sources::text(workspace.top(), &file)?.lines().enumerate() {
            if let Some(trace) = trace(line, &here) {
                found.push(format!("  {}:{}: {trace}", file.display(), number + 1));
            }
        }
    }
    if !found.is_empty() {
        bail!("these lines name a place that others do not have:\n{}", found.join("\n"));
    }
    Ok(())
}

/// Spells a folder if it is deep enough that its name cannot be in a file by chance.
fn telling(folder: &Path) -> Option<String> {
    let depth = folder.components().filter(|part| matches!(part, Component::Normal(_))).count();
    (depth >= 2).then(|| folder.to_str().map(str::to_owned)).flatten()
}

/// Finds what a line should not name.
fn trace<'a>(line: &str, here: &'a [String]) -> Option<&'a str> {
    let registry = REGISTRIES.into_iter().find(|host| line.contains(host));
    registry.or_else(|| HOMES.into_iter().chain(here.iter().map(String::as_str)).find(|folder| has_path(line, folder)))
}

/// Tells whether a path begins with this folder; `/a/` is not the beginning of `b/a/` or `{x}/a/`.
fn has_path(line: &str, folder: &str) -> bool {
    line.match_indices(folder).any(|(at, _)| {
        let before = line.get(..at).and_then(|text| text.chars().next_back());
        before.is_none_or(|c| c.is_whitespace() || "\"'`(=:,;<>[|".contains(c))
    })
}

#[cfg(test)]
mod tests {
    use super::{HOMES, REGISTRIES, telling, trace};
    use std::path::Path;

    #[test]
    fn the_home_of_a_build_machine_is_found_wherever_a_path_can_begin() {
        for home in HOMES {
            for line in
                [format!("{home}x"), format!("let p = \"{home}x\";"), format!("export A={home}x"), format!("({home})")]
            {
                assert_eq!(trace(&line, &[]), Some(home), "{line}");
            }
        }
    }

    #[test]
    fn the_same_word_inside_a_longer_path_is_no_finding() {
        for home in HOMES {
            assert_eq!(trace(&format!("a{home}b, {{gun}}{home}b, ~{home}b"), &[]), None);
        }
    }

    #[test]
    fn the_folder_of_this_very_machine_is_found() {
        let here = ["/somewhere/else".to_owned()];
        assert_eq!(trace("see /somewhere/else/file", &here), Some("/somewhere/else"));
    }

    #[test]
    fn a_package_registry_is_found() {
        for host in REGISTRIES {
            assert_eq!(trace(&format!("registry = \"https:{host}/\""), &[]), Some(host));
        }
        assert_eq!(trace(concat!("https://crates", ".io/x"), &[]), Some(concat!("//crates", ".io")));
        assert_eq!(trace("registry+https://github.com/rust-lang/crates.io-index", &[]), None);
    }

    #[test]
    fn a_folder_is_telling_only_with_two_names() {
        assert_eq!(telling(Path::new("/src")), None);
        assert_eq!(telling(Path::new("/srv/project")), Some("/srv/project".to_owned()));
    }
}
