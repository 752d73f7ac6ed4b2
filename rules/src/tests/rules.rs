//! Holding, hysteresis, silence, events, gaps, late and repeated messages.

use std::path::Path;

use model::Profile;

use super::{Bench, Online, Tick, What, check, event, late, late_event, small_profile, values};
use crate::Ruleset;

fn rule(rest: &str) -> Profile {
    small_profile(&format!(
        "[[rules]]\nid = \"r\"\ntitle = {{ en = \"R\", zh = \"规\" }}\nsource = \"test\"\nseverity = \"minor\"\nticket = \"breakdown\"\n{rest}\n"
    ))
}

#[test]
fn hysteresis_and_holding_times() {
    let profile = rule("when = 'temp_c > 120'\nfor = \"60s\"\nclear_when = 'temp_c < 100'\nclear_for = \"30s\"");
    check(
        &profile,
        &[
            (0.0, values("temp_c=121")),
            (30.0, values("temp_c=119")),
            (40.0, values("temp_c=125")),
            (90.0, values("temp_c=126")),
            (130.0, values("temp_c=110")),
            (200.0, values("temp_c=95")),
            (210.0, values("temp_c=105")),
            (220.0, values("temp_c=99")),
            (300.0, Tick),
        ],
        &["01:40 raised r", "04:10 cleared r"],
    );
}

#[test]
fn what_lasts_exactly_long_enough_is_raised_and_no_less() {
    let profile = rule("when = 'mains'\nfor = \"10s\"");
    check(&profile, &[(0.0, values("mains=true")), (9.9, values("mains=false")), (60.0, Tick)], &[]);
    check(
        &profile,
        &[(0.0, values("mains=true")), (10.1, values("mains=false")), (60.0, Tick)],
        &["00:10 raised r", "00:10.1 cleared r"],
    );
}

#[test]
fn time_passes_without_messages() {
    let profile = rule("when = 'mode == \"stopped\"'\nfor = \"10s\"\nclear_for = \"5s\"");
    check(&profile, &[(0.0, values("mode=stopped")), (9.0, Tick), (11.0, Tick)], &["00:10 raised r"]);
    check(
        &profile,
        &[(0.0, values("mode=stopped")), (20.0, values("mode=normal")), (30.0, Tick)],
        &["00:10 raised r", "00:25 cleared r"],
    );
}

#[test]
fn a_copy_of_the_last_message_does_not_put_it_off() {
    let profile = rule("when = 'mode == \"stopped\"'\nfor = \"10s\"");
    let copy = || late("mode=stopped", 9.0);
    let mut bench = Bench::new(&profile);
    for (seconds, what) in [(0.0, values("mode=stopped")), (9.0, copy()), (10.1, Tick)] {
        bench.step(seconds, &what);
    }
    assert_eq!(bench.lines(), ["00:10 raised r"]);
}

#[test]
fn a_device_whose_clock_is_wrong_is_timed_by_its_own_pace() {
    let profile = rule("when = 'mains'\nfor = \"10s\"");
    // An hour behind: the condition lasts 9 s, then 11 s.
    let behind = 3600.0;
    check(
        &profile,
        &[
            (0.0, late("mains=true", behind)),
            (9.0, late("mains=false", behind)),
            (20.0, late("mains=true", behind)),
            (31.0, late("mains=false", behind)),
        ],
        &["-60:30 raised r", "-60:31 cleared r"],
    );
    // Ahead: taken to speak of the moment it was received, and believed at once when it is put right.
    check(
        &profile,
        &[(0.0, late("mains=true", -120.0)), (11.0, late("mains=false", 0.5)), (60.0, Tick)],
        &["00:10 raised r", "00:10.5 cleared r"],
    );
}

#[test]
fn silence_of_the_device() {
    let profile = rule("absence = { after = \"10m\" }");
    let start = (0.0, values("temp_c=1"));
    check(
        &profile,
        &[start.clone(), (599.0, Tick), (601.0, Tick), (700.0, event("fixed"))],
        &["10:00 raised r", "11:40 cleared r"],
    );
    // A last will is no contact: silence starts at the last word.
    check(&profile, &[start.clone(), (300.0, Online(false)), (601.0, Tick)], &["10:00 raised r"]);
    check(&profile, &[start, (300.0, Online(true)), (601.0, Tick), (901.0, Tick)], &["15:00 raised r"]);
    // A device that was never heard is not silent.
    check(&profile, &[(0.0, Online(false)), (6000.0, Tick)], &[]);
}

