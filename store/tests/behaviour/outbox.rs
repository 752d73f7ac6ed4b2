//! Messages: claimed once, tried until an end is known, never moved back.

use std::collections::HashSet;

use desk::Event;
use model::{DeliveryState, Language, Localised, MessageChannel, MilestoneKind, Outcome, Purpose, TicketKind};
use store::{Claim, NewAnswer, ReplyCode};

use crate::{
    harness::{TestDb, World, cleared, receiver, secs, start},
    on_both_engines,
};

on_both_engines!(
    the_urgent_comes_first_and_nobody_gets_it_twice,
    many_claimers_share_without_overlap,
    a_lost_claim_comes_back_to_be_looked_up,
    attempts_are_kept_and_the_last_error_shown,
    what_cannot_be_sent_becomes_a_dead_letter,
    reports_only_move_forward_and_earn_the_milestone,
    a_report_may_come_before_its_attempt,
    a_report_may_cross_its_attempt,
    reply_codes_are_small_and_free_themselves,
    an_answer_is_owed_once,
);

fn sent(id: &str) -> Outcome {
    Outcome::Sent { provider_id: id.to_owned() }
}

fn retry(reason: &str) -> Outcome {
    Outcome::Retry { after: None, reason: reason.to_owned() }
}

async fn entrapment(world: &World) -> desk::Ticket {
    world.raise(&world.alert("lift-1", "entrapment", TicketKind::Entrapment, start()), start()).await
}

async fn claim_one(db: &TestDb, at: u64) -> Claim {
    let mut claims = db.store.claim_outbox(store::Via::Any, start() + secs(at), secs(30), 1).await.unwrap();
    assert_eq!(claims.len(), 1);
    claims.remove(0)
}

async fn the_urgent_comes_first_and_nobody_gets_it_twice(db: TestDb) {
    let world = World::new(&db).await;
    world.raise(&world.alert("lift-2", "door", TicketKind::Breakdown, start()), start()).await;
    entrapment(&world).await;
    assert_eq!(db.store.next_outbox_due().await.unwrap(), Some(start()));
    let claims = db.store.claim_outbox(store::Via::Any, start(), secs(30), 99).await.unwrap();
    let order: Vec<_> = claims.iter().map(|c| (c.message.life_safety, c.message.content.purpose)).collect();
    let firsts = order.iter().position(|kind| *kind != (true, Purpose::Page)).unwrap();
    assert_eq!(firsts, 3, "{order:?}");
    let news = order.iter().position(|kind| kind.1 != Purpose::Page).unwrap();
    assert!(order[news..].iter().all(|kind| kind.1 != Purpose::Page), "{order:?}");
    assert!(claims.iter().all(|claim| claim.number == 1 && !claim.look_up && claim.message.attempts == 0));
    assert!(db.store.claim_outbox(store::Via::Any, start() + secs(29), secs(30), 99).await.unwrap().is_empty());
    assert_eq!(db.store.next_outbox_due().await.unwrap(), Some(start() + secs(30)));
}

async fn many_claimers_share_without_overlap(db: TestDb) {
    let world = World::new(&db).await;
    for number in 0..20u64 {
        let alert = world.alert(&format!("unit-{number}"), "door", TicketKind::Breakdown, start());
        world.raise(&alert, start()).await;
    }
    let mut seen = HashSet::new();
    loop {
        let claimers = (0..6).map(|_| db.store.claim_outbox(store::Via::Any, start(), secs(30), 5));
        let rounds = futures::future::join_all(claimers).await;
        let claimed: Vec<Claim> = rounds.into_iter().flat_map(Result::unwrap).collect();
        if claimed.is_empty() && db.store.claim_outbox(store::Via::Any, start(), secs(30), 5).await.unwrap().is_empty()
        {
            break;
        }
        for claim in claimed {
            assert!(seen.insert(claim.message.id), "claimed twice");
        }
    }
    assert!(seen.len() >= 40, "{}", seen.len());
}

