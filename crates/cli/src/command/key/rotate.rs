//! `countersign key rotate`: new keys for a role, and the proof that everybody can still verify.

mod compromise;
pub(super) mod outcome;

use super::decisions::Decisions;
use super::read_bounded;
use crate::audit::{Action, Entry};
use crate::command::Format;
use crate::context::Context;
use crate::error::{CliError, Kind};
use crate::notes;
use crate::output::{harmless, message};
use crate::progress::showing;
use crate::prompt::Voice;
use clap::{Args, ValueEnum};
use countersign_crypto::KeyId;
use countersign_image::Reference;
use countersign_notary::Access;
use countersign_trust::{
    CollectionClient, Holder, LegacyRoots, NewKeys, Rotated, Rotation, Source, read_root_certificate,
};
use countersign_tuf::update::Purpose;
use countersign_tuf::{Collection, Gun, RoleName};
use outcome::Outcome;
use std::path::{Path, PathBuf};

/// Replace the key of a role, and check that new and old clients still verify
///
/// The new key signs from then on; the old one counts no more. After that the image's metadata is verified as a client does
/// that has never seen it, and as one that knows what was there before. With --compromised, keys go from everything at
/// once, and what only they have signed is signed anew where you confirm it.
#[derive(Debug, Args)]
#[expect(clippy::struct_excessive_bools, reason = "one for each flag of the command line")]
pub(crate) struct Rotate {
    /// The image or collection; a tag does not matter
    #[arg(value_name = "IMAGE|GUN")]
    image: String,
    /// Whose key is replaced; targets is the repository key
    #[arg(value_enum, default_value = "targets")]
    role: BaseRole,
    /// The trust service makes and keeps the new key (snapshot; for timestamp always)
    #[arg(short = 'r', long, conflicts_with_all = ["local", "key", "key_id"])]
    server_managed: bool,
    /// This machine makes and keeps the new snapshot key [default: whoever has it now]
    #[arg(long)]
    local: bool,
    /// Take the new key from this PEM file (repeatable)
    #[arg(short, long, value_name = "FILE")]
    key: Vec<PathBuf>,
    /// Take a key that is here already (repeatable)
    #[arg(long, value_name = "ID", conflicts_with = "key")]
    key_id: Vec<KeyId>,
    /// Of root: keep the key and make a new certificate, or take the one in FILE
    #[arg(long, value_name = "FILE", num_args = 0..=1, require_equals = true, default_missing_value = "", conflicts_with_all = ["key", "key_id", "new_key"])]
    root_certificate: Option<String>,
    /// Of root: make a new key, which is what happens without any option
    #[arg(long, conflicts_with_all = ["key", "key_id"])]
    new_key: bool,
    /// Of root: keys of this many earlier roots sign as well; -1 is all
    #[arg(short, long, value_name = "N", default_value_t = 0, allow_negative_numbers = true)]
    legacy: i64,
    /// Take this key (id), or all keys of this signer, out of everything (repeatable)
    #[arg(long, value_name = "ID|SIGNER", conflicts_with_all = ["server_managed", "local", "key", "key_id", "root_certificate", "new_key", "legacy"])]
    compromised: Vec<String>,
    /// With --compromised: show what would be done, and do nothing
    #[arg(long)]
    dry_run: bool,
    #[command(flatten)]
    decisions: Decisions,
    /// Do not ask before a root key is replaced or signatures are taken away
    #[arg(short, long)]
    yes: bool,
    /// How to print
    #[arg(long, value_enum, default_value = "text")]
    format: Format,
}

/// The roles whose keys are rotated.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum BaseRole {
    Targets,
    Snapshot,
    Timestamp,
    Root,
}

impl BaseRole {
    fn role(self) -> RoleName {
        match self {
            Self::Targets => RoleName::Targets,
            Self::Snapshot => RoleName::Snapshot,
            Self::Timestamp => RoleName::Timestamp,
            Self::Root => RoleName::Root,
        }
    }
}

