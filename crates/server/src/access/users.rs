//! People and machines that the service knows by itself: by password or by certificate.

mod desk;
mod passwords;
mod remembered;
mod tries;

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Semaphore;

use crate::watched::{Watched, When};

use super::challenge::{Realm, check_realm};
use super::proof::{Account, Proof};
use super::rules::Rules;
use super::settings::{AccessError, UserAccess};
use super::{Action, Needed, Peer, Who};

use self::passwords::{MAX_NAME, MAX_PASSWORD, Passwords};
use self::remembered::Remembered;
use self::tries::Tries;

pub(super) use self::desk::SERVICE;
pub(crate) use self::passwords::is_name;

/// Requests whose passwords wait to be compared; more are told to come again.
const WAITING: usize = 256;
/// How long one waits.
const PATIENCE: Duration = Duration::from_secs(10);

/// Everything about the service's own users.
#[derive(Debug)]
pub(super) struct Users {
    realm: Option<String>,
    passwords: Option<Watched<Passwords, AccessError>>,
    rules: Watched<Rules, AccessError>,
    remembered: Remembered,
    tries: Tries,
    /// Passwords compared at the same time: half of the processors are for other requests.
    comparing: Arc<Semaphore>,
    waiting: Semaphore,
}

/// Why somebody is not who they say.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum Doubt {
    #[error("the authorization is not understood")]
    Form,
    #[error("the name or the password {0:?} came with is wrong")]
    Wrong(String),
    #[error("too many wrong passwords came from there, the last one for {0:?}")]
    TooMany(String),
    #[error("too many passwords wait to be compared")]
    Busy,
}

/// Why the desk gives nothing out.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum Refused {
    #[error(transparent)]
    Doubt(#[from] Doubt),
    #[error("a name and a password are needed")]
    Nameless,
    #[error("{name:?} may not publish {gun}")]
    Denied { name: String, gun: String },
}

impl Users {
    pub(super) fn new(settings: &UserAccess) -> Result<Self, AccessError> {
        settings.realm.as_deref().map_or(Ok(()), check_realm)?;
        let passwords = settings.passwords.clone().map(|file| {
            let path = file.clone();
            Watched::new(vec![file], Box::new(move || Passwords::read(&path)))
        });
        let (said, files) = (settings.clone(), settings.rules.iter().cloned().collect());
        let rules =
            Watched::new(files, Box::new(move || Rules::read(&said.allow, said.rules.as_deref(), said.reading)))?;
        let processors = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        Ok(Self {
            realm: settings.realm.clone(),
            passwords: passwords.transpose()?,
            rules,
            remembered: Remembered::new().map_err(AccessError::Random)?,
            tries: Tries::default(),
            comparing: Arc::new(Semaphore::new(processors.div_ceil(2))),
            waiting: Semaphore::new(WAITING),
        })
    }

    pub(super) fn refresh(&self, when: When) -> Result<bool, AccessError> {
        let rules = self.rules.refresh(when);
        let passwords = self.passwords.as_ref().map_or(Ok(false), |passwords| passwords.refresh(when));
        Ok(rules? | passwords?)
    }

    /// Tells whether there is a desk to come to with a password.
    pub(super) fn has_desk(&self) -> bool {
        self.passwords.is_some()
    }

    /// Returns where the desk is, if there is one.
    pub(super) fn realm<'a>(&'a self, host: Option<&'a str>) -> Option<Realm<'a>> {
        self.passwords.as_ref()?;
        Some(match (&self.realm, host) {
            (Some(realm), _) => Realm::Url(realm),
            (None, Some(host)) => Realm::OfHost(host),
            (None, None) => Realm::Url("https://localhost/auth/token"),
        })
    }

