//! Sends requests, watches the time, and follows redirects by hand.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use futures_util::StreamExt;
use http::header::{AUTHORIZATION, COOKIE, LOCATION, PROXY_AUTHORIZATION};
use http::{HeaderValue, Method, StatusCode};
use tokio::time::Instant;
use url::Url;

use super::address::{self, GuardedResolver};
use super::error::{HttpError, WaitingFor};
use super::origin::{Origin, Scheme, shown};
use super::proxy::ProxyRules;
use super::request::{Body, Patience, Request};
use super::response::Response;
use super::tls::{IdentityUse, TlsOptions};
use crate::foreign::foreign_text;

/// Most redirects in a row.
pub const MAX_REDIRECTS: usize = 5;
/// How long a connection may take to come about, TLS included.
const CONNECT_LIMIT: Duration = Duration::from_secs(15);
/// How long an unused connection is kept.
const POOL_IDLE: Duration = Duration::from_secs(30);
/// Most bytes of HTTP/2 headers.
const MAX_HEADER_BYTES: u32 = 64 * 1024;
/// Most HTTP/1 headers.
const MAX_HEADERS: usize = 100;
/// Longest redirect address in bytes.
const MAX_LOCATION: usize = 8 * 1024;

/// How a client behaves.
#[derive(Debug, Clone)]
pub struct HttpOptions {
    /// The place that credentials and client certificates are for.
    pub home: Origin,
    /// Whom to believe and how to introduce oneself there.
    pub tls: TlsOptions,
    /// Which proxies to use.
    pub proxies: ProxyRules,
    /// What to call oneself.
    pub user_agent: String,
    /// How long a connection may take to come about.
    pub connect_limit: Duration,
}

impl HttpOptions {
    /// Makes options with system roots, no proxy and this program's name.
    #[must_use]
    pub fn new(home: Origin) -> Self {
        Self {
            home,
            tls: TlsOptions::system(),
            proxies: ProxyRules::none(),
            user_agent: concat!("countersign/", env!("CARGO_PKG_VERSION")).to_owned(),
            connect_limit: CONNECT_LIMIT,
        }
    }
}

/// An HTTP client for one server and the hosts that this server refers to. Cheap to clone.
#[derive(Debug, Clone)]
pub struct HttpClient(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    options: HttpOptions,
    /// For `home`, with its client certificates.
    at_home: OnceLock<reqwest::Client>,
    /// For every other host: no client certificate, guarded addresses.
    abroad: OnceLock<reqwest::Client>,
    /// For plain http, where no certificate authority has to be read.
    plain: OnceLock<reqwest::Client>,
}

impl HttpClient {
    /// Makes a client. Certificate authorities are read when the first https request goes out.
    #[must_use]
    pub fn new(options: HttpOptions) -> Self {
        Self(Arc::new(Inner { options, at_home: OnceLock::new(), abroad: OnceLock::new(), plain: OnceLock::new() }))
    }

    /// Returns the place that credentials and client certificates are for.
    #[must_use]
    pub fn home(&self) -> &Origin {
        &self.0.options.home
    }

    /// Sends a request and returns the answer, whatever its status. Redirects are not followed.
    ///
    /// # Errors
    /// Fails if there is no answer in time or none that can be trusted.
    pub async fn send(&self, request: Request) -> Result<Response, HttpError> {
        let deadline = Instant::now() + request.patience.total;
        self.send_until(request, deadline).await
    }

    /// Sends a GET or HEAD request and follows redirects, at most [`MAX_REDIRECTS`].
    ///
    /// Never from https to http; `Authorization`, cookies and client certificates do not go to another origin.
    ///
    /// # Errors
    /// As [`Self::send`]; also if a redirect is refused. Requests of other methods are answered with the redirect itself.
    pub async fn send_following(&self, mut request: Request) -> Result<Response, HttpError> {
        let deadline = Instant::now() + request.patience.total;
        for _ in 0..=MAX_REDIRECTS {
            let again =
                if request.method == Method::GET || request.method == Method::HEAD { request.repeat() } else { None };
            let response = self.send_until(request, deadline).await?;
            match (again, is_redirect(response.status())) {
                (Some(again), true) => request = redirected(again, &response)?,
                _ => return Ok(response),
            }
        }
        Err(HttpError::Redirect {
            from: shown(&request.url),
            to: "yet another place".to_owned(),
            reason: "there are too many redirects",
        })
    }

