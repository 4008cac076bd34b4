//! A database with a dump of the reference's tables, and the programs that can run on it.
#![expect(clippy::indexing_slicing, reason = "these are tests; a failure is the answer")]

use super::rows::{Rows, Table};
use countersign_testkit::port::{Answer, accepts};
use countersign_testkit::{
    DatabaseServer, DockerClient, Finished, Keyserver, NotaryClient, Port, Process, Product, TestCa, fixtures,
};
use serde_json::{Value, json};
use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;
use tempfile::TempDir;

const START_LIMIT: Duration = Duration::from_mins(1);
const GRACE: Duration = Duration::from_secs(5);
/// Longest statement given to a server's client, in bytes; the system allows 128 KiB for an argument.
const STATEMENT: usize = 100_000;

/// Whose programs run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Who {
    Ours,
    Theirs,
}

/// What is in the database at first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Dump {
    Nothing,
    Ecdsa,
    Edwards,
}

/// What a column holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Number,
    Text,
    Time,
    Bytes,
}

const FILES: [(&str, Kind); 9] = [
    ("id", Kind::Number),
    ("created_at", Kind::Time),
    ("updated_at", Kind::Time),
    ("deleted_at", Kind::Time),
    ("gun", Kind::Text),
    ("role", Kind::Text),
    ("version", Kind::Number),
    ("data", Kind::Bytes),
    ("sha256", Kind::Text),
];
const CHANGES: [(&str, Kind); 6] = [
    ("id", Kind::Number),
    ("created_at", Kind::Time),
    ("gun", Kind::Text),
    ("version", Kind::Number),
    ("sha256", Kind::Text),
    ("category", Kind::Text),
];
const KEYS: [(&str, Kind); 14] = [
    ("id", Kind::Number),
    ("created_at", Kind::Time),
    ("updated_at", Kind::Time),
    ("deleted_at", Kind::Time),
    ("key_id", Kind::Text),
    ("encryption_alg", Kind::Text),
    ("keywrap_alg", Kind::Text),
    ("algorithm", Kind::Text),
    ("passphrase_alias", Kind::Text),
    ("public", Kind::Bytes),
    ("private", Kind::Bytes),
    ("gun", Kind::Text),
    ("role", Kind::Text),
    ("last_used", Kind::Time),
];

/// Two databases, certificates, and configuration files as the reference has them.
pub(super) struct House {
    product: Product,
    database: DatabaseServer,
    server_url: String,
    signer_url: String,
    ca: TestCa,
    folder: TempDir,
    server_port: Port,
    signer_port: Port,
}

/// A server and a signer that run.
pub(super) struct Running {
    server: Process,
    _signer: Process,
}

impl House {
    pub(super) fn with(product: Product, dump: Dump) -> Self {
        let database = DatabaseServer::start(product);
        let (server_url, signer_url) = (database.database(), database.database());
        let (ca, folder) = (TestCa::new(), tempfile::tempdir().unwrap());
        let house = Self {
            product,
            database,
            server_url,
            signer_url,
            ca,
            folder,
            server_port: Port::take(),
            signer_port: Port::take(),
        };
        house.write_files(if dump == Dump::Edwards { "ed25519" } else { "ecdsa" });
        let set = match dump {
            Dump::Nothing => return house,
            Dump::Ecdsa => "database-ecdsa",
            Dump::Edwards => "server-keys-ed25519/database",
        };
        // Started once on empty databases, ours makes the tables.
        drop(house.start(Who::Ours));
        house.load(&house.server_url, "tuf_files", &FILES, &format!("{set}/notaryserver.tuf_files.json"));
        house.load(&house.server_url, "changefeed", &CHANGES, &format!("{set}/notaryserver.changefeed.json"));
        house.load(&house.signer_url, "private_keys", &KEYS, &format!("{set}/notarysigner.private_keys.json"));
        house
    }

