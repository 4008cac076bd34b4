//! Flags of `docker compose` and of those of its commands that run, pull, build or push images.

use super::{switch, value};
use crate::cobra::Flag;

/// Flags of `docker compose` before its command.
pub(crate) static COMPOSE: [Flag; 18] = [
    switch("all-resources"),
    value("ansi"),
    switch("compatibility"),
    switch("dry-run"),
    value("env-file"),
    value("file").short('f'),
    switch("help").short('h'),
    value("insecure-registry"),
    switch("no-ansi"),
    value("parallel"),
    value("profile"),
    value("progress"),
    value("project-directory"),
    value("project-name").short('p'),
    switch("verbose"),
    switch("version").short('v'),
    value("workdir"),
    switch("debug").short('D'),
];

/// Flags of the commands that take images, by command.
pub(crate) static COMPOSE_COMMANDS: [(&str, &[Flag]); 5] =
    [("up", &UP), ("create", &CREATE), ("run", &RUN), ("pull", &PULL), ("scale", &SCALE)];

static UP: [Flag; 34] = [
    switch("abort-on-container-exit"),
    switch("abort-on-container-failure"),
    switch("always-recreate-deps"),
    value("attach"),
    switch("attach-dependencies"),
    switch("build"),
    switch("detach").short('d'),
    switch("dry-run"),
    value("exit-code-from"),
    switch("force-recreate"),
    switch("help").short('h'),
    switch("menu"),
    value("no-attach"),
    switch("no-build"),
    switch("no-color"),
    switch("no-deps"),
    switch("no-log-prefix"),
    switch("no-recreate"),
    switch("no-start"),
    value("pull"),
    switch("quiet"),
    switch("quiet-build"),
    switch("quiet-pull"),
    switch("remove-orphans"),
    switch("renew-anon-volumes").short('V'),
    value("scale"),
    value("timeout").short('t'),
    switch("timestamps"),
    switch("wait"),
    value("wait-timeout"),
    switch("watch").short('w'),
    switch("yes").short('y'),
    switch("assume-yes"),
    value("cascade"),
];

static CREATE: [Flag; 13] = [
    switch("build"),
    switch("dry-run"),
    switch("force-recreate"),
    switch("help").short('h'),
    switch("no-build"),
    switch("no-recreate"),
    value("pull"),
    switch("quiet-pull"),
    switch("remove-orphans"),
    value("scale"),
    switch("yes").short('y'),
    switch("assume-yes"),
    switch("no-deps"),
];

static RUN: [Flag; 28] = [
    switch("build"),
    value("cap-add"),
    value("cap-drop"),
    switch("detach").short('d'),
    switch("dry-run"),
    value("entrypoint"),
    value("env").short('e'),
    value("env-from-file"),
    switch("help").short('h'),
    switch("interactive").short('i'),
    value("label").short('l'),
    value("name"),
    switch("no-TTY").short('T'),
    switch("no-deps"),
    value("publish").short('p'),
    value("pull"),
    switch("quiet").short('q'),
    switch("quiet-build"),
    switch("quiet-pull"),
    switch("remove-orphans"),
    switch("rm"),
    switch("service-ports").short('P'),
    switch("tty").short('t'),
    switch("use-aliases"),
    value("user").short('u'),
    value("volume").short('v'),
    value("workdir").short('w'),
    switch("assume-yes"),
];

static PULL: [Flag; 9] = [
    switch("dry-run"),
    switch("help").short('h'),
    switch("ignore-buildable"),
    switch("ignore-pull-failures"),
    switch("include-deps"),
    switch("no-parallel"),
    switch("parallel"),
    value("policy"),
    switch("quiet").short('q'),
];

static SCALE: [Flag; 3] = [switch("dry-run"), switch("help").short('h'), switch("no-deps")];
