//! `countersign install` and `countersign uninstall`: the names by which other programs and people find this one.
//!
//! Everything placed is a symbolic link to this program. A record says what was placed, and only that is removed again.

mod place;
mod record;
mod surroundings;

use crate::context::{GlobalOptions, docker_config, variable};
use crate::error::{CliError, Kind};
use crate::output::{data, harmless, message};
use clap::Args;
use place::{Found, Link};
use record::Record;
use std::path::{Path, PathBuf};
use surroundings::Surroundings;

/// Where docker looks for plugins of everybody.
const SYSTEM_PLUGINS: &str = "/usr/local/lib/docker/cli-plugins";
const SYSTEM_PROGRAMS: &str = "/usr/local/bin";
const SYSTEM_RECORD: &str = "/var/lib/countersign/installed.json";

/// Make this program docker's plugin for `docker trust`, the notary command and, with --shim, a docker that signs and verifies
#[derive(Debug, Args)]
pub(crate) struct Install {
    /// Also stand in for docker: `docker push` and `docker pull` sign and verify when `DOCKER_CONTENT_TRUST` says so
    #[arg(long)]
    shim: bool,
    /// Where to put the commands [default: ~/.local/bin, with --system /usr/local/bin]
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,
    #[command(flatten)]
    scope: Scope,
    /// Only say what would be done
    #[arg(long)]
    dry_run: bool,
}

/// Remove what `countersign install` has placed, and nothing else
#[derive(Debug, Args)]
pub(crate) struct Uninstall {
    #[command(flatten)]
    scope: Scope,
    /// Only say what would be done
    #[arg(long)]
    dry_run: bool,
}

/// For whom.
#[derive(Debug, Args)]
struct Scope {
    /// For this person only [default, except for root]
    #[arg(long, conflicts_with = "system")]
    user: bool,
    /// For everybody on this machine [default for root]
    #[arg(long)]
    system: bool,
}

/// The folders of a scope.
#[derive(Debug)]
struct Folders {
    plugins: PathBuf,
    programs: PathBuf,
    record: PathBuf,
}

/// Whether something is done or only told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mode {
    Do,
    Tell,
}

impl Scope {
    fn folders(&self, options: &GlobalOptions) -> Result<Folders, CliError> {
        if self.system || (!self.user && rustix::process::geteuid().is_root()) {
            let (plugins, programs) = (SYSTEM_PLUGINS.into(), SYSTEM_PROGRAMS.into());
            return Ok(Folders { plugins, programs, record: SYSTEM_RECORD.into() });
        }
        let home =
            etcetera::home_dir().map_err(|_| CliError::new(Kind::Local, "there is no home directory: use --system"))?;
        let data = variable("XDG_DATA_HOME").map(PathBuf::from).filter(|path| path.is_absolute());
        let data = data.unwrap_or_else(|| home.join(".local/share"));
        Ok(Folders {
            plugins: docker_config(options.config.as_deref())?.join("cli-plugins"),
            programs: home.join(".local/bin"),
            record: data.join("countersign/installed.json"),
        })
    }
}

impl Install {
    pub(crate) fn run(&self, options: &GlobalOptions) -> Result<(), CliError> {
        let folders = self.scope.folders(options)?;
        let programs = match &self.dir {
            Some(dir) => std::path::absolute(dir).map_err(|error| CliError::new(Kind::Local, error))?,
            None => folders.programs,
        };
        let program = std::env::current_exe().and_then(fs_err::canonicalize);
        let program = program.map_err(|error| CliError::new(Kind::Local, error))?;
        let mut links = vec![
            Link { at: folders.plugins.join("docker-trust"), to: program.clone() },
            Link { at: programs.join("notary"), to: program.clone() },
        ];
        if self.shim {
            links.push(Link { at: programs.join("docker"), to: program.clone() });
        }
        let mode = if self.dry_run { Mode::Tell } else { Mode::Do };
        let mut record = Record::read(&folders.record)?;
        let wanted = missing(&links, &record)?;
        for link in &wanted {
            place(link, &mut record, mode, &folders.record)?;
        }
        let surroundings = Surroundings::of_this_process(&program);
        let names: &[&str] = if self.shim { &["notary", "docker"] } else { &["notary"] };
        for remark in surroundings.remarks(&programs, names, &folders.plugins) {
            message(format_args!("warning: {}", harmless(&remark)));
        }
        if wanted.is_empty() { data("Everything was in place already") } else { Ok(()) }
    }
}

/// Looks at every place before anything is placed: what belongs to others stops all.
fn missing(links: &[Link], record: &Record) -> Result<Vec<Link>, CliError> {
    let mut wanted = Vec::new();
    for link in links {
        match link.found()? {
            Found::This => {}
            Found::Nothing => wanted.push(link.clone()),
            Found::LinkTo(other) if record.has(&link.at, &other) => wanted.push(link.clone()),
            Found::LinkTo(_) | Found::Other => {
                let message =
                    format!("{} is there and was not placed by Countersign: nothing was done", link.at.display());
                return Err(CliError::user(message).hint("move it away, or choose another folder with --dir"));
            }
        }
    }
    Ok(wanted)
}

fn place(link: &Link, record: &mut Record, mode: Mode, at: &Path) -> Result<(), CliError> {
    let text = format!("{} -> {}", harmless(&link.at.display().to_string()), harmless(&link.to.display().to_string()));
    if mode == Mode::Tell {
        return data(format_args!("Would place {text}"));
    }
    // Written down first: what is written down and not there does no harm, what is there and not written down stays for ever.
    record.note(link);
    record.write(at)?;
    link.place()?;
    data(format_args!("Placed {text}"))
}

impl Uninstall {
    pub(crate) fn run(&self, options: &GlobalOptions) -> Result<(), CliError> {
        let folders = self.scope.folders(options)?;
        let mut record = Record::read(&folders.record)?;
        if record.is_empty() {
            return data("Nothing is installed");
        }
        for link in record.links() {
            let shown = harmless(&link.at.display().to_string());
            match link.found()? {
                Found::LinkTo(_) | Found::This if link.is_in_place()? => {
                    if self.dry_run {
                        data(format_args!("Would remove {shown}"))?;
                        continue;
                    }
                    fs_err::remove_file(&link.at).map_err(|error| CliError::new(Kind::Local, error))?;
                    data(format_args!("Removed {shown}"))?;
                }
                Found::Nothing => {}
                _ => message(format_args!("{shown} is something else by now: left as it is")),
            }
            if !self.dry_run {
                record.forget(&link);
                record.write(&folders.record)?;
            }
        }
        Ok(())
    }
}
