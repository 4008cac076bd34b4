//! Tokens behind PKCS#11 modules: finding them and logging in, once.

mod answers;
mod module;
mod objects;
mod signer;

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use cryptoki::context::Pkcs11;
use cryptoki::error::{Error, RvError};
use cryptoki::session::{Session, UserType};
use cryptoki::slot::{Slot, TokenInfo};
use cryptoki::types::AuthPin;

use super::{Record, TokenConfig, TokenError, TokenIdentity};
use crate::passphrase::{Origin, PassphraseRequest, PassphraseSource, Purpose, Reply, read_secret_file};
use answers::failed;
use module::Module;
pub(super) use module::Visit;

/// The tokens that keys can be on. Clones share what is open, and what must not be tried again.
#[derive(Clone, Default)]
pub struct Tokens {
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    configured: Vec<TokenConfig>,
    /// By name. A failure that another try would make worse stays.
    opened: Mutex<BTreeMap<String, Result<Arc<Token>, TokenError>>>,
}

/// A token with a session that is logged in.
pub(super) struct Token {
    /// What it is called in messages.
    name: String,
    identity: TokenIdentity,
    slot: Slot,
    /// One session serves all: what is done in it is done by one at a time.
    session: Arc<Mutex<Session>>,
    module: Arc<Module>,
    /// Which of the module's lives the session belongs to.
    generation: u64,
}

impl Tokens {
    /// Takes the tokens of the settings; nothing is loaded yet.
    #[must_use]
    pub fn new(configured: Vec<TokenConfig>) -> Self {
        Self { shared: Arc::new(Shared { configured, opened: Mutex::default() }) }
    }

    /// Opens a token by the owner's name for it and logs in.
    pub(super) fn open(&self, name: &str, passphrases: &dyn PassphraseSource) -> Result<Arc<Token>, TokenError> {
        let config = self.shared.configured.iter().find(|config| config.name() == name);
        let config = config.ok_or_else(|| TokenError::Unknown { name: name.to_owned(), known: self.names() })?;
        self.open_configured(config, None, passphrases)
    }

    /// Opens the token that holds a key.
    pub(super) fn holder(&self, record: &Record, passphrases: &dyn PassphraseSource) -> Result<Arc<Token>, TokenError> {
        let mut last = None;
        for config in self.shared.configured.iter().filter(|config| config.may_be(&record.token)) {
            match self.open_configured(config, Some(&record.token), passphrases) {
                Err(error @ TokenError::NotThere { .. }) => last = Some(error),
                other => return other,
            }
        }
        Err(last.unwrap_or_else(|| TokenError::NotConfigured {
            id: record.id(),
            token: record.token.to_string(),
            known: self.names(),
        }))
    }

    fn names(&self) -> Vec<String> {
        self.shared.configured.iter().map(|config| config.name().to_owned()).collect()
    }

    fn open_configured(
        &self,
        config: &TokenConfig,
        wanted: Option<&TokenIdentity>,
        passphrases: &dyn PassphraseSource,
    ) -> Result<Arc<Token>, TokenError> {
        let mut opened = lock(&self.shared.opened);
        match opened.get(config.name()) {
            Some(Ok(token)) if wanted.is_none_or(|wanted| *wanted == token.identity) => return Ok(Arc::clone(token)),
            Some(Err(error)) => return Err(error.clone()),
            // The settings' name is for several tokens in turn, and another one is wanted now.
            Some(Ok(_)) | None => {}
        }
        let result = open(config, wanted, passphrases).map(Arc::new);
        match &result {
            // What failed on the way to the PIN may work again; a PIN is tried once in the life of a process.
            Err(TokenError::WrongPin { .. } | TokenError::Locked { .. } | TokenError::PinState { .. }) | Ok(_) => {
                opened.insert(config.name().to_owned(), result.clone());
            }
            Err(_) => {}
        }
        result
    }
}

impl fmt::Debug for Tokens {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tokens").field("configured", &self.names()).finish_non_exhaustive()
    }
}

impl Token {
    pub(super) fn identity(&self) -> TokenIdentity {
        self.identity.clone()
    }

    /// Tells whether the session is of this visit's time: the module was not started anew since it was opened.
    pub(super) fn is_of(&self, visit: &Visit) -> bool {
        Arc::ptr_eq(&self.module, visit.module()) && self.generation == visit.generation()
    }

    fn session(&self) -> MutexGuard<'_, Session> {
        lock(&self.session)
    }

    /// Says what a failure of the module means while it did something.
    fn failed(&self, what: &'static str) -> impl Fn(Error) -> TokenError + '_ {
        move |error| failed(&self.name, what, &error)
    }
}

impl Drop for Token {
    fn drop(&mut self) {
        // A module that was started anew has given the session's number to another one, which must not be closed.
        if self.module.enter_again(self.generation).is_none() {
            std::mem::forget(Arc::clone(&self.session));
        }
    }
}

/// What is behind these locks is whole after every operation, also one that panicked.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Enters the module of a token.
pub(super) fn enter(config: &TokenConfig) -> Result<Visit, TokenError> {
    let module = module::load(config.module())?;
    module.enter().map_err(|error| answers::of_start(config.name(), config.module(), &error))
}

