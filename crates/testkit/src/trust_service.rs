//! Countersign's own trust service, run from the program under test.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use tempfile::TempDir;

use crate::clock::faketime_library;
use crate::port::{Answer, accepts};
use crate::{Balancer, DatabaseServer, KeyPlace, Keyserver, Port, Process, Product};

const START_LIMIT: Duration = Duration::from_mins(1);
const GRACE: Duration = Duration::from_secs(10);

/// `countersign serve` with a data folder and a port of its own; it ends when dropped.
#[derive(Debug)]
pub struct TrustService {
    // In the order in which they end.
    balancer: Option<Balancer>,
    replicas: Vec<Replica>,
    keyserver: Option<Keyserver>,
    database: Option<DatabaseServer>,
    settings: TrustServiceBuilder,
}

/// One process of a trust service.
#[derive(Debug)]
struct Replica {
    process: Option<Process>,
    port: Port,
    folder: TempDir,
}

/// What a trust service is started with.
#[derive(Clone, Debug)]
pub struct TrustServiceBuilder {
    program: PathBuf,
    arguments: Vec<String>,
    environment: Vec<(String, String)>,
    authority: PathBuf,
    deployment: Deployment,
    files: Vec<(String, Vec<u8>)>,
    /// The size of the database server's disk in megabytes, if it has one of its own.
    disk: Option<u32>,
    /// What the clock of every process but the first says differently.
    skew: Option<String>,
}

/// What stands behind the address of a trust service: clients cannot tell.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Deployment {
    /// One process with the embedded database and its keys.
    Embedded,
    /// The same with the keys at a keyserver.
    Keyserver,
    /// The same with the keys on a token of the keyserver.
    Token,
    /// One process, its database a `PostgreSQL` server.
    Postgres,
    /// One process, its database a `MariaDB` server.
    MariaDb,
    /// Two processes behind a balancer, over one `PostgreSQL` server, with the keys at a keyserver.
    Replicas,
}

impl Deployment {
    /// With this variable, every trust service that a test starts is deployed as the variable says.
    pub const VARIABLE: &str = "COUNTERSIGN_TEST_DEPLOYMENT";

    /// All of them.
    pub const ALL: [Self; 6] =
        [Self::Embedded, Self::Keyserver, Self::Token, Self::Postgres, Self::MariaDb, Self::Replicas];

    /// The name that the variable has for it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Embedded => "embedded",
            Self::Keyserver => "keyserver",
            Self::Token => "token",
            Self::Postgres => "postgres",
            Self::MariaDb => "mariadb",
            Self::Replicas => "replicas",
        }
    }

    /// The one that the environment asks for.
    fn wanted() -> Self {
        let Some(name) = std::env::var_os(Self::VARIABLE) else { return Self::Embedded };
        let found = Self::ALL.into_iter().find(|deployment| *deployment.name() == *name);
        found.unwrap_or_else(|| panic!("{} is none of {:?}", Self::VARIABLE, Self::ALL.map(Self::name)))
    }

    fn database(self) -> Option<Product> {
        match self {
            Self::Embedded | Self::Keyserver | Self::Token => None,
            Self::Postgres | Self::Replicas => Some(Product::Postgres),
            Self::MariaDb => Some(Product::MariaDb),
        }
    }

    fn keyserver(self) -> Option<KeyPlace> {
        match self {
            Self::Keyserver | Self::Replicas => Some(KeyPlace::Database),
            Self::Token => Some(KeyPlace::Token),
            Self::Embedded | Self::Postgres | Self::MariaDb => None,
        }
    }
}

impl TrustService {
    /// Where the service writes the certificate of its own authority, below its data folder.
    pub const AUTHORITY: &str = "ca.pem";

    /// Starts a service with nothing configured; `program` is `env!("CARGO_BIN_EXE_countersign")`.
    #[must_use]
    pub fn start(program: &str) -> Self {
        Self::builder(program).start()
    }

    /// Says how the service differs from one with nothing configured.
    #[must_use]
    pub fn builder(program: &str) -> TrustServiceBuilder {
        TrustServiceBuilder {
            program: program.into(),
            arguments: Vec::new(),
            environment: Vec::new(),
            authority: Self::AUTHORITY.into(),
            deployment: Deployment::wanted(),
            files: Vec::new(),
            disk: None,
            skew: None,
        }
    }

    fn first(&self) -> &Replica {
        self.replicas.first().expect("a process")
    }

    /// The base URL without a slash at its end: `https://127.0.0.1:PORT`.
    #[must_use]
    pub fn url(&self) -> String {
        let address = self.balancer.as_ref().map_or_else(|| self.first().port.address(), Balancer::address);
        format!("https://{address}")
    }

