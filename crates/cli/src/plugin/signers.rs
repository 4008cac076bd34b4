//! `docker trust signer add` and `docker trust signer remove`.

use super::keys::check_name;
use super::line::Call;
use super::session::{about, context};
use crate::context::Context;
use crate::error::CliError;
use crate::output::{data, harmless, message};
use crate::prompt::Voice;
use crate::trusted::remark;
use crate::trusted::words::{decorated, plain, user};
use countersign_crypto::PublicKey;
use countersign_image::Reference;
use countersign_notary::Access;
use countersign_trust::{
    Consequence, MAX_PUBLIC_KEY_FILE, RequestError, SignerName, SignerRemoval, TrustError, read_public_key,
};
use std::io::Read;

/// The role that everybody's releases are in.
const RELEASES: &str = "releases";
/// Names in a question; the others are counted.
const MOST_NAMES: usize = 20;

pub(super) async fn add(call: &Call) -> Result<(), CliError> {
    let arguments = call.own.texts();
    let Some((name, images)) = arguments.split_first() else { return Err(user("no signer")) };
    if *name == RELEASES {
        return Err(user("releases is a reserved keyword, use a different signer name"));
    }
    check_name("signer", name)?;
    let signer = SignerName::parse(name).map_err(user)?;
    let files = call.own.values("key");
    if files.is_empty() {
        return Err(user("path to a public key must be provided using the `--key` flag"));
    }
    let context = context(call)?;
    let keys = files.iter().map(|file| public_key(file, &context)).collect::<Result<Vec<_>, _>>()?;
    let mut failures = Failures::default();
    for image in images {
        data(format_args!("Adding signer {name:?} to {image}..."))?;
        match add_to(&context, image, &signer, &keys).await {
            Ok(()) => data(format_args!("Successfully added signer: {name} to {image}\n"))?,
            Err(error) => failures.note(image, &error),
        }
    }
    failures.end("failed to add signer to")
}

async fn add_to(context: &Context, image: &str, signer: &SignerName, keys: &[PublicKey]) -> Result<(), CliError> {
    let reference = Reference::parse(image)?;
    let pinning = context.pinning(&reference);
    let client = context.client(&reference, &pinning, Access::Write)?;
    let failed = |error: TrustError| decorated(error, about(reference.gun(), &client));
    let base = client.published().await.map_err(failed)?;
    match &base {
        Some(collection) => remark(collection),
        None => data(format_args!("Initializing signed repository for {image}..."))?,
    }
    client.add_signer(signer, keys).await.map_err(failed)?;
    if base.is_none() { data(format_args!("Successfully initialized {image:?}")) } else { Ok(()) }
}

fn public_key(file: &str, context: &Context) -> Result<PublicKey, CliError> {
    let shown = harmless(file);
    let unreadable = |error: std::io::Error| {
        let reason = match error.kind() {
            std::io::ErrorKind::NotFound => "no such file or directory".to_owned(),
            _ => error.to_string(),
        };
        user(format!("unable to read public key from file: open {shown}: {reason}"))
    };
    let mut bytes = Vec::new();
    let opened = std::fs::File::open(file).map_err(unreadable)?;
    opened.take(MAX_PUBLIC_KEY_FILE as u64 + 1).read_to_end(&mut bytes).map_err(unreadable)?;
    read_public_key(&bytes, context.now).map_err(|error| {
        let reason = match &error {
            RequestError::PrivateForPublic => format!(
                "unsupported PEM block type {:?}, expected CERTIFICATE or PUBLIC KEY",
                block_type(&bytes).unwrap_or_default()
            ),
            RequestError::PublicKey(_) if block_type(&bytes).is_none() => "no valid public key found".to_owned(),
            RequestError::PublicKey(reason) => reason.clone(),
            other => other.to_string(),
        };
        user(format!("could not parse public key from file: {shown}: {reason}"))
    })
}

/// Returns what the first PEM block says it is.
fn block_type(bytes: &[u8]) -> Option<String> {
    let text = String::from_utf8_lossy(bytes);
    let begin = text.lines().find_map(|line| line.trim().strip_prefix("-----BEGIN ").map(str::to_owned))?;
    Some(begin.trim_end_matches('-').to_owned())
}

