//! OpenPGP messages that are encrypted with a passphrase (RFC 9580; what gpg 2.2 reads and writes).
//!
//! The frame of packets is read here, strictly: a message has nothing behind its end, and what is cut short is an error.
//! Keys are derived and data is decrypted by rPGP, which also checks the modification detection code before it hands out a
//! byte.

mod armor;
mod container;
mod packet;
mod plain;
mod sealing;

pub use container::{Container, Locked};
pub use sealing::{SealError, seal};

/// Says why an archive could not be opened.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum OpenError {
    /// It is neither an OpenPGP message nor a tar archive.
    #[error("it is no archive of keys: neither an OpenPGP message nor tar.gz")]
    NotAnArchive,
    /// The passphrase is not the one. Changes to the first bytes of the message look the same.
    #[error("the passphrase does not open the archive")]
    WrongPassphrase,
    /// The message was changed, cut short or continued.
    #[error("the archive is damaged, cut short or was tampered with: {0}")]
    Damaged(&'static str),
    /// It is larger than what is read.
    #[error("the archive is larger than {limit} bytes")]
    TooLarge {
        /// The limit in bytes.
        limit: usize,
    },
}
