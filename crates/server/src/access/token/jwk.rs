//! Public keys in JSON (RFC 7517, RFC 7518 section 6).

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use countersign_crypto::{Curve, JwsAlgorithm, JwsKey};
use serde::Deserialize;

/// One key. Members that are not named here do not matter for verifying.
#[derive(Debug, Deserialize)]
pub(super) struct Jwk {
    kty: String,
    #[serde(default)]
    kid: Option<String>,
    #[serde(default, rename = "use")]
    purpose: Option<String>,
    #[serde(default)]
    alg: Option<String>,
    #[serde(default)]
    n: Option<String>,
    #[serde(default)]
    e: Option<String>,
    #[serde(default)]
    crv: Option<String>,
    #[serde(default)]
    x: Option<String>,
    #[serde(default)]
    y: Option<String>,
    /// A private key's number: nothing that belongs into a service's files or into a token.
    #[serde(default)]
    d: Option<serde::de::IgnoredAny>,
    #[serde(default)]
    x5c: Option<Vec<String>>,
}

impl Jwk {
    /// Reads the key; the reason why not is for the operator.
    pub(super) fn key(&self) -> Result<JwsKey, String> {
        if self.d.is_some() {
            return Err("it is a private key, and nobody but the token service should have it".to_owned());
        }
        if self.purpose.as_deref().is_some_and(|purpose| purpose != "sig") {
            return Err("it is not for signatures (use)".to_owned());
        }
        let key = match self.kty.as_str() {
            "RSA" => JwsKey::from_rsa(&number(self.n.as_deref(), "n")?, &number(self.e.as_deref(), "e")?),
            "EC" => {
                let curve = match self.crv.as_deref() {
                    Some("P-256") => Curve::P256,
                    Some("P-384") => Curve::P384,
                    Some("P-521") => Curve::P521,
                    _ => return Err("its curve is none of P-256, P-384 and P-521".to_owned()),
                };
                JwsKey::from_point(curve, &number(self.x.as_deref(), "x")?, &number(self.y.as_deref(), "y")?)
            }
            "oct" => return Err("it is a shared secret: whoever checks tokens could make them".to_owned()),
            other => {
                return Err(format!("keys of type {:?} verify no tokens", other.chars().take(20).collect::<String>()));
            }
        };
        key.map_err(|error| error.to_string())
    }

    /// Returns the certificates that come with the key.
    pub(super) fn chain(&self) -> Option<&[String]> {
        self.x5c.as_deref().filter(|chain| !chain.is_empty())
    }

    /// Returns the key's own id.
    pub(super) fn id(&self) -> Option<&str> {
        self.kid.as_deref().filter(|id| !id.is_empty())
    }

    /// Returns the only algorithm that the key is for, if it says so.
    pub(super) fn algorithm(&self) -> Result<Option<JwsAlgorithm>, String> {
        let parse = |name: &String| {
            JwsAlgorithm::parse(name).ok_or_else(|| "its algorithm (alg) is none for tokens".to_owned())
        };
        self.alg.as_ref().map(parse).transpose()
    }
}

fn number(text: Option<&str>, name: &str) -> Result<Vec<u8>, String> {
    let text = text.ok_or_else(|| format!("{name} is missing"))?;
    URL_SAFE_NO_PAD.decode(text).map_err(|_| format!("{name} is not base64url"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(text: &str) -> String {
        serde_json::from_str::<Jwk>(text).unwrap().key().unwrap_err()
    }

    #[test]
    fn secrets_private_keys_and_strange_kinds_are_refused() {
        for (text, part) in [
            (r#"{"kty":"oct","k":"AAAA"}"#, "shared secret"),
            (r#"{"kty":"RSA","n":"AQAB","e":"AQAB","d":"AQAB"}"#, "private key"),
            (r#"{"kty":"RSA","use":"enc","n":"AQAB","e":"AQAB"}"#, "not for signatures"),
            (r#"{"kty":"RSA","n":"AQAB","e":"AQAB"}"#, "2048"),
            (r#"{"kty":"RSA","e":"AQAB"}"#, "n is missing"),
            (r#"{"kty":"EC","crv":"secp256k1","x":"AQAB","y":"AQAB"}"#, "curve"),
            (r#"{"kty":"EC","crv":"P-256","x":"AQAB","y":"AQAB"}"#, "coordinate"),
            (r#"{"kty":"EC","crv":"P-256","x":"+/==","y":"AQAB"}"#, "base64url"),
            (r#"{"kty":"OKP","crv":"Ed25519","x":"AQAB"}"#, "OKP"),
        ] {
            let reason = refused(text);
            assert!(reason.contains(part), "{text}: {reason}");
        }
    }
}
