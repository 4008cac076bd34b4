//! The documents that say which test proves what: every test they name has to exist.

use crate::sources;
use crate::workspace::Workspace;
use anyhow::bail;
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

/// The documents with such tables.
const DOCUMENTS: [&str; 4] = [
    "docs/threats.md",
    "docs/guarantees.md",
    "docs/reference/protocol-checklist.md",
    "docs/reference/docker-checklist.md",
];

/// The heading of the last column of such a table.
const HEADING: &str = "test";

/// The folder whose functions are checks that other tests run; the file of that name beside it lists them.
const CONTRACT: &str = "contract";

/// The tests of one source file.
#[derive(Debug)]
struct TestFile {
    /// The crate's folder.
    krate: String,
    /// The modules from the crate's root, without the name of a test binary.
    modules: Vec<String>,
    /// The names of the tests.
    tests: BTreeSet<String>,
}

/// Fails when a table names a test that does not exist or has a row that names none.
pub(super) fn run(workspace: &Workspace) -> anyhow::Result<()> {
    let files = test_files(workspace.top())?;
    let mut wrong = Vec::new();
    for document in DOCUMENTS {
        let text = sources::text(workspace.top(), Path::new(document))?;
        let (rows, complaints) = check(&text, &files);
        if rows == 0 {
            wrong.push(format!("  {document}: no table ends with a column `{HEADING}`"));
        }
        wrong.extend(complaints.into_iter().map(|complaint| format!("  {document}:{complaint}")));
    }
    if !wrong.is_empty() {
        bail!("these rows are not proved by a test:\n{}", wrong.join("\n"));
    }
    Ok(())
}

/// Counts the rows of the tables that name tests, and says what is wrong with them.
fn check(text: &str, files: &[TestFile]) -> (usize, Vec<String>) {
    let (mut rows, mut wrong, mut inside) = (0, Vec::new(), false);
    for (number, line) in (1..).zip(text.lines()) {
        let Some(last) = last_cell(line) else {
            inside = false;
            continue;
        };
        if !inside {
            inside = last == HEADING;
        } else if !last.bytes().all(|byte| b"-: ".contains(&byte)) {
            rows += 1;
            let named: Vec<&str> = last.split('`').skip(1).step_by(2).collect();
            if named.is_empty() {
                wrong.push(format!("{number}: no test is named"));
            }
            let missing = named.into_iter().filter(|name| !exists(name, files));
            wrong.extend(missing.map(|name| format!("{number}: there is no test {name}")));
        }
    }
    (rows, wrong)
}

/// The last cell of a row of a table.
fn last_cell(line: &str) -> Option<&str> {
    let row = line.trim().strip_prefix('|')?.strip_suffix('|')?;
    Some(row.rsplit('|').next().unwrap_or(row).trim())
}

/// Looks for `crate::modules::name`; the modules may be the last few only, and the name `*` stands for all of a module.
fn exists(name: &str, files: &[TestFile]) -> bool {
    let parts: Vec<&str> = name.split("::").collect();
    let [krate, modules @ .., test] = parts.as_slice() else { return false };
    files.iter().any(|file| {
        let there = file.krate == *krate
            && file.modules.iter().map(String::as_str).rev().zip(modules.iter().rev()).all(|(a, b)| a == *b);
        there
            && file.modules.len() >= modules.len()
            && (file.tests.contains(*test) || (*test == "*" && !modules.is_empty()))
    })
}

/// Reads all tests of the crates.
fn test_files(top: &Path) -> anyhow::Result<Vec<TestFile>> {
    let mut code = BTreeMap::new();
    for file in sources::files(top)? {
        if file.extension().is_some_and(|extension| extension == "rs") {
            let text = sources::text(top, &file)?;
            code.insert(file, text);
        }
    }
    let mut found = Vec::new();
    for (file, text) in &code {
        let Some((krate, modules)) = place(file) else { continue };
        let contract = file.ancestors().nth(1).filter(|folder| folder.ends_with(CONTRACT));
        let tests = match contract.map(|folder| folder.with_extension("rs")) {
            None => tests(text),
            Some(list) => listed(text, code.get(&list).map_or("", String::as_str)),
        };
        if !tests.is_empty() {
            found.push(TestFile { krate, modules, tests });
        }
    }
    Ok(found)
}

/// The crate and the modules of a file, or nothing for files that are no crate's code.
fn place(file: &Path) -> Option<(String, Vec<String>)> {
    let bare = file.with_extension("");
    let mut parts: Vec<String> = bare.iter().map(|part| part.to_string_lossy().into_owned()).collect();
    if parts.first().is_some_and(|first| first == "crates") {
        parts.remove(0);
    }
    let rest = match parts.get(1)?.as_str() {
        "src" => parts.split_off(2),
        "tests" => parts.split_off(3.min(parts.len())),
        _ => return None,
    };
    let modules = rest.into_iter().filter(|name| !["lib", "main"].contains(&name.as_str())).collect();
    Some((parts.swap_remove(0), modules))
}

