//! What can be saved of a collection: which keys are here, what the service holds, and until when that lasts.

use crate::client::CollectionClient;
use crate::delegations::delegations;
use crate::error::TrustError;
use crate::publish::{Published, Publishing};
use crate::readers::certificates_end;
use crate::rotation::canonical_ids;
use countersign_crypto::KeyId;
use countersign_tuf::metadata::{Root, Targets};
use countersign_tuf::update::{Purpose, UpdateError};
use countersign_tuf::{Change, Collection, Expires, RoleName, Unverified};
use jiff::Timestamp;
use std::collections::BTreeSet;

/// What there is of a collection.
#[derive(Debug)]
pub struct Assessment {
    /// What the service has.
    pub served: Served,
    /// Whether this machine knows a root of the collection.
    pub known: Known,
    /// The keys of each role and whether they are here; base roles first.
    pub roles: Vec<RoleKeys>,
    /// Until when what is there can be verified; none if there is nothing.
    pub until: Option<Until>,
    /// What is wrong.
    pub situation: Situation,
}

/// What the service has of a collection.
#[derive(Debug)]
pub enum Served {
    /// What this machine verifies.
    Current(Box<Collection>),
    /// What this machine would verify if it had not expired.
    Expired(Box<Collection>, UpdateError),
    /// Nothing.
    Nothing,
    /// Something that this machine refuses.
    Refused(UpdateError),
}

/// Whether a root is cached.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Known {
    /// One is.
    Here,
    /// None is.
    Nothing,
}

/// The keys of a role.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RoleKeys {
    /// The role.
    pub role: RoleName,
    /// How many of the keys have to sign.
    pub threshold: u64,
    /// The keys (canonical ids) whose private halves are here.
    pub here: Vec<KeyId>,
    /// The others.
    pub elsewhere: Vec<KeyId>,
    /// Whether the trust service has one of the others.
    pub at_service: AtService,
}

/// Whether the trust service holds a role's key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AtService {
    /// It does.
    Yes,
    /// It does not.
    No,
}

/// When the parts of a collection expire that no service renews.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Until {
    /// The root.
    pub root: Timestamp,
    /// The last root certificate.
    pub certificate: Option<Timestamp>,
    /// The repository's own file.
    pub targets: Option<Timestamp>,
    /// Whether the root or its certificates have expired by now.
    pub root_age: Age,
}

/// Whether a root counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Age {
    /// It does.
    Good,
    /// It does not any more.
    Expired,
}

/// What is wrong, and therefore what can be done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Situation {
    /// Every key that is needed is where it has to be.
    Complete,
    /// The root or its certificate has expired, and the root key is here.
    RootExpired,
    /// This role's file has expired, and its key is here.
    FileExpired(RoleName),
    /// The trust service serves a state that has expired, and nobody but its operator can renew it.
    Stale,
    /// The root key is here; these roles' keys are lost.
    RepositoryKeysLost(Vec<RoleName>),
    /// The root key is not here, all else is: publishing goes on until the root expires.
    RootKeyLost,
    /// Neither root nor repository key is here, but keys of these signers, who go on until something expires.
    SignersOnly(Vec<RoleName>),
    /// Nothing can be published from here any more.
    Lost,
    /// The service has nothing, although this machine knows the collection.
    Vanished,
    /// There is no such collection.
    Nowhere,
    /// The service has something that this machine refuses.
    Refused,
}

impl Assessment {
    /// Returns the view that is the last one this machine can vouch for.
    #[must_use]
    pub fn view(&self) -> Option<&Collection> {
        match &self.served {
            Served::Current(collection) | Served::Expired(collection, _) => Some(collection),
            Served::Nothing | Served::Refused(_) => None,
        }
    }
}

impl RoleKeys {
    fn can_sign(&self) -> bool {
        self.here.len() as u64 >= self.threshold.max(1) || self.at_service == AtService::Yes
    }
}

