//! Whose turn it is when something cannot be done with a collection.

use super::hints;
use super::{CliError, Kind};
use countersign_crypto::SignError;
use countersign_notary::ServiceError;
use countersign_trust::{ConnectionError, RequestError, TrustError};
use countersign_tuf::editor::EditError;
use countersign_tuf::update::{Absence, UpdateError};
use countersign_tuf::{LookupError, RootError, SignerUnavailable, SigningError};
use countersign_vault::{KeyStoreError, TokenError};

impl From<TrustError> for CliError {
    fn from(error: TrustError) -> Self {
        let message = error.to_string();
        match error {
            TrustError::Update(update) => of_update(&update),
            TrustError::Service(service) => service.into(),
            TrustError::Connection(connection) => connection.into(),
            TrustError::Keys(keys) => keys.into(),
            TrustError::Collection(collection) => collection.into(),
            TrustError::Signing(signing) => of_signing(&signing),
            TrustError::Lookup(lookup) => of_lookup(&lookup),
            TrustError::Edit(edit) => of_edit(&edit),
            TrustError::Request(request) => of_request(&request),
            TrustError::NotReadBack { error, .. } => Self::new(Self::from(*error).kind, message).hint(
                "do not rely on the signature before countersign verify succeeds; doing the same again does no harm",
            ),
            TrustError::NotStored(_) => Self::new(Kind::Trust, message).hint(
                "whatever answers for the trust service does not do its work: tell its operator, and check its address \
                 (countersign trust show says where it comes from)",
            ),
            TrustError::StaysReleased { role, .. } => Self::new(Kind::Trust, message)
                .hint(format!("load a key of {role} with countersign key load, or ask its owner to revoke")),
            TrustError::NoDigest { .. } | TrustError::NotReleased { .. } | TrustError::SameKey { .. } => Self::new(Kind::Trust, message),
            TrustError::NothingSigned(_) => Self::user(message),
            TrustError::NoDelegationKey { .. } => Self::new(Kind::Local, message)
                .hint("load a signer's private key with countersign key load, or ask a signer to sign"),
            TrustError::OutsidePaths { gun, roles, .. } => Self::user(message).hint(format!(
                "keys are not what is missing: whoever holds the repository key (targets) of {gun} can let {} sign more \
                 names (notary delegation add --paths), or choose a name that is theirs",
                roles.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
            )),
            TrustError::Unpinned { .. } => Self::new(Kind::Trust, message).hint(
                "nothing was published: publish the first time without pins, then pin the root key that was made",
            ),
            TrustError::Vanished(_) => Self::new(Kind::Trust, message).hint(
                "check the service's address (countersign trust show); nothing was published and nothing was changed here",
            ),
            TrustError::TakenOver(_) | TrustError::Busy { .. } | TrustError::ConflictWithNothing(_) => {
                Self::new(Kind::Network, message)
            }
            TrustError::Making(_) => Self::internal(&message),
            TrustError::Seen { .. } | TrustError::UnusableKeyFile { .. } => Self::new(Kind::Local, message),
        }
    }
}

fn of_lookup(error: &LookupError) -> CliError {
    let hint = match error {
        LookupError::NotFound(_) => "countersign inspect shows what is signed".to_owned(),
        LookupError::Broken { role, .. } => {
            format!("whoever signs for {role} has to sign again; an older signature is not used instead")
        }
    };
    CliError::new(Kind::Trust, error).hint(hint)
}

fn of_edit(error: &EditError) -> CliError {
    match error {
        EditError::Broken { role, .. } => CliError::new(Kind::Trust, error).hint(format!(
            "if a signer was removed: notary witness GUN {role} --publish signs what is there with the present keys"
        )),
        EditError::UnknownRole(_)
        | EditError::InvalidRole { .. }
        | EditError::PathNotAllowed { .. }
        | EditError::Name(_)
        | EditError::Meta { .. }
        | EditError::UnusableKey { .. }
        | EditError::LastVersion(_) => CliError::user(error),
    }
}

