//! What there is of a collection and what can be done, in words.

use super::journal::Journal;
use crate::command::key::archive::known_backups;
use crate::context::Context;
use crate::error::{CliError, Kind};
use crate::output::{data, harmless};
use countersign_crypto::KeyId;
use countersign_trust::{Age, Assessment, AtService, RoleKeys, Served, Situation};
use countersign_tuf::{Gun, RoleName};
use serde_json::{Value, json};

/// What was found, and the steps that help.
pub(super) struct Plan<'a> {
    gun: Gun,
    service: String,
    assessment: &'a Assessment,
    summary: String,
    steps: Vec<Step>,
}

/// One step.
struct Step {
    what: String,
    command: Option<String>,
}

impl<'a> Plan<'a> {
    pub(super) fn of(context: &Context, gun: &Gun, assessment: &'a Assessment) -> Result<Self, CliError> {
        let service = context.destination(gun)?.0.address.to_string();
        let mut plan = Self { gun: gun.clone(), service, assessment, summary: String::new(), steps: Vec::new() };
        if Journal::find(context, gun)?.is_some() {
            plan.step("a new beginning was interrupted: go on with it", "--new-chain --apply");
        }
        plan.restore();
        plan.describe();
        Ok(plan)
    }

    /// Keys that are lost here may be in a backup: that comes before anything else.
    fn restore(&mut self) {
        let Some(known) = known_backups() else { return };
        let missing = |keys: &&RoleKeys| keys.here.is_empty() && keys.at_service == AtService::No;
        for keys in self.assessment.roles.iter().filter(missing) {
            for id in &keys.elsewhere {
                if let Ok(Some(backup)) = known.latest_with(id) {
                    self.steps.push(Step {
                        what: format!(
                            "the {} key {id} is in a backup of {}: restore it, and look again",
                            keys.role, backup.date
                        ),
                        command: Some(format!("countersign key restore {}", backup.file.display())),
                    });
                }
            }
        }
    }

    fn step(&mut self, what: impl Into<String>, options: &str) {
        let command = format!("countersign key recover {} {options}", self.gun);
        self.steps.push(Step { what: what.into(), command: Some(command) });
    }

    fn say(&mut self, what: impl Into<String>) {
        self.steps.push(Step { what: what.into(), command: None });
    }

    fn command(&mut self, what: impl Into<String>, command: String) {
        self.steps.push(Step { what: what.into(), command: Some(command) });
    }

    fn describe(&mut self) {
        let gun = self.gun.clone();
        let summary = match &self.assessment.situation {
            Situation::Complete => {
                self.renew_in_time();
                "Every key that is needed is where it has to be: nothing has to be recovered".to_owned()
            }
            Situation::RootExpired => {
                self.step("make a new certificate with the root key, and publish it", "--apply");
                self.say("docker and notary refuse what they have cached until tuf/GUN/metadata is removed from their trust directories");
                "The root or its certificate has expired, and the root key is here: everything can be saved".to_owned()
            }
            Situation::FileExpired(role) => {
                let role = role.clone();
                self.step(
                    "sign anew what the image holds, as it is: countersign inspect cannot show it before that",
                    "--apply",
                );
                format!("The {role} metadata has expired, and its key is here: everything can be saved")
            }
            Situation::Stale => {
                self.say("its operator has to renew it, or to find out why it does not; nothing is lost");
                "What the trust service serves has expired, and only the service can renew it".to_owned()
            }
            Situation::RepositoryKeysLost(roles) => {
                let names: Vec<&str> = roles.iter().map(RoleName::as_str).collect();
                self.step(format!("replace the lost key of {}, with the root key", names.join(", ")), "--apply");
                format!("The root key is here, the key of {} is lost: everything can be saved", names.join(", "))
            }
            Situation::RootKeyLost | Situation::SignersOnly(_) | Situation::Lost => self.without_root_key(),
            Situation::Vanished => {
                self.say("if the service has lost it, its operator restores the service's data: nothing else has to be done then");
                self.step(
                    "if it was deleted, begin anew from what is cached here, and tell every client",
                    "--new-chain --apply",
                );
                "The trust service has nothing, although this machine knows the collection".to_owned()
            }
            Situation::Nowhere => {
                self.command("sign something to begin it", format!("countersign sign {gun}:TAG"));
                "There is no such collection, neither here nor at the trust service".to_owned()
            }
            Situation::Refused => {
                self.say("ask the owner, by another way, whether the collection was begun anew, and for the new root key's id");
                self.command(
                    "if so, here and for this once",
                    format!("countersign verify --re-establish-trust --pin ID {gun}:TAG"),
                );
                "The trust service has something that this machine refuses".to_owned()
            }
        };
        self.summary = summary;
    }

