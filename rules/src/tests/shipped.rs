//! The profiles that the product ships.

use model::{AlertChange, Severity, TicketKind};

use super::{Bench, Tick, check, event, shipped_profile, values};
use crate::Ruleset;

const ALL: [&str; 3] = ["lift", "escalator", "water_pump"];

#[test]
fn every_shipped_profile_compiles() {
    for id in ALL {
        let profile = shipped_profile(id);
        let ruleset = Ruleset::compile(&profile).unwrap_or_else(|error| panic!("{error}"));
        assert_eq!(ruleset.profile().as_str(), id);
        for rule in &profile.rules {
            assert!(!rule.source.is_empty(), "{} has no source", rule.id);
            assert!(rule.runbook.is_some(), "{} prepares no repair", rule.id);
            assert_eq!(rule.life_safety, rule.severity == Severity::Critical, "{}", rule.id);
        }
        for command in &profile.commands {
            assert!(
                matches!(command.name.as_str(), "send_test_call" | "set_report_interval" | "identify"),
                "{}",
                command.name
            );
        }
    }
}

#[test]
fn every_text_is_in_both_languages() {
    for id in ALL {
        let profile = shipped_profile(id);
        let mut texts = vec![&profile.name];
        texts.extend(profile.channels.iter().map(|channel| &channel.name));
        texts.extend(profile.events.iter().map(|event| &event.name));
        texts.extend(profile.rules.iter().map(|rule| &rule.title));
        texts.extend(
            profile
                .runbooks
                .iter()
                .flat_map(|r| [&r.title, &r.skill].into_iter().chain(&r.steps).chain(&r.parts).chain(&r.tools)),
        );
        for text in texts {
            assert!(!text.en.is_empty() && text.en.is_ascii() | text.en.contains(['°', '±']), "{id}: {}", text.en);
            assert!(text.zh.chars().any(|c| ('\u{4e00}'..='\u{9fff}').contains(&c)), "{id}: {}", text.zh);
        }
    }
}

#[test]
fn a_status_feed_raises_one_alert_for_each_breakdown_and_nothing_else() {
    for id in ["lift", "escalator"] {
        let hour = 3600.0;
        check(
            &shipped_profile(id),
            &[
                (0.0, values("unit_state=on")),
                (100.0 * hour, values("unit_state=broken")),
                (101.0 * hour, values("unit_state=broken")),
                (102.0 * hour, values("unit_state=inspection")),
                (103.0 * hour, values("unit_state=broken")),
                (104.0 * hour, values("unit_state=on")),
                (900.0 * hour, Tick),
            ],
            &[
                "6000:00 raised unit_broken",
                "6120:00 cleared unit_broken",
                "6180:00 raised unit_broken",
                "6240:00 cleared unit_broken",
            ],
        );
    }
}

#[test]
fn test_calls_and_contact() {
    let lift = shipped_profile("lift");
    let mut bench = Bench::new(&lift);
    bench.step(0.0, &values("car_speed_m_s=0 door_zone=true door_state=closed mains_present=true"));
    bench.step(1.0, &event("test_call_failed"));
    bench.step(2.0, &event("test_call_ok"));
    bench.step(700.0, &Tick);
    assert_eq!(
        bench.lines(),
        ["00:01 raised test_call_failed", "00:02 cleared test_call_failed", "10:02 raised controller_silent"]
    );
    let silent = bench.out[2].alert();
    assert_eq!(silent.kind, TicketKind::Breakdown);
    assert_eq!(silent.evidence.summary.en, "Nothing heard from the controller: silent for 10 min.");
    bench.out.clear();
    bench.step(72.0 * 3600.0 + 3.0, &values("car_speed_m_s=0"));
    bench.step(72.0 * 3600.0 + 10.0, &Tick);
    assert_eq!(bench.lines(), ["4320:03 cleared controller_silent", "4320:02 raised test_call_overdue"]);
    assert_eq!(
        bench.out[1].alert().evidence.summary.en,
        "No successful test call for three days: no \"Test call succeeded\" for 3 d."
    );
}

