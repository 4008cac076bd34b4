//! Whether the service works.

use http::StatusCode;

use crate::answer::{self, Answer};
use crate::app::App;

/// Answers 200 when the database and the keyserver do, else 503 with what is wrong, in words that give nothing away.
pub(crate) async fn health(app: &App) -> Answer {
    let (database, signer) = tokio::join!(database(app), signer(app));
    let checks = [("DB operational", database), ("Trust operational", signer)];
    let problems: serde_json::Map<_, _> =
        checks.into_iter().filter_map(|(check, problem)| Some((check.to_owned(), problem?.into()))).collect();
    let status = if problems.is_empty() { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    answer::json(status, serde_json::Value::Object(problems).to_string())
}

async fn database(app: &App) -> Option<&'static str> {
    match tokio::time::timeout(app.limits.patience, app.metadata.health()).await {
        Ok(Ok(())) => None,
        Ok(Err(error)) => {
            tracing::error!(%error, source = ?std::error::Error::source(&error), "the database is not healthy");
            Some("the database cannot be used")
        }
        Err(_) => Some("the database does not answer"),
    }
}

async fn signer(app: &App) -> Option<&'static str> {
    if app.keys.remote()?.is_healthy().await { None } else { Some("the signing service cannot be used") }
}
