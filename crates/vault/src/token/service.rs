//! A token as the store of a service's keys: several sessions at once, and a limit of time for each call.
//!
//! A module is foreign code that cannot be interrupted. Each call runs in a thread of its own with a session of its own; one that
//! does not come back is given up together with its session. No more threads than there are sessions are ever in the module: when all of
//! them hang, everybody else is refused at once, until one comes back.

use std::collections::HashMap;
use std::fmt;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError, mpsc};
use std::time::Duration;

use countersign_crypto::{Algorithm, KeyId, PublicKey, SignError, Signer};

use super::device::{self, Token};
use super::{TokenConfig, TokenError};
use crate::passphrase::PassphraseSource;

/// Keys whose places on the token a session remembers.
const REMEMBERED: usize = 10_000;

/// Numbers and times that are never exceeded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ServiceTokenLimits {
    /// Calls that the module answers at the same time.
    pub sessions: usize,
    /// Time for a call.
    pub patience: Duration,
}

impl Default for ServiceTokenLimits {
    fn default() -> Self {
        Self { sessions: 8, patience: Duration::from_secs(5) }
    }
}

/// A token that a service keeps keys on. Nothing is loaded before the first call; a token that went away is looked for again with
/// each call; a PIN that was refused is never tried again.
#[derive(Clone)]
pub struct ServiceToken {
    shared: Arc<Shared>,
}

struct Shared {
    config: TokenConfig,
    pin: Box<dyn PassphraseSource>,
    limits: ServiceTokenLimits,
    idle: Mutex<Vec<Line>>,
    /// Threads in the module, those included that were given up.
    inside: AtomicUsize,
    /// Why the PIN must not be tried again. Held while logging in, so that a PIN is tried by one at a time.
    barred: Mutex<Option<TokenError>>,
}

/// A session, and where in it keys are.
struct Line {
    token: Arc<Token>,
    signers: HashMap<KeyId, Arc<dyn Signer>>,
}

impl ServiceToken {
    /// Takes a token; the PIN is that of the configuration's file, or else of this source.
    pub fn new(config: TokenConfig, pin: impl PassphraseSource + 'static, limits: ServiceTokenLimits) -> Self {
        let shared = Shared {
            config,
            pin: Box::new(pin),
            limits,
            idle: Mutex::default(),
            inside: AtomicUsize::new(0),
            barred: Mutex::default(),
        };
        Self { shared: Arc::new(shared) }
    }

    /// Returns how many calls are answered at the same time.
    #[must_use]
    pub fn sessions(&self) -> usize {
        self.shared.limits.sessions
    }

    /// Makes a key that the token does not hand out, under a label.
    ///
    /// # Errors
    /// [`TokenError`]; then nothing is left of the key, unless the error says so or the token [hangs](TokenError::Hangs).
    pub fn make(&self, algorithm: Algorithm, label: &str) -> Result<PublicKey, TokenError> {
        let label = label.to_owned();
        self.call(move |line| line.token.generate(algorithm, &label))
    }

    /// Returns a key's public half and label; none when the token does not hold it.
    ///
    /// # Errors
    /// The token cannot be asked.
    pub fn find(&self, id: &KeyId) -> Result<Option<(PublicKey, String)>, TokenError> {
        let id = *id;
        self.call(move |line| line.token.labelled(&id))
    }

    /// Signs; the signature was checked with the public key.
    ///
    /// # Errors
    /// The token cannot be asked, has no such key, or gave no signature by it.
    pub fn sign(&self, key: &PublicKey, message: &[u8]) -> Result<Vec<u8>, TokenError> {
        let (key, message) = (key.clone(), message.to_owned());
        self.call(move |line| {
            let id = key.canonical_id();
            let signer = match line.signers.get(&id) {
                Some(signer) => Arc::clone(signer),
                None => {
                    let signer = Arc::clone(&line.token).signer(&key)?;
                    if line.signers.len() >= REMEMBERED {
                        line.signers.clear();
                    }
                    line.signers.insert(id, Arc::clone(&signer));
                    signer
                }
            };
            signer.sign(&message).map_err(|error| of_signing(line.token.identity().to_string(), &error))
        })
    }

