//! `ci run`: what the command finds, how it ends, and what is left.

use super::pipeline::{Agent, PipelineKey, VARIABLE};
use crate::client::{Ending, USER};
use crate::stage::{Shop, Stage, pushed_digest};
use countersign_testkit::Finished;
use rustix::process::{Pid, Signal, kill_process, kill_process_group};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// Longer than anything here takes.
const LONG: Duration = Duration::from_secs(30);

fn agent() -> (Shop, Agent, PipelineKey) {
    let shop = Shop::open();
    let owner = shop.client();
    shop.signed_by(&owner, "v0", "zero");
    let key = PipelineKey::made_by(&owner, &shop.gun());
    let agent = Agent::of(&shop.service, &key);
    (shop, agent, key)
}

/// A job that runs in the background until something is there.
fn started(mut command: Command, until: &std::path::Path) -> Child {
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).process_group(0);
    let child = command.spawn().unwrap();
    wait_for(|| until.exists());
    child
}

#[track_caller]
fn wait_for(mut condition: impl FnMut() -> bool) {
    let end = Instant::now() + LONG;
    while !condition() {
        assert!(Instant::now() < end, "it did not happen within {LONG:?}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn the_command_finds_the_keys_and_nothing_that_opens_the_archive() {
    let (shop, agent, key) = agent();
    let agent = agent.env("DOCKER_CONTENT_TRUST_ROOT_PASSPHRASE", "never for a pipeline");
    let config = agent.client.config_dir();
    std::fs::write(config.join("config.json"), r#"{"auths":{"registry.test":{}}}"#).unwrap();
    std::fs::create_dir_all(config.join("trust/private")).unwrap();
    std::fs::create_dir(config.join("contexts")).unwrap();
    let script = format!(
        "set -e; env | sort; echo --; ls $DOCKER_CONFIG; cat $DOCKER_CONFIG/config.json; echo; \
         stat -c %a $DOCKER_CONFIG/.. $DOCKER_CONFIG/config.json; \
         test -f $DOCKER_CONFIG/trust/private/{id}.key; test $DOCKER_CONFIG/trust = $COUNTERSIGN_CI_TRUST_DIR; \
         echo changed > $DOCKER_CONFIG/config.json; test $DOCKER_CONTENT_TRUST = 1; \
         test \"$DOCKER_CONTENT_TRUST_REPOSITORY_PASSPHRASE\" = \"$NOTARY_DELEGATION_PASSPHRASE\"; \
         test -n \"$NOTARY_DELEGATION_PASSPHRASE\"; exit 7",
        id = key.id
    );
    let done = agent.runs(&script);
    assert_eq!(done.code, 7, "{done}");
    agent.is_clean_after(&done);
    let listing = done.stdout.split("--\n").nth(1).unwrap();
    assert!(listing.starts_with("config.json\ncontexts\ntls\ntrust\n"), "{done}");
    assert!(listing.ends_with("700\n600\n"), "{done}");
    assert!(!done.stdout.contains(VARIABLE) && !done.stdout.contains("ROOT_PASSPHRASE"), "{done}");
    assert!(done.stdout.contains(&format!("DOCKER_CONTENT_TRUST_SERVER={}", shop.service.url())), "{done}");
    // Masked, not gone.
    assert!(done.stdout.contains("DOCKER_CONTENT_TRUST_REPOSITORY_PASSPHRASE=***"), "{done}");
    assert!(std::fs::read_to_string(config.join("config.json")).unwrap().contains("registry.test"));
}

#[test]
fn notary_and_countersign_sign_in_the_command() {
    let (shop, agent, _key) = agent();
    let digest = shop.put("v1", "one");
    let program = env!("CARGO_BIN_EXE_countersign");
    let (gun, name) = (shop.gun(), shop.name("v1"));
    let script = format!(
        "set -e; {program} sign {name}; echo something > file; \
         notary -c $COUNTERSIGN_CI_NOTARY_CONFIG addhash {gun} v9 10 --sha256 {hash} -r targets/ci -r targets/releases -p",
        hash = "ab".repeat(32)
    );
    let done = agent.runs(&script).succeeded();
    agent.is_clean_after(&done);
    let reader = shop.client();
    assert!(reader.run(&["verify", &name]).succeeded().stdout.contains(&digest));
    assert!(reader.run(&["verify", &shop.name("v9")]).succeeded().stdout.contains(&"ab".repeat(32)));
}

#[test]
fn the_passphrase_is_masked_in_both_outputs_and_their_order_is_kept() {
    let (_shop, agent, _key) = agent();
    let script = "printf %s \"$NOTARY_TARGETS_PASSPHRASE\"; for i in 1 2 3; do echo out $i; echo err $i >&2; done; \
                  printf \"%s\" \"$NOTARY_TARGETS_PASSPHRASE\" | dd bs=1 >&2 2>/dev/null; cat; printf last";
    let log = agent.client.folder().join("log");
    let mut command = agent.command("run", &["--", "sh", "-c", script]);
    let file = std::fs::File::create(&log).unwrap();
    command.stdin(Stdio::null()).stdout(file.try_clone().unwrap()).stderr(file);
    assert!(command.status().unwrap().success());
    let text = std::fs::read_to_string(&log).unwrap();
    assert_eq!(text, "***out 1\nerr 1\nout 2\nerr 2\nout 3\nerr 3\n***last");
    let done = agent.ci("run", &["--", "sh", "-c", "echo $NOTARY_TARGETS_PASSPHRASE >&2; exit 3"]);
    assert_eq!((done.code, done.stderr.as_str()), (3, "***\n"));
    agent.is_clean_after(&done);
}

#[test]
fn a_passphrase_that_the_ci_system_does_not_know_is_told_to_it_and_to_no_file() {
    let (_shop, agent, key) = agent();
    let file = key.passphrase_file();
    let run = |system: &str, value: &str, source: &[&str]| {
        let mut command = agent.client.command(&["ci", "run", "--archive"]);
        command.arg(key.archive()).args(source).args(["--", "true"]).env(system, value);
        command
    };
    let from_file = ["--passphrase-file", file.to_str().unwrap()];
    let told = Finished::of(&mut run("GITHUB_ACTIONS", "true", &from_file), b"").succeeded();
    assert_eq!(told.stderr, format!("::add-mask::{}\n", key.passphrase));
    let told = Finished::of(&mut run("TF_BUILD", "True", &from_file), b"").succeeded();
    assert_eq!(told.stderr, format!("##vso[task.setsecret]{}\n", key.passphrase));
    for (system, value) in [("GITLAB_CI", "true"), ("JENKINS_URL", "https://ci.test/")] {
        let silent = Finished::of(&mut run(system, value, &from_file), b"").succeeded();
        assert_eq!(silent.stderr, "", "{system}");
    }
    let known = Finished::of(&mut run("GITHUB_ACTIONS", "true", &["--passphrase-env", VARIABLE]), b"").succeeded();
    assert_eq!(known.stderr, "");
    let log = agent.client.folder().join("log");
    let mut to_file = run("GITHUB_ACTIONS", "true", &from_file);
    to_file.stdout(Stdio::null()).stderr(std::fs::File::create(&log).unwrap());
    assert!(to_file.status().unwrap().success());
    assert_eq!(std::fs::read_to_string(log).unwrap(), "");
}

#[test]
fn the_command_is_ended_with_its_children_at_each_signal_and_nothing_is_left() {
    let (_shop, agent, _key) = agent();
    let script = "sleep 600 & echo $! > child; touch ready; wait";
    for (signal, code) in [(Signal::INT, 130), (Signal::TERM, 143), (Signal::HUP, 129), (Signal::QUIT, 131)] {
        let folder = agent.client.folder();
        let ready = folder.join("ready");
        // A shell's background children do not hear SIGINT: they end with the group's end.
        let mut job = started(agent.command("run", &["--", "sh", "-c", script]), &ready);
        assert_eq!(agent.left_in_memory().len(), 1);
        assert!(!agent.search().found().is_empty(), "the search would find keys while they are there");
        kill_process(Pid::from_child(&job), signal).unwrap();
        let status = job.wait().unwrap();
        assert_eq!(status.code(), Some(code), "{signal:?}");
        let child = std::fs::read_to_string(folder.join("child")).unwrap();
        wait_for(|| !lives(child.trim()));
        agent.search().finds_nothing();
        assert_eq!(agent.left_in_memory().len(), 0);
        std::fs::remove_file(ready).unwrap();
    }
}

fn lives(id: &str) -> bool {
    std::fs::read_to_string(format!("/proc/{id}/stat")).is_ok_and(|stat| !stat.contains(") Z "))
}

#[test]
fn a_command_that_takes_too_long_or_ignores_the_request_is_ended() {
    let (_shop, agent, _key) = agent();
    let done = agent.ci("run", &["--timeout", "1s", "--", "sleep", "600"]);
    assert_eq!(done.code, 124, "{done}");
    assert!(done.stderr.contains("the time is over"), "{done}");
    agent.is_clean_after(&done);
    let done = agent.ci("run", &["--timeout", "1s", "--", "sh", "-c", "trap '' TERM; while :; do sleep 0.2; done"]);
    assert_eq!(done.code, 124, "{done}");
    assert!(done.stderr.contains("is killed"), "{done}");
    agent.is_clean_after(&done);
    let left = agent.runs("sleep 600 & echo $! > child").succeeded();
    agent.is_clean_after(&left);
    let child = std::fs::read_to_string(agent.client.folder().join("child")).unwrap();
    wait_for(|| !lives(child.trim()));
    let own = agent.runs("kill -KILL $$");
    assert_eq!(own.code, 137, "{own}");
    let missing = agent.ci("run", &["--", "/nowhere/command"]).refused(5, "cannot run /nowhere/command");
    agent.is_clean_after(&missing);
    agent.ci("run", &["--timeout", "soon", "--", "true"]).refused(USER, "give seconds");
}

#[test]
fn what_a_killed_run_left_is_removed_by_the_next_and_a_run_that_lives_is_left_alone() {
    let (_shop, agent, _key) = agent();
    let folder = agent.client.folder().to_owned();
    let script = |name: &str| format!("touch {name}; exec sleep 600");
    let living = agent.command("run", &["--", "sh", "-c", &script("living")]);
    let mut living = started(living, &folder.join("living"));
    let mut killed = started(agent.command("run", &["--", "sh", "-c", &script("killed")]), &folder.join("killed"));
    assert_eq!(agent.left_in_memory().len(), 2);
    kill_process(Pid::from_child(&killed), Signal::KILL).unwrap();
    killed.wait().unwrap();
    assert_eq!(agent.left_in_memory().len(), 2, "nobody could clean up");
    let next = agent.runs("true").succeeded();
    assert!(next.stderr.contains("removed what 1 killed run(s) had left behind"), "{next}");
    let [left] = agent.left_in_memory().try_into().unwrap();
    assert!(left.join("docker/trust/private").is_dir(), "the other job still has its keys");
    kill_process(Pid::from_child(&living), Signal::KILL).unwrap();
    living.wait().unwrap();
    let cleaned = agent.client.run(&["ci", "clean"]).succeeded();
    assert_eq!(cleaned.stdout, "Removed what 1 killed run(s) left behind.\n");
    assert_eq!(agent.client.run(&["ci", "clean"]).succeeded().stdout, "Nothing was left behind.\n");
    agent.search().finds_nothing();
    // The commands outlived the one that ran them; they are this test's to end.
    for_each_sleeper_in(&folder, |id| {
        let _ = kill_process(id, Signal::KILL);
    });
}

/// Ends what a killed `ci run` could not: its command goes on without keys.
fn for_each_sleeper_in(folder: &std::path::Path, end: impl Fn(Pid)) {
    for entry in std::fs::read_dir("/proc").unwrap().flatten() {
        let id = entry.file_name().to_str().and_then(|name| name.parse::<i32>().ok()).and_then(Pid::from_raw);
        let here = std::fs::read_link(entry.path().join("cwd")).is_ok_and(|cwd| cwd == folder);
        if let Some(id) = id.filter(|_| here) {
            end(id);
        }
    }
}

#[test]
fn a_run_that_is_killed_at_any_moment_leaves_nothing_that_the_next_does_not_remove() {
    let (shop, agent, _key) = agent();
    shop.put("v1", "one");
    let started = Instant::now();
    agent.ci("sign", &[&shop.name("v1")]).succeeded();
    let whole = started.elapsed();
    for step in 0..12_u32 {
        let mut command = agent.command("sign", &[&shop.name("v1")]);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).process_group(0);
        let mut job = command.spawn().unwrap();
        std::thread::sleep(whole * step / 12);
        let _ = kill_process_group(Pid::from_child(&job), Signal::KILL);
        job.wait().unwrap();
        assert_eq!(agent.client.run(&["ci", "clean"]).code, 0);
        assert_eq!(agent.left_in_memory().len(), 0, "killed after {step} of 12");
        agent.search().finds_nothing();
    }
    let done = agent.ci("sign", &[&shop.name("v1")]).succeeded();
    agent.is_clean_after(&done);
}

#[test]
fn signing_that_is_told_to_stop_removes_the_keys_first() {
    let (shop, agent, _key) = agent();
    shop.put("v1", "one");
    // A service that takes connections and never answers.
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let server = format!("https://{}", silent.local_addr().unwrap());
    let sign = |more: &[&str]| {
        let mut command = agent.command("sign", &[&shop.name("v1")]);
        command.args(more).env("DOCKER_CONTENT_TRUST_SERVER", &server);
        command
    };
    let mut command = sign(&[]);
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    let mut job = command.spawn().unwrap();
    let _taken = silent.accept().unwrap();
    assert_eq!(agent.left_in_memory().len(), 1);
    kill_process(Pid::from_child(&job), Signal::TERM).unwrap();
    assert_eq!(job.wait().unwrap().code(), Some(143));
    agent.search().finds_nothing();
    assert_eq!(agent.left_in_memory().len(), 0);
    let done = Finished::of(&mut sign(&["--timeout", "1s"]), b"");
    assert_eq!(done.code, 124, "{done}");
    agent.is_clean_after(&done);
}

#[test]
fn a_job_that_waits_for_its_archive_ends_in_time_and_when_it_is_told_to() {
    let (shop, agent, _key) = agent();
    let name = shop.name("v1");
    for (verb, rest) in [("sign", [name.as_str()].as_slice()), ("run", &["--", "true"])] {
        let waiting = |more: &[&str]| {
            let mut command = agent.client.command(&["ci", verb, "--archive", "-", "--passphrase-env", VARIABLE]);
            command.args(more).args(rest).stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::piped());
            command.spawn().unwrap()
        };
        let mut job = waiting(&["--timeout", "1s"]);
        let input = job.stdin.take().unwrap();
        wait_for(|| job.try_wait().unwrap().is_some());
        let done = job.wait_with_output().unwrap();
        assert_eq!(done.status.code(), Some(124), "{verb}");
        let told = String::from_utf8(done.stderr).unwrap();
        assert!(told.contains("the time is over") && told.contains("nothing was signed"), "{verb}: {told}");
        drop(input);
        let mut job = waiting(&[]);
        let input = job.stdin.take().unwrap();
        wait_for(|| {
            let _ = kill_process(Pid::from_child(&job), Signal::TERM);
            job.try_wait().unwrap().is_some()
        });
        // Before the signal is listened for, it ends the job by itself: nothing is there to be removed yet.
        let status = job.wait().unwrap();
        assert!(status.code() == Some(143) || status.signal() == Some(15), "{verb}: {status:?}");
        drop(input);
    }
    assert_eq!(agent.left_in_memory().len(), 0);
}

fn docker_pushes_signed(stage: &Stage, docker: &str) {
    let owner = stage.countersign();
    let app = stage.repository("acme/app");
    stage.engine.build(&format!("{app}:v0"), "zero");
    owner.run(&["push", &format!("{app}:v0")]).succeeded();
    let key = PipelineKey::made_by(&owner, &app);
    let agent = Agent::of(&stage.service, &key).env("DOCKER_HOST", &stage.engine.host());
    let name = format!("{app}:v1");
    stage.engine.build(&name, "one");
    let done = agent.runs(&format!("{docker} push {name}")).succeeded();
    agent.is_clean_after(&done);
    assert!(done.stdout.contains(&format!("Successfully signed {name}")), "{done}");
    let verified = owner.run(&["verify", &name]).succeeded();
    assert!(verified.stdout.contains(&pushed_digest(&done)), "{verified}");
    // A collection whose keys would be gone in a moment is not made by docker either: there is no passphrase for its root.
    let other = stage.repository("acme/other");
    stage.engine.build(&format!("{other}:v1"), "one");
    let refused = agent.runs(&format!("{docker} push {other}:v1")).failed();
    agent.is_clean_after(&refused);
    assert_ne!(owner.run(&["verify", &format!("{other}:v1")]).code, 0);
}

#[test]
fn docker_20_pushes_and_signs_in_the_command() {
    docker_pushes_signed(&Stage::set(), "/usr/bin/docker");
}

mod docker_28 {
    #[test]
    fn docker_pushes_and_signs_in_the_command() {
        super::docker_pushes_signed(&crate::stage::Stage::set(), "/usr/local/bin/docker");
    }
}
