//! The character rules of docker's reference grammar, as predicates over whole texts.
//!
//! Source: the grammar comment of the `distribution/reference` project (`name`, `domain`, `path-component`, `tag`,
//! `digest`). Every predicate is anchored at both ends.

/// Longest path of a repository, without the registry, in bytes.
pub(crate) const MAX_PATH_LENGTH: usize = 255;
/// Longest tag in bytes.
pub(crate) const MAX_TAG_LENGTH: usize = 128;
/// Length of an image identifier in hexadecimal digits, which must not be used as a name.
const IDENTIFIER_LENGTH: usize = 64;

/// Tells whether a text is a registry: a host name, IPv4 address or bracketed IPv6 address with an optional port.
pub(crate) fn is_domain(text: &str) -> bool {
    let (host, port) = split_port(text);
    port.is_none_or(is_port) && (is_bracketed_ipv6(host) || host.split('.').all(is_domain_component))
}

/// Splits a registry into its host and the text of its port; the brackets of an IPv6 address stay with the host.
pub(crate) fn split_port(domain: &str) -> (&str, Option<&str>) {
    let after_brackets = domain.rfind(']').map_or(0, |end| end + 1);
    match domain.get(after_brackets..).and_then(|rest| rest.find(':')) {
        Some(colon) => {
            let (host, port) = domain.split_at(after_brackets + colon);
            (host, port.get(1..))
        }
        None => (domain, None),
    }
}

/// Tells whether a text is a repository path such as `library/alpine`.
pub(crate) fn is_path(text: &str) -> bool {
    text.split('/').all(is_path_component)
}

/// Tells whether a text is a tag: a word character, then at most 127 word characters, dots and hyphens.
pub(crate) fn is_tag(text: &str) -> bool {
    let word = |b: u8| b.is_ascii_alphanumeric() || b == b'_';
    text.len() <= MAX_TAG_LENGTH
        && text.bytes().next().is_some_and(word)
        && text.bytes().all(|b| word(b) || b == b'.' || b == b'-')
}

/// Tells whether a text has the shape of a digest of any algorithm.
pub(crate) fn is_digest_shape(text: &str) -> bool {
    let component = |part: &str| {
        part.bytes().next().is_some_and(|b| b.is_ascii_alphabetic()) && part.bytes().all(|b| b.is_ascii_alphanumeric())
    };
    text.split_once(':').is_some_and(|(algorithm, hex)| {
        algorithm.split(['-', '_', '+', '.']).all(component)
            && hex.len() >= 32
            && hex.bytes().all(|b| b.is_ascii_hexdigit())
    })
}

/// Tells whether a text is a complete image identifier, which docker never takes for a name.
pub(crate) fn is_identifier(text: &str) -> bool {
    text.len() == IDENTIFIER_LENGTH && text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))
}

fn is_port(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit()) && text.parse::<u16>().is_ok()
}

fn is_bracketed_ipv6(host: &str) -> bool {
    host.strip_prefix('[')
        .and_then(|rest| rest.strip_suffix(']'))
        .is_some_and(|address| address.parse::<std::net::Ipv6Addr>().is_ok())
}

fn is_domain_component(text: &str) -> bool {
    !text.is_empty()
        && !text.starts_with('-')
        && !text.ends_with('-')
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
}

/// Lower-case letters and digits, parted by one `.`, one or two `_`, or any number of `-`.
fn is_path_component(text: &str) -> bool {
    let alphanumeric = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit();
    let mut bytes = text.bytes().peekable();
    if !bytes.peek().copied().is_some_and(alphanumeric) {
        return false;
    }
    while let Some(byte) = bytes.next() {
        if alphanumeric(byte) {
            continue;
        }
        let longest = match byte {
            b'.' => 1,
            b'_' => 2,
            b'-' => usize::MAX,
            _ => return false,
        };
        let mut run = 1_usize;
        while bytes.next_if_eq(&byte).is_some() {
            run = run.saturating_add(1);
        }
        if run > longest || !bytes.peek().copied().is_some_and(alphanumeric) {
            return false;
        }
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn path_components_follow_the_separator_rules() {
        for good in ["a", "a.b", "a_b", "a__b", "a-b", "a---b", "0", "a/b/c", "library/alpine"] {
            assert!(is_path(good), "{good}");
        }
        for bad in [
            "", "a..b", "a___b", "a._b", "a-.b", "-a", "a-", "_a", ".a", "a.", "A", "a//b", "/a", "a/", "a b", "ä",
            "a+b",
        ] {
            assert!(!is_path(bad), "{bad}");
        }
    }

    #[test]
    fn domains_are_hosts_with_optional_ports() {
        for good in
            ["localhost", "a.b", "A-b.c", "127.0.0.1", "reg:5000", "[::1]", "[2001:db8::1]:443", "xn--n3h.com:0"]
        {
            assert!(is_domain(good), "{good}");
        }
        for bad in [
            "",
            "a_b",
            "-a",
            "a-",
            "a..b",
            ".a",
            "a.",
            "a:",
            "a:b",
            "a:65536",
            "a:1:2",
            "::1",
            "[::1",
            "[zz]",
            "[::1]x",
            "[]",
            "[fe80::1%25eth0]",
            "ü.de",
        ] {
            assert!(!is_domain(bad), "{bad}");
        }
    }

    #[test]
    fn tags_start_with_a_word_character_and_have_at_most_128() {
        assert!(is_tag("latest") && is_tag("_") && is_tag("V1.0-rc_1") && is_tag(&"a".repeat(128)));
        assert!(
            !is_tag("")
                && !is_tag("-a")
                && !is_tag(".a")
                && !is_tag("a:b")
                && !is_tag("a/b")
                && !is_tag(&"a".repeat(129))
        );
    }

    #[test]
    fn ports_are_split_behind_the_brackets() {
        assert_eq!(split_port("[::1]:5000"), ("[::1]", Some("5000")));
        assert_eq!(split_port("[::1]"), ("[::1]", None));
        assert_eq!(split_port("a:1"), ("a", Some("1")));
    }
}
