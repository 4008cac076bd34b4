//! The file that entries are appended to, and the chain that goes on in it.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use countersign_audit::{ChainName, Head, MAX_LINE, Torn, sealed_head};

use super::settings::AuditError;

/// Permissions of the file when it is made here.
const FILE_MODE: u32 = 0o600;
/// Bytes at the end of a file that are looked at: its last entry, and the beginning of one.
const TAIL: u64 = 2 * (MAX_LINE as u64 + 1) + 1;
/// How every entry begins.
const BEGINNING: &[u8] = b"{\"chain\":\"";
/// Endings of files that were compressed.
const COMPRESSED: [&str; 5] = ["gz", "xz", "bz2", "zst", "lz4"];

/// Where lines go.
#[derive(Debug)]
pub(super) enum Target {
    File(LogFile),
    Stdout,
}

/// The open file.
#[derive(Debug)]
pub(super) struct LogFile {
    path: PathBuf,
    file: File,
    /// The length that has been synchronised.
    synced: u64,
    /// Whether something was written since.
    dirty: bool,
    /// Whether the file ends within a line.
    torn: bool,
}

/// Where the chain of a file stands.
#[derive(Debug, Default)]
pub(super) struct Standing {
    /// The chain and its last entry; none where nothing was ever written.
    pub(super) last: Option<(ChainName, Head)>,
    /// What is left of a line after it.
    pub(super) torn: Option<Torn>,
}

impl LogFile {
    /// Opens the file and finds where its chain stands; that of an empty one stands in the file that was renamed last.
    pub(super) fn open(path: &Path) -> Result<(Self, Standing), AuditError> {
        let failed = |source| AuditError::File { path: path.to_owned(), source };
        let mut file = open(path)?;
        let length = file.metadata().map_err(failed)?.len();
        let standing = if length == 0 {
            renamed(path).unwrap_or_default()
        } else {
            standing(&mut file, length).map_err(failed)?.ok_or_else(|| AuditError::NotOurs(path.to_owned()))?
        };
        let torn = length > 0 && standing.torn.is_some();
        // What this process did not write may not be on the disk yet.
        file.sync_all().map_err(failed)?;
        if let Some(folder) = path.parent().filter(|folder| !folder.as_os_str().is_empty()) {
            File::open(folder).and_then(|folder| folder.sync_all()).map_err(failed)?;
        }
        Ok((Self { path: path.to_owned(), file, synced: length, dirty: false, torn }, standing))
    }

    /// Makes a new file where the old one was moved away.
    fn follow_renaming(&mut self) -> io::Result<Followed> {
        let ours = self.file.metadata()?;
        let there = match std::fs::metadata(&self.path) {
            Ok(there) => Some(there),
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(error) => return Err(error),
        };
        if there.is_some_and(|there| (there.dev(), there.ino()) == (ours.dev(), ours.ino())) {
            if ours.len() < self.synced {
                // Somebody copied it and cut it: what was written between the two is missing, as `verify` will say.
                tracing::warn!(path = %self.path.display(), "the audit log was cut by somebody else");
                self.synced = ours.len();
            }
            return Ok(Followed::Nothing);
        }
        let file = open(&self.path).map_err(io::Error::other)?;
        let length = file.metadata()?.len();
        // Only when there is another one: what fails before this can still be taken back.
        if self.dirty {
            self.sync()?;
        }
        tracing::info!(path = %self.path.display(), "the audit log goes on in a new file");
        *self = Self { path: self.path.clone(), file, synced: length, dirty: false, torn: false };
        Ok(Followed::Synchronised)
    }

    fn append(&mut self, lines: &[u8]) -> io::Result<()> {
        if !self.dirty {
            self.synced = self.file.metadata()?.len();
        }
        self.dirty = true;
        if self.torn {
            self.file.write_all(b"\n")?;
        }
        self.file.write_all(lines)?;
        self.torn = false;
        Ok(())
    }

    fn sync(&mut self) -> io::Result<()> {
        self.file.sync_data()?;
        self.synced = self.file.metadata()?.len();
        self.dirty = false;
        Ok(())
    }

