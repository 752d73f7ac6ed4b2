//! What holds for every sequence of events.

use std::collections::HashSet;

use model::{MilestoneKind, Purpose, RescueLevel, Severity, TicketKind, Timestamp};
use proptest::prelude::*;

use super::script::{ANN, BOB, Do, FIRE, OLGA, STATION, Stage, assert_well_behaved, assign, close, minute, two_levels};
use crate::{Action, Actor, Confirmed, Effect, Event, Roster, Status, Ticket, What, applicable, transition};

fn who() -> impl Strategy<Value = &'static str> {
    proptest::sample::select(vec![ANN, BOB, STATION, FIRE, OLGA])
}

fn action() -> impl Strategy<Value = Action> {
    prop_oneof![
        Just(Action::Acknowledge),
        Just(Action::Decline),
        Just(Action::Escalate),
        who().prop_map(assign),
        Just(Action::EnRoute),
        Just(Action::Arrived),
        Just(Action::Released),
        proptest::sample::select(vec!["", "done"]).prop_map(close),
        proptest::sample::select(vec!["", "done"]).prop_map(|note| finding(close(note))),
        Just(Action::ConfirmCause { cause: Confirmed::nothing(), parts: None }),
        proptest::sample::select(vec!["", "called", "no answer"])
            .prop_map(|text| Action::Note { text: text.to_owned() }),
    ]
}

/// The same press, with the answer that nothing was found.
fn finding(press: Action) -> Action {
    let Action::Close { note, .. } = press else { return press };
    Action::Close { note, cause: Some(Confirmed::nothing()), parts: None }
}

/// That nothing was found closes, calms and stops nothing: but for the answer itself and its line, all is as without it.
fn assert_only_an_answer(ticket: &Ticket, event: &Event, roster: &Roster, at: Timestamp) {
    let Event::Act { actor, action, as_of } = event else { return };
    let plain = if let Action::Close { note, cause: Some(_), .. } = action {
        let action = Action::Close { note: note.clone(), cause: None, parts: None };
        transition(ticket, &Event::Act { actor: actor.clone(), action, as_of: *as_of }, roster, at).ok()
    } else if let Action::ConfirmCause { .. } = action {
        (ticket.status == Status::Closed).then(|| (ticket.clone(), Vec::new()))
    } else {
        return;
    };
    let told = transition(ticket, event, roster, at).ok();
    assert!(told.is_none() || plain.is_some(), "the answer made {event:?} possible");
    let (Some((told, mut effects)), Some((plain, others))) = (told, plain) else { return };
    effects.retain(|effect| !matches!(effect, Effect::Log(line) if matches!(line.what, What::CauseConfirmed { .. })));
    assert_eq!(effects, others);
    let rest = |ticket: Ticket| Ticket { cause: None, parts: None, version: 0, ..ticket };
    assert_eq!(rest(told), rest(plain));
}

