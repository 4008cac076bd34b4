//! Everything a journey needs, on loopback ports and in temporary folders.

use crate::client::Client;
use countersign_testkit::{
    Deployment, DockerClient, DockerRegistry, Dockerd, Finished, Image, MemoryRegistry, NotaryClient, TrustService,
};

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

    /// The same with the service's keys at a keyserver.
    pub(crate) fn apart() -> Self {
        Self::deployed(Deployment::Keyserver)
    }

    /// The same with the service deployed in this way.
    pub(crate) fn deployed(deployment: Deployment) -> Self {
        let service = TrustService::builder(env!("CARGO_BIN_EXE_countersign")).deployed(deployment).start();
        Self { engine: Dockerd::start(), registry: DockerRegistry::start(), service }
    }

    /// The name of a repository of the registry.
    pub(crate) fn repository(&self, path: &str) -> String {
        format!("{}/{path}", self.registry.host())
    }

    /// A person with an empty trust directory and the newest docker client that the machine has.
    pub(crate) fn docker(&self) -> DockerClient {
        self.service.trusting(DockerClient::newest()).with_engine(&self.engine)
    }

    /// The same with the docker client 28, for tests with `docker_28` in their path.
    pub(crate) fn docker28(&self) -> DockerClient {
        self.service.trusting(DockerClient::v28()).with_engine(&self.engine)
    }

    /// A person with an empty trust directory and the docker client 20.10.
    pub(crate) fn docker20(&self) -> DockerClient {
        self.service.trusting(DockerClient::v20()).with_engine(&self.engine)
    }

    /// A person with an empty trust directory and our client.
    pub(crate) fn countersign(&self) -> Client {
        Client::new().of(&self.service).with_engine(&self.engine)
    }

    /// A person with an empty trust directory and the notary client.
    pub(crate) fn notary(&self) -> NotaryClient {
        self.service.notary_client()
    }
}

/// A registry in this process and `countersign serve`: enough where no engine is needed.
pub(crate) struct Shop {
    pub(crate) registry: MemoryRegistry,
    pub(crate) service: TrustService,
}

impl Shop {
    pub(crate) fn open() -> Self {
        let service = TrustService::start(env!("CARGO_BIN_EXE_countersign"));
        Self { registry: MemoryRegistry::start().unwrap(), service }
    }

    /// A person with an empty trust directory and our client.
    pub(crate) fn client(&self) -> Client {
        Client::new().of(&self.service)
    }

    /// The name of the one repository used here, with a tag.
    pub(crate) fn name(&self, tag: &str) -> String {
        format!("{}:{tag}", self.gun())
    }

    /// The name of the one repository used here.
    pub(crate) fn gun(&self) -> String {
        format!("{}/acme/app", self.registry.host())
    }

    /// Puts an image under a tag and returns its digest.
    pub(crate) fn put(&self, tag: &str, text: &str) -> String {
        self.registry.put_image("acme/app", tag, &Image::with_message(text)).unwrap()
    }

    /// Puts an image under a tag and has it signed.
    pub(crate) fn signed_by(&self, owner: &Client, tag: &str, text: &str) -> String {
        let digest = self.put(tag, text);
        let signed = owner.run(&["sign", &self.name(tag)]).succeeded();
        assert_eq!(signed.stdout, format!("Successfully signed {}@{digest}\n", self.name(tag)), "{signed}");
        digest
    }
}

/// The digest that docker printed for a push (`v1: digest: sha256:… size: 524`).
pub(crate) fn pushed_digest(pushed: &Finished) -> String {
    let line = pushed.stdout.lines().find(|line| line.contains(": digest: sha256:"));
    line.unwrap_or_else(|| panic!("no digest in\n{pushed}")).split(' ').nth(2).unwrap().to_owned()
}

/// The part of the first line with this text that follows it.
pub(crate) fn first_line_with<'a>(text: &'a str, wanted: &str) -> &'a str {
    let found = text.lines().find_map(|line| Some(line.split_once(wanted)?.1));
    found.unwrap_or_else(|| panic!("no line with {wanted:?} in\n{text}"))
}
