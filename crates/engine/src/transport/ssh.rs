//! Engines on machines that `ssh` reaches: `docker system dial-stdio` there speaks to the engine's socket. Docker's client on
//! this machine does the same for whatever it can reach.
//!
//! Source: docker's command line client, connection helpers.

use std::ffi::OsStr;
use std::io;
use std::pin::Pin;
use std::process::Stdio;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};

use crate::{Address, Helper};

/// The conversation with a running program, which is killed when this is dropped.
pub(super) struct Dialled {
    input: ChildStdin,
    output: ChildStdout,
    _program: Child,
}

/// Starts `ssh`; what it says of itself goes to this process's standard error, where it also asks for passwords.
pub(super) fn dial(address: &Address, program_path: Option<&OsStr>) -> io::Result<Dialled> {
    let mut command = Command::new("ssh");
    if let Some(path) = program_path {
        command.env("PATH", path);
    }
    command.args(arguments(address));
    start(command, "ssh")
}

/// Starts a program that leads to an engine.
pub(super) fn through(helper: &Helper) -> io::Result<Dialled> {
    let mut command = Command::new(helper.program());
    command.args(helper.arguments());
    start(command, &helper.program().to_string_lossy())
}

fn start(mut command: Command, name: &str) -> io::Result<Dialled> {
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).kill_on_drop(true);
    let spawned = command.spawn();
    let mut child = spawned.map_err(|error| io::Error::new(error.kind(), format!("cannot run {name}: {error}")))?;
    match (child.stdin.take(), child.stdout.take()) {
        (Some(input), Some(output)) => Ok(Dialled { input, output, _program: child }),
        _ => Err(io::Error::other(format!("{name} has no pipes"))),
    }
}

fn arguments(address: &Address) -> Vec<String> {
    let mut arguments = vec!["-o".to_owned(), "ConnectTimeout=30".to_owned(), "-T".to_owned()];
    let Address::Ssh { user, host, port, socket } = address else { return arguments };
    if let Some(user) = user {
        arguments.extend(["-l".to_owned(), user.clone()]);
    }
    if let Some(port) = port {
        arguments.extend(["-p".to_owned(), port.to_string()]);
    }
    arguments.extend(["--".to_owned(), host.clone(), "docker".to_owned()]);
    if let Some(socket) = socket {
        arguments.extend(["--host".to_owned(), format!("unix://{socket}")]);
    }
    arguments.extend(["system".to_owned(), "dial-stdio".to_owned()]);
    arguments
}

impl AsyncRead for Dialled {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.output).poll_read(cx, buf)
    }
}

impl AsyncWrite for Dialled {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.input).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.input).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.input).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use super::arguments;
    use crate::Address;

    #[test]
    fn the_host_comes_after_the_end_of_the_flags() {
        let address = Address::parse("ssh://me@host.test:22/run/d.sock").unwrap();
        let expected =
            "-o ConnectTimeout=30 -T -l me -p 22 -- host.test docker --host unix:///run/d.sock system dial-stdio";
        assert_eq!(arguments(&address).join(" "), expected);
        let address = Address::parse("ssh://host.test").unwrap();
        assert_eq!(arguments(&address).join(" "), "-o ConnectTimeout=30 -T -- host.test docker system dial-stdio");
    }
}
