//! The order of arrival changes nothing within the lateness; what is later than that is counted.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, LazyLock},
    time::Duration,
};

use model::{Alert, AlertChange, AlertId, Profile};
use proptest::prelude::*;

use super::{
    Bench, Tick, What, event, late, late_event,
    plain::{self, Grain},
    shipped_profile, small_profile, values,
};
use crate::Ruleset;

/// How late an entry may come in these tests, in seconds.
const LATENESS: f64 = 5.0;

fn ruleset(profile: &Profile, lateness: f64) -> Arc<Ruleset> {
    let profile = Profile { lateness: Duration::from_secs_f64(lateness), ..profile.clone() };
    Arc::new(Ruleset::compile(&profile).unwrap())
}

const RULES: &str = include_str!("arrival.toml");

static ORDERED: LazyLock<Arc<Ruleset>> = LazyLock::new(|| ruleset(&small_profile(RULES), 0.0));
static PLAIN: LazyLock<Arc<Ruleset>> = LazyLock::new(|| ruleset(&small_profile(include_str!("plain.toml")), LATENESS));
static LATE: LazyLock<Arc<Ruleset>> = LazyLock::new(|| ruleset(&small_profile(RULES), LATENESS));

/// Something that happened: when, what, and how long each copy of it takes to arrive.
type Happened = (f64, What, Vec<f64>);

fn what() -> impl Strategy<Value = What> {
    let state = prop_oneof![Just("normal"), Just("service"), Just("stopped")];
    let code = prop_oneof![Just("fault"), Just("fixed"), Just("test_ok")];
    prop_oneof![
        4 => (40..140i32).prop_map(|temp| values(&format!("temp_c={temp}"))),
        2 => state.prop_map(|state| values(&format!("mode={state}"))),
        2 => any::<bool>().prop_map(|mains| values(&format!("mains={mains}"))),
        1 => (0..400i32).prop_map(|count| values(&format!("pressure_bar={}", f64::from(count) / 10.0))),
        3 => code.prop_map(event),
    ]
}

fn history() -> impl Strategy<Value = Vec<Happened>> {
    let delays = proptest::collection::vec((0..=100u32).prop_map(|delay| f64::from(delay) * LATENESS / 100.0), 1..4);
    proptest::collection::vec((1..150u32, what(), delays), 1..50).prop_map(|steps| {
        let mut clock = 0.0;
        let happened = |(gap, what, delays): (u32, What, Vec<f64>)| {
            clock += f64::from(gap) * 0.05;
            (clock, what, delays)
        };
        steps.into_iter().map(happened).collect()
    })
}

/// The same, as it arrives.
fn arrivals(history: &[Happened]) -> Vec<(f64, What)> {
    let mut arrivals: Vec<(f64, What)> = Vec::new();
    for (at, what, delays) in history {
        for delay in delays {
            let what = match what {
                What::Event(code) => late_event(code, *delay),
                What::Values(text) => late(text, *delay),
                other => other.clone(),
            };
            arrivals.push((at + delay, what));
        }
    }
    arrivals.sort_by(|(a, _), (b, _)| a.total_cmp(b));
    arrivals
}

fn run(bench: &mut Bench, script: &[(f64, What)]) {
    for (seconds, what) in script {
        bench.step(*seconds, what);
    }
}

/// How each alert stands in the end; what was withdrawn does not count.
fn ended(bench: &Bench, until: f64) -> BTreeMap<AlertId, Alert> {
    let mut alerts = BTreeMap::new();
    for change in &bench.out {
        if let AlertChange::Cleared(alert) = change
            && !alert.evidence.withdrawn
        {
            alerts.insert(alert.id, (**alert).clone());
        }
    }
    alerts.extend(bench.engine.standing().map(|alert| (alert.id, alert.clone())));
    alerts.retain(|_, alert| alert.raised_at < super::at(until));
    alerts
}

#[expect(clippy::cast_possible_truncation, reason = "a few minutes")]
fn grain(seconds: f64) -> Grain {
    (seconds * 20.0).round() as Grain
}

