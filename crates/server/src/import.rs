//! Taking everything over from the databases of a reference's server and signer: checked while it is copied, in pieces that are
//! whole each, so that it can end at any moment and go on later.
//!
//! Keys come first, so that no collection is there that cannot be signed for; then, collection by collection, publication by
//! publication, the files; then what has changed since, which the old service's change feed tells.

mod collection;
mod keys;
mod progress;
pub(crate) mod sound;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use countersign_crypto::KeyId;
use countersign_storage::{
    Absent, Alias, Category, ChangeQuery, Connections, DatabaseUrl, KeyStore, MetadataStore, PageSize, PendingKeyError,
    PublishError, ReferenceSigningKeys, ReferenceStore, ServiceRole, StoreError, Window,
};
use countersign_tuf::{Gun, GunError, RoleName};
use jiff::Timestamp;
use zeroize::Zeroizing;

use crate::audit::{By, Entry, Journal};
use crate::config::{Config, Keys};
use crate::data_dir::{DataDir, DataDirError, Secret};
use crate::server_keys::Rows;
use crate::service::{StartError, secret};
use crate::stores::Stores;
use progress::Progress;

/// How far before the last change that was seen the feed is read again: the reference's processes may show a number after a
/// later one.
const OVERLAP: i64 = 1000;
/// Changes that are dealt with at once; more than are read again.
const AT_ONCE: usize = 10_000;

/// The databases of the reference's server and signer.
#[derive(Debug, Clone)]
pub struct OldService {
    /// With `tuf_files` and `changefeed`.
    pub server: DatabaseUrl,
    /// With `private_keys`.
    pub signer: DatabaseUrl,
}

/// Where the keys are in the end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeysGo {
    /// To the new service, encrypted under its secret.
    ToTheService,
    /// They stay at the signer, which the new service uses as its keyserver.
    Nowhere,
}

/// Returns the passphrase of an alias that keys are encrypted under, if it is known.
pub type Passphrases = dyn Fn(&Alias) -> Option<Zeroizing<String>> + Send + Sync;

/// Says why nothing more can be taken over; what has been stays, and the same can be done again.
#[derive(Debug, thiserror::Error)]
pub enum ImportError {
    /// The new service cannot be used.
    #[error(transparent)]
    Service(#[from] StartError),
    /// Its data folder cannot be used.
    #[error(transparent)]
    DataDir(#[from] DataDirError),
    /// The old service's database cannot be used.
    #[error("the database of the old service's {which} cannot be used")]
    Old {
        /// `server` or `signer`.
        which: &'static str,
        /// Why not.
        #[source]
        source: StoreError,
    },
    /// The new service's database cannot be used.
    #[error("the new service's database cannot be used")]
    New(#[source] StoreError),
    /// A passphrase is not there, or does not open the keys.
    #[error("the keys under the alias {alias} cannot be opened: {reason}")]
    Passphrase {
        /// The alias.
        alias: Alias,
        /// Why not.
        reason: String,
    },
    /// How far it came cannot be read or written.
    #[error("{path} cannot be used: {reason}")]
    Progress {
        /// The file.
        path: String,
        /// Why not.
        reason: String,
    },
}

impl From<StoreError> for ImportError {
    fn from(error: StoreError) -> Self {
        Self::New(error)
    }
}

/// What became of something.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outcome {
    /// The collection; for a key that cannot be read, what its row says.
    pub gun: String,
    /// What was done.
    pub done: Done,
    /// What is broken: readers or publishers would notice.
    pub problems: Vec<String>,
    /// What is worth knowing: nobody needs it to read or publish.
    pub remarks: Vec<String>,
}

/// What was done about a collection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Done {
    /// So many files were copied.
    Copied(u64),
    /// Everything was there.
    Nothing,
    /// It was deleted, as it was at the old service.
    Deleted,
    /// It is broken and was left out.
    LeftOut,
    /// A key of it is broken and was left out.
    KeyLeftOut,
}

impl Outcome {
    fn new(gun: &str, done: Done) -> Self {
        Self { gun: gun.to_owned(), done, problems: Vec::new(), remarks: Vec::new() }
    }

