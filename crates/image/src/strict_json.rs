//! Refuses JSON that two readers may understand differently.
//!
//! Engines written in Go match member names without regard to case and let the last of several win. A document that
//! uses this shows them other layers than it shows here (CVE-2021-41190 is the same trick on a larger scale).

use std::collections::HashSet;
use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor};

/// Deepest nesting of arrays and objects; real documents have five levels.
const MAX_DEPTH: usize = 16;

/// Member names that readers act on.
const KNOWN: [&str; 21] = [
    "schemaVersion",
    "mediaType",
    "artifactType",
    "config",
    "layers",
    "manifests",
    "subject",
    "annotations",
    "fsLayers",
    "history",
    "digest",
    "size",
    "urls",
    "data",
    "platform",
    "architecture",
    "os",
    "os.version",
    "os.features",
    "variant",
    "features",
];

/// Checks one JSON text: no member twice, no known member in other capitals, bounded depth, nothing behind the value.
pub(crate) fn check(bytes: &[u8]) -> Result<(), serde_json::Error> {
    let mut deserializer = serde_json::Deserializer::from_slice(bytes);
    Value { depth: 0 }.deserialize(&mut deserializer)?;
    deserializer.end()
}

#[derive(Clone, Copy)]
struct Value {
    depth: usize,
}

impl Value {
    fn inside<E: Error>(self) -> Result<Self, E> {
        if self.depth >= MAX_DEPTH {
            Err(E::custom(format_args!("nested deeper than {MAX_DEPTH} levels")))
        } else {
            Ok(Self { depth: self.depth + 1 })
        }
    }
}

impl<'de> DeserializeSeed<'de> for Value {
    type Value = ();
    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Value {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_bool<E: Error>(self, _: bool) -> Result<(), E> {
        Ok(())
    }

    fn visit_i64<E: Error>(self, _: i64) -> Result<(), E> {
        Ok(())
    }

    fn visit_u64<E: Error>(self, _: u64) -> Result<(), E> {
        Ok(())
    }

    fn visit_f64<E: Error>(self, _: f64) -> Result<(), E> {
        Ok(())
    }

    fn visit_str<E: Error>(self, _: &str) -> Result<(), E> {
        Ok(())
    }

    fn visit_unit<E: Error>(self) -> Result<(), E> {
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<(), A::Error> {
        let inside = self.inside()?;
        while items.next_element_seed(inside)?.is_some() {}
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<(), A::Error> {
        let inside = self.inside()?;
        let mut seen = HashSet::new();
        while let Some(name) = members.next_key::<String>()? {
            let folded = fold(&name);
            if KNOWN.iter().any(|known| *known != name && fold(known) == folded) {
                return Err(A::Error::custom(format_args!(
                    "the member {name:?} differs from a known one only in capitals"
                )));
            }
            if !seen.insert(folded) {
                return Err(A::Error::custom(format_args!("the member {name:?} is there twice")));
            }
            members.next_value_seed(inside)?;
        }
        Ok(())
    }
}

/// Folds a name as Go's JSON reader does: ASCII case, the long s and the Kelvin sign.
fn fold(name: &str) -> String {
    name.chars()
        .map(|c| match c {
            '\u{17f}' => 's',
            '\u{212a}' => 'k',
            other => other.to_ascii_lowercase(),
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ordinary_documents_pass() {
        assert!(check(br#"{"a":[1,-2,0.5,true,null,"x",{"annotations":{"a.b":"c"}}]}"#).is_ok());
    }

    #[test]
    fn members_that_readers_may_confuse_are_refused() {
        for text in [
            r#"{"a":1,"a":2}"#,
            r#"{"x":1,"X":2}"#,
            r#"{"Layers":[]}"#,
            r#"{"layer\u017f":[]}"#,
            r#"[{"digest":"a","Digest":"b"}]"#,
            r#"{"a":1} x"#,
            r#"{"a":1}{"#,
            "",
        ] {
            assert!(check(text.as_bytes()).is_err(), "{text}");
        }
    }

    #[test]
    fn deep_nesting_is_refused() {
        assert!(check(format!("{}{}", "[".repeat(16), "]".repeat(16)).as_bytes()).is_ok());
        assert!(check(format!("{}{}", "[".repeat(17), "]".repeat(17)).as_bytes()).is_err());
        assert!(check("[".repeat(1_000_000).as_bytes()).is_err());
    }
}
