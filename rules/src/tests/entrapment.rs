//! A person is shut in: with every signal, without the button, with a signal missing or lying, and not at all.

use super::{Bench, Tick, What, check, event, shipped_profile, values};

/// A car that stopped between floors with somebody inside.
const STUCK: &str = "car_speed_m_s=0 door_zone=false door_state=closed passenger_present=true car_load_kg=75 mains_present=true safety_chain_closed=true service_mode=normal drive_current_a=0";

/// The same, some values replaced and some taken away.
fn stuck(changes: &[(&str, Option<&str>)]) -> What {
    let kept = STUCK.split_whitespace().filter_map(|pair| {
        let name = pair.split('=').next().unwrap();
        match changes.iter().find(|(changed, _)| *changed == name) {
            None => Some(pair.to_owned()),
            Some((_, value)) => value.map(|value| format!("{name}={value}")),
        }
    });
    values(&kept.collect::<Vec<_>>().join(" "))
}

/// The alerts of kind entrapment within five seconds of the signals.
fn within_five_seconds(script: &[(f64, What)]) -> Vec<String> {
    let mut bench = Bench::new(&shipped_profile("lift"));
    for (seconds, what) in script {
        bench.step(*seconds, what);
    }
    bench.step(script.last().unwrap().0 + 5.0, &Tick);
    bench.lines().into_iter().filter(|line| line.contains("entrapment")).collect()
}

#[test]
fn the_button_is_pressed_in_a_stuck_car() {
    let script = [(10.0, stuck(&[])), (11.0, event("alarm_button"))];
    assert_eq!(within_five_seconds(&script), ["00:13 raised entrapment"]);
    // The button arrives first: its lane is faster.
    let script = [(10.0, event("alarm_button")), (10.2, stuck(&[]))];
    assert_eq!(within_five_seconds(&script), ["00:13.2 raised entrapment"]);
}

#[test]
fn nobody_presses_the_button() {
    assert_eq!(within_five_seconds(&[(10.0, stuck(&[]))]), ["00:13 raised entrapment"]);
}

#[test]
fn one_signal_is_missing() {
    for missing in [
        "car_speed_m_s",
        "door_zone",
        "door_state",
        "passenger_present",
        "car_load_kg",
        "mains_present",
        "safety_chain_closed",
    ] {
        let script = [(10.0, stuck(&[(missing, None)])), (10.0, event("alarm_button"))];
        assert_eq!(within_five_seconds(&script), ["00:13 raised entrapment"], "without {missing}");
    }
    // No button either: where the others still tell it apart from boarding or running.
    for missing in ["door_state", "passenger_present", "car_load_kg", "mains_present"] {
        assert_eq!(
            within_five_seconds(&[(10.0, stuck(&[(missing, None)]))]),
            ["00:13 raised entrapment"],
            "without {missing}"
        );
    }
    for missing in ["car_speed_m_s", "door_zone"] {
        let script = [(10.0, stuck(&[(missing, None), ("mains_present", Some("false"))]))];
        assert_eq!(within_five_seconds(&script), ["00:13 raised entrapment"], "power cut, without {missing}");
    }
}

#[test]
fn one_signal_lies() {
    for (liar, value) in [
        ("car_speed_m_s", "1.6"),
        ("door_zone", "true"),
        ("door_state", "open"),
        ("passenger_present", "false"),
        ("car_load_kg", "0"),
        ("safety_chain_closed", "false"),
        ("mains_present", "false"),
    ] {
        let script = [(10.0, stuck(&[(liar, Some(value))])), (10.0, event("alarm_button"))];
        assert_eq!(within_five_seconds(&script), ["00:13 raised entrapment"], "{liar}={value}");
    }
    for (liar, value) in [("door_state", "opening"), ("passenger_present", "false"), ("car_load_kg", "0")] {
        assert_eq!(
            within_five_seconds(&[(10.0, stuck(&[(liar, Some(value))]))]),
            ["00:13 raised entrapment"],
            "{liar}={value}"
        );
    }
}

