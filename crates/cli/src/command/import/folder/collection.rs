//! What a folder of archives holds of one collection: files are added as they arrive, the listing when a run has ended.

use super::{
    FORMAT, LISTING, ListedFile, ListedGap, Listing, MAX_LISTING, Placing, add_file, place, read_file, read_listing,
};
use crate::error::{CliError, Kind};
use bytes::Bytes;
use countersign_crypto::digest::sha256;
use countersign_trust::archive::{Archive, Attested, Gap, Kept, Shelf, Taken};
use countersign_tuf::update::{MAX_FILE, Which};
use countersign_tuf::{Gun, Pinning, RoleName, Version};
use jiff::Timestamp;
use std::collections::BTreeMap;
use std::fmt::Display;
use std::path::PathBuf;

/// The files of one collection.
pub(in super::super) struct CollectionFolder {
    gun: Gun,
    path: PathBuf,
    files: BTreeMap<(RoleName, Version), Identity>,
    present: BTreeMap<RoleName, Version>,
    /// What the listing says about the present files; none where there is no listing yet.
    about: Option<About>,
    /// What to say of the first file that the service gives differently than before.
    conflict: Option<CliError>,
}

/// What a listed file has to be.
struct Identity {
    length: u64,
    sha256: String,
}

/// Where the present files are from.
struct About {
    service: String,
    taken_at: Timestamp,
    gaps: Vec<Gap>,
}

/// What a run has brought.
pub(in super::super) struct Saved {
    pub(in super::super) archive: Archive,
    pub(in super::super) proof: Proof,
    /// What is not as it should be although files are there.
    pub(in super::super) failure: Option<CliError>,
}

/// What the files that a run has brought prove.
pub(in super::super) enum Proof {
    /// They verify and are the present ones now.
    Verified(Box<Attested>),
    /// They do not verify; neither did what was there before.
    Broken(CliError),
    /// They do not verify and stand beside the present ones, which do.
    Beside(CliError),
}

impl CollectionFolder {
    /// Opens what is there of a collection, if anything.
    pub(super) fn open(gun: &Gun, path: PathBuf) -> Result<Self, CliError> {
        let (files, present) = (BTreeMap::new(), BTreeMap::new());
        let mut opened = Self { gun: gun.clone(), path, files, present, about: None, conflict: None };
        let Some(listing) = read_listing(&opened.path)? else { return Ok(opened) };
        if listing.gun != gun.as_str() || listing.format != FORMAT {
            let other = format!("{LISTING} is about {} in format {}", listing.gun, listing.format);
            return Err(opened.damaged(&other));
        }
        for file in listing.files {
            let role = RoleName::parse(&file.role).map_err(|error| opened.damaged(&error))?;
            let version = Version::new(file.version).ok_or_else(|| opened.damaged(&"a version is out of range"))?;
            if file.present {
                opened.present.insert(role.clone(), version);
            }
            opened.files.insert((role, version), Identity { length: file.length, sha256: file.sha256 });
        }
        let gaps = listing.gaps.into_iter().map(|gap| Gap { file: gap.file, reason: gap.reason }).collect();
        opened.about = Some(About { service: listing.service, taken_at: listing.taken_at, gaps });
        Ok(opened)
    }

    /// Reads the present files and the service that they are from, if anything is there; every listed file has to be the
    /// one that is listed.
    pub(super) fn read(&self) -> Result<Option<(Archive, String)>, CliError> {
        let Some(about) = &self.about else { return Ok(None) };
        let archive = self.archive(&self.present, about.taken_at, about.gaps.clone())?;
        for name in self.files.keys().filter(|name| !archive.files.contains_key(*name)) {
            self.listed(name)?;
        }
        Ok(Some((archive, about.service.clone())))
    }

    /// Ends a run. What it has brought becomes the present set if it verifies and is not older than what was there, or if
    /// what was there does not verify either; otherwise it stands beside. The file that this is written to is the last one.
    pub(in super::super) fn settle(
        mut self,
        taken: Taken,
        service: &str,
        now: Timestamp,
        pinning: &Pinning,
    ) -> Result<Saved, CliError> {
        let proved = self.about.as_ref().is_some_and(|about| {
            let earlier = self.archive(&self.present, about.taken_at, Vec::new());
            earlier.is_ok_and(|earlier| earlier.verify(earlier.taken_at, pinning).is_ok())
        });
        let archive = self.archive(&taken.present, now, taken.gaps)?;
        let attested = match self.older(&taken.present).filter(|_| proved) {
            Some(error) => Err(error),
            None => archive.verify(now, pinning).map_err(CliError::from),
        };
        match &attested {
            Ok(_) => self.present = taken.present,
            Err(_) if proved => {}
            Err(_) => self.present.extend(taken.present),
        }
        if self.about.is_none() || !proved || attested.is_ok() {
            self.about = Some(About { service: service.to_owned(), taken_at: now, gaps: archive.gaps.clone() });
        }
        self.write_listing()?;
        let proof = match attested {
            Ok(attested) => Proof::Verified(Box::new(attested)),
            Err(error) if proved => Proof::Beside(error),
            Err(error) => Proof::Broken(error),
        };
        Ok(Saved { archive, proof, failure: self.conflict.or(taken.failure.map(CliError::from)) })
    }

