//! What is held back and what lets it go, over transactions; and that nothing of it touches life safety.

use desk::{
    NoiseError, Policies, Reason, Status, What,
    noise::{Label, Matchers, QuietHours},
};
use model::{Alert, AlertChange, AlertId, Purpose, RuleId, Scope, Severity, TicketKind, Timestamp, UserId};
use store::{AuditActor, NewSilence, SilenceError, Store, StoredSilence, TicketFilter, TicketState, WatchCursors};

use crate::{
    harness::{CLI, TestDb, World, cleared, desk_settings, device_id, raised, secs, start},
    on_both_engines,
};

on_both_engines!(
    a_silence_is_kept_with_its_author_and_holds_pages_back_until_it_ends,
    a_silence_that_is_ended_lets_the_page_go_and_is_on_record,
    a_silence_of_another_organisation_is_not_there,
    what_follows_from_a_power_cut_is_held_back_until_the_power_is_back,
    a_power_cut_of_500_lifts_is_one_ticket_and_one_page,
    a_condition_that_comes_and_goes_is_paged_a_few_times_and_then_held_open,
    nothing_that_is_stored_holds_back_life_safety,
);

fn matching(labels: &[(Label, &str)]) -> Matchers {
    Matchers(labels.iter().map(|(label, value)| (*label, vec![(*value).to_owned()])).collect())
}

fn new_silence(world: &World, matchers: Matchers, from: Timestamp, to: Timestamp) -> NewSilence {
    NewSilence {
        org: world.org,
        author: UserId(uuid::Uuid::from_u128(5)),
        author_name: "Dora".to_owned(),
        reason: "works on the doors".to_owned(),
        matchers,
        starts_at: from,
        ends_at: to,
    }
}

async fn silence(world: &World, matchers: Matchers, from: Timestamp, to: Timestamp) -> StoredSilence {
    world.store.create_silence(&new_silence(world, matchers, from, to), &CLI, from).await.unwrap()
}

async fn pages(world: &World, ticket: &desk::Ticket) -> usize {
    let messages = world.store.outbox_for_ticket(world.org, ticket.id).await.unwrap();
    messages.iter().filter(|m| m.message.content.purpose == Purpose::Page).count()
}

/// Gives every due ticket its tick, as the hub does.
async fn tick(store: &Store, now: Timestamp) {
    for (org, id) in store.due_tickets(now, 1000).await.unwrap() {
        store.apply(org, id, desk::Event::Tick, now).await.unwrap();
    }
}

async fn reasons(world: &World, ticket: &desk::Ticket) -> Vec<&'static str> {
    let lines = world.store.timeline(world.org, ticket.id).await.unwrap();
    let reason = |what: &What| match what {
        What::AlertRaised { decision, .. } => decision.as_ref().map(Reason::code),
        What::Decided { reason } => Some(reason.code()),
        _ => None,
    };
    lines.iter().filter_map(|(_, line)| reason(&line.what)).collect()
}

async fn a_silence_is_kept_with_its_author_and_holds_pages_back_until_it_ends(db: TestDb) {
    let world = World::new(&db).await;
    let everything = new_silence(&world, Matchers::default(), start(), start() + secs(60));
    let refused = db.store.create_silence(&everything, &CLI, start()).await.unwrap_err();
    assert!(matches!(refused, SilenceError::Refused(NoiseError::SilenceOfEverything)), "{refused}");
    let made = silence(&world, matching(&[(Label::Rule, "door*")]), start(), start() + secs(200)).await;
    let listed = db.store.silences(world.org, 10).await.unwrap();
    assert_eq!(listed, std::slice::from_ref(&made));
    assert_eq!(db.store.silence(world.org, made.silence.id).await.unwrap(), Some(made.clone()));
    assert_eq!((made.silence.author_name.as_str(), made.silence.reason.as_str()), ("Dora", "works on the doors"));

    let alert = world.alert("lift-1", "door_fault", TicketKind::Breakdown, start());
    let ticket = world.raise(&alert, start() + secs(1)).await;
    assert_eq!((pages(&world, &ticket).await, ticket.status), (0, Status::Open));
    let other = world.alert("lift-2", "drive_fault", TicketKind::Breakdown, start());
    let paged = world.raise(&other, start() + secs(2)).await;
    assert!(pages(&world, &paged).await > 0);
    tick(&db.store, start() + secs(199)).await;
    assert_eq!(pages(&world, &ticket).await, 0);
    tick(&db.store, start() + secs(200)).await;
    assert!(pages(&world, &ticket).await > 0);
    assert_eq!(reasons(&world, &ticket).await, ["silenced", "released"]);
}

