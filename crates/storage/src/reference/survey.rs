//! What there is altogether: for whoever takes everything out of a database of the reference.

use countersign_tuf::{Gun, RoleName, Version};
use jiff::Timestamp;

use super::signing_keys::{keys_where, signing_key};
use super::{ReferenceSigningKeys, ReferenceStore, change};
use crate::columns::{read_role, read_version};
use crate::networked::session::Value;
use crate::{Category, ChangeQuery, PageSize, SigningKey, StoreError};

/// A key's row.
#[derive(Debug)]
pub struct FoundKey {
    /// What stands where its id should be.
    pub id: String,
    /// The key, or why the row cannot be one.
    pub key: Result<SigningKey, StoreError>,
}

/// A row of the change feed.
#[derive(Debug)]
pub struct FoundChange {
    /// Its number.
    pub id: i64,
    /// What stands where the collection's name should be.
    pub gun: String,
    /// When it happened, or why that cannot be read.
    pub created_at: Result<Timestamp, StoreError>,
    /// What happened, or why that cannot be read.
    pub category: Result<Category, StoreError>,
}

impl ReferenceStore {
    /// Returns rows of the change feed, beginning at the window's edge; one that cannot be read does not keep the others from
    /// being returned.
    ///
    /// # Errors
    /// Fails when the database does.
    pub async fn feed(&self, query: &ChangeQuery) -> Result<Vec<FoundChange>, StoreError> {
        change::found(&mut self.0.pool.session().await?, query).await
    }

    /// Returns the names of all collections in the order of their bytes, those after `after`; also what is no name.
    ///
    /// # Errors
    /// Fails when the database does.
    pub async fn collections(&self, after: Option<&str>, limit: PageSize) -> Result<Vec<String>, StoreError> {
        let mut session = self.0.pool.session().await?;
        let name = session.dialect().bytes_of("gun");
        let statement = format!(
            "SELECT gun FROM (SELECT DISTINCT {name} AS gun FROM tuf_files WHERE {name} > ? AND deleted_at IS NULL) AS names \
             ORDER BY gun LIMIT ?"
        );
        let values = [after.unwrap_or_default().into(), i64::from(limit.get()).into()];
        let rows = session.rows("listed collections", &statement, &values).await?;
        rows.iter().map(|row| row.text(0)).collect()
    }

    /// Returns which versions of which roles a collection has, in the order in which they were stored.
    ///
    /// # Errors
    /// Fails when the database does.
    pub async fn versions(&self, gun: &Gun) -> Result<Vec<(RoleName, Version)>, StoreError> {
        let mut session = self.0.pool.session().await?;
        let dialect = session.dialect();
        let statement = format!(
            "SELECT role, {} FROM tuf_files WHERE {} AND deleted_at IS NULL ORDER BY id",
            dialect.integer("version"),
            dialect.of_collection("gun")
        );
        let rows = session.rows("listed versions", &statement, &dialect.named(gun.as_str())).await?;
        rows.iter().map(|row| Ok((read_role(&row.text(0)?)?, read_version(row.integer(1)?)?))).collect()
    }
}

impl ReferenceSigningKeys {
    /// Returns all keys that were not deleted, in the order of their ids, those after `after`; a row that cannot be read does not
    /// keep the others from being returned.
    ///
    /// # Errors
    /// Fails when the database does.
    pub async fn all(&self, after: Option<&str>, limit: PageSize) -> Result<Vec<FoundKey>, StoreError> {
        let mut session = self.0.pool.session().await?;
        let statement = keys_where(session.dialect(), "deleted_at IS NULL AND key_id > ? ORDER BY key_id LIMIT ?");
        let values = [Value::Characters(after.unwrap_or_default()), i64::from(limit.get()).into()];
        let rows = session.rows("listed keys", &statement, &values).await?;
        rows.iter().map(|row| Ok(FoundKey { id: row.text(0)?, key: signing_key(row) })).collect()
    }
}
