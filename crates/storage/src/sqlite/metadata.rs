//! Metadata files and the pointers to the current ones.

use std::collections::BTreeSet;
use std::ops::RangeInclusive;

use async_trait::async_trait;
use countersign_crypto::digest::Sha256Digest;
use countersign_tuf::{Gun, RoleName, Version};
use fail::fail_point;
use jiff::Timestamp;
use sqlx::sqlite::SqliteConnection;

use super::{SqliteStore, audit, change, keys, pieces};
use crate::columns::{micros, number, read_digest, read_gun, read_role, read_time, read_version, verified};
use crate::packing::{self, Packed, Reference, unpack};
use crate::{
    AuditStore, Base, Change, ChangeQuery, Deletion, MetadataStore, NewMetadata, PageSize, Pointer, PublishError,
    Record, RetentionStore, State, StoreError, Stored,
};

/// Reads a file's row and all it takes, within the transaction of all; the bytes must be those that were stored.
async fn stored(connection: &mut SqliteConnection, row: Option<FileRow>) -> Result<Option<Stored>, StoreError> {
    let Some(row) = row else { return Ok(None) };
    let base = match row.base {
        0 => None,
        version => {
            let damaged = || StoreError::damaged("version that another one refers to", &version);
            let base = whole_version(&mut *connection, &row, version).await?.ok_or_else(damaged)?;
            let (length, data) = (base.length, pieces::read(&mut *connection, base.id, base.data).await?);
            Some(unpack(length, data, None).await?.into())
        }
    };
    let data = pieces::read(&mut *connection, row.id, row.data).await?;
    let (role, version, sha256) = (read_role(&row.role)?, read_version(row.version)?, read_digest(&row.sha256)?);
    let bytes = verified(unpack(row.length, data, base).await?, sha256).await?;
    Ok(Some(Stored { role, version, sha256, bytes, stored_at: read_time(row.created_at)? }))
}

/// Finds the version that a file refers to, which refers to none itself.
async fn whole_version(
    connection: &mut SqliteConnection,
    of: &FileRow,
    version: i64,
) -> Result<Option<FileRow>, StoreError> {
    sqlx::query_as(
        "SELECT f.id, f.role, f.version, f.sha256, f.created_at, f.data, f.length, f.base FROM tuf_files f JOIN tuf_files o ON o.gun = f.gun AND o.role = f.role \
         WHERE o.id = ? AND f.version = ? AND f.base = 0",
    )
    .bind(of.id)
    .bind(version)
    .fetch_optional(connection)
    .await
    .map_err(StoreError::database("looked up what a file refers to"))
}

/// A file's row; `data` is its first piece.
#[derive(sqlx::FromRow)]
struct FileRow {
    id: i64,
    role: String,
    version: i64,
    sha256: String,
    created_at: i64,
    data: Vec<u8>,
    length: i64,
    base: i64,
}

#[async_trait]
impl MetadataStore for SqliteStore {
    async fn current(&self, gun: &Gun, role: &RoleName) -> Result<Option<Stored>, StoreError> {
        let mut tx = self.begin_read().await?;
        current(&mut tx, gun, role).await
    }

    async fn state(&self, gun: &Gun, roles: &BTreeSet<RoleName>) -> Result<State, StoreError> {
        let mut tx = self.begin_read().await?;
        let timestamp = current_timestamp(&mut tx, gun).await?;
        let mut state = State { timestamp, ..State::default() };
        for role in roles {
            if let Some(file) = current(&mut tx, gun, role).await? {
                state.files.insert(role.clone(), file);
            }
        }
        Ok(state)
    }

    async fn pointers(&self, gun: &Gun) -> Result<Vec<Pointer>, StoreError> {
        let rows: Vec<(String, i64, String)> = sqlx::query_as(
            "SELECT f.role, f.version, f.sha256 FROM current_files c JOIN tuf_files f ON f.id = c.file_id WHERE c.gun = ?",
        )
        .bind(gun.as_str())
        .fetch_all(&self.readers)
        .await
        .map_err(StoreError::database("listed current files"))?;
        let mut pointers = Vec::with_capacity(rows.len());
        for (role, version, sha256) in rows {
            let (role, version, sha256) = (read_role(&role)?, read_version(version)?, read_digest(&sha256)?);
            pointers.push(Pointer { role, version, sha256 });
        }
        pointers.sort_by(|a, b| a.role.cmp(&b.role));
        Ok(pointers)
    }

