//! PKCS#11 modules: shared libraries that are loaded once.

use std::collections::BTreeMap;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use cryptoki::context::{CInitializeArgs, CInitializeFlags, Pkcs11};
use cryptoki::error::{Error, RvError};
use rustix::process::geteuid;

use super::{TokenError, lock};

/// A module may be initialised once in a process; it stays until the process ends.
static LOADED: Mutex<BTreeMap<PathBuf, Pkcs11>> = Mutex::new(BTreeMap::new());

const OTHERS_WRITE: u32 = 0o022;
/// In such a folder everybody may add files, and nobody may exchange those of others.
const STICKY: u32 = 0o1000;

/// Loads a module, whose code then runs in this process: it has to belong to root or this person, and to be theirs to change
/// alone.
pub(super) fn load(path: &Path) -> Result<Pkcs11, TokenError> {
    let refuse = |reason: &dyn std::fmt::Display| TokenError::Module {
        path: path.to_owned(),
        reason: reason.to_string().chars().take(300).collect(),
    };
    if !path.is_absolute() {
        return Err(refuse(&"its path is not absolute"));
    }
    let file = std::fs::canonicalize(path).map_err(|error| refuse(&error))?;
    let mut loaded = lock(&LOADED);
    if let Some(module) = loaded.get(&file) {
        return Ok(module.clone());
    }
    let metadata = std::fs::metadata(&file).map_err(|error| refuse(&error))?;
    if !metadata.is_file() {
        return Err(refuse(&"it is no file"));
    }
    if metadata.uid() != 0 && metadata.uid() != geteuid().as_raw() {
        return Err(refuse(&"it belongs to somebody else, whose code it would run"));
    }
    if metadata.mode() & OTHERS_WRITE != 0 {
        return Err(refuse(&"others could change it: chmod go-w"));
    }
    for folder in file.ancestors().skip(1) {
        let metadata = std::fs::metadata(folder).map_err(|error| refuse(&error))?;
        let foreign = metadata.uid() != 0 && metadata.uid() != geteuid().as_raw();
        if foreign || metadata.mode() & OTHERS_WRITE != 0 && metadata.mode() & STICKY == 0 {
            return Err(refuse(&format_args!("others could exchange it: {} is theirs to change", folder.display())));
        }
    }
    let module = Pkcs11::new(&file).map_err(|error| refuse(&error))?;
    match module.initialize(CInitializeArgs::new(CInitializeFlags::OS_LOCKING_OK)) {
        Ok(()) | Err(Error::Pkcs11(RvError::CryptokiAlreadyInitialized, _)) => {}
        Err(error) => return Err(refuse(&error)),
    }
    loaded.insert(file, module.clone());
    Ok(module)
}
