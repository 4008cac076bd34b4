//! Everything that is kept, out of the database and into another one.

use async_trait::async_trait;
use countersign_crypto::KeyId;
use countersign_tuf::{Gun, RoleName};
use fail::fail_point;
use tokio::sync::mpsc::Sender;

use super::NetworkedStore;
use super::files::{self, PIECE};
use super::session::{Dialect, Row, Session, Value};
use super::{change, keys};
use crate::backup::{PAGE, RESTORING, Unheard, base, length, tell};
use crate::columns::{micros, number, read_digest, read_gun, read_role, read_size, read_time, read_version};
use crate::{BackupStore, Category, Change, Holding, Kept, KeptFile, KeptKey, PageSize, StoreError};

#[async_trait]
impl BackupStore for NetworkedStore {
    async fn dump(&self, to: Sender<Kept>) -> Result<(), StoreError> {
        let mut session = self.begin_read().await?;
        take_time(&mut session).await?;
        let mut gun = String::new();
        while let Some(next) =
            first(&mut session, "SELECT min(gun) FROM countersign_files WHERE gun > ?", &[&gun]).await?
        {
            if dump_collection(&mut session, &read_gun(&next)?, &to).await?.is_err() {
                return Ok(());
            }
            gun = next;
        }
        let _ = dump_rest(&mut session, &to).await?;
        Ok(())
    }

    async fn holding(&self) -> Result<Holding, StoreError> {
        holding(&mut self.begin_read().await?).await
    }

    async fn begin_restore(&self) -> Result<Holding, StoreError> {
        let mut session = self.begin_write().await?;
        take_time(&mut session).await?;
        // Of two who begin, one waits here until the other has recorded that it did.
        let statement = "UPDATE countersign_counters SET value = value WHERE name = 'changes'";
        session.execute("began a restore", statement, &[]).await?;
        let found = holding(&mut session).await?;
        if found == Holding::Something {
            return Ok(found);
        }
        for statement in [
            "DELETE FROM countersign_current",
            "DELETE FROM countersign_pieces",
            "DELETE FROM countersign_files",
            "DELETE FROM countersign_changes",
            "DELETE FROM countersign_keys",
            // Without keys, nobody needs the secret that was agreed upon.
            "DELETE FROM countersign_agreed",
            "UPDATE countersign_counters SET value = 0 WHERE name = 'changes'",
        ] {
            session.execute("made room for a restore", statement, &[]).await?;
        }
        let statement = "INSERT INTO countersign_agreed (name, value) VALUES (?, 'begun')";
        session.execute("began a restore", statement, &[RESTORING.into()]).await?;
        self.commit(session, "began a restore").await?;
        Ok(found)
    }

    async fn load(&self, things: &[Kept]) -> Result<(), StoreError> {
        let mut session = self.begin_write().await?;
        if !is_restoring(&mut session).await? {
            return Err(StoreError::damaged("restore", "not begun"));
        }
        for kept in things {
            match kept {
                Kept::File(file) => load_file(&mut session, file).await?,
                Kept::Change(change) => load_change(&mut session, change).await?,
                Kept::Key(key) => load_key(&mut session, key).await?,
                Kept::LastChange(last) => {
                    let statement = "UPDATE countersign_counters SET value = ? WHERE name = 'changes'";
                    session.execute("restored the last change's number", statement, &[(*last).into()]).await?;
                }
            }
        }
        fail_point!("restore-before-commit");
        self.commit(session, "committed a part of a restore").await?;
        fail_point!("restore-committed");
        Ok(())
    }

    async fn end_restore(&self) -> Result<(), StoreError> {
        let mut session = self.begin_write().await?;
        let statement = "DELETE FROM countersign_agreed WHERE name = ?";
        session.execute("ended a restore", statement, &[RESTORING.into()]).await?;
        self.commit(session, "ended a restore").await
    }

    async fn kept_keys(&self, after: Option<&KeyId>, limit: PageSize) -> Result<Vec<KeptKey>, StoreError> {
        let after = after.map(ToString::to_string).unwrap_or_default();
        kept_keys(&mut self.pool.session().await?, &after, i64::from(limit.get())).await
    }
}

