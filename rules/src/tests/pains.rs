//! What users of other platforms complain of, each as a test. The threads are named where they were read.

use super::{Bench, Online, Tick, check, event, late, late_event, small_profile, values};

fn rule(rest: &str) -> model::Profile {
    small_profile(&format!(
        "[[rules]]\nid = \"r\"\ntitle = {{ en = \"R\", zh = \"规\" }}\nsource = \"test\"\nseverity = \"minor\"\nticket = \"breakdown\"\n{rest}\n"
    ))
}

/// Two messages milliseconds apart open two alarms of one type (thingsboard #15583, #2986). Here one key is one alert.
#[test]
fn duplicate_alarms_milliseconds_apart_are_one() {
    let hot = rule("when = 'temp_c > 50'\nclear_when = 'temp_c < 40'");
    check(
        &hot,
        &[(1.0, values("temp_c=60")), (1.002, values("temp_c=61")), (1.003, values("temp_c=60")), (9.0, Tick)],
        &["00:01 raised r"],
    );
    let told = rule("event = { codes = [\"fault\", \"other_fault\"], clear_codes = [\"fixed\"] }");
    check(&told, &[(1.0, event("fault")), (1.001, event("other_fault")), (1.002, event("fault"))], &["00:01 raised r"]);
}

/// A device that speaks at the very moment it is declared inactive stays inactive for ever, or is found so half an hour
/// late (thingsboard #7909, #6821). Here silence is found on time, and any word ends it.
#[test]
fn the_inactivity_race_is_decided_by_time() {
    let silent = rule("absence = { after = \"60s\" }");
    // The word came in time but is read after the clock was looked at.
    check(&silent, &[(0.0, values("temp_c=1")), (59.99, values("temp_c=1")), (60.0, Tick), (61.0, Tick)], &[]);
    check(
        &silent,
        &[(0.0, values("temp_c=1")), (60.0, Tick), (60.001, values("temp_c=1")), (61.0, Tick)],
        &["01:00 raised r", "01:00.001 cleared r"],
    );
    check(
        &silent,
        &[(0.0, values("temp_c=1")), (60.0, Tick), (60.001, Online(true)), (61.0, Tick)],
        &["01:00 raised r", "01:00.001 cleared r"],
    );
}

/// Silence raises or clears an alarm on a value (thingsboard #10590, #5173, #14210). Here a gap says nothing, and silence
/// is a condition of its own.
#[test]
fn a_data_gap_raises_and_clears_nothing() {
    let both = small_profile(
        "[[rules]]\nid = \"cold\"\ntitle = { en = \"C\", zh = \"冷\" }\nsource = \"test\"\nseverity = \"minor\"\nticket = \"breakdown\"\n\
         when = 'temp_c < 5'\nclear_when = 'temp_c > 8'\nclear_for = \"30s\"\n\
         [[rules]]\nid = \"silent\"\ntitle = { en = \"S\", zh = \"静\" }\nsource = \"test\"\nseverity = \"minor\"\nticket = \"breakdown\"\n\
         absence = { after = \"10m\" }\n",
    );
    check(
        &both,
        &[(0.0, values("temp_c=3")), (3600.0, values("temp_c=3")), (3601.0, values("temp_c=9")), (3700.0, Tick)],
        &["00:00 raised cold", "10:00 raised silent", "60:00 cleared silent", "60:31 cleared cold"],
    );
}

/// An alarm on an event has no way to end when the event stays away (thingsboard #10979). Here `clear_for` is that way.
#[test]
fn absence_of_the_event_clears_it() {
    let nuisance = rule("event = { codes = [\"fault\"] }\nclear_for = \"5m\"");
    check(
        &nuisance,
        &[(0.0, event("fault")), (200.0, event("fault")), (499.0, Tick), (501.0, Tick)],
        &["00:00 raised r", "08:20 cleared r"],
    );
}

/// Late values are stamped as fresh, or overwrite newer ones (thingsboard #4207, #1264; gateway #2119). Here the time of
/// measurement counts: a late value is no news, and a late event takes its own place.
#[test]
fn late_data_is_no_news() {
    let hot = rule("when = 'temp_c > 50'\nclear_when = 'temp_c < 40'");
    check(&hot, &[(100.0, values("temp_c=20")), (101.0, late("temp_c=90", 60.0)), (200.0, Tick)], &[]);
    check(&hot, &[(100.0, values("temp_c=60")), (101.0, late("temp_c=20", 60.0)), (200.0, Tick)], &["01:40 raised r"]);
    let told = rule("event = { codes = [\"fault\"], clear_codes = [\"fixed\"] }");
    check(
        &told,
        &[(100.0, event("fixed")), (130.0, late_event("fault", 60.0)), (200.0, Tick)],
        &["01:10 raised r", "01:40 cleared r"],
    );
}

/// A duration is counted from arrival, so that a backlog that is flushed at once never lasts (thingsboard #10590). Here
/// it is counted by the device's own clock.
#[test]
fn durations_are_those_of_the_device() {
    let hot = rule("when = 'temp_c > 50'\nfor = \"60s\"");
    let mut bench = Bench::new(&hot);
    // Two minutes of history arrive within 20 ms, oldest first.
    for (n, age) in [120.0, 90.0, 60.0, 30.0, 0.0].into_iter().enumerate() {
        bench.step(500.0 + 0.005 * n as f64, &late("temp_c=70", age));
    }
    bench.step(500.1, &Tick);
    assert_eq!(bench.lines().len(), 1, "{:?}", bench.lines());
}

/// A condition that held before a gap and holds after it did not last through it for all that is known (thingsboard
/// #10590, #14210): with a `gap` in the profile holding begins anew.
#[test]
fn a_duration_does_not_run_through_a_gap() {
    let with_gap = |rest: &str, dangerous: &str| {
        let mut profile = rule(&format!("{rest}\n{dangerous}"));
        profile.gap = Some(std::time::Duration::from_secs(120));
        profile
    };
    let hot = "when = 'temp_c > 50'\nfor = \"5m\"\nclear_when = 'temp_c < 40'\nclear_for = \"5m\"";
    let every = |from: u32, to: u32, text: &str| -> Vec<_> {
        (from..=to).step_by(60).map(|second| (f64::from(second), values(text))).collect()
    };
    let script = [
        every(0, 120, "temp_c=60"),
        // Half an hour of silence: it is not known to have gone on.
        vec![(900.0, Tick)],
        every(2000, 2300, "temp_c=60"),
        every(2360, 2420, "temp_c=20"),
        // Nor is it known to have been over for long enough.
        vec![(3000.0, Tick)],
        every(4000, 4300, "temp_c=20"),
    ]
    .concat();
    check(&with_gap(hot, ""), &script, &["38:20 raised r", "71:40 cleared r"]);
    check(&rule(hot), &script, &["05:00 raised r", "44:20 cleared r"]);
    // A person may be in the car of a controller that has fallen silent.
    let urgent = with_gap("when = 'temp_c > 50'\nfor = \"5m\"", "life_safety = true");
    check(&urgent, &[(0.0, values("temp_c=60")), (900.0, Tick)], &["05:00 raised r"]);
}
