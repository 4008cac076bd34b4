//! Refusals: the first ones at once, the others once a minute with their number. Whoever is refused without end must not fill
//! the disk.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::{Mutex, PoisonError};

use jiff::Timestamp;

use super::entry::{By, Entry};

/// Refusals of one minute that are written down by themselves.
const AT_ONCE: u32 = 60;
/// Kinds of refusals that are told apart in one minute.
const KINDS: usize = 100;

/// What a refusal is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Refused {
    pub(crate) operation: Option<&'static str>,
    pub(crate) gun: Option<String>,
    pub(crate) status: u16,
    pub(crate) reason: String,
    /// Whether the client said at all who it is: one that did not was only asked to.
    pub(crate) introduced: Introduced,
}

/// Whether a client said who it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Introduced {
    Yes,
    No,
}

/// Refusals of the present minute.
#[derive(Debug, Default)]
pub(super) struct Refusals(Mutex<Minute>);

#[derive(Debug, Default)]
struct Minute {
    begun: Option<Timestamp>,
    written: u32,
    kinds: BTreeMap<Key, Tally>,
    others: u64,
}

/// What makes two refusals alike: the client (a network, with IPv6), its name, the status and the operation.
type Key = (Option<IpAddr>, Option<String>, u16, Option<&'static str>);

#[derive(Debug)]
struct Tally {
    /// Those that have not been written down.
    count: u64,
    last: Entry,
}

impl Refusals {
    /// Takes note of a refusal; returns the entry, if it is to be written at once.
    pub(super) fn note(&self, by: &By, refused: &Refused, now: Timestamp) -> Option<Entry> {
        let mut minute = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        minute.begun.get_or_insert(now);
        let entry = || {
            let mut entry = Entry::new("refuse", by).refusal(refused.operation, refused.status).reason(&refused.reason);
            entry.time = now.to_string();
            match &refused.gun {
                Some(gun) => entry.of_gun(gun),
                None => entry,
            }
        };
        let key = (by.address.map(network), by.who.clone(), refused.status, refused.operation);
        if let Some(tally) = minute.kinds.get_mut(&key) {
            tally.count += 1;
            tally.last = entry();
            return None;
        }
        if minute.kinds.len() >= KINDS {
            minute.others += 1;
            return None;
        }
        let at_once = refused.introduced == Introduced::Yes && minute.written < AT_ONCE;
        minute.written += u32::from(at_once);
        minute.kinds.insert(key, Tally { count: u64::from(!at_once), last: entry() });
        at_once.then(entry)
    }

    /// Ends the minute; returns what has not been written down.
    pub(super) fn minute(&self) -> Vec<Entry> {
        let minute = std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner));
        let since = minute.begun.unwrap_or_default().to_string();
        let counted = minute.kinds.into_values().filter(|tally| tally.count > 0);
        let mut entries: Vec<Entry> = counted.map(|tally| tally.last.count(tally.count).since(since.clone())).collect();
        if minute.others > 0 {
            let rest = Entry::plain("refuse").reason("of more clients than are told apart").count(minute.others);
            entries.push(rest.since(since));
        }
        entries
    }
}

/// One client of IPv6 has a whole network of addresses.
fn network(address: IpAddr) -> IpAddr {
    match address {
        IpAddr::V4(_) => address,
        IpAddr::V6(v6) => match v6.to_ipv4_mapped() {
            Some(v4) => v4.into(),
            None => std::net::Ipv6Addr::from_bits(v6.to_bits() & !u128::from(u64::MAX)).into(),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(introduced: Introduced) -> Refused {
        Refused { operation: Some("GetRole"), gun: Some("a".into()), status: 401, reason: "no".into(), introduced }
    }

    fn from(address: [u8; 4]) -> By {
        By { who: None, kind: "refused", address: Some(address.into()), request: None }
    }

    #[test]
    fn the_first_is_written_at_once_and_the_others_are_counted() {
        let (refusals, now) = (Refusals::default(), Timestamp::UNIX_EPOCH);
        assert!(refusals.note(&from([1, 1, 1, 1]), &refused(Introduced::Yes), now).is_some());
        for _ in 0..1_000 {
            assert!(refusals.note(&from([1, 1, 1, 1]), &refused(Introduced::Yes), now).is_none());
        }
        let rest: Vec<String> = refusals.minute().iter().map(|entry| serde_json::to_string(entry).unwrap()).collect();
        assert!(rest.len() == 1 && rest[0].contains("\"count\":1000"), "{rest:?}");
        assert!(refusals.minute().is_empty());
    }

    #[test]
    fn who_was_only_asked_for_a_name_is_counted_and_not_written_at_once() {
        let (refusals, now) = (Refusals::default(), Timestamp::UNIX_EPOCH);
        assert!(refusals.note(&from([1, 1, 1, 1]), &refused(Introduced::No), now).is_none());
        assert_eq!(refusals.minute().len(), 1);
    }

    #[test]
    fn however_many_are_refused_the_entries_of_a_minute_are_bounded() {
        let (refusals, now) = (Refusals::default(), Timestamp::UNIX_EPOCH);
        let at_once = (0..100_000_u32)
            .filter(|number| {
                let by = from(number.to_be_bytes());
                refusals.note(&by, &refused(Introduced::Yes), now).is_some()
            })
            .count();
        let rest = refusals.minute();
        assert_eq!((at_once, rest.len()), (AT_ONCE as usize, KINDS - AT_ONCE as usize + 1));
        let last = serde_json::to_string(rest.last().unwrap()).unwrap();
        assert!(last.contains(&format!("\"count\":{}", 100_000 - KINDS)), "{last}");
    }

    #[test]
    fn a_network_of_ipv6_is_one_client() {
        let parse = |text: &str| network(text.parse().unwrap());
        assert_eq!(parse("2001:db8:1:2:3::1"), parse("2001:db8:1:2::ffff"));
        assert_ne!(parse("2001:db8:1:2::1"), parse("2001:db8:1:3::1"));
        assert_eq!(parse("::ffff:10.0.0.1"), parse("10.0.0.1"));
    }
}