async fn a_silence_that_is_ended_lets_the_page_go_and_is_on_record(db: TestDb) {
    let world = World::new(&db).await;
    let made = silence(&world, matching(&[(Label::Device, "lift-1")]), start(), start() + secs(7200)).await;
    let ticket = world.raise(&world.alert("lift-1", "door_fault", TicketKind::Breakdown, start()), start()).await;
    let now = start() + secs(60);
    let by = AuditActor::User { id: UserId(uuid::Uuid::from_u128(6)), name: "Dan".to_owned() };
    let ended = db.store.end_silence(world.org, made.silence.id, &by, "Dan", now).await.unwrap().unwrap();
    assert_eq!((ended.silence.ends_at, ended.ended_by.as_deref()), (now, Some("Dan")));
    assert!(pages(&world, &ticket).await > 0, "at once, not at the next look");
    assert_eq!(reasons(&world, &ticket).await, ["silenced", "released"]);
    let again = db.store.end_silence(world.org, made.silence.id, &by, "Eve", now + secs(5)).await.unwrap().unwrap();
    assert_eq!(again, ended, "it has ended already");
    let log = db.store.audit_log(world.org, 10, None).await.unwrap();
    let found: Vec<_> = log.iter().filter(|line| line.subject == made.silence.id.to_string()).collect();
    assert_eq!(found.iter().map(|line| line.action.as_str()).collect::<Vec<_>>(), ["silence.end", "silence.create"]);
    assert_eq!((&found[0].actor, &found[1].actor), (&by, &CLI));
    assert_eq!(found[1].detail["reason"], "works on the doors");
    // One that has not begun ends before it does anything.
    let later = silence(&world, matching(&[(Label::Device, "lift-2")]), now + secs(600), now + secs(900)).await;
    let ended = db.store.end_silence(world.org, later.silence.id, &by, "Dan", now).await.unwrap().unwrap();
    assert!(!ended.silence.is_active(now + secs(700)));
}

async fn a_silence_of_another_organisation_is_not_there(db: TestDb) {
    let world = World::new(&db).await;
    let other = World::named(&db.store, "Other", "other", "+8613800000009").await;
    let made = silence(&other, matching(&[(Label::Kind, "breakdown")]), start(), start() + secs(600)).await;
    assert_eq!(db.store.silence(world.org, made.silence.id).await.unwrap(), None);
    assert_eq!(db.store.end_silence(world.org, made.silence.id, &CLI, "x", start()).await.unwrap(), None);
    assert!(db.store.silences(world.org, 10).await.unwrap().is_empty());
    let ticket = world.raise(&world.alert("lift-1", "door_fault", TicketKind::Breakdown, start()), start()).await;
    assert!(pages(&world, &ticket).await > 0);
}

fn dark(world: &World, device: &str, at: Timestamp) -> Alert {
    Alert { scope: Scope::Site, ..world.alert(device, "mains_loss", TicketKind::Outage, at) }
}

