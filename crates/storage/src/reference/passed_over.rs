//! Rows that are passed over: each is said to be broken once.

use std::collections::BTreeSet;
use std::sync::{Mutex, PoisonError};

use crate::StoreError;

/// Rows that are named before no more are: whoever may write to the database could fill the log.
const NAMED: usize = 100;

/// What has been said of this database.
#[derive(Debug, Default)]
pub(super) struct PassedOver(Mutex<BTreeSet<(&'static str, String)>>);

impl PassedOver {
    /// Says that a row cannot be read.
    pub(super) fn tell(&self, table: &'static str, row: &str, error: &StoreError) {
        let mut told = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if told.len() >= NAMED || !told.insert((table, row.to_owned())) {
            return;
        }
        tracing::warn!(table, row, %error, "a row of the database is passed over");
        if told.len() == NAMED {
            tracing::warn!("no more rows that are passed over are named");
        }
    }
}
