//! The feed of changes to collections.

use countersign_crypto::digest::Sha256Digest;
use countersign_tuf::{Gun, Version};
use jiff::Timestamp;

/// Records per page when the caller asks for 0 (Notary protocol, changefeed).
pub const DEFAULT_PAGE: u16 = 100;
/// Most records per page, whatever the caller asks for.
pub const MAX_PAGE: u16 = 1000;

/// One change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// Grows with every change; never reused.
    pub id: i64,
    /// When it happened, to the microsecond.
    pub created_at: Timestamp,
    /// The collection.
    pub gun: Gun,
    /// What happened.
    pub category: Category,
}

/// The kind of a change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Category {
    /// A publication.
    Update {
        /// The version of its timestamp.
        version: Version,
        /// The digest of its timestamp.
        sha256: Sha256Digest,
    },
    /// The collection was deleted.
    Deletion,
}

/// A number of records between 1 and [`MAX_PAGE`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PageSize(u16);

impl PageSize {
    /// Takes a wish: 0 is the default, the sign is ignored, too much is cut.
    #[must_use]
    pub fn wished(records: i64) -> Self {
        match records.unsigned_abs() {
            0 => Self(DEFAULT_PAGE),
            n => Self(u16::try_from(n).map_or(MAX_PAGE, |n| n.min(MAX_PAGE))),
        }
    }

    /// Returns the number.
    #[must_use]
    pub fn get(self) -> u16 {
        self.0
    }
}

/// Which part of the feed is wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Window {
    /// The oldest changes with a greater id.
    After(i64),
    /// The newest changes with a smaller id.
    Before(i64),
    /// The newest changes.
    Newest,
}

/// A question to the change feed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChangeQuery {
    /// Only changes of this collection.
    pub gun: Option<Gun>,
    /// Which part.
    pub window: Window,
    /// At most so many.
    pub limit: PageSize,
}

impl ChangeQuery {
    /// Reads the two numbers of the protocol: a negative `records` counts back from `change_id`, a negative `change_id` is
    /// the newest change, 0 the beginning. Every pair of numbers is a valid question.
    #[must_use]
    pub fn new(gun: Option<Gun>, change_id: i64, records: i64) -> Self {
        let window = match (change_id, records) {
            (id, records) if id > 0 && records < 0 => Window::Before(id),
            (id, records) if id < 0 || records < 0 => Window::Newest,
            (id, _) => Window::After(id),
        };
        Self { gun, window, limit: PageSize::wished(records) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_pair_of_numbers_is_a_bounded_question() {
        let extremes = [i64::MIN, i64::from(i32::MIN), -1001, -1, 0, 1, 999, 1001, i64::from(i32::MAX), i64::MAX];
        for id in extremes {
            for records in extremes {
                let query = ChangeQuery::new(None, id, records);
                assert!((1..=MAX_PAGE).contains(&query.limit.get()), "{id} {records}");
            }
        }
    }

    #[test]
    fn numbers_mean_what_the_protocol_says() {
        let window = |id, records| ChangeQuery::new(None, id, records).window;
        assert_eq!(window(0, 0), Window::After(0));
        assert_eq!(window(7, 5), Window::After(7));
        assert_eq!(window(7, -5), Window::Before(7));
        assert_eq!(window(-1, 5), Window::Newest);
        assert_eq!(window(0, -5), Window::Newest);
        assert_eq!(PageSize::wished(0).get(), DEFAULT_PAGE);
        assert_eq!(PageSize::wished(-5).get(), 5);
    }
}
