//! What the child processes do: the trust service over plain HTTP, and an HTTP server whose every answer is the same.

use std::convert::Infallible;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use countersign_server::{
    Config, Connections, DatabaseUrl, Keys, KeyserverConfig, KeyserverIdentity, Service, Storage, Tls,
};
use http_body_util::Full;
use hyper::header::{CACHE_CONTROL, CONTENT_TYPE, ETAG, LAST_MODIFIED, VARY};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use rustls::pki_types::pem::PemObject;
use tokio::net::TcpListener;

/// As large as a timestamp.
const BODY: usize = 497;

/// Serves without TLS: address, data folder, `sqlite` or a database's URL, and the keyserver's arguments, if there is one.
pub(crate) async fn serve(arguments: &[&str]) {
    let [address, folder, database, keyserver @ ..] = arguments else { panic!("{arguments:?}") };
    let mut config = Config::new(address.parse().unwrap(), PathBuf::from(folder));
    config.tls = Tls::None;
    if *database != "sqlite" {
        let url = Box::new(DatabaseUrl::parse(database).unwrap());
        config.storage = Storage::Database { url, connections: Connections::default() };
    }
    if let [_, place, _, authority, _, certificate, _, key] = keyserver {
        let (host, port) = place.rsplit_once(':').unwrap();
        config.keys = Keys::Keyserver(KeyserverConfig {
            host: host.to_owned(),
            port: port.parse().unwrap(),
            authority: authority.into(),
            identity: KeyserverIdentity { certificate: certificate.into(), key: key.into() },
            timeout: Duration::from_secs(5),
        });
    }
    let service = Service::start(config).await.unwrap();
    std::future::pending::<()>().await;
    drop(service);
}

/// Answers everything with the same, over the same HTTP stack.
pub(crate) async fn constant(address: &str, scheme: &str) {
    let acceptor = match scheme {
        "plain" => None,
        files => {
            let (certificate, key) = files.split_once(',').unwrap();
            let certificate = std::fs::read(certificate).unwrap();
            let key = std::fs::read(key).unwrap();
            let chain = rustls::pki_types::CertificateDer::pem_slice_iter(&certificate).map(Result::unwrap).collect();
            let key = rustls::pki_types::PrivateKeyDer::from_pem_slice(&key).unwrap();
            let config = rustls::ServerConfig::builder().with_no_client_auth().with_single_cert(chain, key).unwrap();
            Some(tokio_rustls::TlsAcceptor::from(Arc::new(config)))
        }
    };
    let listener = TcpListener::bind(address).await.unwrap();
    let body = Bytes::from(vec![b'x'; BODY]);
    loop {
        let (stream, _) = listener.accept().await.unwrap();
        stream.set_nodelay(true).unwrap();
        let (body, acceptor) = (body.clone(), acceptor.clone());
        tokio::spawn(async move {
            let service = service_fn(move |_| {
                let answer = hyper::Response::builder()
                    .header(CONTENT_TYPE, "text/plain; charset=utf-8")
                    .header("x-content-type-options", "nosniff")
                    .header(ETAG, "\"0000000000000000000000000000000000000000000000000000000000000000\"")
                    .header(CACHE_CONTROL, "public, max-age=300, s-maxage=300, must-revalidate")
                    .header(LAST_MODIFIED, "Sun, 22 Nov 2026 12:00:00 GMT")
                    .header(VARY, "Accept-Encoding")
                    .body(Full::new(body.clone()));
                async move { Ok::<_, Infallible>(answer.unwrap()) }
            });
            let mut builder = http1::Builder::new();
            builder.timer(TokioTimer::new()).header_read_timeout(Duration::from_secs(30));
            let _ = match acceptor {
                None => builder.serve_connection(TokioIo::new(stream), service).await,
                Some(acceptor) => match acceptor.accept(stream).await {
                    Ok(stream) => builder.serve_connection(TokioIo::new(stream), service).await,
                    Err(_) => return,
                },
            };
        });
    }
}
