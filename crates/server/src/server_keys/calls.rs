//! How calls of the keyserver went.

use std::time::Instant;

use countersign_signer_rpc::CallError;
use countersign_telemetry::{Counter, Exposition, Histogram, Kind};

/// What is asked of the keyserver.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Call {
    Create,
    Describe,
    Sign,
    Health,
}

const CALLS: [&str; 4] = ["create", "describe", "sign", "health"];
const OUTCOMES: [&str; 5] = ["ok", "away", "no-key", "refused", "wrong"];

/// Counts of calls.
#[derive(Debug, Default)]
pub(crate) struct Calls([OfCall; CALLS.len()]);

#[derive(Debug, Default)]
struct OfCall {
    outcomes: [Counter; OUTCOMES.len()],
    durations: Histogram,
}

impl Calls {
    /// Makes a call and counts it.
    pub(crate) async fn count<T>(
        &self,
        call: Call,
        work: impl Future<Output = Result<T, CallError>>,
    ) -> Result<T, CallError> {
        let begun = Instant::now();
        let result = work.await;
        if let Some(counts) = self.0.get(call as usize) {
            counts.durations.record(begun.elapsed());
            let outcome = match &result {
                Ok(_) => 0,
                Err(CallError::Away { .. }) => 1,
                Err(CallError::NoKey(_)) => 2,
                Err(CallError::Refused { .. }) => 3,
                Err(_) => 4,
            };
            if let Some(counter) = counts.outcomes.get(outcome) {
                counter.count();
            }
        }
        result
    }

    pub(crate) fn write(&self, text: &mut Exposition) {
        let name = "countersign_keyserver_calls_total";
        text.family(name, Kind::Counter, "Calls of the keyserver by what became of them.");
        for (call, counts) in CALLS.iter().zip(&self.0) {
            for (outcome, counter) in OUTCOMES.iter().zip(&counts.outcomes) {
                text.sample(name, &[("call", call), ("outcome", outcome)], counter.get());
            }
        }
        let name = "countersign_keyserver_call_duration_seconds";
        text.family(name, Kind::Histogram, "How long calls of the keyserver took.");
        for (call, counts) in CALLS.iter().zip(&self.0) {
            counts.durations.write(text, name, &[("call", call)]);
        }
    }
}