async fn a_lost_claim_comes_back_to_be_looked_up(db: TestDb) {
    let world = World::new(&db).await;
    entrapment(&world).await;
    let first = claim_one(&db, 0).await;
    let again = db.store.claim_outbox(store::Via::Any, start() + secs(30), secs(30), 99).await.unwrap();
    let again = again.into_iter().find(|claim| claim.message.id == first.message.id).unwrap();
    assert_eq!((again.number, again.look_up), (2, true));
    // It was not taken after all: try later. From then on there is nothing to look up.
    db.store.record_attempt(&again, &retry("503"), Some(start() + secs(70)), start() + secs(31)).await.unwrap();
    // The first claimer wakes up and says that it failed: the second one's word stands.
    db.store.record_attempt(&first, &retry("late"), Some(start() + secs(500)), start() + secs(32)).await.unwrap();
    let third = db.store.claim_outbox(store::Via::Any, start() + secs(70), secs(30), 99).await.unwrap();
    let third = third.into_iter().find(|claim| claim.message.id == first.message.id).unwrap();
    assert_eq!((third.number, third.look_up, third.message.attempts), (3, false, 1));
    // Nobody knows: it comes back to be looked up.
    let unknown = Outcome::Unknown { reason: "time-out".to_owned() };
    db.store.record_attempt(&third, &unknown, Some(start() + secs(80)), start() + secs(75)).await.unwrap();
    let fourth = db.store.claim_outbox(store::Via::Any, start() + secs(80), secs(30), 99).await.unwrap();
    let fourth = fourth.into_iter().find(|claim| claim.message.id == first.message.id).unwrap();
    assert!(fourth.look_up);
    // The first one had sent it: that is a fact, whoever claimed it since.
    let found = Claim { number: 9, ..first };
    db.store.record_attempt(&found, &sent("SM9"), None, start() + secs(81)).await.unwrap();
    let stored = db.store.message(fourth.message.id).await.unwrap().unwrap();
    assert_eq!((stored.state, stored.provider_id.as_deref()), (DeliveryState::Sent, Some("SM9")));
    db.store.record_attempt(&fourth, &retry("late"), Some(start() + secs(99)), start() + secs(82)).await.unwrap();
    assert_eq!(db.store.message(fourth.message.id).await.unwrap().unwrap().state, DeliveryState::Sent);
}

async fn attempts_are_kept_and_the_last_error_shown(db: TestDb) {
    let world = World::new(&db).await;
    let ticket = entrapment(&world).await;
    let claim = claim_one(&db, 0).await;
    db.store.record_attempt(&claim, &retry("bad gateway"), Some(start() + secs(5)), start()).await.unwrap();
    // The same claim recorded again, after a commit whose answer was lost.
    db.store.record_attempt(&claim, &retry("bad gateway"), Some(start() + secs(5)), start()).await.unwrap();
    let stored = db.store.message(claim.message.id).await.unwrap().unwrap();
    assert_eq!(
        (stored.state, stored.message.attempts, stored.last_error.as_deref()),
        (DeliveryState::Pending, 1, Some("bad gateway"))
    );
    let mut claims = db.store.claim_outbox(store::Via::Any, start() + secs(5), secs(30), 99).await.unwrap();
    claims.retain(|c| c.message.id == claim.message.id);
    db.store.record_attempt(&claims[0], &sent("SM1"), None, start() + secs(6)).await.unwrap();
    let attempts = db.store.attempts(world.org, claim.message.id).await.unwrap();
    assert_eq!(
        attempts.iter().map(|a| (a.number, a.outcome.clone())).collect::<Vec<_>>(),
        [(1, retry("bad gateway")), (2, sent("SM1"))]
    );
    let stored = db.store.message_by_provider_id("SM1").await.unwrap().unwrap();
    assert_eq!((stored.message.ticket, stored.message.attempts, stored.last_error), (Some(ticket.id), 2, None));
    let unsettled = async |since, until| {
        db.store.unsettled_messages(start() + secs(since), start() + secs(until), 9).await.unwrap().len()
    };
    assert_eq!(unsettled(6, 7).await, 1);
    assert_eq!(unsettled(0, 6).await, 0, "it was taken later");
    assert_eq!(unsettled(7, 99).await, 0, "it was taken earlier");
}

