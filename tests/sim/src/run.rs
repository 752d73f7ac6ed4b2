//! A run: the fleet speaks, the hub works, people answer, and now and then the hub is killed.

use std::{collections::HashMap, sync::Arc, time::Duration};

use anyhow::Context as _;
use desk::{Action, Actor, Event, Status};
use firmware_sim::dice::Dice;
use hub::config::LoadedProfile;
use model::{
    Clock as _, DeliveryState, DeviceId, ManualClock, MilestoneKind, Outcome, Purpose, TicketId, TicketKind, Timestamp,
    UserId,
};
use store::{ApplyError, Change, Claim, TicketFilter, TicketState};
use tokio::sync::broadcast::{self, error::TryRecvError};

use crate::{
    check,
    core::{self, Core},
    fleet::{Fleet, SPAN, start},
    network::{Network, Parcel},
    phones::{Happening, Phones},
    world::{self, World},
};

/// How often the watch looks at the clock.
const TICK: Duration = Duration::from_millis(500);
/// How often timers are looked at.
const TIMERS: Duration = Duration::from_millis(500);
/// How late a timer may fire.
const PUNCTUAL: Duration = Duration::from_secs(1);
/// How long a claimed message is left to its claimer.
const LEASE: Duration = Duration::from_secs(60);
/// How long the network may need to say the rest once the scenario is over.
const SETTLE: Duration = Duration::from_secs(45 * 60);
/// How long messages may need to come to their ends.
const DRAIN: Duration = Duration::from_secs(26 * 3600);

/// Where the hub is killed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Point {
    /// Messages arrived and nothing was written.
    BeforeAppend,
    /// They are in the journal and not acknowledged.
    BeforeAck,
    /// Alerts are committed, the watch's state is not saved.
    AfterWatch,
    /// Readings are written, the recorder's place is not.
    AfterRecord,
    /// A timer fired.
    AfterTimers,
    /// Messages are claimed and not sent.
    AfterClaim,
    /// The provider has a message, and the hub has not recorded it.
    AfterSend,
    /// A person's answer or a receipt was taken.
    AfterWord,
}

const POINTS: [Point; 8] = [
    Point::BeforeAppend,
    Point::BeforeAck,
    Point::AfterWatch,
    Point::AfterRecord,
    Point::AfterTimers,
    Point::AfterClaim,
    Point::AfterSend,
    Point::AfterWord,
];

struct Crash {
    at: Timestamp,
    point: Point,
    down: Duration,
}

/// Which crashes come, the next one last.
fn crashes(seed: u64) -> Vec<Crash> {
    let mut dice = Dice::new(seed, "crashes");
    // Every other seed dies and is back at once: lifts that are not delayed must not notice.
    let at_once = seed.is_multiple_of(2);
    let mut crashes: Vec<Crash> = (0..3 + dice.below(6))
        .map(|_| {
            let seconds = match dice.below(10) {
                _ if at_once => 0.0,
                0 => dice.between(130.0, 500.0),
                1..4 => 0.0,
                _ => dice.between(1.0, 60.0),
            };
            Crash {
                at: start() + SPAN.mul_f64(dice.between(0.01, 0.97)),
                point: POINTS[dice.below(POINTS.len())],
                down: Duration::from_secs_f64(seconds),
            }
        })
        .collect();
    crashes.sort_by_key(|crash| std::cmp::Reverse(crash.at));
    crashes
}

/// A run and everything it is judged by.
pub struct Run {
    /// The seed.
    pub seed: u64,
    /// What the lifts said.
    pub fleet: Arc<Fleet>,
    /// The profiles.
    pub profiles: Arc<Vec<LoadedProfile>>,
    /// The virtual time.
    pub clock: Arc<ManualClock>,
    /// The hub.
    pub core: Core,
    /// Who there is.
    pub world: World,
    /// The network.
    pub network: Network,
    /// The provider.
    pub phones: Phones,
    /// When the hub was not there.
    pub downs: Vec<(Timestamp, Timestamp)>,
    /// True if the lanes of one batch of messages become durable one after the other.
    pub torn: bool,
    /// Milestones that people were told they had earned.
    pub promised: Vec<(TicketId, MilestoneKind)>,
    /// What was wrong on the way.
    pub findings: Vec<String>,
    crashes: Vec<Crash>,
    dice: Dice,
    record_at: Timestamp,
    timers_at: Timestamp,
    up_since: Timestamp,
    ticket_due: Option<Timestamp>,
    outbox_due: Option<Timestamp>,
    /// True if the two above may be out of date.
    stale: bool,
    changes: broadcast::Receiver<Change>,
}

