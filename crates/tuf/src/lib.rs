//! The Update Framework as Notary v1 speaks it: metadata, canonical JSON, the update state machine, the editor.

pub mod json;
mod name;

pub use name::{DelegationName, Gun, GunError, MAX_GUN_LENGTH, MAX_ROLE_LENGTH, RoleName, RoleNameError, Version};
