//! `liftline rules test`: changed rules tried on what was recorded, before anybody is called by them.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

use std::{path::Path, time::Duration};

use it::{
    database::Engine,
    eventually,
    hub::{SECRET, Setup, TestHub, run_liftline},
    peers::mosquitto_pub,
    recorded_data, root, stories,
};

/// A shipped profile with one text replaced and the next version, written into a folder.
fn changed(folder: &Path, profile: &str, from: &str, to: &str) {
    let text = std::fs::read_to_string(root().join(format!("profiles/{profile}.toml"))).unwrap();
    assert!(text.contains(from), "{profile} has no \"{from}\"");
    std::fs::write(folder.join("changed.toml"), text.replacen(from, to, 1)).unwrap();
}

fn rules_test(folder: &Path, args: &[&str]) -> String {
    let (ok, out, err) = run_liftline(folder, &[&["rules", "test", "--profile", "changed.toml"], args].concat(), "");
    assert!(ok, "{err}");
    out
}

/// The four numbers of the last line: the same, new, gone, ended at another time.
fn totals(out: &str) -> [u32; 4] {
    let last = out.lines().last().unwrap();
    let numbers: Vec<u32> = last.split(|c: char| !c.is_ascii_digit()).filter_map(|word| word.parse().ok()).collect();
    numbers.try_into().unwrap_or_else(|_| panic!("{last}"))
}

const BROKEN: &str = "when = 'unit_state == \"broken\"'";

#[test]
fn the_history_of_real_lifts() {
    let Some(data) = recorded_data("the_history_of_real_lifts") else { return };
    let folder = tempfile::tempdir().unwrap();
    let (history, units) = (data.join("wmata/unit_statuses_to_2014-06-30.csv.gz"), data.join("wmata/units.csv"));
    let source = ["--data", history.to_str().unwrap(), "--mapping", "wmata", "--inventory", units.to_str().unwrap()];
    // The rules as they are change nothing; rules that also count units that are switched off find those as well.
    changed(folder.path(), "lift", BROKEN, BROKEN);
    let [same, added, gone, ends] = totals(&rules_test(folder.path(), &source));
    assert!(same > 3000, "{same} breakdowns of lifts in eleven months");
    assert_eq!([added, gone, ends], [0; 3]);
    changed(folder.path(), "lift", BROKEN, "when = 'unit_state in [\"broken\", \"off\"]'");
    let out = rules_test(folder.path(), &[&source[..], &["--changes-only"]].concat());
    let [_, added, ..] = totals(&out);
    assert!(added > 100, "{added} times switched off");
    assert!(out.contains("Reported broken: Operational state: off."), "{out}");
    // A breakdown that goes over into being switched off is one alert that ends later.
    assert!(out.contains("before: until"), "{out}");
    let until = [&source[..], &["--to", "2013-09-01T00:00:00Z"]].concat();
    assert!(totals(&rules_test(folder.path(), &until))[1] < added / 5, "only a part of the span");
}

/// A rule on the mean of an hour finds the failing bearing first, two days before its end.
#[test]
fn the_record_of_a_bearing() {
    let Some(data) = recorded_data("the_record_of_a_bearing") else { return };
    let folder = tempfile::tempdir().unwrap();
    let rule = "[[rules]]\nid = \"bearing_high\"\ntitle = { en = \"Bearing vibrates\", zh = \"轴承振动\" }\nsource = \"a trial\"\n\
        severity = \"major\"\nticket = \"breakdown\"\nwhen = 'avg(bearing_vibration_g, \"1h\") > 0.09'\n\n[[detectors]]";
    changed(folder.path(), "water_pump", "[[detectors]]", rule);
    let table = data.join("ims_bearing/merged_dataset_BearingTest_2.csv");
    let out = rules_test(folder.path(), &["--data", table.to_str().unwrap()]);
    let [same, added, gone, ends] = totals(&out);
    assert_eq!([same, gone, ends], [0; 3], "{out}");
    assert!(added >= 1, "{out}");
    let raised: Vec<_> = out.lines().filter(|line| line.contains("bearing_high")).collect();
    assert!(raised[0].contains("bearing-1") && raised[0].contains("2004-02-17"), "two days before the end: {out}");
}

/// What a hub recorded, from its store while it runs and from its journal once it is stopped.
#[tokio::test]
async fn what_the_hub_itself_recorded() {
    let mut hub = TestHub::start(Engine::Sqlite, Setup::default()).await;
    changed(hub.folder(), "lift", "when = 'motor_temp_c > 120'", "when = 'motor_temp_c > 60'");
    let (port, login) = (hub.mqtt.unwrap().port(), Some(("lift-1", SECRET)));
    let start = stories::now_ms() - 300_000;
    for (second, degrees) in [(0, 40), (30, 70), (120, 75), (240, 76)] {
        let at = start + second * 1000;
        let payload = format!("{{\"ts\":{at},\"values\":{{\"motor_temp_c\":{degrees}}}}}");
        assert!(mosquitto_pub(port, login, "liftline/lift-1/telemetry", &payload).await);
    }
    eventually("the readings are stored", Duration::from_secs(20), || async {
        (hub.readings("lift-1", "motor_temp_c").len() == 4).then_some(())
    })
    .await;
    let config = ["--config", "liftline.toml"];
    let stored = rules_test(hub.folder(), &[&config[..], &["--device", "lift-1"]].concat());
    assert_eq!(totals(&stored)[1], 1, "{stored}");
    assert!(stored.contains("motor_overtemperature"), "{stored}");
    let (ok, _, err) = run_liftline(
        hub.folder(),
        &["rules", "test", "--profile", "changed.toml", "--config", "liftline.toml", "--journal"],
        "",
    );
    assert!(!ok && err.contains("stop the hub first"), "{err}");
    hub.kill().await;
    let journal = rules_test(hub.folder(), &[&config[..], &["--journal"]].concat());
    assert!(journal.contains("motor_overtemperature"), "{journal}");
    let (ok, _, err) = run_liftline(hub.folder(), &["rules", "test", "--profile", "changed.toml"], "");
    assert!(!ok && err.contains("name what to replay"), "{err}");
}