#[test]
fn silence_of_an_event_and_of_a_channel() {
    let profile = rule("absence = { event = \"test_ok\", after = \"72h\" }");
    let day = 86_400.0;
    check(
        &profile,
        &[
            (0.0, values("temp_c=1")),
            (day, event("test_ok")),
            (3.5 * day, values("temp_c=2")),
            (4.5 * day, Tick),
            (5.0 * day, event("test_ok")),
        ],
        &["5760:00 raised r", "7200:00 cleared r"],
    );
    // Never heard: counted from the first contact.
    check(&profile, &[(0.0, values("temp_c=1")), (3.5 * day, Tick)], &["4320:00 raised r"]);
    let profile = rule("absence = { channel = \"temp_c\", after = \"60s\" }\nclear_for = \"10s\"");
    check(
        &profile,
        &[
            (0.0, values("temp_c=1")),
            (50.0, values("temp_c=1")),
            (115.0, values("mains=true")),
            (130.0, values("temp_c=1")),
            (150.0, Tick),
        ],
        &["01:50 raised r", "02:20 cleared r"],
    );
}

#[test]
fn an_inhibited_rule_is_not_raised() {
    let profile = rule("absence = { after = \"10m\" }\nunless = '!mains'");
    check(&profile, &[(0.0, values("mains=false")), (5000.0, Tick), (5001.0, values("mains=true"))], &[]);
    check(&profile, &[(0.0, values("mains=true")), (601.0, Tick)], &["10:00 raised r"]);
    check(&profile, &[(0.0, values("temp_c=1")), (601.0, Tick)], &["10:00 raised r"]);

    let profile = rule("when = 'mode == \"stopped\"'\nfor = \"10s\"\nunless = '!mains'");
    check(
        &profile,
        &[
            (0.0, values("mode=stopped mains=false")),
            (60.0, values("mains=true")),
            (65.0, values("mains=false")),
            (90.0, values("mains=true")),
            (120.0, Tick),
        ],
        &["01:40 raised r"],
    );
    // Events during it are set aside, not kept for later.
    let profile = rule("event = { codes = [\"fault\"], clear_codes = [\"fixed\"] }\nunless = '!mains'");
    check(
        &profile,
        &[
            (0.0, values("mains=false")),
            (1.0, event("fault")),
            (9.0, values("mains=true")),
            (10.0, event("fault")),
            (11.0, event("fixed")),
        ],
        &["00:10 raised r", "00:11 cleared r"],
    );
    let profile = rule("absence = { channel = \"temp_c\", after = \"60s\" }\nunless = '!mains'");
    check(
        &profile,
        &[(0.0, values("temp_c=1 mains=false")), (90.0, values("mains=true")), (99.0, Tick)],
        &["01:30 raised r"],
    );
}

#[test]
fn events_raise_and_clear() {
    let profile =
        rule("event = { codes = [\"fault\", \"other_fault\"], clear_codes = [\"fixed\"] }\nclear_for = \"60s\"");
    check(
        &profile,
        &[
            (10.0, event("fault")),
            (20.0, event("other_fault")),
            (30.0, event("fixed")),
            (50.0, event("fault")),
            (60.0, event("fixed")),
            (130.0, Tick),
        ],
        &["00:10 raised r", "02:00 cleared r"],
    );
    // Without a code that ends it: so long after the last one.
    let profile = rule("event = { codes = [\"fault\"] }\nclear_for = \"60s\"");
    check(
        &profile,
        &[(10.0, event("fault")), (40.0, event("fault")), (120.0, Tick)],
        &["00:10 raised r", "01:40 cleared r"],
    );
    let profile = rule("event = { codes = [\"fault\"] }\nclear_when = 'mode == \"normal\"'");
    check(
        &profile,
        &[(10.0, event("fault mode=stopped")), (40.0, values("mode=normal"))],
        &["00:10 raised r", "00:40 cleared r"],
    );
    // Only what is not over within 10 s.
    let profile = rule("event = { codes = [\"fault\"], clear_codes = [\"fixed\"] }\nfor = \"10s\"");
    check(
        &profile,
        &[(0.0, event("fault")), (5.0, event("fixed")), (20.0, event("fault")), (40.0, event("fixed"))],
        &["00:30 raised r", "00:40 cleared r"],
    );
}