    async fn send_until(&self, request: Request, deadline: Instant) -> Result<Response, HttpError> {
        let origin = Origin::of(&request.url)?;
        if origin != self.0.options.home {
            address::check(&request.url, &origin)?;
        }
        let client = self.client_for(&origin)?;
        let (url, patience) = (request.url.clone(), request.patience);
        let sent = Arc::new(AtomicU64::new(0));
        let exchange = client.execute(into_reqwest(request, Arc::clone(&sent)));
        match watch(exchange, &sent, patience, deadline).await {
            Ok(Ok(inner)) => Response::new(inner, url, origin, patience, deadline),
            Ok(Err(error)) => Err(HttpError::classify(&error, &url, &origin, self.0.options.connect_limit)),
            Err((waiting_for, limit)) => Err(HttpError::Timeout { origin, waiting_for, limit }),
        }
    }

    fn client_for(&self, origin: &Origin) -> Result<reqwest::Client, HttpError> {
        let home = *origin == self.0.options.home;
        let place = match origin.scheme() {
            Scheme::Http if home => &self.0.plain,
            Scheme::Https if home => &self.0.at_home,
            _ => &self.0.abroad,
        };
        if let Some(client) = place.get() {
            return Ok(client.clone());
        }
        let built = self.build(origin.scheme(), if home { IdentityUse::Offered } else { IdentityUse::Withheld })?;
        Ok(place.get_or_init(|| built).clone())
    }

    fn build(&self, scheme: Scheme, identity: IdentityUse) -> Result<reqwest::Client, HttpError> {
        let options = &self.0.options;
        let tls = match (scheme, identity) {
            (Scheme::Http, IdentityUse::Offered) => no_tls()?,
            (_, IdentityUse::Offered) => options.tls.client_config(identity)?,
            (_, IdentityUse::Withheld) => options.tls.for_strangers().client_config(identity)?,
        };
        let mut builder = reqwest::Client::builder()
            .tls_backend_preconfigured(tls)
            .user_agent(&options.user_agent)
            .redirect(reqwest::redirect::Policy::none())
            .retry(reqwest::retry::never())
            .referer(false)
            .connect_timeout(options.connect_limit)
            .pool_idle_timeout(POOL_IDLE)
            .http1_max_headers(MAX_HEADERS)
            .http2_max_header_list_size(MAX_HEADER_BYTES)
            .no_gzip()
            .no_proxy();
        if identity == IdentityUse::Withheld {
            builder = builder.dns_resolver(GuardedResolver);
        }
        let setup = |error: reqwest::Error| HttpError::Setup(foreign_text(error.to_string().as_bytes(), 300));
        for proxy in options.proxies.proxies().map_err(setup)? {
            builder = builder.proxy(proxy);
        }
        builder.build().map_err(setup)
    }
}

/// A configuration that trusts nobody, for connections that use no TLS.
fn no_tls() -> Result<rustls::ClientConfig, HttpError> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| HttpError::Setup(error.to_string()))?;
    Ok(builder.with_root_certificates(rustls::RootCertStore::empty()).with_no_client_auth())
}

fn into_reqwest(request: Request, sent: Arc<AtomicU64>) -> reqwest::Request {
    let mut out = reqwest::Request::new(request.method, request.url);
    *out.headers_mut() = request.headers;
    *out.body_mut() = match request.body {
        Body::None => None,
        Body::Bytes(bytes) => Some(bytes.into()),
        Body::Stream(stream) => Some(reqwest::Body::wrap_stream(stream.inspect(move |piece| {
            let bytes = piece.as_ref().map_or(0, |piece| piece.len() as u64);
            sent.fetch_add(bytes, Ordering::Relaxed);
        }))),
    };
    out
}

