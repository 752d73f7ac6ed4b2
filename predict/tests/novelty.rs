//! The anomaly score of streams: nothing from the future, no panic on rubbish, bounded memory.

use predict::novelty::{ANOMALY, Finding, Scorer, View, WARM_UP};
use proptest::prelude::*;

const STEP_US: i64 = 300_000_000;

fn run(values: impl IntoIterator<Item = f64>) -> Vec<Option<Finding>> {
    let mut scorer = Scorer::new(1);
    (0..).zip(values).map(|(n, value)| scorer.take(n * STEP_US, [Some(value)])).collect()
}

fn alarms(found: &[Option<Finding>]) -> Vec<usize> {
    let alarm = |(n, found): (usize, &Option<Finding>)| found.filter(|found| found.score >= ANOMALY).map(|_| n);
    found.iter().enumerate().filter_map(alarm).collect()
}

/// Two weeks of a day's cycle with noise.
fn daily(n: usize) -> f64 {
    let wobble = ((n * 7919) % 1009) as f64 / 1009.0 - 0.5;
    50.0 + 20.0 * (n as f64 * std::f64::consts::TAU / 288.0).sin() + 3.0 * wobble
}

#[test]
fn a_spike_a_missing_day_and_a_flat_line_are_found_and_explained() {
    let spiked = run((0..4000).map(|n| if n == 3000 { 160.0 } else { daily(n) }));
    let found = spiked[3000].expect("a score");
    assert!(found.score > 0.8 && alarms(&spiked[1500..]).len() <= 3, "{found:?}");
    assert!(matches!(found.view, View::Value | View::Step | View::Departure));
    assert!(found.seen > found.bound);
    let missing = run((0..4000).map(|n| if (3000..3200).contains(&n) { 50.0 } else { daily(n) }));
    let first = alarms(&missing).into_iter().find(|n| *n >= 3000).expect("an alarm");
    assert!(first < 3060, "{first}");
}

#[test]
fn a_level_shift_is_reported_once_and_becomes_normal() {
    let found = run((0..8000).map(|n| daily(n) + if n >= 3000 { 60.0 } else { 0.0 }));
    let late = alarms(&found);
    assert!(late.iter().any(|n| (3000..3020).contains(n)), "{late:?}");
    assert!(late.iter().filter(|n| **n > 3600).count() <= 2, "{late:?}");
}

#[test]
fn a_glitch_does_not_blind_the_channel() {
    let found = run((0..6000).map(|n| match n {
        2000 => 1e9,
        4000 => 500.0,
        _ => daily(n),
    }));
    assert!(found[2000].expect("a score").score > 0.9);
    assert!(found[4000].expect("a score").score > ANOMALY, "{:?}", found[4000]);
}

#[test]
fn constant_channels_and_two_level_channels_are_quiet() {
    assert!(alarms(&run((0..3000).map(|_| 0.0))).is_empty());
    assert!(alarms(&run((0..3000).map(|_| 45.0))).is_empty());
    assert_eq!(alarms(&run((0..3000).map(|n| if n == 2500 { 45.5 } else { 45.0 })))[..1], [2500]);
    let square = run((0..4000).map(|n| if n % 288 < 108 { 20.0 } else { 80.0 }));
    assert!(alarms(&square).iter().all(|n| *n <= 576), "{:?}", alarms(&square));
}

#[test]
fn what_is_no_number_has_no_score_and_changes_nothing() {
    let rubbish = [f64::NAN, f64::INFINITY, f64::NEG_INFINITY, f64::MAX];
    let (mut clean, mut dirty) = (Scorer::new(1), Scorer::new(1));
    for n in 0..3000 {
        let time = n as i64 * STEP_US;
        assert_eq!(dirty.take(time, [Some(rubbish[n % 4])]), None);
        assert_eq!(dirty.take(time, [None]), None);
        assert_eq!(clean.take(time, [Some(daily(n))]), dirty.take(time, [Some(daily(n))]));
    }
    assert_eq!(clean, dirty);
}

#[test]
fn gaps_and_times_that_go_back_are_survived() {
    let mut scorer = Scorer::new(1);
    let mut late = 0;
    for n in 0..6000usize {
        let day = if n < 3000 { 0 } else { 40 };
        let time = n as i64 * STEP_US + day * 86_400_000_000;
        let found = scorer.take(time, [Some(daily(n))]);
        late += usize::from(n >= 3000 && found.is_some_and(|found| found.score >= ANOMALY));
        if n % 500 == 0 {
            scorer.take(time - 3_600_000_000, [Some(daily(n))]);
            scorer.take(i64::MIN, [Some(daily(n))]);
            scorer.take(i64::MAX, [Some(daily(n))]);
        }
    }
    assert!(late <= 3, "{late}");
}

#[test]
fn many_channels_name_the_one_that_speaks() {
    let mut scorer = Scorer::new(3);
    for n in 0..3000usize {
        let odd = if n == 2500 { 400.0 } else { daily(n) };
        let found = scorer.take(n as i64 * STEP_US, [Some(daily(n + 100)), Some(odd), Some(1.0)]);
        assert_eq!(found.is_some(), n >= WARM_UP as usize);
        if n == 2500 {
            let found = found.expect("a score");
            assert!(found.channel == 1 && found.score > 0.8, "{found:?}");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 32, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_future_changes_no_score(
        values in prop::collection::vec(any::<f64>(), 400), other in prop::collection::vec(any::<f64>(), 200), cut in 1usize..400,
    ) {
        let whole = run(values.iter().copied());
        prop_assert_eq!(&run(values[..cut].iter().copied())[..], &whole[..cut]);
        let changed = run(values[..cut].iter().chain(&other).copied());
        prop_assert_eq!(&changed[..cut], &whole[..cut]);
        for found in whole.into_iter().flatten() {
            prop_assert!((0.0..=1.0).contains(&found.score), "{:?}", found);
        }
    }

    #[test]
    fn a_saved_scorer_goes_on_as_if_nothing_had_been(values in prop::collection::vec(-1e6f64..1e6, 500), stop in 0usize..500) {
        let mut whole = Scorer::new(1);
        let mut parts = Scorer::new(1);
        for (n, value) in values.iter().enumerate() {
            if n == stop {
                let saved = postcard::to_stdvec(&parts).expect("encodes");
                prop_assert!(saved.len() < 2600, "{} bytes", saved.len());
                parts = postcard::from_bytes(&saved).expect("decodes");
            }
            let time = n as i64 * STEP_US;
            prop_assert_eq!(whole.take(time, [Some(*value)]), parts.take(time, [Some(*value)]));
        }
    }
}
