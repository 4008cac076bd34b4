//! `notary key generate`: a new key, in the store or in files.

use crate::notary::context::Keys;
use crate::notary::failure::Failure;
use crate::notary::invocation::Invocation;
use crate::notary::{input, print};
use crate::output::harmless;
use countersign_crypto::{Algorithm, PrivateKey, SystemRandom};
use countersign_keyfile::{KeyBlock, Protection};
use countersign_vault::limits::NEW_PASSPHRASE_ATTEMPTS;
use countersign_vault::{KeyLabel, KeyLabelError, Passphrase, PassphraseRequest, Purpose, Reply};

/// Makes a key.
pub(in crate::notary) fn generate(invocation: &Invocation) -> Result<(), Failure> {
    let arguments = invocation.arguments();
    let algorithm = match arguments.as_slice() {
        [] => "ecdsa",
        [algorithm] => algorithm,
        _ => return Err(invocation.refuse("Please provide only one Algorithm as an argument to generate (rsa, ecdsa)")),
    };
    if !algorithm.eq_ignore_ascii_case("ecdsa") {
        return Err(Failure::user("Algorithm not allowed, possible values are: ECDSA"));
    }
    let keys = Keys::open(invocation)?;
    let role = invocation.parsed.value("role").unwrap_or("root");
    let key = || {
        PrivateKey::generate(Algorithm::EcdsaP256)
            .map_err(|error| Failure::local(format!("cannot make a key: {error}")))
    };
    if let Some(base) = invocation.value("output") {
        return to_files(&keys, &key()?, role, base);
    }
    let label = KeyLabel::new(role, None).map_err(|error| {
        let failure = Failure::user(format!("Failed to create a new {role} key: {error}"));
        match error {
            KeyLabelError::CollectionMissing { .. } => failure.hint(
                "keys of a collection are made by notary init and notary key rotate; with -o a key is written to files",
            ),
            _ => failure,
        }
    })?;
    let key = key()?;
    let added = keys.store().add(&key, &label, keys.passphrases());
    added.map_err(|error| Failure::from(error).context(&format!("Failed to create a new {role} key: ")))?;
    let (role, id) = (harmless(role), key.public_key().canonical_id());
    print(format_args!("Generated new ecdsa {role} key with keyID: {id}\n"))
}

/// Writes both halves to files; the store has nothing of it.
fn to_files(keys: &Keys, key: &PrivateKey, role: &str, base: &str) -> Result<(), Failure> {
    let failed = |error: &dyn std::fmt::Display| Failure::local(error);
    let passphrase =
        new_passphrase(keys, key).ok_or_else(|| failed(&"maximum number of passphrase attempts exceeded"))?;
    let protection = Protection::Compatible(passphrase.bytes());
    let mut private = KeyBlock::seal(key, protection, &mut SystemRandom).map_err(|error| failed(&error))?;
    private.set_role(Some(role).filter(|role| !role.is_empty())).map_err(|error| failed(&error))?;
    let mut public = pem::Pem::new("PUBLIC KEY", key.public_key().bytes());
    if !role.is_empty() {
        public.headers_mut().add("role", role).map_err(|error| failed(&error))?;
    }
    let public = pem::encode_config(&public, pem::EncodeConfig::new().set_line_ending(pem::LineEnding::LF));
    input::write(&format!("{base}-key.pem"), private.to_pem().as_bytes())?;
    input::write(&format!("{base}.pem"), public.as_bytes())
}

/// Obtains a passphrase for a key of no particular role, as the reference does.
fn new_passphrase(keys: &Keys, key: &PrivateKey) -> Option<Passphrase> {
    let key_id = Some(key.public_key().canonical_id());
    for attempt in 1..=NEW_PASSPHRASE_ATTEMPTS {
        let request = PassphraseRequest { key_id, attempt, ..PassphraseRequest::new("", Purpose::New) };
        match keys.passphrases().passphrase(&request) {
            Reply::Passphrase(passphrase, _) => return Some(passphrase),
            Reply::Again => {}
            Reply::Unavailable | Reply::Refused(_) => return None,
        }
    }
    None
}