    fn nameless(name: &str, error: &GunError) -> Self {
        Self::left_out(name, format!("this is no collection's name: {error}"))
    }

    fn left_out(gun: &str, problem: String) -> Self {
        Self { problems: vec![problem], ..Self::new(gun, Done::LeftOut) }
    }
}

/// Takes over.
pub struct Importer {
    server: ReferenceStore,
    signer: ReferenceSigningKeys,
    metadata: Arc<dyn MetadataStore>,
    keys: Arc<dyn KeyStore>,
    /// What keys are encrypted under at the new service; none where they stay at a signer.
    secret: Option<Secret>,
    passphrases: Arc<Passphrases>,
    progress: Progress,
    /// Changes that have been dealt with, of the last ones.
    dealt_with: BTreeSet<i64>,
    now: Timestamp,
    /// The new service's audit log.
    audit: Journal,
    stores: Stores,
    _data: DataDir,
}

impl std::fmt::Debug for Importer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Importer").finish_non_exhaustive()
    }
}

impl Importer {
    /// Opens all databases and tries every passphrase; the new service must not run on this data folder meanwhile.
    ///
    /// # Errors
    /// One of them cannot be used, or a passphrase is missing or wrong.
    pub async fn open(
        config: &Config,
        old: &OldService,
        keys_go: KeysGo,
        passphrases: Arc<Passphrases>,
    ) -> Result<Self, ImportError> {
        let connections = Connections::default();
        let server = ReferenceStore::open(&old.server, connections, Absent::Refuse).await.map_err(of_server)?;
        let signer = ReferenceSigningKeys::open(&old.signer, connections, Absent::Refuse).await.map_err(of_signer)?;
        let data = DataDir::open(&config.data_dir)?;
        let stores = Stores::open(config, &data).await?;
        let (metadata, rows) = (stores.metadata(), stores.keys());
        let secret = match (&config.keys, keys_go) {
            (Keys::Here, KeysGo::ToTheService) => secret(config, &data, &rows).await?,
            (Keys::Keyserver(_), _) | (_, KeysGo::Nowhere) => None,
        };
        let Rows::Store(keys) = rows else { return Err(StartError::NeedsSigner.into()) };
        if let Some(secret) = &secret
            && !stores.agree_on(secret).await?
        {
            return Err(StartError::AnotherSecret.into());
        }
        let audit = Journal::of_command(config, &metadata, "import notary").await.map_err(StartError::from)?;
        let progress = Progress::open(data.file("import-notary.json"), &old.server.to_string())?;
        let now = config.clock.now();
        let dealt_with = BTreeSet::new();
        let mut importer = Self {
            server,
            signer,
            metadata,
            keys,
            secret,
            passphrases,
            progress,
            dealt_with,
            now,
            audit,
            stores,
            _data: data,
        };
        importer.try_passphrases().await?;
        importer.begin().await?;
        Ok(importer)
    }

    /// Notes where the change feed stands before anything is copied.
    async fn begin(&mut self) -> Result<(), ImportError> {
        if self.progress.change().is_none() {
            let query = ChangeQuery { gun: None, window: Window::Newest, limit: PageSize::wished(1) };
            let newest = self.server.feed(&query).await.map_err(of_server)?;
            self.progress.reached(newest.first().map_or(0, |found| found.id))?;
        }
        let reached = self.progress.change().unwrap_or(0);
        self.dealt_with = self.feed(reached.saturating_sub(OVERLAP), Some(reached)).await?.into_keys().collect();
        Ok(())
    }

