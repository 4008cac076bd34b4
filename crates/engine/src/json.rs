//! JSON objects, read with bounds.

use serde::Deserialize;

/// Says that bytes are not the JSON object they should be.
#[derive(Debug, thiserror::Error)]
pub(crate) enum NotAnObject {
    /// They are no JSON, or its members are not the ones that are needed.
    #[error(transparent)]
    Json(#[from] serde_json::Error),
    /// They are JSON, but no object: arrays would otherwise pass for objects with their members in order.
    #[error("it is no JSON object")]
    OtherValue,
    /// Arrays and objects are nested too deep.
    #[error("more than {0} levels of nesting")]
    TooDeep(usize),
}

/// Reads an object, and nothing after it but blanks.
pub(crate) fn object<'a, T: Deserialize<'a>>(bytes: &'a [u8], depth: usize) -> Result<T, NotAnObject> {
    if bytes.trim_ascii_start().first() != Some(&b'{') {
        return Err(NotAnObject::OtherValue);
    }
    if is_deeper_than(bytes, depth) {
        return Err(NotAnObject::TooDeep(depth));
    }
    Ok(serde_json::from_slice(bytes)?)
}

/// Tells whether arrays and objects are nested deeper than `limit`; text that is no JSON may tell anything.
fn is_deeper_than(json: &[u8], limit: usize) -> bool {
    let (mut depth, mut in_string, mut escaped) = (0_usize, false, false);
    for byte in json {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if in_string => escaped = true,
            b'"' => in_string = !in_string,
            b'[' | b'{' if !in_string => {
                depth += 1;
                if depth > limit {
                    return true;
                }
            }
            b']' | b'}' if !in_string => depth = depth.saturating_sub(1),
            _ => (),
        }
    }
    false
}

#[cfg(test)]
mod tests {
    use super::is_deeper_than;

    #[test]
    fn brackets_count_outside_of_strings_only() {
        assert!(!is_deeper_than(br#"{"a":[1,{"b":"[[[\"[["}]}"#, 3));
        assert!(is_deeper_than(br#"{"a":[1,{"b":"[["}]}"#, 2));
        assert!(!is_deeper_than(b"[][][][]", 1));
        assert!(!is_deeper_than(b"]]]][", 1));
    }
}