    /// Deletes a key; one that is not there is no error.
    ///
    /// # Errors
    /// The token cannot be asked, or keeps the key.
    pub fn delete(&self, id: &KeyId) -> Result<(), TokenError> {
        let id = *id;
        self.call(move |line| match line.token.delete(&id) {
            Err(TokenError::NoKey { .. }) => Ok(()),
            other => other,
        })
    }

    /// Checks that the token answers and has taken the PIN.
    ///
    /// # Errors
    /// It does not.
    pub fn health(&self) -> Result<(), TokenError> {
        self.call(|line| line.token.answers())
    }

    /// Has something done in a session, within the limit of time.
    fn call<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut Line) -> Result<T, TokenError> + Send + 'static,
    ) -> Result<T, TokenError> {
        let shared = &self.shared;
        let hangs =
            || TokenError::Hangs { token: shared.config.name().to_owned(), seconds: shared.limits.patience.as_secs() };
        let place = Place::take(shared).ok_or_else(hangs)?;
        let (sender, receiver) = mpsc::sync_channel(1);
        let thread = std::thread::Builder::new().name("pkcs11".to_owned()).spawn(move || {
            let result = place.0.work(work);
            drop(place);
            // Whoever asked may have given up.
            let _ = sender.send(result);
        });
        thread.map_err(|error| TokenError::Failed {
            token: shared.config.name().to_owned(),
            what: "get a thread",
            code: error.to_string(),
        })?;
        receiver.recv_timeout(shared.limits.patience).unwrap_or_else(|_| Err(hangs()))
    }
}

/// One of the places in the module, free again when dropped.
struct Place(Arc<Shared>);

impl Place {
    fn take(shared: &Arc<Shared>) -> Option<Self> {
        let more = |inside: usize| (inside < shared.limits.sessions).then_some(inside.saturating_add(1));
        shared.inside.fetch_update(Ordering::AcqRel, Ordering::Acquire, more).ok()?;
        Some(Self(Arc::clone(shared)))
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.0.inside.fetch_sub(1, Ordering::AcqRel);
    }
}

impl Shared {
    fn work<T>(&self, work: impl FnOnce(&mut Line) -> Result<T, TokenError>) -> Result<T, TokenError> {
        let idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner).pop();
        let mut line = match idle {
            // A token that was taken out, or restarted, has forgotten its sessions.
            Some(line) if line.token.answers().is_ok() => line,
            Some(_) => {
                self.idle.lock().unwrap_or_else(PoisonError::into_inner).clear();
                self.open()?
            }
            None => self.open()?,
        };
        let result = work(&mut line);
        let lost = matches!(&result, Err(TokenError::Removed { .. } | TokenError::Failed { .. }));
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        if lost {
            idle.clear();
        } else {
            idle.push(line);
        }
        result
    }

    fn open(&self) -> Result<Line, TokenError> {
        let mut barred = self.barred.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(error) = &*barred {
            return Err(error.clone());
        }
        match device::open(&self.config, None, &self.pin) {
            Ok(token) => Ok(Line { token: Arc::new(token), signers: HashMap::new() }),
            Err(error) => {
                if matches!(error, TokenError::WrongPin { .. } | TokenError::Locked { .. } | TokenError::LastTry { .. })
                {
                    *barred = Some(error.clone());
                }
                Err(error)
            }
        }
    }
}

/// Takes the token's own words out of an error of signing.
fn of_signing(token: String, error: &SignError) -> TokenError {
    let told = match error {
        SignError::Holder { source, .. } => source.downcast_ref::<TokenError>().cloned(),
        _ => None,
    };
    told.unwrap_or_else(|| TokenError::Answer { token, what: error.to_string() })
}

impl fmt::Debug for ServiceToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ServiceToken").field("token", &self.shared.config.name()).finish_non_exhaustive()
    }
}
