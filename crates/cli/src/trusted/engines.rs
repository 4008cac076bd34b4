//! The engine that docker's flags, variables and contexts name, connected to when it is needed.

use super::words::of_engine;
use crate::error::CliError;
use countersign_engine::{Address, Endpoint, EndpointError, Engine, EngineSelection, Helper, Limits};

/// Where the engine is; nothing is asked of it before it is needed.
#[derive(Debug)]
pub(crate) struct Engines {
    /// What says where it is.
    pub(crate) selection: EngineSelection,
    /// The docker that reaches what only docker can reach: engines behind ssh, and endpoints of a kind unknown here.
    pub(crate) helper: Option<Helper>,
}

impl Engines {
    /// Connects.
    pub(crate) async fn connect(&self) -> Result<Engine, CliError> {
        Engine::connect(self.endpoint()?, Limits::default()).await.map_err(of_engine)
    }

    fn endpoint(&self) -> Result<Endpoint, CliError> {
        let through =
            |helper: &Helper| Endpoint { address: Address::Through(helper.clone()), tls: None, program_path: None };
        match (self.selection.resolve(), &self.helper) {
            (
                Ok(Endpoint { address: Address::Ssh { .. }, .. })
                | Err(EndpointError::Host { .. } | EndpointError::NoEndpoint(_)),
                Some(helper),
            ) => Ok(through(helper)),
            (resolved, _) => Ok(resolved?),
        }
    }
}