/// Runs a seed. Returns everything that was wrong.
///
/// # Errors
/// If the hub itself fails.
pub async fn run(
    seed: u64,
    calm: bool,
    fleet: Arc<Fleet>,
    profiles: Arc<Vec<LoadedProfile>>,
) -> anyhow::Result<Vec<String>> {
    let mut run = Run::new(seed, calm, fleet, profiles).await?;
    run.scenario().await?;
    let mut findings = check::alerts(&run).await?;
    findings.extend(check::readings(&run).await?);
    run.wind_up().await?;
    findings.extend(check::tickets(&run).await?);
    findings.extend(run.findings);
    Ok(findings)
}

impl Run {
    async fn new(seed: u64, calm: bool, fleet: Arc<Fleet>, profiles: Arc<Vec<LoadedProfile>>) -> anyhow::Result<Self> {
        let clock = Arc::new(ManualClock::at(start()));
        let core = Core::open(core::folder()?, clock.clone(), &profiles).await?;
        let world = world::make(&core.store, &fleet).await?;
        core.refresh(&profiles).await?;
        let names: HashMap<_, _> = world.people.iter().map(|person| (person.id, person.name.clone())).collect();
        Ok(Self {
            seed,
            network: Network::new(&fleet, seed, calm),
            phones: Phones::new(seed, calm, names),
            crashes: if calm { Vec::new() } else { crashes(seed) },
            dice: Dice::new(seed, "hub"),
            changes: core.store.changes(),
            fleet,
            profiles,
            clock,
            core,
            world,
            downs: Vec::new(),
            torn: !calm && seed % 4 == 3,
            promised: Vec::new(),
            findings: Vec::new(),
            record_at: start(),
            timers_at: start(),
            up_since: start(),
            ticket_due: None,
            outbox_due: None,
            stale: true,
        })
    }

    /// The scenario, until the last controller has said everything and the hub has taken it.
    async fn scenario(&mut self) -> anyhow::Result<()> {
        let (end, latest) = (start() + SPAN, start() + SPAN + SETTLE);
        loop {
            let now = self.clock.now();
            if now >= end {
                self.crashes.clear();
                if self.network.is_done() {
                    break;
                }
                anyhow::ensure!(now < latest, "the controllers never got everything acknowledged");
            }
            self.step().await?;
            let due = [self.network.next_at(), self.phones.next_at(), self.outbox_due, Some(self.record_at)];
            let next = due.into_iter().flatten().min().unwrap_or(now + TICK);
            self.clock.set(next.clamp(self.clock.now() + Duration::from_millis(1), self.clock.now() + TICK));
        }
        self.core.watch().await?;
        while self.core.record_once().await? {}
        Ok(())
    }

    /// One moment.
    async fn step(&mut self) -> anyhow::Result<()> {
        let now = self.clock.now();
        let parcels = self.network.deliver(now);
        if !parcels.is_empty() {
            if let Some(down) = self.dies(Point::BeforeAppend) {
                return self.crash(down, &parcels, false).await;
            }
            if self.torn && self.dice.chance(0.5) {
                let events_first = self.dice.chance(0.7);
                self.core.take_torn(&parcels, events_first).await?;
            } else {
                self.core.take(&parcels).await?;
            }
            if let Some(down) = self.dies(Point::BeforeAck) {
                return self.crash(down, &parcels, true).await;
            }
        }
        let known = self.changes.len();
        self.core.watch().await?;
        // Where lanes were torn apart, what was just found is found again from another order.
        if self.torn && self.changes.len() > known && now < start() + SPAN && self.dice.chance(0.3) {
            return self.crash(Duration::ZERO, &[], true).await;
        }
        if let Some(down) = self.dies(Point::AfterWatch) {
            return self.crash(down, &[], true).await;
        }
        if now >= self.record_at {
            self.record_at = now + Duration::from_secs_f64(self.dice.between(0.2, 40.0));
            if self.core.record_once().await?
                && let Some(down) = self.dies(Point::AfterRecord)
            {
                return self.crash(down, &[], true).await;
            }
        }
        if now >= self.timers_at {
            self.timers_at = now + TIMERS;
            self.look_at_dues().await?;
            if let Some(due) = self.ticket_due.filter(|due| *due <= now) {
                let late = now.since(due.max(self.up_since));
                if late > PUNCTUAL {
                    self.findings.push(format!("{now}: a timer of {due} fires {late:?} late"));
                }
                self.core.escalate().await?;
                self.stale = true;
                if let Some(down) = self.dies(Point::AfterTimers) {
                    return self.crash(down, &[], true).await;
                }
            }
        }
        self.look_at_dues().await?;
        if self.outbox_due.is_some_and(|due| due <= now) && self.deliver().await? {
            return Ok(());
        }
        self.hear().await?;
        Ok(())
    }

