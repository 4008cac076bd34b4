//! Whether the service works.

use http::StatusCode;
use serde_json::json;

use crate::answer::{self, Answer};
use crate::app::App;

/// Answers 200 when the database does, else 503 with what is wrong, in words that give nothing away.
pub(crate) async fn health(app: &App) -> Answer {
    let check = tokio::time::timeout(app.limits.patience, app.metadata.health()).await;
    let problem = match check {
        Ok(Ok(())) => return answer::json(StatusCode::OK, "{}"),
        Ok(Err(error)) => {
            tracing::error!(%error, source = ?std::error::Error::source(&error), "the database is not healthy");
            "the database cannot be used"
        }
        Err(_) => "the database does not answer",
    };
    answer::json(StatusCode::SERVICE_UNAVAILABLE, json!({ "DB operational": problem }).to_string())
}
