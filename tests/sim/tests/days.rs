//! The rules over days: messages late, twice, lost and in disorder, clocks that are wrong, gaps, and an engine that is
//! stopped and started at random, against one uninterrupted run of the same messages in their order.

use std::{
    collections::{BTreeMap, HashSet},
    sync::Arc,
    time::Duration,
};

use firmware_sim::{Scenario, dice::Dice, lift::Output, wire::Report};
use model::{
    Alert, AlertChange, AlertId, Body, ChannelId, Device, DeviceId, Directory, Entry, Event, Profile, Sample, Timestamp,
};
use rules::{Engine, Ruleset};

/// How long a run is.
const DAYS: u32 = 2;
/// The rule that listens to the hub's clock: the order of arrival has a bearing on it, by its nature.
const SILENT: &str = "controller_silent";

fn start() -> Timestamp {
    Timestamp::from_secs(1_772_413_200)
}

fn scenario(seed: u64) -> anyhow::Result<Scenario> {
    let mut dice = Dice::new(seed, "days");
    let mut hour = |from: f64, to: f64| format!("{:.0}m", dice.between(from, to) * 60.0);
    let text = format!(
        r#"
[scenario]
name = "days"
seed = {seed}
hour = 6.0
report_every = "60s"
duration = "48h"

[[sites]]
name = "North House"
address = "1 North Road"
lifts = 4
ids = "nh"
plates_from = 100001
floors = 12
calls_per_day = 120

[[actions]]
kind = "entrapment"
at = "{}"
device = "nh-01"
passengers = 1
press_after = "4s"
release_after = "{}"

[[actions]]
kind = "entrapment"
at = "{}"
device = "nh-02"
passengers = 2
button = false
release_after = "{}"

[[actions]]
kind = "power_cut"
at = "{}"
site = "North House"
for = "{}"
cars_with_people = 2
without_rescue = 1
passengers = 1

[[actions]]
kind = "false_alarm"
at = "{}"
device = "nh-03"
end_after = "20s"
"#,
        hour(1.0, 10.0),
        hour(0.1, 0.6),
        hour(12.0, 20.0),
        hour(0.1, 0.4),
        hour(22.0, 30.0),
        hour(0.1, 0.3),
        hour(32.0, 44.0),
    );
    Ok(Scenario::parse("days.toml".as_ref(), &text)?)
}

/// One message: what a controller says, the true time, and the time it believes it is.
struct Said {
    device: Device,
    at: Timestamp,
    body: Body,
}

/// Everything the hub would ever see of these days, in order. Some of it is lost on the way, and controllers are silent for
/// up to an hour now and then; one clock is behind by minutes, one loses a second an hour.
fn said(seed: u64, rules: &Ruleset) -> anyhow::Result<Vec<Said>> {
    let scenario = scenario(seed)?;
    let (org, site) =
        ("01900000-0000-7000-8000-000000000001".parse()?, "01900000-0000-7000-8000-000000000002".parse()?);
    let mut dice = Dice::new(seed, "losses");
    let devices: BTreeMap<DeviceId, Device> = scenario
        .devices()
        .into_iter()
        .map(|device| {
            let known = Device {
                id: device.id.clone(),
                org,
                site,
                profile: rules.profile().clone(),
                name: device.name.clone(),
                plate: None,
            };
            (device.id, known)
        })
        .collect();
    let gaps: Vec<(DeviceId, Timestamp, Timestamp)> = devices
        .keys()
        .flat_map(|id| std::iter::repeat_n(id.clone(), 4))
        .map(|id| {
            let from = start() + Duration::from_secs_f64(dice.between(0.0, 47.0) * 3600.0);
            (id, from, from + Duration::from_secs_f64(dice.between(30.0, 3600.0)))
        })
        .collect();
    let mut said = Vec::new();
    let mut failure: Option<model::IdError> = None;
    scenario.rehearse(start(), Duration::from_hours(24) * DAYS, |id, output| {
        let Output::Report(report) = output else { return };
        let at = report.time();
        if dice.chance(0.02) || gaps.iter().any(|(silent, from, to)| silent == id && *from <= at && at < *to) {
            return;
        }
        let believed = match id.as_str() {
            "nh-02" => at - Duration::from_secs(170),
            "nh-04" => at - at.since(start()) / 3600,
            _ => at,
        };
        let (values, code) = match report {
            Report::Telemetry { values, .. } => (values, None),
            Report::Event { code, values, .. } => (values, Some(code.to_string())),
            Report::CommandResult { .. } => return,
        };
        let named = values.into_iter().map(|(name, value)| Ok((ChannelId::new(name.as_ref())?, value)));
        let values = match named.collect() {
            Ok(values) => values,
            Err(bad) => {
                failure = Some(bad);
                return;
            }
        };
        let time = believed;
        let body = match code {
            None => Body::Sample(Sample { time, seq: None, values }),
            Some(code) => Body::Event(Event { time, code, seq: None, values }),
        };
        said.push(Said { device: devices[id].clone(), at, body });
    });
    // What was measured at the instant of an event is taken before it.
    said.sort_by_key(|said| (said.at, matches!(said.body, Body::Event(_))));
    failure.map_or(Ok(said), |failure| Err(failure.into()))
}

