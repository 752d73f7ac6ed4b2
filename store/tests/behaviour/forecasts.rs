//! Failure models and their forecasts, and the history that they learn from.

use std::time::Duration;

use model::{AlertChange, ChannelId, Event, ProfileId, RuleId, TicketKind, Timestamp, profile::Failures};
use serde_json::json;
use store::{
    ChannelDay, FailureForecast, ForecastMethod, ForecastOutcome, IncidentKind, ModelState, NewModel, RecordedEvent,
    RecorderBatch, StoredIncident, StoredModel,
};

use crate::{
    harness::{CLI, TestDb, World, cleared, device_id, failures, lift, raised, secs, start},
    on_both_engines,
};

on_both_engines!(
    a_challenger_becomes_champion_and_a_roll_back_goes_back_one_by_one,
    challengers_that_were_never_used_lose_their_artefact,
    a_forecast_is_kept_once_and_matched_once,
    organisations_see_their_own_forecasts,
    history_stands_at_the_moment_the_hub_learnt_of_it,
    events_are_failures_until_one_that_ends_them,
    a_day_of_a_channel_stays_as_it_was,
    what_was_withdrawn_is_known_as_such_from_then_on,
    the_hub_knows_when_it_was_down,
);

const DAY: Duration = Duration::from_hours(24);

fn new_model(n: u64) -> NewModel {
    let spans = [secs(0), DAY, DAY * 2, DAY * 3].map(|span| start() + span);
    let artefact = vec![u8::try_from(n).unwrap(); 3];
    NewModel { profile: lift(), horizon: DAY, spans, seed: u64::MAX - n, scores: json!({ "n": n }), artefact }
}

async fn keep(db: &TestDb, n: u64) -> StoredModel {
    db.store.keep_model(&new_model(n), start() + secs(n)).await.unwrap()
}

async fn a_challenger_becomes_champion_and_a_roll_back_goes_back_one_by_one(db: TestDb) {
    let (store, lift) = (&db.store, lift());
    assert_eq!(store.champion(&lift, DAY).await.unwrap(), None);
    assert_eq!(store.roll_back_model(&lift, DAY, &CLI, start()).await.unwrap(), None);
    let mut models = Vec::new();
    for n in 1..=3 {
        let model = keep(&db, n).await;
        assert_eq!((model.state, model.seed, &model.scores["n"]), (ModelState::Challenger, u64::MAX - n, &json!(n)));
        assert_eq!(store.newest_model(&lift, DAY).await.unwrap().unwrap().id, model.id);
        let promoted = store.promote_model(model.id, &CLI, start() + secs(100 * n)).await.unwrap().unwrap();
        assert_eq!((promoted.state, promoted.promoted_at), (ModelState::Champion, Some(start() + secs(100 * n))));
        models.push(model.id);
    }
    assert_eq!(store.champion(&lift, DAY).await.unwrap().unwrap().id, models[2]);
    assert_eq!(store.champion(&lift, DAY * 7).await.unwrap(), None, "each horizon has its own");
    for before in [1, 0] {
        let back = store.roll_back_model(&lift, DAY, &CLI, start() + secs(900)).await.unwrap().unwrap();
        assert_eq!((back.id, back.state), (models[before], ModelState::Champion));
    }
    assert_eq!(store.roll_back_model(&lift, DAY, &CLI, start() + secs(901)).await.unwrap(), None);
    assert_eq!(store.champion(&lift, DAY).await.unwrap().unwrap().id, models[0]);
    let states: Vec<_> = store.models(Some(&lift), 9).await.unwrap().iter().map(|model| model.state).collect();
    assert_eq!(states, [ModelState::Retired, ModelState::Retired, ModelState::Champion]);
    // What was rolled back can be promoted again by hand, and rolled back again.
    store.promote_model(models[2], &CLI, start() + secs(950)).await.unwrap().unwrap();
    let back = store.roll_back_model(&lift, DAY, &CLI, start() + secs(951)).await.unwrap().unwrap();
    assert_eq!(back.id, models[1]);
    assert_eq!(store.promote_model(uuid::Uuid::nil(), &CLI, start()).await.unwrap(), None);
}

