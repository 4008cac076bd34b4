//! What keeps secrets out of files that nobody meant to write.

use rustix::process::{DumpableBehavior, Resource, Rlimit, getrlimit, set_dumpable_behavior, setrlimit};

/// Has the system leave this process's memory alone: no core is dumped, and no process of the same user attaches to it or reads
/// its environment. Programs that are executed in its place are not concerned.
pub(crate) fn guard_memory() {
    // Where the system does not know it, everything works as without.
    let _ = set_dumpable_behavior(DumpableBehavior::NotDumpable);
}

/// Has no core written by this process, and by none that it starts and waits for.
pub(crate) fn write_no_cores() {
    let maximum = getrlimit(Resource::Core).maximum;
    let _ = setrlimit(Resource::Core, Rlimit { current: Some(0), maximum });
}
