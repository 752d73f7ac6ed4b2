//! What an affected person is told: what has been earned, and what is intended next. Pure: it reads a ticket, its
//! timeline and the time, and invents nothing.

use std::time::Duration;

use desk::{Actor, Affected, Status, Ticket, TimelineEntry, What};
use jiff::tz::TimeZone;
use model::{Language, MilestoneKind, PersonId, RescueLevel, TicketKind, Timestamp};

use super::words;

/// What an affected person can tell us with one touch. It is written on the timeline and proves nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Said {
    /// I am hurt or need help.
    Help,
    /// I am out.
    Out,
}

impl Said {
    /// What is written on the timeline, for dispatchers of either language.
    pub fn note(self) -> &'static str {
        match self {
            Self::Help => "I am hurt or need help. · 我受伤了或需要帮助。",
            Self::Out => "I am out now. · 我已经出来了。",
        }
    }

    fn of(note: &str) -> Option<Self> {
        [Self::Help, Self::Out].into_iter().find(|said| said.note() == note)
    }
}

/// What the page is about, in the order in which help comes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Phase {
    /// Known; nobody is being called.
    Known,
    /// There is nobody on duty who could be called.
    Unreachable,
    /// A level is being called.
    Calling(RescueLevel),
    /// Everybody on the list was called, nobody has answered.
    Unanswered,
    /// A person has answered.
    Answered,
    /// They said that they are on the way.
    EnRoute,
    /// They said that they are on site.
    Arrived,
    /// The people are reported to be out.
    Released,
    /// The device runs again.
    Restored,
    /// Finished.
    Closed,
}

/// Something that has happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Line {
    pub at: Timestamp,
    pub clock: String,
    pub text: String,
}

/// The whole of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Story {
    pub phase: Phase,
    pub headline: String,
    /// Intentions, not facts.
    pub next: Vec<String>,
    /// Facts, oldest first.
    pub lines: Vec<Line>,
    /// True if the person needs advice on how to wait: they are inside and not reported to be out.
    pub waiting_inside: bool,
    /// Nothing more will happen.
    pub over: bool,
}

/// Pages of one level within this time are told as one call.
const ONE_CALL: Duration = Duration::from_secs(60);

/// Tells the story to one affected person.
pub(crate) fn tell(
    ticket: &Ticket,
    affected: &Affected,
    timeline: &[TimelineEntry],
    name: &str,
    zone: &TimeZone,
    language: Language,
    now: Timestamp,
) -> Story {
    let phase = phase(ticket, timeline);
    let clock = |at| clock(zone, at, now);
    let over = phase == Phase::Closed;
    let waiting_inside = affected.inside && !over && phase != Phase::Released;
    Story {
        phase,
        headline: words::headline(language, phase, affected.inside, ticket.kind),
        next: next(ticket, phase, affected.inside, language, now, &clock),
        lines: lines(ticket, affected, timeline, name, language)
            .into_iter()
            .map(|(at, text)| Line { at, clock: clock(at), text })
            .collect(),
        waiting_inside,
        over,
    }
}

/// The local time of day, with the date if it is not today.
fn clock(zone: &TimeZone, at: Timestamp, now: Timestamp) -> String {
    let at = at.to_jiff().to_zoned(zone.clone());
    let today = now.to_jiff().to_zoned(zone.clone()).date();
    let format = if at.date() == today { "%H:%M" } else { "%Y-%m-%d %H:%M" };
    at.strftime(format).to_string()
}

fn phase(ticket: &Ticket, timeline: &[TimelineEntry]) -> Phase {
    let earned = |kind| ticket.milestone(kind).is_some();
    if ticket.status == Status::Closed {
        return Phase::Closed;
    }
    if earned(MilestoneKind::Released) {
        return Phase::Released;
    }
    // An entrapment is not over because the lift says that it runs: only because the person is out.
    if ticket.kind != TicketKind::Entrapment && ticket.status == Status::Restored {
        return Phase::Restored;
    }
    if earned(MilestoneKind::Arrived) {
        return Phase::Arrived;
    }
    let calls = Calls::of(timeline);
    if ticket.escalation.calling {
        return match (calls.level, calls.exhausted) {
            (None, _) => Phase::Unreachable,
            (Some(_), true) => Phase::Unanswered,
            (Some(level), false) => Phase::Calling(level),
        };
    }
    match (earned(MilestoneKind::Acknowledged), calls.on_the_way) {
        (false, _) => Phase::Known,
        (true, false) => Phase::Answered,
        (true, true) => Phase::EnRoute,
    }
}

/// What the timeline says about calls and answers, as of its end.
#[derive(Debug, Default)]
struct Calls {
    /// The level called last.
    level: Option<RescueLevel>,
    /// Nobody has been called since the whole list was called without an answer.
    exhausted: bool,
    /// Whoever has the job said that they are on the way.
    on_the_way: bool,
    /// Who has the job.
    holder: Option<PersonId>,
}

impl Calls {
    fn of(timeline: &[TimelineEntry]) -> Self {
        let mut calls = Self::default();
        for entry in timeline {
            calls.add(entry);
        }
        calls
    }

