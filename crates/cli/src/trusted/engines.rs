//! The engine that docker's flags, variables and contexts name, connected to when it is needed.

use super::words::of_engine;
use crate::error::CliError;
use countersign_engine::{Engine, EngineSelection, Limits};

/// Where the engine is; nothing is asked of it before it is needed.
#[derive(Debug)]
pub(crate) struct Engines(pub(crate) EngineSelection);

impl Engines {
    /// Connects.
    pub(crate) async fn connect(&self) -> Result<Engine, CliError> {
        Engine::connect(self.0.resolve()?, Limits::default()).await.map_err(of_engine)
    }
}