/// What was found, by identity; the last word on each counts.
#[derive(Default)]
struct Found {
    alerts: BTreeMap<AlertId, Alert>,
    raised: HashSet<AlertId>,
    /// Alerts that were told twice.
    twice: usize,
}

impl Found {
    fn take(&mut self, changes: &mut Vec<AlertChange>) {
        for change in changes.drain(..) {
            if matches!(change, AlertChange::Raised(_)) && !self.raised.insert(change.alert().id) {
                self.twice += 1;
            }
            self.alerts.insert(change.alert().id, change.alert().clone());
        }
    }

    /// As lines; what was withdrawn does not count, and silence of a whole controller is compared by [`Self::silences`].
    fn lines(&self) -> Vec<String> {
        let counts = self.alerts.values().filter(|alert| !alert.evidence.withdrawn && alert.rule.as_str() != SILENT);
        let mut lines: Vec<String> = counts
            .map(|alert| {
                let (raised, device, rule) = (alert.raised_at, &alert.device, &alert.rule);
                format!("{raised} {device} {rule} until {:?}: {}", alert.cleared_at, alert.evidence.summary.en)
            })
            .collect();
        lines.sort();
        lines
    }

    fn silences(&self) -> impl Iterator<Item = &Alert> {
        self.alerts.values().filter(|alert| alert.rule.as_str() == SILENT)
    }

    /// True if every silence that lasted is among those of the other run, give or take what messages were late.
    fn silences_are_among(&self, other: &Self, lateness: Duration) -> bool {
        let lasted = |alert: &&Alert| alert.cleared_at.is_none_or(|end| end.since(alert.raised_at) > lateness * 2);
        self.silences().filter(lasted).all(|alert| {
            let near = |time: Timestamp| time.since(alert.raised_at).max(alert.raised_at.since(time)) <= lateness;
            other.silences().any(|other| other.device == alert.device && near(other.raised_at))
        })
    }
}

fn directory(said: &[Said]) -> Directory {
    let mut directory = Directory::default();
    for said in said {
        directory.devices.entry(said.device.id.clone()).or_insert_with(|| Arc::new(said.device.clone()));
    }
    directory
}

fn apply(engine: &mut Engine, said: &Said, received_at: Timestamp, changes: &mut Vec<AlertChange>) {
    let entry = Entry { device: Some(said.device.id.clone()), received_at, body: said.body.clone() };
    engine.apply(&said.device, &entry, changes);
}

