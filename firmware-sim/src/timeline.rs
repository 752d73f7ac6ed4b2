//! Simulated time: as fast as the clock, or faster with its end at the present.

use std::{sync::Arc, time::Duration};

use model::{Clock, Timestamp};

/// Maps the clock to simulated time. At `speed` 1 they are the same. A faster simulation starts in the past, so far
/// that it reaches the present at its end: no time it reports lies in the future.
#[derive(Clone)]
pub(crate) struct Timeline {
    clock: Arc<dyn Clock>,
    origin: Timestamp,
    start: Timestamp,
    speed: f64,
}

impl Timeline {
    /// A timeline that starts now and covers `span` of simulated time.
    pub fn new(clock: Arc<dyn Clock>, speed: f64, span: Option<Duration>) -> Self {
        let origin = clock.now();
        let ahead = span.unwrap_or_default().mul_f64((1.0 - 1.0 / speed).max(0.0));
        Self { clock, origin, start: origin - ahead, speed }
    }

    /// Simulated time at the start.
    pub fn start(&self) -> Timestamp {
        self.start
    }

    /// Simulated time now.
    pub fn now(&self) -> Timestamp {
        let passed = self.clock.now().since(self.origin);
        // Without the multiplication at speed 1 not even a rounding separates the two.
        if (self.speed - 1.0).abs() < f64::EPSILON {
            self.start + passed
        } else {
            self.start + passed.mul_f64(self.speed)
        }
    }
}

#[cfg(test)]
mod tests {
    use model::ManualClock;

    use super::*;

    #[test]
    fn a_fast_simulation_ends_at_the_present() {
        let clock = Arc::new(ManualClock::at(Timestamp::from_secs(1_000_000)));
        let hour = Duration::from_secs(3600);
        let timeline = Timeline::new(clock.clone(), 60.0, Some(hour));
        assert!(timeline.now() < clock.now());
        clock.advance(hour / 60);
        assert_eq!(timeline.now().since(timeline.start()), hour);
        assert_eq!(timeline.now(), clock.now());
        let real = Timeline::new(clock.clone(), 1.0, Some(hour));
        assert_eq!((real.start(), real.now()), (clock.now(), clock.now()));
    }
}
