//! `countersign ci key`: a key of a pipeline's own, in the archive for its secret store.

use super::masking::CiSystem;
use super::owner::{self, Admission};
use super::passphrase::OfNew;
use super::private_folder::PrivateFolder;
use crate::command::Format;
use crate::command::key::{check_name, public_pem};
use crate::context::{Context, GlobalOptions};
use crate::error::{CliError, Kind};
use crate::output::{self, data, harmless, message};
use clap::Args;
use countersign_backup::{Backup, Existing, Proven};
use countersign_crypto::{Algorithm, PrivateKey, Random, Signer, SystemRandom};
use countersign_image::Reference;
use countersign_trust::SignerName;
use countersign_vault::{KeyLabel, Passphrase, TrustDirectory};
use fs_err::os::unix::fs::OpenOptionsExt;
use std::io::{IsTerminal, Write};
use std::path::{Path, PathBuf};
use zeroize::Zeroizing;

/// Characters of generated passphrases: every secret store takes them and every CI system can mask them.
const ALPHABET: &[u8; 62] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";
/// Their number: 32 of 62 are 190 bits.
const LENGTH: usize = 32;

/// Make a key for a pipeline: an encrypted archive for its secret store, and the public half, which may sign from then on
#[derive(Debug, Args)]
pub(crate) struct Key {
    /// The repositories that the pipeline signs; where the owner's key is here it is let in at once
    #[arg(required = true, value_name = "IMAGE")]
    images: Vec<String>,
    /// The signer
    #[arg(long, default_value = "ci")]
    name: String,
    /// The archive to write [default: NAME-keys.tar.gz.gpg]
    #[arg(long, value_name = "FILE")]
    archive: Option<PathBuf>,
    /// Write the generated passphrase into this file instead of showing it once
    #[arg(long, value_name = "FILE")]
    passphrase_out: Option<PathBuf>,
    /// Where to write the public half [default: NAME.pub]
    #[arg(long, value_name = "FILE")]
    public_out: Option<PathBuf>,
    /// How to print
    #[arg(long, value_enum, default_value = "text")]
    format: Format,
}

/// The files that are written.
struct Files {
    archive: PathBuf,
    public: PathBuf,
    passphrase: Option<PathBuf>,
}

impl Key {
    pub(crate) async fn run(&self, options: &GlobalOptions) -> Result<(), CliError> {
        check_name(&self.name)?;
        let signer = SignerName::parse(&self.name).map_err(CliError::user)?;
        let references = self.images.iter().map(|image| repository(image)).collect::<Result<Vec<_>, _>>()?;
        let files = self.files()?;
        let context = Context::new(options)?;
        let passphrase = generated()?;
        let (key, proven) = self.make(&context, &files, &passphrase)?;
        create(&files.public, 0o644, public_pem(Signer::public_key(&key), &self.name)?.as_bytes())?;
        // First the passphrase: without it the archive is worth nothing.
        if let Some(file) = &files.passphrase {
            create(file, 0o600, &Zeroizing::new([passphrase.as_bytes(), b"\n"].concat()))?;
        }
        proven.publish()?;
        let mut outcomes = Vec::new();
        let mut failure = Ok(());
        for reference in &references {
            let outcome = owner::admit(&context, reference, &signer, Signer::public_key(&key)).await;
            match outcome {
                Ok(admission) => outcomes.push((reference, admission)),
                Err(error) => {
                    outcomes.push((reference, Admission::OwnersTurn));
                    if failure.is_ok() {
                        failure = Err(error.hint("the key and its archive are written and good"));
                    } else {
                        output::error(&error);
                    }
                }
            }
        }
        self.print(&files, &key, &passphrase, &signer, &outcomes)?;
        failure
    }

    fn files(&self) -> Result<Files, CliError> {
        let archive = self.archive.clone().unwrap_or_else(|| format!("{}-keys.tar.gz.gpg", self.name).into());
        let public = self.public_out.clone().unwrap_or_else(|| format!("{}.pub", self.name).into());
        let passphrase = self.passphrase_out.clone();
        for file in [Some(&archive), Some(&public), passphrase.as_ref()].into_iter().flatten() {
            if file.symlink_metadata().is_ok() {
                let file = harmless(&file.display().to_string());
                return Err(CliError::user(format!("{file} is there already, and nothing was made")));
            }
        }
        if passphrase.is_none() && (CiSystem::of_this_process().is_some() || !std::io::stdout().is_terminal()) {
            let refused = CliError::user("the passphrase would be printed where it is kept: in a log or a file");
            return Err(refused.hint("name a file for it, which only you can read: --passphrase-out FILE"));
        }
        Ok(Files { archive, public, passphrase })
    }

