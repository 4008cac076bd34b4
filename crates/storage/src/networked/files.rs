//! Files, packed and in pieces, so that no statement is larger than servers allow by default (16 MiB on `MariaDB`).

use countersign_crypto::digest::Sha256Digest;
use countersign_tuf::{Gun, RoleName, Version};
use fail::fail_point;
use jiff::Timestamp;

use super::NetworkedStore;
use super::publication::portions;
use super::session::{Row, Session, Value};
use crate::columns::{micros, number, read_digest, read_role, read_time, read_version, verified};
use crate::packing::{self, Packed, Reference, unpack};
use crate::{NewMetadata, StoreError, Stored};

/// Bytes of a piece; only the last one is shorter.
pub(super) const PIECE: usize = 1024 * 1024;
/// Bytes of a row up to which it shares a statement with others.
const TOGETHER: usize = 64 * 1024;

/// Which file is wanted.
pub(super) enum Which<'a> {
    Current,
    Version(Version),
    Checksum(&'a Sha256Digest),
}

impl NetworkedStore {
    /// Returns a file; one that takes more than its own row is read in one transaction with all it takes.
    pub(super) async fn file(
        &self,
        gun: &Gun,
        role: &RoleName,
        which: Which<'_>,
    ) -> Result<Option<Stored>, StoreError> {
        let mut session = self.pool.session().await?;
        let Some(row) = find(&mut session, gun, role, &which).await? else { return Ok(None) };
        if row.integer(4)? == 0 && row.integer(7)? == 0 {
            return whole(&row, unpack(row.integer(6)?, row.bytes(5)?, None).await?).await.map(Some);
        }
        drop(session);
        let mut session = self.begin_read().await?;
        let Some(found) = fetch(&mut session, gun, role, &which).await? else { return Ok(None) };
        // Others may have the connection while this takes its time.
        drop(session);
        found.whole().await.map(Some)
    }

    /// Packs files for their rows; each against the version of its role that is stored by itself.
    pub(super) async fn pack(&self, gun: &Gun, files: &[NewMetadata]) -> Result<Vec<Packed>, StoreError> {
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
        let mut session = self.begin_read().await?;
        let Some(mut row) = find(&mut session, gun, role, &Which::Current).await? else { return Ok(None) };
        if row.integer(7)? != 0 {
            let base = Which::Version(read_version(row.integer(7)?)?);
            let Some(found) = find(&mut session, gun, role, &base).await? else { return Ok(None) };
            row = found;
        }
        let data = pieces(&mut session, gun, role, &row).await?;
        let stored = data.len();
        let Stored { version, sha256, bytes, .. } = whole(&row, unpack(row.integer(6)?, data, None).await?).await?;
        Ok(Some(Reference { version, sha256, bytes, stored }))
    }
}

/// Returns a file, within a transaction.
pub(super) async fn file(
    session: &mut Session,
    gun: &Gun,
    role: &RoleName,
    which: &Which<'_>,
) -> Result<Option<Stored>, StoreError> {
    match fetch(session, gun, role, which).await? {
        Some(found) => found.whole().await.map(Some),
        None => Ok(None),
    }
}

/// A file as it is stored, with the version that it is stored as a difference from.
struct Fetched {
    row: Row,
    data: Vec<u8>,
    base: Option<(i64, Vec<u8>)>,
}

impl Fetched {
    async fn whole(self) -> Result<Stored, StoreError> {
        let base = match self.base {
            Some((packing, data)) => Some(unpack(packing, data, None).await?.into()),
            None => None,
        };
        whole(&self.row, unpack(self.row.integer(6)?, self.data, base).await?).await
    }
}

async fn fetch(
    session: &mut Session,
    gun: &Gun,
    role: &RoleName,
    which: &Which<'_>,
) -> Result<Option<Fetched>, StoreError> {
    let Some(row) = find(session, gun, role, which).await? else { return Ok(None) };
    let data = pieces(session, gun, role, &row).await?;
    let base = match row.integer(7)? {
        0 => None,
        version => {
            let damaged = || StoreError::damaged("version that another one refers to", &version);
            let base = find(session, gun, role, &Which::Version(read_version(version)?)).await?.ok_or_else(damaged)?;
            let data = pieces(session, gun, role, &base).await?;
            // A chain is nothing that was ever stored.
            if base.integer(7)? != 0 {
                return Err(damaged());
            }
            Some((base.integer(6)?, data))
        }
    };
    Ok(Some(Fetched { row, data, base }))
}

/// Returns all that a row and its further pieces hold.
pub(super) async fn pieces(
    session: &mut Session,
    gun: &Gun,
    role: &RoleName,
    row: &Row,
) -> Result<Vec<u8>, StoreError> {
    let (version, pieces, mut bytes) = (row.integer(1)?, row.integer(4)?, row.bytes(5)?);
    for piece in 1..=pieces {
        let statement = "SELECT data FROM countersign_pieces WHERE gun = ? AND role = ? AND version = ? AND number = ?";
        let values = [gun.as_str().into(), role.as_str().into(), version.into(), piece.into()];
        let Some(row) = session.row("read a piece of a file", statement, &values).await? else { break };
        bytes.extend_from_slice(&row.bytes(0)?);
    }
    Ok(bytes)
}

