//! A token as the store of a service's keys: several sessions at once, and a limit of time for each call.
//!
//! A module is foreign code that cannot be interrupted. Each call runs in a thread of its own with a session of its own; one that
//! does not come back is given up together with its session. No more threads than there are sessions are ever in the module: when all of
//! them hang, everybody else is refused at once, until one comes back.
//!
//! A session that is lost is opened anew. When that does not help, or the token or a key is not to be found, the module is started
//! anew, if nobody hangs in it: it may have lost sight of a token that was put in since.

use std::collections::HashMap;
use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError, mpsc};
use std::time::Duration;

use countersign_crypto::{Algorithm, KeyId, PublicKey, SignError, Signer};

use super::device::{self, Token, Visit};
use super::{Renewed, TokenConfig, TokenError};
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

/// How a token has done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ServiceTokenState {
    /// Whether the last call was answered; also when nothing was asked yet.
    pub answers: bool,
    /// Calls that are in the module, those included that were given up.
    pub inside: usize,
    /// Calls that did not come back in time, or were refused because too many did not.
    pub given_up: u64,
    /// How often the module was started anew for this token's sake.
    pub renewed: u64,
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
    given_up: AtomicU64,
    renewed: AtomicU64,
    /// Whether the last call that needed it found the token in order.
    failing: AtomicBool,
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
            given_up: AtomicU64::new(0),
            renewed: AtomicU64::new(0),
            failing: AtomicBool::new(false),
            barred: Mutex::default(),
        };
        Self { shared: Arc::new(shared) }
    }

    /// Returns how many calls are answered at the same time.
    #[must_use]
    pub fn sessions(&self) -> usize {
        self.shared.limits.sessions
    }

    /// Returns how the token has done.
    #[must_use]
    pub fn state(&self) -> ServiceTokenState {
        let shared = &self.shared;
        ServiceTokenState {
            answers: !shared.failing.load(Ordering::Relaxed),
            inside: shared.inside.load(Ordering::Relaxed),
            given_up: shared.given_up.load(Ordering::Relaxed),
            renewed: shared.renewed.load(Ordering::Relaxed),
        }
    }

    /// Makes a key that the token does not hand out, under a label.
    ///
    /// # Errors
    /// [`TokenError`]; then nothing is left of the key, unless the error says so or the token [hangs](TokenError::Hangs).
    pub fn make(&self, algorithm: Algorithm, label: &str) -> Result<PublicKey, TokenError> {
        let label = label.to_owned();
        self.call(Repeat::Never, move |line| line.token.generate(algorithm, &label))
    }

    /// Returns a key's public half and label; none when the token does not hold it.
    ///
    /// # Errors
    /// The token cannot be asked.
    pub fn find(&self, id: &KeyId) -> Result<Option<(PublicKey, String)>, TokenError> {
        let (id, name) = (*id, self.shared.config.name().to_owned());
        let found = self.call(Repeat::MayHelp, move |line| {
            line.token.labelled(&id)?.ok_or_else(|| TokenError::NoKey { token: name.clone(), id })
        });
        match found {
            Ok(found) => Ok(Some(found)),
            Err(TokenError::NoKey { .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Signs; the signature was checked with the public key.
    ///
    /// # Errors
    /// The token cannot be asked, has no such key, or gave no signature by it.
    pub fn sign(&self, key: &PublicKey, message: &[u8]) -> Result<Vec<u8>, TokenError> {
        let (key, message) = (key.clone(), message.to_owned());
        self.call(Repeat::MayHelp, move |line| {
            let id = key.canonical_id();
            let signer = if let Some(signer) = line.signers.get(&id) {
                Arc::clone(signer)
            } else {
                let signer = Arc::clone(&line.token).signer(&key)?;
                if line.signers.len() >= REMEMBERED {
                    line.signers.clear();
                }
                line.signers.insert(id, Arc::clone(&signer));
                signer
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
        match self.call(Repeat::MayHelp, move |line| line.token.delete(&id)) {
            Err(TokenError::NoKey { .. }) => Ok(()),
            other => other,
        }
    }

    /// Checks that the token answers and has taken the PIN.
    ///
    /// # Errors
    /// It does not.
    pub fn health(&self) -> Result<(), TokenError> {
        self.call(Repeat::MayHelp, |line| line.token.is_there())
    }

    /// Has something done in a session, within the limit of time.
    fn call<T: Send + 'static>(
        &self,
        repeat: Repeat,
        work: impl Fn(&mut Line) -> Result<T, TokenError> + Send + 'static,
    ) -> Result<T, TokenError> {
        let result = self.in_time(repeat, work);
        let (shared, error) = (&self.shared, result.as_ref().err());
        if matches!(error, Some(TokenError::Hangs { .. })) {
            shared.given_up.fetch_add(1, Ordering::Relaxed);
        }
        // The token is in order also when it says that it does not have a key, or no room.
        let is_fine = |error: &TokenError| matches!(error, TokenError::NoKey { .. } | TokenError::Full { .. });
        shared.failing.store(error.is_some_and(|error| !is_fine(error)), Ordering::Relaxed);
        result
    }

    fn in_time<T: Send + 'static>(
        &self,
        repeat: Repeat,
        work: impl Fn(&mut Line) -> Result<T, TokenError> + Send + 'static,
    ) -> Result<T, TokenError> {
        let shared = &self.shared;
        let hangs =
            || TokenError::Hangs { token: shared.config.name().to_owned(), seconds: shared.limits.patience.as_secs() };
        let place = Place::take(shared).ok_or_else(hangs)?;
        let (sender, receiver) = mpsc::sync_channel(1);
        let thread = std::thread::Builder::new().name("pkcs11".to_owned()).spawn(move || {
            let result = place.0.work(repeat, work);
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

/// Whether something may be done twice.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Repeat {
    Never,
    MayHelp,
}

/// What was done so that it may work now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Remedy {
    Nothing,
    NewSession,
    NewModule,
}

/// A failure, and whether it came before or in the midst of the work.
struct Failure {
    error: TokenError,
    begun: bool,
}

impl Shared {
    fn work<T>(&self, repeat: Repeat, work: impl Fn(&mut Line) -> Result<T, TokenError>) -> Result<T, TokenError> {
        let mut remedy = Remedy::Nothing;
        loop {
            let visit = device::enter(&self.config)?;
            let Failure { error, begun } = match self.attempt(&visit, &work) {
                Ok(result) => {
                    if remedy == Remedy::NewModule {
                        visit.was_worth_it();
                    }
                    return Ok(result);
                }
                Err(failure) => failure,
            };
            if remedy == Remedy::NewModule || begun && repeat == Repeat::Never {
                return Err(error);
            }
            let lost = match &error {
                TokenError::Removed { .. } | TokenError::Failed { .. } => begun && remedy == Remedy::Nothing,
                TokenError::NotThere { .. } | TokenError::NoKey { .. } => false,
                _ => return Err(error),
            };
            remedy = if lost {
                Remedy::NewSession
            } else if visit.renew() == Renewed::Yes {
                Remedy::NewModule
            } else {
                return Err(error);
            };
            if remedy == Remedy::NewModule {
                self.renewed.fetch_add(1, Ordering::Relaxed);
            }
        }
    }

    /// Does something in a session.
    fn attempt<T>(&self, visit: &Visit, work: impl Fn(&mut Line) -> Result<T, TokenError>) -> Result<T, Failure> {
        let mut line = self.line(visit).map_err(|error| Failure { error, begun: false })?;
        let result = work(&mut line);
        let lost =
            matches!(&result, Err(TokenError::Removed { .. } | TokenError::Failed { .. } | TokenError::NoKey { .. }));
        if lost {
            drop(line);
            self.close_idle();
        } else {
            self.idle.lock().unwrap_or_else(PoisonError::into_inner).push(line);
        }
        result.map_err(|error| Failure { error, begun: true })
    }

    fn line(&self, visit: &Visit) -> Result<Line, TokenError> {
        loop {
            let idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner).pop();
            match idle {
                Some(line) if !line.token.is_of(visit) => {}
                // A token that was taken out, or restarted, has forgotten its sessions.
                Some(line) if line.token.answers().is_ok() => return Ok(line),
                Some(_) => self.close_idle(),
                None => return self.open(visit),
            }
        }
    }

    /// Closes sessions that nobody uses, without keeping others waiting meanwhile.
    fn close_idle(&self) {
        let idle = std::mem::take(&mut *self.idle.lock().unwrap_or_else(PoisonError::into_inner));
        drop(idle);
    }

    fn open(&self, visit: &Visit) -> Result<Line, TokenError> {
        let mut barred = self.barred.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(error) = &*barred {
            return Err(error.clone());
        }
        match device::open_in(visit, &self.config, None, &self.pin) {
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
