//! Database servers with data folders of their own.

mod disk;

use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use tempfile::TempDir;

use self::disk::SmallDisk;
use crate::port::{Answer, accepts};
use crate::{Port, Process, Tool};

const START_LIMIT: Duration = Duration::from_mins(1);
/// What a server holds is thrown away: it is not given long to end.
const GRACE: Duration = Duration::from_millis(500);
/// Who runs the server when the tests run as root, which servers refuse.
const NOBODY: &str = "65534";

/// Which server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Product {
    /// `PostgreSQL`, with the durability of its defaults.
    Postgres,
    /// `MariaDB`, with the durability of its defaults.
    MariaDb,
}

/// A database server on a loopback port; it ends when dropped.
#[derive(Debug)]
pub struct DatabaseServer {
    product: Product,
    // In the order in which they end.
    process: Option<Process>,
    port: Port,
    made: AtomicU32,
    disk: Option<SmallDisk>,
    folder: TempDir,
}

impl DatabaseServer {
    /// Who may do everything, without a password.
    pub const USER: &str = "tester";

    /// Makes the server's files and starts it.
    #[must_use]
    pub fn start(product: Product) -> Self {
        Self::start_on(product, folder_of_the_server(), None)
    }

    /// The same with all that the server stores on a disk of so many megabytes, which [`DatabaseServer::fill_disk`] fills.
    /// It takes root, who may mount.
    #[must_use]
    pub fn start_on_a_small_disk(product: Product, megabytes: u32) -> Self {
        let folder = folder_of_the_server();
        std::fs::create_dir(data(&folder)).expect("a folder for a disk");
        let disk = SmallDisk::over(&data(&folder), megabytes, NOBODY, &folder.path().join("disk"));
        Self::start_on(product, folder, Some(disk))
    }

    fn start_on(product: Product, folder: TempDir, disk: Option<SmallDisk>) -> Self {
        let program = |program: &Path| command(program, folder.path(), disk.as_ref());
        let made = match product {
            Product::Postgres => program(&postgres_program("initdb"))
                .args(["--auth=trust", "--no-sync", "--encoding=UTF8", "--locale=C", "--username", Self::USER])
                .arg("--pgdata")
                .arg(data(&folder))
                .output(),
            Product::MariaDb => program(&Tool::MARIADB_INSTALL.path())
                .args(["--no-defaults", "--auth-root-authentication-method=normal", "--skip-test-db"])
                .arg(format!("--datadir={}", data(&folder).display()))
                // Servers that are made at the same time remove each other's temporary tables in a folder that they share.
                .arg(format!("--tmpdir={}", folder.path().display()))
                .output(),
        };
        let made = made.expect("the program that makes the server's files");
        assert!(made.status.success(), "{product:?}: {}", String::from_utf8_lossy(&made.stderr));
        let mut server = Self { product, process: None, port: Port::take(), made: AtomicU32::new(0), disk, folder };
        server.resume();
        server
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.port.address()
    }

    /// Makes an empty database; returns its URL.
    #[must_use]
    pub fn database(&self) -> String {
        let name = format!("d{}", self.made.fetch_add(1, Ordering::Relaxed));
        self.statement(&format!("CREATE DATABASE {name}"));
        let scheme = if self.product == Product::Postgres { "postgres" } else { "mysql" };
        format!("{scheme}://{}@{}/{name}", self.user(), self.address())
    }

    /// Runs a statement outside the tests' databases.
    pub fn statement(&self, statement: &str) {
        self.answer("", statement);
    }

    /// Runs a statement in a database, given by its URL; returns the answer's columns and rows as text.
    #[must_use]
    pub fn ask(&self, url: &str, statement: &str) -> String {
        self.answer(url.rsplit('/').next().unwrap_or_default(), statement)
    }

