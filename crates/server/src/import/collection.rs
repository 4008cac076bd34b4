//! One collection: what the old service stored together is stored together, in the order of that time.

use std::collections::BTreeMap;

use countersign_storage::{Base, MetadataStore, NewMetadata, ReferenceStore, Stored};
use countersign_tuf::metadata::{Delegations, Payload, Root, Snapshot, Targets, Timestamp};
use countersign_tuf::{Gun, RoleName, TrustedKeys, Unverified, Version};

use super::sound::{self, History};
use super::{Done, ImportError, Importer, Outcome, damaged, of_server, unstored};

/// Most remarks about the past of one collection.
const MAX_REMARKS: usize = 20;

/// Who could sign at the time of a publication.
#[derive(Default)]
struct Signers {
    root: Option<Root>,
    delegations: BTreeMap<RoleName, Delegations>,
}

impl Importer {
    /// Takes what the new service lacks of a collection, if it is sound.
    pub(super) async fn take(&self, gun: &Gun) -> Result<Outcome, ImportError> {
        let name = gun.as_str();
        let files = match self.server.versions(gun).await {
            Ok(files) => files,
            Err(error) => return Ok(Outcome::left_out(name, damaged(error, of_server)?)),
        };
        let history = History::of(files);
        let here = self.metadata.state(gun, &[RoleName::Timestamp].into()).await?;
        let reached = here.files.into_values().next();
        if history.files.is_empty() {
            let mut outcome = Outcome::new(name, Done::Nothing);
            if reached.is_some() {
                outcome.problems.push("it is here, but the old service does not have it".to_owned());
            }
            return Ok(outcome);
        }
        let present = history.present(&RoleName::Timestamp);
        if let (Some(reached), Some(present)) = (&reached, present) {
            // The last version that both have, if they have the same past.
            let common = reached.version.min(present);
            if let Some(problem) = self.differs(gun, common).await? {
                return Ok(Outcome::left_out(name, problem));
            }
            if reached.version > present {
                let mut outcome = Outcome::new(name, Done::Nothing);
                outcome.remarks.push("it has been signed at the new service since".to_owned());
                return Ok(outcome);
            }
        }
        let reached = reached.map(|file| file.version);
        let sound = match sound::check(&self.server, gun, &history, self.now).await.map_err(of_server)? {
            Ok(sound) => sound,
            Err(problem) => return Ok(Outcome::left_out(name, problem)),
        };
        let (remarks, problems) = (sound.remarks, sound.problems);
        let mut outcome = Outcome { problems, remarks, ..Outcome::new(name, Done::Nothing) };
        for (role, _) in self.missing_keys(gun, sound.collection.root()).await? {
            if role == RoleName::Timestamp {
                outcome.problems.push(
                    "its timestamp key is not here: when its timestamp ends nobody can read it any more, and nobody can publish"
                        .to_owned(),
                );
            } else {
                outcome.remarks.push("its publishers hold the snapshot key".to_owned());
            }
        }
        // What is wrong is said each time, also when everything was copied before.
        if present.is_none() || reached != present {
            self.copy(gun, &history, reached, &mut outcome).await?;
        }
        Ok(outcome)
    }

    /// Tells how a version of the timestamp here is another one than at the old service, if it is.
    async fn differs(&self, gun: &Gun, version: Version) -> Result<Option<String>, ImportError> {
        let theirs = match self.server.by_version(gun, &RoleName::Timestamp, version).await {
            Ok(theirs) => theirs,
            Err(error) => return damaged(error, of_server).map(Some),
        };
        let ours = self.metadata.by_version(gun, &RoleName::Timestamp, version).await?;
        // Here, versions that nobody needs any more may be gone.
        let Some(ours) = ours else { return Ok(None) };
        let same = theirs.is_some_and(|theirs| ours.sha256 == theirs.sha256);
        let text = || {
            format!(
                "the new service has another timestamp {version} than the old one: both have signed since, or it was deleted at \
                 one and made anew"
            )
        };
        Ok((!same).then(text))
    }

