//! One device in event time: what is settled, what may still be preceded, and what was told of it.
//!
//! A profile declares a *lateness*: how much later than a later message an earlier one may come. A message waits that
//! long in order; then it is *settled*: applied in the order of event time, whatever the order of arrival. What
//! ordinary rules find is told when it is settled, and never taken back.
//!
//! Rules for life safety do not wait. A copy of the settled state runs ahead with every message at once, and what it
//! raises is told at once. When the same is settled, it is confirmed; if an earlier message showed otherwise in the
//! meantime, the alert is withdrawn, and what was settled takes its place. An end is told only when it is settled.

use model::{Alert, AlertChange, AlertId, Timestamp};
use serde::{Deserialize, Serialize};

use crate::{
    reported::Reported,
    watch::{ClockPair, NEVER, Step, Watch},
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

/// An alert for life safety that was told.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Told {
    pub(crate) alert: Box<Alert>,
    /// True once the same was settled.
    pub(crate) confirmed: bool,
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

    /// Takes one entry.
    pub(crate) fn apply(&mut self, reported: Reported, step: &mut Step<'_>) -> Place {
        let lateness = step.ruleset.lateness_us;
        let hub = reported.received;
        let late = match (reported.said, self.front) {
            (Some(said), Some(front)) => front.event.saturating_sub(lateness).saturating_sub(said.at).max(0),
            (Some(_) | None, _) => 0,
        };
        let place = if late > 0 { Place::Late(late) } else { Place::InTime };
        let at = reported.said.map_or_else(|| ClockPair::event_time(self.front, hub), |said| said.at);
        // What was due by the time this came is found with what was known then.
        if lateness > 0 && self.front.is_some() {
            self.settle(ClockPair::event_time(self.front, hub).saturating_sub(lateness), step);
        }
        if let Some(said) = reported.said
            && self.front.is_none_or(|front| said.at > front.event)
        {
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
            self.run_ahead(step);
        } else {
            self.wait(at, reported, step);
        }
        self.settle(ClockPair::event_time(self.front, hub).saturating_sub(lateness), step);
        place
    }

    /// Lets time pass up to where the hub's clock stands.
    pub(crate) fn advance(&mut self, hub: i64, step: &mut Step<'_>) {
        let now = ClockPair::event_time(self.front, hub);
        if step.ruleset.lateness_us == 0 {
            self.settled.pass(now, hub, step);
            return;
        }
        if self.ahead.is_none() {
            self.run_ahead(step); // After a restore.
        }
        if let Some(ahead) = &mut self.ahead {
            let mut found = Vec::new();
            ahead.pass(now, i64::MIN, &mut Step { out: &mut found, ..*step });
            tell_at_once(&mut self.told, found, step);
        }
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
        self.told.iter().filter(|told| !told.confirmed).map(|told| told.alert.raised_at.as_micros()).min()
    }

    /// About how much memory it takes, in bytes, alerts left out.
    pub(crate) fn bytes(&self) -> usize {
        let waiting = self.waiting.iter().map(|waiting| {
            size_of::<Waiting>() + waiting.reported.values.capacity() * size_of::<(u16, crate::reported::Datum)>()
        });
        size_of::<Self>()
            + self.settled.bytes()
            + self.ahead.as_ref().map_or(0, |ahead| size_of::<Watch>() + ahead.bytes())
            + waiting.sum::<usize>()
    }

    /// The alerts that stand, as they were told.
    pub(crate) fn standing(&self) -> impl Iterator<Item = &Alert> {
        let told = self.told.iter().filter(|told| !told.confirmed).map(|told| &*told.alert);
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
                tell_at_once(&mut self.told, found, step);
            }
            Some(_) | None => self.run_ahead(step),
        }
        while self.waiting.len() > MAX_WAITING {
            let limit = self.waiting[0].at + 1;
            self.settle(limit, step);
        }
    }

    fn replayed(&self, step: &mut Step<'_>) -> Watch {
        let mut ahead = self.settled.ahead();
        for waiting in &self.waiting {
            ahead.apply_at(&waiting.reported, waiting.at, step);
        }
        ahead
    }

    /// Begins anew from what is settled.
    fn run_ahead(&mut self, step: &mut Step<'_>) {
        let mut found = Vec::new();
        self.ahead = Some(Box::new(self.replayed(&mut Step { out: &mut found, ..*step })));
        tell_at_once(&mut self.told, found, step);
    }

    /// Applies what is waiting before this event time, in order, and lets that time pass.
    fn settle(&mut self, limit: i64, step: &mut Step<'_>) {
        if limit <= self.settled_to {
            return;
        }
        self.settled_to = limit;
        // What is settled was told ahead before; the copy must not come to it later.
        if let Some(ahead) = &mut self.ahead
            && ahead.next_due() < limit
        {
            let mut found = Vec::new();
            ahead.pass(limit - 1, i64::MIN, &mut Step { out: &mut found, ..*step });
            tell_at_once(&mut self.told, found, step);
        }
        let ready = self.waiting.partition_point(|waiting| waiting.at < limit);
        let ready: Vec<_> = self.waiting.drain(..ready).collect();
        self.settled_step(step, |settled, step| {
            for waiting in &ready {
                settled.apply_at(&waiting.reported, waiting.at, step);
            }
            settled.pass(limit - 1, i64::MIN, step);
        });
        // What was told ahead and did not come to be.
        let withdrawn = |told: &mut Told| !told.confirmed && told.alert.raised_at.as_micros() < limit;
        step.out.extend(self.told.extract_if(.., withdrawn).map(|told| withdraw(*told.alert)));
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
                AlertChange::Cleared(alert) => {
                    self.told.retain(|told| told.alert.id != alert.id);
                    step.out.push(AlertChange::Cleared(alert));
                }
            }
        }
    }

    fn confirm(&mut self, alert: Box<Alert>, step: &mut Step<'_>) {
        match self.told.iter_mut().find(|told| told.alert.id == alert.id) {
            Some(told) => *told = Told { alert, confirmed: true },
            None => {
                step.out.push(AlertChange::Raised(alert.clone()));
                self.told.push(Told { alert, confirmed: true });
            }
        }
    }
}

/// Tells what was raised ahead, unless it was told already. Ends are told when they are settled.
fn tell_at_once(told: &mut Vec<Told>, found: Vec<AlertChange>, step: &mut Step<'_>) {
    for change in found {
        let AlertChange::Raised(alert) = change else { continue };
        let known: Option<AlertId> = told.iter().map(|told| told.alert.id).find(|id| *id == alert.id);
        if known.is_none() {
            step.out.push(AlertChange::Raised(alert.clone()));
            told.push(Told { alert, confirmed: false });
        }
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
