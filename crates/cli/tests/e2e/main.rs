//! Whole journeys: the real docker and notary clients, a real engine and registry, and the trust service.
#![expect(clippy::unwrap_used, clippy::panic, reason = "the stage may do what tests may")]

mod audit;
mod client;
mod docker;
mod engine;
mod handover;
mod hostile_registry;
mod indexes;
mod install;
mod keys;
mod notary;
mod passphrases;
mod pin_files;
mod pins;
mod races;
mod registries;
mod releasing;
mod service_away;
mod serving;
mod settings;
mod shim;
mod signed_size;
mod signers;
mod stage;
mod switch;
mod transcript;
mod trust_directory;
mod trust_plugin;
mod trust_push_pull;
mod trust_signers;
mod trust_transcripts;
mod turns;
