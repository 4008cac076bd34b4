//! What a request says about who sends it.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::HeaderMap;
use http::header::AUTHORIZATION;
use zeroize::Zeroizing;

/// The `Authorization` of a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Proof<'a> {
    /// There is none.
    None,
    /// One that is not understood: several, another scheme, or malformed.
    Other,
    /// A token.
    Bearer(&'a str),
    /// A name and a password.
    Basic(Account),
}

/// A name and a password.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Account {
    pub(super) name: String,
    pub(super) password: Zeroizing<String>,
}

impl Account {
    /// Reads `NAME:PASSWORD`.
    pub(super) fn parse(pair: &[u8]) -> Option<Self> {
        let (name, password) = std::str::from_utf8(pair).ok()?.split_once(':')?;
        Some(Self { name: name.to_owned(), password: Zeroizing::new(password.to_owned()) })
    }
}

impl std::fmt::Debug for Account {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Account").field("name", &self.name).finish_non_exhaustive()
    }
}

impl<'a> Proof<'a> {
    /// Reads the only `Authorization` header: exactly two words, the first in any case.
    pub(super) fn of(headers: &'a HeaderMap) -> Self {
        let mut all = headers.get_all(AUTHORIZATION).iter();
        let value = match (all.next(), all.next()) {
            (None, _) => return Self::None,
            (Some(value), None) => value.to_str().unwrap_or_default(),
            (Some(_), Some(_)) => return Self::Other,
        };
        let Some((scheme, said)) = value.split_once(' ') else { return Self::Other };
        if said.is_empty() || said.contains(' ') {
            return Self::Other;
        }
        if scheme.eq_ignore_ascii_case("bearer") {
            return Self::Bearer(said);
        }
        if scheme.eq_ignore_ascii_case("basic") {
            let pair = STANDARD.decode(said).map(Zeroizing::new).ok();
            return pair.and_then(|pair| Account::parse(&pair)).map_or(Self::Other, Self::Basic);
        }
        Self::Other
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(values: &[&str]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(AUTHORIZATION, value.parse().unwrap());
        }
        headers
    }

    #[test]
    fn an_authorization_is_one_header_of_two_words() {
        for good in ["Bearer a.b.c", "bearer a.b.c", "BEARER a.b.c"] {
            assert_eq!(Proof::of(&headers(&[good])), Proof::Bearer("a.b.c"), "{good}");
        }
        assert_eq!(Proof::of(&headers(&[])), Proof::None);
        for bad in [
            &[""][..],
            &["Bearer"],
            &["Bearer "],
            &["Bearer  a"],
            &["Bearer a b"],
            &["Digest a"],
            &["Bearer a", "Bearer b"],
            &["Bearer a", "Basic YTpi"],
        ] {
            assert_eq!(Proof::of(&headers(bad)), Proof::Other, "{bad:?}");
        }
    }

    #[test]
    fn a_name_ends_at_the_first_colon_and_the_rest_is_the_password() {
        let Proof::Basic(account) = Proof::of(&headers(&["Basic YWxpY2U6cGFzczp3b3Jk"])) else { panic!("no account") };
        assert_eq!((account.name.as_str(), account.password.as_str()), ("alice", "pass:word"));
        assert!(!format!("{account:?}").contains("pass"));
        for bad in ["Basic YWxpY2U=", "Basic !", "Basic /w==", "Basic YWxpY2U6cGFzczp3b3Jk=="] {
            assert_eq!(Proof::of(&headers(&[bad])), Proof::Other, "{bad}");
        }
    }
}
