//! Closed tickets of which nothing was found.

use std::time::Duration;

use desk::{Action, Actor, Confirmed, Event, Status, TransitionError};
use model::{CauseId, Localised, MilestoneKind, RuleId, TicketId, TicketKind, Timestamp, UserId, profile::Failures};
use store::{ApplyError, IncidentKind, StoredIncident};

use crate::{
    harness::{TestDb, World, cleared, device_id, failures, lift, raised, secs, start},
    on_both_engines,
};

on_both_engines!(
    a_false_alarm_is_known_as_such_from_when_it_was_said,
    false_alarms_are_counted_and_teach_no_repair,
    an_entrapment_ends_no_sooner_for_a_false_alarm,
);

const DAY: Duration = Duration::from_hours(24);

fn cause(name: &str) -> Confirmed {
    Confirmed { id: CauseId::new(name).unwrap(), name: Localised::new(name, name) }
}

fn act(action: Action) -> Event {
    let actor = Actor::User { user: UserId(uuid::Uuid::from_u128(5)), name: "Dora".to_owned() };
    Event::Act { actor, action, as_of: None }
}

fn close(cause: Option<Confirmed>) -> Event {
    act(Action::Close { note: Some("done".to_owned()), cause, parts: None })
}

fn say(cause: Confirmed) -> Event {
    act(Action::ConfirmCause { cause, parts: None })
}

/// What is known at a time: kind, from, to, and since when it is known to be a false alarm; in hours.
async fn known(db: &TestDb, failures: &Failures, until: Timestamp) -> Vec<(String, u64, Option<u64>, Option<u64>)> {
    let hours = |at: Timestamp| at.since(start()).as_secs() / 3600;
    let line = |found: StoredIncident| {
        let kind = match found.kind {
            IncidentKind::Rule(rule) => rule.to_string(),
            IncidentKind::Event(code) => code,
            IncidentKind::Ticket(kind) => kind.to_string(),
            IncidentKind::Visit => "visit".to_owned(),
        };
        (kind, hours(found.from), found.to.map(hours), found.false_alarm.map(hours))
    };
    let history = db.store.failure_history(&lift(), failures, until).await.unwrap();
    let mut lines: Vec<_> = history.incidents.into_iter().map(line).collect();
    lines.sort();
    lines
}

async fn a_false_alarm_is_known_as_such_from_when_it_was_said(db: TestDb) {
    let world = World::new(&db).await;
    let hour = |n: u64| start() + secs(n * 3600);
    let alert = world.alert("lift-1", "door", TicketKind::Breakdown, hour(0));
    let ticket = world.raise(&alert, hour(0)).await.id;
    world.commit(&[cleared(&alert, hour(2))], hour(2)).await;
    assert_eq!(world.ticket(ticket).await.status, Status::Closed, "what is restored closes by itself");
    let (by_rule, by_ticket) = (failures(&["door"], &[], &[], &[]), failures(&[], &[], &[], &[TicketKind::Breakdown]));
    let line = |kind: &str, from, to, found| (kind.to_owned(), from, to, found);
    let visit = line("visit", 2, Some(2), None);
    assert_eq!(known(&db, &by_rule, hour(99)).await, [line("door", 0, Some(2), None), visit.clone()]);
    db.store.apply(world.org, ticket, say(Confirmed::nothing()), hour(30)).await.unwrap();
    // The same word once more, and the other ticket's, move nothing.
    db.store.apply(world.org, ticket, say(Confirmed::nothing()), hour(33)).await.unwrap();
    let other = world.alert("lift-2", "brake", TicketKind::Breakdown, hour(31));
    let other_ticket = world.raise(&other, hour(31)).await.id;
    db.store.apply(world.org, other_ticket, close(Some(cause("lining"))), hour(32)).await.unwrap();
    let (before, after) = (line("door", 0, Some(2), None), line("door", 0, Some(2), Some(30)));
    assert_eq!(known(&db, &by_rule, hour(29)).await, [before.clone(), visit.clone()]);
    assert_eq!(known(&db, &by_rule, hour(30)).await, [after.clone(), visit.clone()]);
    // Where tickets are the failures, this one was a visit, as is known since then.
    assert_eq!(known(&db, &by_ticket, hour(29)).await, [line("breakdown", 0, Some(2), None)]);
    let found = [line("breakdown", 0, Some(2), Some(30)), line("visit", 30, Some(30), None)];
    assert_eq!(known(&db, &by_ticket, hour(30)).await, found);
    // It was something after all: the last word counts.
    db.store.apply(world.org, ticket, say(cause("rollers")), hour(50)).await.unwrap();
    assert_eq!(known(&db, &by_rule, hour(60)).await[0], before);
    db.store.apply(world.org, ticket, say(Confirmed::nothing()), hour(70)).await.unwrap();
    assert_eq!(known(&db, &by_rule, hour(80)).await[0], line("door", 0, Some(2), Some(70)));
    // Said when it is closed by hand, with its alert still standing.
    let stuck = world.alert("lift-2", "door", TicketKind::Breakdown, hour(90));
    let stuck_ticket = world.raise(&stuck, hour(90)).await.id;
    db.store.apply(world.org, stuck_ticket, close(Some(Confirmed::nothing())), hour(95)).await.unwrap();
    assert!(known(&db, &by_rule, hour(99)).await.contains(&line("door", 90, None, Some(95))));
}

