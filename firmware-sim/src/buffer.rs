//! The controller's offline buffer: what could not be sent yet, in order, with its original times.

use std::collections::VecDeque;

use crate::wire::Numbered;

/// How many measurements one message may carry when a backlog is flushed.
pub const BATCH: usize = 50;

/// Reports that wait to be sent. When it is full the oldest measurement gives way; events and answers never do: they
/// are rare, and each may mean a person in danger.
#[derive(Debug, Default)]
pub struct Buffer {
    queue: VecDeque<Numbered>,
    measurements: usize,
    limit: usize,
    dropped: u64,
}

impl Buffer {
    /// A buffer for at most `limit` measurements.
    #[must_use]
    pub fn new(limit: usize) -> Self {
        Self { queue: VecDeque::new(), measurements: 0, limit: limit.max(1), dropped: 0 }
    }

    /// How many reports wait.
    #[must_use]
    pub fn len(&self) -> usize {
        self.queue.len()
    }

    /// True if nothing waits.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.queue.is_empty()
    }

    /// How many measurements were given up for want of room.
    #[must_use]
    pub fn dropped(&self) -> u64 {
        self.dropped
    }

    /// Puts a report at the end.
    pub fn push(&mut self, report: Numbered) {
        self.measurements += usize::from(report.report.is_telemetry());
        self.queue.push_back(report);
        self.make_room();
    }

    /// Puts reports that were taken but not acknowledged back in front, in their order.
    pub fn put_back(&mut self, reports: Vec<Numbered>) {
        for report in reports.into_iter().rev() {
            self.measurements += usize::from(report.report.is_telemetry());
            self.queue.push_front(report);
        }
        self.make_room();
    }

    fn make_room(&mut self) {
        while self.measurements > self.limit {
            let Some(oldest) = self.queue.iter().position(|report| report.report.is_telemetry()) else { return };
            self.queue.remove(oldest);
            self.measurements -= 1;
            self.dropped += 1;
        }
    }

    /// Takes what the next message shall carry: one event or answer, or up to [`BATCH`] measurements in a row.
    pub fn take(&mut self) -> Vec<Numbered> {
        let mut batch = Vec::new();
        while let Some(next) = self.queue.front() {
            let telemetry = next.report.is_telemetry();
            if batch.len() >= BATCH || (!batch.is_empty() && !telemetry) {
                break;
            }
            batch.extend(self.queue.pop_front());
            if !telemetry {
                break;
            }
            self.measurements -= 1;
        }
        batch
    }
}

#[cfg(test)]
mod tests {
    use model::Timestamp;
    use proptest::prelude::*;

    use super::*;
    use crate::wire::Report;

    fn report(seq: u64, telemetry: bool) -> Numbered {
        let time = Timestamp::from_millis(i64::try_from(seq).unwrap());
        let report = if telemetry {
            Report::Telemetry { time, values: Vec::new() }
        } else {
            Report::Event { time, code: "alarm_button".into(), values: Vec::new() }
        };
        Numbered { seq, report }
    }

    proptest! {
        #[test]
        fn order_is_kept_events_survive_and_the_newest_measurements_stay(
            kinds in proptest::collection::vec(proptest::bool::weighted(0.8), 0..400), limit in 1usize..50,
        ) {
            let mut buffer = Buffer::new(limit);
            for (seq, telemetry) in kinds.iter().enumerate() {
                buffer.push(report(seq as u64, *telemetry));
            }
            // One batch is taken, not acknowledged, and put back.
            let taken = buffer.take();
            buffer.put_back(taken);
            let mut out = Vec::new();
            loop {
                let batch = buffer.take();
                if batch.is_empty() { break; }
                prop_assert!(batch.len() <= BATCH);
                prop_assert!(batch.len() == 1 || batch.iter().all(|r| r.report.is_telemetry()));
                out.extend(batch);
            }
            prop_assert!(out.windows(2).all(|pair| pair[0].seq < pair[1].seq));
            let sent = |telemetry: bool| out.iter().filter(|r| r.report.is_telemetry() == telemetry).map(|r| r.seq).collect::<Vec<_>>();
            let made = |telemetry: bool| kinds.iter().enumerate().filter(|(_, k)| **k == telemetry).map(|(i, _)| i as u64).collect::<Vec<_>>();
            prop_assert_eq!(sent(false), made(false));
            let measurements = made(true);
            let kept = &measurements[measurements.len().saturating_sub(limit)..];
            prop_assert_eq!(sent(true), kept.to_vec());
            prop_assert_eq!(buffer.dropped() as usize, measurements.len() - kept.len());
        }
    }
}
