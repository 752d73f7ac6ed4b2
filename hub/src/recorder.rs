//! Recorder: follows the journal and bulk-writes what it holds to the store. If the database is away it falls behind
//! and catches up; intake goes on.

use std::{sync::Arc, time::Duration};

use journal::{Journal, Offset};
use metrics::{counter, gauge};
use model::{Clock, Directory, Entry, Lane};
use store::{RecorderBatch, RejectSampler, Store, StoreError};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tracing::{error, info};

/// The name of its cursor.
pub const CONSUMER: &str = "recorder";
/// How many entries of a lane are written in one transaction.
const MAX_BATCH: usize = 3000;
/// The longest wait between two tries while the database is away.
const MAX_BACK_OFF: Duration = Duration::from_secs(5);

/// What the recorder needs.
pub struct Recorder {
    /// What it reads.
    pub journal: Journal,
    /// What it writes.
    pub store: Store,
    /// Which rejects are kept beside being counted.
    pub samples: RejectSampler,
    /// The profiles of devices.
    pub directory: watch::Receiver<Arc<Directory>>,
    /// The time.
    pub clock: Arc<dyn Clock>,
}

impl Recorder {
    /// Follows the journal until the shutdown.
    ///
    /// # Errors
    /// If the journal itself cannot be read.
    pub async fn run(mut self, shutdown: CancellationToken) -> anyhow::Result<()> {
        let head = self.journal.head(Lane::Telemetry).0;
        let mut patience = Patience::new();
        while let Err(failure) = self.store.resume_rejects(head).await {
            if !patience.wait(&failure, &shutdown).await {
                return Ok(());
            }
        }
        patience.ends();
        let mut heads = Lane::ALL.map(|lane| self.journal.subscribe(lane));
        loop {
            for head in &mut heads {
                head.mark_unchanged();
            }
            let Some(read) = self.pass(&shutdown).await? else { return Ok(()) };
            if read > 0 {
                continue;
            }
            let [events, telemetry] = &mut heads;
            tokio::select! {
                () = shutdown.cancelled() => return Ok(()),
                _ = events.changed() => {}
                _ = telemetry.changed() => {}
            }
        }
    }

    /// Writes what is waiting, at most one batch a lane. Returns how many entries that was; `None` if the shutdown came
    /// before they were written.
    ///
    /// # Errors
    /// If the journal itself cannot be read.
    pub async fn pass(&mut self, shutdown: &CancellationToken) -> anyhow::Result<Option<usize>> {
        let mut read = 0;
        for lane in Lane::ALL {
            let at = self.journal.cursor(CONSUMER, lane).unwrap_or_default();
            let entries = self.journal.read(lane, at, MAX_BATCH)?;
            let (count, last) = (entries.len(), entries.last().map_or(at, |(last, _)| *last));
            if count > 0 && !self.write(&entries, shutdown).await {
                return Ok(None);
            }
            // Also when nothing was read: a lane is trimmed only once every consumer has said where it stands.
            self.journal.set_cursor(CONSUMER, lane, last)?;
            read += count;
            #[expect(clippy::cast_precision_loss, reason = "a lag is far below 2^52")]
            gauge!("liftline_recorder_lag_entries", "lane" => lane.to_string())
                .set(self.journal.head(lane).0.saturating_sub(last.0) as f64);
        }
        Ok(Some(read))
    }

    /// Writes until it succeeds; false if the shutdown came first.
    async fn write(&mut self, entries: &[(Offset, Arc<Entry>)], shutdown: &CancellationToken) -> bool {
        let count = entries.len() as u64;
        let directory = self.directory.borrow().clone();
        let mut batch = RecorderBatch::default();
        for (offset, entry) in entries {
            batch.push(offset.0, entry, &directory);
        }
        // Once, not at every try: a reject that is written later is not another one.
        self.samples.choose(&mut batch.rejects);
        let mut patience = Patience::new();
        while let Err(failure) = self.store.record(&batch, self.clock.now()).await {
            if !patience.wait(&failure, shutdown).await {
                return false;
            }
        }
        patience.ends();
        counter!("liftline_entries_recorded_total").increment(count);
        true
    }
}

/// How often and how long the database has been away.
struct Patience {
    wait: Duration,
    failed: bool,
}

impl Patience {
    fn new() -> Self {
        Self { wait: Duration::from_millis(100), failed: false }
    }

    /// Waits before the next try; false if the shutdown came first.
    async fn wait(&mut self, failure: &StoreError, shutdown: &CancellationToken) -> bool {
        if !self.failed {
            error!("readings wait in the journal until the database can be written: {failure}");
        }
        self.failed = true;
        counter!("liftline_recorder_failures_total").increment(1);
        tokio::select! {
            () = shutdown.cancelled() => return false,
            () = tokio::time::sleep(self.wait) => {}
        }
        self.wait = (self.wait * 2).min(MAX_BACK_OFF);
        true
    }

    fn ends(&self) {
        if self.failed {
            info!("the database takes readings again; catching up");
        }
    }
}
