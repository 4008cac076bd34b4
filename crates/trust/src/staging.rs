//! The change list: changes that wait on this machine for the next publication.
//!
//! The list is docker's and notary's own (Notary protocol, changelist): what one of them stages, the others publish.

use crate::client::CollectionClient;
use crate::error::TrustError;
use crate::publish::{Published, Publishing, Renewal};
use crate::request_error::RequestError;
use crate::upload_note::UploadNote;
use crate::witness::Review;
use countersign_tuf::editor::Publication;
use countersign_tuf::{Change, ChangeError};
use countersign_vault::{ChangeId, SkippedChange};
use std::cell::RefCell;
use std::collections::BTreeSet;

/// A staged change.
#[derive(Debug, Clone)]
pub struct StagedEntry {
    /// The position in the list, counted from 0, by which it can be taken out.
    pub number: usize,
    /// The file.
    pub id: ChangeId,
    /// What it holds; a file that is no change can only be taken out.
    pub change: Result<Change, ChangeError>,
}

/// The change list.
#[derive(Debug, Clone, Default)]
pub struct Staged {
    /// The changes in the order in which they are applied.
    pub entries: Vec<StagedEntry>,
    /// What lies among them and is no change: links, pipes, names that cannot be printed.
    pub skipped: Vec<SkippedChange>,
}

/// Which staged changes to take out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unstage<'a> {
    /// All of them, also what is no change.
    All,
    /// Those at these positions.
    Numbers(&'a [usize]),
}

/// What became of the staged changes.
#[derive(Debug)]
pub struct PublishedStaged {
    /// The changes, in order; the list holds them no more.
    pub changes: Vec<Change>,
    /// What the publication was.
    pub published: Published,
}

impl CollectionClient<'_> {
    /// Puts changes at the end of the change list. Nothing is asked of the service, and nothing is checked that depends
    /// on the collection's present state.
    ///
    /// # Errors
    /// The list cannot be written or is full.
    pub fn stage(&self, changes: &[Change]) -> Result<(), TrustError> {
        let files: Vec<Vec<u8>> = changes.iter().map(Change::write).collect();
        self.local.lock()?.stage(self.now, &files)?;
        Ok(())
    }

    /// Lists the staged changes.
    ///
    /// # Errors
    /// The list cannot be read.
    pub fn staged(&self) -> Result<Staged, TrustError> {
        let changes = self.local.changes()?;
        let entry = |(number, file): (usize, countersign_vault::StagedChange)| {
            let change = Change::read(&file.bytes.into());
            StagedEntry { number, id: file.id, change }
        };
        Ok(Staged { entries: changes.staged.into_iter().enumerate().map(entry).collect(), skipped: changes.skipped })
    }

    /// Takes changes out of the list and returns them. Numbers that are not there are passed over, as by the reference.
    ///
    /// # Errors
    /// The list cannot be read or written.
    pub fn unstage(&self, which: Unstage<'_>) -> Result<Vec<StagedEntry>, TrustError> {
        let locked = self.local.lock()?;
        let listed = self.staged().map(|staged| staged.entries);
        let mut entries = match which {
            // Also a list that is beyond reading can be emptied.
            Unstage::All => listed.unwrap_or_default(),
            Unstage::Numbers(_) => listed?,
        };
        match which {
            Unstage::All => locked.clear_changes()?,
            Unstage::Numbers(numbers) => {
                entries.retain(|entry| numbers.contains(&entry.number));
                locked.remove_changes(entries.iter().map(|entry| &entry.id))?;
            }
        }
        Ok(entries)
    }

    /// Publishes everything that is staged, in one publication. A collection that does not exist yet is made, from what
    /// [`Self::init`] or another client has left here, else anew; see [`Self::new_snapshot_key`].
    ///
    /// When others have published meanwhile, the list is read and applied again on top of that. A change leaves the list
    /// only when the service has accepted it; what another process stages meanwhile stays for the next time. What a process
    /// that was killed had published is taken out first, so that it does not undo what others have published since.
    ///
    /// With nothing staged, root and snapshot are signed anew where they near their expiry and their keys are here.
    ///
    /// `review` is asked before the content of a file that cannot be verified is signed (witnessed).
    ///
    /// # Errors
    /// Nothing was published, or it is not certain that it was; the list is as it was.
    pub async fn publish_staged(&self, review: &Review<'_>) -> Result<PublishedStaged, TrustError> {
        // Where the list cannot be written to, what is published would stay in it and be published again later.
        drop(self.local.lock()?);
        self.settle_upload().await?;
        let applied = RefCell::new(Vec::new());
        let changes = |_: Option<&_>| {
            let (ids, changes): (Vec<ChangeId>, Vec<Change>) = self.readable()?.into_iter().unzip();
            *applied.borrow_mut() = ids;
            Ok(changes)
        };
        let noted = |publication: &Publication| match UploadNote::of(publication, &applied.borrow()) {
            Some(note) => Ok(self.local.lock()?.note_upload(&note.write())?),
            None => Ok(()),
        };
        let (renewal, how) = (Renewal::AlsoAlone, Publishing::of(&changes));
        let (published, changes) =
            self.publish_as(&Publishing { review: Some(review), renewal, noted: Some(&noted), ..how }).await?;
        self.take_out(&applied.borrow().iter().cloned().collect())?;
        Ok(PublishedStaged { changes, published })
    }

    /// Takes what was published out of the list, then the note of it.
    fn take_out(&self, published: &BTreeSet<ChangeId>) -> Result<(), TrustError> {
        let locked = self.local.lock()?;
        locked.remove_changes(published)?;
        locked.forget_upload()?;
        Ok(())
    }

    /// Takes out what a process had published that ended before it could do so itself.
    async fn settle_upload(&self) -> Result<(), TrustError> {
        let Some(note) = self.local.upload_note()?.and_then(|text| UploadNote::read(&text)) else { return Ok(()) };
        let staged: BTreeSet<ChangeId> = self.local.changes()?.staged.into_iter().map(|change| change.id).collect();
        let noted: BTreeSet<ChangeId> = staged.into_iter().filter(|id| note.names(id)).collect();
        if !noted.is_empty() && !self.was_stored(&note).await? {
            return Ok(());
        }
        self.take_out(&noted)
    }

    /// Reads the list where every file in it has to be a change: a part is never published as if it were everything.
    fn readable(&self) -> Result<Vec<(ChangeId, Change)>, TrustError> {
        let staged = self.staged()?;
        if let Some(junk) = staged.skipped.into_iter().next() {
            return Err(RequestError::StagedJunk { gun: self.gun().clone(), path: junk.path }.into());
        }
        let readable = staged.entries.into_iter().map(|entry| match entry.change {
            // No client stages that: it would have the owner sign a rotation that nobody asked for.
            Ok(Change::ReplaceKeys { role, .. }) => {
                Err(RequestError::StagedRotation { file: entry.id.to_string(), role }.into())
            }
            Ok(change) => Ok((entry.id, change)),
            Err(error) => Err(RequestError::StagedChange { file: entry.id.to_string(), error }.into()),
        });
        readable.collect()
    }
}