async fn challengers_that_were_never_used_lose_their_artefact(db: TestDb) {
    let first = keep(&db, 1).await;
    db.store.promote_model(first.id, &CLI, start() + secs(1)).await.unwrap().unwrap();
    let mut challengers = Vec::new();
    for n in 2..=9 {
        challengers.push(keep(&db, n).await.id);
    }
    let mut kept = Vec::new();
    for id in &challengers {
        kept.push(db.store.model_artefact(*id).await.unwrap().is_some());
    }
    assert_eq!(kept, [false, false, false, true, true, true, true, true]);
    assert_eq!(db.store.model_artefact(first.id).await.unwrap(), Some(vec![1; 3]));
    assert_eq!(db.store.promote_model(challengers[0], &CLI, start()).await.unwrap(), None);
    let states: Vec<_> = db.store.models(None, 99).await.unwrap().iter().map(|model| model.state).collect();
    assert_eq!(states.iter().filter(|state| **state == ModelState::Challenger).count(), 1);
    assert_eq!(states.iter().filter(|state| **state == ModelState::Champion).count(), 1);
}

fn forecast(device: &str, day: u32, model: &StoredModel) -> FailureForecast {
    FailureForecast {
        device: device_id(device),
        made_at: start() + DAY * day,
        model: model.id,
        method: ForecastMethod::Model,
        probability: 0.25,
        naive: 0.125,
        threshold: 0.1,
        alerted: true,
        outcome: None,
        failed_at: None,
    }
}

async fn a_forecast_is_kept_once_and_matched_once(db: TestDb) {
    let world = World::new(&db).await;
    let (store, lift) = (&db.store, lift());
    let model = keep(&db, 1).await;
    let made: Vec<_> =
        (0..3).flat_map(|day| ["lift-1", "lift-2"].map(|device| (world.org, forecast(device, day, &model)))).collect();
    assert_eq!(store.keep_forecasts(&lift, DAY, &made).await.unwrap(), 6);
    let changed: Vec<_> =
        made.iter().map(|(org, made)| (*org, FailureForecast { probability: 0.9, ..made.clone() })).collect();
    assert_eq!(store.keep_forecasts(&lift, DAY, &changed).await.unwrap(), 0);
    assert_eq!(store.last_forecast(&lift, DAY).await.unwrap(), Some(start() + DAY * 2));
    assert_eq!(store.last_forecast(&lift, DAY * 7).await.unwrap(), None);
    let open = store.open_forecasts(&lift, DAY, start() + DAY, 99).await.unwrap();
    assert_eq!(open.len(), 4);
    let failed_at = Some(start() + secs(60));
    let outcomes = [
        ForecastOutcome { device: device_id("lift-1"), made_at: start(), failed_at },
        ForecastOutcome { device: device_id("lift-2"), made_at: start(), failed_at: None },
    ];
    assert_eq!(store.match_forecasts(DAY, &outcomes).await.unwrap(), 2);
    let turned = [ForecastOutcome { failed_at: None, ..outcomes[0].clone() }];
    assert_eq!(store.match_forecasts(DAY, &turned).await.unwrap(), 0, "what happened does not change");
    assert_eq!(store.open_forecasts(&lift, DAY, start() + DAY, 99).await.unwrap().len(), 2);
    let all = store.forecasts(None, &lift, DAY, (start(), start() + DAY * 9), 99).await.unwrap();
    assert_eq!(all.len(), 6);
    assert_eq!(all[0], FailureForecast { outcome: Some(true), failed_at, ..made[0].1.clone() });
    assert_eq!(all[1], FailureForecast { outcome: Some(false), ..made[1].1.clone() });
    assert_eq!(all[2], made[2].1);
}

async fn organisations_see_their_own_forecasts(db: TestDb) {
    let (one, other) = (World::new(&db).await, World::named(&db.store, "Other", "crane", "+8613800000009").await);
    let model = keep(&db, 1).await;
    let made = [(one.org, forecast("lift-1", 0, &model)), (other.org, forecast("crane-1", 0, &model))];
    db.store.keep_forecasts(&lift(), DAY, &made).await.unwrap();
    let span = (start(), start() + DAY);
    let own = db.store.forecasts(Some(other.org), &lift(), DAY, span, 9).await.unwrap();
    assert_eq!(own, [made[1].1.clone()]);
    assert_eq!(db.store.forecasts(None, &lift(), DAY, span, 9).await.unwrap().len(), 2);
}

