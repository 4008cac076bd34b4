//! `tuf_files`: every version of every file, in a row each. The current file of a role is the one with the highest version.

use std::collections::BTreeSet;
use std::ops::RangeInclusive;

use async_trait::async_trait;
use countersign_crypto::digest::{Sha256Digest, sha256};
use countersign_tuf::{Gun, RoleName, Version};
use jiff::Timestamp;

use super::{Database, MAX_VERSION, ReferenceStore, change, read_time, write_time};
use crate::columns::{number, read_digest, read_gun, read_role, read_version, verified};
use crate::networked::metadata::{ATTEMPTS, Heads, check};
use crate::networked::session::{Dialect, Row, Session, Value};
use crate::{
    Base, Change, ChangeQuery, Deletion, MetadataStore, NewMetadata, PageSize, Pointer, PublishError, State,
    StoreError, Stored,
};

/// What fits into a statement of any `MySQL` server: the smallest default that one had is 1 MiB.
const FITS: u64 = 512 * 1024;
/// What stands in a statement around a file.
const AROUND_A_FILE: u64 = 16 * 1024;

const POSTGRES_HEADS: &str = "WITH RECURSIVE wanted AS (SELECT CAST(? AS varchar(255)) AS gun), roles AS ( \
        (SELECT role FROM tuf_files WHERE gun = (SELECT gun FROM wanted) ORDER BY role LIMIT 1) \
        UNION ALL \
        SELECT (SELECT f.role FROM tuf_files f WHERE f.gun = (SELECT gun FROM wanted) AND f.role > roles.role \
                ORDER BY f.role LIMIT 1) FROM roles WHERE roles.role IS NOT NULL) \
    SELECT roles.role, CAST(last.version AS bigint), last.sha256 FROM roles CROSS JOIN LATERAL ( \
        SELECT f.version, f.sha256 FROM tuf_files f WHERE f.gun = (SELECT gun FROM wanted) AND f.role = roles.role \
        AND f.deleted_at IS NULL ORDER BY f.version DESC LIMIT 1) AS last";
/// The inner part reads the index alone, one row for each role; that takes a condition on nothing else.
const MYSQL_HEADS: &str = "SELECT f.role, CAST(f.version AS SIGNED), f.sha256 FROM \
    (SELECT role, max(version) AS version FROM tuf_files WHERE gun = ? GROUP BY role) AS last \
    JOIN tuf_files f ON f.role = last.role AND f.version = last.version \
    WHERE f.gun = ? AND BINARY f.gun = ? AND f.deleted_at IS NULL";

/// Which file is wanted.
enum Which<'a> {
    Current,
    Version(Version),
    Checksum(&'a Sha256Digest),
}

#[async_trait]
impl MetadataStore for ReferenceStore {
    async fn current(&self, gun: &Gun, role: &RoleName) -> Result<Option<Stored>, StoreError> {
        file(&mut self.0.pool.session().await?, gun, role, Which::Current).await
    }

    async fn state(&self, gun: &Gun, roles: &BTreeSet<RoleName>) -> Result<State, StoreError> {
        let mut session = self.0.begin_read().await?;
        let heads = heads(&mut session, gun).await?;
        let timestamp = heads.get(&RoleName::Timestamp).map(|(_, sha256)| *sha256);
        let mut state = State { timestamp, ..State::default() };
        for role in roles {
            let Some((version, _)) = heads.get(role) else { continue };
            if let Some(file) = file(&mut session, gun, role, Which::Version(*version)).await? {
                state.files.insert(role.clone(), file);
            }
        }
        Ok(state)
    }

    async fn pointers(&self, gun: &Gun) -> Result<Vec<Pointer>, StoreError> {
        let heads = heads(&mut self.0.pool.session().await?, gun).await?;
        Ok(heads.into_iter().map(|(role, (version, sha256))| Pointer { role, version, sha256 }).collect())
    }

    async fn by_checksum(
        &self,
        gun: &Gun,
        role: &RoleName,
        sha256: &Sha256Digest,
    ) -> Result<Option<Stored>, StoreError> {
        file(&mut self.0.pool.session().await?, gun, role, Which::Checksum(sha256)).await
    }

