//! `pkcs11:` URIs (RFC 7512), as far as they describe a token.

use std::path::PathBuf;
use std::str::FromStr;

use super::TokenSelector;

const SCHEME: &str = "pkcs11:";
/// Longest URI in bytes.
const MAX_URI: usize = 4096;

/// What a URI says of a token.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TokenUri {
    /// What the token says of itself.
    pub selector: TokenSelector,
    /// `module-path`.
    pub module: Option<PathBuf>,
    /// `pin-source`, a file.
    pub pin_file: Option<PathBuf>,
}

/// Says why a URI describes no token. The URI is not repeated: it may hold a PIN.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TokenUriError {
    /// It has another scheme.
    #[error("a token is named by a URI that begins with pkcs11:")]
    Scheme,
    /// It is too long.
    #[error("a pkcs11: URI has at most {MAX_URI} bytes")]
    TooLong,
    /// It holds a PIN.
    #[error(
        "a PIN must not stand in a pkcs11: URI, which others can see: use pin-source=file:/…, a variable or the passphrase command"
    )]
    Pin,
    /// A part is not `name=value`.
    #[error("a part of the pkcs11: URI is not name=value, or its escapes are broken")]
    Malformed,
    /// A part is there twice.
    #[error("{0} stands twice in the pkcs11: URI")]
    Twice(String),
    /// A part is not understood.
    #[error(
        "{0:?} is no part of a pkcs11: URI that names a token: there are token, serial, manufacturer, model, module-path and pin-source"
    )]
    Unknown(String),
    /// A path does not begin at the root.
    #[error("{0} has to be an absolute path")]
    Path(&'static str),
    /// Nothing names the module.
    #[error("nothing names the PKCS#11 module: add module-path=/… to the URI, or set COUNTERSIGN_PKCS11_MODULE")]
    NoModule,
}

impl FromStr for TokenUri {
    type Err = TokenUriError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text.len() > MAX_URI {
            return Err(TokenUriError::TooLong);
        }
        let rest = text.strip_prefix(SCHEME).ok_or(TokenUriError::Scheme)?;
        let (path, query) = rest.split_once('?').unwrap_or((rest, ""));
        let mut uri = Self::default();
        for part in path.split(';').filter(|part| !part.is_empty()) {
            let (name, value) = pair(part)?;
            let place = match name {
                "token" => &mut uri.selector.label,
                "serial" => &mut uri.selector.serial,
                "manufacturer" => &mut uri.selector.manufacturer,
                "model" => &mut uri.selector.model,
                "pin-value" => return Err(TokenUriError::Pin),
                other => return Err(TokenUriError::Unknown(other.chars().take(40).collect())),
            };
            if place.replace(value).is_some() {
                return Err(TokenUriError::Twice(name.to_owned()));
            }
        }
        for part in query.split('&').filter(|part| !part.is_empty()) {
            let (name, value) = pair(part)?;
            let (place, name) = match name {
                "module-path" => (&mut uri.module, "module-path"),
                "pin-source" => (&mut uri.pin_file, "pin-source"),
                "pin-value" => return Err(TokenUriError::Pin),
                other => return Err(TokenUriError::Unknown(other.chars().take(40).collect())),
            };
            let path = value.strip_prefix("file://").or_else(|| value.strip_prefix("file:")).unwrap_or(&value);
            if !path.starts_with('/') {
                return Err(TokenUriError::Path(name));
            }
            if place.replace(path.into()).is_some() {
                return Err(TokenUriError::Twice(name.to_owned()));
            }
        }
        Ok(uri)
    }
}

fn pair(part: &str) -> Result<(&str, String), TokenUriError> {
    let (name, value) = part.split_once('=').ok_or(TokenUriError::Malformed)?;
    Ok((name, unescaped(value).ok_or(TokenUriError::Malformed)?))
}

fn unescaped(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        if byte == b'%' {
            let digit = |byte: Option<u8>| char::from(byte?).to_digit(16);
            let (high, low) = (digit(rest.next())?, digit(rest.next())?);
            bytes.push(u8::try_from(16 * high + low).ok()?);
        } else {
            bytes.push(byte);
        }
    }
    String::from_utf8(bytes).ok().filter(|text| !text.contains('\0'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_are_described_by_what_they_say_of_themselves() {
        let uri: TokenUri =
            "pkcs11:token=Release%20keys;serial=0a1b;manufacturer=M%C3%BCller;model=v2?module-path=/usr/lib/p11.so&pin-source=file:/run/pin"
                .parse()
                .unwrap();
        let TokenSelector { label, serial, manufacturer, model } = uri.selector;
        assert_eq!((label.as_deref(), serial.as_deref()), (Some("Release keys"), Some("0a1b")));
        assert_eq!((manufacturer.as_deref(), model.as_deref()), (Some("Müller"), Some("v2")));
        assert_eq!(uri.module, Some("/usr/lib/p11.so".into()));
        assert_eq!(uri.pin_file, Some("/run/pin".into()));
        assert_eq!("pkcs11:".parse::<TokenUri>().unwrap(), TokenUri::default());
        let file = |text: &str| format!("pkcs11:?pin-source={text}").parse::<TokenUri>().unwrap().pin_file.unwrap();
        assert_eq!(file("file:///run/pin"), PathBuf::from("/run/pin"));
        assert_eq!(file("/run/pin"), PathBuf::from("/run/pin"));
    }

    #[test]
    fn a_pin_in_a_uri_is_refused_and_not_repeated() {
        for text in ["pkcs11:token=a?pin-value=1234", "pkcs11:token=a;pin-value=1234"] {
            let refused = text.parse::<TokenUri>().unwrap_err();
            assert!(refused == TokenUriError::Pin && !refused.to_string().contains("1234"));
        }
    }

    #[test]
    fn what_is_not_understood_is_refused() {
        for (text, expected) in [
            ("token=a", TokenUriError::Scheme),
            ("pkcs11:token", TokenUriError::Malformed),
            ("pkcs11:token=%", TokenUriError::Malformed),
            ("pkcs11:token=%0", TokenUriError::Malformed),
            ("pkcs11:token=%zz", TokenUriError::Malformed),
            ("pkcs11:token=%ff", TokenUriError::Malformed),
            ("pkcs11:token=%00", TokenUriError::Malformed),
            ("pkcs11:token=a;token=b", TokenUriError::Twice("token".into())),
            ("pkcs11:object=a", TokenUriError::Unknown("object".into())),
            ("pkcs11:?module-name=softhsm", TokenUriError::Unknown("module-name".into())),
            ("pkcs11:?module-path=lib.so", TokenUriError::Path("module-path")),
            ("pkcs11:?pin-source=%7Cpass", TokenUriError::Path("pin-source")),
        ] {
            assert_eq!(text.parse::<TokenUri>().unwrap_err(), expected, "{text}");
        }
        let long = format!("pkcs11:token={}", "a".repeat(MAX_URI));
        assert_eq!(long.parse::<TokenUri>().unwrap_err(), TokenUriError::TooLong);
    }
}
