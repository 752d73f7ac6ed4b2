//! One controller: its lift, its script, its offline buffer and its connection.

use std::{
    collections::VecDeque,
    sync::{
        Arc,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use model::{CommandId, CommandState, DeviceId, Timestamp};
use tokio::{task::JoinSet, time::MissedTickBehavior};
use tokio_util::sync::CancellationToken;

use crate::{
    buffer::Buffer,
    dice::Dice,
    lift::{Injection, Lift, LiftSpec, Output},
    link::{Link, LinkEvent, LinkOptions},
    timeline::Timeline,
    truth::{Note, TruthSink},
    wire::{Command, Message, Numbered, Report, Topics},
};

/// How often a controller looks at its lift.
const TICK: Duration = Duration::from_millis(200);
/// The most simulated time taken in one look, so that a clock that leaps does not stall the fleet.
const MAX_LEAP: Duration = Duration::from_secs(120);
/// First and longest pause before a new try to connect.
const RETRY_FIRST: Duration = Duration::from_secs(1);
const RETRY_LONGEST: Duration = Duration::from_secs(30);
/// How long a controller takes leave of the broker.
const FAREWELL: Duration = Duration::from_secs(2);
/// How many commands are remembered, so that one delivered twice is carried out once.
const REMEMBERED: usize = 32;

/// What a scenario does to one device.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Act {
    /// To its lift.
    Lift(Injection),
    /// The controller falls silent: its connection breaks (and its buffer fills), or it hangs while the connection
    /// stands (and says nothing at all).
    Silence { lasts: Duration, hung: bool },
    /// Its clock is wrong by so many milliseconds.
    Skew { millis: i64, lasts: Duration },
}

/// Totals over all devices of a run.
#[derive(Debug, Default)]
pub(crate) struct Counters {
    pub connected: AtomicUsize,
    pub reports: AtomicU64,
    pub messages: AtomicU64,
    pub acknowledged: AtomicU64,
    pub refused: AtomicU64,
    pub dropped: AtomicU64,
    pub waiting: AtomicU64,
    pub connections: AtomicU64,
    pub failed_connections: AtomicU64,
}

impl Counters {
    pub fn add(counter: &AtomicU64, n: u64) {
        counter.fetch_add(n, Ordering::Relaxed);
    }
}

/// What a controller needs to live.
pub(crate) struct ControllerSetup {
    pub spec: LiftSpec,
    /// Acts in the order of their times since the start.
    pub script: Vec<(Duration, Act)>,
    /// Reports made before the start, to be sent on the first connection.
    pub history: Vec<Report>,
    /// When it first connects.
    pub connect_after: Duration,
    pub link: LinkOptions,
    pub topics: Topics,
    pub first_seq: u64,
    pub buffer: usize,
    pub timeline: Timeline,
    pub truth: TruthSink,
    pub counters: Arc<Counters>,
}

pub(crate) struct Controller {
    id: DeviceId,
    lift: Lift,
    script: VecDeque<(Timestamp, Act)>,
    last: Timestamp,
    setup: ControllerSetup,
    buffer: Buffer,
    seq: u64,
    skew_millis: i64,
    skew_until: Option<Timestamp>,
    silent_until: Option<Timestamp>,
    hung: bool,
    connect_at: Timestamp,
    retry_at: Option<Instant>,
    retry_pause: Duration,
    up: bool,
    recent: VecDeque<CommandId>,
    dice: Dice,
    told_dropped: u64,
    told_waiting: u64,
}

impl Controller {
    pub fn new(mut setup: ControllerSetup) -> Self {
        let start = setup.timeline.start();
        let id = setup.spec.id.clone();
        let script = std::mem::take(&mut setup.script).into_iter().map(|(after, act)| (start + after, act)).collect();
        let mut controller = Self {
            lift: Lift::new(setup.spec.clone(), start),
            script,
            last: start,
            buffer: Buffer::new(setup.buffer.max(setup.history.len() + 100)),
            seq: setup.first_seq,
            skew_millis: 0,
            skew_until: None,
            silent_until: None,
            hung: false,
            connect_at: start + setup.connect_after,
            retry_at: None,
            retry_pause: RETRY_FIRST,
            up: false,
            recent: VecDeque::new(),
            dice: Dice::new(setup.spec.seed, &format!("{id} link")),
            told_dropped: 0,
            told_waiting: 0,
            id,
            setup,
        };
        for report in std::mem::take(&mut controller.setup.history) {
            controller.keep(report);
        }
        controller
    }

    /// Lives until `shutdown`, then takes leave of the broker.
    pub async fn run(mut self, shutdown: CancellationToken) {
        let mut pollers = JoinSet::new();
        let mut link: Option<Link> = None;
        let mut tick = tokio::time::interval(TICK);
        tick.set_missed_tick_behavior(MissedTickBehavior::Skip);
        loop {
            tokio::select! {
                biased;
                () = shutdown.cancelled() => break,
                _ = tick.tick() => {
                    self.advance().await;
                    if self.is_cut() {
                        if let Some(cut) = link.take() {
                            self.lose(cut).await;
                        }
                    } else if link.is_none() {
                        link = self.connect(&mut pollers);
                    }
                    while pollers.try_join_next().is_some() {}
                }
                event = next(&mut link) => {
                    if let Some(ended) = self.handle(event, &mut link).await {
                        self.lose(ended).await;
                    }
                }
            }
            if let Some(link) = &mut link {
                self.pump(link);
            }
            self.count();
        }
        if let Some(link) = link {
            self.farewell(link).await;
        }
    }

    /// Moves the lift on to the present and does what the script says.
    async fn advance(&mut self) {
        let now = self.setup.timeline.now();
        let step = now.since(self.last).min(MAX_LEAP);
        if step.is_zero() {
            return;
        }
        self.last = self.last + step;
        while let Some((at, _)) = self.script.front() {
            if *at > self.last {
                break;
            }
            if let Some((_, act)) = self.script.pop_front() {
                self.act(act).await;
            }
        }
        if self.skew_until.is_some_and(|until| until <= self.last) {
            self.skew_until = None;
            self.skew_millis = 0;
            self.note(Note::end("clock_skew", "clock set right")).await;
        }
        if self.silent_until.is_some_and(|until| until <= self.last) {
            self.silent_until = None;
            self.hung = false;
            self.retry_at = None;
            self.note(Note::end("silent", "back")).await;
        }
        let mute = self.hung || self.lift.snapshot().dead;
        for output in self.lift.step(self.last, step) {
            match output {
                Output::Report(report) if mute => drop(report),
                Output::Report(report) => self.keep(report),
                Output::Truth(note) => self.setup.truth.cause(&self.id, note).await,
            }
        }
    }

    async fn act(&mut self, act: Act) {
        match act {
            Act::Lift(injection) => self.lift.inject(&injection),
            Act::Silence { lasts, hung } => {
                self.silent_until = Some(self.last + lasts);
                self.hung = hung;
                let how = if hung { "hung with its connection standing" } else { "connection broken" };
                self.note(Note::begin("silent", how)).await;
            }
            Act::Skew { millis, lasts } => {
                self.skew_millis = millis;
                self.skew_until = Some(self.last + lasts);
                self.note(Note::begin("clock_skew", format!("{millis} ms"))).await;
            }
        }
    }

    async fn note(&self, note: Note) {
        self.setup.truth.cause(&self.id, note.at(self.last)).await;
    }

    /// Numbers a report, stamps it by the controller's own clock and puts it into the buffer.
    fn keep(&mut self, mut report: Report) {
        if self.skew_millis != 0 {
            let (Report::Telemetry { time, .. } | Report::Event { time, .. } | Report::CommandResult { time, .. }) =
                &mut report;
            *time = Timestamp::from_millis(time.as_millis() + self.skew_millis);
        }
        let seq = self.seq;
        self.seq += 1;
        Counters::add(&self.setup.counters.reports, 1);
        self.buffer.push(Numbered { seq, report });
    }

    /// True while it cannot have a connection.
    fn is_cut(&self) -> bool {
        (self.silent_until.is_some() && !self.hung) || self.lift.snapshot().dead || self.last < self.connect_at
    }

    fn connect(&mut self, pollers: &mut JoinSet<()>) -> Option<Link> {
        if self.retry_at.is_some_and(|at| Instant::now() < at) {
            return None;
        }
        match Link::open(&self.setup.link, pollers) {
            Ok(link) => Some(link),
            Err(error) => {
                tracing::warn!(device.id = %self.id, %error, "connecting failed");
                self.back_off();
                None
            }
        }
    }

    /// Doubles the pause before the next try, with half of it left to chance so that a fleet does not come back in
    /// one wave.
    fn back_off(&mut self) {
        self.retry_at = Some(Instant::now() + self.retry_pause.mul_f64(self.dice.between(0.5, 1.5)));
        self.retry_pause = (self.retry_pause * 2).min(RETRY_LONGEST);
    }

    /// Deals with what happened; hands the link back if it has ended.
    async fn handle(&mut self, event: LinkEvent, link: &mut Option<Link>) -> Option<Link> {
        let counters = self.setup.counters.clone();
        match event {
            LinkEvent::Up => {
                self.up = true;
                self.retry_pause = RETRY_FIRST;
                counters.connected.fetch_add(1, Ordering::Relaxed);
                Counters::add(&counters.connections, 1);
                let status = self.setup.topics.status_message(self.clock_time(), true);
                let link = link.as_mut()?;
                // A connection that ended at once is seen as such by the next event.
                let _subscribed = link.subscribe(&self.setup.topics.commands());
                let _sent = link.send(status);
            }
            LinkEvent::Acknowledged(message) => self.acknowledge(message).await,
            LinkEvent::Refused(message, reason) => {
                Counters::add(&counters.refused, 1);
                tracing::warn!(device.id = %self.id, topic = %message.topic, %reason, "the broker refused a message");
            }
            LinkEvent::Incoming(payload) => self.obey(&payload),
            LinkEvent::Down(reason) => {
                tracing::debug!(device.id = %self.id, %reason, "connection ended");
                if !self.up {
                    Counters::add(&counters.failed_connections, 1);
                }
                self.back_off();
                return link.take();
            }
        }
        None
    }

    async fn acknowledge(&mut self, message: Message) {
        Counters::add(&self.setup.counters.acknowledged, message.reports.len() as u64);
        let seq = message.reports.iter().map(|report| report.seq).collect();
        self.setup.truth.acknowledged(&self.id, self.last, seq).await;
    }

    /// After the end of a connection: what was not acknowledged goes back in front.
    async fn lose(&mut self, link: Link) {
        if std::mem::take(&mut self.up) {
            self.setup.counters.connected.fetch_sub(1, Ordering::Relaxed);
        }
        let (acknowledged, lost) = link.unacknowledged().await;
        for message in acknowledged {
            self.acknowledge(message).await;
        }
        self.buffer.put_back(lost.into_iter().flat_map(|message| message.reports).collect());
    }

    /// Sends as much as the window takes.
    fn pump(&mut self, link: &mut Link) {
        while link.has_room() {
            let Some(message) = self.setup.topics.message(self.buffer.take()) else { return };
            Counters::add(&self.setup.counters.messages, 1);
            if let Err(message) = link.send(message) {
                self.buffer.put_back(message.reports);
                return;
            }
        }
    }

    /// The time by the controller's own clock.
    fn clock_time(&self) -> Timestamp {
        Timestamp::from_millis(self.last.as_millis() + self.skew_millis)
    }

    fn obey(&mut self, payload: &[u8]) {
        let command: Command = match serde_json::from_slice(payload) {
            Ok(command) => command,
            Err(error) => {
                tracing::warn!(device.id = %self.id, %error, "a command could not be read");
                return;
            }
        };
        if self.recent.contains(&command.id) {
            return;
        }
        if self.recent.len() == REMEMBERED {
            self.recent.pop_front();
        }
        self.recent.push_back(command.id);
        let time = self.last;
        self.answer(time, command.id, CommandState::Delivered, "received".to_owned());
        let late = command.deadline.is_some_and(|deadline| deadline < self.clock_time().as_millis());
        let result = if late {
            Err("it came after its deadline".to_owned())
        } else {
            self.lift.command(&command.name, &command.args)
        };
        match result {
            Ok(detail) => self.answer(time, command.id, CommandState::Applied, detail),
            Err(detail) => self.answer(time, command.id, CommandState::Failed, detail),
        }
    }

    fn answer(&mut self, time: Timestamp, command: CommandId, state: CommandState, detail: String) {
        self.keep(Report::CommandResult { time, command, state, detail });
    }

    /// Sends what is left, says that it goes off line, and leaves.
    async fn farewell(&mut self, mut link: Link) {
        let status = self.setup.topics.status_message(self.clock_time(), false);
        let sent = async {
            self.pump(&mut link);
            if link.has_room() && link.send(status).is_ok() {
                while !link.is_idle() {
                    if let LinkEvent::Acknowledged(message) = link.next().await {
                        self.acknowledge(message).await;
                    } else if link.ended() {
                        break;
                    }
                }
            }
        };
        // A broker that is too slow publishes the last will instead.
        let _late = tokio::time::timeout(FAREWELL, sent).await;
        if self.up {
            self.setup.counters.connected.fetch_sub(1, Ordering::Relaxed);
        }
        link.close(FAREWELL).await;
        self.count();
    }

    /// Keeps the totals of the fleet up to date with this buffer.
    fn count(&mut self) {
        let (dropped, waiting) = (self.buffer.dropped(), self.buffer.len() as u64);
        let counters = &self.setup.counters;
        Counters::add(&counters.dropped, dropped - self.told_dropped);
        if waiting >= self.told_waiting {
            counters.waiting.fetch_add(waiting - self.told_waiting, Ordering::Relaxed);
        } else {
            counters.waiting.fetch_sub(self.told_waiting - waiting, Ordering::Relaxed);
        }
        (self.told_dropped, self.told_waiting) = (dropped, waiting);
    }
}

/// The next event of a link, if there is one; else never.
async fn next(link: &mut Option<Link>) -> LinkEvent {
    match link {
        Some(link) => link.next().await,
        None => std::future::pending().await,
    }
}
