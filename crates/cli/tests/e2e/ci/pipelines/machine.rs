//! The machine that runs a pipeline's steps: engine, registry with passwords, trust service, secret store, and a job's folders.

use crate::ci::pipeline::{Agent, PipelineKey};
use crate::client::Client;
use countersign_testkit::{Account, DockerRegistry, Dockerd, Finished, TrustService};
use rustix::process::{Pid, Signal, kill_process_group};
use std::collections::BTreeMap;
use std::fmt;
use std::net::TcpListener;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// Who pushes.
pub(super) const ACCOUNT: Account = Account::ALICE;

/// What is called `docker`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::ci) enum Docker {
    /// The newest docker client that the machine has.
    Real,
    /// Our program, which signs and verifies.
    Shim,
}

pub(in crate::ci) struct Machine {
    engine: Dockerd,
    registry: DockerRegistry,
    service: TrustService,
    key: PipelineKey,
    agent: Agent,
    /// What the secret store gives out as the passphrase.
    pub(in crate::ci) passphrase: String,
    docker: Docker,
    number: String,
    silent: Option<(TcpListener, Signal)>,
}

/// Everything that a pipeline's steps printed, and how they ended.
#[derive(Default)]
pub(in crate::ci) struct Ended {
    steps: Vec<Finished>,
    /// Nothing runs any more, not even what runs in every case.
    pub(super) killed: bool,
}

impl Ended {
    pub(in crate::ci) fn succeeded(&self) -> bool {
        !self.killed && self.steps.iter().all(|step| step.code == 0)
    }

    /// The same as it is kept in a log: the service masks what it has bound.
    pub(in crate::ci) fn masked_by_the_service(mut self, machine: &Machine) -> Self {
        for step in &mut self.steps {
            step.stdout = step.stdout.replace(&machine.passphrase, "****");
            step.stderr = step.stderr.replace(&machine.passphrase, "****");
        }
        self
    }

    /// What the last step printed.
    pub(super) fn last_output(&self) -> &str {
        self.steps.last().map(|step| step.stdout.as_str()).unwrap_or_default()
    }
}

impl fmt::Display for Ended {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.steps.iter().try_for_each(|step| writeln!(f, "{step}\n"))
    }
}

impl Machine {
    pub(super) fn set() -> Self {
        Self::with(Docker::Real)
    }

    pub(in crate::ci) fn with(docker: Docker) -> Self {
        let service = TrustService::start(env!("CARGO_BIN_EXE_countersign"));
        let (engine, registry) = (Dockerd::start(), DockerRegistry::builder().passwords().start());
        let owner = Client::new().of(&service).with_engine(&engine);
        log_in(owner.config_dir(), &registry.host());
        let image = format!("{}/acme/app", registry.host());
        engine.build(&format!("{image}:0"), "zero");
        owner.run(&["push", &format!("{image}:0")]).succeeded();
        let key = PipelineKey::made_by(&owner, &image);
        let agent = Agent::of(&service, &key);
        let passphrase = key.passphrase.clone();
        let machine =
            Self { engine, registry, service, key, agent, passphrase, docker, number: String::new(), silent: None };
        machine.furnish();
        machine
    }

    /// What is on the machine before any job: docker, countersign, an authority that the system knows.
    fn furnish(&self) {
        let home = self.home();
        std::fs::create_dir_all(home.join("bin")).unwrap();
        let newest = Path::new("/usr/local/bin/docker");
        let docker = if newest.is_file() { newest } else { Path::new("/usr/bin/docker") };
        let program = Path::new(env!("CARGO_BIN_EXE_countersign"));
        let docker = if self.docker == Docker::Shim { program } else { docker };
        std::os::unix::fs::symlink(docker, home.join("bin/docker")).unwrap();
        let certificates = home.join(".docker/tls").join(self.service.url().trim_start_matches("https://"));
        std::fs::create_dir_all(&certificates).unwrap();
        std::fs::write(certificates.join("ca.crt"), self.service.authority_pem()).unwrap();
        std::os::unix::fs::symlink(env!("CARGO_BIN_EXE_countersign"), home.join("bin/countersign")).unwrap();
        std::fs::write(home.join("authority.pem"), self.service.authority_pem()).unwrap();
    }

    /// Begins a job with its number, and a fresh checkout of the repository.
    pub(in crate::ci) fn begin(&mut self, number: &str) {
        number.clone_into(&mut self.number);
        self.silent = None;
        let workspace = self.workspace();
        let _ = std::fs::remove_dir_all(&workspace);
        std::fs::create_dir_all(&workspace).unwrap();
        std::fs::create_dir_all(self.temporary()).unwrap();
        std::fs::write(workspace.join("message"), format!("build {number}")).unwrap();
        std::fs::write(workspace.join("Dockerfile"), "FROM scratch\nCOPY message /message\nCMD [\"/message\"]\n")
            .unwrap();
    }

    pub(super) fn right_passphrase(&mut self) {
        self.passphrase = self.key.passphrase.clone();
    }

    /// Has the trust service not answer; whoever has asked it is sent this signal.
    pub(super) fn silent_service(&mut self, signal: Signal) {
        self.silent = Some((TcpListener::bind("127.0.0.1:0").unwrap(), signal));
    }

    pub(super) fn home(&self) -> &Path {
        self.agent.client.folder()
    }

    pub(super) fn workspace(&self) -> PathBuf {
        self.home().join("work/app")
    }

    /// The job's own temporary folder.
    pub(super) fn temporary(&self) -> PathBuf {
        self.home().join("work/app.tmp")
    }