async fn what_cannot_be_sent_becomes_a_dead_letter(db: TestDb) {
    let world = World::new(&db).await;
    let ticket = entrapment(&world).await;
    let claims = db.store.claim_outbox(store::Via::Any, start(), secs(30), 3).await.unwrap();
    let dead = Outcome::Dead { reason: "no such number".to_owned() };
    db.store.record_attempt(&claims[0], &dead, None, start()).await.unwrap();
    db.store.record_attempt(&claims[1], &retry("busy"), None, start()).await.unwrap();
    // Past its own end, a retry makes no sense.
    let end = claims[2].message.expires_at;
    db.store.record_attempt(&claims[2], &retry("busy"), Some(end), start()).await.unwrap();
    let letters = db.store.dead_letters(world.org, 9).await.unwrap();
    assert_eq!(letters.len(), 3);
    assert!(letters.iter().any(|letter| letter.last_error.as_deref() == Some("no such number")));
    // The rest expires by itself.
    let late = start() + secs(30 * 86_400);
    assert!(
        db.store.claim_outbox(store::Via::Any, late, secs(30), 99).await.unwrap().is_empty(),
        "nothing is sent after its end"
    );
    assert!(db.store.expire_outbox(late).await.unwrap() > 0);
    assert_eq!(db.store.expire_outbox(late).await.unwrap(), 0);
    let messages = db.store.outbox_for_ticket(world.org, ticket.id).await.unwrap();
    assert!(messages.iter().all(|message| message.state == DeliveryState::Dead));
    assert_eq!(db.store.next_outbox_due().await.unwrap(), None);
}

async fn reports_only_move_forward_and_earn_the_milestone(db: TestDb) {
    let world = World::new(&db).await;
    let ticket = entrapment(&world).await;
    let claim = claim_one(&db, 0).await;
    db.store.record_attempt(&claim, &sent("SM1"), None, start()).await.unwrap();
    assert!(ticket.milestone(MilestoneKind::Contacted).is_none());
    let report = async |state| db.store.delivery_report("SM1", state, None, start() + secs(3)).await.unwrap();
    let state = async || db.store.message(claim.message.id).await.unwrap().unwrap().state;
    assert!(report(DeliveryState::Sent).await);
    assert!(world.ticket(ticket.id).await.milestone(MilestoneKind::Contacted).is_none(), "sent is not delivered");
    assert!(report(DeliveryState::Delivered).await);
    assert_eq!(state().await, DeliveryState::Delivered);
    let contacted = world.ticket(ticket.id).await;
    assert_eq!(contacted.milestone(MilestoneKind::Contacted).unwrap().at, start() + secs(3));
    for late in [DeliveryState::Sent, DeliveryState::Dead, DeliveryState::Delivered] {
        assert!(report(late).await);
        assert_eq!(state().await, DeliveryState::Delivered);
    }
    assert_eq!(world.ticket(ticket.id).await, contacted, "told once");
    assert!(report(DeliveryState::Answered).await);
    assert_eq!(state().await, DeliveryState::Answered);
    assert!(!db.store.delivery_report("SM404", DeliveryState::Delivered, None, start()).await.unwrap());
}

async fn a_report_may_come_before_its_attempt(db: TestDb) {
    let world = World::new(&db).await;
    let ticket = entrapment(&world).await;
    let claim = claim_one(&db, 0).await;
    assert!(!db.store.delivery_report("SM1", DeliveryState::Delivered, Some("early"), start()).await.unwrap());
    db.store.record_attempt(&claim, &sent("SM1"), None, start() + secs(1)).await.unwrap();
    let stored = db.store.message(claim.message.id).await.unwrap().unwrap();
    assert_eq!(stored.state, DeliveryState::Delivered);
    assert!(world.ticket(ticket.id).await.milestone(MilestoneKind::Contacted).is_some());
    // Unclaimed reports do not stay for ever.
    assert!(!db.store.delivery_report("SM2", DeliveryState::Delivered, None, start()).await.unwrap());
    assert_eq!(db.store.prune(&store::Retention::default(), start() + secs(8 * 86_400)).await.unwrap(), 1);
}

