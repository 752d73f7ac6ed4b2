//! One device in event time: what is settled, what may still be preceded, and what was told of it.
//!
//! A profile declares a *lateness*: how much later than a later message an earlier one may come. A message waits that
//! long in order; then it is *settled*: applied in the order of event time, whatever the order of arrival. What
//! ordinary rules find is told when it is settled, and never taken back.
//!
//! Rules for life safety do not wait. A copy of the settled state runs ahead with every message at once, and what it
//! raises is told at once. When the same is settled, it is confirmed; if an earlier message showed otherwise in the
//! meantime, the alert is withdrawn, and what was settled takes its place. An end is told only when it is settled.

use model::{Alert, AlertChange, RuleId, Timestamp};
use serde::{Deserialize, Serialize};

use crate::{
    progress::{ClockPair, NEVER},
    reported::Reported,
    watch::{Step, Watch},
};

/// How many messages of a device may wait; more than that are settled at once, the earliest first.
pub(crate) const MAX_WAITING: usize = 4096;

/// A message that may still be preceded.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Waiting {
    /// Event time.
    pub(crate) at: i64,
    pub(crate) reported: Reported,
}

/// An alert for life safety that was found ahead of what is settled.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Told {
    pub(crate) alert: Box<Alert>,
    pub(crate) standing: Standing,
}

/// How far an alert that was found ahead has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Standing {
    /// Not told: a doubted one of the same rule stands, and its people are called.
    Held,
    /// Told at once, not settled.
    Told,
    /// Told, but with what has come since it is no longer found.
    Doubted,
    /// Told and settled.
    Confirmed,
}

/// One device.
#[derive(Debug, Clone)]
pub(crate) struct Tracked {
    /// The state that no message can change any more, but one that is too late.
    pub(crate) settled: Watch,
    /// Everything before this event time is settled.
    pub(crate) settled_to: i64,
    /// The latest time the device spoke of.
    pub(crate) front: Option<ClockPair>,
    /// In the order of event time.
    pub(crate) waiting: Vec<Waiting>,
    /// The settled state and what is waiting, for the rules that must not wait. `None` until something waits.
    ahead: Option<Box<Watch>>,
    pub(crate) told: Vec<Told>,
    /// The hub's time at which the engine will come back without being asked.
    pub(crate) scheduled: Option<i64>,
}

/// What became of an entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Place {
    /// It came in time.
    InTime,
    /// It came so many microseconds too late to be taken in its place.
    Late(i64),
}

impl Tracked {
    pub(crate) fn new(settled: Watch) -> Self {
        Self {
            settled,
            settled_to: i64::MIN,
            front: None,
            waiting: Vec::new(),
            ahead: None,
            told: Vec::new(),
            scheduled: None,
        }
    }

    /// Event time when the hub's clock shows `hub`.
    fn event_time(&self, hub: i64) -> i64 {
        ClockPair::event_time(self.front, hub)
    }

    /// Takes one entry.
    pub(crate) fn apply(&mut self, reported: Reported, step: &mut Step<'_>) -> Place {
        let lateness = step.ruleset.lateness_us;
        let hub = reported.received;
        let late = match (reported.said, self.front) {
            (Some(said), Some(front)) => front.event.saturating_sub(lateness).saturating_sub(said.at).max(0),
            (Some(_) | None, _) => 0,
        };
        let place = if late > 0 { Place::Late(late) } else { Place::InTime };
        let at = reported.said.map_or_else(|| self.event_time(hub), |said| said.at);
        // What was due by the time this came is found with what was known then.
        if lateness > 0 && self.front.is_some() {
            if self.ahead.is_none() {
                self.run_ahead(self.event_time(hub) - 1, step); // After a restore.
            }
            self.settle(self.event_time(hub).saturating_sub(lateness), step);
        }
        let mut rewound = false;
        if let Some(said) = reported.said
            && self.front.is_none_or(|front| said.at > front.event)
        {
            // Time that passed in a silence was only supposed: what the device now tells of it takes its own place.
            self.settled_to = self.settled_to.min(said.at);
            rewound = self.told.iter().any(|told| told.is_open() && told.alert.raised_at.as_micros() > said.at);
            self.front = Some(ClockPair { event: said.at, hub });
        }
        if lateness == 0 {
            self.settled.apply(&reported, step);
            return place;
        }
        self.settled_step(step, |settled, step| settled.pass(i64::MIN, hub - 1, step));
        self.settled_step(step, |settled, step| settled.hear(&reported, step));
        if self.front.is_none() || at < self.settled_to {
            // Too late for its place, or nothing is known of the device's clock: it counts from now on.
            let now = at.max(self.settled_to);
            self.settled_step(step, |settled, step| settled.apply_at(&reported, now, step));
            self.run_ahead(self.event_time(hub) - 1, step);
        } else {
            if rewound {
                self.ahead = None;
            }
            self.wait(at, reported, step);
        }
        self.settle(self.event_time(hub).saturating_sub(lateness), step);
        place
    }