    fn rollback(&mut self) -> io::Result<()> {
        if self.dirty {
            self.file.set_len(self.synced)?;
            self.file.sync_all()?;
            self.dirty = false;
        }
        Ok(())
    }
}

/// What became of what was written before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Followed {
    /// It is where it was.
    Nothing,
    /// It is in a file that was moved away, synchronised, and cannot be taken back.
    Synchronised,
}

impl Target {
    /// Looks where the next lines belong.
    pub(super) fn follow(&mut self) -> io::Result<Followed> {
        match self {
            Self::File(file) => file.follow_renaming(),
            Self::Stdout => Ok(Followed::Nothing),
        }
    }

    /// Appends whole lines.
    pub(super) fn append(&mut self, lines: &[u8]) -> io::Result<()> {
        match self {
            Self::File(file) => file.append(lines),
            Self::Stdout => {
                let mut stdout = io::stdout().lock();
                stdout.write_all(lines)?;
                stdout.flush()
            }
        }
    }

    /// Makes what was appended durable, as far as that is possible.
    pub(super) fn sync(&mut self) -> io::Result<()> {
        match self {
            Self::File(file) => file.sync(),
            Self::Stdout => Ok(()),
        }
    }

    /// Takes back what was appended since it was synchronised last.
    pub(super) fn rollback(&mut self) -> io::Result<()> {
        match self {
            Self::File(file) => file.rollback(),
            Self::Stdout => Err(io::Error::other("what was written to stdout cannot be taken back")),
        }
    }
}

fn open(path: &Path) -> Result<File, AuditError> {
    let failed = |source| AuditError::File { path: path.to_owned(), source };
    let nonblocking = i32::try_from(rustix::fs::OFlags::NONBLOCK.bits()).unwrap_or_default();
    let mut options = OpenOptions::new();
    options.create(true).read(true).append(true).mode(FILE_MODE).custom_flags(nonblocking);
    let file = options.open(path).map_err(failed)?;
    if !file.metadata().map_err(failed)?.is_file() {
        return Err(AuditError::NoFile(path.to_owned()));
    }
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(AuditError::InUse(path.to_owned())),
        Err(TryLockError::Error(source)) => Err(failed(source)),
    }
}

/// Finds the last entry; none where a file does not end with one, or with the beginning of one after it.
fn standing(file: &mut File, length: u64) -> io::Result<Option<Standing>> {
    let mut tail = Vec::new();
    file.seek(SeekFrom::Start(length.saturating_sub(TAIL)))?;
    file.take(TAIL).read_to_end(&mut tail)?;
    let begins = |fragment: &[u8]| fragment.iter().zip(BEGINNING).all(|(a, b)| a == b);
    let (lines, fragment) = match tail.iter().rposition(|byte| *byte == b'\n') {
        Some(at) => (tail.get(..at).unwrap_or_default(), tail.get(at + 1..).unwrap_or_default()),
        None => (&[][..], &tail[..]),
    };
    if fragment.len() > MAX_LINE || !begins(fragment) {
        return Ok(None);
    }
    let torn = (!fragment.is_empty()).then(|| Torn::of(fragment));
    if lines.is_empty() {
        return Ok((fragment.len() as u64 == length).then_some(Standing { last: None, torn }));
    }
    let line = lines.rsplit(|byte| *byte == b'\n').next().unwrap_or_default();
    Ok(sealed_head(line).map(|last| Standing { last: Some(last), torn }))
}

/// Finds where the chain stands in the newest file that was made of this one by adding to its name.
fn renamed(path: &Path) -> Option<Standing> {
    let name = path.file_name()?.to_str()?;
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let mut newest = None;
    for entry in std::fs::read_dir(folder).ok()?.flatten() {
        let is_made_of_it = entry.file_name().to_str().is_some_and(|found| {
            let rest = found.strip_prefix(name).unwrap_or_default();
            let compressed = COMPRESSED.iter().any(|ending| found.ends_with(&format!(".{ending}")));
            rest.starts_with(['.', '-', '_', '~']) && !compressed
        });
        let Some(metadata) = entry.metadata().ok().filter(|found| is_made_of_it && found.is_file()) else { continue };
        let when = metadata.modified().ok();
        if newest.as_ref().is_none_or(|(newest, _)| when > *newest) {
            newest = Some((when, entry.path()));
        }
    }
    let (_, before) = newest?;
    let mut file = File::open(&before).ok()?;
    let length = file.metadata().ok()?.len();
    let found = standing(&mut file, length).ok().flatten();
    if found.is_none() {
        tracing::warn!(path = %before.display(), "this file does not end with an entry: a new chain begins");
    }
    found
}

