//! Everything that is kept, out of the file and into another one.

use async_trait::async_trait;
use countersign_crypto::KeyId;
use countersign_tuf::Gun;
use fail::fail_point;
use sqlx::sqlite::SqliteConnection;
use tokio::sync::mpsc::Sender;

use super::{SqliteStore, change, keys, pieces};
use crate::backup::{PAGE, RESTORING, Unheard, base, length, tell};
use crate::columns::{micros, number, read_digest, read_gun, read_role, read_size, read_time, read_version};
use crate::{BackupStore, Category, Change, Holding, Kept, KeptFile, KeptKey, PageSize, StoreError};

type FileRow = (i64, String, i64, String, i64, Vec<u8>, i64, i64, bool);

const FILES: &str = "SELECT f.id, f.role, f.version, f.sha256, f.created_at, f.data, f.length, f.base, \
    c.file_id IS NOT NULL FROM tuf_files f LEFT JOIN current_files c ON c.file_id = f.id \
    WHERE f.gun = ?1 AND (f.role, f.version) > (?2, ?3) ORDER BY f.role, f.version LIMIT ?4";

#[async_trait]
impl BackupStore for SqliteStore {
    async fn dump(&self, to: Sender<Kept>) -> Result<(), StoreError> {
        // The first statement fixes what all others see; whoever writes goes on meanwhile, into the write-ahead log.
        let mut tx = self.begin_read().await?;
        let mut gun = String::new();
        while let Some(next) = next_collection(&mut tx, &gun).await? {
            if dump_collection(&mut tx, &read_gun(&next)?, &to).await?.is_err() {
                return Ok(());
            }
            gun = next;
        }
        let _ = dump_rest(&mut tx, &to).await?;
        Ok(())
    }

    async fn holding(&self) -> Result<Holding, StoreError> {
        let mut tx = self.begin_read().await?;
        holding(&mut tx).await
    }

    async fn begin_restore(&self) -> Result<Holding, StoreError> {
        let mut tx = self.begin_write().await?;
        let found = holding(&mut tx).await?;
        if found == Holding::Something {
            return Ok(found);
        }
        for statement in [
            "DELETE FROM current_files",
            "DELETE FROM file_pieces",
            "DELETE FROM tuf_files",
            "DELETE FROM changefeed",
            "DELETE FROM service_keys",
            "DELETE FROM sqlite_sequence",
        ] {
            sqlx::query(statement).execute(&mut *tx).await.map_err(StoreError::database("made room for a restore"))?;
        }
        sqlx::query("INSERT INTO agreed (name, value) VALUES (?, 'begun') ON CONFLICT (name) DO NOTHING")
            .bind(RESTORING)
            .execute(&mut *tx)
            .await
            .map_err(StoreError::database("began a restore"))?;
        self.commit(tx, "began a restore").await?;
        Ok(found)
    }

    async fn load(&self, things: &[Kept]) -> Result<(), StoreError> {
        let mut tx = self.begin_write().await?;
        if !is_restoring(&mut tx).await? {
            return Err(StoreError::damaged("restore", "not begun"));
        }
        for kept in things {
            match kept {
                Kept::File(file) => load_file(&mut tx, file).await?,
                Kept::Change(change) => load_change(&mut tx, change).await?,
                Kept::Key(key) => keys::load(&mut tx, key).await?,
                Kept::LastChange(last) => load_last_change(&mut tx, *last).await?,
            }
        }
        fail_point!("restore-before-commit");
        self.commit(tx, "committed a part of a restore").await?;
        fail_point!("restore-committed");
        Ok(())
    }

    async fn end_restore(&self) -> Result<(), StoreError> {
        let tx = self.begin_write().await?;
        let mut tx = tx;
        sqlx::query("DELETE FROM agreed WHERE name = ?")
            .bind(RESTORING)
            .execute(&mut *tx)
            .await
            .map_err(StoreError::database("ended a restore"))?;
        fail_point!("restore-before-end");
        self.commit(tx, "ended a restore").await
    }

    async fn kept_keys(&self, after: Option<&KeyId>, limit: PageSize) -> Result<Vec<KeptKey>, StoreError> {
        let mut tx = self.begin_read().await?;
        let after = after.map(ToString::to_string).unwrap_or_default();
        keys::kept(&mut tx, &after, i64::from(limit.get())).await
    }
}

async fn next_collection(connection: &mut SqliteConnection, after: &str) -> Result<Option<String>, StoreError> {
    let (next,): (Option<String>,) = sqlx::query_as("SELECT min(gun) FROM tuf_files WHERE gun > ?")
        .bind(after)
        .fetch_one(connection)
        .await
        .map_err(StoreError::database("looked for the next collection"))?;
    Ok(next)
}

async fn dump_collection(
    connection: &mut SqliteConnection,
    gun: &Gun,
    to: &Sender<Kept>,
) -> Result<Result<(), Unheard>, StoreError> {
    let (mut role, mut version) = (String::new(), 0);
    loop {
        let rows: Vec<FileRow> = sqlx::query_as(FILES)
            .bind(gun.as_str())
            .bind(&role)
            .bind(version)
            .bind(PAGE)
            .fetch_all(&mut *connection)
            .await
            .map_err(StoreError::database("read files"))?;
        let is_last = i64::try_from(rows.len()).is_ok_and(|rows| rows < PAGE);
        for row in rows {
            (role, version) = (row.1.clone(), row.2);
            let kept = kept_file(&mut *connection, gun, row).await?;
            if tell(to, Kept::File(kept)).await.is_err() {
                return Ok(Err(Unheard));
            }
        }
        if is_last {
            return Ok(Ok(()));
        }
    }
}

