//! The engine, run for real.

use std::fs;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use tempfile::TempDir;

use crate::process::Readiness;
use crate::{Process, Tool};

const START_LIMIT: Duration = Duration::from_mins(1);
/// How long the engine may take to end its containerd and unmount.
const GRACE: Duration = Duration::from_secs(20);

/// A running `dockerd` with a store, a socket and a containerd of its own, without networks; it ends when dropped.
///
/// It needs root. Registries on loopback addresses are insecure registries to it, as to every engine.
#[derive(Debug)]
pub struct Dockerd {
    process: Process,
    folder: TempDir,
}

impl Dockerd {
    /// Starts an engine and waits until it answers.
    #[must_use]
    pub fn start() -> Self {
        assert!(rustix::process::geteuid().is_root(), "this test runs dockerd, which needs root");
        let folder = tempfile::Builder::new().prefix("dockerd-").tempdir().expect("a temporary folder");
        let place = |name: &str| folder.path().join(name);
        fs::write(place("daemon.json"), "{}").expect("a configuration file");
        let mut command = Command::new(Tool::DOCKERD.path());
        command.env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin").env("HOME", folder.path());
        command.arg("--config-file").arg(place("daemon.json"));
        command.arg("--data-root").arg(place("data")).arg("--exec-root").arg(place("exec"));
        command.arg("--pidfile").arg(place("pid"));
        command.arg("--host").arg(format!("unix://{}", place("docker.sock").display()));
        command.args(["--bridge=none", "--iptables=false", "--ip6tables=false", "--ip-forward=false"]);
        command.args(["--storage-driver=vfs", "--shutdown-timeout=1"]);
        let mut process = Process::start(&command, &place("log"), GRACE);
        let socket = place("docker.sock");
        process.wait_until(START_LIMIT, || answers(&socket));
        Self { process, folder }
    }

    /// The engine's endpoint, as `DOCKER_HOST` has it: `unix:///…`.
    #[must_use]
    pub fn host(&self) -> String {
        format!("unix://{}", self.socket().display())
    }

    /// The path of the engine's socket.
    #[must_use]
    pub fn socket(&self) -> PathBuf {
        self.folder.path().join("docker.sock")
    }

    /// What the engine printed so far.
    #[must_use]
    pub fn log(&self) -> String {
        self.process.log()
    }

    /// Builds an image from nothing whose only file holds this text, with the docker client of Debian.
    pub fn build(&self, reference: &str, text: &str) {
        let context = self.folder.path().join("context");
        fs::create_dir_all(&context).expect("a folder to build from");
        fs::write(context.join("message"), text).expect("a file for the image");
        let recipe = "FROM scratch\nCOPY message /message\nCMD [\"/message\"]\n";
        fs::write(context.join("Dockerfile"), recipe).expect("a Dockerfile");
        let client = crate::DockerClient::v20().with_engine(self).with_env("DOCKER_BUILDKIT", "0");
        client.run(&["build", "-q", "-t", reference, &context.to_string_lossy()]).succeeded();
    }
}

impl Drop for Dockerd {
    fn drop(&mut self) {
        let _ = self.process.stop();
        // Where the machine's root is itself a folder of another, the engine leaves what it has mounted upon itself.
        let _ = rustix::mount::unmount(self.folder.path().join("data"), rustix::mount::UnmountFlags::DETACH);
    }
}

fn answers(socket: &std::path::Path) -> Readiness {
    use std::io::{Read, Write};
    let Ok(mut stream) = std::os::unix::net::UnixStream::connect(socket) else { return Readiness::NotYet };
    let _ = stream.set_read_timeout(Some(Duration::from_secs(2)));
    let mut answer = [0; 15];
    let asked = stream.write_all(b"GET /_ping HTTP/1.1\r\nHost: docker\r\nConnection: close\r\n\r\n");
    let answered = asked.and_then(|()| stream.read_exact(&mut answer));
    (answered.is_ok() && &answer == b"HTTP/1.1 200 OK").into()
}