#[test]
fn both_occupancy_sensors_say_empty_but_somebody_pressed() {
    let empty = [("passenger_present", Some("false")), ("car_load_kg", Some("0"))];
    assert_eq!(
        within_five_seconds(&[(10.0, stuck(&empty)), (10.0, event("alarm_button"))]),
        ["00:13 raised entrapment"]
    );
    // Nobody pressed: an empty car between floors is a breakdown.
    check(&shipped_profile("lift"), &[(10.0, stuck(&empty)), (60.0, Tick)], &["00:40 raised stuck_between_floors"]);
}

#[test]
fn a_mistaken_press_at_a_landing_opens_nothing() {
    let lift = shipped_profile("lift");
    let open = "car_speed_m_s=0 door_zone=true door_state=open passenger_present=true car_load_kg=75 mains_present=true safety_chain_closed=false service_mode=normal drive_current_a=0";
    check(
        &lift,
        &[
            (10.0, values(open)),
            (12.0, event("alarm_button")),
            (15.0, values("door_state=closing")),
            (18.0, values("door_state=closed safety_chain_closed=true")),
            // The next passenger takes a minute to choose a floor.
            (80.0, values("car_speed_m_s=1.6 door_zone=false drive_current_a=12")),
            (95.0, values("car_speed_m_s=0 door_zone=true door_state=open drive_current_a=0")),
            (600.0, values("door_state=open")),
        ],
        &[],
    );
    // Pressed while running normally: the car reaches its landing and opens.
    check(
        &lift,
        &[
            (
                10.0,
                values(
                    "car_speed_m_s=1.6 door_zone=false door_state=closed passenger_present=true car_load_kg=75 mains_present=true drive_current_a=12",
                ),
            ),
            (12.0, event("alarm_button")),
            (25.0, values("car_speed_m_s=0.02 door_zone=true drive_current_a=3")),
            (26.0, values("door_state=opening")),
            (29.0, values("door_state=open")),
            (40.0, values("door_state=closed car_speed_m_s=0")),
            (100.0, values("car_speed_m_s=1.0")),
        ],
        &[],
    );
}

#[test]
fn the_button_alone_counts_until_doors_open_or_the_alarm_is_ended() {
    let lift = shipped_profile("lift");
    check(
        &lift,
        &[(10.0, event("alarm_button")), (100.0, Tick), (300.0, event("alarm_end")), (320.0, Tick)],
        &["00:55 raised alarm_unfiltered", "05:10 cleared alarm_unfiltered"],
    );
}

#[test]
fn a_power_cut_traps_those_inside_and_no_empty_car() {
    let lift = shipped_profile("lift");
    let parked = |occupied: bool| {
        let (passenger, load) = if occupied { ("true", "75") } else { ("false", "0") };
        stuck(&[("door_zone", Some("true")), ("passenger_present", Some(passenger)), ("car_load_kg", Some(load))])
    };
    let cut = values("mains_present=false safety_chain_closed=false");
    check(
        &lift,
        &[
            (0.0, parked(false)),
            (10.0, event("mains_lost")),
            (10.0, cut.clone()),
            (5000.0, Tick),
            (5001.0, values("mains_present=true safety_chain_closed=true")),
            (5100.0, values("mains_present=true")),
        ],
        &["00:12 raised mains_loss", "83:51 cleared mains_loss"],
    );
    check(
        &lift,
        &[(0.0, parked(true)), (5.0, cut.clone()), (30.0, Tick)],
        &["00:08 raised entrapment", "00:07 raised mains_loss"],
    );
    check(
        &lift,
        &[(0.0, stuck(&[("passenger_present", Some("false")), ("car_load_kg", Some("0"))])), (5.0, cut), (30.0, Tick)],
        &["00:07 raised mains_loss"],
    );
}

