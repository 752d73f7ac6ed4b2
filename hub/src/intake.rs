//! Intake: a batch of messages is decoded, appended to the journal, and only then acknowledged.

use std::{sync::Arc, time::Duration};

use gateway::{Inbound, Message};
use journal::{Journal, JournalError};
use metrics::counter;
use model::{Body, Directory, Entry, RejectReason};
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;
use tracing::{error, info};

use crate::{enrolment::Enrolment, formats::Formats};

/// How many messages are taken at once: enough to share one flush to disk, few enough to stay quick.
const MAX_BATCH: usize = 1000;
/// How long to wait before the journal is tried again.
const RETRY: Duration = Duration::from_millis(500);

/// What intake needs.
pub struct Intake {
    /// Events from the broker link and the front door; they go first.
    pub events: mpsc::Receiver<Inbound>,
    /// Measurements from there.
    pub telemetry: mpsc::Receiver<Inbound>,
    /// How to read them.
    pub formats: Formats,
    /// The registered devices.
    pub directory: watch::Receiver<Arc<Directory>>,
    /// Registers unknown devices, if the configuration says so.
    pub enrolment: Option<Enrolment>,
    /// Where they go.
    pub journal: Journal,
}

impl Intake {
    /// Takes messages until the shutdown.
    ///
    /// # Errors
    /// None of its own: while the journal cannot take entries, nothing is acknowledged and it tries again.
    pub async fn run(mut self, shutdown: CancellationToken) -> anyhow::Result<()> {
        let (mut urgent, mut others) = (Vec::new(), Vec::with_capacity(MAX_BATCH));
        loop {
            let batch = tokio::select! {
                biased;
                () = shutdown.cancelled() => return Ok(()),
                _ = self.events.recv_many(&mut urgent, MAX_BATCH) => &mut urgent,
                _ = self.telemetry.recv_many(&mut others, MAX_BATCH) => &mut others,
            };
            if batch.is_empty() {
                return Ok(()); // Both ways in are closed.
            }
            let mut entries: Vec<Arc<Entry>> = Vec::with_capacity(batch.len() + 8);
            let mut directory = self.directory.borrow().clone();
            for inbound in batch.iter() {
                self.decode(&inbound.message, &mut directory, &mut entries).await;
            }
            // Before the acknowledgement: what later messages mean may depend on it.
            self.formats.keep();
            if !self.append(&entries, &shutdown).await {
                return Ok(()); // Not acknowledged: the broker keeps the batch.
            }
            for inbound in batch.drain(..) {
                inbound.ack.done();
            }
        }
    }

    /// Reads a message; an unknown device is enrolled if the configuration says so.
    async fn decode(&mut self, message: &Message, directory: &mut Arc<Directory>, entries: &mut Vec<Arc<Entry>>) {
        let mut decoded = self.formats.decoder.decode(directory, message);
        let unknown = decoded
            .iter()
            .any(|entry| matches!(&entry.body, Body::Reject(reject) if reject.reason == RejectReason::UnknownDevice));
        if unknown
            && let Some(enrolment) = &mut self.enrolment
            && let Some(device) = self.formats.decoder.device_of(message)
            && enrolment.enrol(&device, &mut self.directory).await
        {
            *directory = self.directory.borrow().clone();
            decoded = self.formats.decoder.decode(directory, message);
        }
        entries.extend(decoded.into_iter().map(Arc::new));
    }

    /// Appends until it succeeds; false if the shutdown came first.
    async fn append(&self, entries: &[Arc<Entry>], shutdown: &CancellationToken) -> bool {
        let mut stopped: Option<JournalError> = None;
        loop {
            match self.journal.append(entries.iter().cloned()).await {
                Ok(()) => {
                    if stopped.is_some() {
                        info!("the journal takes entries again; acknowledging goes on");
                    }
                    count(entries);
                    return true;
                }
                Err(failure) => {
                    if stopped.is_none() {
                        error!("nothing is acknowledged until the journal can be written: {failure}");
                    }
                    counter!("liftline_journal_refusals_total").increment(1);
                    stopped = Some(failure);
                }
            }
            tokio::select! {
                () = shutdown.cancelled() => return false,
                () = tokio::time::sleep(RETRY) => {}
            }
        }
    }
}

/// Counts what the journal has taken.
fn count(entries: &[Arc<Entry>]) {
    for entry in entries {
        if let Body::Reject(reject) = &entry.body {
            counter!("liftline_rejects_total", "reason" => reject.reason.code()).increment(u64::from(reject.parts));
        }
    }
    counter!("liftline_entries_received_total").increment(entries.len() as u64);
}
