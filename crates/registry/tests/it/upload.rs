//! Uploads: mounted, broken, resumed, and registries that lie about them.

use std::io::{self, Read};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use countersign_image::{ContentError, Digest};
use countersign_registry::distribution::{BlobContent, RegistryClient, RegistryError};
use countersign_registry::{Arrival, Silent};
use countersign_testkit::memory_registry::Fault;
use countersign_testkit::{DockerRegistry, FakeServer, MemoryRegistry, Reply};

use crate::support::{connect, content, junk, layer, repository};

const LENGTH: usize = 1_000_000;

#[tokio::test]
async fn what_is_there_is_not_sent_and_what_is_next_door_is_mounted() {
    let registry = DockerRegistry::start();
    let client = connect(&registry.host()).await;
    let (app, other) = (repository(&registry.host(), "acme/app"), repository(&registry.host(), "acme/other"));
    let bytes = junk(1, LENGTH);
    let blob = layer(&bytes);
    let upload =
        async |to, from: &[_]| client.upload_blob(to, &blob, &content(bytes.clone()), from, &Silent).await.unwrap();
    let nowhere = repository(&registry.host(), "acme/nowhere");
    assert_eq!(upload(&app, std::slice::from_ref(&nowhere)).await, Arrival::Travelled);
    assert_eq!(upload(&app, &[]).await, Arrival::AlreadyThere);
    assert_eq!(upload(&other, std::slice::from_ref(&app)).await, Arrival::Mounted);
}

/// A registry that breaks the first attempts to send a blob after some bytes and remembers what arrived.
fn breaking(breaks: usize, keeps: bool) -> (FakeServer, Arc<AtomicUsize>) {
    let server = FakeServer::plain();
    let patches = Arc::new(AtomicUsize::new(0));
    let (count, arrived) = (Arc::clone(&patches), Arc::new(std::sync::Mutex::new(Vec::new())));
    server.handle(move |request| {
        let mut arrived = arrived.lock().unwrap();
        Some(match (request.method.as_str(), request.path.as_str()) {
            ("GET", "/v2/") => Reply::json("{}"),
            ("POST", _) => Reply::status(202).header("Location", "/upload"),
            ("PATCH", "/upload") if count.fetch_add(1, Ordering::SeqCst) < breaks => {
                if keeps {
                    let half = request.body.len() / 2;
                    arrived.extend_from_slice(&request.body[..half]);
                }
                Reply::raw("").then_cut()
            }
            ("PATCH", "/upload") => {
                arrived.extend_from_slice(&request.body);
                Reply::status(202).header("Location", "/upload?state=done")
            }
            ("GET", "/upload") if keeps => Reply::status(204).header("Range", &format!("0-{}", arrived.len() - 1)),
            ("GET", "/upload") => Reply::status(404),
            ("PUT", "/upload") => {
                let digest = format!("digest={}", Digest::of(&arrived)).replace(':', "%3A");
                if request.query.ends_with(&digest) { Reply::status(201) } else { Reply::status(400) }
            }
            _ => return None,
        })
    });
    (server, patches)
}

#[tokio::test]
async fn a_broken_upload_goes_on_where_the_registry_says_it_stopped() {
    let (server, patches) = breaking(2, true);
    let client = connect(&server.host()).await;
    let bytes = junk(2, LENGTH);
    let arrival = client
        .upload_blob(&repository(&server.host(), "a"), &layer(&bytes), &content(bytes), &[], &Silent)
        .await
        .unwrap();
    assert_eq!((arrival, patches.load(Ordering::SeqCst)), (Arrival::Travelled, 3));
    let ranges: Vec<_> =
        server.requests().iter().filter_map(|request| request.header("content-range").map(str::to_owned)).collect();
    assert_eq!(ranges, ["500000-999999", "750000-999999"]);
    assert_eq!(server.requests().iter().filter(|request| request.method == "POST").count(), 1);
}

#[tokio::test]
async fn an_upload_that_the_registry_forgot_begins_anew() {
    let (server, _) = breaking(1, false);
    let client = connect(&server.host()).await;
    let bytes = junk(3, LENGTH);
    client.upload_blob(&repository(&server.host(), "a"), &layer(&bytes), &content(bytes), &[], &Silent).await.unwrap();
    assert_eq!(server.requests().iter().filter(|request| request.method == "POST").count(), 2);
}

