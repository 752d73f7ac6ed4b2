//! The stage: four people on call at three levels, one subscriber, one lift; and [`check`], which plays a script.

use std::{sync::Arc, time::Duration};

use model::{
    AffectedId, Alert, AlertId, AlertSource, DeviceId, Evidence, Language, Localised, MessageChannel, OrgId, PersonId,
    ProfileId, Purpose, Receiver, RescueLevel, RuleId, Scope, Severity, SiteId, TicketId, TicketKind, Timestamp,
    UserId,
};
use uuid::Uuid;

use crate::{
    Action, Actor, Affected, Contact, Effect, Event, Policies, Policy, Roster, Status, Step, Surroundings, Ticket,
    TransitionError, What, open, transition,
};

pub(super) const ANN: &str = "ann";
pub(super) const BOB: &str = "bob";
pub(super) const STATION: &str = "station";
pub(super) const FIRE: &str = "fire";
pub(super) const OLGA: &str = "olga";
const NAMES: [&str; 5] = [ANN, BOB, STATION, FIRE, OLGA];

/// One thing that happens in a script.
#[derive(Debug, Clone)]
pub(super) enum Do {
    /// Time passes.
    Tick,
    /// An alert joins: its name, its severity, and whether it concerns life safety.
    Raise(&'static str, Severity, bool),
    /// An alert clears.
    Clear(&'static str),
    /// Somebody answers by text message.
    Sms(&'static str, Action),
    /// Somebody presses "escalate" on a message of this minute.
    Stale(&'static str, u64),
    /// The dispatcher does something.
    Board(Action),
    /// Something that is not a person does something.
    Device(Action),
    /// A receipt for a text message comes.
    Delivered(&'static str),
    /// An affected person is added.
    Affected(&'static str),
    /// From now on nobody is on call at these levels.
    Away(&'static [RescueLevel]),
}

/// Where a script starts.
#[derive(Debug)]
pub(super) struct Stage {
    pub(super) policy: Policy,
    pub(super) roster: Roster,
    pub(super) alert: Alert,
}

impl Stage {
    /// A ticket of this kind with the default policy; entrapments concern life safety.
    pub(super) fn of(kind: TicketKind) -> Self {
        let severity = if kind == TicketKind::Entrapment { Severity::Critical } else { Severity::Major };
        let alert = Alert { kind, ..alert("first", severity, kind == TicketKind::Entrapment) };
        let policy = Policy { tell_subscribers: false, ..Policies::default().get(kind).clone() };
        Self { policy, roster: roster(), alert }
    }

    pub(super) fn policy(mut self, change: impl FnOnce(&mut Policy)) -> Self {
        change(&mut self.policy);
        // Some tests are about what follows when nobody is called at all.
        self.roster.around.rescue = Arc::new(self.policy.clone());
        self
    }

    pub(super) fn away(mut self, levels: &[RescueLevel]) -> Self {
        self.roster.on_call.retain(|(level, _)| !levels.contains(level));
        self
    }

    pub(super) fn open(&self) -> (Ticket, Vec<Effect>) {
        open(&self.policy, TicketId(Uuid::from_u128(9)), 7, &self.alert, &self.roster, minute(0))
    }
}

/// Two minutes for the maintainer, three for the station; no repeats.
pub(super) fn two_levels(policy: &mut Policy) {
    let step = |level, minutes: u64| Step { level, wait: Duration::from_secs(minutes * 60) };
    policy.steps = vec![step(RescueLevel::Maintainer, 2), step(RescueLevel::Station, 3)];
    policy.repeats = 0;
}

pub(super) fn minute(minute: u64) -> Timestamp {
    Timestamp::from_secs(1_767_225_600) + Duration::from_secs(minute * 60)
}

pub(super) fn person(name: &str) -> PersonId {
    let number = NAMES.iter().position(|other| *other == name).map_or(99, |at| at as u128);
    PersonId(Uuid::from_u128(100 + number))
}

fn name_of(person: PersonId) -> &'static str {
    NAMES.into_iter().find(|name| self::person(name) == person).unwrap_or("stranger")
}

/// Everybody has a telephone that takes texts and calls; Ann has an e-mail address, the station a system of its own.
pub(super) fn contact(name: &str) -> Contact {
    let receiver = |channel, address: &str| Receiver { channel, address: address.to_owned() };
    let mut receivers =
        vec![receiver(MessageChannel::Sms, "+8613800000000"), receiver(MessageChannel::Voice, "+8613800000000")];
    match name {
        ANN => receivers.push(receiver(MessageChannel::Email, "ann@example.org")),
        STATION => receivers.push(receiver(MessageChannel::Webhook, "https://station.example/hook")),
        FIRE => drop(receivers.remove(0)),
        _ => {}
    }
    Contact { person: person(name), name: name.to_owned(), language: Language::En, receivers }
}

pub(super) fn roster() -> Roster {
    Roster {
        on_call: vec![
            (RescueLevel::Maintainer, vec![contact(ANN), contact(BOB)]),
            (RescueLevel::Station, vec![contact(STATION)]),
            (RescueLevel::FireService, vec![contact(FIRE)]),
        ],
        subscribers: vec![contact(OLGA)],
        known: NAMES.into_iter().map(contact).collect(),
        around: Surroundings::default(),
    }
}

pub(super) fn alert(name: &str, severity: Severity, life_safety: bool) -> Alert {
    let device = DeviceId::new("lift-1").unwrap();
    let rule = RuleId::new(name).unwrap();
    Alert {
        id: AlertId::derive(&device, &rule, minute(0)),
        org: OrgId(Uuid::from_u128(1)),
        device,
        site: SiteId(Uuid::from_u128(2)),
        profile: ProfileId::new("lift").unwrap(),
        rule,
        rule_version: 1,
        source: AlertSource::Rule,
        kind: TicketKind::Breakdown,
        scope: Scope::Device,
        severity,
        life_safety,
        title: Localised::new(name, name),
        raised_at: minute(0),
        cleared_at: None,
        evidence: Evidence {
            summary: Localised::new(format!("{name} seen"), format!("{name}出现")),
            ..Evidence::default()
        },
        runbook: None,
    }
}

pub(super) fn sms(name: &str) -> Actor {
    Actor::Person { person: person(name), name: name.to_owned(), channel: MessageChannel::Sms }
}

pub(super) fn dispatcher() -> Actor {
    Actor::User { user: UserId(Uuid::from_u128(50)), name: "dora".to_owned() }
}

pub(super) fn assign(name: &str) -> Action {
    Action::Assign { person: person(name) }
}

pub(super) fn close(note: &str) -> Action {
    Action::Close { note: Some(note.to_owned()).filter(|note| !note.is_empty()), cause: None, parts: None }
}

pub(super) fn affected_id(name: &str) -> AffectedId {
    AffectedId(Uuid::new_v5(&Uuid::NAMESPACE_OID, name.as_bytes()))
}

impl Do {
    pub(super) fn event(&self, kind: TicketKind, at: Timestamp) -> Event {
        let act = |actor, action: &Action, as_of| Event::Act { actor, action: action.clone(), as_of };
        match self {
            Self::Tick | Self::Away(_) => Event::Tick,
            Self::Raise(name, severity, life_safety) => {
                Event::AlertRaised(Box::new(Alert { kind, ..alert(name, *severity, *life_safety) }))
            }
            Self::Clear(name) => Event::AlertCleared(Box::new(Alert {
                kind,
                cleared_at: Some(at),
                ..alert(name, Severity::Major, false)
            })),
            Self::Sms(name, action) => act(sms(name), action, None),
            Self::Stale(name, seen) => act(sms(name), &Action::Escalate, Some(minute(*seen))),
            Self::Board(action) => act(dispatcher(), action, None),
            Self::Device(action) => act(Actor::Device { device: DeviceId::new("lift-1").unwrap() }, action, None),
            Self::Delivered(name) => Event::Delivered { person: person(name), channel: MessageChannel::Sms },
            Self::Affected(name) => Event::AffectedAdded {
                actor: dispatcher(),
                affected: Affected {
                    id: affected_id(name),
                    name: Some((*name).to_owned()),
                    receiver: Receiver { channel: MessageChannel::Sms, address: "+8613900000000".to_owned() },
                    language: Language::Zh,
                    inside: true,
                    added_at: at,
                },
            },
        }
    }
}

/// Plays a script of (minute, event) and compares what follows, each line with its minute; returns the ticket.
/// What opening the ticket brings is compared only by [`check_from_opening`].
pub(super) fn check(stage: &Stage, script: &[(u64, Do)], expected: &[&str]) -> Ticket {
    let (ticket, _) = stage.open();
    let (ticket, lines) = play(stage, ticket, script);
    assert_eq!(lines, expected, "\nticket: {ticket:#?}");
    ticket
}

/// Like [`check`], with the lines of minute 0 at which the ticket is opened.
pub(super) fn check_from_opening(stage: &Stage, script: &[(u64, Do)], expected: &[&str]) -> Ticket {
    let (ticket, effects) = stage.open();
    let mut lines: Vec<String> = effects.iter().filter_map(|effect| line(0, effect)).collect();
    let (ticket, rest) = play(stage, ticket, script);
    lines.extend(rest);
    assert_eq!(lines, expected, "\nticket: {ticket:#?}");
    ticket
}

fn play(stage: &Stage, mut ticket: Ticket, script: &[(u64, Do)]) -> (Ticket, Vec<String>) {
    let mut roster = stage.roster.clone();
    let mut lines = Vec::new();
    for (at, what) in script {
        if let Do::Away(levels) = what {
            roster.on_call.retain(|(level, _)| !levels.contains(level));
            continue;
        }
        let event = what.event(ticket.kind, minute(*at));
        match transition(&ticket, &event, &roster, minute(*at)) {
            Ok((after, effects)) => {
                assert_well_behaved(&ticket, &event, &after, &effects, &roster, minute(*at));
                lines.extend(effects.iter().filter_map(|effect| line(*at, effect)));
                ticket = after;
            }
            Err(error) => lines.push(format!("{at}m refused: {error}")),
        }
    }
    (ticket, lines)
}

/// What holds for every accepted event: the version counts changes, and the same event again changes nothing.
pub(super) fn assert_well_behaved(
    before: &Ticket,
    event: &Event,
    after: &Ticket,
    effects: &[Effect],
    roster: &Roster,
    now: Timestamp,
) {
    if after == before {
        assert!(effects.is_empty(), "nothing changed, yet {effects:?}");
    } else {
        assert_eq!(after.version, before.version + 1);
    }
    match transition(after, event, roster, now) {
        Ok((again, effects)) => {
            assert_eq!(&again, after, "{event:?} applied twice");
            assert!(effects.is_empty(), "{event:?} applied twice: {effects:?}");
        }
        Err(error) => {
            assert_eq!(after.status, Status::Closed, "{event:?} applied twice: {error}");
            assert_eq!(error, TransitionError::Closed { number: after.number });
        }
    }
}

/// An effect in few words; pages stand for their line on the timeline.
fn line(at: u64, effect: &Effect) -> Option<String> {
    let text = match effect {
        Effect::CancelPages => "cancel pages".to_owned(),
        Effect::Send(message) => {
            let to = message.person.map_or("affected", name_of);
            let way = message.receiver.channel;
            let milestone = message.milestone.map(|kind| kind.to_string()).unwrap_or_default();
            match message.purpose {
                Purpose::Page => format!("page {to} {way}"),
                Purpose::StandDown => format!("stand down {to} {way}"),
                Purpose::CareLink => format!("care link {way}"),
                Purpose::Progress => format!("tell {to} {milestone}"),
                Purpose::Notice => format!("notice {to} {way}"),
                Purpose::Update => format!("update {to} {way}: {}", message.text.clone().unwrap_or_default().en),
                Purpose::Answer => unreachable!("the desk sends no answers"),
            }
        }
        Effect::Log(entry) => match &entry.what {
            What::Opened => "opened".to_owned(),
            What::AlertRaised { title, .. } => format!("raised {}", title.en),
            What::SeverityChanged { from, to, .. } => format!("{from} became {to}"),
            What::Decided { reason } => reason.text().en,
            What::HeldOpen { .. } => "held open".to_owned(),
            What::AlertCleared { title, .. } => format!("cleared {}", title.en),
            What::Milestone { milestone, .. } => format!("{milestone}"),
            What::Paged { .. } => return None,
            What::NobodyOnCall { level } => format!("nobody at {}", level.number()),
            What::Exhausted => "exhausted".to_owned(),
            What::Declined => "declined".to_owned(),
            What::Assigned { name, .. } => format!("assigned {name}"),
            What::Overdue => "overdue".to_owned(),
            What::AffectedAdded { .. } => "affected added".to_owned(),
            What::CauseConfirmed { cause } => format!("cause {}", cause.id),
            What::PartsUsed { parts } => {
                format!("parts {}", parts.iter().map(|part| part.en.as_str()).collect::<Vec<_>>().join(", "))
            }
            What::Note { text } => format!("note {text}"),
        },
    };
    Some(format!("{at}m {text}"))
}
