//! How often and how much each client asks.
//!
//! Each client has a bucket that runs empty at a steady pace; what a client asks for is poured in, and when it is full the
//! client has to wait. Of each bucket only the moment is kept at which it will be empty (the generic cell rate algorithm):
//! of clients whose moment has passed nothing has to be known.

use std::collections::HashMap;
use std::hash::{BuildHasher, Hash, RandomState};
use std::net::IpAddr;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::access::{Peer, Who};
use crate::config::Rates;
use crate::error::{Code, Failure};
use crate::listen::clients::network;

/// How much may come at once, in seconds' worth of requests.
const BURST: u64 = 10;
/// The time that bytes of uploads are counted over.
const HOUR: Duration = Duration::from_hours(1);
/// Parts of a meter, so that clients seldom wait for one another.
const SHARDS: usize = 16;
/// Clients of one part whose buckets are not empty.
const MOST: usize = 8_192;
/// Pause between two looks for buckets that have run empty, in a part that is full.
const SWEEP: Duration = Duration::from_secs(1);

/// Who is measured.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) enum Client {
    /// An address, or a network of the sixth version.
    Address(IpAddr),
    /// Somebody with this name.
    Name(String),
}

impl Client {
    /// Everybody with a name is measured by it, whatever the way it was proved.
    pub(crate) fn of(who: &Who, peer: &Peer) -> Self {
        match who.name() {
            Some(name) if !name.is_empty() => Self::Name(name.to_owned()),
            _ => Self::Address(network(peer.address.ip())),
        }
    }
}

/// All meters.
#[derive(Debug)]
pub(crate) struct Meters {
    addresses: Option<Meter>,
    names: Option<Meter>,
    uploads: Option<Meter>,
}

impl Meters {
    pub(crate) fn new(rates: Rates) -> Self {
        let often = |rate: std::num::NonZeroU32| {
            let rate = u64::from(rate.get());
            Meter::new(rate * BURST, Duration::from_secs(BURST))
        };
        Self {
            addresses: rates.of_address.map(often),
            names: rates.of_name.map(often),
            uploads: rates.upload_bytes.map(|bytes| Meter::new(bytes.get(), HOUR)),
        }
    }

    /// Counts a request of an address, whoever sends it.
    pub(crate) fn address(&self, address: IpAddr) -> Result<(), Failure> {
        let Some(meter) = &self.addresses else { return Ok(()) };
        meter
            .pour(&Client::Address(network(address)), 1)
            .map_err(|wait| refusal("too many requests of one address", wait))
    }

    /// Counts a request of somebody with a name.
    pub(crate) fn name(&self, client: &Client) -> Result<(), Failure> {
        let (Some(meter), Client::Name(_)) = (&self.names, client) else { return Ok(()) };
        meter.pour(client, 1).map_err(|wait| refusal("too many requests under one name", wait))
    }

    /// Tells whether somebody may upload something.
    pub(crate) fn may_upload(&self, client: &Client) -> Result<(), Failure> {
        let Some(meter) = &self.uploads else { return Ok(()) };
        meter.pour(client, 0).map_err(|wait| refusal("too many bytes of one client within the hour", wait))
    }

    /// Counts what somebody has uploaded, kept or not.
    pub(crate) fn uploaded(&self, client: &Client, bytes: u64) {
        if let Some(meter) = &self.uploads {
            meter.add(client, bytes);
        }
    }
}

fn refusal(cause: &'static str, wait: Duration) -> Failure {
    let seconds = u32::try_from(wait.as_secs()).unwrap_or(u32::MAX);
    Failure::new(Code::TooManyRequests).after(seconds.saturating_add(1)).cause(cause)
}

/// Buckets of one size.
#[derive(Debug)]
struct Meter {
    /// The size of a bucket.
    units: u64,
    /// The time in which a full one runs empty.
    time: Duration,
    /// Clients of one part.
    most: usize,
    begun: Instant,
    hasher: RandomState,
    shards: Vec<Mutex<Shard>>,
}

/// The moments, since the beginning, at which buckets will be empty.
#[derive(Debug, Default)]
struct Shard {
    empty: HashMap<Client, Duration>,
    /// The bucket of all for whom there is no room.
    others: Duration,
    /// When empty buckets were last looked for.
    swept: Duration,
}

impl Meter {
    fn new(units: u64, time: Duration) -> Self {
        let shards = (0..SHARDS).map(|_| Mutex::default()).collect();
        Self { units, time, most: MOST, begun: Instant::now(), hasher: RandomState::new(), shards }
    }

    /// Pours something in, or says how long to wait until there is room.
    fn pour(&self, client: &Client, units: u64) -> Result<(), Duration> {
        let now = self.begun.elapsed();
        self.with(client, now, |empty| {
            let full = now + self.time;
            let after = (*empty).max(now).saturating_add(self.pace(units));
            if after > full || (units == 0 && after == full) {
                return Err(after.saturating_sub(full));
            }
            *empty = after;
            Ok(())
        })
    }

