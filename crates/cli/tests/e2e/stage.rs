//! Everything a journey needs, on loopback ports and in temporary folders.

use countersign_testkit::{DockerClient, DockerRegistry, Dockerd, Finished, NotaryClient, TrustService};

/// An engine, a registry and `countersign serve` with nothing configured.
pub(crate) struct Stage {
    pub(crate) engine: Dockerd,
    pub(crate) registry: DockerRegistry,
    pub(crate) service: TrustService,
}

impl Stage {
    pub(crate) fn set() -> Self {
        let service = TrustService::start(env!("CARGO_BIN_EXE_countersign"));
        Self { engine: Dockerd::start(), registry: DockerRegistry::start(), service }
    }

    /// The name of a repository of the registry.
    pub(crate) fn repository(&self, path: &str) -> String {
        format!("{}/{path}", self.registry.host())
    }

    /// A person with an empty trust directory and the docker client 28.
    pub(crate) fn docker28(&self) -> DockerClient {
        self.service.trusting(DockerClient::v28()).with_engine(&self.engine)
    }

    /// A person with an empty trust directory and the docker client 20.10.
    pub(crate) fn docker20(&self) -> DockerClient {
        self.service.trusting(DockerClient::v20()).with_engine(&self.engine)
    }

    /// A person with an empty trust directory and the notary client.
    pub(crate) fn notary(&self) -> NotaryClient {
        self.service.notary_client()
    }
}

/// The digest that docker printed for a push (`v1: digest: sha256:… size: 524`).
pub(crate) fn pushed_digest(pushed: &Finished) -> String {
    let line = pushed.stdout.lines().find(|line| line.contains(": digest: sha256:"));
    line.unwrap_or_else(|| panic!("no digest in\n{pushed}")).split(' ').nth(2).unwrap().to_owned()
}