/// One run, each message as it is said, each once.
fn uninterrupted(said: &[Said], rules: &Arc<Ruleset>, end: Timestamp) -> Found {
    let (mut engine, mut found, mut changes) = (Engine::new(), Found::default(), Vec::new());
    engine.load(rules.clone());
    for said in said {
        apply(&mut engine, said, said.at, &mut changes);
        found.take(&mut changes);
    }
    engine.advance(end, &directory(said), &mut changes);
    found.take(&mut changes);
    found
}

/// The same messages late by up to the lateness, some of them two and three times; the clock is looked at when it pleases,
/// and now and then all is forgotten but the snapshot.
fn disturbed(seed: u64, said: &[Said], rules: &Arc<Ruleset>, end: Timestamp) -> anyhow::Result<(Found, usize)> {
    let mut dice = Dice::new(seed, "disturbance");
    let lateness = rules.lateness().as_secs_f64();
    let mut arrivals: Vec<(Timestamp, &Said)> = Vec::new();
    for said in said {
        for _ in 0..if dice.chance(0.1) { 1 + dice.below(3) } else { 1 } {
            let delay = if dice.chance(0.3) { dice.between(0.0, lateness) } else { 0.02 };
            arrivals.push((said.at + Duration::from_secs_f64(delay), said));
        }
    }
    arrivals.sort_by_key(|(at, _)| *at);
    let directory = directory(said);
    let (mut engine, mut found, mut changes) = (Engine::new(), Found::default(), Vec::new());
    engine.load(rules.clone());
    let mut restarts = 0;
    for (at, said) in arrivals {
        if dice.chance(0.01) {
            engine.advance(at - Duration::from_millis(1), &directory, &mut changes);
        }
        apply(&mut engine, said, at, &mut changes);
        if dice.chance(0.001) {
            let snapshot = engine.snapshot();
            engine = Engine::new();
            engine.load(rules.clone());
            engine.restore(&snapshot)?;
            engine.advance(at, &directory, &mut changes);
            restarts += 1;
        }
        found.take(&mut changes);
    }
    engine.advance(end, &directory, &mut changes);
    found.take(&mut changes);
    assert_eq!(engine.counts().late, 0);
    Ok((found, restarts))
}

#[test]
fn days_of_disorder_and_restarts_give_the_alerts_of_the_ordered_run() {
    let text = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../../profiles/lift.toml")).unwrap();
    let profile = Profile::parse("lift.toml".as_ref(), &text).unwrap();
    let late = Arc::new(Ruleset::compile(&profile).unwrap());
    let ordered = Arc::new(Ruleset::compile(&Profile { lateness: Duration::ZERO, ..profile }).unwrap());
    let seeds = std::env::var("LIFTLINE_SIM_DAYS_SEEDS").map_or(2, |text| text.parse().unwrap());
    std::thread::scope(|scope| {
        for seed in 1..=seeds {
            let (late, ordered) = (&late, &ordered);
            scope.spawn(move || {
                let said = said(seed, late).unwrap();
                let end = start() + Duration::from_hours(24) * DAYS + Duration::from_hours(1);
                let plain = uninterrupted(&said, ordered, end);
                let (found, restarts) = disturbed(seed, &said, late, end).unwrap();
                assert!(restarts > 5, "{restarts} restarts");
                assert_eq!(found.twice, 0, "seed {seed}");
                let people = plain.alerts.values().filter(|alert| alert.rule.as_str() == "entrapment").count();
                assert!(people > 0 && plain.alerts.len() > 10, "{people} of {}", plain.alerts.len());
                assert!(plain.silences().count() > 0, "seed {seed}");
                assert!(plain.silences_are_among(&found, late.lateness()), "seed {seed}");
                assert!(found.silences_are_among(&plain, late.lateness()), "seed {seed}");
                let (found, plain) = (found.lines(), plain.lines());
                for (found, plain) in found.iter().zip(&plain) {
                    assert_eq!(found, plain, "seed {seed}");
                }
                assert_eq!(found.len(), plain.len(), "seed {seed}");
            });
        }
    });
}
