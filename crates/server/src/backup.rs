//! Everything that the service keeps in one file, while it runs; and back into an empty database of any kind.

mod format;
mod verify;

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::Path;
use std::sync::Arc;

use countersign_storage::{BackupStore, Holding, Kept, SqliteStore, StoreError};
use countersign_tuf::Gun;
use jiff::Timestamp;
use tokio::sync::mpsc;

pub use self::format::Contents;
use self::format::{About, CHANGES, Count, Part, Reader, Writer};
pub use self::verify::Findings;
use crate::config::{Config, Storage};
use crate::data_dir::{DataDir, DataDirError, Secret, secret_in};
use crate::service::{Service, StartError};
use crate::stores::{self, Stores, fingerprint};

/// Things on their way between the database and the file.
const UNDERWAY: usize = 4;
/// Things that one transaction of a restore stores, and bytes after which it ends early.
const BATCH: usize = 500;
const BATCH_BYTES: usize = 8 * 1024 * 1024;

/// Says why there is no backup, or why it was not restored.
#[derive(Debug, thiserror::Error)]
pub enum BackupError {
    /// The database is of another release, or there is none.
    #[error("the database is not of this release: see `countersign serve migrate --check`")]
    AnotherRelease,
    /// The tables are the reference's.
    #[error("the reference's tables are backed up with the database's own tools")]
    ReferenceTables,
    /// A restore into the database has not ended.
    #[error("the database holds a restore that has not ended, which is nothing to back up")]
    UnfinishedRestore,
    /// The database holds something.
    #[error(
        "the database holds something already: a backup is restored into an empty one only, and nothing was changed"
    )]
    NotEmpty,
    /// The file is something else.
    #[error("the file is no backup of a service, or one of a newer release")]
    NoBackup,
    /// The file is not what was written.
    #[error("the backup is damaged: it was altered or cut short")]
    Altered,
    /// The file is whole, but nothing that a service writes.
    #[error("the backup is nothing that a service wrote: {0}")]
    Malformed(String),
    /// The secret at hand is not the one that the keys are encrypted under.
    #[error("the file secret in the data folder is not the one that the keys in the backup are encrypted under")]
    AnotherSecret,
    /// The archive cannot be read.
    #[error("the backup cannot be read")]
    Read(#[source] io::Error),
    /// The archive cannot be written.
    #[error("the backup cannot be written")]
    Write(#[source] io::Error),
    /// The data folder or the database cannot be used.
    #[error(transparent)]
    Start(#[from] StartError),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl From<DataDirError> for BackupError {
    fn from(error: DataDirError) -> Self {
        Self::Start(error.into())
    }
}

/// What is done when a restored service is not in order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Despite {
    /// It is not served.
    Nothing,
    /// It is served as it is: perhaps it was so before, or there is no better backup.
    Findings,
}

/// Whether the secret that opens the keys is in the data folder.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SecretState {
    /// It is, and was tried on all keys.
    Present,
    /// It is not, and has to be put there before the service starts.
    Missing,
    /// No key needs one.
    NotNeeded,
}

/// What was restored, or looked at.
#[derive(Debug)]
pub struct Restored {
    /// When the backup was made.
    pub created_at: Timestamp,
    /// The release that made it.
    pub program: String,
    /// How much it holds.
    pub contents: Contents,
    /// What is not in order.
    pub findings: Findings,
    /// Whether the keys could be tried.
    pub secret: SecretState,
}

impl Restored {
    /// Tells whether everything is in order.
    #[must_use]
    pub fn is_sound(&self) -> bool {
        self.findings.count == 0
    }
}

impl Service {
    /// Writes everything that the service keeps, as it is at one moment; services may be running meanwhile. Returns how much
    /// there was, and the bytes of the archive.
    ///
    /// # Errors
    /// Fails when the database is not of this release, when it fails, or when the archive cannot be written.
    pub async fn backup<W: Write + Send + 'static>(
        config: &Config,
        to: W,
        now: Timestamp,
    ) -> Result<(W, Contents, u64), BackupError> {
        let layout = Self::layout(config).await?;
        if matches!(config.storage, Storage::Reference { .. }) {
            return Err(BackupError::ReferenceTables);
        }
        if !layout.pending.is_empty() || !layout.unknown.is_empty() || layout.unfinished.is_some() {
            return Err(BackupError::AnotherRelease);
        }
        let stores = Stores::open_at(config, &config.data_dir.join(stores::FILE)).await?;
        let about = About {
            created_at: now,
            program: env!("CARGO_PKG_VERSION").to_owned(),
            database: kind(config).to_owned(),
            secret: secret_at(&config.data_dir)?.as_ref().map(fingerprint),
        };
        let written = match stores.backup() {
            Some(store) => write(store, to, about).await,
            None => Err(BackupError::ReferenceTables),
        };
        stores.close().await;
        written
    }

    /// Restores a backup into an empty database and verifies what is there then. Until that is done, or with what it found,
    /// no service starts on the database, and the restore can be begun again.
    ///
    /// # Errors
    /// Refuses an archive that is damaged and a database that is not empty, and changes nothing then; fails when the database
    /// does.
    pub async fn restore(
        config: &Config,
        archive: File,
        now: Timestamp,
        despite: Despite,
    ) -> Result<Restored, BackupError> {
        if matches!(config.storage, Storage::Reference { .. }) {
            return Err(BackupError::ReferenceTables);
        }
        let (about, contents) = look(&archive).await?;
        let data = DataDir::open(&config.data_dir)?;
        let secret = secret_at(&config.data_dir)?;
        let differs = |secret: &Secret| about.secret.as_ref().is_some_and(|wanted| fingerprint(secret) != *wanted);
        if contents.keys > 0 && secret.as_ref().is_some_and(differs) {
            return Err(BackupError::AnotherSecret);
        }
        let stores = Stores::open(config, &data).await?;
        let restored = match stores.backup() {
            Some(store) => fill(store, archive, (about, contents), secret.as_ref(), now, despite).await,
            None => Err(BackupError::ReferenceTables),
        };
        stores.close().await;
        restored
    }

    /// Does what [`Service::restore`] does, with a database of its own in this folder, and with the secret in the data folder
    /// if one is named.
    ///
    /// # Errors
    /// As for [`Service::restore`].
    pub async fn check_backup(
        archive: File,
        folder: &Path,
        data_dir: Option<&Path>,
        now: Timestamp,
    ) -> Result<Restored, BackupError> {
        let about = look(&archive).await?;
        // Whoever checks a backup of another service has another secret.
        let fits = |secret: &Secret| about.0.secret.as_ref().is_none_or(|wanted| fingerprint(secret) == *wanted);
        let secret = data_dir.map(secret_at).transpose()?.flatten().filter(fits);
        let store = SqliteStore::open(&folder.join(stores::FILE)).await?;
        let restored = fill(Arc::new(store.clone()), archive, about, secret.as_ref(), now, Despite::Nothing).await;
        store.close().await;
        restored
    }
}