async fn false_alarms_are_counted_and_teach_no_repair(db: TestDb) {
    let world = World::new(&db).await;
    let door = RuleId::new("door").unwrap();
    let work = async |day: u64, found: Option<Confirmed>| -> TicketId {
        let at = start() + DAY * u32::try_from(day).unwrap();
        let alert = world.alert("lift-1", "door", TicketKind::Breakdown, at);
        let ticket = world.raise(&alert, at).await.id;
        world.commit(&[cleared(&alert, at + secs(60 * (day + 1)))], at + secs(60 * (day + 1))).await;
        if let Some(found) = found {
            db.store.apply(world.org, ticket, say(found), at + secs(40_000)).await.unwrap();
        }
        ticket
    };
    let repaired =
        act(Action::ConfirmCause { cause: cause("rollers"), parts: Some(vec![Localised::new("Belt", "带")]) });
    let first = work(0, None).await;
    db.store.apply(world.org, first, repaired, start() + secs(50_000)).await.unwrap();
    work(1, Some(Confirmed::nothing())).await;
    work(2, Some(Confirmed::nothing())).await;
    work(3, None).await;
    let counts = async || -> Vec<(String, u32)> {
        let counts = db.store.confirmed_causes(world.org, &lift(), &door).await.unwrap();
        counts.into_iter().map(|(cause, count)| (cause.to_string(), count)).collect()
    };
    assert_eq!(counts().await, [("nothing_found".to_owned(), 2), ("rollers".to_owned(), 1)]);
    // Nothing was out: only what was something tells how long.
    let out = db.store.times_out(world.org, &lift(), TicketKind::Breakdown, 9).await.unwrap();
    assert_eq!(out, [secs(240), secs(60)]);
    assert_eq!(db.store.parts_used(world.org, &lift()).await.unwrap().told.len(), 1);
    // It had been nothing: its parts go with the repair that never was.
    db.store.apply(world.org, first, say(Confirmed::nothing()), start() + DAY).await.unwrap();
    let usage = db.store.parts_used(world.org, &lift()).await.unwrap();
    assert!(usage.told.is_empty() && usage.used.is_empty(), "{usage:?}");
    assert_eq!(counts().await, [("nothing_found".to_owned(), 3)]);
    let timeline = db.store.timeline(world.org, first).await.unwrap();
    assert!(matches!(&timeline.last().unwrap().1.what, desk::What::CauseConfirmed { cause } if cause.is_nothing()));
}

async fn an_entrapment_ends_no_sooner_for_a_false_alarm(db: TestDb) {
    let world = World::new(&db).await;
    let alert = world.alert("lift-1", "entrapment", TicketKind::Entrapment, start());
    let ticket = world.raise(&alert, start()).await;
    for event in [close(Some(Confirmed::nothing())), say(Confirmed::nothing())] {
        let refused = db.store.apply(world.org, ticket.id, event, start() + secs(60)).await.unwrap_err();
        let ApplyError::Transition(refused) = refused else { panic!("{refused}") };
        assert!(matches!(refused, TransitionError::NotReleased { .. } | TransitionError::NothingFoundYet { .. }));
    }
    assert_eq!(world.ticket(ticket.id).await, ticket);
    let by_rule = failures(&["entrapment"], &[], &[], &[]);
    assert_eq!(known(&db, &by_rule, start() + DAY).await, [("entrapment".to_owned(), 0, None, None)]);
    let (out, later) = (start() + secs(3600), start() + secs(7200));
    db.store.apply(world.org, ticket.id, act(Action::Released), out).await.unwrap();
    let closed = db.store.apply(world.org, ticket.id, close(Some(Confirmed::nothing())), later).await.unwrap();
    assert!(closed.status == Status::Closed && closed.milestone(MilestoneKind::Released).is_some());
    assert_eq!(known(&db, &by_rule, start() + DAY).await[0], ("entrapment".to_owned(), 0, None, Some(2)));
    // The next call is a new ticket with people called anew.
    let again = world.alert("lift-1", "entrapment", TicketKind::Entrapment, later + secs(1));
    world.commit(&[raised(&again)], later + secs(1)).await;
    let open = world.open_tickets().await;
    assert!(open.len() == 1 && open[0].id != ticket.id && open[0].escalation.calling, "{open:?}");
    assert_eq!(open[0].device, Some(device_id("lift-1")));
}
