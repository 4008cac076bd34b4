//! Disks that can be filled.

use std::fs::File;
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use crate::{Process, Tool};

const MOUNT_LIMIT: Duration = Duration::from_secs(10);
/// What is written at once to fill a disk.
static CHUNK: [u8; 1 << 16] = [0; 1 << 16];

/// A small disk over one folder, seen only by programs that are started on it; gone when dropped.
#[derive(Debug)]
pub(super) struct SmallDisk {
    /// Keeps the disk while nothing else uses it.
    keeper: Process,
    folder: PathBuf,
}

impl SmallDisk {
    /// Puts a disk of so many megabytes in the place of a folder; it is this user's.
    pub(super) fn over(folder: &Path, megabytes: u32, user: &str, log: &Path) -> Self {
        let ready = "ready";
        let mut command = Command::new(Tool::UNSHARE.path());
        command.args([
            "--mount",
            "sh",
            "-c",
            r#"mount -t tmpfs -o "$1" none "$2" && echo "$3" && exec sleep infinity"#,
        ]);
        command.args(["sh", &format!("size={megabytes}m,mode=700,uid={user},gid={user}")]).arg(folder).arg(ready);
        let mut keeper = Process::start(&command, log, Duration::ZERO);
        let mounted = keeper.becomes_ready(MOUNT_LIMIT, || (keeper_says(log).trim() == ready).into());
        assert!(mounted, "no disk could be mounted (as root?): {}", keeper.log());
        Self { keeper, folder: folder.to_owned() }
    }

    /// A command that runs a program on this disk.
    pub(super) fn enter(&self, program: &Path) -> Command {
        let mut command = Command::new(Tool::NSENTER.path());
        command.arg(format!("--mount=/proc/{}/ns/mnt", self.keeper.id())).arg("--").arg(program);
        command
    }

    /// Writes until nothing more can be written.
    pub(super) fn fill(&self) {
        let mut ballast = File::create(self.ballast()).expect("a file on the disk");
        loop {
            match ballast.write_all(&CHUNK) {
                Ok(()) => {}
                Err(full) if full.kind() == ErrorKind::StorageFull => return,
                Err(error) => panic!("the disk cannot be filled: {error}"),
            }
        }
    }

    /// Gives back what [`SmallDisk::fill`] took.
    pub(super) fn clear(&self) {
        std::fs::remove_file(self.ballast()).expect("a disk that was filled");
    }

    /// The file, as processes see it that are not on the disk.
    fn ballast(&self) -> PathBuf {
        let folder = self.folder.strip_prefix("/").expect("an absolute path");
        Path::new("/proc").join(self.keeper.id().to_string()).join("root").join(folder).join("ballast")
    }
}

fn keeper_says(log: &Path) -> String {
    std::fs::read_to_string(log).unwrap_or_default()
}
