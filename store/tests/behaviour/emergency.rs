//! What was done while the database was away becomes the ticket that it would have been, once.

use desk::{Action, Actor, Status};
use model::{DeliveryState, MessageChannel, MilestoneKind, Outcome, Purpose, TicketKind};
use store::{EmergencyNote, EmergencyStep};

use crate::{
    harness::{TestDb, World, raised, secs, start},
    on_both_engines,
};

on_both_engines!(what_was_done_is_told_at_its_time_and_once, what_was_not_sent_is_still_owed);

fn notes(world: &World, alert: &model::Alert) -> Vec<EmergencyNote> {
    let note = |after: u64, what| EmergencyNote { alert: alert.id, at: start() + secs(after), what };
    let ann = Actor::Person { person: world.ann.id, name: world.ann.name.clone(), channel: MessageChannel::Sms };
    let sent = EmergencyStep::Sent {
        person: world.ann.id,
        channel: MessageChannel::Sms,
        purpose: Purpose::Page,
        provider_id: "SM-meanwhile".to_owned(),
    };
    vec![
        note(1, EmergencyStep::Raised { body: Box::new(alert.clone()) }),
        note(2, sent),
        note(30, EmergencyStep::Acted { actor: ann, action: Action::Acknowledge }),
    ]
}

async fn what_was_done_is_told_at_its_time_and_once(db: TestDb) {
    let world = World::new(&db).await;
    let alert = world.alert("lift-1", "entrapment", TicketKind::Entrapment, start());
    let back = start() + secs(600);
    for _ in 0..2 {
        db.store.complete_emergency(&notes(&world, &alert), back).await.unwrap();
        let report = world.commit(&[raised(&alert)], back).await;
        assert_eq!((report.opened, report.known), (0, 1), "the ticket is there already");
    }
    let mut tickets = world.open_tickets().await;
    let ticket = tickets.remove(0);
    assert!(tickets.is_empty());
    assert_eq!((ticket.status, ticket.assignee), (Status::Acknowledged, Some(world.ann.id)));
    let at = |kind| ticket.milestone(kind).unwrap().at;
    assert_eq!(at(MilestoneKind::Detected), start() + secs(1));
    assert_eq!(at(MilestoneKind::Acknowledged), start() + secs(30));

    let messages = db.store.outbox_for_ticket(world.org, ticket.id).await.unwrap();
    let pages: Vec<_> = messages.iter().filter(|stored| stored.message.content.purpose == Purpose::Page).collect();
    let sms = pages.iter().find(|stored| stored.message.receiver.channel == MessageChannel::Sms).unwrap();
    assert_eq!(sms.provider_id.as_deref(), Some("SM-meanwhile"));
    let attempts = db.store.attempts(world.org, sms.message.id).await.unwrap();
    let outcomes: Vec<_> = attempts.iter().map(|attempt| (attempt.at, attempt.outcome.clone())).collect();
    assert_eq!(outcomes, [(start() + secs(2), Outcome::Sent { provider_id: "SM-meanwhile".to_owned() })]);
    // The other pages were never sent, and after the answer nobody needs them.
    let others: Vec<_> = pages.iter().filter(|stored| stored.message.id != sms.message.id).collect();
    assert!(others.iter().all(|stored| stored.state == DeliveryState::Cancelled), "{others:#?}");
}

async fn what_was_not_sent_is_still_owed(db: TestDb) {
    let world = World::new(&db).await;
    let alert = world.alert("lift-1", "entrapment", TicketKind::Entrapment, start());
    let mut told = notes(&world, &alert);
    told.truncate(1);
    db.store.complete_emergency(&told, start() + secs(60)).await.unwrap();
    let due = db.store.claim_outbox(store::Via::Any, start() + secs(60), secs(30), 9).await.unwrap();
    let pages = due.iter().filter(|claim| claim.message.content.purpose == Purpose::Page).count();
    assert_eq!(pages, 3, "by SMS, call and e-mail");
}
