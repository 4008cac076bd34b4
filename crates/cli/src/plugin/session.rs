//! What a command of the plugin works with: the shared context, and the engine that docker's flags name.

use super::line::Call;
use crate::context::{Context, ContextOptions};
use crate::error::CliError;
use crate::prompt::Voice;
use crate::trusted::Engines;
use crate::trusted::words::{About, user};
use countersign_engine::{EndpointError, EngineSelection, Environment, Helper, TlsFlags};
use countersign_trust::CollectionClient;
use countersign_tuf::Gun;
use std::path::PathBuf;

/// The variable in which docker tells a plugin how it was called itself.
const ORIGINAL: &str = "DOCKER_CLI_PLUGIN_ORIGINAL_CLI_COMMAND";

/// Opens what docker's flags and variables describe.
pub(super) fn context(call: &Call) -> Result<Context, CliError> {
    if call.global.was_set("host") && call.global.was_set("context") {
        return Err(user(EndpointError::HostAndContext));
    }
    let config = call.global.value("config").filter(|path| !path.is_empty()).map(PathBuf::from);
    Context::open(ContextOptions::docker(Voice::Docker, config.as_deref())?)
}

/// Names the engine that docker would use; what only docker can reach is reached through docker.
pub(super) fn engines(call: &Call, context: &Context) -> Result<Engines, CliError> {
    let hosts = call.global.values("host");
    if hosts.len() > 1 {
        return Err(user("specify only one -H"));
    }
    let switch = |name: &str| call.global.was_set(name).then(|| call.global.is_on(name));
    let path = |name: &str| call.global.value(name).map(PathBuf::from);
    let selection = EngineSelection {
        host_flag: hosts.first().map(|host| (*host).to_owned()),
        context_flag: call.global.value("context").map(str::to_owned),
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
    let helper = std::env::var_os(ORIGINAL).filter(|docker| !docker.is_empty());
    let helper = helper.map(|docker| Helper::dial_stdio(docker, call.global_words.clone()));
    Ok(Engines { selection, helper })
}

/// What errors about a collection are about.
pub(super) fn about<'a>(gun: &'a Gun, client: &'a CollectionClient<'_>) -> About<'a> {
    About { repository: gun.as_str(), service: client.service().address().authority() }
}
