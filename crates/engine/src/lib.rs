//! The Docker Engine API over its socket, contexts and `DOCKER_HOST`.
//!
//! [`EngineSelection`] finds the engine as docker's own client does, [`Engine`] talks to it: it inspects, tags, pulls
//! by digest, pushes, saves and loads images. What an engine says of its work comes as a stream of typed [`Event`]s;
//! text in them is the engine's and has to be escaped before it reaches a terminal.
//!
//! Every wait, line and answer is bounded by [`Limits`]. Nothing here reads the process's environment but
//! [`Environment::of_this_process`].

mod api_version;
mod auth;
mod client;
mod endpoint;
mod error;
mod image_name;
mod json;
mod limits;
mod stream;
mod transport;

pub use api_version::ApiVersion;
pub use auth::RegistryAuth;
pub use client::{Bytestream, Engine, EngineFacts, ImageFacts, Progress, PushTarget, pushed_manifest};
pub use endpoint::{
    Address, Endpoint, EndpointError, EngineSelection, Environment, Helper, TlsFlags, TlsSettings, Verification,
};
pub use error::EngineError;
pub use image_name::ImageName;
pub use limits::Limits;
pub use stream::{Amount, Event, PushedManifest, Status};
