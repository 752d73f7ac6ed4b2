//! The emergency path: while the database is away, a person in danger does not wait for it.
//!
//! The watch hands over what it found and cannot commit. For alerts that concern life safety the [`desk`] opens tickets
//! in memory by the same rules as always, and the people on duty, known from before, are called at once and escalated
//! past as usual; their answers by SMS and keypad count. Every step is noted in the journal. When the database is back
//! the watch tells it the notes ([`store::Store::complete_emergency`]), and the tickets are what they would have been.
//! Tickets that were open before are known as well ([`cases`]): the desk takes them over once one of them is overdue and the
//! database gives no sign of life, or with the first alert that cannot be committed.

mod cases;
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
use store::{EmergencyNote, EmergencyStep, Store};
use tokio::{
    sync::{mpsc, watch},
    time::MissedTickBehavior,
};
use tokio_util::sync::CancellationToken;
use tracing::{error, info, warn};

use self::desk::{Call, EmergencyDesk, Step, World};
pub use self::{
    cases::{CaseBook, KnownCase, RefreshCases},
    desk::{Answered, Case},
    duty::{DutyBook, RefreshDuty},
};
use crate::{passes::deliver, watch::PING};

/// How many steps may wait to be noted and sent.
const QUEUE: usize = 4096;
/// How often timers are looked at.
const TICK: Duration = Duration::from_millis(500);

/// How late an open ticket's timer may be before the database is asked whether it is still there.
const OVERDUE: Duration = Duration::from_secs(3);
/// How long it must have done so before tickets that it has are left to it, though the watch had nothing to tell it.
const BACK: Duration = Duration::from_secs(10);

/// What is known from before the database went away.
#[derive(Clone)]
pub struct LastKnown {
    /// Who is on duty.
    pub duty: watch::Receiver<Arc<DutyBook>>,
    /// The devices.
    pub directory: watch::Receiver<Arc<Directory>>,
    /// Open tickets that concern life safety.
    pub cases: watch::Receiver<Arc<CaseBook>>,
}

/// The way to the emergency desk, for the watch and for people's answers.
#[derive(Clone)]
pub struct Line {
    desk: Arc<Mutex<EmergencyDesk>>,
    known: LastKnown,
    clock: Arc<dyn Clock>,
    steps: mpsc::Sender<Step>,
}

/// The task that notes and sends.
pub struct Emergency {
    line: Line,
    steps: mpsc::Receiver<Step>,
    journal: Journal,
    notifier: Arc<Notifier>,
    store: Store,
    /// Since when the database gives signs of life while tickets are handled here.
    back_since: Option<Timestamp>,
}

impl Emergency {
    /// A desk with nothing on it.
    #[must_use]
    pub fn new(
        policies: Policies,
        known: LastKnown,
        journal: Journal,
        notifier: Arc<Notifier>,
        store: Store,
        clock: Arc<dyn Clock>,
    ) -> Self {
        let (sender, steps) = mpsc::channel(QUEUE);
        let desk = Arc::new(Mutex::new(EmergencyDesk::new(policies)));
        let line = Line { desk, known, clock, steps: sender };
        Self { line, steps, journal, notifier, store, back_since: None }
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
        let (mut sending, mut asked) = (FuturesUnordered::new(), FuturesUnordered::new());
        // What is to be tried again, and whether the provider may have it already.
        let mut waiting: Vec<(Timestamp, Call, bool)> = Vec::new();
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
                        waiting.push((due, call, matches!(outcome, Outcome::Unknown { .. })));
                    }
                }
                Some(there) = asked.next() => self.heard(there),
                _ = ticks.tick() => {
                    let now = self.line.clock.now();
                    if asked.is_empty() && self.line.is_doubtful(now) {
                        let store = self.store.clone();
                        asked.push(async move { store.answers_within(PING).await });
                    }
                    if !self.line.is_busy() {
                        waiting.clear(); // They are in the outbox now.
                        continue;
                    }
                    self.line.push(self.line.locked().tick(&self.line.world(), now));
                    for (due, call, look_up) in std::mem::take(&mut waiting) {
                        if due <= now {
                            sending.extend(self.attempt(call, look_up));
                        } else {
                            waiting.push((due, call, look_up));
                        }
                    }
                }
            }
        }
    }

    /// The database was asked for a sign of life.
    fn heard(&mut self, there: bool) {
        let now = self.line.clock.now();
        if !there {
            self.back_since = None;
            self.line.adopt();
        } else if self.line.is_doubtful(now) && self.line.is_busy() {
            // As a rule the watch tells the database what was done, and hands back.
            if now.since(*self.back_since.get_or_insert(now)) >= BACK {
                self.line.hand_back();
            }
        } else {
            self.back_since = None;
        }
    }

    /// One attempt; `None` if the database has taken the message over, or nobody needs it any more.
    fn attempt(
        &self,
        call: Call,
        look_up: bool,
    ) -> Option<impl Future<Output = (Call, Outcome, Option<Timestamp>)> + use<>> {
        if !self.line.locked().owes(call.message.id) {
            return None;
        }
        let (notifier, clock) = (self.notifier.clone(), self.line.clock.clone());
        Some(async move {
            let (outcome, retry_at) = deliver::attempt(&notifier, &call.message, look_up, clock.as_ref()).await;
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

    /// True while tickets are handled without the database.
    #[must_use]
    pub fn is_busy(&self) -> bool {
        !self.locked().is_empty()
    }

    fn world(&self) -> World {
        World { duty: self.known.duty.borrow().clone(), directory: self.known.directory.borrow().clone() }
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

    /// True if the database should be asked whether it is there: a ticket that it has should have been looked at by now, or is
    /// handled here, and nothing else is that the watch would hand back.
    fn is_doubtful(&self, now: Timestamp) -> bool {
        let desk = self.locked();
        if !desk.is_empty() {
            return desk.is_all_adopted();
        }
        let is_overdue = |due: Timestamp| now.since(due) >= OVERDUE;
        self.known.cases.borrow().values().any(|case| case.ticket.next_due().is_some_and(is_overdue))
    }

    /// Takes over the open tickets of the database, which is away.
    pub fn adopt(&self) {
        let cases = self.known.cases.borrow().clone();
        let adopted = self.locked().adopt(cases.values().map(|case| &**case));
        if adopted > 0 {
            warn!(tickets = adopted, "the database is away: open life-safety tickets are escalated without it");
        }
    }

    /// Takes over what cannot be committed now. Only what concerns life safety is acted on.
    pub fn take(&self, changes: &[AlertChange]) {
        self.adopt();
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

    /// A responder's answer by SMS: to the case of this number at their address, or to the one that they were called for
    /// last. `None` if there is none.
    #[must_use]
    pub fn reply(&self, address: &str, code: Option<u32>, action: &Action) -> Option<Answered> {
        let (answered, step) = self.locked().reply(address, code, action, &self.world(), self.clock.now())?;
        self.push(step);
        Some(answered)
    }

    /// A responder's key in a call: the message that was called with, and whether the case took the answer. `None` if
    /// the call is about no case that is handled here.
    #[must_use]
    pub fn key(&self, message: OutboxId, action: Option<&Action>) -> Option<(OutboxMessage, bool)> {
        let (message, done, step) = self.locked().key(message, action, &self.world(), self.clock.now())?;
        self.push(step);
        Some((message, done))
    }

    /// The case of the lift with this plate.
    #[must_use]
    pub fn case_by_plate(&self, plate: &str) -> Option<Case> {
        self.locked().case_by_plate(plate, &self.known.directory.borrow())
    }
}
