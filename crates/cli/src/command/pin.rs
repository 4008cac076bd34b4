//! `countersign pin`: what an image's root has to be, kept here or handed to others.

use super::Format;
use crate::context::{Context, GlobalOptions, NamedBy, authorities};
use crate::error::{CliError, Kind};
use crate::notes;
use crate::output::{Listing, data, message};
use crate::settings::{Keeping, PinFolder, PinRule, Replacing, Settings, pin_text, read_pins};
use clap::{Args, Subcommand};
use countersign_crypto::KeyId;
use countersign_crypto::certificate::{Certificate, CertificateBundle};
use countersign_image::Reference;
use countersign_notary::Access;
use countersign_tuf::metadata::Root;
use countersign_tuf::update::Purpose;
use countersign_tuf::{FirstUse, Gun, Pinning, RoleName};
use std::io::{Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

/// Pin an image's root key or authority: from then on no other root is accepted for it
///
/// Without --root-key the image's metadata is verified first, under the pins and the first-use rule that hold already, and
/// its present root keys are pinned.
#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true, subcommand_negates_reqs = true)]
pub(crate) struct Pin {
    #[command(subcommand)]
    command: Option<PinCommand>,
    /// The image; a tag does not matter
    #[arg(required = true)]
    image: Option<String>,
    /// Pin this root key id, as its owner has told it, without asking the trust service (repeatable)
    #[arg(long, value_name = "ID", conflicts_with_all = ["ca", "ca_file"])]
    root_key: Vec<KeyId>,
    /// Pin the authority at the top of the root certificate's own chain
    #[arg(long, conflicts_with = "ca_file")]
    ca: bool,
    /// Pin the authorities in this PEM file; the present root has to come from one of them
    #[arg(long, value_name = "FILE")]
    ca_file: Option<PathBuf>,
    /// Write the pin to a file for others instead of keeping it here; - is stdout
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
    /// Take the place of another pin of this image
    #[arg(long)]
    replace: bool,
}

/// What can be done with pins.
#[derive(Debug, Subcommand)]
enum PinCommand {
    Import(Import),
    List(List),
    Remove(Remove),
}

/// Keep the pins of a file that somebody has handed over
#[derive(Debug, Args)]
struct Import {
    /// The file; - is stdin
    file: PathBuf,
    /// Take the place of other pins of the same images
    #[arg(long)]
    replace: bool,
}

/// List all pins that hold here, and where they are written
#[derive(Debug, Args)]
struct List {
    /// How to print
    #[arg(long, value_enum, default_value = "text")]
    format: Format,
}

/// Remove the pin of an image that countersign pin has kept
#[derive(Debug, Args)]
struct Remove {
    /// The image, or the name as it is listed
    image: String,
}

impl Pin {
    pub(crate) async fn run(&self, options: &GlobalOptions) -> Result<(), CliError> {
        match (&self.command, &self.image) {
            (Some(PinCommand::Import(import)), _) => import.run(),
            (Some(PinCommand::List(list)), _) => list.run(),
            (Some(PinCommand::Remove(remove)), _) => remove.run(),
            (None, Some(image)) => self.pin(image, options).await,
            (None, None) => Err(CliError::user("which image? countersign pin IMAGE")),
        }
    }

    async fn pin(&self, image: &str, options: &GlobalOptions) -> Result<(), CliError> {
        let reference = Reference::parse(image)?;
        let gun = reference.gun();
        let rule = self.rule(&reference, options).await?;
        match &self.output {
            Some(file) if file == Path::new("-") => data(pin_text(gun.as_str(), &rule).trim_end()),
            Some(file) => {
                write_whole(file, &pin_text(gun.as_str(), &rule), self.replacing())?;
                data(format_args!("Pin of {gun} to {} written to {}", shown(&rule), file.display()))
            }
            None => keep(gun.as_str(), &rule, self.replacing()),
        }
    }

    fn replacing(&self) -> Replacing {
        if self.replace { Replacing::Allowed } else { Replacing::Refused }
    }

    async fn rule(&self, reference: &Reference, options: &GlobalOptions) -> Result<PinRule, CliError> {
        if !self.root_key.is_empty() {
            return Ok(PinRule::Keys(self.root_key.iter().copied().collect()));
        }
        let context = Context::new(options)?;
        let gun = reference.gun();
        let named = self.ca_file.as_deref().map(authorities).transpose()?;
        let pinning = match &named {
            None => context.pinning(reference),
            Some(authorities) => {
                let mut pinning = Pinning::new(FirstUse::Deny);
                pinning.pin_authorities(gun.as_str(), authorities.clone());
                pinning
            }
        };
        let collection = context.client(reference, &pinning, Access::Read)?.update(Purpose::Read).await?;
        notes::show(&collection);
        match named {
            Some(authorities) => Ok(PinRule::Authorities(authorities)),
            None if self.ca => top_authority(collection.root(), gun, context.now),
            None => Ok(PinRule::Keys(root_keys(collection.root()).collect())),
        }
    }
}

fn root_keys(root: &Root) -> impl Iterator<Item = KeyId> {
    root.trusted(&RoleName::Root).into_iter().flat_map(|role| role.key_ids.iter().copied())
}

/// Finds the last certificate of a root key's chain that is an authority over it.
fn top_authority(root: &Root, gun: &Gun, now: jiff::Timestamp) -> Result<PinRule, CliError> {
    let bundles = root_keys(root).filter_map(|id| CertificateBundle::parse(root.keys.get(&id)?.bytes()).ok());
    let tops = bundles.filter_map(|bundle| {
        let holds = |authority: &&Certificate| {
            authority.is_ca() && bundle.verify_chain_to(std::slice::from_ref(*authority), now).is_ok()
        };
        bundle.intermediates().iter().rev().find(holds).cloned()
    });
    let tops: Vec<Certificate> = tops.collect();
    if tops.is_empty() {
        return Err(CliError::user(format!("the root certificate of {gun} comes without an authority"))
            .hint("pin the root key itself: leave --ca out; or name the owner's authority with --ca-file"));
    }
    Ok(PinRule::Authorities(tops))
}

/// Keeps a pin and says what became of it.
fn keep(prefix: &str, rule: &PinRule, replacing: Replacing) -> Result<(), CliError> {
    check_written_by_hand(prefix, rule)?;
    let text = shown(rule);
    match PinFolder::own()?.keep(prefix, rule, replacing)? {
        Keeping::New => data(format_args!("Pinned {prefix} to {text}")),
        Keeping::Known => data(format_args!("Already pinned: {prefix} to {text}")),
        Keeping::Replaced => data(format_args!("Pinned {prefix} to {text} instead of another")),
    }
}

/// Makes sure that no other pin of the same name, written by hand, would count before one that is to be kept.
fn check_written_by_hand(prefix: &str, rule: &PinRule) -> Result<(), CliError> {
    let settings = Settings::load()?;
    let other = settings.pins().find(|(name, pin)| *name == prefix && pin.value != *rule);
    match other {
        Some((_, pin)) if !PinFolder::own()?.holds(pin) => {
            Err(CliError::user(format!("another pin of {prefix} is written in {}", pin.named_by()))
                .hint("change that one, or remove it first"))
        }
        _ => Ok(()),
    }
}

/// Describes what is pinned.
pub(super) fn shown(rule: &PinRule) -> String {
    let join = |texts: Vec<String>| texts.join(", ");
    match rule {
        PinRule::Keys(ids) => format!("root key {}", join(ids.iter().map(ToString::to_string).collect())),
        PinRule::Authorities(authorities) => format!("authority {}", join(names(authorities))),
    }
}

/// Describes what is pinned, for programs.
pub(super) fn json(rule: &PinRule) -> serde_json::Value {
    match rule {
        PinRule::Keys(ids) => {
            serde_json::json!({ "root-keys": ids.iter().map(ToString::to_string).collect::<Vec<_>>() })
        }
        PinRule::Authorities(authorities) => serde_json::json!({ "authorities": names(authorities) }),
    }
}

fn names(authorities: &[Certificate]) -> Vec<String> {
    let name = |authority: &Certificate| {
        let hash = countersign_crypto::digest::sha256(authority.der()).hex();
        format!("{} (sha256 {hash})", authority.common_name().unwrap_or("without a name"))
    };
    authorities.iter().map(name).collect()
}

/// Writes a file that is whole or not there.
fn write_whole(file: &Path, text: &str, replacing: Replacing) -> Result<(), CliError> {
    let local = |error: &dyn std::fmt::Display| {
        CliError::new(Kind::Local, format!("{} cannot be written: {error}", file.display()))
    };
    let folder = file.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    // There is no secret in it, and it is for others.
    let readable = std::fs::Permissions::from_mode(0o644);
    let temporary = tempfile::Builder::new().permissions(readable).tempfile_in(folder);
    let mut temporary = temporary.map_err(|error| local(&error))?;
    temporary
        .write_all(text.as_bytes())
        .and_then(|()| temporary.as_file().sync_all())
        .map_err(|error| local(&error))?;
    let placed = match replacing {
        Replacing::Allowed => temporary.persist(file),
        Replacing::Refused => temporary.persist_noclobber(file),
    };
    placed.map(drop).map_err(|error| match error.error.kind() {
        std::io::ErrorKind::AlreadyExists => {
            CliError::user(format!("{} is there already", file.display())).hint("choose another file, or --replace it")
        }
        _ => local(&error.error),
    })
}

/// Largest file of pins that is imported, in bytes.
const MAX_IMPORT: u64 = 1 << 20;

impl Import {
    /// Keeps all pins of the file, or none if one of them contradicts another.
    fn run(&self) -> Result<(), CliError> {
        let pins = read_pins(&self.file, &self.text()?)?;
        let replacing = if self.replace { Replacing::Allowed } else { Replacing::Refused };
        let folder = PinFolder::own()?;
        for (prefix, rule) in &pins {
            check_written_by_hand(prefix, rule)?;
            folder.check(prefix, rule, replacing)?;
        }
        pins.iter().try_for_each(|(prefix, rule)| keep(prefix, rule, replacing))?;
        message("compare what is pinned with what the owners say, by another way than the one that the file came");
        Ok(())
    }

    fn text(&self) -> Result<String, CliError> {
        let local =
            |error: &dyn std::fmt::Display| CliError::user(format!("{} cannot be read: {error}", self.file.display()));
        let mut bytes = Vec::new();
        let read = if self.file == Path::new("-") {
            std::io::stdin().lock().take(MAX_IMPORT + 1).read_to_end(&mut bytes)
        } else {
            let file = fs_err::File::open(&self.file).map_err(|error| local(&error))?;
            file.take(MAX_IMPORT + 1).read_to_end(&mut bytes)
        };
        read.map_err(|error| local(&error))?;
        if bytes.len() as u64 > MAX_IMPORT {
            return Err(local(&format!("it is larger than {MAX_IMPORT} bytes")));
        }
        String::from_utf8(bytes).map_err(|_| local(&"it is not UTF-8"))
    }
}

impl List {
    fn run(&self) -> Result<(), CliError> {
        let settings = Settings::load()?;
        let mut pins: Vec<_> = settings.pins().collect();
        pins.sort_by(|a, b| a.0.cmp(b.0));
        let mut listing = Listing::new(&["IMAGES", "PIN", "WRITTEN IN"], "No pins found.");
        for (prefix, pin) in pins {
            let images = if prefix.is_empty() { "(all)" } else { prefix };
            let by = pin.named_by();
            listing.row(
                &[images.to_owned(), shown(&pin.value), by.to_string()],
                serde_json::json!({ "images": prefix, "pin": json(&pin.value), "written": source(&by) }),
            );
        }
        listing.print(self.format)
    }
}

/// Describes what says so, for programs.
pub(super) fn source(by: &NamedBy) -> serde_json::Value {
    match by {
        NamedBy::Flag(name) => serde_json::json!({ "option": name }),
        NamedBy::Variable(name) => serde_json::json!({ "variable": name }),
        NamedBy::File(file, line) => serde_json::json!({ "file": file.display().to_string(), "line": line }),
        NamedBy::Default(rule) => serde_json::json!({ "default": rule }),
    }
}

impl Remove {
    fn run(&self) -> Result<(), CliError> {
        let folder = PinFolder::own()?;
        let listed = folder.list()?.iter().any(|kept| kept.prefix == self.image);
        let prefix = match Reference::parse(&self.image) {
            Ok(reference) if !listed => reference.gun().as_str().to_owned(),
            _ => self.image.clone(),
        };
        folder.remove(&prefix)?;
        data(format_args!("Removed the pin of {prefix}"))
    }
}
