//! Everything a journey needs, on loopback ports and in temporary folders.

use std::path::PathBuf;

use countersign_server::{Config, Running, Service};
use countersign_testkit::{DockerClient, DockerRegistry, Dockerd, Finished, NotaryClient};
use tempfile::TempDir;
use tokio::runtime::Runtime;

/// An engine, a registry and a trust service with its own authority.
pub(crate) struct Stage {
    pub(crate) engine: Dockerd,
    pub(crate) registry: DockerRegistry,
    pub(crate) service: Trust,
}

/// The trust service, in this process.
pub(crate) struct Trust {
    running: Option<Running>,
    runtime: Runtime,
    folder: TempDir,
    url: String,
}

impl Stage {
    pub(crate) fn set() -> Self {
        Self { engine: Dockerd::start(), registry: DockerRegistry::start(), service: Trust::start() }
    }

    /// The name of a repository of the registry.
    pub(crate) fn repository(&self, path: &str) -> String {
        format!("{}/{path}", self.registry.host())
    }

    /// A person with an empty trust directory and the docker client 28.
    pub(crate) fn docker28(&self) -> DockerClient {
        self.trusting(DockerClient::v28())
    }

    /// A person with an empty trust directory and the docker client 20.10.
    pub(crate) fn docker20(&self) -> DockerClient {
        self.trusting(DockerClient::v20())
    }

    /// A person with an empty trust directory and the notary client.
    pub(crate) fn notary(&self) -> NotaryClient {
        NotaryClient::new(&self.service.url, &self.service.authority())
    }

    fn trusting(&self, client: DockerClient) -> DockerClient {
        client.with_engine(&self.engine).with_content_trust(&self.service.url, &self.service.authority())
    }
}

impl Trust {
    pub(crate) fn start() -> Self {
        let (folder, runtime) = (tempfile::tempdir().unwrap(), Runtime::new().unwrap());
        let config = Config::new("127.0.0.1:0".parse().unwrap(), folder.path().join("data"));
        let running = runtime.block_on(Service::start(config)).unwrap();
        let url = format!("https://{}", running.address());
        Self { running: Some(running), runtime, folder, url }
    }

    /// Takes the service away from its port.
    pub(crate) fn stop(&mut self) {
        if let Some(running) = self.running.take() {
            self.runtime.block_on(running.shut_down());
        }
    }

    /// Brings the service back, on the same port and folder.
    pub(crate) fn restart(&mut self) {
        self.stop();
        let address = self.url.trim_start_matches("https://").parse().unwrap();
        let config = Config::new(address, self.data());
        self.running = Some(self.runtime.block_on(Service::start(config)).unwrap());
    }

    /// The certificate of the service's own authority.
    pub(crate) fn authority(&self) -> String {
        std::fs::read_to_string(self.data().join("ca.pem")).unwrap()
    }

    fn data(&self) -> PathBuf {
        self.folder.path().join("data")
    }
}

impl Drop for Trust {
    fn drop(&mut self) {
        self.stop();
    }
}

/// The digest that docker printed for a push (`v1: digest: sha256:… size: 524`).
pub(crate) fn pushed_digest(pushed: &Finished) -> String {
    let line = pushed.stdout.lines().find(|line| line.contains(": digest: sha256:"));
    line.unwrap_or_else(|| panic!("no digest in\n{pushed}")).split(' ').nth(2).unwrap().to_owned()
}
