//! The signing service as a program, beside the trust service as a program.

use countersign_testkit::port::{Answer, accepts};
use countersign_testkit::{Finished, NotaryClient, Port, Process, TestCa, TestCertificate, TrustService};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

const PROGRAM: &str = env!("CARGO_BIN_EXE_countersign");
const GUN: &str = "example.com/apart";
const SOON: Duration = Duration::from_secs(30);

/// A signing service with certificates, settings and a folder of its own.
struct Keyserver {
    folder: tempfile::TempDir,
    port: Port,
    process: Option<Process>,
}

impl Keyserver {
    fn start() -> Self {
        let (folder, authority) = (tempfile::tempdir().unwrap(), TestCa::new());
        fs_err::write(folder.path().join("ca.pem"), authority.pem()).unwrap();
        write(folder.path(), "keyserver", &authority.loopback_server());
        write(folder.path(), "service", &authority.client("trust-service"));
        let settings = r#"
            data-dir = "keys"
            tls-cert = "keyserver.crt"
            tls-key = "keyserver.key"
            client-ca = "ca.pem"
            clients = ["trust-service"]
        "#;
        fs_err::write(folder.path().join("keyserver.toml"), settings).unwrap();
        let mut started = Self { folder, port: Port::take(), process: None };
        started.again(&["--alias", "first"]);
        started
    }

    fn file(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(PROGRAM);
        command.arg("keyserver").args(arguments).arg("--settings").arg(self.file("keyserver.toml"));
        command.env("HOME", self.folder.path());
        command
    }

    /// Starts the service again, after it was killed or asked to end.
    fn again(&mut self, arguments: &[&str]) {
        let mut command = self.command(arguments);
        command.arg("--listen").arg(self.port.address().to_string());
        let mut process = Process::start(&command, &self.file("log"), Duration::from_secs(10));
        process.wait_until(SOON, || (accepts(self.port.address()) == Answer::Yes).into());
        self.process = Some(process);
    }

    fn trust_service(&self) -> TrustService {
        let address = self.port.address().to_string();
        let file = |name: &str| self.file(name).display().to_string();
        TrustService::builder(PROGRAM)
            .arg("--keyserver")
            .arg(&address)
            .arg("--keyserver-ca")
            .arg(&file("ca.pem"))
            .arg("--keyserver-cert")
            .arg(&file("service.crt"))
            .arg("--keyserver-key")
            .arg(&file("service.key"))
            .start()
    }
}

fn write(folder: &Path, name: &str, pair: &TestCertificate) {
    fs_err::write(folder.join(format!("{name}.crt")), &pair.certificate_pem).unwrap();
    fs_err::write(folder.join(format!("{name}.key")), &pair.key_pem).unwrap();
}

fn add(owner: &NotaryClient, name: &str) {
    fs_err::write(owner.folder().join(name), name).unwrap();
    owner.run(&["add", GUN, name, name]).succeeded();
}

/// Publishes again and again until it succeeds.
fn publish(owner: &NotaryClient) {
    let begun = Instant::now();
    loop {
        let finished: Finished = owner.run(&["publish", GUN]);
        if finished.code == 0 {
            return;
        }
        assert!(begun.elapsed() < SOON, "{}{}", finished.stdout, finished.stderr);
        std::thread::sleep(Duration::from_millis(100));
    }
}

fn tags(reader: &NotaryClient) -> usize {
    let listed = reader.run(&["list", GUN]).succeeded().stdout;
    listed.lines().filter(|line| line.starts_with("tag-")).count()
}