    async fn by_checksum(
        &self,
        gun: &Gun,
        role: &RoleName,
        sha256: &Sha256Digest,
    ) -> Result<Option<Stored>, StoreError> {
        let mut tx = self.begin_read().await?;
        let row = sqlx::query_as(
            "SELECT id, role, version, sha256, created_at, data, length, base FROM tuf_files WHERE gun = ? AND role = ? AND sha256 = ? LIMIT 1",
        )
        .bind(gun.as_str())
        .bind(role.as_str())
        .bind(sha256.hex())
        .fetch_optional(&mut *tx)
        .await
        .map_err(StoreError::database("looked a file up by checksum"))?;
        stored(&mut tx, row).await
    }

    async fn by_version(&self, gun: &Gun, role: &RoleName, version: Version) -> Result<Option<Stored>, StoreError> {
        let mut tx = self.begin_read().await?;
        let row = sqlx::query_as(
            "SELECT id, role, version, sha256, created_at, data, length, base FROM tuf_files WHERE gun = ? AND role = ? AND version = ?",
        )
        .bind(gun.as_str())
        .bind(role.as_str())
        .bind(number(version))
        .fetch_optional(&mut *tx)
        .await
        .map_err(StoreError::database("looked a file up by version"))?;
        stored(&mut tx, row).await
    }

    async fn publish(&self, gun: &Gun, base: Base, files: &[NewMetadata], now: Timestamp) -> Result<(), PublishError> {
        self.publish_with(gun, base, files, now, None).await
    }

    async fn delete(&self, gun: &Gun, now: Timestamp) -> Result<Deletion, StoreError> {
        self.delete_once(gun, now).await.inspect_err(|_| self.condition.failed())
    }

    async fn changes(&self, query: &ChangeQuery) -> Result<Vec<Change>, StoreError> {
        change::changes(&self.readers, query).await
    }

    async fn stale(
        &self,
        fresh: RangeInclusive<Timestamp>,
        after: Option<&Gun>,
        limit: PageSize,
    ) -> Result<Vec<Gun>, StoreError> {
        let rows: Vec<(String,)> = sqlx::query_as(
            "SELECT c.gun FROM current_files c JOIN tuf_files f ON f.id = c.file_id \
             WHERE c.role = 'timestamp' AND c.gun > ? AND (f.created_at < ? OR f.created_at > ?) ORDER BY c.gun LIMIT ?",
        )
        .bind(after.map_or("", Gun::as_str))
        .bind(micros(*fresh.start()))
        .bind(micros(*fresh.end()))
        .bind(i64::from(limit.get()))
        .fetch_all(&self.readers)
        .await
        .map_err(StoreError::database("looked for old timestamps"))?;
        rows.iter().map(|(gun,)| read_gun(gun)).collect()
    }

    fn audit(&self) -> Option<&dyn AuditStore> {
        Some(self)
    }

    fn retention(&self) -> Option<&dyn RetentionStore> {
        Some(self)
    }

    async fn health(&self) -> Result<(), StoreError> {
        for statement in [
            "SELECT count(*) FROM (SELECT id FROM tuf_files LIMIT 1)",
            "SELECT count(*) FROM (SELECT file_id FROM file_pieces LIMIT 1)",
            "SELECT count(*) FROM (SELECT gun FROM current_files LIMIT 1)",
            "SELECT count(*) FROM (SELECT id FROM changefeed LIMIT 1)",
            "SELECT count(*) FROM (SELECT key_id FROM service_keys LIMIT 1)",
        ] {
            sqlx::query(statement).execute(&self.readers).await.map_err(StoreError::database("checked its tables"))?;
        }
        self.check_writing().await
    }
}

impl SqliteStore {
    /// Publishes, with what the audit log says of it.
    pub(super) async fn publish_with(
        &self,
        gun: &Gun,
        base: Base,
        files: &[NewMetadata],
        now: Timestamp,
        record: Option<&Record>,
    ) -> Result<(), PublishError> {
        let result = self.publish_once(gun, base, files, now, record).await;
        if let Err(PublishError::Store(_)) = result {
            self.condition.failed();
        }
        result
    }

