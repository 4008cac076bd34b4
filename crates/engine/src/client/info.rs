//! How an engine is configured.

use std::collections::BTreeMap;

use countersign_image::RegistryHost;
use http::Method;
use serde::Deserialize;

use super::{Call, Engine};
use crate::{EngineError, json};

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Info {
    registry_config: Option<RegistryConfig>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct RegistryConfig {
    #[serde(default)]
    index_configs: BTreeMap<String, IndexConfig>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct IndexConfig {
    #[serde(default = "secure")]
    secure: bool,
}

fn secure() -> bool {
    true
}

impl Engine {
    /// Tells whether the engine is configured to speak with a registry without TLS (`insecure-registries`, by name).
    ///
    /// # Errors
    ///
    /// When the engine cannot be reached or refuses.
    pub async fn is_insecure(&self, registry: &RegistryHost) -> Result<bool, EngineError> {
        let answer = self.send(Call::new(Method::GET, "/info")).await?;
        let bytes = answer.body.all(self.limits().answer_bytes).await?;
        let info: Info =
            json::object(&bytes, self.limits().json_depth).map_err(|error| EngineError::bad(error.to_string()))?;
        Ok(info.insecure(registry.as_str()))
    }
}

impl Info {
    fn insecure(&self, registry: &str) -> bool {
        let config = self.registry_config.as_ref().and_then(|config| config.index_configs.get(registry));
        config.is_some_and(|config| !config.secure)
    }
}

#[cfg(test)]
mod tests {
    use super::Info;

    #[test]
    fn only_registries_named_insecure_are() {
        let text = r#"{"ID":"x","RegistryConfig":{"IndexConfigs":{"docker.io":{"Name":"docker.io","Secure":true},
            "reg.test:5000":{"Secure":false},"odd.test":{}}}}"#;
        let info: Info = crate::json::object(text.as_bytes(), 32).unwrap();
        assert!(info.insecure("reg.test:5000"));
        for name in ["docker.io", "odd.test", "other.test"] {
            assert!(!info.insecure(name), "{name}");
        }
    }
}
