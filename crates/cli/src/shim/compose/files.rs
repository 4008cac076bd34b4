//! Which files compose takes where none are named: naming one more means naming all.

use crate::cobra::Parsed;
use crate::error::{CliError, Kind};
use std::ffi::OsString;
use std::path::{Path, PathBuf};

const NAMES: [&str; 4] = ["compose.yaml", "compose.yml", "docker-compose.yml", "docker-compose.yaml"];
const OVERRIDES: [&str; 4] =
    ["compose.override.yml", "compose.override.yaml", "docker-compose.override.yml", "docker-compose.override.yaml"];
/// The variable that names files.
const VARIABLE: &str = "COMPOSE_FILE";
/// The largest `.env` file, in bytes.
const MAX_DOT_ENV: u64 = 1 << 20;

/// Returns the arguments that name the files which compose would find by itself; none if the person names them.
///
/// # Errors
/// The model comes by standard input or from elsewhere, or there is no file.
pub(super) fn unnamed(flags: &Parsed) -> Result<Vec<OsString>, CliError> {
    let named = flags.values("file");
    if named.contains(&"-") {
        return Err(CliError::new(
            Kind::Trust,
            "a compose file on standard input cannot be read twice: put it into a file",
        ));
    }
    if !named.is_empty() {
        named.into_iter().try_for_each(is_here)?;
        return Ok(Vec::new());
    }
    let here = std::env::current_dir().unwrap_or_default();
    let folder =
        flags.value("project-directory").or(flags.value("workdir")).map_or(here.clone(), |path| here.join(path));
    let variable = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
    let listed = variable(VARIABLE).or_else(|| {
        let dot_env =
            flags.values("env-file").into_iter().next_back().map_or(folder.join(".env"), |path| here.join(path));
        of_dot_env(&dot_env)
    });
    let separator = variable("COMPOSE_PATH_SEPARATOR").unwrap_or_else(|| ":".to_owned());
    let paths = match listed {
        Some(list) => list.split(&*separator).map(PathBuf::from).collect(),
        None => found(&folder),
    };
    paths.iter().filter_map(|path| path.to_str()).try_for_each(is_here)?;
    if paths.is_empty() {
        return Err(CliError::user("no configuration file provided: not found"));
    }
    Ok(paths.into_iter().flat_map(|path| [OsString::from("--file"), path.into_os_string()]).collect())
}

/// Refuses a file on another machine: it could be another one when compose reads it again to run it.
fn is_here(file: &str) -> Result<(), CliError> {
    if file.contains("://") || file.starts_with("git@") || file.starts_with("github.com/") {
        let message = format!("{file}: a compose file on another machine cannot be checked before it is used");
        return Err(CliError::new(Kind::Trust, message).hint("fetch it into a local file and name that with -f"));
    }
    Ok(())
}

/// Looks in a folder and those above it.
fn found(folder: &Path) -> Vec<PathBuf> {
    for folder in folder.ancestors() {
        let first = |names: &[&str]| names.iter().map(|name| folder.join(name)).find(|path| path.is_file());
        if let Some(file) = first(&NAMES) {
            return std::iter::once(file).chain(first(&OVERRIDES)).collect();
        }
    }
    Vec::new()
}

fn of_dot_env(path: &Path) -> Option<String> {
    if fs_err::metadata(path).ok()?.len() > MAX_DOT_ENV {
        return None;
    }
    let text = fs_err::read_to_string(path).ok()?;
    let value =
        text.lines().rev().find_map(|line| line.trim().strip_prefix(VARIABLE)?.trim_start().strip_prefix('='))?;
    Some(value.trim().trim_matches(['"', '\'']).to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_found_as_compose_finds_them() {
        let top = tempfile::tempdir().unwrap();
        let below = top.path().join("a/b");
        std::fs::create_dir_all(&below).unwrap();
        let put = |path: &str| std::fs::write(top.path().join(path), "").unwrap();
        assert_eq!(found(&below), Vec::<PathBuf>::new());
        put("docker-compose.yml");
        put("compose.override.yaml");
        let names = |paths: Vec<PathBuf>| {
            paths.iter().map(|path| path.file_name().unwrap().to_str().unwrap().to_owned()).collect::<Vec<_>>()
        };
        assert_eq!(names(found(&below)), ["docker-compose.yml", "compose.override.yaml"]);
        put("a/b/compose.yaml");
        assert_eq!(names(found(&below)), ["compose.yaml"]);
    }

    #[test]
    fn the_list_in_a_dot_env_file_counts() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(".env");
        assert_eq!(of_dot_env(&path), None);
        std::fs::write(&path, "A=1\nCOMPOSE_FILE_X=2\nCOMPOSE_FILE = \"a.yaml:b.yaml\"\n").unwrap();
        assert_eq!(of_dot_env(&path).as_deref(), Some("a.yaml:b.yaml"));
    }
}
