//! Load on the trust service: `cargo bench -p countersign --bench load -- reads|publish|large|memory|start`.
//!
//! Servers run in processes of their own, so that their processor time can be told from the load generator's. What is
//! compared is measured in turn, several times, and medians are printed: other work on the machine then disturbs all alike.
#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::print_stdout,
    clippy::cast_precision_loss,
    reason = "a benchmark may unwrap, and prints figures"
)]

mod http;
mod process;
mod publisher;
mod scenario;
mod serve;

use std::time::Duration;

fn main() {
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let arguments: Vec<String> = std::env::args().skip(1).filter(|argument| argument != "--bench").collect();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match arguments.as_slice() {
        ["serve", rest @ ..] => runtime.block_on(serve::serve(rest)),
        ["constant", address, scheme] => runtime.block_on(serve::constant(address, scheme)),
        ["reads", rest @ ..] => scenario::reads(&runtime, seconds(rest, 4)),
        ["publish", rest @ ..] => scenario::publish(&runtime, seconds(rest, 5)),
        ["large"] => scenario::large(&runtime),
        ["memory"] => scenario::endurance(&runtime),
        ["start"] => scenario::start(&runtime),
        [] => {
            scenario::reads(&runtime, Duration::from_secs(1));
            scenario::publish(&runtime, Duration::from_secs(1));
        }
        other => panic!("{other:?} is none of reads, publish, large, memory, start"),
    }
}

fn seconds(arguments: &[&str], default: u64) -> Duration {
    Duration::from_secs(arguments.first().map_or(default, |text| text.parse().unwrap()))
}
