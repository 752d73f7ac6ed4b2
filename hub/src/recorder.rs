//! Recorder: follows the journal and bulk-writes what it holds to the store. If the database is away it falls behind
//! and catches up; intake goes on.
//!
//! Each lane is followed by itself, so that events are not written after a backlog of readings. A backlog is taken in long
//! stretches that are sorted by device before they are cut into transactions: a fleet that was away puts a row into the
//! pages of ten thousand devices in turn, and a page that is written for one row costs as much as for ten. The cursor moves
//! when all of a stretch is written; what a crash makes it write again changes nothing.

mod heard;
mod stretch;

use std::{
    future::Future,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use futures::future::join_all;
use journal::{Journal, Offset};
use metrics::{counter, gauge};
use model::{Clock, Directory, Entry, Lane};
use store::{RecorderBatch, RejectSampler, Store, StoreError};
use tokio::{
    sync::watch,
    time::{Instant, sleep_until},
};
use tokio_util::sync::CancellationToken;
use tracing::{error, info};

use heard::Heard;
use stretch::share_out;

/// The name of its cursor.
pub const CONSUMER: &str = "recorder";
/// How many entries are written in one transaction.
const MAX_BATCH: usize = 3000;
/// How many entries are sorted together, at most.
const MAX_STRETCH: usize = 64_000;
/// How long readings may wait for more to share a transaction with, counted from the last one's beginning.
const GATHER: Duration = Duration::from_millis(40);
/// The first and the longest wait between two tries while the database is away.
const BACK_OFF: Duration = Duration::from_millis(100);
const MAX_BACK_OFF: Duration = Duration::from_secs(5);

/// Writes what is in the journal into the store.
pub struct Recorder {
    journal: Journal,
    store: Store,
    directory: watch::Receiver<Arc<Directory>>,
    clock: Arc<dyn Clock>,
    /// Which rejects are kept beside being counted.
    samples: Mutex<RejectSampler>,
    heard: Mutex<Heard>,
    /// Whether the database was away at the last try: said once, however many writers wait for it.
    away: AtomicBool,
}

impl Recorder {
    /// A recorder that goes on where the last one stopped, and knows the profiles of devices from the directory.
    #[must_use]
    pub fn new(
        journal: Journal,
        store: Store,
        directory: watch::Receiver<Arc<Directory>>,
        clock: Arc<dyn Clock>,
        rejects_per_minute: u32,
    ) -> Self {
        let samples = Mutex::new(RejectSampler::new(rejects_per_minute));
        let heard = Mutex::new(Heard::new(Instant::now()));
        Self { journal, store, directory, clock, samples, heard, away: AtomicBool::new(false) }
    }

    /// Follows the journal until the shutdown.
    ///
    /// # Errors
    /// If the journal itself cannot be read.
    pub async fn run(self, shutdown: CancellationToken) -> anyhow::Result<()> {
        let head = self.journal.head(Lane::Telemetry).0;
        if !self.insist(|| self.store.resume_rejects(head), &shutdown).await {
            return Ok(());
        }
        let [events, telemetry] = Lane::ALL.map(|lane| self.follow(lane, &shutdown));
        tokio::try_join!(events, telemetry)?;
        let last = RecorderBatch { seen: lock(&self.heard).rest(), ..RecorderBatch::default() };
        if !last.is_empty() {
            self.insist(|| self.store.record(&last, self.clock.now()), &shutdown).await;
        }
        Ok(())
    }

    async fn follow(&self, lane: Lane, shutdown: &CancellationToken) -> anyhow::Result<()> {
        let mut head = self.journal.subscribe(lane);
        loop {
            head.mark_unchanged();
            let began = Instant::now();
            let Some(read) = self.pass(lane, shutdown).await? else { return Ok(()) };
            if read == 0 {
                let due = lock(&self.heard).due();
                tokio::select! {
                    () = shutdown.cancelled() => return Ok(()),
                    _ = head.changed() => {}
                    () = sleep_until(due.unwrap_or(began)), if due.is_some() => {
                        if !self.write(&[], shutdown).await {
                            return Ok(());
                        }
                    }
                }
            } else if lane == Lane::Telemetry && read < MAX_BATCH {
                // There is no backlog. Each transaction costs the same again, however little it holds.
                tokio::select! {
                    () = shutdown.cancelled() => return Ok(()),
                    () = sleep_until(began + GATHER) => {}
                }
            }
        }
    }

    /// Writes what is waiting on a lane, at most one stretch. Returns how many entries that was; `None` if the shutdown
    /// came before they were written.
    ///
    /// # Errors
    /// If the journal itself cannot be read.
    pub async fn pass(&self, lane: Lane, shutdown: &CancellationToken) -> anyhow::Result<Option<usize>> {
        let at = self.journal.cursor(CONSUMER, lane).unwrap_or_default();
        let mut last = at;
        let mut entries = Vec::new();
        while entries.len() < MAX_STRETCH {
            let mut more = self.journal.read(lane, last, MAX_BATCH)?;
            let is_all = more.len() < MAX_BATCH;
            last = more.last().map_or(last, |(reached, _)| *reached);
            entries.append(&mut more);
            if is_all {
                break;
            }
            // A backlog is read from the disk and decoded: others have their turn meanwhile.
            tokio::task::yield_now().await;
        }
        let count = entries.len();
        let shares = share_out(entries, self.store.writers(), MAX_BATCH);
        let written = join_all(shares.into_iter().map(|share| self.write_all(share, shutdown))).await;
        if written.contains(&false) {
            return Ok(None);
        }
        // Also when nothing was read: a lane is trimmed only once every consumer has said where it stands.
        self.journal.set_cursor(CONSUMER, lane, last)?;
        #[expect(clippy::cast_precision_loss, reason = "a lag is far below 2^52")]
        gauge!("liftline_recorder_lag_entries", "lane" => lane.to_string())
            .set(self.journal.head(lane).0.saturating_sub(last.0) as f64);
        Ok(Some(count))
    }

    /// Writes entries in this order; false if the shutdown came first.
    async fn write_all(&self, entries: Vec<(Offset, Arc<Entry>)>, shutdown: &CancellationToken) -> bool {
        for batch in entries.chunks(MAX_BATCH) {
            if !self.write(batch, shutdown).await {
                return false;
            }
        }
        true
    }

    /// Writes until it succeeds; false if the shutdown came first.
    async fn write(&self, entries: &[(Offset, Arc<Entry>)], shutdown: &CancellationToken) -> bool {
        let count = entries.len() as u64;
        let directory = self.directory.borrow().clone();
        let mut batch = RecorderBatch::default();
        for (offset, entry) in entries {
            batch.push(offset.0, entry, &directory);
        }
        // Once, not at every try: a reject that is written later is not another one.
        lock(&self.samples).choose(&mut batch.rejects);
        batch.seen = lock(&self.heard).gather(batch.seen, Instant::now());
        let written = batch.is_empty() || self.insist(|| self.store.record(&batch, self.clock.now()), shutdown).await;
        if written {
            counter!("liftline_entries_recorded_total").increment(count);
        }
        written
    }

    /// Tries until it succeeds; false if the shutdown came first.
    async fn insist<T, F>(&self, write: impl Fn() -> F, shutdown: &CancellationToken) -> bool
    where
        F: Future<Output = Result<T, StoreError>>,
    {
        let mut wait = BACK_OFF;
        while let Err(failure) = write().await {
            if !self.away.swap(true, Ordering::Relaxed) {
                error!("readings wait in the journal until the database can be written: {failure}");
            }
            counter!("liftline_recorder_failures_total").increment(1);
            tokio::select! {
                () = shutdown.cancelled() => return false,
                () = tokio::time::sleep(wait) => {}
            }
            wait = (wait * 2).min(MAX_BACK_OFF);
        }
        if self.away.swap(false, Ordering::Relaxed) {
            info!("the database takes readings again; catching up");
        }
        true
    }
}

/// Neither is held while anything can panic half-way through a change.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
