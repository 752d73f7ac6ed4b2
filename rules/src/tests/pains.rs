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