async fn what_follows_from_a_power_cut_is_held_back_until_the_power_is_back(db: TestDb) {
    let world = World::new(&db).await;
    let cut = [dark(&world, "lift-1", start()), dark(&world, "lift-2", start())];
    let fault = world.alert("lift-1", "drive_fault", TicketKind::Breakdown, start() + secs(1));
    let silent = world.alert("lift-2", "controller_silent", TicketKind::Breakdown, start() + secs(1));
    world.commit(&[raised(&cut[0]), raised(&fault), raised(&cut[1])], start() + secs(2)).await;
    world.commit(&[raised(&silent)], start() + secs(3)).await;
    let tickets = world.open_tickets().await;
    let find = |kind, device: &str| {
        tickets.iter().find(|t| t.kind == kind && t.alerts[0].device.as_str() == device).unwrap().clone()
    };
    let (outage, fault_ticket) = (find(TicketKind::Outage, "lift-1"), find(TicketKind::Breakdown, "lift-1"));
    let silent_ticket = find(TicketKind::Breakdown, "lift-2");
    assert_eq!((pages(&world, &fault_ticket).await, pages(&world, &silent_ticket).await), (0, 0));
    let explained = db.store.explained_by(world.org, outage.id, 10).await.unwrap();
    let numbers: Vec<u64> = explained.iter().map(|view| view.ticket.number).collect();
    assert_eq!(numbers, [fault_ticket.number, silent_ticket.number], "the outage's page lists what it explains");

    // Power is back at the first lift only: its own fault still stands, and is paged.
    let back = start() + secs(600);
    world.commit(&[cleared(&cut[0], back)], back).await;
    assert!(pages(&world, &fault_ticket).await > 0);
    assert_eq!(reasons(&world, &fault_ticket).await, ["inhibited", "released"]);
    assert_eq!(pages(&world, &silent_ticket).await, 0);
    // The other comes back, and speaks: nobody was bothered for it.
    let changes = [cleared(&silent, back + secs(60)), cleared(&cut[1], back + secs(61))];
    world.commit(&changes, back + secs(62)).await;
    let ticket = world.ticket(silent_ticket.id).await;
    assert_eq!((ticket.status, pages(&world, &ticket).await), (Status::Closed, 0));
    let told = db.store.outbox_for_ticket(world.org, silent_ticket.id).await.unwrap();
    assert!(told.is_empty(), "nor were those who subscribed: {told:?}");
}

async fn a_power_cut_of_500_lifts_is_one_ticket_and_one_page(db: TestDb) {
    let world = World::new(&db).await;
    let alerts: Vec<Alert> = (1..=500).map(|n| dark(&world, &format!("tower-{n}"), start() + secs(n % 5))).collect();
    let trapped: Vec<Alert> = [7, 250, 499]
        .iter()
        .map(|n| world.alert(&format!("tower-{n}"), "entrapment", TicketKind::Entrapment, start() + secs(4)))
        .collect();
    let began = std::time::Instant::now();
    for (second, batch) in alerts.chunks(100).enumerate() {
        let changes: Vec<_> = batch.iter().map(raised).collect();
        world.commit(&changes, start() + secs(second as u64)).await;
    }
    world.commit(&trapped.iter().map(raised).collect::<Vec<_>>(), start() + secs(5)).await;
    let faults: Vec<Alert> = (1..=500)
        .map(|n| world.alert(&format!("tower-{n}"), "controller_silent", TicketKind::Breakdown, start() + secs(6)))
        .collect();
    for batch in faults.chunks(100) {
        world.commit(&batch.iter().map(raised).collect::<Vec<_>>(), start() + secs(7)).await;
    }
    tick(&db.store, start() + secs(11)).await;
    println!("{}: 1,003 alerts in {:?}", db.store.engine(), began.elapsed());
    let tickets = world.open_tickets().await;
    let of = |kind| tickets.iter().filter(|ticket| ticket.kind == kind).collect::<Vec<_>>();
    let (outages, entrapments) = (of(TicketKind::Outage), of(TicketKind::Entrapment));
    assert_eq!((outages.len(), entrapments.len()), (1, 3));
    assert_eq!(outages[0].devices_open(), 500);
    // Ann by text message and e-mail, once.
    assert_eq!(pages(&world, outages[0]).await, 2);
    for entrapment in entrapments {
        assert_eq!(pages(&world, entrapment).await, 3, "text message, call and e-mail, at once");
    }
    let explained = db.store.explained_by(world.org, outages[0].id, 1000).await.unwrap();
    assert_eq!(explained.len(), 500, "what follows from it stands under it");
    let sent: usize = {
        let mut all = 0;
        for ticket in of(TicketKind::Breakdown) {
            all += pages(&world, ticket).await;
        }
        all
    };
    assert_eq!(sent, 0);
}

