//! How many file descriptors there are, and what that allows. Separate, since whoever runs out of
//! them can no longer reach backends for the clients that are there already.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Listeners, logs, the runtime, operators, checks.
const OURS: u64 = 32;

/// The most that anybody asks for; as in the unit.
const PLENTY: u64 = 1 << 20;

/// Takes as many as the system lets us have.
pub(super) fn raise() {
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    let wanted = maximum.unwrap_or(PLENTY).min(PLENTY);
    if current.is_some_and(|current| current < wanted) {
        let raised = Rlimit { current: Some(wanted), maximum };
        if let Err(why) = setrlimit(Resource::Nofile, raised) {
            tracing::warn!(%why, "the limit of open files stays as it is");
        }
    }
}

/// Clients that can be served at once: each may need a connection to a backend too. Asked each time,
/// since `prlimit` may change it while we run.
pub(super) fn connections() -> u32 {
    let Some(files) = getrlimit(Resource::Nofile).current else { return u32::MAX };
    connections_with(files)
}

/// Connections to backends that are kept when nobody uses them.
pub(super) fn kept(most: usize) -> usize {
    getrlimit(Resource::Nofile).current.map_or(most, |files| most.min(kept_with(files)))
}

fn kept_with(files: u64) -> usize {
    usize::try_from(files / 8).unwrap_or(usize::MAX)
}

fn connections_with(files: u64) -> u32 {
    let kept = files / 8;
    let for_clients = files.saturating_sub(OURS).saturating_sub(kept) / 2;
    u32::try_from(for_clients).unwrap_or(u32::MAX).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_client_and_its_backend_and_what_is_kept_fit_into_the_descriptors() {
        for files in [64, 256, 1024, 262_144] {
            let all = 2 * u64::from(connections_with(files)) + kept_with(files) as u64 + OURS;
            assert!(all <= files, "{all} of {files}");
            assert!(all + 2 >= files, "{all} of {files}");
        }
    }

    #[test]
    fn there_is_always_room_for_one() {
        assert_eq!(connections_with(0), 1);
    }
}