    /// Where the root key is not here: what goes on, and until when.
    fn without_root_key(&mut self) -> String {
        let gun = self.gun.clone();
        match &self.assessment.situation {
            Situation::RootKeyLost => {
                let until = self.until();
                self.command("back up what is left", format!("countersign key backup FILE --gun {gun}"));
                self.say(format!("sign as ever, until {until}; then nobody verifies any more"));
                self.say("no key of targets, snapshot or timestamp can be replaced, and no certificate renewed");
                self.step(
                    "in good time before that, begin anew and tell every client; the present repository key goes on",
                    "--new-chain --apply",
                );
                format!("The root key is not here; signing goes on until {until}")
            }
            Situation::SignersOnly(roles) => {
                let names: Vec<&str> = roles.iter().map(RoleName::as_str).collect();
                let until = self.until();
                self.say(format!(
                    "{} sign as ever, until {until}; signers can neither be added nor removed",
                    names.join(", ")
                ));
                self.step("in good time before that, begin anew and tell every client", "--new-chain --apply");
                "Neither the root key nor the repository key is here".to_owned()
            }
            _ => {
                self.say(format!("what is signed can be verified until {}", self.until()));
                self.step(
                    "begin anew with another root key, sign again what you confirm, and tell every client",
                    "--new-chain --apply",
                );
                "No key that is left can publish anything: a new trust chain is all that helps".to_owned()
            }
        }
    }

    fn renew_in_time(&mut self) {
        let Some(end) = self.assessment.until.as_ref().and_then(|until| until.certificate) else { return };
        let command = format!("countersign key rotate {} root --root-certificate", self.gun);
        self.command(format!("the root certificate ends on {end}: make a new one before that"), command);
    }

    /// The first end of what nobody can renew.
    fn until(&self) -> String {
        let Some(until) = &self.assessment.until else { return "an unknown date".to_owned() };
        let targets = until.targets.filter(|_| self.assessment.situation != Situation::RootKeyLost);
        let ends = [Some(until.root), until.certificate, targets].into_iter().flatten();
        ends.min().map(|end| end.to_string()).unwrap_or_default()
    }

    /// The error where a plan has nothing that could be done at once.
    pub(super) fn nothing_to_apply(&self) -> CliError {
        let mut error = CliError::new(Kind::Local, format!("{}: nothing was changed", self.summary));
        for step in &self.steps {
            error = error.hint(match &step.command {
                Some(command) => format!("{}: {command}", step.what),
                None => step.what.clone(),
            });
        }
        error
    }

    pub(super) fn print(&self) -> Result<(), CliError> {
        data(format_args!("{} at {}", self.gun, harmless(&self.service)))?;
        for keys in &self.assessment.roles {
            let role = harmless(keys.role.as_str());
            let line = |id: &KeyId, place: &str| data(format_args!("  {role:<16} {id} {place}"));
            keys.here.iter().try_for_each(|id| line(id, "is here"))?;
            let place = if keys.at_service == AtService::Yes { "is with the trust service" } else { "is not here" };
            keys.elsewhere.iter().try_for_each(|id| line(id, place))?;
        }
        if let Some(until) = &self.assessment.until {
            data(format_args!("  root until       {}", until.root))?;
            if let Some(end) = until.certificate {
                data(format_args!("  certificate until {end}"))?;
            }
        }
        if let Served::Refused(error) | Served::Expired(_, error) = &self.assessment.served {
            data(format_args!("  {}", harmless(&error.to_string())))?;
        }
        data(&self.summary)?;
        for (index, step) in self.steps.iter().enumerate() {
            data(format_args!("{}. {}", index + 1, harmless(&step.what)))?;
            if let Some(command) = &step.command {
                data(format_args!("     {}", harmless(command)))?;
            }
        }
        Ok(())
    }

    pub(super) fn json(&self) -> Value {
        let ids = |keys: &[KeyId]| keys.iter().map(ToString::to_string).collect::<Vec<_>>();
        let role = |keys: &RoleKeys| {
            json!({
                "role": keys.role.as_str(), "here": ids(&keys.here), "elsewhere": ids(&keys.elsewhere),
                "atService": keys.at_service == AtService::Yes,
            })
        };
        let step = |step: &Step| json!({ "what": step.what, "command": step.command });
        let refused = match &self.assessment.served {
            Served::Refused(error) | Served::Expired(_, error) => Some(error.to_string()),
            Served::Current(_) | Served::Nothing => None,
        };
        json!({
            "gun": self.gun.to_string(),
            "service": self.service,
            "situation": self.word(),
            "summary": self.summary,
            "roles": self.assessment.roles.iter().map(role).collect::<Vec<_>>(),
            "until": self.assessment.until.as_ref().map(|until| json!({
                "root": until.root.to_string(),
                "certificate": until.certificate.map(|end| end.to_string()),
                "targets": until.targets.map(|end| end.to_string()),
                "rootExpired": until.root_age == Age::Expired,
            })),
            "error": refused,
            "steps": self.steps.iter().map(step).collect::<Vec<_>>(),
        })
    }

    fn word(&self) -> &'static str {
        match self.assessment.situation {
            Situation::Complete => "complete",
            Situation::RootExpired => "root-expired",
            Situation::FileExpired(_) => "file-expired",
            Situation::Stale => "stale",
            Situation::RepositoryKeysLost(_) => "repository-keys-lost",
            Situation::RootKeyLost => "root-key-lost",
            Situation::SignersOnly(_) => "signers-only",
            Situation::Lost => "lost",
            Situation::Vanished => "vanished",
            Situation::Nowhere => "nowhere",
            Situation::Refused => "refused",
        }
    }
}