    fn add(&mut self, entry: &TimelineEntry) {
        match &entry.what {
            What::Paged { level, .. } => {
                self.level = Some(*level);
                self.exhausted = false;
            }
            What::Exhausted => self.exhausted = true,
            What::Overdue => self.on_the_way = false,
            What::Assigned { person, .. } => {
                if self.holder.is_some_and(|holder| holder != *person) {
                    self.on_the_way = false;
                }
                self.holder = Some(*person);
            }
            What::Declined => {
                if self.given_up_by(&entry.actor) {
                    self.on_the_way = false;
                    self.holder = None;
                }
            }
            What::Milestone { milestone, .. } => self.on_the_way |= *milestone == MilestoneKind::EnRoute,
            What::Opened
            | What::AlertRaised { .. }
            | What::SeverityChanged { .. }
            | What::AlertCleared { .. }
            | What::Decided { .. }
            | What::HeldOpen { .. }
            | What::NobodyOnCall { .. }
            | What::AffectedAdded { .. }
            | What::CauseConfirmed { .. }
            | What::PartsUsed { .. }
            | What::Note { .. } => {}
        }
    }

    /// True if it is the one who has the job who declines.
    fn given_up_by(&self, actor: &Actor) -> bool {
        match actor {
            Actor::Person { person, .. } => self.holder == Some(*person),
            Actor::Hub
            | Actor::Device { .. }
            | Actor::User { .. }
            | Actor::Affected { .. }
            | Actor::Provider { .. } => false,
        }
    }
}

fn lines(
    ticket: &Ticket,
    affected: &Affected,
    timeline: &[TimelineEntry],
    name: &str,
    language: Language,
) -> Vec<(Timestamp, String)> {
    let mut lines = Vec::new();
    let mut called: Vec<(RescueLevel, Timestamp)> = Vec::new();
    let mut calls = Calls::default();
    for entry in timeline {
        let given_up = calls.given_up_by(&entry.actor);
        calls.add(entry);
        let text = match &entry.what {
            What::Milestone { milestone, .. } => Some(words::milestone(language, *milestone, ticket.kind, name)),
            What::Paged { level, .. } => {
                let earlier = called.iter_mut().find(|(known, _)| known == level);
                match earlier {
                    Some((_, last)) => {
                        let same_call = entry.at.since(*last) < ONE_CALL;
                        *last = entry.at;
                        (!same_call).then(|| words::called(language, *level, true))
                    }
                    None => {
                        called.push((*level, entry.at));
                        Some(words::called(language, *level, false))
                    }
                }
            }
            What::Exhausted => Some(words::exhausted(language, calls.level.is_some()).to_owned()),
            What::Declined => given_up.then(|| words::given_up(language).to_owned()),
            What::Overdue => Some(words::overdue(language).to_owned()),
            What::Note { text } if entry.actor == (Actor::Affected { affected: affected.id }) => {
                Some(words::you_said(language, Said::of(text), text))
            }
            // Who is on call, what devices report in detail and what the desk notes is not theirs to carry.
            What::Opened
            | What::AlertRaised { .. }
            | What::SeverityChanged { .. }
            | What::AlertCleared { .. }
            | What::Decided { .. }
            | What::HeldOpen { .. }
            | What::NobodyOnCall { .. }
            | What::Assigned { .. }
            | What::AffectedAdded { .. }
            | What::CauseConfirmed { .. }
            | What::PartsUsed { .. }
            | What::Note { .. } => None,
        };
        lines.extend(text.map(|text| (entry.at, text)));
    }
    lines
}

fn next(
    ticket: &Ticket,
    phase: Phase,
    inside: bool,
    language: Language,
    now: Timestamp,
    clock: &dyn Fn(Timestamp) -> String,
) -> Vec<String> {
    let mut next = Vec::new();
    let due = ticket.escalation.next_at.filter(|due| *due > now).map(clock);
    match phase {
        Phase::Unreachable => next.extend(due.map(|due| words::try_again(language, &due))),
        Phase::Calling(_) | Phase::Unanswered => {
            let call = due.zip(next_call(ticket));
            next.extend(call.map(|(due, level)| words::unless_answered(language, level, &due)));
        }
        Phase::Answered => {
            next.push(words::expect_departure(language).to_owned());
            next.extend(due.map(|due| words::unless_arrived(language, &due)));
        }
        Phase::EnRoute => {
            next.push(words::expect_arrival(language).to_owned());
            next.extend(due.map(|due| words::unless_arrived(language, &due)));
        }
        Phase::Arrived => next.push(words::expect_release(language, inside, ticket.kind).to_owned()),
        Phase::Known | Phase::Released | Phase::Restored | Phase::Closed => {}
    }
    // The desk closes no ticket while a person may be shut in.
    let held_open = inside && ticket.kind == TicketKind::Entrapment && ticket.life_safety;
    match phase {
        Phase::Known
        | Phase::Unreachable
        | Phase::Calling(_)
        | Phase::Unanswered
        | Phase::Answered
        | Phase::EnRoute
        | Phase::Arrived => next.extend(held_open.then(|| words::stays_open(language).to_owned())),
        Phase::Released | Phase::Restored | Phase::Closed => {}
    }
    next
}

/// What the policy does when the present call is not answered: a level to call, or the list from its start
/// (`Some(None)`). `None`: nothing, it was the last call.
fn next_call(ticket: &Ticket) -> Option<Option<RescueLevel>> {
    let step = usize::try_from(ticket.escalation.step).ok()?;
    match ticket.policy.steps.get(step) {
        Some(step) => Some(Some(step.level)),
        None if ticket.life_safety || ticket.escalation.round < ticket.policy.repeats => Some(None),
        None => None,
    }
}