#[cfg(test)]
mod tests {
    use countersign_audit::Draft;
    use serde_json::json;

    use super::*;

    fn line(head: &Head) -> (String, Head) {
        Draft::new(&json!({"event": "x"})).unwrap().chained(&ChainName::parse("c").unwrap(), head)
    }

    #[test]
    fn a_chain_goes_on_where_it_was_left() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("audit.jsonl");
        let (mut log, standing) = LogFile::open(&path).unwrap();
        assert!(standing.last.is_none() && standing.torn.is_none());
        assert!(matches!(LogFile::open(&path), Err(AuditError::InUse(_))));
        let (one, head) = line(&Head::BEGINNING);
        log.append(format!("{one}\n").as_bytes()).unwrap();
        log.sync().unwrap();
        assert_eq!(std::fs::metadata(&path).unwrap().mode() & 0o777, FILE_MODE);
        drop(log);
        assert_eq!(LogFile::open(&path).unwrap().1.last.unwrap().1, head);
        // Moved away, it goes on in a new file; also after a restart.
        let (mut log, _) = LogFile::open(&path).unwrap();
        std::fs::rename(&path, folder.path().join("audit.jsonl.1")).unwrap();
        std::fs::write(folder.path().join("audit.jsonl.2.gz"), "x").unwrap();
        assert_eq!(log.follow_renaming().unwrap(), Followed::Synchronised);
        drop(log);
        let (log, standing) = LogFile::open(&path).unwrap();
        assert_eq!((standing.last.unwrap().1, log.synced), (head, 0));
    }

    #[test]
    fn only_the_beginning_of_an_entry_is_taken_for_a_torn_line() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("audit.jsonl");
        let (one, head) = line(&Head::BEGINNING);
        let (two, _) = line(&head);
        std::fs::write(&path, format!("{one}\n{}", &two[..30])).unwrap();
        let (mut log, standing) = LogFile::open(&path).unwrap();
        assert_eq!((standing.last.unwrap().1, standing.torn), (head, Some(Torn::of(&two.as_bytes()[..30]))));
        log.append(b"next\n").unwrap();
        assert_eq!(std::fs::read_to_string(&path).unwrap(), format!("{one}\n{}\nnext\n", &two[..30]));
        drop(log);
        let changed = one.replace("\"x\"", "\"y\"");
        for wrong in [format!("{changed}\n"), format!("{one}\nsomething"), "notes\n".to_owned(), "notes".to_owned()] {
            std::fs::write(&path, &wrong).unwrap();
            assert!(matches!(LogFile::open(&path), Err(AuditError::NotOurs(_))), "{wrong}");
        }
        std::fs::write(&path, &one[..20]).unwrap();
        assert!(LogFile::open(&path).unwrap().1.torn.is_some());
    }

    #[test]
    fn what_was_not_synchronised_can_be_taken_back() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("audit.jsonl");
        let (mut log, _) = LogFile::open(&path).unwrap();
        log.append(b"one\n").unwrap();
        log.sync().unwrap();
        log.append(b"two\n").unwrap();
        log.append(b"three").unwrap();
        log.rollback().unwrap();
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "one\n");
    }

    #[test]
    fn what_is_no_file_is_no_audit_log() {
        let folder = tempfile::tempdir().unwrap();
        assert!(matches!(LogFile::open(folder.path()), Err(AuditError::File { .. })));
        assert!(matches!(LogFile::open(Path::new("/dev/null")), Err(AuditError::NoFile(_))));
        assert!(matches!(LogFile::open(&folder.path().join("a/b")), Err(AuditError::File { .. })));
    }
}
