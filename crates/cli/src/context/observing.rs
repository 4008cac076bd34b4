//! A context for looking: it opens no log, asks nobody, and keeps nothing.

use super::{AskingPerson, Context, ContextOptions, NamedBy, NamedService};
use crate::audit::AuditLog;
use crate::error::CliError;
use crate::prompt::Voice;
use crate::settings::Settings;
use countersign_notary::Access;
use countersign_registry::credentials::CredentialStore;
use countersign_registry::http::{Patience, ProxyRules};
use countersign_trust::{CollectionClient, Connection, Credentials, Destination};
use countersign_tuf::{Gun, Pinning};
use countersign_vault::{NoPassphrases, TrustDirectory};
use std::sync::Arc;

/// What was read before, each part by itself.
pub(crate) struct Parts {
    pub(crate) options: ContextOptions,
    pub(crate) settings: Settings,
    pub(crate) proxies: ProxyRules,
    pub(crate) directory: TrustDirectory,
    pub(crate) credentials: Arc<CredentialStore>,
    pub(crate) now: jiff::Timestamp,
}

impl Context {
    /// Puts together what was read; there are no passphrases, and what would be logged is not.
    pub(crate) fn observing(parts: Parts) -> Result<Self, CliError> {
        let Parts { options, settings, proxies, directory, credentials, now } = parts;
        let connection =
            Connection { tls: options.tls, proxies, credentials: Credentials::OfRegistry(Arc::clone(&credentials)) };
        let default_server = options
            .default_server
            .map(|address| NamedService { address, named_by: NamedBy::Default("the client's own trust service") });
        Ok(Self {
            directory,
            docker_config: options.docker_config,
            connection,
            credentials,
            passphrases: Box::new(NoPassphrases),
            passphrase_command: None,
            voice: Voice::Native,
            tokens: Vec::new(),
            audit: AuditLog::open(None)?,
            now,
            settings,
            server: options.server,
            default_server,
            pins: options.pins,
            pins_named_by: options.pins_named_by,
            first_use: options.first_use,
            first_use_named_by: options.first_use_named_by,
            lost_root: options.lost_root,
            consent: AskingPerson(Voice::Native),
        })
    }

    /// Opens a collection for looking: nobody is asked whether a first root is taken.
    pub(crate) fn observed<'a>(
        &'a self,
        to: &Destination,
        gun: &Gun,
        pinning: &'a Pinning,
        access: Access,
        patience: Patience,
    ) -> Result<CollectionClient<'a>, CliError> {
        let service = self.connection.open(to, gun, access)?.with_patience(patience);
        Ok(CollectionClient::new(&self.directory, service, pinning, &self.passphrases, self.now)?)
    }

    /// Returns the trust service that counts for everything, if one was named, and what named it.
    pub(crate) fn server(&self) -> Option<(Destination, NamedBy)> {
        self.server.as_ref().map(|named| (named.address.clone().into(), named.named_by.clone()))
    }

    /// Returns the settings.
    pub(crate) fn settings(&self) -> &Settings {
        &self.settings
    }
}
