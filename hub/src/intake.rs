//! Intake: a batch of messages is decoded, appended to the journal, and only then acknowledged.

use std::{sync::Arc, time::Duration};

use gateway::{Inbound, Message};
use journal::{Journal, JournalError};
use metrics::counter;
use model::{Body, Directory, Entry, RejectReason};
use tokio::{
    sync::{mpsc, watch},
    time::{Instant, sleep_until},
};
use tokio_util::sync::CancellationToken;
use tracing::{error, info};

use crate::{enrolment::Enrolment, formats::Formats};

/// How many messages are taken at once: enough to share one flush to disk, few enough to stay quick.
const MAX_BATCH: usize = 2000;
/// How long measurements may wait for more to share a flush with while they come fast, counted from when the last ones were
/// taken. A flush costs the same however little it holds; events never wait.
const GATHER: Duration = Duration::from_millis(10);
/// How many measurements at once mean that they come fast.
const FAST: usize = 64;
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
        let mut gathered_at = Instant::now();
        loop {
            let batch = tokio::select! {
                biased;
                () = shutdown.cancelled() => return Ok(()),
                _ = self.events.recv_many(&mut urgent, MAX_BATCH) => &mut urgent,
                taken = gather(&mut self.telemetry, &mut others, gathered_at) => {
                    gathered_at = Instant::now() + if taken < FAST { Duration::ZERO } else { GATHER };
                    &mut others
                }
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
            gateway::all_done(batch.drain(..).map(|inbound| inbound.ack));
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

/// Waits until `at`, then for messages. Returns how many those are; takes none if it is dropped before.
async fn gather(from: &mut mpsc::Receiver<Inbound>, into: &mut Vec<Inbound>, at: Instant) -> usize {
    sleep_until(at).await;
    from.recv_many(into, MAX_BATCH).await
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

#[cfg(test)]
mod tests {
    use gateway::Ack;
    use model::Timestamp;

    use super::*;

    #[tokio::test]
    async fn measurements_gather_until_their_time_and_an_event_in_between_loses_none() {
        let (sender, mut from) = mpsc::channel(4);
        let message = Message {
            topic: b"liftline/a/telemetry".as_slice().into(),
            payload: [].as_slice().into(),
            received_at: Timestamp::from_micros(0),
            sender: None,
        };
        sender.send(Inbound { message, ack: Ack::none() }).await.unwrap();
        let (mut taken, at) = (Vec::new(), Instant::now() + GATHER);
        // An event comes: the loop drops this future and makes another.
        assert!(futures::poll!(Box::pin(gather(&mut from, &mut taken, at))).is_pending());
        assert!(taken.is_empty());
        assert_eq!(gather(&mut from, &mut taken, at).await, 1);
        assert!(taken.len() == 1 && Instant::now() >= at);
    }
}
