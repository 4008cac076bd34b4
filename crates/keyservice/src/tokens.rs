//! Keys on PKCS#11 tokens: made there, never handed out.
//!
//! What ties such a key to its collection and role is the label of the private object, which only the token's user can write.
//! The row in the database says where to look, and is believed only when the token says the same: whoever can write to the
//! database can make a key unknown, and nothing else.

use std::collections::BTreeMap;
use std::fmt;
use std::io::Read;
use std::path::PathBuf;
use std::sync::Arc;

use countersign_crypto::{Algorithm, KeyId, Method, PrivateKey, PublicKey, Signer};
use countersign_storage::{Alias, Binding, EncryptedKey, NewServiceKey, NewSigningKey, ServiceRole, SigningKey};
use countersign_tuf::Gun;
use countersign_vault::{
    Origin, Passphrase, PassphraseRequest, PassphraseSource, Reply, ServiceToken, ServiceTokenLimits,
    ServiceTokenState, TokenConfig, TokenError,
};
use tokio::sync::Semaphore;
use zeroize::Zeroizing;

use crate::keys::KeyTrouble;
use crate::passphrases::Variables;

/// The variable with a token's PIN begins so.
const VARIABLE: &str = "COUNTERSIGN_KEYSERVER_PIN_";
/// The credential with a token's PIN begins so.
const CREDENTIAL: &str = "keyserver-pin-";
/// Where systemd puts credentials.
const CREDENTIALS: &str = "CREDENTIALS_DIRECTORY";
/// Bytes of a credential that are read.
const MAX_PIN: u64 = 4096;
/// The beginning of the labels of the service's keys: other keys on the token are none of them.
const LABEL: &str = "countersign-keyserver";
/// In place of the private part in the row.
const ELSEWHERE: &str = "on a token";

/// Where PINs are that no URI names a file for: the variable of the token, or else systemd's credential.
#[derive(Debug, Clone)]
pub struct PinPlaces(Variables);

impl PinPlaces {
    /// Looks in these variables.
    #[must_use]
    pub fn new(variables: Variables) -> Self {
        Self(variables)
    }
}

impl PassphraseSource for PinPlaces {
    fn passphrase(&self, request: &PassphraseRequest<'_>) -> Reply {
        let name = request.alias;
        let variable: String = name.to_ascii_uppercase().replace(['.', '-'], "_");
        let variable = format!("{VARIABLE}{variable}");
        if let Some(pin) = self.0.read(&variable) {
            return match Passphrase::new(pin.into_bytes()) {
                Ok(pin) => Reply::Passphrase(pin, Origin::Environment(variable.into())),
                Err(error) => Reply::Refused(format!("{variable}: {error}")),
            };
        }
        let Some(folder) = self.0.read(CREDENTIALS) else { return Reply::Unavailable };
        let path = PathBuf::from(folder).join(format!("{CREDENTIAL}{name}"));
        let Ok(file) = fs_err::File::open(&path) else { return Reply::Unavailable };
        let mut text = Zeroizing::new(String::new());
        if let Err(error) = file.take(MAX_PIN).read_to_string(&mut text) {
            return Reply::Refused(error.to_string());
        }
        match Passphrase::new(text.lines().next().unwrap_or_default().as_bytes().to_vec()) {
            Ok(pin) => Reply::Passphrase(pin, Origin::File),
            Err(error) => Reply::Refused(format!("{}: {error}", path.display())),
        }
    }
}

/// The tokens that keys are on, by the names in their aliases.
#[derive(Clone, Default)]
pub struct KeyTokens(Arc<BTreeMap<String, Place>>);

#[derive(Clone)]
struct Place {
    token: ServiceToken,
    permits: Arc<Semaphore>,
}

impl KeyTokens {
    /// Takes tokens; nothing is loaded yet.
    #[must_use]
    pub fn new(tokens: Vec<TokenConfig>, pins: &PinPlaces, limits: ServiceTokenLimits) -> Self {
        let place = |config: TokenConfig| {
            let name = config.name().to_owned();
            let token = ServiceToken::new(config, pins.clone(), limits);
            (name, Place { permits: Arc::new(Semaphore::new(token.sessions())), token })
        };
        Self(Arc::new(tokens.into_iter().map(place).collect()))
    }

    fn place(&self, alias: &Alias) -> Result<&Place, KeyTrouble> {
        let place = alias.token().and_then(|name| self.0.get(name));
        place.ok_or_else(|| KeyTrouble::NoToken(alias.clone()))
    }

