//! The operator's socket: how much the log says is asked and changed there. Only the service's own user can open it.

use std::path::Path;
use std::sync::Arc;

use async_trait::async_trait;
use http::{Method, StatusCode};

use crate::listener::{Answer, Asked, Listener, Pages, text};
use crate::log::Log;

/// Where the log's level is.
const LEVEL: &str = "/log-level";
const PLAIN: &str = "text/plain; charset=utf-8";

/// The socket; it is gone when dropped.
#[derive(Debug)]
pub struct AdminSocket(#[expect(dead_code, reason = "kept for as long as it listens")] Listener);

impl AdminSocket {
    /// Listens on a path: `GET /log-level` answers with the level, `PUT /log-level` sets it to the body.
    ///
    /// # Errors
    /// The socket cannot be made there.
    pub fn open(path: &Path, log: Log) -> std::io::Result<Self> {
        Ok(Self(Listener::on_socket(path, Arc::new(Admin(log)))?))
    }
}

struct Admin(Log);

#[async_trait]
impl Pages for Admin {
    async fn answer(&self, asked: Asked) -> Option<Answer> {
        if asked.path != LEVEL {
            return None;
        }
        Some(match asked.method {
            Method::GET => text(StatusCode::OK, PLAIN, format!("{}\n", self.0.level())),
            Method::PUT => {
                let wanted = String::from_utf8_lossy(&asked.body);
                let before = self.0.level();
                match self.0.set(wanted.trim()) {
                    Ok(()) => {
                        tracing::warn!(before, now = self.0.level(), "the log level was changed");
                        text(StatusCode::OK, PLAIN, format!("{}\n", self.0.level()))
                    }
                    Err(error) => text(StatusCode::BAD_REQUEST, PLAIN, format!("{error}\n")),
                }
            }
            _ => text(StatusCode::METHOD_NOT_ALLOWED, PLAIN, "GET and PUT are answered here\n"),
        })
    }
}
