//! `countersign serve backup` and `countersign serve restore`: everything that the service keeps, in one file and back.

use super::storage::DatabaseOptions;
use super::{Place, chain};
use crate::command::Format;
use crate::error::{CliError, Kind};
use crate::output::{data, message};
use clap::Args;
use countersign_server::{BackupError, Contents, Despite, Restored, SecretState, Service};
use jiff::Timestamp;
use serde_json::{Value, json};
use std::fs::File;
use std::io::{self, IsTerminal, Seek};
use std::path::{Path, PathBuf};
use std::time::Instant;
use tempfile::NamedTempFile;

/// Stands for standard output or input.
const PIPE: &str = "-";

/// Write everything that the service keeps into one file
///
/// The service may be running and publications may come: the file has the state of one moment. Keys are in it as they are
/// stored, encrypted. The file `secret` of the data directory opens them and is not in it: keep a copy of that, somewhere else.
#[derive(Debug, Args)]
pub(crate) struct Save {
    /// The file, which must not be there yet; - is standard output
    #[arg(value_name = "FILE")]
    file: PathBuf,
    #[command(flatten)]
    service: Which,
}

/// Bring a backup into an empty database of any kind, and verify everything
///
/// The service must not be running. Every file, collection and key is verified before a service starts on the database. Whoever
/// has seen later versions than the backup has refuses the earlier ones.
#[derive(Debug, Args)]
pub(crate) struct Restore {
    /// The file; - is standard input
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// Only verify the backup, in a temporary folder
    #[arg(long)]
    check: bool,
    /// Serve what was restored also when not everything in it is in order
    #[arg(long, conflicts_with = "check")]
    despite_findings: bool,
    #[command(flatten)]
    service: Which,
}

/// The service, and how figures are printed.
#[derive(Debug, Args)]
struct Which {
    /// The settings file [default: countersign/serve.toml in the XDG configuration directory, if it is there]
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Where the service keeps everything [default: countersign/serve in the XDG data directory]
    #[arg(long, value_name = "DIR")]
    data_dir: Option<PathBuf>,
    #[command(flatten)]
    database: DatabaseOptions,
    /// How to print the figures
    #[arg(long, value_enum, default_value_t = Format::Text)]
    format: Format,
}

impl Which {
    fn settled(&self) -> Result<countersign_server::Config, CliError> {
        let place =
            Place { config: self.config.clone(), data_dir: self.data_dir.clone(), database: self.database.clone() };
        place.config()
    }
}

impl Save {
    pub(crate) async fn run(&self) -> Result<(), CliError> {
        let config = self.service.settled()?;
        let begun = Instant::now();
        if self.file == Path::new(PIPE) {
            if io::stdout().is_terminal() {
                return Err(CliError::user("a backup is nothing for a terminal: name a file"));
            }
            let written = Service::backup(&config, io::stdout(), Timestamp::now()).await;
            let (_, contents, bytes) = written.map_err(|error| failed(&error))?;
            message(format_args!("{}; {}", counted(&contents), taken(bytes, begun)));
            return Ok(());
        }
        let there = || CliError::user(format!("{} is there already", self.file.display()));
        if self.file.exists() {
            return Err(there());
        }
        let folder = match self.file.parent() {
            Some(folder) if !folder.as_os_str().is_empty() => folder,
            _ => Path::new("."),
        };
        let local = |error: io::Error| CliError::new(Kind::Local, format!("{}: {error}", self.file.display()));
        // Readable for the owner alone: it has every key, although encrypted.
        let staged = tempfile::Builder::new().prefix(".countersign-backup-").tempfile_in(folder).map_err(local)?;
        let (staged, contents, bytes) =
            Service::backup(&config, staged, Timestamp::now()).await.map_err(|error| failed(&error))?;
        put(staged, &self.file, folder).map_err(|error| match error.kind() {
            io::ErrorKind::AlreadyExists => there(),
            _ => local(error),
        })?;
        if self.service.format == Format::Json {
            let mut figures = figures(&contents);
            add(&mut figures, [("archive_bytes", json!(bytes)), ("seconds", json!(begun.elapsed().as_secs_f64()))]);
            return data(figures);
        }
        data(format_args!("{}; {}", counted(&contents), taken(bytes, begun)))?;
        if contents.keys > 0 {
            let secret = config.data_dir.join("secret");
            message(format_args!("the keys in it are of no use without {}: keep a copy elsewhere", secret.display()));
        }
        if contents.keys_at_keyserver > 0 {
            message(format_args!(
                "{} keys are at the keyserver, which is backed up by itself",
                contents.keys_at_keyserver
            ));
        }
        Ok(())
    }
}