async fn a_condition_that_comes_and_goes_is_paged_a_few_times_and_then_held_open(db: TestDb) {
    let world = World::new(&db).await;
    let mut owed = 0;
    for minute in 0..60 {
        let at = start() + secs(minute * 60);
        let alert = world.alert("lift-1", "door_fault", TicketKind::Breakdown, at);
        world.commit(&[raised(&alert)], at).await;
        world.commit(&[cleared(&alert, at + secs(30))], at + secs(30)).await;
        tick(&db.store, at + secs(45)).await;
    }
    let filter = TicketFilter { state: TicketState::All, limit: 100, ..TicketFilter::default() };
    let tickets = db.store.tickets(world.org, &filter).await.unwrap().tickets;
    for view in &tickets {
        let messages = db.store.outbox_for_ticket(world.org, view.ticket.id).await.unwrap();
        owed +=
            messages.iter().filter(|m| m.message.content.purpose == Purpose::Page && m.message.attempts == 0).count();
    }
    assert_eq!(tickets.len(), 3, "two that closed, then the one that is held open");
    let held = &tickets[0].ticket;
    assert!(held.hold_open.is_some() && held.status != Status::Closed);
    assert!(owed < 20, "{owed} pages for 60 alerts");
    let reasons = reasons(&world, held).await;
    assert_eq!(reasons.iter().filter(|reason| **reason == "flapping").count(), 57);
    let quiet = start() + secs(60 * 60 + 15 * 60);
    tick(&db.store, quiet).await;
    assert_eq!(world.ticket(held.id).await.status, Status::Closed);
    assert_eq!(db.store.alerts(world.org, &device_id("lift-1"), 100).await.unwrap().len(), 60, "every alert is kept");
}

/// A small generator: the seed is the test's, so that a failure can be run again.
struct Random(u64);

impl Random {
    fn below(&mut self, n: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % n
    }

    fn pick<'a, T>(&mut self, of: &'a [T]) -> &'a T {
        &of[self.below(of.len() as u64) as usize]
    }
}