impl CollectionClient<'_> {
    /// Signs targets anew as it is, because it or the snapshot has expired; what lists it is renewed along with it.
    ///
    /// # Errors
    /// Nothing was published, or it is not certain that it was.
    pub async fn renew_expired(&self) -> Result<Collection, TrustError> {
        let changes = |_: Option<&Collection>| Ok(vec![Change::Witness { role: RoleName::Targets }]);
        let how = Publishing { purpose: Purpose::Renew, ..Publishing::of(&changes) };
        match self.publish_as(&how).await?.0 {
            Published::Stored { collection, .. } | Published::Unchanged(collection) => Ok(*collection),
        }
    }

    /// Looks at what there is of the collection, here and at the service. Nothing is changed.
    ///
    /// # Errors
    /// The service is away, or the trust directory cannot be read.
    pub async fn assess(&self) -> Result<Assessment, TrustError> {
        let served = self.served().await?;
        let known = if self.local.read(&RoleName::Root)?.is_some() { Known::Here } else { Known::Nothing };
        let (mut roles, mut until) = (Vec::new(), None);
        match &served {
            Served::Current(collection) | Served::Expired(collection, _) => {
                roles = self.role_keys(collection).await?;
                let root = collection.root();
                let expired =
                    root.expires.is_before(self.now) || certificates_end(root).is_some_and(|end| end < self.now);
                until = Some(Until {
                    root: instant(&root.expires),
                    certificate: certificates_end(root),
                    targets: collection.targets(&RoleName::Targets).map(|file| instant(&file.expires)),
                    root_age: if expired { Age::Expired } else { Age::Good },
                });
            }
            Served::Nothing | Served::Refused(_) => roles.extend(self.cached_keys()?),
        }
        let situation = situation(&served, known, &roles, until.as_ref());
        Ok(Assessment { served, known, roles, until, situation })
    }

    async fn served(&self) -> Result<Served, TrustError> {
        let aged = match self.update(Purpose::Publish).await {
            Ok(collection) => return Ok(Served::Current(Box::new(collection))),
            Err(TrustError::Update(UpdateError::NoTrustData(_))) => return Ok(Served::Nothing),
            Err(error @ TrustError::Update(UpdateError::Away { .. })) => return Err(error),
            Err(TrustError::Update(error)) => error,
            Err(other) => return Err(other),
        };
        if aged.expired().is_none() {
            return Ok(Served::Refused(aged));
        }
        match self.update(Purpose::Renew).await {
            Ok(collection) => Ok(Served::Expired(Box::new(collection), aged)),
            Err(_) => Ok(Served::Refused(aged)),
        }
    }

    async fn role_keys(&self, collection: &Collection) -> Result<Vec<RoleKeys>, TrustError> {
        let mut found = Vec::new();
        for role in RoleName::BASE {
            let ids: Vec<KeyId> = canonical_ids(collection, &role).into_iter().collect();
            let threshold = collection.root().trusted(&role).map_or(1, |keys| keys.threshold);
            let mut keys = self.sorted(role.clone(), threshold, &ids)?;
            if keys.here.is_empty() && matches!(role, RoleName::Snapshot | RoleName::Timestamp) {
                // A service that cannot be asked has not lost the key.
                if ids.contains(&self.service.key(&role).await?.canonical_id()) {
                    keys.at_service = AtService::Yes;
                }
            }
            found.push(keys);
        }
        for role in delegations(collection) {
            found.push(self.sorted(role.role, role.threshold, &role.keys)?);
        }
        Ok(found)
    }

    /// The keys that the cached files name; nothing of that is verified, and it is only told.
    fn cached_keys(&self) -> Result<Vec<RoleKeys>, TrustError> {
        let mut found = Vec::new();
        let root = self.local.read(&RoleName::Root)?;
        let root = root.and_then(|file| Unverified::<Root>::read(&RoleName::Root, file.into()).ok());
        if let Some(root) = root.map(Unverified::into_untrusted) {
            for role in RoleName::BASE {
                let Some(trusted) = root.trusted(&role) else { continue };
                let ids = trusted.key_ids.iter().filter_map(|id| root.keys.get(id));
                let ids: Vec<KeyId> = ids.map(countersign_crypto::PublicKey::canonical_id).collect();
                found.push(self.sorted(role, trusted.threshold, &ids)?);
            }
        }
        let targets = self.local.read(&RoleName::Targets)?;
        let targets = targets.and_then(|file| Unverified::<Targets>::read(&RoleName::Targets, file.into()).ok());
        for (role, file) in targets.iter().flat_map(|file| {
            let file = file.untrusted();
            file.delegations.iter().map(move |role| (role, file))
        }) {
            let ids = role.keys.key_ids.iter().filter_map(|id| file.delegations.keys.get(id));
            let ids: Vec<KeyId> = ids.map(countersign_crypto::PublicKey::canonical_id).collect();
            found.push(self.sorted(role.name.clone(), role.keys.threshold, &ids)?);
        }
        Ok(found)
    }

    fn sorted(&self, role: RoleName, threshold: u64, ids: &[KeyId]) -> Result<RoleKeys, TrustError> {
        let ids: BTreeSet<KeyId> = ids.iter().copied().collect();
        let (mut here, mut elsewhere) = (Vec::new(), Vec::new());
        for id in ids {
            if self.keys.find(&id)?.is_some() { &mut here } else { &mut elsewhere }.push(id);
        }
        Ok(RoleKeys { role, threshold, here, elsewhere, at_service: AtService::No })
    }
}

