//! Storing publications: each of a collection of its own, all in one transaction.

use std::collections::BTreeMap;

use countersign_audit::{ChainName, Draft};
use countersign_tuf::{Gun, RoleName};
use fail::fail_point;

use super::files::{self, Filed};
use super::group::Publication;
use super::metadata::{Heads, check};
use super::session::{Dialect, Pool, Session, Value};
use super::{NetworkedStore, audit, change};
use crate::columns::{micros, number, read_digest, read_gun, read_role, read_version};
use crate::{NewMetadata, PublishError, Record, StoreError};

/// Most rows of one statement; a power of two.
const ROWS: usize = 32;

/// Says when a transaction failed.
pub(super) enum Failed {
    /// Nothing was stored.
    Before(StoreError),
    /// What was asked last was the commit: whether it came through is not known.
    AtCommit(StoreError),
}

impl From<StoreError> for Failed {
    fn from(error: StoreError) -> Self {
        Self::Before(error)
    }
}

impl NetworkedStore {
    /// Stores those of the publications that fit the state of their collections; says for each whether it was stored.
    ///
    /// They are of different collections, in the order of their names, so that nobody who does the same waits for somebody
    /// who waits for him.
    pub(super) async fn store_together(
        &self,
        pool: &Pool,
        publications: &[&Publication],
    ) -> Result<Vec<Result<(), PublishError>>, Failed> {
        let mut session = pool.begin_write().await.map_err(StoreError::database("began to write"))?;
        let guns: Vec<&Gun> = publications.iter().map(|publication| &publication.gun).collect();
        lock(&mut session, &guns).await?;
        fail_point!("publish-begun");
        let heads = heads(&mut session, &guns).await?;
        let nothing = Heads::new();
        let fits = |publication: &&Publication| {
            check(publication.base, heads.get(&publication.gun).unwrap_or(&nothing), &publication.files)
        };
        let results: Vec<Result<(), PublishError>> = publications.iter().map(fits).collect();
        let fitting = publications.iter().zip(&results).filter(|(_, result)| result.is_ok());
        let accepted: Vec<&Publication> = fitting.map(|(publication, _)| *publication).collect();
        if accepted.is_empty() {
            return Ok(results);
        }
        let files = accepted.iter().flat_map(|publication| {
            let Publication { gun, now, .. } = *publication;
            let files = publication.files.iter().zip(&publication.packed);
            files.map(|(file, packed)| Filed { gun, file, packed, now: *now })
        });
        let files: Vec<Filed<'_>> = files.collect();
        files::store(&mut session, files).await?;
        point(&mut session, &accepted).await?;
        read_back(&mut session, &accepted).await?;
        record(&mut session, &accepted).await?;
        // Last, because whoever has taken a number keeps all others waiting until the commit.
        change::record_updates(&mut session, &accepted).await?;
        fail_point!("publish-before-commit");
        self.commit(session, "committed a publication").await.map_err(Failed::AtCommit)?;
        fail_point!("publish-committed");
        Ok(results)
    }
}

/// Locks collections until the end of the transaction.
pub(super) async fn lock(session: &mut Session, guns: &[&Gun]) -> Result<(), StoreError> {
    let conflict = match session.dialect() {
        Dialect::Postgres => "ON CONFLICT (gun) DO UPDATE SET revision = countersign_collections.revision + 1",
        Dialect::MySql => "ON DUPLICATE KEY UPDATE revision = revision + 1",
    };
    for guns in portions(guns) {
        let rows = vec!["(?, 1)"; guns.len()].join(", ");
        let statement = format!("INSERT INTO countersign_collections (gun, revision) VALUES {rows} {conflict}");
        let values: Vec<Value<'_>> = guns.iter().map(|gun| gun.as_str().into()).collect();
        session.execute("locked a collection", &statement, &values).await?;
    }
    Ok(())
}

