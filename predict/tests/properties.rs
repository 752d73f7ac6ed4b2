//! The same entries give the same alerts: whatever is interleaved, whenever the state is saved and restored, and
//! however often messages come twice or late.

mod support;

use std::{path::Path, sync::Arc};

use model::{AlertChange, Body, Device, Entry, Event, Profile, Timestamp, Value};
use predict::{Predictor, RestoreError};
use proptest::prelude::*;
use support::{device, sample};

const PROFILE: &str = r#"
[profile]
id = "probe"
name = { en = "Probe", zh = "探头" }
version = 1

[[channels]]
id = "level_mm"
name = { en = "Level", zh = "液位" }
type = "number"
unit = "mm"
range = [-1000.0, 1000.0]

[[events]]
code = "measured"
name = { en = "Measured", zh = "测量" }

[[detectors]]
id = "level_shift"
title = { en = "Level changed", zh = "液位异常" }
channel = "level_mm"
warm_up = 20
sigmas = 6.0
min_change = 0.1
severity = "minor"
ticket = "forecast"

[[forecasts]]
id = "level_rise"
title = { en = "Level rising", zh = "液位上升" }
channel = "level_mm"
threshold = 100.0
direction = "above"
horizon = "4d"
min_span = "12h"
severity = "minor"
"#;

fn probe() -> Arc<Profile> {
    Arc::new(Profile::parse(Path::new("probe.toml"), PROFILE).expect("the profile is valid"))
}

fn predictor() -> Predictor {
    let mut predictor = Predictor::new();
    predictor.load(probe());
    predictor
}

/// Days of values each half hour: noise, then a slope, then a step back; some late, some twice, some with events.
fn series(device: &Device, seeds: &[u8], slope: f64, repaired: usize) -> Vec<Entry> {
    let mut entries = Vec::new();
    for (n, seed) in seeds.iter().enumerate() {
        let noise = f64::from(*seed) / 128.0 - 1.0;
        let worn = if n < repaired { slope * n.saturating_sub(100) as f64 } else { 0.0 };
        let time = Timestamp::from_secs(1_767_225_600 + 1800 * n as i64 - if seed % 17 == 0 { 4000 } else { 0 });
        let value = 20.0 + noise + worn;
        let mut entry = sample(device, "level_mm", time, if seed % 29 == 0 { f64::NAN } else { value });
        if seed % 5 == 0 {
            let values = vec![("level_mm".parse().expect("a name"), Value::Number(value))];
            entry.body = Body::Event(Event { time, code: "measured".to_owned(), seq: None, values });
        }
        if seed % 11 == 0 {
            entries.push(entry.clone());
        }
        entries.push(entry);
    }
    entries
}

