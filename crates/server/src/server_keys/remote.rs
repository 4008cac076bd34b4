//! A signing service that holds the keys in place of this one.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use countersign_crypto::{KeyId, KeyType, PublicKey};
use countersign_signer_rpc::{CallError, Ownership, SignerClient, TlsError};
use countersign_storage::ServiceRole;
use countersign_telemetry::traced;
use countersign_tuf::Gun;
use jiff::Timestamp;

use super::calls::{Call, Calls};
use crate::config::KeyserverConfig;

/// Time for which it is not asked after it was found to be away: many may want something of it at once, and each would wait.
const AWAY: Duration = Duration::from_millis(500);
/// Time for which what it says about its health holds, however many ask.
const HEALTH: Duration = Duration::from_secs(2);

/// The signing service.
#[derive(Debug)]
pub(crate) struct Remote {
    client: SignerClient,
    away: Mutex<Option<Instant>>,
    health: tokio::sync::Mutex<Option<(Instant, Health)>>,
    calls: Calls,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Health {
    Good,
    Bad,
}

impl Remote {
    pub(crate) fn new(config: &KeyserverConfig) -> Result<Self, TlsError> {
        Ok(Self {
            client: SignerClient::new(config)?,
            away: Mutex::default(),
            health: tokio::sync::Mutex::default(),
            calls: Calls::default(),
        })
    }

    /// When the certificate ends that is shown to the keyserver.
    pub(crate) fn certificate_until(&self) -> Timestamp {
        self.client.certificate_until()
    }

    pub(crate) async fn create(
        &self,
        algorithm: &KeyType,
        gun: &Gun,
        role: ServiceRole,
    ) -> Result<PublicKey, CallError> {
        self.not_away()?;
        let call = traced("signer.create", self.client.create_key(algorithm, gun, role.as_str()));
        self.seen(self.calls.count(Call::Create, call).await)
    }

    pub(crate) async fn key_of(&self, id: &KeyId, gun: &Gun) -> Result<(PublicKey, String, Ownership), CallError> {
        self.not_away()?;
        let call = traced("signer.describe", self.client.key_of(id, gun));
        self.seen(self.calls.count(Call::Describe, call).await)
    }

    pub(crate) async fn sign(&self, key: &PublicKey, gun: &Gun, message: &[u8]) -> Result<Vec<u8>, CallError> {
        self.not_away()?;
        let call = traced("signer.sign", self.client.sign(key, gun, message));
        self.seen(self.calls.count(Call::Sign, call).await.map(|(_, signature)| signature))
    }

    pub(crate) async fn is_healthy(&self) -> bool {
        let mut known = self.health.lock().await;
        let health = match *known {
            Some((at, health)) if at.elapsed() < HEALTH => health,
            _ => match self.calls.count(Call::Health, self.client.health()).await {
                Ok(()) => Health::Good,
                Err(error) => {
                    tracing::error!(%error, source = ?std::error::Error::source(&error), "the keyserver is not healthy");
                    Health::Bad
                }
            },
        };
        if known.is_none_or(|(at, _)| at.elapsed() >= HEALTH) {
            *known = Some((Instant::now(), health));
        }
        health == Health::Good
    }

    /// Returns how its calls went.
    pub(crate) fn calls(&self) -> &Calls {
        &self.calls
    }

    fn not_away(&self) -> Result<(), CallError> {
        if self.lock().is_some_and(|at| at.elapsed() < AWAY) {
            let source = "it was found to be away a moment ago".into();
            return Err(CallError::Away { service: self.client.service().into(), source });
        }
        Ok(())
    }

    fn seen<T>(&self, result: Result<T, CallError>) -> Result<T, CallError> {
        let away = result.as_ref().is_err_and(CallError::is_unreachable);
        *self.lock() = away.then(Instant::now);
        result
    }

    fn lock(&self) -> MutexGuard<'_, Option<Instant>> {
        self.away.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