/// The functions that carry the attribute of a test and are not ignored.
fn tests(text: &str) -> BTreeSet<String> {
    let (mut found, mut is_test, mut is_ignored) = (BTreeSet::new(), false, false);
    for line in text.lines().map(str::trim) {
        if line.starts_with("#[") {
            is_test |= line.starts_with("#[test]") || line.starts_with("#[tokio::test");
            is_ignored |= line.starts_with("#[ignore");
        } else if let Some(name) = function(line) {
            if is_test && !is_ignored {
                found.insert(name.to_owned());
            }
            (is_test, is_ignored) = (false, false);
        }
    }
    found
}

/// The checks of a contract that its list names.
fn listed(text: &str, list: &str) -> BTreeSet<String> {
    let names: BTreeSet<&str> = list.split(|c: char| !c.is_alphanumeric() && c != '_').collect();
    text.lines().filter_map(function).filter(|name| names.contains(name)).map(str::to_owned).collect()
}

/// The name of the function that begins in this line.
fn function(line: &str) -> Option<&str> {
    let line = line.trim();
    let line = line.strip_prefix("pub ").unwrap_or(line);
    let line = line.strip_prefix("async ").unwrap_or(line).strip_prefix("fn ")?;
    line.split(|c: char| !c.is_alphanumeric() && c != '_').next()
}

#[cfg(test)]
mod tests {
    use super::{DOCUMENTS, TestFile, check, exists, listed, place, tests};
    use crate::sources;
    use std::path::Path;

    fn files() -> Vec<TestFile> {
        let file = |krate: &str, modules: &[&str], names: &[&str]| TestFile {
            krate: krate.to_owned(),
            modules: modules.iter().map(|&name| name.to_owned()).collect(),
            tests: names.iter().map(|&name| name.to_owned()).collect(),
        };
        vec![file("storage", &["contract", "metadata"], &["a_test"]), file("server", &["races"], &["one_wins"])]
    }

    #[test]
    fn a_test_is_found_under_its_crate_and_modules_only() {
        for name in
            ["storage::metadata::a_test", "storage::contract::metadata::a_test", "storage::a_test", "server::races::*"]
        {
            assert!(exists(name, &files()), "{name}");
        }
        for name in [
            "server::metadata::a_test",
            "storage::keys::a_test",
            "storage::contract::a_test",
            "a_test",
            "",
            "server::*",
        ] {
            assert!(!exists(name, &files()), "{name}");
        }
        assert!(!exists("server::deeper::races::one_wins", &files()));
    }

    #[test]
    fn a_row_with_a_missing_test_or_without_any_is_named() {
        let text = "| what | test |\n| --- | --- |\n| a | `server::races::one_wins`, `server::races::two` |\n| b | soon |\n\n| x | y |\n|-|-|\n| `z` | `z` |\n";
        let (rows, wrong) = check(text, &files());
        assert_eq!(rows, 2);
        assert_eq!(wrong, ["3: there is no test server::races::two", "4: no test is named"]);
    }

    #[test]
    fn no_document_with_such_a_table_is_left_out() {
        let top = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/.."));
        let documents =
            sources::files(top).unwrap().into_iter().filter(|file| file.extension().is_some_and(|e| e == "md"));
        let with_tables: Vec<String> = documents
            .filter(|file| check(&sources::text(top, file).unwrap(), &[]).0 > 0)
            .map(|file| file.to_string_lossy().into_owned())
            .collect();
        let mut known = DOCUMENTS.map(str::to_owned);
        known.sort();
        assert_eq!(with_tables, known);
    }

    #[test]
    fn only_tests_that_run_count() {
        let text = "#[test]\nfn a() {}\nfn b() {}\n#[tokio::test(flavor = \"x\")]\n#[expect(y)]\nasync fn c() {}\n#[test]\n#[ignore]\nfn d() {}";
        assert_eq!(tests(text).into_iter().collect::<Vec<_>>(), ["a", "c"]);
        assert_eq!(
            listed("pub async fn a(s: &S) {\n}\npub async fn b(s: &S) {", "x: [ b, aa ]")
                .into_iter()
                .collect::<Vec<_>>(),
            ["b"]
        );
    }

    #[test]
    fn a_file_has_the_place_that_rust_gives_it() {
        for (file, krate, modules) in [
            ("crates/tuf/src/json/tests.rs", "tuf", vec!["json", "tests"]),
            ("crates/tuf/src/lib.rs", "tuf", vec![]),
            ("crates/tuf/tests/it/golden.rs", "tuf", vec!["golden"]),
            ("xtask/src/step.rs", "xtask", vec!["step"]),
        ] {
            let modules = modules.into_iter().map(str::to_owned).collect();
            assert_eq!(place(Path::new(file)), Some((krate.to_owned(), modules)), "{file}");
        }
        assert_eq!(place(Path::new("build.rs")), None);
    }
}
