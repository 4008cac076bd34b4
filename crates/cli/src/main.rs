//! Countersign: Docker Content Trust, rebuilt.
//!
//! The edge of the house: arguments and environment in, messages and exit codes out. One file per command.
//! The program answers to several names (`called_as`), each with a room of its own.

mod audit;
mod called_as;
#[expect(dead_code, unused_imports, reason = "the command lines that stand on it arrive one by one")]
mod cobra;
mod command;
mod context;
mod error;
mod images;
mod layouts;
mod native;
mod notary;
mod notes;
mod output;
mod period;
mod plugin;
mod progress;
mod prompt;
mod registry_error;
mod runtime;
mod secrecy;
mod settings;
mod shim;
mod takeover;
mod trust_switch;
mod trusted;

use called_as::{CalledAs, Name};
use std::process::ExitCode;

fn main() -> ExitCode {
    secrecy::guard_memory();
    let CalledAs { name, arguments } = CalledAs::of(std::env::args_os());
    match name {
        Name::Countersign => native::run(arguments),
        Name::Notary => notary::run(arguments),
        Name::DockerTrust => plugin::run(arguments),
        Name::Docker => shim::run(arguments),
        Name::NotaryServer => takeover::run(takeover::Program::Server, arguments),
        Name::NotarySigner => takeover::run(takeover::Program::Signer, arguments),
    }
}
