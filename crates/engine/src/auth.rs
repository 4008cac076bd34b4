//! What an engine is told to log in to a registry with.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE;
use http::HeaderValue;
use secrecy::{ExposeSecret, SecretString};
use serde::Serialize;
use serde::ser::SerializeMap;

/// Credentials that an engine uses with one registry (`X-Registry-Auth`).
#[derive(Clone)]
pub struct RegistryAuth(Kind);

#[derive(Clone)]
enum Kind {
    None,
    Password { registry: String, user: String, password: SecretString },
    Identity { registry: String, token: SecretString },
    Registry { registry: String, token: SecretString },
}

impl RegistryAuth {
    /// Nobody in particular.
    #[must_use]
    pub fn anonymous() -> Self {
        Self(Kind::None)
    }

    /// A user's password for the registry with this credential key.
    pub fn password(registry: impl Into<String>, user: impl Into<String>, password: SecretString) -> Self {
        Self(Kind::Password { registry: registry.into(), user: user.into(), password })
    }

    /// A refresh token, which docker stores under the user name `<token>`.
    pub fn identity_token(registry: impl Into<String>, token: SecretString) -> Self {
        Self(Kind::Identity { registry: registry.into(), token })
    }

    /// A bearer token that the registry itself takes.
    pub fn registry_token(registry: impl Into<String>, token: SecretString) -> Self {
        Self(Kind::Registry { registry: registry.into(), token })
    }

    /// Returns the header's value: JSON in URL-safe base64 with padding (Docker Engine API, "Authentication").
    pub(crate) fn header(&self) -> Option<HeaderValue> {
        let json = SecretString::from(serde_json::to_string(self).ok()?);
        let encoded = SecretString::from(URL_SAFE.encode(json.expose_secret()));
        let mut value = HeaderValue::from_str(encoded.expose_secret()).ok()?;
        value.set_sensitive(true);
        Some(value)
    }
}

impl Serialize for RegistryAuth {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        match &self.0 {
            Kind::None => (),
            Kind::Password { registry, user, password } => {
                map.serialize_entry("username", user)?;
                map.serialize_entry("password", password.expose_secret())?;
                map.serialize_entry("serveraddress", registry)?;
            }
            Kind::Identity { registry, token } => {
                map.serialize_entry("serveraddress", registry)?;
                map.serialize_entry("identitytoken", token.expose_secret())?;
            }
            Kind::Registry { registry, token } => {
                map.serialize_entry("serveraddress", registry)?;
                map.serialize_entry("registrytoken", token.expose_secret())?;
            }
        }
        map.end()
    }
}

impl fmt::Debug for RegistryAuth {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.0 {
            Kind::None => "RegistryAuth(anonymous)",
            Kind::Password { .. } => "RegistryAuth(password)",
            Kind::Identity { .. } => "RegistryAuth(identity token)",
            Kind::Registry { .. } => "RegistryAuth(registry token)",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::RegistryAuth;
    use base64::Engine as _;
    use base64::engine::general_purpose::URL_SAFE;

    fn decoded(auth: &RegistryAuth) -> String {
        let header = auth.header().unwrap();
        assert!(header.is_sensitive());
        String::from_utf8(URL_SAFE.decode(header.as_bytes()).unwrap()).unwrap()
    }

    #[test]
    fn nobody_is_an_empty_object() {
        assert_eq!(RegistryAuth::anonymous().header().unwrap(), "e30=");
    }

    #[test]
    fn passwords_and_tokens_are_in_their_fields_and_not_in_debug_output() {
        // The password gives `-` and `_` in base64, where the standard alphabet would give `+` and `/`.
        let auth = RegistryAuth::password("reg.test:5000", "bob", "??>>~~\u{ff}".into());
        assert_eq!(
            decoded(&auth),
            "{\"username\":\"bob\",\"password\":\"??>>~~\u{ff}\",\"serveraddress\":\"reg.test:5000\"}"
        );
        assert_eq!(format!("{auth:?}"), "RegistryAuth(password)");
        let token = RegistryAuth::identity_token("reg.test", "t".into());
        assert_eq!(decoded(&token), r#"{"serveraddress":"reg.test","identitytoken":"t"}"#);
        let token = RegistryAuth::registry_token("reg.test", "t".into());
        assert_eq!(decoded(&token), r#"{"serveraddress":"reg.test","registrytoken":"t"}"#);
    }
}
