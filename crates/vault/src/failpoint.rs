//! Marks the steps after which a crash must do no harm.
//!
//! In a test build each step counts, and the process kills itself at the step that the variable `COUNTERSIGN_CRASH_AT`
//! names; in any other build a step is nothing at all.

/// Marks one durable step.
#[cfg(not(test))]
#[inline]
pub(crate) fn step(_name: &'static str) {}

#[cfg(test)]
pub(crate) use counting::step;

#[cfg(test)]
pub(crate) mod counting {
    use std::cell::RefCell;
    use std::sync::atomic::{AtomicUsize, Ordering};

    /// The variable that says at which step to die.
    pub(crate) const CRASH_AT: &str = "COUNTERSIGN_CRASH_AT";

    static PASSED: AtomicUsize = AtomicUsize::new(0);

    thread_local! {
        static RECORD: RefCell<Option<Vec<&'static str>>> = const { RefCell::new(None) };
    }

    pub(crate) fn step(name: &'static str) {
        RECORD.with_borrow_mut(|record| {
            if let Some(record) = record {
                record.push(name);
            }
        });
        let Ok(at) = std::env::var(CRASH_AT) else { return };
        if PASSED.fetch_add(1, Ordering::SeqCst) + 1 == at.parse::<usize>().unwrap() {
            rustix::process::kill_process(rustix::process::getpid(), rustix::process::Signal::KILL).unwrap();
        }
    }

    /// Runs an action and returns the steps it went through on this thread.
    pub(crate) fn recorded(action: impl FnOnce()) -> Vec<&'static str> {
        RECORD.with_borrow_mut(|record| *record = Some(Vec::new()));
        action();
        RECORD.with_borrow_mut(Option::take).unwrap()
    }
}
