//! Where settings are, and whether what is there is this person's or the administrator's word.

use super::error::SettingsError;
use crate::context::variable;
use crate::error::{CliError, Kind};
use fs_err::os::unix::fs::OpenOptionsExt;
use std::io::Read;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// Largest settings file in bytes.
pub(super) const MAX_FILE: u64 = 1 << 20;
const SYSTEM: &str = "/etc/countersign";
const FILE: &str = "config.toml";
const PINS: &str = "pins.d";

/// The files of one who may say what is trusted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) file: PathBuf,
    pub(crate) pins: PathBuf,
    /// Whether a file that is not there is an error: somebody has named it.
    named: Named,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Named {
    Yes,
    No,
}

impl Place {
    /// Returns the place that one folder is.
    pub(super) fn folder(folder: &Path) -> Self {
        Self { file: folder.join(FILE), pins: folder.join(PINS), named: Named::No }
    }

    /// Returns this person's place: `COUNTERSIGN_CONFIG`, else `countersign` in the configuration folder of the XDG rules.
    /// Without a home there is none.
    pub(crate) fn of_person() -> Option<Self> {
        if let Some(file) = variable("COUNTERSIGN_CONFIG").map(PathBuf::from) {
            let pins = file.parent().unwrap_or(Path::new("")).join(PINS);
            return Some(Self { file, pins, named: Named::Yes });
        }
        // The XDG rules say that a relative path is to be ignored.
        let base = variable("XDG_CONFIG_HOME").map(PathBuf::from).filter(|path| path.is_absolute());
        let base = base.or_else(|| Some(etcetera::home_dir().ok()?.join(".config")))?;
        Some(Self::folder(&base.join("countersign")))
    }

    /// Returns the administrator's place.
    pub(crate) fn of_system() -> Self {
        Self::folder(Path::new(SYSTEM))
    }

    /// Reads the settings file; none if there is none.
    pub(super) fn read(&self) -> Result<Option<String>, SettingsError> {
        match (read_trusted(&self.file)?, self.named) {
            (None, Named::Yes) => {
                Err(SettingsError::of_file(&self.file, "COUNTERSIGN_CONFIG names it, but it is not there"))
            }
            (text, _) => Ok(text),
        }
    }
}

/// Returns where this person's pins are kept.
pub(crate) fn own_pins() -> Result<PathBuf, CliError> {
    let place = Place::of_person().ok_or_else(|| {
        CliError::new(Kind::Local, "there is no home directory: name the settings file with COUNTERSIGN_CONFIG")
    })?;
    Ok(place.pins)
}

/// Reads a file that decides about trust: nobody but its owner, who is this person or root, may be able to change it.
pub(crate) fn read_trusted(path: &Path) -> Result<Option<String>, SettingsError> {
    let refuse = |reason: &dyn std::fmt::Display| SettingsError::of_file(path, reason);
    let nonblocking = i32::try_from(rustix::fs::OFlags::NONBLOCK.bits()).unwrap_or_default();
    let file = match fs_err::OpenOptions::new().read(true).custom_flags(nonblocking).open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(refuse(&error)),
    };
    let metadata = file.metadata().map_err(|error| refuse(&error))?;
    if !metadata.is_file() {
        return Err(refuse(&"it is no file"));
    }
    check_owner(path, &metadata)?;
    check_folder(path)?;
    let mut bytes = Vec::new();
    file.take(MAX_FILE + 1).read_to_end(&mut bytes).map_err(|error| refuse(&error))?;
    if bytes.len() as u64 > MAX_FILE {
        return Err(refuse(&format!("it is larger than {MAX_FILE} bytes")));
    }
    String::from_utf8(bytes).map(Some).map_err(|_| refuse(&"it is not UTF-8"))
}

/// Whoever can write to a folder can put another file there, unless only a file's owner may replace it.
fn check_folder(path: &Path) -> Result<(), SettingsError> {
    const STICKY: u32 = 0o1000;
    let folder = match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    let metadata = fs_err::metadata(folder).map_err(|error| SettingsError::of_file(folder, error))?;
    if metadata.mode() & STICKY != 0 { Ok(()) } else { check_owner(folder, &metadata) }
}

fn check_owner(path: &Path, metadata: &std::fs::Metadata) -> Result<(), SettingsError> {
    let own = metadata.uid() == 0 || metadata.uid() == rustix::process::geteuid().as_raw();
    if !own {
        let reason = "it belongs to somebody else, who could change what is trusted here";
        return Err(SettingsError::of_file(path, reason));
    }
    if metadata.mode() & 0o022 != 0 {
        let reason = format!("others could change what is trusted here: chmod go-w {}", path.display());
        return Err(SettingsError::of_file(path, reason));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    fn chmod(path: &Path, mode: u32) {
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
    }

    #[test]
    fn a_file_that_others_can_change_decides_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("config.toml");
        std::fs::write(&file, "x = 1").unwrap();
        chmod(&file, 0o644);
        assert_eq!(read_trusted(&file).unwrap().unwrap(), "x = 1");
        for mode in [0o664, 0o646] {
            chmod(&file, mode);
            assert!(read_trusted(&file).unwrap_err().reason.contains("chmod go-w"), "{mode:o}");
        }
        chmod(&file, 0o600);
        chmod(folder.path(), 0o777);
        assert!(read_trusted(&file).unwrap_err().reason.contains("chmod go-w"));
        chmod(folder.path(), 0o1777);
        assert!(read_trusted(&file).is_ok(), "others cannot replace it");
    }

    #[test]
    fn what_is_no_file_or_too_large_or_no_text_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(read_trusted(&folder.path().join("missing")).unwrap(), None);
        assert!(read_trusted(folder.path()).unwrap_err().reason.contains("no file"));
        let file = folder.path().join("f");
        for (bytes, reason) in [(vec![b'#'; (1 << 20) + 1], "larger"), (vec![0xff], "UTF-8")] {
            std::fs::write(&file, bytes).unwrap();
            chmod(&file, 0o600);
            assert!(read_trusted(&file).unwrap_err().reason.contains(reason));
        }
        std::fs::write(&file, vec![b'#'; 1 << 20]).unwrap();
        assert!(read_trusted(&file).is_ok());
        let pipe = folder.path().join("pipe");
        assert!(std::process::Command::new("mkfifo").arg("-m").arg("600").arg(&pipe).status().unwrap().success());
        assert!(read_trusted(&pipe).unwrap_err().reason.contains("no file"), "and nobody waits for it");
    }
}
