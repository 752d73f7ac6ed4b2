//! The watch: alerts become tickets and messages once, however often they are committed.

use desk::{Status, What};
use model::{Alert, AlertChange, MessageChannel, MilestoneKind, Purpose, Scope, Severity, TicketKind};
use store::{Change, CommitReport, Snapshot, StoredSnapshot, WatchCursors};

use crate::{
    harness::{PUBLIC_URL, TestDb, World, cleared, device_id, raised, secs, start},
    on_both_engines,
};

on_both_engines!(
    an_alert_opens_a_ticket_and_calls_people,
    a_replay_changes_nothing,
    alerts_of_a_group_share_a_ticket_while_it_is_open,
    one_batch_can_open_and_close_many_times,
    an_end_without_a_beginning_is_only_counted,
    a_severity_that_changes_is_told_once,
    the_place_in_the_journal_is_kept_with_what_was_found,
    a_failed_commit_leaves_nothing_behind,
    an_alert_of_nobody_does_not_stop_the_others,
    two_partitions_can_meet_on_one_ticket,
    many_tickets_are_quick,
);

async fn an_alert_opens_a_ticket_and_calls_people(db: TestDb) {
    let world = World::new(&db).await;
    let mut changes = db.store.changes();
    let alert = world.alert("lift-1", "entrapment", TicketKind::Entrapment, start());
    let report = world.commit(&[raised(&alert)], start()).await;
    assert_eq!((report.raised, report.opened), (1, 1));
    let ticket = world.open_tickets().await.remove(0);
    assert_eq!((ticket.number, ticket.org, ticket.status), (1, world.org, Status::Open));
    assert!(ticket.milestone(MilestoneKind::Detected).is_some());

    let messages = db.store.outbox_for_ticket(world.org, ticket.id).await.unwrap();
    assert_eq!(messages.len() as u32, report.messages);
    let pages: Vec<_> = messages.iter().filter(|m| m.message.content.purpose == Purpose::Page).collect();
    let ways: Vec<_> = pages.iter().map(|m| m.message.receiver.channel).collect();
    assert_eq!(ways, [MessageChannel::Sms, MessageChannel::Voice, MessageChannel::Email]);
    for page in &pages {
        let content = &page.message.content;
        assert_eq!(page.message.person, Some(world.ann.id));
        assert_eq!(
            (content.ticket_number, content.device_name.as_str(), content.plate.as_deref()),
            (1, "Lift 1", Some("lift0001"))
        );
        assert_eq!((content.site_name.as_str(), content.site_address.as_str()), ("North tower", "1 Harbour Road"));
        assert_eq!((content.title.zh.as_str(), content.reason.en.as_str()), ("门受阻", "Three re-openings"));
        assert_eq!(content.link.as_deref(), Some(format!("{PUBLIC_URL}/tickets/{}", ticket.id).as_str()));
        assert_eq!(content.reply_code, Some(1));
    }
    let notice = messages.iter().find(|m| m.message.content.purpose == Purpose::Notice).unwrap();
    assert_eq!(notice.message.person, Some(world.manager.id));

    let timeline = db.store.timeline(world.org, ticket.id).await.unwrap();
    assert_eq!(timeline[0].1.what, What::Opened);
    assert_eq!(
        timeline.iter().map(|(seq, _)| *seq).collect::<Vec<_>>(),
        (1..=timeline.len() as u64).collect::<Vec<_>>()
    );
    assert_eq!(db.store.ticket_alerts(world.org, ticket.id).await.unwrap(), std::slice::from_ref(&alert));
    assert_eq!(db.store.alerts(world.org, &alert.device, 9).await.unwrap(), [(alert.clone(), ticket.id)]);
    assert_eq!(db.store.device(world.org, &alert.device).await.unwrap().unwrap().open_tickets, 1);
    assert_eq!(changes.try_recv().unwrap(), Change::Outbox);
    assert_eq!(changes.try_recv().unwrap(), Change::Ticket { org: world.org, ticket: ticket.id });
    assert!(changes.try_recv().is_err());
}

async fn a_replay_changes_nothing(db: TestDb) {
    let world = World::new(&db).await;
    let alert = world.alert("lift-1", "door", TicketKind::Breakdown, start());
    let end = start() + secs(60);
    let changes = [raised(&alert), cleared(&alert, end)];
    world.commit(&changes[..1], start()).await;
    let first = world.commit(&changes, end).await;
    assert_eq!((first.raised, first.cleared, first.known), (0, 1, 1));
    let all = async || {
        let filter =
            store::TicketFilter { state: store::TicketState::All, limit: 99, ..store::TicketFilter::default() };
        let page = db.store.tickets(world.org, &filter).await.unwrap();
        let id = page.tickets[0].ticket.id;
        let timeline = db.store.timeline(world.org, id).await.unwrap();
        (page, timeline, db.store.outbox_for_ticket(world.org, id).await.unwrap())
    };
    let before = all().await;
    assert_eq!(before.0.tickets.len(), 1);
    assert_eq!(before.0.tickets[0].ticket.status, Status::Closed);
    let again = world.commit(&changes, end + secs(60)).await;
    assert_eq!(again, CommitReport { known: 2, ..CommitReport::default() });
    assert_eq!(all().await, before);
}

