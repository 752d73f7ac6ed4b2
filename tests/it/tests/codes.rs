//! `liftline codes`: what devices sent in one regulator's codes, exported in another's.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

use std::time::Duration;

use it::{
    database::Engine,
    eventually,
    hub::{SECRET, Setup, TestHub, run_liftline},
    peers::mosquitto_pub,
    stories,
};

/// Columns of a CSV table by their names.
fn column(out: &str, name: &str) -> Vec<String> {
    let mut lines = out.lines();
    let at = lines.next().unwrap().split(',').position(|known| known == name).unwrap();
    lines.map(|line| line.split(',').nth(at).unwrap().to_owned()).collect()
}

#[tokio::test]
async fn events_go_from_one_code_set_to_another() {
    let extra = "[gateway.codes.devices]\n\"lift-1\" = \"cn_chongqing\"\n".to_owned();
    let hub = TestHub::start(Engine::Sqlite, Setup { extra, ..Setup::default() }).await;
    let port = hub.mqtt.unwrap().port();
    let start = stories::now_ms() - 60_000;
    // Trapped is 93 in one set and 11 in the other; 4711 is in none; lift-2 speaks the profile's own names.
    let sent = [("lift-1", "93"), ("lift-1", "4711"), ("lift-2", "position_lost"), ("lift-2", "alarm_button")];
    for (second, (device, code)) in (0..).zip(sent) {
        let payload = format!("{{\"ts\":{},\"code\":\"{code}\"}}", start + second * 1000);
        let topic = format!("liftline/{device}/events");
        assert!(mosquitto_pub(port, Some((device, SECRET)), &topic, &payload).await);
    }
    let export = |set: &str, rest: &[&str]| {
        let args = [&["codes", "--config", "liftline.toml", "--set", set, "--events"], rest].concat();
        let (ok, out, err) = run_liftline(hub.folder(), &args, "");
        assert!(ok, "{err}");
        (out, err)
    };
    eventually("the events are stored", Duration::from_secs(20), || async {
        (column(&export("cn_upload", &[]).0, "event").len() == 4).then_some(())
    })
    .await;
    let (out, err) = export("cn_upload", &[]);
    assert_eq!(column(&out, "event"), ["person_trapped", "unknown_code", "position_lost", "alarm_button"]);
    assert_eq!(column(&out, "code"), ["11", "", "07", ""]);
    assert!(err.contains('2') && err.contains("no code"), "{err}");
    // What came in a set goes out as it came.
    let (out, _) = export("cn_chongqing", &["--device", "lift-1"]);
    assert_eq!(column(&out, "code"), ["93", ""]);
    assert!(out.contains("平层关人"), "{out}");

    let (ok, out, _) = run_liftline(hub.folder(), &["codes", "--config", "liftline.toml", "--set", "cn_upload"], "");
    assert!(ok && column(&out, "neutral").contains(&"event.person-trapped".to_owned()), "{out}");
    let (ok, _, err) = run_liftline(hub.folder(), &["codes", "--config", "liftline.toml", "--set", "cn_uplaod"], "");
    assert!(!ok && err.contains("cn_upload"), "{err}");
}
