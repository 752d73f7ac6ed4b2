//! Tickets under people's hands.

use desk::{Action, Actor, Confirmed, Event, Status};
use model::{
    Alert, CauseId, DeliveryState, Language, Localised, MessageChannel, MilestoneKind, ProfileId, Purpose, RuleId,
    Severity, TicketId, TicketKind, Timestamp, UserId,
};
use store::{ApplyError, NewAffected, TicketFilter, TicketState};

use crate::{
    harness::{PUBLIC_URL, TestDb, World, cleared, device_id, raised, receiver, secs, start},
    on_both_engines,
};

on_both_engines!(
    an_acknowledgement_stops_the_calling,
    nobody_acts_on_anothers_ticket,
    timers_are_found_when_due_and_fire_once,
    people_acting_at_once_take_turns,
    an_affected_person_gets_a_page_that_ends,
    tickets_are_listed_searched_and_paged,
    a_refusal_changes_nothing,
    closed_tickets_tell_what_had_failed_and_for_how_long,
    closed_tickets_tell_which_parts_their_repair_took,
    devices_stand_still_while_an_alert_of_weight_stands,
);

fn dispatcher() -> Actor {
    Actor::User { user: UserId(uuid::Uuid::nil()), name: "Dee".to_owned() }
}

fn act(action: Action) -> Event {
    Event::Act { actor: dispatcher(), action, as_of: None }
}

fn reply(world: &World, action: Action) -> Event {
    let actor = Actor::Person { person: world.ann.id, name: "Ann".to_owned(), channel: MessageChannel::Sms };
    Event::Act { actor, action, as_of: None }
}

async fn an_acknowledgement_stops_the_calling(db: TestDb) {
    let world = World::new(&db).await;
    let alert = world.alert("lift-1", "entrapment", TicketKind::Entrapment, start());
    let ticket = world.raise(&alert, start()).await;
    // Ann's text message is out, her call is not.
    let claims = db.store.claim_outbox(store::Via::Any, start(), secs(30), 1).await.unwrap();
    assert_eq!(claims[0].message.receiver.channel, MessageChannel::Sms);
    let sent = model::Outcome::Sent { provider_id: "SM1".to_owned() };
    db.store.record_attempt(&claims[0], &sent, None, start()).await.unwrap();
    let after =
        db.store.apply(world.org, ticket.id, reply(&world, Action::Acknowledge), start() + secs(20)).await.unwrap();
    assert_eq!(after.status, Status::Acknowledged);
    assert_eq!(after.assignee, Some(world.ann.id));
    assert_eq!(world.ticket(ticket.id).await, after);
    let messages = db.store.outbox_for_ticket(world.org, ticket.id).await.unwrap();
    let pages: Vec<_> = messages
        .iter()
        .filter(|m| m.message.content.purpose == Purpose::Page)
        .map(|m| (m.message.receiver.channel, m.state))
        .collect();
    let expected = [
        (MessageChannel::Sms, DeliveryState::Answered),
        (MessageChannel::Voice, DeliveryState::Cancelled),
        (MessageChannel::Email, DeliveryState::Cancelled),
    ];
    assert_eq!(pages, expected);
    assert!(
        db.store
            .claim_outbox(store::Via::Any, start() + secs(60), secs(30), 99)
            .await
            .unwrap()
            .iter()
            .all(|claim| claim.message.content.purpose != Purpose::Page)
    );
}

