//! How many messages one telephone may get. Pure: the caller says what was sent and when.
//!
//! The limits are GoAlert's. Life safety is never throttled.

use std::time::Duration;

use model::{MessageChannel, Timestamp};

/// At most `max` messages in any `window`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limit {
    /// The length of the window.
    pub window: Duration,
    /// How many messages may fall into it.
    pub max: usize,
}

const fn limit(minutes: u64, max: usize) -> Limit {
    Limit { window: Duration::from_secs(minutes * 60), max }
}

const SMS: [Limit; 4] = [limit(1, 1), limit(15, 5), limit(60, 11), limit(180, 21)];
const VOICE: [Limit; 4] = [limit(1, 1), limit(15, 3), limit(60, 7), limit(180, 15)];

/// Sends before this long ago never matter.
pub const HORIZON: Duration = Duration::from_secs(180 * 60);

/// The limits of a channel for one address; none for e-mail and webhooks.
#[must_use]
pub fn limits(channel: MessageChannel) -> &'static [Limit] {
    match channel {
        MessageChannel::Sms => &SMS,
        MessageChannel::Voice => &VOICE,
        MessageChannel::Email | MessageChannel::Webhook => &[],
    }
}

/// When the next message on this channel may go to an address that got messages at the times `sent` (in any order,
/// back to [`HORIZON`]); `None` if it may go now.
#[must_use]
pub fn held_until(channel: MessageChannel, life_safety: bool, sent: &[Timestamp], now: Timestamp) -> Option<Timestamp> {
    if life_safety {
        return None;
    }
    let mut latest_first = sent.to_vec();
    latest_first.sort_unstable_by(|a, b| b.cmp(a));
    limits(channel)
        .iter()
        // The window is free again when the `max`-th latest message has left it.
        .filter_map(|limit| latest_first.get(limit.max - 1).map(|at| *at + limit.window))
        .max()
        .filter(|until| *until > now)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_secs(1_800_000_000 + seconds)
    }

    #[test]
    fn a_telephone_is_not_flooded() {
        let sms = |sent: &[i64], now: i64| {
            let sent: Vec<_> = sent.iter().map(|s| at(*s)).collect();
            held_until(MessageChannel::Sms, false, &sent, at(now)).map(|t| t.seconds_after(at(0)))
        };
        assert_eq!(sms(&[], 0), None);
        assert_eq!(sms(&[0], 30), Some(60.0));
        assert_eq!(sms(&[0], 60), None);
        assert_eq!(sms(&[240, 0, 60, 120, 180], 300), Some(900.0), "five in a quarter of an hour");
        assert_eq!(sms(&[0, 60, 120, 180, 240], 901), None);
    }

    #[test]
    fn life_safety_and_mail_pass() {
        let sent: Vec<_> = (0..100).map(at).collect();
        assert_eq!(held_until(MessageChannel::Sms, true, &sent, at(100)), None);
        assert_eq!(held_until(MessageChannel::Email, false, &sent, at(100)), None);
        assert!(held_until(MessageChannel::Voice, false, &sent, at(100)).is_some());
    }

    #[test]
    fn replaying_a_burst_keeps_every_limit() {
        // Always sending as soon as allowed never breaks a limit.
        for channel in [MessageChannel::Sms, MessageChannel::Voice] {
            let mut sent: Vec<Timestamp> = Vec::new();
            let mut now = at(0);
            while sent.len() < 60 {
                match held_until(channel, false, &sent, now) {
                    Some(until) => now = until,
                    None => sent.push(now),
                }
            }
            for limit in limits(channel) {
                for (index, first) in sent.iter().enumerate() {
                    let inside = sent[index..].iter().filter(|t| **t < *first + limit.window).count();
                    assert!(inside <= limit.max, "{channel}: {inside} in {:?}", limit.window);
                }
            }
        }
    }
}
