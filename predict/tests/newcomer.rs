//! Novelty as a detector of the live path: raised at the onset, told in words, cleared when nothing new comes.

mod support;

use std::{path::Path, sync::Arc};

use model::{AlertChange, Profile, Timestamp};
use predict::Predictor;
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

[[detectors]]
id = "level_new"
title = { en = "Level as never before", zh = "液位从未如此" }
channel = "level_mm"
warm_up = 500
novelty = 0.9
severity = "minor"
ticket = "forecast"
"#;

fn probe() -> Arc<Profile> {
    Arc::new(Profile::parse(Path::new("probe.toml"), PROFILE).expect("the profile is valid"))
}

fn usual(n: i64) -> f64 {
    let wobble = ((n * 7919) % 1009) as f64 / 1009.0 - 0.5;
    50.0 + 20.0 * (n as f64 * std::f64::consts::TAU / 144.0).sin() + 3.0 * wobble
}

/// One value each ten minutes; saved and restored at `stop`.
fn run(values: impl Iterator<Item = f64>, stop: i64) -> (Vec<AlertChange>, Predictor) {
    let lift = device("probe-1", &probe());
    let mut predictor = Predictor::new();
    predictor.load(probe());
    let mut out = Vec::new();
    for (n, value) in (0..).zip(values) {
        if n == stop {
            let saved = predictor.snapshot();
            predictor = Predictor::new();
            predictor.load(probe());
            predictor.restore(&saved).expect("its own snapshot");
        }
        let time = Timestamp::from_secs(1_767_225_600 + 600 * n);
        predictor.apply(&lift, &sample(&lift, "level_mm", time, value), &mut out);
    }
    (out, predictor)
}

#[test]
fn an_onset_is_raised_told_and_cleared_a_day_later() {
    let values = || (0..4000).map(|n| usual(n) + if (3000..3010).contains(&n) { 90.0 } else { 0.0 });
    let (out, predictor) = run(values(), -1);
    let [AlertChange::Raised(raised), AlertChange::Cleared(cleared)] = &out[..] else { panic!("{out:#?}") };
    println!("{}\n{}", raised.evidence.summary.en, raised.evidence.summary.zh);
    assert!(raised.evidence.summary.en.starts_with("Level "));
    let after = cleared.cleared_at.expect("an end").seconds_after(raised.raised_at) / 3600.0;
    assert!((24.0..27.0).contains(&after), "{after} hours");
    assert_eq!(raised.id, cleared.id);
    assert!(predictor.snapshot().len() < 4096, "{} bytes", predictor.snapshot().len());
    // Saved and restored anywhere, also while the alert stands, it goes on the same.
    for stop in [10, 1200, 3005, 3100] {
        assert_eq!(run(values(), stop).0, out, "{stop}");
    }
}

#[test]
fn the_first_week_only_teaches_and_ordinary_months_are_quiet() {
    let (out, _) = run((0..900).map(|n| usual(n) + if n == 800 { 500.0 } else { 0.0 }), -1);
    assert!(out.is_empty(), "{out:#?}");
    let (out, _) = run((0..12_960).map(usual), -1);
    assert!(out.is_empty(), "{out:#?}");
}

#[test]
fn a_profile_must_choose_between_shift_and_novelty() {
    for (wrong, hint) in [
        ("novelty = 0.9\nsigmas = 6.0", "either sigmas or novelty"),
        ("", "either sigmas or novelty"),
        ("novelty = 1.5", "novelty that is no score"),
        ("sigmas = 1.0", "would fire on noise"),
    ] {
        let text = PROFILE.replace("novelty = 0.9", wrong);
        let error = Profile::parse(Path::new("probe.toml"), &text).expect_err("it is wrong").to_string();
        assert!(error.contains(hint), "{error}");
    }
}

/// Two channels that a slow common cause moves, and from `own_from` on one of them on its own.
fn beside(own_from: i64, companion_first: bool) -> Vec<AlertChange> {
    let second = "\n[[channels]]\nid = \"other_mm\"\nname = { en = \"Other\", zh = \"其他\" }\ntype = \"number\"\nunit = \"mm\"\nrange = [-1000.0, 1000.0]\n";
    let text = PROFILE.replace("novelty = 0.9", "novelty = 0.8\nbeside = \"other_mm\"") + second;
    let profile = Arc::new(Profile::parse(Path::new("probe.toml"), &text).expect("the profile is valid"));
    let lift = device("probe-1", &profile);
    let mut predictor = Predictor::new();
    predictor.load(profile);
    let mut out = Vec::new();
    for n in 0..5000i64 {
        let time = Timestamp::from_secs(1_767_225_600 + 600 * n);
        // Rises to three times what was ever seen while anything is learnt.
        let cause = usual(n) + if n > 3000 { (n - 3000) as f64 / 10.0 } else { 0.0 };
        let own = if n >= own_from { 25.0 } else { 0.0 };
        let mut pair = vec![("level_mm", 2.0 * cause + own + usual(n * 3) / 50.0), ("other_mm", cause)];
        if companion_first {
            pair.reverse();
        }
        for (channel, value) in pair {
            predictor.apply(&lift, &sample(&lift, channel, time, value), &mut out);
        }
    }
    out
}

#[test]
fn a_common_cause_beside_another_channel_is_no_alarm_but_an_own_change_is() {
    for companion_first in [true, false] {
        assert!(beside(i64::MAX, companion_first).is_empty());
        let out = beside(3500, companion_first);
        let Some(AlertChange::Raised(raised)) = out.first() else { panic!("{out:#?}") };
        println!("{}", raised.evidence.summary.en);
        assert!(raised.evidence.summary.en.contains("higher beside Other than it ever was"), "{raised:#?}");
        let after_h = raised.raised_at.seconds_after(Timestamp::from_secs(1_767_225_600 + 600 * 3500)) / 3600.0;
        assert!((0.0..2.0).contains(&after_h), "{after_h}");
    }
}