    /// Starts a copy of this `PostgreSQL` server that follows it: from then on nothing is committed before the copy has it.
    #[must_use]
    pub fn standby(&self) -> Self {
        assert_eq!(self.product, Product::Postgres, "only these are made to follow each other");
        let (folder, port) = (folder_of_the_server(), Port::take());
        let copied = command(&postgres_program("pg_basebackup"), folder.path(), None)
            .args([
                "--host=127.0.0.1",
                "--checkpoint=fast",
                "--no-sync",
                "--write-recovery-conf",
                "--username",
                Self::USER,
            ])
            .arg(format!("--port={}", self.port.number()))
            .arg("--pgdata")
            .arg(data(&folder))
            .output()
            .expect("the program that copies a server");
        assert!(copied.status.success(), "{}", String::from_utf8_lossy(&copied.stderr));
        let mut standby =
            Self { product: self.product, process: None, port, made: AtomicU32::new(0), disk: None, folder };
        standby.resume();
        self.statement("ALTER SYSTEM SET synchronous_standby_names = '*'");
        self.statement("SELECT pg_reload_conf()");
        let end = Instant::now() + START_LIMIT;
        while self.answer("", "SELECT count(*) FROM pg_stat_replication WHERE sync_state = 'sync'") != "1" {
            assert!(Instant::now() < end, "the copy does not follow");
            std::thread::sleep(Duration::from_millis(50));
        }
        standby
    }

    /// Makes a copy the server that is written to, without a copy of its own.
    pub fn promote(&self) {
        self.statement("SELECT pg_promote()");
    }

    /// Takes the server down like a power cut.
    pub fn kill(&mut self) {
        if let Some(mut process) = self.process.take() {
            process.kill();
        }
    }

    /// Leaves the server no room on its small disk; it may end of that.
    pub fn fill_disk(&self) {
        self.disk.as_ref().expect("a small disk").fill();
    }

    /// Gives back what [`DatabaseServer::fill_disk`] took, and starts the server if it has ended.
    pub fn clear_disk(&mut self) {
        self.disk.as_ref().expect("a small disk").clear();
        if self.process.as_mut().is_none_or(|process| !process.runs()) {
            self.process = None;
            self.resume();
        }
    }

    /// Ends all sessions, as a firewall or an administrator does.
    pub fn end_sessions(&self) {
        match self.product {
            Product::Postgres => self.statement(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity \
                 WHERE pid <> pg_backend_pid() AND backend_type = 'client backend'",
            ),
            Product::MariaDb => {
                let sessions = "SELECT id FROM information_schema.processlist \
                    WHERE user = 'root' AND id <> connection_id()";
                for session in self.answer("", sessions).lines() {
                    // One that ends meanwhile has nothing more to end.
                    let _ = self.client("").arg(format!("KILL {session}")).output();
                }
            }
        }
    }

    /// Holds a table so that nobody else can use it, and waits until that is over; tells whether the table could be had.
    #[must_use]
    pub fn hold(&self, url: &str, table: &str, time: Duration) -> bool {
        let seconds = time.as_secs_f64();
        let statement = match self.product {
            Product::Postgres => format!("BEGIN; LOCK TABLE {table}; SELECT pg_sleep({seconds}); COMMIT"),
            Product::MariaDb => format!("LOCK TABLES {table} WRITE; DO SLEEP({seconds}); UNLOCK TABLES"),
        };
        let database = url.rsplit('/').next().unwrap_or_default();
        self.client(database).arg(statement).output().is_ok_and(|output| output.status.success())
    }

    /// Starts the server again with what is on its disk.
    pub fn resume(&mut self) {
        // The parts of a server that was killed may take a moment to end; until then it does not start again.
        for _ in 0..20 {
            let mut process = Process::start(&self.start_command(), &self.folder.path().join("log"), GRACE);
            let address = self.port.address();
            if process.becomes_ready(START_LIMIT, || (accepts(address) == Answer::Yes && self.answers()).into()) {
                self.process = Some(process);
                return;
            }
            std::thread::sleep(Duration::from_millis(100));
        }
        panic!("{:?} does not start", self.product);
    }

