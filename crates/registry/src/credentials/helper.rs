//! Docker's credential helpers: `docker-credential-*` programs that keep secrets.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use secrecy::SecretString;
use serde::Deserialize;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::process::Command;

use super::Credential;
use crate::foreign_text;

/// How long a helper may take; it may have to ask the user to unlock something.
pub const HELPER_PATIENCE: Duration = Duration::from_mins(1);
/// Most bytes a helper may print.
pub const MAX_HELPER_OUTPUT: usize = 256 * 1024;
/// The user name that marks the secret as an identity token.
const TOKEN_USER: &str = "<token>";
/// What a helper prints when it has no entry.
const NOT_FOUND: &str = "credentials not found in native keychain";

/// Says why a helper gave no answer.
#[derive(Debug, thiserror::Error)]
pub enum HelperError {
    /// The configured name could name another program.
    #[error("{0:?} cannot be the name of a credential helper")]
    Name(String),
    /// The program cannot be started.
    #[error("the credential helper {program} cannot be started: {source}")]
    Start {
        /// The program.
        program: String,
        /// Why it cannot be started.
        source: std::io::Error,
    },
    /// The program took too long and was ended.
    #[error("the credential helper {program} gave no answer within {} s", .limit.as_secs())]
    Timeout {
        /// The program.
        program: String,
        /// How long was waited.
        limit: Duration,
    },
    /// The program printed too much.
    #[error("the credential helper {0} prints more than {MAX_HELPER_OUTPUT} bytes")]
    Output(String),
    /// The program says that it failed.
    #[error("the credential helper {program} failed: {message}")]
    Failed {
        /// The program.
        program: String,
        /// Its message, fit for a terminal.
        message: String,
    },
    /// The program's answer is not what the protocol wants. It is not repeated, for it may hold a secret.
    #[error("the credential helper {0} gives an answer that is not understood")]
    Answer(String),
}

/// A helper program.
#[derive(Debug, Clone)]
pub(crate) struct Helper {
    program: String,
    search: Option<std::ffi::OsString>,
    patience: Duration,
    withheld: fn(&OsStr) -> bool,
}

#[derive(Deserialize)]
struct GetAnswer {
    #[serde(rename = "Username", default)]
    username: String,
    #[serde(rename = "Secret", default)]
    secret: Option<SecretString>,
}

impl Helper {
    /// Takes the configured name, the part behind `docker-credential-`.
    pub(crate) fn new(suffix: &str) -> Result<Self, HelperError> {
        let valid = !suffix.is_empty()
            && suffix.len() <= 100
            && suffix.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-".contains(&b));
        if !valid {
            return Err(HelperError::Name(foreign_text(suffix.as_bytes(), 100)));
        }
        Ok(Self {
            program: format!("docker-credential-{suffix}"),
            search: std::env::var_os("PATH"),
            patience: HELPER_PATIENCE,
            withheld: |_| false,
        })
    }

    /// Looks for the program in these directories instead of `PATH`.
    pub(crate) fn search(mut self, directories: impl Into<std::ffi::OsString>) -> Self {
        self.search = Some(directories.into());
        self
    }

    pub(crate) fn patience(mut self, patience: Duration) -> Self {
        self.patience = patience;
        self
    }

    /// Does not hand on the environment variables for which this says yes.
    pub(crate) fn withholding(mut self, withheld: fn(&OsStr) -> bool) -> Self {
        self.withheld = withheld;
        self
    }

    /// Returns where the program is, if it is anywhere.
    pub(crate) fn locate(&self) -> Option<PathBuf> {
        find(self.search.as_deref()?, &self.program)
    }

    /// Asks for the credentials kept under a key. No entry means [`Credential::Anonymous`].
    pub(crate) async fn get(&self, key: &str) -> Result<Credential, HelperError> {
        let (success, output) = self.run("get", key).await?;
        if !success {
            let message = foreign_text(&output, 300);
            return if message == NOT_FOUND {
                Ok(Credential::Anonymous)
            } else {
                Err(HelperError::Failed { program: self.program.clone(), message })
            };
        }
        let answer: GetAnswer =
            serde_json::from_slice(&output).map_err(|_| HelperError::Answer(self.program.clone()))?;
        let secret = answer.secret.ok_or_else(|| HelperError::Answer(self.program.clone()))?;
        if answer.username == TOKEN_USER {
            Ok(Credential::IdentityToken(secret))
        } else {
            Ok(Credential::password(&answer.username, secret))
        }
    }

