//! Files that say who is let in.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use crate::watched::read_file;

use super::settings::AccessError;

/// Reads such a file; one that everybody on the machine may write to decides nothing.
pub(super) fn read(path: &Path) -> Result<String, AccessError> {
    let unreadable = |source| AccessError::Unreadable { path: path.to_owned(), source };
    let mode = fs_err::metadata(path).map_err(unreadable)?.permissions().mode();
    if mode & 0o002 != 0 {
        return Err(AccessError::Writable(path.to_owned()));
    }
    let bytes = read_file(path).map_err(unreadable)?;
    String::from_utf8(bytes).map_err(|error| unreadable(std::io::Error::other(error)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_everybody_may_write_to_or_is_not_there_lets_nobody_in() {
        let file = tempfile::NamedTempFile::new().unwrap();
        fs_err::write(file.path(), "x").unwrap();
        assert_eq!(read(file.path()).unwrap(), "x");
        fs_err::set_permissions(file.path(), std::fs::Permissions::from_mode(0o666)).unwrap();
        assert!(matches!(read(file.path()), Err(AccessError::Writable(_))));
        assert!(matches!(read(Path::new("/nonexistent")), Err(AccessError::Unreadable { .. })));
        fs_err::set_permissions(file.path(), std::fs::Permissions::from_mode(0o600)).unwrap();
        fs_err::write(file.path(), b"\xff").unwrap();
        assert!(matches!(read(file.path()), Err(AccessError::Unreadable { .. })));
    }
}
