//! The length of source files; the length of functions is clippy's (`clippy.toml`).

use crate::sources;
use crate::workspace::Workspace;
use anyhow::bail;

/// Most lines of a source file, its tests included.
const MAX_LINES: usize = 800;

/// Fails when a Rust file is longer than [`MAX_LINES`].
pub(super) fn run(workspace: &Workspace) -> anyhow::Result<()> {
    let mut long = Vec::new();
    for file in sources::files(workspace.top())? {
        if file.extension().is_some_and(|extension| extension == "rs") {
            let lines = sources::text(workspace.top(), &file)?.lines().count();
            long.extend(complaint(&file.to_string_lossy(), lines));
        }
    }
    if !long.is_empty() {
        bail!("split these files along their ideas:\n{}", long.join("\n"));
    }
    Ok(())
}

fn complaint(file: &str, lines: usize) -> Option<String> {
    (lines > MAX_LINES).then(|| format!("  {file} has {lines} lines; at most {MAX_LINES} are allowed"))
}

#[cfg(test)]
mod tests {
    use super::{MAX_LINES, complaint};

    #[test]
    fn a_file_may_have_as_many_lines_as_allowed_and_not_one_more() {
        assert_eq!(complaint("a.rs", MAX_LINES), None);
        let refused = complaint("a.rs", MAX_LINES + 1).unwrap();
        assert!(refused.contains("a.rs has 801 lines"), "{refused}");
    }
}
