//! Counts what happens per key within a window of time, in bounded memory.

use std::{
    collections::HashMap,
    hash::Hash,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use model::Timestamp;

/// Allows each key a number of turns in a window; the window starts with the first turn.
#[derive(Debug)]
pub(crate) struct Limiter<K> {
    turns: u32,
    window: Duration,
    max_keys: usize,
    seen: Mutex<HashMap<K, Seen>>,
}

#[derive(Debug, Clone, Copy)]
struct Seen {
    since: Timestamp,
    turns: u32,
}

impl<K: Hash + Eq + Clone> Limiter<K> {
    /// `turns` per `window` for each key; at most `max_keys` are remembered, the longest known is forgotten first.
    pub fn new(turns: u32, window: Duration, max_keys: usize) -> Self {
        Self { turns, window, max_keys: max_keys.max(1), seen: Mutex::new(HashMap::new()) }
    }

    /// Takes a turn.
    ///
    /// # Errors
    /// How long to wait if the key has none left.
    pub fn take(&self, key: &K, now: Timestamp) -> Result<(), Duration> {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let window = self.window;
        // A clock that was set back must not lock anybody out for longer than the window.
        let over = |entry: &Seen| now >= entry.since + window || now < entry.since;
        if let Some(entry) = seen.get_mut(key) {
            if over(entry) {
                *entry = Seen { since: now, turns: 1 };
                return Ok(());
            }
            if entry.turns >= self.turns {
                return Err((entry.since + window).since(now));
            }
            entry.turns += 1;
            return Ok(());
        }
        if seen.len() >= self.max_keys {
            seen.retain(|_, entry| !over(entry));
        }
        if seen.len() >= self.max_keys {
            let oldest = seen.iter().min_by_key(|(_, entry)| entry.since).map(|(key, _)| key.clone());
            if let Some(oldest) = oldest {
                seen.remove(&oldest);
            }
        }
        seen.insert(key.clone(), Seen { since: now, turns: 1 });
        Ok(())
    }

    /// Forgets a key: it did what it should.
    pub fn forget(&self, key: &K) {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner).remove(key);
    }

    /// Gives one turn back.
    pub fn give_back(&self, key: &K) {
        if let Some(entry) = self.seen.lock().unwrap_or_else(PoisonError::into_inner).get_mut(key) {
            entry.turns = entry.turns.saturating_sub(1);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(secs: i64) -> Timestamp {
        Timestamp::from_secs(secs)
    }

    #[test]
    fn the_last_turn_is_followed_by_a_wait_that_ends_with_the_window() {
        let limiter = Limiter::new(2, Duration::from_secs(60), 10);
        assert_eq!(limiter.take(&"a", at(0)), Ok(()));
        assert_eq!(limiter.take(&"a", at(10)), Ok(()));
        assert_eq!(limiter.take(&"a", at(20)), Err(Duration::from_secs(40)));
        assert_eq!(limiter.take(&"b", at(20)), Ok(()), "another key is not held up");
        assert_eq!(limiter.take(&"a", at(60)), Ok(()));
    }

    #[test]
    fn memory_is_bounded_and_the_oldest_key_is_forgotten_first() {
        let limiter = Limiter::new(1, Duration::from_secs(600), 3);
        for (n, key) in ["a", "b", "c", "d"].iter().enumerate() {
            assert_eq!(limiter.take(key, at(i64::try_from(n).unwrap())), Ok(()));
        }
        assert_eq!(limiter.seen.lock().unwrap().len(), 3);
        assert!(limiter.take(&"d", at(4)).is_err());
        assert!(limiter.take(&"a", at(4)).is_ok(), "the oldest was forgotten");
    }

    #[test]
    fn a_turn_given_back_can_be_taken_again() {
        let limiter = Limiter::new(1, Duration::from_secs(60), 3);
        assert!(limiter.take(&1, at(0)).is_ok());
        limiter.give_back(&1);
        assert!(limiter.take(&1, at(1)).is_ok());
        limiter.forget(&1);
        assert!(limiter.take(&1, at(1)).is_ok());
        assert!(limiter.take(&1, at(1)).is_err());
        assert!(limiter.take(&1, at(-5)).is_ok(), "a clock set back locks nobody out");
    }
}
