//! Docker's signers: `targets/NAME` beside `targets/releases`, which has everybody's keys.

use crate::client::CollectionClient;
use crate::delegations::{PathEdit, delegation_changes};
use crate::error::TrustError;
use crate::publish::Published;
use crate::request_error::RequestError;
use crate::signing::{is_releasing, releases_role};
use countersign_crypto::{KeyId, PublicKey, Signer};
use countersign_tuf::update::{Purpose, UpdateError};
use countersign_tuf::{Change, Collection, DelegationEdit, RoleName};
use countersign_vault::KeyLabel;
use std::collections::BTreeSet;
use std::fmt;

/// A signer's name by docker's rule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SignerName(RoleName);

impl SignerName {
    /// Reads a name: small letters, digits, `-` and `_`, the first a letter or digit.
    ///
    /// # Errors
    /// The name breaks the rule, or is `releases`.
    pub fn parse(name: &str) -> Result<Self, RequestError> {
        let refuse = || RequestError::SignerName(name.to_owned());
        if name == "releases" {
            return Err(RequestError::Releases);
        }
        let simple = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
        let fits = name.bytes().all(|byte| simple(byte) || matches!(byte, b'-' | b'_'));
        if !fits || !name.bytes().next().is_some_and(simple) {
            return Err(refuse());
        }
        RoleName::parse(&format!("targets/{name}")).map(Self).map_err(|_| refuse())
    }

    /// Returns the signer's role, `targets/NAME`.
    #[must_use]
    pub fn role(&self) -> &RoleName {
        &self.0
    }

    /// Returns the name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        self.0.as_str().strip_prefix("targets/").unwrap_or_default()
    }
}

impl fmt::Display for SignerName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A signer of a collection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DockerSigner {
    /// The name: the role without `targets/`.
    pub name: String,
    /// The role.
    pub role: RoleName,
    /// The keys (canonical ids), ascending.
    pub keys: Vec<KeyId>,
}

/// Lists the signers by name.
#[must_use]
pub fn signers(collection: &Collection) -> Vec<DockerSigner> {
    let delegations = crate::delegations::delegations(collection).into_iter();
    let signers =
        delegations.filter(|found| found.role.parent() == Some(RoleName::Targets) && !is_releasing(&found.role));
    let signer = |found: crate::delegations::Delegation| {
        let name = found.role.as_str().strip_prefix("targets/").unwrap_or_default().to_owned();
        DockerSigner { name, role: found.role, keys: found.keys }
    };
    signers.map(signer).collect()
}

/// What adding a signer came to.
#[derive(Debug)]
pub struct SignerAdded {
    /// What was published, if anything had to be; a collection without base is new.
    pub published: Published,
}

/// What the removal of a signer does to the tags that are released.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Consequence {
    /// Others have signed what is released; it stays as it is.
    StaysReleased,
    /// Only the signer has signed what is released, and a remaining key is here that signs it anew.
    SignedAnew,
    /// Only the signer has signed what is released: nothing can be pulled until a remaining signer signs again.
    Unpullable,
    /// Nothing is released by signers, or it cannot be verified as it is.
    NothingReleased,
}

/// What the removal of a signer would do.
#[derive(Debug)]
pub struct SignerRemoval {
    /// The signer.
    pub signer: DockerSigner,
    /// What becomes of the released tags.
    pub consequence: Consequence,
    /// The released names that neither the repository key nor a remaining signer has signed, in order.
    pub released_alone: Vec<String>,
}

/// What became of a removal.
#[derive(Debug)]
pub struct SignerRemoved {
    /// What it did.
    pub consequence: Consequence,
    /// The collection as it is now.
    pub collection: Collection,
    /// The verified view on top of which it was published; none if the signer was gone already.
    pub base: Option<Box<Collection>>,
}

