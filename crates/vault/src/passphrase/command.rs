//! Passphrases from a program of the owner's choice.

use std::collections::BTreeSet;
use std::ffi::{OsStr, OsString};
use std::fmt;
use std::io::ErrorKind;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use countersign_tuf::Gun;

use super::source_file::{self, Overflow};
use super::{Origin, Passphrase, PassphraseRequest, PassphraseSource, Purpose, Reply, is_secret_variable};
use crate::limits::PASSPHRASE_COMMAND_PATIENCE;

/// How often a program that has said its word is looked at whether it has ended.
const LOOK_AGAIN: Duration = Duration::from_millis(5);

/// A program and its arguments; no shell takes part.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PassphraseCommand {
    program: OsString,
    arguments: Vec<OsString>,
}

/// Says why words are no command.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PassphraseCommandError {
    /// There is no program.
    #[error("the passphrase command is empty")]
    Empty,
    /// The program is a path that begins in whatever folder a command is called in.
    #[error("the passphrase command has to be the name of a program in PATH or an absolute path")]
    Relative,
}

impl PassphraseCommand {
    /// Takes a program, by its absolute path or to be found in `PATH`, and its arguments.
    ///
    /// # Errors
    /// There is no program, or its path is relative: whoever made the current directory could put one there.
    pub fn new(words: impl IntoIterator<Item = OsString>) -> Result<Self, PassphraseCommandError> {
        let mut words = words.into_iter();
        let program = words.next().filter(|program| !program.is_empty()).ok_or(PassphraseCommandError::Empty)?;
        let path = Path::new(&program);
        if !path.is_absolute() && path.components().count() != 1 || program == OsStr::new("..") {
            return Err(PassphraseCommandError::Relative);
        }
        Ok(Self { program, arguments: words.collect() })
    }

    /// Returns the program, for messages.
    #[must_use]
    pub fn program(&self) -> &OsStr {
        &self.program
    }
}

/// Asks a program for each key's passphrase: the first line of what it prints.
///
/// The program learns from variables what is wanted: `COUNTERSIGN_KEY_PURPOSE` (`open`, `new` or `pin`),
/// `COUNTERSIGN_KEY_ROLE`, `COUNTERSIGN_KEY_GUN` and `COUNTERSIGN_KEY_ID`, those that do not apply unset; for a PIN
/// `COUNTERSIGN_KEY_TOKEN`. It does not get the variables that hold passphrases. Its standard input is empty, its standard error
/// is this process's. If it ends with another code than 0 that is a refusal, and nobody else is asked. A passphrase of it
/// that did not open a key is the last that it is asked for that key.
pub struct CommandPassphrases {
    command: PassphraseCommand,
    patience: Duration,
    /// What it was asked for and has not proven yet.
    asked: Mutex<BTreeSet<Wanted>>,
}

type Wanted = (Purpose, String, Option<Gun>, Option<countersign_crypto::KeyId>);

impl CommandPassphrases {
    /// Asks this command.
    #[must_use]
    pub fn new(command: PassphraseCommand) -> Self {
        Self { command, patience: PASSPHRASE_COMMAND_PATIENCE, asked: Mutex::default() }
    }

    /// Sets how long the program may take.
    #[must_use]
    pub fn patience(mut self, patience: Duration) -> Self {
        self.patience = patience;
        self
    }

    fn asked(&self) -> MutexGuard<'_, BTreeSet<Wanted>> {
        // The set is whole after every operation, also one that panicked.
        self.asked.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn ask(&self, request: &PassphraseRequest<'_>) -> Result<Passphrase, String> {
        let began = Instant::now();
        let mut child = Running(self.start(request)?);
        let Some(output) = child.0.stdout.take() else { return Err("it has no output".to_owned()) };
        let line = source_file::first_line(&output, self.patience, Overflow::Drain)?;
        drop(output);
        let status = loop {
            match child.0.try_wait() {
                Ok(Some(status)) => break status,
                Ok(None) if began.elapsed() < self.patience => std::thread::sleep(LOOK_AGAIN),
                Ok(None) => return Err(format!("it did not end within {} s", self.patience.as_secs())),
                Err(error) => return Err(error.to_string()),
            }
        };
        if !status.success() {
            return Err(format!("it refused ({status})"));
        }
        Passphrase::new(line.to_vec()).map_err(|error| error.to_string())
    }

