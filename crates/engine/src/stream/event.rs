//! One message of a progress stream.

use countersign_image::{Digest, Tag};
use serde::Deserialize;
use serde_json::value::RawValue;

use crate::{EngineError, Limits, json};

/// Something an engine tells while it works. All text is the engine's own.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Event {
    /// What it does, or how far it is.
    Status(Status),
    /// Output of another kind, with its line ends: `Loaded image: …` when loading.
    Output(String),
    /// The manifest that is now under a tag of the registry.
    Pushed(PushedManifest),
    /// The image is an index whose other platforms are not there, so only one manifest of it was pushed.
    ManifestInsteadOfIndex {
        /// The digest of the index that was not pushed.
        index: Digest,
        /// The digest of the manifest that was.
        manifest: Digest,
    },
    /// Something else for programs, as JSON.
    Note(Box<str>),
}

/// What an engine does, or how far it is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Status {
    /// What it is about: the short id of a layer, or a tag.
    pub id: Option<String>,
    /// What happens: `Preparing`, `Pushed`.
    pub text: String,
    /// How far it is.
    pub amount: Option<Amount>,
}

/// How far something is, in bytes unless the text says otherwise.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Amount {
    /// Done so far.
    pub current: u64,
    /// To be done altogether, if known.
    pub total: Option<u64>,
}

/// A manifest as an engine pushed it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PushedManifest {
    /// The tag it is under now.
    pub tag: Tag,
    /// The digest of its bytes.
    pub digest: Digest,
    /// How many bytes it has.
    pub size: u64,
}

impl Status {
    /// Reads `v1: digest: sha256:… size: 524`.
    ///
    /// Engines with the image store of containerd tell what they pushed in no other way.
    #[must_use]
    pub fn pushed(&self) -> Option<PushedManifest> {
        if self.id.is_some() || self.amount.is_some() {
            return None;
        }
        let (tag, rest) = self.text.split_once(": digest: ")?;
        let (digest, size) = rest.split_once(" size: ")?;
        let (tag, digest) = (Tag::parse(tag).ok()?, Digest::parse(digest).ok()?);
        Some(PushedManifest { tag, digest, size: size.parse().ok()? })
    }
}

impl Event {
    /// Returns the manifest that this says is now under a tag, to programs or to people.
    #[must_use]
    pub fn pushed(&self) -> Option<PushedManifest> {
        match self {
            Self::Pushed(pushed) => Some(pushed.clone()),
            Self::Status(status) => status.pushed(),
            _ => None,
        }
    }
}

/// A line as it comes (Docker Engine API: `JSONMessage`).
#[derive(Deserialize)]
struct Line<'a> {
    status: Option<String>,
    stream: Option<String>,
    id: Option<String>,
    #[serde(rename = "progressDetail")]
    progress: Option<ProgressDetail>,
    error: Option<String>,
    #[serde(rename = "errorDetail")]
    error_detail: Option<ErrorDetail>,
    #[serde(borrow)]
    aux: Option<&'a RawValue>,
}

#[derive(Default, Deserialize)]
struct ProgressDetail {
    current: Option<i64>,
    total: Option<i64>,
}

