//! How many files, and so connections, the system lets this process open.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Files needed beside connections: the database's connections with three files each, the runtime, the log, certificates.
const RESERVED: u64 = 40;
/// Connections that are served however few files there may be.
const LEAST: u64 = 4;

/// Raises the number of files that this process may have open as far as the system allows; for programs that run nothing
/// but the service.
pub fn raise_file_limit() {
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    if current != maximum
        && let Err(error) = setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum })
    {
        tracing::warn!(%error, ?current, ?maximum, "the limit of open files cannot be raised");
    }
}

/// Returns how many connections there may be: as many as wished, or as leave files enough for everything else.
pub(crate) fn connections(wished: usize) -> usize {
    let limit = getrlimit(Resource::Nofile).current;
    let possible = within(limit, wished);
    if possible < wished {
        tracing::warn!(
            connections = possible,
            files = limit,
            "few files may be open: fewer connections are taken at once"
        );
    }
    possible
}

fn within(limit: Option<u64>, wished: usize) -> usize {
    let Some(limit) = limit else { return wished };
    usize::try_from(limit.saturating_sub(RESERVED).max(LEAST)).map_or(wished, |possible| possible.min(wished))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connections_leave_files_for_everything_else() {
        assert_eq!(within(None, 4096), 4096);
        assert_eq!(within(Some(u64::MAX), 4096), 4096);
        assert_eq!(within(Some(1024), 4096), 984);
        assert_eq!(within(Some(64), 4096), 24);
        assert_eq!(within(Some(10), 4096), 4);
        assert_eq!(within(Some(64), 2), 2, "no more than wished");
    }
}
