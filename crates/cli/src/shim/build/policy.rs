//! `BuildKit` source policies: which images a build may take, checked by the builder itself.

use crate::error::{CliError, Kind};
use crate::shim::resolve::Resolved;
use serde_json::{Value, json};

/// The variable that names the file with the policy (`BuildKit`, source policies).
pub(super) const VARIABLE: &str = "EXPERIMENTAL_BUILDKIT_SOURCE_POLICY";
/// The largest policy of a person's own, in bytes.
const MAX_POLICY: u64 = 4 << 20;

/// Writes a policy that denies every image but these; a person's own comes first, so that it can only forbid more.
///
/// # Errors
/// The person's own cannot be read.
pub(super) fn text<'a>(images: impl Iterator<Item = &'a Resolved>) -> Result<Vec<u8>, CliError> {
    let own = std::env::var_os(VARIABLE).filter(|path| !path.is_empty());
    let unusable = |error: &dyn std::fmt::Display| CliError::new(Kind::Local, format!("{VARIABLE}: {error}"));
    let mut rules = match own {
        None => Vec::new(),
        Some(path) => {
            let size = fs_err::metadata(&path).map_err(|error| unusable(&error))?.len();
            if size > MAX_POLICY {
                return Err(unusable(&format!("the policy has more than {MAX_POLICY} bytes")));
            }
            let own: Value = serde_json::from_slice(&fs_err::read(&path).map_err(|error| unusable(&error))?)
                .map_err(|error| unusable(&error))?;
            rules_of(&own)
        }
    };
    rules.extend(ours(
        images.map(|image| (image.reference.repository().as_str().to_owned(), image.released.sha256.hex())),
    ));
    serde_json::to_vec(&json!({ "version": 1, "rules": rules })).map_err(|error| CliError::internal(&error))
}

/// Takes a person's rules; what they allow counts only as far as ours do.
fn rules_of(own: &Value) -> Vec<Value> {
    own.get("rules").and_then(Value::as_array).cloned().unwrap_or_default()
}

fn ours(images: impl Iterator<Item = (String, String)>) -> Vec<Value> {
    let rule = |action: &str, identifier: String| json!({ "action": action, "selector": { "identifier": identifier } });
    let mut rules = vec![rule("DENY", "docker-image://*".to_owned())];
    for (repository, hex) in images {
        for name in [repository.clone(), format!("{repository}:*")] {
            rules.push(rule("ALLOW", format!("docker-image://{name}@sha256:{hex}")));
        }
    }
    rules
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everything_is_denied_first_and_digests_are_allowed() {
        let rules = ours([("docker.io/library/alpine".to_owned(), "ab".to_owned())].into_iter());
        let shown: Vec<String> = rules
            .iter()
            .map(|rule| {
                format!("{} {}", rule["action"].as_str().unwrap(), rule["selector"]["identifier"].as_str().unwrap())
            })
            .collect();
        assert_eq!(
            shown,
            [
                "DENY docker-image://*",
                "ALLOW docker-image://docker.io/library/alpine@sha256:ab",
                "ALLOW docker-image://docker.io/library/alpine:*@sha256:ab",
            ]
        );
    }

    #[test]
    fn a_policy_of_ones_own_stands_before_ours() {
        let own = json!({ "rules": [{ "action": "ALLOW", "selector": { "identifier": "*" } }] });
        assert_eq!(rules_of(&own).len(), 1);
        assert_eq!(rules_of(&json!({})).len(), 0);
    }
}