async fn kept_file(connection: &mut SqliteConnection, gun: &Gun, row: FileRow) -> Result<KeptFile, StoreError> {
    let (id, role, version, sha256, stored_at, first, length, of, is_current) = row;
    Ok(KeptFile {
        gun: gun.clone(),
        role: read_role(&role)?,
        version: read_version(version)?,
        sha256: read_digest(&sha256)?,
        stored_at: read_time(stored_at)?,
        is_current,
        length: read_size(length)?,
        base: base(of)?,
        data: pieces::read(connection, id, first).await?,
    })
}

async fn dump_rest(connection: &mut SqliteConnection, to: &Sender<Kept>) -> Result<Result<(), Unheard>, StoreError> {
    let mut after = i64::MIN;
    loop {
        let page = change::after(&mut *connection, after, PAGE).await?;
        let Some(last) = page.last() else { break };
        after = last.id;
        for change in page {
            if tell(to, Kept::Change(change)).await.is_err() {
                return Ok(Err(Unheard));
            }
        }
    }
    let mut after = String::new();
    loop {
        let page = keys::kept(&mut *connection, &after, PAGE).await?;
        let Some(last) = page.last() else { break };
        after = last.key.key.id.to_string();
        for key in page {
            if tell(to, Kept::Key(key)).await.is_err() {
                return Ok(Err(Unheard));
            }
        }
    }
    let (last,): (i64,) =
        sqlx::query_as("SELECT coalesce((SELECT seq FROM sqlite_sequence WHERE name = 'changefeed'), 0)")
            .fetch_one(connection)
            .await
            .map_err(StoreError::database("looked the last change up"))?;
    Ok(tell(to, Kept::LastChange(last)).await)
}

async fn is_restoring(connection: &mut SqliteConnection) -> Result<bool, StoreError> {
    let (found,): (bool,) = sqlx::query_as("SELECT EXISTS (SELECT 1 FROM agreed WHERE name = ?)")
        .bind(RESTORING)
        .fetch_one(connection)
        .await
        .map_err(StoreError::database("looked for an unfinished restore"))?;
    Ok(found)
}

async fn holding(connection: &mut SqliteConnection) -> Result<Holding, StoreError> {
    if is_restoring(&mut *connection).await? {
        return Ok(Holding::Part);
    }
    let (something,): (bool,) = sqlx::query_as(
        "SELECT EXISTS (SELECT 1 FROM tuf_files) OR EXISTS (SELECT 1 FROM changefeed) \
         OR EXISTS (SELECT 1 FROM service_keys)",
    )
    .fetch_one(connection)
    .await
    .map_err(StoreError::database("looked for what is there"))?;
    Ok(if something { Holding::Something } else { Holding::Nothing })
}

async fn load_file(connection: &mut SqliteConnection, file: &KeptFile) -> Result<(), StoreError> {
    let (first, rest) = pieces::split(&file.data);
    let (id,): (i64,) = sqlx::query_as(
        "INSERT INTO tuf_files (gun, role, version, sha256, created_at, data, length, base) \
         VALUES (?, ?, ?, ?, ?, ?, ?, ?) RETURNING id",
    )
    .bind(file.gun.as_str())
    .bind(file.role.as_str())
    .bind(number(file.version))
    .bind(file.sha256.hex())
    .bind(micros(file.stored_at))
    .bind(first)
    .bind(length(file.length))
    .bind(file.base.map_or(0, number))
    .fetch_one(&mut *connection)
    .await
    .map_err(StoreError::database("restored a file"))?;
    pieces::write(&mut *connection, id, rest).await?;
    if file.is_current {
        sqlx::query("INSERT INTO current_files (gun, role, file_id) VALUES (?, ?, ?)")
            .bind(file.gun.as_str())
            .bind(file.role.as_str())
            .bind(id)
            .execute(connection)
            .await
            .map_err(StoreError::database("restored which file is current"))?;
    }
    Ok(())
}

async fn load_change(connection: &mut SqliteConnection, change: &Change) -> Result<(), StoreError> {
    let (version, sha256, category) = match &change.category {
        Category::Update { version, sha256 } => (number(*version), Some(sha256.hex()), "update"),
        Category::Deletion => (0, None, "deletion"),
    };
    sqlx::query("INSERT INTO changefeed (id, created_at, gun, version, sha256, category) VALUES (?, ?, ?, ?, ?, ?)")
        .bind(change.id)
        .bind(micros(change.created_at))
        .bind(change.gun.as_str())
        .bind(version)
        .bind(sha256)
        .bind(category)
        .execute(connection)
        .await
        .map_err(StoreError::database("restored a change"))?;
    Ok(())
}

/// Sees to it that the next change gets a higher number.
async fn load_last_change(connection: &mut SqliteConnection, last: i64) -> Result<(), StoreError> {
    let failed = StoreError::database("restored the last change's number");
    let done = sqlx::query("UPDATE sqlite_sequence SET seq = max(seq, ?) WHERE name = 'changefeed'")
        .bind(last)
        .execute(&mut *connection)
        .await
        .map_err(failed)?;
    if done.rows_affected() == 0 {
        sqlx::query("INSERT INTO sqlite_sequence (name, seq) VALUES ('changefeed', ?)")
            .bind(last)
            .execute(connection)
            .await
            .map_err(StoreError::database("restored the last change's number"))?;
    }
    Ok(())
}
