//! What docker asks a plugin before it runs it.

use std::ffi::OsString;
use std::io::Write;
use std::process::ExitCode;

/// The one argument of the question.
const QUESTION: &str = "docker-cli-plugin-metadata";

/// The answer. Clients up to 28.4 take no other schema than this one.
const ANSWER: &str = concat!(
    "{\n    \"SchemaVersion\": \"0.1.0\",\n    \"Vendor\": \"Countersign\",\n    \"Version\": \"",
    env!("CARGO_PKG_VERSION"),
    "\",\n    \"ShortDescription\": \"Manage trust on Docker images\"\n}\n"
);

/// Tells whether docker asks what this is.
pub(super) fn is_asked(arguments: &[OsString]) -> bool {
    matches!(arguments, [only] if only == QUESTION)
}

/// Answers.
pub(super) fn tell() -> ExitCode {
    match std::io::stdout().write_all(ANSWER.as_bytes()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(_) => ExitCode::FAILURE,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_answer_has_what_every_docker_wants() {
        let answer: serde_json::Value = serde_json::from_str(ANSWER).unwrap();
        assert_eq!(answer["SchemaVersion"], "0.1.0");
        assert!(answer["Vendor"].as_str().is_some_and(|vendor| !vendor.is_empty()));
        assert!(is_asked(&["docker-cli-plugin-metadata".into()]));
        assert!(!is_asked(&["trust".into(), "docker-cli-plugin-metadata".into()]) && !is_asked(&[]));
    }
}