/// Reads an image's or a collection's name.
pub(super) fn gun_of(text: &str) -> Result<Gun, CliError> {
    match Reference::parse(text) {
        Ok(reference) if reference.digest().is_some() => {
            Err(CliError::user("keys belong to a whole repository: name it without a digest"))
        }
        Ok(reference) => Ok(reference.gun().clone()),
        // Collections of other things than images may have names that no image has.
        Err(error) => Gun::parse(text).map_err(|_| error.into()),
    }
}

impl Rotate {
    pub(super) async fn run(&self, context: &Context) -> Result<(), CliError> {
        let gun = gun_of(&self.image)?;
        if !self.compromised.is_empty() {
            return Box::pin(compromise::run(self, context, &gun)).await;
        }
        if self.decisions.any() || self.dry_run {
            let text = "signing anew, keeping signers and --dry-run go with --compromised ID|SIGNER";
            return Err(CliError::user(text));
        }
        self.check_root_options()?;
        let role = self.role.role();
        let rotated = Box::pin(self.rotate(context, &gun, &role)).await;
        let (rotation, rotated, readers) =
            rotated.map_err(|error| context.audit.refused(Action::Sign, gun.as_str(), "", error))?;
        notes::show_published(rotated.base.as_deref(), &rotated.collection);
        record(context, &rotated.collection, &role)?;
        Outcome::of(context, &gun, &[rotation], &rotated, readers)?.tell(self.format)
    }

    async fn rotate(
        &self,
        context: &Context,
        gun: &Gun,
        role: &RoleName,
    ) -> Result<(Rotation, Rotated, countersign_trust::Readers), CliError> {
        let pinning = context.pinning_of(gun);
        let holder = self.holder(context, gun, role).await?;
        Rotation::check(role, holder).map_err(CliError::user)?;
        if *role == RoleName::Root && !self.yes {
            confirm(gun)?;
        }
        let access = if holder == Holder::Service { Access::Administer } else { Access::Write };
        let client = context.collection(gun, &pinning, access)?;
        if !self.key.is_empty() {
            // No key is taken in for a rotation that cannot be.
            client.check_rotation(role).await?;
        }
        let keys = if holder == Holder::Service { NewKeys::OfService } else { self.keys(&client, context, role)? };
        let legacy = match u32::try_from(self.legacy) {
            Ok(0) => LegacyRoots::None,
            Ok(number) => LegacyRoots::Last(number),
            Err(_) => LegacyRoots::All,
        };
        let rotation = Rotation { role: role.clone(), keys, legacy };
        let rotated = showing("signing and publishing", Box::pin(client.rotate(&rotation))).await?;
        let readers = Box::pin(client.readers(rotated.base.as_deref())).await;
        Ok((rotation, rotated, readers))
    }

    /// Decides who gets the new key: of a snapshot whoever has the present one, so that nobody loses the ability to publish
    /// by a slip.
    async fn holder(&self, context: &Context, gun: &Gun, role: &RoleName) -> Result<Holder, CliError> {
        if self.local && *role != RoleName::Snapshot {
            return Err(CliError::user("--local is for the snapshot key: the other keys have no choice of holders"));
        }
        let given = self.local || !self.key.is_empty() || !self.key_id.is_empty();
        match role {
            _ if self.server_managed => Ok(Holder::Service),
            RoleName::Timestamp if !given => Ok(Holder::Service),
            RoleName::Snapshot if !given => {
                let pinning = context.pinning_of(gun);
                let client = context.collection(gun, &pinning, Access::Read)?;
                let present = client.update(Purpose::Publish).await?;
                Ok(holder_of(&client, &present, role)?)
            }
            _ => Ok(Holder::Client),
        }
    }