#[test]
fn late_and_repeated_events() {
    let profile = rule("event = { codes = [\"fault\"], clear_codes = [\"fixed\"] }");
    check(
        &profile,
        &[
            (10.0, event("fault")),
            (11.0, late_event("fault", 1.0)),
            (20.0, event("fixed")),
            (25.0, late_event("fault", 15.0)),
            (26.0, late_event("fixed", 6.0)),
            (27.0, late_event("fault", 12.0)),
        ],
        &["00:10 raised r", "00:20 cleared r"],
    );
    // Its end arrived first: both are told, in order.
    check(
        &profile,
        &[(20.0, event("fixed")), (21.0, late_event("fault", 6.0))],
        &["00:15 raised r", "00:20 cleared r"],
    );
}

#[test]
fn what_is_told_late_begins_nothing_before_the_last_end() {
    let rule = rule(
        r#"for = "2s"
fusion = { threshold = 3.0, signals = [
  { id = "a", name = { en = "a", zh = "甲" }, when = 'recent("fault", "10s")', weight = 2.0 },
  { id = "b", name = { en = "b", zh = "乙" }, when = 'temp_c > 60', weight = 1.0 },
] }"#,
    );
    let script = [
        (0.0, values("temp_c=61")),
        (0.0, event("fault")),
        // By now the alert has come and gone. The message is of the time before it.
        (14.0, late("temp_c=62", 14.0)),
        (14.0, values("temp_c=40")),
    ];
    check(&rule, &script, &["00:02 raised r", "00:10 cleared r"]);
}

#[test]
fn late_and_repeated_values_do_not_overwrite() {
    let profile = rule("when = 'temp_c > 120'\nfor = \"10s\"");
    let script = [
        (0.0, values("temp_c=50")),
        (1.0, values("temp_c=130")),
        (2.0, late("temp_c=50", 1.5)),
        (3.0, late("temp_c=130", 2.0)),
        (12.0, Tick),
        (20.0, values("temp_c=40")),
        (21.0, late("temp_c=130", 2.0)),
        (60.0, Tick),
    ];
    check(&profile, &script, &["00:11 raised r", "00:20 cleared r"]);
}

#[test]
fn gaps_neither_raise_nor_clear() {
    let profile = rule("when = 'temp_c > 120 && mains'");
    check(&profile, &[(0.0, values("temp_c=130")), (9000.0, Tick)], &[]);
    check(
        &profile,
        &[(0.0, values("temp_c=130 mains=true")), (9000.0, values("mode=normal")), (9001.0, values("mains=false"))],
        &["00:00 raised r", "150:01 cleared r"],
    );
    let profile = rule("when = '!online'\nfor = \"5s\"");
    check(
        &profile,
        &[(0.0, values("mains=true")), (100.0, Online(false)), (110.0, Online(true))],
        &["01:45 raised r", "01:50 cleared r"],
    );
}

#[test]
fn conditions_that_change_with_time_alone() {
    let profile = rule("when = 'recent(\"fault\", \"60s\") && mains'\nfor = \"5s\"");
    check(
        &profile,
        &[(0.0, values("mains=true")), (10.0, event("fault")), (100.0, Tick)],
        &["00:15 raised r", "01:10 cleared r"],
    );
    let profile = rule("when = 'since(\"fault\") >= 60 && !after(\"fixed\", \"fault\")'");
    check(
        &profile,
        &[(10.0, event("fault")), (100.0, Tick), (110.0, event("fixed"))],
        &["01:10 raised r", "01:50 cleared r"],
    );
    // An expression that is followed: no heat within 30 s of the mode having been normal.
    let profile = rule("when = 'temp_c > 100 && !recent(mode == \"normal\", \"30s\")'");
    check(
        &profile,
        &[(0.0, values("mode=normal temp_c=120")), (100.0, values("mode=stopped")), (129.0, Tick), (131.0, Tick)],
        &["02:10 raised r"],
    );
}