    async fn by_version(&self, gun: &Gun, role: &RoleName, version: Version) -> Result<Option<Stored>, StoreError> {
        if version.get() > MAX_VERSION {
            return Ok(None);
        }
        file(&mut self.0.pool.session().await?, gun, role, Which::Version(version)).await
    }

    async fn publish(&self, gun: &Gun, base: Base, files: &[NewMetadata], now: Timestamp) -> Result<(), PublishError> {
        let mut result = self.0.publish(gun, base, files, now).await;
        for _ in 1..ATTEMPTS {
            match &result {
                Err(PublishError::Store(error)) if error.is_deadlock() => {}
                // Somebody stored the same version first, whichever base it was built upon.
                Err(PublishError::Store(error)) if error.is_duplicate() && base == Base::Anything => {}
                Err(PublishError::Store(error)) if error.is_duplicate() => return Err(PublishError::Superseded),
                _ => break,
            }
            result = self.0.publish(gun, base, files, now).await;
        }
        // A name that cannot be stored is the publisher's trouble, and none of the database.
        if let Err(PublishError::Store(error)) = &result
            && !matches!(error, StoreError::SpeltAlike { .. })
        {
            self.0.condition.failed();
        }
        result
    }

    async fn delete(&self, gun: &Gun, now: Timestamp) -> Result<Deletion, StoreError> {
        let mut result = self.0.delete(gun, now).await;
        for _ in 1..ATTEMPTS {
            match &result {
                Err(error) if error.is_deadlock() => result = self.0.delete(gun, now).await,
                _ => break,
            }
        }
        result.inspect_err(|_| self.0.condition.failed())
    }

    async fn changes(&self, query: &ChangeQuery) -> Result<Vec<Change>, StoreError> {
        change::changes(&mut self.0.pool.session().await?, query, &self.0.passed_over).await
    }

    async fn stale(
        &self,
        fresh: RangeInclusive<Timestamp>,
        after: Option<&Gun>,
        limit: PageSize,
    ) -> Result<Vec<Gun>, StoreError> {
        let mut session = self.0.pool.session().await?;
        let (name, time) = (session.dialect().bytes_of("f.gun"), session.dialect().time_value());
        let statement = format!(
            "SELECT f.gun FROM tuf_files f WHERE f.role = 'timestamp' AND f.deleted_at IS NULL AND {name} > ? \
             AND (f.created_at IS NULL OR f.created_at < {time} OR f.created_at > {time}) \
             AND NOT EXISTS (SELECT 1 FROM tuf_files n WHERE n.gun = f.gun AND n.role = 'timestamp' \
             AND n.version > f.version AND n.deleted_at IS NULL) ORDER BY {name} LIMIT ?"
        );
        let (oldest, newest) = (write_time(*fresh.start()), write_time(*fresh.end()));
        let (mut found, mut after) = (Vec::new(), after.map_or("", Gun::as_str).to_owned());
        // Names that are none do not end the page: whoever asks takes a short one for the last.
        while found.len() < usize::from(limit.get()) {
            let values = [
                after.as_str().into(),
                Value::Characters(&oldest),
                Value::Characters(&newest),
                i64::from(limit.get()).into(),
            ];
            let rows = session.rows("looked for old timestamps", &statement, &values).await?;
            let names: Vec<String> = rows.iter().map(|row| row.text(0)).collect::<Result<_, _>>()?;
            let is_last = names.len() < usize::from(limit.get());
            for name in names {
                match read_gun(&name) {
                    Ok(gun) => found.push(gun),
                    Err(error) => self.0.passed_over.tell("tuf_files", &name, &error),
                }
                after = name;
            }
            if is_last {
                break;
            }
        }
        found.truncate(usize::from(limit.get()));
        Ok(found)
    }

    async fn health(&self) -> Result<(), StoreError> {
        let mut session = self.0.pool.session().await?;
        for statement in [
            "SELECT count(*) FROM (SELECT id FROM tuf_files LIMIT 1) x",
            "SELECT count(*) FROM (SELECT id FROM changefeed LIMIT 1) x",
        ] {
            session.row("checked its tables", statement, &[]).await?;
        }
        drop(session);
        // The reference's tables have no row that could be written just to see whether that works.
        let attempt = async {
            let mut session = self.0.begin_write().await?;
            change::lock(&mut session, "update").await
        };
        self.0.condition.check(attempt).await
    }
}