    /// The data folder; of several processes the first one's.
    #[must_use]
    pub fn data_dir(&self) -> PathBuf {
        data_dir(&self.first().folder)
    }

    /// The certificate of the service's own authority as PEM text.
    #[must_use]
    pub fn authority_pem(&self) -> String {
        let path = self.data_dir().join(&self.settings.authority);
        fs::read_to_string(&path).unwrap_or_else(|error| panic!("no authority at {}: {error}", path.display()))
    }

    /// Asks the service to read its files again (SIGHUP).
    pub fn hang_up(&self) {
        self.replicas.iter().filter_map(|replica| replica.process.as_ref()).for_each(Process::hang_up);
    }

    /// What the service printed since it was last started.
    #[must_use]
    pub fn log(&self) -> String {
        self.replicas.iter().filter_map(|replica| replica.process.as_ref()).map(Process::log).collect()
    }

    /// The keyserver of a service whose keys are apart.
    ///
    /// # Panics
    /// The keys are not apart.
    #[must_use]
    pub fn keyserver(&mut self) -> &mut Keyserver {
        self.keyserver.as_mut().expect("keys that are apart")
    }

    /// The database server of a service that has one.
    ///
    /// # Panics
    /// The database is embedded.
    #[must_use]
    pub fn database(&mut self) -> &mut DatabaseServer {
        self.database.as_mut().expect("a database server")
    }

    /// The URL of the database of a service that has a database server.
    ///
    /// # Panics
    /// The database is embedded.
    #[must_use]
    pub fn database_url(&self) -> &str {
        let told = self.settings.arguments.iter().skip_while(|argument| *argument != "--database").nth(1);
        told.expect("a database server")
    }

    /// How many processes there are.
    #[must_use]
    pub fn replicas(&self) -> usize {
        self.replicas.len()
    }

    /// The base URL of one process.
    #[must_use]
    pub fn replica_url(&self, number: usize) -> String {
        let replica = self.replicas.get(number).expect("a process of that number");
        format!("https://{}", replica.port.address())
    }

    /// A process that runs.
    ///
    /// # Panics
    /// It does not run.
    #[must_use]
    pub fn replica(&self, number: usize) -> &Process {
        self.replicas.get(number).and_then(|replica| replica.process.as_ref()).expect("a running process")
    }

    /// Takes one process down like a power cut.
    pub fn kill_replica(&mut self, number: usize) {
        let replica = self.replicas.get_mut(number).expect("a process of that number");
        if let Some(mut process) = replica.process.take() {
            process.kill();
        }
    }

    /// Starts one process again, if it does not run, with what is on its disk.
    pub fn start_replica(&mut self, number: usize) {
        let replica = self.replicas.get_mut(number).expect("a process of that number");
        if replica.process.is_none() {
            replica.process = Some(self.settings.spawn(&replica.folder, &replica.port, number));
        }
    }

    /// Takes the service down like a power cut; [`TrustService::restart`] brings it back with what is on its disk.
    pub fn kill(&mut self) {
        (0..self.replicas.len()).for_each(|number| self.kill_replica(number));
    }

    /// Stops the service, if it runs, and starts it with the same data folder, port and settings.
    pub fn restart(&mut self) {
        for replica in &mut self.replicas {
            drop(replica.process.take());
        }
        (0..self.replicas.len()).for_each(|number| self.start_replica(number));
    }

    /// The same with more arguments from now on.
    pub fn restart_with(&mut self, arguments: &[String]) {
        self.settings.arguments.extend_from_slice(arguments);
        self.restart();
    }

    /// Takes away all that was ever published, as somebody does who empties the database.
    pub fn lose_everything_published(&mut self) {
        self.kill();
        match &self.database {
            Some(server) => {
                let name = self.database_url().rsplit('/').next().unwrap_or_default();
                server.statement(&format!("DROP DATABASE {name}"));
                server.statement(&format!("CREATE DATABASE {name}"));
            }
            None => {
                for file in fs::read_dir(self.data_dir()).expect("a data folder").flatten() {
                    if file.file_name().to_string_lossy().starts_with("trust.db") {
                        fs::remove_file(file.path()).expect("a database to take away");
                    }
                }
            }
        }
        self.restart();
    }

    /// A notary client for this service.
    #[must_use]
    pub fn notary_client(&self) -> crate::NotaryClient {
        crate::NotaryClient::new(&self.url(), &self.authority_pem())
    }

    /// A docker client with content trust on, for this service.
    #[must_use]
    pub fn trusting(&self, client: crate::DockerClient) -> crate::DockerClient {
        client.with_content_trust(&self.url(), &self.authority_pem())
    }
}

