//! What clients are told when a request fails.
//!
//! The public part (status, code, message, detail) is the reference's, because clients match on it (Notary protocol, error
//! format and codes). The cause is for the log only: it may name paths and SQL, and is never sent.

use std::error::Error;

use countersign_storage::StoreError;
use http::{HeaderValue, StatusCode};
use serde::Serialize;
use serde_json::Value;

use crate::signing_clock::Implausible;

/// Seconds after which a busy service may be asked again.
const RETRY_SECONDS: u32 = 5;

/// A code of the protocol with its status and message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Code {
    NoFilename,
    InvalidRole,
    MalformedJson,
    Updating,
    Version,
    MetadataNotFound,
    InvalidUpdate,
    MalformedUpload,
    InvalidGun,
    InvalidParameters,
    Unknown,
    Unauthorized,
    /// The same where a password is wrong.
    WrongPassword,
    /// The same where nobody has a name.
    LoginNeeded,
    /// Of the registry protocol: somebody known may not do this.
    Denied,
    /// Of the registry protocol: a client asks too often.
    TooManyRequests,
    /// Not of the reference: the service is at one of its limits and the request may be repeated.
    Busy,
    /// Not of the reference: the service cannot sign now, and the request may be repeated.
    CannotSign,
    /// Not of the reference: the service cannot write its audit log now, and the request may be repeated.
    CannotAudit,
}

impl Code {
    /// All of them, in the order of their numbers.
    pub(crate) const ALL: [Self; 19] = [
        Self::NoFilename,
        Self::InvalidRole,
        Self::MalformedJson,
        Self::Updating,
        Self::Version,
        Self::MetadataNotFound,
        Self::InvalidUpdate,
        Self::MalformedUpload,
        Self::InvalidGun,
        Self::InvalidParameters,
        Self::Unknown,
        Self::Unauthorized,
        Self::WrongPassword,
        Self::LoginNeeded,
        Self::Denied,
        Self::TooManyRequests,
        Self::Busy,
        Self::CannotSign,
        Self::CannotAudit,
    ];

    /// Names it in metrics: as on the wire, but for those that look alike there.
    pub(crate) fn label(self) -> &'static str {
        match self {
            Self::CannotSign => "CANNOT_SIGN",
            Self::CannotAudit => "CANNOT_AUDIT",
            Self::WrongPassword => "WRONG_PASSWORD",
            Self::LoginNeeded => "LOGIN_NEEDED",
            code => code.parts().0,
        }
    }

    fn parts(self) -> (&'static str, StatusCode, &'static str) {
        match self {
            Self::NoFilename => ("NO_FILENAME", StatusCode::BAD_REQUEST, "No file/role name provided."),
            Self::InvalidRole => {
                ("INVALID_ROLE", StatusCode::BAD_REQUEST, "The role you are attempting to operate on is invalid.")
            }
            Self::MalformedJson => {
                ("MALFORMED_JSON", StatusCode::BAD_REQUEST, "JSON sent by the client could not be parsed by the server")
            }
            Self::Updating => (
                "UPDATING",
                StatusCode::INTERNAL_SERVER_ERROR,
                "An error has occurred while updating the TUF repository.",
            ),
            Self::Version => ("VERSION", StatusCode::BAD_REQUEST, "A newer version of metadata is already available."),
            Self::MetadataNotFound => {
                ("METADATA_NOT_FOUND", StatusCode::NOT_FOUND, "You have requested metadata that does not exist.")
            }
            Self::InvalidUpdate => ("INVALID_UPDATE", StatusCode::BAD_REQUEST, "Update sent by the client is invalid."),
            Self::MalformedUpload => {
                ("MALFORMED_UPLOAD", StatusCode::BAD_REQUEST, "The body of your request is malformed.")
            }
            Self::InvalidGun => {
                ("INVALID_GUN", StatusCode::BAD_REQUEST, "The server does not support actions on images of this name.")
            }
            Self::InvalidParameters => {
                ("INVALID_PARAMETERS", StatusCode::BAD_REQUEST, "The parameters provided are not valid.")
            }
            Self::Unauthorized => ("UNAUTHORIZED", StatusCode::UNAUTHORIZED, "authentication required"),
            Self::WrongPassword => ("UNAUTHORIZED", StatusCode::UNAUTHORIZED, "incorrect username or password"),
            // docker repeats messages, but for those that it has for the code itself.
            Self::LoginNeeded => {
                ("UNAUTHORIZED", StatusCode::UNAUTHORIZED, "publishing needs a name and a password: log in first")
            }
            Self::Denied => ("DENIED", StatusCode::FORBIDDEN, "this account may not publish here"),
            Self::TooManyRequests => ("TOOMANYREQUESTS", StatusCode::TOO_MANY_REQUESTS, "too many requests"),
            Self::Unknown => ("UNKNOWN", StatusCode::INTERNAL_SERVER_ERROR, "unknown error"),
            Self::Busy => ("UNAVAILABLE", StatusCode::SERVICE_UNAVAILABLE, "The server is busy, try again later."),
            Self::CannotSign => (
                "UNAVAILABLE",
                StatusCode::SERVICE_UNAVAILABLE,
                "The server cannot sign at the moment, try again later.",
            ),
            Self::CannotAudit => (
                "UNAVAILABLE",
                StatusCode::SERVICE_UNAVAILABLE,
                "The server cannot write its audit log at the moment, try again later.",
            ),
        }
    }

    pub(crate) fn status(self) -> StatusCode {
        self.parts().1
    }
}