    fn start_command(&self) -> Command {
        let (folder, port) = (self.folder.path(), self.port.number());
        match self.product {
            Product::Postgres => {
                let mut command = command(&postgres_program("postgres"), folder, self.disk.as_ref());
                command.arg("-D").arg(data(&self.folder)).arg("-p").arg(port.to_string());
                command.arg("-k").arg(folder).args(["-c", "listen_addresses=127.0.0.1", "-c", "max_connections=200"]);
                command
            }
            Product::MariaDb => {
                let mut command = command(&Tool::MARIADBD.path(), folder, self.disk.as_ref());
                command.arg("--no-defaults").arg(format!("--datadir={}", data(&self.folder).display()));
                command.arg(format!("--socket={}", self.socket().display())).arg(format!("--port={port}"));
                command.arg(format!("--pid-file={}", folder.join("pid").display()));
                command.arg(format!("--tmpdir={}", folder.display()));
                command.args(["--bind-address=127.0.0.1", "--skip-name-resolve", "--max-connections=200"]);
                command
            }
        }
    }

    fn socket(&self) -> PathBuf {
        self.folder.path().join("socket")
    }

    fn user(&self) -> &'static str {
        if self.product == Product::Postgres { Self::USER } else { "root" }
    }

    fn client(&self, database: &str) -> Command {
        match self.product {
            Product::Postgres => {
                let mut command = Command::new(postgres_program("psql"));
                command.arg("--host").arg(self.folder.path()).arg("--port").arg(self.port.number().to_string());
                command.args(["--username", Self::USER, "--no-psqlrc", "--quiet", "--tuples-only", "--no-align"]);
                command.args(["--set", "ON_ERROR_STOP=1", "--dbname"]);
                command.arg(if database.is_empty() { "postgres" } else { database }).arg("--command");
                command
            }
            Product::MariaDb => {
                let mut command = Command::new(Tool::MARIADB.path());
                command.arg("--no-defaults").arg(format!("--socket={}", self.socket().display()));
                command.args(["--user=root", "--skip-column-names", "--batch"]);
                command.arg(format!("--database={database}")).arg("--execute");
                command
            }
        }
    }

    fn answer(&self, database: &str, statement: &str) -> String {
        let output = self.client(database).arg(statement).output().expect("the server's own client");
        assert!(output.status.success(), "{statement}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8_lossy(&output.stdout).trim().to_owned()
    }

    fn answers(&self) -> bool {
        self.client("").arg("SELECT 1").output().is_ok_and(|output| output.status.success())
    }
}

/// A temporary folder of the server's user.
fn folder_of_the_server() -> TempDir {
    let folder = tempfile::tempdir().expect("a temporary folder");
    if is_root() {
        let nobody = NOBODY.parse().ok();
        std::os::unix::fs::chown(folder.path(), nobody, nobody).expect("a folder for the server's user");
    }
    folder
}

fn data(folder: &TempDir) -> PathBuf {
    folder.path().join("data")
}

fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

/// A command of the server's user, on the server's disk.
fn command(program: &Path, folder: &Path, disk: Option<&SmallDisk>) -> Command {
    let mut command = if is_root() {
        let setpriv = Tool::SETPRIV.path();
        let mut command = disk.map_or_else(|| Command::new(&setpriv), |disk| disk.enter(&setpriv));
        // The kernel forgets whose death the process follows when it changes its user.
        command.arg(format!("--reuid={NOBODY}")).arg(format!("--regid={NOBODY}")).arg("--clear-groups");
        command.args(["--pdeathsig", "TERM", "--"]).arg(program);
        command
    } else {
        Command::new(program)
    };
    command.current_dir(folder);
    command
}

/// Finds a program of Debian's newest `PostgreSQL`, which are not on the path.
fn postgres_program(name: &str) -> PathBuf {
    let versions = std::fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    let mut found: Vec<PathBuf> = versions.map(|entry| entry.path().join("bin").join(name)).collect();
    found.retain(|program| program.metadata().is_ok_and(|file| file.permissions().mode() & 0o111 != 0));
    found.sort();
    found.pop().unwrap_or_else(|| {
        panic!("this test needs {name} in /usr/lib/postgresql/*/bin: install Debian package postgresql")
    })
}
