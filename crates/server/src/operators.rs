//! What operators are told: whether the service lives, whether it should get requests, and the metrics.

use std::sync::Arc;
use std::time::Instant;

use async_trait::async_trait;
use countersign_telemetry::{Asked, Pages};
use http::{Method, StatusCode};

use crate::answer::{self, Answer};
use crate::app::App;
use crate::health;
use crate::metrics::{self, Finished, Form, Reader};

/// The address of their own: what is on the public port too, and the metrics in full.
pub(crate) struct OperatorPages(pub(crate) Arc<App>);

#[async_trait]
impl Pages for OperatorPages {
    async fn answer(&self, asked: Asked) -> Option<Answer> {
        if asked.method != Method::GET {
            return Some(answer::empty(StatusCode::METHOD_NOT_ALLOWED));
        }
        match asked.path.as_str() {
            "/metrics" => Some(scrape(&self.0, Reader::Operator)),
            "/livez" => Some(health::live(&self.0)),
            "/readyz" => Some(health::ready(&self.0, asked.query.as_deref()).await),
            "/_notary_server/health" => Some(health::health(&self.0).await),
            _ => None,
        }
    }
}

/// Answers with the metrics, and counts that it did.
pub(crate) fn scrape(app: &App, reader: Reader) -> Answer {
    let begun = Instant::now();
    let answer = answer::labelled(countersign_telemetry::CONTENT_TYPE, metrics::write(app, reader));
    let response_bytes = answer.body().len() as u64;
    let duration = begun.elapsed();
    let (form, status, code) = (Form::Whole, 200, None);
    app.metrics.scrapes.record(&Finished { form, status, code, duration, request_bytes: 0, response_bytes });
    answer
}
