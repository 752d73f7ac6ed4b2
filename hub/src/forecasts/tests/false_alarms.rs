//! Tickets of which nothing was found: what training, outcomes and forecasts make of them.

use desk::{Action, Actor, Confirmed};
use model::{TicketId, UserId};
use predict::risk::corrected;
use store::NewModel;

use super::*;
use crate::forecasts::train;

const NIGHT: i64 = 2 * 3_600;

fn night(day: i64) -> Timestamp {
    at(day, NIGHT)
}

impl Place {
    /// An alert of a rule that ends; its ticket closes with it.
    async fn ended(&self, unit: usize, rule: &str, raised: Timestamp, over: Timestamp) -> TicketId {
        let kind = if rule == FAILURE_RISK { TicketKind::Forecast } else { TicketKind::Breakdown };
        let rule = RuleId::new(rule).unwrap();
        let alert = Alert { id: AlertId::derive(&fan(unit), &rule, raised), rule, kind, ..self.hot(unit, raised) };
        self.commit(&AlertChange::Raised(Box::new(alert.clone())), raised).await;
        let filter = TicketFilter { limit: 1, device: Some(fan(unit)), ..TicketFilter::default() };
        let ticket = self.store.tickets(self.org, &filter).await.unwrap().tickets[0].ticket.id;
        self.commit(&AlertChange::Cleared(Box::new(Alert { cleared_at: Some(over), ..alert })), over).await;
        ticket
    }

    async fn nothing_found(&self, ticket: TicketId, now: Timestamp) {
        let actor = Actor::User { user: UserId(uuid::Uuid::from_u128(1)), name: "Dora".to_owned() };
        let action = Action::ConfirmCause { cause: Confirmed::nothing(), parts: None };
        self.store.apply(self.org, ticket, desk::Event::Act { actor, action, as_of: None }, now).await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_false_alarm_counts_until_it_is_found_and_never_again() {
    let (place, plain) = (Place::new(8).await, Place::new(8).await);
    for place in [&place, &plain] {
        place.record(&events(8, 70, -1, 0), 0..70).await;
    }
    let (raised, over) = (at(45, 40_000), at(45, 44_000));
    let ticket = place.ended(3, "hot", raised, over).await;
    // A ticket that is no failure and leaves the same visit behind.
    plain.ended(3, "draughty", raised, over).await;
    let live = [
        bits(&place.samples(night(46)).await, |time| time == night(46)),
        bits(&place.samples(night(47)).await, |time| time == night(47)),
    ];
    place.nothing_found(ticket, at(47, 50_000)).await;
    let (with, without) = (place.samples(night(60)).await, plain.samples(night(60)).await);
    for (day, live) in (46..).zip(&live) {
        let moment = |time: Timestamp| time == night(day);
        assert!(*live == bits(&with, moment), "what was forecast from on day {day} stays");
        assert!(*live != bits(&without, moment), "it did count on day {day}");
    }
    let others = |time: Timestamp| time < night(46) || time > night(47);
    assert!(bits(&with, others) == bits(&without, others), "from then on it never was");
    assert_eq!(with.rows, without.rows, "nor was it an outcome, whenever it was foreseen");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_outcome_that_is_noted_stays_and_one_that_is_not_yet_knows_of_the_false_alarm() {
    let place = Place::new(4).await;
    let (profile, day) = (profile("[\"1d\"]"), Duration::from_hours(24));
    let spans = [0, 1, 2, 3].map(|day| at(day, 0));
    let new = NewModel {
        profile: profile.id.clone(),
        horizon: day,
        spans,
        seed: 1,
        scores: serde_json::json!({}),
        artefact: vec![1],
    };
    let model = place.store.keep_model(&new, at(0, 0)).await.unwrap().id;
    let forecast = |unit: usize, made: i64| FailureForecast {
        device: fan(unit),
        made_at: night(made),
        model,
        method: ForecastMethod::Model,
        probability: 0.3,
        naive: 0.1,
        threshold: 0.2,
        alerted: true,
        outcome: None,
        failed_at: None,
    };
    let made = [forecast(0, 40), forecast(1, 40), forecast(0, 42), forecast(2, 42)].map(|made| (place.org, made));
    place.store.keep_forecasts(&profile.id, day, &made).await.unwrap();
    let (pass, _) = forecasts(&place, profile.clone(), &Arc::new(ManualClock::at(night(44))));
    let outcomes = async |until: i64| -> Vec<Option<bool>> {
        let known = place.known(&profile, night(until)).await;
        pass.note_outcomes(&profile, day, &known).await.unwrap();
        let made = place.store.forecasts(None, &profile.id, day, (at(40, 0), at(50, 0)), 9).await.unwrap();
        made.into_iter().map(|made| made.outcome).collect()
    };
    // It seems to have failed, and that is noted before somebody finds that it had not.
    let late = place.ended(0, "hot", at(40, 30_000), at(40, 31_000)).await;
    assert_eq!(outcomes(41).await, [Some(true), Some(false), None, None]);
    place.nothing_found(late, at(42, 20_000)).await;
    // This time it is found the same day.
    let early = place.ended(0, "hot", at(42, 30_000), at(42, 31_000)).await;
    place.nothing_found(early, at(42, 40_000)).await;
    // Who was sent for a forecast found nothing; the failure came all the same, and only that is the outcome.
    let visit = place.ended(2, FAILURE_RISK, at(42, 10_000), at(42, 20_000)).await;
    place.nothing_found(visit, at(42, 21_000)).await;
    place.ended(2, "hot", at(42, 70_000), at(42, 71_000)).await;
    assert_eq!(outcomes(44).await, [Some(true), Some(false), Some(false), Some(true)]);
    let failures = place.known(&profile, night(44)).await.history.failures;
    assert_eq!(failures, [vec![], vec![], vec![at(42, 70_000)], vec![]], "training knows better than what is noted");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_night_is_put_right_by_what_was_known_then() {
    let (units, first, last) = (40, 150, 166);
    let place = Place::new(units).await;
    place.record(&events(units, last + 1, -1, 0), 0..last + 1).await;
    // A false alarm a day, each found some days later; one after the last night.
    for day in first - 30..last {
        let ticket = place.ended(day as usize % units, "hot", at(day, 20_000), at(day, 21_000)).await;
        place.nothing_found(ticket, at(day + 1 + day % 6, 30_000)).await;
    }
    let profile = profile("[\"1d\"]");
    let day = Duration::from_hours(24);
    let trained =
        train::train(&place.samples(night(first)).await, &profile.id, day, (1, night(first)), None, &mut |_| true);
    let model = trained.unwrap_or_else(|error| panic!("{error}")).model;
    let of = |samples: &Samples, moment: Timestamp| -> Vec<(usize, u64)> {
        let stated = corrected(samples, &model).into_iter();
        let now = stated.filter(|(n, _)| samples.rows[*n].at == moment);
        now.map(|(n, probability)| (samples.rows[n].unit, probability.to_bits())).collect()
    };
    let whole = place.samples(night(last)).await;
    for day in first..last {
        let live = of(&place.samples(night(day)).await, night(day));
        assert!(live.len() > 20 && live == of(&whole, night(day)), "day {day}");
    }
}
