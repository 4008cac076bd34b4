//! What can go wrong with a trust service, told apart by whose fault it is.

use countersign_registry::auth::AuthError;
use countersign_registry::http::{HttpError, StatusError};
use countersign_tuf::metadata::MetadataError;
use countersign_tuf::update::Absence;
use serde::Deserialize;

/// Says why the service did not do what was asked.
#[derive(Debug, thiserror::Error)]
pub enum ServiceError {
    /// The service does not know the collection.
    #[error("{service} does not have trust data for {gun}")]
    NoTrustData {
        /// The service.
        service: String,
        /// The collection.
        gun: String,
    },
    /// Somebody else has published in the meantime.
    #[error("a newer version of metadata is already available at the trust service")]
    Conflict,
    /// The service has checked the upload and refuses it.
    #[error("the trust service refused the upload: {0}")]
    Rejected(String),
    /// The service does not let this caller do this.
    #[error("not authorised at the trust service: {0}")]
    Unauthorised(String),
    /// Nobody is there, or the service has troubles of its own.
    #[error("the trust service is away: {0}")]
    Away(String),
    /// The connection is not the service's.
    #[error("the connection to the trust service is not trustworthy: {0}")]
    Tls(String),
    /// The answer breaks the protocol or a limit.
    #[error("the trust service returned a bad response: {0}")]
    Hostile(String),
    /// The service's key cannot be used.
    #[error("the trust service's {role} key cannot be used: {error}")]
    Key {
        /// The role.
        role: String,
        /// Why.
        error: MetadataError,
    },
    /// Something on this machine prevents the request.
    #[error(transparent)]
    Local(Box<AuthError>),
}

/// The part of an error answer that says why an upload is refused.
#[derive(Deserialize)]
struct Refusal {
    #[serde(rename = "Error")]
    error: RefusalText,
}

#[derive(Deserialize)]
struct RefusalText {
    #[serde(rename = "Msg")]
    message: String,
}

#[derive(Deserialize)]
struct ErrorBody {
    errors: Vec<ErrorEntry>,
}

#[derive(Deserialize)]
struct ErrorEntry {
    detail: Option<Refusal>,
}

impl ServiceError {
    /// Sorts a status that is no success.
    pub(crate) fn of_status(status: &StatusError) -> Self {
        let text = || format!("{} ({})", status.status, status.text);
        match status.status.as_u16() {
            400 if status.has_code("VERSION") => Self::Conflict,
            400 => Self::Rejected(refusal_text(&status.body).unwrap_or_else(text)),
            401 | 403 => Self::Unauthorised(text()),
            408 | 429 | 500..=599 => Self::Away(text()),
            _ => Self::Hostile(text()),
        }
    }

    /// Tells what kind of absence this is for an update.
    pub(crate) fn into_absence(self) -> Absence {
        match self {
            Self::NoTrustData { .. } => Absence::NotFound,
            Self::Away(reason) => Absence::Unreachable(reason),
            Self::Tls(reason) => Absence::Tls(reason),
            Self::Unauthorised(reason) => Absence::Refused(reason),
            Self::Hostile(reason) => Absence::Hostile(reason),
            other => Absence::Hostile(other.to_string()),
        }
    }
}

/// Reads the service's explanation, made fit for a terminal.
fn refusal_text(body: &[u8]) -> Option<String> {
    let body: ErrorBody = serde_json::from_slice(body).ok()?;
    let message = body.errors.into_iter().next()?.detail?.error.message;
    Some(countersign_registry::foreign_text(message.as_bytes(), 1024))
}

impl From<AuthError> for ServiceError {
    fn from(error: AuthError) -> Self {
        match error {
            AuthError::Http(http) => http.into(),
            AuthError::Denied(status) if status.status.is_server_error() => Self::Away(status.to_string()),
            AuthError::Denied(_) | AuthError::NoCredentials | AuthError::CredentialsUnavailable { .. } => {
                Self::Unauthorised(error.to_string())
            }
            AuthError::Realm { .. } | AuthError::TokenAnswer | AuthError::TokenCharacters => {
                Self::Hostile(error.to_string())
            }
            AuthError::UserName => Self::Local(Box::new(error)),
        }
    }
}

impl From<HttpError> for ServiceError {
    fn from(error: HttpError) -> Self {
        match error {
            HttpError::Status(status) => Self::of_status(&status),
            error if error.is_absence() => Self::Away(error.to_string()),
            HttpError::Tls { .. } => Self::Tls(error.to_string()),
            HttpError::Oversized { .. } | HttpError::Protocol { .. } | HttpError::Redirect { .. } => {
                Self::Hostile(error.to_string())
            }
            local => Self::Local(Box::new(local.into())),
        }
    }
}
