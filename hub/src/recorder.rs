//! Recorder: follows the journal and bulk-writes what it holds to the store. If the database is away it falls behind
//! and catches up; intake goes on.

use std::{sync::Arc, time::Duration};

use journal::{Journal, Offset};
use metrics::{counter, gauge};
use model::{Clock, Directory, Entry, Lane};
use store::{RecorderBatch, Store};
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
    pub async fn run(self, shutdown: CancellationToken) -> anyhow::Result<()> {
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
    pub async fn pass(&self, shutdown: &CancellationToken) -> anyhow::Result<Option<usize>> {
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
    async fn write(&self, entries: &[(Offset, Arc<Entry>)], shutdown: &CancellationToken) -> bool {
        let count = entries.len() as u64;
        let directory = self.directory.borrow().clone();
        let mut batch = RecorderBatch::default();
        for (_, entry) in entries {
            batch.push(entry, &directory);
        }
        let mut back_off = Duration::from_millis(100);
        let mut failed = false;
        loop {
            match self.store.record(&batch, self.clock.now()).await {
                Ok(_) => {
                    counter!("liftline_entries_recorded_total").increment(count);
                    if failed {
                        info!("the database takes readings again; catching up");
                    }
                    return true;
                }
                Err(failure) => {
                    if !failed {
                        error!("readings wait in the journal until the database can be written: {failure}");
                    }
                    failed = true;
                    counter!("liftline_recorder_failures_total").increment(1);
                }
            }
            tokio::select! {
                () = shutdown.cancelled() => return false,
                () = tokio::time::sleep(back_off) => {}
            }
            back_off = (back_off * 2).min(MAX_BACK_OFF);
        }
    }
}
