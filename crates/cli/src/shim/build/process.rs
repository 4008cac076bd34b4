//! Running a program to its end, with the terminal and the signals as if it had been called itself.

use crate::error::{CliError, Kind};
use rustix::process::{Pid, Signal, kill_process};
use std::io::IsTerminal;
use std::os::unix::process::ExitStatusExt;
use std::process::{Command, ExitStatus};
use tokio::signal::unix::{SignalKind, signal};

/// Runs it and returns its exit code, or 128 and the number of the signal that ended it.
///
/// # Errors
/// It cannot be started.
pub(crate) async fn run(command: Command) -> Result<u8, CliError> {
    let program = command.get_program().to_string_lossy().into_owned();
    let failed = |error: &std::io::Error| CliError::new(Kind::Local, format!("cannot run {program}: {error}"));
    let listen = |kind| signal(kind).map_err(|error| CliError::internal(&error));
    let mut interrupts = listen(SignalKind::interrupt())?;
    let mut terminations = listen(SignalKind::terminate())?;
    let mut hangups = listen(SignalKind::hangup())?;
    let mut child = tokio::process::Command::from(command).spawn().map_err(|error| failed(&error))?;
    let process = child.id().and_then(|id| i32::try_from(id).ok()).and_then(Pid::from_raw);
    let pass_on = |signal| {
        if let Some(process) = process {
            // It may have ended meanwhile.
            let _ = kill_process(process, signal);
        }
    };
    loop {
        tokio::select! {
            ended = child.wait() => return ended.map(code).map_err(|error| failed(&error)),
            // At a terminal the program has got it as well.
            Some(()) = interrupts.recv() => if !is_at_terminal() { pass_on(Signal::INT) },
            Some(()) = terminations.recv() => pass_on(Signal::TERM),
            Some(()) = hangups.recv() => pass_on(Signal::HUP),
        }
    }
}

fn is_at_terminal() -> bool {
    std::io::stdin().is_terminal() || std::io::stdout().is_terminal() || std::io::stderr().is_terminal()
}

fn code(status: ExitStatus) -> u8 {
    let code = status.code().or_else(|| status.signal().map(|signal| 128 + signal)).unwrap_or(1);
    u8::try_from(code).unwrap_or(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn ended(script: &str) -> u8 {
        let mut command = Command::new("sh");
        command.args(["-c", script]);
        run(command).await.unwrap()
    }

    #[tokio::test]
    async fn the_exit_code_is_the_programs() {
        assert_eq!(ended("exit 7").await, 7);
        assert_eq!(ended("exit 0").await, 0);
        assert_eq!(ended("kill -TERM $$").await, 143);
    }
}
