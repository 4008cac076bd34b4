//! How often somebody may be wrong.

use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use moka::sync::Cache;

use crate::listen::clients::network;

/// Wrong passwords for one name from one address within [`WINDOW`].
const WRONG_FOR_NAME: u32 = 10;
/// Wrong passwords from one address within [`WINDOW`], whatever the names.
const WRONG_FROM_ADDRESS: u32 = 60;
/// How long wrong passwords count, from the first one on.
pub(super) const WINDOW: Duration = Duration::from_mins(1);
/// Addresses, and names at addresses, that are remembered.
const MOST: u64 = 20_000;

/// Counts passwords that were wrong.
#[derive(Debug)]
pub(super) struct Tries {
    by_name: Counts<(IpAddr, String)>,
    by_address: Counts<IpAddr>,
}

type Counts<K> = Cache<K, Arc<AtomicU32>>;

impl Default for Tries {
    fn default() -> Self {
        Self { by_name: counts(), by_address: counts() }
    }
}

impl Tries {
    /// Tells whether a password for this name may be looked at.
    pub(super) fn may(&self, from: IpAddr, name: &str) -> bool {
        let network = network(from);
        let read = |count: Option<Arc<AtomicU32>>| count.map_or(0, |count| count.load(Ordering::Relaxed));
        read(self.by_address.get(&network)) < WRONG_FROM_ADDRESS
            && read(self.by_name.get(&(network, name.to_owned()))) < WRONG_FOR_NAME
    }

    /// Counts a wrong one.
    pub(super) fn wrong(&self, from: IpAddr, name: &str) {
        let network = network(from);
        self.by_address.get_with(network, Arc::default).fetch_add(1, Ordering::Relaxed);
        self.by_name.get_with((network, name.to_owned()), Arc::default).fetch_add(1, Ordering::Relaxed);
    }
}

fn counts<K: std::hash::Hash + Eq + Send + Sync + 'static>() -> Counts<K> {
    Cache::builder().max_capacity(MOST).time_to_live(WINDOW).build()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn after_ten_wrong_passwords_an_address_has_to_wait_and_others_do_not() {
        let tries = Tries::default();
        let here = address("2001:db8::1");
        for _ in 0..WRONG_FOR_NAME {
            assert!(tries.may(here, "alice"));
            tries.wrong(here, "alice");
        }
        assert!(!tries.may(here, "alice"));
        assert!(!tries.may(address("2001:db8::2"), "alice"), "the same network");
        assert!(tries.may(here, "bob"));
        assert!(tries.may(address("2001:db8:0:1::1"), "alice"));
    }

    #[test]
    fn whoever_tries_name_after_name_has_to_wait_too() {
        let tries = Tries::default();
        let here = address("192.0.2.1");
        for number in 0..WRONG_FROM_ADDRESS {
            let name = format!("user{number}");
            assert!(tries.may(here, &name));
            tries.wrong(here, &name);
        }
        assert!(!tries.may(here, "alice"));
        assert!(tries.may(address("192.0.2.2"), "alice"));
    }
}
