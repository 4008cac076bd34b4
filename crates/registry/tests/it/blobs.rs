//! Downloads that break, lie, or never end.

use std::time::Duration;

use countersign_image::{ContentError, Descriptor, HasContent};
use countersign_registry::Silent;
use countersign_registry::distribution::{RegistryClient, RegistryError};
use countersign_testkit::memory_registry::Fault;
use countersign_testkit::{DockerRegistry, FakeServer, Image, MemoryRegistry, Reply};

use crate::support::{Notes, connect, content, junk, layer, repository};

const LENGTH: usize = 300_000;

async fn serving(reply: impl Fn(&str) -> Reply + Send + Sync + 'static) -> (FakeServer, RegistryClient) {
    let server = FakeServer::plain();
    server.handle(move |request| match request.path.as_str() {
        "/v2/" => Some(Reply::json("{}")),
        path if path.starts_with("/v2/a/blobs/") => Some(reply(request.header("range").unwrap_or_default())),
        _ => None,
    });
    let client = connect(&server.host()).await;
    (server, client)
}

async fn download(
    server: &FakeServer,
    client: &RegistryClient,
    blob: &Descriptor,
) -> (Result<(), RegistryError>, Vec<u8>) {
    let mut bytes = Vec::new();
    let result = client.download_blob(&repository(&server.host(), "a"), blob, &mut bytes, &Silent).await;
    (result, bytes)
}

#[tokio::test]
async fn blobs_travel_up_and_down() {
    let registry = DockerRegistry::start();
    let (client, app) = (connect(&registry.host()).await, repository(&registry.host(), "acme/app"));
    let bytes = junk(1, LENGTH);
    let blob = layer(&bytes);
    assert_eq!(client.has_blob(&app, &blob).await.unwrap(), HasContent::Absent);
    let missing = client.download_blob(&app, &blob, &mut Vec::new(), &Silent).await.unwrap_err();
    assert!(matches!(missing, RegistryError::NotFound(_)), "{missing:?}");
    client.upload_blob(&app, &blob, &content(bytes.clone()), &[], &Silent).await.unwrap();
    assert_eq!(client.has_blob(&app, &blob).await.unwrap(), HasContent::Present);
    let mut back = Vec::new();
    let notes = Notes::default();
    client.download_blob(&app, &blob, &mut back, &notes).await.unwrap();
    assert_eq!(back, bytes);
    let told = notes.of(&blob.digest);
    assert_eq!(told.first().unwrap(), "Begin { total: 300000 }");
    assert_eq!(told.last().unwrap(), "Done(Travelled)");
    assert!(told.contains(&"Moved { done: 300000 }".to_owned()));
}

#[tokio::test]
async fn an_empty_blob_is_a_blob() {
    let registry = DockerRegistry::start();
    let (client, app) = (connect(&registry.host()).await, repository(&registry.host(), "acme/app"));
    let blob = layer(b"");
    client.upload_blob(&app, &blob, &content(Vec::new()), &[], &Silent).await.unwrap();
    let mut back = Vec::new();
    client.download_blob(&app, &blob, &mut back, &Silent).await.unwrap();
    assert!(back.is_empty());
}

#[tokio::test]
async fn a_broken_download_is_taken_up_where_it_broke() {
    let bytes = junk(2, LENGTH);
    let blob = layer(&bytes);
    let copy = bytes.clone();
    let (server, client) = serving(move |range| {
        let from: usize = range
            .strip_prefix("bytes=")
            .and_then(|range| range.strip_suffix('-'))
            .map_or(0, |from| from.parse().unwrap());
        let reply = if from == 0 {
            Reply::status(200)
        } else {
            Reply::status(206).header("Content-Range", &format!("bytes {from}-{}/{LENGTH}", LENGTH - 1))
        };
        let rest = copy[from..].to_vec();
        let length = rest.len() as u64;
        if rest.len() > 100_000 {
            reply.announcing(length).then(rest[..100_000].to_vec()).then_cut()
        } else {
            reply.then(rest)
        }
    })
    .await;
    let (result, back) = download(&server, &client, &blob).await;
    result.unwrap();
    assert_eq!(back, bytes);
    assert!(server.requests().iter().filter_map(|request| request.header("range")).count() >= 2);
}

#[tokio::test]
async fn a_server_that_knows_no_ranges_is_read_from_the_beginning() {
    let registry = MemoryRegistry::start().unwrap();
    let image = Image::with_message(&"long ".repeat(20_000));
    registry.put_image("acme/app", "v1", &image).unwrap();
    registry.inject(Fault::cut_after(50_000).path("/blobs/").method("GET").times(2));
    let client = connect(&registry.host()).await;
    let blob = layer(&image.layer);
    let mut back = Vec::new();
    client.download_blob(&repository(&registry.host(), "acme/app"), &blob, &mut back, &Silent).await.unwrap();
    assert_eq!(back, image.layer);
}

#[tokio::test]
async fn a_blob_with_other_bytes_is_refused() {
    let blob = layer(&junk(3, LENGTH));
    let (server, client) = serving(|_| Reply::ok(junk(4, LENGTH))).await;
    assert!(matches!(download(&server, &client, &blob).await.0, Err(RegistryError::Digest(_))));
}