pub(super) fn open(
    config: &TokenConfig,
    wanted: Option<&TokenIdentity>,
    passphrases: &dyn PassphraseSource,
) -> Result<Token, TokenError> {
    open_in(&enter(config)?, config, wanted, passphrases)
}

/// Opens a token of a module that was entered, and logs in.
pub(super) fn open_in(
    visit: &Visit,
    config: &TokenConfig,
    wanted: Option<&TokenIdentity>,
    passphrases: &dyn PassphraseSource,
) -> Result<Token, TokenError> {
    let module = visit.module();
    let (slot, info, identity) = find(module.library(), config, wanted)?;
    let name = config.name().to_owned();
    if !info.user_pin_initialized() {
        return Err(TokenError::PinState { token: name, reason: "none was ever set: use the token's own tools" });
    }
    let session = module.library().open_rw_session(slot).map_err(|error| failed(&name, "open a session", &error))?;
    let (session, module) = (Arc::new(Mutex::new(session)), Arc::clone(module));
    let token = Token { name, identity, slot, session, module, generation: visit.generation() };
    token.log_in(config, &info, passphrases)?;
    Ok(token)
}

/// Finds the one token that is meant.
fn find(
    module: &Pkcs11,
    config: &TokenConfig,
    wanted: Option<&TokenIdentity>,
) -> Result<(Slot, TokenInfo, TokenIdentity), TokenError> {
    let fail = |error| failed(config.name(), "list the tokens", &error);
    let (mut found, mut present) = (Vec::new(), Vec::new());
    for slot in module.get_slots_with_token().map_err(fail)? {
        // One that cannot be asked, or was never set up, is not the one.
        let Ok(info) = module.get_token_info(slot) else { continue };
        if !info.token_initialized() {
            continue;
        }
        let identity =
            TokenIdentity { label: info.label().trim_end().into(), serial: info.serial_number().trim_end().into() };
        let selector = config.selector();
        let says =
            |wanted: &Option<String>, found: &str| wanted.as_ref().is_none_or(|wanted| wanted == found.trim_end());
        let fits = config.may_be(&identity)
            && says(&selector.manufacturer, info.manufacturer_id())
            && says(&selector.model, info.model())
            && wanted.is_none_or(|wanted| *wanted == identity);
        if fits {
            found.push((slot, info, identity));
        } else {
            present.push(identity.to_string());
        }
    }
    let token = wanted.map_or_else(|| format!("{:?}", config.name()), ToString::to_string);
    match (found.len(), found.pop()) {
        (1, Some(found)) => Ok(found),
        (0, _) => Err(TokenError::NotThere { token, present }),
        (count, _) => Err(TokenError::Ambiguous { token, count }),
    }
}

impl Token {
    /// Logs in with one PIN, tried once.
    fn log_in(
        &self,
        config: &TokenConfig,
        info: &TokenInfo,
        passphrases: &dyn PassphraseSource,
    ) -> Result<(), TokenError> {
        let token = || self.name.clone();
        if info.user_pin_locked() {
            return Err(TokenError::Locked { token: token() });
        }
        if !info.login_required() {
            return Ok(());
        }
        if info.protected_authentication_path() {
            // The token has a keypad of its own.
            let entered = self.session().login(UserType::User, None);
            return entered.map_err(|error| answers::of_login(&self.name, "", &error));
        }
        let request = PassphraseRequest::new(&self.name, Purpose::Pin);
        let reply = match config.pin_file() {
            Some(path) => match read_secret_file(path) {
                Ok(pin) => Reply::Passphrase(pin, Origin::File),
                Err(reason) => Reply::Refused(format!("no PIN from {}: {reason}", path.display())),
            },
            None => passphrases.passphrase(&request),
        };
        let (pin, origin) = match reply {
            Reply::Passphrase(pin, origin) => (pin, origin),
            Reply::Again | Reply::Unavailable => return Err(TokenError::NoPin { token: token() }),
            Reply::Refused(reason) => return Err(TokenError::PinRefused { reason }),
        };
        if info.user_pin_final_try() && origin != Origin::Person {
            return Err(TokenError::LastTry { token: token() });
        }
        let text = std::str::from_utf8(pin.bytes())
            .map_err(|_| TokenError::PinState { token: token(), reason: "it is not text" })?;
        let entered = self.session().login(UserType::User, Some(&AuthPin::from(text.to_owned())));
        match entered {
            // Under another name it was opened before: the module knows one login for all.
            Ok(()) | Err(Error::Pkcs11(RvError::UserAlreadyLoggedIn, _)) => {}
            Err(error) => return Err(answers::of_login(&self.name, &spelled(&origin), &error)),
        }
        passphrases.accepted(&request, &pin, &origin);
        Ok(())
    }
}

/// Says where a PIN came from, with a space in front.
fn spelled(origin: &Origin) -> String {
    match origin {
        Origin::Environment(variable) => format!(" in {variable}"),
        Origin::Command => " of the passphrase command".to_owned(),
        Origin::File => " in its file".to_owned(),
        Origin::Person | Origin::Remembered => String::new(),
    }
}
