//! Which rejects are kept: a bounded rate of each reason, so that a flood of one class fills nothing and hides no other.

use std::collections::HashMap;

use model::{Body, RejectReason, Timestamp};

use super::NewReject;

/// Chooses the rejects that are kept: a token bucket for each reason, in the time of receipt. A bucket holds what a minute
/// brings, and is full at the start.
#[derive(Debug)]
pub struct RejectSampler {
    per_minute: u32,
    buckets: HashMap<RejectReason, Bucket>,
}

/// What is left, in microseconds' worth of refilling, as of `at`.
#[derive(Debug)]
struct Bucket {
    level: u64,
    at: Timestamp,
}

const MINUTE_MICROS: u64 = 60_000_000;

impl RejectSampler {
    /// One that keeps `per_minute` of each reason; 0 keeps none.
    #[must_use]
    pub fn new(per_minute: u32) -> Self {
        Self { per_minute, buckets: HashMap::new() }
    }

    /// Marks those of a stretch of the journal that are kept.
    pub fn choose(&mut self, rejects: &mut [NewReject]) {
        for new in rejects {
            new.sample = match &new.entry.body {
                Body::Reject(reject) => self.takes(reject.reason, new.entry.received_at),
                Body::Sample(_) | Body::Event(_) | Body::Status(_) | Body::CommandResult(_) | Body::Emergency(_) => {
                    false
                }
            };
        }
    }

    fn takes(&mut self, reason: RejectReason, now: Timestamp) -> bool {
        if self.per_minute == 0 {
            return false;
        }
        let price = (MINUTE_MICROS / u64::from(self.per_minute)).max(1);
        let bucket = self.buckets.entry(reason).or_insert(Bucket { level: MINUTE_MICROS, at: now });
        let passed = u64::try_from(now.since(bucket.at).as_micros()).unwrap_or(u64::MAX);
        bucket.level = bucket.level.saturating_add(passed).min(MINUTE_MICROS);
        // Connections are a little apart in time, which must not refill it twice; a clock that was set back counts anew.
        let set_back = bucket.at.since(now).as_secs() > 60;
        bucket.at = if set_back { now } else { now.max(bucket.at) };
        let takes = bucket.level >= price;
        if takes {
            bucket.level -= price;
        }
        takes
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn start() -> Timestamp {
        Timestamp::from_secs(1_772_500_000)
    }

    /// How many of `rate` a second, over `seconds`, are kept.
    fn kept(sampler: &mut RejectSampler, reason: RejectReason, from: u64, seconds: u64, rate: u64) -> usize {
        let moments =
            (0..seconds * rate).map(|n| start() + Duration::from_micros(from * 1_000_000 + n * 1_000_000 / rate));
        moments.filter(|now| sampler.takes(reason, *now)).count()
    }

    #[test]
    fn a_flood_is_kept_at_the_rate_and_a_trickle_whole() {
        let mut sampler = RejectSampler::new(60);
        // The full bucket, and one a second from then on.
        assert_eq!(kept(&mut sampler, RejectReason::NotJson, 0, 600, 500), 60 + 599);
        assert_eq!(kept(&mut sampler, RejectReason::OutOfRange, 0, 600, 1), 600, "another reason has its own");
        // After a quiet minute the bucket is full again, and not fuller.
        assert_eq!(kept(&mut sampler, RejectReason::NotJson, 3600, 1, 500), 60);
        assert_eq!(kept(&mut RejectSampler::new(0), RejectReason::NotJson, 0, 10, 10), 0);
        assert_eq!(kept(&mut RejectSampler::new(u32::MAX), RejectReason::NotJson, 0, 10, 1000), 10_000);
    }

    #[test]
    fn a_clock_that_is_set_back_gives_no_more() {
        let mut sampler = RejectSampler::new(1);
        assert!(sampler.takes(RejectReason::NotJson, start()));
        assert!(!sampler.takes(RejectReason::NotJson, start() - Duration::from_secs(30)));
        assert!(!sampler.takes(RejectReason::NotJson, start() + Duration::from_secs(59)));
        assert!(sampler.takes(RejectReason::NotJson, start() + Duration::from_secs(60)));
        let before = start() - Duration::from_secs(3600);
        assert!(!sampler.takes(RejectReason::NotJson, before));
        assert!(sampler.takes(RejectReason::NotJson, before + Duration::from_secs(60)), "and it goes on from there");
    }
}
