//! `countersign key recover`: what can be saved where keys are lost, and the last resort.

mod journal;
mod new_chain;
mod notice;
mod plan;

use super::decisions::Decisions;
use super::rotate::outcome::Outcome;
use super::rotate::{gun_of, record};
use crate::audit::Action;
use crate::command::Format;
use crate::context::Context;
use crate::error::CliError;
use crate::notes;
use crate::output::{data, harmless};
use crate::progress::showing;
use crate::prompt::Voice;
use clap::Args;
use countersign_crypto::KeyId;
use countersign_notary::Access;
use countersign_trust::{Assessment, CollectionClient, LegacyRoots, NewKeys, Rotation, Situation, released_names};
use countersign_tuf::{Gun, RoleName};
use plan::Plan;
use std::path::PathBuf;

/// Find out what can be saved of an image's trust where keys are lost, and do it with --apply
///
/// Looks at the keys that are here, at what the trust service has and at what is cached, and says what can be done. Nothing
/// is changed without --apply. Where nothing else is left, --new-chain begins the collection anew with another root key.
#[derive(Debug, Args)]
#[expect(clippy::struct_excessive_bools, reason = "one for each flag of the command line")]
pub(crate) struct Recover {
    /// The image or collection; a tag does not matter
    #[arg(value_name = "IMAGE|GUN")]
    image: String,
    /// Do what the plan says
    #[arg(long)]
    apply: bool,
    /// Give the collection up and begin it anew: every client then has to be told
    #[arg(long)]
    new_chain: bool,
    /// With --new-chain: the root key that it gets [default: the one that is here, or a new one]
    #[arg(long, value_name = "ID", requires = "new_chain")]
    root_key: Option<KeyId>,
    /// With --new-chain: make a new root key
    #[arg(long, requires = "new_chain", conflicts_with = "root_key")]
    new_root_key: bool,
    /// With --new-chain: write the text for those who use the image to this file as well
    #[arg(long, value_name = "FILE", requires = "new_chain")]
    notice: Option<PathBuf>,
    #[command(flatten)]
    decisions: Decisions,
    /// Do not ask before anything is changed
    #[arg(short, long)]
    yes: bool,
    /// How to print
    #[arg(long, value_enum, default_value = "text")]
    format: Format,
}

impl Recover {
    pub(super) async fn run(&self, context: &Context) -> Result<(), CliError> {
        let gun = gun_of(&self.image)?;
        if self.decisions.any() && !self.new_chain {
            return Err(CliError::user("signing anew and keeping signers go with --new-chain"));
        }
        if self.new_chain {
            return Box::pin(new_chain::run(self, context, &gun)).await;
        }
        let pinning = context.pinning_of(&gun);
        let client = context.collection(&gun, &pinning, Access::Write)?;
        let assessment = Box::pin(client.assess()).await?;
        if let Some(view) = assessment.view() {
            notes::show(view);
        }
        let plan = Plan::of(context, &gun, &assessment)?;
        if !self.apply {
            return match self.format {
                Format::Json => data(plan.json()),
                Format::Text => plan.print(),
            };
        }
        let rotations = match &assessment.situation {
            Situation::Complete => {
                return match self.format {
                    Format::Json => data(plan.json()),
                    Format::Text => data(format_args!("Nothing is lost of {gun}: nothing was changed")),
                };
            }
            Situation::RootExpired => vec![rotation(RoleName::Root, NewKeys::Recertified)],
            Situation::FileExpired(_) => {
                self.confirm_renewal(&gun, &assessment)?;
                return self.renew(context, &gun).await;
            }
            Situation::RepositoryKeysLost(roles) => {
                self.confirm_replacement(&gun, roles, &assessment)?;
                lost(&assessment, roles)
            }
            _ => return Err(plan.nothing_to_apply()),
        };
        self.rotate(context, &gun, &rotations).await
    }

    /// Names what is signed anew, for it may be older than what was signed last.
    fn confirm_renewal(&self, gun: &Gun, assessment: &Assessment) -> Result<(), CliError> {
        let names = assessment.view().map(released_names).unwrap_or_default();
        let listed: Vec<String> =
            names.iter().map(|(name, (sha256, _))| format!("  {} sha256:{}", harmless(name), sha256.hex())).collect();
        self.confirm(&format!(
            "What {gun} held when it expired is about to be signed anew, as the trust service has it now:\n{}\nGo on?",
            listed.join("\n")
        ))
    }

