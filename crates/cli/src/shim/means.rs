//! What work with signatures needs: the shared context, and the engine that docker's flags name.

use super::command_line::CommandLine;
use super::real_docker::RealDocker;
use crate::context::{Context, ContextOptions};
use crate::error::CliError;
use crate::prompt::Voice;
use crate::trusted::Engines;
use crate::trusted::words::user;
use countersign_engine::{EngineSelection, Environment, Helper, TlsFlags};
use std::path::PathBuf;

/// The context and the engine.
pub(crate) struct Means {
    /// Trust directory, services, pins, passphrases, audit log.
    pub(crate) context: Context,
    /// The engine, not asked yet.
    pub(crate) engines: Engines,
}

impl Means {
    /// Reads docker's flags and variables; nothing is sent.
    ///
    /// # Errors
    /// They contradict each other, or the configuration cannot be read.
    pub(crate) fn of(line: &CommandLine, real: &RealDocker) -> Result<Self, CliError> {
        let context = Context::open(ContextOptions::docker(Voice::Docker, line.config().as_deref())?)?;
        let given = &line.globals;
        let hosts = given.values("host");
        if hosts.len() > 1 {
            return Err(user("specify only one -H"));
        }
        let switch = |name: &str| given.was_set(name).then(|| given.is_on(name));
        let path = |name: &str| given.value(name).map(PathBuf::from);
        let selection = EngineSelection {
            host_flag: hosts.first().map(|host| (*host).to_owned()),
            context_flag: given.value("context").map(str::to_owned),
            tls: TlsFlags {
                tls: switch("tls"),
                verify: switch("tlsverify"),
                ca: path("tlscacert"),
                certificate: path("tlscert"),
                key: path("tlskey"),
            },
            env: Environment::of_this_process(),
            config_dir: context.docker_config.clone(),
        };
        let helper = Helper::dial_stdio(real.program().as_os_str().to_owned(), line.global_arguments().to_vec());
        Ok(Self { context, engines: Engines { selection, helper: Some(helper) } })
    }
}