impl TrustServiceBuilder {
    /// Adds an argument after the data folder and the address.
    #[must_use]
    pub fn arg(mut self, argument: &str) -> Self {
        self.arguments.push(argument.to_owned());
        self
    }

    /// Adds an environment variable.
    #[must_use]
    pub fn env(mut self, name: &str, value: &str) -> Self {
        self.environment.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Starts a keyserver too, and has it hold the keys of timestamps and snapshots.
    #[must_use]
    pub fn apart(self) -> Self {
        self.deployed(Deployment::Keyserver)
    }

    /// Deploys the service in this way, whatever the environment asks for.
    #[must_use]
    pub fn deployed(self, deployment: Deployment) -> Self {
        Self { deployment, ..self }
    }

    /// Says where below the data folder the service's authority is.
    #[must_use]
    pub fn authority(mut self, path: impl AsRef<Path>) -> Self {
        path.as_ref().clone_into(&mut self.authority);
        self
    }

    /// Puts a file, which only its owner may read, into the data folder before the service starts.
    #[must_use]
    pub fn file(mut self, name: &str, content: &[u8]) -> Self {
        self.files.push((name.to_owned(), content.to_owned()));
        self
    }

    /// Gives the database server a disk of its own, of so many megabytes.
    #[must_use]
    pub fn small_disk(mut self, megabytes: u32) -> Self {
        self.disk = Some(megabytes);
        self
    }

    /// Has the clock of every process but the first go wrong by so much (`+20m`).
    #[must_use]
    pub fn skewed(mut self, by: &str) -> Self {
        self.skew = Some(by.to_owned());
        self
    }

    /// Starts the service and waits until it takes connections.
    #[must_use]
    pub fn start(mut self) -> TrustService {
        let database = self.deployment.database().map(|product| match self.disk {
            None => DatabaseServer::start(product),
            Some(megabytes) => DatabaseServer::start_on_a_small_disk(product, megabytes),
        });
        if let Some(server) = &database {
            self.arguments.extend(["--database".to_owned(), server.database()]);
        }
        let keyserver = self.deployment.keyserver();
        let keyserver = keyserver.map(|place| Keyserver::start_with(&self.program.to_string_lossy(), place));
        self.arguments.extend(keyserver.iter().flat_map(Keyserver::arguments));
        let first = self.replica(&self.files, 0);
        let mut replicas = vec![first];
        if self.deployment == Deployment::Replicas {
            let folder = data_dir(&replicas.first().expect("the first").folder);
            let shared = ["ca.key", "ca.pem", "secret"].map(|name| (name, fs::read(folder.join(name))));
            let shared = shared.into_iter().filter_map(|(name, content)| Some((name.to_owned(), content.ok()?)));
            replicas.push(self.replica(&self.files.iter().cloned().chain(shared).collect::<Vec<_>>(), 1));
        }
        let balancer = (replicas.len() > 1)
            .then(|| Balancer::start(replicas.iter().map(|replica| replica.port.address()).collect()));
        TrustService { balancer, replicas, keyserver, database, settings: self }
    }

    fn replica(&self, files: &[(String, Vec<u8>)], number: usize) -> Replica {
        let (folder, port) = (tempfile::tempdir().expect("a temporary folder"), Port::take());
        for (name, content) in files {
            let path = data_dir(&folder);
            fs::create_dir_all(&path).expect("a data folder");
            let path = path.join(name);
            fs::write(&path, content).expect("a file in the data folder");
            fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).expect("a file of its owner");
        }
        let process = Some(self.spawn(&folder, &port, number));
        Replica { process, port, folder }
    }

    fn spawn(&self, folder: &TempDir, port: &Port, number: usize) -> Process {
        let mut command = Command::new(&self.program);
        command.arg("serve").arg("--data-dir").arg(data_dir(folder)).arg("--listen").arg(port.address().to_string());
        command.args(&self.arguments).env("HOME", folder.path());
        command.envs(self.environment.iter().map(|(name, value)| (name, value)));
        if let (Some(skew), 1..) = (&self.skew, number) {
            // Waiting is measured by a clock that nobody sets.
            command.env("LD_PRELOAD", faketime_library()).env("FAKETIME", skew);
            command.env("FAKETIME_DONT_FAKE_MONOTONIC", "1");
        }
        let mut process = Process::start(&command, &folder.path().join("log"), GRACE);
        process.wait_until(START_LIMIT, || (accepts(port.address()) == Answer::Yes).into());
        process
    }
}

fn data_dir(folder: &TempDir) -> PathBuf {
    folder.path().join("data")
}