    /// Lets time pass up to where the hub's clock stands.
    pub(crate) fn advance(&mut self, hub: i64, step: &mut Step<'_>) {
        let now = self.event_time(hub);
        if step.ruleset.lateness_us == 0 {
            self.settled.pass(now, hub, step);
            return;
        }
        if self.ahead.is_none() {
            self.run_ahead(now, step); // After a restore.
        }
        self.pass_ahead(now, step);
        self.settle(now.saturating_sub(step.ruleset.lateness_us), step);
        self.settled_step(step, |settled, step| settled.pass(i64::MIN, hub, step));
    }

    /// The hub's time at which the device must be looked at again though nothing comes.
    pub(crate) fn due(&self) -> i64 {
        let lateness = self.settled.ruleset.lateness_us;
        let hub_time = |event: i64| ClockPair::hub_time(self.front, event);
        let later = |event: i64| if event == NEVER { NEVER } else { hub_time(event).saturating_add(lateness + 1) };
        let contact = self.settled.next_contact_due();
        if lateness == 0 {
            return contact.min(hub_time(self.settled.next_due()));
        }
        let ahead = hub_time(self.ahead.as_ref().map_or(self.settled.next_due(), |ahead| ahead.next_due()));
        let first = self.waiting.first().map_or(NEVER, |waiting| later(waiting.at));
        contact
            .min(ahead)
            .min(first)
            .min(later(self.settled.next_due()))
            .min(self.withdrawal_due().map_or(NEVER, later))
    }

    fn withdrawal_due(&self) -> Option<i64> {
        self.told.iter().filter(|told| told.is_open()).map(|told| told.alert.raised_at.as_micros()).min()
    }

    /// About how much memory it takes, in bytes, alerts left out.
    pub(crate) fn bytes(&self) -> usize {
        let waiting = self.waiting.iter().map(|waiting| size_of::<Waiting>() + waiting.reported.values.bytes());
        size_of::<Self>()
            + self.settled.bytes()
            + self.ahead.as_ref().map_or(0, |ahead| size_of::<Watch>() + ahead.bytes())
            + waiting.sum::<usize>()
    }

    /// The alerts that stand, as they were told.
    pub(crate) fn standing(&self) -> impl Iterator<Item = &Alert> {
        let told = self.told.iter().filter(|told| told.is_told()).map(|told| &*told.alert);
        self.settled.standing().chain(told)
    }

    fn wait(&mut self, at: i64, reported: Reported, step: &mut Step<'_>) {
        let place = self.waiting.partition_point(|w| w.at.cmp(&at).then_with(|| w.reported.order(&reported)).is_lt());
        let same = self.waiting.get(place).is_some_and(|w| w.at == at && w.reported.order(&reported).is_eq());
        if same && reported.said.is_some() {
            return; // It came twice.
        }
        let last = place == self.waiting.len();
        self.waiting.insert(place, Waiting { at, reported });
        match &mut self.ahead {
            Some(ahead) if last => {
                let mut found = Vec::new();
                ahead.apply_at(&self.waiting[place].reported, at, &mut Step { out: &mut found, ..*step });
                self.tell_at_once(found, step);
            }
            Some(_) | None => {
                let hub = self.waiting[place].reported.received;
                self.run_ahead(self.event_time(hub) - 1, step);
            }
        }
        while self.waiting.len() > MAX_WAITING {
            let limit = self.waiting[0].at + 1;
            self.settle(limit, step);
        }
    }

    /// Begins anew from what is settled, up to an event time.
    fn run_ahead(&mut self, now: i64, step: &mut Step<'_>) {
        let mut found = Vec::new();
        let mut ahead = Box::new(self.settled.ahead());
        let mut ahead_step = Step { out: &mut found, ..*step };
        for waiting in &self.waiting {
            ahead.apply_at(&waiting.reported, waiting.at, &mut ahead_step);
        }
        ahead.pass(now, i64::MIN, &mut ahead_step);
        self.ahead = Some(ahead);
        let is_found = |told: &Told| found.iter().any(|change| change.alert().id == told.alert.id);
        self.told.retain(|told| told.standing != Standing::Held || is_found(told));
        for told in self.told.iter_mut().filter(|told| told.standing == Standing::Told && !is_found(told)) {
            told.standing = Standing::Doubted;
        }
        self.tell_at_once(found, step);
    }

    /// Lets time pass for the rules that must not wait.
    fn pass_ahead(&mut self, now: i64, step: &mut Step<'_>) {
        let Some(ahead) = &mut self.ahead else { return };
        let mut found = Vec::new();
        ahead.pass(now, i64::MIN, &mut Step { out: &mut found, ..*step });
        self.tell_at_once(found, step);
    }