    async fn publish_once(
        &self,
        gun: &Gun,
        base: Base,
        files: &[NewMetadata],
        now: Timestamp,
        record: Option<&Record>,
    ) -> Result<(), PublishError> {
        let packed = self.pack(gun, files).await?;
        let mut tx = self.begin_write().await?;
        fail_point!("publish-begun");
        check_base(&mut tx, gun, base).await?;
        for (file, packed) in files.iter().zip(&packed) {
            check_version(&mut tx, gun, base, file).await?;
            store_file(&mut tx, gun, file, packed, now).await?;
            fail_point!("publish-file-written");
        }
        for file in files.iter().filter(|file| *file.role() == RoleName::Timestamp) {
            change::record_update(&mut tx, gun, file, now).await?;
            fail_point!("publish-change-written");
        }
        if let Some(Record { chain, draft }) = record {
            audit::record(&mut tx, chain, std::slice::from_ref(draft)).await?;
        }
        fail_point!("publish-before-commit");
        self.commit(tx, "committed a publication").await?;
        fail_point!("publish-committed");
        Ok(())
    }

    /// Packs files for their rows; each against the version of its role that is stored by itself.
    async fn pack(&self, gun: &Gun, files: &[NewMetadata]) -> Result<Vec<Packed>, StoreError> {
        let mut packed = Vec::with_capacity(files.len());
        for file in files {
            let worth_it = file.bytes().len() >= packing::SMALL;
            let reference = if worth_it { packing::usable(self.reference(gun, file.role()).await)? } else { None };
            packed.push(Packed::of(file, reference).await?);
        }
        Ok(packed)
    }

    /// Returns the version that the current one is stored by, which may be itself.
    async fn reference(&self, gun: &Gun, role: &RoleName) -> Result<Option<Reference>, StoreError> {
        let mut tx = self.begin_read().await?;
        let Some(mut row) = current_row(&mut tx, gun, role).await? else { return Ok(None) };
        if row.base != 0 {
            let Some(base) = whole_version(&mut tx, &row, row.base).await? else { return Ok(None) };
            row = base;
        }
        let (version, sha256) = (read_version(row.version)?, read_digest(&row.sha256)?);
        let data = pieces::read(&mut tx, row.id, row.data).await?;
        let stored = data.len();
        let bytes = verified(unpack(row.length, data, None).await?, sha256).await?;
        Ok(Some(Reference { version, sha256, bytes, stored }))
    }

    async fn delete_once(&self, gun: &Gun, now: Timestamp) -> Result<Deletion, StoreError> {
        let mut tx = self.begin_write().await?;
        sqlx::query("DELETE FROM current_files WHERE gun = ?")
            .bind(gun.as_str())
            .execute(&mut *tx)
            .await
            .map_err(StoreError::database("deleted pointers"))?;
        fail_point!("delete-pointers-gone");
        let deleted = sqlx::query("DELETE FROM tuf_files WHERE gun = ?")
            .bind(gun.as_str())
            .execute(&mut *tx)
            .await
            .map_err(StoreError::database("deleted files"))?
            .rows_affected();
        if deleted == 0 {
            return Ok(Deletion::NothingThere);
        }
        keys::retire(&mut tx, gun, now).await?;
        change::record_deletion(&mut tx, gun, now).await?;
        fail_point!("delete-before-commit");
        self.commit(tx, "committed a deletion").await?;
        fail_point!("delete-committed");
        Ok(Deletion::Deleted)
    }
}

async fn current(connection: &mut SqliteConnection, gun: &Gun, role: &RoleName) -> Result<Option<Stored>, StoreError> {
    let row = current_row(connection, gun, role).await?;
    stored(connection, row).await
}

async fn current_row(
    connection: &mut SqliteConnection,
    gun: &Gun,
    role: &RoleName,
) -> Result<Option<FileRow>, StoreError> {
    sqlx::query_as(
        "SELECT f.id, f.role, f.version, f.sha256, f.created_at, f.data, f.length, f.base \
         FROM current_files c JOIN tuf_files f ON f.id = c.file_id WHERE c.gun = ? AND c.role = ?",
    )
    .bind(gun.as_str())
    .bind(role.as_str())
    .fetch_optional(connection)
    .await
    .map_err(StoreError::database("looked a current file up"))
}