    /// A key that is not here may be somebody else's: they are told before it loses its rights.
    fn confirm_replacement(&self, gun: &Gun, roles: &[RoleName], assessment: &Assessment) -> Result<(), CliError> {
        let lost = assessment.roles.iter().filter(|keys| roles.contains(&keys.role));
        let listed: Vec<String> =
            lost.flat_map(|keys| keys.elsewhere.iter().map(|id| format!("  {} key {id}", keys.role))).collect();
        self.confirm(&format!(
            "These keys of {gun} are not on this machine and are about to be replaced; whoever has them cannot sign with them \
             any more:\n{}\nGo on?",
            listed.join("\n")
        ))
    }

    fn confirm(&self, question: &str) -> Result<(), CliError> {
        if self.yes || Voice::Native.confirms(question) {
            return Ok(());
        }
        Err(CliError::user("nothing was changed: not confirmed"))
    }

    /// Signs anew what has expired, as it is.
    async fn renew(&self, context: &Context, gun: &Gun) -> Result<(), CliError> {
        let pinning = context.pinning_of(gun);
        let client = context.collection(gun, &pinning, Access::Write)?;
        let renewed = showing("signing and publishing", Box::pin(client.renew_expired())).await;
        let collection =
            renewed.map_err(|error| context.audit.refused(Action::Sign, gun.as_str(), "", error.into()))?;
        notes::show(&collection);
        record(context, &collection, &RoleName::Targets)?;
        let until = collection.targets(&RoleName::Targets).map(|file| file.expires.as_str().to_owned());
        match self.format {
            Format::Json => data(serde_json::json!({ "gun": gun.to_string(), "renewed": true, "targetsUntil": until })),
            Format::Text => data(format_args!("Signed anew what {gun} holds, until {}", until.unwrap_or_default())),
        }
    }

    async fn rotate(&self, context: &Context, gun: &Gun, rotations: &[Rotation]) -> Result<(), CliError> {
        let pinning = context.pinning_of(gun);
        let served = rotations.iter().any(|rotation| rotation.keys == NewKeys::OfService);
        let access = if served { Access::Administer } else { Access::Write };
        let client = context.collection(gun, &pinning, access)?;
        let rotated = showing("signing and publishing", Box::pin(client.rotate_all(rotations))).await;
        let rotated = rotated.map_err(|error| context.audit.refused(Action::Sign, gun.as_str(), "", error.into()))?;
        notes::show_published(rotated.base.as_deref(), &rotated.collection);
        for rotation in rotations {
            record(context, &rotated.collection, &rotation.role)?;
        }
        let readers = Box::pin(client.readers(rotated.base.as_deref())).await;
        Outcome::of(context, gun, rotations, &rotated, readers)?.tell(self.format)
    }
}

fn rotation(role: RoleName, keys: NewKeys) -> Rotation {
    Rotation { role, keys, legacy: LegacyRoots::None }
}

/// Replaces lost keys, in one publication: of targets by one of this machine, of the others by those of the trust service.
/// A root that has expired meanwhile gets new certificates along with it.
fn lost(assessment: &Assessment, roles: &[RoleName]) -> Vec<Rotation> {
    let mut rotations: Vec<Rotation> = roles
        .iter()
        .map(|role| {
            let keys = if *role == RoleName::Targets { NewKeys::Generate } else { NewKeys::OfService };
            rotation(role.clone(), keys)
        })
        .collect();
    let aged = assessment.until.as_ref().is_some_and(|until| until.root_age == countersign_trust::Age::Expired);
    if aged {
        rotations.push(rotation(RoleName::Root, NewKeys::Recertified));
    }
    rotations
}

/// Opens the collection for everything, also for taking it away.
fn administering<'a>(
    context: &'a Context,
    gun: &Gun,
    pinning: &'a countersign_tuf::Pinning,
) -> Result<CollectionClient<'a>, CliError> {
    context.collection(gun, pinning, Access::Administer)
}
