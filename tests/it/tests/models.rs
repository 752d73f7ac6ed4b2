//! `liftline train`, `liftline models` and `liftline backtest --profile` on a hub's own store, and on stores that have too little in them.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

use std::path::Path;

use it::hub::run_liftline;
use model::{Device, DeviceId, Event, Timestamp};
use predict::learn::Random;
use store::{AuditActor, DeskSettings, NewSite, RecordedEvent, RecorderBatch, Store, StoreConfig};

const PROFILE: &str = r#"
[profile]
id = "fan"
name = { en = "Fan", zh = "风机" }
version = 1

[[channels]]
id = "heat_c"
name = { en = "Heat", zh = "温度" }
type = "number"
unit = "Cel"
range = [0.0, 90.0]

[[events]]
code = "trip"
name = { en = "Trip", zh = "跳闸" }

[failures]
events = ["trip"]
horizons = ["1d"]
miss_cost = 4.0
visit_cost = 1.0
"#;

const START: i64 = 1_700_006_400;
const DAY: i64 = 86_400;

fn at(day: i64, second: i64) -> Timestamp {
    Timestamp::from_secs(START + day * DAY + second)
}

/// A folder with a configuration and a store in which fans tripped, mostly at weekends.
async fn folder(units: usize, days: i64) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("fan.toml"), PROFILE).unwrap();
    std::fs::write(folder.path().join("liftline.toml"), "[hub]\ndata_dir = \"data\"\nprofiles = [\"fan.toml\"]\n")
        .unwrap();
    std::fs::create_dir(folder.path().join("data")).unwrap();
    let url = format!("sqlite:{}", folder.path().join("data/liftline.sqlite").display());
    let desk = DeskSettings { policies: Default::default(), public_url: String::new() };
    let store = Store::attach(&StoreConfig { url, ..StoreConfig::default() }, desk).await.unwrap();
    let org = store.create_org("Metro", at(0, 0)).await.unwrap().id;
    let site = NewSite { org, name: "North".to_owned(), address: String::new(), time_zone: "UTC".to_owned() };
    let site = store.create_site(&site, at(0, 0)).await.unwrap().id;
    let (mut devices, mut events) = (Vec::new(), Vec::new());
    for unit in 0..units {
        let id = DeviceId::new(&format!("fan-{unit}")).unwrap();
        let mut random = Random::new(900 + unit as u64);
        let rate = 0.02 + 0.2 * random.unit().powi(3);
        for day in 0..days {
            // Day 0 is a Wednesday.
            let weekend = matches!((day + 2) % 7, 5 | 6);
            let factor = if unit % 3 == 0 { if weekend { 3.0 } else { 0.15 } } else { 1.0 };
            let (draw, second) = (random.unit(), 40_000 + random.below(20_000) as i64);
            if draw < rate * factor {
                let event = Event { time: at(day, second), code: "trip".to_owned(), seq: None, values: Vec::new() };
                events.push(RecordedEvent { device: id.clone(), event, received_at: at(day, second) });
            }
        }
        let profile = model::ProfileId::new("fan").unwrap();
        devices.push((Device { id, org, site, profile, name: "Fan".to_owned(), plate: None }, None));
    }
    store.upsert_devices(&devices, &AuditActor::CommandLine, at(0, 0)).await.unwrap();
    store.record(&RecorderBatch { events, ..RecorderBatch::default() }, at(days, 0)).await.unwrap();
    store.close().await;
    folder
}

fn run(folder: &Path, args: &[&str]) -> (bool, String) {
    let (ok, said, err) = run_liftline(folder, args, "");
    assert!(!err.contains("panicked"), "{args:?}: {err}");
    (ok, format!("{said}{err}"))
}