    /// Asks the store when timers and messages are due next, if it has changed since.
    async fn look_at_dues(&mut self) -> anyhow::Result<()> {
        while !matches!(self.changes.try_recv(), Err(TryRecvError::Empty | TryRecvError::Closed)) {
            self.stale = true;
        }
        if std::mem::take(&mut self.stale) {
            self.ticket_due = self.core.store.next_ticket_due().await?;
            self.outbox_due = self.core.store.next_outbox_due().await?;
        }
        Ok(())
    }

    /// Sends what is owed. True if the hub died over it.
    async fn deliver(&mut self) -> anyhow::Result<bool> {
        let now = self.clock.now();
        self.stale = true;
        self.core.store.expire_outbox(now).await?;
        loop {
            let claims = self.core.store.claim_outbox(store::Via::Any, now, LEASE, 32).await?;
            if claims.is_empty() {
                return Ok(false);
            }
            if let Some(down) = self.dies(Point::AfterClaim) {
                self.crash(down, &[], true).await?;
                return Ok(true);
            }
            for claim in claims {
                self.check_claim(&claim).await?;
                let found = claim.look_up.then(|| self.phones.look_up(claim.message.id)).flatten();
                let outcome = found.unwrap_or_else(|| self.phones.send(&claim, now));
                if let Some(down) = self.dies(Point::AfterSend) {
                    self.crash(down, &[], true).await?;
                    return Ok(true);
                }
                if self.dice.chance(0.2) {
                    // The provider's report is quicker than its answer.
                    self.hear().await?;
                }
                let retry_at = match &outcome {
                    Outcome::Sent { .. } | Outcome::Dead { .. } => None,
                    Outcome::Retry { after, .. } => Some(now + after.unwrap_or(Duration::from_secs(5))),
                    Outcome::Unknown { .. } => Some(now + Duration::from_secs(5)),
                };
                self.core.store.record_attempt(&claim, &outcome, retry_at, now).await?;
            }
        }
    }

    /// Nobody is rung for a ticket that somebody has.
    async fn check_claim(&mut self, claim: &Claim) -> anyhow::Result<()> {
        let message = &claim.message;
        let (Purpose::Page, Some(id), Some(person)) = (message.content.purpose, message.ticket, message.person) else {
            return Ok(());
        };
        let ticket = self.core.store.ticket(message.org, id).await?.context("a page without a ticket")?.ticket;
        let settled = ticket.status == Status::Closed
            || (ticket.milestone(MilestoneKind::Acknowledged).is_some()
                && !ticket.escalation.calling
                && ticket.assignee != Some(person));
        if settled {
            let now = self.clock.now();
            self.findings.push(format!(
                "{now}: ticket {} is settled and {} is still paged",
                ticket.number, message.receiver.address
            ));
        }
        Ok(())
    }

    /// Takes receipts and answers that have come by now.
    async fn hear(&mut self) -> anyhow::Result<()> {
        let now = self.clock.now();
        while let Some(happening) = self.phones.due(now) {
            self.stale = true;
            match happening {
                Happening::Receipt { provider_id, state } => {
                    let detail = (state == DeliveryState::Dead).then_some("unreachable");
                    self.core.store.delivery_report(&provider_id, state, detail, now).await?;
                }
                Happening::Reply { org, ticket, actor, action, as_of } => {
                    let event = Event::Act { actor, action: action.clone(), as_of: Some(as_of) };
                    match self.core.store.apply(org, ticket, event, now).await {
                        Ok(after) => self.promise(&after, &action),
                        Err(ApplyError::Transition(_)) => {}
                        Err(error) => return Err(error).context("answering a page"),
                    }
                }
            }
            if let Some(down) = self.dies(Point::AfterWord) {
                return self.crash(down, &[], true).await;
            }
        }
        Ok(())
    }

