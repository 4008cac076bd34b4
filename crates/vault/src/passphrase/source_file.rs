//! A passphrase in the first line of a file or descriptor.

use std::path::Path;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fd::AsFd;
use rustix::fs::{FileType, Mode, OFlags};
use rustix::io::Errno;
use zeroize::Zeroizing;

use super::Passphrase;
use crate::limits::{MAX_PASSPHRASE_BYTES, PASSPHRASE_PATIENCE};

/// What was found.
pub(super) struct Found {
    pub(super) passphrase: Passphrase,
    /// The file is there for others too.
    pub(super) readable_by_others: bool,
}

/// Reads the first line without its end; pipes are waited for, but not for ever.
pub(super) fn read(path: &Path) -> Result<Found, String> {
    read_within(path, PASSPHRASE_PATIENCE)
}

/// As [`read`], for a file that has to be this person's alone.
#[cfg_attr(not(feature = "pkcs11"), expect(dead_code, reason = "only tokens have PIN files"))]
pub(crate) fn read_secret(path: &Path) -> Result<Passphrase, String> {
    let found = read(path)?;
    if found.readable_by_others { Err("others can read it: chmod 600".to_owned()) } else { Ok(found.passphrase) }
}

fn read_within(path: &Path, patience: Duration) -> Result<Found, String> {
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    let file = rustix::fs::open(path, flags, Mode::empty()).map_err(|error| error.to_string())?;
    let stat = rustix::fs::fstat(&file).map_err(|error| error.to_string())?;
    let others = stat.st_mode & 0o077 != 0;
    let readable_by_others = FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile && others;
    let line = first_line(&file, patience, Overflow::Refuse)?;
    let passphrase = Passphrase::new(line.to_vec()).map_err(|error| error.to_string())?;
    Ok(Found { passphrase, readable_by_others })
}

/// What becomes of what follows the first line, or of a line that is too long.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Overflow {
    /// It is left where it is.
    Refuse,
    /// It is taken and thrown away, within bounds, so that the writer can end well.
    Drain,
}

/// Most bytes that are taken and thrown away.
const MAX_DRAINED: usize = 1024 * 1024;

/// Reads byte by byte, so that what follows the line is left to others who share a pipe.
pub(super) fn first_line(
    file: &impl AsFd,
    patience: Duration,
    overflow: Overflow,
) -> Result<Zeroizing<Vec<u8>>, String> {
    let began = Instant::now();
    // Never grows: no copy is left behind.
    let mut line = Zeroizing::new(Vec::with_capacity(MAX_PASSPHRASE_BYTES + 2));
    let mut drained: Option<usize> = None;
    loop {
        let left = patience.saturating_sub(began.elapsed());
        let timeout =
            Timespec { tv_sec: i64::try_from(left.as_secs()).unwrap_or(i64::MAX), tv_nsec: left.subsec_nanos().into() };
        match poll(&mut [PollFd::new(file, PollFlags::IN)], Some(&timeout)) {
            Ok(0) => return Err(format!("nothing came within {} s", patience.as_secs())),
            Ok(_) => {}
            Err(Errno::INTR) => continue,
            Err(error) => return Err(error.to_string()),
        }
        let mut byte = [0];
        match rustix::io::read(file, &mut byte) {
            Ok(0) => break,
            Ok(_) if drained.is_some_and(|count| count > MAX_DRAINED) => {
                return Err(format!("it gives more than {MAX_DRAINED} bytes"));
            }
            Ok(_) if drained.is_some() => drained = drained.map(|count| count + 1),
            Ok(_) if byte == *b"\n" && overflow == Overflow::Drain => drained = Some(0),
            Ok(_) if byte == *b"\n" => break,
            Ok(_) if line.len() > MAX_PASSPHRASE_BYTES => {
                return Err(format!("its first line is longer than {MAX_PASSPHRASE_BYTES} bytes"));
            }
            Ok(_) => line.extend_from_slice(&byte),
            Err(Errno::INTR | Errno::AGAIN) => {}
            Err(error) => return Err(error.to_string()),
        }
    }
    if line.last() == Some(&b'\r') {
        line.pop();
    }
    Ok(line)
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::os::fd::AsRawFd;
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn text(found: Result<Found, String>) -> Result<String, String> {
        found.map(|found| String::from_utf8(found.passphrase.bytes().to_vec()).unwrap())
    }

    #[test]
    fn the_first_line_counts_exactly_as_it_is() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("secret");
        for (bytes, expected) in [
            (&b"hunter2 hunter2\n"[..], "hunter2 hunter2"),
            (b" two words \nmore\n", " two words "),
            (b"windows\r\n", "windows"),
            (b"no end", "no end"),
        ] {
            std::fs::write(&path, bytes).unwrap();
            assert_eq!(text(read(&path)).unwrap(), expected);
        }
        for bytes in [&b""[..], b"\nsecond\n", &vec![b'x'; MAX_PASSPHRASE_BYTES + 1]] {
            std::fs::write(&path, bytes).unwrap();
            assert!(read(&path).is_err());
        }
        assert!(read(folder.path()).is_err() && read(&folder.path().join("missing")).is_err());
    }

    #[test]
    fn a_file_that_others_may_read_is_told_apart() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("secret");
        std::fs::write(&path, "x").unwrap();
        for (mode, others) in [(0o600, false), (0o400, false), (0o640, true), (0o604, true)] {
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
            assert_eq!(read(&path).unwrap().readable_by_others, others, "{mode:o}");
        }
    }

    #[test]
    fn a_descriptor_leaves_what_follows_and_silence_ends() {
        let (reader, mut writer) = std::io::pipe().unwrap();
        writer.write_all(b"one\ntwo\n").unwrap();
        let path = format!("/dev/fd/{}", reader.as_raw_fd());
        let path = Path::new(&path);
        assert_eq!(text(read(path)).unwrap(), "one");
        assert_eq!(text(read(path)).unwrap(), "two");
        let silent = text(read_within(path, Duration::from_millis(30))).unwrap_err();
        assert!(silent.contains("nothing came"), "{silent}");
        drop(writer);
        assert!(read(path).is_err(), "the end is no passphrase");
    }
}