impl Database {
    async fn publish(&self, gun: &Gun, base: Base, new: &[NewMetadata], now: Timestamp) -> Result<(), PublishError> {
        let mut session = self.begin_write().await?;
        if matches!(base, Base::Nothing | Base::Moved) {
            lock_place(&mut session, gun).await?;
        }
        lock(&mut session, gun).await?;
        let heads = heads(&mut session, gun).await?;
        check(base, &heads, new)?;
        if let Some(file) = new.iter().find(|file| file.version().get() > MAX_VERSION) {
            let (role, offered) = (file.role().clone(), file.version());
            return Err(PublishError::TooHigh { role, offered, highest: MAX_VERSION });
        }
        refuse_too_large(&mut session, new).await?;
        if heads.is_empty() {
            refuse_spelt_alike(&mut session, gun).await?;
        }
        for file in new {
            insert(&mut session, gun, file, now).await?;
        }
        // Last of all, and never held while waiting for a row of somebody else: the reference locks in this order too.
        let timestamps: Vec<_> = new.iter().filter(|file| *file.role() == RoleName::Timestamp).collect();
        change::record_updates(&mut session, gun, &timestamps, now).await?;
        Ok(self.commit(session, "committed a publication").await?)
    }

    async fn delete(&self, gun: &Gun, now: Timestamp) -> Result<Deletion, StoreError> {
        let mut session = self.begin_write().await?;
        lock(&mut session, gun).await?;
        let statement = format!("DELETE FROM tuf_files WHERE {}", session.dialect().of_collection("gun"));
        let values = session.dialect().named(gun.as_str());
        if session.execute("deleted files", &statement, &values).await? == 0 {
            return Ok(Deletion::NothingThere);
        }
        change::record_deletion(&mut session, gun, now).await?;
        self.commit(session, "committed a deletion").await?;
        Ok(Deletion::Deleted)
    }
}

/// Keeps other processes of ours from changing a collection that is there until the transaction ends: its first row is locked.
async fn lock(session: &mut Session, gun: &Gun) -> Result<(), StoreError> {
    let statement = format!(
        "SELECT {} FROM tuf_files WHERE {} ORDER BY role, version LIMIT 1 FOR UPDATE",
        session.dialect().integer("id"),
        session.dialect().of_collection("gun")
    );
    let values = session.dialect().named(gun.as_str());
    session.row("locked a collection", &statement, &values).await.map(drop)
}

/// Keeps other processes of ours from beginning the same collection until the transaction ends: there is no row yet that could be
/// locked, and two beginnings that have no version in common do not meet in the unique index.
async fn lock_place(session: &mut Session, gun: &Gun) -> Result<(), StoreError> {
    match session.dialect() {
        Dialect::Postgres => {
            let digest = sha256(format!("notary collection {gun}").as_bytes());
            let number = digest.as_bytes().iter().take(8).fold(0_i64, |number, byte| (number << 8) | i64::from(*byte));
            let statement = "SELECT pg_advisory_xact_lock(?)";
            session.row("waited to begin a collection", statement, &[number.into()]).await.map(drop)
        }
        // Named locks outlive transactions there; of this row the reference only holds a share while it deletes.
        Dialect::MySql => change::lock(session, "deletion").await,
    }
}

/// Refuses files that do not fit into a statement: the server would end the connection in the midst of them.
async fn refuse_too_large(session: &mut Session, new: &[NewMetadata]) -> Result<(), PublishError> {
    let Some(largest) = new.iter().max_by_key(|file| file.bytes().len()) else { return Ok(()) };
    let bytes = largest.bytes().len() as u64;
    if session.dialect() == Dialect::Postgres || bytes < FITS {
        return Ok(());
    }
    let row =
        session.row("asked how large a statement may be", "SELECT CAST(@@max_allowed_packet AS SIGNED)", &[]).await?;
    let most = row.map(|row| row.integer(0)).transpose()?.unwrap_or_default();
    let most = u64::try_from(most).unwrap_or_default().saturating_sub(AROUND_A_FILE);
    if bytes <= most { Ok(()) } else { Err(PublishError::TooLarge { role: largest.role().clone(), bytes, most }) }
}