#[derive(Deserialize)]
struct ErrorDetail {
    message: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct PushAux {
    tag: Tagged,
    digest: String,
    size: u64,
}

/// A tag that may be empty, as when something was pushed by digest.
#[derive(Deserialize)]
#[serde(transparent)]
struct Tagged(String);

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct InsteadAux {
    #[serde(rename = "manifestPushedInsteadOfIndex")]
    _pushed: bool,
    original_index: Descriptor,
    selected_manifest: Descriptor,
}

#[derive(Deserialize)]
struct Descriptor {
    digest: Digest,
}

impl Event {
    /// Reads one line; `None` if it says nothing.
    pub(crate) fn parse(line: &[u8], limits: &Limits) -> Result<Option<Self>, EngineError> {
        let bad = |error: &dyn std::fmt::Display| EngineError::bad(format!("{error} in {:?}", excerpt(line)));
        let line: Line<'_> = json::object(line, limits.json_depth).map_err(|error| bad(&error))?;
        let detail = line.error_detail.and_then(|detail| detail.message);
        if let Some(mut message) = detail.or(line.error) {
            message.truncate(message.floor_char_boundary(limits.message_bytes));
            return Err(EngineError::Api { status: None, message });
        }
        if let Some(aux) = line.aux {
            return note(aux.get()).map(Some);
        }
        if let Some(output) = line.stream {
            return Ok(Some(Self::Output(output)));
        }
        let amount = line.progress.and_then(ProgressDetail::amount);
        let text = line.status.unwrap_or_default();
        if text.is_empty() && amount.is_none() {
            return Ok(None);
        }
        Ok(Some(Self::Status(Status { id: line.id, text, amount })))
    }
}

/// Reads what is meant for programs.
fn note(json: &str) -> Result<Event, EngineError> {
    if let Ok(aux) = serde_json::from_str::<PushAux>(json) {
        if aux.tag.0.is_empty() {
            return Ok(Event::Note(json.into()));
        }
        // A digest that is none must not pass for a note: the caller would sign nothing, or something older.
        let bad = |error: &dyn std::fmt::Display| EngineError::bad(format!("it tells what it pushed: {error}"));
        let tag = Tag::parse(&aux.tag.0).map_err(|error| bad(&error))?;
        let digest = Digest::parse(&aux.digest).map_err(|error| bad(&error))?;
        return Ok(Event::Pushed(PushedManifest { tag, digest, size: aux.size }));
    }
    Ok(match serde_json::from_str::<InsteadAux>(json) {
        Ok(aux) => {
            Event::ManifestInsteadOfIndex { index: aux.original_index.digest, manifest: aux.selected_manifest.digest }
        }
        Err(_) => Event::Note(json.into()),
    })
}

impl ProgressDetail {
    fn amount(self) -> Option<Amount> {
        let positive = |number: Option<i64>| number.and_then(|number| u64::try_from(number).ok());
        let total = positive(self.total).filter(|total| *total > 0);
        positive(self.current).map(|current| Amount { current, total })
    }
}

/// The beginning of a line, for a message about it.
fn excerpt(line: &[u8]) -> String {
    const EXCERPT: usize = 80;
    String::from_utf8_lossy(line.get(..EXCERPT).unwrap_or(line)).into_owned()
}

#[cfg(test)]
mod tests {
    use super::{Amount, Event, Status};
    use crate::{EngineError, Limits};

    fn parse(line: &str) -> Result<Option<Event>, EngineError> {
        Event::parse(line.as_bytes(), &Limits::default())
    }