    fn keys(&self, client: &CollectionClient<'_>, context: &Context, role: &RoleName) -> Result<NewKeys, CliError> {
        match self.root_certificate.as_deref() {
            Some("") => return Ok(NewKeys::Recertified),
            Some(file) => {
                let pem = read_file(Path::new(file))?;
                let certificate = read_root_certificate(&pem, client.gun(), context.now).map_err(CliError::user)?;
                return Ok(NewKeys::Certified(vec![certificate]));
            }
            None => {}
        }
        if !self.key_id.is_empty() {
            return Ok(NewKeys::Stored(self.key_id.clone()));
        }
        if self.key.is_empty() {
            return Ok(NewKeys::Generate);
        }
        let mut ids = Vec::new();
        for file in &self.key {
            let pem = zeroize::Zeroizing::new(read_file(file)?);
            ids.push(client.import_key(role, &pem)?);
        }
        Ok(NewKeys::Stored(ids))
    }

    fn check_root_options(&self) -> Result<(), CliError> {
        let given = [
            ("--root-certificate", self.root_certificate.is_some()),
            ("--new-key", self.new_key),
            ("--legacy", self.legacy != 0),
        ];
        match given.iter().find(|(_, given)| *given && self.role != BaseRole::Root) {
            Some((name, _)) => {
                Err(CliError::user(format!("{name} is for the root key: countersign key rotate IMAGE root")))
            }
            None => Ok(()),
        }
    }
}

/// Tells who holds the keys of a base role.
pub(super) fn holder_of(
    client: &CollectionClient<'_>,
    collection: &Collection,
    role: &RoleName,
) -> Result<Holder, CliError> {
    for id in keys_of(collection, role) {
        if client.keys().find(&id)?.is_some() {
            return Ok(Holder::Client);
        }
    }
    Ok(Holder::Service)
}

/// Returns the keys (canonical ids) of a base role.
pub(super) fn keys_of(collection: &Collection, role: &RoleName) -> Vec<KeyId> {
    let root = collection.root();
    let ids = root.trusted(role).map(|keys| keys.key_ids.as_slice()).unwrap_or_default();
    ids.iter().filter_map(|id| root.keys.get(id)).map(countersign_crypto::PublicKey::canonical_id).collect()
}

/// Writes down that a role's keys were replaced.
pub(super) fn record(context: &Context, collection: &Collection, role: &RoleName) -> Result<(), CliError> {
    let keys = collection.root().signers().collect();
    let entry = Entry { action: Action::Sign, name: role.as_str(), digest: None, keys, source: Source::of(collection) };
    context.audit.entry(collection.gun().as_str(), &entry, "was rotated")
}

fn confirm(gun: &Gun) -> Result<(), CliError> {
    let question = format!(
        "The root certificate or key of {gun} is about to be replaced, signed by the present root key.\n\
         Whoever has pinned it has to pin the new one. Go on?"
    );
    if Voice::Native.confirms(question) { Ok(()) } else { Err(CliError::user("nothing was rotated: not confirmed")) }
}

fn read_file(file: &Path) -> Result<Vec<u8>, CliError> {
    read_bounded(file).map_err(|error| CliError::user(format!("{}: {error}", file.display())))
}

/// A role as people call it.
pub(super) fn short(role: &RoleName) -> &str {
    role.as_str().strip_prefix("targets/").unwrap_or(role.as_str())
}

/// Says what to do next, on stderr.
pub(super) fn hint(text: impl std::fmt::Display) {
    message(format_args!("  hint: {}", harmless(&text.to_string())));
}

/// The error where readers do not verify what was just published.
pub(super) fn unreadable(who: &str, gun: &Gun, error: countersign_trust::TrustError) -> CliError {
    let cause = CliError::from(error);
    let text = format!(
        "the keys of {gun} were changed and the trust service has accepted that, but {who} does not verify: {}",
        cause.message
    );
    let kind = if cause.kind == Kind::Network { Kind::Network } else { Kind::Trust };
    CliError::new(kind, text).hint("look whether countersign verify succeeds; the same rotation can be made again")
}
