//! Whole journeys: the real docker and notary clients, a real engine and registry, and the trust service.
#![expect(clippy::unwrap_used, clippy::panic, reason = "the stage may do what tests may")]

mod docker;
mod hostile_registry;
mod notary;
mod signers;
mod stage;