async fn history_stands_at_the_moment_the_hub_learnt_of_it(db: TestDb) {
    let world = World::new(&db).await;
    // The device was offline: it tells an hour later what happened, and of the end two hours after that.
    let happened = start();
    let alert = world.alert("lift-1", "door", TicketKind::Breakdown, happened);
    let (known, over) = (happened + secs(3600), happened + secs(3 * 3600));
    world.commit(&[raised(&alert)], known).await;
    let watched = failures(&["door"], &[], &[], &[]);
    let at = async |until: Timestamp| db.store.failure_history(&lift(), &watched, until).await.unwrap();
    assert!(at(known - secs(1)).await.incidents.is_empty(), "nobody knew yet");
    let door = |to| StoredIncident {
        device: device_id("lift-1"),
        kind: IncidentKind::Rule(RuleId::new("door").unwrap()),
        from: known,
        to,
        withdrawn: None,
        false_alarm: None,
    };
    assert_eq!(at(known).await.incidents, [door(None)]);
    world.commit(&[cleared(&alert, happened + secs(60))], over).await;
    assert_eq!(at(over - secs(1)).await.incidents, [door(None)]);
    let history = at(over + DAY).await;
    assert_eq!(history.incidents[0], door(Some(over)));
    // Its ticket closed with it: somebody saw to the unit. As a failure of its own it spans the whole time.
    let visit = StoredIncident { kind: IncidentKind::Visit, from: over, ..door(Some(over)) };
    assert_eq!(history.incidents[1..], [visit]);
    let tickets = failures(&[], &[], &[], &[TicketKind::Breakdown]);
    let incidents = db.store.failure_history(&lift(), &tickets, over + DAY).await.unwrap().incidents;
    assert_eq!(incidents, [StoredIncident { kind: IncidentKind::Ticket(TicketKind::Breakdown), ..door(Some(over)) }]);
    // Units are known from their registration on, and other profiles are others.
    assert_eq!(history.units.len(), 2);
    assert_eq!(history.units[0].1, start() - DAY);
    assert!(at(start() - DAY * 2).await.units.is_empty());
    let pump = ProfileId::new("pump").unwrap();
    assert_eq!(db.store.failure_history(&pump, &watched, over).await.unwrap(), store::FailureHistory::default());
}

async fn events_are_failures_until_one_that_ends_them(db: TestDb) {
    World::new(&db).await;
    let event = |code: &str, minutes: u64| RecordedEvent {
        device: device_id("lift-1"),
        event: Event { time: start() - DAY, code: code.to_owned(), seq: None, values: Vec::new() },
        received_at: start() + secs(60 * minutes),
    };
    let mut later = event("trip", 50);
    later.event.time = start();
    let events = vec![event("trip", 10), event("reset", 40), later, event("other", 5)];
    db.store.record(&RecorderBatch { events, ..RecorderBatch::default() }, start()).await.unwrap();
    let told = async |ends: &[&str]| {
        let watched = failures(&[], &["trip"], ends, &[]);
        let history = db.store.failure_history(&lift(), &watched, start() + DAY).await.unwrap();
        let mut spans: Vec<_> = history.incidents.iter().map(|found| (found.from, found.to)).collect();
        spans.sort_unstable();
        spans
    };
    let minute = |minutes: u64| start() + secs(60 * minutes);
    assert_eq!(told(&["reset"]).await, [(minute(10), Some(minute(40))), (minute(50), None)]);
    assert_eq!(told(&[]).await, [(minute(10), Some(minute(10))), (minute(50), Some(minute(50)))]);
}

async fn a_day_of_a_channel_stays_as_it_was(db: TestDb) {
    World::new(&db).await;
    let channel = ChannelId::new("speed").unwrap();
    let day = |n: u32, mean| ChannelDay { device: device_id("lift-1"), ended_at: start() + DAY * n, mean };
    let days = [day(0, 1.0), day(1, 2.0), day(2, f64::NAN)];
    assert_eq!(db.store.keep_channel_days(&channel, &days).await.unwrap(), 2);
    assert_eq!(db.store.keep_channel_days(&channel, &[day(1, 9.0), day(3, 4.0)]).await.unwrap(), 1);
    let all = db.store.channel_days(&lift(), &channel, start(), start() + DAY * 9).await.unwrap();
    assert_eq!(all, [day(1, 2.0), day(3, 4.0)]);
    assert_eq!(db.store.last_channel_day(&lift(), &channel).await.unwrap(), Some(start() + DAY * 3));
    assert_eq!(db.store.last_channel_day(&lift(), &ChannelId::new("order").unwrap()).await.unwrap(), None);
}