    fn write_files(&self, algorithm: &str) {
        let put = |name: &str, text: &str| std::fs::write(self.folder.path().join(name), text).unwrap();
        let (server, client) = (self.ca.loopback_server(), self.ca.client("notary-server"));
        put("ca.crt", &self.ca.pem());
        put("server.crt", &server.certificate_pem);
        put("server.key", &server.key_pem);
        put("client.crt", &client.certificate_pem);
        put("client.key", &client.key_pem);
        let (backend, url) = self.source(&self.server_url);
        let server = json!({
            "server": {
                "http_addr": self.server_port.address().to_string(),
                "tls_cert_file": "./server.crt", "tls_key_file": "./server.key",
            },
            "trust_service": {
                "type": "remote", "hostname": "127.0.0.1", "port": self.signer_port.number().to_string(),
                "key_algorithm": algorithm, "tls_ca_file": "./ca.crt",
                "tls_client_cert": "./client.crt", "tls_client_key": "./client.key",
            },
            "logging": {"level": "error"},
            "storage": {"backend": backend, "db_url": url},
        });
        put("notary-server.json", &server.to_string());
        let (backend, url) = self.source(&self.signer_url);
        let signer = json!({
            "server": {
                // As in the reference's sample, which nobody reads any more.
                "http_addr": ":4444",
                "grpc_addr": self.signer_port.address().to_string(),
                "tls_cert_file": "./server.crt", "tls_key_file": "./server.key", "client_ca_file": "./ca.crt",
            },
            "logging": {"level": "error"},
            "storage": {"backend": backend, "db_url": url, "default_alias": "interopalias"},
        });
        put("notary-signer.json", &signer.to_string());
    }

    /// Says where a database is as the reference's configuration does.
    fn source(&self, url: &str) -> (&'static str, String) {
        match self.product {
            Product::Postgres => ("postgres", format!("{url}?sslmode=disable")),
            Product::MariaDb => {
                let (host, name) = url.strip_prefix("mysql://root@").unwrap().split_once('/').unwrap();
                ("mysql", format!("root@tcp({host})/{name}?parseTime=True"))
            }
        }
    }