fn of_request(error: &RequestError) -> CliError {
    match error {
        RequestError::WitnessDeclined { .. }
        | RequestError::StagedRotation { .. }
        | RequestError::ArchiveBehind { .. }
        | RequestError::OtherHistory(_) => CliError::new(Kind::Trust, error),
        RequestError::OtherThere(_) => CliError::new(Kind::Trust, error).hint(
            "nothing was changed: ask who made it; only where the collection is deleted there can the archived one move in",
        ),
        RequestError::NobodyLeft { .. } => CliError::new(Kind::Local, error)
            .hint("load a key that is left with countersign key load, or leave out what was to be signed again"),
        RequestError::NoTargetsRole(_)
        | RequestError::NoDelegation(_)
        | RequestError::NotWitnessed(_)
        | RequestError::Custom(_)
        | RequestError::StagedChange { .. }
        | RequestError::StagedJunk { .. }
        | RequestError::NothingPurged { .. }
        | RequestError::Initialised(_)
        | RequestError::NoRootKey(_)
        | RequestError::NoKey(_)
        | RequestError::OtherRole { .. }
        | RequestError::PlainRootKey
        | RequestError::PrivateKey(_)
        | RequestError::RootCertificate(_)
        | RequestError::CertificateName { .. }
        | RequestError::CertificateKey(_)
        | RequestError::PublicKey(_)
        | RequestError::PrivateForPublic
        | RequestError::NotByService(_)
        | RequestError::NotByClient(_)
        | RequestError::NotRotated(_)
        | RequestError::NotCertified(_)
        | RequestError::NotListed { .. }
        | RequestError::SignerName(_)
        | RequestError::Releases
        | RequestError::SignerWithoutKey
        | RequestError::MoreThanOneRun(_)
        | RequestError::NoSigner { .. } => CliError::user(error),
    }
}

/// Finds a token's failure behind a failure to sign.
fn token_behind(error: &SigningError) -> Option<&TokenError> {
    match error {
        SigningError::Unavailable(SignerUnavailable { source, .. }) => match source.downcast_ref() {
            Some(KeyStoreError::Token(token)) => Some(token),
            _ => None,
        },
        SigningError::Failed { source: SignError::Holder { source, .. }, .. } => source.downcast_ref(),
        _ => None,
    }
}

fn of_signing(error: &SigningError) -> CliError {
    if let Some(token) = token_behind(error) {
        return CliError { message: error.to_string(), ..hints::of_token(token) };
    }
    let hint = match error {
        SigningError::MissingKeys { .. } => {
            "load the private key with countersign key load, or use the trust directory that it is in"
        }
        SigningError::Unavailable(_) => hints::PASSPHRASES,
        SigningError::Unacceptable { .. } => {
            return CliError::new(Kind::Trust, error).hint("nothing was published").hint(RENEW_ROOT);
        }
        SigningError::Failed { .. } => return CliError::internal(error),
    };
    CliError::new(Kind::Local, error).hint(hint)
}

fn of_update(error: &UpdateError) -> CliError {
    let message = error.to_string();
    match error {
        UpdateError::NoTrustData(_) => CliError::new(Kind::Trust, message).hint(
            "nobody has signed this image at this trust service; is it the right one? countersign trust show says which, \
             and what named it (DOCKER_CONTENT_TRUST_SERVER, for example)",
        ),
        UpdateError::Away { absence, .. } => of_absence(absence, &message),
        UpdateError::LostRoot(_) => CliError::new(Kind::Trust, message).hint(
            "restore the trust directory from a backup; if you accept that trust is established anew: --re-establish-trust",
        ),
        UpdateError::CachedRoot(_) => CliError::new(Kind::Local, message)
            .hint("restore the trust directory from a backup: the cached root is what trust in this image rests on"),
        UpdateError::Root(RootError::FirstUse(_)) => CliError::new(Kind::Trust, message).hint(FIRST_USE),
        UpdateError::Root(RootError::Pin(_)) => CliError::new(Kind::Trust, message)
            .hint(FIRST_USE)
            .hint("countersign trust show says what is pinned, and where"),
        UpdateError::Root(RootError::Expired(expired)) | UpdateError::Expired(expired) => {
            CliError::new(Kind::Trust, message).hinted(hints::of_expired(expired))
        }
        UpdateError::Root(RootError::NoLeafCertificates(_)) => {
            CliError::new(Kind::Trust, message).hint(RENEW_ROOT).hint(hints::clock())
        }
        UpdateError::Root(RootError::NotRotated(_) | RootError::NotSigned(_))
        | UpdateError::Threshold(_)
        | UpdateError::Regression(_)
        | UpdateError::Rollback(_)
        | UpdateError::Mismatch { .. }
        | UpdateError::ForeignRoot { .. }
        | UpdateError::DelegationDropped(_)
        | UpdateError::TooManyRotations { .. } => suspicious(&message),
        UpdateError::Root(RootError::Version { .. })
        | UpdateError::MissingRoot { .. }
        | UpdateError::Metadata { .. }
        | UpdateError::MissingFile { .. }
        | UpdateError::TooManyDelegations(_)
        | UpdateError::Incomplete => CliError::new(Kind::Trust, message),
    }
}

