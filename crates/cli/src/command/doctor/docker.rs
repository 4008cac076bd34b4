//! The docker in `PATH`, and what `countersign install` has put around it.

use super::finding::{Finding, Report};
use super::{Bench, kind, repair};
use crate::command::trust::docker::{FIRST_WITHOUT, is_ours, version};
use crate::context::variable;
use crate::shim::{DOCKER_VARIABLE, RealDocker, RealDockerError};
use std::path::{Path, PathBuf};

/// Where docker looks for plugins of everybody.
const SYSTEM_PLUGINS: [&str; 4] = [
    "/usr/local/lib/docker/cli-plugins",
    "/usr/local/libexec/docker/cli-plugins",
    "/usr/lib/docker/cli-plugins",
    "/usr/libexec/docker/cli-plugins",
];

pub(super) fn check(bench: &Bench, report: &mut Report) {
    let path = variable("PATH").unwrap_or_default();
    let folders: Vec<PathBuf> = std::env::split_paths(&path).filter(|folder| folder.is_absolute()).collect();
    for folder in &folders {
        check_link(bench, &folder.join("docker"), report);
    }
    let first = folders.iter().map(|folder| folder.join("docker")).find(|docker| docker.is_file());
    let is_shim = first.as_deref().is_some_and(is_ours);
    check_behind(is_shim, report);
    if !is_shim {
        check_shadowed(first.as_deref(), report);
    }
    check_plugin(bench, first.as_deref().filter(|_| !is_shim), report);
}

/// A link that leads nowhere hides what it once was: the shell goes on to the next docker, and nothing is verified.
fn check_link(bench: &Bench, docker: &Path, report: &mut Report) {
    if !is_dangling(docker) {
        return;
    }
    let target = std::fs::read_link(docker).unwrap_or_default();
    let message = format!("{} leads to {}, which is not there", docker.display(), target.display());
    let user = bench.commands.ours(&["install", "--user", "--shim"]);
    let finding = Finding::new(&kind::SHIM_DANGLING, docker.display(), message);
    report.add(finding.command(repair::on_file(&["rm"], docker)).command(user));
}

fn is_dangling(link: &Path) -> bool {
    link.is_symlink() && std::fs::metadata(link).is_err()
}

fn check_behind(is_shim: bool, report: &mut Report) {
    let install = "install docker's client, or name it: export COUNTERSIGN_DOCKER=/path/to/docker";
    match RealDocker::find() {
        Err(error @ (RealDockerError::NotAProgram(_) | RealDockerError::Itself(_))) => {
            let finding = Finding::new(&kind::DOCKER_VARIABLE_INVALID, DOCKER_VARIABLE, error);
            report.add(finding.command(format!("unset {DOCKER_VARIABLE}")));
        }
        Err(error) if is_shim => {
            report.add(Finding::new(&kind::SHIM_WITHOUT_DOCKER, "PATH", error).advice(install));
        }
        Ok(_) | Err(_) => {}
    }
}

/// Looks for a shim in the two folders that it is put into, while another docker is called.
fn check_shadowed(first: Option<&Path>, report: &mut Report) {
    let home = etcetera::home_dir().ok().map(|home| home.join(".local/bin"));
    for folder in home.into_iter().chain([PathBuf::from("/usr/local/bin")]) {
        let shim = folder.join("docker");
        if !shim.is_symlink() || !is_ours(&shim) {
            continue;
        }
        let message = match first {
            Some(first) => {
                format!("{} comes before {} in PATH: it neither signs nor verifies", first.display(), shim.display())
            }
            None => format!("{} is not in PATH", folder.display()),
        };
        let before = format!("export PATH={}:\"$PATH\"", repair::line([&*folder.to_string_lossy()]));
        let finding = Finding::new(&kind::SHIM_SHADOWED, shim.display(), message).command(before);
        report.add(finding.advice("in shells that are open already also: hash -r"));
    }
}

fn check_plugin(bench: &Bench, docker: Option<&Path>, report: &mut Report) {
    let own = bench.docker_config.join("cli-plugins");
    let folders = || std::iter::once(own.clone()).chain(SYSTEM_PLUGINS.iter().map(PathBuf::from));
    let dangling = folders().map(|folder| folder.join("docker-trust")).find(|plugin| is_dangling(plugin));
    if let Some(plugin) = dangling {
        let target = std::fs::read_link(&plugin).unwrap_or_default();
        let message = format!("{} leads to {}, which is not there", plugin.display(), target.display());
        let scope = if plugin.starts_with(&own) { "--user" } else { "--system" };
        let finding = Finding::new(&kind::PLUGIN_DANGLING, plugin.display(), message);
        let again = bench.commands.ours(&["install", scope]);
        return report.add(finding.command(repair::on_file(&["rm"], &plugin)).command(again));
    }
    let is_there = folders().any(|folder| folder.join("docker-trust").is_file());
    let Some(docker) = docker.filter(|_| !is_there) else { return };
    if let Some(version) = version(docker).filter(|version| *version >= FIRST_WITHOUT) {
        let message = format!("{} is docker {version}, which has no docker trust of its own", docker.display());
        let finding = Finding::new(&kind::PLUGIN_MISSING, docker.display(), message);
        report.add(finding.command(bench.commands.ours(&["install", "--user"])));
    }
}