    /// Takes all keys that the new service lacks; tells of each that is left out.
    ///
    /// # Errors
    /// A database fails.
    pub async fn take_keys(&self, tell: &mut (dyn FnMut(Outcome) + Send)) -> Result<u64, ImportError> {
        let mut taken = 0;
        // Keys that have signed first: of those that have not, there is room for one of each kind alone.
        for turn in [keys::Turn::HaveSigned, keys::Turn::Wait] {
            let mut after: Option<String> = None;
            loop {
                let page = self.signer.all(after.as_deref(), PageSize::wished(0)).await.map_err(of_signer)?;
                let Some(last) = page.last() else { break };
                after = Some(last.id.clone());
                taken += self.take_page(page, turn, tell).await?;
            }
        }
        Ok(taken)
    }

    /// Takes all collections; tells of each.
    ///
    /// # Errors
    /// A database fails.
    pub async fn take_collections(&self, tell: &mut (dyn FnMut(Outcome) + Send)) -> Result<(), ImportError> {
        let mut after: Option<String> = None;
        loop {
            let page = self.server.collections(after.as_deref(), PageSize::wished(0)).await.map_err(of_server)?;
            let Some(last) = page.last() else { return Ok(()) };
            after = Some(last.clone());
            for name in page {
                let outcome = match Gun::parse(&name) {
                    Ok(gun) => self.take(&gun).await?,
                    Err(error) => Outcome::nameless(&name, &error),
                };
                self.write_down(&outcome);
                tell(outcome);
            }
        }
    }

    /// Takes what has changed since, as the old service's change feed tells; tells of each collection, and returns how many
    /// changes there were.
    ///
    /// # Errors
    /// A database fails.
    pub async fn take_changes(&mut self, tell: &mut (dyn FnMut(Outcome) + Send)) -> Result<usize, ImportError> {
        let reached = self.progress.change().unwrap_or(0);
        let mut found = self.feed(reached.saturating_sub(OVERLAP), None).await?;
        found.retain(|id, _| !self.dealt_with.contains(id));
        let (count, last) = (found.len(), found.keys().next_back().copied());
        let mut changed: BTreeMap<Gun, Deleted> = BTreeMap::new();
        for (name, deleted) in found.values() {
            match (Gun::parse(name), *deleted) {
                (Ok(gun), deleted) => {
                    let known = changed.entry(gun).or_insert(Deleted::No);
                    *known = (*known).max(deleted);
                }
                (Err(_), Deleted::Yes) => tell(Outcome::new(name, Done::Deleted)),
                (Err(error), Deleted::No) => tell(Outcome::nameless(name, &error)),
            }
        }
        for (gun, deleted) in changed {
            if deleted == Deleted::Yes {
                if !self.is_the_old_one(&gun).await? {
                    let problem = "it was deleted at the old service, but somebody has published at the new one since";
                    tell(Outcome::left_out(gun.as_str(), problem.to_owned()));
                    continue;
                }
                self.metadata.delete(&gun, self.now).await?;
            }
            let mut broken = Vec::new();
            self.take_keys_of(&gun, &mut |outcome| broken.push(outcome)).await?;
            broken.into_iter().for_each(&mut *tell);
            let mut outcome = self.take(&gun).await?;
            if deleted == Deleted::Yes && outcome.done == Done::Nothing {
                outcome.done = Done::Deleted;
            }
            self.write_down(&outcome);
            tell(outcome);
        }
        self.dealt_with.extend(found.into_keys());
        if let Some(last) = last.filter(|last| *last > reached) {
            self.progress.reached(last)?;
            self.dealt_with = self.dealt_with.split_off(&last.saturating_sub(OVERLAP));
        }
        Ok(count)
    }

