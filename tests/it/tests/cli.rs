//! The command line as an operator meets it: mistakes are named with file, line and remedy.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

use it::{
    database::Engine,
    eventually,
    hub::{DEVICES, ORGANISATION, SECRET, Setup, TestHub, run_liftline},
    peers::{Mosquitto, mosquitto_pub, paho},
    stories,
};
use serde_json::json;

fn check(config: &str, extra: &[(&str, &str)]) -> (bool, String) {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("liftline.toml"), config).unwrap();
    for (name, text) in extra {
        std::fs::write(folder.path().join(name), text).unwrap();
    }
    let (ok, out, err) = run_liftline(folder.path(), &["check-config"], "");
    (ok, if ok { out } else { err })
}

#[test]
fn a_good_configuration_is_called_good() {
    let (ok, out) = check("[gateway.front_door]\nlisten = \"127.0.0.1:1883\"\n", &[]);
    assert!(ok && out.contains("liftline.toml is good") && out.contains("profile lift"), "{out}");
}

#[test]
fn mistakes_are_named_with_line_and_remedy() {
    let profile = "[profile]\nid = \"fan\"\nname = { en = \"Fan\", zh = \"风机\" }\nversion = 1\n[[channels]]\nid = \"speed\"\n\
        name = { en = \"Speed\", zh = \"转速\" }\ntype = \"number\"\nunit = \"1/min\"\nrange = [0.0, 9.0]\n[[forecasts]]\nid = \"f\"\n\
        title = { en = \"x\", zh = \"x\" }\nchannel = \"sped\"\nthreshold = 1.0\ndirection = \"below\"\nhorizon = \"7d\"\n\
        min_span = \"1d\"\nseverity = \"minor\"\n";
    for (config, extra, words) in [
        ("[hub]\nlisen = \"127.0.0.1:1\"\n", vec![], ["liftline.toml:2:", "lisen", "did you mean \"listen\"?"]),
        ("[journal]\nmax_age = \"soon\"\n", vec![], ["liftline.toml:2:", "\"soon\" is not a duration", "\"30s\""]),
        (
            "[hub]\nprofiles = [\"fan.toml\"]\n",
            vec![("fan.toml", profile)],
            ["fan.toml:14:", "sped", "did you mean \"speed\"?"],
        ),
        ("[hub\n", vec![], ["liftline.toml:1:", "", ""]),
    ] {
        let (ok, err) = check(config, &extra);
        assert!(!ok, "{config}");
        for word in words {
            assert!(err.contains(word), "\"{word}\" is missing from: {err}");
        }
    }
    let folder = tempfile::tempdir().unwrap();
    let (ok, _, err) = run_liftline(folder.path(), &["serve"], "");
    assert!(!ok && err.contains("liftline.toml") && err.contains("--config"), "{err}");
}

#[test]
fn a_bad_line_of_devices_registers_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| std::fs::write(folder.path().join(name), text).unwrap();
    write("liftline.toml", "");
    write("organisation.toml", ORGANISATION);
    write("devices.csv", DEVICES);
    write("bad.csv", "device,profile,site\nlift-8,lift,Test Tower\nlift-9,boat,Test Tower\n");
    let run = |args: &[&str]| run_liftline(folder.path(), args, "");
    assert!(!run(&["device", "import", "devices.csv"]).0, "there is no organisation yet");
    assert!(run(&["import", "organisation.toml"]).0);
    let (ok, _, err) = run(&["device", "import", "bad.csv"]);
    assert!(!ok && err.contains("bad.csv:3") && err.contains("boat") && err.contains("lift"), "{err}");
    assert!(!run(&["device", "list"]).1.contains("lift-8"));
    assert!(run(&["device", "import", "devices.csv"]).0);
    let once = run(&["device", "list"]).1;
    let (ok, out, _) = run(&["device", "import", "devices.csv"]);
    assert!(ok && out.is_empty(), "no new secrets: {out}");
    let (ok, out, _) = run(&["import", "organisation.toml"]);
    assert!(ok && out.contains("0 sites, 0 people, 0 rotas"), "{out}");
    assert_eq!(run(&["device", "list"]).1, once, "importing twice changes nothing");
    let (ok, _, err) = run_liftline(folder.path(), &["user", "add", "dora"], "short");
    assert!(!ok && err.contains("12 characters"), "{err}");
}

/// Unknown devices enrol themselves where the configuration says so, and only there.
#[tokio::test]
async fn unknown_devices_enrol_themselves() {
    let broker = Mosquitto::start().await;
    let secret = "the secret of all new devices";
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("secret"), secret).unwrap();
    let hub = TestHub::start(Engine::Sqlite, Setup::default()).await;
    let api = hub.api().await;
    let stranger = paho(hub.mqtt.unwrap().port(), "5", ("new-1", secret), &stories::unit_state("new-1", "on")).await;
    assert!(stranger.is_err(), "without [enrolment] strangers are refused");
    drop((api, hub));

    let extra = format!(
        "[enrolment]\nauto_register = \"lift\"\norganisation = \"Test Lifts\"\nsite = \"New lifts\"\nsecret_file = \"{}\"\n\
         [gateway.broker]\nhost = \"127.0.0.1\"\nport = {}\n",
        folder.path().join("secret").display(),
        broker.port
    );
    let hub = TestHub::start(Engine::Sqlite, Setup { extra, ..Setup::default() }).await;
    let api = hub.api().await;
    let port = hub.mqtt.unwrap().port();
    assert_eq!(paho(port, "5", ("new-1", secret), &stories::unit_state("new-1", "on")).await.unwrap(), 1);
    assert!(paho(port, "5", ("new-1", SECRET), &[]).await.is_err(), "another secret is refused");
    eventually("the hub hears the broker", it::SOON, || async {
        let (topic, payload) = stories::telemetry("new-2", stories::now_ms(), &json!({ "motor_temp_c": 20.0 }));
        assert!(mosquitto_pub(broker.port, None, &topic, &payload).await);
        let found = api.get("/api/v1/devices?q=new-2").await;
        (found["devices"].as_array().unwrap().len() == 1).then_some(())
    })
    .await;
    for device in ["new-1", "new-2"] {
        let found = api.get(&format!("/api/v1/devices/{device}")).await;
        assert_eq!(found["site"]["name"], "New lifts");
        assert_eq!(found["profile"]["id"], "lift");
    }
}

/// `device import` beside a running hub: the device is heard soon, without a restart.
#[tokio::test]
async fn a_device_registered_beside_a_running_hub_is_heard() {
    let hub = TestHub::start(Engine::Sqlite, Setup::default()).await;
    let port = hub.mqtt.unwrap().port();
    std::fs::write(hub.folder().join("late.csv"), "device,profile,site\nlate-1,lift,Test Tower\n").unwrap();
    let printed = hub.tool(&["device", "import", "late.csv"], "");
    let (device, secret) = printed.trim().split_once(',').expect("the new secret is printed");
    assert_eq!(device, "late-1");
    assert!(secret.len() >= 32, "a long one: {secret}");
    let listed = hub.tool(&["device", "list"], "");
    assert!(listed.contains("late-1") && !listed.contains(secret), "it is printed once and kept as a hash only");
    eventually("the new device is heard", it::SOON, || async {
        paho(port, "5", ("late-1", secret), &stories::unit_state("late-1", "on")).await.ok()
    })
    .await;
    eventually("what it said is stored", it::SOON, || async {
        (hub.readings("late-1", "unit_state").first()?.2 == "on").then_some(())
    })
    .await;
}