    async fn run(&self, action: &str, input: &str) -> Result<(bool, zeroize::Zeroizing<Vec<u8>>), HelperError> {
        let start = |source| HelperError::Start { program: self.program.clone(), source };
        let path = self.locate().ok_or_else(|| start(std::io::Error::from(std::io::ErrorKind::NotFound)))?;
        let mut command = Command::new(path);
        for (name, _) in std::env::vars_os().filter(|(name, _)| (self.withheld)(name)) {
            command.env_remove(name);
        }
        let mut child = command
            .arg(action)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .map_err(start)?;
        let conversation = async {
            if let Some(mut stdin) = child.stdin.take() {
                // A helper that needs no input may close it early.
                let _ = stdin.write_all(input.as_bytes()).await;
            }
            let mut output = zeroize::Zeroizing::new(Vec::new());
            if let Some(stdout) = child.stdout.take() {
                stdout.take(MAX_HELPER_OUTPUT as u64 + 1).read_to_end(&mut output).await.map_err(start)?;
            }
            if output.len() > MAX_HELPER_OUTPUT {
                return Err(HelperError::Output(self.program.clone()));
            }
            let status = child.wait().await.map_err(start)?;
            Ok((status.success(), output))
        };
        let timeout = || HelperError::Timeout { program: self.program.clone(), limit: self.patience };
        tokio::time::timeout(self.patience, conversation).await.map_err(|_| timeout())?
    }
}

/// Looks for a program in a list of directories; relative ones are skipped, as they depend on where one stands.
pub(crate) fn find(search: &OsStr, program: &str) -> Option<PathBuf> {
    let names =
        if cfg!(windows) { vec![format!("{program}.exe"), program.to_owned()] } else { vec![program.to_owned()] };
    std::env::split_paths(search)
        .filter(|directory| directory.is_absolute())
        .flat_map(|directory| names.iter().map(move |name| directory.join(name)).collect::<Vec<_>>())
        .find(|path| is_program(path))
}

#[cfg(unix)]
fn is_program(path: &Path) -> bool {
    use std::os::unix::fs::PermissionsExt as _;
    fs_err::metadata(path).is_ok_and(|metadata| metadata.is_file() && metadata.permissions().mode() & 0o111 != 0)
}

#[cfg(not(unix))]
fn is_program(path: &Path) -> bool {
    fs_err::metadata(path).is_ok_and(|metadata| metadata.is_file())
}

#[cfg(unix)]
#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use secrecy::ExposeSecret as _;

    use super::*;

    fn helper(script: &str) -> (tempfile::TempDir, Helper) {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("docker-credential-test");
        fs_err::write(&path, format!("#!/bin/sh\n{script}\n")).unwrap();
        fs_err::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
        let helper = Helper::new("test").unwrap().search(directory.path()).patience(Duration::from_secs(5));
        (directory, helper)
    }

    #[tokio::test]
    async fn a_helper_is_asked_with_the_bare_key() {
        let (_directory, helper) = helper(
            r#"[ "$1" = get ] && [ "$(/bin/cat)" = r.test ] && echo '{"ServerURL":"r.test","Username":"u","Secret":"s"}'"#,
        );
        match helper.get("r.test").await.unwrap() {
            Credential::Password { username, password } => {
                assert_eq!((username.as_str(), password.expose_secret()), ("u", "s"));
            }
            other => panic!("{other:?}"),
        }
    }

    #[tokio::test]
    async fn the_token_user_marks_an_identity_token() {
        let (_directory, helper) = helper(r#"echo '{"ServerURL":"","Username":"<token>","Secret":"s"}'"#);
        assert!(matches!(helper.get("r.test").await.unwrap(), Credential::IdentityToken(_)));
    }

    #[tokio::test]
    async fn no_entry_is_no_fault_and_failure_is() {
        let (_a, none) = helper("echo credentials not found in native keychain; exit 1");
        assert!(none.get("r.test").await.unwrap().is_anonymous());
        let (_b, broken) = helper("printf 'locked \\033[2J'; exit 1");
        assert_eq!(
            broken.get("r.test").await.unwrap_err().to_string(),
            "the credential helper docker-credential-test failed: locked \\u{1b}[2J"
        );
    }

    #[tokio::test]
    async fn a_helper_that_hangs_is_ended() {
        let (_directory, helper) = helper("sleep 600 & sleep 600");
        let begin = std::time::Instant::now();
        assert!(matches!(
            helper.patience(Duration::from_millis(300)).get("r.test").await,
            Err(HelperError::Timeout { .. })
        ));
        assert!(begin.elapsed() < Duration::from_secs(5));
    }

    #[tokio::test]
    async fn a_helper_that_prints_without_end_is_ended() {
        let (_directory, helper) = helper("exec /usr/bin/yes");
        assert!(matches!(helper.get("r.test").await, Err(HelperError::Output(_))));
    }

    #[tokio::test]
    async fn junk_is_refused_and_not_repeated() {
        let (_directory, helper) = helper("echo hunter2");
        assert!(!helper.get("r.test").await.unwrap_err().to_string().contains("hunter2"));
    }

    #[tokio::test]
    async fn a_missing_helper_is_an_error() {
        let (_directory, helper) = helper("");
        let helper = Helper { program: "docker-credential-missing".into(), ..helper };
        assert!(matches!(helper.get("r.test").await, Err(HelperError::Start { .. })));
    }

    #[test]
    fn names_that_lead_elsewhere_are_refused() {
        for name in ["", "../x", "a/b", "a b", "a\\b", "a\n"] {
            assert!(matches!(Helper::new(name), Err(HelperError::Name(_))), "{name:?}");
        }
    }
}
