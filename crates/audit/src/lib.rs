//! The lines of an audit log, chained by hash.
//!
//! An entry is one line of JSON. Its last member is the SHA-256 of everything before that member, and the member before names
//! the hash of the entry before; so no byte can be changed, no entry taken out, put in or moved without the next one telling.
//! What a chain cannot tell: that entries are missing at its end, or that somebody wrote all of it anew. For that a head, the
//! number and hash of an entry, has to be kept where the log is not.
//!
//! [`Draft`] is what an entry says before its place is known, [`Draft::chained`] gives it a place after a [`Head`], and
//! [`Verifier`] reads lines back.

mod chain;
mod verify;

pub use chain::{ChainName, ChainNameError, Draft, DraftError, Head, MAX_LINE, Torn, sealed_head};
pub use verify::{Broken, Chains, Ending, Fault, MAX_CHAINS, Report, Seen, Verifier};
