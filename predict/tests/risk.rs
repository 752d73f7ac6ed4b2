//! Failure models from made-up histories: what they learn, what they refuse, and that nothing leaks from the future.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::time::Duration;

use model::Timestamp;
use predict::{
    history::{Fleet, Happening, Schema, State, UnitInfo},
    learn::{LearnError, Random},
    risk::{ArtefactError, Chosen, FORMAT, RiskModel, Samples, Split, TrainError, TrainOptions},
};

const DAY: i64 = 86_400;
const HORIZON: Duration = Duration::from_hours(24);

fn schema(groups: &[&str]) -> Schema {
    Schema {
        groups: groups.iter().map(|group| (*group).to_owned()).collect(),
        kinds: vec!["callback".to_owned(), "inspection".to_owned()],
        tags: vec!["outdoor".to_owned()],
        ..Schema::default()
    }
}

fn fleet(units: usize) -> Fleet {
    let mut fleet = Fleet::new(schema(&["lift", "escalator"])).unwrap();
    for n in 0..units {
        let (site, area) = (format!("s{}", n / 5), "a".to_owned());
        fleet.add(UnitInfo { name: format!("u{n}"), group: n % 2, site, area, tags: vec![n % 3 == 0] }).unwrap();
    }
    fleet
}

/// Units that fail at a rate of their own; outdoor ones fail mostly at weekends, which the naive rule cannot know.
/// From `turn` on the draws are others.
fn history(units: usize, days: i64, turn: i64, seed: u64) -> Vec<Happening> {
    let mut all = Vec::new();
    for unit in 0..units {
        let mut random = Random::new(900 + unit as u64);
        let rate = 0.02 + 0.2 * random.unit().powi(3);
        for day in 0..days {
            if day == turn {
                random = Random::new(seed.wrapping_mul(10_000) + unit as u64);
            }
            let weekend = matches!((day + 3) % 7, 5 | 6);
            let factor = if unit % 3 == 0 { if weekend { 3.0 } else { 0.15 } } else { 1.0 };
            let at = |seconds: i64| Timestamp::from_secs(day * DAY + seconds);
            let draw = random.unit();
            let moment = 40_000 + random.below(20_000) as i64;
            if day == 0 {
                all.push(Happening { unit, at: at(0), state: State::Up });
            } else if draw < rate * factor {
                let state = State::Down { broken: true, failure: true, kinds: 1 };
                all.push(Happening { unit, at: at(moment), state });
                all.push(Happening { unit, at: at(moment + 7_000), state: State::Up });
            }
        }
    }
    all.sort_by_key(|happening| happening.at);
    all
}

fn samples(units: usize, happenings: &[Happening], days: i64) -> Samples {
    let moments: Vec<Timestamp> = (30..days).map(|day| Timestamp::from_secs(day * DAY + 9 * 3600)).collect();
    Samples::walk(fleet(units), happenings, &moments).unwrap()
}

fn split(train: i64, calibrate: i64) -> Split {
    Split { train_until: Timestamp::from_secs(train * DAY), calibrate_until: Timestamp::from_secs(calibrate * DAY) }
}

fn options() -> TrainOptions {
    TrainOptions { trees: 60, ..TrainOptions::new(HORIZON, 5) }
}

#[test]
fn a_model_that_knows_more_than_the_rule_is_chosen_and_holds_on_unseen_days() {
    let happenings = history(80, 260, 0, 1);
    let samples = samples(80, &happenings, 259);
    let model = RiskModel::train(&samples, split(180, 215), &options()).unwrap();
    assert_eq!(model.chosen, Chosen::Model, "{:?}", model.judgement);
    let unseen = samples.positions(|sample| sample.at > Timestamp::from_secs(216 * DAY));
    let (mut ours, mut rule, mut stated, mut happened) = (0.0, 0.0, 0.0, 0.0);
    for n in &unseen {
        let (row, sample) = (samples.table.row(*n), samples.rows[*n]);
        let outcome = f64::from(u8::from(sample.failed_within(HORIZON)));
        let p = model.probability(row, sample.group);
        ours += (p - outcome).powi(2);
        rule += (model.naive_probability(row, sample.group) - outcome).powi(2);
        stated += p;
        happened += outcome;
    }
    assert!(ours < 0.99 * rule, "{ours} against {rule}");
    assert!((stated / happened - 1.0).abs() < 0.2, "{stated} stated, {happened} happened");
}

#[test]
fn the_same_history_and_seed_give_the_same_bytes() {
    let samples = samples(40, &history(40, 150, 0, 1), 149);
    let bytes = |seed: u64| {
        let options = TrainOptions { seed, ..options() };
        RiskModel::train(&samples, split(110, 149), &options).unwrap().to_bytes().unwrap()
    };
    assert_eq!(bytes(5), bytes(5));
    assert_ne!(bytes(5), bytes(6));
}

