//! Request paths: decoded once, cleaned the way the reference does, and written back for a redirect.

use std::fmt::Write;

/// Tells whether a raw path says what it means: nothing is escaped in it, and cleaning would leave it as it is.
pub(crate) fn is_plain(raw: &str) -> bool {
    let Some(below) = raw.strip_prefix('/') else { return false };
    if raw.contains('%') {
        return false;
    }
    let segments = below.strip_suffix('/').unwrap_or(below);
    raw == "/" || segments.split('/').all(|segment| !matches!(segment, "" | "." | ".."))
}

/// Decodes a raw request path; none when an escape is broken or the result is not UTF-8.
pub(crate) fn decode(raw: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(raw.len());
    let mut rest = raw.bytes();
    while let Some(byte) = rest.next() {
        if byte != b'%' {
            bytes.push(byte);
            continue;
        }
        let (high, low) = (hex_digit(rest.next()?)?, hex_digit(rest.next()?)?);
        bytes.push(high << 4 | low);
    }
    String::from_utf8(bytes).ok()
}

fn hex_digit(byte: u8) -> Option<u8> {
    char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok())
}

/// Removes empty, `.` and `..` segments; a trailing slash stays (Notary protocol, server HTTP API, general).
pub(crate) fn clean(path: &str) -> String {
    let mut segments: Vec<&str> = Vec::new();
    for segment in path.split('/') {
        match segment {
            "" | "." => {}
            ".." => {
                segments.pop();
            }
            other => segments.push(other),
        }
    }
    let mut cleaned = String::with_capacity(path.len() + 1);
    for segment in &segments {
        cleaned.push('/');
        cleaned.push_str(segment);
    }
    if cleaned.is_empty() || path.ends_with('/') {
        cleaned.push('/');
    }
    cleaned
}

/// Writes a decoded path so that it fits into a header, whatever it contains.
pub(crate) fn encode(path: &str) -> String {
    let mut encoded = String::with_capacity(path.len());
    for byte in path.bytes() {
        if byte.is_ascii_alphanumeric() || b"/-._~:@!$&'()*+,;=".contains(&byte) {
            encoded.push(char::from(byte));
        } else {
            let _ = write!(encoded, "%{byte:02X}");
        }
    }
    encoded
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_cleaned_like_the_reference_does() {
        for (path, cleaned) in [
            ("/v2/", "/v2/"),
            ("//v2//", "/v2/"),
            ("/v2/a/../b/_trust/tuf/", "/v2/b/_trust/tuf/"),
            ("/v2/./a", "/v2/a"),
            ("/../../etc/passwd", "/etc/passwd"),
            ("", "/"),
            ("/", "/"),
            ("/a/..", "/"),
            ("/a/b/..", "/a"),
            ("/a/b/../", "/a/"),
            ("x", "/x"),
        ] {
            assert_eq!(clean(path), cleaned, "{path}");
            assert_eq!(clean(cleaned), cleaned, "cleaning is stable");
        }
    }

    #[test]
    fn plain_are_the_paths_that_decoding_and_cleaning_leave_as_they_are() {
        let pieces = ["/", "a", ".", "..", "%2e", "%", "//", "a/", "/a.b", "/.a", "é"];
        for number in 0..pieces.len().pow(3) {
            let piece = |place: u32| pieces[number / pieces.len().pow(place) % pieces.len()];
            let raw = format!("{}{}{}", piece(0), piece(1), piece(2));
            let left = decode(&raw).is_some_and(|decoded| decoded == raw && clean(&raw) == raw);
            assert_eq!(is_plain(&raw), left, "{raw}");
        }
        assert!(is_plain("/") && !is_plain("") && is_plain("/v2/") && !is_plain("/v2//"));
    }

    #[test]
    fn broken_escapes_and_invalid_utf8_are_no_paths() {
        for raw in ["/%", "/%2", "/%zz", "/%+1", "/%ff", "/%c0%af"] {
            assert_eq!(decode(raw), None, "{raw}");
        }
        assert_eq!(decode("/%2e%2E/%61").as_deref(), Some("/../a"));
        assert_eq!(decode("/%252e").as_deref(), Some("/%2e"), "decoded once only");
    }

    #[test]
    fn what_goes_into_a_header_cannot_break_it() {
        assert_eq!(encode("/a\r\nSet-Cookie: x/é?#%"), "/a%0D%0ASet-Cookie:%20x/%C3%A9%3F%23%25");
    }
}