    /// Tells whether what is here of a collection was published at the old service: its feed remembers also what was deleted.
    async fn is_the_old_one(&self, gun: &Gun) -> Result<bool, ImportError> {
        let state = self.metadata.state(gun, &BTreeSet::new()).await?;
        let Some(timestamp) = state.timestamp else { return Ok(true) };
        let mut after = 0;
        loop {
            let (gun, window, limit) = (Some(gun.clone()), Window::After(after), PageSize::wished(i64::MAX));
            let page = self.server.changes(&ChangeQuery { gun, window, limit }).await.map_err(of_server)?;
            let Some(last) = page.last() else { return Ok(false) };
            after = last.id;
            let is_it =
                |category: &Category| matches!(category, Category::Update { sha256, .. } if *sha256 == timestamp);
            if page.iter().any(|change| is_it(&change.category)) {
                return Ok(true);
            }
        }
    }

    /// Reads the old service's feed, from after a number up to another; not all of it at once.
    /// A change that cannot be read is one of its collection all the same: its files say what there is.
    async fn feed(&self, mut after: i64, until: Option<i64>) -> Result<BTreeMap<i64, (String, Deleted)>, ImportError> {
        let mut found = BTreeMap::new();
        while found.len() < AT_ONCE {
            let query = ChangeQuery { gun: None, window: Window::After(after), limit: PageSize::wished(i64::MAX) };
            let page = self.server.feed(&query).await.map_err(of_server)?;
            let Some(last) = page.last() else { return Ok(found) };
            after = last.id;
            for row in page {
                if until.is_some_and(|until| row.id > until) {
                    return Ok(found);
                }
                let deleted = match row.category {
                    Ok(Category::Deletion) => Deleted::Yes,
                    Ok(_) => Deleted::No,
                    Err(error) => damaged(error, of_server).map(|_| Deleted::No)?,
                };
                found.insert(row.id, (row.gun, deleted));
            }
        }
        Ok(found)
    }

    /// Has the audit log tell what was done about a collection.
    fn write_down(&self, outcome: &Outcome) {
        let (entry, files) = match outcome.done {
            Done::Copied(files) => (Entry::new("import", &By::operator()), files),
            Done::Deleted => (Entry::new("delete", &By::operator()), 0),
            Done::Nothing | Done::LeftOut | Done::KeyLeftOut => return,
        };
        self.audit.later(entry.of_gun(&outcome.gun).count(files).outcome(crate::audit::Outcome::Done));
    }

    /// Ends; what was taken over is stored already.
    pub async fn close(self) {
        self.audit.end().await;
        self.server.close().await;
        self.signer.close().await;
        self.stores.close().await;
    }
}

/// Whether a collection was deleted meanwhile.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Deleted {
    No,
    Yes,
}

fn of_server(source: StoreError) -> ImportError {
    ImportError::Old { which: "server", source }
}

fn of_signer(source: StoreError) -> ImportError {
    ImportError::Old { which: "signer", source }
}

/// Tells what is wrong with a row from a database that fails.
fn damaged(error: StoreError, of: fn(StoreError) -> ImportError) -> Result<String, ImportError> {
    match error {
        StoreError::Damaged { .. } => Ok(error.to_string()),
        error => Err(of(error)),
    }
}

/// The roles whose keys services hold.
const SERVED: [(RoleName, ServiceRole); 2] =
    [(RoleName::Timestamp, ServiceRole::Timestamp), (RoleName::Snapshot, ServiceRole::Snapshot)];

fn unstored(error: PublishError) -> Result<String, ImportError> {
    match error {
        PublishError::Store(error) => Err(ImportError::New(error)),
        error => Ok(error.to_string()),
    }
}

/// A key that could not be kept because another one is in its place.
fn unkept(error: PendingKeyError, id: &KeyId) -> Result<String, ImportError> {
    match error {
        // It was here and is out of use: its collection was deleted since.
        PendingKeyError::Store(error) if error.is_duplicate() => Ok(format!("the key {id} is out of use here")),
        PendingKeyError::Store(error) => Err(ImportError::New(error)),
        error @ PendingKeyError::TooMany { .. } => Ok(error.to_string()),
    }
}
