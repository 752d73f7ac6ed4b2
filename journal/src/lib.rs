//! The journal: the durable, ordered log of everything that arrived.
//!
//! [`Journal::append`] returns once the entries would survive a power cut; the gateway acknowledges only then. Two
//! lanes share one group commit, events first. Offsets are dense within a lane, start at 1 and are never used twice.
//! Consumers read on from any offset and say with a cursor what they are done with; only what every consumer is done
//! with is ever trimmed.
//!
//! - A dedicated thread owns all writes. Appends that arrive during a commit share the next one; when nothing waits an
//!   append is committed at once.
//! - Storage is a row of SQLite files ("segments"); ARCHITECTURE and docs/adr/0002-journal-store.md say why. A file
//!   that breaks is closed and a new one begun: intake goes on, and what can still be read is served.
//! - Every record has its own checksum and format version. A damaged one is skipped, reported once in
//!   [`Journal::stats`] and counted in `liftline_journal_damaged_entries_total`.
//! - A failed write (disk full) fails every append that waited for it and nothing more: the next one tries again.
//!
//! This crate knows no MQTT, no rules and no readings database.

mod codec;
mod config;
mod cursors;
mod error;
mod recover;
mod segment;
mod shelf;
mod stats;
mod writer;

#[cfg(test)]
mod tests;