fn alone(device: &Device, entries: &[Entry]) -> (Vec<AlertChange>, Predictor) {
    let mut predictor = predictor();
    let mut out = Vec::new();
    for entry in entries {
        predictor.apply(device, entry, &mut out);
    }
    (out, predictor)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_restored_run_equals_the_uninterrupted_one(
        seeds in prop::collection::vec(any::<u8>(), 600), slope in 0.0f64..0.5, repaired in 200usize..600,
        stops in prop::collection::vec(0usize..600, 1..4),
    ) {
        let probe = device("probe-1", &probe());
        let entries = series(&probe, &seeds, slope, repaired);
        let (whole, end) = alone(&probe, &entries);
        let mut parts = predictor();
        let mut out = Vec::new();
        for (n, entry) in entries.iter().enumerate() {
            if stops.contains(&n) {
                let saved = parts.snapshot();
                parts = predictor();
                parts.restore(&saved).expect("its own snapshot");
            }
            parts.apply(&probe, entry, &mut out);
        }
        prop_assert_eq!(&out, &whole);
        prop_assert_eq!(parts.snapshot(), end.snapshot());
        prop_assert_eq!(parts.counts(), end.counts());
    }

    #[test]
    fn devices_do_not_touch_each_other_and_alerts_pair_up(
        seeds in prop::collection::vec(any::<u8>(), 600), slope in 0.0f64..0.5, repaired in 200usize..600,
        order in prop::collection::vec(any::<bool>(), 1500),
    ) {
        let devices = [device("probe-1", &probe()), device("probe-2", &probe())];
        let mut reversed = seeds.clone();
        reversed.reverse();
        let all = [series(&devices[0], &seeds, slope, repaired), series(&devices[1], &reversed, slope / 2.0, 600)];
        let mut both = predictor();
        let mut out = Vec::new();
        let mut next = [0, 0];
        for pick in order.iter().copied().chain(std::iter::repeat_n(false, 1300)).chain(std::iter::repeat_n(true, 1300)) {
            let which = usize::from(pick);
            if let Some(entry) = all[which].get(next[which]) {
                next[which] += 1;
                both.apply(&devices[which], entry, &mut out);
            }
        }
        for which in 0..2 {
            let own: Vec<_> = out.iter().filter(|change| change.alert().device == devices[which].id).cloned().collect();
            prop_assert_eq!(&own, &alone(&devices[which], &all[which]).0);
            for rule in ["level_shift", "level_rise"] {
                let of_rule: Vec<_> = own.iter().filter(|change| change.alert().rule.as_str() == rule).collect();
                for pair in of_rule.chunks(2) {
                    prop_assert!(matches!(pair[0], AlertChange::Raised(alert) if alert.cleared_at.is_none()));
                    if let Some(end) = pair.get(1) {
                        prop_assert!(matches!(end, AlertChange::Cleared(alert) if alert.cleared_at.is_some()));
                        prop_assert_eq!(end.alert().id, pair[0].alert().id);
                    }
                }
            }
        }
    }

    #[test]
    fn foreign_bytes_never_restore_and_change_nothing(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let mut predictor = predictor();
        let before = predictor.snapshot();
        if predictor.restore(&bytes).is_err() {
            prop_assert_eq!(predictor.snapshot(), before);
        }
    }
}

#[test]
fn a_rise_is_forecast_and_a_removed_forecast_ends_its_alert() {
    let probe_1 = device("probe-1", &probe());
    let entries = series(&probe_1, &[64; 600], 0.2, 1000);
    let (out, mut predictor) = alone(&probe_1, &entries);
    let raised: Vec<_> = out.iter().map(|change| change.alert().rule.to_string()).collect();
    assert!(raised.contains(&"level_rise".to_owned()), "{raised:?}");
    let mut profile = (*probe()).clone();
    profile.forecasts.clear();
    profile.version = 2;
    predictor.load(Arc::new(profile));
    let mut out = Vec::new();
    let later = Timestamp::from_secs(1_767_225_600 + 1800 * 601);
    predictor.apply(&probe_1, &sample(&probe_1, "level_mm", later, 130.0), &mut out);
    assert!(matches!(&out[..], [AlertChange::Cleared(alert)] if alert.rule.as_str() == "level_rise"), "{out:#?}");
}

#[test]
fn memory_and_late_values_are_counted_and_bounded() {
    let probe_1 = device("probe-1", &probe());
    let seeds: Vec<u8> = (0..20_000u32).map(|n| (n * 7919 % 251) as u8).collect();
    let (_, predictor) = alone(&probe_1, &series(&probe_1, &seeds, 0.0, 0));
    let size = predictor.snapshot().len();
    assert!(size < 8192, "{size} bytes");
    let counts = predictor.counts();
    assert!(counts.late > 0 && counts.unusable > 0 && counts.late + counts.unusable < counts.seen, "{counts:?}");
}

#[test]
fn a_snapshot_of_another_format_says_what_to_do() {
    let error = predictor().restore(&[9, 0, 0]).expect_err("format 9");
    assert!(matches!(error, RestoreError::Format { found: 9 }));
    assert!(error.to_string().contains("start without it"));
}