async fn nobody_acts_on_anothers_ticket(db: TestDb) {
    let world = World::new(&db).await;
    let other = World::named(&db.store, "Other", "b", "+8613900000000").await;
    let ticket = world.raise(&world.alert("lift-1", "door", TicketKind::Breakdown, start()), start()).await;
    let error = db.store.apply(other.org, ticket.id, act(Action::Acknowledge), start()).await.unwrap_err();
    assert!(matches!(error, ApplyError::NotFound(id) if id == ticket.id), "{error}");
    assert!(db.store.ticket(other.org, ticket.id).await.unwrap().is_none());
    assert!(db.store.ticket_by_number(other.org, ticket.number).await.unwrap().is_none());
    assert!(db.store.timeline(other.org, ticket.id).await.unwrap().is_empty());
    assert!(db.store.ticket_alerts(other.org, ticket.id).await.unwrap().is_empty());
    assert!(db.store.outbox_for_ticket(other.org, ticket.id).await.unwrap().is_empty());
    assert!(db.store.alerts(other.org, &device_id("lift-1"), 9).await.unwrap().is_empty());
    assert!(other.open_tickets().await.is_empty());
    // Numbers are counted in each organisation.
    assert_eq!(other.raise(&other.alert("b-1", "door", TicketKind::Breakdown, start()), start()).await.number, 1);
    let unknown = TicketId(uuid::Uuid::nil());
    assert!(matches!(db.store.apply(world.org, unknown, Event::Tick, start()).await, Err(ApplyError::NotFound(_))));
}

async fn timers_are_found_when_due_and_fire_once(db: TestDb) {
    let world = World::new(&db).await;
    let ticket = world.raise(&world.alert("lift-1", "entrapment", TicketKind::Entrapment, start()), start()).await;
    let due = ticket.next_due().unwrap();
    assert_eq!(db.store.next_ticket_due().await.unwrap(), Some(due));
    assert!(db.store.due_tickets(due - secs(1), 9).await.unwrap().is_empty());
    assert_eq!(db.store.due_tickets(due, 9).await.unwrap(), [(world.org, ticket.id)]);
    let after = db.store.apply(world.org, ticket.id, Event::Tick, due).await.unwrap();
    assert_eq!(after.escalation.level, Some(model::RescueLevel::Station));
    assert!(db.store.due_tickets(due, 9).await.unwrap().is_empty());
    assert_eq!(db.store.apply(world.org, ticket.id, Event::Tick, due).await.unwrap(), after);
    let messages = db.store.outbox_for_ticket(world.org, ticket.id).await.unwrap();
    assert_eq!(messages.iter().filter(|m| m.message.person == Some(world.station.id)).count(), 1);
    // The station's own address counts from one.
    let page = messages.iter().find(|m| m.message.person == Some(world.station.id)).unwrap();
    assert_eq!(page.message.content.reply_code, Some(1));
}

async fn people_acting_at_once_take_turns(db: TestDb) {
    let world = World::new(&db).await;
    let ticket = world.raise(&world.alert("lift-1", "door", TicketKind::Breakdown, start()), start()).await;
    let before = db.store.timeline(world.org, ticket.id).await.unwrap().len();
    let notes = (0..24).map(|number| {
        let event = act(Action::Note { text: format!("note {number}") });
        db.store.apply(world.org, ticket.id, event, start())
    });
    for result in futures::future::join_all(notes).await {
        result.unwrap();
    }
    let after = world.ticket(ticket.id).await;
    assert_eq!(after.version, ticket.version + 24);
    let timeline = db.store.timeline(world.org, ticket.id).await.unwrap();
    assert_eq!(timeline.len(), before + 24);
    assert_eq!(timeline.last().unwrap().0, (before + 24) as u64, "numbered without a gap");
}

