//! Manifests and tags, honest and not.

use bytes::Bytes;
use countersign_image::{Descriptor, Digest, Document, DocumentError, ImageIndex, ImageManifest, MediaType, Tag};
use countersign_registry::distribution::{DocumentName, RegistryClient, RegistryError};
use countersign_registry::http::HttpError;
use countersign_testkit::{DockerRegistry, FakeServer, Image, MemoryRegistry, Reply};

use crate::support::{connect, content, options, repository};

fn manifest(seed: u8) -> Bytes {
    let part = Descriptor::of(MediaType::OCI_CONFIG, &[seed]);
    ImageManifest::new(MediaType::OCI_MANIFEST, part.clone(), vec![part]).to_bytes().unwrap().into()
}

fn tag(text: &str) -> Tag {
    Tag::parse(text).unwrap()
}

/// A server that passes for a registry and otherwise does what the test says.
async fn lying() -> (FakeServer, RegistryClient) {
    let server = FakeServer::plain();
    server.on("/v2/", Reply::json("{}"));
    let client = connect(&server.host()).await;
    (server, client)
}

#[tokio::test]
async fn a_loopback_registry_is_reached_by_plain_http() {
    let registry = DockerRegistry::start();
    assert_eq!(connect(&registry.host()).await.base().scheme(), "http");
}

#[tokio::test]
async fn a_loopback_registry_with_a_strange_certificate_is_refused() {
    let registry = DockerRegistry::builder().tls(&countersign_testkit::TestCa::new()).start();
    let error = RegistryClient::connect(options(&registry.host())).await.unwrap_err();
    assert!(matches!(error.http(), Some(HttpError::Tls { .. })), "{error:?}");
}

#[tokio::test]
async fn what_is_no_registry_is_told_apart() {
    let server = FakeServer::plain();
    let error = RegistryClient::connect(options(&server.host())).await.unwrap_err();
    assert!(matches!(error, RegistryError::NotARegistry { .. }), "{error:?}");
}

#[tokio::test]
async fn documents_are_stored_and_fetched_by_tag_and_digest() {
    let registry = DockerRegistry::start();
    let (client, app) = (connect(&registry.host()).await, repository(&registry.host(), "acme/app"));
    let config = Descriptor::of(MediaType::OCI_CONFIG, b"{}");
    client.upload_blob(&app, &config, &content(b"{}".to_vec()), &[], &countersign_registry::Silent).await.unwrap();
    let bytes: Bytes =
        ImageManifest::new(MediaType::OCI_MANIFEST, config.clone(), vec![config]).to_bytes().unwrap().into();
    let stored = client.put_document(&app, DocumentName::Tag(&tag("v1")), &bytes).await.unwrap();
    assert_eq!((stored.digest.clone(), stored.size), (Digest::of(&bytes), bytes.len() as u64));
    let by_tag = client.document(&app, DocumentName::Tag(&tag("v1"))).await.unwrap();
    let by_digest = client.document(&app, DocumentName::Digest(&stored.digest)).await.unwrap();
    assert_eq!((&by_tag.bytes, &by_tag.descriptor), (&bytes, &by_digest.descriptor));
    let claim = client.document_claim(&app, DocumentName::Tag(&tag("v1"))).await.unwrap().unwrap();
    assert_eq!((claim.digest, claim.size), (Some(stored.digest), Some(stored.size)));
    assert_eq!(client.tags(&app).await.unwrap(), [tag("v1")]);
    assert!(client.document_claim(&app, DocumentName::Tag(&tag("v2"))).await.unwrap().is_none());
    let missing = client.document(&app, DocumentName::Tag(&tag("v2"))).await.unwrap_err();
    assert!(matches!(missing, RegistryError::NotFound(_)), "{missing:?}");
}

#[tokio::test]
async fn a_manifest_with_another_digest_than_asked_for_is_refused() {
    let registry = MemoryRegistry::start().unwrap();
    let image = Image::with_message("right");
    let digest = registry.put_image("acme/app", "v1", &image).unwrap();
    let (client, app) = (connect(&registry.host()).await, repository(&registry.host(), "acme/app"));
    let digest = Digest::parse(&digest).unwrap();
    assert!(client.document(&app, DocumentName::Digest(&digest)).await.is_ok());
    registry.corrupt_manifest("acme/app", &digest.to_string(), Image::with_message("wrong").manifest().bytes).unwrap();
    let error = client.document(&app, DocumentName::Digest(&digest)).await.unwrap_err();
    assert!(matches!(error, RegistryError::Digest(_)), "{error:?}");
}

