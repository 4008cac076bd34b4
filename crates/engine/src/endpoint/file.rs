//! Reading small configuration files.

use std::io::{ErrorKind, Read};
use std::path::Path;

use fs_err::File;

use super::EndpointError;

/// The largest configuration file, in bytes.
pub(crate) const FILE_LIMIT: u64 = 1 << 20;

/// Reads a whole file; `None` if there is none.
pub(crate) fn read(path: &Path) -> Result<Option<Vec<u8>>, EndpointError> {
    let error = |reason: String| EndpointError::File { path: path.to_owned(), reason };
    let file = match File::open(path) {
        Ok(file) => file,
        Err(missing) if matches!(missing.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => return Ok(None),
        Err(other) => return Err(error(other.to_string())),
    };
    let mut bytes = Vec::new();
    file.take(FILE_LIMIT + 1).read_to_end(&mut bytes).map_err(|other| error(other.to_string()))?;
    if bytes.len() as u64 > FILE_LIMIT {
        return Err(error(format!("it is larger than {FILE_LIMIT} bytes")));
    }
    Ok(Some(bytes))
}
