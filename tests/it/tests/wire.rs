//! The simulated controllers' encoder and the gateway's decoder were written apart. The golden files of `tests/wire` hold
//! each to one format; here they meet.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

use std::{
    collections::{BTreeMap, BTreeSet},
    path::PathBuf,
    sync::Arc,
    time::Duration,
};

use bytes::Bytes;
use firmware_sim::{
    Scenario,
    lift::Output,
    wire::{Numbered, Report, Topics},
};
use gateway::{DecodeOptions, Message, decode};
use model::{Body, Device, DeviceId, Directory, Entry, OrgId, Profile, SiteId, Timestamp, Value};
use serde_json::Value as Json;

fn options() -> DecodeOptions {
    DecodeOptions {
        prefix: "liftline".to_owned(),
        max_payload: 256 * 1024,
        future_tolerance: Duration::from_secs(300),
        codes: model::codes::CodeBook::default(),
    }
}

/// A directory in which these devices are lifts.
fn lifts<'a>(names: impl IntoIterator<Item = &'a DeviceId>) -> Directory {
    let file = it::root().join("profiles/lift.toml");
    let profile = Profile::parse(&file, &std::fs::read_to_string(&file).unwrap()).unwrap();
    let lift = |id: &DeviceId| Device {
        id: id.clone(),
        org: OrgId(Default::default()),
        site: SiteId(Default::default()),
        profile: profile.id.clone(),
        name: id.to_string(),
        plate: None,
    };
    Directory {
        devices: names.into_iter().map(|id| (id.clone(), Arc::new(lift(id)))).collect(),
        profiles: [(profile.id.clone(), Arc::new(profile.clone()))].into(),
    }
}

struct Golden {
    name: String,
    message: Message,
    payload: Json,
    entries: Vec<Entry>,
}

fn goldens() -> Vec<Golden> {
    let mut files: Vec<PathBuf> =
        std::fs::read_dir(it::root().join("tests/wire")).unwrap().map(|file| file.unwrap().path()).collect();
    files.retain(|file| file.extension().is_some_and(|extension| extension == "json"));
    files.sort();
    let golden = |file: &PathBuf| {
        let case: Json = serde_json::from_str(&std::fs::read_to_string(file).unwrap()).unwrap();
        // A text in `payload` is sent bare, anything else as JSON.
        let payload = match &case["payload"] {
            Json::String(bare) => bare.clone(),
            json => json.to_string(),
        };
        Golden {
            name: file.file_stem().unwrap().to_string_lossy().into_owned(),
            message: Message {
                topic: Bytes::from(case["topic"].as_str().unwrap().to_owned()),
                payload: Bytes::from(payload),
                received_at: case["received_at"].as_str().unwrap().parse().unwrap(),
                sender: None,
            },
            payload: case["payload"].clone(),
            entries: serde_json::from_value(case["entries"].clone()).unwrap(),
        }
    };
    files.iter().map(golden).collect()
}

/// What a controller would have to report so that the hub reads this entry; `None` for what it never says.
fn report(entry: &Entry) -> Option<Numbered> {
    let values = |values: &[(model::ChannelId, Value)]| {
        values.iter().map(|(channel, value)| (channel.to_string().into(), value.clone())).collect()
    };
    let (seq, report) = match &entry.body {
        Body::Sample(sample) => (sample.seq?, Report::Telemetry { time: sample.time, values: values(&sample.values) }),
        Body::Event(event) => {
            let (code, values) = (event.code.clone().into(), values(&event.values));
            (event.seq?, Report::Event { time: event.time, code, values })
        }
        Body::CommandResult(result) => {
            let detail = result.detail.clone()?;
            (0, Report::CommandResult { time: result.time, command: result.command, state: result.state, detail })
        }
        Body::Status(_) | Body::Reject(_) | Body::Emergency(_) => return None,
    };
    Some(Numbered { seq, report })
}

