//! When devices were last heard, gathered: a transaction holds readings of almost every device that is busy, and would write
//! the same row for each of them again.
//!
//! What waits here is lost if the hub is killed: then the board shows a device as last heard up to [`EVERY`] before it was,
//! until it speaks again. Its readings are not touched by that; they have their own time.

use std::{collections::HashMap, mem, time::Duration};

use model::{DeviceId, Timestamp};
use tokio::time::Instant;

/// How often it is written.
const EVERY: Duration = Duration::from_secs(1);

/// When each device was last heard.
type Seen = HashMap<DeviceId, Timestamp>;

/// What is not written yet, and when it may be.
pub(super) struct Heard {
    waiting: Seen,
    next: Instant,
}

impl Heard {
    /// Nothing was heard yet.
    pub(super) fn new(now: Instant) -> Self {
        Self { waiting: Seen::new(), next: now }
    }

    /// Adds what a batch brought. Returns everything that waits once it is time to write that, and nothing before.
    pub(super) fn gather(&mut self, seen: Seen, now: Instant) -> Seen {
        for (device, at) in seen {
            self.waiting.entry(device).and_modify(|last| *last = at.max(*last)).or_insert(at);
        }
        if now < self.next || self.waiting.is_empty() {
            return Seen::new();
        }
        self.next = now + EVERY;
        self.rest()
    }

    /// Everything that waits.
    pub(super) fn rest(&mut self) -> Seen {
        mem::take(&mut self.waiting)
    }

    /// When to write what waits, whether or not more comes; `None` if nothing does.
    pub(super) fn due(&self) -> Option<Instant> {
        (!self.waiting.is_empty()).then_some(self.next)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen(devices: &[(&str, i64)]) -> Seen {
        devices.iter().map(|(id, at)| (DeviceId::new(id).expect("an id"), Timestamp::from_micros(*at))).collect()
    }

    #[test]
    fn the_first_word_is_written_at_once_and_later_ones_once_a_second() {
        let start = Instant::now();
        let mut heard = Heard::new(start);
        assert_eq!(heard.gather(seen(&[("a", 1)]), start), seen(&[("a", 1)]));
        let soon = start + EVERY / 2;
        assert!(heard.gather(seen(&[("a", 3)]), soon).is_empty());
        assert!(heard.gather(seen(&[("a", 2), ("b", 2)]), soon).is_empty(), "an older word changes nothing");
        assert_eq!(heard.due(), Some(start + EVERY));
        assert_eq!(heard.gather(Seen::new(), start + EVERY), seen(&[("a", 3), ("b", 2)]));
        assert_eq!(heard.due(), None);
    }

    #[test]
    fn what_comes_after_a_silence_does_not_wait() {
        let start = Instant::now();
        let mut heard = Heard::new(start);
        heard.gather(seen(&[("a", 1)]), start);
        let late = start + 3 * EVERY;
        assert!(heard.gather(Seen::new(), late).is_empty());
        assert_eq!(heard.gather(seen(&[("a", 2)]), late), seen(&[("a", 2)]));
    }
}
