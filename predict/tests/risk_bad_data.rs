//! Failure models and bad data: each kind of it ends in a message or in a sound model, never in a panic, and no score is
//! given where none is earned.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::time::Duration;

use model::Timestamp;
use predict::{
    history::{Feature, Fleet, Happening, HistoryError, Schema, Shape, State, UnitInfo},
    learn::{LearnError, Random, Table},
    risk::{ArtefactError, Chosen, NoScore, RiskModel, Sample, Samples, Split, TrainError, TrainOptions},
};

const DAY: i64 = 86_400;
const HORIZON: Duration = Duration::from_hours(24);

fn at(day: i64, second: i64) -> Timestamp {
    Timestamp::from_secs(day * DAY + second)
}

fn schema() -> Schema {
    Schema { groups: vec!["pump".to_owned()], kinds: vec!["seal".to_owned()], ..Schema::default() }
}

fn fleet(units: usize) -> Fleet {
    let mut fleet = Fleet::new(schema()).unwrap();
    for n in 0..units {
        let info = UnitInfo {
            name: format!("u{n}"),
            group: 0,
            site: format!("s{}", n / 4),
            area: String::new(),
            tags: vec![],
        };
        fleet.add(info).unwrap();
    }
    fleet
}

/// Units that fail at rates of their own.
fn history(units: usize, days: i64) -> Vec<Happening> {
    let mut all = Vec::new();
    for unit in 0..units {
        let mut random = Random::new(70 + unit as u64);
        let rate = if unit % 4 == 0 { 0.2 } else { 0.02 };
        all.push(Happening { unit, at: at(0, 0), state: State::Up });
        for day in 1..days {
            if random.unit() < rate {
                let second = 40_000 + random.below(20_000) as i64;
                let state = State::Down { broken: true, failure: true, kinds: 1 };
                all.push(Happening { unit, at: at(day, second), state });
                all.push(Happening { unit, at: at(day, second + 7_000), state: State::Up });
            }
        }
    }
    all.sort_by_key(|happening| happening.at);
    all
}

fn moments(days: std::ops::Range<i64>) -> Vec<Timestamp> {
    days.map(|day| at(day, 9 * 3_600)).collect()
}

fn split() -> Split {
    Split { train_until: at(110, 0), calibrate_until: at(149, 0) }
}

fn options() -> TrainOptions {
    TrainOptions { trees: 40, ..TrainOptions::new(HORIZON, 5) }
}

fn samples(units: usize) -> Samples {
    Samples::walk(fleet(units), &history(units, 150), &moments(30..149)).unwrap()
}

/// The same samples with other features.
fn with_table(samples: &Samples, change: impl Fn(usize, &mut Vec<f32>)) -> Samples {
    let mut table = Table::new(samples.table.columns());
    for n in 0..samples.rows.len() {
        let mut row = samples.table.row(n).to_vec();
        change(n, &mut row);
        table.push(&row).unwrap();
    }
    Samples { table, ..samples.clone() }
}

#[test]
fn features_that_never_change_teach_nothing_and_break_nothing() {
    let real = samples(20);
    let constant = with_table(&real, |_, row| row.fill(1.0));
    let error = RiskModel::train(&constant, split(), &options()).unwrap_err();
    assert!(matches!(error, TrainError::Learn(LearnError::Constant { .. })), "{error}");
    assert!(error.to_string().contains("no feature varies"), "{error}");
    // Some columns that never change are ordinary: the model is sound and says the same whatever stands in them.
    let flat = with_table(&real, |_, row| row[20..30].fill(7.0));
    let model = RiskModel::train(&flat, split(), &options()).unwrap();
    let mut row = flat.table.row(flat.rows.len() - 1).to_vec();
    let before = model.state(&row, 0).unwrap();
    row[20..30].fill(-3.0);
    assert_eq!(model.state(&row, 0).unwrap().by, before.by);
    assert!((model.model_probability(&row, 0) - before.probability).abs() < 1e-9 || before.by == Chosen::NaiveRule);
}