/// An alert as the plain reference tells it; what ends after `until` has not ended.
fn in_grains(alert: &Alert, until: Grain) -> plain::Found {
    let rule = ["hot", "fault", "no_test", "windowed", "fused"].into_iter().find(|id| *id == alert.rule.as_str());
    let grains = |time: model::Timestamp| (time.as_micros() - super::at(0.0).as_micros()) / 50_000;
    (rule.unwrap(), grains(alert.raised_at), alert.cleared_at.map(grains).filter(|end| *end <= until))
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_order_and_any_copies_give_the_same_as_the_ordered_run(history in history()) {
        let end = history.last().map_or(0.0, |(at, ..)| *at) + 200.0;
        let mut ordered = Bench::with_rules(Arc::clone(&ORDERED));
        let script: Vec<_> = history.iter().map(|(at, what, _)| (*at, what.clone())).collect();
        run(&mut ordered, &script);
        ordered.step(end, &Tick);
        let mut permuted = Bench::with_rules(Arc::clone(&LATE));
        run(&mut permuted, &arrivals(&history));
        permuted.step(end + 3.0 * LATENESS, &Tick);
        prop_assert_eq!(permuted.engine.counts().late, 0);
        prop_assert_eq!(ended(&permuted, end - 30.0), ended(&ordered, end - 30.0));
    }

    #[test]
    fn any_order_and_any_copies_give_what_the_plain_reference_finds_in_order(history in history()) {
        let end = history.last().map_or(0.0, |(at, ..)| *at) + 60.0;
        let mut permuted = Bench::with_rules(Arc::clone(&PLAIN));
        run(&mut permuted, &arrivals(&history));
        permuted.step(end + 3.0 * LATENESS, &Tick);
        let script: Vec<_> = history.iter().map(|(at, what, _)| (grain(*at), what.clone())).collect();
        let until = grain(end);
        let engine: BTreeSet<plain::Found> = ended(&permuted, end).values().map(|alert| in_grains(alert, until)).collect();
        let reference = plain::found(&script, until).into_iter().filter(|(_, at, _)| *at < until).collect();
        prop_assert_eq!(engine, reference);
    }

    #[test]
    fn stopping_anywhere_loses_nothing(history in history(), cut in any::<proptest::sample::Index>()) {
        let script = arrivals(&history);
        let cut = 1 + cut.index(script.len());
        // Less than a hub may be away before silence meanwhile no longer counts.
        let end = script.last().map_or(0.0, |(at, _)| *at) + 100.0;
        let mut whole = Bench::with_rules(Arc::clone(&LATE));
        run(&mut whole, &script);
        whole.step(end, &Tick);
        let mut first = Bench::with_rules(Arc::clone(&LATE));
        run(&mut first, &script[..cut]);
        let mut second = Bench::with_rules(Arc::clone(&LATE));
        second.engine.restore(&first.engine.snapshot()).unwrap();
        second.out = first.out;
        run(&mut second, &script[cut..]);
        second.step(end, &Tick);
        prop_assert_eq!(ended(&second, end), ended(&whole, end));
        prop_assert_eq!(second.engine.snapshot(), whole.engine.snapshot());
    }

    #[test]
    fn what_endangers_people_is_told_as_early_as_without_any_lateness(history in history()) {
        let history: Vec<Happened> = history.into_iter().map(|(at, what, _)| (at, what, vec![0.0])).collect();
        let told = |ruleset: &Arc<Ruleset>| {
            let mut bench = Bench::with_rules(Arc::clone(ruleset));
            let mut told = Vec::new();
            for (at, what) in arrivals(&history) {
                bench.step(at, &what);
                let raised = bench.out.drain(..).filter(|c| matches!(c, AlertChange::Raised(a) if a.life_safety));
                told.extend(raised.map(|change| (at.to_bits(), change.alert().id)));
            }
            told
        };
        prop_assert_eq!(told(&LATE), told(&ORDERED));
    }
}

fn lines(profile: &Profile, script: &[(f64, What)]) -> Vec<String> {
    let mut bench = Bench::with_rules(ruleset(profile, LATENESS));
    run(&mut bench, script);
    bench.lines()
}

#[test]
fn an_earlier_message_takes_its_place() {
    let profile = small_profile(
        "[[rules]]\nid = \"r\"\ntitle = { en = \"R\", zh = \"规\" }\nsource = \"test\"\nseverity = \"minor\"\nticket = \"breakdown\"\nwhen = 'temp_c > 120'\nfor = \"10s\"\n",
    );
    // At 12 it was cool for a moment; that message came three seconds late.
    let script =
        [(5.0, values("temp_c=130")), (14.0, values("temp_c=131")), (15.0, late("temp_c=90", 3.0)), (60.0, Tick)];
    assert_eq!(lines(&profile, &script), ["00:24 raised r"]);
    // Nothing is told before it is settled.
    assert_eq!(lines(&profile, &script[..1]), [""; 0]);
    let waiting = [script[0].clone(), (19.9, Tick)];
    assert_eq!(lines(&profile, &waiting), [""; 0]);
    let settled = [script[0].clone(), (20.1, Tick)];
    assert_eq!(lines(&profile, &settled), ["00:15 raised r"]);
}

