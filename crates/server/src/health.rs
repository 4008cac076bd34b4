//! Whether the service lives, works, and should get requests.

use http::StatusCode;
use serde_json::{Map, Value};

use crate::answer::{self, Answer};
use crate::app::App;

/// Answers 200 when the database and the keyserver do, else 503 with what is wrong, in words that give nothing away.
pub(crate) async fn health(app: &App) -> Answer {
    let (database, signer) = tokio::join!(database(app), signer(app));
    report([("DB operational", database), ("Trust operational", signer)])
}

/// Answers 200 unless a task has ended that has to run as long as the service does: then only a restart helps.
pub(crate) fn live(app: &App) -> Answer {
    let dead = app.dead_tasks().then_some("a task that has to run has ended: restart the service");
    report([("tasks", dead)])
}

/// Answers 200 when requests can be answered, publications among them, and are wanted: not while the service is about to
/// end. `exclude=signer` and `exclude=audit` leave out what only changes need.
pub(crate) async fn ready(app: &App, query: Option<&str>) -> Answer {
    if app.is_draining() {
        return report([("draining", Some("the service is about to end"))]);
    }
    let excluded =
        |name: &str| query.unwrap_or_default().split('&').any(|part| part.strip_prefix("exclude=") == Some(name));
    let signer = async { if excluded("signer") { None } else { signer(app).await } };
    let audit = app.audit.is_failing() && !excluded("audit");
    let audit = audit.then_some("the audit log cannot be written: changes are refused");
    let (database, signer) = tokio::join!(database(app), signer);
    report([("database", database), ("signer", signer), ("audit", audit)])
}

fn report<const N: usize>(checks: [(&str, Option<&'static str>); N]) -> Answer {
    let problems: Map<String, Value> =
        checks.into_iter().filter_map(|(check, problem)| Some((check.to_owned(), problem?.into()))).collect();
    let status = if problems.is_empty() { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    answer::json(status, Value::Object(problems).to_string())
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
