//! Docker's word that its caller wants to stop.
//!
//! Docker holds a socket open while it waits for a plugin, and closes it when it is told to end while no terminal passes the
//! signal on (CLI plugins, normal call). The end of the socket is then the signal.

use std::io::Read;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixStream};

const VARIABLE: &str = "DOCKER_CLI_PLUGIN_SOCKET";
/// The shell's code for the end by Ctrl-C, which docker passes on; it has none for a plugin that a signal ends.
const INTERRUPTED: i32 = 130;

/// Begins to watch docker's socket, if there is one; without one, and if it cannot be reached, there is nothing to watch.
///
/// The process ends at once, as by Ctrl-C: nothing that it writes is ever half written, and a question that waits for an answer does not
/// keep it.
#[expect(clippy::exit, reason = "a command that waits for an answer cannot be ended from its own thread")]
pub(super) fn watch() {
    let Some(name) = std::env::var_os(VARIABLE).and_then(|name| name.into_string().ok()) else { return };
    std::thread::spawn(move || {
        let Ok(stream) = connect(&name) else { return };
        if wait_for_end(stream).is_ok() {
            std::process::exit(INTERRUPTED);
        }
    });
}

/// Names with `@` are abstract: they are in no folder.
fn connect(name: &str) -> std::io::Result<UnixStream> {
    match name.strip_prefix('@') {
        Some(name) => UnixStream::connect_addr(&SocketAddr::from_abstract_name(name)?),
        None => UnixStream::connect(name),
    }
}

fn wait_for_end(mut stream: UnixStream) -> std::io::Result<()> {
    let mut byte = [0; 64];
    while stream.read(&mut byte)? > 0 {}
    Ok(())
}
