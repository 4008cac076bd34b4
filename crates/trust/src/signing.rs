//! Signing tags and finding signed ones, by docker's convention.

use crate::client::{Absent, CollectionClient};
use crate::error::TrustError;
use crate::publish::{Published, Publishing};
use crate::recovery::{GivenUp, Recovery};
use countersign_crypto::KeyId;
use countersign_crypto::digest::Sha256Digest;
use countersign_tuf::metadata::FileMeta;
use countersign_tuf::update::{Purpose, UpdateError};
use countersign_tuf::{Change, Collection, LookupError, Note, RoleName};

/// Returns the roles that release a tag, in the order in which they are asked: `targets/releases`, then `targets`.
#[must_use]
pub fn releases() -> Vec<RoleName> {
    vec![releases_role(), RoleName::Targets]
}

/// Returns the role `targets/releases`.
pub(crate) fn releases_role() -> RoleName {
    RoleName::parse("targets/releases").unwrap_or(RoleName::Targets)
}

/// A tag as it is released: what it stands for and who answers for it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReleasedTag {
    /// The tag.
    pub name: String,
    /// The digest of the image's manifest or index.
    pub sha256: Sha256Digest,
    /// Its size in bytes.
    pub length: u64,
    /// The role that released it.
    pub role: RoleName,
    /// The keys (TUF ids) that signed the role's file.
    pub key_ids: Vec<KeyId>,
    /// Who says that this is the present state.
    pub source: Source,
}

/// Who says what the present state of a collection is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Source {
    /// The trust service, just now.
    Service,
    /// This machine's cache, whose timestamp has not expired: the service is away.
    Cache,
}

impl Source {
    /// Tells where a verified view comes from.
    #[must_use]
    pub fn of(collection: &Collection) -> Self {
        let cached = collection.notes().iter().any(|note| matches!(note, Note::CachedTimestamp(_)));
        if cached { Self::Cache } else { Self::Service }
    }
}

impl ReleasedTag {
    /// Looks a tag up in a verified view.
    ///
    /// A tag that only another delegation has signed is not released.
    ///
    /// # Errors
    /// The tag is not released, or the role that would be asked first cannot be verified.
    pub fn find(collection: &Collection, name: &str) -> Result<Self, TrustError> {
        let found = released(collection, name)?;
        let sha256 = found.1.sha256.ok_or_else(|| TrustError::NoDigest { name: name.to_owned() })?;
        let key_ids = collection.targets(&found.0).map(|file| file.signers().collect()).unwrap_or_default();
        let source = Source::of(collection);
        Ok(Self { name: name.to_owned(), sha256, length: found.1.length, role: found.0, key_ids, source })
    }
}

/// Tells whether what a role says of a tag counts for those who pull: `targets/releases` and `targets`, nobody else.
///
/// Neither a role below `targets/releases` nor one whose name merely begins so releases anything (docker's convention), nor
/// does it hide what `targets` releases.
#[must_use]
pub fn is_releasing(role: &RoleName) -> bool {
    releases().contains(role)
}

/// Makes sure that every role that releases a tag, or with none any tag, can be verified. What the next role says is no
/// answer where one before it may say something else: an older digest of `targets` for example.
///
/// # Errors
/// [`LookupError::Broken`] for the first one that cannot be verified.
pub fn check_releasing(collection: &Collection, name: Option<&str>) -> Result<(), LookupError> {
    for role in releases() {
        let speaks = |name| collection.effective_paths(&role).is_some_and(|paths| paths.allow(name));
        if let Some(broken) = collection.broken().get(&role).filter(|_| name.is_none_or(speaks)) {
            let name = name.unwrap_or_else(|| collection.gun().as_str()).to_owned();
            return Err(LookupError::Broken { name, role, reason: broken.reason.clone() });
        }
    }
    Ok(())
}

/// Asks the releasing roles in turn.
fn released(collection: &Collection, name: &str) -> Result<(RoleName, FileMeta), TrustError> {
    check_releasing(collection, Some(name))?;
    for role in releases() {
        let speaks = collection.effective_paths(&role).is_some_and(|paths| paths.allow(name));
        let file = collection.targets(&role).filter(|_| speaks);
        if let Some(meta) = file.and_then(|file| file.entries.get(name)) {
            return Ok((role, meta));
        }
    }
    Err(LookupError::NotFound(name.to_owned()).into())
}

/// A tag to be signed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SignRequest {
    /// The tag.
    pub name: String,
    /// The digest of the image's manifest or index as the registry holds it.
    pub sha256: Sha256Digest,
    /// Its size in bytes.
    pub length: u64,
}

/// What became of signing.
#[derive(Debug)]
pub struct Signed {
    /// The tags as they are released now.
    pub tags: Vec<ReleasedTag>,
    /// Whether anything was signed: not if all tags had these digests already.
    pub news: News,
    /// The verified view on top of which it was signed; none if the collection is new or nothing was signed.
    pub base: Option<Box<Collection>>,
    /// The verified view that proves it.
    pub collection: Collection,
    /// Names that are released no more because only signers who were removed since had signed them.
    pub given_up: Vec<GivenUp>,
}

/// Whether signing made a difference.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum News {
    /// The collection was made by this.
    NewCollection,
    /// New signatures were published.
    Published,
    /// The tags were released with these digests already; nothing was signed.
    AlreadySigned,
}

