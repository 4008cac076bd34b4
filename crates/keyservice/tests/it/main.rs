//! The signing service, called over its network interface.
#![expect(clippy::unwrap_used, reason = "tests may unwrap")]

mod alias;
mod calls;
mod clients;
mod database;
mod house;
mod tokens;