#[test]
fn what_is_no_number_is_missing_and_never_a_score() {
    let real = samples(20);
    let holes = with_table(&real, |n, row| {
        row[n % 40] = [f32::NAN, f32::INFINITY, f32::NEG_INFINITY, f32::MAX][n % 4];
    });
    let model = RiskModel::train(&holes, split(), &options()).unwrap();
    let good = real.table.row(real.rows.len() - 1);
    for value in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY, f32::MAX, f32::MIN, f32::MIN_POSITIVE] {
        for n in 0..good.len() {
            let mut row = good.to_vec();
            row[n] = value;
            match model.state(&row, 0) {
                Ok(stated) => {
                    assert!((0.0..=1.0).contains(&stated.probability), "{value} in {}", real.features[n].name);
                    assert!((0.0..=1.0).contains(&stated.naive), "{value} in {}", real.features[n].name);
                }
                Err(reason) => {
                    assert!(!value.is_finite(), "{reason}");
                    assert!(["failures.last_90d", "seen"].contains(&real.features[n].name.as_str()), "{reason}");
                }
            }
        }
    }
    let nothing = vec![f32::NAN; good.len()];
    assert_eq!(model.state(&nothing, 0), Err(NoScore::Unknown("failures.last_90d")));
    assert_eq!(model.state(&good[1..], 0), Err(NoScore::Shape { found: good.len() - 1, needed: good.len() }));
    assert_eq!(model.state(good, 1), Err(NoScore::Group { group: 1, known: 1 }));
}

#[test]
fn another_unit_of_a_feature_is_refused_when_loading() {
    let real = samples(20);
    let bytes = RiskModel::train(&real, split(), &options()).unwrap().to_bytes().unwrap();
    let changed: Vec<Feature> = real
        .features
        .iter()
        .map(|feature| match feature.name.as_str() {
            "repair.last" => Feature { unit: "s".to_owned(), ..feature.clone() },
            _ => feature.clone(),
        })
        .collect();
    let error = RiskModel::from_bytes(&bytes, &changed, &real.groups).unwrap_err();
    assert!(matches!(error, ArtefactError::Features { .. }), "{error}");
    assert!(error.to_string().contains("repair.last [h]") && error.to_string().contains("repair.last [s]"), "{error}");
    let shaped: Vec<Feature> = real
        .features
        .iter()
        .map(|feature| Feature {
            shape: if feature.name == "seen" { Shape::Flag } else { feature.shape },
            ..feature.clone()
        })
        .collect();
    assert!(RiskModel::from_bytes(&bytes, &shaped, &real.groups).is_err());
}

#[test]
fn a_clock_that_was_reset_is_refused_and_changes_nothing() {
    let mut fleet = fleet(3);
    let down = State::Down { broken: true, failure: true, kinds: 1 };
    fleet.observe(&Happening { unit: 0, at: at(100, 0), state: State::Up }).unwrap();
    let error = fleet.observe(&Happening { unit: 0, at: at(0, 5), state: down }).unwrap_err();
    assert!(matches!(error, HistoryError::Late { .. }), "{error}");
    let error = Samples::walk(fleet.clone(), &[Happening { unit: 1, at: at(1, 0), state: down }], &moments(140..141));
    assert!(matches!(error, Err(HistoryError::Late { .. })));
    let known = fleet.features(at(140, 0)).unwrap();
    let failures = Fleet::describe(&schema()).iter().position(|feature| feature.name == "failures.last_365d").unwrap();
    assert_eq!(known[0].values[failures], 0.0);
    // Times at the ends of the calendar are times, too.
    for micros in [i64::MIN, i64::MAX] {
        let mut fleet = self::fleet(1);
        let far = Timestamp::from_micros(micros);
        fleet.observe(&Happening { unit: 0, at: far, state: down }).unwrap();
        fleet.observe(&Happening { unit: 0, at: far, state: State::Up }).unwrap();
        let known = fleet.features(Timestamp::from_micros(i64::MAX)).unwrap();
        assert!(known.iter().all(|known| known.values.iter().all(|value| !value.is_infinite())));
    }
}

