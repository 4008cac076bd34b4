//! Standard input, read line by line and never waited for without end.

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use std::io::IsTerminal;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};
use zeroize::Zeroizing;

/// How long a line from a pipe or file is waited for.
pub(super) const PATIENCE: Duration = Duration::from_secs(10);
/// Longest line in bytes, with its end: longer than any passphrase.
const MAX_LINE: usize = 66 * 1024;

/// What this process has read from its standard input and not used yet: several questions share one pipe.
static INPUT: Mutex<Option<Input>> = Mutex::new(None);

/// Lines of a descriptor; the buffer holds secrets.
struct Input {
    unread: Zeroizing<Vec<u8>>,
    ended: bool,
}

/// How long a line may take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Wait {
    /// As long as a person needs.
    ForPerson,
    /// As long as this.
    AtMost(Duration),
}

/// Tells whether there is a person to ask.
pub(super) fn has_person() -> bool {
    std::io::stdin().is_terminal()
}

/// Reads the next line, without its end; none after the end of the input, after silence, and for a line without end.
pub(super) fn next_line() -> Option<Zeroizing<Vec<u8>>> {
    let wait = if has_person() { Wait::ForPerson } else { Wait::AtMost(PATIENCE) };
    let mut shared = INPUT.lock().unwrap_or_else(PoisonError::into_inner);
    shared.get_or_insert_with(Input::new).line(std::io::stdin().as_fd(), wait)
}

impl Input {
    fn new() -> Self {
        // Never grows, so that no copy of a secret is left behind.
        Self { unread: Zeroizing::new(Vec::with_capacity(2 * MAX_LINE)), ended: false }
    }

    /// A person's silence is no end; that of a pipe is: nothing is waited for twice.
    fn line(&mut self, from: BorrowedFd<'_>, wait: Wait) -> Option<Zeroizing<Vec<u8>>> {
        let began = Instant::now();
        loop {
            if let Some(end) = self.unread.iter().position(|byte| *byte == b'\n') {
                let line = Zeroizing::new(self.unread.drain(..=end).collect::<Vec<u8>>());
                return Some(without_end(&line));
            }
            if self.ended || self.unread.len() >= MAX_LINE {
                self.ended = true;
                let rest = Zeroizing::new(std::mem::take(&mut *self.unread));
                return (!rest.is_empty() && rest.len() < MAX_LINE).then_some(rest);
            }
            let left = match wait {
                Wait::ForPerson => None,
                Wait::AtMost(limit) => Some(limit.saturating_sub(began.elapsed())),
            };
            match more(from, left) {
                Some(bytes) if !bytes.is_empty() => self.unread.extend_from_slice(&bytes),
                Some(_) if wait == Wait::ForPerson => return None,
                Some(_) => self.ended = true,
                None => {
                    // Half a line of somebody who fell silent is not taken for a whole one.
                    self.unread.clear();
                    self.ended = true;
                    return None;
                }
            }
        }
    }
}

/// Reads what there is; empty at the end, none if nothing comes in time.
fn more(from: BorrowedFd<'_>, left: Option<Duration>) -> Option<Zeroizing<Vec<u8>>> {
    let began = Instant::now();
    loop {
        let rest = left.map(|left| left.saturating_sub(began.elapsed()));
        let timeout = rest.map(|rest| Timespec {
            tv_sec: i64::try_from(rest.as_secs()).unwrap_or(i64::MAX),
            tv_nsec: rest.subsec_nanos().into(),
        });
        match poll(&mut [PollFd::from_borrowed_fd(from, PollFlags::IN)], timeout.as_ref()) {
            Err(Errno::INTR) => continue,
            Ok(0) => return None,
            Err(_) => return Some(Zeroizing::default()),
            Ok(_) => {}
        }
        let mut bytes = Zeroizing::new(vec![0; 4096]);
        match rustix::io::read(from, bytes.as_mut_slice()) {
            Ok(length) => {
                bytes.truncate(length);
                return Some(bytes);
            }
            Err(Errno::INTR | Errno::AGAIN) => {}
            Err(_) => return Some(Zeroizing::default()),
        }
    }
}

fn without_end(line: &[u8]) -> Zeroizing<Vec<u8>> {
    let line = line.strip_suffix(b"\n").unwrap_or(line);
    Zeroizing::new(line.strip_suffix(b"\r").unwrap_or(line).to_vec())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    const SHORT: Wait = Wait::AtMost(Duration::from_millis(50));

    fn lines(bytes: &[u8]) -> Vec<Option<String>> {
        let (reader, mut writer) = std::io::pipe().unwrap();
        writer.write_all(bytes).unwrap();
        drop(writer);
        let mut input = Input::new();
        let mut text = || {
            let line = input.line(reader.as_fd(), SHORT);
            line.map(|line| String::from_utf8(line.to_vec()).unwrap())
        };
        vec![text(), text(), text()]
    }

    #[test]
    fn one_pipe_feeds_several_questions() {
        let some = |text: &str| Some(text.to_owned());
        assert_eq!(lines(b"one\r\n\ntwo"), [some("one"), some(""), some("two")]);
        assert_eq!(lines(b"one"), [some("one"), None, None]);
        assert_eq!(lines(b""), [None, None, None]);
    }

    #[test]
    fn silence_ends_the_input_once_and_for_all() {
        let (reader, mut writer) = std::io::pipe().unwrap();
        let mut input = Input::new();
        writer.write_all(b"half a li").unwrap();
        let began = Instant::now();
        assert!(input.line(reader.as_fd(), SHORT).is_none());
        assert!(began.elapsed() >= Duration::from_millis(50));
        writer.write_all(b"ne\nlate\n").unwrap();
        let again = Instant::now();
        assert!(input.line(reader.as_fd(), Wait::AtMost(PATIENCE)).is_none(), "nobody waits twice");
        assert!(again.elapsed() < PATIENCE);
    }

    #[test]
    fn a_line_without_end_is_none() {
        let (reader, mut writer) = std::io::pipe().unwrap();
        let writing = std::thread::spawn(move || while writer.write_all(&[b'x'; 4096]).is_ok() {});
        assert!(Input::new().line(reader.as_fd(), Wait::AtMost(PATIENCE)).is_none());
        drop(reader);
        writing.join().unwrap();
    }
}
