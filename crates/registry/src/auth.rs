//! The authentication challenge of registries and trust services, and the tokens that answer it.

mod cache;
mod challenge;
mod grant;
mod scope;
mod session;
mod token;

pub use challenge::{Challenge, MAX_CHALLENGES, parse_challenges};
pub use scope::{Action, Scope};
pub use session::{AuthError, Session};
pub use token::MAX_TOKEN_BYTES;