/// Refuses a collection whose name the unique index takes for that of another one.
async fn refuse_spelt_alike(session: &mut Session, gun: &Gun) -> Result<(), StoreError> {
    if session.dialect() == Dialect::Postgres {
        return Ok(());
    }
    let statement = "SELECT gun FROM tuf_files WHERE gun = ? AND BINARY gun <> ? LIMIT 1";
    let values = session.dialect().named(gun.as_str());
    let row = session.row("looked for names spelt alike", statement, &values).await?;
    match row {
        None => Ok(()),
        Some(row) => Err(StoreError::SpeltAlike { wanted: gun.as_str().to_owned(), found: row.text(0)? }),
    }
}

/// Finds the highest version of each role, from one role to the next through the unique index: a collection that is years old
/// has many versions.
pub(super) async fn heads(session: &mut Session, gun: &Gun) -> Result<Heads, StoreError> {
    let (statement, values) = match session.dialect() {
        Dialect::Postgres => (POSTGRES_HEADS, vec![Value::Characters(gun.as_str())]),
        Dialect::MySql => {
            let name = gun.as_str();
            (MYSQL_HEADS, vec![Value::Characters(name), Value::Characters(name), Value::Text(name)])
        }
    };
    let rows = session.rows("listed current files", statement, &values).await?;
    let head = |row: &Row| {
        let role = read_role(&row.text(0)?)?;
        Ok((role, (read_version(row.integer(1)?)?, read_digest(row.text(2)?.trim_end())?)))
    };
    rows.iter().map(head).collect()
}

async fn file(
    session: &mut Session,
    gun: &Gun,
    role: &RoleName,
    which: Which<'_>,
) -> Result<Option<Stored>, StoreError> {
    let dialect = session.dialect();
    let mut values = dialect.named(gun.as_str());
    values.push(Value::Characters(role.as_str()));
    let hex;
    let rest = match which {
        Which::Current => "ORDER BY version DESC LIMIT 1",
        Which::Version(version) => {
            values.push(number(version).into());
            "AND version = ?"
        }
        Which::Checksum(sha256) => {
            hex = sha256.hex();
            values.push(Value::Characters(&hex));
            match dialect {
                // Compared as a text, the column would be turned into one, row by row.
                Dialect::Postgres => "AND sha256 = CAST(? AS char(64)) LIMIT 1",
                Dialect::MySql => "AND sha256 = ? LIMIT 1",
            }
        }
    };
    let statement = format!(
        "SELECT role, {}, sha256, {}, data FROM tuf_files WHERE {} AND role = ? AND deleted_at IS NULL {rest}",
        dialect.integer("version"),
        dialect.time("created_at"),
        dialect.of_collection("gun")
    );
    let Some(row) = session.row("looked a file up", &statement, &values).await? else { return Ok(None) };
    let (role, version) = (read_role(&row.text(0)?)?, read_version(row.integer(1)?)?);
    let (sha256, stored_at) = (read_digest(row.text(2)?.trim_end())?, read_time(row.optional_text(3)?)?);
    Ok(Some(Stored { role, version, sha256, bytes: verified(row.bytes(4)?, sha256).await?, stored_at }))
}

async fn insert(session: &mut Session, gun: &Gun, file: &NewMetadata, now: Timestamp) -> Result<(), StoreError> {
    let time = session.dialect().time_value();
    let statement = format!(
        "INSERT INTO tuf_files (created_at, updated_at, gun, role, version, data, sha256) \
         VALUES ({time}, {time}, ?, ?, ?, ?, ?)"
    );
    let (now, digest) = (write_time(now), file.sha256().hex());
    let values = [
        Value::Characters(&now),
        Value::Characters(&now),
        Value::Characters(gun.as_str()),
        Value::Characters(file.role().as_str()),
        number(file.version()).into(),
        Value::Bytes(file.bytes()),
        Value::Characters(&digest),
    ];
    session.execute("stored a file", &statement, &values).await.map(drop)
}
