//! Real tools on loopback ports, an in-process registry, fixtures: for tests and the demo.
//!
//! Everything here cleans up after itself: a tool that was started ends, with all its children, when its value is
//! dropped, also when the test panics, and also when the test's process is killed. Servers inside the process run on
//! a thread of their own, so that a test may block on a command that talks to them.
//!
//! A whole end-to-end test:
//!
//! ```no_run
//! use countersign_testkit::{DockerClient, DockerRegistry, Dockerd, TrustService};
//!
//! let (engine, registry) = (Dockerd::start(), DockerRegistry::start());
//! // In a test of the program: env!("CARGO_BIN_EXE_countersign").
//! let service = TrustService::start("/path/to/countersign");
//! let name = format!("{}/acme/app:v1", registry.host());
//! engine.build(&name, "hello");
//! let docker = service.trusting(DockerClient::newest()).with_engine(&engine);
//! let pushed = docker.run(&["push", &name]).succeeded();
//! assert!(pushed.stdout.contains("Successfully signed"), "{pushed}");
//! ```
//!
//! Apart from [`memory_registry`], which the demo uses, functions panic when the environment cannot do what a test
//! needs (a tool is not installed, a port cannot be had): a test without its tool fails, it is never skipped.
#![expect(
    clippy::expect_used,
    clippy::panic,
    clippy::missing_panics_doc,
    reason = "a test that cannot get its tool or its port has failed; the crate's documentation says so once"
)]

pub mod clock;
pub mod digest;
pub mod fake_server;
pub mod fixtures;
pub mod memory_registry;
pub mod port;

pub mod tls;
pub mod token_service;

mod background;
mod balancer;
mod command;
mod database;
mod dice;
mod docker_client;
mod docker_registry;
mod dockerd;
mod gpg;
mod image;
mod keyserver;
mod notary_client;
mod process;
mod soft_hsm;
mod tool;
mod trust_service;

pub use balancer::Balancer;
pub use command::Finished;
pub use database::{DatabaseServer, Product};
pub use dice::Dice;
pub use docker_client::DockerClient;
pub use docker_registry::{Account, DockerRegistry, DockerRegistryBuilder};
pub use dockerd::Dockerd;
pub use fake_server::{FakeServer, Reply};
pub use gpg::Gpg;
pub use image::Image;
pub use keyserver::{KeyPlace, Keyserver};
pub use memory_registry::MemoryRegistry;
pub use notary_client::{NotaryClient, Passphrases};
pub use port::Port;
pub use process::Process;
pub use soft_hsm::SoftHsm;
pub use tls::{TestCa, TestCertificate};
pub use token_service::TokenService;
pub use tool::Tool;
pub use trust_service::{Deployment, TrustService, TrustServiceBuilder};
