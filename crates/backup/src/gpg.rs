//! Archives that only gpg can decrypt: to somebody's public key, or in forms of newer versions.

use std::io::{self, Read, Write};
use std::process::{Command, Stdio};
use std::thread;

use countersign_vault::is_secret_variable;
use zeroize::Zeroizing;

use crate::limits::MAX_FILE_BYTES;

/// Says why gpg did not decrypt an archive; what it printed itself stands on stderr.
#[derive(Debug, thiserror::Error)]
pub enum GpgError {
    /// There is no gpg.
    #[error("gpg is not installed")]
    Missing,
    /// It could not be started or talked to.
    #[error("gpg could not be used: {0}")]
    Io(#[from] io::Error),
    /// It did not decrypt the archive.
    #[error("gpg did not decrypt the archive{}", .code.map(|code| format!(" (it ended with {code})")).unwrap_or_default())]
    Refused {
        /// Its exit code, none when a signal ended it.
        code: Option<i32>,
    },
    /// What it decrypted is larger than what is read.
    #[error("the archive is larger than {limit} bytes")]
    TooLarge {
        /// The limit in bytes.
        limit: usize,
    },
}

/// Has `gpg --decrypt` decrypt an archive; how it gets at the private key and its passphrase is its own business.
///
/// # Errors
/// [`GpgError`]; nothing is returned unless gpg ended with success, which takes that nobody changed the archive.
pub fn decrypt(archive: &[u8]) -> Result<Zeroizing<Vec<u8>>, GpgError> {
    let mut command = Command::new("gpg");
    // gpg has an agent of its own to ask.
    for (name, _) in std::env::vars_os().filter(|(name, _)| is_secret_variable(name)) {
        command.env_remove(name);
    }
    let started = command
        .args(["--quiet", "--decrypt"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::inherit())
        .spawn();
    let mut gpg = match started {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Err(GpgError::Missing),
        other => other?,
    };
    let (Some(mut input), Some(output)) = (gpg.stdin.take(), gpg.stdout.take()) else {
        return Err(io::Error::other("it has no standard input or output").into());
    };
    let mut decrypted = Zeroizing::new(Vec::new());
    let read = thread::scope(|scope| {
        scope.spawn(move || {
            // A gpg that refuses closes its input early, and says why itself.
            let _ = input.write_all(archive);
        });
        let bound = u64::try_from(MAX_FILE_BYTES).unwrap_or(u64::MAX).saturating_add(1);
        output.take(bound).read_to_end(&mut decrypted)
    });
    if decrypted.len() > MAX_FILE_BYTES {
        let _ = gpg.kill();
        let _ = gpg.wait();
        return Err(GpgError::TooLarge { limit: MAX_FILE_BYTES });
    }
    let status = gpg.wait()?;
    read?;
    if status.success() { Ok(decrypted) } else { Err(GpgError::Refused { code: status.code() }) }
}