/// Lets a transaction take as long as it takes: whoever writes the backup away may be slow.
async fn take_time(session: &mut Session) -> Result<(), StoreError> {
    if session.dialect() == Dialect::Postgres {
        for statement in ["SET LOCAL statement_timeout = 0", "SET LOCAL idle_in_transaction_session_timeout = 0"] {
            session.execute("began a long transaction", statement, &[]).await?;
        }
    }
    Ok(())
}

/// Returns the text that a statement answers.
async fn first(session: &mut Session, statement: &str, values: &[&str]) -> Result<Option<String>, StoreError> {
    let values: Vec<Value<'_>> = values.iter().copied().map(Value::from).collect();
    let row = session.row("looked for what is next", statement, &values).await?;
    row.map_or(Ok(None), |row| row.optional_text(0))
}

async fn dump_collection(
    session: &mut Session,
    gun: &Gun,
    to: &Sender<Kept>,
) -> Result<Result<(), Unheard>, StoreError> {
    const ROLE: &str = "SELECT min(role) FROM countersign_files WHERE gun = ? AND role > ?";
    const FILES: &str = "SELECT f.role, f.version, f.sha256, f.stored_at, f.pieces, f.data, f.length, f.base, c.version \
        FROM countersign_files f \
        LEFT JOIN countersign_current c ON c.gun = f.gun AND c.role = f.role AND c.version = f.version \
        WHERE f.gun = ? AND f.role = ? AND f.version > ? ORDER BY f.version LIMIT ?";
    let mut role = String::new();
    while let Some(next) = first(session, ROLE, &[gun.as_str(), &role]).await? {
        let name = read_role(&next)?;
        let mut version = 0;
        loop {
            let values = [gun.as_str().into(), next.as_str().into(), version.into(), PAGE.into()];
            let rows = session.rows("read files", FILES, &values).await?;
            let is_last = i64::try_from(rows.len()).is_ok_and(|rows| rows < PAGE);
            for row in rows {
                version = row.integer(1)?;
                let kept = kept_file(session, gun, &name, &row).await?;
                if tell(to, Kept::File(kept)).await.is_err() {
                    return Ok(Err(Unheard));
                }
            }
            if is_last {
                break;
            }
        }
        role = next;
    }
    Ok(Ok(()))
}

async fn kept_file(session: &mut Session, gun: &Gun, role: &RoleName, row: &Row) -> Result<KeptFile, StoreError> {
    Ok(KeptFile {
        gun: gun.clone(),
        role: role.clone(),
        version: read_version(row.integer(1)?)?,
        sha256: read_digest(&row.text(2)?)?,
        stored_at: read_time(row.integer(3)?)?,
        is_current: row.optional_integer(8)?.is_some(),
        length: read_size(row.integer(6)?)?,
        base: base(row.integer(7)?)?,
        data: files::pieces(session, gun, role, row).await?,
    })
}

async fn dump_rest(session: &mut Session, to: &Sender<Kept>) -> Result<Result<(), Unheard>, StoreError> {
    const CHANGES: &str = "SELECT id, created_at, gun, version, sha256, category FROM countersign_changes \
        WHERE id > ? ORDER BY id LIMIT ?";
    let mut after = i64::MIN;
    loop {
        let rows = session.rows("read the change feed", CHANGES, &[after.into(), PAGE.into()]).await?;
        for row in &rows {
            let change = change::change(row)?;
            after = change.id;
            if tell(to, Kept::Change(change)).await.is_err() {
                return Ok(Err(Unheard));
            }
        }
        if rows.is_empty() {
            break;
        }
    }
    let mut after = String::new();
    loop {
        let page = kept_keys(session, &after, PAGE).await?;
        let Some(last) = page.last() else { break };
        after = last.key.key.id.to_string();
        for key in page {
            if tell(to, Kept::Key(key)).await.is_err() {
                return Ok(Err(Unheard));
            }
        }
    }
    let statement = "SELECT value FROM countersign_counters WHERE name = 'changes'";
    let row = session.row("looked the last change up", statement, &[]).await?;
    let last = row.ok_or_else(|| StoreError::damaged("the counter of changes", "missing"))?.integer(0)?;
    Ok(tell(to, Kept::LastChange(last)).await)
}

