//! Files that the caller names: read within bounds, refused in the client's words.

use super::failure::Failure;
use std::fs::File;
use std::io::{ErrorKind, Read, Write};
use std::os::unix::fs::PermissionsExt;

/// Largest file of keys or certificates, or of custom data, in bytes.
pub(super) const MAX_SMALL_FILE: u64 = 4 << 20;

/// Says why a file cannot be used, the way Go words it.
pub(super) fn reason(error: &std::io::Error) -> String {
    match error.kind() {
        ErrorKind::NotFound => "no such file or directory".to_owned(),
        ErrorKind::PermissionDenied => "permission denied".to_owned(),
        ErrorKind::IsADirectory => "is a directory".to_owned(),
        ErrorKind::NotADirectory => "not a directory".to_owned(),
        _ => error.to_string(),
    }
}

/// Opens a file for reading; a pipe that the caller's shell made does as well.
pub(super) fn open(path: &str) -> Result<File, Failure> {
    let file = File::open(path).map_err(|error| Failure::user(format!("open {path}: {}", reason(&error))))?;
    match file.metadata() {
        Ok(metadata) if metadata.is_dir() => Err(Failure::user(format!("read {path}: is a directory"))),
        Ok(_) => Ok(file),
        Err(error) => Err(Failure::user(format!("open {path}: {error}"))),
    }
}

/// Reads a whole file that has to be small.
pub(super) fn read(path: &str) -> Result<zeroize::Zeroizing<Vec<u8>>, Failure> {
    let mut bytes = zeroize::Zeroizing::new(Vec::new());
    let read = open(path)?.take(MAX_SMALL_FILE + 1).read_to_end(&mut bytes);
    read.map_err(|error| Failure::user(format!("read {path}: {error}")))?;
    if bytes.len() as u64 > MAX_SMALL_FILE {
        return Err(Failure::user(format!("{path} is larger than {MAX_SMALL_FILE} bytes")));
    }
    Ok(bytes)
}

/// Writes a file that only its owner may read, whole or not at all; what is there is replaced.
pub(super) fn write(path: &str, bytes: &[u8]) -> Result<(), Failure> {
    let failed = |error: &std::io::Error| Failure::local(format!("open {path}: {}", reason(error)));
    let target = std::path::Path::new(path);
    let folder = target.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or_else(|| ".".as_ref());
    if target.is_dir() {
        return Err(Failure::local(format!("open {path}: is a directory")));
    }
    if std::fs::metadata(target).is_ok_and(|metadata| !metadata.is_file()) {
        // A pipe or device is written to where it is.
        return std::fs::write(target, bytes).map_err(|error| failed(&error));
    }
    let mut file = tempfile::Builder::new()
        .permissions(std::fs::Permissions::from_mode(0o600))
        .tempfile_in(folder)
        .map_err(|error| failed(&error))?;
    file.write_all(bytes).and_then(|()| file.as_file().sync_all()).map_err(|error| failed(&error))?;
    file.persist(target).map_err(|error| failed(&error.error))?;
    Ok(())
}
