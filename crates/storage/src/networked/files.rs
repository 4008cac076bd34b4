//! Files in pieces, so that no statement is larger than servers allow by default (16 MiB on `MariaDB`).

use countersign_crypto::digest::Sha256Digest;
use countersign_tuf::{Gun, RoleName, Version};
use jiff::Timestamp;

use super::NetworkedStore;
use super::session::{Row, Session, Value};
use crate::columns::{micros, number, read_digest, read_role, read_time, read_version, verified};
use crate::{NewMetadata, StoreError, Stored};

/// Bytes of a piece; only the last one is shorter.
const PIECE: usize = 1024 * 1024;

/// Which file is wanted.
pub(super) enum Which<'a> {
    Current,
    Version(Version),
    Checksum(&'a Sha256Digest),
}

impl NetworkedStore {
    /// Returns a file; one in several pieces is read in one transaction with all of them.
    pub(super) async fn file(
        &self,
        gun: &Gun,
        role: &RoleName,
        which: Which<'_>,
    ) -> Result<Option<Stored>, StoreError> {
        let mut session = self.pool.session().await?;
        let Some(row) = find(&mut session, gun, role, &which).await? else { return Ok(None) };
        if row.integer(4)? == 0 {
            return whole(&row, row.bytes(5)?).await.map(Some);
        }
        drop(session);
        let mut session = self.begin_read().await?;
        file(&mut session, gun, role, &which).await
    }
}

/// Returns a file, within a transaction.
pub(super) async fn file(
    session: &mut Session,
    gun: &Gun,
    role: &RoleName,
    which: &Which<'_>,
) -> Result<Option<Stored>, StoreError> {
    let Some(row) = find(session, gun, role, which).await? else { return Ok(None) };
    let (version, pieces, mut bytes) = (row.integer(1)?, row.integer(4)?, row.bytes(5)?);
    for piece in 1..=pieces {
        let statement = "SELECT data FROM countersign_pieces WHERE gun = ? AND role = ? AND version = ? AND number = ?";
        let values = [gun.as_str().into(), role.as_str().into(), version.into(), piece.into()];
        let Some(row) = session.row("read a piece of a file", statement, &values).await? else { break };
        bytes.extend_from_slice(&row.bytes(0)?);
    }
    whole(&row, bytes).await.map(Some)
}

/// Finds the row with role, version, digest, time, number of further pieces, first piece.
async fn find(session: &mut Session, gun: &Gun, role: &RoleName, which: &Which<'_>) -> Result<Option<Row>, StoreError> {
    let mut values: Vec<Value<'_>> = vec![gun.as_str().into(), role.as_str().into()];
    let hex;
    let statement = match which {
        Which::Current => {
            "SELECT f.role, f.version, f.sha256, f.stored_at, f.pieces, f.data FROM countersign_current c \
             JOIN countersign_files f ON f.gun = c.gun AND f.role = c.role AND f.version = c.version \
             WHERE c.gun = ? AND c.role = ?"
        }
        Which::Version(version) => {
            values.push(number(*version).into());
            "SELECT role, version, sha256, stored_at, pieces, data FROM countersign_files \
             WHERE gun = ? AND role = ? AND version = ?"
        }
        Which::Checksum(sha256) => {
            hex = sha256.hex();
            values.push((&hex).into());
            "SELECT role, version, sha256, stored_at, pieces, data FROM countersign_files \
             WHERE gun = ? AND role = ? AND sha256 = ? LIMIT 1"
        }
    };
    session.row("looked a file up", statement, &values).await
}

/// Makes a file of its row and all its bytes, which must be those that were stored.
async fn whole(row: &Row, bytes: Vec<u8>) -> Result<Stored, StoreError> {
    let (role, version) = (read_role(&row.text(0)?)?, read_version(row.integer(1)?)?);
    let (sha256, stored_at) = (read_digest(&row.text(2)?)?, read_time(row.integer(3)?)?);
    Ok(Stored { role, version, sha256, bytes: verified(bytes, sha256).await?, stored_at })
}

/// Stores a file.
pub(super) async fn store(
    session: &mut Session,
    gun: &Gun,
    file: &NewMetadata,
    now: Timestamp,
) -> Result<(), StoreError> {
    let (first, rest) = file.bytes().split_at(file.bytes().len().min(PIECE));
    let (version, digest) = (number(file.version()), file.sha256().hex());
    let pieces = i64::try_from(rest.chunks(PIECE).len()).unwrap_or(i64::MAX);
    let values = [
        gun.as_str().into(),
        file.role().as_str().into(),
        version.into(),
        (&digest).into(),
        micros(now).into(),
        pieces.into(),
        first.into(),
    ];
    let statement = "INSERT INTO countersign_files (gun, role, version, sha256, stored_at, pieces, data) \
        VALUES (?, ?, ?, ?, ?, ?, ?)";
    session.execute("stored a file", statement, &values).await?;
    for (piece, data) in (1_i64..).zip(rest.chunks(PIECE)) {
        let statement = "INSERT INTO countersign_pieces (gun, role, version, number, data) VALUES (?, ?, ?, ?, ?)";
        let values =
            [gun.as_str().into(), file.role().as_str().into(), version.into(), piece.into(), Value::Bytes(data)];
        session.execute("stored a piece of a file", statement, &values).await?;
    }
    Ok(())
}