async fn what_was_withdrawn_is_known_as_such_from_then_on(db: TestDb) {
    let world = World::new(&db).await;
    let alert = world.alert("lift-1", "door", TicketKind::Breakdown, start());
    world.commit(&[raised(&alert)], start()).await;
    let AlertChange::Cleared(mut over) = cleared(&alert, start() + secs(60)) else { unreachable!() };
    over.evidence.withdrawn = true;
    let then = start() + secs(300);
    world.commit(&[AlertChange::Cleared(over)], then).await;
    // Raised and withdrawn in one go, on another device.
    let other = world.alert("lift-2", "door", TicketKind::Breakdown, start());
    let AlertChange::Cleared(mut gone) = cleared(&other, start() + secs(60)) else { unreachable!() };
    gone.evidence.withdrawn = true;
    world.commit(&[raised(&other), AlertChange::Cleared(gone)], then).await;
    let by_rule = failures(&["door"], &[], &[], &[]);
    let by_ticket = failures(&[], &[], &[], &[TicketKind::Breakdown]);
    let withdrawn = async |failures: &Failures, until: Timestamp| -> Vec<_> {
        let mut incidents = db.store.failure_history(&lift(), failures, until).await.unwrap().incidents;
        incidents.sort_by(|a, b| a.device.cmp(&b.device));
        incidents.into_iter().map(|found| (found.device.to_string(), found.kind, found.withdrawn)).collect()
    };
    let door = IncidentKind::Rule(RuleId::new("door").unwrap());
    let ticket = IncidentKind::Ticket(TicketKind::Breakdown);
    for (failures, kind) in [(&by_rule, door), (&by_ticket, ticket)] {
        let line = |lift: &str, at| (lift.to_owned(), kind.clone(), at);
        assert_eq!(withdrawn(failures, then - secs(1)).await, [line("lift-1", None)]);
        // Nor was anybody sent: there is no visit.
        assert_eq!(withdrawn(failures, then + DAY).await, [line("lift-1", Some(then)), line("lift-2", Some(then))]);
    }
}

async fn the_hub_knows_when_it_was_down(db: TestDb) {
    let world = World::new(&db).await;
    let minute = |n: u64| start() + secs(n * 60);
    // An hour without a break of more than a quarter of an hour, then half a day without it.
    for n in [0, 1, 2, 14, 29, 60, 61].into_iter().chain(800..802) {
        db.store.note_up(minute(n)).await.unwrap();
        db.store.note_up(minute(n)).await.unwrap();
    }
    // A clock that was set back begins nothing.
    db.store.note_up(minute(795)).await.unwrap();
    let down = async |since, now, least| db.store.times_down(since, now, least).await.unwrap();
    let least = secs(3600);
    assert_eq!(
        down(start(), minute(802), secs(60)).await,
        [(minute(29), minute(60)), (minute(61), minute(800)), (minute(801), minute(802))]
    );
    assert_eq!(down(start(), minute(802), least).await, [(minute(61), minute(800))]);
    assert_eq!(down(start(), minute(2000), least).await.last(), Some(&(minute(801), minute(2000))));
    // Forecasts that were to come true meanwhile have no outcome.
    let model = keep(&db, 1).await;
    let forecast = |n: u64| FailureForecast {
        device: device_id("lift-1"),
        made_at: minute(n),
        model: model.id,
        method: ForecastMethod::Model,
        probability: 0.1,
        naive: 0.1,
        threshold: 0.2,
        alerted: false,
        outcome: None,
        failed_at: None,
    };
    let made: Vec<_> = [0, 30, 400, 800].map(|n| (world.org, forecast(n))).to_vec();
    db.store.keep_forecasts(&lift(), secs(3600), &made).await.unwrap();
    let gap = (minute(61), minute(800));
    assert_eq!(db.store.leave_out_forecasts(&lift(), secs(3600), gap).await.unwrap(), 2);
    assert_eq!(db.store.leave_out_forecasts(&lift(), secs(3600), gap).await.unwrap(), 0);
    let open = db.store.open_forecasts(&lift(), secs(3600), minute(9999), 9).await.unwrap();
    assert_eq!(open.iter().map(|(_, at)| *at).collect::<Vec<_>>(), [minute(0), minute(800)]);
    let listed = db.store.forecasts(None, &lift(), secs(3600), (minute(0), minute(9999)), 9).await.unwrap();
    assert_eq!(listed.iter().map(|made| made.made_at).collect::<Vec<_>>(), [minute(0), minute(800)]);
}