#[tokio::test]
async fn longer_shorter_and_endless_blobs_are_refused_within_their_size() {
    let bytes = junk(5, LENGTH);
    let blob = layer(&bytes);
    for reply in [
        Reply::ok([bytes.clone(), vec![0]].concat()),
        Reply::ok(bytes[..LENGTH - 1].to_vec()),
        Reply::status(200).chunked().then([bytes.clone(), vec![0; 10]].concat()),
        Reply::status(200).chunked().then(bytes[..LENGTH - 1].to_vec()),
        Reply::status(200).then_endlessly(vec![0; 10_000]),
    ] {
        let (server, client) = serving(move |_| reply.clone()).await;
        let (result, written) = download(&server, &client, &blob).await;
        assert!(matches!(result, Err(RegistryError::Size { .. })), "{result:?}");
        assert!(written.len() <= LENGTH);
    }
}

#[tokio::test]
async fn ranges_that_lie_are_refused() {
    let bytes = junk(6, LENGTH);
    let blob = layer(&bytes);
    for answer in ["bytes 0-299999/300000", "bytes 5-299999/300000", "junk", ""] {
        let copy = bytes.clone();
        let (server, client) = serving(move |range| {
            if range.is_empty() {
                return Reply::status(200).announcing(LENGTH as u64).then(copy[..1000].to_vec()).then_cut();
            }
            Reply::status(206).header("Content-Range", answer).then(copy.clone())
        })
        .await;
        assert!(download(&server, &client, &blob).await.0.is_err(), "{answer}");
    }
}

#[tokio::test]
async fn a_partial_answer_that_nobody_asked_for_is_refused() {
    let bytes = junk(7, LENGTH);
    let copy = bytes.clone();
    let (server, client) =
        serving(move |_| Reply::status(206).header("Content-Range", "bytes 0-299999/300000").then(copy.clone())).await;
    assert!(download(&server, &client, &layer(&bytes)).await.0.is_err());
}

#[tokio::test]
async fn a_server_that_gives_a_little_and_cuts_is_given_up() {
    let bytes = junk(8, LENGTH);
    let copy = bytes.clone();
    let (server, client) = serving(move |range| {
        let from: usize = range
            .strip_prefix("bytes=")
            .and_then(|range| range.strip_suffix('-'))
            .map_or(0, |from| from.parse().unwrap());
        let reply = if from == 0 {
            Reply::status(200)
        } else {
            Reply::status(206).header("Content-Range", &format!("bytes {from}-{}/{LENGTH}", LENGTH - 1))
        };
        reply
            .announcing((LENGTH - from) as u64)
            .then(copy[from..from + 10].to_vec())
            .then_pause(Duration::from_millis(5))
            .then_cut()
    })
    .await;
    assert!(download(&server, &client, &layer(&bytes)).await.0.is_err());
    assert!(server.requests().len() < 10);
}

#[tokio::test]
async fn a_redirect_to_another_host_takes_no_credentials_along() {
    let bytes = junk(9, LENGTH);
    let blob = layer(&bytes);
    let store = FakeServer::plain();
    store.on("/blob", Reply::ok(bytes.clone()));
    let server = FakeServer::plain();
    let target = format!("{}/blob?signature=x", store.url());
    server.handle(move |request| {
        let known = request.header("authorization").is_some();
        Some(match request.path.as_str() {
            _ if !known => Reply::status(401).header("WWW-Authenticate", "Basic realm=x"),
            "/v2/" => Reply::json("{}"),
            _ => Reply::status(307).header("Location", &target),
        })
    });
    let client = crate::support::connect_as(&server.host(), crate::support::password("alice", "secret")).await.unwrap();
    let (result, back) = download(&server, &client, &blob).await;
    result.unwrap();
    assert_eq!(back, bytes);
    assert!(store.requests().iter().all(|request| request.header("authorization").is_none()));
}

#[tokio::test]
async fn a_writer_that_fails_ends_the_download() {
    struct Full;
    impl tokio::io::AsyncWrite for Full {
        fn poll_write(
            self: std::pin::Pin<&mut Self>,
            _: &mut std::task::Context<'_>,
            _: &[u8],
        ) -> std::task::Poll<std::io::Result<usize>> {
            std::task::Poll::Ready(Err(std::io::ErrorKind::StorageFull.into()))
        }
        fn poll_flush(
            self: std::pin::Pin<&mut Self>,
            _: &mut std::task::Context<'_>,
        ) -> std::task::Poll<std::io::Result<()>> {
            std::task::Poll::Ready(Ok(()))
        }
        fn poll_shutdown(
            self: std::pin::Pin<&mut Self>,
            _: &mut std::task::Context<'_>,
        ) -> std::task::Poll<std::io::Result<()>> {
            std::task::Poll::Ready(Ok(()))
        }
    }
    let bytes = junk(10, LENGTH);
    let copy = bytes.clone();
    let (server, client) = serving(move |_| Reply::ok(copy.clone())).await;
    let error =
        client.download_blob(&repository(&server.host(), "a"), &layer(&bytes), &mut Full, &Silent).await.unwrap_err();
    assert!(matches!(error, RegistryError::Content(ContentError::Io(_))), "{error:?}");
}

#[tokio::test]
async fn large_blobs_are_not_taken_into_memory() {
    let (server, client) = serving(|_| Reply::ok("x")).await;
    let blob = Descriptor { size: 1 << 40, ..layer(b"x") };
    assert!(matches!(
        client.small_blob(&repository(&server.host(), "a"), &blob).await,
        Err(RegistryError::Size { .. })
    ));
}
