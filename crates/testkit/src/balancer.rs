//! A plain TCP balancer: each connection goes to the next service that takes it.

use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use crate::Port;

const CONNECT_LIMIT: Duration = Duration::from_secs(2);

/// A balancer on a loopback port that passes bytes on and understands none of them; it ends when dropped.
#[derive(Debug)]
pub struct Balancer {
    port: Port,
    behind: Arc<Mutex<Vec<SocketAddr>>>,
    ended: Arc<AtomicBool>,
    /// How often all connections were silenced.
    silenced: Arc<AtomicU64>,
}

impl Balancer {
    /// Starts a balancer in front of these addresses.
    #[must_use]
    pub fn start(behind: Vec<SocketAddr>) -> Self {
        let (port, ended) = (Port::take(), Arc::new(AtomicBool::new(false)));
        let behind = Arc::new(Mutex::new(behind));
        let listener = TcpListener::bind(port.address()).expect("a port of this test");
        let silenced = Arc::new(AtomicU64::new(0));
        let (end, known, silence) = (Arc::clone(&ended), Arc::clone(&behind), Arc::clone(&silenced));
        thread::spawn(move || {
            for (turn, client) in listener.incoming().enumerate() {
                if end.load(Ordering::SeqCst) {
                    return;
                }
                // A client for whom nobody is there sees its connection end.
                let behind = known.lock().unwrap_or_else(PoisonError::into_inner).clone();
                let silence = Silence { before: silence.load(Ordering::SeqCst), now: Arc::clone(&silence) };
                thread::spawn(move || client.and_then(|client| pass_on(client, &behind, turn, &silence)));
            }
        });
        Self { port, behind, ended, silenced }
    }

    /// Passes nothing more on over the connections that there are, in either direction, until one side ends them: what a
    /// network does that loses its memory of them.
    pub fn silence(&self) {
        self.silenced.fetch_add(1, Ordering::SeqCst);
    }

    /// Sends connections from now on to these addresses.
    pub fn redirect(&self, behind: Vec<SocketAddr>) {
        *self.behind.lock().unwrap_or_else(PoisonError::into_inner) = behind;
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.port.address()
    }
}

impl Drop for Balancer {
    fn drop(&mut self) {
        self.ended.store(true, Ordering::SeqCst);
        // One more connection, for the listener to look up.
        let _ = TcpStream::connect(self.address());
    }
}

/// Whether a connection has been silenced since it was made.
#[derive(Clone)]
struct Silence {
    before: u64,
    now: Arc<AtomicU64>,
}

impl Silence {
    fn copy(&self, from: &mut TcpStream, to: &mut TcpStream) -> io::Result<()> {
        let mut bytes = vec![0; 1 << 16];
        loop {
            let length = from.read(&mut bytes)?;
            match (length, self.now.load(Ordering::SeqCst) == self.before) {
                (0, _) => return to.shutdown(Shutdown::Write),
                (_, false) => {}
                (_, true) => to.write_all(bytes.get(..length).unwrap_or_default())?,
            }
        }
    }
}

fn pass_on(client: TcpStream, behind: &[SocketAddr], turn: usize, silence: &Silence) -> io::Result<()> {
    let mut in_turn = behind.iter().cycle().skip(turn % behind.len().max(1)).take(behind.len());
    let taken = in_turn.find_map(|address| TcpStream::connect_timeout(address, CONNECT_LIMIT).ok());
    let service = taken.ok_or(io::ErrorKind::ConnectionRefused)?;
    for stream in [&client, &service] {
        stream.set_nodelay(true)?;
    }
    let (mut from_client, mut to_service) = (client.try_clone()?, service.try_clone()?);
    let upwards = {
        let silence = silence.clone();
        thread::spawn(move || {
            let _ = silence.copy(&mut from_client, &mut to_service);
        })
    };
    let (mut from_service, mut to_client) = (service, client);
    let _ = silence.copy(&mut from_service, &mut to_client);
    let _ = to_client.shutdown(Shutdown::Both);
    let _ = upwards.join();
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::Balancer;
    use std::io::{Read, Write};
    use std::net::{TcpListener, TcpStream};

    /// A service that answers each connection with its name.
    fn named(name: &'static str) -> (std::net::SocketAddr, std::thread::JoinHandle<()>) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let serving = std::thread::spawn(move || listener.accept().unwrap().0.write_all(name.as_bytes()).unwrap());
        (address, serving)
    }

    fn asked(balancer: &Balancer) -> String {
        let mut answer = String::new();
        TcpStream::connect(balancer.address()).unwrap().read_to_string(&mut answer).unwrap();
        answer
    }

    #[test]
    fn connections_go_to_each_in_turn_and_past_one_that_is_gone() {
        let ((one, first), (other, second)) = (named("one"), named("other"));
        let gone = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let balancer = Balancer::start(vec![one, gone, other]);
        let mut answers = [asked(&balancer), asked(&balancer)];
        answers.sort();
        assert_eq!(answers, ["one", "other"]);
        first.join().unwrap();
        second.join().unwrap();
        assert_eq!(asked(&balancer), "");
    }
}
