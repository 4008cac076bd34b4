//! What operators are told: how calls went, whether the service lives, and whether it can sign.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use async_trait::async_trait;
use countersign_crypto::KeyId;
use countersign_signer_rpc::{Caller, KeyDescription, KeyRequest, Made, Refusal, SignRequest, Signed, SigningService};
use countersign_telemetry::{
    Answer, Asked, CONTENT_TYPE, Counter, Exposition, Histogram, Kind, Pages, text, write_certificates, write_process,
};
use countersign_tuf::Gun;
use countersign_vault::ServiceTokenState;
use http::{Method, StatusCode};
use jiff::Timestamp;

use crate::tokens::KeyTokens;

const CALLS: [&str; 4] = ["create", "describe", "delete", "sign"];
const OUTCOMES: [&str; 6] = ["ok", "refused", "no-key", "exhausted", "away", "failed"];
const JSON: &str = "application/json; charset=utf-8";

/// A signing service whose calls are counted.
pub(crate) struct Counted {
    service: Arc<dyn SigningService>,
    calls: [OfCall; CALLS.len()],
    draining: AtomicBool,
    tokens: KeyTokens,
    /// When the certificate ends that clients are shown.
    certificate_until: Box<dyn Fn() -> Timestamp + Send + Sync>,
}

#[derive(Debug, Default)]
struct OfCall {
    outcomes: [Counter; OUTCOMES.len()],
    durations: Histogram,
}

impl Counted {
    pub(crate) fn new(
        service: Arc<dyn SigningService>,
        tokens: KeyTokens,
        certificate_until: impl Fn() -> Timestamp + Send + Sync + 'static,
    ) -> Self {
        let certificate_until = Box::new(certificate_until);
        Self { service, calls: Default::default(), draining: AtomicBool::new(false), tokens, certificate_until }
    }

    /// Says that the service is about to end.
    pub(crate) fn drain(&self) {
        self.draining.store(true, Ordering::Relaxed);
    }

    pub(crate) fn is_draining(&self) -> bool {
        self.draining.load(Ordering::Relaxed)
    }

    async fn count<T>(&self, call: usize, work: impl Future<Output = Result<T, Refusal>>) -> Result<T, Refusal> {
        let begun = Instant::now();
        let result = work.await;
        if let Some(counts) = self.calls.get(call) {
            counts.durations.record(begun.elapsed());
            let outcome = match &result {
                Ok(_) => 0,
                Err(Refusal::Algorithm(_) | Refusal::Role(_) | Refusal::Malformed(_) | Refusal::NotForThis(_)) => 1,
                Err(Refusal::NoKey(_) | Refusal::NoSigningKey(_)) => 2,
                Err(Refusal::Exhausted(_)) => 3,
                Err(Refusal::Away) => 4,
                Err(_) => 5,
            };
            if let Some(counter) = counts.outcomes.get(outcome) {
                counter.count();
            }
        }
        result
    }

    fn text(&self) -> String {
        let mut text = Exposition::default();
        text.family("countersign_build_info", Kind::Gauge, "The release that is running.");
        text.sample("countersign_build_info", &[("version", env!("CARGO_PKG_VERSION"))], 1);
        write_certificates([("keyserver", (self.certificate_until)())], Timestamp::now(), &mut text);
        let name = "countersign_signing_calls_total";
        text.family(name, Kind::Counter, "Calls by what became of them.");
        for (call, counts) in CALLS.iter().zip(&self.calls) {
            for (outcome, counter) in OUTCOMES.iter().zip(&counts.outcomes) {
                text.sample(name, &[("call", call), ("outcome", outcome)], counter.get());
            }
        }
        let name = "countersign_signing_call_duration_seconds";
        text.family(name, Kind::Histogram, "How long calls took.");
        for (call, counts) in CALLS.iter().zip(&self.calls) {
            counts.durations.write(&mut text, name, &[("call", call)]);
        }
        write_tokens(&self.tokens, &mut text);
        let draining = u8::from(self.is_draining());
        text.single("countersign_draining", Kind::Gauge, "1 while the service is about to end.", draining);
        write_process(&mut text);
        text.into_text()
    }
}

fn write_tokens(tokens: &KeyTokens, text: &mut Exposition) {
    type Figure = fn(ServiceTokenState) -> u64;
    let figures: [(&str, Kind, &str, Figure); 4] = [
        ("countersign_token_up", Kind::Gauge, "1 while the last call of a token was answered.", |state| {
            u64::from(state.answers)
        }),
        ("countersign_token_calls", Kind::Gauge, "Calls in a token's module, those given up included.", |state| {
            u64::try_from(state.inside).unwrap_or(u64::MAX)
        }),
        ("countersign_token_calls_given_up_total", Kind::Counter, "Calls that did not come back in time.", |state| {
            state.given_up
        }),
        ("countersign_token_module_restarts_total", Kind::Counter, "How often a module was started anew.", |state| {
            state.renewed
        }),
    ];
    if tokens.states().next().is_none() {
        return;
    }
    for (name, kind, help, figure) in figures {
        text.family(name, kind, help);
        for (token, state) in tokens.states() {
            text.sample(name, &[("token", token)], figure(state));
        }
    }
}

#[async_trait]
impl SigningService for Counted {
    async fn create(&self, caller: &Caller, request: KeyRequest) -> Result<Made, Refusal> {
        self.count(0, self.service.create(caller, request)).await
    }

    async fn describe(&self, caller: &Caller, key: &KeyId, gun: Option<&Gun>) -> Result<KeyDescription, Refusal> {
        self.count(1, self.service.describe(caller, key, gun)).await
    }

    async fn delete(&self, caller: &Caller, key: &KeyId) -> Result<(), Refusal> {
        self.count(2, self.service.delete(caller, key)).await
    }

    async fn sign(&self, caller: &Caller, request: SignRequest) -> Result<Signed, Refusal> {
        self.count(3, self.service.sign(caller, request)).await
    }

    async fn is_healthy(&self) -> bool {
        self.service.is_healthy().await
    }
}

/// The pages of an address for operators.
pub(crate) struct OperatorPages(pub(crate) Arc<Counted>);

#[async_trait]
impl Pages for OperatorPages {
    async fn answer(&self, asked: Asked) -> Option<Answer> {
        if asked.method != Method::GET {
            return Some(text(StatusCode::METHOD_NOT_ALLOWED, JSON, "{}"));
        }
        let refused = |why| Some(text(StatusCode::SERVICE_UNAVAILABLE, JSON, why));
        match asked.path.as_str() {
            "/metrics" => Some(text(StatusCode::OK, CONTENT_TYPE, self.0.text())),
            "/readyz" if self.0.is_draining() => refused(r#"{"draining":"the service is about to end"}"#),
            "/readyz" if !self.0.is_healthy().await => refused(r#"{"keys":"keys cannot be used"}"#),
            "/livez" | "/readyz" => Some(text(StatusCode::OK, JSON, "{}")),
            _ => None,
        }
    }
}