#[test]
fn faults_of_a_lift() {
    let lift = shipped_profile("lift");
    let at_rest = values(
        "car_speed_m_s=0 door_zone=true door_state=open mains_present=true safety_chain_closed=false passenger_present=false car_load_kg=0",
    );
    check(
        &lift,
        &[(0.0, at_rest.clone()), (10.0, event("door_close_fault")), (60.0, event("resumed")), (200.0, Tick)],
        &["00:10 raised door_fault", "02:00 cleared door_fault"],
    );
    check(
        &lift,
        &[(0.0, at_rest.clone()), (10.0, event("unintended_movement"))],
        &["00:10 raised unintended_movement"],
    );
    check(
        &lift,
        &[
            (0.0, at_rest.clone()),
            (5.0, event("mains_lost mains_present=false")),
            (10.0, event("door_close_fault")),
            (40.0, Tick),
        ],
        &["00:07 raised mains_loss"],
    );
    let mut bench = Bench::new(&lift);
    bench.step(0.0, &at_rest);
    bench.step(1.0, &values("motor_temp_c=125 battery_v=11.2 levelling_error_mm=-24"));
    bench.step(400.0, &Tick);
    assert_eq!(
        bench.lines(),
        ["01:01 raised motor_overtemperature", "02:01 raised levelling", "05:01 raised battery_low"]
    );
    assert!(bench.out.iter().all(|change| matches!(change, AlertChange::Raised(alert) if alert.runbook.is_some())));
}

#[test]
fn mains_loss_without_the_channel_is_followed_by_its_events() {
    check(
        &shipped_profile("lift"),
        &[(0.0, event("mains_lost")), (100.0, event("mains_restored")), (200.0, Tick)],
        &["00:02 raised mains_loss", "02:10 cleared mains_loss"],
    );
}

#[test]
fn a_pump_runs_dry() {
    check(
        &shipped_profile("water_pump"),
        &[
            (
                0.0,
                values(
                    "pump_state=running flow_m3_h=40 suction_pressure_bar=0.4 discharge_pressure_bar=4 mains_present=true",
                ),
            ),
            (60.0, values("flow_m3_h=0.1 discharge_pressure_bar=0.5")),
            (90.0, values("pump_state=stopped")),
            (130.0, Tick),
        ],
        &["01:10 raised dry_run", "02:00 cleared dry_run"],
    );
}

/// A lift at rest with open doors and a passenger who just left.
const AT_REST: &str = "car_speed_m_s=0 door_zone=true door_state=open mains_present=true safety_chain_closed=false passenger_present=false car_load_kg=0 service_mode=normal";

/// What the lift pack finds in a script, after its last step has settled.
fn found(script: &[(f64, super::What)]) -> Vec<String> {
    let mut bench = Bench::new(&shipped_profile("lift"));
    bench.step(0.0, &values(AT_REST));
    for (seconds, what) in script {
        bench.step(*seconds, what);
    }
    bench.step(script.last().unwrap().0 + 6.0, &Tick);
    bench.lines().into_iter().filter(|line| !line.contains("controller_silent")).collect()
}

#[test]
fn an_alarm_that_nobody_answers() {
    let pressed = [
        (1.0, event("alarm_acknowledged")),
        (9.0, values("door_state=closed safety_chain_closed=true")),
        (10.0, event("alarm_button")),
    ];
    let mut script = pressed.to_vec();
    script.push((190.0, Tick));
    assert_eq!(found(&script), ["00:55 raised alarm_unfiltered", "03:10 raised alarm_unanswered"]);
    // Answered too late: somebody still has to let them out.
    script.extend([(200.0, event("alarm_acknowledged")), (400.0, event("alarm_end")), (420.0, Tick)]);
    let late = found(&script);
    assert!(late.contains(&"06:45 cleared alarm_unanswered".to_owned()), "{late:?}");
    // Answered: it waits for people, not for an answer any more.
    let mut script = pressed.to_vec();
    script.extend([(60.0, event("alarm_acknowledged")), (400.0, event("alarm_end")), (420.0, Tick)]);
    assert_eq!(found(&script), ["00:55 raised alarm_unfiltered", "06:50 cleared alarm_unfiltered"]);
}

