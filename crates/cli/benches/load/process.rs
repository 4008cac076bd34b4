//! Processes: starting this program as a server, and what processes have used.

use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use countersign_testkit::{DatabaseServer, Port, Product};

/// Ticks of a processor's time in a second, as Linux reports them.
const TICKS: f64 = 100.0;

/// A server, killed when dropped.
pub(crate) struct Server {
    child: Child,
    pub(crate) address: SocketAddr,
    _port: Port,
}

impl Server {
    /// Starts a command with the address as its last argument, and waits until it listens.
    pub(crate) fn start(make: impl FnOnce(&str) -> Command) -> Self {
        let port = Port::take();
        let mut command = make(&port.address().to_string());
        command.stdout(Stdio::null());
        if std::env::var_os("LOAD_LOG").is_none() {
            command.stderr(Stdio::null());
        }
        let child = command.spawn().unwrap();
        let server = Self { child, address: port.address(), _port: port };
        let end = Instant::now() + Duration::from_mins(1);
        while std::net::TcpStream::connect(server.address).is_err() {
            assert!(Instant::now() < end, "the server does not listen");
            std::thread::sleep(Duration::from_millis(5));
        }
        server
    }

    /// Starts this very program.
    pub(crate) fn this(arguments: &[&str]) -> Self {
        Self::start(|address| {
            let mut command = Command::new(std::env::current_exe().unwrap());
            let (mode, rest) = arguments.split_first().unwrap();
            command.arg(mode).arg(address).args(rest);
            command
        })
    }

    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Seconds of processor time that a process has used.
pub(crate) fn processor(id: u32) -> f64 {
    let Ok(stat) = std::fs::read_to_string(format!("/proc/{id}/stat")) else { return 0.0 };
    let fields: Vec<&str> = stat.rsplit(") ").next().unwrap().split(' ').collect();
    (fields[11].parse::<f64>().unwrap() + fields[12].parse::<f64>().unwrap()) / TICKS
}

/// Bytes that a process has in memory.
pub(crate) fn memory(id: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{id}/status")).unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() * 1024
}

/// A database server with an empty database.
pub(crate) struct Database {
    pub(crate) url: String,
    folder: String,
    _server: DatabaseServer,
}

impl Database {
    pub(crate) fn start(product: Product) -> Self {
        let server = DatabaseServer::start(product);
        let url = server.database();
        let statement = match product {
            Product::Postgres => "SHOW data_directory",
            Product::MariaDb => "SELECT @@datadir",
        };
        let folder = server.ask(&url, statement).trim_end_matches('/').to_owned();
        Self { url, folder, _server: server }
    }

    /// The processes of the server.
    pub(crate) fn processes(&self) -> Vec<u32> {
        let all = std::fs::read_dir("/proc").unwrap().flatten();
        let ids = all.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
        ids.filter(|id| std::fs::read_link(format!("/proc/{id}/cwd")).is_ok_and(|cwd| cwd == Path::new(&self.folder)))
            .collect()
    }
}

/// Seconds of processor time that several processes have used.
pub(crate) fn processors(ids: &[u32]) -> f64 {
    ids.iter().map(|id| processor(*id)).sum()
}
