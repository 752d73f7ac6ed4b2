//! The emergency path: while the database is away, a person in danger does not wait for it.
//!
//! The watch hands over what it found and cannot commit. For alerts that concern life safety the [`desk`] opens tickets
//! in memory by the same rules as always, and the people on duty, known from before, are called at once and escalated
//! past as usual; their answers by SMS and keypad count. Every step is noted in the journal. When the database is back
//! the watch tells it the notes ([`store::Store::complete_emergency`]), and the tickets are what they would have been.

mod desk;
mod duty;

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use ::desk::{Action, Policies};
use futures::{StreamExt as _, stream::FuturesUnordered};
use journal::Journal;
use metrics::counter;
use model::{AlertChange, Body, Clock, Directory, Entry, OutboxId, OutboxMessage, Outcome, Timestamp};
use notify::Notifier;
use store::{EmergencyNote, EmergencyStep};
use tokio::{
    sync::{mpsc, watch},
    time::MissedTickBehavior,
};
use tokio_util::sync::CancellationToken;
use tracing::{error, info, warn};

use self::desk::{Call, EmergencyDesk, Step, World};
pub use self::{
    desk::{Answered, Case},
    duty::{DutyBook, RefreshDuty},
};
use crate::passes::deliver;

/// How many steps may wait to be noted and sent.
const QUEUE: usize = 4096;
/// How often timers are looked at.
const TICK: Duration = Duration::from_millis(500);

/// The way to the emergency desk, for the watch and for people's answers.
#[derive(Clone)]
pub struct Line {
    desk: Arc<Mutex<EmergencyDesk>>,
    duty: watch::Receiver<Arc<DutyBook>>,
    directory: watch::Receiver<Arc<Directory>>,
    clock: Arc<dyn Clock>,
    steps: mpsc::Sender<Step>,
}

/// The task that notes and sends.
pub struct Emergency {
    line: Line,
    steps: mpsc::Receiver<Step>,
    journal: Journal,
    notifier: Arc<Notifier>,
}

impl Emergency {
    /// A desk with nothing on it.
    #[must_use]
    pub fn new(
        policies: Policies,
        duty: watch::Receiver<Arc<DutyBook>>,
        directory: watch::Receiver<Arc<Directory>>,
        journal: Journal,
        notifier: Arc<Notifier>,
        clock: Arc<dyn Clock>,
    ) -> Self {
        let (sender, steps) = mpsc::channel(QUEUE);
        let desk = Arc::new(Mutex::new(EmergencyDesk::new(policies)));
        Self { line: Line { desk, duty, directory, clock, steps: sender }, steps, journal, notifier }
    }

    /// The way to it.
    #[must_use]
    pub fn line(&self) -> Line {
        self.line.clone()
    }

    /// Notes what is done, sends what is owed, and looks at the timers, until the shutdown.
    ///
    /// # Errors
    /// None: what cannot be noted or sent is logged, and sending is tried again.
    pub async fn run(mut self, shutdown: CancellationToken) -> anyhow::Result<()> {
        let mut sending = FuturesUnordered::new();
        let mut waiting: Vec<(Timestamp, Call)> = Vec::new();
        let mut ticks = tokio::time::interval(TICK);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                () = shutdown.cancelled() => return Ok(()),
                Some(step) = self.steps.recv() => {
                    self.note(step.notes).await;
                    sending.extend(step.calls.into_iter().filter_map(|call| self.attempt(call, false)));
                }
                Some((call, outcome, retry_at)) = sending.next() => {
                    if let Some(note) = sent(&call, &outcome, self.line.clock.now()) {
                        self.note(vec![note]).await;
                    } else if let Some(due) = retry_at {
                        waiting.push((due, call));
                    }
                }
                _ = ticks.tick() => if self.line.is_busy() {
                    let now = self.line.clock.now();
                    self.line.push(self.line.locked().tick(&self.line.world(), now));
                    for (due, call) in std::mem::take(&mut waiting) {
                        if due <= now {
                            sending.extend(self.attempt(call, true));
                        } else {
                            waiting.push((due, call));
                        }
                    }
                } else {
                    waiting.clear(); // They are in the outbox now.
                }
            }
        }
    }

    /// One attempt; `None` if the database has taken the message over.
    fn attempt(
        &self,
        call: Call,
        again: bool,
    ) -> Option<impl Future<Output = (Call, Outcome, Option<Timestamp>)> + use<>> {
        if !self.line.locked().knows(call.message.id) {
            return None;
        }
        let (notifier, clock) = (self.notifier.clone(), self.line.clock.clone());
        Some(async move {
            let (outcome, retry_at) = deliver::attempt(&notifier, &call.message, again, clock.as_ref()).await;
            (call, outcome, retry_at)
        })
    }

    /// Writes notes into the journal. A failure is told, not waited for: calling people goes on.
    async fn note(&self, notes: Vec<EmergencyNote>) {
        if notes.is_empty() {
            return;
        }
        let entry = |note: &EmergencyNote| {
            let body = Body::Emergency(serde_json::to_string(note)?);
            anyhow::Ok(Entry { device: None, received_at: self.line.clock.now(), body })
        };
        let written = match notes.iter().map(entry).collect::<anyhow::Result<Vec<_>>>() {
            Ok(entries) => self.journal.append(entries).await.map_err(anyhow::Error::from),
            Err(failure) => Err(failure),
        };
        let count = notes.len() as u64;
        match written {
            Ok(()) => counter!("liftline_emergency_notes_total").increment(count),
            Err(failure) => {
                counter!("liftline_emergency_notes_lost_total").increment(count);
                error!(
                    "what was done while the database is away could not be noted; people will be called again when it is back: {failure:#}"
                );
            }
        }
    }
}

