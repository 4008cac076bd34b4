//! Whole images from memory to registries and back, with a second opinion from skopeo.

use std::process::Command;
use std::sync::Arc;

use countersign_image::{Descriptor, ImageIndex, ImageManifest, MediaType, Platform, Tag};
use countersign_registry::distribution::{DocumentName, RegistryError};
use countersign_registry::{PushOptions, Silent, pull_image, push_image};
use countersign_testkit::memory_registry::Fault;
use countersign_testkit::{Account, DockerRegistry, FakeServer, MemoryRegistry, TestCa, TokenService};

use crate::support::{Memory, Notes, connect, connect_as, password, repository};

fn to<'a>(repository: &'a countersign_image::Repository, tag: Option<&'a Tag>) -> PushOptions<'a> {
    PushOptions { repository, tag, mount_from: &[] }
}

fn index_of_two(memory: &Memory) -> Descriptor {
    let on = |platform, descriptor: Descriptor| Descriptor {
        platform: Some(Platform::parse(platform).unwrap()),
        ..descriptor
    };
    let entries = vec![
        on("linux/amd64", memory.image(10, &[100_000, 5, 70_000, 200_000])),
        on("linux/arm64", memory.image(20, &[100_000])),
    ];
    memory.put(MediaType::OCI_INDEX, ImageIndex::new(MediaType::OCI_INDEX, entries).to_bytes().unwrap())
}

#[tokio::test]
async fn an_index_with_its_images_travels_up_and_down() {
    let registry = DockerRegistry::start();
    let (client, app) = (connect(&registry.host()).await, repository(&registry.host(), "acme/app"));
    let source = Arc::new(Memory::default());
    let root = index_of_two(&source);
    let (tag, notes) = (Tag::parse("v1").unwrap(), Notes::default());
    let pushed = push_image(&client, source.clone(), &root, to(&app, Some(&tag)), &notes).await.unwrap();
    assert_eq!((&pushed.stored.digest, pushed.stored.size), (&root.digest, root.size));
    assert_eq!(notes.0.lock().unwrap().iter().filter(|(_, text)| text == "Done(Travelled)").count(), 7);
    let fetched = client.document(&app, DocumentName::Tag(&tag)).await.unwrap();
    assert_eq!(fetched.descriptor.digest, root.digest);
    let sink = Arc::new(Memory::default());
    pull_image(&client, &app, &fetched.descriptor, sink.clone(), &Silent).await.unwrap();
    assert_eq!(*sink.0.lock().unwrap(), *source.0.lock().unwrap());
    let again = Notes::default();
    pull_image(&client, &app, &fetched.descriptor, sink, &again).await.unwrap();
    assert_eq!(again.0.lock().unwrap().iter().filter(|(_, text)| text == "Done(AlreadyThere)").count(), 7);
}

#[tokio::test]
async fn skopeo_sees_what_was_pushed() {
    let registry = DockerRegistry::start();
    let (client, app) = (connect(&registry.host()).await, repository(&registry.host(), "acme/app"));
    let source = Arc::new(Memory::default());
    let root = index_of_two(&source);
    let tag = Tag::parse("v1").unwrap();
    push_image(&client, source.clone(), &root, to(&app, Some(&tag)), &Silent).await.unwrap();
    let image = format!("docker://{}/acme/app:v1", registry.host());
    let seen = Command::new("skopeo").args(["inspect", "--raw", "--tls-verify=false", &image]).output().unwrap();
    assert_eq!(Some(seen.stdout), source.get(&root.digest), "{}", String::from_utf8_lossy(&seen.stderr));
}

#[tokio::test]
async fn a_private_registry_over_tls_is_served_with_tokens() {
    let ca = TestCa::new();
    let service = TokenService::start_tls(&ca);
    let registry = DockerRegistry::builder().tls(&ca).tokens(&service).start();
    let directory = tempfile::tempdir().unwrap();
    std::fs::write(directory.path().join("ca.crt"), ca.pem()).unwrap();
    let mut options = crate::support::options(&registry.host());
    options.tls = countersign_registry::http::TlsOptions::from_directory(directory.path()).unwrap();
    options.credential = password(Account::ALICE.name, Account::ALICE.password).into();
    let client = countersign_registry::distribution::RegistryClient::connect(options).await.unwrap();
    assert_eq!(client.base().scheme(), "https");
    let app = repository(&registry.host(), "acme/app");
    let source = Arc::new(Memory::default());
    let root = index_of_two(&source);
    push_image(&client, source, &root, to(&app, None), &Silent).await.unwrap();
    assert!(client.document(&app, DocumentName::Digest(&root.digest)).await.is_ok());
}

#[tokio::test]
async fn who_may_only_pull_cannot_push() {
    let service = TokenService::start();
    let registry = DockerRegistry::builder().tokens(&service).start();
    let client = connect_as(&registry.host(), password(Account::BOB.name, Account::BOB.password)).await.unwrap();
    let source = Arc::new(Memory::default());
    let root = source.image(1, &[1000]);
    let error = push_image(&client, source, &root, to(&repository(&registry.host(), "acme/app"), None), &Silent)
        .await
        .unwrap_err();
    assert!(matches!(error, RegistryError::Auth(_)), "{error:?}");
}

