//! What can go wrong with tokens.

use std::path::PathBuf;

use countersign_crypto::KeyId;

/// Says why a token did not do what was asked. Nothing was changed on it unless the text says so.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TokenError {
    /// This program was built without PKCS#11.
    #[error("this build of the program has no PKCS#11: keys on tokens cannot be used")]
    NotBuilt,
    /// No token of that name is known.
    #[error("there is no token {name:?} in the settings{}", known_tokens(.known))]
    Unknown {
        /// The name.
        name: String,
        /// The names there are.
        known: Vec<String>,
    },
    /// A key is on a token that the settings do not lead to.
    #[error("the key {id} is on the token {token}, and no token in the settings can be that one{}", known_tokens(.known))]
    NotConfigured {
        /// The key.
        id: KeyId,
        /// The token.
        token: String,
        /// The names there are.
        known: Vec<String>,
    },
    /// The module cannot be used.
    #[error("the PKCS#11 module {} cannot be used: {reason}", .path.display())]
    Module {
        /// The shared library.
        path: PathBuf,
        /// Why.
        reason: String,
    },
    /// No such token is there.
    #[error("the token {token} is not there{}", present_tokens(.present))]
    NotThere {
        /// What it is called.
        token: String,
        /// The tokens that are.
        present: Vec<String>,
    },
    /// Several tokens are called so.
    #[error("{count} tokens answer to {token}: say which by its serial number")]
    Ambiguous {
        /// What they are called.
        token: String,
        /// How many there are.
        count: usize,
    },
    /// Nobody gave a PIN.
    #[error("there is no PIN for the token {token}")]
    NoPin {
        /// The token.
        token: String,
    },
    /// Whoever was asked for the PIN refused.
    #[error("{reason}")]
    PinRefused {
        /// Who, and why.
        reason: String,
    },
    /// The PIN is wrong. It was tried once and will not be tried again.
    #[error(
        "the token {token} does not take the PIN{from}; it was tried once and not again, because wrong PINs lock a token"
    )]
    WrongPin {
        /// The token.
        token: String,
        /// Where the PIN came from, with a space in front.
        from: String,
    },
    /// One more wrong PIN would lock the token.
    #[error("the next wrong PIN locks the token {token}: only a person at a terminal may try it now")]
    LastTry {
        /// The token.
        token: String,
    },
    /// The token has locked itself.
    #[error("the token {token} is locked: too many wrong PINs were tried")]
    Locked {
        /// The token.
        token: String,
    },
    /// The PIN has to be set or changed with the token's own tools first.
    #[error("the PIN of the token {token} cannot be used: {reason}")]
    PinState {
        /// The token.
        token: String,
        /// Why.
        reason: &'static str,
    },
    /// The token went away in the middle of it.
    #[error("the token {token} was removed, or lost its session, while it was needed")]
    Removed {
        /// The token.
        token: String,
    },
    /// There is no room on the token.
    #[error("the token {token} is full: it has no room for another key")]
    Full {
        /// The token.
        token: String,
    },
    /// Nothing can be written to it.
    #[error("the token {token} is write-protected")]
    WriteProtected {
        /// The token.
        token: String,
    },
    /// It cannot do that.
    #[error("the token {token} does not know {what}")]
    Unsupported {
        /// The token.
        token: String,
        /// What it would have to know.
        what: &'static str,
    },
    /// The key is not on the token any more.
    #[error("the token {token} has no private key {id}")]
    NoKey {
        /// The token.
        token: String,
        /// The key.
        id: KeyId,
    },
    /// The key is there already.
    #[error("the token {token} holds the key {id} already")]
    KeyThere {
        /// The token.
        token: String,
        /// The key.
        id: KeyId,
    },
    /// What the token gave is no signature by the key.
    #[error("the token {token} gave a signature that is not by the key {id}: it was not used")]
    BadSignature {
        /// The token.
        token: String,
        /// The key.
        id: KeyId,
    },
    /// What the token says of a key is no key.
    #[error("the token {token} gave an answer that makes no sense: {what}")]
    Answer {
        /// The token.
        token: String,
        /// What is wrong with it.
        what: String,
    },
    /// The token or its module failed.
    #[error("the token {token} failed to {what}: {code}")]
    Failed {
        /// The token.
        token: String,
        /// What it had to do.
        what: &'static str,
        /// PKCS#11's name for the failure.
        code: String,
    },
    /// The module did not come back in time; what it was asked for is given up, and may still happen.
    #[error("the token {token} did not answer within {seconds} seconds")]
    Hangs {
        /// The token.
        token: String,
        /// How long was waited.
        seconds: u64,
    },
    /// Some of a key that was being made or deleted is left on the token.
    #[error("{source}; something of the key {id} may be left on the token")]
    LeftOver {
        /// The key's id as the token knows it, in hexadecimal digits.
        id: String,
        /// What happened.
        #[source]
        source: Box<TokenError>,
    },
}

fn known_tokens(names: &[String]) -> String {
    if names.is_empty() { "; none is configured".to_owned() } else { format!("; there are {}", names.join(", ")) }
}

fn present_tokens(names: &[String]) -> String {
    if names.is_empty() { "; no token is".to_owned() } else { format!("; there are {}", names.join(", ")) }
}