#[tokio::test]
async fn an_upload_that_always_breaks_is_given_up() {
    let (server, patches) = breaking(usize::MAX, false);
    let client = connect(&server.host()).await;
    let bytes = junk(4, LENGTH);
    let error = client
        .upload_blob(&repository(&server.host(), "a"), &layer(&bytes), &content(bytes), &[], &Silent)
        .await
        .unwrap_err();
    assert!(error.is_transient(), "{error:?}");
    assert_eq!(patches.load(Ordering::SeqCst), 4);
}

#[tokio::test]
async fn faults_of_a_registry_are_survived() {
    let registry = MemoryRegistry::start().unwrap();
    let client = connect(&registry.host()).await;
    for method in ["HEAD", "POST", "PATCH", "PUT"] {
        registry.inject(Fault::status(503).method(method).times(1));
    }
    let bytes = junk(5, LENGTH);
    let blob = layer(&bytes);
    client.upload_blob(&repository(&registry.host(), "a"), &blob, &content(bytes.clone()), &[], &Silent).await.unwrap();
    assert_eq!(registry.blob("a", &blob.digest.to_string()).unwrap(), bytes);
}

#[tokio::test]
async fn content_that_is_not_what_it_says_never_becomes_a_blob() {
    let registry = DockerRegistry::start();
    let (client, app) = (connect(&registry.host()).await, repository(&registry.host(), "a"));
    let bytes = junk(6, LENGTH);
    let blob = layer(&bytes);
    for wrong in [junk(7, LENGTH), bytes[..LENGTH - 1].to_vec(), [bytes.clone(), vec![0]].concat(), Vec::new()] {
        let error = client.upload_blob(&app, &blob, &content(wrong), &[], &Silent).await.unwrap_err();
        assert!(
            matches!(error, RegistryError::Content(ContentError::Digest(_) | ContentError::Size { .. })),
            "{error:?}"
        );
    }
    assert_eq!(client.has_blob(&app, &blob).await.unwrap(), countersign_image::HasContent::Absent);
}

#[tokio::test]
async fn content_that_cannot_be_read_is_the_cause_that_is_named() {
    struct Broken(usize);
    impl Read for Broken {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            self.0 += 1;
            if self.0 > 5 { Err(io::Error::other("disk on fire")) } else { Ok(buffer.len()) }
        }
    }
    let registry = DockerRegistry::start();
    let client = connect(&registry.host()).await;
    let broken: Arc<dyn BlobContent> = Arc::new(|| Ok(Box::new(Broken(0)) as Box<dyn Read + Send>));
    let error = client
        .upload_blob(&repository(&registry.host(), "a"), &layer(&junk(8, LENGTH)), &broken, &[], &Silent)
        .await
        .unwrap_err();
    assert!(error.to_string().contains("disk on fire"), "{error:?}");
}

async fn with_location(location: &str, put: Reply) -> Result<(), RegistryError> {
    let server = FakeServer::plain();
    let location = location.to_owned();
    server.handle(move |request| {
        Some(match (request.method.as_str(), request.path.as_str()) {
            ("GET", "/v2/") => Reply::json("{}"),
            ("POST" | "PATCH", _) => Reply::status(202).header("Location", &location),
            ("PUT", _) => put.clone(),
            _ => Reply::status(404),
        })
    });
    let client: RegistryClient = connect(&server.host()).await;
    client
        .upload_blob(&repository(&server.host(), "a"), &layer(b"x"), &content(b"x".to_vec()), &[], &Silent)
        .await
        .map(drop)
}

#[tokio::test]
async fn a_registry_that_says_it_stored_another_blob_is_not_believed() {
    let lie = Digest::of(b"lie").to_string();
    let error = with_location("/upload", Reply::status(201).header("Docker-Content-Digest", &lie)).await.unwrap_err();
    assert!(matches!(error, RegistryError::Disagreement { .. }), "{error:?}");
    assert!(with_location("/upload", Reply::status(201)).await.is_ok());
    assert!(with_location("/upload", Reply::status(200)).await.is_err());
}

#[tokio::test]
async fn uploads_are_not_sent_to_strange_places() {
    for location in ["", "file:///etc/passwd", "http://169.254.169.254/", "ftp://x/"] {
        assert!(with_location(location, Reply::status(201)).await.is_err(), "{location}");
    }
}