    /// Makes the key in memory and the archive of it, which has no name yet.
    fn make(&self, context: &Context, files: &Files, passphrase: &str) -> Result<(PrivateKey, Proven), CliError> {
        let secret = || Passphrase::new(passphrase.as_bytes().to_vec()).map_err(CliError::user);
        let key = PrivateKey::generate(Algorithm::EcdsaP256).map_err(|error| CliError::internal(&error))?;
        let label = KeyLabel::new(&self.name, None).map_err(CliError::user)?;
        let folder = PrivateFolder::make()?;
        let store = TrustDirectory::at(folder.path().join("trust"))?.keys();
        let source = OfNew(secret()?);
        store.add(&key, &label, &source)?;
        let id = Signer::public_key(&key).canonical_id();
        let keys = [store.carry(&id)?];
        let (passphrase, existing) = (secret()?, Existing::Refuse);
        let order = Backup { file: &files.archive, existing, keys: &keys, passphrase: &passphrase, now: context.now };
        let proven = order.prove(&mut SystemRandom, &|key| key.open(&source).map(drop))?;
        folder.close()?;
        Ok((key, proven))
    }

    fn print(
        &self,
        files: &Files,
        key: &PrivateKey,
        passphrase: &str,
        signer: &SignerName,
        outcomes: &[(&Reference, Admission)],
    ) -> Result<(), CliError> {
        let id = Signer::public_key(key).canonical_id();
        let public = harmless(&files.public.display().to_string());
        let command = |reference: &Reference| owner::command(reference, signer, &public);
        if self.format == Format::Json {
            let image = |(reference, admission): &(&Reference, Admission)| {
                let added = *admission == Admission::Added;
                let command = (!added).then(|| command(reference));
                serde_json::json!({ "repository": reference.gun().as_str(), "added": added, "command": command })
            };
            data(serde_json::json!({
                "name": self.name,
                "key": id.to_string(),
                "archive": files.archive.display().to_string(),
                "public_key": files.public.display().to_string(),
                "passphrase_file": files.passphrase.as_ref().map(|file| file.display().to_string()),
                "images": outcomes.iter().map(image).collect::<Vec<_>>(),
            }))?;
        } else {
            let archive = harmless(&files.archive.display().to_string());
            data(format_args!("Key {id} of the signer {signer}: {archive} (encrypted), {public} (public half)"))?;
            for (reference, admission) in outcomes {
                match admission {
                    Admission::Added => data(format_args!("{signer} may sign {} now", reference.repository()))?,
                    Admission::OwnersTurn => data(format_args!(
                        "{signer} may sign {} after its owner has run: {}",
                        reference.repository(),
                        command(reference)
                    ))?,
                }
            }
        }
        if let Some(file) = &files.passphrase {
            message(format_args!("The passphrase is in {}.", harmless(&file.display().to_string())));
        } else {
            message("The passphrase of the archive and of the key in it, shown this once:");
            let shown = Zeroizing::new(format!("\n    {passphrase}\n"));
            message(shown.as_str());
        }
        message("Put both into the secret store of the CI system, then remove them here:");
        message("  the archive     DOCKER_TRUST_KEY_ARCHIVE (a file; where only text can be kept: base64 -w0)");
        message("  the passphrase  DOCKER_TRUST_KEY_PASSPHRASE");
        message("Then: countersign ci init jenkins|azure|github|gitlab");
        Ok(())
    }
}

/// The repository of an image; a tag says nothing here.
fn repository(image: &str) -> Result<Reference, CliError> {
    let reference = Reference::parse(image)?;
    if reference.tag().is_some() || reference.digest().is_some() {
        let message = format!("{} names a tag or digest: a signer is let into a repository", harmless(image));
        return Err(CliError::user(message));
    }
    Ok(reference)
}

/// Draws a passphrase, each character equally likely.
fn generated() -> Result<Zeroizing<String>, CliError> {
    let mut text = Zeroizing::new(String::with_capacity(LENGTH));
    let mut byte = Zeroizing::new([0_u8]);
    while text.len() < LENGTH {
        SystemRandom.fill(&mut *byte).map_err(|error| CliError::internal(&error))?;
        // 248 is the largest multiple of 62 in a byte: the rest would make some characters likelier.
        let [drawn] = *byte;
        if drawn < 248
            && let Some(character) = ALPHABET.get(usize::from(drawn) % ALPHABET.len())
        {
            text.push(char::from(*character));
        }
    }
    Ok(text)
}

fn create(path: &Path, mode: u32, bytes: &[u8]) -> Result<(), CliError> {
    let file = fs_err::OpenOptions::new().write(true).create_new(true).mode(mode).open(path);
    let written = file.and_then(|mut file| file.write_all(bytes).and_then(|()| file.sync_all()));
    written.map_err(|error| CliError::new(Kind::Local, error))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn generated_passphrases_differ_and_can_be_masked_everywhere() {
        let (one, other) = (generated().unwrap(), generated().unwrap());
        assert_ne!(*one, *other);
        assert_eq!(one.len(), LENGTH);
        // GitLab masks one line of at least eight characters of base64's alphabet and a few others.
        assert!(one.bytes().all(|byte| byte.is_ascii_alphanumeric()));
    }
}