impl CollectionClient<'_> {
    /// Lists the signers.
    ///
    /// # Errors
    /// The collection cannot be verified.
    pub async fn signers(&self) -> Result<(Vec<DockerSigner>, Collection), TrustError> {
        let collection = self.update(Purpose::Read).await?;
        Ok((signers(&collection), collection))
    }

    /// Returns this machine's key for a signer, the one with the smallest id as docker does; makes one if there is none.
    ///
    /// # Errors
    /// The key cannot be opened or made.
    pub fn signer_key(&self, name: &SignerName) -> Result<PublicKey, TrustError> {
        let label = KeyLabel::new(name.as_str(), None).map_err(|error| TrustError::Making(error.to_string()))?;
        Ok(self.own_key(&label)?.public_key().clone())
    }

    /// Looks at the collection before something is published; none if the service does not know it.
    ///
    /// # Errors
    /// The collection cannot be verified.
    pub async fn published(&self) -> Result<Option<Collection>, TrustError> {
        match self.update(Purpose::Publish).await {
            Ok(collection) => Ok(Some(collection)),
            Err(TrustError::Update(UpdateError::NoTrustData(_))) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Adds a signer, or keys to one: the role `targets/NAME` and the keys to `targets/releases`, each for every tag. A
    /// collection that does not exist is made.
    ///
    /// # Errors
    /// Nothing was published, or it is not certain that it was.
    pub async fn add_signer(&self, name: &SignerName, keys: &[PublicKey]) -> Result<SignerAdded, TrustError> {
        if keys.is_empty() {
            return Err(RequestError::SignerWithoutKey.into());
        }
        let mut changes = delegation_changes(name.role(), keys, &PathEdit::All)?;
        changes.extend(delegation_changes(&releases_role(), keys, &PathEdit::All)?);
        Ok(SignerAdded { published: self.publish(&|_| Ok(changes.clone())).await? })
    }

    /// Says what the removal of a signer would do, for the question to the person.
    ///
    /// # Errors
    /// The collection cannot be verified, or there is no such signer.
    pub async fn signer_removal(&self, name: &SignerName) -> Result<SignerRemoval, TrustError> {
        let collection = self.update(Purpose::Publish).await?;
        Ok(self.plan_removal(&collection, name)?.0)
    }

    /// Removes a signer: the role goes, and from `targets/releases` those of its keys that no other signer has. If that
    /// takes the last valid signature from what is released, a remaining key that is here signs it anew.
    ///
    /// # Errors
    /// There is no such signer; nothing was published, or it is not certain that it was.
    pub async fn remove_signer(&self, name: &SignerName) -> Result<SignerRemoved, TrustError> {
        let consequence = std::cell::Cell::new(Consequence::NothingReleased);
        let published = self
            .publish(&|base| {
                let base = base.ok_or_else(|| UpdateError::NoTrustData(self.gun().clone()))?;
                let (removal, changes) = self.plan_removal(base, name)?;
                consequence.set(removal.consequence);
                Ok(changes)
            })
            .await?;
        let (collection, base) = match published {
            Published::Stored { collection, base, .. } => (*collection, base),
            Published::Unchanged(collection) => (*collection, None),
        };
        Ok(SignerRemoved { consequence: consequence.get(), collection, base })
    }

    fn plan_removal(&self, base: &Collection, name: &SignerName) -> Result<(SignerRemoval, Vec<Change>), TrustError> {
        let all = signers(base);
        let (of_name, others): (Vec<_>, Vec<_>) = all.into_iter().partition(|signer| signer.role == *name.role());
        let missing = || RequestError::NoSigner { gun: self.gun().clone(), name: name.to_string() };
        let signer = of_name.into_iter().next().ok_or_else(missing)?;
        let kept: BTreeSet<KeyId> = others.iter().flat_map(|other| other.keys.iter().copied()).collect();
        let going: Vec<KeyId> = signer.keys.iter().filter(|id| !kept.contains(id)).copied().collect();
        let role = releases_role();
        let mut changes = Vec::new();
        let mut consequence = Consequence::NothingReleased;
        let mut released_alone = Vec::new();
        let targets = base.targets(&RoleName::Targets);
        if let Some((targets, described)) = targets.and_then(|file| Some((file, file.delegations.get(&role)?))) {
            let canonical = |id: &KeyId| targets.delegations.keys.get(id).map(PublicKey::canonical_id);
            let left: Vec<KeyId> =
                described.keys.key_ids.iter().filter_map(canonical).filter(|id| !going.contains(id)).collect();
            if left.is_empty() {
                // Nobody could sign for releases any more: without it the repository key signs again.
                changes.push(Change::DeleteDelegation { role: role.clone() });
            } else if !going.is_empty() {
                let edit = DelegationEdit { remove_keys: going.clone(), ..DelegationEdit::default() };
                changes.push(Change::UpdateDelegation { role: role.clone(), edit });
            }
            if let Some(file) = base.targets(&role) {
                let by: BTreeSet<KeyId> = file.signers().filter_map(|id| canonical(&id)).collect();
                let remaining = by.iter().filter(|id| left.contains(id)).count() as u64;
                released_alone = vouched_by_nobody_else(base, &role, &signer.role);
                consequence = if remaining >= described.keys.threshold.max(1) {
                    Consequence::StaysReleased
                } else if self.has_any_key(&left)? {
                    changes.push(Change::Witness { role });
                    Consequence::SignedAnew
                } else {
                    Consequence::Unpullable
                };
            }
        }
        changes.push(Change::DeleteDelegation { role: name.role().clone() });
        Ok((SignerRemoval { signer, consequence, released_alone }, changes))
    }
}

/// Returns the names that a role lists and that no role but it and the given one has signed with the same content.
fn vouched_by_nobody_else(base: &Collection, role: &RoleName, signer: &RoleName) -> Vec<String> {
    let Some(file) = base.targets(role) else { return Vec::new() };
    let others: Vec<_> = base.all_targets().filter(|(other, _)| *other != role && *other != signer).collect();
    let alone = file.entries.iter().filter(|(name, meta)| {
        !others.iter().any(|(other, file)| {
            let may = base.effective_paths(other).is_some_and(|paths| paths.allow(name));
            may && file.entries.get(name).as_ref() == Some(meta)
        })
    });
    alone.map(|(name, _)| name.to_string()).collect()
}
