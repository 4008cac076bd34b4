//! How long and how much.

use std::time::Duration;

/// Bounds on what an engine may take and send.
///
/// The defaults suit an engine that is busy, with a slow registry behind it; tests and impatient callers shorten them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Time to connect, and for the answer to the first ping: 30 seconds.
    pub connect: Duration,
    /// Time to the first byte of an answer after the last byte of the question: 2 minutes.
    pub first_byte: Duration,
    /// Time between two pieces of progress or of an archive, and for the whole of any other answer: 10 minutes, because engines are silent while they unpack a large layer.
    pub idle: Duration,
    /// Length of one line of progress: 1 MiB.
    pub line_bytes: usize,
    /// Size of a whole progress stream: 256 MiB.
    pub stream_bytes: u64,
    /// Size of an answer that is read as a whole: 8 MiB.
    pub answer_bytes: usize,
    /// Size of an error's text: 64 KiB; the rest is cut.
    pub message_bytes: usize,
    /// Nesting of JSON: 32 levels.
    pub json_depth: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(30),
            first_byte: Duration::from_mins(2),
            idle: Duration::from_mins(10),
            line_bytes: 1 << 20,
            stream_bytes: 256 << 20,
            answer_bytes: 8 << 20,
            message_bytes: 64 << 10,
            json_depth: 32,
        }
    }
}
