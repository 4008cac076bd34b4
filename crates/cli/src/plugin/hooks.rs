//! What docker asks a plugin after a command, where its configuration says so (CLI plugins, hooks).
//!
//! A hook can prevent nothing. It can say that `DOCKER_CONTENT_TRUST` was set and that nobody has looked at it.

use std::ffi::OsString;

const QUESTION: &str = "docker-cli-plugin-hooks";

/// Tells whether docker asks for something to say after a command.
pub(super) fn is_asked(words: &[OsString]) -> bool {
    words.first().is_some_and(|word| word == QUESTION)
}

/// Answers: a hint where content trust is wanted and the client has none, otherwise nothing.
pub(super) fn answer(words: &[OsString]) -> String {
    answered(words, std::env::var("DOCKER_CONTENT_TRUST").ok().as_deref()).unwrap_or_else(|| "{}".to_owned())
}

fn answered(words: &[OsString], variable: Option<&str>) -> Option<String> {
    if matches!(variable, None | Some("" | "0" | "f" | "F" | "false" | "FALSE" | "False")) {
        return None;
    }
    let question: serde_json::Value = serde_json::from_str(words.get(1)?.to_str()?).ok()?;
    let does = match question.get("RootCmd")?.as_str()? {
        "pull" => "verified",
        "push" => "signed",
        _ => return None,
    };
    let template = format!(
        "DOCKER_CONTENT_TRUST is set, but this docker does not look at it: nothing was {does}.\n\
         Use docker trust push and docker trust pull, or countersign install --shim"
    );
    Some(serde_json::json!({ "Type": 0, "Template": template }).to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_variable_that_nobody_reads_is_pointed_out_and_nothing_else() {
        let words = |root: &str| [QUESTION.into(), OsString::from(format!(r#"{{"RootCmd":"{root}","Flags":{{}}}}"#))];
        let said = answered(&words("push"), Some("1")).unwrap();
        assert!(said.contains("nothing was signed"), "{said}");
        assert_eq!(answered(&words("push"), Some("0")), None);
        assert_eq!(answered(&words("images"), Some("1")), None);
        assert_eq!(answered(&[QUESTION.into(), "no json".into()], Some("1")), None);
    }
}
