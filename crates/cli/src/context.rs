//! What every command needs, read once from options, environment and settings.

mod observing;
mod options;

pub(crate) use observing::Parts;
pub(crate) use options::{
    ContextOptions, FirstUsePolicy, GlobalOptions, NamedBy, NamedService, SERVER, authorities, docker_config, variable,
};

use crate::audit::AuditLog;
use crate::error::{CliError, Kind};
use crate::prompt::{PersonPassphrases, Voice};
use crate::settings::key_care::PASSPHRASE_COMMAND;
use crate::settings::{PinRule, Settings};
use countersign_crypto::KeyId;
use countersign_image::Reference;
use countersign_notary::Access;
use countersign_registry::credentials::CredentialStore;
use countersign_registry::http::ProxyRules;
use countersign_trust::{CollectionClient, Connection, Credentials, Destination, FirstUseConsent};
use countersign_tuf::update::LostRoot;
use countersign_tuf::{FirstUse, Gun, Pin, Pinning};
use countersign_vault::{
    CommandPassphrases, EnvironmentPassphrases, KeyStore, NewKeyPlace, PassphraseCommand, PassphraseSource, Remembered,
    Sequence, TokenConfig, Tokens, TrustDirectory, is_secret_variable,
};
use std::path::PathBuf;
use std::sync::Arc;

/// What every personality shares: trust directory, services, pins, passphrases, audit log and the time.
pub(crate) struct Context {
    pub(crate) docker_config: PathBuf,
    pub(crate) directory: TrustDirectory,
    pub(crate) connection: Connection,
    /// What docker keeps for registries.
    pub(crate) credentials: Arc<CredentialStore>,
    pub(crate) passphrases: Box<dyn PassphraseSource>,
    /// Who is asked for new passphrases of keys that have one.
    passphrase_command: Option<PassphraseCommand>,
    voice: Voice,
    tokens: Vec<TokenConfig>,
    pub(crate) audit: AuditLog,
    pub(crate) now: jiff::Timestamp,
    settings: Settings,
    server: Option<NamedService>,
    default_server: Option<NamedService>,
    pins: Pinning,
    pins_named_by: NamedBy,
    first_use: Option<FirstUsePolicy>,
    first_use_named_by: NamedBy,
    lost_root: LostRoot,
    consent: AskingPerson,
}

impl Context {
    /// Reads the native personality's options and the environment; nothing is created and nothing is sent.
    pub(crate) fn new(options: &GlobalOptions) -> Result<Self, CliError> {
        Self::open(ContextOptions::native(options)?)
    }

    /// Reads what a personality's options leave open; nothing is created and nothing is sent.
    pub(crate) fn open(options: ContextOptions) -> Result<Self, CliError> {
        let proxies = ProxyRules::from_environment().map_err(|error| CliError::new(Kind::Local, error))?;
        let credentials = CredentialStore::from_environment(&options.docker_config).withholding(is_secret_variable);
        let credentials = Arc::new(credentials);
        for remark in credentials.remarks() {
            warn(remark);
        }
        let connection = Connection {
            tls: options.tls,
            proxies,
            credentials: match options.credentials {
                Some(source) => Credentials::Given(source),
                None => Credentials::OfRegistry(Arc::clone(&credentials)),
            },
        };
        let settings = Settings::load()?;
        crate::error::tls_files_are(&connection.tls);
        let audit = AuditLog::open(options.audit_log.as_deref().or(settings.audit_log()))?;
        let passphrase_command = passphrase_command(&settings)?;
        let directory = TrustDirectory::at(&options.trust_dir)?.protecting(settings.keys().encryption());
        let tokens = tokens(&settings)?;
        let directory = directory.with_tokens(Tokens::new(tokens.clone()), settings.keys().new_keys());
        warn_about(&directory);
        let default_server = options
            .default_server
            .map(|address| NamedService { address, named_by: NamedBy::Default("the client's own trust service") });
        Ok(Self {
            directory,
            docker_config: options.docker_config,
            connection,
            credentials,
            passphrases: passphrases(options.voice, passphrase_command.clone()),
            passphrase_command,
            voice: options.voice,
            tokens,
            audit,
            now: jiff::Timestamp::now(),
            settings,
            server: options.server,
            default_server,
            pins: options.pins,
            pins_named_by: options.pins_named_by,
            first_use: options.first_use,
            first_use_named_by: options.first_use_named_by,
            lost_root: options.lost_root,
            consent: AskingPerson(options.voice),
        })
    }

