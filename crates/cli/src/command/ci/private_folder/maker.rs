//! Which process made a folder: the machine's boot, the process's number, and when it started.

use std::fmt;

/// Digits of the boot's id in a name.
const BOOT: usize = 8;
/// Fields of `/proc/PID/stat` after the program's name, up to the start time.
const START: usize = 19;

/// A process that cannot be mistaken for another, as long as process numbers have one meaning.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Maker {
    boot: String,
    id: u32,
    start: u64,
}

impl Maker {
    /// This process.
    pub(super) fn this() -> Self {
        let id = std::process::id();
        Self { boot: boot(), id, start: start(id).unwrap_or(0) }
    }

    /// Tells whether the process lives whose folder's name begins so (without the common prefix).
    pub(super) fn lives(name: &str) -> bool {
        let mut parts = name.split('-');
        let (Some(of), Some(id), Some(started)) = (parts.next(), parts.next(), parts.next()) else { return false };
        let (Ok(id), Ok(started)) = (id.parse::<u32>(), started.parse::<u64>()) else { return false };
        of == boot() && start(id) == Some(started)
    }
}

impl fmt::Display for Maker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}-{}", self.boot, self.id, self.start)
    }
}

fn boot() -> String {
    let id = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
    let digits: String = id.chars().filter(char::is_ascii_hexdigit).take(BOOT).collect();
    format!("{digits:0>BOOT$}")
}

/// When a process started, in ticks since boot; a zombie has ended.
fn start(id: u32) -> Option<u64> {
    let stat = std::fs::read_to_string(format!("/proc/{id}/stat")).ok()?;
    let mut fields = stat.get(stat.rfind(')')? + 1..)?.split_whitespace();
    if matches!(fields.next()?, "Z" | "X") {
        return None;
    }
    fields.nth(START - 1)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_is_known_by_boot_number_and_start() {
        let this = Maker::this();
        assert!(this.start > 0);
        assert!(Maker::lives(&format!("{this}-abcdefgh")));
        let later = Maker { start: this.start + 1, ..this.clone() };
        let other_boot = Maker { boot: "00000000".to_owned(), ..this.clone() };
        for other in [later, other_boot] {
            assert!(!Maker::lives(&format!("{other}-abcdefgh")), "{other}");
        }
        assert!(!Maker::lives("nonsense") && !Maker::lives(""));
        let mut child = std::process::Command::new("sh").args(["-c", "exit 0"]).spawn().unwrap();
        let ended = Maker { id: child.id(), start: start(child.id()).unwrap_or(1), ..this };
        child.wait().unwrap();
        assert!(!Maker::lives(&format!("{ended}-abcdefgh")));
    }
}
