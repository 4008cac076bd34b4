//! Reads `WWW-Authenticate` (RFC 9110, section 11.6.1): several challenges, in one header or many.

use http::HeaderMap;
use http::header::WWW_AUTHENTICATE;

/// Most challenges of one answer that are looked at.
pub const MAX_CHALLENGES: usize = 8;
/// Longest header that is looked at, in bytes.
const MAX_HEADER: usize = 8 * 1024;
/// Most parameters of one challenge.
const MAX_PARAMETERS: usize = 32;

/// A way in that a server offers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Challenge {
    /// A token from a token server.
    Bearer {
        /// The address of the token server, unchecked.
        realm: String,
        /// The name the service goes by at the token server.
        service: Option<String>,
        /// The scope the server suggests. Callers know better what they need.
        scope: Option<String>,
        /// Why a token that was sent did not do, for example `insufficient_scope`.
        error: Option<String>,
    },
    /// User name and password with every request.
    Basic {
        /// What the server calls the protected area.
        realm: Option<String>,
    },
}

/// Reads all challenges of an answer; unknown schemes and malformed parts are left out.
#[must_use]
pub fn parse_challenges(headers: &HeaderMap) -> Vec<Challenge> {
    let texts = headers.get_all(WWW_AUTHENTICATE).iter().filter_map(|value| value.to_str().ok());
    texts.filter(|text| text.len() <= MAX_HEADER).flat_map(parse).take(MAX_CHALLENGES).collect()
}

fn parse(text: &str) -> Vec<Challenge> {
    let mut reader = Reader { rest: text };
    let mut found = Vec::new();
    let mut current: Option<Raw> = None;
    loop {
        reader.skip_separators();
        let Some(word) = reader.token() else { break };
        match (reader.value(), current.as_mut()) {
            (Value::Given(value), Some(raw)) if raw.parameters.len() < MAX_PARAMETERS => {
                raw.parameters.push((word.to_ascii_lowercase(), value));
            }
            (Value::Absent, _) => {
                found.extend(current.take().and_then(Raw::into_challenge));
                current = Some(Raw { scheme: word.to_ascii_lowercase(), parameters: Vec::new() });
                reader.skip_token68();
            }
            _ => return found,
        }
    }
    found.extend(current.and_then(Raw::into_challenge));
    found
}

struct Raw {
    scheme: String,
    parameters: Vec<(String, String)>,
}

impl Raw {
    /// A parameter given twice is as good as none: programs disagree on which one counts.
    fn parameter(&self, name: &str) -> Option<String> {
        let mut values = self.parameters.iter().filter(|(key, _)| key == name);
        match (values.next(), values.next()) {
            (Some((_, value)), None) => Some(value.clone()),
            _ => None,
        }
    }

    fn into_challenge(self) -> Option<Challenge> {
        match self.scheme.as_str() {
            "bearer" => Some(Challenge::Bearer {
                realm: self.parameter("realm")?,
                service: self.parameter("service"),
                scope: self.parameter("scope"),
                error: self.parameter("error"),
            }),
            "basic" => Some(Challenge::Basic { realm: self.parameter("realm") }),
            _ => None,
        }
    }
}

struct Reader<'a> {
    rest: &'a str,
}

enum Value {
    Given(String),
    Absent,
    Malformed,
}

impl<'a> Reader<'a> {
    fn skip_separators(&mut self) {
        self.rest = self.rest.trim_start_matches([' ', '\t', ',']);
    }

    fn skip_blanks(&mut self) {
        self.rest = self.rest.trim_start_matches([' ', '\t']);
    }

