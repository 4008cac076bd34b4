//! Addresses of engines, as `DOCKER_HOST` has them.

use std::fmt;
use std::path::PathBuf;

use super::{Address, DEFAULT_SOCKET, EndpointError};

/// The port of an engine without TLS.
const DEFAULT_PORT: u16 = 2375;
const DEFAULT_HOST: &str = "localhost";

impl Address {
    /// Parses an address: `unix://`, `tcp://` (also without scheme) or `ssh://`.
    ///
    /// # Errors
    ///
    /// Refuses other schemes, among them Windows' named pipes and systemd's `fd://`, and malformed hosts and ports.
    pub fn parse(text: &str) -> Result<Self, EndpointError> {
        let refuse = |reason| EndpointError::Host { host: text.to_owned(), reason };
        let (scheme, rest) = text.split_once("://").unwrap_or(("tcp", text));
        match scheme {
            "unix" => unix(rest),
            "tcp" => tcp(rest),
            "ssh" => ssh(rest),
            "npipe" => Err("named pipes exist on Windows only"),
            "http" | "https" => Err("write tcp:// and say with --tls whether to use TLS"),
            _ => Err("it starts with none of unix://, tcp:// and ssh://"),
        }
        .map_err(refuse)
    }
}

fn unix(rest: &str) -> Result<Address, &'static str> {
    if rest.contains("://") {
        return Err("it has two schemes");
    }
    let path = if rest.is_empty() { DEFAULT_SOCKET } else { rest };
    Ok(Address::Unix(PathBuf::from(path)))
}

fn tcp(rest: &str) -> Result<Address, &'static str> {
    let rest = rest.strip_suffix('/').unwrap_or(rest);
    if rest.contains(['/', '?', '#', '@']) {
        return Err("it has more than a host and a port");
    }
    let (host, port) = host_and_port(rest)?;
    let host = if host.is_empty() { DEFAULT_HOST } else { host };
    Ok(Address::Tcp { host: host.to_owned(), port: port.unwrap_or(DEFAULT_PORT) })
}

fn ssh(rest: &str) -> Result<Address, &'static str> {
    let (authority, path) = match rest.split_once('/') {
        Some((authority, path)) => (authority, path),
        None => (rest, ""),
    };
    if path.contains(['?', '#']) {
        return Err("it has a query or a fragment");
    }
    let (user, authority) = match authority.rsplit_once('@') {
        Some((user, authority)) => (Some(user), authority),
        None => (None, authority),
    };
    let (host, port) = host_and_port(authority)?;
    if host.is_empty() || user.is_some_and(str::is_empty) {
        return Err("the host or the user is missing");
    }
    if user.is_some_and(|user| user.contains(':')) {
        return Err("passwords cannot be in it");
    }
    // What ssh would take for a flag or a shell for more than a word.
    if [Some(host), user].into_iter().flatten().any(|part| !is_plain(part)) {
        return Err("the host or the user has characters that are none of theirs");
    }
    let socket = Some(path).filter(|path| !path.is_empty()).map(|path| format!("/{path}"));
    if socket.as_ref().is_some_and(|socket| !is_plain(socket)) {
        return Err("the socket has characters that need quoting");
    }
    Ok(Address::Ssh { user: user.map(str::to_owned), host: host.to_owned(), port, socket })
}

fn is_plain(text: &str) -> bool {
    !text.starts_with('-') && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._-:%/".contains(&byte))
}

fn host_and_port(text: &str) -> Result<(&str, Option<u16>), &'static str> {
    let (host, port) = if let Some(rest) = text.strip_prefix('[') {
        let (host, rest) = rest.split_once(']').ok_or("a bracket is missing")?;
        if host.parse::<std::net::Ipv6Addr>().is_err() {
            return Err("there is no IPv6 address in the brackets");
        }
        match rest {
            "" => (host, None),
            rest => (host, Some(rest.strip_prefix(':').ok_or("something stands between bracket and port")?)),
        }
    } else {
        match text.split_once(':') {
            Some((_, port)) if port.contains(':') => return Err("an IPv6 address has to be in brackets"),
            Some((host, port)) => (host, Some(port)),
            None => (text, None),
        }
    };
    if host.bytes().any(|byte| byte.is_ascii_control() || byte == b' ') {
        return Err("the host has a blank or a control character");
    }
    let port = port.filter(|port| !port.is_empty()).map(|port| {
        // A sign would be no digit, though a number.
        let digits = port.bytes().all(|byte| byte.is_ascii_digit());
        port.parse().ok().filter(|_| digits).ok_or("the port is no number up to 65535")
    });
    Ok((host, port.transpose()?))
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unix(path) => write!(f, "unix://{}", path.display()),
            Self::Tcp { host, port } if host.contains(':') => write!(f, "tcp://[{host}]:{port}"),
            Self::Tcp { host, port } => write!(f, "tcp://{host}:{port}"),
            Self::Through(helper) => write!(f, "the other end of {}", helper.program().to_string_lossy()),
            Self::Ssh { user, host, port, socket } => {
                let user = user.as_ref().map(|user| format!("{user}@")).unwrap_or_default();
                let port = port.map(|port| format!(":{port}")).unwrap_or_default();
                write!(f, "ssh://{user}{host}{port}{}", socket.as_deref().unwrap_or_default())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Address;

    #[test]
    fn addresses_get_their_default_parts() {
        for (text, expected) in [
            ("unix:///run/d.sock", "unix:///run/d.sock"),
            ("unix://", "unix:///var/run/docker.sock"),
            ("tcp://", "tcp://localhost:2375"),
            ("tcp://host", "tcp://host:2375"),
            ("tcp://:1", "tcp://localhost:1"),
            ("tcp://host:1/", "tcp://host:1"),
            ("host:1", "tcp://host:1"),
            ("tcp://[::1]:1", "tcp://[::1]:1"),
            ("tcp://[::1]", "tcp://[::1]:2375"),
            ("ssh://me@host:22/run/d.sock", "ssh://me@host:22/run/d.sock"),
            ("ssh://host", "ssh://host"),
        ] {
            assert_eq!(Address::parse(text).unwrap().to_string(), expected, "{text}");
        }
    }

    #[test]
    fn what_is_no_address_is_refused() {
        for text in [
            "ftp://host",
            "fd://",
            "npipe:////./pipe/docker_engine",
            "https://host",
            "unix://tcp://x",
            "tcp://h:x",
            "tcp://h:65536",
            "tcp://h:+1",
            "tcp://::1:2375",
            "tcp://[::1",
            "tcp://[x]:1",
            "tcp://[::1]x",
            "tcp://h/p",
            "tcp://h?q",
            "tcp://u@h",
            "tcp://a b",
            "tcp://a\nb",
            "ssh://",
            "ssh://@h",
            "ssh://u:p@h",
            "ssh://-oProxyCommand=x",
            "ssh://-l@h",
            "ssh://h/a?b",
            "ssh://h/$(x)",
            "ssh://h;x",
        ] {
            assert!(Address::parse(text).is_err(), "{text}");
        }
    }
}
