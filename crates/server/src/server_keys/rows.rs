//! Which keys there are: rows in a store, or what the signer says when the server remembers nothing, as the reference's.

use std::sync::Arc;
use std::time::Duration;

use countersign_crypto::{KeyId, KeyType, PublicKey};
use countersign_signer_rpc::{CallError, Ownership};
use countersign_storage::{
    EncryptedKey, KeyStore, MetadataStore, NewServiceKey, PendingLimits, ServiceKey, ServiceRole,
};
use countersign_tuf::{Gun, RoleName};
use jiff::Timestamp;
use moka::sync::Cache;

use super::{AT_KEYSERVER, KeyTrouble, Remote};
use crate::keys::key_ids;

/// Keys that were given out and are not in any root yet; so many are remembered.
const GIVEN_OUT: u64 = 100_000;
/// For so long they are remembered.
const REMEMBERED: Duration = Duration::from_hours(24);

/// Where it is known which keys there are.
#[derive(Clone)]
pub(crate) enum Rows {
    /// In a store.
    Store(Arc<dyn KeyStore>),
    /// At the signer alone.
    Signer(SignersRows),
}

/// Asks the signer by a key's id, and the collection's root what the key is for.
///
/// The reference's signer does not say which collection a key is for. So that nobody has the key of another collection sign
/// his own files, a key counts as a collection's when the signer has compared that (ours does), when the stored root lists it,
/// when it was given out by this process for this collection, or when it is the one that waits for its first use there.
#[derive(Clone)]
pub(crate) struct SignersRows {
    metadata: Arc<dyn MetadataStore>,
    given_out: Cache<(Gun, KeyId), NewServiceKey>,
}

impl Rows {
    pub(crate) fn of_signer(metadata: Arc<dyn MetadataStore>) -> Self {
        let given_out = Cache::builder().max_capacity(GIVEN_OUT).time_to_live(REMEMBERED).build();
        Self::Signer(SignersRows { metadata, given_out })
    }

    pub(super) async fn any_key(&self) -> Result<Option<ServiceKey>, KeyTrouble> {
        match self {
            Self::Store(store) => Ok(store.any_key().await?),
            Self::Signer(_) => Ok(None),
        }
    }

    pub(super) async fn service_key(
        &self,
        remote: Option<&Remote>,
        gun: &Gun,
        id: &KeyId,
    ) -> Result<Option<ServiceKey>, KeyTrouble> {
        match self {
            Self::Store(store) => Ok(store.service_key(gun, id).await?),
            Self::Signer(rows) => {
                let remote = remote.ok_or(KeyTrouble::Elsewhere { id: *id })?;
                let found = rows.find(remote, gun, id).await?;
                Ok(found.map(|key| ServiceKey { key, created_at: Timestamp::UNIX_EPOCH, last_used: None }))
            }
        }
    }

    /// The signer itself hands the waiting key out, when it is asked for a new one.
    pub(super) async fn pending_key(
        &self,
        gun: &Gun,
        role: ServiceRole,
        algorithm: &KeyType,
    ) -> Result<Option<ServiceKey>, KeyTrouble> {
        match self {
            Self::Store(store) => Ok(store.pending_key(gun, role, algorithm).await?),
            Self::Signer(_) => Ok(None),
        }
    }

    pub(super) async fn insert_pending(
        &self,
        made: NewServiceKey,
        limits: PendingLimits,
        now: Timestamp,
    ) -> Result<ServiceKey, KeyTrouble> {
        match self {
            Self::Store(store) => Ok(store.insert_pending(made, limits, now).await?),
            Self::Signer(rows) => {
                rows.given_out.insert((made.gun.clone(), made.id), made.clone());
                Ok(ServiceKey { key: made, created_at: now, last_used: None })
            }
        }
    }

    pub(super) async fn mark_used(&self, gun: &Gun, id: &KeyId, now: Timestamp) -> Result<(), KeyTrouble> {
        match self {
            Self::Store(store) => Ok(store.mark_used(gun, id, now).await?),
            // The signer has done it.
            Self::Signer(_) => Ok(()),
        }
    }
}

impl SignersRows {
    async fn find(&self, remote: &Remote, gun: &Gun, id: &KeyId) -> Result<Option<NewServiceKey>, KeyTrouble> {
        let place = (gun.clone(), *id);
        let listed = self.listed(gun, id).await?;
        if listed.is_some() {
            // From now on the root speaks for it, and when the collection is deleted nothing does.
            self.given_out.invalidate(&place);
        } else if let Some(found) = self.given_out.get(&place) {
            return Ok(Some(found));
        }
        let (public, role, ownership) = match remote.key_of(id, gun).await {
            Ok(found) => found,
            Err(CallError::NoKey(_)) => return Ok(None),
            Err(error) => return Err(error.into()),
        };
        let role = match role.as_str() {
            "snapshot" => ServiceRole::Snapshot,
            "timestamp" => ServiceRole::Timestamp,
            _ => return Ok(None),
        };
        let key = row(gun, role, &public);
        let is_its_own = match (listed, ownership) {
            (Some(listed), _) => listed == role,
            (None, Ownership::Checked) => true,
            (None, Ownership::Unknown) => {
                let waiting = remote.create(public.key_type(), gun, role).await?;
                waiting.canonical_id() == *id
            }
        };
        if !is_its_own {
            // It is not left to others to sign in its place: in a root that is stored it would count as the collection's.
            return if listed.is_some() { Ok(None) } else { Err(KeyTrouble::AnotherCollections { id: *id }) };
        }
        if listed.is_none() {
            self.given_out.insert(place, key.clone());
        }
        Ok(Some(key))
    }

    /// Tells for which role the collection's stored root lists a key.
    async fn listed(&self, gun: &Gun, id: &KeyId) -> Result<Option<ServiceRole>, KeyTrouble> {
        let Some(root) = self.metadata.current(gun, &RoleName::Root).await? else { return Ok(None) };
        let roles = [ServiceRole::Timestamp, ServiceRole::Snapshot];
        Ok(roles.into_iter().find(|role| key_ids(&root.bytes, *role).contains(id)))
    }
}

/// Writes the row of a key whose private part is at the signer.
fn row(gun: &Gun, role: ServiceRole, public: &PublicKey) -> NewServiceKey {
    NewServiceKey {
        id: public.canonical_id(),
        gun: gun.clone(),
        role,
        algorithm: public.key_type().clone(),
        public: public.bytes().to_vec(),
        private: EncryptedKey::new(AT_KEYSERVER),
    }
}