fn kind(config: &Config) -> &'static str {
    match &config.storage {
        Storage::Sqlite => "sqlite",
        _ => "server",
    }
}

/// Returns the secret in a data folder, if there is one: none is made here.
fn secret_at(data_dir: &Path) -> Result<Option<Secret>, BackupError> {
    Ok(secret_in(data_dir)?)
}

fn gave_up<E: std::error::Error + Send + Sync + 'static>(error: E) -> BackupError {
    BackupError::Write(io::Error::other(error))
}

async fn write<W: Write + Send + 'static>(
    store: Arc<dyn BackupStore>,
    to: W,
    about: About,
) -> Result<(W, Contents, u64), BackupError> {
    if store.holding().await? == Holding::Part {
        return Err(BackupError::UnfinishedRestore);
    }
    let (sender, mut things) = mpsc::channel(UNDERWAY);
    let writing = tokio::task::spawn_blocking(move || {
        let mut writer = Writer::begin(BufWriter::new(to), about)?;
        let (mut count, mut changes) = (Count::default(), Vec::new());
        while let Some(kept) = things.blocking_recv() {
            if !count.add(&kept) {
                return Err(BackupError::Malformed("the order in which the database answers".to_owned()));
            }
            if !changes.is_empty() && (changes.len() >= CHANGES || !matches!(kept, Kept::Change(_))) {
                writer.part(&Part::Changes { changes: std::mem::take(&mut changes) }, &[])?;
            }
            match &kept {
                Kept::File(file) => writer.part(&Part::File(file.into()), &file.data)?,
                Kept::Change(change) => changes.push(change.into()),
                Kept::Key(key) => writer.part(&Part::Key(key.into()), &[])?,
                // The last of all: without it the database has failed in between.
                Kept::LastChange(_) => {
                    let (buffered, bytes) = writer.end(count.contents)?;
                    let to = buffered.into_inner().map_err(|error| BackupError::Write(error.into_error()))?;
                    return Ok(Some((to, count.contents, bytes)));
                }
            }
        }
        Ok(None)
    });
    let dumped = store.dump(sender).await;
    let written = writing.await.map_err(gave_up)??;
    dumped?;
    written.ok_or(BackupError::Altered)
}

/// Reads all of an archive: nothing is done with one that is not whole.
async fn look(archive: &File) -> Result<(About, Contents), BackupError> {
    let archive = archive.try_clone().map_err(BackupError::Read)?;
    let looked = tokio::task::spawn_blocking(move || {
        let reader = Reader::open(&archive)?;
        let about = reader.about.clone();
        Ok((about, reader.each(|_| Ok(()))?))
    });
    looked.await.map_err(gave_up)?
}

async fn fill(
    store: Arc<dyn BackupStore>,
    archive: File,
    (about, contents): (About, Contents),
    secret: Option<&Secret>,
    now: Timestamp,
    despite: Despite,
) -> Result<Restored, BackupError> {
    if store.begin_restore().await? == Holding::Something {
        return Err(BackupError::NotEmpty);
    }
    let (sender, mut things) = mpsc::channel(UNDERWAY);
    let reading = tokio::task::spawn_blocking(move || {
        Reader::open(&archive)?.each(|kept| sender.blocking_send(kept).map_err(gave_up))
    });
    let (mut batch, mut bytes) = (Vec::new(), 0);
    while let Some(kept) = things.recv().await {
        if let Kept::File(file) = &kept {
            bytes += file.data.len();
        }
        batch.push(kept);
        if batch.len() >= BATCH || bytes >= BATCH_BYTES {
            store.load(&batch).await?;
            batch.clear();
            bytes = 0;
        }
    }
    // Whoever reads has ended: of an archive that was altered meanwhile, the rest is not stored.
    if reading.await.map_err(gave_up)?? != contents {
        return Err(BackupError::Altered);
    }
    store.load(&batch).await?;
    let findings = verify::all(&*store, contents, secret, now).await?;
    if findings.count == 0 || despite == Despite::Findings {
        store.end_restore().await?;
    }
    let secret = match secret {
        _ if contents.keys == 0 => SecretState::NotNeeded,
        Some(_) => SecretState::Present,
        None => SecretState::Missing,
    };
    Ok(Restored { created_at: about.created_at, program: about.program, contents, findings, secret })
}

/// A collection, or a thing that is none's, and what is wrong with it.
pub(crate) type Finding = (Option<Gun>, String);
