//! The writer: one thread that turns waiting appends into group commits.

use std::{
    collections::VecDeque,
    fs::File,
    path::PathBuf,
    sync::{
        Arc, Condvar, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use model::Lane;
use tokio::sync::{OwnedSemaphorePermit, oneshot, watch};

use crate::{
    JournalConfig, JournalError, Offset,
    codec::{Encoded, Group},
    cursors::CursorFile,
    segment::{self, Write},
    shelf::{Shelf, Slot},
};

/// The most telemetry in one commit: bounds how long an event waits for the commit before its own.
const COMMIT_BYTES: usize = 4 << 20;
/// A commit of this many entries gains nothing from waiting for more (measured: see the ADR).
const FULL_GROUP: usize = 500;
/// How long a moved cursor may wait to be written.
pub(crate) const CURSOR_DELAY: Duration = Duration::from_secs(1);

/// Entries of one append and one lane, waiting to be written.
pub(crate) struct Job {
    pub(crate) batch: Encoded,
    /// Room in the queue; given back when the job is done.
    pub(crate) room: OwnedSemaphorePermit,
    pub(crate) done: oneshot::Sender<Result<(), JournalError>>,
}

/// What waits for the writer.
#[derive(Default)]
pub(crate) struct Queue {
    /// In the order of [`Lane::ALL`]. Bounded: a job enters with a permit of its lane's semaphore.
    pub(crate) jobs: [VecDeque<Job>; 2],
    pub(crate) closing: bool,
}

/// What the writer and the handles share.
pub(crate) struct Shared {
    pub(crate) dir: PathBuf,
    pub(crate) config: JournalConfig,
    pub(crate) shelf: Mutex<Shelf>,
    pub(crate) queue: Mutex<Queue>,
    pub(crate) wake: Condvar,
    pub(crate) heads: [watch::Sender<Offset>; 2],
    pub(crate) unread_bytes: AtomicU64,
    pub(crate) closed: watch::Sender<bool>,
    /// The last write failed.
    pub(crate) failing: AtomicBool,
}

impl Shared {
    // Neither lock is held while anything can panic half-way through a change.
    pub(crate) fn shelf(&self) -> MutexGuard<'_, Shelf> {
        self.shelf.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn queue(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Recounts what is unread, after the shelf or a cursor changed.
    #[expect(clippy::cast_precision_loss, reason = "gauges are floats; a byte in 2^52 does not matter")]
    pub(crate) fn recount(&self, shelf: &Shelf) {
        let unread = shelf.unread_bytes();
        self.unread_bytes.store(unread, Ordering::Relaxed);
        metrics::gauge!("liftline_journal_unread_bytes").set(unread as f64);
        metrics::gauge!("liftline_journal_bytes").set(shelf.bytes() as f64);
    }

    fn write_error(&self, source: rusqlite::Error) -> JournalError {
        JournalError::Write { dir: self.dir.clone(), source: Arc::new(source) }
    }
}

pub(crate) struct Writer {
    pub(crate) shared: Arc<Shared>,
    pub(crate) cursors: CursorFile,
    pub(crate) cursors_saved: Instant,
    /// Kept until the last file is closed.
    pub(crate) lock: File,
    pub(crate) segment_bytes: u64,
    /// Set when the last write failed: the state on disk must be looked at before the next one.
    pub(crate) doubt: Option<Doubt>,
    /// How many appends the last commit carried, and when it ended.
    pub(crate) last_commit: (usize, Instant),
}

/// What a failed write leaves open.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Doubt {
    /// The disk was full; the file is sound.
    Full,
    /// The file must not be written to again.
    File,
}

impl Writer {
    /// Writes until the journal is closed and nothing waits any more.
    pub(crate) fn run(mut self) {
        while let Some(jobs) = self.collect() {
            self.serve(jobs);
        }
        self.save_cursors();
        let shelf = self.shared.shelf();
        for slot in &shelf.slots {
            slot.segment.release();
        }
        drop(shelf);
        let Self { cursors, lock, .. } = self;
        drop(cursors);
        // Only now may another hub come in.
        drop(lock);
    }

    /// Waits for work and takes it: every waiting event, then telemetry up to the limit of one commit.
    fn collect(&mut self) -> Option<[Vec<Job>; 2]> {
        let shared = self.shared.clone();
        let mut queue = shared.queue();
        loop {
            if queue.jobs.iter().any(|jobs| !jobs.is_empty()) {
                break;
            }
            if queue.closing {
                return None;
            }
            if shared.shelf().cursors_dirty {
                let due = CURSOR_DELAY.saturating_sub(self.cursors_saved.elapsed());
                if due.is_zero() {
                    drop(queue);
                    self.save_cursors();
                    queue = shared.queue();
                    continue;
                }
                queue = shared.wake.wait_timeout(queue, due).unwrap_or_else(PoisonError::into_inner).0;
            } else {
                queue = shared.wake.wait(queue).unwrap_or_else(PoisonError::into_inner);
            }
        }
        // Idle: commit at once. Busy (the last commit carried several appends and is just over): let the callers that
        // it woke join in, but never longer than the linger and never once there is a full group or an event.
        let (appends, ended) = self.last_commit;
        while appends > 1 && !queue.closing && queue.jobs[Lane::Events as usize].is_empty() {
            let left = shared.config.linger.saturating_sub(ended.elapsed());
            let waiting: usize = queue.jobs[Lane::Telemetry as usize].iter().map(|job| job.batch.len()).sum();
            if left.is_zero() || waiting >= FULL_GROUP {
                break;
            }
            queue = shared.wake.wait_timeout(queue, left).unwrap_or_else(PoisonError::into_inner).0;
        }
        let mut bytes = 0;
        Some(Lane::ALL.map(|lane| {
            let jobs = &mut queue.jobs[lane as usize];
            let mut taken = Vec::new();
            while let Some(job) = jobs.front() {
                if !taken.is_empty() && bytes + job.batch.bytes() > COMMIT_BYTES {
                    break;
                }
                bytes += job.batch.bytes();
                taken.extend(jobs.pop_front());
            }
            taken
        }))
    }

    fn serve(&mut self, jobs: [Vec<Job>; 2]) {
        let started = Instant::now();
        let appends = jobs[0].len() + jobs[1].len();
        let result = self.commit(&jobs);
        metrics::histogram!("liftline_journal_commit_seconds").record(started.elapsed());
        self.shared.failing.store(result.is_err(), Ordering::Relaxed);
        metrics::gauge!("liftline_journal_failing").set(if result.is_err() { 1.0 } else { 0.0 });
        if let Err(error) = &result {
            metrics::counter!("liftline_journal_write_failures_total").increment(1);
            let cause = std::error::Error::source(error).map(ToString::to_string).unwrap_or_default();
            tracing::error!(appends, cause, "the journal could not write; the senders keep the messages");
        }
        for (lane, jobs) in Lane::ALL.into_iter().zip(jobs) {
            let entries: usize = jobs.iter().map(|job| job.batch.len()).sum();
            if result.is_ok() && entries > 0 {
                metrics::counter!("liftline_journal_appended_total", "lane" => lane.to_string())
                    .increment(entries as u64);
            }
            for Job { room, done, .. } in jobs {
                drop(room);
                // A caller that went away does not want to know.
                let _gone = done.send(result.clone());
            }
        }
        self.last_commit = (appends, Instant::now());
        if self.shared.shelf().cursors_dirty && self.cursors_saved.elapsed() >= CURSOR_DELAY {
            self.save_cursors();
        }
    }

    /// Makes the jobs durable in one transaction.
    fn commit(&mut self, jobs: &[Vec<Job>; 2]) -> Result<(), JournalError> {
        let mut attempts = 0;
        loop {
            attempts += 1;
            self.resolve_doubt()?;
            let (segment, heads) = {
                let mut shelf = self.shared.shelf();
                let heads = shelf.heads;
                let segment = shelf.active().map(|slot| slot.segment.clone()).ok_or(JournalError::Closed)?;
                (segment, heads)
            };
            let groups: [Vec<Group>; 2] = Lane::ALL.map(|lane| {
                let mut all = Encoded::default();
                for job in &jobs[lane as usize] {
                    all.join(&job.batch);
                }
                all.groups(lane, heads[lane as usize] + 1)
            });
            let writes = Lane::ALL.map(|lane| Write { lane, groups: &groups[lane as usize] });
            match segment.write(&writes) {
                Ok(()) => {
                    self.publish(&groups);
                    return Ok(());
                }
                Err(error) => {
                    let damaged = segment::is_damage(&error);
                    self.doubt = Some(if segment::is_full(&error) { Doubt::Full } else { Doubt::File });
                    // A damaged file is no reason to refuse what a new file can take.
                    if !damaged || attempts > 1 {
                        return Err(self.shared.write_error(error));
                    }
                }
            }
        }
    }

    /// Lets readers see what is durable now.
    fn publish(&mut self, groups: &[Vec<Group>; 2]) {
        let mut shelf = self.shared.shelf();
        for lane in Lane::ALL {
            shelf.written(lane, &groups[lane as usize]);
        }
        let mut rotate = false;
        // A segment that spans more than an eighth of the longest age would be trimmed too late.
        let longest = i64::try_from(self.shared.config.max_age.as_micros() / 8).unwrap_or(i64::MAX);
        if let Some(slot) = shelf.active() {
            slot.bytes = slot.segment.size();
            rotate = slot.bytes >= self.segment_bytes || slot.age_span() > longest;
        }
        self.shared.recount(&shelf);
        let heads = shelf.heads;
        drop(shelf);
        for (sender, head) in self.shared.heads.iter().zip(heads) {
            sender.send_if_modified(|last| std::mem::replace(last, Offset(head)) != Offset(head));
        }
        if rotate {
            self.rotate();
        }
    }

    /// Seals the active segment and starts a new one.
    fn rotate(&mut self) {
        let mut shelf = self.shared.shelf();
        let Some(slot) = shelf.active() else { return };
        let (number, spans, segment) = (slot.number, slot.spans, slot.segment.clone());
        shelf.slots.push_back(Slot::new(&self.shared.dir, number + 1));
        drop(shelf);
        if let Err(error) = segment.seal(spans) {
            // Costs a scan when the journal is opened next, nothing else.
            tracing::warn!(error = %error, file = %segment.path().display(), "a full file of the journal could not be sealed");
        }
        segment.release();
    }

    /// After a failed write: opens the file anew, which undoes what was half-written, and learns what is in it. A
    /// file whose disk failed under it is not trusted again.
    fn resolve_doubt(&mut self) -> Result<(), JournalError> {
        let Some(doubt) = self.doubt else { return Ok(()) };
        let (segment, known) = {
            let mut shelf = self.shared.shelf();
            let Some(slot) = shelf.active() else { return Err(JournalError::Closed) };
            (slot.segment.clone(), slot.spans)
        };
        if doubt == Doubt::File {
            segment.release();
        }
        let spans = match segment.spans() {
            Ok(spans) => spans,
            Err(error) if segment::is_damage(&error) => known,
            Err(error) => return Err(self.shared.write_error(error)),
        };
        let mut shelf = self.shared.shelf();
        shelf.forget_tail();
        for (index, span) in spans.into_iter().enumerate() {
            shelf.heads[index] = shelf.heads[index].max(span.map_or(0, |span| span.last));
        }
        let empty = spans == [None, None];
        if let Some(slot) = shelf.active() {
            slot.spans = spans;
        }
        drop(shelf);
        self.doubt = None;
        if doubt == Doubt::File {
            if empty {
                segment
                    .remove()
                    .map_err(|source| JournalError::Write { dir: self.shared.dir.clone(), source: Arc::new(source) })?;
            } else {
                self.rotate();
            }
        }
        Ok(())
    }

    fn save_cursors(&mut self) {
        let noted = {
            let mut shelf = self.shared.shelf();
            shelf.cursors_dirty = false;
            shelf.noted()
        };
        self.cursors_saved = Instant::now();
        if let Err(error) = self.cursors.save(&noted) {
            self.shared.shelf().cursors_dirty = true;
            tracing::warn!(error = %error, "the journal's cursors could not be written; nothing is lost, trimming may lag after a restart");
        }
    }
}