impl CollectionClient<'_> {
    /// Finds a released tag.
    ///
    /// # Errors
    /// The collection cannot be verified or the tag is not released.
    pub async fn find(&self, name: &str) -> Result<(ReleasedTag, Collection), TrustError> {
        let collection = self.update(Purpose::Read).await?;
        Ok((ReleasedTag::find(&collection, name)?, collection))
    }

    /// Signs tags in one publication.
    ///
    /// Without delegations the repository key signs. With delegations those signers sign whose keys are here, and never
    /// the repository key (docker's convention), so that everybody signs for what is theirs.
    ///
    /// Where the last release was signed by somebody who was removed since, it is made anew: of its names those stay that a
    /// remaining signer has signed.
    ///
    /// # Errors
    /// Nothing was signed, or it is not certain that it was.
    pub async fn sign(&self, requests: &[SignRequest]) -> Result<Signed, TrustError> {
        let changes = |base: Option<&Collection>| self.changes(base, requests);
        let how = Publishing { recovery: Recovery::FormerSigners, ..Publishing::of(&changes) };
        let (collection, base, news, given_up) = match self.publish_as(&how).await?.0 {
            Published::Unchanged(collection) => (*collection, None, News::AlreadySigned, Vec::new()),
            Published::Stored { collection, base, given_up, .. } => {
                let news = if base.is_some() { News::Published } else { News::NewCollection };
                (*collection, base, news, given_up)
            }
        };
        let tags = requests.iter().map(|request| released_as(&collection, request)).collect::<Result<_, _>>()?;
        Ok(Signed { tags, news, base, collection, given_up })
    }

    /// Signs a tag anew with the digest that it is released with, by `targets/releases` before `targets`: for signing
    /// what others have released already. Nothing is asked of an engine or registry.
    ///
    /// # Errors
    /// As [`Self::find`] and [`Self::sign`].
    pub async fn sign_released(&self, name: &str) -> Result<Signed, TrustError> {
        let tag = self.find(name).await?.0;
        self.sign(&[SignRequest { name: tag.name, sha256: tag.sha256, length: tag.length }]).await
    }

    fn changes(&self, base: Option<&Collection>, requests: &[SignRequest]) -> Result<Vec<Change>, TrustError> {
        if base.is_none() && self.absent == Absent::Refused {
            return Err(UpdateError::NoTrustData(self.gun().clone()).into());
        }
        let mut changes = Vec::new();
        for request in requests {
            let roles = match base {
                Some(collection) => self.signing_roles(collection, &request.name)?,
                None => vec![RoleName::Targets],
            };
            let meta = FileMeta::of_manifest(request.sha256, request.length);
            let add = |role| Change::AddTarget { role, name: request.name.clone(), meta: meta.clone() };
            changes.extend(roles.into_iter().map(add));
        }
        Ok(changes)
    }

    /// Decides which roles sign a tag here.
    pub(crate) fn signing_roles(&self, collection: &Collection, name: &str) -> Result<Vec<RoleName>, TrustError> {
        let Some(targets) = collection.targets(&RoleName::Targets) else { return Ok(vec![RoleName::Targets]) };
        let delegated: Vec<_> = targets.delegations.iter().collect();
        if delegated.is_empty() {
            return Ok(vec![RoleName::Targets]);
        }
        let (mut roles, mut outside) = (Vec::new(), Vec::new());
        for role in &delegated {
            let allowed = collection.effective_paths(&role.name).is_some_and(|paths| paths.allow(name));
            let keys = role.keys.key_ids.iter().filter_map(|id| targets.delegations.keys.get(id));
            let ids: Vec<KeyId> = keys.map(countersign_crypto::PublicKey::canonical_id).collect();
            if self.has_any_key(&ids)? {
                if allowed { &mut roles } else { &mut outside }.push(role.name.clone());
            }
        }
        if roles.is_empty() && !outside.is_empty() {
            let (gun, name) = (self.gun().clone(), name.to_owned());
            return Err(TrustError::OutsidePaths { gun, name, roles: outside });
        }
        if roles.is_empty() {
            let roles = delegated.iter().map(|role| role.name.clone()).collect();
            return Err(TrustError::NoDelegationKey { gun: self.gun().clone(), roles });
        }
        Ok(roles)
    }

    pub(crate) fn has_any_key(&self, ids: &[KeyId]) -> Result<bool, TrustError> {
        for id in ids {
            if self.keys.find(id)?.is_some() {
                return Ok(true);
            }
        }
        Ok(false)
    }
}

/// Makes sure that a tag is released with the digest that was signed.
fn released_as(collection: &Collection, request: &SignRequest) -> Result<ReleasedTag, TrustError> {
    let not_released = || {
        let releases = releases();
        let delegations = collection.targets(&RoleName::Targets).into_iter().flat_map(|file| file.delegations.iter());
        let signed = delegations.filter(|role| {
            let entry = collection.targets(&role.name).and_then(|file| file.entries.get(&request.name));
            !releases.contains(&role.name) && entry.is_some_and(|entry| entry.sha256 == Some(request.sha256))
        });
        let roles: Vec<RoleName> = signed.map(|role| role.name.clone()).collect();
        TrustError::NotReleased { name: request.name.clone(), roles }
    };
    match ReleasedTag::find(collection, &request.name) {
        Ok(tag) if tag.sha256 == request.sha256 && tag.length == request.length => Ok(tag),
        Ok(_) | Err(TrustError::Lookup(LookupError::NotFound(_))) => Err(not_released()),
        Err(error) => Err(error),
    }
}
