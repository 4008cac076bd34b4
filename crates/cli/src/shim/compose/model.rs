//! What compose makes of its files.

use serde_json::{Map, Value, json};
use std::collections::BTreeMap;

/// The resolved model.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Model {
    whole: Value,
}

impl Model {
    /// Reads what `docker compose config --format json` prints.
    pub(super) fn parse(bytes: &[u8]) -> Result<Self, String> {
        let whole: Value = serde_json::from_slice(bytes).map_err(|error| format!("compose gives no model: {error}"))?;
        let model = Self { whole };
        if model.map().is_empty() { Err("compose gives a model without services".to_owned()) } else { Ok(model) }
    }

    fn map(&self) -> &Map<String, Value> {
        static EMPTY: std::sync::LazyLock<Map<String, Value>> = std::sync::LazyLock::new(Map::new);
        self.whole.get("services").and_then(Value::as_object).unwrap_or(&EMPTY)
    }

    /// Returns the names of all services.
    pub(super) fn services(&self) -> Vec<String> {
        self.map().keys().cloned().collect()
    }

    /// Tells whether there is a service of this name.
    pub(super) fn has(&self, name: &str) -> bool {
        self.map().contains_key(name)
    }

    /// Tells whether some services are there only with a profile.
    pub(super) fn has_profiles(&self) -> bool {
        self.map().values().any(|service| service.get("profiles").is_some())
    }

    /// Adds the services that these need.
    pub(super) fn with_dependencies(&self, mut names: Vec<String>) -> Vec<String> {
        let mut at = 0;
        while let Some(service) = names.get(at).cloned() {
            at += 1;
            let needed = self.map().get(&service).map(needed).unwrap_or_default();
            for name in needed {
                if !names.contains(&name) && self.has(&name) {
                    names.push(name);
                }
            }
        }
        names
    }

    /// Returns the image of a service that runs nothing else.
    pub(super) fn image(&self, name: &str) -> Result<&str, String> {
        let Some(service) = self.map().get(name) else { return Err("there is no such service".to_owned()) };
        for (key, what) in [
            ("build", "it is built by compose: build and push its image with docker build, and take build out"),
            ("provider", "its provider is a program that is not verified"),
            ("models", "its models are not verified"),
        ] {
            if service.get(key).is_some_and(|value| !value.is_null()) {
                return Err(what.to_owned());
            }
        }
        let volumes = service.get("volumes").and_then(Value::as_array).into_iter().flatten();
        let is_image = |volume: &Value| volume.get("type").and_then(Value::as_str) == Some("image");
        if volumes.into_iter().any(is_image) {
            return Err("it mounts an image, which is not verified".to_owned());
        }
        service.get("image").and_then(Value::as_str).ok_or_else(|| "it has no image".to_owned())
    }

    /// Tells whether this is another model with these images and no other difference.
    pub(super) fn is_with_images(&self, other: &Self, images: &BTreeMap<String, String>) -> bool {
        let mut expected = other.whole.clone();
        for (name, image) in images {
            let service = expected.get_mut("services").and_then(|services| services.get_mut(name));
            let Some(service) = service.and_then(Value::as_object_mut) else { return false };
            service.insert("image".to_owned(), Value::from(image.as_str()));
        }
        self.whole == expected
    }
}

/// Returns the names of services that a service cannot be without.
fn needed(service: &Value) -> Vec<String> {
    let mut names: Vec<String> = match service.get("depends_on") {
        Some(Value::Object(services)) => services.keys().cloned().collect(),
        Some(Value::Array(services)) => services.iter().filter_map(Value::as_str).map(str::to_owned).collect(),
        _ => Vec::new(),
    };
    for list in ["links", "volumes_from"] {
        let texts = service.get(list).and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str);
        names.extend(texts.filter_map(|text| text.split(':').next()).map(str::to_owned));
    }
    for mode in ["network_mode", "ipc", "pid"] {
        let text = service.get(mode).and_then(Value::as_str).unwrap_or_default();
        names.extend(text.strip_prefix("service:").map(str::to_owned));
    }
    names
}

/// Writes the override file.
pub(super) fn pinning(images: &BTreeMap<String, String>) -> String {
    let services: Map<String, Value> =
        images.iter().map(|(name, image)| (name.clone(), json!({ "image": image }))).collect();
    json!({ "services": services }).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn model(services: &Value) -> Model {
        Model::parse(json!({ "name": "x", "services": services }).to_string().as_bytes()).unwrap()
    }

    #[test]
    fn dependencies_of_every_kind_are_followed() {
        let model = model(&json!({
            "a": { "image": "a", "depends_on": { "b": {} }, "network_mode": "service:c" },
            "b": { "image": "b", "links": ["d:alias"], "volumes_from": ["e:ro", "container:x"] },
            "c": { "image": "c", "ipc": "service:a" }, "d": { "image": "d" }, "e": { "image": "e" }, "f": { "image": "f" },
        }));
        let mut found = model.with_dependencies(vec!["a".to_owned()]);
        found.sort();
        assert_eq!(found, ["a", "b", "c", "d", "e"]);
        assert!(!model.has_profiles());
    }

    #[test]
    fn services_that_run_something_else_than_an_image_of_a_registry_are_told() {
        let model = model(&json!({
            "built": { "image": "a", "build": { "context": "." } }, "provided": { "provider": { "type": "x" } },
            "mounts": { "image": "a", "volumes": [{ "type": "image", "source": "x", "target": "/x" }] },
            "nothing": {}, "good": { "image": "alpine:3", "volumes": [{ "type": "bind" }] }, "talks": { "image": "a", "models": {} },
        }));
        for name in ["built", "provided", "mounts", "nothing", "talks", "missing"] {
            assert!(model.image(name).is_err(), "{name}");
        }
        assert_eq!(model.image("good"), Ok("alpine:3"));
    }

    #[test]
    fn a_model_may_differ_by_its_images_only() {
        let before = model(&json!({ "a": { "image": "x", "command": "y" }, "b": { "build": "." } }));
        let images: BTreeMap<String, String> =
            [("a", "x@d"), ("b", "none")].map(|(k, v)| (k.to_owned(), v.to_owned())).into();
        let with = |command: &str, image: &str| {
            model(&json!({ "a": { "image": image, "command": command }, "b": { "build": ".", "image": "none" } }))
        };
        assert!(with("y", "x@d").is_with_images(&before, &images));
        assert!(!with("z", "x@d").is_with_images(&before, &images));
        assert!(!with("y", "x").is_with_images(&before, &images));
        assert!(!before.is_with_images(&before, &images));
        let more =
            model(&json!({ "a": { "image": "x@d", "command": "y" }, "b": { "build": ".", "image": "none" }, "c": {} }));
        assert!(!more.is_with_images(&before, &images));
    }

    #[test]
    fn what_is_no_model_is_refused() {
        for text in ["", "[]", "{}", "{\"services\":{}}", "services:"] {
            assert!(Model::parse(text.as_bytes()).is_err(), "{text}");
        }
    }

    #[test]
    fn the_override_names_images_and_nothing_else() {
        let images = [("a".to_owned(), "x@sha256:1".to_owned())].into();
        assert_eq!(pinning(&images), r#"{"services":{"a":{"image":"x@sha256:1"}}}"#);
    }
}
