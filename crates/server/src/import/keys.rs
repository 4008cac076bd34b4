//! The signer's keys: opened with the passphrase of their alias, checked, and encrypted under the new service's secret. Where the
//! new service has a keyserver, they stay where they are, and only what they are for is noted.

use countersign_crypto::{KeyId, SystemRandom};
use countersign_keyfile::jwe;
use countersign_storage::{
    Alias, EncryptedKey, FoundKey, NewServiceKey, PendingLimits, ServiceRole, SigningKey, SigningKeyStore,
};
use countersign_tuf::metadata::Root;
use countersign_tuf::{Gun, RoleName, Unverified};
use futures_util::StreamExt;
use jiff::{SignedDuration, Timestamp};
use zeroize::Zeroizing;

use super::{Done, ImportError, Importer, Outcome, SERVED, damaged, of_server, of_signer, unkept};
use crate::data_dir::Secret;
use crate::server_keys::AT_KEYSERVER;

/// Which keys have their turn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Turn {
    HaveSigned,
    Wait,
}

/// Keys that wait are taken over without a limit.
const UNLIMITED: PendingLimits = PendingLimits { count: u64::MAX, keep: SignedDuration::MAX };

/// A key before it is stored.
enum Prepared {
    Key(Box<NewServiceKey>, About),
    /// It is there, or has its turn another time.
    Nothing,
    Broken {
        gun: String,
        problem: String,
    },
}

/// What is known of a key.
struct About {
    gun: Gun,
    role: ServiceRole,
    id: KeyId,
    created: Timestamp,
    used: Option<Timestamp>,
}

impl Importer {
    /// Tries every alias on a few of its keys: a missing passphrase is told before anything is done.
    pub(super) async fn try_passphrases(&self) -> Result<(), ImportError> {
        if self.secret.is_none() {
            return Ok(());
        }
        let found = self.signer.some_of_each_alias().await.map_err(of_signer)?;
        for of_alias in found.chunk_by(|one, next| one.stored.alias == next.stored.alias) {
            let Some(alias) = of_alias.first().map(|key| key.stored.alias.clone()) else { continue };
            let mut opened = Err("its passphrase is not known".to_owned());
            if let Some(passphrase) = self.passphrase(&alias) {
                // One that opens shows that the passphrase is right; a row that is damaged is told when it has its turn.
                for key in of_alias {
                    opened = open(key, &passphrase).map(drop);
                    if opened.is_ok() {
                        break;
                    }
                }
            }
            opened.map_err(|reason| ImportError::Passphrase { alias, reason })?;
        }
        Ok(())
    }

    fn passphrase(&self, alias: &Alias) -> Option<Zeroizing<String>> {
        (self.passphrases)(alias)
    }

    /// Takes a page of keys. Several are opened at once, which takes its time; they are stored one after another, because until a
    /// key is marked as used it stands in the place of the one that waits.
    pub(super) async fn take_page(
        &self,
        page: Vec<FoundKey>,
        turn: Turn,
        tell: &mut (dyn FnMut(Outcome) + Send),
    ) -> Result<u64, ImportError> {
        let several = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        let mut opened = futures_util::stream::iter(page).map(|found| self.prepare(found, turn)).buffered(several);
        let mut taken = 0;
        while let Some(opened) = opened.next().await {
            let (gun, problem) = match opened? {
                Prepared::Nothing => continue,
                Prepared::Broken { gun, problem } => (gun, problem),
                Prepared::Key(new, key) => match self.keep(*new, &key).await? {
                    None => {
                        taken += 1;
                        continue;
                    }
                    Some(problem) => (key.gun.to_string(), problem),
                },
            };
            tell(Outcome { problems: vec![problem], ..Outcome::new(&gun, Done::KeyLeftOut) });
        }
        Ok(taken)
    }

    /// Opens a key that the new service lacks and encrypts it anew.
    async fn prepare(&self, found: FoundKey, turn: Turn) -> Result<Prepared, ImportError> {
        let key = match found.key {
            Ok(key) => key,
            Err(_) if turn == Turn::Wait => return Ok(Prepared::Nothing),
            Err(error) => {
                let problem = format!("the key {} cannot be read: {}", found.id, damaged(error, of_signer)?);
                return Ok(Prepared::Broken { gun: String::new(), problem });
            }
        };
        if key.last_used.is_some() != (turn == Turn::HaveSigned) {
            return Ok(Prepared::Nothing);
        }
        let about = About {
            gun: key.stored.key.gun.clone(),
            role: key.stored.key.role,
            id: key.stored.key.id,
            created: key.created_at,
            used: key.last_used,
        };
        if let Some(here) = self.keys.service_key(&about.gun, &about.id).await? {
            if let (Some(used), None) = (about.used, here.last_used) {
                self.keys.mark_used(&about.gun, &about.id, used).await?;
            }
            return Ok(Prepared::Nothing);
        }
        let new = match &self.secret {
            None => Ok(NewServiceKey { private: EncryptedKey::new(AT_KEYSERVER), ..key.stored.key }),
            Some(secret) => self.sealed_anew(key, secret).await,
        };
        Ok(match new {
            Ok(new) => Prepared::Key(Box::new(new), about),
            Err(reason) => Prepared::Broken {
                gun: about.gun.to_string(),
                problem: format!("the {} key {} was left out: {reason}", about.role, about.id),
            },
        })
    }