async fn alerts_of_a_group_share_a_ticket_while_it_is_open(db: TestDb) {
    let world = World::new(&db).await;
    let site_wide = |device: &str, at| {
        let mut alert = world.alert(device, "mains", TicketKind::Outage, at);
        alert.scope = Scope::Site;
        alert
    };
    let (one, two) = (site_wide("lift-1", start()), site_wide("lift-2", start() + secs(1)));
    let report = world.commit(&[raised(&one), raised(&two)], start() + secs(2)).await;
    assert_eq!((report.raised, report.opened), (2, 1));
    let ticket = world.open_tickets().await.remove(0);
    assert_eq!((ticket.device.clone(), ticket.alerts.len()), (None, 2));
    world.commit(&[cleared(&one, start() + secs(9))], start() + secs(9)).await;
    assert_eq!(world.ticket(ticket.id).await.open_alerts().count(), 1);
    world.commit(&[cleared(&two, start() + secs(10))], start() + secs(10)).await;
    assert_eq!(world.ticket(ticket.id).await.status, Status::Closed);
    // The next one of the group opens another.
    let later = site_wide("lift-1", start() + secs(99));
    assert_eq!(world.commit(&[raised(&later)], start() + secs(99)).await.opened, 1);
    assert_eq!(world.open_tickets().await[0].number, 2);
}

async fn one_batch_can_open_and_close_many_times(db: TestDb) {
    let world = World::new(&db).await;
    let mut changes = Vec::new();
    for round in 0..5 {
        // Once an hour: closer together it would be held open as flapping.
        let alert = world.alert("lift-1", "door", TicketKind::Breakdown, start() + secs(round * 3600));
        changes.extend([raised(&alert), cleared(&alert, start() + secs(round * 3600 + 5))]);
    }
    let report = world.commit(&changes, start() + secs(100)).await;
    assert_eq!((report.raised, report.cleared, report.opened), (5, 5, 5));
    assert!(world.open_tickets().await.is_empty());
}

async fn an_end_without_a_beginning_is_only_counted(db: TestDb) {
    let world = World::new(&db).await;
    let alert = world.alert("lift-1", "door", TicketKind::Breakdown, start());
    let report = world.commit(&[cleared(&alert, start())], start()).await;
    assert_eq!(report, CommitReport { unknown_clears: 1, ..CommitReport::default() });
    assert!(db.store.alerts(world.org, &alert.device, 9).await.unwrap().is_empty());
}

async fn the_place_in_the_journal_is_kept_with_what_was_found(db: TestDb) {
    assert_eq!(db.store.load_watch(3).await.unwrap().cursors, WatchCursors { partition: 3, ..WatchCursors::default() });
    let at = |events, telemetry| WatchCursors { partition: 3, events, telemetry };
    let snapshot = Snapshot { name: "rules".to_owned(), data: vec![0, 1, 255] };
    db.store.commit_watch(&[], &at(5, 70), std::slice::from_ref(&snapshot), start()).await.unwrap();
    db.store.commit_watch(&[], &at(9, 90), &[], start()).await.unwrap();
    let state = db.store.load_watch(3).await.unwrap();
    assert_eq!(state.cursors, at(9, 90));
    let stored = StoredSnapshot { name: "rules".to_owned(), at: at(5, 70), data: snapshot.data };
    assert_eq!(state.snapshots, [stored], "it is replayed from where it was taken");
    db.store.commit_watch(&[], &at(4, 95), &[], start()).await.unwrap();
    assert_eq!(db.store.load_watch(3).await.unwrap().cursors, at(9, 95), "a place is never given up");
    assert_eq!(db.store.load_watch(0).await.unwrap().snapshots, []);
}

async fn a_failed_commit_leaves_nothing_behind(db: TestDb) {
    let world = World::new(&db).await;
    let alert = world.alert("lift-1", "door", TicketKind::Breakdown, start());
    let at = WatchCursors { partition: 0, events: 1, telemetry: 1 };
    {
        // Given up in the middle, as by a shutdown: the future is dropped after its first steps.
        let changes = [raised(&alert)];
        let commit = db.store.commit_watch(&changes, &at, &[], start());
        let mut commit = std::pin::pin!(commit);
        for _ in 0..3 {
            tokio::select! {
                biased;
                _ = &mut commit => {}
                () = tokio::task::yield_now() => {}
            }
        }
    }
    let state = db.store.load_watch(0).await.unwrap();
    let tickets = world.open_tickets().await.len();
    assert_eq!((state.cursors.events, tickets), if tickets == 1 { (1, 1) } else { (0, 0) }, "both or neither");
    db.store.commit_watch(&[raised(&alert)], &at, &[], start()).await.unwrap();
    assert_eq!(world.open_tickets().await.len(), 1);
}