#[test]
fn a_day_that_comes_twice_counts_once() {
    let (units, days) = (12, 150);
    let once = history(units, days);
    // What an importer that appended a file twice makes of it: each row of the second half again, in order of time.
    let mut twice: Vec<Happening> =
        once.iter().flat_map(|h| std::iter::repeat_n(*h, if h.at > at(70, 0) { 2 } else { 1 })).collect();
    twice.sort_by_key(|happening| happening.at);
    assert!(twice.len() > once.len() + 50);
    let walk = |happenings: &[Happening]| Samples::walk(fleet(units), happenings, &moments(30..149)).unwrap();
    let bits = |samples: &Samples| -> Vec<u32> {
        samples.table.iter().flat_map(|row| row.iter().map(|value| value.to_bits())).collect()
    };
    let (a, b) = (walk(&once), walk(&twice));
    assert_eq!(a.rows, b.rows);
    assert!(bits(&a) == bits(&b), "the features differ");
    // And a day is scored once.
    let error = Samples::walk(fleet(units), &once, &[at(40, 0), at(41, 0), at(41, 0)]).unwrap_err();
    assert!(matches!(error, HistoryError::Moment { .. }), "{error}");
    assert!(Samples::walk(fleet(units), &once, &[at(41, 0), at(40, 0)]).is_err());
}

#[test]
fn one_outcome_only_gives_no_model_and_in_calibration_the_rule() {
    let real = samples(20);
    let always = Samples {
        rows: real
            .rows
            .iter()
            .map(|row| Sample { next_failure: Some(row.at + Duration::from_secs(60)), ..*row })
            .collect(),
        ..real.clone()
    };
    let error = RiskModel::train(&always, split(), &options()).unwrap_err();
    assert!(matches!(error, TrainError::Learn(LearnError::OneOutcome { .. })), "{error}");
    let never =
        Samples { rows: real.rows.iter().map(|row| Sample { next_failure: None, ..*row }).collect(), ..real.clone() };
    let error = RiskModel::train(&never, split(), &options()).unwrap_err();
    assert!(error.to_string().contains("0 were followed by a failure; at least 30 of each"), "{error}");
    // Nothing happened in the calibration span: nothing shows that the model is better.
    let quiet = Samples {
        rows: real
            .rows
            .iter()
            .map(|row| Sample { next_failure: row.next_failure.filter(|next| *next < at(110, 0)), ..*row })
            .collect(),
        ..real.clone()
    };
    let model = RiskModel::train(&quiet, split(), &options()).unwrap();
    assert_eq!((model.chosen, model.judgement.failures), (Chosen::NaiveRule, 0));
    let stated = model.state(real.table.row(0), 0).unwrap();
    assert_eq!((stated.by, stated.probability), (Chosen::NaiveRule, stated.naive));
}

#[test]
fn three_devices_teach_nothing() {
    let three = samples(3);
    let error = RiskModel::train(&three, split(), &options()).unwrap_err();
    assert_eq!(error.to_string(), "no model: 3 units were under watch long enough; at least 5 are needed");
    let none = Samples::walk(fleet(0), &[], &moments(30..149)).unwrap();
    assert!(matches!(RiskModel::train(&none, split(), &options()), Err(TrainError::FewUnits { units: 0 })));
}

#[test]
fn a_history_of_the_wrong_shape_is_refused() {
    let kinds = (0..33).map(|n| format!("k{n}")).collect();
    assert!(matches!(Fleet::new(Schema { kinds, ..schema() }), Err(HistoryError::Kinds(33))));
    let mut fleet = fleet(1);
    let stranger =
        |group, tags| UnitInfo { name: "x".to_owned(), group, site: String::new(), area: String::new(), tags };
    assert!(matches!(fleet.add(stranger(1, vec![])), Err(HistoryError::Stranger(_))));
    assert!(matches!(fleet.add(stranger(0, vec![true])), Err(HistoryError::Stranger(_))));
}
