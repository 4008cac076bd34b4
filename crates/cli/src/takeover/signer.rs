//! `notary-signer`.

use std::collections::BTreeMap;

use countersign_keyservice::{
    Clients, Clock, Config, Drained, Identity, KeyAlias, KeyService, KeyStorage, Limits, Passphrases, Variables,
};
use countersign_server::Connections;

use super::server::address;
use super::settings::{SIGNER_HTTP, Settings};
use super::{chain, log, scratch, unless_told_again, until_told, wrong};
use crate::context::variable;
use crate::error::CliError;
use crate::output::message;

/// The alias of keys in memory, whose passphrase is made there too.
const IN_MEMORY: &str = "memory";

/// Runs the signer until it is told to end.
pub(super) async fn run(settings: &Settings, level: log::Level) -> Result<(), CliError> {
    countersign_keyservice::hide_memory();
    countersign_server::raise_file_limit();
    if settings.get(SIGNER_HTTP).is_some() {
        message(format_args!("WARNING: {SIGNER_HTTP} is passed over: signers answer by gRPC alone"));
    }
    let folder = scratch()?;
    let service = KeyService::start(config(settings, folder.path())?).await;
    let service = service.map_err(|error| wrong(chain(&error)))?;
    message(format_args!("the signing service is listening on {}", service.address()));
    until_told(level, || {}).await?;
    match unless_told_again(service.shut_down()).await? {
        Some(Drained::Completely) => Ok(()),
        _ => Err(wrong("some calls were not answered in time and were cut")),
    }
}

fn config(settings: &Settings, folder: &std::path::Path) -> Result<Config, CliError> {
    let listen = settings.get("server.grpc_addr").ok_or_else(|| wrong("grpc listen address required for server"))?;
    let tls = "unable to set up TLS: server.tls_cert_file and server.tls_key_file are needed";
    let pair = settings.pair("server.tls_cert_file", "server.tls_key_file", tls)?;
    let (certificate, key) = pair.ok_or_else(|| wrong(tls))?;
    let authority = settings.path("server.client_ca_file").ok_or_else(|| {
        wrong("server.client_ca_file is needed: without it whoever reaches the signer could have anything signed")
    })?;
    let (storage, alias) = match settings.database()? {
        None => (KeyStorage::Folder, IN_MEMORY.to_owned()),
        Some(url) => {
            let missing = || wrong("must provide a default alias for the key DB");
            let alias = settings.get("storage.default_alias").or_else(|| settings.get("default_alias"));
            let storage = KeyStorage::Reference { url: Box::new(url), connections: Connections::default() };
            (storage, alias.ok_or_else(missing)?)
        }
    };
    let variables = Variables::new(|name| variable(name)?.into_string().ok());
    Ok(Config {
        listen: address(&listen)?,
        storage,
        identity: Identity { certificate, key },
        clients: Clients { authority, names: Vec::new() },
        alias: KeyAlias::parse(&alias).map_err(wrong)?,
        passphrases: Passphrases::new(BTreeMap::new(), variables, folder),
        data_dir: folder.to_owned(),
        metrics: None,
        tokens: countersign_keyservice::KeyTokens::default(),
        clock: Clock::system(),
        limits: Limits::default(),
    })
}