async fn an_alert_of_nobody_does_not_stop_the_others(db: TestDb) {
    let world = World::new(&db).await;
    let good = world.alert("lift-1", "door", TicketKind::Breakdown, start());
    let mut orphan = world.alert("lift-2", "door", TicketKind::Breakdown, start());
    orphan.org = model::OrgId(uuid::Uuid::nil());
    // A device that was removed meanwhile, and a text that PostgreSQL cannot hold.
    let mut gone = world.alert("gone-1", "door", TicketKind::Breakdown, start());
    gone.title.en = "a\0b".to_owned();
    gone.evidence.summary.en = "c\0d".to_owned();
    let report = world.commit(&[raised(&orphan), raised(&gone), raised(&good)], start()).await;
    assert_eq!((report.unroutable, report.raised, report.opened), (1, 2, 2));
    let view = db.store.ticket_by_number(world.org, 1).await.unwrap().unwrap();
    assert_eq!((view.device, view.site.as_ref()), (None, Some(&world.site)));
    let message = &db.store.outbox_for_ticket(world.org, view.ticket.id).await.unwrap()[0].message;
    assert_eq!(message.content.device_name, "gone-1");
}

async fn two_partitions_can_meet_on_one_ticket(db: TestDb) {
    let world = World::new(&db).await;
    for round in 0..8u64 {
        let at = start() + secs(1000 * round);
        let changes = |device: &str| -> Vec<AlertChange> {
            let mut changes: Vec<AlertChange> = (0..4)
                .map(|i| {
                    let mut alert = world.alert(device, &format!("mains_{i}"), TicketKind::Outage, at);
                    alert.scope = Scope::Site;
                    raised(&alert)
                })
                .collect();
            if device == "lift-2" {
                changes.reverse();
            }
            changes
        };
        let (one, two) = (changes("lift-1"), changes("lift-2"));
        let (a, b) = (
            WatchCursors { partition: 1, events: round + 1, telemetry: 0 },
            WatchCursors { partition: 2, events: round + 1, telemetry: 0 },
        );
        let (a, b) = tokio::join!(db.store.commit_watch(&one, &a, &[], at), db.store.commit_watch(&two, &b, &[], at));
        let (a, b) = (a.unwrap(), b.unwrap());
        assert_eq!(a.raised + b.raised, 8);
        assert_eq!(world.open_tickets().await.len(), 4);
        assert_eq!(a.opened + b.opened, if round == 0 { 4 } else { 0 });
    }
    assert_eq!(db.store.device(world.org, &device_id("lift-1")).await.unwrap().unwrap().open_tickets, 0);
}

/// Not a benchmark: a fence against work that grows with the number of tickets.
async fn many_tickets_are_quick(db: TestDb) {
    let world = World::new(&db).await;
    let mut alerts = Vec::new();
    for number in 0..1500u64 {
        alerts.push(world.alert(&format!("unit-{number}"), "door", TicketKind::Breakdown, start() + secs(number)));
    }
    let began = std::time::Instant::now();
    for batch in alerts.chunks(250) {
        let changes: Vec<_> = batch.iter().map(raised).collect();
        world.commit(&changes, start() + secs(2000)).await;
    }
    for batch in alerts.chunks(250) {
        let changes: Vec<_> = batch.iter().map(|alert| cleared(alert, start() + secs(3000))).collect();
        world.commit(&changes, start() + secs(3000)).await;
    }
    let elapsed = began.elapsed();
    println!("{}: {:.0} tickets/s opened and closed", db.store.engine(), 1500.0 / elapsed.as_secs_f64());
    assert!(world.open_tickets().await.is_empty());
    assert!(elapsed < secs(120), "{elapsed:?}");
}

async fn a_severity_that_changes_is_told_once(db: TestDb) {
    let world = World::new(&db).await;
    let alert = world.alert("lift-1", "door_fault", TicketKind::Breakdown, start());
    let at = |minutes: u64, severity: Severity| {
        let mut changed = Alert { severity, ..alert.clone() };
        changed.evidence.severity_since = Some(start() + secs(60 * minutes));
        AlertChange::Changed(Box::new(changed))
    };
    let (worse, worst) = (at(10, Severity::Major), at(20, Severity::Critical));
    let first = Alert { severity: Severity::Minor, ..alert.clone() };
    world.commit(&[raised(&first), worse.clone()], start() + secs(600)).await;
    world.commit(std::slice::from_ref(&worst), start() + secs(1200)).await;
    let ticket = world.open_tickets().await.remove(0);
    assert_eq!(ticket.severity, Severity::Critical);
    let stored = || async { db.store.alerts(world.org, &alert.device, 9).await.unwrap().remove(0).0 };
    assert_eq!(&stored().await, worst.alert());
    let lines = || async { db.store.timeline(world.org, ticket.id).await.unwrap().len() };
    let before = lines().await;
    // After a crash the same comes again, from its beginning.
    let report = world.commit(&[raised(&first), worse, worst.clone()], start() + secs(1300)).await;
    assert_eq!((report.known, report.messages), (3, 0));
    assert_eq!(lines().await, before);
    assert_eq!(&stored().await, worst.alert());
    world.commit(&[cleared(&first, start() + secs(1400)), at(30, Severity::Minor)], start() + secs(1400)).await;
    assert!(stored().await.cleared_at.is_some());
}