async fn kept_keys(session: &mut Session, after: &str, limit: i64) -> Result<Vec<KeptKey>, StoreError> {
    let statement = "SELECT key_id, gun, role, algorithm, public, private, created_at, last_used, retired_at \
        FROM countersign_keys WHERE key_id > ? ORDER BY key_id LIMIT ?";
    let rows = session.rows("read keys", statement, &[after.into(), limit.into()]).await?;
    let kept = |row: &Row| {
        let retired_at = row.optional_integer(8)?.map(read_time).transpose()?;
        Ok(KeptKey { key: keys::service_key(row)?, retired_at })
    };
    rows.iter().map(kept).collect()
}

async fn is_restoring(session: &mut Session) -> Result<bool, StoreError> {
    let statement = "SELECT value FROM countersign_agreed WHERE name = ?";
    Ok(session.row("looked for an unfinished restore", statement, &[RESTORING.into()]).await?.is_some())
}

async fn holding(session: &mut Session) -> Result<Holding, StoreError> {
    if is_restoring(session).await? {
        return Ok(Holding::Part);
    }
    for statement in [
        "SELECT version FROM countersign_files LIMIT 1",
        "SELECT id FROM countersign_changes LIMIT 1",
        "SELECT created_at FROM countersign_keys LIMIT 1",
    ] {
        if session.row("looked for what is there", statement, &[]).await?.is_some() {
            return Ok(Holding::Something);
        }
    }
    Ok(Holding::Nothing)
}

async fn load_file(session: &mut Session, file: &KeptFile) -> Result<(), StoreError> {
    let (first, rest) = file.data.split_at(file.data.len().min(PIECE));
    let (gun, role, version) = (file.gun.as_str(), file.role.as_str(), number(file.version));
    let digest = file.sha256.hex();
    let statement = "INSERT INTO countersign_files (gun, role, version, sha256, stored_at, pieces, data, length, base) \
        VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)";
    let values = [
        gun.into(),
        role.into(),
        version.into(),
        (&digest).into(),
        micros(file.stored_at).into(),
        i64::try_from(rest.chunks(PIECE).len()).unwrap_or(i64::MAX).into(),
        first.into(),
        length(file.length).into(),
        file.base.map_or(0, number).into(),
    ];
    session.execute("restored a file", statement, &values).await?;
    for (piece, data) in (1_i64..).zip(rest.chunks(PIECE)) {
        let statement = "INSERT INTO countersign_pieces (gun, role, version, number, data) VALUES (?, ?, ?, ?, ?)";
        let values = [gun.into(), role.into(), version.into(), piece.into(), Value::Bytes(data)];
        session.execute("restored a piece of a file", statement, &values).await?;
    }
    if file.is_current {
        let statement =
            "INSERT INTO countersign_current (gun, role, version, sha256, stored_at) VALUES (?, ?, ?, ?, ?)";
        let values = [gun.into(), role.into(), version.into(), (&digest).into(), micros(file.stored_at).into()];
        session.execute("restored which file is current", statement, &values).await?;
    }
    Ok(())
}

async fn load_change(session: &mut Session, change: &Change) -> Result<(), StoreError> {
    let (version, sha256, category) = match &change.category {
        Category::Update { version, sha256 } => (number(*version), Some(sha256.hex()), "update"),
        Category::Deletion => (0, None, "deletion"),
    };
    let statement = "INSERT INTO countersign_changes (id, created_at, gun, version, sha256, category) \
        VALUES (?, ?, ?, ?, ?, ?)";
    let values = [
        change.id.into(),
        micros(change.created_at).into(),
        change.gun.as_str().into(),
        version.into(),
        Value::MaybeText(sha256.as_deref()),
        category.into(),
    ];
    session.execute("restored a change", statement, &values).await.map(drop)
}

async fn load_key(session: &mut Session, kept: &KeptKey) -> Result<(), StoreError> {
    let statement = "INSERT INTO countersign_keys \
        (key_id, gun, role, algorithm, public, private, created_at, last_used, retired_at, pending) \
        VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)";
    let key = &kept.key.key;
    let id = key.id.to_string();
    let values = [
        (&id).into(),
        key.gun.as_str().into(),
        key.role.as_str().into(),
        key.algorithm.as_str().into(),
        key.public.as_slice().into(),
        key.private.as_str().into(),
        micros(kept.key.created_at).into(),
        Value::MaybeInteger(kept.key.last_used.map(micros)),
        Value::MaybeInteger(kept.retired_at.map(micros)),
        Value::MaybeInteger(if kept.key.last_used.is_none() { Some(1) } else { None }),
    ];
    session.execute("restored a key", statement, &values).await.map(drop)
}
