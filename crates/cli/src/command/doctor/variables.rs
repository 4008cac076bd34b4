//! Environment variables: dead ones, wrong ones, and those that contradict others.

use super::finding::{Finding, Report};
use super::{Bench, kind, repair};
use crate::command::trust::docker;
use crate::context::{Context, SERVER, passphrase_command, variable};
use crate::error::CliError;
use crate::settings::Settings;
use crate::settings::key_care::PASSPHRASE_COMMAND;
use crate::trust_switch::boolean;
use countersign_tuf::Gun;
use countersign_vault::is_secret_variable;
use rustix::fs::{Access, access};
use std::collections::BTreeSet;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

const TRUST: &str = "DOCKER_CONTENT_TRUST";
/// The variables that hold passphrases, as startup files may set them.
pub(super) const PASSPHRASES: [&str; 8] = [
    "DOCKER_CONTENT_TRUST_ROOT_PASSPHRASE",
    "DOCKER_CONTENT_TRUST_REPOSITORY_PASSPHRASE",
    "NOTARY_ROOT_PASSPHRASE",
    "NOTARY_TARGETS_PASSPHRASE",
    "NOTARY_SNAPSHOT_PASSPHRASE",
    "NOTARY_DELEGATION_PASSPHRASE",
    "COUNTERSIGN_BACKUP_PASSPHRASE",
    "COUNTERSIGN_NEW_PASSPHRASE",
];
/// The names of docker before 1.12, and today's.
pub(super) const DEAD_PASSPHRASES: [(&str, &str); 2] = [
    ("DOCKER_CONTENT_TRUST_OFFLINE_PASSPHRASE", "DOCKER_CONTENT_TRUST_ROOT_PASSPHRASE"),
    ("DOCKER_CONTENT_TRUST_TAGGING_PASSPHRASE", "DOCKER_CONTENT_TRUST_REPOSITORY_PASSPHRASE"),
];

/// Looks at the variables by themselves.
pub(super) fn check(bench: &Bench, server: Option<&CliError>, report: &mut Report) {
    check_switch(bench, report);
    if let Some(error) = server {
        report.add(server_finding(error));
    }
    for name in passphrases() {
        check_passphrase(&name, report);
    }
    for (dead, living) in DEAD_PASSPHRASES.into_iter().filter(|(dead, _)| variable(dead).is_some()) {
        let message = format!("{dead} is not read any more: {living} has taken its place");
        let rename = format!("export {living}=\"${dead}\"; unset {dead}");
        report.add(Finding::new(&kind::PASSPHRASE_VARIABLE_DEAD, dead, message).command(rename));
    }
}

fn check_switch(bench: &Bench, report: &mut Report) {
    let Some(value) = variable(TRUST) else { return };
    let text = value.to_string_lossy();
    match boolean(&text) {
        Some(false) => {
            let message = format!("{TRUST} is {text}: push does not sign, and pull does not verify");
            report.add(Finding::new(&kind::CONTENT_TRUST_OFF, TRUST, message).command(format!("export {TRUST}=1")));
            return;
        }
        Some(true) => {}
        None => {
            let message = format!("{TRUST} is {text:?}, which counts as yes");
            report.add(Finding::new(&kind::CONTENT_TRUST_ODD, TRUST, message).command(format!("export {TRUST}=1")));
        }
    }
    let Some(program) = docker::on_path().filter(|program| !docker::is_ours(program)) else { return };
    match docker::version(&program) {
        Some(version) if version >= docker::FIRST_WITHOUT => {
            let message = format!(
                "{TRUST} is set, but {} is docker {version}, which does not read it: docker push and docker pull neither sign nor verify",
                program.display()
            );
            let advice = "~/.local/bin, where the shim is put, has to come first in PATH";
            let install = bench.commands.ours(&["install", "--user", "--shim"]);
            report.add(Finding::new(&kind::CONTENT_TRUST_DEAD, TRUST, message).command(install).advice(advice));
        }
        Some(_) => {}
        None => report.not_made(
            format!("whether {} reads {TRUST}", program.display()),
            "it does not say its version, as docker does",
        ),
    }
}

fn server_finding(error: &CliError) -> Finding {
    let text = variable(SERVER).unwrap_or_default();
    let text = text.to_string_lossy();
    let host = text.split_once("://").map_or(&*text, |(_, rest)| rest);
    let right = format!("https://{host}");
    let right = match countersign_notary::ServiceAddress::parse(&right) {
        Ok(address) => address.to_string(),
        Err(_) => "https://HOST:PORT".to_owned(),
    };
    Finding::new(&kind::SERVER_VARIABLE_INVALID, SERVER, &error.message).command(format!("export {SERVER}={right}"))
}

/// Returns the variables with passphrases or PINs that are set here, or whose companions are.
fn passphrases() -> BTreeSet<String> {
    let is_dead = |name: &str| DEAD_PASSPHRASES.iter().any(|(dead, _)| *dead == name) || name == "NOTARY_AUTH";
    let names = std::env::vars_os().filter_map(|(name, _)| name.into_string().ok());
    let plain = names.map(|name| {
        let stem = name.strip_suffix("_FILE").or_else(|| name.strip_suffix("_FD"));
        stem.map_or_else(|| name.clone(), str::to_owned)
    });
    plain.filter(|name| is_secret_variable(name.as_ref()) && !is_dead(name)).collect()
}