/// Returns where the current files of collections are; those without any are left out.
pub(super) async fn heads(session: &mut Session, guns: &[&Gun]) -> Result<BTreeMap<Gun, Heads>, StoreError> {
    let mut heads: BTreeMap<Gun, Heads> = BTreeMap::new();
    for guns in portions(guns) {
        let list = vec!["?"; guns.len()].join(", ");
        let statement = format!("SELECT gun, role, version, sha256 FROM countersign_current WHERE gun IN ({list})");
        let values: Vec<Value<'_>> = guns.iter().map(|gun| gun.as_str().into()).collect();
        for row in session.rows("listed current files", &statement, &values).await? {
            let head = (read_version(row.integer(2)?)?, read_digest(&row.text(3)?)?);
            heads.entry(read_gun(&row.text(0)?)?).or_default().insert(read_role(&row.text(1)?)?, head);
        }
    }
    Ok(heads)
}

/// The files of a publication that become current: the last one of each role.
fn last(publication: &Publication) -> BTreeMap<&RoleName, &NewMetadata> {
    publication.files.iter().map(|file| (file.role(), file)).collect()
}

/// Makes the files current.
async fn point(session: &mut Session, publications: &[&Publication]) -> Result<(), StoreError> {
    let conflict = match session.dialect() {
        Dialect::Postgres => {
            "ON CONFLICT (gun, role) DO UPDATE SET version = excluded.version, sha256 = excluded.sha256, \
             stored_at = excluded.stored_at"
        }
        Dialect::MySql => {
            "ON DUPLICATE KEY UPDATE version = VALUES(version), sha256 = VALUES(sha256), stored_at = VALUES(stored_at)"
        }
    };
    let pointers = publications
        .iter()
        .flat_map(|publication| last(publication).into_values().map(|file| (*publication, file, file.sha256().hex())));
    let pointers: Vec<(&Publication, &NewMetadata, String)> = pointers.collect();
    for pointers in portions(&pointers) {
        let mut values: Vec<Value<'_>> = Vec::with_capacity(5 * pointers.len());
        for (publication, file, digest) in pointers {
            values.extend([
                Value::from(publication.gun.as_str()),
                file.role().as_str().into(),
                number(file.version()).into(),
                digest.into(),
                micros(publication.now).into(),
            ]);
        }
        let rows = vec!["(?, ?, ?, ?, ?)"; pointers.len()].join(", ");
        let statement =
            format!("INSERT INTO countersign_current (gun, role, version, sha256, stored_at) VALUES {rows} {conflict}");
        session.execute("made files current", &statement, &values).await?;
    }
    Ok(())
}

/// Checks that what the transaction is about to make current is what was accepted.
async fn read_back(session: &mut Session, publications: &[&Publication]) -> Result<(), StoreError> {
    let guns: Vec<&Gun> = publications.iter().map(|publication| &publication.gun).collect();
    let heads = heads(session, &guns).await?;
    let nothing = Heads::new();
    for publication in publications {
        let stored = heads.get(&publication.gun).unwrap_or(&nothing);
        for (role, file) in last(publication) {
            if stored.get(role) != Some(&(file.version(), file.sha256())) {
                return Err(StoreError::damaged("the current file that was just stored", role.as_str()));
            }
        }
    }
    Ok(())
}

/// Adds what the audit log says of the publications, chain by chain in the order of their names.
async fn record(session: &mut Session, publications: &[&Publication]) -> Result<(), StoreError> {
    let mut chains: BTreeMap<&ChainName, Vec<&Draft>> = BTreeMap::new();
    for Record { chain, draft } in publications.iter().filter_map(|publication| publication.record.as_ref()) {
        chains.entry(chain).or_default().push(draft);
    }
    for (chain, drafts) in chains {
        audit::record(session, chain, drafts).await?;
    }
    Ok(())
}

/// Cuts a list into parts of few different lengths, so that the server knows the statements already.
pub(super) fn portions<T>(mut items: &[T]) -> impl Iterator<Item = &[T]> {
    std::iter::from_fn(move || {
        let length = items.len().min(ROWS);
        // The largest power of two that is not above the length.
        let length = length.checked_ilog2().map_or(0, |exponent| 1 << exponent);
        let (portion, rest) = items.split_at_checked(length)?;
        items = rest;
        (!portion.is_empty()).then_some(portion)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_are_cut_into_powers_of_two_and_nothing_is_lost() {
        for length in 0..200_usize {
            let items: Vec<usize> = (0..length).collect();
            let parts: Vec<&[usize]> = portions(&items).collect();
            assert!(parts.iter().all(|part| part.len().is_power_of_two() && part.len() <= ROWS), "{length}");
            assert_eq!(parts.concat(), items);
        }
    }
}