async fn an_affected_person_gets_a_page_that_ends(db: TestDb) {
    let world = World::new(&db).await;
    let alert = world.alert("lift-1", "entrapment", TicketKind::Entrapment, start());
    let ticket = world.raise(&alert, start()).await;
    let new = NewAffected {
        name: Some("Li".to_owned()),
        receiver: receiver(MessageChannel::Sms, "+8613700000000"),
        language: Language::Zh,
        inside: true,
    };
    let (after, affected, token) =
        db.store.add_affected(world.org, ticket.id, &new, dispatcher(), start()).await.unwrap();
    assert_eq!(after.affected, std::slice::from_ref(&affected));
    assert_eq!(token.len(), 22);
    // A double click: the same person, the same link, one message.
    let (_, again, same) = db.store.add_affected(world.org, ticket.id, &new, dispatcher(), start()).await.unwrap();
    assert_eq!((&again, &same), (&affected, &token));
    let link = format!("{PUBLIC_URL}/c/{token}");
    let messages = db.store.outbox_for_ticket(world.org, ticket.id).await.unwrap();
    let mine: Vec<_> = messages.iter().filter(|m| m.message.affected == Some(affected.id)).collect();
    assert_eq!(mine.len(), 1);
    assert_eq!(
        (mine[0].message.content.purpose, mine[0].message.content.link.as_ref()),
        (Purpose::CareLink, Some(&link))
    );
    assert_eq!(db.store.care_links(world.org, ticket.id).await.unwrap()[&affected.id], link);

    let page = db.store.ticket_by_care_token(&token, start()).await.unwrap().unwrap();
    assert_eq!((page.org, page.affected, page.ticket.id), (world.org, affected.clone(), ticket.id));
    assert_eq!(page.device.unwrap().name, "Lift 1");
    assert!(page.timeline.len() > 2);
    assert!(db.store.ticket_by_care_token("AAAAAAAAAAAAAAAAAAAAAA", start()).await.unwrap().is_none());

    // Every later message carries the same link.
    db.store.apply(world.org, ticket.id, reply(&world, Action::Acknowledge), start() + secs(5)).await.unwrap();
    let messages = db.store.outbox_for_ticket(world.org, ticket.id).await.unwrap();
    let progress = messages.iter().filter(|m| m.message.affected == Some(affected.id));
    assert!(progress.clone().count() > 1);
    assert!(progress.clone().all(|m| m.message.content.link.as_ref() == Some(&link)));

    let closed = start() + secs(600);
    db.store.apply(world.org, ticket.id, act(Action::Released), closed).await.unwrap();
    world.commit(&[cleared(&alert, closed)], closed).await;
    assert_eq!(world.ticket(ticket.id).await.status, Status::Closed);
    let hours = |hours: u64| closed + secs(hours * 3600);
    assert!(db.store.ticket_by_care_token(&token, hours(71)).await.unwrap().is_some());
    assert!(db.store.ticket_by_care_token(&token, hours(72)).await.unwrap().is_none());
    let late = NewAffected { receiver: receiver(MessageChannel::Sms, "+8613700000001"), ..new };
    let error = db.store.add_affected(world.org, ticket.id, &late, dispatcher(), closed).await.unwrap_err();
    assert!(matches!(error, ApplyError::Transition(_)), "{error}");
    assert_eq!(db.store.care_links(world.org, ticket.id).await.unwrap().len(), 1, "a refused person has no link");
}

async fn tickets_are_listed_searched_and_paged(db: TestDb) {
    let world = World::new(&db).await;
    let mut last = None;
    for number in 0..7u64 {
        let kind = if number == 3 { TicketKind::Forecast } else { TicketKind::Breakdown };
        let alert = world.alert(&format!("lift-{}", number + 1), "door", kind, start() + secs(number));
        world.commit(&[raised(&alert)], start() + secs(number)).await;
        last = Some(alert);
    }
    let gone = last.unwrap();
    world.commit(&[cleared(&gone, start() + secs(60))], start() + secs(60)).await;
    let numbers = async |filter: TicketFilter| {
        let page = db.store.tickets(world.org, &filter).await.unwrap();
        (page.tickets.iter().map(|view| view.ticket.number).collect::<Vec<_>>(), page.next)
    };
    let filter = TicketFilter { limit: 4, ..TicketFilter::default() };
    assert_eq!(numbers(filter.clone()).await, (vec![6, 5, 4, 3], Some(3)));
    assert_eq!(numbers(TicketFilter { before: Some(3), ..filter.clone() }).await, (vec![2, 1], None));
    assert_eq!(numbers(TicketFilter { state: TicketState::Closed, ..filter.clone() }).await, (vec![7], None));
    assert_eq!(numbers(TicketFilter { state: TicketState::All, ..filter.clone() }).await, (vec![7, 6, 5, 4], Some(4)));
    assert_eq!(numbers(TicketFilter { kind: Some(TicketKind::Forecast), ..filter.clone() }).await, (vec![4], None));
    let by_device = TicketFilter { device: Some(device_id("lift-2")), ..filter.clone() };
    assert_eq!(numbers(by_device).await, (vec![2], None));
    let by_site = TicketFilter { site: Some(world.site.id), state: TicketState::All, ..filter.clone() };
    assert_eq!(numbers(by_site).await.0.len(), 4);
    for (words, expected) in [
        ("#5", vec![5]),
        ("LIFT0002", vec![2]),
        ("受阻", vec![6, 5, 4, 3]),
        ("harbour", vec![6, 5, 4, 3]),
        ("100%", vec![]),
    ] {
        let found = numbers(TicketFilter { text: Some(words.to_owned()), ..filter.clone() }).await.0;
        assert_eq!(found, expected, "{words}");
    }
}