/// Gives a whole file its name, durably; what is there already stays.
fn put(staged: NamedTempFile, file: &Path, folder: &Path) -> io::Result<()> {
    staged.as_file().sync_all()?;
    staged.persist_noclobber(file).map_err(|error| error.error)?;
    fs_err::File::open(folder)?.sync_all()
}

impl Restore {
    pub(crate) async fn run(&self) -> Result<(), CliError> {
        let config = self.service.settled()?;
        let begun = Instant::now();
        let archive = self.archive().map_err(|error| CliError::new(Kind::Local, error))?;
        let now = Timestamp::now();
        let restored = if self.check {
            let folder = tempfile::tempdir().map_err(|error| CliError::new(Kind::Local, error))?;
            Service::check_backup(archive, folder.path(), Some(&config.data_dir), now).await
        } else {
            let despite = if self.despite_findings { Despite::Findings } else { Despite::Nothing };
            Service::restore(&config, archive, now, despite).await
        };
        let restored = restored.map_err(|error| failed(&error))?;
        self.print(&restored, begun)?;
        for (gun, what) in &restored.findings.named {
            match gun {
                Some(gun) => message(format_args!("{gun}: {what}")),
                None => message(what),
            }
        }
        match restored.secret {
            SecretState::Missing if self.check => {
                message("no keys were tried: the file secret that opens them is not here");
            }
            SecretState::Missing => message(format_args!(
                "put the file secret of the old service into {} before you start the service",
                config.data_dir.display()
            )),
            SecretState::Present | SecretState::NotNeeded => {}
        }
        if restored.is_sound() {
            return Ok(());
        }
        let found = CliError::new(Kind::Findings, format!("{} things are not in order", restored.findings.count));
        Err(match (self.check, self.despite_findings) {
            (true, _) => found,
            (false, true) => found.hint("the service serves them as they are"),
            (false, false) => found
                .hint("no service starts on this database: restore another backup into it, or this one with --despite-findings"),
        })
    }

    fn archive(&self) -> io::Result<File> {
        if self.file != Path::new(PIPE) {
            return Ok(fs_err::File::open(&self.file)?.into_parts().0);
        }
        // It is read twice: nothing is stored before all of it was seen.
        let mut spooled = tempfile::tempfile()?;
        io::copy(&mut io::stdin().lock(), &mut spooled)?;
        spooled.rewind()?;
        Ok(spooled)
    }

    fn print(&self, restored: &Restored, begun: Instant) -> Result<(), CliError> {
        let Restored { created_at, program, contents, findings, secret } = restored;
        if self.service.format == Format::Json {
            let mut figures = figures(contents);
            let secret = match secret {
                SecretState::Present => "present",
                SecretState::Missing => "missing",
                SecretState::NotNeeded => "not needed",
            };
            let named = findings
                .named
                .iter()
                .map(|(gun, what)| json!({"collection": gun.as_ref().map(ToString::to_string), "finding": what}));
            let more = [
                ("created_at", json!(created_at.to_string())),
                ("program", json!(program)),
                ("checked_only", json!(self.check)),
                ("secret", json!(secret)),
                ("findings", json!(findings.count)),
                ("named", named.collect()),
                ("seconds", json!(begun.elapsed().as_secs_f64())),
            ];
            add(&mut figures, more);
            return data(figures);
        }
        let verb = if self.check { "verified" } else { "restored and verified" };
        data(format_args!(
            "{verb}: {}; backup of {created_at}; {:.1} seconds",
            counted(contents),
            begun.elapsed().as_secs_f64()
        ))
    }
}

fn counted(contents: &Contents) -> String {
    format!(
        "{} collections, {} files, {} bytes, {} changes, {} keys, {} keys at the keyserver",
        contents.collections,
        contents.files,
        contents.bytes,
        contents.changes,
        contents.keys,
        contents.keys_at_keyserver
    )
}

fn taken(bytes: u64, begun: Instant) -> String {
    format!("{bytes} bytes in the backup; {:.1} seconds", begun.elapsed().as_secs_f64())
}

fn figures(contents: &Contents) -> Value {
    json!({"collections": contents.collections, "files": contents.files, "bytes": contents.bytes,
        "changes": contents.changes, "deletions": contents.deletions, "last_change": contents.last_change,
        "keys": contents.keys, "keys_at_keyserver": contents.keys_at_keyserver})
}

fn add<const N: usize>(figures: &mut Value, more: [(&str, Value); N]) {
    if let Some(figures) = figures.as_object_mut() {
        figures.extend(more.map(|(name, value)| (name.to_owned(), value)));
    }
}

fn failed(error: &BackupError) -> CliError {
    let kind = match error {
        BackupError::NotEmpty | BackupError::NoBackup | BackupError::ReferenceTables => Kind::User,
        _ => Kind::Local,
    };
    CliError::new(kind, chain(error))
}
