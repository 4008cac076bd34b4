//! A publisher's home and a service, both with the code of the real ones, without disk and network.

use crate::workshop::*;
use bytes::Bytes;
use countersign_crypto::KeyId;
use countersign_tuf::accept::{self, Refusal, Submission};
use countersign_tuf::editor::{BaseKeys, EditError, Editor, Publication, PublicationError, initialise};
use countersign_tuf::metadata::{FileMeta, KeyMap, RoleKeys};
use countersign_tuf::{Change, Collection, DelegationEdit, RoleName, SigningError, TrustedKeys};
use serde_json::Value;
use std::collections::BTreeMap;

/// A service with the code of the real one, that stores everything in memory.
#[derive(Clone)]
pub(crate) struct House {
    pub(crate) signers: Signers,
    pub(crate) files: BTreeMap<RoleName, Bytes>,
    pub(crate) history: Vec<(RoleName, Bytes)>,
}

pub(crate) fn version(file: &Bytes) -> u64 {
    serde_json::from_slice::<Value>(file).unwrap()["signed"]["version"].as_u64().unwrap()
}

impl House {
    pub(crate) fn publish(&mut self, publication: &Publication) -> Result<(), Refusal> {
        self.upload(publication.parts.clone())
    }

    pub(crate) fn upload(&mut self, parts: BTreeMap<RoleName, Bytes>) -> Result<(), Refusal> {
        let submission = Submission { gun: &gun(), now: now(), stored: &self.files, parts };
        let new = accept::accept(submission, &self.signers)?;
        let used = |role: &RoleName, number: u64| {
            self.history.iter().any(|(other, file)| other == role && version(file) >= number)
        };
        if new.iter().any(|new| used(&new.role, new.version.get())) {
            return Err(Refusal::Stale);
        }
        for new in new {
            self.files.insert(new.role.clone(), new.bytes.clone());
            self.history.push((new.role, new.bytes));
        }
        Ok(())
    }

    pub(crate) fn service(&self) -> Service {
        Service::of(&self.files, &self.history)
    }

    pub(crate) fn payload(&self, name: &str) -> Value {
        serde_json::from_slice::<Value>(&self.files[&role(name)]).unwrap()["signed"].take()
    }

    pub(crate) fn read(&self) -> Collection {
        Client::new(GUN).update(&self.service()).unwrap()
    }
}

/// The owner of a collection.
pub(crate) struct Owner {
    pub(crate) root: Key,
    pub(crate) targets: Key,
    pub(crate) snapshot: Key,
    pub(crate) timestamp: Key,
    pub(crate) signers: Signers,
}

impl Owner {
    pub(crate) fn new() -> Self {
        let [root, targets, snapshot, timestamp] = [Key::root(), Key::new(), Key::new(), Key::new()];
        let signers = Signers::of([&root, &targets]);
        Self { root, targets, snapshot, timestamp, signers }
    }

    pub(crate) fn base_keys(&self) -> BaseKeys {
        BaseKeys {
            root: vec![self.root.public.clone()],
            targets: self.targets.public.clone(),
            snapshot: self.snapshot.public.clone(),
            timestamp: self.timestamp.public.clone(),
        }
    }

    pub(crate) fn editor(&self) -> Editor {
        let initial = initialise(self.base_keys(), now(), &self.signers).unwrap();
        Editor::unpublished(&gun(), now(), initial.root, Some(initial.targets), None).unwrap()
    }

    /// Publishes the collection with a service that holds snapshot and timestamp keys.
    pub(crate) fn publish(&self) -> House {
        let mut house = House {
            signers: Signers::of([&self.snapshot, &self.timestamp]),
            files: BTreeMap::new(),
            history: Vec::new(),
        };
        house.publish(&self.editor().publication(&self.signers, &nobody()).unwrap()).unwrap();
        house
    }
}

pub(crate) fn nobody() -> TrustedKeys {
    TrustedKeys::resolve(&RoleName::Root, &RoleKeys::default(), &KeyMap::default())
}

/// Applies changes to the present state and publishes them.
pub(crate) fn change(
    house: &mut House,
    signers: &Signers,
    changes: &[Change],
) -> Result<Publication, PublicationError> {
    let mut editor = Editor::of(&house.read(), now());
    for change in changes {
        editor.apply(change)?;
    }
    let publication = editor.publication(signers, &nobody())?;
    house.publish(&publication).unwrap();
    Ok(publication)
}

pub(crate) fn edit_error(outcome: Result<Publication, PublicationError>) -> EditError {
    match outcome {
        Err(PublicationError::Edit(error)) => error,
        other => panic!("{:?}", other.map(|publication| publication.versions)),
    }
}

pub(crate) fn missing_keys(outcome: Result<Publication, PublicationError>) -> RoleName {
    match outcome {
        Err(PublicationError::Signing(SigningError::MissingKeys { role, .. })) => role,
        other => panic!("{:?}", other.map(|publication| publication.versions)),
    }
}

pub(crate) fn add(name: &str, tag: &str, content: &str) -> Change {
    let digest = countersign_crypto::digest::sha256(content.as_bytes());
    Change::AddTarget { role: role(name), name: tag.into(), meta: FileMeta::of_manifest(digest, content.len() as u64) }
}

pub(crate) fn remove(name: &str, tag: &str) -> Change {
    Change::RemoveTarget { role: role(name), name: tag.into() }
}

pub(crate) fn keys_and_paths(keys: &[&Key], paths: &[&str]) -> DelegationEdit {
    DelegationEdit {
        threshold: Some(1),
        add_keys: keys.iter().map(|key| key.public.clone()).collect(),
        add_paths: paths.iter().map(|path| (*path).into()).collect(),
        ..DelegationEdit::default()
    }
}

pub(crate) fn create(name: &str, keys: &[&Key], paths: &[&str]) -> Change {
    Change::CreateDelegation { role: role(name), edit: keys_and_paths(keys, paths) }
}

pub(crate) fn update(name: &str, edit: DelegationEdit) -> Change {
    Change::UpdateDelegation { role: role(name), edit }
}

pub(crate) fn canonical_id(key: &Key) -> KeyId {
    key.public.canonical_id()
}
