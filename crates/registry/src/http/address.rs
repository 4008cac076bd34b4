//! Keeps requests that servers ask for away from addresses that only mean something inside this network's link.

use std::net::{IpAddr, SocketAddr};

use reqwest::dns::{Addrs, Name, Resolve, Resolving};

use super::error::HttpError;
use super::origin::{Origin, shown};

/// Resolves names and drops forbidden addresses.
#[derive(Debug, Clone, Copy)]
pub(crate) struct GuardedResolver;

impl Resolve for GuardedResolver {
    fn resolve(&self, name: Name) -> Resolving {
        Box::pin(async move {
            let found: Vec<SocketAddr> = tokio::net::lookup_host((name.as_str(), 0)).await?.collect();
            let allowed: Vec<SocketAddr> = found.into_iter().filter(|address| !is_forbidden(address.ip())).collect();
            if allowed.is_empty() {
                return Err("the name leads to link-local or reserved addresses only".into());
            }
            Ok(Box::new(allowed.into_iter()) as Addrs)
        })
    }
}

/// Refuses origins that are forbidden addresses by their spelling.
pub(crate) fn check(url: &url::Url, origin: &Origin) -> Result<(), HttpError> {
    match origin.address() {
        Some(address) if is_forbidden(address) => Err(HttpError::Address {
            url: shown(url),
            reason: "a link-local or reserved address is not accepted from a server",
        }),
        _ => Ok(()),
    }
}

/// Tells whether an address is link-local (where clouds keep their machine's secrets), unspecified, or for many.
fn is_forbidden(address: IpAddr) -> bool {
    let address = address.to_canonical();
    let special = match address {
        IpAddr::V4(v4) => v4.is_link_local() || v4.is_broadcast(),
        IpAddr::V6(v6) => v6.is_unicast_link_local() || v6.segments() == [0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254],
    };
    special || address.is_unspecified() || address.is_multicast()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn link_local_and_reserved_addresses_are_forbidden() {
        for text in [
            "169.254.169.254",
            "::ffff:169.254.169.254",
            "fe80::1",
            "fd00:ec2::254",
            "0.0.0.0",
            "::",
            "224.0.0.1",
            "255.255.255.255",
        ] {
            assert!(is_forbidden(text.parse().unwrap()), "{text}");
        }
        for text in ["127.0.0.1", "::1", "10.0.0.1", "192.0.2.1", "2001:db8::1"] {
            assert!(!is_forbidden(text.parse().unwrap()), "{text}");
        }
    }
}