pub(super) async fn current_timestamp(
    connection: &mut SqliteConnection,
    gun: &Gun,
) -> Result<Option<Sha256Digest>, StoreError> {
    let row: Option<(String,)> = sqlx::query_as(
        "SELECT f.sha256 FROM current_files c JOIN tuf_files f ON f.id = c.file_id WHERE c.gun = ? AND c.role = 'timestamp'",
    )
    .bind(gun.as_str())
    .fetch_optional(connection)
    .await
    .map_err(StoreError::database("looked the current timestamp up"))?;
    row.map(|(hex,)| read_digest(&hex)).transpose()
}

async fn check_base(connection: &mut SqliteConnection, gun: &Gun, base: Base) -> Result<(), PublishError> {
    let expected = match base {
        Base::Anything => return Ok(()),
        Base::Nothing | Base::Moved => None,
        Base::Timestamp(digest) => Some(digest),
    };
    if current_timestamp(connection, gun).await? == expected { Ok(()) } else { Err(PublishError::Superseded) }
}

async fn check_version(
    connection: &mut SqliteConnection,
    gun: &Gun,
    base: Base,
    file: &NewMetadata,
) -> Result<(), PublishError> {
    let (highest,): (Option<i64>,) = sqlx::query_as("SELECT max(version) FROM tuf_files WHERE gun = ? AND role = ?")
        .bind(gun.as_str())
        .bind(file.role().as_str())
        .fetch_one(connection)
        .await
        .map_err(StoreError::database("looked the highest version up"))?;
    file.check_version(base, highest.map(read_version).transpose()?)
}

/// Stores a file as it was packed, by itself after all if what it refers to is no longer there; and makes it current.
async fn store_file(
    connection: &mut SqliteConnection,
    gun: &Gun,
    file: &NewMetadata,
    packed: &Packed,
    now: Timestamp,
) -> Result<(), StoreError> {
    let plain = Packed::plain(file.bytes());
    let packed = if is_as_it_was(&mut *connection, gun, file.role(), packed).await? { packed } else { &plain };
    let (first, rest) = pieces::split(&packed.data);
    let (id,): (i64,) = sqlx::query_as(
        "INSERT INTO tuf_files (gun, role, version, sha256, created_at, data, length, base) \
         VALUES (?, ?, ?, ?, ?, ?, ?, ?) RETURNING id",
    )
    .bind(gun.as_str())
    .bind(file.role().as_str())
    .bind(number(file.version()))
    .bind(file.sha256().hex())
    .bind(micros(now))
    .bind(first)
    .bind(packed.length)
    .bind(packed.base.map_or(0, |(version, _)| number(version)))
    .fetch_one(&mut *connection)
    .await
    .map_err(StoreError::database("stored a file"))?;
    pieces::write(connection, id, rest).await?;
    sqlx::query(
        "INSERT INTO current_files (gun, role, file_id) VALUES (?, ?, ?) \
         ON CONFLICT (gun, role) DO UPDATE SET file_id = excluded.file_id",
    )
    .bind(gun.as_str())
    .bind(file.role().as_str())
    .bind(id)
    .execute(connection)
    .await
    .map_err(StoreError::database("made a file current"))?;
    Ok(())
}

/// Tells whether what a packed file refers to is what it was packed against: the collection may have been deleted since.
async fn is_as_it_was(
    connection: &mut SqliteConnection,
    gun: &Gun,
    role: &RoleName,
    packed: &Packed,
) -> Result<bool, StoreError> {
    let Some((version, sha256)) = packed.base else { return Ok(true) };
    let row: Option<(String,)> =
        sqlx::query_as("SELECT sha256 FROM tuf_files WHERE gun = ? AND role = ? AND version = ? AND base = 0")
            .bind(gun.as_str())
            .bind(role.as_str())
            .bind(number(version))
            .fetch_optional(connection)
            .await
            .map_err(StoreError::database("looked up what a file refers to"))?;
    row.map_or(Ok(false), |(hex,)| Ok(read_digest(&hex)? == sha256))
}