#[tokio::test]
async fn a_layer_with_other_bytes_ends_the_pull_and_is_not_kept() {
    let registry = MemoryRegistry::start().unwrap();
    let (client, app) = (connect(&registry.host()).await, repository(&registry.host(), "a"));
    let source = Arc::new(Memory::default());
    let root = source.image(1, &[1000, 50_000]);
    push_image(&client, source.clone(), &root, to(&app, None), &Silent).await.unwrap();
    let layer = crate::support::layer(&crate::support::junk(2, 50_000));
    assert!(source.get(&layer.digest).is_some());
    registry.corrupt_blob(&layer.digest.to_string(), crate::support::junk(99, 50_000));
    let sink = Arc::new(Memory::default());
    let error = pull_image(&client, &app, &root, sink.clone(), &Silent).await.unwrap_err();
    assert!(matches!(error, RegistryError::Digest(_)), "{error:?}");
    assert!(sink.get(&layer.digest).is_none());
    assert!(sink.get(&root.digest).is_none(), "the manifest of an incomplete image is not stored");
}

#[tokio::test]
async fn an_incomplete_source_is_not_pushed() {
    let registry = MemoryRegistry::start().unwrap();
    let (client, app) = (connect(&registry.host()).await, repository(&registry.host(), "a"));
    let source = Arc::new(Memory::default());
    let root = source.image(1, &[1000]);
    source.0.lock().unwrap().remove(&crate::support::layer(&crate::support::junk(1, 1000)).digest);
    let tag = Tag::latest();
    let error = push_image(&client, source, &root, to(&app, Some(&tag)), &Silent).await.unwrap_err();
    assert!(matches!(error, RegistryError::Content(_)), "{error:?}");
    assert!(registry.tag("a", "latest").is_none());
}

#[tokio::test]
async fn a_push_survives_a_registry_with_hiccups() {
    let registry = MemoryRegistry::start().unwrap();
    let (client, app) = (connect(&registry.host()).await, repository(&registry.host(), "a"));
    for method in ["HEAD", "POST", "PATCH", "PUT", "PUT"] {
        registry.inject(Fault::status(503).method(method).times(1));
    }
    let source = Arc::new(Memory::default());
    let root = source.image(1, &[1000, 70_000, 3]);
    let tag = Tag::latest();
    push_image(&client, source, &root, to(&app, Some(&tag)), &Silent).await.unwrap();
    assert_eq!(registry.tag("a", "latest"), Some(root.digest.to_string()));
}

#[tokio::test]
async fn the_addresses_of_foreign_layers_are_never_asked() {
    let elsewhere = FakeServer::plain();
    elsewhere.otherwise(countersign_testkit::Reply::ok(crate::support::junk(7, 1000)));
    let registry = MemoryRegistry::start().unwrap();
    let client = connect_as(&registry.host(), password("alice", "secret")).await.unwrap();
    let app = repository(&registry.host(), "a");
    let source = Arc::new(Memory::default());
    let config = source.put(MediaType::DOCKER_CONFIG, br#"{"architecture":"amd64","os":"windows"}"#.to_vec());
    // An ordinary layer may name addresses as well.
    let urls = vec![format!("{}/own", elsewhere.url())];
    let own = Descriptor { urls, ..source.put(MediaType::DOCKER_LAYER_GZIP, crate::support::junk(8, 1000)) };
    let kind = MediaType::parse("application/vnd.docker.image.rootfs.foreign.diff.tar.gzip").unwrap();
    let foreign = Descriptor {
        urls: vec![format!("{}/layer", elsewhere.url())],
        ..Descriptor::of(kind, &crate::support::junk(7, 1000))
    };
    let manifest = ImageManifest::new(MediaType::DOCKER_MANIFEST, config, vec![own.clone(), foreign.clone()]);
    let root = source.put(MediaType::DOCKER_MANIFEST, manifest.to_bytes().unwrap());
    push_image(&client, source, &root, to(&app, None), &Silent).await.unwrap();
    let sink = Arc::new(Memory::default());
    pull_image(&client, &app, &root, sink.clone(), &Silent).await.unwrap();
    assert!(sink.get(&own.digest).is_some() && sink.get(&foreign.digest).is_none());
    assert!(elsewhere.requests().is_empty(), "neither layers nor credentials go there");
}

#[test]
fn transfers_can_run_on_other_threads() {
    fn assert_send<T: Send>(_: T) {}
    #[expect(dead_code, reason = "it only has to compile")]
    fn check(
        client: &countersign_registry::distribution::RegistryClient,
        app: &countersign_image::Repository,
        root: &Descriptor,
    ) {
        let memory = Arc::new(Memory::default());
        assert_send(push_image(client, memory.clone(), root, to(app, None), &Silent));
        assert_send(pull_image(client, app, root, memory, &Silent));
    }
}