    /// Copies publication by publication what comes after the timestamp that is here.
    async fn copy(
        &self,
        gun: &Gun,
        history: &History,
        reached: Option<Version>,
        outcome: &mut Outcome,
    ) -> Result<(), ImportError> {
        let (mut signers, mut copied) = (Signers::default(), 0);
        let ends = |(role, _): &(RoleName, Version)| *role == RoleName::Timestamp;
        for group in history.files.split_inclusive(ends) {
            let end = group.last().filter(|file| ends(file)).map(|(_, version)| *version);
            if end.is_some_and(|end| reached.is_some_and(|reached| end <= reached)) {
                continue;
            }
            let mut files = read(&self.server, gun, group, outcome).await?;
            files.sort_by(|a, b| (rank(&a.role), &a.role, a.version).cmp(&(rank(&b.role), &b.role, b.version)));
            if reached.is_none() {
                for file in &files {
                    signers.check(file, outcome);
                }
            }
            let Some(last) = files.last() else { continue };
            let when = last.stored_at;
            let new: Vec<NewMetadata> = files
                .iter()
                .map(|file| NewMetadata::new(file.role.clone(), file.version, file.bytes.clone()))
                .collect();
            match self.metadata.publish(gun, Base::Anything, &new, when).await {
                Ok(()) => copied += new.len() as u64,
                Err(error) => {
                    outcome.problems.push(format!("not all of it could be stored: {}", unstored(error)?));
                    break;
                }
            }
        }
        outcome.done = Done::Copied(copied);
        Ok(())
    }
}

/// Reads files that were stored together; one that is damaged is left out: what is present has been verified.
async fn read(
    server: &ReferenceStore,
    gun: &Gun,
    group: &[(RoleName, Version)],
    outcome: &mut Outcome,
) -> Result<Vec<Stored>, ImportError> {
    let mut files = Vec::with_capacity(group.len());
    for (role, version) in group {
        match server.by_version(gun, role, *version).await {
            Ok(file) => files.extend(file),
            Err(error) => {
                let problem = damaged(error, of_server)?;
                outcome.problems.push(format!("version {version} of {role} was left out: {problem}"));
            }
        }
    }
    Ok(files)
}

/// Who signs for others comes first, and the timestamp last.
fn rank(role: &RoleName) -> u8 {
    match role {
        RoleName::Root => 0,
        RoleName::Targets => 1,
        RoleName::Delegation(_) => 2,
        RoleName::Snapshot => 3,
        RoleName::Timestamp => 4,
    }
}

impl Signers {
    /// Checks a file as it was checked when it was published; what is present was checked before, so that this concerns the
    /// past alone.
    fn check(&mut self, file: &Stored, outcome: &mut Outcome) {
        let checked = match &file.role {
            RoleName::Root => self.root(file),
            RoleName::Snapshot => self.signed::<Snapshot>(file).map(drop),
            RoleName::Timestamp => self.signed::<Timestamp>(file).map(drop),
            RoleName::Targets | RoleName::Delegation(_) => self.signed::<Targets>(file).map(|targets| {
                self.delegations.insert(file.role.clone(), targets.delegations);
            }),
        };
        if let Err(reason) = checked
            && outcome.remarks.len() < MAX_REMARKS
        {
            outcome
                .remarks
                .push(format!("version {} of {} did not count when it was stored: {reason}", file.version, file.role));
        }
    }

    fn root(&mut self, file: &Stored) -> Result<(), String> {
        let read = Unverified::<Root>::read(&file.role, file.bytes.clone()).map_err(|error| error.to_string())?;
        let before = self.root.replace(read.untrusted().clone());
        let keys = before.and_then(|root| root.keys_of(&file.role));
        match keys.map(|keys| read.also_signed_by(&keys)) {
            Some(Err(error)) => Err(error.to_string()),
            Some(Ok(())) | None => Ok(()),
        }
    }

    fn signed<T: Payload>(&self, file: &Stored) -> Result<T, String> {
        let read = Unverified::<T>::read(&file.role, file.bytes.clone()).map_err(|error| error.to_string())?;
        let found = read.untrusted().version();
        if found != file.version {
            return Err(format!("it says version {found}"));
        }
        let keys = self.keys_of(&file.role).ok_or_else(|| "nobody may sign it".to_owned())?;
        let verified = read.verify(&keys).map_err(|(error, _)| error.to_string())?;
        Ok(verified.into_unverified().into_untrusted())
    }

    fn keys_of(&self, role: &RoleName) -> Option<TrustedKeys> {
        match role.parent() {
            None => self.root.as_ref()?.keys_of(role),
            Some(parent) => self.delegations.get(&parent)?.keys_of(role),
        }
    }
}
