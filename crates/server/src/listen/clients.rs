//! How many connections one client has: beyond a limit it gets no more, and takes no place from others.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::num::NonZeroUsize;
use std::sync::{Arc, Mutex, PoisonError};

/// The connections of each client.
#[derive(Debug, Clone)]
pub(super) struct Clients {
    limit: Option<NonZeroUsize>,
    open: Arc<Mutex<HashMap<IpAddr, usize>>>,
}

/// One connection of a client, for as long as it lives.
#[derive(Debug)]
pub(super) struct Seat {
    client: IpAddr,
    clients: Clients,
}

impl Clients {
    pub(super) fn new(limit: Option<NonZeroUsize>) -> Self {
        Self { limit, open: Arc::default() }
    }

    /// Counts a connection, unless the client has too many.
    pub(super) fn enter(&self, address: IpAddr) -> Option<Seat> {
        let client = network(address);
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        let count = open.entry(client).or_default();
        if self.limit.is_some_and(|limit| *count >= limit.get()) {
            return None;
        }
        *count += 1;
        Some(Seat { client, clients: self.clone() })
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        let mut open = self.clients.open.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = open.get_mut(&self.client) {
            *count -= 1;
            if *count == 0 {
                open.remove(&self.client);
            }
        }
    }
}

/// Returns whom an address stands for: whoever has one of the sixth version has a whole network of them.
pub(crate) fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => IpAddr::V6(Ipv6Addr::from_bits(address.to_bits() >> 64 << 64)),
        address @ IpAddr::V4(_) => address,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn a_client_has_so_many_connections_and_no_more_and_others_have_theirs() {
        let clients = Clients::new(NonZeroUsize::new(2));
        let first = clients.enter(address("192.0.2.1")).unwrap();
        let second = clients.enter(address("::ffff:192.0.2.1")).unwrap();
        assert!(clients.enter(address("192.0.2.1")).is_none());
        assert!(clients.enter(address("192.0.2.2")).is_some());
        drop(first);
        let third = clients.enter(address("192.0.2.1"));
        assert!(third.is_some());
        drop((second, third));
        assert!(clients.open.lock().unwrap().is_empty(), "nothing is kept of who has left");
    }

    #[test]
    fn a_network_of_the_sixth_version_is_one_client() {
        let clients = Clients::new(NonZeroUsize::new(1));
        let _seat = clients.enter(address("2001:db8::1")).unwrap();
        assert!(clients.enter(address("2001:db8::ffff:2")).is_none());
        assert!(clients.enter(address("2001:db8:0:1::1")).is_some());
    }
}
