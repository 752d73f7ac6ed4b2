//! Properties of a lift's life.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;
use crate::{truth::Phase, wire::Values};

fn spec(name: &str, seed: u64) -> LiftSpec {
    LiftSpec {
        id: DeviceId::new(name).unwrap(),
        seed,
        floors: 12,
        floor_height_m: 3.2,
        limits: Limits { speed_m_s: 2.0, acceleration_m_s2: 0.9, jerk_m_s3: 1.2 },
        rated_load_kg: 1000.0,
        building: Building::Office,
        calls_per_day: 900.0,
        hour_at_start: 8.0,
        report_interval: Duration::from_secs(10),
        has_rescue_device: true,
        wear: Wear::default(),
        reserved: false,
    }
}

fn start() -> Timestamp {
    Timestamp::from_secs(1_767_254_400)
}

/// Runs a lift for a time and hands every snapshot and output to `look`.
fn run(lift: &mut Lift, from: Timestamp, span: Duration, mut look: impl FnMut(&Snapshot, &[Output])) -> Timestamp {
    let steps = span.as_millis() / STEP.as_millis();
    let mut now = from;
    for _ in 0..steps {
        now = now + STEP;
        let outputs = lift.step(now, STEP);
        look(&lift.snapshot(), &outputs);
    }
    now
}

fn events(outputs: &[Output]) -> Vec<(Timestamp, String)> {
    outputs
        .iter()
        .filter_map(|output| match output {
            Output::Report(Report::Event { time, code, .. }) => Some((*time, code.to_string())),
            Output::Report(_) | Output::Truth(_) => None,
        })
        .collect()
}

fn telemetry(outputs: &[Output]) -> Vec<(Timestamp, Values)> {
    outputs
        .iter()
        .filter_map(|output| match output {
            Output::Report(Report::Telemetry { time, values }) => Some((*time, values.clone())),
            Output::Report(_) | Output::Truth(_) => None,
        })
        .collect()
}

fn life(spec: LiftSpec, span: Duration, injections: &[(u64, Injection)]) -> Vec<Output> {
    let mut lift = Lift::new(spec, start());
    let mut all = Vec::new();
    let mut now = start();
    let mut pending = injections.iter();
    let mut next = pending.next();
    for step in 0..span.as_millis() / STEP.as_millis() {
        while let Some((at, injection)) = next
            && step >= u128::from(*at) * 10
        {
            lift.inject(injection);
            next = pending.next();
        }
        now = now + STEP;
        all.extend(lift.step(now, STEP));
    }
    all
}

#[test]
fn the_same_seed_gives_the_same_life_and_another_seed_another_one() {
    let hour = Duration::from_secs(3600);
    let first = life(spec("a", 1), hour, &[]);
    assert_eq!(first, life(spec("a", 1), hour, &[]));
    assert_ne!(first, life(spec("a", 2), hour, &[]));
    assert_ne!(first, life(spec("b", 1), hour, &[]));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn a_healthy_lift_keeps_its_limits(seed in 0u64..10_000, floors in 2usize..40, speed in 0.6f64..5.0, hour in 0.0f64..24.0) {
        let spec = LiftSpec {
            floors,
            limits: Limits { speed_m_s: speed, acceleration_m_s2: 1.0, jerk_m_s3: 1.4 },
            hour_at_start: hour,
            calls_per_day: 3000.0,
            ..spec("healthy", seed)
        };
        let top = (floors - 1) as f64 * spec.floor_height_m;
        let mut lift = Lift::new(spec, start());
        let mut broken = None;
        run(&mut lift, start(), Duration::from_secs(1200), |shown, outputs| {
            let shut = shown.door_state == DoorState::Closed;
            let fine = (0.0..=top).contains(&shown.position_m)
                && shown.speed_m_s.abs() <= speed + 1e-9
                && (shut || shown.speed_m_s == 0.0 && shown.door_zone)
                && shown.load_kg <= 1100.0
                && outputs.iter().all(|output| !matches!(output, Output::Truth(_)));
            if !fine && broken.is_none() {
                broken = Some(shown.clone());
            }
        });
        prop_assert!(broken.is_none(), "{broken:?}");
    }

    #[test]
    fn reports_come_at_least_every_interval_in_order_and_at_most_every_700_ms(seed in 0u64..10_000) {
        let all = life(spec("reports", seed), Duration::from_secs(900), &[]);
        let times: Vec<_> = telemetry(&all).into_iter().map(|(time, _)| time).collect();
        let allowed = Duration::from_millis(700)..=Duration::from_millis(10_100);
        let regular = times.windows(2).all(|pair| allowed.contains(&pair[1].since(pair[0])));
        prop_assert!(regular);
    }
}

