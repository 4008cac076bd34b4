//! The forms of an answer: compressed or not, and none at all for whoever has it already.

use std::io::Read;

use flate2::read::GzDecoder;
use reqwest::{Client, Method, StatusCode};

use crate::owner::{Owner, hex_digest};
use crate::service::{Answered, TestService};

const GUN: &str = "example.com/forms";

/// A client that leaves every body as it is, and says only what it is told to.
fn plain_client() -> Client {
    Client::builder().no_gzip().no_proxy().build().unwrap()
}

async fn ask(service: &TestService, method: Method, name: &str, headers: &[(&str, &str)]) -> Answered {
    let mut request = plain_client().request(method, format!("{}/v2/{GUN}/_trust/tuf/{name}", service.base));
    for (header, value) in headers {
        request = request.header(*header, *value);
    }
    service.send(request).await
}

async fn get(service: &TestService, name: &str, headers: &[(&str, &str)]) -> Answered {
    ask(service, Method::GET, name, headers).await
}

async fn published() -> (TestService, Owner) {
    let service = TestService::start().await;
    let owner = Owner::of(&service, GUN).await;
    owner.publish_first(&service).await;
    let tags: Vec<String> = (0..2000).map(|n| format!("v{n}")).collect();
    let tags: Vec<&str> = tags.iter().map(String::as_str).collect();
    service.upload(GUN, &[("targets", owner.targets(2, &tags))]).await.ok();
    (service, owner)
}

fn unpacked(answer: &Answered) -> Vec<u8> {
    match answer.header("content-encoding") {
        "gzip" => {
            let mut plain = Vec::new();
            GzDecoder::new(&*answer.body).read_to_end(&mut plain).unwrap();
            plain
        }
        "zstd" => zstd::bulk::decompress(&answer.body, 100_000_000).unwrap(),
        "" => answer.body.clone(),
        other => unreachable!("{other}"),
    }
}

#[tokio::test]
async fn every_file_comes_in_the_form_that_the_client_takes() {
    let (service, _) = published().await;
    for role in ["root", "targets", "snapshot", "timestamp"] {
        let current = format!("{role}.json");
        let plain = get(&service, &current, &[]).await.ok();
        assert_eq!(plain.header("content-encoding"), "");
        let digest = hex_digest(&plain.body);
        for name in [current, format!("{role}.{digest}.json")] {
            for (accepted, form) in [
                ("gzip", "gzip"),
                ("zstd", "zstd"),
                ("gzip, deflate, br, zstd", "zstd"),
                ("zstd;q=0, gzip;q=0.1", "gzip"),
                ("br", ""),
                ("identity", ""),
                ("gzip;q=0, *", "zstd"),
            ] {
                let answer = get(&service, &name, &[("accept-encoding", accepted)]).await.ok();
                let found = answer.header("content-encoding");
                assert!(found == form || found.is_empty() && role == "timestamp", "{name} {accepted}: {found}");
                assert_eq!(unpacked(&answer), plain.body, "{name} {accepted}");
                assert_eq!(answer.header("vary"), "Accept-Encoding");
                assert_eq!(answer.header("content-length"), answer.body.len().to_string());
                assert!(form.is_empty() || answer.body.len() <= plain.body.len());
                let tag = answer.header("etag").to_owned();
                assert!(tag.starts_with(&format!("\"{digest}")) && (tag.len() == 66) == found.is_empty(), "{tag}");
                for known in [tag.clone(), format!("W/{tag}"), format!("\"x\", {tag}"), "*".to_owned()] {
                    let headers = [("accept-encoding", accepted), ("if-none-match", &*known)];
                    let unchanged = get(&service, &name, &headers).await;
                    assert_eq!((unchanged.status, unchanged.body.len()), (StatusCode::NOT_MODIFIED, 0), "{known}");
                    assert_eq!(unchanged.header("etag"), tag);
                    assert_eq!(unchanged.header("cache-control"), answer.header("cache-control"));
                    assert_eq!(unchanged.header("content-encoding"), "");
                }
                let head = ask(&service, Method::HEAD, &name, &[("accept-encoding", accepted)]).await.ok();
                assert_eq!(head.body.len(), 0);
                for header in ["etag", "content-length", "content-encoding", "content-type", "vary", "last-modified"] {
                    assert_eq!(head.header(header), answer.header(header), "{header}");
                }
            }
        }
    }
}

/// A form that the client would not understand is none that it has, whatever tag it names.
#[tokio::test]
async fn a_tag_of_another_form_or_file_is_not_known() {
    let (service, owner) = published().await;
    let zstd = get(&service, "targets.json", &[("accept-encoding", "zstd")]).await.ok();
    let tag = zstd.header("etag").to_owned();
    for accepted in ["gzip", "identity"] {
        let headers = [("accept-encoding", accepted), ("if-none-match", &*tag)];
        assert_eq!(get(&service, "targets.json", &headers).await.status, 200, "{accepted}");
    }
    service.upload(GUN, &[("targets", owner.targets(3, &["another"]))]).await.ok();
    let headers = [("accept-encoding", "zstd"), ("if-none-match", &*tag)];
    let new = get(&service, "targets.json", &headers).await.ok();
    assert_ne!(new.header("etag"), tag);
    let missing = get(&service, "9.targets.json", &[("if-none-match", "*")]).await;
    assert_eq!(missing.error(), "404 METADATA_NOT_FOUND");
    assert_eq!((missing.header("etag"), missing.header("vary")), ("", ""));
}

#[tokio::test]
async fn headers_of_any_kind_are_answered() {
    let (service, _) = published().await;
    let long = "gzip;q=0.1,".repeat(2000);
    for (header, value) in [
        ("accept-encoding", ",,,;;;q=,gzip;q=nan"),
        ("accept-encoding", "gzip;q=1e309, *;q=-1"),
        ("accept-encoding", &long),
        ("if-none-match", "\"\"\"\", W/, *x, \u{e9}"),
        ("if-none-match", &long),
    ] {
        let answer = get(&service, "root.json", &[(header, value)]).await.ok();
        assert_eq!(unpacked(&answer), get(&service, "root.json", &[]).await.ok().body, "{header}");
    }
}

/// Over HTTP/2, too, nothing follows the headers of an answer to `HEAD`.
#[tokio::test]
async fn head_over_http2_has_no_body() {
    let service = TestService::with(|config| {
        config.tls = countersign_server::Tls::OwnAuthority { names: vec!["localhost".to_owned()] };
    })
    .await;
    let authority = std::fs::read(service.running.authority().unwrap()).unwrap();
    let authority = reqwest::Certificate::from_pem(&authority).unwrap();
    let client = Client::builder().tls_certs_only([authority]).no_gzip().no_proxy().build().unwrap();
    let base = service.running.url();
    let service = TestService { client, base, ..service };
    let owner = Owner::of(&service, GUN).await;
    owner.publish_first(&service).await;
    let head = service.request("HEAD", &format!("/v2/{GUN}/_trust/tuf/root.json")).await.ok();
    let body = service.file(GUN, "root.json").await.ok().body;
    assert_eq!((head.body.len(), head.header("content-length")), (0, &*body.len().to_string()));
}
