//! The `[journal]` section of the configuration.

use std::time::Duration;

use serde::Deserialize;

use crate::JournalError;

/// The smallest journal that makes sense, in bytes.
const LEAST_BYTES: u64 = 1 << 20;
/// Segments are at most this large: a sixteenth of the journal, so that trimming is fine-grained, but not so small
/// that there are thousands of them.
const SEGMENT_BYTES: u64 = 64 << 20;

/// Limits of the journal.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct JournalConfig {
    /// The size from which read entries are removed before their time, and at which unread ones fill it. In bytes.
    pub max_bytes: u64,
    /// How long read entries are kept.
    #[serde(with = "model::duration")]
    pub max_age: Duration,
    /// How long a commit may wait for further appends when the journal is busy.
    #[serde(with = "model::duration")]
    pub linger: Duration,
    /// How many entries of each lane may wait for a commit before appends have to wait for room.
    pub queue: usize,
}

impl Default for JournalConfig {
    fn default() -> Self {
        Self {
            max_bytes: 8 << 30,
            max_age: Duration::from_secs(7 * 86_400),
            linger: Duration::from_millis(2),
            queue: 16_384,
        }
    }
}

impl JournalConfig {
    /// Checks that the settings can work.
    ///
    /// # Errors
    /// [`JournalError::Config`] names the key, its value and what to write instead.
    pub fn check(&self) -> Result<(), JournalError> {
        let error = |key, value: String, remedy| Err(JournalError::Config { key, value, remedy });
        if self.max_bytes < LEAST_BYTES {
            return error("max_bytes", self.max_bytes.to_string(), "write at least 1048576 (1 MiB)");
        }
        if self.max_age.is_zero() {
            return error(
                "max_age",
                model::duration::format(self.max_age),
                "write how long to keep read entries, such as \"7d\"",
            );
        }
        if self.linger > Duration::from_secs(1) {
            return error(
                "linger",
                model::duration::format(self.linger),
                "every message waits that long; write at most \"1s\"",
            );
        }
        if self.queue == 0 || self.queue > tokio::sync::Semaphore::MAX_PERMITS {
            return error("queue", self.queue.to_string(), "write how many entries may wait, such as 16384");
        }
        Ok(())
    }

    /// The size at which a segment is full.
    pub(crate) fn segment_bytes(&self) -> u64 {
        (self.max_bytes / 16).min(SEGMENT_BYTES)
    }
}