async fn a_refusal_changes_nothing(db: TestDb) {
    let world = World::new(&db).await;
    let ticket = world.raise(&world.alert("lift-1", "entrapment", TicketKind::Entrapment, start()), start()).await;
    let timeline = db.store.timeline(world.org, ticket.id).await.unwrap();
    let error = db
        .store
        .apply(world.org, ticket.id, act(Action::Close { note: None, cause: None, parts: None }), start())
        .await
        .unwrap_err();
    assert!(matches!(error, ApplyError::Transition(_)), "{error}");
    assert_eq!(world.ticket(ticket.id).await, ticket);
    assert_eq!(db.store.timeline(world.org, ticket.id).await.unwrap(), timeline);
    assert!(ticket.milestone(MilestoneKind::Closed).is_none());
}

async fn closed_tickets_tell_what_had_failed_and_for_how_long(db: TestDb) {
    let world = World::new(&db).await;
    let other = World::named(&db.store, "Other", "b", "+8613900000000").await;
    let (lift, door) = (ProfileId::new("lift").unwrap(), RuleId::new("door").unwrap());
    let cause = |name: &str| Confirmed { id: CauseId::new(name).unwrap(), name: Localised::new(name, name) };
    let work = async |world: &World, rule: &str, at: Timestamp, minutes: u64, cause: Option<Confirmed>| {
        let alert = world.alert("lift-1", rule, TicketKind::Breakdown, at);
        let ticket = world.raise(&alert, at).await;
        let end = at + secs(minutes * 60);
        if minutes > 0 {
            world.commit(&[cleared(&alert, end)], end).await;
        }
        let close = Action::Close { note: Some("done".to_owned()), cause, parts: None };
        db.store.apply(world.org, ticket.id, act(close.clone()), end).await.unwrap();
        db.store.apply(world.org, ticket.id, act(close), end).await.unwrap();
        ticket.id
    };
    let day = |n: u64| start() + secs(n * 86_400);
    let first = work(&world, "door", day(0), 30, Some(cause("dirt"))).await;
    // It was something else.
    let corrected = act(Action::ConfirmCause { cause: cause("rollers"), parts: None });
    db.store.apply(world.org, first, corrected, day(1)).await.unwrap();
    work(&world, "door", day(1), 90, Some(cause("belt"))).await;
    work(&world, "door", day(2), 0, Some(cause("rollers"))).await;
    work(&world, "door", day(3), 60, None).await;
    work(&world, "brake", day(4), 10, Some(cause("lining"))).await;
    let counts = async |org, rule: &RuleId| -> Vec<(String, u32)> {
        let counts = db.store.confirmed_causes(org, &lift, rule).await.unwrap();
        counts.into_iter().map(|(cause, count)| (cause.to_string(), count)).collect()
    };
    assert_eq!(counts(world.org, &door).await, [("belt".to_owned(), 1), ("rollers".to_owned(), 2)]);
    assert!(counts(other.org, &door).await.is_empty(), "another organisation's tickets");
    // What never cleared was not restored.
    let out = db.store.times_out(world.org, &lift, TicketKind::Breakdown, 3).await.unwrap();
    assert_eq!(out, [secs(600), secs(3600), secs(5400)]);
    assert!(db.store.times_out(world.org, &lift, TicketKind::Forecast, 9).await.unwrap().is_empty());
    assert!(db.store.times_out(other.org, &lift, TicketKind::Breakdown, 9).await.unwrap().is_empty());
}