#[test]
fn what_comes_too_late_is_counted_and_counts_from_now_on() {
    let profile = small_profile(
        "[[rules]]\nid = \"r\"\ntitle = { en = \"R\", zh = \"规\" }\nsource = \"test\"\nseverity = \"minor\"\nticket = \"breakdown\"\nwhen = 'mains'\nfor = \"3s\"\n",
    );
    let mut bench = Bench::with_rules(ruleset(&profile, LATENESS));
    run(&mut bench, &[(0.0, values("temp_c=50")), (100.0, values("temp_c=51")), (101.0, late("mains=true", 60.0))]);
    let late = bench.engine.take_late();
    assert_eq!(bench.engine.counts().late, 1);
    assert_eq!(late.len(), 1);
    assert_eq!((late[0].time, late[0].by), (super::at(41.0), Duration::from_secs(54)));
    run(&mut bench, &[(200.0, Tick)]);
    // It held since 41; it is known since what was settled when it came.
    assert_eq!(bench.lines(), ["01:39 raised r"]);
}

#[test]
fn an_entrapment_does_not_wait_and_a_wrong_one_is_withdrawn() {
    let lift = shipped_profile("lift");
    let stuck = "car_speed_m_s=0 door_zone=false door_state=closed passenger_present=true car_load_kg=75 mains_present=true safety_chain_closed=true service_mode=normal";
    let told = lines(&lift, &[(10.0, values(stuck)), (11.0, event("alarm_button")), (13.0, Tick)]);
    assert_eq!(told, ["00:13 raised entrapment"]);
    // A message of second 11 that came at 14 shows that the car was at a landing with its doors open.
    let mut bench = Bench::with_rules(ruleset(&lift, LATENESS));
    run(&mut bench, &[(10.0, values(stuck)), (13.1, Tick), (14.0, late("door_zone=true door_state=open", 3.0))]);
    run(&mut bench, &[(30.0, Tick)]);
    assert_eq!(bench.lines(), ["00:13 raised entrapment", "00:13 cleared entrapment"]);
    assert!(bench.out[1].alert().evidence.withdrawn);
    assert_eq!(bench.engine.standing().count(), 0);
}

#[test]
fn what_a_device_tells_after_a_silence_keeps_its_time() {
    let lift = shipped_profile("lift");
    let stuck = "car_speed_m_s=0 door_zone=false door_state=closed passenger_present=true car_load_kg=75 mains_present=true safety_chain_closed=false service_mode=normal";
    let mut bench = Bench::with_rules(ruleset(&lift, LATENESS));
    run(&mut bench, &[(10.0, values("car_speed_m_s=1 door_zone=false door_state=closed")), (69.0, Tick)]);
    assert_eq!(bench.lines(), [""; 0]);
    // It was cut off, and tells in one go what happened meanwhile.
    run(&mut bench, &[(70.0, late(stuck, 50.0)), (70.1, late("car_speed_m_s=0", 40.1))]);
    assert_eq!(bench.lines(), ["00:23 raised entrapment"]);
    run(&mut bench, &[(71.0, late(stuck, 1.0)), (90.0, Tick)]);
    let raised = bench.out.iter().filter(|change| change.alert().rule.as_str() == "entrapment");
    assert_eq!(raised.count(), 1);
    assert_eq!(bench.engine.counts().late, 0);
}

#[test]
fn an_alert_of_another_beginning_takes_the_place_of_the_one_that_was_told() {
    let profile = small_profile(
        "[[rules]]\nid = \"r\"\ntitle = { en = \"R\", zh = \"规\" }\nsource = \"test\"\nseverity = \"critical\"\nticket = \"entrapment\"\nlife_safety = true\nwhen = 'temp_c > 120'\nfor = \"3s\"\n",
    );
    let mut bench = Bench::with_rules(ruleset(&profile, LATENESS));
    run(&mut bench, &[(10.0, values("temp_c=130")), (13.1, Tick)]);
    assert_eq!(bench.lines(), ["00:13 raised r"]);
    // It began a second before; nobody is called anew for that.
    run(&mut bench, &[(14.0, late("temp_c=130", 5.0)), (14.1, Tick)]);
    assert_eq!(bench.lines(), ["00:13 raised r"]);
    run(&mut bench, &[(30.0, Tick)]);
    assert_eq!(bench.lines(), ["00:13 raised r", "00:12 raised r", "00:13 cleared r"]);
    assert!(bench.out[2].alert().evidence.withdrawn);
    assert_eq!(bench.engine.standing().count(), 1);
}