#[test]
fn another_future_changes_neither_features_nor_model_nor_forecast() {
    let one = samples(40, &history(40, 200, 150, 1), 199);
    let other = samples(40, &history(40, 200, 150, 2), 199);
    let before = one.positions(|sample| sample.at < Timestamp::from_secs(150 * DAY));
    let bits = |samples: &Samples, n: usize| -> Vec<u32> {
        samples.table.row(n).iter().map(|value| value.to_bits()).collect()
    };
    for n in &before {
        assert_eq!((one.rows[*n].unit, one.rows[*n].at), (other.rows[*n].unit, other.rows[*n].at));
        assert_eq!(bits(&one, *n), bits(&other, *n), "row {n}");
    }
    assert_ne!(one.rows, other.rows, "the futures do differ");
    let train = |samples: &Samples| RiskModel::train(samples, split(110, 150), &options()).unwrap();
    let (model, again) = (train(&one), train(&other));
    assert_eq!(model.to_bytes().unwrap(), again.to_bytes().unwrap());
}

#[test]
fn a_model_that_finds_nothing_gives_way_to_the_rule() {
    // Every unit fails as often as every other, and as the day before: there is nothing to learn.
    let mut happenings = Vec::new();
    let mut random = Random::new(8);
    for unit in 0..30 {
        happenings.push(Happening { unit, at: Timestamp::from_secs(0), state: State::Up });
        for day in 1..120i64 {
            if random.unit() < 0.012 {
                let at = Timestamp::from_secs(day * DAY + 50_000);
                happenings.push(Happening { unit, at, state: State::Down { broken: true, failure: true, kinds: 1 } });
                happenings.push(Happening { unit, at, state: State::Up });
            }
        }
    }
    happenings.sort_by_key(|happening| happening.at);
    let samples = samples(30, &happenings, 119);
    let model = RiskModel::train(&samples, split(114, 119), &options());
    match model {
        // Five days of calibration hold far fewer than the failures it takes to show that a model is better.
        Ok(model) => {
            assert_eq!(model.chosen, Chosen::NaiveRule);
            let n = samples.rows.len() - 1;
            let row = samples.table.row(n);
            let group = samples.rows[n].group;
            assert_eq!(model.probability(row, group), model.naive_probability(row, group));
        }
        Err(error) => assert!(matches!(error, TrainError::Learn(LearnError::OneOutcome { .. })), "{error}"),
    }
}

#[test]
fn too_little_to_learn_from_is_said_and_no_model_is_made() {
    let three = samples(3, &history(3, 150, 0, 1), 149);
    let error = RiskModel::train(&three, split(110, 149), &options()).unwrap_err();
    assert!(matches!(error, TrainError::FewUnits { units: 3 }), "{error}");
    let quiet: Vec<Happening> =
        (0..20).map(|unit| Happening { unit, at: Timestamp::from_secs(0), state: State::Up }).collect();
    let quiet = samples(20, &quiet, 149);
    let error = RiskModel::train(&quiet, split(110, 149), &options()).unwrap_err();
    assert!(error.to_string().contains("0 were followed by a failure"), "{error}");
    let error = RiskModel::train(&quiet, split(149, 110), &options()).unwrap_err();
    assert!(matches!(error, TrainError::Spans { .. }), "{error}");
    let young = samples(20, &history(20, 29, 0, 1), 29);
    assert!(young.rows.is_empty(), "29 days of history earn no score");
    assert!(RiskModel::train(&young, split(20, 29), &options()).is_err());
}

#[test]
fn a_training_tells_how_far_it_is_and_ends_when_told() {
    let samples = samples(40, &history(40, 150, 0, 1), 149);
    let mut told = Vec::new();
    let watched = RiskModel::train_watched(&samples, split(110, 149), &options(), &mut |done| {
        told.push(done);
        true
    });
    assert_eq!(watched.unwrap(), RiskModel::train(&samples, split(110, 149), &options()).unwrap());
    assert!(told.is_sorted() && told.len() > 100 && told.iter().all(|done| (0.0..=1.0).contains(done)));
    let mut asked = 0;
    let stopped = RiskModel::train_watched(&samples, split(110, 149), &options(), &mut |_| {
        asked += 1;
        asked < 5
    });
    assert_eq!((stopped.unwrap_err(), asked), (TrainError::Learn(LearnError::Stopped), 5));
}

#[test]
fn loading_refuses_what_does_not_fit() {
    let samples = samples(40, &history(40, 150, 0, 1), 149);
    let model = RiskModel::train(&samples, split(110, 149), &options()).unwrap();
    let bytes = model.to_bytes().unwrap();
    let (features, groups) = (&samples.features, &samples.groups);
    assert_eq!(RiskModel::from_bytes(&bytes, features, groups).unwrap(), model);
    let mut renamed = features.clone();
    renamed[3].unit = "h".to_owned();
    let error = RiskModel::from_bytes(&bytes, &renamed, groups).unwrap_err();
    assert!(matches!(error, ArtefactError::Features { .. }), "{error}");
    assert!(matches!(RiskModel::from_bytes(&bytes, &features[1..], groups), Err(ArtefactError::Features { .. })));
    assert!(matches!(RiskModel::from_bytes(&bytes, features, &groups[..1]), Err(ArtefactError::Groups { .. })));
    let mut newer = bytes.clone();
    newer[8] = u8::try_from(FORMAT + 1).unwrap();
    assert!(
        matches!(RiskModel::from_bytes(&newer, features, groups), Err(ArtefactError::Format { found }) if found == FORMAT + 1)
    );
    assert!(matches!(RiskModel::from_bytes(b"{}", features, groups), Err(ArtefactError::NotAModel)));
    for cut in (10..bytes.len()).step_by(997) {
        assert!(RiskModel::from_bytes(&bytes[..cut], features, groups).is_err(), "cut at {cut}");
    }
}