    fn start(&self, request: &PassphraseRequest<'_>) -> Result<Child, String> {
        let mut command = Command::new(&self.command.program);
        command.args(&self.command.arguments).stdin(Stdio::null()).stdout(Stdio::piped());
        for (name, _) in std::env::vars_os().filter(|(name, _)| is_secret_variable(name)) {
            command.env_remove(name);
        }
        let purpose = match request.purpose {
            Purpose::Existing => "open",
            Purpose::New => "new",
            Purpose::Pin => "pin",
        };
        let (role, token) = match request.purpose {
            Purpose::Pin => (None, Some(request.alias)),
            Purpose::Existing | Purpose::New => (Some(request.alias), None),
        };
        let id = request.key_id.map(|id| id.to_string());
        for (name, value) in [
            ("COUNTERSIGN_KEY_PURPOSE", Some(purpose)),
            ("COUNTERSIGN_KEY_ROLE", role),
            ("COUNTERSIGN_KEY_GUN", request.gun.map(Gun::as_str)),
            ("COUNTERSIGN_KEY_ID", id.as_deref()),
            ("COUNTERSIGN_KEY_TOKEN", token),
        ] {
            match value.filter(|value| !value.is_empty() && !value.contains('\0')) {
                Some(value) => command.env(name, value),
                None => command.env_remove(name),
            };
        }
        command.spawn().map_err(|error| match error.kind() {
            ErrorKind::NotFound => "there is no such program".to_owned(),
            _ => error.to_string(),
        })
    }
}

impl PassphraseSource for CommandPassphrases {
    fn passphrase(&self, request: &PassphraseRequest<'_>) -> Reply {
        let wanted = wanted(request);
        if request.tried.contains(&Origin::Command) || !self.asked().insert(wanted) {
            return Reply::Unavailable;
        }
        match self.ask(request) {
            Ok(passphrase) => Reply::Passphrase(passphrase, Origin::Command),
            Err(reason) => Reply::Refused(format!(
                "no passphrase from the passphrase command {}: {reason}",
                self.command.program.to_string_lossy()
            )),
        }
    }

    fn accepted(&self, request: &PassphraseRequest<'_>, _: &Passphrase, origin: &Origin) {
        if *origin == Origin::Command {
            self.asked().remove(&wanted(request));
        }
    }
}

impl fmt::Debug for CommandPassphrases {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CommandPassphrases").field("command", &self.command).finish_non_exhaustive()
    }
}

fn wanted(request: &PassphraseRequest<'_>) -> Wanted {
    (request.purpose, request.alias.to_owned(), request.gun.cloned(), request.key_id)
}

