//! What the system lets the process have.

use rustix::process::{Resource, getrlimit, setrlimit};
use tracing::debug;

/// Raises the number of files that may be open to the most that the system allows: every connected device is one, and
/// many systems start programs with a limit of 1,024.
pub fn allow_many_connections() {
    let mut limit = getrlimit(Resource::Nofile);
    if limit.current == limit.maximum {
        return;
    }
    limit.current = limit.maximum;
    if let Err(error) = setrlimit(Resource::Nofile, limit) {
        debug!(%error, "the limit on open files stays as it is");
    }
}