#[test]
fn what_happens_too_often() {
    let often = |code: &str, every: f64, times: u32| -> Vec<_> {
        (0..times).map(|n| (10.0 + every * f64::from(n), event(code))).collect()
    };
    assert_eq!(found(&often("lock_bounce", 3600.0, 3)), ["120:10 raised lock_bounce"]);
    assert!(found(&often("lock_bounce", 50_000.0, 5)).is_empty());
    assert_eq!(found(&often("door_reopened", 60.0, 20)), ["19:10 raised door_reversal_rate"]);
    assert!(found(&often("door_reopened", 300.0, 40)).is_empty());
    assert_eq!(found(&often("overload", 60.0, 10)), ["09:10 raised overload_repeated"]);
    assert_eq!(found(&often("alarm_button", 60.0, 5)), ["04:10 raised alarm_misuse"]);
    let twice = found(&often("run_time_limiter", 3600.0, 2));
    assert_eq!(twice, ["00:10 raised controller_fault", "60:10 raised run_time_limiter_repeated"]);
}

#[test]
fn levels_over_hours() {
    let every = |text: &str, count: u32| -> Vec<_> {
        (0..count).map(|n| (60.0 + 600.0 * f64::from(n), values(text))).collect()
    };
    assert_eq!(found(&every("levelling_error_mm=-14", 5)), ["31:00 raised levelling_drift_average"]);
    assert!(found(&every("levelling_error_mm=9", 5)).is_empty());
    assert_eq!(found(&every("machine_room_temp_c=43", 2)), ["01:00 raised machine_room_hot"]);
    // One bad stop among good ones is no drift.
    let mut script = every("levelling_error_mm=1", 6);
    script.push((4000.0, values("levelling_error_mm=-19")));
    assert!(found(&script).is_empty());
}

#[test]
fn segments_bypass_and_modes() {
    let shut = (5.0, values("door_state=closed safety_segment_open=governor"));
    assert_eq!(found(&[shut.clone(), (20.0, Tick)]), ["00:15 raised safety_segment"]);
    assert!(found(&[(5.0, values("safety_segment_open=landing_locks")), (60.0, Tick)]).is_empty());
    assert!(found(&[(4.0, values("service_mode=inspection")), shut, (60.0, Tick)]).is_empty());
    let moving = (20.0, values("car_speed_m_s=0.8 door_state=closed door_zone=false"));
    assert_eq!(
        found(&[(10.0, event("door_bypass_on")), moving.clone(), (23.0, Tick)]),
        ["00:22 raised bypass_in_service"]
    );
    // The same under inspection is what the bypass is for.
    let inspection = (9.0, values("service_mode=inspection"));
    assert!(found(&[inspection, (10.0, event("door_bypass_on")), moving, (23.0, Tick)]).is_empty());
    let mut bypassed = vec![(10.0, event("door_bypass_on"))];
    bypassed.extend((1..=7).map(|n| (600.0 * f64::from(n), values("car_speed_m_s=0"))));
    assert_eq!(found(&bypassed), ["60:10 raised door_bypass"]);
    let quake = [(10.0, values("service_mode=earthquake")), (60.0, Tick)];
    assert_eq!(found(&quake), ["00:20 raised earthquake_stop"]);
    assert_eq!(found(&[(10.0, event("brake_monitor_fault"))]), ["00:10 raised brake_monitoring"]);
    assert_eq!(found(&[(10.0, event("battery_fault"))]), ["00:10 raised battery_fault"]);
}