pub(super) async fn remove(call: &Call) -> Result<(), CliError> {
    let arguments = call.own.texts();
    let Some((name, images)) = arguments.split_first() else { return Err(user("no signer")) };
    let context = context(call)?;
    let consent = if call.own.is_on("force") { Consent::Given } else { Consent::Asked };
    let mut failures = Failures::default();
    for image in images {
        data(format_args!("Removing signer {name:?} from {image}..."))?;
        match remove_from(&context, image, name, consent).await {
            Ok(()) => data(format_args!("Successfully removed {name} from {image}\n"))?,
            Err(error) => failures.note(image, &error),
        }
    }
    failures.end("error removing signer from")
}

/// Whether the person has agreed beforehand.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Consent {
    Given,
    Asked,
}

async fn remove_from(context: &Context, image: &str, name: &str, consent: Consent) -> Result<(), CliError> {
    if name == RELEASES {
        return Err(user("releases is a reserved keyword and cannot be removed"));
    }
    let no_signer = || user(format!("no signer {name} for repository {image}"));
    let reference = Reference::parse(image)?;
    let pinning = context.pinning(&reference);
    let client = context.client(&reference, &pinning, Access::Write)?;
    let Ok(signer) = SignerName::parse(name) else { return Err(no_signer()) };
    let removal = client.signer_removal(&signer).await.map_err(|error| match error {
        TrustError::Request(RequestError::NoSigner { .. }) => no_signer(),
        error => {
            let error = plain(error, about(reference.gun(), &client));
            CliError { message: format!("error retrieving signers for {image}: {}", error.message), ..error }
        }
    })?;
    if let Some(question) = question(image, name, &removal).filter(|_| consent == Consent::Asked)
        && !Voice::Docker.confirms(question)
    {
        return Err(user(format!("{name} was not removed: not confirmed")));
    }
    let removed = client.remove_signer(&signer).await.map_err(|error| plain(error, about(reference.gun(), &client)))?;
    if let Some(base) = &removed.base {
        remark(base);
    }
    if removed.consequence == Consequence::SignedAnew {
        message(format_args!("  hint: what only {name} had released was signed anew with a key of this machine"));
    }
    Ok(())
}

/// Asks where docker asks: when the signer was the last to sign what is released. What nobody else vouches for is named
/// before a key of this machine signs it, for the signer may be removed because the key was stolen.
fn question(image: &str, name: &str, removal: &SignerRemoval) -> Option<String> {
    let consequence = match removal.consequence {
        Consequence::StaysReleased | Consequence::NothingReleased => return None,
        Consequence::SignedAnew if removal.released_alone.is_empty() => return None,
        Consequence::SignedAnew => {
            let names = removal.released_alone.iter().map(|name| harmless(name));
            let shown = names.take(MOST_NAMES).collect::<Vec<_>>().join(", ");
            let more = match removal.released_alone.len().saturating_sub(MOST_NAMES) {
                0 => String::new(),
                more => format!(" and {more} more"),
            };
            format!("A key of this machine will sign anew what nobody else has signed: {shown}{more}.")
        }
        Consequence::Unpullable => format!("Removing this signer will make {image} unpullable."),
    };
    Some(format!(
        "The signer {name:?} signed the last released version of {image}. {consequence} Are you sure you want to continue?"
    ))
}

/// The repositories for which it did not work; the others go on.
#[derive(Default)]
struct Failures {
    images: Vec<String>,
    kind: Option<crate::error::Kind>,
}

impl Failures {
    fn note(&mut self, image: &str, error: &CliError) {
        message(format_args!("{}\n", harmless(&error.message)));
        for hint in &error.hints {
            message(format_args!("  hint: {}", harmless(hint)));
        }
        self.images.push(image.to_owned());
        self.kind.get_or_insert(error.kind);
    }

    fn end(self, what: &str) -> Result<(), CliError> {
        match self.kind {
            Some(kind) => Err(CliError::new(kind, format!("{what}: {}", self.images.join(", ")))),
            None => Ok(()),
        }
    }
}
