//! Windows, sequences, counters that begin again, derived numbers, and how they are explained.

use model::Profile;

use super::{Bench, Tick, What, check, event, small_profile, values};
use crate::Ruleset;

fn rule(rest: &str) -> Profile {
    small_profile(&format!(
        "[[rules]]\nid = \"r\"\ntitle = {{ en = \"R\", zh = \"规\" }}\nsource = \"test\"\nseverity = \"minor\"\nticket = \"breakdown\"\n{rest}\n"
    ))
}

/// The script starts at a moment at which every window used here begins a new sixteenth.
fn temps(every: f64, list: &[f64]) -> Vec<(f64, What)> {
    let at = |index: usize| every * f64::from(u32::try_from(index).unwrap());
    list.iter().enumerate().map(|(i, temp)| (at(i), values(&format!("temp_c={temp}")))).collect()
}

#[test]
fn averages_extremes_and_percentiles() {
    let script = temps(10.0, &[50.0, 60.0, 100.0, 110.0, 40.0, 40.0, 40.0, 40.0, 40.0, 40.0, 40.0, 40.0]);
    // What was sent at 0 s has left with the sixteenth that ends at 40 s.
    check(&rule("when = 'avg(temp_c, \"40s\") > 78'"), &script, &["00:30 raised r", "00:40 cleared r"]);
    check(&rule("when = 'max(temp_c, \"40s\") > 105'"), &script, &["00:30 raised r", "01:10 cleared r"]);
    check(&rule("when = 'min(temp_c, \"32s\") > 55'"), &script, &["00:32 raised r", "00:40 cleared r"]);
    check(&rule("when = 'percentile(temp_c, 50, \"80s\") < 55'\nfor = \"60s\""), &script, &["01:50 raised r"]);
}

#[test]
fn a_window_empties_without_messages() {
    let script = [(0.0, values("temp_c=120")), (100.0, Tick)];
    // The last of 32 seconds is over when the sixteenth in which the value came has left.
    check(
        &rule("when = 'max(temp_c, \"32s\") > 100'\nclear_when = 'count(\"fault\", \"1m\") >= 1'"),
        &script,
        &["00:00 raised r"],
    );
    check(
        &rule("when = 'count(\"fault\", \"32s\") >= 2'"),
        &[(0.0, event("fault")), (10.0, event("fault")), (100.0, Tick)],
        &["00:10 raised r", "00:32 cleared r"],
    );
    // Of a window without values nothing is known: what was raised stands.
    check(&rule("when = 'avg(temp_c, \"32s\") > 100'"), &script, &["00:00 raised r"]);
}

#[test]
fn rates_and_counters_that_begin_again() {
    check(
        &rule("when = 'rate(temp_c, \"1m\") > 1'"),
        &temps(10.0, &[50.0, 52.0, 80.0, 81.0, 81.0, 81.0, 81.0, 81.0, 81.0]),
        &["00:20 raised r", "00:40 cleared r"],
    );
    // 100, 150, a restart, 20, 40: it rose by 90.
    let script = temps(10.0, &[100.0, 150.0, 20.0, 40.0]);
    check(&rule("when = 'increase(temp_c, \"5m\") > 85'"), &script, &["00:30 raised r"]);
    check(&rule("when = 'increase(temp_c, \"5m\") > 90'"), &script, &[]);
}

#[test]
fn time_in_a_state() {
    let profile = rule("when = 'time_in(mode == \"stopped\", \"160s\") >= 30'");
    check(
        &profile,
        &[
            (0.0, values("mode=stopped")),
            (20.0, values("mode=normal")),
            (50.0, values("mode=stopped")),
            (62.0, values("mode=normal")),
            (300.0, Tick),
        ],
        &["01:00 raised r", "02:40 cleared r"],
    );
}

#[test]
fn a_device_is_compared_with_itself() {
    let profile = rule("when = 'temp_c > 1.3 * baseline(temp_c, \"160s\")'");
    let mut script = temps(10.0, &[50.0; 12]);
    script.push((120.0, values("temp_c=60")));
    script.push((130.0, values("temp_c=70")));
    check(&profile, &script, &["02:10 raised r"]);
    // Too little is known of it yet.
    check(&profile, &[(0.0, values("temp_c=50")), (10.0, values("temp_c=100"))], &[]);
}

#[test]
fn steps_that_follow_each_other() {
    let profile = rule("when = 'recent(sequence(\"fault\", mode == \"stopped\", \"fixed\", \"30s\"), \"10s\")'");
    check(
        &profile,
        &[
            (0.0, values("mode=normal")),
            (10.0, event("fault")),
            (15.0, values("mode=stopped")),
            (35.0, event("fixed")),
            (60.0, Tick),
        ],
        &["00:35 raised r", "00:45 cleared r"],
    );
    // Too slow, and in another order.
    check(
        &profile,
        &[(10.0, event("fault")), (15.0, values("mode=stopped")), (41.0, event("fixed")), (60.0, Tick)],
        &[],
    );
    check(
        &profile,
        &[(10.0, values("mode=stopped")), (15.0, event("fault")), (20.0, event("fixed")), (60.0, Tick)],
        &[],
    );
    // A later beginning counts where the first came too early.
    check(
        &profile,
        &[
            (0.0, event("fault")),
            (25.0, event("fault")),
            (30.0, values("mode=stopped")),
            (50.0, event("fixed")),
            (70.0, Tick),
        ],
        &["00:50 raised r", "01:00 cleared r"],
    );
}