    fn promise(&mut self, after: &desk::Ticket, action: &Action) {
        let kind = match action {
            Action::Acknowledge => MilestoneKind::Acknowledged,
            Action::Arrived => MilestoneKind::Arrived,
            Action::Released => MilestoneKind::Released,
            Action::Close { .. } => MilestoneKind::Closed,
            Action::EnRoute
            | Action::Decline
            | Action::Escalate
            | Action::Assign { .. }
            | Action::ConfirmCause { .. }
            | Action::Note { .. } => {
                return;
            }
        };
        self.promised.push((after.id, kind));
    }

    /// How long the hub is away, if it dies here and now.
    fn dies(&mut self, point: Point) -> Option<Duration> {
        let now = self.clock.now();
        // Some points are rarely reached: after a while any will do.
        let next = self.crashes.last().filter(|crash| {
            crash.at <= now && (crash.point == point || now.since(crash.at) > Duration::from_secs(600))
        })?;
        let down = next.down;
        self.crashes.pop();
        Some(down)
    }

    async fn crash(&mut self, down: Duration, parcels: &[Parcel], kept: bool) -> anyhow::Result<()> {
        let now = self.clock.now();
        let back_at = now + down.max(Duration::from_millis(1));
        // Where lanes are torn apart, entries in which nothing was found may be read again in a better order.
        let open = self.torn || (kept && !parcels.is_empty());
        let before = check::stored_alerts(self).await?;
        let image = self.core.image()?;
        self.clock.set(back_at);
        self.core =
            Core::open(image, self.clock.clone(), &self.profiles).await.context("starting again after a crash")?;
        self.changes = self.core.store.changes();
        self.network.hub_died(parcels, kept, back_at);
        self.phones.hub_died(back_at);
        self.downs.push((now, back_at));
        (self.up_since, self.timers_at, self.record_at, self.stale) = (back_at, back_at, back_at, true);
        self.core.watch().await?;
        let after = check::stored_alerts(self).await?;
        let undelayed = |device: &DeviceId| self.network.is_undelayed(device);
        self.findings.extend(check::rewritten(&before, &after, now - TICK, open, undelayed));
        Ok(())
    }

    /// The dispatcher closes what is open, and every message comes to its end.
    async fn wind_up(&mut self) -> anyhow::Result<()> {
        let dispatcher = Actor::User { user: UserId(self.world.org.0), name: "Dee".to_owned() };
        let filter = TicketFilter { state: TicketState::Open, limit: 1000, ..TicketFilter::default() };
        for view in self.core.store.tickets(self.world.org, &filter).await?.tickets {
            let ticket = view.ticket;
            let close = Action::Close { note: Some("The end.".to_owned()), cause: None, parts: None };
            let actions = match ticket.kind {
                TicketKind::Entrapment => vec![Action::Released, close],
                TicketKind::Breakdown | TicketKind::Forecast | TicketKind::TestFailure | TicketKind::Outage => {
                    vec![close]
                }
            };
            for action in actions {
                let event = Event::Act { actor: dispatcher.clone(), action, as_of: None };
                match self.core.store.apply(self.world.org, ticket.id, event, self.clock.now()).await {
                    // Reporting the release may already have closed it.
                    Ok(_) | Err(ApplyError::Transition(desk::TransitionError::Closed { .. })) => {}
                    Err(error) => return Err(error).context("closing a ticket"),
                }
            }
        }
        let end = self.clock.now() + DRAIN;
        loop {
            self.stale = true;
            self.look_at_dues().await?;
            let now = self.clock.now();
            if self.outbox_due.is_none() && self.phones.next_at().is_none() || now >= end {
                return Ok(());
            }
            if self.outbox_due.is_some_and(|due| due <= now) {
                self.deliver().await?;
            }
            self.hear().await?;
            self.look_at_dues().await?;
            let due = [self.outbox_due, self.phones.next_at()].into_iter().flatten().min().unwrap_or(end);
            self.clock.set(due.clamp(now + Duration::from_millis(1), end));
        }
    }
}