#[test]
fn they_are_let_out() {
    check(
        &shipped_profile("lift"),
        &[
            (10.0, stuck(&[])),
            (11.0, event("alarm_button")),
            (30.0, values("car_speed_m_s=0.2 door_zone=true")),
            (40.0, values("car_speed_m_s=0")),
            (60.0, values("door_state=open")),
            (65.0, values("passenger_present=false car_load_kg=0")),
            (300.0, event("alarm_end")),
        ],
        &[
            "00:13 raised entrapment",
            "00:56 raised alarm_unfiltered",
            "01:10 cleared entrapment",
            "01:10 cleared alarm_unfiltered",
        ],
    );
}

#[test]
fn normal_traffic_raises_nothing() {
    let mut script = Vec::new();
    for trip in 0..20 {
        let t = f64::from(trip) * 60.0;
        script.extend([
            (t, values("car_speed_m_s=0 door_zone=true door_state=open passenger_present=false car_load_kg=0 mains_present=true safety_chain_closed=false service_mode=normal drive_current_a=0.1 direction=none")),
            (t + 3.0, values("passenger_present=true car_load_kg=82")),
            (t + 5.0, values("door_state=closing")),
            (t + 8.0, values("door_state=closed safety_chain_closed=true")),
            (t + 15.0, values("car_speed_m_s=0.04 door_zone=true drive_current_a=18 direction=up")),
            (t + 16.0, values("car_speed_m_s=1.0 door_zone=false")),
            (t + 24.0, values("car_speed_m_s=0.3 drive_current_a=6")),
            (t + 25.0, values("car_speed_m_s=0 door_zone=true drive_current_a=0.1 levelling_error_mm=3 door_close_time_s=3.4")),
            (t + 26.0, values("door_state=opening safety_chain_closed=false")),
            (t + 29.0, values("door_state=open")),
            (t + 32.0, values("passenger_present=false car_load_kg=2")),
            (t + 40.0, values("door_state=closing")),
            (t + 43.0, values("door_state=closed safety_chain_closed=true")),
        ]);
    }
    check(&shipped_profile("lift"), &script, &[]);
}

#[test]
fn a_technician_between_floors_is_not_trapped_unless_they_call() {
    let script = [(10.0, stuck(&[("service_mode", Some("inspection"))])), (20.0, event("alarm_button"))];
    assert_eq!(within_five_seconds(&script[..1]), [] as [&str; 0]);
    assert_eq!(within_five_seconds(&script), ["00:23 raised entrapment"]);
}

#[test]
fn evidence_lists_every_signal() {
    let mut bench = Bench::new(&shipped_profile("lift"));
    bench.step(10.0, &stuck(&[("passenger_present", None), ("drive_current_a", None)]));
    bench.step(11.0, &event("alarm_button"));
    bench.step(20.0, &Tick);
    let alert = bench.out[0].alert();
    assert!(alert.life_safety);
    assert_eq!(
        alert.evidence.summary.en,
        "Person trapped in the car: alarm button pressed, car stopped, outside the door zone, doors not open and passenger inside. \
         Car speed 0 m/s; Car in door zone: no; Doors: closed; Car load 75 kg; not reported: Passenger present."
    );
    assert!(
        alert.evidence.summary.zh.starts_with("轿厢困人：已按下报警按钮、轿厢停止、不在门区、轿门未打开、轿厢内有人。"),
        "{}",
        alert.evidence.summary.zh
    );
    let signals: Vec<_> = alert
        .evidence
        .observations
        .iter()
        .take(11)
        .map(|o| format!("{}={} {}", o.name, o.value.as_ref().map_or("?".to_owned(), ToString::to_string), o.supports))
        .collect();
    assert_eq!(
        signals,
        [
            "alarm_active=true true",
            "stopped=true true",
            "outside_zone=true true",
            "doors_shut=true true",
            "occupied=true true",
            "occupancy_unknown=false false",
            "cannot_move=false false",
            "moving=false false",
            "empty=false false",
            "doors_open_at_landing=false false",
            "maintenance=? false",
        ]
    );
    let missing = alert.evidence.observations.iter().find(|o| o.name == "passenger_present").unwrap();
    assert_eq!((missing.value.clone(), missing.supports), (None, false));
    assert_eq!(alert.raised_at.to_string(), "2026-01-01T00:00:13Z");
}