#[test]
fn a_rule_that_can_never_end_or_wait_is_refused() {
    for (rest, expected) in [
        (
            "event = { codes = [\"fault\"] }",
            "small.toml:59: the alert of \"r\" would end the moment it is raised; add clear_codes or clear_when, or clear_for to end it so long after the last event",
        ),
        (
            "absence = { after = \"10m\" }\nclear_when = 'mains'",
            "small.toml:66: \"r\" ends when something is heard again, not by clear_when; remove clear_when",
        ),
        (
            "absence = { after = \"0s\" }",
            "small.toml:59: \"r\" waits for a silence of no length; write after = \"10m\" or longer",
        ),
        ("when = 'mains'\nunless = 'mians'", "small.toml:66: unknown channel \"mians\"; did you mean \"mains\"?"),
        (
            "when = 'mains'\nclear_when = 'temp_c'",
            "small.toml:66: the expression is a number, not true or false; compare it with something",
        ),
    ] {
        assert_eq!(Ruleset::compile(&rule(rest)).unwrap_err().to_string(), expected);
    }
    let text = include_str!("small.toml").to_owned()
        + "\n[[rules]]\nid = \"r\"\ntitle = { en = \"R\", zh = \"R\" }\nsource = \"x\"\nseverity = \"critical\"\nticket = \"entrapment\"\nlife_safety = true\nwhen = 'mains'\nunless = 'mains'\n";
    assert_eq!(
        Profile::parse(Path::new("small.toml"), &text).unwrap_err().to_string(),
        "small.toml:67: the life-safety rule \"r\" must never be inhibited; remove unless, or make what it says part of the condition"
    );
}

#[test]
fn evidence_names_what_it_rests_on() {
    let profile = rule(
        "when = 'temp_c > 120 && (mains || pressure_bar > 3) && !recent(\"fault\", \"10s\")'\nclear_when = 'temp_c < 100'\nclear_for = \"30s\"",
    );
    let mut bench = super::Bench::new(&profile);
    bench.step(0.0, &values("mains=true"));
    bench.step(1.0, &values("temp_c=121.256"));
    let evidence = &bench.out[0].alert().evidence;
    assert_eq!(evidence.summary.en, "R: Temperature 121.26 °C; Mains: yes.");
    assert_eq!(evidence.summary.zh, "规：温度 121.26 °C；市电：是。");
    assert_eq!(evidence.condition, "temp_c > 120 && (mains || pressure_bar > 3) && !recent(\"fault\", \"10s\")");
    assert_eq!(evidence.clears_when.en, "Temperature below 100 °C, for 30 s");
    let observations: Vec<_> = evidence
        .observations
        .iter()
        .map(|o| (o.name.as_str(), o.value.clone().map(|v| v.to_string()), o.supports))
        .collect();
    assert_eq!(
        observations,
        [
            ("temp_c", Some("121.256".to_owned()), true),
            ("mains", Some("true".to_owned()), true),
            ("pressure_bar", None, false),
            ("fault", None, false),
        ]
    );
    assert_eq!(evidence.from, evidence.to);
    bench.step(10.0, &values("temp_c=90"));
    bench.step(60.0, &Tick);
    let cleared = bench.out[1].alert();
    assert_eq!(cleared.evidence.summary.en, "R: Temperature 121.26 °C; Mains: yes. It is over: Temperature 90 °C.");
    assert_eq!(cleared.id, bench.out[0].alert().id);
}

#[test]
fn a_profile_that_was_changed_keeps_values_and_standing_alerts() {
    let old = rule("when = 'temp_c > 100'");
    let mut bench = super::Bench::new(&old);
    bench.step(0.0, &values("temp_c=120 mains=true"));
    let mut new = rule("when = 'temp_c > 110'\nclear_when = 'temp_c < 50'");
    new.version = 2;
    let saved = bench.engine.snapshot();

    let mut restored = super::Bench::new(&new);
    let report = restored.engine.restore(&saved).unwrap();
    assert_eq!(
        report.notes,
        [
            "the profile \"small\" changed (version 1 was saved, version 2 is loaded); values and standing alerts were kept, holding times begin anew"
        ]
    );
    restored.step(1.0, &values("temp_c=90"));
    restored.step(2.0, &values("temp_c=40"));
    assert_eq!(restored.lines(), ["00:02 cleared r"]);

    // The rule is gone: its alert ends.
    let none = small_profile("");
    let mut without = super::Bench::new(&none);
    without.engine.restore(&saved).unwrap();
    without.step(5.0, &Tick);
    assert_eq!(without.lines(), ["00:05 cleared r"]);

    // The same while running.
    bench.load(&none);
    bench.step(7.0, &Tick);
    assert_eq!(bench.lines(), ["00:00 raised r", "00:07 cleared r"]);
}

