//! `countersign ci init`: a pipeline that signs, written into somebody's repository.

use crate::error::{CliError, Kind};
use crate::output::{data, harmless, message};
use clap::Args;
use std::path::{Path, PathBuf};

/// The files of `integrations`: what is written is what is documented and tested.
macro_rules! integration {
    ($path:literal) => {
        include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/../../integrations/", $path))
    };
}

/// Write a pipeline that builds, pushes and signs an image
#[derive(Debug, Args)]
pub(crate) struct Init {
    /// The CI system
    #[arg(value_enum)]
    system: System,
    /// The repository's folder
    #[arg(long, default_value = ".")]
    dir: PathBuf,
    /// Replace files that are there
    #[arg(long)]
    force: bool,
}

/// A CI system that there is a pipeline for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum System {
    Jenkins,
    Azure,
    Github,
    Gitlab,
}

impl System {
    /// The files, by their paths in the repository.
    fn files(self) -> &'static [(&'static str, &'static str)] {
        match self {
            Self::Jenkins => &[("Jenkinsfile", integration!("jenkins/Jenkinsfile"))],
            Self::Azure => &[
                ("azure-pipelines.yml", integration!("azure-devops/azure-pipelines.yml")),
                ("azure/countersign-sign.yml", integration!("azure-devops/azure/countersign-sign.yml")),
            ],
            Self::Github => &[
                (".github/workflows/signed-image.yml", integration!("github/workflows/signed-image.yml")),
                (
                    ".github/actions/countersign-sign/action.yml",
                    integration!("github/actions/countersign-sign/action.yml"),
                ),
            ],
            Self::Gitlab => &[(".gitlab-ci.yml", integration!("gitlab/.gitlab-ci.yml"))],
        }
    }

    /// What has to be in the secret store.
    fn secrets(self) -> &'static [&'static str] {
        match self {
            Self::Jenkins => &[
                "DOCKER_TRUST_KEY_ARCHIVE     credential of kind secret file",
                "DOCKER_TRUST_KEY_PASSPHRASE  credential of kind secret text",
                "DOCKER_HUB_CREDS             credential of kind user name with password",
            ],
            Self::Azure => &[
                "docker-trust-backup.tar.gz.gpg           secure file",
                "DOCKER_TRUST_PASSPHRASE, DOCKERHUB_TOKEN secret variables",
                "DOCKERHUB_USERNAME                       variable",
            ],
            Self::Github => &[
                "DOCKER_TRUST_KEY_ARCHIVE                     secret: base64 -w0 of the archive",
                "DOCKER_TRUST_KEY_PASSPHRASE, DOCKERHUB_TOKEN secrets",
                "DOCKERHUB_USERNAME                           variable",
            ],
            Self::Gitlab => &[
                "DOCKER_TRUST_KEY_ARCHIVE                     variable of type file: base64 -w0 of the archive",
                "DOCKER_TRUST_KEY_PASSPHRASE, DOCKERHUB_TOKEN masked variables",
                "DOCKERHUB_USERNAME                           variable",
            ],
        }
    }
}

impl Init {
    pub(crate) fn run(&self) -> Result<(), CliError> {
        let files: Vec<(PathBuf, &str)> =
            self.system.files().iter().map(|(path, text)| (self.dir.join(path), *text)).collect();
        if !self.dir.is_dir() {
            return Err(CliError::user(format!("{} is no folder", harmless(&self.dir.display().to_string()))));
        }
        for (path, text) in &files {
            if !self.force
                && fs_err::read(path).map_or_else(|_| path.symlink_metadata().is_ok(), |old| old != text.as_bytes())
            {
                let path = harmless(&path.display().to_string());
                return Err(CliError::user(format!("{path} is there already, and nothing was written"))
                    .hint("replace it with --force, or write elsewhere with --dir"));
            }
        }
        for (path, text) in &files {
            write(path, text).map_err(|error| CliError::new(Kind::Local, error))?;
            data(harmless(&path.display().to_string()))?;
        }
        message("The pipeline expects in the secret store:");
        for secret in self.system.secrets() {
            message(format_args!("  {secret}"));
        }
        message("and at its top: IMAGE, the repository that it signs; DOCKER_CONTENT_TRUST_SERVER, its trust service.");
        Ok(())
    }
}

/// Writes a whole file or none.
fn write(path: &Path, text: &str) -> std::io::Result<()> {
    use std::io::Write;
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    fs_err::create_dir_all(folder)?;
    let mut file = tempfile::Builder::new()
        .permissions(<std::fs::Permissions as std::os::unix::fs::PermissionsExt>::from_mode(0o644))
        .tempfile_in(folder)?;
    file.write_all(text.as_bytes())?;
    file.as_file().sync_all()?;
    file.persist(path)?;
    Ok(())
}
