//! Intake: a batch of messages is decoded, appended to the journal, and only then acknowledged.

use std::{sync::Arc, time::Duration};

use gateway::{Ack, Inbound, Message};
use journal::Journal;
use metrics::counter;
use model::{Body, Directory, Entry, Lane, RejectReason};
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

/// Measurements and rejects that the journal has not taken yet, with the acknowledgements that wait for them. While they are held
/// no more are taken; events still are, for the journal keeps a reserve for them.
#[derive(Default)]
struct Held {
    entries: Vec<Arc<Entry>>,
    acks: Vec<Ack>,
    /// When to try again; none if the journal has not refused them.
    again_at: Option<Instant>,
}

impl Held {
    /// Takes the acknowledgement of a message whose entries are those from `before` on and, if it `has_event`, others that do not
    /// wait. Gives it back if nothing has to be held for it.
    fn admit(&mut self, ack: Ack, before: usize, has_event: bool) -> Option<Ack> {
        let added = self.entries.len() - before;
        if added == 0 {
            return Some(ack);
        }
        if self.again_at.is_none() || (!has_event && before < MAX_BATCH) {
            self.acks.push(ack);
            return None;
        }
        // There is no room, and no end of it. An event is not written again and again for what came with it; anything else is not
        // acknowledged, and comes again.
        self.entries.truncate(before);
        counter!("liftline_rejects_unkept_total").increment(added as u64);
        has_event.then_some(ack)
    }

    fn is_due(&self) -> bool {
        !self.entries.is_empty() && self.again_at.is_none_or(|at| at <= Instant::now())
    }
}

impl Intake {
    /// Takes messages until the shutdown.
    ///
    /// # Errors
    /// None of its own: while the journal cannot take entries, nothing is acknowledged and it tries again.
    pub async fn run(mut self, shutdown: CancellationToken) -> anyhow::Result<()> {
        let (mut urgent, mut others) = (Vec::new(), Vec::with_capacity(MAX_BATCH));
        let mut gathered_at = Instant::now();
        let (mut events, mut held) = (Vec::new(), Held::default());
        loop {
            let again_at = held.again_at.unwrap_or(gathered_at);
            let batch = tokio::select! {
                biased;
                () = shutdown.cancelled() => return Ok(()),
                _ = self.events.recv_many(&mut urgent, MAX_BATCH) => Some(&mut urgent),
                () = sleep_until(again_at), if !held.entries.is_empty() => None,
                taken = gather(&mut self.telemetry, &mut others, gathered_at), if held.entries.is_empty() => {
                    gathered_at = Instant::now() + if taken < FAST { Duration::ZERO } else { GATHER };
                    Some(&mut others)
                }
            };
            if batch.as_ref().is_some_and(|batch| batch.is_empty()) {
                return Ok(()); // Both ways in are closed.
            }
            let mut safe = Vec::new();
            let mut directory = self.directory.borrow().clone();
            for Inbound { message, ack } in batch.into_iter().flat_map(|batch| batch.drain(..)) {
                let (event, before) = (events.len(), held.entries.len());
                for entry in self.decode(&message, &mut directory).await.into_iter().map(Arc::new) {
                    if entry.lane() == Lane::Events { &mut events } else { &mut held.entries }.push(entry);
                }
                safe.extend(held.admit(ack, before, events.len() > event));
            }
            // Before the acknowledgement: what later messages mean may depend on it.
            self.formats.keep();
            if !self.append(&events, &shutdown).await {
                return Ok(()); // Not acknowledged: the broker keeps the batch.
            }
            events.clear();
            gateway::all_done(safe);
            if held.is_due() {
                self.append_held(&mut held).await;
            }
        }
    }

    /// Reads a message; an unknown device is enrolled if the configuration says so.
    async fn decode(&mut self, message: &Message, directory: &mut Arc<Directory>) -> Vec<Entry> {
        let decoded = self.formats.decoder.decode(directory, message);
        let unknown = decoded
            .iter()
            .any(|entry| matches!(&entry.body, Body::Reject(reject) if reject.reason == RejectReason::UnknownDevice));
        if unknown
            && let Some(enrolment) = &mut self.enrolment
            && let Some(device) = self.formats.decoder.device_of(message)
            && enrolment.enrol(&device, &mut self.directory).await
        {
            *directory = self.directory.borrow().clone();
            return self.formats.decoder.decode(directory, message);
        }
        decoded
    }

    /// Appends events until it succeeds; false if the shutdown came first.
    async fn append(&self, events: &[Arc<Entry>], shutdown: &CancellationToken) -> bool {
        let mut refused = false;
        while !events.is_empty() {
            match self.journal.append(events.iter().cloned()).await {
                Ok(()) => {
                    taken(events, refused);
                    break;
                }
                Err(failure) => {
                    if !refused {
                        error!("nothing is acknowledged until the journal can be written: {failure}");
                    }
                    counter!("liftline_journal_refusals_total").increment(1);
                    refused = true;
                }
            }
            tokio::select! {
                () = shutdown.cancelled() => return false,
                () = tokio::time::sleep(RETRY) => {}
            }
        }
        true
    }