#[test]
fn a_day_has_a_sane_number_of_trips() {
    let mut lift = Lift::new(spec("day", 3), start());
    let before = lift.snapshot().trips;
    run(&mut lift, start(), Duration::from_secs(86_400), |_, _| {});
    let trips = lift.snapshot().trips - before;
    // 900 calls a day: each makes one to two runs, fewer when people ride together.
    assert!((700..2000).contains(&trips), "{trips}");
}

#[test]
fn changes_are_told_within_a_second() {
    let mut lift = Lift::new(spec("changes", 5), start());
    let mut told: BTreeMap<&str, String> = BTreeMap::new();
    let mut stale_ms = 0_u32;
    run(&mut lift, start(), Duration::from_secs(1800), |shown, outputs| {
        for (_, values) in telemetry(outputs) {
            for (name, value) in values {
                if name == "door_state" || name == "service_mode" {
                    told.insert(if name == "door_state" { "door" } else { "mode" }, value.to_string());
                }
            }
        }
        let door = match shown.door_state {
            DoorState::Closed => "closed",
            DoorState::Opening => "opening",
            DoorState::Open | DoorState::Faulted => "open",
            DoorState::Closing => "closing",
        };
        stale_ms = if told.get("door").is_some_and(|t| t == door) { 0 } else { stale_ms + 100 };
        assert!(stale_ms <= 1000, "the doors are {door} and the hub was told {:?}", told.get("door"));
    });
    assert_eq!(told["mode"], "normal");
}

fn number(values: &Values, name: &str) -> f64 {
    values.iter().find(|(n, _)| n == name).and_then(|(_, v)| v.as_number()).unwrap()
}

#[test]
fn door_wear_shows_before_it_fails_and_a_repair_ends_it() {
    let over = Duration::from_secs(1800);
    let wear = Injection::Wear { part: Part::Door, to: 1.0, over };
    let all = life(
        LiftSpec { calls_per_day: 3000.0, ..spec("doors", 7) },
        Duration::from_secs(3000),
        &[(0, wear), (2500, Injection::Repair)],
    );
    let codes = events(&all);
    let failed = codes.iter().find(|(_, code)| code == "door_close_fault").expect("the doors fail");
    assert!(failed.0 >= start() + Duration::from_secs(1500), "{failed:?}");
    assert!(codes.iter().any(|(time, code)| code == "out_of_service" && *time == failed.0));
    let resumed = codes.iter().rfind(|(_, code)| code == "resumed").expect("the repair brings it back");
    assert!(resumed.0 >= start() + Duration::from_secs(2500));
    let mean = |from: u64, to: u64| {
        let values: Vec<_> = telemetry(&all)
            .into_iter()
            .filter(|(t, _)| (from..to).contains(&t.since(start()).as_secs()))
            .map(|(_, values)| number(&values, "door_close_time_s"))
            .collect();
        values.iter().sum::<f64>() / values.len() as f64
    };
    let steps = [mean(0, 300), mean(600, 900), mean(1200, 1500)];
    assert!(steps.windows(2).all(|pair| pair[1] > pair[0] + 0.5), "{steps:?}");
}