    /// Says who sends a request. What the request itself says counts before the certificate of its connection.
    pub(super) async fn who(&self, peer: &Peer, proof: Proof<'_>) -> Result<Who, Doubt> {
        let account = match proof {
            Proof::None => None,
            Proof::Other => return Err(Doubt::Form),
            Proof::Basic(account) => Some(account),
            Proof::Bearer(token) => desk::read(token).map_err(|_| Doubt::Form)?,
        };
        match account {
            Some(account) => {
                self.check(peer.address.ip(), &account).await?;
                Ok(Who::User(account.name.into()))
            }
            None => Ok(peer.certificate.clone().map_or(Who::Anonymous, Who::Certificate)),
        }
    }

    /// Tells whether somebody may do what a request needs.
    pub(super) fn allow(&self, who: &Who, needed: &Needed) -> bool {
        match (needed, who) {
            // Clients ask for a password only where they are told so by the answer to their first request.
            (Needed::Ping, Who::Anonymous) => !self.has_desk(),
            _ => self.rules.get().allow(who, needed),
        }
    }

    /// Answers somebody who comes to the desk. Whoever could do nothing of what they come for learns it here, where clients
    /// repeat the reason; but nobody is sent away who comes to read, because notary would not come again with a password.
    pub(super) async fn at_the_desk(&self, peer: &Peer, proof: Proof<'_>, parameters: &str) -> Result<String, Refused> {
        let account = match proof {
            Proof::None => None,
            Proof::Basic(account) => Some(account),
            Proof::Other | Proof::Bearer(_) => return Err(Doubt::Form.into()),
        };
        let who = match &account {
            Some(account) => {
                self.check(peer.address.ip(), account).await?;
                Who::User(account.name.as_str().into())
            }
            None => peer.certificate.clone().map_or(Who::Anonymous, Who::Certificate),
        };
        for desk::Wish { gun, action } in desk::wishes(parameters) {
            if action == Action::Pull || self.allow(&who, &Needed::Collection(gun.clone(), action)) {
                continue;
            }
            return Err(match who.name() {
                None => Refused::Nameless,
                Some(name) => Refused::Denied { name: name.to_owned(), gun: gun.to_string() },
            });
        }
        Ok(desk::answer(account.as_ref()))
    }

    /// Checks a password: at once if it was right a moment ago.
    async fn check(&self, from: IpAddr, Account { name, password }: &Account) -> Result<(), Doubt> {
        let wrong = || Doubt::Wrong(name.chars().take(MAX_NAME).collect());
        let Some(passwords) = &self.passwords else { return Err(wrong()) };
        // None of these can be anybody's, whatever the name.
        if name.len() > MAX_NAME || password.len() > MAX_PASSWORD || password.contains('\0') {
            return Err(wrong());
        }
        let comparison = passwords.get().comparison(name);
        let mark = comparison.hash().map(|hash| self.remembered.mark(name, hash, password));
        let known = || mark.is_some_and(|mark| self.remembered.knows(mark));
        let may = || if self.tries.may(from, name) { Ok(()) } else { Err(Doubt::TooMany(name.clone())) };
        if known() {
            return Ok(());
        }
        may()?;
        let _waiting = self.waiting.try_acquire().map_err(|_| Doubt::Busy)?;
        let permit = tokio::time::timeout(PATIENCE, Arc::clone(&self.comparing).acquire_owned()).await;
        let Ok(Ok(permit)) = permit else { return Err(Doubt::Busy) };
        // Others with the same may have been there in the meantime, right or wrong.
        if known() {
            return Ok(());
        }
        may()?;
        let password = password.clone();
        let compare = move || {
            let _permit = permit;
            comparison.matches(&password)
        };
        if tokio::task::spawn_blocking(compare).await.unwrap_or(false) {
            if let Some(mark) = mark {
                self.remembered.remember(mark);
            }
            return Ok(());
        }
        self.tries.wrong(from, name);
        Err(wrong())
    }

    /// Seconds after which somebody with too many wrong passwords may come again.
    pub(super) fn pause() -> u32 {
        u32::try_from(tries::WINDOW.as_secs()).unwrap_or(u32::MAX)
    }
}
