//! Running a command to its end, with what it started, and with secrets masked in what it prints.

use super::guarded::{Deadline, Stops, TIMED_OUT};
use super::masking::Masker;
use crate::error::{CliError, Kind};
use crate::output::message;
use rustix::process::{
    Pid, Signal, WaitId, WaitIdOptions, kill_process, kill_process_group, test_kill_process_group, waitid,
};
use std::io::{IsTerminal, PipeReader, Read, Write};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread::JoinHandle;
use std::time::Duration;
use tokio::signal::unix::{SignalKind, signal};

/// How long a command may take to end by itself once it was told to.
const GRACE: Duration = Duration::from_secs(5);
/// How long that may take for what a command that has ended left running, and how often that is looked at.
const AFTERMATH: Duration = Duration::from_secs(2);
const LOOK: Duration = Duration::from_millis(20);
/// Bytes that are passed on at once.
const PIECE: usize = 16 << 10;

/// What a command's standard input is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Input {
    /// This process's.
    Inherited,
    /// Nothing: the archive came that way.
    Nothing,
}

/// Runs a command and returns its exit code, or 128 and the number of the signal that ended it. What it started in its own
/// process group ends with it.
pub(super) async fn run(
    mut command: Command,
    input: Input,
    secrets: &[&[u8]],
    stops: &mut Stops,
    deadline: Deadline,
) -> Result<u8, CliError> {
    let program = command.get_program().to_string_lossy().into_owned();
    let alone = input == Input::Nothing || !std::io::stdin().is_terminal();
    if input == Input::Nothing {
        command.stdin(Stdio::null());
    }
    if alone {
        command.process_group(0);
    }
    // Heard before there is anything to hear of.
    let mut endings = signal(SignalKind::child()).map_err(|error| CliError::internal(&error))?;
    let copies = masked(&mut command, secrets).map_err(|error| CliError::internal(&error))?;
    let child = command.spawn().map_err(|error| CliError::new(Kind::Local, format!("cannot run {program}: {error}")));
    drop(command);
    let mut running = Running { child: child?, alone, killed: false };
    let mut timed_out = false;
    let over = deadline.pass();
    tokio::pin!(over);
    while !running.has_ended() {
        tokio::select! {
            _ = endings.recv() => {}
            stop = stops.next() => running.told(stop, &mut endings).await,
            () = &mut over, if !timed_out => {
                timed_out = true;
                message("countersign: the time is over; the command is ended");
                running.told(Signal::TERM, &mut endings).await;
            }
        }
    }
    let status = running.reap().await.map_err(|error| CliError::internal(&error))?;
    finish(copies).await;
    Ok(if timed_out { TIMED_OUT } else { code(status) })
}

/// A command that was started, not yet reaped: its number is its own until then.
struct Running {
    child: Child,
    alone: bool,
    killed: bool,
}

impl Running {
    fn has_ended(&self) -> bool {
        let options = WaitIdOptions::EXITED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT;
        !matches!(waitid(WaitId::Pid(Pid::from_child(&self.child)), options), Ok(None))
    }

    fn signal(&self, signal: Signal) {
        let process = Pid::from_child(&self.child);
        // It may have ended meanwhile.
        let _ = if self.alone { kill_process_group(process, signal) } else { kill_process(process, signal) };
    }

    /// Passes a signal on and waits some time for the end; what does not end by itself is killed.
    async fn told(&mut self, stop: Signal, endings: &mut tokio::signal::unix::Signal) {
        self.signal(stop);
        let ended = async {
            while !self.has_ended() {
                endings.recv().await;
            }
        };
        if tokio::time::timeout(GRACE, ended).await.is_err() {
            message("countersign: the command does not end by itself and is killed");
            self.signal(Signal::KILL);
            self.killed = true;
        }
    }

    /// Takes the exit status, and ends what the command left running.
    async fn reap(mut self) -> std::io::Result<ExitStatus> {
        let group = Pid::from_child(&self.child);
        if self.alone {
            self.signal(if self.killed { Signal::KILL } else { Signal::TERM });
        }
        let status = self.child.wait()?;
        if self.alone {
            let left = async {
                while test_kill_process_group(group).is_ok() {
                    tokio::time::sleep(LOOK).await;
                }
            };
            if tokio::time::timeout(AFTERMATH, left).await.is_err() {
                let _ = kill_process_group(group, Signal::KILL);
            }
        }
        Ok(status)
    }
}

/// Puts a mask between the command and each output that is no terminal. Where both go to one place, both go through one mask,
/// so that lines stay in order.
fn masked(command: &mut Command, secrets: &[&[u8]]) -> std::io::Result<Vec<JoinHandle<()>>> {
    let mut copies = Vec::new();
    let of = |descriptor| rustix::fs::fstat(descriptor).map(|found| (found.st_dev, found.st_ino));
    let same = of(rustix::stdio::stdout()).is_ok_and(|out| of(rustix::stdio::stderr()) == Ok(out));
    let (out, err) = (!std::io::stdout().is_terminal(), !std::io::stderr().is_terminal());
    if out {
        let (reader, writer) = std::io::pipe()?;
        if same {
            command.stderr(writer.try_clone()?);
        }
        command.stdout(writer);
        copies.push(copy(reader, std::io::stdout(), Masker::of(secrets.iter().copied())));
    }
    if err && !(out && same) {
        let (reader, writer) = std::io::pipe()?;
        command.stderr(writer);
        copies.push(copy(reader, std::io::stderr(), Masker::of(secrets.iter().copied())));
    }
    Ok(copies)
}

fn copy(mut from: PipeReader, mut to: impl Write + Send + 'static, mut masker: Masker) -> JoinHandle<()> {
    std::thread::spawn(move || {
        let mut piece = zeroize::Zeroizing::new(vec![0; PIECE]);
        loop {
            let read = match from.read(&mut piece) {
                Ok(read) => read,
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => continue,
                Err(_) => 0,
            };
            let passed = match piece.get(..read) {
                Some(read) if !read.is_empty() => masker.pass(read),
                _ => masker.end(),
            };
            // A reader that went away is the command's business: it hears of it when this end is closed.
            if to.write_all(&passed).and_then(|()| to.flush()).is_err() || read == 0 {
                return;
            }
        }
    })
}

/// Waits for the last output, but not for ever: what left the process group may hold the other end.
async fn finish(copies: Vec<JoinHandle<()>>) {
    let all = async {
        while copies.iter().any(|copy| !copy.is_finished()) {
            tokio::time::sleep(LOOK).await;
        }
    };
    let _ = tokio::time::timeout(AFTERMATH, all).await;
}

fn code(status: ExitStatus) -> u8 {
    let code = status.code().or_else(|| status.signal().map(|signal| 128 + signal)).unwrap_or(1);
    u8::try_from(code).unwrap_or(1)
}
