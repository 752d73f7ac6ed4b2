//! Pauses between attempts to connect.

use std::{
    hash::{DefaultHasher, Hash, Hasher},
    time::Duration,
};

const FIRST: Duration = Duration::from_millis(250);

/// The pause before attempt `attempt + 1`: doubling up to `max`, of which between half and all is taken, so that the
/// hubs of one broker do not all come back at the same moment. The share follows from the client id and the attempt.
pub(super) fn pause(client_id: &str, attempt: u32, max: Duration) -> Duration {
    let full = FIRST.saturating_mul(1 << attempt.min(16)).min(max);
    let mut hasher = DefaultHasher::new();
    (client_id, attempt).hash(&mut hasher);
    let share = 500 + u32::try_from(hasher.finish() % 501).unwrap_or(0);
    full * share / 1000
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_to_the_limit_and_differ_between_hubs() {
        let max = Duration::from_secs(30);
        for attempt in 0..40 {
            let full = FIRST.saturating_mul(1 << attempt.min(16)).min(max);
            let pause = pause("hub", attempt, max);
            assert!(pause >= full / 2 && pause <= full, "{attempt}: {pause:?}");
        }
        assert_ne!(pause("hub-a", 20, max), pause("hub-b", 20, max));
    }
}