/// A failed request.
#[derive(Debug)]
pub(crate) struct Failure {
    code: Code,
    status: StatusCode,
    detail: Option<Value>,
    challenge: Option<HeaderValue>,
    /// Seconds after which it may go better.
    after: Option<u32>,
    cause: Option<Box<dyn Error + Send + Sync>>,
}

impl Failure {
    pub(crate) fn new(code: Code) -> Self {
        // Whoever is told that the service is busy may ask again soon.
        let busy = matches!(code, Code::Busy | Code::CannotSign | Code::CannotAudit);
        let after = busy.then_some(RETRY_SECONDS);
        Self { code, status: code.status(), detail: None, challenge: None, after, cause: None }
    }

    /// Says that the store failed: with the code, or that it is busy when it is that.
    pub(crate) fn of_store(code: Code, error: StoreError) -> Self {
        Self::new(if error.is_busy() { Code::Busy } else { code }).cause(error)
    }

    /// Adds what the client may know beyond the code.
    pub(crate) fn detail(self, detail: Value) -> Self {
        Self { detail: Some(detail), ..self }
    }

    /// Adds how the client may prove who it is.
    pub(crate) fn challenge(self, challenge: HeaderValue) -> Self {
        Self { challenge: Some(challenge), ..self }
    }

    /// Says after how many seconds the request may be repeated.
    pub(crate) fn after(self, seconds: u32) -> Self {
        Self { after: Some(seconds), ..self }
    }

    /// Returns after how many seconds the request may be repeated.
    pub(crate) fn retry_after(&self) -> Option<u32> {
        self.after
    }

    /// Returns how the client may prove who it is.
    pub(crate) fn asked(&self) -> Option<&HeaderValue> {
        self.challenge.as_ref()
    }

    /// Adds what only the log may know.
    pub(crate) fn cause(self, cause: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self { cause: Some(cause.into()), ..self }
    }

    /// Answers with another status than the code's own.
    pub(crate) fn status(self, status: StatusCode) -> Self {
        Self { status, ..self }
    }

    /// Returns what the log should know: the cause and the causes behind it.
    pub(crate) fn chain(&self) -> Option<String> {
        let first: &dyn Error = self.cause.as_deref()?;
        let mut text = first.to_string();
        let mut next = first.source();
        while let Some(error) = next {
            text.push_str(": ");
            text.push_str(&error.to_string());
            next = error.source();
        }
        Some(text)
    }

    /// Returns the code.
    pub(crate) fn code(&self) -> Code {
        self.code
    }

    pub(crate) fn status_code(&self) -> StatusCode {
        self.status
    }

    /// Tells whether trying again may help.
    pub(crate) fn is_busy(&self) -> bool {
        matches!(self.code, Code::Busy | Code::CannotSign | Code::CannotAudit)
    }

    /// Tells whether nothing can be signed at the moment, whatever the collection.
    pub(crate) fn cannot_sign(&self) -> bool {
        self.code == Code::CannotSign
    }

    /// Writes the body, with the newline that ends it.
    pub(crate) fn body(&self) -> String {
        let (code, _, message) = self.code.parts();
        let body = Body { errors: [Entry { code, message, detail: self.detail.as_ref() }] };
        serde_json::to_string(&body).unwrap_or_default() + "\n"
    }
}

#[derive(Serialize)]
struct Body<'a> {
    errors: [Entry<'a>; 1],
}

#[derive(Serialize)]
struct Entry<'a> {
    code: &'static str,
    message: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    detail: Option<&'a Value>,
}

impl From<StoreError> for Failure {
    fn from(error: StoreError) -> Self {
        Self::of_store(Code::Unknown, error)
    }
}

impl From<Implausible> for Failure {
    fn from(implausible: Implausible) -> Self {
        Self::new(Code::CannotSign).cause(implausible)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_cause_stays_inside() {
        let failure = Failure::new(Code::Updating).cause("/var/lib/secret.db: SELECT data FROM tuf_files");
        assert!(!failure.body().contains("secret") && !failure.body().contains("SELECT"));
        assert!(failure.chain().unwrap().contains("secret.db"));
    }

    #[test]
    fn bodies_look_like_the_references() {
        let plain =
            "{\"errors\":[{\"code\":\"MALFORMED_UPLOAD\",\"message\":\"The body of your request is malformed.\"}]}\n";
        assert_eq!(Failure::new(Code::MalformedUpload).body(), plain);
        let with_detail = Failure::new(Code::MetadataNotFound).detail(json!({})).body();
        assert!(with_detail.contains(r#""detail":{}"#) && with_detail.ends_with('\n'));
    }
}
