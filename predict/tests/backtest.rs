//! The scorecard on a case that can be counted by hand.

mod support;

use model::Timestamp;
use predict::backtest::{self, Failure, Options};
use support::{device, profile, sample};

const START: i64 = 1_767_225_600;

/// Two pumps for ten days, one value each ten minutes. Pump 1 shakes 20 % more from day 7 on and fails on day 9; pump 2
/// is well, with one wild value on day 5.
#[test]
fn every_figure_is_as_counted_by_hand() {
    let profile = profile("water_pump");
    let pumps = [device("pump-1", &profile), device("pump-2", &profile)];
    let entries = (0..1440i64).flat_map(|n| {
        let at = Timestamp::from_secs(START + 600 * n);
        let shaking = if n >= 7 * 144 { 1.2 } else { 1.0 };
        let wild = if n == 5 * 144 { 9.0 } else { 1.0 };
        [
            (&pumps[0], sample(&pumps[0], "bearing_vibration_g", at, shaking)),
            (&pumps[1], sample(&pumps[1], "bearing_vibration_g", at, wild)),
        ]
    });
    let day = |n: i64| Timestamp::from_secs(START + 86_400 * n);
    let failures =
        [Failure { device: pumps[0].id.clone(), at: day(9) }, Failure { device: pumps[1].id.clone(), at: day(0) }];
    let card = backtest::run(&profile, entries, &failures, &Options::default());
    // The failure on day 0 lies in the warm-up.
    assert_eq!((card.units, card.failures), (2, 1));
    assert_eq!((card.liftline.alerts, card.liftline.right, card.liftline.detected), (1, 1, 1));
    // Raised when the run of five after the first value beyond the limit closes, about an hour into day 7.
    assert!(card.liftline.lead_median_hours.is_some_and(|hours| (46.0..47.5).contains(&hours)));
    assert_eq!(card.liftline.false_alarms_per_unit_month, Some(0.0));
    assert_eq!((card.naive.alerts, card.naive.right, card.naive.recall), (1, 0, Some(0.0)));
    // Scored from value 100 on; right from there to an hour before the failure, on one unit of two.
    let scored = f64::from(1439 - 100) * 600.0 / 86_400.0;
    let reach = f64::from(9 * 144 - 6 - 100) * 600.0 / 86_400.0;
    assert!((card.unit_days - 2.0 * scored).abs() < 1e-9);
    assert!((card.base_rate - reach / (2.0 * scored)).abs() < 1e-9);
    let text = card.to_string();
    for line in ["units: 2", "failures: 1", "precision: 1.000", "naive_precision: 0.000", "naive_lead_median_h: -"] {
        assert!(text.lines().any(|found| found == line), "{line} is missing in\n{text}");
    }
}

#[test]
fn nothing_to_score_gives_dashes_and_no_division_by_zero() {
    let profile = profile("water_pump");
    let none: Vec<(model::Device, model::Entry)> = Vec::new();
    let card = backtest::run(&profile, none, &[], &Options::default());
    assert!(card.to_string().contains("precision: -\nrecall: -\n"));
    assert_eq!(card.liftline.false_alarms_per_unit_month, None);
}