#[tokio::test]
async fn the_digest_a_registry_claims_is_ignored() {
    let (server, client) = lying().await;
    let app = repository(&server.host(), "a");
    let lie = Digest::of(b"lie").to_string();
    server.on(
        "/v2/a/manifests/v1",
        Reply::ok(manifest(1))
            .header("Content-Type", "application/vnd.oci.image.manifest.v1+json")
            .header("Docker-Content-Digest", &lie),
    );
    let fetched = client.document(&app, DocumentName::Tag(&tag("v1"))).await.unwrap();
    assert_eq!(fetched.descriptor.digest, Digest::of(&manifest(1)));
}

#[tokio::test]
async fn a_document_announced_as_another_kind_is_refused() {
    let (server, client) = lying().await;
    let app = repository(&server.host(), "a");
    for kind in [
        "application/vnd.oci.image.index.v1+json",
        "application/vnd.docker.distribution.manifest.v2+json",
        "text/html",
        "nonsense",
    ] {
        server.on("/v2/a/manifests/v1", Reply::ok(manifest(1)).header("Content-Type", kind));
        assert!(client.document(&app, DocumentName::Tag(&tag("v1"))).await.is_err(), "{kind}");
    }
}

#[tokio::test]
async fn a_document_of_another_kind_or_size_than_its_index_says_is_refused() {
    let (server, client) = lying().await;
    let app = repository(&server.host(), "a");
    let right = Descriptor::of(MediaType::OCI_MANIFEST, &manifest(1));
    server.on(&format!("/v2/a/manifests/{}", right.digest), Reply::ok(manifest(1)));
    assert!(client.described_document(&app, &right).await.is_ok());
    let longer = Descriptor { size: right.size + 1, ..right.clone() };
    assert!(matches!(client.described_document(&app, &longer).await, Err(RegistryError::Size { .. })));
    let index = Descriptor { media_type: MediaType::OCI_INDEX, ..right };
    assert!(matches!(
        client.described_document(&app, &index).await,
        Err(RegistryError::Document(DocumentError::KindMismatch { .. }))
    ));
}

#[tokio::test]
async fn huge_documents_are_refused() {
    let (server, client) = lying().await;
    let app = repository(&server.host(), "a");
    for reply in [
        Reply::status(200).announcing(1_000_000_000).then("{").then_hang(),
        Reply::status(200).then("{").then_endlessly(vec![b' '; 100_000]),
    ] {
        server.on("/v2/a/manifests/v1", reply);
        let error = client.document(&app, DocumentName::Tag(&tag("v1"))).await.unwrap_err();
        assert!(matches!(error.http(), Some(HttpError::Oversized { .. })), "{error:?}");
    }
}

#[tokio::test]
async fn an_index_of_too_many_entries_is_refused() {
    let (server, client) = lying().await;
    let entries = vec![Descriptor::of(MediaType::OCI_MANIFEST, b"x"); 5000];
    server.on("/v2/a/manifests/v1", Reply::ok(ImageIndex::new(MediaType::OCI_INDEX, entries).to_bytes().unwrap()));
    let error = client.document(&repository(&server.host(), "a"), DocumentName::Tag(&tag("v1"))).await.unwrap_err();
    assert!(matches!(error, RegistryError::Document(DocumentError::TooManyEntries(5000))), "{error:?}");
}

#[tokio::test]
async fn a_registry_that_says_it_stored_something_else_is_not_believed() {
    let (server, client) = lying().await;
    let app = repository(&server.host(), "a");
    let lie = Digest::of(b"lie").to_string();
    server.on("/v2/a/manifests/v1", Reply::status(201).header("Docker-Content-Digest", &lie));
    let error = client.put_document(&app, DocumentName::Tag(&tag("v1")), &manifest(1)).await.unwrap_err();
    assert!(matches!(error, RegistryError::Disagreement { .. }), "{error:?}");
}

