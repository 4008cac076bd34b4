//! The settings: which trust service, pins and policy belong to which images.
//!
//! They come from this person's file and folder of pins, and from the administrator's below them. For an image the rule with
//! the longest prefix counts, and where it leaves something open the next longest; of two equally long ones this person's.

mod document;
mod error;
pub(crate) mod key_care;
mod pins;
mod place;

pub(crate) use document::Reader;
pub(crate) use error::SettingsError;
pub(crate) use pins::{Keeping, PinFolder, Replacing, read as read_pins, text as pin_text};
pub(crate) use place::{Place, read_trusted};

use crate::context::{FirstUsePolicy, NamedBy};
use crate::period::Period;
use countersign_crypto::KeyId;
use countersign_crypto::certificate::Certificate;
use countersign_notary::ServiceAddress;
use countersign_trust::Destination;
use countersign_tuf::Gun;
use document::Scope;
use key_care::KeyCare;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// A value and where it is written.
#[derive(Debug, Clone)]
pub(crate) struct Sourced<T> {
    pub(crate) value: T,
    file: Arc<Path>,
    line: usize,
}

impl<T> Sourced<T> {
    /// Returns where it is written.
    pub(crate) fn named_by(&self) -> NamedBy {
        NamedBy::File(self.file.to_path_buf(), self.line)
    }
}

/// What a root has to be.
#[derive(Debug, Clone)]
pub(crate) enum PinRule {
    /// It has one of these root keys.
    Keys(BTreeSet<KeyId>),
    /// One of its certificates chains to one of these.
    Authorities(Vec<Certificate>),
}

/// What is said about the images whose names begin with a prefix.
#[derive(Debug)]
struct Rule {
    /// Empty for all images.
    prefix: String,
    service: Option<Sourced<ServiceAddress>>,
    authorities: Option<Sourced<PathBuf>>,
    pin: Option<Sourced<PinRule>>,
    first_use: Option<Sourced<FirstUsePolicy>>,
}

/// All settings files of a process.
#[derive(Debug, Default)]
pub(crate) struct Settings {
    /// Of equally good ones the first counts.
    rules: Vec<Rule>,
    audit_log: Option<PathBuf>,
    keys: KeyCare,
    /// How early doctor warns.
    warn_before: Option<Sourced<Period>>,
}

impl Settings {
    /// Reads this person's and the administrator's files.
    pub(crate) fn load() -> Result<Self, SettingsError> {
        let places: Vec<Place> = Place::of_person().into_iter().chain([Place::of_system()]).collect();
        Self::of_places(&places)
    }

    pub(crate) fn of_places(places: &[Place]) -> Result<Self, SettingsError> {
        let mut settings = Self::default();
        for place in places {
            if let Some(text) = place.read()? {
                let said = document::read(&place.file, &text, Scope::Settings)?;
                settings.rules.extend(said.rules);
                settings.audit_log = settings.audit_log.or(said.audit_log);
                settings.keys.complete(said.keys);
                settings.warn_before = settings.warn_before.or(said.warn_before);
            }
            settings.rules.extend(pins::rules(&place.pins)?);
        }
        Ok(settings)
    }

    /// Returns the audit log's file.
    pub(crate) fn audit_log(&self) -> Option<&Path> {
        self.audit_log.as_deref()
    }

    /// Returns how private keys are kept and opened.
    pub(crate) fn keys(&self) -> &KeyCare {
        &self.keys
    }

    /// Returns how long before something expires it is time to warn.
    pub(crate) fn warn_before(&self) -> Option<Period> {
        self.warn_before.as_ref().map(|period| period.value)
    }

    /// Returns every trust service that is named, and what names it.
    pub(crate) fn services(&self) -> impl Iterator<Item = (&str, Destination, NamedBy)> {
        self.rules.iter().filter_map(|rule| {
            let service = rule.service.as_ref()?;
            let authorities = rule.authorities.as_ref().map(|path| path.value.clone());
            let destination = Destination { address: service.value.clone(), authorities };
            Some((rule.prefix.as_str(), destination, service.named_by()))
        })
    }

    /// Returns the trust service of a collection. Authorities count if they belong to that service's rule or a more specific
    /// one; without a service they are for the one that the collection has anyway.
    pub(crate) fn service(&self, gun: &Gun) -> Option<(Destination, NamedBy)> {
        let mut authorities = None;
        for rule in self.about(gun) {
            authorities = authorities.or(rule.authorities.as_ref());
            if let Some(service) = &rule.service {
                let authorities = authorities.map(|path| path.value.clone());
                return Some((Destination { address: service.value.clone(), authorities }, service.named_by()));
            }
        }
        None
    }

    /// Returns the authorities for a collection's service where no rule names one.
    pub(crate) fn service_authorities(&self, gun: &Gun) -> Option<PathBuf> {
        self.about(gun).into_iter().find_map(|rule| Some(rule.authorities.as_ref()?.value.clone()))
    }

    /// Returns the pin of a collection.
    pub(crate) fn pin(&self, gun: &Gun) -> Option<&Sourced<PinRule>> {
        self.about(gun).into_iter().find_map(|rule| rule.pin.as_ref())
    }

    /// Returns what happens with a collection that nothing is known about.
    pub(crate) fn first_use(&self, gun: &Gun) -> Option<&Sourced<FirstUsePolicy>> {
        self.about(gun).into_iter().find_map(|rule| rule.first_use.as_ref())
    }

    /// Returns all pins with the beginnings of names that they are for.
    pub(crate) fn pins(&self) -> impl Iterator<Item = (&str, &Sourced<PinRule>)> {
        self.rules.iter().filter_map(|rule| Some((rule.prefix.as_str(), rule.pin.as_ref()?)))
    }

    /// Finds the rules about a collection, the most specific one first.
    fn about(&self, gun: &Gun) -> Vec<&Rule> {
        let mut rules: Vec<&Rule> = self.rules.iter().filter(|rule| covers(&rule.prefix, gun.as_str())).collect();
        rules.sort_by_key(|rule| std::cmp::Reverse(rule.prefix.len()));
        rules
    }
}

/// Tells whether a prefix covers a collection: whole path segments, the registry's name in any case.
pub(crate) fn covers(prefix: &str, gun: &str) -> bool {
    let Some((beginning, rest)) = gun.split_at_checked(prefix.len()) else { return false };
    let registry = prefix.find('/').unwrap_or(prefix.len());
    let same = |a: &str, b: &str| match (a.split_at_checked(registry), b.split_at_checked(registry)) {
        (Some((a_host, a_path)), Some((b_host, b_path))) => a_host.eq_ignore_ascii_case(b_host) && a_path == b_path,
        _ => false,
    };
    prefix.is_empty() || (same(prefix, beginning) && (rest.is_empty() || rest.starts_with('/')))
}

#[cfg(test)]
mod tests;