const RENEW_ROOT: &str = "if its root certificate has expired, the owner of the root key can make a new one: \
     countersign key rotate IMAGE root --root-certificate";

const FIRST_USE: &str = "compare the root key's id with its owner's and pin it: countersign pin IMAGE --root-key ID keeps \
     the pin, --pin ID or --pin-ca FILE is for once";

fn suspicious(message: &str) -> CliError {
    CliError::new(Kind::Trust, format!("Warning: potential malicious behavior - {message}"))
        .hint("nothing of the trust service's answer was kept; ask the owner before you try again")
        .hint(
            "only if the owner confirms, by another way, that the collection was made anew with the root key ID: \
             --re-establish-trust --pin ID",
        )
}

fn of_absence(absence: &Absence, message: &str) -> CliError {
    match absence {
        Absence::Refused(_) => CliError::new(Kind::Network, message).hint(LOGIN_HINT),
        Absence::Tls(_) => CliError::new(Kind::Network, message).hinted(hints::of_tls(message)),
        Absence::Hostile(_) => CliError::new(Kind::Trust, message).hint(HOSTILE_HINT),
        Absence::NotFound | Absence::Unreachable(_) => CliError::new(Kind::Network, message).hint(AWAY_HINT),
    }
}

const AWAY_HINT: &str = "is the trust service running and reachable? its address comes from --server, \
     DOCKER_CONTENT_TRUST_SERVER or the settings: countersign trust show says which";

const HOSTILE_HINT: &str = "that is no answer of a trust service: check its address (countersign trust show), and what \
     stands between here and there";

const LOGIN_HINT: &str = "log in to the registry with docker login; the trust service takes the registry's credentials";

impl From<ServiceError> for CliError {
    fn from(error: ServiceError) -> Self {
        let message = error.to_string();
        match error {
            ServiceError::Rejected(reason) => Self::new(Kind::Trust, message).hinted(hints::of_rejection(&reason)),
            ServiceError::NoTrustData { .. } | ServiceError::Key { .. } => Self::new(Kind::Trust, message),
            ServiceError::Unauthorised(_) => Self::new(Kind::Network, message).hint(LOGIN_HINT),
            ServiceError::Tls(_) => Self::new(Kind::Network, &message).hinted(hints::of_tls(&message)),
            ServiceError::Hostile(_) => Self::new(Kind::Trust, message).hint(HOSTILE_HINT),
            ServiceError::Local(_) => Self::new(Kind::Local, message),
            ServiceError::Away(_) => Self::new(Kind::Network, message).hint(AWAY_HINT).hint(
                "if something was being signed it may have been stored all the same: doing it again does no harm",
            ),
            ServiceError::Conflict => Self::new(Kind::Network, message),
        }
    }
}

impl From<ConnectionError> for CliError {
    fn from(error: ConnectionError) -> Self {
        match error {
            ConnectionError::Address(_) => Self::user(error)
                .hint("set DOCKER_CONTENT_TRUST_SERVER to the trust service, for example https://localhost:4443"),
            ConnectionError::Tls(_) | ConnectionError::Proxy(_) | ConnectionError::Http(_) => {
                Self::new(Kind::Local, error)
            }
        }
    }
}

#[cfg(test)]
mod tests;
