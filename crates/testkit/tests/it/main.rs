//! Every tool and server of the kit, used for real.
#![expect(clippy::unwrap_used, reason = "a helper of tests may unwrap as tests may")]

mod docker_client;
mod docker_registry;
mod engine;
mod fake_server;
mod http;
mod memory_registry;
mod notary_client;
mod token_service;
mod trust_service;
