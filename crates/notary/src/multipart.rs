//! The body of an upload (Notary protocol, upload).

use bytes::Bytes;

/// Puts the parts together: all named `files`, with the given name, a role with its slashes and all, as file name.
///
/// An upload without parts is legal: it is spelled as the reference spells it.
pub(crate) fn body(boundary: &str, parts: &[(String, Bytes)]) -> Bytes {
    let mut body = Vec::with_capacity(parts.iter().map(|(_, part)| part.len() + 256).sum::<usize>() + 256);
    for (name, part) in parts {
        let head = format!(
            "--{boundary}\r\nContent-Disposition: form-data; name=\"files\"; filename=\"{name}\"\r\n\
             Content-Type: application/octet-stream\r\n\r\n"
        );
        body.extend_from_slice(head.as_bytes());
        body.extend_from_slice(part);
        body.extend_from_slice(b"\r\n");
    }
    if parts.is_empty() {
        body.extend_from_slice(b"\r\n");
    }
    body.extend_from_slice(format!("--{boundary}--\r\n").as_bytes());
    body.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_carry_the_role_with_its_slashes() {
        let body = body("b", &[("targets/releases".to_owned(), Bytes::from_static(b"{}"))]);
        assert_eq!(
            body,
            "--b\r\nContent-Disposition: form-data; name=\"files\"; filename=\"targets/releases\"\r\n\
             Content-Type: application/octet-stream\r\n\r\n{}\r\n--b--\r\n"
        );
    }

    #[test]
    fn nothing_is_spelled_as_the_reference_does() {
        assert_eq!(body("b", &[]), "\r\n--b--\r\n");
    }
}
