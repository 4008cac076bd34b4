//! Long-running programs that end with the value that stands for them.

use std::ffi::OsString;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{LazyLock, mpsc};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, kill_process_group, waitid};

use crate::Tool;

/// How often a state is looked at while waiting for it.
const POLL: Duration = Duration::from_millis(20);
/// How much of a log a failure message shows, in bytes.
const LOG_TAIL: usize = 4_000;

/// A running program in a process group of its own, with its output in a file.
///
/// Dropping it asks the whole group to end, waits, and kills what is left.
#[derive(Debug)]
pub struct Process {
    name: String,
    child: Child,
    log: PathBuf,
    grace: Duration,
}

impl Process {
    /// Starts the command with its standard output and error in `log`, and nothing on its standard input.
    ///
    /// `grace` is the time it gets to end by itself once asked to.
    #[must_use]
    pub fn start(command: &Command, log: &Path, grace: Duration) -> Self {
        let name = Path::new(command.get_program()).file_name().unwrap_or_default().to_string_lossy().into_owned();
        let mut command = tied_to_this_process(command);
        let output = File::create(log).expect("a log file");
        command.stdin(Stdio::null());
        command.stderr(output.try_clone().expect("a second handle of the log file"));
        command.stdout(output);
        std::os::unix::process::CommandExt::process_group(&mut command, 0);
        let child = spawn(command).unwrap_or_else(|error| panic!("cannot start {name}: {error}"));
        Self { name, child, log: log.to_owned(), grace }
    }

    /// Sends SIGHUP to the whole group.
    pub fn hang_up(&self) {
        kill_process_group(Pid::from_child(&self.child), Signal::HUP).expect("a signal to a running program");
    }

    /// Stops the whole group where it is, until [`Process::go_on`]: what a machine does that has no time for it.
    pub fn pause(&self) {
        self.signal(Signal::STOP);
    }

    /// Lets the group go on after [`Process::pause`].
    pub fn go_on(&self) {
        self.signal(Signal::CONT);
    }

    /// Waits until `ready` says so; panics with the end of the log if the program ends before, or after `limit`.
    pub fn wait_until(&mut self, limit: Duration, ready: impl Fn() -> Readiness) {
        let end = Instant::now() + limit;
        while ready() == Readiness::NotYet {
            if let Ok(Some(status)) = self.child.try_wait() {
                panic!("{} ended early with {status}:\n{}", self.name, self.log_tail());
            }
            assert!(Instant::now() < end, "{} was not ready after {limit:?}:\n{}", self.name, self.log_tail());
            thread::sleep(POLL);
        }
    }

    /// Waits until `ready` says so; tells whether it did before the program ended or the time was up.
    #[must_use]
    pub fn becomes_ready(&mut self, limit: Duration, ready: impl Fn() -> Readiness) -> bool {
        let end = Instant::now() + limit;
        while ready() == Readiness::NotYet {
            if !matches!(self.child.try_wait(), Ok(None)) || Instant::now() >= end {
                return false;
            }
            thread::sleep(POLL);
        }
        true
    }

    /// Tells whether the program has not ended.
    #[must_use]
    pub fn runs(&self) -> bool {
        !self.has_ended()
    }

    /// The process id, which is also the id of its group.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// What the program printed so far, on both streams.
    #[must_use]
    pub fn log(&self) -> String {
        fs::read(&self.log).map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).unwrap_or_default()
    }

    /// Kills the program and all its children at once, without asking: what a power cut does.
    pub fn kill(&mut self) {
        self.signal(Signal::KILL);
        let _ = self.child.wait();
    }

    /// Asks the program to end (SIGTERM), and waits for it; `None` if it had to be killed.
    pub fn stop(&mut self) -> Option<ExitStatus> {
        if let Ok(Some(status)) = self.child.try_wait() {
            return Some(status);
        }
        self.signal(Signal::TERM);
        let end = Instant::now() + self.grace;
        while !self.has_ended() && Instant::now() < end {
            thread::sleep(POLL);
        }
        let in_time = self.has_ended();
        // The group cannot be anybody else's: its leader is not reaped yet.
        self.signal(Signal::KILL);
        let status = self.child.wait().ok();
        status.filter(|_| in_time)
    }

    fn has_ended(&self) -> bool {
        let options = WaitIdOptions::EXITED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT;
        !matches!(waitid(WaitId::Pid(Pid::from_child(&self.child)), options), Ok(None))
    }

    fn signal(&self, signal: Signal) {
        let _ = kill_process_group(Pid::from_child(&self.child), signal);
    }

    fn log_tail(&self) -> String {
        let log = self.log();
        let start = log.ceil_char_boundary(log.len().saturating_sub(LOG_TAIL));
        log.get(start..).unwrap_or_default().to_owned()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.stop();
    }
}

/// Whether a program can be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Readiness {
    /// It can.
    Ready,
    /// It needs more time.
    NotYet,
}

impl From<bool> for Readiness {
    fn from(ready: bool) -> Self {
        if ready { Self::Ready } else { Self::NotYet }
    }
}

