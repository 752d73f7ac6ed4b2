//! What controllers write is what the golden files show and what the profile names.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{collections::BTreeSet, path::Path, time::Duration};

use firmware_sim::{
    Scenario,
    lift::{Lift, Output},
    wire::{LAST_WILL, Numbered, Report, Topics},
};
use model::{Body, Entry, Profile, Timestamp, Value};

fn repository() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the crate lies in the workspace")
}

/// JSON with every number as a float, so that 3 and 3.0 are the same.
fn plain(value: &serde_json::Value) -> serde_json::Value {
    match value {
        serde_json::Value::Number(number) => serde_json::json!(number.as_f64()),
        serde_json::Value::Array(list) => list.iter().map(plain).collect(),
        serde_json::Value::Object(map) => map.iter().map(|(key, value)| (key.clone(), plain(value))).collect(),
        other => other.clone(),
    }
}

fn values(values: &[(model::ChannelId, Value)]) -> firmware_sim::wire::Values {
    values.iter().map(|(channel, value)| (channel.to_string().into(), value.clone())).collect()
}

/// The report that an entry came from; `None` for statuses and for what this encoder never writes.
fn report(entry: &Entry) -> Option<Numbered> {
    let (seq, report) = match &entry.body {
        Body::Sample(sample) => (sample.seq?, Report::Telemetry { time: sample.time, values: values(&sample.values) }),
        Body::Event(event) => (
            event.seq?,
            Report::Event { time: event.time, code: event.code.clone().into(), values: values(&event.values) },
        ),
        Body::CommandResult(result) => {
            let (time, command, state) = (result.time, result.command, result.state);
            (0, Report::CommandResult { time, command, state, detail: result.detail.clone()? })
        }
        Body::Status(_) | Body::Reject(_) | Body::Emergency(_) => return None,
    };
    Some(Numbered { seq, report })
}

#[test]
fn the_encoder_writes_what_the_golden_files_show() {
    let mut compared = Vec::new();
    for file in std::fs::read_dir(repository().join("tests/wire")).unwrap() {
        let path = file.unwrap().path();
        if path.extension().is_none_or(|extension| extension != "json") {
            continue;
        }
        let name = path.file_stem().unwrap().to_string_lossy().into_owned();
        let golden: serde_json::Value = serde_json::from_str(&std::fs::read_to_string(&path).unwrap()).unwrap();
        let entries: Vec<Entry> = serde_json::from_value(golden["entries"].clone()).unwrap();
        let device = entries[0].device.clone().unwrap();
        let topics = Topics::new("liftline", &device);
        if golden["payload"] == "offline" {
            assert_eq!(golden["payload"].as_str().map(str::as_bytes), Some(LAST_WILL));
            assert_eq!(golden["topic"], topics.status());
            compared.push(name);
            continue;
        }
        let message = match &entries[0].body {
            Body::Status(status) if golden["payload"].is_object() => topics.status_message(status.time, status.online),
            _ => {
                let Some(reports) = entries.iter().map(report).collect::<Option<Vec<_>>>() else { continue };
                topics.message(reports).unwrap()
            }
        };
        let written: serde_json::Value = serde_json::from_slice(&message.payload).unwrap();
        assert_eq!(golden["topic"], message.topic, "{name}");
        assert_eq!(plain(&golden["payload"]), plain(&written), "{name}");
        compared.push(name);
    }
    for needed in
        ["telemetry", "telemetry_array", "event", "status_online", "status_offline", "status_will", "command_applied"]
    {
        assert!(compared.iter().any(|name| name == needed), "no golden file {needed}: {compared:?}");
    }
}

#[test]
fn lifts_name_only_what_the_profile_knows_and_stay_within_its_ranges() {
    let path = repository().join("profiles/lift.toml");
    let profile = Profile::parse(&path, &std::fs::read_to_string(&path).unwrap()).unwrap();
    let start = Timestamp::from_secs(1_800_000_000);
    let mut codes = BTreeSet::new();
    for (name, minutes) in [("door-wear", 45), ("entrapment", 8), ("power-cut", 14), ("false-alarm", 4)] {
        let scenario = Scenario::load(name).unwrap();
        scenario.rehearse(start, Duration::from_secs(60 * minutes), |_, output| {
            let Output::Report(report) = output else { return };
            let values = match &report {
                Report::Telemetry { values, .. } => values,
                Report::Event { code, values, .. } => {
                    assert!(profile.event(code).is_some(), "the profile has no event {code}");
                    codes.insert(code.to_string());
                    values
                }
                Report::CommandResult { .. } => return,
            };
            for (channel, value) in values {
                let known = profile.channel(channel).unwrap_or_else(|| panic!("the profile has no channel {channel}"));
                known.check(value).unwrap_or_else(|misfit| panic!("{misfit}"));
            }
        });
    }
    for code in
        ["door_close_fault", "alarm_button", "alarm_end", "mains_lost", "mains_restored", "stopped_outside_zone"]
    {
        assert!(codes.contains(code), "no lift sent {code}: {codes:?}");
    }
}

#[test]
fn the_controller_knows_every_command_of_the_profile() {
    let path = repository().join("profiles/lift.toml");
    let profile = Profile::parse(&path, &std::fs::read_to_string(&path).unwrap()).unwrap();
    let start = Timestamp::from_secs(1_800_000_000);
    let mut lift = Lift::new(Scenario::load("quiet").unwrap().lifts(start).remove(0), start);
    for command in &profile.commands {
        let answer = lift.command(&command.name, &serde_json::json!({ "seconds": 20 }));
        assert!(answer.is_ok(), "{}: {answer:?}", command.name);
    }
}
