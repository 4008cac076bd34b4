//! The parts of the demo: a trust service on `SQLite`, a registry in memory, a trust directory, all temporary.

use crate::error::{CliError, Kind};
use countersign_image::{ContentError, Descriptor, ImageSource, Reference};
use countersign_notary::{Access, ServiceAddress};
use countersign_registry::credentials::Credential;
use countersign_registry::distribution::{RegistryClient, RegistryOptions};
use countersign_registry::http::ProxyRules;
use countersign_registry::{PushOptions, Silent, push_image};
use countersign_server::{Config, Running, Service};
use countersign_testkit::{Image, MemoryRegistry};
use countersign_trust::{CollectionClient, Connection, Credentials, TlsFiles};
use countersign_tuf::Pinning;
use countersign_vault::{EnvironmentPassphrases, TrustDirectory};
use std::ffi::OsString;
use std::io::Read;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tempfile::TempDir;

/// Everything the story needs.
pub(super) struct Stage {
    folder: TempDir,
    service: Option<Running>,
    address: SocketAddr,
    pub(super) registry: MemoryRegistry,
    directory: TrustDirectory,
    passphrases: EnvironmentPassphrases,
    pinning: Pinning,
}

fn local(error: impl std::fmt::Display) -> CliError {
    CliError::new(Kind::Local, format!("the demo cannot be set up: {error}"))
}

impl Stage {
    /// Starts the parts.
    pub(super) async fn set() -> Result<Self, CliError> {
        let folder = tempfile::Builder::new().prefix("countersign-demo-").tempdir().map_err(local)?;
        let service = start(&folder.path().join("service"), ([127, 0, 0, 1], 0).into()).await?;
        let directory = TrustDirectory::create(folder.path().join("docker/trust"))?;
        let stage = Self {
            address: service.address(),
            registry: MemoryRegistry::start().map_err(local)?,
            directory,
            passphrases: EnvironmentPassphrases::docker(|_| Some(OsString::from("only for the demo"))),
            pinning: Pinning::default(),
            service: Some(service),
            folder,
        };
        stage.trust_authority()?;
        Ok(stage)
    }

    /// Puts the service's CA where docker, and this program, look for it.
    fn trust_authority(&self) -> Result<(), CliError> {
        let service = self.service()?;
        let authority = service.authority().ok_or_else(|| local("the service has no CA"))?;
        let folder = self.docker_config().join("tls").join(format!("localhost:{}", self.address.port()));
        fs_err::create_dir_all(&folder).map_err(local)?;
        fs_err::copy(authority, folder.join("countersign.crt")).map_err(local)?;
        Ok(())
    }

    fn docker_config(&self) -> PathBuf {
        self.folder.path().join("docker")
    }

    fn service(&self) -> Result<&Running, CliError> {
        self.service.as_ref().ok_or_else(|| local("the service is not running"))
    }

    /// Returns the service's URL.
    pub(super) fn url(&self) -> Result<String, CliError> {
        Ok(self.service()?.url())
    }

    /// Names a tag in the demo's repository.
    pub(super) fn reference(&self, tag: &str) -> Result<Reference, CliError> {
        Ok(Reference::parse(&format!("{}/acme/app:{tag}", self.registry.host()))?)
    }

    /// Opens the collection as a person's client does.
    pub(super) fn client(&self, access: Access) -> Result<CollectionClient<'_>, CliError> {
        let reference = self.reference("1.0")?;
        let connection = Connection {
            tls: TlsFiles::Docker(self.docker_config()),
            proxies: ProxyRules::none(),
            credentials: Credentials::Given(Credential::Anonymous.into()),
        };
        let service = ServiceAddress::parse(&self.url()?).map_err(local)?;
        let service = connection.open(&service.into(), reference.gun(), access)?;
        Ok(CollectionClient::new(&self.directory, service, &self.pinning, &self.passphrases, jiff::Timestamp::now())?)
    }

    /// Connects to the registry.
    pub(super) async fn registry_client(&self) -> Result<RegistryClient, CliError> {
        Ok(RegistryClient::connect(RegistryOptions::new(self.reference("1.0")?.registry().clone())).await?)
    }

    /// Pushes an image, as a client without an engine does; returns what the registry holds then.
    pub(super) async fn push(&self, tag: &str, message: &str) -> Result<Descriptor, CliError> {
        let (reference, image) = (self.reference(tag)?, Image::with_message(message));
        let manifest = image.manifest();
        let media_type = countersign_image::MediaType::parse(&manifest.media_type).map_err(local)?;
        let root = Descriptor::of(media_type, &manifest.bytes);
        let to = PushOptions { repository: reference.repository(), tag: reference.tag(), mount_from: &[] };
        let client = self.registry_client().await?;
        let pushed = push_image(&client, Arc::new(InMemory(image)), &root, to, &Silent).await?;
        Ok(Descriptor { digest: pushed.stored.digest, size: pushed.stored.size, ..root })
    }

    /// Stops the service and returns the folder with all it had stored.
    pub(super) async fn stop_service(&mut self) -> PathBuf {
        if let Some(service) = self.service.take() {
            service.shut_down().await;
        }
        self.folder.path().join("service")
    }

    /// Starts the service at its old address, on the data in a folder.
    pub(super) async fn start_service(&mut self, data: &Path) -> Result<(), CliError> {
        self.service = Some(start(data, self.address).await?);
        Ok(())
    }

    /// Ends everything; the folder goes unless it is to be kept.
    pub(super) async fn clear(mut self, keep: bool) -> Result<Option<PathBuf>, CliError> {
        self.stop_service().await;
        if keep {
            return Ok(Some(self.folder.keep()));
        }
        self.folder.close().map(|()| None).map_err(local)
    }
}

async fn start(data: &Path, address: SocketAddr) -> Result<Running, CliError> {
    Service::start(Config::new(address, data.to_path_buf())).await.map_err(local)
}

/// An image of the testkit as something to push.
struct InMemory(Image);

impl ImageSource for InMemory {
    fn document(&self, _: &Descriptor) -> Result<Vec<u8>, ContentError> {
        Ok(self.0.manifest().bytes.to_vec())
    }

    fn blob(&self, wanted: &Descriptor) -> Result<Box<dyn Read + Send>, ContentError> {
        let parts = [self.0.config.clone(), self.0.layer.clone()];
        let part = parts.into_iter().find(|part| wanted.digest.verify(part).is_ok());
        let part = part.ok_or_else(|| ContentError::Missing(wanted.digest.clone()))?;
        Ok(Box::new(std::io::Cursor::new(part)))
    }
}