/// Returns the instant of an expiry time; one that lies beyond all instants is as good as the last.
pub(crate) fn instant(expires: &Expires) -> Timestamp {
    Timestamp::from_second(expires.unix_seconds()).unwrap_or(Timestamp::MAX)
}

fn situation(served: &Served, known: Known, roles: &[RoleKeys], until: Option<&Until>) -> Situation {
    let can = |role: &RoleName| roles.iter().any(|keys| keys.role == *role && keys.can_sign());
    let here = |role: &RoleName| roles.iter().any(|keys| keys.role == *role && !keys.here.is_empty());
    let aged = match served {
        Served::Nothing if known == Known::Here => return Situation::Vanished,
        Served::Nothing => return Situation::Nowhere,
        Served::Refused(error) if error.expired().is_some() => return Situation::Stale,
        Served::Refused(_) => return Situation::Refused,
        Served::Current(_) => None,
        Served::Expired(_, error) => error.expired(),
    };
    let expired = until.is_some_and(|until| until.root_age == Age::Expired);
    if can(&RoleName::Root) {
        let lost = [RoleName::Targets, RoleName::Snapshot, RoleName::Timestamp];
        let lost: Vec<RoleName> = lost.into_iter().filter(|role| !can(role)).collect();
        if !lost.is_empty() {
            return Situation::RepositoryKeysLost(lost);
        }
    }
    match aged {
        Some(RoleName::Root) if can(&RoleName::Root) => return Situation::RootExpired,
        Some(RoleName::Snapshot) if !here(&RoleName::Snapshot) && can(&RoleName::Snapshot) => return Situation::Stale,
        Some(role @ (RoleName::Targets | RoleName::Snapshot)) if can(&role) && can(&RoleName::Targets) => {
            return Situation::FileExpired(role);
        }
        Some(_) => return Situation::Lost,
        None if can(&RoleName::Root) => return Situation::Complete,
        None => {}
    }
    let signers = roles.iter().filter(|keys| matches!(keys.role, RoleName::Delegation(_)) && keys.can_sign());
    let signers: Vec<RoleName> = signers.map(|keys| keys.role.clone()).collect();
    match (expired || !can(&RoleName::Snapshot), can(&RoleName::Targets), signers.is_empty()) {
        (true, _, _) | (false, false, true) => Situation::Lost,
        (false, true, _) => Situation::RootKeyLost,
        (false, false, false) => Situation::SignersOnly(signers),
    }
}
