//! Questions to the service, over connections that may break at any moment.

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;
use countersign_testkit::TrustService;
use countersign_tuf::RoleName;
use reqwest::{Certificate, Client, StatusCode};
use serde_json::Value;

/// How long anybody waits for an answer: longer than the service waits for its database.
const PATIENCE: Duration = Duration::from_secs(20);

/// A client of one service.
#[derive(Debug, Clone)]
pub(crate) struct Http {
    client: Client,
    base: String,
}

/// What came back.
#[derive(Debug)]
pub(crate) enum Answered {
    Ok(Bytes),
    /// A refusal with its code.
    Refused(StatusCode, String),
    /// Nothing, or that the service is away for now.
    Away,
}

impl Http {
    pub(crate) fn of(service: &TrustService) -> Self {
        let authority = Certificate::from_pem(service.authority_pem().as_bytes()).unwrap();
        let client = Client::builder()
            .no_proxy()
            .tls_certs_only([authority])
            .timeout(PATIENCE)
            // Each question goes over a connection of its own, so that a balancer has something to balance.
            .pool_max_idle_per_host(0)
            .build()
            .unwrap();
        Self { client, base: service.url() }
    }

    pub(crate) async fn file(&self, gun: &str, name: &str) -> Answered {
        answered(self.client.get(self.url(gun, name)).send().await).await
    }

    pub(crate) async fn get(&self, path: &str) -> Answered {
        answered(self.client.get(format!("{}{path}", self.base)).send().await).await
    }

    pub(crate) async fn publish(&self, gun: &str, parts: &BTreeMap<RoleName, Bytes>) -> Answered {
        let mut body = Vec::new();
        for (role, bytes) in parts {
            let head = format!("--b\r\nContent-Disposition: form-data; name=\"files\"; filename=\"{role}\"\r\n\r\n");
            body.extend([head.as_bytes(), bytes, b"\r\n"].concat());
        }
        body.extend_from_slice(b"--b--\r\n");
        let request = self.client.post(self.url(gun, "")).header("Content-Type", "multipart/form-data; boundary=b");
        answered(request.body(body).send().await).await
    }

    fn url(&self, gun: &str, name: &str) -> String {
        format!("{}/v2/{gun}/_trust/tuf/{name}", self.base)
    }
}

async fn answered(response: reqwest::Result<reqwest::Response>) -> Answered {
    let Ok(response) = response else { return Answered::Away };
    let status = response.status();
    let Ok(body) = response.bytes().await else { return Answered::Away };
    match status {
        StatusCode::OK => Answered::Ok(body),
        StatusCode::SERVICE_UNAVAILABLE | StatusCode::BAD_GATEWAY => Answered::Away,
        status => {
            let json: Value = serde_json::from_slice(&body).unwrap_or_default();
            Answered::Refused(status, json["errors"][0]["code"].as_str().unwrap_or_default().to_owned())
        }
    }
}