use std::{
    collections::VecDeque,
    fmt,
    path::Path,
    sync::{
        Arc, Condvar, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread::JoinHandle,
    time::Instant,
};

use model::{Entry, Lane, Timestamp};
use serde::{Deserialize, Serialize};
use tokio::sync::{Semaphore, oneshot, watch};

pub use codec::Fault;
pub use config::JournalConfig;
pub use error::{Cause, JournalError};
pub use stats::{ConsumerStats, Damage, JournalAlarm, JournalStats, LaneStats, TrimReport};

use codec::{Encoded, Group};
use shelf::Step;
use writer::{Job, Queue, Shared, Writer};

/// A place in a lane: the number of an entry, or 0 for the place before all of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Offset(pub u64);

impl Offset {
    /// Before every entry.
    pub const START: Self = Self(0);
}

impl fmt::Display for Offset {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

/// The open journal. Cheap to clone; the last clone that is dropped closes it.
#[derive(Clone)]
pub struct Journal {
    shared: Arc<Shared>,
    room: [Arc<Semaphore>; 2],
    // Dropped with the last handle.
    thread: Arc<WriterThread>,
}

/// Ends and joins the writer.
struct WriterThread {
    shared: Arc<Shared>,
    handle: Mutex<Option<JoinHandle<()>>>,
}

impl WriterThread {
    fn ask_to_close(&self) {
        self.shared.queue().closing = true;
        self.shared.wake.notify_all();
    }

    fn join(&self) {
        let handle = self.handle.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(handle) = handle
            && handle.join().is_err()
        {
            tracing::error!("the journal's writer panicked");
        }
    }
}

/// Says that the writer has ended, also if it panicked.
struct AnnounceEnd(Arc<Shared>);

impl Drop for AnnounceEnd {
    fn drop(&mut self) {
        {
            let mut queue = self.0.queue();
            queue.closing = true;
            // Whoever waits is answered `Closed` by the dropped sender.
            queue.jobs = [VecDeque::new(), VecDeque::new()];
        }
        self.0.closed.send_replace(true);
    }
}

impl Drop for WriterThread {
    fn drop(&mut self) {
        self.ask_to_close();
        self.join();
    }
}

impl Journal {
    /// Opens the journal in a folder and makes the folder if there is none. What a crash left half-written is undone,
    /// the newest file is verified record by record, and what is found damaged is reported in [`Journal::stats`].
    ///
    /// # Errors
    /// [`JournalError::InUse`] if another hub has it open, [`JournalError::Config`] if a setting makes no sense,
    /// [`JournalError::Open`] if the files cannot be opened.
    pub fn open(dir: &Path, config: &JournalConfig) -> Result<Self, JournalError> {
        config.check()?;
        let segment_bytes = config.segment_bytes();
        let opened = recover::open(dir, segment_bytes)?;
        let heads = opened.shelf.heads;
        let damaged = opened.shelf.stats(config.max_bytes).damaged_entries;
        if damaged > 0 {
            tracing::error!(entries = damaged, dir = %dir.display(), "the journal holds damaged entries; they are skipped");
        }
        let shared = Arc::new(Shared {
            dir: dir.to_owned(),
            config: config.clone(),
            shelf: Mutex::new(opened.shelf),
            queue: Mutex::new(Queue { jobs: [VecDeque::new(), VecDeque::new()], closing: false }),
            wake: Condvar::new(),
            heads: heads.map(|head| watch::Sender::new(Offset(head))),
            unread_bytes: AtomicU64::new(0),
            closed: watch::Sender::new(false),
            failing: AtomicBool::new(false),
        });
        shared.recount(&shared.shelf());
        let now = Instant::now();
        let writer = Writer {
            shared: shared.clone(),
            cursors: opened.cursors,
            cursors_saved: now,
            lock: opened.lock,
            segment_bytes,
            doubt: None,
            last_commit: (0, now),
        };
        let handle = std::thread::Builder::new()
            .name("journal-writer".to_owned())
            .spawn(move || {
                let shared = writer.shared.clone();
                let _announce = AnnounceEnd(shared);
                writer.run();
            })
            .map_err(|source| JournalError::Open { dir: dir.to_owned(), source: Arc::new(source) })?;
        let room = [(); 2].map(|()| Arc::new(Semaphore::new(config.queue)));
        let thread = Arc::new(WriterThread { shared: shared.clone(), handle: Mutex::new(Some(handle)) });
        Ok(Self { shared, room, thread })
    }

    /// Appends entries, each to its own lane, and returns when they are durable. Entries of one call keep their order
    /// within a lane. If the call fails some of them may have been kept all the same: whoever sends them again must
    /// be prepared for duplicates, as everyone behind MQTT QoS 1 is.
    ///
    /// # Errors
    /// [`JournalError::Full`] if everything the journal may hold is unread (events are still taken in a reserve of
    /// 5 %), [`JournalError::Write`] if the disk failed, [`JournalError::Closed`] after [`Journal::close`].
    pub async fn append<E: Into<Arc<Entry>>>(&self, entries: impl IntoIterator<Item = E>) -> Result<(), JournalError> {
        let mut batches = [Encoded::default(), Encoded::default()];
        for entry in entries {
            let entry = entry.into();
            batches[entry.lane() as usize]
                .push(entry)
                .map_err(|source| JournalError::Encode { source: Arc::new(source) })?;
        }
        let [events, telemetry] = batches;
        let (events, telemetry) =
            tokio::join!(self.append_lane(Lane::Events, events), self.append_lane(Lane::Telemetry, telemetry));
        events.and(telemetry)
    }

    async fn append_lane(&self, lane: Lane, batch: Encoded) -> Result<(), JournalError> {
        if batch.len() == 0 {
            return Ok(());
        }
        let max_bytes = self.shared.config.max_bytes;
        let limit = match lane {
            // What may mean a person in danger still fits when the measurements have filled everything.
            Lane::Events => max_bytes.saturating_add(max_bytes / 20),
            Lane::Telemetry => max_bytes,
        };
        let unread_bytes = self.shared.unread_bytes.load(Ordering::Relaxed);
        if unread_bytes >= limit {
            metrics::counter!("liftline_journal_refused_total", "lane" => lane.to_string())
                .increment(batch.len() as u64);
            return Err(JournalError::Full { unread_bytes, max_bytes });
        }
        let weight = u32::try_from(batch.len().min(self.shared.config.queue)).unwrap_or(u32::MAX);
        let room =
            self.room[lane as usize].clone().acquire_many_owned(weight).await.map_err(|_| JournalError::Closed)?;
        let (done, outcome) = oneshot::channel();
        {
            let mut queue = self.shared.queue();
            if queue.closing {
                return Err(JournalError::Closed);
            }
            queue.jobs[lane as usize].push_back(Job { batch, room, done });
        }
        self.shared.wake.notify_one();
        outcome.await.unwrap_or(Err(JournalError::Closed))
    }

    /// At most `max` entries of a lane that follow `after`, in order, with their offsets. Damaged entries are left
    /// out. An empty answer means that there is nothing more yet.
    ///
    /// The newest entries are those that were appended, shared and not decoded again. Blocks for a disk read if they are
    /// not among the newest few megabytes.
    ///
    /// # Errors
    /// [`JournalError::Read`] if the disk failed, [`JournalError::Closed`] after [`Journal::close`].
    pub fn read(&self, lane: Lane, after: Offset, max: usize) -> Result<Vec<(Offset, Arc<Entry>)>, JournalError> {
        if *self.shared.closed.borrow() {
            return Err(JournalError::Closed);
        }
        let mut entries = Vec::new();
        let mut next = after.0.saturating_add(1);
        while entries.len() < max {
            let wanted = max - entries.len();
            let step = self.shared.shelf().step(lane, next, wanted);
            match step {
                Step::End => break,
                Step::Tail(groups) => next = self.take(lane, next, &groups, max, &mut entries),
                Step::Disk { segment, from, until } => {
                    let found = match segment.read(lane, from, wanted, until) {
                        Ok(found) => found,
                        // It was trimmed while we looked: everyone had read it.
                        Err(_) if !segment.path().exists() => {
                            next = until + 1;
                            continue;
                        }
                        Err(source) => {
                            return Err(JournalError::Read { dir: self.shared.dir.clone(), source: Arc::new(source) });
                        }
                    };
                    let reached = self.take(lane, from, &found.groups, max, &mut entries);
                    next = if found.groups.is_empty() {
                        let lost_before = found.lost_before.unwrap_or(until + 1).min(until + 1).max(from + 1);
                        self.shared.shelf().note_damage(lane, from, lost_before - 1, Fault::Lost);
                        lost_before
                    } else {
                        reached
                    };
                }
            }
        }
        Ok(entries)
    }

    /// Decodes groups from `next` on. Returns the offset to go on at.
    fn take(
        &self,
        lane: Lane,
        mut next: u64,
        groups: &[Group],
        max: usize,
        entries: &mut Vec<(Offset, Arc<Entry>)>,
    ) -> u64 {
        for group in groups {
            if group.first > next {
                self.shared.shelf().note_damage(lane, next, group.first - 1, Fault::Lost);
            }
            let start = next.max(group.first);
            let skipped = usize::try_from(start - group.first).unwrap_or(usize::MAX);
            if let Some(shared) = &group.entries {
                let room = max - entries.len();
                entries.extend((start..).map(Offset).zip(shared.iter().skip(skipped).take(room).cloned()));
                next = entries.last().map_or(start, |(last, _)| last.0 + 1);
                if entries.len() == max {
                    return next;
                }
                continue;
            }
            match codec::records(lane, group) {
                Err(fault) => {
                    self.shared.shelf().note_damage(lane, group.first, group.last, fault);
                    next = next.max(group.last + 1);
                }
                Ok(records) => {
                    for (offset, record) in (start..).zip(records.into_iter().skip(skipped)) {
                        if entries.len() == max {
                            return offset;
                        }
                        match codec::decode(record) {
                            Ok(entry) => entries.push((Offset(offset), entry.into())),
                            Err(fault) => {
                                self.shared.shelf().note_damage(lane, offset, offset, fault);
                            }
                        }
                        next = offset + 1;
                    }
                }
            }
        }
        next
    }

    /// The newest durable entry of a lane.
    #[must_use]
    pub fn head(&self, lane: Lane) -> Offset {
        *self.shared.heads[lane as usize].borrow()
    }

    /// Follows [`Journal::head`]: changes after the entries are durable.
    #[must_use]
    pub fn subscribe(&self, lane: Lane) -> watch::Receiver<Offset> {
        self.shared.heads[lane as usize].subscribe()
    }

    /// Says that a consumer is done with everything up to `at` on a lane; the first call registers it. Used for
    /// trimming and for the figures only: where a consumer really stands is in the database it commits to. Reaches the
    /// disk within a second or with [`Journal::close`]. May move back; what was trimmed does not return.
    ///
    /// # Errors
    /// [`JournalError::Closed`] after [`Journal::close`].
    #[expect(clippy::cast_precision_loss, reason = "gauges are floats; an entry in 2^52 does not matter")]
    pub fn set_cursor(&self, consumer: &str, lane: Lane, at: Offset) -> Result<(), JournalError> {
        if *self.shared.closed.borrow() {
            return Err(JournalError::Closed);
        }
        let mut shelf = self.shared.shelf();
        let head = shelf.heads[lane as usize];
        shelf.cursors.insert((consumer.to_owned(), lane), at.0.min(head));
        let was_dirty = std::mem::replace(&mut shelf.cursors_dirty, true);
        self.shared.recount(&shelf);
        drop(shelf);
        metrics::gauge!("liftline_journal_lag", "consumer" => consumer.to_owned(), "lane" => lane.to_string())
            .set(head.saturating_sub(at.0) as f64);
        if !was_dirty {
            // The writer may sleep without a limit; it sets itself an alarm now. Taking its lock first makes sure
            // that it is not between looking and falling asleep.
            drop(self.shared.queue());
            self.shared.wake.notify_one();
        }
        Ok(())
    }

    /// Where a consumer stands; `None` if it never said.
    #[must_use]
    pub fn cursor(&self, consumer: &str, lane: Lane) -> Option<Offset> {
        self.shared.shelf().cursors.get(&(consumer.to_owned(), lane)).copied().map(Offset)
    }

    /// Removes files that every registered consumer of each lane is done with and that are past `max_age`, or oldest
    /// first while the journal is larger than `max_bytes`. Nothing unread is removed, and nothing at all from a lane
    /// that no consumer ever registered on.
    ///
    /// # Errors
    /// [`JournalError::Write`] if a file cannot be removed.
    pub fn trim(&self, now: Timestamp) -> Result<TrimReport, JournalError> {
        let not_before = (now - self.shared.config.max_age).as_micros();
        let mut report = TrimReport::default();
        loop {
            let taken = self.shared.shelf().take_oldest(not_before, self.shared.config.max_bytes);
            let Some(slot) = taken else { break };
            report.segments += 1;
            report.entries += slot.spans.iter().flatten().map(segment::Span::len).sum::<u64>();
            report.bytes += slot.bytes;
            slot.segment
                .remove()
                .map_err(|source| JournalError::Write { dir: self.shared.dir.clone(), source: Arc::new(source) })?;
        }
        if report.segments > 0 {
            metrics::counter!("liftline_journal_trimmed_total").increment(report.entries);
            self.shared.recount(&self.shared.shelf());
        }
        Ok(report)
    }

    /// How the journal stands.
    #[must_use]
    pub fn stats(&self) -> JournalStats {
        let failing = self.shared.failing.load(Ordering::Relaxed);
        JournalStats { failing, ..self.shared.shelf().stats(self.shared.config.max_bytes) }
    }

    /// Writes what waits, closes the files and gives the folder free. Other handles get [`JournalError::Closed`].
    ///
    /// # Errors
    /// None at present; failed writes have been answered to their own callers.
    pub async fn close(self) -> Result<(), JournalError> {
        let mut closed = self.shared.closed.subscribe();
        self.thread.ask_to_close();
        // The sender lives in `self.shared`, so waiting ends only with the writer.
        let ended = closed.wait_for(|closed| *closed).await;
        drop(ended);
        // Over by now but for its last few instructions.
        self.thread.join();
        Ok(())
    }
}

impl fmt::Debug for Journal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Journal").field("dir", &self.shared.dir).finish_non_exhaustive()
    }
}