fn doing() -> impl Strategy<Value = Do> {
    let name = || proptest::sample::select(vec!["first", "second", "third"]);
    let severity = proptest::sample::select(vec![Severity::Info, Severity::Major, Severity::Critical]);
    let levels: &[&'static [RescueLevel]] = &[&[RescueLevel::Maintainer], &[RescueLevel::Station], &RescueLevel::ALL];
    prop_oneof![
        6 => Just(Do::Tick),
        2 => (name(), severity, proptest::bool::weighted(0.3))
            .prop_map(|(name, severity, life_safety)| Do::Raise(name, severity, life_safety)),
        2 => name().prop_map(Do::Clear),
        4 => (who(), action()).prop_map(|(who, action)| Do::Sms(who, action)),
        1 => (who(), 0u64..60).prop_map(|(who, seen)| Do::Stale(who, seen)),
        3 => action().prop_map(Do::Board),
        1 => action().prop_map(Do::Device),
        2 => who().prop_map(Do::Delivered),
        1 => proptest::sample::select(vec!["mei", "li"]).prop_map(Do::Affected),
        1 => proptest::sample::select(levels).prop_map(Do::Away),
    ]
}

fn stage() -> impl Strategy<Value = Stage> {
    let kind = proptest::sample::select(vec![TicketKind::Entrapment, TicketKind::Breakdown]);
    (kind, any::<bool>(), any::<bool>(), any::<bool>(), 0u32..3).prop_map(|(kind, short, closes, tell, repeats)| {
        Stage::of(kind).policy(|policy| {
            if short {
                two_levels(policy);
            }
            policy.repeats = repeats;
            policy.close_when_restored = closes;
            policy.tell_subscribers = tell;
        })
    })
}

/// Whether a page may be sent though somebody has answered before.
fn may_page_again(before: &Ticket, event: &Event, effects: &[Effect]) -> bool {
    let overdue = effects.iter().any(|effect| matches!(effect, Effect::Log(entry) if entry.what == What::Overdue));
    let calling = before.escalation.calling;
    match event {
        Event::Tick | Event::LookAgain => overdue || calling,
        Event::Act { action, .. } => match action {
            // A decline pages if the job is given back, or if nobody called is left to answer.
            Action::Escalate | Action::Assign { .. } | Action::Decline => true,
            Action::Acknowledge
            | Action::EnRoute
            | Action::Arrived
            | Action::Released
            | Action::Close { .. }
            | Action::ConfirmCause { .. }
            | Action::Note { .. } => false,
        },
        // New danger; or the device fails again after it was restored; or it got worse after calling was given up.
        Event::AlertRaised(alert) => alert.life_safety || before.status == Status::Restored || calling,
        Event::AlertChanged(_) => calling,
        Event::AlertCleared(_) | Event::Delivered { .. } | Event::AffectedAdded { .. } => false,
    }
}

fn assert_milestones(ticket: &Ticket) {
    let kinds: Vec<MilestoneKind> = ticket.milestones.iter().map(|milestone| milestone.kind).collect();
    let unique: HashSet<_> = kinds.iter().collect();
    assert_eq!(unique.len(), kinds.len(), "{kinds:?}");
    assert!(ticket.milestones.is_sorted_by_key(|milestone| milestone.at), "{kinds:?}");
    assert_eq!(kinds[0], MilestoneKind::Detected);
    let at = |kind| kinds.iter().position(|other| *other == kind);
    use MilestoneKind::{Acknowledged, Arrived, Closed, Contacted, Dispatched, EnRoute, Released};
    for later in [Dispatched, EnRoute, Arrived] {
        if at(later).is_some() {
            assert!(at(Acknowledged).is_some() && at(Acknowledged) < at(later), "{kinds:?}");
        }
    }
    if let (Some(en_route), Some(arrived)) = (at(EnRoute), at(Arrived)) {
        assert!(en_route < arrived, "{kinds:?}");
    }
    if let Some(closed) = at(Closed) {
        assert_eq!(closed + 1, kinds.len(), "{kinds:?}");
    }
    assert_eq!(at(Closed).is_some(), ticket.status == Status::Closed);
    assert!(at(Released).is_none() || ticket.kind == TicketKind::Entrapment);
    for milestone in &ticket.milestones {
        assert!(!milestone.proof.en.is_empty() && !milestone.proof.zh.is_empty());
        // Contact is proved by a receipt or by the responder's own answer.
        if milestone.kind == Contacted {
            assert!(matches!(milestone.actor, Actor::Provider { .. } | Actor::Person { .. }));
        }
    }
}

fn assert_escalation(ticket: &Ticket) {
    let due = ticket.next_due();
    match ticket.status {
        Status::Closed => assert!(due.is_none() && !ticket.escalation.calling),
        Status::Open => {
            let exhausted = ticket.escalation.round >= ticket.policy.repeats;
            assert!(due.is_some() || exhausted, "an open ticket has no next step: {ticket:#?}");
            assert!(due.is_some() || !ticket.life_safety, "life safety gave up: {ticket:#?}");
            assert!(ticket.escalation.calling);
        }
        Status::Acknowledged | Status::Restored => {}
    }
    if ticket.life_safety && ticket.escalation.calling {
        assert!(due.is_some(), "life safety gave up: {ticket:#?}");
    }
}

fn play(stage: &Stage, script: &[(u64, Do)]) {
    let (mut ticket, effects) = stage.open();
    let mut roster = stage.roster.clone();
    let mut keys: HashSet<String> = HashSet::new();
    let mut told: HashSet<String> = HashSet::new();
    let mut now = 0;
    remember(&effects, &mut keys, &mut told);
    for (pause, what) in script {
        now += pause;
        if let Do::Away(levels) = what {
            roster.on_call.retain(|(level, _)| !levels.contains(level));
        }
        let at = minute(now);
        step(&mut ticket, &what.event(stage.alert.kind, at), &roster, at, &mut keys, &mut told);
    }
    let json = serde_json::to_string(&ticket).unwrap();
    assert_eq!(serde_json::from_str::<Ticket>(&json).unwrap(), ticket);
}

fn step(
    ticket: &mut Ticket,
    event: &Event,
    roster: &crate::Roster,
    at: Timestamp,
    keys: &mut HashSet<String>,
    told: &mut HashSet<String>,
) {
    assert_only_an_answer(ticket, event, roster, at);
    let offered = applicable(ticket);
    let (after, effects) = match transition(ticket, event, roster, at) {
        Ok(result) => result,
        Err(error) => {
            if let Event::Act { actor: Actor::User { .. }, action, .. } = event {
                let needs_input = matches!(action, Action::Close { note: None, .. } | Action::Assign { .. });
                let name = serde_json::to_value(action).unwrap()["action"].as_str().unwrap().to_owned();
                let offered = offered.contains(&name.as_str()) && name != "note" && !needs_input;
                assert!(!offered, "{name} was offered and refused: {error}");
            }
            return;
        }
    };
    assert_well_behaved(ticket, event, &after, &effects, roster, at);
    let pages = effects.iter().any(|effect| matches!(effect, Effect::Send(sent) if sent.purpose == Purpose::Page));
    if pages {
        assert_ne!(after.status, Status::Closed);
        assert_ne!(ticket.status, Status::Closed);
        if after.milestone(MilestoneKind::Acknowledged).is_some() {
            assert!(may_page_again(ticket, event, &effects), "{event:?} paged after an answer: {ticket:#?}");
        }
    }
    remember(&effects, keys, told);
    assert_milestones(&after);
    assert_escalation(&after);
    *ticket = after;
}

/// No message is owed twice, and nobody hears of a milestone twice.
fn remember(effects: &[Effect], keys: &mut HashSet<String>, told: &mut HashSet<String>) {
    for effect in effects {
        if let Effect::Send(message) = effect {
            assert!(keys.insert(message.dedup_key.clone()), "{} is owed twice", message.dedup_key);
            if message.purpose == Purpose::Progress {
                let to = format!("{:?} {:?} {:?}", message.person, message.affected, message.milestone);
                assert!(told.insert(to.clone()), "{to} was told twice");
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(600))]

    #[test]
    fn whatever_happens(
        stage in stage(),
        script in proptest::collection::vec((0u64..25, doing()), 0..40),
    ) {
        play(&stage, &script);
    }
}