    pub(super) fn image(&self) -> String {
        format!("{}/acme/app", self.registry.host())
    }

    pub(super) fn number(&self) -> &str {
        &self.number
    }

    pub(super) fn archive(&self) -> PathBuf {
        self.key.archive()
    }

    pub(super) fn server(&self) -> String {
        match &self.silent {
            Some((listener, _)) => format!("https://{}", listener.local_addr().unwrap()),
            None => self.service.url(),
        }
    }

    /// The values that a user writes at the top of the pipeline, in place of the examples.
    pub(super) fn edited(&self, name: &str) -> Option<String> {
        match name {
            "IMAGE" => Some(self.image()),
            "DOCKER_CONTENT_TRUST_SERVER" => Some(self.server()),
            _ => None,
        }
    }

    /// Runs a step's script as the CI system does, and notes how it ended.
    pub(super) fn step(&self, shell: &[&str], script: &str, environment: &BTreeMap<String, String>, ended: &mut Ended) {
        let file = self.temporary().join("step");
        std::fs::write(&file, script).unwrap();
        let (program, options) = shell.split_first().unwrap();
        let mut command = Command::new(program);
        command.args(options).arg(&file).env_clear().current_dir(self.workspace());
        command.env("HOME", self.home()).env("SSL_CERT_FILE", self.home().join("authority.pem"));
        command.env("PATH", format!("{}:/usr/bin:/bin", self.home().join("bin").display()));
        command.env("XDG_RUNTIME_DIR", self.agent.memory()).env("TMPDIR", self.temporary());
        command.env("DOCKER_HOST", self.engine.host()).env("DOCKER_BUILDKIT", "0").envs(environment);
        let signs = script.contains("countersign ci sign");
        let finished = match &self.silent {
            Some((listener, signal)) if signs => self.interrupted(command, listener, *signal, ended),
            _ => Finished::of(&mut command, b""),
        };
        ended.steps.push(finished);
    }

    /// Runs a command until it asks the silent service, and sends the signal.
    fn interrupted(&self, mut command: Command, listener: &TcpListener, signal: Signal, ended: &mut Ended) -> Finished {
        let log = self.temporary().join("log");
        let output = std::fs::File::create(&log).unwrap();
        command.stdin(Stdio::null()).stdout(output.try_clone().unwrap()).stderr(output).process_group(0);
        let mut job = command.spawn().unwrap();
        let _taken = listener.accept().unwrap();
        assert!(self.has_keys_in_memory(), "keys are there while it signs");
        kill_process_group(Pid::from_child(&job), signal).unwrap();
        let status = job.wait().unwrap();
        ended.killed = signal == Signal::KILL;
        let stdout = std::fs::read_to_string(&log).unwrap();
        let (command, stderr) = ("a step that is interrupted".to_owned(), String::new());
        Finished { command, code: status.code().unwrap_or(-1), stdout, stderr }
    }

    pub(super) fn has_keys_in_memory(&self) -> bool {
        !self.agent.left_in_memory().is_empty()
    }

    #[track_caller]
    pub(in crate::ci) fn is_clean_after(&self, ended: &Ended) {
        for step in &ended.steps {
            self.agent.is_clean_after(step);
        }
    }

    /// Whoever has never seen anything of this verifies what the job has signed.
    #[track_caller]
    pub(in crate::ci) fn verifies(&self, tag: &str) -> Finished {
        let reader = Client::new().of(&self.service);
        reader.run(&["verify", &format!("{}:{tag}", self.image())]).succeeded()
    }

    /// As [`Self::verifies`], and it is what the job said.
    #[track_caller]
    pub(super) fn is_signed(&self, tag: &str) {
        let verified = self.verifies(tag);
        let result = std::fs::read(self.workspace().join("signed.json")).unwrap();
        let result: serde_json::Value = serde_json::from_slice(&result).unwrap();
        let digest = result.pointer("/0/digest").unwrap().as_str().unwrap();
        assert!(verified.stdout.contains(digest), "{verified}");
        let log = std::fs::read_to_string(self.workspace().join("signing-audit.jsonl")).unwrap();
        assert!(log.contains(digest), "{log}");
    }

    /// Puts an image into the registry, for pipelines that only sign.
    pub(super) fn push_by_hand(&mut self) {
        let name = format!("{}:{}", self.image(), self.number);
        self.engine.build(&name, "by hand");
        let config = self.agent.client.config_dir().to_owned();
        log_in(&config, &self.registry.host());
        let mut push = Command::new(self.home().join("bin/docker"));
        push.args(["push", &name]).env("DOCKER_CONFIG", &config).env("DOCKER_HOST", self.engine.host());
        Finished::of(&mut push, b"").succeeded();
    }

    /// The configuration folder that is logged in after [`Self::push_by_hand`].
    pub(super) fn logged_in(&self) -> PathBuf {
        self.agent.client.config_dir().to_owned()
    }
}

impl Drop for Machine {
    /// gpg leaves an agent behind, which is the last to know the home.
    fn drop(&mut self) {
        let mut command = Command::new("gpgconf");
        let _ = command.args(["--kill", "all"]).env("HOME", self.home()).env_remove("GNUPGHOME").output();
    }
}

fn log_in(config: &Path, registry: &str) {
    use base64::Engine;
    let auth = base64::engine::general_purpose::STANDARD.encode(format!("{}:{}", ACCOUNT.name, ACCOUNT.password));
    let text = serde_json::json!({ "auths": { registry: { "auth": auth } } });
    std::fs::write(config.join("config.json"), text.to_string()).unwrap();
}
