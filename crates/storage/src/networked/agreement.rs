//! What all processes on one database must agree upon.

use super::NetworkedStore;
use super::session::Dialect;
use crate::StoreError;

/// The name under which the fingerprint of the secret stands.
const SECRET: &str = "secret";

impl NetworkedStore {
    /// Returns the fingerprint of the secret that the keys in this database are encrypted under: that of whoever asked
    /// first, so that two processes which start on an empty database cannot go on with two secrets.
    ///
    /// # Errors
    /// Fails when the database does.
    pub async fn agree_on_secret(&self, fingerprint: &str) -> Result<String, StoreError> {
        let mut session = self.pool.session().await?;
        let statement = match session.dialect() {
            Dialect::Postgres => {
                "INSERT INTO countersign_agreed (name, value) VALUES (?, ?) ON CONFLICT (name) DO NOTHING"
            }
            Dialect::MySql => {
                "INSERT INTO countersign_agreed (name, value) VALUES (?, ?) ON DUPLICATE KEY UPDATE name = name"
            }
        };
        let doing = "agreed on the secret";
        session.execute(doing, statement, &[SECRET.into(), fingerprint.into()]).await?;
        let statement = "SELECT value FROM countersign_agreed WHERE name = ?";
        let row = session.row(doing, statement, &[SECRET.into()]).await?;
        row.ok_or_else(|| StoreError::damaged("the fingerprint of the secret", "missing"))?.text(0)
    }
}
