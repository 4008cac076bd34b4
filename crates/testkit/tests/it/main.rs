//! Every tool and server of the kit, used for real.

mod docker_registry;
mod fake_server;
mod http;
mod notary_client;