    /// Appends what is held, once.
    async fn append_held(&self, held: &mut Held) {
        match self.journal.append(held.entries.iter().cloned()).await {
            Ok(()) => {
                taken(&held.entries, held.again_at.is_some());
                held.entries.clear();
                gateway::all_done(held.acks.drain(..));
                held.again_at = None;
            }
            Err(failure) => {
                if held.again_at.is_none() {
                    error!("no measurements are acknowledged until the journal can take them: {failure}");
                }
                counter!("liftline_journal_refusals_total").increment(1);
                held.again_at = Some(Instant::now() + RETRY);
            }
        }
    }
}

/// Waits until `at`, then for messages. Returns how many those are; takes none if it is dropped before.
async fn gather(from: &mut mpsc::Receiver<Inbound>, into: &mut Vec<Inbound>, at: Instant) -> usize {
    sleep_until(at).await;
    from.recv_many(into, MAX_BATCH).await
}

/// Counts what the journal has taken, and says so if it had refused it before.
fn taken(entries: &[Arc<Entry>], refused: bool) {
    if refused {
        info!("the journal takes entries again; acknowledging goes on");
    }
    for entry in entries {
        if let Body::Reject(reject) = &entry.body {
            counter!("liftline_rejects_total", "reason" => reject.reason.code()).increment(u64::from(reject.parts));
        }
    }
    counter!("liftline_entries_received_total").increment(entries.len() as u64);
}

#[cfg(test)]
mod tests {
    use gateway::{Ack, GatewayConfig};
    use journal::{JournalConfig, Offset};
    use model::{Device, DeviceId, ManualClock, OrgId, Profile, Sample, SiteId, Timestamp};
    use tokio::sync::oneshot;

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

    fn inbound(topic: &'static str, payload: &'static str) -> (Inbound, oneshot::Receiver<()>) {
        let (ack, done) = Ack::channel();
        let (topic, payload) = (topic.as_bytes().into(), payload.as_bytes().into());
        let message = Message { topic, payload, received_at: Timestamp::from_secs(1_767_225_600), sender: None };
        (Inbound { message, ack }, done)
    }

    /// A directory in which "a" is a lift of a profile with one event.
    fn directory() -> Directory {
        let text = "[profile]\nid = \"lift\"\nversion = 1\nname = { en = \"Lift\", zh = \"电梯\" }\n\
                    [[events]]\ncode = \"call_button\"\nname = { en = \"Button\", zh = \"按钮\" }\n\
                    [[channels]]\nid = \"load_kg\"\nname = { en = \"Load\", zh = \"载荷\" }\ntype = \"number\"\nunit = \"kg\"\nrange = [0.0, 900.0]\n";
        let profile = Profile::parse(std::path::Path::new("lift.toml"), text).unwrap();
        let device = Device {
            id: DeviceId::new("a").unwrap(),
            org: OrgId(Default::default()),
            site: SiteId(Default::default()),
            profile: profile.id.clone(),
            name: "A".to_owned(),
            plate: None,
        };
        Directory {
            devices: [(device.id.clone(), Arc::new(device))].into(),
            profiles: [(profile.id.clone(), Arc::new(profile))].into(),
        }
    }

    /// The reserve that the journal keeps for events is of use only if they still get there.
    #[tokio::test]
    async fn events_go_on_while_the_journal_takes_no_measurements() {
        let dir = tempfile::tempdir().unwrap();
        let config = JournalConfig { max_bytes: 1 << 20, ..JournalConfig::default() };
        let journal = Journal::open(dir.path(), &config).unwrap();
        journal.set_cursor("recorder", Lane::Telemetry, Offset::START).unwrap();
        let filler = Entry {
            device: None,
            received_at: Timestamp::from_secs(1),
            body: Body::Sample(Sample { time: Timestamp::from_secs(1), seq: None, values: Vec::new() }),
        };
        let filler = Arc::new(filler);
        while journal.append(vec![filler.clone(); 1000]).await.is_ok() {}

        let (telemetry, from_telemetry) = mpsc::channel(4);
        let (events, from_events) = mpsc::channel(4);
        let intake = Intake {
            events: from_events,
            telemetry: from_telemetry,
            formats: Formats::without_memory(GatewayConfig::default().decoder(), Arc::new(ManualClock::default())),
            directory: watch::channel(Arc::new(directory())).1,
            enrolment: None,
            journal: journal.clone(),
        };
        let shutdown = CancellationToken::new();
        let mut running = tokio::task::JoinSet::new();
        running.spawn(intake.run(shutdown.clone()));
        let (measured, mut measured_done) = inbound("liftline/a/telemetry", r#"{"values":{"load_kg":1}}"#);
        telemetry.send(measured).await.unwrap();
        // One that is no event becomes a reject, for which there is no room either; it does not hold up the one behind it.
        let (strange, mut strange_done) = inbound("liftline/a/events", r#"{"code":"nothing_known"}"#);
        let (button, button_done) = inbound("liftline/a/events", r#"{"code":"call_button"}"#);
        for inbound in [strange, button] {
            events.send(inbound).await.unwrap();
        }
        button_done.await.unwrap();
        assert_eq!(journal.head(Lane::Events), Offset(1));
        assert!(
            measured_done.try_recv().is_err() && strange_done.try_recv().is_err(),
            "nothing is claimed that is not so"
        );

        journal.set_cursor("recorder", Lane::Telemetry, journal.head(Lane::Telemetry)).unwrap();
        measured_done.await.unwrap();
        strange_done.await.unwrap();
        assert_eq!(journal.head(Lane::Events), Offset(1), "the event was not written again");
        shutdown.cancel();
        running.join_next().await.unwrap().unwrap().unwrap();
    }
}
