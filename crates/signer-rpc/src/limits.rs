//! Sizes, numbers and times that are never exceeded.

use std::time::Duration;

/// Bytes of one message, the default of gRPC, which the reference has too.
pub const MAX_MESSAGE: usize = 4 * 1024 * 1024;
/// Bytes that are signed at once: a message less what stands around its content.
pub const MAX_CONTENT: usize = MAX_MESSAGE - 1024;
/// Bytes of a collection's name.
pub const MAX_GUN: usize = 1024;
/// Bytes of the headers of one call.
pub(crate) const MAX_HEADERS: u32 = 16 * 1024;
/// Connections that are open at the same time; the callers are a few trust services.
pub(crate) const CONNECTIONS: usize = 256;
/// Calls of one connection that are answered at the same time.
pub(crate) const CALLS: u32 = 256;
/// Calls that a peer may take back before they are answered, until the connection is ended (rapid reset).
pub(crate) const PENDING_RESETS: usize = 32;
/// Time for the TLS handshake.
pub(crate) const HANDSHAKE: Duration = Duration::from_secs(10);
/// Time in which a call is answered, from its header to the end of its answer.
pub(crate) const CALL: Duration = Duration::from_secs(10);
/// Pings on a silent connection, and how long their answer may take.
pub(crate) const PING: Duration = Duration::from_secs(20);
/// Pause after the system refused a connection, for instance because too many files are open.
pub(crate) const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// Time in which a client makes its connection.
pub(crate) const CONNECT: Duration = Duration::from_secs(3);
