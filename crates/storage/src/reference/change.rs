//! `changefeed`: a row for every timestamp and every deletion, numbered by the database.

use countersign_tuf::Gun;
use jiff::Timestamp;

use super::{read_time, write_time};
use crate::columns::{number, read_digest, read_gun, read_version};
use crate::networked::session::{Row, Session, Value};
use crate::{Category, Change, ChangeQuery, NewMetadata, StoreError, Window};

/// Waits until no other process is between numbering a change of this category and committing it; those of the reference
/// hold a share of the same row, by the foreign key.
pub(super) async fn lock(session: &mut Session, category: &str) -> Result<(), StoreError> {
    let statement = "SELECT category FROM change_category WHERE category = ? FOR UPDATE";
    session.row("locked the change feed", statement, &[Value::Characters(category)]).await.map(drop)
}

pub(super) async fn record_updates(
    session: &mut Session,
    gun: &Gun,
    timestamps: &[&NewMetadata],
    now: Timestamp,
) -> Result<(), StoreError> {
    if timestamps.is_empty() {
        return Ok(());
    }
    lock(session, "update").await?;
    for timestamp in timestamps {
        record(session, gun, (number(timestamp.version()), &timestamp.sha256().hex()), "update", now).await?;
    }
    Ok(())
}

/// Deletions share the lock of publications, so that all numbers are in order.
pub(super) async fn record_deletion(session: &mut Session, gun: &Gun, now: Timestamp) -> Result<(), StoreError> {
    lock(session, "update").await?;
    record(session, gun, (0, ""), "deletion", now).await
}

async fn record(
    session: &mut Session,
    gun: &Gun,
    (version, sha256): (i64, &str),
    category: &str,
    now: Timestamp,
) -> Result<(), StoreError> {
    let statement = format!(
        "INSERT INTO changefeed (created_at, gun, version, sha256, category) VALUES ({}, ?, ?, ?, ?)",
        session.dialect().time_value()
    );
    let now = write_time(now);
    let values = [
        Value::Characters(&now),
        Value::Characters(gun.as_str()),
        version.into(),
        Value::Characters(sha256),
        Value::Characters(category),
    ];
    session.execute("recorded a change", &statement, &values).await.map(drop)
}

fn change(row: &Row) -> Result<Change, StoreError> {
    let category = match row.text(5)?.as_str() {
        "update" => {
            let sha256 = read_digest(row.optional_text(4)?.unwrap_or_default().trim_end())?;
            Category::Update { version: read_version(row.integer(3)?)?, sha256 }
        }
        "deletion" => Category::Deletion,
        other => return Err(StoreError::damaged("category", other)),
    };
    let created_at = read_time(row.optional_text(1)?)?;
    Ok(Change { id: row.integer(0)?, created_at, gun: read_gun(&row.text(2)?)?, category })
}

pub(super) async fn changes(session: &mut Session, query: &ChangeQuery) -> Result<Vec<Change>, StoreError> {
    let dialect = session.dialect();
    let (bound, id, order) = match query.window {
        Window::After(id) => ("id > ?", id, "id"),
        Window::Before(id) => ("id < ?", id, "id DESC"),
        Window::Newest => ("id < ?", i64::MAX, "id DESC"),
    };
    let mut values: Vec<Value<'_>> = vec![id.into()];
    let mut whose = String::new();
    if let Some(gun) = &query.gun {
        values.extend(dialect.named(gun.as_str()));
        whose = format!("AND {}", dialect.of_collection("gun"));
    }
    values.push(i64::from(query.limit.get()).into());
    let statement = format!(
        "SELECT {}, {}, gun, {}, sha256, category FROM changefeed WHERE {bound} {whose} ORDER BY {order} LIMIT ?",
        dialect.integer("id"),
        dialect.time("created_at"),
        dialect.integer("version")
    );
    let rows = session.rows("read the change feed", &statement, &values).await?;
    let mut changes: Vec<Change> = rows.iter().map(change).collect::<Result<_, _>>()?;
    if !matches!(query.window, Window::After(_)) {
        changes.reverse();
    }
    Ok(changes)
}
