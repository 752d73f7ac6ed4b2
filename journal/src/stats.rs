//! What the journal says about itself.

use model::Lane;

use crate::{Fault, Offset};

/// How the journal stands.
#[derive(Debug, Clone, PartialEq)]
pub struct JournalStats {
    /// Each lane, in the order of [`Lane::ALL`].
    pub lanes: Vec<LaneStats>,
    /// Each consumer on each lane it reads.
    pub consumers: Vec<ConsumerStats>,
    /// Size of all files, in bytes.
    pub bytes: u64,
    /// How much of that waits for a consumer, in bytes (by the share of entries in each file).
    pub unread_bytes: u64,
    /// The limit, in bytes.
    pub max_bytes: u64,
    /// How many files hold it.
    pub segments: usize,
    /// Stands from 80 % of `max_bytes` unread.
    pub alarm: Option<JournalAlarm>,
    /// True if the last write failed, most often because the disk is full: nothing is acknowledged until one succeeds.
    pub failing: bool,
    /// Entries found damaged since the journal was opened.
    pub damaged_entries: u64,
    /// Where they were; the latest [`JournalStats::MAX_DAMAGE`] ranges.
    pub damage: Vec<Damage>,
}

impl JournalStats {
    /// How many damaged ranges are remembered.
    pub const MAX_DAMAGE: usize = 1000;
}

/// One lane.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LaneStats {
    /// Which.
    pub lane: Lane,
    /// The oldest entry still there; one above `head` if there is none.
    pub first: Offset,
    /// The newest entry.
    pub head: Offset,
    /// Bytes of its entries.
    pub bytes: u64,
}

/// One consumer on one lane.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConsumerStats {
    /// Its name.
    pub consumer: String,
    /// The lane.
    pub lane: Lane,
    /// The last entry it is done with.
    pub at: Offset,
    /// How many entries it has still to read.
    pub lag: u64,
}

/// Too much is unread.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JournalAlarm {
    /// Bytes unread.
    pub unread_bytes: u64,
    /// The limit, in bytes.
    pub max_bytes: u64,
    /// True if the limit is reached and new entries are refused.
    pub full: bool,
    /// The consumer that is furthest behind; `None` if no consumer ever came.
    pub slowest: Option<String>,
}

/// A range of entries that cannot be read any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Damage {
    /// Their lane.
    pub lane: Lane,
    /// The first.
    pub first: Offset,
    /// The last.
    pub last: Offset,
    /// What is wrong.
    pub fault: Fault,
}

/// What [`crate::Journal::trim`] did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct TrimReport {
    /// Files removed.
    pub segments: usize,
    /// Entries removed.
    pub entries: u64,
    /// Bytes freed.
    pub bytes: u64,
}