/// Finds the row with role, version, digest, time, number of further pieces, first piece, length, base.
async fn find(session: &mut Session, gun: &Gun, role: &RoleName, which: &Which<'_>) -> Result<Option<Row>, StoreError> {
    let mut values: Vec<Value<'_>> = vec![gun.as_str().into(), role.as_str().into()];
    let hex;
    let statement = match which {
        Which::Current => {
            "SELECT f.role, f.version, f.sha256, f.stored_at, f.pieces, f.data, f.length, f.base FROM countersign_current c \
             JOIN countersign_files f ON f.gun = c.gun AND f.role = c.role AND f.version = c.version \
             WHERE c.gun = ? AND c.role = ?"
        }
        Which::Version(version) => {
            values.push(number(*version).into());
            "SELECT role, version, sha256, stored_at, pieces, data, length, base FROM countersign_files \
             WHERE gun = ? AND role = ? AND version = ?"
        }
        Which::Checksum(sha256) => {
            hex = sha256.hex();
            values.push((&hex).into());
            "SELECT role, version, sha256, stored_at, pieces, data, length, base FROM countersign_files \
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

/// A file that is to be stored, and whose it is.
pub(super) struct Filed<'a> {
    pub(super) gun: &'a Gun,
    pub(super) file: &'a NewMetadata,
    pub(super) packed: &'a Packed,
    pub(super) now: Timestamp,
}

/// A file as its row has it.
struct NewRow<'a> {
    filed: Filed<'a>,
    digest: String,
    packed: Packed,
}

impl NewRow<'_> {
    /// The part that is in the file's own row, and what goes into further pieces.
    fn parts(&self) -> (&[u8], &[u8]) {
        self.packed.data.split_at(self.packed.data.len().min(PIECE))
    }
}

/// Stores files as they were packed; by itself after all if what one refers to is no longer there. Small ones share their
/// statements.
pub(super) async fn store(session: &mut Session, files: Vec<Filed<'_>>) -> Result<(), StoreError> {
    let (mut small, mut large) = (Vec::new(), Vec::new());
    for filed in files {
        let as_it_was = is_as_it_was(session, filed.gun, filed.file.role(), filed.packed).await?;
        let packed = if as_it_was { filed.packed.clone() } else { Packed::plain(filed.file.bytes()) };
        let rows = if packed.data.len() <= TOGETHER { &mut small } else { &mut large };
        rows.push(NewRow { digest: filed.file.sha256().hex(), filed, packed });
    }
    for rows in portions(&small).chain(large.chunks(1)) {
        insert(session, rows).await?;
        fail_point!("publish-file-written");
    }
    for row in &large {
        let (_, rest) = row.parts();
        for (piece, data) in (1_i64..).zip(rest.chunks(PIECE)) {
            let statement = "INSERT INTO countersign_pieces (gun, role, version, number, data) VALUES (?, ?, ?, ?, ?)";
            let Filed { gun, file, .. } = row.filed;
            let (version, role) = (number(file.version()), file.role().as_str());
            let values = [gun.as_str().into(), role.into(), version.into(), piece.into(), Value::Bytes(data)];
            session.execute("stored a piece of a file", statement, &values).await?;
        }
    }
    Ok(())
}

async fn insert(session: &mut Session, rows: &[NewRow<'_>]) -> Result<(), StoreError> {
    let mut values: Vec<Value<'_>> = Vec::with_capacity(9 * rows.len());
    for row in rows {
        let (Filed { gun, file, now, .. }, (first, rest)) = (&row.filed, row.parts());
        values.extend([
            Value::from(gun.as_str()),
            file.role().as_str().into(),
            number(file.version()).into(),
            (&row.digest).into(),
            micros(*now).into(),
            i64::try_from(rest.chunks(PIECE).len()).unwrap_or(i64::MAX).into(),
            first.into(),
            row.packed.length.into(),
            row.packed.base.map_or(0, |(version, _)| number(version)).into(),
        ]);
    }
    let places = vec!["(?, ?, ?, ?, ?, ?, ?, ?, ?)"; rows.len()].join(", ");
    let statement = format!(
        "INSERT INTO countersign_files (gun, role, version, sha256, stored_at, pieces, data, length, base) VALUES {places}"
    );
    session.execute("stored files", &statement, &values).await.map(drop)
}

/// Tells whether what a packed file refers to is what it was packed against: the collection may have been deleted since.
async fn is_as_it_was(session: &mut Session, gun: &Gun, role: &RoleName, packed: &Packed) -> Result<bool, StoreError> {
    let Some((version, sha256)) = packed.base else { return Ok(true) };
    let statement = "SELECT sha256 FROM countersign_files WHERE gun = ? AND role = ? AND version = ? AND base = 0";
    let values = [gun.as_str().into(), role.as_str().into(), number(version).into()];
    let row = session.row("looked up what a file refers to", statement, &values).await?;
    row.map_or(Ok(false), |row| Ok(read_digest(&row.text(0)?)? == sha256))
}