/// Looks whether the program that is asked for passphrases is there, without asking it.
pub(super) fn check_passphrase_command(settings: &Settings, report: &mut Report) {
    let finding = |message: String| {
        Finding::new(&kind::PASSPHRASE_COMMAND_UNUSABLE, PASSPHRASE_COMMAND, message)
            .advice("install the program, or name another: docs/reference/environment.md has the rules")
    };
    let command = match passphrase_command(settings) {
        Ok(command) => command,
        Err(error) => return report.add(finding(error.message)),
    };
    let Some(command) = command else { return };
    let program = Path::new(command.program());
    let path = variable("PATH").unwrap_or_default();
    let is_there = if program.is_absolute() {
        access(program, Access::EXEC_OK).is_ok()
    } else {
        std::env::split_paths(&path).any(|folder| access(folder.join(program), Access::EXEC_OK).is_ok())
    };
    if !is_there {
        report.add(finding(format!("{} is no program that can be run", program.display())));
    }
}

fn check_passphrase(name: &str, report: &mut Report) {
    let (file, descriptor) = (format!("{name}_FILE"), format!("{name}_FD"));
    if variable(name).is_some() {
        let message = format!("{name} is set here: every program that is started can read it");
        let advice = format!("name a file that only you can read in {file}, or a descriptor in {descriptor}");
        report.add(
            Finding::new(&kind::PASSPHRASE_IN_ENVIRONMENT, name, message)
                .command(format!("unset {name}"))
                .advice(advice),
        );
        for hidden in [&file, &descriptor].into_iter().filter(|other| variable(other).is_some()) {
            let message = format!("{name} counts, and {hidden} is not looked at");
            report.add(Finding::new(&kind::PASSPHRASES_CONTRADICT, hidden, message).command(format!("unset {name}")));
        }
        return;
    }
    let Some(path) = variable(&file) else { return };
    let path = Path::new(&path);
    let shown = path.display();
    let unusable = |reason: String| {
        Finding::new(&kind::PASSPHRASE_FILE_UNUSABLE, &file, format!("{shown}: {reason}"))
            .advice(format!("write the passphrase into its first line, or let {file} name another file"))
    };
    match std::fs::metadata(path) {
        Err(error) => report.add(unusable(error.to_string())),
        Ok(metadata) if metadata.is_dir() => report.add(unusable("it is a directory".to_owned())),
        Ok(metadata) if metadata.is_file() && metadata.len() == 0 => report.add(unusable("it is empty".to_owned())),
        Ok(_) if access(path, Access::READ_OK).is_err() => report.add(unusable("it cannot be read".to_owned())),
        Ok(metadata) if metadata.is_file() && metadata.permissions().mode() & 0o077 != 0 => {
            let mode = metadata.permissions().mode() & 0o7777;
            let message = format!("others can read {shown} (mode {mode:o})");
            let finding = Finding::new(&kind::PASSPHRASE_FILE_OPEN, &file, message);
            report.add(finding.command(repair::on_file(&["chmod", "600"], path)));
        }
        Ok(_) => {}
    }
}

/// Looks whether the audit log could be written, without opening it.
pub(super) fn check_audit_log(path: Option<&Path>, report: &mut Report) {
    let Some(path) = path else { return };
    let finding = |message: String| Finding::new(&kind::AUDIT_LOG_UNUSABLE, path.display(), message);
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    match std::fs::metadata(path) {
        Ok(metadata) if metadata.is_dir() => {
            report.add(finding("it is a directory".to_owned()).advice("let the setting or variable name a file"));
        }
        Ok(_) if access(path, Access::WRITE_OK).is_err() => {
            report.add(finding("it cannot be written".to_owned()).command(repair::on_file(&["chmod", "u+w"], path)));
        }
        Err(_) if !folder.is_dir() => {
            let message = format!("the folder {} is not there", folder.display());
            report.add(finding(message).command(repair::on_file(&["mkdir", "-p"], folder)));
        }
        Err(_) if access(folder, Access::WRITE_OK).is_err() => {
            let message = format!("it is not there, and no file can be made in {}", folder.display());
            report.add(finding(message).command(repair::on_file(&["chmod", "u+w"], folder)));
        }
        Ok(_) | Err(_) => {}
    }
}

/// Looks whether the variable for all services hides others that the settings name.
pub(super) fn check_services(context: &Context, report: &mut Report) {
    if variable(SERVER).is_none() {
        return;
    }
    let Some((server, named_by)) = context.server() else { return };
    if !matches!(named_by, crate::context::NamedBy::Variable(_)) {
        return;
    }
    for (prefix, other, by) in context.settings().services().filter(|(_, other, _)| other.address != server.address) {
        let images = if prefix.is_empty() { "all images".to_owned() } else { format!("{prefix} and below") };
        let message =
            format!("{by} names {} for {images}, but {SERVER} is {}, and counts", other.address, server.address);
        let finding = Finding::new(&kind::SERVICES_CONTRADICT, SERVER, message).command(format!("unset {SERVER}"));
        let subject = if prefix.is_empty() { None } else { Gun::parse(prefix).ok() };
        report.add(match subject {
            Some(subject) => finding.about(subject),
            None => finding,
        });
    }
}
