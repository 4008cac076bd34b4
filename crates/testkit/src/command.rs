//! Commands that run to their end.

use std::fmt;
use std::io::Write;
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process_group};

/// The longest a command under test may take.
const LIMIT: Duration = Duration::from_mins(2);

/// What a finished command left behind.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finished {
    /// The command as typed.
    pub command: String,
    /// The exit code, or -1 when a signal ended the command.
    pub code: i32,
    /// Everything on the standard output; bytes that are not UTF-8 are replaced.
    pub stdout: String,
    /// Everything on the standard error; bytes that are not UTF-8 are replaced.
    pub stderr: String,
}

impl Finished {
    /// Runs the command to its end with `input` on its standard input; panics after two minutes.
    pub fn of(command: &mut Command, input: &[u8]) -> Self {
        let typed = typed(command);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        std::os::unix::process::CommandExt::process_group(command, 0);
        let mut child = command.spawn().unwrap_or_else(|error| panic!("cannot run {typed}: {error}"));
        let pid = Pid::from_child(&child);
        let mut stdin = child.stdin.take().expect("a pipe to the command");
        let input = input.to_owned();
        let writer = thread::spawn(move || {
            // A command that does not read its input closes the pipe: no fault of the test.
            let _ = stdin.write_all(&input);
        });
        let (done, finished) = std::sync::mpsc::channel();
        thread::spawn(move || done.send(child.wait_with_output()));
        let end = Instant::now() + LIMIT;
        let Ok(output) = finished.recv_timeout(end - Instant::now()) else {
            let _ = kill_process_group(pid, Signal::KILL);
            panic!("{typed} did not end within {LIMIT:?}");
        };
        let _ = writer.join();
        let output = output.unwrap_or_else(|error| panic!("cannot read the output of {typed}: {error}"));
        Self {
            command: typed,
            code: output.status.code().unwrap_or(-1),
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }

    /// Panics with everything the command printed, unless it ended with code 0.
    #[track_caller]
    #[expect(
        clippy::must_use_candidate,
        clippy::return_self_not_must_use,
        reason = "asserting is enough; the value is for whoever reads on"
    )]
    pub fn succeeded(self) -> Self {
        assert_eq!(self.code, 0, "the command failed:\n{self}");
        self
    }

    /// Panics with everything the command printed, unless it ended with a code other than 0.
    #[track_caller]
    #[expect(
        clippy::must_use_candidate,
        clippy::return_self_not_must_use,
        reason = "asserting is enough; the value is for whoever reads on"
    )]
    pub fn failed(self) -> Self {
        assert_ne!(self.code, 0, "the command should have failed:\n{self}");
        self
    }
}

impl fmt::Display for Finished {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "$ {}", self.command)?;
        for line in self.stdout.lines() {
            writeln!(f, "out| {line}")?;
        }
        for line in self.stderr.lines() {
            writeln!(f, "err| {line}")?;
        }
        write!(f, "exit {}", self.code)
    }
}

fn typed(command: &Command) -> String {
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    words.map(|word| word.to_string_lossy().into_owned()).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::Finished;
    use std::process::Command;

    #[test]
    fn a_command_is_shown_like_a_transcript() {
        let finished = Finished::of(Command::new("sh").args(["-c", "cat; echo bad >&2; exit 4"]), b"good\n");
        assert_eq!(
            finished.clone().failed().to_string(),
            "$ sh -c cat; echo bad >&2; exit 4\nout| good\nerr| bad\nexit 4"
        );
        assert_eq!((finished.code, finished.stdout.as_str(), finished.stderr.as_str()), (4, "good\n", "bad\n"));
    }
}
