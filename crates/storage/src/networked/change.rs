//! The change feed.

use countersign_tuf::{Gun, RoleName, Version};
use jiff::Timestamp;

use super::group::Publication;
use super::publication::portions;
use super::session::{Dialect, Row, Session, Value};
use crate::columns::{micros, number, read_digest, read_gun, read_time, read_version};
use crate::{Category, Change, ChangeQuery, StoreError, Window};

/// Takes the next numbers of changes, which nobody else gets before the transaction ends; returns the first.
async fn numbers(session: &mut Session, count: i64) -> Result<i64, StoreError> {
    let doing = "numbered a change";
    let row = match session.dialect() {
        Dialect::Postgres => {
            let statement = "UPDATE countersign_counters SET value = value + ? WHERE name = 'changes' RETURNING value";
            session.row(doing, statement, &[count.into()]).await?
        }
        Dialect::MySql => {
            let statement = "UPDATE countersign_counters SET value = value + ? WHERE name = 'changes'";
            session.execute(doing, statement, &[count.into()]).await?;
            let statement = "SELECT value FROM countersign_counters WHERE name = 'changes'";
            session.row(doing, statement, &[]).await?
        }
    };
    let last = row.ok_or_else(|| StoreError::damaged("the counter of changes", "missing"))?.integer(0)?;
    Ok(last - count + 1)
}

/// Records an update for each timestamp.
pub(super) async fn record_updates(session: &mut Session, publications: &[&Publication]) -> Result<(), StoreError> {
    let timestamps = publications.iter().flat_map(|publication| {
        let timestamps = publication.files.iter().filter(|file| *file.role() == RoleName::Timestamp);
        timestamps.map(|file| (*publication, file.version(), file.sha256().hex()))
    });
    let timestamps: Vec<(&Publication, Version, String)> = timestamps.collect();
    if timestamps.is_empty() {
        return Ok(());
    }
    let mut id = numbers(session, i64::try_from(timestamps.len()).unwrap_or(i64::MAX)).await?;
    for timestamps in portions(&timestamps) {
        let mut values: Vec<Value<'_>> = Vec::with_capacity(5 * timestamps.len());
        for (publication, version, digest) in timestamps {
            values.extend([
                id.into(),
                micros(publication.now).into(),
                publication.gun.as_str().into(),
                number(*version).into(),
                Value::from(digest),
            ]);
            id += 1;
        }
        let rows = vec!["(?, ?, ?, ?, ?, 'update')"; timestamps.len()].join(", ");
        let statement =
            format!("INSERT INTO countersign_changes (id, created_at, gun, version, sha256, category) VALUES {rows}");
        session.execute("recorded an update", &statement, &values).await?;
    }
    Ok(())
}

pub(super) async fn record_deletion(session: &mut Session, gun: &Gun, now: Timestamp) -> Result<(), StoreError> {
    let id = numbers(session, 1).await?;
    let statement = "INSERT INTO countersign_changes (id, created_at, gun, version, sha256, category) \
        VALUES (?, ?, ?, 0, NULL, 'deletion')";
    let values = [id.into(), micros(now).into(), gun.as_str().into()];
    session.execute("recorded a deletion", statement, &values).await.map(drop)
}

pub(super) fn change(row: &Row) -> Result<Change, StoreError> {
    let category = match (row.text(5)?.as_str(), row.optional_text(4)?) {
        ("update", Some(sha256)) => {
            Category::Update { version: read_version(row.integer(3)?)?, sha256: read_digest(&sha256)? }
        }
        ("deletion", _) => Category::Deletion,
        (other, _) => return Err(StoreError::damaged("category", other)),
    };
    Ok(Change { id: row.integer(0)?, created_at: read_time(row.integer(1)?)?, gun: read_gun(&row.text(2)?)?, category })
}

pub(super) async fn changes(session: &mut Session, query: &ChangeQuery) -> Result<Vec<Change>, StoreError> {
    let (bound, id, order) = match query.window {
        Window::After(id) => ("id > ?", id, "id"),
        Window::Before(id) => ("id < ?", id, "id DESC"),
        Window::Newest => ("id < ?", i64::MAX, "id DESC"),
    };
    let mut values: Vec<Value<'_>> = vec![id.into()];
    let whose = match &query.gun {
        Some(gun) => {
            values.push(gun.as_str().into());
            "AND gun = ?"
        }
        None => "",
    };
    values.push(i64::from(query.limit.get()).into());
    let statement = format!(
        "SELECT id, created_at, gun, version, sha256, category FROM countersign_changes \
         WHERE {bound} {whose} ORDER BY {order} LIMIT ?"
    );
    let rows = session.rows("read the change feed", &statement, &values).await?;
    let mut changes: Vec<Change> = rows.iter().map(change).collect::<Result<_, _>>()?;
    if !matches!(query.window, Window::After(_)) {
        changes.reverse();
    }
    Ok(changes)
}
