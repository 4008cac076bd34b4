//! The change feed.

use countersign_tuf::Gun;
use jiff::Timestamp;
use sqlx::SqlitePool;
use sqlx::sqlite::SqliteConnection;

use crate::columns::{micros, number, read_digest, read_gun, read_time, read_version};
use crate::{Category, Change, ChangeQuery, NewMetadata, StoreError, Window};

type ChangeRow = (i64, i64, String, i64, Option<String>, String);

fn change((id, created_at, gun, version, sha256, category): ChangeRow) -> Result<Change, StoreError> {
    let category = match (category.as_str(), sha256) {
        ("update", Some(sha256)) => Category::Update { version: read_version(version)?, sha256: read_digest(&sha256)? },
        ("deletion", _) => Category::Deletion,
        (other, _) => return Err(StoreError::damaged("category", other)),
    };
    Ok(Change { id, created_at: read_time(created_at)?, gun: read_gun(&gun)?, category })
}

pub(super) async fn record_update(
    connection: &mut SqliteConnection,
    gun: &Gun,
    timestamp: &NewMetadata,
    now: Timestamp,
) -> Result<(), StoreError> {
    sqlx::query("INSERT INTO changefeed (created_at, gun, version, sha256, category) VALUES (?, ?, ?, ?, 'update')")
        .bind(micros(now))
        .bind(gun.as_str())
        .bind(number(timestamp.version()))
        .bind(timestamp.sha256().hex())
        .execute(connection)
        .await
        .map_err(StoreError::database("recorded an update"))?;
    Ok(())
}

pub(super) async fn record_deletion(
    connection: &mut SqliteConnection,
    gun: &Gun,
    now: Timestamp,
) -> Result<(), StoreError> {
    sqlx::query(
        "INSERT INTO changefeed (created_at, gun, version, sha256, category) VALUES (?, ?, 0, NULL, 'deletion')",
    )
    .bind(micros(now))
    .bind(gun.as_str())
    .execute(connection)
    .await
    .map_err(StoreError::database("recorded a deletion"))?;
    Ok(())
}

// One statement for each direction, with and without a collection: with `OR` in one statement the index would lie idle.
const ALL_UP: &str = "SELECT id, created_at, gun, version, sha256, category FROM changefeed \
    WHERE ?1 IS NULL AND id > ?2 ORDER BY id LIMIT ?3";
const ALL_DOWN: &str = "SELECT id, created_at, gun, version, sha256, category FROM changefeed \
    WHERE ?1 IS NULL AND id < ?2 ORDER BY id DESC LIMIT ?3";
const ONE_UP: &str = "SELECT id, created_at, gun, version, sha256, category FROM changefeed \
    WHERE gun = ?1 AND id > ?2 ORDER BY id LIMIT ?3";
const ONE_DOWN: &str = "SELECT id, created_at, gun, version, sha256, category FROM changefeed \
    WHERE gun = ?1 AND id < ?2 ORDER BY id DESC LIMIT ?3";

/// Returns changes after this one, within a transaction.
pub(super) async fn after(connection: &mut SqliteConnection, id: i64, limit: i64) -> Result<Vec<Change>, StoreError> {
    let rows: Vec<ChangeRow> = sqlx::query_as(ALL_UP)
        .bind(None::<&str>)
        .bind(id)
        .bind(limit)
        .fetch_all(connection)
        .await
        .map_err(StoreError::database("read the change feed"))?;
    rows.into_iter().map(change).collect()
}

pub(super) async fn changes(pool: &SqlitePool, query: &ChangeQuery) -> Result<Vec<Change>, StoreError> {
    let gun = query.gun.as_ref().map(Gun::as_str);
    let (statement, id) = match (query.window, gun) {
        (Window::After(id), None) => (ALL_UP, id),
        (Window::After(id), Some(_)) => (ONE_UP, id),
        (Window::Before(id), None) => (ALL_DOWN, id),
        (Window::Before(id), Some(_)) => (ONE_DOWN, id),
        (Window::Newest, None) => (ALL_DOWN, i64::MAX),
        (Window::Newest, Some(_)) => (ONE_DOWN, i64::MAX),
    };
    let rows: Vec<ChangeRow> = sqlx::query_as(statement)
        .bind(gun)
        .bind(id)
        .bind(i64::from(query.limit.get()))
        .fetch_all(pool)
        .await
        .map_err(StoreError::database("read the change feed"))?;
    let mut changes: Vec<Change> = rows.into_iter().map(change).collect::<Result<_, _>>()?;
    if !matches!(query.window, Window::After(_)) {
        changes.reverse();
    }
    Ok(changes)
}