/// Random silences, inhibitions, quiet hours, groups and flapping; whatever was going on before: the page is owed in the
/// transaction that raises the alert.
async fn nothing_that_is_stored_holds_back_life_safety(db: TestDb) {
    let world = World::new(&db).await;
    // The desk's settings hold everything back that can be held back.
    let mut policies = Policies::default();
    policies.breakdown.steps.clear();
    let everything = matching(&[(Label::Site, &world.site.id.to_string())]);
    policies.noise.quiet_hours = vec![QuietHours {
        name: "always".to_owned(),
        matchers: everything.clone(),
        time_zone: "UTC".to_owned(),
        days: desk::noise::Day::ALL.to_vec(),
        from: "00:00".to_owned(),
        to: "00:00".to_owned(),
    }];
    policies.noise.groups = vec![desk::noise::Group {
        name: "all".to_owned(),
        matchers: everything.clone(),
        by: Vec::new(),
        timing: desk::noise::Timing { group_wait: secs(600), ..desk::noise::Timing::default() },
    }];
    for inhibition in &mut policies.noise.inhibitions {
        inhibition.source.push(RuleId::new("trapped").unwrap());
        inhibition.target = everything.clone();
        inhibition.equal = vec![Label::Site];
    }
    policies.validate().unwrap();
    let settings = store::DeskSettings { policies, ..desk_settings() };
    let store = Store::attach(&db.config, settings).await.unwrap();
    let far = start() + secs(20 * 86_400);
    for seed in 1..=40u64 {
        let mut random = Random(seed * 0x9e37_79b9);
        let now = start() + secs(seed * 3600);
        let labels: Vec<(Label, String)> = vec![
            (Label::Rule, "*r*".to_owned()),
            (Label::Kind, "*n*".to_owned()),
            (Label::Severity, "m*".to_owned()),
            (Label::Site, world.site.id.to_string()),
            (Label::Device, "lift-*".to_owned()),
        ];
        let (label, value) = random.pick(&labels).clone();
        let new = new_silence(&world, matching(&[(label, &value)]), now, far);
        store.create_silence(&new, &CLI, now).await.unwrap();
        let commit = async |changes: &[AlertChange], now: Timestamp| {
            let cursors = WatchCursors { partition: 0, events: now.as_millis() as u64, telemetry: 0 };
            store.commit_watch(changes, &cursors, &[], now).await.unwrap();
        };
        let device = ["lift-1", "lift-2"][random.below(2) as usize];
        // Something else goes on there, and comes and goes.
        for before in 0..random.below(5) {
            let at = now + secs(before * 10);
            let rule = ["door_fault", "mains_loss"][random.below(2) as usize];
            let mut alert = world.alert(device, rule, TicketKind::Breakdown, at);
            alert.scope = *random.pick(&[Scope::Site, Scope::Device]);
            commit(&[raised(&alert)], at).await;
            if random.below(2) == 0 {
                commit(&[cleared(&alert, at + secs(5))], at + secs(5)).await;
            }
        }
        let at = now + secs(60);
        let kind = *random.pick(&TicketKind::ALL);
        let mut alert = world.alert(device, "trapped", kind, at);
        alert.life_safety = true;
        alert.scope = *random.pick(&[Scope::Site, Scope::Device]);
        alert.severity = *random.pick(&[Severity::Info, Severity::Critical]);
        alert.id = AlertId::derive(&alert.device, &alert.rule, alert.raised_at);
        commit(&[raised(&alert)], at).await;
        let (_, ticket) = store
            .alerts(world.org, &alert.device, 100)
            .await
            .unwrap()
            .into_iter()
            .find(|(a, _)| a.id == alert.id)
            .unwrap();
        let owed = store.outbox_for_ticket(world.org, ticket).await.unwrap();
        let pages: Vec<_> =
            owed.iter().filter(|m| m.message.content.purpose == Purpose::Page && m.message.created_at == at).collect();
        assert!(!pages.is_empty(), "seed {seed}: {kind} on {device} was not paged at once");
        assert!(pages.iter().all(|m| m.message.life_safety), "seed {seed}: a page could be throttled");
        let view = store.ticket(world.org, ticket).await.unwrap().unwrap().ticket;
        assert_eq!((view.held, view.device.as_ref()), (None, Some(&alert.device)), "seed {seed}");
        commit(&[cleared(&alert, at + secs(30))], at + secs(30)).await;
    }
    // And the same settings do hold other alerts back.
    let at = start() + secs(60 * 3600);
    let alert = world.alert("lift-1", "door_fault", TicketKind::Forecast, at);
    let cursors = WatchCursors { partition: 0, events: at.as_millis() as u64, telemetry: 0 };
    store.commit_watch(&[raised(&alert)], &cursors, &[], at).await.unwrap();
    let (_, ticket) = store.alerts(world.org, &alert.device, 1).await.unwrap().remove(0);
    assert!(store.outbox_for_ticket(world.org, ticket).await.unwrap().is_empty());
    store.close().await;
}