    /// Tells what was raised ahead, unless it was told already or a doubted one of the same rule stands. Ends are told when
    /// they are settled.
    fn tell_at_once(&mut self, found: Vec<AlertChange>, step: &mut Step<'_>) {
        for change in found {
            let AlertChange::Raised(alert) = change else { continue };
            let rule = alert.rule.clone();
            match self.told.iter_mut().find(|told| told.alert.id == alert.id) {
                Some(told) if told.standing == Standing::Doubted => told.standing = Standing::Told,
                Some(_) => continue,
                None => self.told.push(Told { alert, standing: Standing::Held }),
            }
            self.tell_held(&rule, step);
        }
    }

    /// Tells what is held of a rule if no doubted alert of it stands.
    fn tell_held(&mut self, rule: &RuleId, step: &mut Step<'_>) {
        let of_rule = |told: &&mut Told| told.alert.rule == *rule;
        if self.told.iter_mut().filter(of_rule).any(|told| told.standing == Standing::Doubted) {
            return;
        }
        for told in self.told.iter_mut().filter(of_rule).filter(|told| told.standing == Standing::Held) {
            told.standing = Standing::Told;
            step.out.push(AlertChange::Raised(told.alert.clone()));
        }
    }

    /// Applies what is waiting before this event time, in order, and lets that time pass.
    fn settle(&mut self, limit: i64, step: &mut Step<'_>) {
        if limit <= self.settled_to {
            return;
        }
        self.settled_to = limit;
        // What is settled was told ahead before; the copy must not come to it later.
        self.pass_ahead(limit - 1, step);
        let ready = self.waiting.partition_point(|waiting| waiting.at < limit);
        let ready: Vec<_> = self.waiting.drain(..ready).collect();
        self.settled_step(step, |settled, step| {
            for waiting in &ready {
                settled.apply_at(&waiting.reported, waiting.at, step);
            }
            settled.pass(limit - 1, i64::MIN, step);
        });
        self.withdraw_before(limit, step);
    }

    /// Withdraws what was found ahead before this event time and did not come to be.
    fn withdraw_before(&mut self, limit: i64, step: &mut Step<'_>) {
        let missed = |told: &mut Told| told.is_open() && told.alert.raised_at.as_micros() < limit;
        let missed: Vec<Told> = self.told.extract_if(.., missed).collect();
        for Told { alert, standing } in missed {
            if standing != Standing::Held {
                self.tell_held(&alert.rule, step);
                step.out.push(withdraw(*alert));
            }
        }
    }

    /// Moves the settled state; of what it finds for life safety only what is news is told.
    fn settled_step(&mut self, step: &mut Step<'_>, act: impl FnOnce(&mut Watch, &mut Step<'_>)) {
        let mut found = Vec::new();
        act(&mut self.settled, &mut Step { out: &mut found, ..*step });
        for change in found {
            if !change.alert().life_safety {
                step.out.push(change);
                continue;
            }
            match change {
                AlertChange::Raised(alert) => self.confirm(alert, step),
                AlertChange::Changed(alert) => step.out.push(AlertChange::Changed(alert)),
                AlertChange::Cleared(alert) => {
                    self.told.retain(|told| told.alert.id != alert.id);
                    step.out.push(AlertChange::Cleared(alert));
                }
            }
        }
    }

    fn confirm(&mut self, alert: Box<Alert>, step: &mut Step<'_>) {
        let (id, rule) = (alert.id, alert.rule.clone());
        let known = self.told.iter().position(|told| told.alert.id == id);
        if known.is_none_or(|at| self.told[at].standing == Standing::Held) {
            step.out.push(AlertChange::Raised(alert.clone()));
        }
        let confirmed = Told { alert, standing: Standing::Confirmed };
        match known {
            Some(at) => self.told[at] = confirmed,
            None => self.told.push(confirmed),
        }
        // It takes the place of what was told for the same rule and is no longer found.
        let replaced = |told: &mut Told| told.standing == Standing::Doubted && told.alert.rule == rule;
        step.out.extend(self.told.extract_if(.., replaced).map(|told| withdraw(*told.alert)));
    }
}

impl Told {
    /// True until it is settled that it came to be.
    fn is_open(&self) -> bool {
        self.standing != Standing::Confirmed
    }

    /// True while it stands though it is not settled.
    pub(crate) fn is_told(&self) -> bool {
        matches!(self.standing, Standing::Told | Standing::Doubted)
    }
}

/// An alert that an earlier message, which came later, showed to be wrong.
fn withdraw(mut alert: Alert) -> AlertChange {
    alert.cleared_at = Some(Timestamp::from_micros(alert.raised_at.as_micros()));
    alert.evidence.withdrawn = true;
    alert.evidence.summary.en.push_str(" Withdrawn: an earlier message that came later shows it otherwise.");
    alert.evidence.summary.zh.push_str(" 已撤回：较早发生而较晚到达的消息显示情况并非如此。");
    AlertChange::Cleared(Box::new(alert))
}