#[test]
fn derived_numbers() {
    let text = "[[derived]]\nid = \"excess_c\"\nvalue = 'temp_c - limit_c'\n\n[[derived]]\nid = \"twice_c\"\nvalue = 'excess_c * 2'\n";
    let with = |rest: &str| {
        small_profile(&format!(
            "{text}\n[[rules]]\nid = \"r\"\ntitle = {{ en = \"R\", zh = \"规\" }}\nsource = \"test\"\nseverity = \"minor\"\nticket = \"breakdown\"\n{rest}\n"
        ))
    };
    let script = [(0.0, values("temp_c=60 limit_c=50")), (10.0, values("temp_c=75")), (20.0, values("limit_c=70"))];
    check(&with("when = 'excess_c > 20'"), &script, &["00:10 raised r", "00:20 cleared r"]);
    check(&with("when = 'max(twice_c, \"1h\") > 45'"), &script, &["00:10 raised r"]);
    let later =
        small_profile("[[derived]]\nid = \"a_c\"\nvalue = 'b_c + 1'\n[[derived]]\nid = \"b_c\"\nvalue = 'temp_c'\n");
    assert!(Ruleset::compile(&later).unwrap_err().to_string().contains("unknown channel \"b_c\""));
}

#[test]
fn windows_that_can_never_decide_are_refused() {
    for (condition, expected) in [
        ("avg(mains, \"5m\") > 1", "a number is needed here, not true or false"),
        ("avg(temp_c, \"500ms\") > 1", "a window lasts from one second to ninety days"),
        ("avg(temp_c, \"900d\") > 1", "a window lasts from one second to ninety days"),
        ("avg(temp_c, 5) > 1", "a duration is needed here"),
        ("max(temp_c, \"5m\") > 250", "this is never true, as max() lies between -40 and 200 here"),
        ("time_in(mains, \"5m\") > 301", "this is never true, as time_in() lies between 0 and 300 here"),
        ("count(\"fault\", \"5m\") >= 0", "this is always true, as count() lies between 0 and inf here"),
        ("avg(limit_c - limit_c + 3, \"0s\") > 1", "a time of no length holds nothing"),
        ("avg(3, \"5m\") > 1", "a window over something that never changes"),
        ("avg(avg(temp_c, \"5m\"), \"5m\") > 1", "questions about the past cannot be nested"),
        ("percentile(temp_c, 100, \"5m\") > 1", "a percentile lies between 0 and 100"),
        ("recent(sequence(\"fault\", \"30s\"), \"1m\")", "a sequence has 2 to 8 steps and a time, not 1 steps"),
        ("recent(sequence(mains, mains, \"30s\"), \"1m\")", "this sequence can never be complete"),
        ("sequence(\"fault\", \"fixed\", \"30s\")", "a sequence is something that happens, not true or false"),
        ("avg(temp_c, \"5m\") > avg(pressure_bar, \"5m\")", "Cel and bar do not go together"),
        ("time_in(\"fault\", \"5m\") > 3", "time_in() does not take this"),
    ] {
        let error = Ruleset::compile(&rule(&format!("when = '''{condition}'''"))).unwrap_err();
        assert_eq!(error.line, 65, "{condition}");
        assert!(error.message.contains(expected), "{condition}: {error}");
        assert!(!error.remedy.is_empty());
    }
}

#[test]
fn conditions_are_told_in_words() {
    let mut bench = Bench::new(&rule("when = 'avg(temp_c, \"5m\") > 100 && (mains || mode == \"service\")'"));
    bench.step(0.0, &values("temp_c=120 mains=true"));
    let evidence = &bench.out[0].alert().evidence;
    assert_eq!(evidence.summary.en, "R: Mains: yes; Temperature (average over 5 min) 120 °C.");
    assert_eq!(evidence.summary.zh, "规：市电：是；温度（5 分钟内平均值） 120 °C。");
    assert_eq!(
        evidence.clears_when.en,
        "Temperature (average over 5 min) at most 100 or (Mains: no and Mode: not service)"
    );
    assert_eq!(evidence.clears_when.zh, "温度（5 分钟内平均值）不高于 100或（市电：否且模式：非service）");
    let window = evidence.observations.iter().find(|o| o.name == "avg(temp_c, 5m)").unwrap();
    assert_eq!(window.value, Some(model::Value::Number(120.0)));
}
