//! Loopback ports that no other test takes.

use std::fs::{self, File};
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::sync::atomic::{AtomicU16, Ordering};

/// First port handed out; the range ends below the ports that Linux gives to outgoing connections (32768 and up), so
/// that no connection made meanwhile can take a port between its choice and its use.
const FIRST: u16 = 20_000;
/// One past the last port handed out.
const END: u16 = 32_000;

static NEXT: AtomicU16 = AtomicU16::new(0);

/// A loopback port that belongs to its holder, across threads and processes, until it is dropped.
#[derive(Debug)]
pub struct Port {
    number: u16,
    _lock: File,
}

impl Port {
    /// Takes a free port of 127.0.0.1.
    pub fn take() -> Self {
        let folder = std::env::temp_dir().join("countersign-testkit-ports");
        fs::create_dir_all(&folder).expect("a folder for port locks in the temporary folder");
        let span = END - FIRST;
        // Processes start at different places, so that they seldom meet.
        let start = u16::try_from(std::process::id().wrapping_mul(37) % u32::from(span)).unwrap_or(0);
        for _ in 0..span {
            let step = NEXT.fetch_add(1, Ordering::Relaxed) % span;
            let number = FIRST + (start + step) % span;
            let lock = File::create(folder.join(format!("{number}.lock"))).expect("a lock file for a port");
            if lock.try_lock().is_ok() && TcpListener::bind((Ipv4Addr::LOCALHOST, number)).is_ok() {
                return Self { number, _lock: lock };
            }
        }
        panic!("no free port between {FIRST} and {END}");
    }

    /// The port number.
    #[must_use]
    pub fn number(&self) -> u16 {
        self.number
    }

    /// 127.0.0.1 with this port.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        SocketAddr::from((Ipv4Addr::LOCALHOST, self.number))
    }
}

/// Whether somebody accepts connections there.
#[must_use]
pub fn accepts(address: SocketAddr) -> Answer {
    match std::net::TcpStream::connect_timeout(&address, std::time::Duration::from_millis(200)) {
        Ok(_) => Answer::Yes,
        Err(_) => Answer::No,
    }
}

/// Whether a connection was accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    /// Somebody listens.
    Yes,
    /// Nobody does.
    No,
}

#[cfg(test)]
mod tests {
    use super::{Answer, Port, accepts};
    use std::net::TcpListener;

    #[test]
    fn two_ports_differ_and_can_be_bound() {
        let (a, b) = (Port::take(), Port::take());
        assert_ne!(a.number(), b.number());
        assert_eq!(accepts(a.address()), Answer::No);
        let _listener = TcpListener::bind(a.address()).unwrap();
        assert_eq!(accepts(a.address()), Answer::Yes);
    }
}