    /// Says which file a service gives in an older version than it did: of what it signs itself, and of the root.
    fn older(&self, present: &BTreeMap<RoleName, Version>) -> Option<CliError> {
        let of_all = [RoleName::Root, RoleName::Snapshot, RoleName::Timestamp];
        let had = of_all.iter().filter_map(|role| Some((role, self.present.get(role)?, present.get(role)?)));
        let (role, had, given) = had.into_iter().find(|(_, had, given)| given < had)?;
        let message =
            format!("the service gives version {given} of {role}, older than version {had} that it gave before");
        Some(CliError::new(Kind::Trust, message))
    }

    /// The collection as it is with these files as the present ones.
    fn archive(
        &self,
        present: &BTreeMap<RoleName, Version>,
        taken_at: Timestamp,
        gaps: Vec<Gap>,
    ) -> Result<Archive, CliError> {
        let needed = self.files.keys().filter(|(role, version)| Archive::needs(present, role, *version));
        let files = needed.map(|name| Ok((name.clone(), self.listed(name)?))).collect::<Result<_, CliError>>()?;
        let (gun, present, kept) = (self.gun.clone(), present.clone(), self.files.len());
        Ok(Archive { gun, taken_at, files, kept, present, gaps })
    }

    fn file(&self, (role, version): &(RoleName, Version)) -> PathBuf {
        self.path.join("tuf").join(format!("{version}.{role}.json"))
    }

    /// Reads a listed file.
    fn listed(&self, name: &(RoleName, Version)) -> Result<Bytes, CliError> {
        let path = self.file(name);
        let bytes = read_file(&path, MAX_FILE)?.ok_or_else(|| self.damaged(&path.display()))?;
        if self.files.get(name).is_some_and(|listed| listed.sha256 == sha256(&bytes).hex()) {
            return Ok(bytes.into());
        }
        Err(self.damaged(&format_args!("{} has other bytes than {LISTING} says", path.display())))
    }

    fn write_listing(&self) -> Result<(), CliError> {
        let Some(about) = &self.about else { return Ok(()) };
        let file = |((role, version), listed): (&(RoleName, Version), &Identity)| ListedFile {
            role: role.to_string(),
            version: version.get(),
            length: listed.length,
            sha256: listed.sha256.clone(),
            present: self.present.get(role) == Some(version),
        };
        let gap = |gap: &Gap| ListedGap { file: gap.file.clone(), reason: gap.reason.clone() };
        let listing = Listing {
            format: FORMAT,
            gun: self.gun.to_string(),
            service: about.service.clone(),
            taken_at: about.taken_at,
            files: self.files.iter().map(file).collect(),
            gaps: about.gaps.iter().map(gap).collect(),
        };
        let text = serde_json::to_vec_pretty(&listing).map_err(|error| CliError::internal(&error))?;
        if text.len() as u64 > MAX_LISTING {
            let message = format!("the listing of {} would be larger than {MAX_LISTING} bytes", self.gun);
            return Err(CliError::new(Kind::Local, message).hint("save to another folder"));
        }
        place(&self.path.join(LISTING), &text, Placing::Replacing).map(drop)
    }

    fn damaged(&self, what: &dyn Display) -> CliError {
        CliError::new(Kind::Local, format!("the archive of {} in {} is damaged: {what}", self.gun, self.path.display()))
    }
}

impl Shelf for CollectionFolder {
    type Error = CliError;

    fn held(&self, role: &RoleName, which: Which) -> Result<Option<Bytes>, CliError> {
        let name = match which {
            Which::Current => None,
            Which::Version(version) => Some((role.clone(), version)),
            Which::Checksum(hash) => {
                let mut files = self.files.iter().filter(|((of, _), _)| of == role);
                files.find(|(_, listed)| listed.sha256 == hash.hex()).map(|(name, _)| name.clone())
            }
        };
        let Some(name) = name else { return Ok(None) };
        let file = read_file(&self.file(&name), MAX_FILE)?;
        // A run that was broken off has left files that are not listed.
        let whole = |file: &Vec<u8>| self.files.get(&name).is_none_or(|listed| listed.sha256 == sha256(file).hex());
        Ok(file.filter(whole).map(Bytes::from))
    }

    fn keep(&mut self, role: &RoleName, version: Version, file: &Bytes) -> Result<Kept, CliError> {
        let name = (role.clone(), version);
        let path = self.file(&name);
        let kept = add_file(&path, file)?;
        match kept {
            Kept::Yes => {
                let identity = Identity { length: file.len() as u64, sha256: sha256(file).hex() };
                self.files.insert(name, identity);
            }
            Kept::Other => {
                let message = format!(
                    "the service gives another version {version} of {role} of {} than it gave before",
                    self.gun
                );
                let hint = format!(
                    "the earlier one is kept in {}: ask the owner which of the two they signed",
                    path.display()
                );
                self.conflict.get_or_insert_with(|| CliError::new(Kind::Trust, message).hint(hint));
            }
        }
        Ok(kept)
    }
}
