//! One command line, read by the tables.

use super::failure::Failure;
use super::usage;
use crate::cobra::{Found, Parsed};
use countersign_tuf::{Gun, RoleName};

/// What was asked for.
#[derive(Debug)]
pub(super) struct Invocation {
    pub(super) found: Found,
    pub(super) parsed: Parsed,
}

impl Invocation {
    /// Returns the positional arguments.
    pub(super) fn arguments(&self) -> Vec<&str> {
        self.parsed.texts()
    }

    /// Refuses the arguments and shows how they should be.
    pub(super) fn refuse(&self, message: &str) -> Failure {
        Failure::usage(message, usage::usage(&self.found))
    }

    /// Returns the first arguments, refusing fewer; more are passed over, as by the reference.
    pub(super) fn first<const N: usize>(&self, message: &str) -> Result<[&str; N], Failure> {
        let arguments = self.arguments();
        arguments.first_chunk().copied().ok_or_else(|| self.refuse(message))
    }

    /// Returns the collection that the first argument names.
    pub(super) fn gun(&self) -> Result<Gun, Failure> {
        let [gun] = self.first("Must specify a GUN")?;
        parse_gun(gun)
    }

    /// Tells whether a flag is on.
    pub(super) fn is_on(&self, flag: &str) -> bool {
        self.parsed.is_on(flag)
    }

    /// Returns a flag's value; one that is empty counts as unset, as with the reference.
    pub(super) fn value(&self, flag: &str) -> Option<&str> {
        self.parsed.value(flag).filter(|value| !value.is_empty())
    }

    /// Returns a list flag's values without those that are empty.
    pub(super) fn values(&self, flag: &str) -> Vec<&str> {
        self.parsed.values(flag).into_iter().filter(|value| !value.is_empty()).collect()
    }

    /// Returns the roles of `--roles` for changes of targets.
    pub(super) fn target_roles(&self) -> Result<Vec<RoleName>, Failure> {
        let holding = |text: &str| RoleName::parse(text).ok().filter(RoleName::lists_targets);
        let refuse = |text| Failure::user(format!("tuf: invalid role {text}. cannot add targets to this role"));
        self.values("roles").into_iter().map(|text| holding(text).ok_or_else(|| refuse(text))).collect()
    }
}

/// Reads the name of a collection. The reference takes anything, also what leads out of its trust directory.
pub(super) fn parse_gun(text: &str) -> Result<Gun, Failure> {
    Gun::parse(text).map_err(|error| Failure::user(format!("invalid GUN {text:?}: {error}")))
}