/// Waits for an answer: while content is being sent, time counts only when none of it moves.
async fn watch<F: Future>(
    exchange: F,
    sent: &AtomicU64,
    patience: Patience,
    deadline: Instant,
) -> Result<F::Output, (WaitingFor, Duration)> {
    tokio::pin!(exchange);
    let mut before = 0;
    loop {
        let until = deadline.min(Instant::now() + patience.answer);
        match tokio::time::timeout_at(until, &mut exchange).await {
            Ok(answer) => return Ok(answer),
            Err(_) if Instant::now() >= deadline => return Err((WaitingFor::Answer, patience.total)),
            Err(_) => {}
        }
        let now = sent.load(Ordering::Relaxed);
        if now == before {
            let waiting_for = if now == 0 { WaitingFor::Answer } else { WaitingFor::Upload };
            return Err((waiting_for, patience.answer));
        }
        before = now;
    }
}

fn is_redirect(status: StatusCode) -> bool {
    matches!(status.as_u16(), 301 | 302 | 303 | 307 | 308)
}

/// Points a request to where a redirect leads, without credentials if that is another origin.
fn redirected(mut request: Request, response: &Response) -> Result<Request, HttpError> {
    let location = response.headers().get(LOCATION).map(HeaderValue::as_bytes).unwrap_or_default();
    let refuse = |reason| HttpError::Redirect {
        from: shown(&request.url),
        to: foreign_text(location.split(|b| *b == b'?').next().unwrap_or_default(), 200),
        reason,
    };
    if location.is_empty() || location.len() > MAX_LOCATION {
        return Err(refuse("there is no usable address"));
    }
    let target = std::str::from_utf8(location).ok().and_then(|text| request.url.join(text).ok());
    let target: Url = target.ok_or_else(|| refuse("the address is malformed"))?;
    let (from, to) = (
        Origin::of(&request.url)?,
        Origin::of(&target).map_err(|_| refuse("only plain http and https addresses are followed"))?,
    );
    if from.scheme() == Scheme::Https && to.scheme() == Scheme::Http {
        return Err(refuse("it leads from https to http"));
    }
    if from != to {
        for secret in [AUTHORIZATION, COOKIE, PROXY_AUTHORIZATION] {
            request.headers.remove(secret);
        }
    }
    request.url = target;
    Ok(request)
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use futures_util::stream;

    use super::*;

    #[tokio::test]
    async fn a_server_that_takes_nothing_of_what_is_sent_is_given_up() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = Url::parse(&format!("http://{}/", listener.local_addr().unwrap())).unwrap();
        let server = tokio::spawn(async move {
            let connection = listener.accept().await;
            tokio::time::sleep(Duration::from_mins(1)).await;
            drop(connection);
        });
        let patience = Patience { answer: Duration::from_millis(300), ..Patience::BLOB };
        let endless = stream::repeat_with(|| Ok(Bytes::from(vec![0; 64 * 1024])));
        let request = Request::new(Method::PATCH, url.clone()).patience(patience).stream(Box::pin(endless));
        let client = HttpClient::new(HttpOptions::new(Origin::of(&url).unwrap()));
        let error = client.send(request).await.unwrap_err();
        assert!(matches!(error, HttpError::Timeout { waiting_for: WaitingFor::Upload, .. }), "{error:?}");
        server.abort();
    }

    #[tokio::test]
    async fn content_that_goes_out_slowly_is_waited_for() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = Url::parse(&format!("http://{}/", listener.local_addr().unwrap())).unwrap();
        tokio::spawn(async move {
            use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
            let (mut connection, _) = listener.accept().await.unwrap();
            let mut seen = Vec::new();
            while !seen.ends_with(b"0\r\n\r\n") {
                connection.read_buf(&mut seen).await.unwrap();
            }
            connection.write_all(b"HTTP/1.1 201 Created\r\nContent-Length: 0\r\n\r\n").await.unwrap();
        });
        let patience = Patience { answer: Duration::from_millis(400), ..Patience::BLOB };
        let slow = stream::unfold(0, async |count: u8| {
            tokio::time::sleep(Duration::from_millis(150)).await;
            (count < 8).then(|| (Ok(Bytes::from_static(b"piece")), count + 1))
        });
        let request = Request::new(Method::PATCH, url.clone()).patience(patience).stream(Box::pin(slow));
        let client = HttpClient::new(HttpOptions::new(Origin::of(&url).unwrap()));
        assert_eq!(client.send(request).await.unwrap().status(), StatusCode::CREATED);
    }
}