    /// Returns what has to be had before the token is asked: those who wait do so without a thread.
    pub(crate) fn permits(&self, alias: &Alias) -> Result<Arc<Semaphore>, KeyTrouble> {
        Ok(Arc::clone(&self.place(alias)?.permits))
    }

    /// Returns how the tokens have done, by their names.
    pub(crate) fn states(&self) -> impl Iterator<Item = (&str, ServiceTokenState)> {
        self.0.iter().map(|(name, place)| (name.as_str(), place.token.state()))
    }

    /// Makes a key.
    pub(crate) fn make(
        &self,
        alias: &Alias,
        gun: Gun,
        role: ServiceRole,
        algorithm: Algorithm,
    ) -> Result<NewSigningKey, KeyTrouble> {
        let public = self.place(alias)?.token.make(algorithm, &label(&gun, role))?;
        let key = NewServiceKey {
            id: public.canonical_id(),
            gun,
            role,
            algorithm: public.key_type().clone(),
            public: public.bytes().to_vec(),
            private: EncryptedKey::new(ELSEWHERE.to_owned()),
        };
        // The label on the token is what binds; there is no private part that a code could be made with.
        Ok(NewSigningKey { key, alias: alias.clone(), binding: Some(Binding([0; 32])) })
    }

    /// Finds the key of a row, and checks that the row says what the token says.
    pub(crate) fn open(&self, found: &SigningKey) -> Result<OnToken, KeyTrouble> {
        let (row, alias) = (&found.stored.key, &found.stored.alias);
        let place = self.place(alias)?;
        let no_key = || TokenError::NoKey { token: alias.to_string(), id: row.id };
        let (public, found) = place.token.find(&row.id)?.ok_or_else(no_key)?;
        let is_its_own = found == label(&row.gun, row.role)
            && public.canonical_id() == row.id
            && *public.key_type() == row.algorithm
            && public.bytes() == row.public;
        if is_its_own {
            Ok(OnToken { token: place.token.clone(), alias: alias.clone(), public: Arc::new(public) })
        } else {
            Err(KeyTrouble::Changed { id: row.id })
        }
    }

    /// Deletes a key that was just made.
    pub(crate) fn delete(&self, alias: &Alias, id: &KeyId) -> Result<(), KeyTrouble> {
        Ok(self.place(alias)?.token.delete(id)?)
    }

    /// Checks that the token takes the PIN and answers.
    pub(crate) fn health(&self, alias: &Alias) -> Result<(), KeyTrouble> {
        Ok(self.place(alias)?.token.health()?)
    }
}

/// Tells whether nothing has to be changed but the token be put in, or waited for.
pub(crate) fn may_come_back(error: &TokenError) -> bool {
    matches!(error, TokenError::NotThere { .. } | TokenError::Removed { .. } | TokenError::Hangs { .. })
}

/// What a key on the token is for. A collection's name has no spaces.
fn label(gun: &Gun, role: ServiceRole) -> String {
    format!("{LABEL} {} {}", gun.as_str(), role.as_str())
}

/// A key that can sign: here, or on a token.
pub(crate) enum Held {
    /// Decrypted; wiped when dropped.
    Here(Box<PrivateKey>),
    /// On a token.
    OnToken(OnToken),
}

impl Held {
    pub(crate) fn public_key(&self) -> &PublicKey {
        match self {
            Self::Here(key) => key.public_key(),
            Self::OnToken(key) => &key.public,
        }
    }

    pub(crate) fn method(&self) -> Method {
        match self {
            Self::Here(key) => key.method(),
            Self::OnToken(key) if key.public.key_type().as_str() == "ed25519" => Method::Eddsa,
            Self::OnToken(_) => Method::Ecdsa,
        }
    }
}

/// A key on a token, whose row the token has confirmed.
#[derive(Clone)]
pub(crate) struct OnToken {
    token: ServiceToken,
    alias: Alias,
    public: Arc<PublicKey>,
}

impl OnToken {
    pub(crate) fn alias(&self) -> &Alias {
        &self.alias
    }

    pub(crate) fn sign(&self, message: &[u8]) -> Result<Vec<u8>, TokenError> {
        self.token.sign(&self.public, message)
    }

    pub(crate) fn delete(&self) -> Result<(), TokenError> {
        self.token.delete(&self.public.canonical_id())
    }
}

impl fmt::Debug for KeyTokens {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.0.keys()).finish()
    }
}
