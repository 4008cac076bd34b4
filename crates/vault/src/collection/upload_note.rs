//! The note of an upload on its way: which staged changes are in it, so that they are not applied again when the process
//! ends before it has taken them out of the list.

use super::{CollectionError, LocalCollection, LockedCollection, METADATA, UPLOAD};
use crate::error::FileError;
use crate::limits::MAX_UPLOAD_NOTE_BYTES;

impl LocalCollection {
    /// Reads the note that [`LockedCollection::note_upload`] has left, `None` if no upload was interrupted.
    ///
    /// # Errors
    /// When something is there that cannot be read.
    pub fn upload_note(&self) -> Result<Option<Vec<u8>>, FileError> {
        self.sub_folder(METADATA)?.map_or(Ok(None), |folder| folder.read(UPLOAD, MAX_UPLOAD_NOTE_BYTES))
    }
}

impl LockedCollection {
    /// Writes the note and flushes it to the disk, in place of an earlier one.
    ///
    /// # Errors
    /// When it is larger than [`MAX_UPLOAD_NOTE_BYTES`] or cannot be written.
    pub fn note_upload(&self, note: &[u8]) -> Result<(), CollectionError> {
        let metadata = self.make_folder()?.make(METADATA)?;
        if u64::try_from(note.len()).unwrap_or(u64::MAX) > MAX_UPLOAD_NOTE_BYTES {
            return Err(self.too_many(MAX_UPLOAD_NOTE_BYTES, "bytes in the note of an upload"));
        }
        Ok(metadata.replace(UPLOAD, note)?)
    }

    /// Removes the note.
    ///
    /// # Errors
    /// When it cannot be removed.
    pub fn forget_upload(&self) -> Result<(), CollectionError> {
        let Some(metadata) = self.sub_folder(METADATA)? else { return Ok(()) };
        metadata.remove_file(UPLOAD)?;
        Ok(metadata.sync()?)
    }
}