    fn token(&mut self) -> Option<&'a str> {
        let is_token = |c: char| c.is_ascii_alphanumeric() || "!#$%&'*+-.^_`|~".contains(c);
        let end = self.rest.find(|c| !is_token(c)).unwrap_or(self.rest.len());
        let (token, rest) = self.rest.split_at_checked(end)?;
        self.rest = rest;
        (!token.is_empty()).then_some(token)
    }

    /// Reads `=value` or `="value"` if it follows.
    fn value(&mut self) -> Value {
        let before = self.rest;
        self.skip_blanks();
        let Some(rest) = self.rest.strip_prefix('=') else {
            self.rest = before;
            return Value::Absent;
        };
        self.rest = rest;
        self.skip_blanks();
        match self.rest.strip_prefix('"') {
            Some(rest) => self.quoted(rest),
            None => self.token().map_or(Value::Malformed, |token| Value::Given(token.to_owned())),
        }
    }

    fn quoted(&mut self, text: &'a str) -> Value {
        let mut value = String::new();
        let mut characters = text.char_indices();
        while let Some((at, c)) = characters.next() {
            match c {
                '"' => {
                    self.rest = text.get(at + 1..).unwrap_or_default();
                    return Value::Given(value);
                }
                '\\' => match characters.next() {
                    Some((_, escaped)) => value.push(escaped),
                    None => return Value::Malformed,
                },
                c => value.push(c),
            }
        }
        Value::Malformed
    }

    /// Skips the single blob that schemes such as `Negotiate` carry in place of parameters.
    fn skip_token68(&mut self) {
        let trimmed = self.rest.trim_start_matches([' ', '\t']);
        let end = trimmed.find([' ', '\t', ',', '"']).unwrap_or(trimmed.len());
        if let Some((word, rest)) = trimmed.split_at_checked(end) {
            let padding = word.trim_end_matches('=');
            let is_blob = padding.len() < word.len() || padding.contains('/');
            if is_blob && !padding.contains('=') && (rest.is_empty() || rest.trim_start().starts_with(',')) {
                self.rest = rest;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;
    use proptest::prelude::*;

    use super::*;

    fn challenges(texts: &[&str]) -> Vec<Challenge> {
        let mut headers = HeaderMap::new();
        for text in texts {
            headers.append(WWW_AUTHENTICATE, HeaderValue::from_str(text).unwrap());
        }
        parse_challenges(&headers)
    }

    fn bearer(realm: &str, service: Option<&str>, scope: Option<&str>) -> Challenge {
        Challenge::Bearer {
            realm: realm.into(),
            service: service.map(Into::into),
            scope: scope.map(Into::into),
            error: None,
        }
    }

    #[test]
    fn docker_hubs_challenge_is_read() {
        let text = r#"Bearer realm="https://auth.docker.io/token",service="registry.docker.io",scope="repository:a/b:pull,push""#;
        assert_eq!(
            challenges(&[text]),
            [bearer("https://auth.docker.io/token", Some("registry.docker.io"), Some("repository:a/b:pull,push"))]
        );
    }

    #[test]
    fn several_challenges_in_one_header_and_in_many_are_read() {
        let basic = Challenge::Basic { realm: Some("x, y".into()) };
        assert_eq!(
            challenges(&[r#"Basic realm="x, y", bearer realm=r , service = s"#]),
            [basic.clone(), bearer("r", Some("s"), None)]
        );
        assert_eq!(challenges(&[r#"BASIC realm="x, y""#, "Bearer realm=r"]), [basic, bearer("r", None, None)]);
        assert_eq!(challenges(&["Negotiate", "Negotiate YWJj==, Basic"]), [Challenge::Basic { realm: None }]);
    }

    #[test]
    fn quoted_strings_may_hold_escapes() {
        assert_eq!(challenges(&[r#"Basic realm="a\"b\\c""#]), [Challenge::Basic { realm: Some("a\"b\\c".into()) }]);
    }

    #[test]
    fn malformed_challenges_are_left_out() {
        for text in [
            "",
            ",,,",
            "Bearer",
            r#"Bearer realm="unclosed"#,
            r#"Bearer realm="x\"#,
            "Bearer realm=",
            "=x",
            "\"",
            "Bearer realm=a,realm=b",
            "Digest realm=a",
        ] {
            assert_eq!(challenges(&[text]), [], "{text}");
        }
        let many = vec!["Basic"; 100].join(", ");
        assert_eq!(challenges(&[&many]).len(), MAX_CHALLENGES);
        let long = format!("Bearer realm={}", "a".repeat(MAX_HEADER));
        assert_eq!(challenges(&[&long]), []);
    }

    proptest! {
        #[test]
        fn no_header_makes_the_reader_panic_or_hang(text in "[ -~]{0,200}") {
            prop_assert!(parse(&text).len() <= text.len());
        }

        #[test]
        fn what_is_quoted_is_read_back(realm in "[ -~]{0,60}", service in "[ -~]{0,60}") {
            let quoted = |text: &str| text.replace('\\', "\\\\").replace('"', "\\\"");
            let text = format!("Basic x=y, Bearer realm=\"{}\" , service=\"{}\", Other", quoted(&realm), quoted(&service));
            let expected = [Challenge::Basic { realm: None }, bearer(&realm, Some(&service), None)];
            prop_assert_eq!(parse(&text), expected);
        }
    }
}
