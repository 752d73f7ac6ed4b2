//! Four bearings on one shaft, run for a week until bearing 1 failed (IMS, University of Cincinnati, test 2); and the
//! artificial series without anomalies of the Numenta benchmark. Nothing is tuned to either: the profile's numbers are
//! the ones that ship.

mod support;

use std::collections::BTreeMap;

use model::{Alert, AlertChange, AlertSource, Timestamp};
use predict::{
    Predictor,
    backtest::{self, Failure, Options},
};
use support::{device, profile, recorded, sample, time};

const CHANNEL: &str = "bearing_vibration_g";

/// Time and the four bearings' values, in order.
fn rows() -> Option<Vec<(Timestamp, [f64; 4])>> {
    let file = recorded("ims_bearing/merged_dataset_BearingTest_2.csv")?;
    let mut reader = csv::Reader::from_path(file).expect("the file opens");
    let rows = reader.records().map(|record| {
        let record = record.expect("a record");
        let value = |n: usize| record[n].parse().expect("a number");
        (time(&record[0]), [value(1), value(2), value(3), value(4)])
    });
    Some(rows.collect())
}

#[test]
fn the_failing_bearing_is_found_days_before_its_end() {
    let Some(rows) = rows() else { return };
    let profile = profile("water_pump");
    let mut raised: BTreeMap<usize, Vec<(usize, Box<Alert>)>> = BTreeMap::new();
    for bearing in 0..4 {
        let device = device(&format!("bearing-{}", bearing + 1), &profile);
        let mut predictor = Predictor::new();
        predictor.load(profile.clone());
        let mut out = Vec::new();
        for (row, (at, values)) in rows.iter().enumerate() {
            predictor.apply(&device, &sample(&device, CHANNEL, *at, values[bearing]), &mut out);
            for change in out.drain(..) {
                match change {
                    AlertChange::Raised(alert) => {
                        println!(
                            "bearing {} row {row} raised {}: {}",
                            bearing + 1,
                            alert.rule,
                            alert.evidence.summary.en
                        );
                        raised.entry(bearing).or_default().push((row, alert));
                    }
                    AlertChange::Changed(_) => {}
                    AlertChange::Cleared(alert) => {
                        println!(
                            "bearing {} row {row} cleared {}: {}",
                            bearing + 1,
                            alert.rule,
                            alert.evidence.summary.en
                        );
                    }
                }
            }
        }
    }
    let end = rows[rows.len() - 3].0;
    let first = |bearing: usize, source: AlertSource| {
        raised.get(&bearing).into_iter().flatten().find(|(_, alert)| alert.source == source)
    };
    for bearing in 0..4 {
        if let Some((row, alert)) = first(bearing, AlertSource::Detector) {
            println!(
                "bearing {}: row {row}, {:.1} h before the end",
                bearing + 1,
                end.seconds_after(alert.raised_at) / 3600.0
            );
        }
    }
    let (row, alert) = first(0, AlertSource::Detector).expect("bearing 1 is found");
    assert!((530..720).contains(row), "found at row {row}");
    assert!(end.seconds_after(alert.raised_at) > 24.0 * 3600.0);
    // The others sit on the same shaft and take on its vibration; they are never found before bearing 1.
    for bearing in 1..4 {
        assert!(raised.get(&bearing).into_iter().flatten().all(|(other, _)| other > row), "bearing {}", bearing + 1);
    }
}

#[test]
fn the_scorecard_of_the_bearings() {
    let Some(rows) = rows() else { return };
    let profile = profile("water_pump");
    let devices: Vec<_> = (1..=4).map(|n| device(&format!("bearing-{n}"), &profile)).collect();
    let entries = rows.iter().flat_map(|(at, values)| {
        devices.iter().zip(values).map(|(device, value)| (device, sample(device, CHANNEL, *at, *value)))
    });
    let failures = [Failure { device: devices[0].id.clone(), at: rows[rows.len() - 3].0 }];
    let card = backtest::run(&profile, entries, &failures, &Options::default());
    println!("{card}");
    assert_eq!((card.units, card.failures, card.liftline.detected), (4, 1, 1));
    assert!(card.liftline.lead_median_hours.is_some_and(|hours| hours > 48.0));
}

#[test]
fn series_without_anomalies_give_no_alerts() {
    let Some(folder) = recorded("nab/data/artificialNoAnomaly") else { return };
    let profile = profile("water_pump");
    let mut files = 0;
    for file in std::fs::read_dir(folder).expect("the folder opens") {
        let file = file.expect("an entry").path();
        let device = device("nab", &profile);
        let mut predictor = Predictor::new();
        predictor.load(profile.clone());
        let mut out = Vec::new();
        for record in csv::Reader::from_path(&file).expect("the file opens").records() {
            let record = record.expect("a record");
            let value: f64 = record[1].parse().expect("a number");
            predictor.apply(&device, &sample(&device, CHANNEL, time(&record[0]), value), &mut out);
        }
        assert!(out.is_empty(), "{}: {:?}", file.display(), out[0].alert().evidence.summary.en);
        files += 1;
    }
    assert_eq!(files, 5);
}