    fn file(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn program(&self, who: Who, name: &str) -> Command {
        let mut command = match who {
            Who::Ours => {
                let mut command = Command::new(env!("CARGO_BIN_EXE_countersign"));
                command.arg(name);
                command
            }
            Who::Theirs => Command::new(Path::new("/usr/bin").join(name)),
        };
        command.env_clear().env("PATH", "/usr/bin:/bin").env("HOME", self.folder.path());
        command.env("NOTARY_SIGNER_INTEROPALIAS", "interop-signer-pass");
        command
    }

    fn run(&self, who: Who, name: &str, port: &Port, variables: &[(&str, &str)]) -> Process {
        let mut command = self.program(who, name);
        command.arg(format!("-config={}", self.file(&format!("{name}.json")).display())).arg("-logf=json");
        command.envs(variables.iter().copied());
        let mut process = Process::start(&command, &self.file(&format!("{name}.log")), GRACE);
        process.wait_until(START_LIMIT, || (accepts(port.address()) == Answer::Yes).into());
        process
    }

    pub(super) fn start(&self, who: Who) -> Running {
        self.start_both(who, who)
    }

    pub(super) fn start_both(&self, server: Who, signer: Who) -> Running {
        let signer = self.run(signer, "notary-signer", &self.signer_port, &[]);
        Running { _signer: signer, server: self.run(server, "notary-server", &self.server_port, &[]) }
    }

    /// Starts the reference's server beside what runs already, on a port of its own; returns its URL, too.
    pub(super) fn start_theirs_beside(&self) -> (Process, String) {
        let (name, port) = ("notary-server", Port::take());
        let mut command = self.program(Who::Theirs, name);
        command.arg("-config").arg(self.file("notary-server.json"));
        command.env("NOTARY_SERVER_SERVER_HTTP_ADDR", port.address().to_string());
        let mut process = Process::start(&command, &self.file("beside.log"), GRACE);
        process.wait_until(START_LIMIT, || (accepts(port.address()) == Answer::Yes).into());
        (process, format!("https://{}", port.address()))
    }

    /// Starts ours with more variables for the server.
    pub(super) fn start_with(&self, variables: &[(&str, &str)]) -> Running {
        let signer = self.run(Who::Ours, "notary-signer", &self.signer_port, &[]);
        Running { _signer: signer, server: self.run(Who::Ours, "notary-server", &self.server_port, variables) }
    }

    /// Runs one of ours with a changed configuration, which is expected to end it.
    pub(super) fn run_once(&self, name: &str, change: &dyn Fn(&mut Value)) -> Finished {
        let text = std::fs::read_to_string(self.file(&format!("{name}.json"))).unwrap();
        let mut document: Value = serde_json::from_str(&text).unwrap();
        change(&mut document);
        let path = self.file("changed.json");
        std::fs::write(&path, document.to_string()).unwrap();
        Finished::of(self.program(Who::Ours, name).arg("-config").arg(&path), b"")
    }

    /// Runs one of ours with its configuration and more flags, which are expected to end it.
    pub(super) fn flags(&self, name: &str, flags: &[&str]) -> Finished {
        let config = format!("-config={}", self.file(&format!("{name}.json")).display());
        Finished::of(self.program(Who::Ours, name).arg(config).args(flags), b"")
    }

    /// Starts a signer alone.
    pub(super) fn start_signer(&self, who: Who) -> Process {
        self.run(who, "notary-signer", &self.signer_port, &[])
    }

    /// What `countersign serve` is told to use that signer.
    pub(super) fn signer_arguments(&self) -> Vec<String> {
        let path = |name: &str| self.file(name).display().to_string();
        let pairs = [
            ("--keyserver", self.signer_port.address().to_string()),
            ("--keyserver-ca", path("ca.crt")),
            ("--keyserver-cert", path("client.crt")),
            ("--keyserver-key", path("client.key")),
        ];
        pairs.into_iter().flat_map(|(name, value)| [name.to_owned(), value]).collect()
    }

    /// Prepares to take everything over from both databases.
    pub(super) fn importing(&self, rest: &[&str]) -> Command {
        let mut command = self.program(Who::Ours, "import");
        command.args(["notary", "--server-db", &self.source(&self.server_url).1]);
        command.args(["--signer-db", &self.source(&self.signer_url).1]).args(rest);
        command
    }

    /// Prepares to take the signer's keys into a signing service of ours.
    pub(super) fn taking_keys(&self, keyserver: &Keyserver) -> Command {
        let mut command = keyserver.command(&["import", "signer", "--format", "json"]);
        command.args(["--signer-db", &self.source(&self.signer_url).1]);
        command.env("NOTARY_SIGNER_INTEROPALIAS", "interop-signer-pass");
        command
    }

    /// Changes something in the server's tables behind everybody's back.
    pub(super) fn tamper_files(&self, statement: &str) {
        let _ = self.database.ask(&self.server_url, statement);
    }

    /// The same in the signer's table.
    pub(super) fn tamper_keys(&self, statement: &str) {
        let _ = self.database.ask(&self.signer_url, statement);
    }

    fn url(&self) -> String {
        format!("https://{}", self.server_port.address())
    }

    /// Somebody who has never seen anything.
    pub(super) fn notary(&self) -> NotaryClient {
        NotaryClient::new(&self.url(), &self.ca.pem())
    }

    pub(super) fn trusting(&self, docker: DockerClient) -> DockerClient {
        docker.with_content_trust(&self.url(), &self.ca.pem())
    }

    fn load(&self, url: &str, table: &str, columns: &[(&str, Kind)], name: &str) {
        let names: Vec<&str> = columns.iter().map(|(name, _)| *name).collect();
        let begin = format!("INSERT INTO {table} ({}) VALUES ", names.join(", "));
        let mut statement = String::new();
        let mut highest = 0;
        for row in fixtures::json(name).as_array().unwrap() {
            let values: Vec<String> = columns.iter().map(|(name, kind)| self.literal(&row[name], *kind)).collect();
            let before = if statement.is_empty() { begin.as_str() } else { ", " };
            write!(statement, "{before}({})", values.join(", ")).unwrap();
            highest = highest.max(row["id"].as_u64().unwrap());
            if statement.len() > STATEMENT / 2 {
                let _ = self.database.ask(url, &statement);
                statement.clear();
            }
        }
        if !statement.is_empty() {
            let _ = self.database.ask(url, &statement);
        }
        if self.product == Product::Postgres {
            let _ = self.database.ask(url, &format!("SELECT setval('{table}_id_seq', {highest})"));
        }
    }

    fn literal(&self, value: &Value, kind: Kind) -> String {
        match (value, kind) {
            (Value::Null, _) => "NULL".to_owned(),
            (value, Kind::Number) => value.to_string(),
            (value, Kind::Text | Kind::Time) => format!("'{}'", value.as_str().unwrap().trim_end()),
            (value, Kind::Bytes) => {
                let bytes = match (value["text"].as_str(), value["base64"].as_str()) {
                    (Some(text), _) => text.as_bytes().to_vec(),
                    (None, Some(text)) => {
                        use base64::Engine;
                        base64::engine::general_purpose::STANDARD.decode(text).unwrap()
                    }
                    (None, None) => panic!("{value}"),
                };
                let digits = bytes.iter().fold(String::new(), |mut text, byte| {
                    write!(text, "{byte:02x}").unwrap();
                    text
                });
                if self.product == Product::Postgres {
                    format!("decode('{digits}', 'hex')")
                } else {
                    format!("X'{digits}'")
                }
            }
        }
    }

    /// Reads every row of the reference's tables.
    pub(super) fn rows(&self) -> Rows {
        Rows {
            files: self.table(&self.server_url, "tuf_files", &FILES),
            changes: self.table(&self.server_url, "changefeed", &CHANGES),
            keys: self.table(&self.signer_url, "private_keys", &KEYS),
        }
    }

    fn table(&self, url: &str, table: &str, columns: &[(&str, Kind)]) -> Table {
        let postgres = self.product == Product::Postgres;
        let column = |(name, kind): &(&str, Kind)| match (kind, postgres) {
            (Kind::Number | Kind::Text, _) => format!("'{name}', {name}"),
            (Kind::Time, true) => format!("'{name}', to_char({name}, 'YYYY-MM-DD\"T\"HH24:MI:SS.US')"),
            (Kind::Time, false) => format!("'{name}', DATE_FORMAT({name}, '%Y-%m-%dT%H:%i:%s.%f')"),
            (Kind::Bytes, true) => format!("'{name}', encode({name}, 'hex')"),
            (Kind::Bytes, false) => format!("'{name}', LOWER(HEX({name}))"),
        };
        let object = if postgres { "json_build_object" } else { "JSON_OBJECT" };
        let columns: Vec<String> = columns.iter().map(column).collect();
        let statement = format!("SELECT {object}({}) FROM {table} ORDER BY id", columns.join(", "));
        let answer = self.database.ask(url, &statement);
        let row = |line: &str| {
            let row: Value = serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"));
            (row["id"].as_u64().unwrap(), row)
        };
        answer.lines().map(row).collect()
    }
}

impl Running {
    /// Has the server log more (SIGUSR1).
    pub(super) fn raise_level(&mut self) {
        let id = rustix::process::Pid::from_raw(i32::try_from(self.server.id()).unwrap()).unwrap();
        rustix::process::kill_process(id, rustix::process::Signal::USR1).unwrap();
    }

    /// Waits until the server has written a line.
    pub(super) fn waits_for_server_line(&mut self, line: &str) {
        let process = &mut self.server;
        let deadline = std::time::Instant::now() + Duration::from_secs(10);
        while !process.log().contains(line) {
            assert!(std::time::Instant::now() < deadline, "{}", process.log());
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}
