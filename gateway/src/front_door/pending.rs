//! Connections that have not yet said who they are. When there are too many, the oldest has to go: a crowd that says
//! nothing cannot keep out a device that does.

use std::{
    collections::BTreeMap,
    sync::{Mutex, MutexGuard, PoisonError},
};

use tokio_util::sync::CancellationToken;

/// The fewest that are let wait.
const LEAST: usize = 64;

/// The connections, by the order in which they came.
pub(super) struct Pending {
    waiting: Mutex<Waiting>,
    max: usize,
}

#[derive(Default)]
struct Waiting {
    by_number: BTreeMap<u64, CancellationToken>,
    last: u64,
}

impl Pending {
    /// Room for a quarter of as many as may be connected.
    pub(super) fn new(max_connections: usize) -> Self {
        Self { waiting: Mutex::default(), max: (max_connections / 4).max(LEAST) }
    }

    fn lock(&self) -> MutexGuard<'_, Waiting> {
        // Nothing that holds the lock can panic half-way through a change.
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Lets a connection wait; the oldest gives way if there are too many. Returns its number.
    pub(super) fn admit(&self) -> u64 {
        let mut waiting = self.lock();
        if waiting.by_number.len() >= self.max
            && let Some((_, oldest)) = waiting.by_number.pop_first()
        {
            metrics::counter!("liftline_front_door_crowded_out_total").increment(1);
            oldest.cancel();
        }
        waiting.last += 1;
        let number = waiting.last;
        waiting.by_number.insert(number, CancellationToken::new());
        number
    }

    /// Cancelled when the connection has to give way.
    pub(super) fn token(&self, number: u64) -> CancellationToken {
        self.lock().by_number.get(&number).cloned().unwrap_or_else(|| {
            // It gave way before it was looked at.
            let gone = CancellationToken::new();
            gone.cancel();
            gone
        })
    }

    /// The connection waits no longer.
    pub(super) fn remove(&self, number: u64) {
        self.lock().by_number.remove(&number);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_gives_way() {
        let pending = Pending::new(0);
        let numbers: Vec<u64> = (0..LEAST).map(|_| pending.admit()).collect();
        let tokens: Vec<_> = numbers.iter().map(|number| pending.token(*number)).collect();
        pending.remove(numbers[0]);
        pending.admit();
        assert!(tokens.iter().all(|token| !token.is_cancelled()));
        pending.admit();
        assert!(tokens[1].is_cancelled() && !tokens[2].is_cancelled());
        assert!(pending.token(numbers[1]).is_cancelled());
    }
}
