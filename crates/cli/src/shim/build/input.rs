//! Where the Dockerfile is.

use crate::error::{CliError, Kind};
use crate::shim::dockerfile::MAX_DOCKERFILE;
use crate::trusted::words::user;
use std::io::Read;
use std::path::{Path, PathBuf};

/// The largest file with patterns to ignore, in bytes.
const MAX_IGNORE: u64 = 1 << 20;

/// A Dockerfile as it came.
#[derive(Debug)]
pub(super) struct Input {
    /// Its text.
    pub(super) text: Vec<u8>,
    /// Its file name.
    pub(super) name: String,
    /// How a person knows it.
    pub(super) shown: String,
    /// The patterns to ignore that belong to it alone.
    pub(super) ignore_file: Option<Vec<u8>>,
    /// Whether the builder is to get it by standard input, which is all of the context.
    pub(super) piped: bool,
    /// Whether standard input is used up.
    pub(super) took_pipe: bool,
}

impl Input {
    /// Reads it from where docker would take it.
    ///
    /// # Errors
    /// It is not there, or somewhere else than on this machine.
    pub(super) fn read(context: &str, file: Option<&str>) -> Result<Self, CliError> {
        match (context, file) {
            ("-", Some("-")) => Err(user("invalid argument: can't use stdin for both build context and dockerfile")),
            ("-", Some(_)) => Err(elsewhere("a context in an archive on standard input")),
            ("-", None) => Self::standard_input(true),
            (folder, file) if Path::new(folder).is_dir() => Self::of_folder(Path::new(folder), file),
            (other, _) if is_remote(other) => Err(elsewhere("a context that is not a local folder")),
            (other, _) => Err(user(format!("unable to prepare context: path {other:?} not found"))),
        }
    }

    fn of_folder(folder: &Path, file: Option<&str>) -> Result<Self, CliError> {
        let path = match file {
            Some("-") => return Self::standard_input(false),
            Some(file) if file.contains("://") => return Err(elsewhere("a Dockerfile that is not a local file")),
            Some(file) if !file.is_empty() => PathBuf::from(file),
            _ => default_file(folder),
        };
        let shown = path.display().to_string();
        let unable = |error: &std::io::Error| user(format!("unable to prepare context: cannot read {shown}: {error}"));
        let handle = fs_err::File::open(&path).map_err(|error| unable(&error))?;
        let text = limited(handle, MAX_DOCKERFILE, &shown)?;
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or("Dockerfile").to_owned();
        let ignore_path = path.with_file_name(format!("{name}.dockerignore"));
        let ignore_file = match fs_err::File::open(&ignore_path) {
            Ok(handle) => Some(limited(handle, MAX_IGNORE, &ignore_path.display().to_string())?),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => None,
            Err(error) => return Err(unable(&error)),
        };
        Ok(Self { text, name, shown, ignore_file, piped: false, took_pipe: false })
    }

    fn standard_input(piped: bool) -> Result<Self, CliError> {
        let text = limited(std::io::stdin().lock(), MAX_DOCKERFILE, "standard input")?;
        if piped && is_archive(&text) {
            return Err(elsewhere("a context in an archive on standard input"));
        }
        Ok(Self {
            text,
            name: "Dockerfile".to_owned(),
            shown: "the Dockerfile on standard input".to_owned(),
            ignore_file: None,
            piped,
            took_pipe: true,
        })
    }
}

/// Docker takes the lower-case name where the other is not there.
fn default_file(folder: &Path) -> PathBuf {
    let (usual, other) = (folder.join("Dockerfile"), folder.join("dockerfile"));
    if !usual.exists() && other.exists() { other } else { usual }
}

fn is_remote(context: &str) -> bool {
    context.contains("://")
        || context.starts_with("git@")
        || context.starts_with("github.com/")
        || context.contains(".git")
}

fn is_archive(bytes: &[u8]) -> bool {
    let magic: [&[u8]; 4] = [&[0x1f, 0x8b], b"BZh", &[0xfd, b'7', b'z', b'X', b'Z', 0], &[0x28, 0xb5, 0x2f, 0xfd]];
    magic.iter().any(|magic| bytes.starts_with(magic)) || bytes.get(257..262) == Some(b"ustar")
}

fn elsewhere(what: &str) -> CliError {
    CliError::new(Kind::Trust, format!("{what} cannot be checked: the images that its Dockerfile names are not known"))
        .hint("fetch it into a local folder and build that, or give the Dockerfile with -f and a local folder")
        .hint("--disable-content-trust builds without looking at signatures")
}

fn limited(from: impl Read, limit: u64, shown: &str) -> Result<Vec<u8>, CliError> {
    let mut bytes = Vec::new();
    let read = from.take(limit + 1).read_to_end(&mut bytes);
    read.map_err(|error| CliError::new(Kind::Local, format!("cannot read {shown}: {error}")))?;
    if bytes.len() as u64 > limit {
        return if is_archive(&bytes) {
            Err(elsewhere("a context in an archive on standard input"))
        } else {
            Err(user(format!("{shown} has more than {limit} bytes")))
        };
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(context: &str, file: Option<&str>) -> CliError {
        Input::read(context, file).unwrap_err()
    }

    #[test]
    fn what_is_not_on_this_machine_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let here = folder.path().to_str().unwrap();
        for context in [
            "https://example.com/x.git",
            "git@github.com:a/b",
            "github.com/a/b",
            "ssh://x/y",
            "oci-layout://x",
            "a.git#main",
        ] {
            assert_eq!(refused(context, None).kind, Kind::Trust, "{context}");
        }
        assert_eq!(refused("-", Some("Dockerfile")).kind, Kind::Trust);
        assert_eq!(refused(here, Some("https://example.com/Dockerfile")).kind, Kind::Trust);
        assert_eq!(refused("/nowhere", None).kind, Kind::User);
        assert_eq!(refused(here, None).kind, Kind::User);
        assert_eq!(refused("-", Some("-")).kind, Kind::User);
    }

    #[test]
    fn the_file_is_the_one_that_docker_takes() {
        let folder = tempfile::tempdir().unwrap();
        let here = folder.path().to_str().unwrap();
        let put = |name: &str, text: &str| std::fs::write(folder.path().join(name), text).unwrap();
        put("dockerfile", "lower");
        assert_eq!(Input::read(here, None).unwrap().text, b"lower");
        put("Dockerfile", "upper");
        assert_eq!(Input::read(here, None).unwrap().text, b"upper");
        put("other", "other");
        put("other.dockerignore", "*");
        let other = Input::read(here, Some(&format!("{here}/other"))).unwrap();
        assert_eq!(
            (other.text, other.ignore_file, other.name.as_str()),
            (b"other".to_vec(), Some(b"*".to_vec()), "other")
        );
    }

    #[test]
    fn archives_are_told_from_text() {
        assert!(is_archive(&[0x1f, 0x8b, 8]) && is_archive(b"BZh9"));
        let mut tar = vec![b'x'; 512];
        tar[257..262].copy_from_slice(b"ustar");
        assert!(is_archive(&tar));
        assert!(!is_archive(b"FROM alpine\n"));
    }
}