    /// Opens the key store so that keys are made on this token: one of the settings, or the one that a `pkcs11:` URI describes.
    pub(crate) fn keys_on(&self, token: &str) -> Result<KeyStore, CliError> {
        let mut tokens = self.tokens.clone();
        let name = if token.starts_with("pkcs11:") {
            let module = variable(MODULE).map(PathBuf::from);
            let config = TokenConfig::of_uri(None, token, module.as_deref())
                .map_err(|error| CliError::user(error).hint("the option is --token"))?;
            let name = config.name().to_owned();
            // The URI counts where a token of the settings has the same name.
            tokens.retain(|known| known.name() != name);
            tokens.push(config);
            name
        } else {
            token.to_owned()
        };
        let place = NewKeyPlace::Token(name);
        Ok(self.directory.clone().with_tokens(Tokens::new(tokens), place).keys())
    }

    /// Returns who is asked for the new passphrase of a key that has one: not what opened it, and nothing remembered.
    pub(crate) fn new_passphrases(&self) -> Box<dyn PassphraseSource> {
        let environment = match self.voice {
            Voice::Native | Voice::Docker => EnvironmentPassphrases::new_ones(|name| std::env::var_os(name)),
            // As the reference does.
            Voice::Notary => environment_passphrases(self.voice),
        };
        let environment = environment.remarking(|remark| warn(remark));
        let person = PersonPassphrases { voice: self.voice };
        match &self.passphrase_command {
            Some(command) => {
                Box::new(Sequence(environment, Sequence(CommandPassphrases::new(command.clone()), person)))
            }
            None => Box::new(Sequence(environment, person)),
        }
    }

    /// Returns the pins as they apply to an image's collection.
    pub(crate) fn pinning(&self, reference: &Reference) -> Pinning {
        self.pinning_of(reference.gun())
    }

    /// Returns the pins as they apply to one collection. Whoever has to be asked before a first use is denied it here:
    /// [`Self::collection`] asks.
    pub(crate) fn pinning_of(&self, gun: &Gun) -> Pinning {
        let first_use = match self.first_use(gun).0 {
            FirstUsePolicy::Allow => FirstUse::Allow,
            FirstUsePolicy::Ask | FirstUsePolicy::Deny => FirstUse::Deny,
        };
        let mut pinning = Pinning::new(first_use);
        match self.pin(gun) {
            Some((PinRule::Keys(ids), _)) => pinning.pin_certificates(gun.as_str(), ids),
            Some((PinRule::Authorities(authorities), _)) => pinning.pin_authorities(gun.as_str(), authorities),
            None => {}
        }
        pinning
    }

    /// Returns the pin of a collection, and what says so.
    pub(crate) fn pin(&self, gun: &Gun) -> Option<(PinRule, NamedBy)> {
        match self.pins.pin(gun) {
            Pin::Certificates(ids) => Some((PinRule::Keys(ids.clone()), self.pins_named_by.clone())),
            Pin::Authorities(authorities) => {
                Some((PinRule::Authorities(authorities.to_vec()), self.pins_named_by.clone()))
            }
            Pin::FirstUse | Pin::Denied => {
                let pin = self.settings.pin(gun)?;
                Some((pin.value.clone(), pin.named_by()))
            }
        }
    }

    /// Returns what happens on first use of a collection, and what says so.
    pub(crate) fn first_use(&self, gun: &Gun) -> (FirstUsePolicy, NamedBy) {
        match (self.first_use, self.settings.first_use(gun)) {
            (Some(policy), _) => (policy, self.first_use_named_by.clone()),
            (None, Some(policy)) => (policy.value, policy.named_by()),
            (None, None) => (FirstUsePolicy::Allow, NamedBy::Default("as docker does")),
        }
    }

    /// Returns the trust service of a collection, and what named it.
    pub(crate) fn destination(&self, gun: &Gun) -> Result<(Destination, NamedBy), CliError> {
        if let Some(named) = &self.server {
            return Ok((named.address.clone().into(), named.named_by.clone()));
        }
        if let Some(chosen) = self.settings.service(gun) {
            return Ok(chosen);
        }
        let (mut destination, named_by) = match &self.default_server {
            Some(named) => (Destination::from(named.address.clone()), named.named_by.clone()),
            None => (Destination::of_registry(gun)?, NamedBy::Default("the registry's own host")),
        };
        destination.authorities = self.settings.service_authorities(gun);
        Ok((destination, named_by))
    }

