//! Timed scripts through one `check()`, and properties that must hold for any of them.

mod arrival;
mod entrapment;
mod expressions;
mod options;
mod pains;
mod peers;
mod plain;
mod properties;
mod rules;
mod scenarios;
mod shipped;
mod windows;

use std::{path::Path, sync::Arc};

use model::{
    AlertChange, Body, ChannelId, Device, DeviceId, Directory, Entry, Event, Profile, ProfileId, Sample, Status,
    Timestamp, Value,
};

use crate::{Engine, Ruleset};

/// A step of a script: what happens at a time, in seconds.
#[derive(Debug, Clone)]
pub(super) enum What {
    /// Values come: `"door_state=open door_zone=true car_speed_m_s=0"`.
    Values(String),
    /// Values come late: measured that many seconds before they were received.
    Late(String, f64),
    /// An event comes, with values if any: `"alarm_button"`.
    Event(String),
    /// An event comes late: it happened that many seconds before it was received.
    LateEvent(String, f64),
    /// The device comes on line or goes off.
    Online(bool),
    /// Nothing comes; the clock is looked at.
    Tick,
}

pub(super) fn values(text: &str) -> What {
    What::Values(text.to_owned())
}

pub(super) fn late(text: &str, seconds: f64) -> What {
    What::Late(text.to_owned(), seconds)
}

pub(super) fn event(code: &str) -> What {
    What::Event(code.to_owned())
}

pub(super) fn late_event(code: &str, seconds: f64) -> What {
    What::LateEvent(code.to_owned(), seconds)
}

pub(super) use What::{Online, Tick};

/// Time zero of every script.
const START: i64 = 1_767_225_600_000_000;

#[expect(clippy::cast_possible_truncation, reason = "script times are small")]
fn at(seconds: f64) -> Timestamp {
    Timestamp::from_micros(START + (seconds * 1e6).round() as i64)
}

/// A profile with a few channels and events, and these rules.
pub(super) fn small_profile(rules: &str) -> Profile {
    let text = format!("{}\n{rules}", include_str!("tests/small.toml"));
    Profile::parse(Path::new("small.toml"), &text).unwrap()
}

/// A profile that the product ships.
pub(super) fn shipped_profile(id: &str) -> Profile {
    let text = match id {
        "lift" => include_str!("../../profiles/lift.toml"),
        "escalator" => include_str!("../../profiles/escalator.toml"),
        "water_pump" => include_str!("../../profiles/water_pump.toml"),
        other => panic!("no profile {other}"),
    };
    Profile::parse(Path::new(&format!("profiles/{id}.toml")), text).unwrap()
}

/// One device, its engine, and what came out.
pub(super) struct Bench {
    pub(super) engine: Engine,
    pub(super) device: Device,
    pub(super) directory: Directory,
    pub(super) out: Vec<AlertChange>,
}

impl Bench {
    pub(super) fn new(profile: &Profile) -> Self {
        Self::with_rules(Arc::new(Ruleset::compile(profile).unwrap()))
    }

    pub(super) fn with_rules(ruleset: Arc<Ruleset>) -> Self {
        let device = Device {
            id: DeviceId::new("dev-1").unwrap(),
            org: "01900000-0000-7000-8000-000000000001".parse().unwrap(),
            site: "01900000-0000-7000-8000-000000000002".parse().unwrap(),
            profile: ruleset.profile().clone(),
            name: "Device 1".to_owned(),
            plate: None,
        };
        let mut directory = Directory::default();
        directory.devices.insert(device.id.clone(), Arc::new(device.clone()));
        let mut bench = Self { engine: Engine::new(), device, directory, out: Vec::new() };
        bench.engine.load(ruleset);
        bench
    }

    pub(super) fn load(&mut self, profile: &Profile) {
        self.engine.load(Arc::new(Ruleset::compile(profile).unwrap()));
    }

