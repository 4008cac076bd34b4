//! What the system knows about this process, under the names that Prometheus' own clients use.

use rustix::process::{Resource, getrlimit};

use crate::exposition::{Exposition, Kind};

/// Fields of `/proc/self/stat` after the name, counted from 0 (proc(5)): time in user and kernel mode and the start in ticks,
/// the address space in bytes, memory in pages.
const USER: usize = 11;
const KERNEL: usize = 12;
const STARTED: usize = 19;
const VIRTUAL: usize = 20;
const RESIDENT: usize = 21;

/// Adds processor time, memory, open files and the time of the start. What the system does not tell is left out.
pub fn write_process(text: &mut Exposition) {
    if let Some(stat) = Stat::read() {
        stat.write(text);
    }
    if let Ok(files) = std::fs::read_dir("/proc/self/fd") {
        // One of them is the look itself.
        let files = files.count().saturating_sub(1);
        text.single("process_open_fds", Kind::Gauge, "Number of open file descriptors.", files);
    }
    if let Some(limit) = getrlimit(Resource::Nofile).current {
        text.single("process_max_fds", Kind::Gauge, "Maximum number of open file descriptors.", limit);
    }
}

struct Stat(Vec<u64>);

impl Stat {
    fn read() -> Option<Self> {
        let text = fs_err::read_to_string("/proc/self/stat").ok()?;
        // The name is in brackets, and may contain some.
        let (_, fields) = text.rsplit_once(')')?;
        Some(Self(fields.split_whitespace().map(|field| field.parse().unwrap_or_default()).collect()))
    }

    fn field(&self, place: usize) -> u64 {
        self.0.get(place).copied().unwrap_or_default()
    }

    #[expect(clippy::cast_precision_loss, reason = "hundredths of a second of centuries fit")]
    fn write(&self, text: &mut Exposition) {
        let ticks = |ticks: u64| ticks as f64 / rustix::param::clock_ticks_per_second() as f64;
        let used = ticks(self.field(USER) + self.field(KERNEL));
        let help = "Total user and system CPU time spent in seconds.";
        text.single("process_cpu_seconds_total", Kind::Counter, help, used);
        let help = "Resident memory size in bytes.";
        let resident = self.field(RESIDENT) * rustix::param::page_size() as u64;
        text.single("process_resident_memory_bytes", Kind::Gauge, help, resident);
        let help = "Virtual memory size in bytes.";
        text.single("process_virtual_memory_bytes", Kind::Gauge, help, self.field(VIRTUAL));
        if let Some(boot) = booted() {
            let help = "Start time of the process since unix epoch in seconds.";
            text.single("process_start_time_seconds", Kind::Gauge, help, boot as f64 + ticks(self.field(STARTED)));
        }
    }
}

/// Returns when the system was started, in seconds.
fn booted() -> Option<u64> {
    let text = fs_err::read_to_string("/proc/stat").ok()?;
    text.lines().find_map(|line| line.strip_prefix("btime ")?.trim().parse().ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_process_has_memory_files_and_a_start_in_the_past() {
        let mut text = Exposition::default();
        write_process(&mut text);
        let text = text.into_text();
        let value = |name: &str| -> f64 {
            let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
            line.unwrap_or_else(|| panic!("no {name} in {text}")).parse().unwrap()
        };
        assert!(value("process_resident_memory_bytes") > 1e6 && value("process_virtual_memory_bytes") > 1e6);
        assert!(value("process_open_fds") >= 3.0 && value("process_max_fds") >= value("process_open_fds"));
        assert!(value("process_cpu_seconds_total") >= 0.0);
        let started = jiff::SignedDuration::try_from_secs_f64(value("process_start_time_seconds")).unwrap();
        let age = jiff::Timestamp::now().duration_since(jiff::Timestamp::UNIX_EPOCH) - started;
        assert!((-5..86400).contains(&age.as_secs()), "{age}");
    }
}