fn refused(folder: &Path, args: &[&str], why: &str) {
    let (ok, said) = run(folder, args);
    assert!(!ok && said.contains(why), "{args:?}: {said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn models_are_trained_listed_promoted_and_rolled_back() {
    let folder = folder(45, 200).await;
    let folder = folder.path();
    let until = at(200, 0).to_string();
    let (ok, said) = run(folder, &["train", "--profile", "fan", "--until", &until]);
    assert!(ok, "{said}");
    for part in ["Failures of fan within 1d:", "trained ", "calibrated ", "naive rule", "verdict ", "seed 1"] {
        assert!(said.contains(part), "{said}");
    }
    assert!(said.contains("It is the champion now."), "{said}");
    let (ok, said) = run(folder, &["train", "--profile", "fan", "--until", &until, "--seed", "7", "--no-promote"]);
    assert!(ok && !said.contains("It is the champion now."), "{said}");
    assert!(said.contains("  champion   log loss"), "{said}");
    let (ok, list) = run(folder, &["models", "list"]);
    assert!(ok, "{list}");
    let id = |state: &str| {
        let line = list.lines().find(|line| line.contains(&format!("\t{state}\t"))).unwrap_or_else(|| panic!("{list}"));
        line.split('\t').next().unwrap().to_owned()
    };
    let (champion, challenger) = (id("champion"), id("challenger"));
    let (ok, said) = run(folder, &["models", "show", &challenger]);
    assert!(ok && said.contains("(challenger), seed 7") && said.contains(" bytes"), "{said}");
    refused(folder, &["models", "rollback", "fan"], "no champion of \"fan\" before the present one");
    let (ok, said) = run(folder, &["models", "promote", &challenger]);
    assert!(ok && said.contains(&format!("{challenger} is the champion of fan within 1d")), "{said}");
    let (ok, said) = run(folder, &["models", "rollback", "fan"]);
    assert!(ok && said.contains(&format!("{champion} is the champion of fan within 1d again")), "{said}");
    let (_, list) = run(folder, &["models", "list", "--profile", "fan"]);
    assert!(list.contains(&format!("{champion}\tfan\t1d\tchampion")) && list.contains("retired"), "{list}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backtest_of_the_own_store_prints_the_scorecard_and_keeps_nothing() {
    let folder = folder(45, 200).await;
    let folder = folder.path();
    let to = at(198, 0).to_string();
    let args = ["backtest", "--profile", "fan", "--retrain", "60d", "--test-to", &to, "--out", "nights.csv"];
    let (ok, said) = run(folder, &args);
    assert!(ok, "{said}");
    let figure = |name: &str| -> f64 {
        let line = said.lines().find_map(|line| line.strip_prefix(&format!("fan_1d_{name}: ")));
        line.unwrap_or_else(|| panic!("no {name} in {said}")).parse().unwrap()
    };
    assert!(figure("units") == 45.0 && figure("moments") > 50.0, "{said}");
    assert!(figure("roc_auc") > figure("naive_roc_auc") && figure("brier") < figure("base_brier"), "{said}");
    assert!(said.contains("this hub's own history") && said.contains("each time on what was known then"), "{said}");
    let rows = std::fs::read_to_string(folder.join("nights-1d.csv")).unwrap();
    assert_eq!(rows.lines().count() as f64, 1.0 + figure("forecasts"));
    let (_, list) = run(folder, &["models", "list"]);
    assert!(list.contains("No models yet"), "{list}");
    let (_, again) = run(folder, &args);
    assert_eq!(again, said, "the same nights, the same figures");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_trained_or_found_is_said() {
    let folder = folder(3, 120).await;
    let folder = folder.path();
    let until = at(120, 0).to_string();
    refused(
        folder,
        &["train", "--profile", "fan", "--until", &until],
        "3 units were under watch long enough; at least 5",
    );
    refused(
        folder,
        &["train", "--profile", "fan", "--until", &at(20, 0).to_string()],
        "nothing was trained: the store knows 3 devices",
    );
    refused(folder, &["train", "--profile", "fna"], "there is no profile \"fna\"; use one of");
    refused(folder, &["train", "--profile", "water_pump"], "no device has the profile \"water_pump\"");
    refused(folder, &["train", "--profile", "fan", "--horizon", "3d"], "the profile names the horizons 1d");
    let backtest = |more: &[&'static str]| [&["backtest", "--profile"], more].concat();
    refused(folder, &[&backtest(&["fan", "--test-to"])[..], &[&until]].concat(), "too little history of \"fan\"");
    refused(folder, &backtest(&["water_pump"]), "no device has the profile \"water_pump\"");
    refused(folder, &backtest(&["fan", "--protocol", "wmata"]), "cannot be used with");
    refused(folder, &["backtest"], "--data <DATA>");
    let nobody = "00000000-0000-0000-0000-000000000000";
    refused(folder, &["models", "show", nobody], "there is no model 00000000");
    refused(folder, &["models", "promote", nobody], "see `liftline models list`");
    refused(folder, &["models", "show", "7"], "invalid value '7'");
    refused(folder, &["models", "rollback", "fan"], "no champion of \"fan\"");
    let (ok, said) = run(folder, &["models", "list"]);
    assert!(ok && said.contains("No models yet"), "{said}");
    let (ok, said) = run(folder, &["train", "--help"]);
    assert!(ok && said.contains("--no-promote") && said.contains("naive rule"), "{said}");
    std::fs::write(folder.join("fan.toml"), PROFILE.split("[failures]").next().unwrap()).unwrap();
    refused(folder, &["train", "--profile", "fan"], "names no failures; add a [failures] section");
}