/// A program that is ended when nobody waits for it any more.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        if !matches!(self.0.try_wait(), Ok(Some(_))) {
            let _ = self.0.kill();
            let _ = self.0.wait();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn source(script: &str) -> CommandPassphrases {
        let words = ["sh", "-c", script].map(OsString::from);
        CommandPassphrases::new(PassphraseCommand::new(words).unwrap())
    }

    fn text(reply: &Reply) -> Result<String, String> {
        match reply {
            Reply::Passphrase(passphrase, Origin::Command) => {
                Ok(String::from_utf8(passphrase.bytes().to_vec()).unwrap())
            }
            Reply::Refused(reason) => Err(reason.clone()),
            other => Err(format!("{other:?}")),
        }
    }

    fn ask(script: &str) -> Result<String, String> {
        text(&source(script).passphrase(&PassphraseRequest::new("root", Purpose::Existing)))
    }

    #[test]
    fn it_learns_what_is_wanted_and_its_first_line_counts() {
        let gun = Gun::parse("reg.example/acme/app").unwrap();
        let id = countersign_crypto::KeyId::from_bytes([7; 32]);
        let script = "echo $COUNTERSIGN_KEY_PURPOSE,$COUNTERSIGN_KEY_ROLE,$COUNTERSIGN_KEY_GUN,$COUNTERSIGN_KEY_ID,$COUNTERSIGN_KEY_TOKEN; echo more";
        let request =
            PassphraseRequest { gun: Some(&gun), key_id: Some(id), ..PassphraseRequest::new("targets", Purpose::New) };
        let said = text(&source(script).passphrase(&request)).unwrap();
        assert_eq!(said, format!("new,targets,reg.example/acme/app,{id},"));
        let pin = text(&source(script).passphrase(&PassphraseRequest::new("release", Purpose::Pin))).unwrap();
        assert_eq!(pin, "pin,,,,release");
        assert_eq!(ask("printf ' two words '").unwrap(), " two words ");
    }

    #[test]
    fn whatever_ends_badly_is_a_refusal() {
        for (script, reason) in [
            ("echo right; exit 1", "refused (exit status: 1)"),
            ("echo right; kill -9 $$", "signal: 9"),
            ("true", "empty"),
            ("echo", "empty"),
            ("head -c 70000 /dev/zero | tr '\\0' x; echo", "longer than"),
        ] {
            let refused = ask(script).unwrap_err();
            assert!(refused.contains(reason), "{script}: {refused}");
            assert!(!refused.contains("right"), "{refused}");
        }
        let words = [OsString::from("/nowhere/at/all")];
        let missing = CommandPassphrases::new(PassphraseCommand::new(words).unwrap());
        let refused = text(&missing.passphrase(&PassphraseRequest::new("root", Purpose::Existing))).unwrap_err();
        assert!(refused.contains("no such program"), "{refused}");
    }

    #[test]
    fn one_that_never_ends_is_ended() {
        for script in ["exec sleep 600", "echo right; exec sleep 600 1>&-", "while :; do :; done"] {
            let began = Instant::now();
            let source = source(script).patience(Duration::from_millis(200));
            let refused = text(&source.passphrase(&PassphraseRequest::new("root", Purpose::Existing))).unwrap_err();
            assert!(refused.contains("within 0 s"), "{script}: {refused}");
            assert!(began.elapsed() < Duration::from_secs(20), "{script}");
        }
    }

    #[test]
    fn it_is_not_asked_twice_for_a_key_that_its_passphrase_did_not_open() {
        let folder = tempfile::tempdir().unwrap();
        let count = folder.path().join("count");
        let source = source(&format!("echo asked >> {}; echo wrong", count.display()));
        let request = PassphraseRequest::new("root", Purpose::Existing);
        let asked = || std::fs::read_to_string(&count).unwrap().lines().count();
        assert_eq!(text(&source.passphrase(&request)).unwrap(), "wrong");
        let again = PassphraseRequest { tried: vec![Origin::Command], ..request.clone() };
        assert!(matches!(source.passphrase(&again), Reply::Unavailable));
        // Nor when the key is opened anew, later.
        assert!(matches!(source.passphrase(&request), Reply::Unavailable));
        assert_eq!(asked(), 1);
        // Another key is another matter, and so is one that it did open.
        let other = PassphraseRequest::new("targets", Purpose::Existing);
        let Reply::Passphrase(right, origin) = source.passphrase(&other) else { panic!("not asked") };
        source.accepted(&other, &right, &origin);
        assert!(matches!(source.passphrase(&other), Reply::Passphrase(..)));
        assert_eq!(asked(), 3);
    }

    #[test]
    fn relative_programs_are_refused() {
        for words in [&["./pass"][..], &["bin/pass"], &["../pass"], &[".."]] {
            let command = PassphraseCommand::new(words.iter().map(OsString::from));
            assert_eq!(command.unwrap_err(), PassphraseCommandError::Relative, "{words:?}");
        }
        assert_eq!(PassphraseCommand::new([]).unwrap_err(), PassphraseCommandError::Empty);
        assert_eq!(PassphraseCommand::new([OsString::new()]).unwrap_err(), PassphraseCommandError::Empty);
        for good in ["pass", "/usr/bin/pass"] {
            assert!(PassphraseCommand::new([OsString::from(good)]).is_ok());
        }
    }
}