    /// Opens the collection of an image.
    pub(crate) fn client<'a>(
        &'a self,
        reference: &Reference,
        pinning: &'a Pinning,
        access: Access,
    ) -> Result<CollectionClient<'a>, CliError> {
        self.collection(reference.gun(), pinning, access)
    }

    /// Opens a collection.
    pub(crate) fn collection<'a>(
        &'a self,
        gun: &Gun,
        pinning: &'a Pinning,
        access: Access,
    ) -> Result<CollectionClient<'a>, CliError> {
        self.collection_through(&self.connection, gun, pinning, access)
    }

    /// Opens a collection with another connection than the one configured, whose caller has said who they are.
    pub(crate) fn collection_through<'a>(
        &'a self,
        connection: &Connection,
        gun: &Gun,
        pinning: &'a Pinning,
        access: Access,
    ) -> Result<CollectionClient<'a>, CliError> {
        let (destination, _) = self.destination(gun)?;
        let service = connection.open(&destination, gun, access)?;
        let client = CollectionClient::new(&self.directory, service, pinning, &self.passphrases, self.now)?;
        let client = client.lost_root(self.lost_root);
        match self.first_use(gun).0 {
            FirstUsePolicy::Ask => Ok(client.asking(&self.consent)),
            FirstUsePolicy::Allow | FirstUsePolicy::Deny => Ok(client),
        }
    }
}

/// Shows a first root to the person at the terminal; where there is none the answer is no.
struct AskingPerson(Voice);

impl FirstUseConsent for AskingPerson {
    fn consents(&self, gun: &Gun, root_keys: &[KeyId]) -> bool {
        let ids: Vec<String> = root_keys.iter().map(|id| format!("  {id}")).collect();
        let question = format!(
            "{gun} was never seen on this machine. Its root key is\n{}\nCompare it with the owner's, by another way than this one. Is it the owner's?",
            ids.join("\n")
        );
        self.0.person_confirms(question)
    }
}

/// The variable with the URI of a token, before the settings.
const TOKEN: &str = "COUNTERSIGN_TOKEN";
/// The variable with the module of tokens whose URI names none.
const MODULE: &str = "COUNTERSIGN_PKCS11_MODULE";

/// Returns the tokens that keys can be on: that of the variable, then those of the settings.
fn tokens(settings: &Settings) -> Result<Vec<TokenConfig>, CliError> {
    let mut tokens = Vec::new();
    if let Some(uri) = variable(TOKEN) {
        let module = variable(MODULE).map(PathBuf::from);
        let config = TokenConfig::of_uri(None, &uri.to_string_lossy(), module.as_deref());
        let refuse = |error| CliError::new(Kind::Local, error).hint(format!("the variable is {TOKEN}"));
        tokens.push(config.map_err(refuse)?);
    }
    let named = |name: &str| tokens.iter().any(|token: &TokenConfig| token.name() == name);
    let others: Vec<_> = settings.keys().tokens().iter().filter(|token| !named(token.name())).cloned().collect();
    tokens.extend(others);
    Ok(tokens)
}

/// Puts the sources together: variables, the passphrase command, a person.
fn passphrases(voice: Voice, command: Option<PassphraseCommand>) -> Box<dyn PassphraseSource> {
    let person = Remembered::new(PersonPassphrases { voice });
    let asked: Box<dyn PassphraseSource> = match command {
        Some(command) => Box::new(Sequence(CommandPassphrases::new(command), person)),
        None => Box::new(person),
    };
    Box::new(Sequence(environment_passphrases(voice), asked))
}

/// Returns the passphrases of the variables alone.
fn environment_passphrases(voice: Voice) -> EnvironmentPassphrases {
    let lookup = |name: &str| std::env::var_os(name);
    let environment = match voice {
        Voice::Native | Voice::Docker => EnvironmentPassphrases::docker(lookup),
        Voice::Notary => EnvironmentPassphrases::notary(lookup),
    };
    environment.remarking(|remark| warn(remark))
}

/// Returns the program that is asked for passphrases: what the variable names, else what the settings do. The variable holds a
/// program alone or, in brackets, a list as in the settings.
pub(crate) fn passphrase_command(settings: &Settings) -> Result<Option<PassphraseCommand>, CliError> {
    let Some(text) = variable(PASSPHRASE_COMMAND) else { return Ok(settings.keys().passphrase_command().cloned()) };
    let refuse = |reason: &dyn std::fmt::Display| {
        CliError::new(Kind::Local, reason).hint(format!("the variable is {PASSPHRASE_COMMAND}"))
    };
    let words = match text.to_str() {
        Some(list) if list.starts_with('[') => {
            let words: Vec<String> =
                serde_json::from_str(list).map_err(|_| refuse(&"the passphrase command is no list of words"))?;
            words.into_iter().map(Into::into).collect()
        }
        _ => vec![text],
    };
    PassphraseCommand::new(words).map(Some).map_err(|error| refuse(&error))
}

/// Points out what others could read or change in the trust directory; keeping it is the owner's business.
fn warn_about(directory: &TrustDirectory) {
    match directory.warnings() {
        Ok(warnings) => warnings.iter().for_each(|warning| warn(warning)),
        Err(error) => warn(&error),
    }
}

fn warn(text: &dyn std::fmt::Display) {
    crate::output::message(format_args!("WARNING: {}", crate::output::harmless(&text.to_string())));
}