    /// Stores a key; returns why it cannot be.
    async fn keep(&self, new: NewServiceKey, about: &About) -> Result<Option<String>, ImportError> {
        let Some(mut kept) = self.insert(new.clone(), about).await? else { return Ok(None) };
        // What waits here may have signed at the old service since: then it makes room.
        if kept != about.id
            && about.used.is_some()
            && let Some(used) = self.used_since(&kept, &about.gun).await?
        {
            self.keys.mark_used(&about.gun, &kept, used).await?;
            let Some(now) = self.insert(new, about).await? else { return Ok(None) };
            kept = now;
        }
        match about.used {
            Some(used) if kept == about.id => {
                self.keys.mark_used(&about.gun, &about.id, used).await?;
                Ok(None)
            }
            Some(_) => {
                Ok(Some(format!("the {} key {} was left out: {kept} waits here in its place", about.role, about.id)))
            }
            // Of keys that wait, one is enough.
            None => Ok(None),
        }
    }

    /// Returns the key that waits here afterwards: this one, or the one that was there; none when this one is out of use.
    async fn insert(&self, new: NewServiceKey, about: &About) -> Result<Option<KeyId>, ImportError> {
        match self.keys.insert_pending(new, UNLIMITED, about.created).await {
            Ok(kept) => Ok(Some(kept.key.id)),
            Err(error) => {
                tracing::info!("{}", unkept(error, &about.id)?);
                Ok(None)
            }
        }
    }

    /// Returns when a key of the collection has last signed at the old service.
    async fn used_since(&self, id: &KeyId, gun: &Gun) -> Result<Option<Timestamp>, ImportError> {
        match self.signer.signing_key(id).await {
            Ok(found) => Ok(found.filter(|found| found.stored.key.gun == *gun).and_then(|found| found.last_used)),
            Err(error) => damaged(error, of_signer).map(|_| None),
        }
    }

    async fn sealed_anew(&self, key: SigningKey, secret: &Secret) -> Result<NewServiceKey, String> {
        let missing = || format!("the passphrase of the alias {} is not known", key.stored.alias.as_str());
        let passphrase = self.passphrase(&key.stored.alias).ok_or_else(missing)?;
        let secret = secret.clone();
        let sealed = tokio::task::spawn_blocking(move || {
            let private = open(&key, &passphrase)?;
            let private = jwe::seal_key(&private, secret.as_bytes(), &mut SystemRandom);
            let private = EncryptedKey::new(private.map_err(|error| error.to_string())?);
            Ok::<_, String>(NewServiceKey { private, ..key.stored.key })
        });
        sealed.await.map_err(|error| error.to_string())?
    }

    /// Takes the keys that the present root of a collection names.
    pub(super) async fn take_keys_of(
        &self,
        gun: &Gun,
        tell: &mut (dyn FnMut(Outcome) + Send),
    ) -> Result<(), ImportError> {
        for id in self.named_keys(gun).await?.into_iter().map(|(_, id)| id) {
            let found = match self.signer.signing_key(&id).await {
                Ok(None) => continue,
                Ok(Some(key)) => FoundKey { id: id.to_string(), key: Ok(key) },
                Err(error) => FoundKey { id: id.to_string(), key: Err(error) },
            };
            let turn = match &found.key {
                Ok(SigningKey { last_used: None, .. }) => Turn::Wait,
                _ => Turn::HaveSigned,
            };
            self.take_page(vec![found], turn, &mut *tell).await?;
            if self.keys.service_key(gun, &id).await?.is_none() {
                // It came before the deletion of the collection that this is the next of was heard of, and was retired by it.
                self.keys.bring_back(gun, &id).await?;
            }
        }
        Ok(())
    }

    /// Returns the timestamp and snapshot keys that the present root of a collection names at the old service.
    async fn named_keys(&self, gun: &Gun) -> Result<Vec<(RoleName, KeyId)>, ImportError> {
        use countersign_storage::MetadataStore;
        let file = match self.server.current(gun, &RoleName::Root).await {
            Ok(file) => file,
            Err(error) => return damaged(error, of_server).map(|_| Vec::new()),
        };
        let read = file.and_then(|file| Unverified::<Root>::read(&RoleName::Root, file.bytes).ok());
        let Some(root) = read.map(Unverified::into_untrusted) else { return Ok(Vec::new()) };
        let keys = SERVED.iter().filter_map(|(role, _)| root.keys_of(role));
        Ok(keys
            .flat_map(|keys| keys.iter().map(|(_, key)| (keys.role().clone(), key.canonical_id())).collect::<Vec<_>>())
            .collect())
    }

    /// Tells which of the keys that a root names are missing here; a snapshot key may be its publisher's.
    pub(super) async fn missing_keys(
        &self,
        gun: &Gun,
        root: &Root,
    ) -> Result<Vec<(RoleName, ServiceRole)>, ImportError> {
        let mut missing = Vec::new();
        for (role, served) in SERVED {
            let Some(keys) = root.keys_of(&role) else { continue };
            let mut here = false;
            for (_, key) in keys.iter() {
                let found = self.keys.service_key(gun, &key.canonical_id()).await?;
                here |= found.is_some_and(|found| found.key.role == served);
            }
            if !here {
                missing.push((role, served));
            }
        }
        Ok(missing)
    }
}

/// Opens a key of the signer; it has to be the one that its row says.
fn open(key: &SigningKey, passphrase: &str) -> Result<countersign_crypto::PrivateKey, String> {
    let stored = &key.stored.key;
    let private = jwe::open_key(stored.private.as_str(), &stored.algorithm, passphrase.as_bytes())
        .map_err(|error| error.to_string())?;
    if private.public_key().canonical_id() != stored.id || private.public_key().bytes() != stored.public {
        return Err("the private key belongs to another public key".to_owned());
    }
    Ok(private)
}
