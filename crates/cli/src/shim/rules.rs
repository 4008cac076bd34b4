//! What becomes of each of docker's commands while content trust is on.
//!
//! A command that can neither run nor move an image goes to the real docker as it is. One that can is done here, or refused
//! where it cannot be checked; so is every command that is not in the table, because a plugin may do anything.

/// What becomes of a command.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Rule {
    /// It neither runs nor moves an image, or acts on what runs already.
    Pass,
    /// Pushes and signs.
    Push,
    /// Verifies and pulls.
    Pull,
    /// Verifies the image and makes a container of it.
    Create,
    /// As [`Self::Create`], and runs it: errors are worded and numbered as `docker run` does.
    Run,
    /// Verifies what is built upon, and signs what is pushed.
    Build,
    /// Verifies the images of services.
    Compose,
    /// Verifies the image of a swarm service.
    ServiceCreate,
    /// The same where it changes.
    ServiceUpdate,
    /// Moves an image without a signature, which this says.
    Unsigned(&'static str),
    /// Starts a builder, which runs an image.
    BuilderCreate,
    /// As [`Self::BuilderCreate`] if `--bootstrap` is there.
    BuilderInspect,
    /// Runs or fetches images in a way that cannot be checked, for this reason; the flag switches content trust off.
    RefuseFlagged(&'static str),
    /// The same; only the variable switches content trust off.
    Refuse(&'static str),
}

/// Commands that neither run nor move images.
const PASS: [&str; 56] = [
    "attach",
    "commit",
    "completion",
    "config",
    "context",
    "checkpoint",
    "cp",
    "diff",
    "events",
    "exec",
    "export",
    "help",
    "history",
    "images",
    "import",
    "info",
    "inspect",
    "kill",
    "load",
    "login",
    "logout",
    "logs",
    "network",
    "node",
    "pause",
    "port",
    "ps",
    "rename",
    "restart",
    "rm",
    "rmi",
    "save",
    "search",
    "secret",
    "start",
    "stats",
    "stop",
    "swarm",
    "system",
    "tag",
    "top",
    "trust",
    "unpause",
    "update",
    "version",
    "volume",
    "wait",
    "__complete",
    "__completeNoDesc",
    // Plugins that read images or write files, and run nothing.
    "desktop",
    "feedback",
    "init",
    "sbom",
    "scan",
    "scout",
    "pass",
];

const IMAGE: [&str; 9] = ["history", "import", "inspect", "load", "ls", "list", "prune", "save", "tag"];
const CONTAINER: [&str; 23] = [
    "attach", "commit", "cp", "diff", "exec", "export", "inspect", "kill", "logs", "ls", "list", "ps", "pause", "port",
    "prune", "rename", "restart", "start", "stats", "stop", "top", "unpause", "update",
];
const SERVICE: [&str; 6] = ["inspect", "logs", "ls", "ps", "rollback", "scale"];
const STACK: [&str; 5] = ["config", "ls", "ps", "services", "down"];
const PLUGIN: [&str; 6] = ["create", "disable", "enable", "inspect", "ls", "set"];
const BUILDX: [&str; 10] =
    ["dial-stdio", "du", "history", "install", "ls", "prune", "stop", "uninstall", "use", "version"];
const MANIFEST: [&str; 3] = ["annotate", "create", "inspect"];

const MANIFEST_PUSH: &str =
    "the manifest list is pushed without a signature; docker trust sign signs what the registry holds";
const NOT_KNOWN: &str =
    "this command is not known: a plugin can run and fetch images without anybody looking at signatures";

impl Rule {
    /// Finds the rule of a command.
    pub(crate) fn of(words: &[String]) -> Self {
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        match words.as_slice() {
            ["push"] | ["image", "push"] => Self::Push,
            ["pull"] | ["image", "pull"] => Self::Pull,
            ["create"] | ["container", "create"] => Self::Create,
            ["run"] | ["container", "run"] => Self::Run,
            ["build"] | ["image" | "builder" | "buildx", "build"] | ["builder" | "buildx", "b"] => Self::Build,
            ["compose", ..] => Self::Compose,
            ["service", "create"] => Self::ServiceCreate,
            ["service", "update"] => Self::ServiceUpdate,
            []
            | ["image" | "container" | "service" | "stack" | "plugin" | "manifest" | "buildx" | "builder"]
            | ["manifest", "rm"] => Self::Pass,
            ["plugin", "install" | "upgrade"] => Self::RefuseFlagged("engine plugins are not verified"),
            ["plugin", "push"] => Self::RefuseFlagged("engine plugins are not signed"),
            ["stack", "deploy" | "up"] | ["deploy"] => Self::Refuse("the images of a stack are not verified"),
            ["manifest", "push"] => Self::Unsigned(MANIFEST_PUSH),
            ["buildx" | "builder", rest @ ..] => Self::of_buildx(rest),
            [group, word] if of_group(group, word) => Self::Pass,
            [word] if PASS.contains(word) => Self::Pass,
            _ => Self::Refuse(NOT_KNOWN),
        }
    }

    fn of_buildx(words: &[&str]) -> Self {
        match words {
            ["bake" | "f"] => Self::Refuse("the images that bake builds upon are not verified: build them one by one"),
            ["create"] => Self::BuilderCreate,
            ["inspect"] => Self::BuilderInspect,
            ["imagetools", "create"] => Self::Unsigned(MANIFEST_PUSH),
            ["imagetools" | "history" | "rm"]
            | ["imagetools", "inspect"]
            | ["history", "inspect" | "logs" | "ls" | "open" | "rm" | "export" | "import" | "trace"] => Self::Pass,
            [word] if BUILDX.contains(word) => Self::Pass,
            _ => Self::Refuse(NOT_KNOWN),
        }
    }
}

fn of_group(group: &str, word: &str) -> bool {
    let removes = matches!(word, "rm" | "remove" | "list");
    match group {
        "image" => removes || IMAGE.contains(&word),
        "container" => removes || word == "wait" || CONTAINER.contains(&word),
        "service" => removes || SERVICE.contains(&word),
        "stack" => removes || STACK.contains(&word),
        "plugin" => removes || PLUGIN.contains(&word),
        "manifest" => MANIFEST.contains(&word),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(words: &str) -> Rule {
        Rule::of(&words.split(' ').filter(|word| !word.is_empty()).map(str::to_owned).collect::<Vec<_>>())
    }

    #[test]
    fn every_way_to_call_a_command_has_the_same_rule() {
        for (rule, calls) in [
            (Rule::Push, &["push", "image push"][..]),
            (Rule::Pull, &["pull", "image pull"]),
            (Rule::Run, &["run", "container run"]),
            (Rule::Create, &["create", "container create"]),
            (Rule::Build, &["build", "image build", "buildx build", "buildx b", "builder build"]),
            (Rule::Compose, &["compose", "compose up", "compose ps"]),
        ] {
            for call in calls {
                assert_eq!(of(call), rule, "{call}");
            }
        }
    }

    #[test]
    fn what_runs_or_moves_no_image_passes() {
        for call in [
            "",
            "ps",
            "version",
            "images",
            "exec",
            "start",
            "image ls",
            "image rm",
            "container wait",
            "container rm",
            "buildx ls",
            "buildx imagetools inspect",
            "buildx history logs",
            "builder prune",
            "trust",
            "login",
            "__complete",
            "service scale",
            "service logs",
            "stack rm",
            "plugin ls",
            "manifest inspect",
            "image",
            "scout",
            "volume",
        ] {
            assert_eq!(of(call), Rule::Pass, "{call}");
        }
    }

    #[test]
    fn what_cannot_be_checked_or_is_not_known_is_refused() {
        for call in [
            "stack deploy",
            "deploy",
            "buildx bake",
            "builder bake",
            "buildx debug",
            "debug",
            "model",
            "app",
            "foo",
            "image foo",
            "container foo",
            "engine activate",
            "buildx imagetools foo",
            "sandbox",
            "mcp",
            "offload",
            "extension",
        ] {
            assert!(matches!(of(call), Rule::Refuse(_)), "{call}");
        }
        for call in ["plugin install", "plugin upgrade", "plugin push"] {
            assert!(matches!(of(call), Rule::RefuseFlagged(_)), "{call}");
        }
        for call in ["manifest push", "buildx imagetools create"] {
            assert!(matches!(of(call), Rule::Unsigned(_)), "{call}");
        }
    }
}