/// The provider is quick: its report arrives while the attempt is being recorded. Neither may miss the other.
async fn a_report_may_cross_its_attempt(db: TestDb) {
    let world = World::new(&db).await;
    for n in 0..40 {
        world.raise(&world.alert(&format!("unit-{n}"), "door", TicketKind::Breakdown, start()), start()).await;
    }
    let claims = db.store.claim_outbox(store::Via::Any, start(), secs(30), 200).await.unwrap();
    assert!(claims.len() >= 3, "{}", claims.len());
    for claim in &claims {
        let id = claim.message.id.to_string();
        let outcome = sent(&id);
        let (recorded, reported) = tokio::join!(
            db.store.record_attempt(claim, &outcome, None, start()),
            db.store.delivery_report(&id, DeliveryState::Delivered, None, start())
        );
        recorded.unwrap();
        reported.unwrap();
    }
    for claim in &claims {
        let stored = db.store.message(claim.message.id).await.unwrap().unwrap();
        assert_eq!(stored.state, DeliveryState::Delivered);
    }
}

async fn reply_codes_are_small_and_free_themselves(db: TestDb) {
    let world = World::new(&db).await;
    let alert = |device: &str, at: u64| world.alert(device, "door", TicketKind::Breakdown, start() + secs(at));
    let (first, second) = (alert("lift-1", 0), alert("lift-2", 1));
    let one = world.raise(&first, start()).await;
    let two = world.raise(&second, start() + secs(1)).await;
    let number = "+8613800000000";
    let find = async |code| db.store.ticket_by_reply_code(number, code).await.unwrap().map(|to| to.ticket);
    assert_eq!(find(ReplyCode::Code(1)).await, Some(one.id));
    assert_eq!(find(ReplyCode::Code(2)).await, Some(two.id));
    assert_eq!(find(ReplyCode::Code(3)).await, None);
    let whose = db.store.ticket_by_reply_code(number, ReplyCode::Code(1)).await.unwrap().unwrap().person;
    assert_eq!(whose, Some(world.ann.id), "whoever was written to, not whoever was registered first");
    assert_eq!(find(ReplyCode::Latest).await, Some(two.id));
    // Paged again for the first one: that is the latest now, and its number stays.
    let due = one.next_due().unwrap();
    db.store.apply(world.org, one.id, Event::Tick, due).await.unwrap();
    assert_eq!(find(ReplyCode::Latest).await, Some(one.id));
    assert_eq!(find(ReplyCode::Code(1)).await, Some(one.id));
    world.commit(&[cleared(&first, due)], due).await;
    // Closed: a late reply still means it, until another ticket needs the number.
    assert_eq!(find(ReplyCode::Code(1)).await, Some(one.id));
    assert_eq!(find(ReplyCode::Latest).await, Some(two.id));
    let three = world.raise(&alert("lift-1", 2000), due + secs(1)).await;
    assert_eq!(find(ReplyCode::Code(1)).await, Some(three.id));
    assert_eq!(db.store.ticket_by_reply_code("stranger", ReplyCode::Latest).await.unwrap(), None);
}

async fn an_answer_is_owed_once(db: TestDb) {
    let world = World::new(&db).await;
    let ticket = entrapment(&world).await;
    for about in [Some(ticket.id), None] {
        let new = NewAnswer {
            org: world.org,
            ticket: about,
            person: Some(world.ann.id),
            receiver: receiver(MessageChannel::Sms, "+8613800000000"),
            language: Language::En,
            text: Localised::new("Thank you", "谢谢"),
            dedup_key: "SMin1".to_owned(),
        };
        let id = db.store.owe_answer(&new, start()).await.unwrap();
        assert_eq!(db.store.owe_answer(&new, start() + secs(1)).await.unwrap(), id);
        let stored = db.store.message(id).await.unwrap().unwrap().message;
        assert_eq!((stored.ticket, stored.content.purpose), (about, Purpose::Answer));
        assert_eq!(stored.content.text, Some(new.text));
    }
}