/// What is to be noted of an attempt that a provider took.
fn sent(call: &Call, outcome: &Outcome, at: Timestamp) -> Option<EmergencyNote> {
    let Outcome::Sent { provider_id } = outcome else { return None };
    let what = EmergencyStep::Sent {
        person: call.message.person?,
        channel: call.message.receiver.channel,
        purpose: call.message.content.purpose,
        provider_id: provider_id.clone(),
    };
    Some(EmergencyNote { alert: call.alert, at, what })
}

impl Line {
    fn locked(&self) -> MutexGuard<'_, EmergencyDesk> {
        self.desk.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn is_busy(&self) -> bool {
        !self.locked().is_empty()
    }

    fn world(&self) -> World {
        World { duty: self.duty.borrow().clone(), directory: self.directory.borrow().clone() }
    }

    fn push(&self, step: Step) {
        if step.is_empty() {
            return;
        }
        counter!("liftline_emergency_messages_total").increment(step.calls.len() as u64);
        if self.steps.try_send(step).is_err() {
            counter!("liftline_emergency_overflows_total").increment(1);
            error!(
                "people could not be called while the database is away: too much at once; it is done when the database is back"
            );
        }
    }

    /// Takes over what cannot be committed now. Only what concerns life safety is acted on.
    pub fn take(&self, changes: &[AlertChange]) {
        for change in changes {
            let step = self.locked().change(change, &self.world(), self.clock.now());
            if !step.calls.is_empty() {
                let alert = change.alert();
                warn!(alert.id = %alert.id, device.id = %alert.device, "the database is away: calling people without it");
            }
            self.push(step);
        }
    }

    /// The database has everything again: the desk is cleared, its tickets live there.
    pub fn hand_back(&self) {
        if self.is_busy() {
            info!("the database is back: it takes over the tickets that were handled without it");
            self.locked().clear();
        }
    }

    /// A responder's answer by SMS: to the case that their number was called for last. `None` if it was called for none.
    #[must_use]
    pub fn reply(&self, address: &str, action: &Action) -> Option<Answered> {
        let (answered, step) = self.locked().reply(address, action, &self.world(), self.clock.now())?;
        self.push(step);
        Some(answered)
    }

    /// A responder's key in a call: the message that was called with, and whether the case took the answer. `None` if
    /// the call was not made from here.
    #[must_use]
    pub fn key(&self, message: OutboxId, action: Option<&Action>) -> Option<(OutboxMessage, bool)> {
        let (message, done, step) = self.locked().key(message, action, &self.world(), self.clock.now())?;
        self.push(step);
        Some((message, done))
    }

    /// The case of the lift with this plate.
    #[must_use]
    pub fn case_by_plate(&self, plate: &str) -> Option<Case> {
        self.locked().case_by_plate(plate, &self.directory.borrow())
    }
}
