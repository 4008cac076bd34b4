//! Flags of `docker push`, `docker pull` and `docker plugin`, of the docker clients 20.10 to 29.

use super::{switch, value};
use crate::cobra::Flag;
use crate::shim::switch::DISABLE;

/// Flags of `docker push`.
pub(crate) static PUSH: [Flag; 4] =
    [switch("all-tags").short('a'), value("platform"), switch("quiet").short('q'), DISABLE];

/// Flags of `docker pull`.
pub(crate) static PULL: [Flag; 4] =
    [switch("all-tags").short('a'), value("platform"), switch("quiet").short('q'), DISABLE];

/// Flags of `docker plugin install`, `upgrade` and `push`.
pub(crate) static PLUGIN: [Flag; 5] =
    [value("alias"), switch("disable"), switch("grant-all-permissions"), switch("skip-remote-check"), DISABLE];
