#![no_main]

#[path = "../../crates/tuf/tests/it/fuzzing.rs"]
mod fuzzing;

libfuzzer_sys::fuzz_target!(|input: &[u8]| fuzzing::file(input));
