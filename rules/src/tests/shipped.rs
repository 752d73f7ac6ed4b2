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
    assert_eq!(bench.lines(), ["4320:02 raised test_call_overdue", "4320:03 cleared controller_silent"]);
    assert_eq!(
        bench.out[0].alert().evidence.summary.en,
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