    #[test]
    fn status_lines_are_read() {
        let line =
            r#"{"status":"Pushing","progressDetail":{"current":512,"total":1024},"progress":"[=>]","id":"13f6"}"#;
        let amount = Some(Amount { current: 512, total: Some(1024) });
        let expected = Status { id: Some("13f6".to_owned()), text: "Pushing".to_owned(), amount };
        assert_eq!(parse(line).unwrap(), Some(Event::Status(expected)));
        let line = r#"{"status":"x","progressDetail":{"current":5,"total":-1}}"#;
        let Some(Event::Status(status)) = parse(line).unwrap() else { panic!("no status") };
        assert_eq!(status.amount, Some(Amount { current: 5, total: None }));
        assert_eq!(parse(r#"{"status":"","progressDetail":{}}"#).unwrap(), None);
        assert_eq!(
            parse(r#"{"stream":"Loaded image: a\n"}"#).unwrap(),
            Some(Event::Output("Loaded image: a\n".into()))
        );
    }

    #[test]
    fn what_was_pushed_is_read() {
        let hex = "ab".repeat(32);
        let line = format!(r#"{{"progressDetail":{{}},"aux":{{"Tag":"v1","Digest":"sha256:{hex}","Size":524}}}}"#);
        let Some(Event::Pushed(pushed)) = parse(&line).unwrap() else { panic!("nothing pushed") };
        assert_eq!((pushed.tag.as_str(), pushed.digest.hex(), pushed.size), ("v1", hex, 524));
    }

    #[test]
    fn what_was_pushed_is_read_from_the_line_for_people_too() {
        let pushed = |text: &str, more: &str| {
            parse(&format!(r#"{{"status":"{text}"{more}}}"#)).unwrap().and_then(|event| event.pushed())
        };
        let digest = format!("sha256:{}", "ab".repeat(32));
        let found = pushed(&format!("v1: digest: {digest} size: 524"), "").unwrap();
        assert_eq!((found.tag.as_str(), found.digest.to_string(), found.size), ("v1", digest.clone(), 524));
        for text in ["v1: digest: sha256:00 size: 1", "v1: digest:  size: 1", "Pushed", "digest: x size: 1"] {
            assert_eq!(pushed(text, ""), None, "{text}");
        }
        for text in [format!("a/b: digest: {digest} size: 1"), format!("v1: digest: {digest} size: -1")] {
            assert_eq!(pushed(&text, ""), None, "{text}");
        }
        assert_eq!(pushed(&format!("v1: digest: {digest} size: 1"), r#","id":"layer""#), None);
    }

    #[test]
    fn a_pushed_digest_or_tag_that_is_none_is_refused() {
        for (tag, digest) in
            [("v1", "sha256:zz"), ("v1", ""), ("v1", "md5:00"), ("a/b", &format!("sha256:{}", "ab".repeat(32)))]
        {
            let line = format!(r#"{{"aux":{{"Tag":"{tag}","Digest":"{digest}","Size":524}}}}"#);
            assert!(matches!(parse(&line), Err(EngineError::BadAnswer { .. })), "{line}");
        }
    }

    #[test]
    fn other_notes_are_passed_on() {
        let descriptor = |byte: &str| format!(r#"{{"mediaType":"m","digest":"sha256:{}","size":1}}"#, byte.repeat(32));
        let line = format!(
            r#"{{"aux":{{"manifestPushedInsteadOfIndex":true,"originalIndex":{},"selectedManifest":{}}}}}"#,
            descriptor("aa"),
            descriptor("bb")
        );
        let Some(Event::ManifestInsteadOfIndex { index, manifest }) = parse(&line).unwrap() else { panic!("{line}") };
        assert_eq!((index.hex(), manifest.hex()), ("aa".repeat(32), "bb".repeat(32)));
        assert_eq!(parse(r#"{"aux":{"ID":"x"}}"#).unwrap(), Some(Event::Note(r#"{"ID":"x"}"#.into())));
        let untagged = format!(r#"{{"Tag":"","Digest":"sha256:{}","Size":1}}"#, "ab".repeat(32));
        assert_eq!(parse(&format!(r#"{{"aux":{untagged}}}"#)).unwrap(), Some(Event::Note(untagged.into())));
    }

    proptest::proptest! {
        #[test]
        fn no_line_makes_it_panic(line in "[\\[\\]{}\",:0-9a-z\\\\]{0,64}", note in proptest::bool::ANY) {
            let line = if note { format!("{{\"aux\":{line}}}") } else { line };
            let _ = parse(&line);
        }
    }

    #[test]
    fn an_error_is_the_engines_own_words() {
        for line in [r#"{"error":"denied"}"#, r#"{"errorDetail":{"message":"denied","code":1},"error":"other"}"#] {
            let error = parse(line).unwrap_err();
            assert!(matches!(error, EngineError::Api { status: None, ref message } if message == "denied"), "{error}");
        }
    }

    #[test]
    fn lines_that_are_no_messages_are_refused() {
        let deep = format!("{{\"aux\":{}{}}}", "[".repeat(40), "]".repeat(40));
        let lines = [
            "[]",
            r#"["a",null,null,null,null,null,null]"#,
            "1",
            "{",
            "{}{}",
            r#"{"status":1}"#,
            r#"{"status":"a","status":"b"}"#,
            "<html>",
            &deep,
        ];
        for line in lines {
            assert!(matches!(parse(line), Err(EngineError::BadAnswer { .. })), "{line}");
        }
    }
}
