//! The engine client against a real engine, and against engines that misbehave.
#![expect(clippy::unwrap_used, reason = "helpers of tests may unwrap as tests may")]

use countersign_engine::{Address, Endpoint, Engine, Limits};
use countersign_image::{Repository, Tag};

mod contexts;
mod fake_engine;
mod real_engine;
mod remote;
mod selection;

fn endpoint(host: &str) -> Endpoint {
    Endpoint { address: Address::parse(host).unwrap(), tls: None, program_path: None }
}

async fn connect(host: &str) -> Engine {
    Engine::connect(endpoint(host), Limits::default()).await.unwrap()
}

fn repository(name: &str) -> Repository {
    Repository::parse(name).unwrap()
}

fn tag(text: &str) -> Tag {
    Tag::parse(text).unwrap()
}