#[test]
fn the_keyserver_is_killed_again_and_again_and_nothing_is_lost_or_half_written() {
    let mut keyserver = Keyserver::start();
    let service = keyserver.trust_service();
    let (owner, reader) = (service.notary_client(), service.notary_client());
    owner.run(&["init", GUN]).succeeded();
    owner.run(&["key", "rotate", GUN, "snapshot", "-r"]).succeeded();
    for round in 0..8_u64 {
        add(&owner, &format!("tag-{round}"));
        let mut process = keyserver.process.take().unwrap();
        let finished = std::thread::scope(|threads| {
            let publishing = threads.spawn(|| owner.run(&["publish", GUN]));
            std::thread::sleep(Duration::from_millis(round * 15));
            process.kill();
            publishing.join().unwrap()
        });
        // Published with the new tag, or not at all; and readers read on, also without the keyserver.
        if round > 0 {
            let seen = tags(&reader);
            let expected = usize::try_from(round).unwrap() + usize::from(finished.code == 0);
            assert!(seen == expected || (finished.code != 0 && seen == expected + 1), "{round}: {seen}");
        }
        keyserver.again(&["--alias", "first"]);
        publish(&owner);
        assert_eq!(tags(&reader), usize::try_from(round).unwrap() + 1);
    }
}

#[test]
fn the_passphrase_is_rotated_while_both_services_run_and_the_old_one_is_thrown_away() {
    let mut keyserver = Keyserver::start();
    let service = keyserver.trust_service();
    let owner = service.notary_client();
    owner.run(&["init", GUN]).succeeded();
    add(&owner, "tag-1");
    publish(&owner);
    let rotated = keyserver.command(&["rotate-alias", "second"]).output().unwrap();
    assert!(rotated.status.success(), "{}", String::from_utf8_lossy(&rotated.stderr));
    assert_eq!(String::from_utf8_lossy(&rotated.stdout), "1 key is encrypted under second now\n");
    add(&owner, "tag-2");
    publish(&owner);
    assert_eq!(keyserver.process.take().unwrap().stop().unwrap().code(), Some(0));
    fs_err::remove_file(keyserver.file("keys/passphrases/first")).unwrap();
    keyserver.again(&["--alias", "second"]);
    add(&owner, "tag-3");
    publish(&owner);
    assert_eq!(tags(&service.notary_client()), 3);
    keyserver.process.take().unwrap().stop();
    fs_err::remove_file(keyserver.file("keys/passphrases/second")).unwrap();
    let refused = keyserver.command(&["--alias", "second", "--listen", "127.0.0.1:0"]).output().unwrap();
    let said = String::from_utf8_lossy(&refused.stderr);
    assert_eq!(refused.status.code(), Some(5), "{said}");
    assert!(said.contains("COUNTERSIGN_KEYSERVER_PASSPHRASE_SECOND"), "{said}");
}

#[test]
fn without_certificates_on_both_sides_nothing_starts_and_no_secret_is_an_argument() {
    let keyserver = Keyserver::start();
    let data_dir = keyserver.file("others").display().to_string();
    let bare = |arguments: &[&str]| {
        let mut command = Command::new(PROGRAM);
        command.args(["keyserver", "--data-dir", &data_dir]).args(arguments).env("HOME", keyserver.folder.path());
        command.output().unwrap()
    };
    let (certificate, key) = (keyserver.file("keyserver.crt"), keyserver.file("keyserver.key"));
    let (certificate, key) = (certificate.display().to_string(), key.display().to_string());
    for (arguments, missing) in
        [(&[] as &[&str], "--tls-cert"), (&["--tls-cert", &certificate, "--tls-key", &key], "--client-ca")]
    {
        let refused = bare(arguments);
        let said = String::from_utf8_lossy(&refused.stderr);
        assert!(refused.status.code() == Some(2) && said.contains(missing), "{said}");
    }
    let half = Command::new(PROGRAM).args(["serve", "--keyserver", "localhost:7899"]).output().unwrap();
    assert_eq!(half.status.code(), Some(2), "the trust service asks no keyserver without certificates");
    let process = keyserver.process.as_ref().unwrap();
    // The program is not dumpable: nobody else of the same user reads its memory, and no core is written.
    let status = fs_err::read_to_string(format!("/proc/{}/limits", process.id())).unwrap();
    let core = status.lines().find(|line| line.starts_with("Max core file size")).unwrap();
    assert_eq!(core.split_whitespace().nth(4), Some("0"), "{core}");
}