async fn closed_tickets_tell_which_parts_their_repair_took(db: TestDb) {
    let world = World::new(&db).await;
    let other = World::named(&db.store, "Other", "b", "+8613900000000").await;
    let lift = ProfileId::new("lift").unwrap();
    let cause = |name: &str| Confirmed { id: CauseId::new(name).unwrap(), name: Localised::new(name, name) };
    let parts = |names: &[&str]| Some(names.iter().map(|name| Localised::new(*name, "零件")).collect::<Vec<_>>());
    let work = async |day: u64, rule: &str, found: Option<&str>, parts: Option<Vec<Localised>>| {
        let at = start() + secs(day * 86_400);
        let ticket = world.raise(&world.alert("lift-1", rule, TicketKind::Breakdown, at), at).await;
        let close = Action::Close { note: Some("done".to_owned()), cause: found.map(cause), parts };
        db.store.apply(world.org, ticket.id, act(close), at).await.unwrap();
        ticket.id
    };
    let first = work(0, "door", Some("rollers"), parts(&["Rollers", "Grease"])).await;
    work(1, "brake", Some("rollers"), parts(&["Rollers"])).await;
    work(2, "door", Some("rollers"), parts(&[])).await;
    work(3, "door", Some("rollers"), None).await;
    let unsure = work(4, "door", None, parts(&["Belt"])).await;
    let usage = async |org| {
        let usage = db.store.parts_used(org, &lift).await.unwrap();
        let told: Vec<_> = usage.told.iter().map(|(cause, count)| (cause.to_string(), *count)).collect();
        let used: Vec<_> = usage.used.iter().map(|(cause, part, count)| format!("{cause} {part} {count}")).collect();
        (told, used)
    };
    let rollers = ("rollers".to_owned(), 3);
    let used = vec!["rollers Rollers 2".to_owned(), "rollers Grease 1".to_owned()];
    assert_eq!(usage(world.org).await, (vec![rollers.clone()], used));
    assert_eq!(usage(other.org).await, (vec![], vec![]), "another organisation's tickets");
    // What is said later counts, and what was said before it does not.
    let later = |name: &str, parts| act(Action::ConfirmCause { cause: cause(name), parts });
    db.store.apply(world.org, unsure, later("belt", None), start() + secs(500_000)).await.unwrap();
    db.store.apply(world.org, first, later("rollers", parts(&["Grease"])), start() + secs(500_000)).await.unwrap();
    let used = ["belt Belt 1", "rollers Grease 1", "rollers Rollers 1"].map(str::to_owned).to_vec();
    assert_eq!(usage(world.org).await, (vec![("belt".to_owned(), 1), rollers], used));
}

async fn devices_stand_still_while_an_alert_of_weight_stands(db: TestDb) {
    let world = World::new(&db).await;
    let other = World::named(&db.store, "Other", "b", "+8613900000000").await;
    let standing = async |org, site| -> Vec<String> {
        let devices = db.store.devices_standing(org, site, 9).await.unwrap();
        devices.into_iter().map(|device| device.to_string()).collect()
    };
    let broken = Alert { severity: Severity::Major, ..world.alert("lift-1", "door", TicketKind::Breakdown, start()) };
    let slow = Alert { severity: Severity::Minor, ..world.alert("lift-2", "slow", TicketKind::Breakdown, start()) };
    let risk = Alert { severity: Severity::Major, ..world.alert("lift-2", "risk", TicketKind::Forecast, start()) };
    world.commit(&[raised(&broken), raised(&slow), raised(&risk)], start()).await;
    assert_eq!(standing(world.org, world.site.id).await, ["lift-1"]);
    assert!(standing(other.org, world.site.id).await.is_empty(), "another organisation's");
    assert!(standing(other.org, other.site.id).await.is_empty());
    let dark = Alert { severity: Severity::Critical, ..world.alert("lift-2", "dark", TicketKind::Outage, start()) };
    world.commit(&[raised(&dark), cleared(&broken, start() + secs(60))], start() + secs(60)).await;
    assert_eq!(standing(world.org, world.site.id).await, ["lift-2"]);
}