#[test]
fn a_damaged_snapshot_is_refused_and_changes_nothing() {
    let profile = rule("when = 'temp_c > 100'");
    let mut bench = super::Bench::new(&profile);
    bench.step(0.0, &values("temp_c=120"));
    let good = bench.engine.snapshot();
    assert!(bench.engine.restore(&good[..good.len() / 2]).is_err());
    assert!(bench.engine.restore(&[]).is_err());
    assert!(bench.engine.restore(&[9, 9, 1, 2]).unwrap_err().to_string().contains("format 2313"));
    assert_eq!(bench.engine.snapshot(), good);
}

#[test]
fn silence_while_the_hub_was_away_does_not_count() {
    let profile = rule("absence = { after = \"10m\" }");
    let mut bench = super::Bench::new(&profile);
    bench.step(0.0, &values("temp_c=1"));
    let saved = bench.engine.snapshot();
    let mut again = super::Bench::new(&profile);
    again.engine.restore(&saved).unwrap();
    // What the journal still held comes first.
    for (seconds, what) in [(30.0, values("temp_c=2")), (3600.0, Tick), (4199.0, Tick), (4201.0, Tick)] {
        again.step(seconds, &what);
    }
    assert_eq!(again.lines(), ["70:00 raised r"]);
    assert_eq!(again.engine.standing().map(|alert| alert.rule.as_str()).collect::<Vec<_>>(), ["r"]);
    // What the life before had lived is lived again, up to where it ended.
    let mut relived = super::Bench::new(&profile);
    relived.engine.restore(&saved).unwrap();
    relived.engine.lived_until(super::at(700.0));
    relived.step(700.0, &Tick);
    assert_eq!(relived.lines(), ["10:00 raised r"]);
    relived.step(710.0, &values("temp_c=2"));
    relived.engine.resume();
    for (seconds, what) in [(3600.0, Tick), (4199.0, Tick)] {
        relived.step(seconds, &what);
    }
    assert_eq!(relived.lines(), ["10:00 raised r", "11:50 cleared r"]);
    // A restart of seconds loses nothing of the silence.
    let mut quick = super::Bench::new(&profile);
    quick.engine.restore(&saved).unwrap();
    for (seconds, what) in [(60.0, Tick), (601.0, Tick)] {
        quick.step(seconds, &what);
    }
    assert_eq!(quick.lines(), ["10:00 raised r"]);
}

#[test]
fn devices_without_rules_are_ignored() {
    let profile = rule("when = 'mains'");
    let mut bench = super::Bench::new(&profile);
    bench.device.profile = super::profile_id("other");
    bench.step(0.0, &values("mains=true"));
    assert_eq!(bench.engine.devices(), 0);
    let none: &[(f64, What)] = &[];
    check(&profile, none, &[]);
}

#[test]
fn a_rule_on_trial_says_so() {
    let profile = rule("when = 'temp_c > 120'\ndry_run = true");
    let mut bench = Bench::new(&profile);
    bench.step(0.0, &values("temp_c=130"));
    bench.step(1.0, &values("temp_c=20"));
    assert_eq!(bench.lines(), ["00:00 raised r", "00:01 cleared r"]);
    assert!(bench.out.iter().all(|change| change.alert().evidence.dry_run));
    // Taken off trial while the condition stands: now people are called for it.
    bench.out.clear();
    bench.step(2.0, &values("temp_c=130"));
    let mut earnest = rule("when = 'temp_c > 120'");
    earnest.version += 1;
    bench.load(&earnest);
    bench.step(3.0, &values("temp_c=130"));
    bench.step(4.0, &values("temp_c=20"));
    assert_eq!(bench.lines(), ["00:02 raised r", "00:03 raised r", "00:04 cleared r"]);
    assert_eq!(
        bench.out.iter().map(|change| change.alert().evidence.dry_run).collect::<Vec<_>>(),
        [true, false, false]
    );
}
