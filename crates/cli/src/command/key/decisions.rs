//! What the owner confirms before it is signed anew: by options, or one question for each.

use super::rotate::short;
use crate::error::CliError;
use crate::output::harmless;
use crate::prompt::Voice;
use clap::Args;
use countersign_crypto::digest::Sha256Digest;
use countersign_trust::{Confirmed, Delegation};

/// What is said beforehand.
#[derive(Debug, Args)]
#[expect(clippy::struct_excessive_bools, reason = "one for each flag of the command line")]
pub(crate) struct Decisions {
    /// Sign this tag anew as it is; the others are not asked about and go (repeatable)
    #[arg(long, value_name = "TAG", help_heading = "What stays signed")]
    re_sign: Vec<String>,
    /// Sign all tags anew as they are
    #[arg(long, conflicts_with = "re_sign", help_heading = "What stays signed")]
    re_sign_all: bool,
    /// Sign none anew
    #[arg(long, conflicts_with_all = ["re_sign", "re_sign_all"], help_heading = "What stays signed")]
    re_sign_none: bool,
    /// Keep this signer, with the keys that are listed; the others are not asked about and go (repeatable)
    #[arg(long, value_name = "SIGNER", help_heading = "What stays signed")]
    keep_signer: Vec<String>,
    /// Keep all signers that are listed
    #[arg(long, conflicts_with = "keep_signer", help_heading = "What stays signed")]
    keep_signers: bool,
    /// Keep none of them
    #[arg(long, conflicts_with_all = ["keep_signer", "keep_signers"], help_heading = "What stays signed")]
    keep_no_signer: bool,
}

/// A name and what it stands for; none if the roles that have it disagree.
pub(super) type Named<'a> = (&'a str, Option<Sha256Digest>);

impl Decisions {
    /// Tells whether anything was said.
    pub(super) fn any(&self) -> bool {
        let lists = !self.re_sign.is_empty() || !self.keep_signer.is_empty();
        lists || self.re_sign_all || self.re_sign_none || self.signers_said()
    }

    /// A slip in a tag's or signer's name is told before anything is asked; `what` says what the names had to be.
    pub(super) fn check(&self, names: &[Named<'_>], signers: &[Delegation], what: &str) -> Result<(), CliError> {
        for wanted in &self.re_sign {
            match names.iter().find(|(name, _)| name == wanted) {
                Some((_, Some(_))) => {}
                Some((_, None)) => {
                    let text = format!("{wanted} stands for different things in different roles");
                    return Err(CliError::user(text).hint("sign it again with countersign sign"));
                }
                None => return Err(CliError::user(format!("{wanted} is none of the tags {what}"))),
            }
        }
        let unknown =
            self.keep_signer.iter().find(|name| !signers.iter().any(|role| short(&role.role) == name.as_str()));
        match unknown {
            Some(name) => Err(CliError::user(format!("{name} is none of the signers that could be kept"))),
            None => Ok(()),
        }
    }

    /// Where nobody is to be asked, everything has to be said: silence must not take signatures away.
    pub(super) fn check_said(&self, names: &[Named<'_>], signers: &[Delegation]) -> Result<(), CliError> {
        let names_said = self.re_sign_all || self.re_sign_none || !self.re_sign.is_empty();
        if !names.is_empty() && !names_said {
            return Err(CliError::user("with --yes it has to be said which tags are signed anew: nothing was changed")
                .hint("--re-sign TAG, --re-sign-all or --re-sign-none"));
        }
        if !signers.is_empty() && !self.signers_said() {
            return Err(CliError::user("with --yes it has to be said which signers stay: nothing was changed")
                .hint("--keep-signer NAME, --keep-signers or --keep-no-signer"));
        }
        Ok(())
    }

    /// Asks about everything that was not said.
    pub(super) fn confirm(&self, names: &[Named<'_>], signers: &[Delegation]) -> Confirmed {
        let mut confirmed = Confirmed::default();
        for role in signers.iter().filter(|role| self.keeps(role)) {
            confirmed.described.insert(role.role.clone(), role.keys.clone());
        }
        for (name, digest) in names {
            if let Some(sha256) = digest.filter(|digest| self.signs(name, digest)) {
                confirmed.names.insert((*name).to_owned(), sha256);
            }
        }
        confirmed
    }

    fn signers_said(&self) -> bool {
        self.keep_signers || self.keep_no_signer || !self.keep_signer.is_empty()
    }

    fn keeps(&self, role: &Delegation) -> bool {
        if self.signers_said() {
            return self.keep_signers || self.keep_signer.iter().any(|name| name == short(&role.role));
        }
        let keys: Vec<String> = role.keys.iter().map(ToString::to_string).collect();
        let name = harmless(short(&role.role));
        Voice::Native.confirms(format!("Keep the signer {name}, with the key {}?", keys.join(", ")))
    }

    fn signs(&self, name: &str, digest: &Sha256Digest) -> bool {
        if self.re_sign_all || self.re_sign_none || !self.re_sign.is_empty() {
            return self.re_sign_all || self.re_sign.iter().any(|wanted| wanted == name);
        }
        Voice::Native.confirms(format!("Sign {} anew as sha256:{}?", harmless(name), digest.hex()))
    }
}
