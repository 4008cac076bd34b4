//! The service over HTTP.
#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test that cannot go on has failed")]

mod access;
mod audit;
mod backup;
mod connections;
mod database_away;
mod faults;
mod golden;
mod histories;
mod http2;
mod keys;
mod keyserver;
mod lifecycle;
mod load;
mod memory;
mod notary_client;
mod operations;
mod owner;
mod races;
mod read_back;
mod reader;
mod reference;
mod reference_reader;
mod reference_signer;
mod renewal;
mod replicas;
mod representations;
mod retention;
mod routes;
mod service;
mod tls;
mod uploads;
mod users;
