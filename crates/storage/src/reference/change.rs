//! `changefeed`: a row for every timestamp and every deletion, numbered by the database.

use countersign_tuf::Gun;
use jiff::Timestamp;

use super::{FoundChange, PassedOver, read_time, write_time};
use crate::columns::{number, read_digest, read_gun, read_version};
use crate::networked::session::{Row, Session, Value};
use crate::{Category, Change, ChangeQuery, MAX_PAGE, NewMetadata, PageSize, StoreError, Window};

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

fn category(row: &Row) -> Result<Category, StoreError> {
    match row.text(5)?.as_str() {
        "update" => {
            let sha256 = read_digest(row.optional_text(4)?.unwrap_or_default().trim_end())?;
            Ok(Category::Update { version: read_version(row.integer(3)?)?, sha256 })
        }
        "deletion" => Ok(Category::Deletion),
        other => Err(StoreError::damaged("category", other)),
    }
}

fn found_change(row: &Row) -> Result<FoundChange, StoreError> {
    let created_at = row.optional_text(1)?;
    Ok(FoundChange {
        id: row.integer(0)?,
        gun: row.text(2)?,
        created_at: read_time(created_at),
        category: category(row),
    })
}

impl FoundChange {
    fn into_change(self) -> Result<Change, StoreError> {
        Ok(Change { id: self.id, created_at: self.created_at?, gun: read_gun(&self.gun)?, category: self.category? })
    }
}

/// Returns as many changes as are wanted, if there are so many, oldest first; rows that are none are passed over.
pub(super) async fn changes(
    session: &mut Session,
    query: &ChangeQuery,
    passed_over: &PassedOver,
) -> Result<Vec<Change>, StoreError> {
    let wanted = usize::from(query.limit.get());
    let (mut changes, mut query) = (Vec::new(), query.clone());
    loop {
        let page = found(session, &query).await?;
        let is_last = page.len() < usize::from(query.limit.get());
        let Some(last) = page.last().map(|found| found.id) else { break };
        for found in page {
            let name = found.gun.clone();
            match found.into_change() {
                Ok(change) => changes.push(change),
                Err(error @ StoreError::Damaged { .. }) => passed_over.tell("changefeed", &name, &error),
                Err(error) => return Err(error),
            }
        }
        if is_last || changes.len() >= wanted {
            break;
        }
        query.window = match query.window {
            Window::After(_) => Window::After(last),
            Window::Before(_) | Window::Newest => Window::Before(last),
        };
        query.limit = PageSize::wished(i64::from(MAX_PAGE));
    }
    changes.truncate(wanted);
    if !matches!(query.window, Window::After(_)) {
        changes.reverse();
    }
    Ok(changes)
}

/// Returns rows of the feed from the window's edge on: backwards where it looks back.
pub(super) async fn found(session: &mut Session, query: &ChangeQuery) -> Result<Vec<FoundChange>, StoreError> {
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
    rows.iter().map(found_change).collect()
}
