//! The trust directory: whether it can be used, by whom else, and what lies about in it.

use super::finding::{Finding, Report};
use super::{Bench, kind, not_checked, repair};
use countersign_vault::{FileKind, TrustDirectory, Warning};
use rustix::fs::{Access, access, statvfs};
use rustix::io::Errno;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::{Duration, SystemTime};

/// The note of keys that belong to the store and have no names yet.
const ARRIVING: &str = ".countersign/keys/arriving";
/// What helps where something else lies in a directory's place.
pub(super) const MOVE_AWAY: &str = "move it away, or name another trust directory with --trust-dir";
/// Bytes below which a disk counts as full: keys, a collection and its record of versions still fit.
const FULL: u64 = 1 << 20;
/// How old a temporary file is at least that nobody is at work on any more.
const LEFT: Duration = Duration::from_mins(10);

/// Opens the trust directory and looks at it.
pub(super) fn check(bench: &Bench, report: &mut Report) -> Option<TrustDirectory> {
    check_config(bench, report);
    let directory = match TrustDirectory::at(&bench.trust_dir) {
        Ok(directory) => directory,
        Err(error) => {
            let place = bench.trust_dir.display();
            report.add(Finding::new(&kind::TRUST_DIRECTORY_UNUSABLE, place, error).advice(MOVE_AWAY));
            return None;
        }
    };
    match directory.warnings() {
        Ok(warnings) => report.extend(warnings.iter().map(|warning| of_warning(bench, warning))),
        Err(error) => {
            let place = bench.trust_dir.display();
            report.add(Finding::new(&kind::TRUST_DIRECTORY_UNUSABLE, place, error).advice(MOVE_AWAY));
        }
    }
    check_room(&bench.trust_dir, report);
    check_temporary(bench, &directory, report);
    Some(directory)
}

fn check_config(bench: &Bench, report: &mut Report) {
    for folder in [bench.docker_config.clone(), bench.docker_config.join("tls")] {
        let Ok(metadata) = std::fs::metadata(&folder) else { continue };
        let mode = metadata.permissions().mode() & 0o7777;
        // With the sticky bit nobody can take away what is somebody else's.
        if mode & 0o022 != 0 && mode & 0o1000 == 0 {
            let message = format!("others can put their own trust directory or authorities there (mode {mode:o})");
            let finding = Finding::new(&kind::CONFIG_OPEN, folder.display(), message);
            report.add(finding.command(repair::on_file(&["chmod", "go-w"], &folder)));
        }
    }
}

fn of_warning(bench: &Bench, warning: &Warning) -> Finding {
    match warning {
        Warning::OpenToOthers { path, mode } => {
            let is_key = path.is_file();
            let kind = if is_key { &kind::KEY_FILE_OPEN } else { &kind::TRUST_DIRECTORY_OPEN };
            let wanted = format!("{:o}", mode & !0o077);
            let advice =
                "what others could read may be in their hands: if in doubt, countersign key rotate --compromised";
            let finding = Finding::new(kind, path.display(), format!("others can use it (mode {mode:o})"))
                .command(repair::on_file(&["chmod", &wanted], path));
            if is_key { finding.advice(advice) } else { finding }
        }
        Warning::OwnedByAnother { path, owner } => {
            let own = rustix::process::geteuid().as_raw().to_string();
            let message = format!("it belongs to the user with the id {owner}, who can change it at will");
            Finding::new(&kind::OWNED_BY_ANOTHER, path.display(), message)
                .command(repair::on_file(&["chown", &own], path))
        }
        Warning::LeftOut { path, kind: FileKind::SymbolicLink } => {
            let target = std::fs::read_link(path).unwrap_or_default();
            let message = format!("it is a link to {}, which is not followed, as docker does not", target.display());
            let finding = Finding::new(&kind::LEFT_OUT, path.display(), message);
            if path.is_file() {
                let beside = path.with_extension("link");
                finding
                    .command(repair::line(["mv", &*path.to_string_lossy(), &*beside.to_string_lossy()]))
                    .command(repair::line([
                        "install",
                        "-p",
                        "-m",
                        "600",
                        &*beside.to_string_lossy(),
                        &*path.to_string_lossy(),
                    ]))
                    .command(repair::on_file(&["rm"], &beside))
            } else if path.is_dir() {
                let (from, to) = (target.to_string_lossy(), path.to_string_lossy());
                finding.command(repair::on_file(&["rm"], path)).command(repair::line(["cp", "-a", &*from, &*to]))
            } else {
                finding.command(repair::on_file(&["rm"], path))
            }
        }
        Warning::LeftOut { path, kind } => {
            Finding::new(&kind::LEFT_OUT, path.display(), format!("it is {kind}, and is left out"))
                .command(repair::on_file(&["rm"], path))
        }
        other => not_checked(&bench.trust_dir.display().to_string(), other),
    }
}

/// Looks whether something can be written, without writing.
fn check_room(trust_dir: &Path, report: &mut Report) {
    let Some(there) = trust_dir.ancestors().find(|folder| folder.is_dir()) else { return };
    let place = there.display().to_string();
    let place = place.as_str();
    match access(there, Access::WRITE_OK | Access::EXEC_OK) {
        Err(Errno::ROFS) => report.add(
            Finding::new(
                &kind::READ_ONLY,
                place,
                "the file system is mounted read-only: what is verified cannot be kept",
            )
            .command(repair::on_file(&["mount", "-o", "remount,rw"], there))
            .advice("or name another trust directory with --trust-dir"),
        ),
        Err(error) => report.add(
            Finding::new(&kind::READ_ONLY, place, format!("it cannot be written to: {error}"))
                .command(repair::on_file(&["chmod", "u+rwx"], there)),
        ),
        Ok(()) => {}
    }
    match statvfs(there) {
        Ok(found)
            if found.f_bavail.saturating_mul(found.f_frsize) < FULL || (found.f_files > 0 && found.f_favail == 0) =>
        {
            let free = found.f_bavail.saturating_mul(found.f_frsize);
            let message =
                format!("{free} bytes and {} files are free: keys and metadata cannot be kept", found.f_favail);
            let finding = Finding::new(&kind::DISK_FULL, place, message).command(repair::on_file(&["df"], there));
            report.add(finding.advice("make room: df shows which disk it is"));
        }
        Ok(_) => {}
        Err(error) => report.add(not_checked(&format!("room on the disk of {place}"), error)),
    }
}

fn check_temporary(bench: &Bench, directory: &TrustDirectory, report: &mut Report) {
    let (private, arriving) = (directory.path().join("private"), directory.path().join(ARRIVING));
    let files = match directory.temporary_files() {
        Ok(files) => files,
        Err(error) => return report.add(not_checked("temporary files", error)),
    };
    for file in files {
        let age = std::fs::symlink_metadata(&file).and_then(|found| found.modified());
        let age = age.ok().and_then(|modified| SystemTime::now().duration_since(modified).ok());
        if age.is_none_or(|age| age < LEFT) {
            continue;
        }
        let (message, command) = if file.parent() == Some(&*private) && arriving.exists() {
            let message = "a restore was killed when its keys were about to get their names: the next one gives them";
            (message, bench.commands.ours(&["key", "restore", "ARCHIVE"]))
        } else {
            let message = "a process was killed while it wrote this file; nobody needs it";
            (message, repair::on_file(&["rm"], &file))
        };
        report.add(Finding::new(&kind::TEMPORARY_LEFT, file.display(), message).command(command));
    }
}
