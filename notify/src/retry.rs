//! When to try again. Pure.

use std::time::Duration;

use model::{OutboxId, OutboxMessage, Timestamp};

/// Waits after the first, second, … failed attempt where life may depend on it; the last one repeats.
const LIFE_SAFETY: [u64; 5] = [2, 5, 10, 15, 30];

/// Waits after the first, second, … failed attempt of other messages, in seconds; the last one repeats.
const ORDINARY: [u64; 7] = [5, 30, 120, 300, 900, 1800, 3600];

/// Jitter moves a wait by up to this share of it, either way, so that messages that failed together do not come
/// back together.
const JITTER: f64 = 0.2;

/// How long to wait before asking the provider what became of an attempt whose outcome is not known: its list of
/// messages may lag behind its answers.
pub const LOOK_UP_AFTER: Duration = Duration::from_secs(5);

/// When to try a message again after a failed attempt; `None` if that would be after it expires.
///
/// `message.attempts` is the number of attempts before the one that failed. `after` is the provider's own wish
/// (`Retry-After`): it is honoured between one and two times the scheduled wait, so that a provider that answers
/// "in an hour" does not silence a page.
#[must_use]
pub fn retry_at(message: &OutboxMessage, after: Option<Duration>, now: Timestamp) -> Option<Timestamp> {
    let at = now + wait(message.id, message.attempts, message.life_safety, after);
    (at < message.expires_at).then_some(at)
}

fn wait(id: OutboxId, attempts: u32, life_safety: bool, after: Option<Duration>) -> Duration {
    let schedule: &[u64] = if life_safety { &LIFE_SAFETY } else { &ORDINARY };
    let step = usize::try_from(attempts).unwrap_or(usize::MAX).min(schedule.len() - 1);
    let planned = Duration::from_secs(schedule[step]).mul_f64(1.0 - JITTER + 2.0 * JITTER * spread(id, attempts));
    after.map_or(planned, |after| after.clamp(planned, planned * 2))
}

/// A number in 0..1 that depends on the message and the attempt alone, so that a replay waits the same.
fn spread(id: OutboxId, attempts: u32) -> f64 {
    let mut hash = 0xcbf2_9ce4_8422_2325_u64;
    for byte in id.0.as_bytes().iter().copied().chain(attempts.to_le_bytes()) {
        hash = (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
    }
    hash ^= hash >> 32;
    f64::from(u32::try_from(hash & 0xffff_ffff).unwrap_or(0)) / 4_294_967_296.0
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixture;

    fn seconds(attempts: u32, life_safety: bool, after: Option<u64>) -> f64 {
        let mut message = fixture::page();
        message.attempts = attempts;
        message.life_safety = life_safety;
        message.expires_at = message.created_at + Duration::from_secs(86_400);
        let now = message.created_at;
        retry_at(&message, after.map(Duration::from_secs), now).unwrap().seconds_after(now)
    }

    #[test]
    fn life_safety_is_tried_again_within_seconds() {
        assert!((1.6..=2.4).contains(&seconds(0, true, None)));
        assert!((24.0..=36.0).contains(&seconds(40, true, None)));
        assert!((4.0..=6.0).contains(&seconds(0, false, None)));
        assert!((2880.0..=4320.0).contains(&seconds(u32::MAX, false, None)));
    }

    #[test]
    fn the_providers_wish_counts_within_reason() {
        assert!(seconds(0, true, Some(3600)) <= 4.8, "an hour of silence is not for an entrapment");
        assert!((8.0..=12.0).contains(&seconds(0, false, Some(3600))));
        assert!(seconds(1, false, Some(1)) >= 24.0);
    }

    #[test]
    fn the_same_attempt_always_waits_the_same_and_others_differ() {
        let id = |n: u128| OutboxId(uuid::Uuid::from_u128(n));
        assert_eq!(wait(id(1), 3, false, None), wait(id(1), 3, false, None));
        let waits: std::collections::HashSet<_> = (0..100).map(|n| wait(id(n), 3, false, None)).collect();
        assert!(waits.len() > 90);
    }

    #[test]
    fn nothing_is_tried_after_it_expires() {
        let mut message = fixture::page();
        message.expires_at = message.created_at + Duration::from_secs(1);
        assert_eq!(retry_at(&message, None, message.created_at), None);
    }
}