/// JSON with every number as a float, so that 3 and 3.0 are the same.
fn plain(value: &Json) -> Json {
    match value {
        Json::Number(number) => serde_json::json!(number.as_f64()),
        Json::Array(list) => list.iter().map(plain).collect(),
        Json::Object(map) => map.iter().map(|(key, value)| (key.clone(), plain(value))).collect(),
        other => other.clone(),
    }
}

/// The bytes of every golden file mean its entries, and what the encoder writes for these entries are its bytes.
#[test]
fn both_sides_hold_to_every_golden_file() {
    let mut encoded = BTreeSet::new();
    for golden in goldens() {
        let device = golden.entries[0].device.clone().unwrap();
        let directory = lifts([&device]);
        assert_eq!(decode(&options(), &directory, &golden.message), golden.entries, "{} read", golden.name);
        let Some(reports) = golden.entries.iter().map(report).collect::<Option<Vec<_>>>() else { continue };
        let written = Topics::new("liftline", &device).message(reports).unwrap();
        // The hub also takes shorter forms than controllers write: those without a time are theirs to leave out.
        let json: Json = serde_json::from_slice(&written.payload).unwrap();
        if golden.payload.get("ts").is_some() || golden.payload.is_array() {
            assert_eq!(written.topic.as_bytes(), golden.message.topic, "{}", golden.name);
            assert_eq!(plain(&json), plain(&golden.payload), "{} written", golden.name);
            encoded.insert(golden.name.clone());
        }
        let message = Message { topic: written.topic.into(), payload: written.payload.into(), ..golden.message };
        assert_eq!(decode(&options(), &directory, &message), golden.entries, "{} there and back", golden.name);
    }
    for needed in ["telemetry", "telemetry_array", "event", "command_applied"] {
        assert!(encoded.contains(needed), "no golden file {needed} was written: {encoded:?}");
    }
}

/// Everything that simulated lifts say in the scripted scenarios arrives as it was meant, and nothing is rejected.
#[test]
fn what_simulated_lifts_say_is_read_as_they_meant_it() {
    let start = Timestamp::from_secs(1_800_000_000);
    let mut read: BTreeMap<&'static str, usize> = BTreeMap::new();
    for (scenario, minutes) in [("door-wear", 30), ("entrapment", 8), ("power-cut", 12), ("false-alarm", 4)] {
        let scenario = Scenario::load(scenario).unwrap();
        let directory = lifts(scenario.devices().iter().map(|device| &device.id));
        let mut seq = 0;
        scenario.rehearse(start, Duration::from_secs(60 * minutes), |device, output| {
            let Output::Report(meant) = output else { return };
            seq += 1;
            let message =
                Topics::new("liftline", device).message(vec![Numbered { seq, report: meant.clone() }]).unwrap();
            let received = Message {
                topic: message.topic.into(),
                payload: message.payload.into(),
                received_at: meant.time() + Duration::from_millis(40),
                sender: Some(device.clone()),
            };
            let entries = decode(&options(), &directory, &received);
            let [entry] = entries.as_slice() else { panic!("one report is one entry: {entries:?}") };
            let back = report(entry).unwrap_or_else(|| panic!("{entry:?}"));
            // On the wire, times are whole milliseconds.
            let at = Timestamp::from_millis(meant.time().as_millis());
            assert_eq!(back, Numbered { seq, report: moved(meant, at) });
            *read.entry(if back.report.is_telemetry() { "samples" } else { "events" }).or_default() += 1;
        });
    }
    println!("{read:?}");
    assert!(read["samples"] > 1000 && read["events"] > 50, "{read:?}");
}

fn moved(report: Report, at: Timestamp) -> Report {
    match report {
        Report::Telemetry { values, .. } => Report::Telemetry { time: at, values },
        Report::Event { code, values, .. } => Report::Event { time: at, code, values },
        Report::CommandResult { command, state, detail, .. } => {
            Report::CommandResult { time: at, command, state, detail }
        }
    }
}