#[test]
fn an_entrapment_has_a_true_begin_and_end_and_its_signals() {
    for (press_after, seed) in [(Some(Duration::from_secs(4)), 1), (None, 2)] {
        let plan = Entrapment { passengers: 1, press_after, release_after: Duration::from_secs(60) };
        let all = life(
            LiftSpec { reserved: true, ..spec("trap", seed) },
            Duration::from_secs(150),
            &[(10, Injection::Entrap(plan))],
        );
        let codes: Vec<_> = events(&all).into_iter().map(|(_, code)| code).collect();
        let pressed = codes.iter().any(|code| code == "alarm_button");
        assert_eq!(pressed, press_after.is_some(), "{codes:?}");
        assert_eq!(codes.iter().any(|code| code == "alarm_end"), pressed, "{codes:?}");
        assert!(codes.iter().any(|code| code == "stopped_outside_zone"));
        let truth: Vec<_> = all
            .iter()
            .filter_map(|output| match output {
                Output::Truth(note) if note.cause == "trapped" => Some(note),
                Output::Truth(_) | Output::Report(_) => None,
            })
            .collect();
        assert_eq!(truth.iter().map(|note| note.phase).collect::<Vec<_>>(), [Phase::Begin, Phase::End]);
        assert!(truth[0].time.since(start()) < Duration::from_secs(18), "{:?}", truth[0]);
        assert!((60..75).contains(&truth[1].time.since(truth[0].time).as_secs()));
        let shut_in = telemetry(&all).into_iter().any(|(time, values)| {
            time > truth[0].time
                && time < truth[1].time
                && number(&values, "door_zone") == 0.0
                && number(&values, "passenger_present") == 1.0
                && number(&values, "car_speed_m_s") == 0.0
        });
        assert!(shut_in);
    }
}

#[test]
fn a_power_cut_stops_the_lift_and_its_rescue_device_lets_people_out() {
    for rescue in [true, false] {
        let cut = Injection::Cut(PowerCut { lasts: Duration::from_secs(45), passengers: 2 });
        let all = life(
            LiftSpec { reserved: true, has_rescue_device: rescue, ..spec("cut", 9) },
            Duration::from_secs(120),
            &[(5, cut)],
        );
        let codes = events(&all);
        let at =
            |wanted: &str| codes.iter().find(|(_, code)| code == wanted).map(|(time, _)| time.since(start()).as_secs());
        assert_eq!(at("mains_lost"), Some(5));
        assert_eq!(at("mains_restored"), Some(50));
        assert!(at("resumed").is_some_and(|s| (50..90).contains(&s)), "{codes:?}");
        assert_eq!(at("alarm_button").is_some(), !rescue, "{codes:?}");
        let shut_in: Vec<_> = all
            .iter()
            .filter_map(|output| match output {
                Output::Truth(note) if note.cause == "trapped" => Some(note.time),
                Output::Truth(_) | Output::Report(_) => None,
            })
            .collect();
        let seconds = shut_in[1].since(shut_in[0]).as_secs();
        assert!(if rescue { seconds < 15 } else { seconds > 40 }, "{seconds}");
    }
}

#[test]
fn a_flapping_sensor_flaps_and_a_false_alarm_comes_with_open_doors() {
    let flap = Injection::Flap {
        signal: FlappingSignal::DoorZone,
        every: Duration::from_secs(2),
        lasts: Duration::from_secs(60),
    };
    let all = life(LiftSpec { reserved: true, ..spec("flap", 1) }, Duration::from_secs(100), &[(10, flap)]);
    let zones: Vec<_> = telemetry(&all).iter().map(|(_, values)| number(values, "door_zone")).collect();
    let changes = zones.windows(2).filter(|pair| pair[0] != pair[1]).count();
    assert!((25..=32).contains(&changes), "{changes}");

    let alarm = Injection::FalseAlarm { end_after: Duration::from_secs(20) };
    let mut lift = Lift::new(spec("false", 2), start());
    lift.step(start() + STEP, STEP);
    lift.inject(&alarm);
    let mut pressed = None;
    run(&mut lift, start() + STEP, Duration::from_secs(120), |shown, outputs| {
        for (time, code) in events(outputs) {
            if code == "alarm_button" {
                assert!(shown.door_state == DoorState::Open && shown.door_zone);
                pressed = Some(time);
            }
            if code == "alarm_end" {
                assert!(pressed.take().is_some_and(|at| time.since(at).as_secs() == 20));
            }
        }
    });
    assert!(pressed.is_none());
}

#[test]
fn commands_are_answered() {
    let mut lift = Lift::new(spec("commands", 1), start());
    assert!(lift.command("send_test_call", &serde_json::json!({})).is_ok());
    assert!(lift.command("set_report_interval", &serde_json::json!({"seconds": 30})).is_ok());
    assert!(lift.command("set_report_interval", &serde_json::json!({"seconds": 0})).is_err());
    let refused = lift.command("open_brake", &serde_json::json!({})).unwrap_err();
    assert!(refused.contains("open_brake"));
}
