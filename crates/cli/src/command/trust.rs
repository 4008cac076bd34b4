//! `countersign trust show`: which service, pin, policy and keys count for an image, and why.

pub(super) mod docker;
mod keys;

use super::Format;
use super::pin::{json as pin_json, shown, source};
use crate::context::{Context, FirstUsePolicy, GlobalOptions, NamedBy};
use crate::error::CliError;
use crate::notes;
use crate::output::{data, harmless};
use crate::settings::PinRule;
use clap::{Args, Subcommand};
use countersign_image::{Reference, Tag};
use countersign_notary::Access;
use countersign_tuf::metadata::{Payload, Root, Targets};
use countersign_tuf::update::Purpose;
use countersign_tuf::{RoleName, Unverified};
use countersign_vault::LocalCollection;
use keys::SigningKeys;
use serde_json::{Value, json};
use std::path::PathBuf;

/// Explain what trust in an image rests on
#[derive(Debug, Subcommand)]
pub(crate) enum Trust {
    Show(Show),
}

/// Show which trust service, pin, policy and keys count for an image, and what says so
///
/// Nothing is asked of the trust service: the answer comes from options, variables, settings and the trust directory, whose
/// metadata is shown as it is there.
#[derive(Debug, Args)]
pub(crate) struct Show {
    /// The image
    #[arg(value_name = "IMAGE[:TAG]")]
    image: String,
    /// Ask the trust service, verify what it has, and keep it
    #[arg(long)]
    online: bool,
    /// How to print
    #[arg(long, value_enum, default_value = "text")]
    format: Format,
}

impl Trust {
    pub(crate) async fn run(&self, options: &GlobalOptions) -> Result<(), CliError> {
        match self {
            Self::Show(show) => show.run(options).await,
        }
    }
}

/// The answer.
struct Explanation {
    image: String,
    gun: String,
    service: (String, NamedBy),
    authority_files: Vec<PathBuf>,
    pin: Option<(PinRule, NamedBy)>,
    first_use: (FirstUsePolicy, NamedBy),
    root: Option<RootFound>,
    keys: SigningKeys,
    remarks: Vec<String>,
}

/// The root that the trust directory has.
struct RootFound {
    version: u64,
    expires: String,
    key_ids: Vec<String>,
}

impl Show {
    async fn run(&self, options: &GlobalOptions) -> Result<(), CliError> {
        let reference = Reference::parse(&self.image)?;
        let context = Context::new(options)?;
        if self.online {
            let pinning = context.pinning(&reference);
            let collection = context.client(&reference, &pinning, Access::Read)?.update(Purpose::Read).await?;
            notes::show(&collection);
        }
        let explanation = Explanation::of(&context, &reference)?;
        match self.format {
            Format::Text => explanation.print(),
            Format::Json => data(explanation.json()),
        }
    }
}

impl Explanation {
    fn of(context: &Context, reference: &Reference) -> Result<Self, CliError> {
        let gun = reference.gun();
        let (destination, named_by) = context.destination(gun)?;
        let local = context.directory.collection(gun).map_err(CliError::from)?;
        let mut remarks: Vec<String> = docker::dead_variable().into_iter().collect();
        let root: Option<Root> = cached(&local, &RoleName::Root, &mut remarks);
        let targets: Option<Targets> = cached(&local, &RoleName::Targets, &mut remarks);
        let pin = context.pin(gun);
        if let (Some(root), Some((PinRule::Keys(ids), by))) = (&root, &pin) {
            let fits = root.trusted(&RoleName::Root).is_some_and(|role| role.key_ids.iter().any(|id| ids.contains(id)));
            if !fits {
                remarks.push(format!("the cached root has none of the pinned keys ({by}): it will be refused"));
            }
        }
        let mut authority_files = vec![context.connection.tls.authority_file(&destination)];
        authority_files.extend(destination.authorities.clone());
        authority_files.retain(|file| file.exists());
        authority_files.dedup();
        let tag = reference.tag().map(Tag::as_str);
        let keys = SigningKeys::find(&context.directory.keys(), root.as_ref(), targets.as_ref(), tag)?;
        Ok(Self {
            image: reference.to_string(),
            gun: gun.to_string(),
            service: (destination.address.to_string(), named_by),
            authority_files,
            pin,
            first_use: context.first_use(gun),
            root: root.map(|root| RootFound {
                version: root.version.get(),
                expires: root.expires.to_string(),
                key_ids: root
                    .trusted(&RoleName::Root)
                    .map_or_else(Vec::new, |role| role.key_ids.iter().map(ToString::to_string).collect()),
            }),
            keys,
            remarks,
        })
    }

    fn print(&self) -> Result<(), CliError> {
        let authority = match self.authority_files.as_slice() {
            [] => "the system's authorities".to_owned(),
            files => files.iter().map(|file| file.display().to_string()).collect::<Vec<_>>().join(", "),
        };
        let pin = match &self.pin {
            Some((rule, by)) => format!("{} ({by})", shown(rule)),
            None => "none".to_owned(),
        };
        let root = match &self.root {
            Some(root) => {
                format!("version {}, expires {}, root key {}", root.version, root.expires, root.key_ids.join(", "))
            }
            None => "none: this machine has not seen the collection".to_owned(),
        };
        let rows = [
            ("Image", self.image.clone()),
            ("Collection", self.gun.clone()),
            ("Trust service", format!("{} ({})", self.service.0, self.service.1)),
            ("Certificates", authority),
            ("Pin", pin),
            ("First use", format!("{} ({})", self.first_use.0.as_str(), self.first_use.1)),
            ("Cached root", root),
        ];
        for (name, value) in rows {
            data(format_args!("{name:<14} {}", harmless(&value)))?;
        }
        for (index, line) in self.keys.lines().iter().enumerate() {
            let name = if index == 0 { "Would sign" } else { "" };
            data(format_args!("{name:<14} {}", harmless(line)))?;
        }
        for remark in &self.remarks {
            data(format_args!("{:<14} {}", "Note", harmless(remark)))?;
        }
        Ok(())
    }

    fn json(&self) -> Value {
        json!({
            "image": self.image,
            "collection": self.gun,
            "service": { "url": self.service.0, "source": source(&self.service.1) },
            "authorityFiles": self.authority_files.iter().map(|file| file.display().to_string()).collect::<Vec<_>>(),
            "pin": self.pin.as_ref().map(|(rule, by)| json!({ "pin": pin_json(rule), "source": source(by) })),
            "firstUse": { "policy": self.first_use.0.as_str(), "source": source(&self.first_use.1) },
            "cachedRoot": self.root.as_ref().map(|root| json!({
                "version": root.version, "expires": root.expires, "keys": root.key_ids,
            })),
            "signingKeys": self.keys.json(),
            "notes": self.remarks,
        })
    }
}

/// Reads a cached file for showing; a damaged one is a remark here, the commands that rely on it refuse it.
fn cached<T: Payload>(local: &LocalCollection, role: &RoleName, remarks: &mut Vec<String>) -> Option<T> {
    match local.read(role) {
        Ok(None) => None,
        Ok(Some(bytes)) => match Unverified::<T>::read(role, bytes.into()) {
            Ok(file) => Some(file.into_untrusted()),
            Err(error) => {
                remarks.push(format!("the cached {role} metadata is damaged: {error}"));
                None
            }
        },
        Err(error) => {
            remarks.push(format!("the cached {role} metadata cannot be read: {error}"));
            None
        }
    }
}