    pub(super) fn step(&mut self, seconds: f64, what: &What) {
        match entry(&self.device.id, seconds, what) {
            Some(entry) => self.engine.apply(&self.device, &entry, &mut self.out),
            None => self.engine.advance(at(seconds), &self.directory, &mut self.out),
        }
    }

    /// What came out, as `"01:05 raised entrapment"`; minutes and seconds, with a fraction if there is one.
    pub(super) fn lines(&self) -> Vec<String> {
        self.out.iter().map(line).collect()
    }
}

pub(super) fn line(change: &AlertChange) -> String {
    let (time, what) = match change {
        AlertChange::Raised(alert) => (alert.raised_at, "raised"),
        AlertChange::Changed(alert) => (alert.evidence.severity_since.unwrap(), "changed"),
        AlertChange::Cleared(alert) => (alert.cleared_at.unwrap(), "cleared"),
    };
    let us = time.as_micros() - START;
    let (seconds, rest) = (us.div_euclid(1_000_000), us.rem_euclid(1_000_000));
    let fraction = if rest == 0 { String::new() } else { format!(".{:06}", rest).trim_end_matches('0').to_owned() };
    format!("{:02}:{:02}{fraction} {what} {}", seconds.div_euclid(60), seconds.rem_euclid(60), change.alert().rule)
}

pub(super) fn entry(device: &DeviceId, seconds: f64, what: &What) -> Option<Entry> {
    let received_at = at(seconds);
    let body = match what {
        What::Values(text) => Body::Sample(Sample { time: received_at, seq: None, values: parse_values(text) }),
        What::Late(text, age) => {
            Body::Sample(Sample { time: at(seconds - age), seq: None, values: parse_values(text) })
        }
        What::Event(text) => Body::Event(parse_event(text, received_at)),
        What::LateEvent(text, age) => Body::Event(parse_event(text, at(seconds - age))),
        What::Online(online) => Body::Status(Status { time: received_at, online: *online }),
        What::Tick => return None,
    };
    Some(Entry { device: Some(device.clone()), received_at, body })
}

fn parse_event(text: &str, time: Timestamp) -> Event {
    let (code, rest) = text.split_once(' ').unwrap_or((text, ""));
    Event { time, code: code.to_owned(), seq: None, values: parse_values(rest) }
}

fn parse_values(text: &str) -> Vec<(ChannelId, Value)> {
    text.split_whitespace()
        .map(|pair| {
            let (name, value) = pair.split_once('=').unwrap();
            let value = match (value.parse::<f64>(), value.parse::<bool>()) {
                (Ok(number), _) => Value::Number(number),
                (_, Ok(flag)) => Value::Bool(flag),
                (Err(_), Err(_)) => Value::Text(value.into()),
            };
            (ChannelId::new(name).unwrap(), value)
        })
        .collect()
}

/// Runs a script on one device of a profile and compares what came out.
#[track_caller]
pub(super) fn check(profile: &Profile, script: &[(f64, What)], expected: &[&str]) {
    let ruleset = Arc::new(Ruleset::compile(profile).unwrap());
    let mut bench = Bench::with_rules(Arc::clone(&ruleset));
    for (seconds, what) in script {
        bench.step(*seconds, what);
    }
    assert_eq!(bench.lines(), expected, "with entries only advanced by their receive times and ticks of the script");
    // However often the clock is looked at in between, the same comes out.
    let mut ticked = Bench::with_rules(ruleset);
    let mut clock = script.first().map_or(0.0, |(seconds, _)| *seconds);
    for (seconds, what) in script {
        let pace = ((seconds - clock) / 50.0).max(0.7);
        while clock + pace < *seconds {
            clock += pace;
            ticked.step(clock, &Tick);
        }
        ticked.step(*seconds, what);
    }
    assert_eq!(ticked.lines(), expected, "with the clock looked at in between");
    assert_eq!(ticked.out, bench.out);
}

pub(super) fn profile_id(id: &str) -> ProfileId {
    ProfileId::new(id).unwrap()
}