#[tokio::test]
async fn a_registry_that_does_not_say_what_it_stored_is_asked() {
    let (server, client) = lying().await;
    let app = repository(&server.host(), "a");
    let copy = |bytes: Bytes| {
        move |request: &countersign_testkit::fake_server::Request| match request.method.as_str() {
            "PUT" => Some(Reply::status(201)),
            "GET" if request.path.contains("manifests") => Some(Reply::ok(bytes.clone())),
            _ => None,
        }
    };
    server.handle(copy(manifest(1)));
    assert!(client.put_document(&app, DocumentName::Tag(&tag("v1")), &manifest(1)).await.is_ok());
    server.handle(copy(manifest(2)));
    let error = client.put_document(&app, DocumentName::Tag(&tag("v1")), &manifest(1)).await.unwrap_err();
    assert!(matches!(error, RegistryError::Disagreement { .. }), "{error:?}");
}

#[tokio::test]
async fn bytes_are_not_stored_under_a_digest_that_is_not_theirs() {
    let (server, client) = lying().await;
    let other = Digest::of(b"other");
    let error = client
        .put_document(&repository(&server.host(), "a"), DocumentName::Digest(&other), &manifest(1))
        .await
        .unwrap_err();
    assert!(matches!(error, RegistryError::Digest(_)), "{error:?}");
    assert!(server.requests().iter().all(|request| request.method != "PUT"));
}

#[tokio::test]
async fn a_busy_registry_is_asked_again_and_not_for_ever() {
    let (server, client) = lying().await;
    let app = repository(&server.host(), "a");
    server.on_each(
        "/v2/a/manifests/v1",
        [Reply::status(503), Reply::status(429).header("Retry-After", "0"), Reply::ok(manifest(1))],
    );
    assert!(client.document(&app, DocumentName::Tag(&tag("v1"))).await.is_ok());
    let _ = server.take_request_lines();
    server.on("/v2/a/manifests/v1", Reply::status(503));
    assert!(client.document(&app, DocumentName::Tag(&tag("v1"))).await.is_err());
    assert_eq!(server.take_request_lines().len(), 4);
}

#[tokio::test]
async fn repositories_of_other_registries_are_not_asked_for() {
    let (server, client) = lying().await;
    let error = client.tags(&repository("other.test", "a")).await.unwrap_err();
    assert!(matches!(error, RegistryError::OtherRegistry { .. }));
    assert!(server.requests().iter().all(|request| request.path == "/v2/"));
}

#[tokio::test]
async fn tags_are_listed_over_all_pages() {
    let (server, client) = lying().await;
    server.handle(|request| {
        let (tags, next) = match request.query.as_str() {
            "n=1000" => (r#"["a","b"]"#, Some("</v2/x/tags/list?last=b&n=1000>; rel=\"next\"")),
            "last=b&n=1000" => (r#"["c"]"#, Some("<?last=c>; rel=next")),
            "last=c" => ("null", None),
            _ => return None,
        };
        let reply = Reply::json(format!(r#"{{"name":"x","tags":{tags}}}"#));
        Some(next.into_iter().fold(reply, |reply, next| reply.header("Link", next)))
    });
    let listed = client.tags(&repository(&server.host(), "x")).await.unwrap();
    assert_eq!(listed, [tag("a"), tag("b"), tag("c")]);
}

#[tokio::test]
async fn lists_of_tags_that_mislead_are_refused() {
    let (server, client) = lying().await;
    let list = "/v2/x/tags/list";
    for reply in [
        Reply::json(r#"{"tags":["a"]}"#).header("Link", "</v2/x/tags/list?n=1000>; rel=next"),
        Reply::json(r#"{"tags":["a"]}"#).header("Link", "<http://other.test/v2/x/tags/list>; rel=next"),
        Reply::json(r#"{"tags":["../../x"]}"#),
        Reply::json(r#"{"tags":["\u001b[2J"]}"#),
        Reply::json("junk"),
        Reply::status(200).then_endlessly(vec![b' '; 100_000]),
    ] {
        server.on(list, reply);
        let error = client.tags(&repository(&server.host(), "x")).await.unwrap_err();
        assert!(!error.to_string().contains('\x1b'), "{error}");
    }
}

#[tokio::test]
async fn a_document_is_found_through_the_platforms_of_its_index() {
    let registry = MemoryRegistry::start().unwrap();
    registry.put_image("acme/app", "v1", &Image::with_message("x")).unwrap();
    let (client, app) = (connect(&registry.host()).await, repository(&registry.host(), "acme/app"));
    let fetched = client.document(&app, DocumentName::Tag(&tag("v1"))).await.unwrap();
    let Document::Manifest(manifest) = fetched.document else { panic!() };
    assert_eq!(client.small_blob(&app, &manifest.config).await.unwrap(), Image::with_message("x").config);
}
