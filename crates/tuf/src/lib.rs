//! The Update Framework as Notary v1 speaks it: metadata, canonical JSON, the update state machine, the editor.

pub mod accept;
mod change;
mod collection;
pub mod editor;
mod expires;
pub mod json;
pub mod metadata;
mod name;
mod paths;
mod pinning;
mod root_trust;
mod seen;
mod sign;
pub mod update;
mod verify;

pub use change::{Change, ChangeError, DelegationEdit};
pub use collection::{BrokenDelegation, BrokenReason, Collection, Found, LookupError, Note};
pub use expires::Expires;
pub use name::{DelegationName, Gun, GunError, MAX_GUN_LENGTH, MAX_ROLE_LENGTH, RoleName, RoleNameError, Version};
pub use paths::Paths;
pub use pinning::{FirstUse, Pin, Pinning};
pub use root_trust::RootError;
pub use seen::{Regression, Seen, SeenError};
pub use sign::{SignerSet, SignerUnavailable, SigningError};
pub use verify::{Expired, Rollback, ThresholdError, TrustedKeys, Unverified, Verified};