    /// Pours something in that is there already, even if the bucket runs over.
    fn add(&self, client: &Client, units: u64) {
        let now = self.begun.elapsed();
        self.with(client, now, |empty| *empty = (*empty).max(now).saturating_add(self.pace(units)));
    }

    /// How long so many units take to run out.
    fn pace(&self, units: u64) -> Duration {
        let nanoseconds = self.time.as_nanos() * u128::from(units) / u128::from(self.units.max(1));
        Duration::from_nanos(u64::try_from(nanoseconds).unwrap_or(u64::MAX))
    }

    fn with<T>(&self, client: &Client, now: Duration, change: impl FnOnce(&mut Duration) -> T) -> T {
        let number = usize::try_from(self.hasher.hash_one(client) % SHARDS as u64).unwrap_or_default();
        let mut nothing = Duration::ZERO;
        let Some(shard) = self.shards.get(number) else { return change(&mut nothing) };
        let mut shard = shard.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(empty) = shard.empty.get_mut(client) {
            return change(empty);
        }
        if shard.empty.len() >= self.most && now >= shard.swept.saturating_add(SWEEP) {
            shard.empty.retain(|_, empty| *empty > now);
            shard.swept = now;
        }
        if shard.empty.len() >= self.most {
            return change(&mut shard.others);
        }
        change(shard.empty.entry(client.clone()).or_default())
    }
}

#[cfg(test)]
mod tests {
    use std::num::{NonZeroU32, NonZeroU64};

    use super::*;

    fn address(number: u32) -> IpAddr {
        std::net::Ipv4Addr::from_bits(number).into()
    }

    fn rates() -> Rates {
        Rates { of_address: NonZeroU32::new(1), of_name: NonZeroU32::new(2), upload_bytes: NonZeroU64::new(1000) }
    }

    #[test]
    fn a_client_that_asks_too_often_is_told_when_to_come_again_and_others_are_not() {
        let meters = Meters::new(rates());
        for _ in 0..10 {
            meters.address(address(1)).unwrap();
        }
        let refused = meters.address(address(1)).unwrap_err();
        assert_eq!((refused.code(), refused.retry_after()), (Code::TooManyRequests, Some(1)));
        meters.address(address(2)).unwrap();
        let alice = Client::Name("alice".to_owned());
        for _ in 0..20 {
            meters.name(&alice).unwrap();
        }
        assert!(meters.name(&alice).is_err());
        meters.name(&Client::Name("bob".to_owned())).unwrap();
        meters.name(&Client::Address(address(1))).unwrap();
    }

    #[test]
    fn after_a_while_there_is_room_again() {
        let meter = Meter::new(4, Duration::from_millis(80));
        let client = Client::Address(address(1));
        for _ in 0..4 {
            meter.pour(&client, 1).unwrap();
        }
        let wait = meter.pour(&client, 1).unwrap_err();
        assert!(wait <= Duration::from_millis(20), "{wait:?}");
        std::thread::sleep(wait);
        meter.pour(&client, 1).unwrap();
    }

    #[test]
    fn bytes_count_after_they_came_and_the_next_upload_waits() {
        let meters = Meters::new(rates());
        let client = Client::Address(address(1));
        meters.may_upload(&client).unwrap();
        meters.uploaded(&client, 999);
        meters.may_upload(&client).unwrap();
        meters.uploaded(&client, 1_000_000);
        let wait = meters.may_upload(&client).unwrap_err().retry_after().unwrap();
        assert!(wait > 3000 * 1000, "{wait}");
        meters.may_upload(&Client::Address(address(2))).unwrap();
        meters.uploaded(&client, u64::MAX);
        meters.uploaded(&client, u64::MAX);
        assert!(meters.may_upload(&client).is_err());
    }

    #[test]
    fn what_is_remembered_of_clients_has_an_end() {
        let meter = Meter { most: 4, ..Meter::new(2, Duration::from_hours(1)) };
        let refused = (0..1000).filter(|number| meter.pour(&Client::Address(address(*number)), 1).is_err()).count();
        let kept: usize = meter.shards.iter().map(|shard| shard.lock().unwrap().empty.len()).sum();
        assert_eq!(kept, 4 * SHARDS);
        assert_eq!(refused, 1000 - 4 * SHARDS - 2 * SHARDS, "those for whom there is no room share one bucket");
        let meter = Meter { most: 4, ..Meter::new(1, Duration::from_nanos(1)) };
        for shard in &meter.shards {
            shard.lock().unwrap().empty.extend((0..4).map(|number| (Client::Address(address(number)), Duration::ZERO)));
        }
        std::thread::sleep(SWEEP);
        meter.pour(&Client::Address(address(9)), 1).unwrap();
        let swept = meter.shards.iter().filter(|shard| shard.lock().unwrap().empty.len() == 1).count();
        assert_eq!(swept, 1, "buckets that have run empty make room");
    }

    #[test]
    fn without_a_limit_nobody_waits() {
        let meters = Meters::new(Rates::default());
        for _ in 0..1000 {
            meters.address(address(1)).unwrap();
            meters.name(&Client::Name("alice".to_owned())).unwrap();
            meters.may_upload(&Client::Address(address(1))).unwrap();
        }
    }
}