/// The same command, asked by the kernel to end when this process dies without having dropped anything.
fn tied_to_this_process(command: &Command) -> Command {
    let mut tied = Command::new(Tool::SETPRIV.path());
    tied.args(["--pdeathsig", "TERM", "--"]).arg(command.get_program()).args(command.get_args());
    if let Some(folder) = command.get_current_dir() {
        tied.current_dir(folder);
    }
    tied.env_clear();
    for (name, value) in environment_of(command) {
        tied.env(name, value);
    }
    tied
}

/// The environment of tools: only the path is inherited, so that nothing on the machine changes what a test sees.
fn environment_of(command: &Command) -> Vec<(OsString, OsString)> {
    let mut environment: Vec<_> = std::env::var_os("PATH").map(|path| ("PATH".into(), path)).into_iter().collect();
    for (name, value) in command.get_envs() {
        if let Some(value) = value {
            environment.push((name.to_owned(), value.to_owned()));
        }
    }
    environment
}

type Order = (Command, mpsc::Sender<io::Result<Child>>);

/// Starts programs from one thread that lives as long as the process: the kernel's signal comes at the death of the
/// *thread* that started the program, and threads of tests end early.
fn spawn(command: Command) -> io::Result<Child> {
    static SPAWNER: LazyLock<mpsc::Sender<Order>> = LazyLock::new(|| {
        let (orders, inbox) = mpsc::channel::<Order>();
        thread::spawn(move || {
            for (mut command, answer) in inbox {
                let _ = answer.send(command.spawn());
            }
        });
        orders
    });
    let (answer, result) = mpsc::channel();
    SPAWNER.send((command, answer)).map_err(io::Error::other)?;
    result.recv().map_err(io::Error::other)?
}

#[cfg(test)]
mod tests {
    use super::{Process, Readiness};
    use std::io::{BufRead, BufReader};
    use std::process::{Command, Stdio};
    use std::time::{Duration, Instant};

    fn shell(script: &str, folder: &tempfile::TempDir) -> Process {
        let mut command = Command::new("sh");
        command.arg("-c").arg(script);
        Process::start(&command, &folder.path().join("log"), Duration::from_secs(1))
    }

    fn alive(id: &str) -> bool {
        // A zombie whose parent is gone is as good as ended.
        std::fs::read_to_string(format!("/proc/{id}/stat")).is_ok_and(|stat| !stat.contains(") Z "))
    }

    #[test]
    fn dropping_ends_the_program_and_its_children() {
        let folder = tempfile::tempdir().unwrap();
        let mut process = shell("sleep 600 & echo child=$!; wait", &folder);
        process.wait_until(Duration::from_secs(5), || {
            std::fs::read_to_string(folder.path().join("log")).unwrap().ends_with('\n').into()
        });
        let child = process.log().trim().trim_start_matches("child=").to_owned();
        assert!(alive(&child));
        let id = process.id().to_string();
        drop(process);
        assert!(!alive(&id));
        assert!(!alive(&child));
    }

    #[test]
    fn a_test_that_is_killed_leaves_nothing_running() {
        const ROLE: &str = "TESTKIT_KILLED_TEST";
        if std::env::var_os(ROLE).is_some() {
            // This is the test that will be killed.
            let folder = tempfile::tempdir().unwrap();
            let mut process = shell("echo ready; exec sleep 600", &folder);
            process.wait_until(Duration::from_secs(5), || {
                std::fs::read_to_string(folder.path().join("log")).unwrap().contains("ready").into()
            });
            println!("started={}", process.id());
            std::thread::sleep(Duration::from_mins(1));
        }
        let mut victim = Command::new(std::env::current_exe().unwrap());
        victim.args(["--exact", "process::tests::a_test_that_is_killed_leaves_nothing_running", "--nocapture"]);
        let mut victim = victim.env(ROLE, "1").stdout(Stdio::piped()).spawn().unwrap();
        let mut lines = BufReader::new(victim.stdout.take().unwrap()).lines().map(Result::unwrap);
        let id = lines.find_map(|line| line.split_once("started=").map(|(_, id)| id.to_owned())).unwrap();
        assert!(alive(&id));
        victim.kill().unwrap();
        victim.wait().unwrap();
        let end = Instant::now() + Duration::from_secs(5);
        while alive(&id) {
            assert!(Instant::now() < end, "{id} is still running");
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    #[test]
    fn a_program_that_ignores_the_request_is_killed() {
        let folder = tempfile::tempdir().unwrap();
        let mut process = shell("trap '' TERM; echo ready; while :; do sleep 0.1; done", &folder);
        process.wait_until(Duration::from_secs(5), || {
            std::fs::read_to_string(folder.path().join("log")).unwrap().contains("ready").into()
        });
        assert_eq!(process.stop(), None);
    }

    #[test]
    #[should_panic(expected = "sh ended early with exit status: 3:\nno luck")]
    fn a_program_that_ends_early_shows_its_log() {
        let folder = tempfile::tempdir().unwrap();
        shell("echo no luck; exit 3", &folder).wait_until(Duration::from_secs(5), || Readiness::NotYet);
    }
}
