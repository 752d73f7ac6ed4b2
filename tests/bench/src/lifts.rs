//! What the measured parts are fed: simulated lifts on a working day, as the gateway hands them to the journal.

use std::{sync::Arc, time::Duration};

use anyhow::ensure;
use bytes::Bytes;
use firmware_sim::{
    Scenario,
    lift::Output,
    wire::{Numbered, Topics},
};
use gateway::{GatewayConfig, Message};
use model::{Body, Device, DeviceId, Directory, Entry, OrgId, Profile, SiteId, Timestamp};
use rules::Ruleset;

/// How many different lifts there are; a larger fleet repeats them under other names.
const DIFFERENT: usize = 20;
/// A scenario with nothing in it but traffic.
const QUIET: &str = r#"
[scenario]
name = "bench"
seed = 1
hour = 9.0
report_every = "10s"

[[sites]]
name = "Bench"
lifts = 20
ids = "b"
plates_from = 1
floors = 16
calls_per_day = 700
"#;

/// A profile and its compiled rules.
pub struct Loaded {
    /// The profile.
    pub profile: Arc<Profile>,
    /// Its rules.
    pub rules: Arc<Ruleset>,
}

/// The lift profile that comes with the hub.
pub fn profile() -> anyhow::Result<Loaded> {
    let profile = Profile::parse("profiles/lift.toml".as_ref(), include_str!("../../../profiles/lift.toml"))?;
    let rules = Arc::new(Ruleset::compile(&profile)?);
    Ok(Loaded { profile: Arc::new(profile), rules })
}

/// A fleet and what it said, in the order in which it arrived.
pub struct Lifts {
    /// The registered devices.
    pub directory: Directory,
    /// What they said.
    pub entries: Vec<Entry>,
    /// How many values of channels that is.
    pub readings: u64,
}

impl Lifts {
    /// So many devices that say about so many things in total.
    pub fn new(devices: usize, entries: usize, org: OrgId, site: SiteId) -> anyhow::Result<Self> {
        let loaded = profile()?;
        let device = |id: DeviceId| Device {
            name: format!("Lift {id}"),
            org,
            site,
            profile: loaded.profile.id.clone(),
            plate: None,
            id,
        };
        let names = (0..devices).map(|n| format!("bench-{n:05}").parse()).collect::<Result<Vec<DeviceId>, _>>()?;
        let directory = Directory {
            devices: names.iter().map(|id| (id.clone(), Arc::new(device(id.clone())))).collect(),
            profiles: [(loaded.profile.id.clone(), loaded.profile.clone())].into(),
        };
        let said = rehearse(entries.div_ceil(devices).max(2))?;
        let mut all = Vec::with_capacity(entries);
        for (n, name) in names.into_iter().enumerate() {
            let share = said[n % DIFFERENT].iter().take(entries.div_ceil(devices));
            all.extend(share.cloned().map(|entry| Entry { device: Some(name.clone()), ..entry }));
        }
        all.sort_by_key(|entry| entry.received_at);
        let readings = all.iter().map(readings_of).sum();
        Ok(Self { directory, entries: all, readings })
    }
}

fn readings_of(entry: &Entry) -> u64 {
    match &entry.body {
        Body::Sample(sample) => sample.values.len() as u64,
        Body::Event(event) => event.values.len() as u64,
        Body::Status(_) | Body::CommandResult(_) | Body::Reject(_) | Body::Emergency(_) => 0,
    }
}

/// What each of the different lifts says, at least `each` entries, decoded by the gateway.
fn rehearse(each: usize) -> anyhow::Result<Vec<Vec<Entry>>> {
    let scenario = Scenario::parse("bench.toml".as_ref(), QUIET)?;
    let start = Timestamp::from_secs(1_772_413_200);
    // At the very least one report every ten seconds.
    let span = Duration::from_secs(10 * each as u64 + 60);
    let devices = scenario.devices();
    let loaded = profile()?;
    let (org, site) = (OrgId(uuid::Uuid::nil()), SiteId(uuid::Uuid::nil()));
    let known = devices.iter().map(|device| Device {
        id: device.id.clone(),
        org,
        site,
        profile: device.profile.clone(),
        name: String::new(),
        plate: None,
    });
    let directory = Directory {
        devices: known.map(|device| (device.id.clone(), Arc::new(device))).collect(),
        profiles: [(loaded.profile.id.clone(), loaded.profile)].into(),
    };
    let options = GatewayConfig::default().decode_options();
    let mut said: Vec<Vec<Entry>> = vec![Vec::new(); devices.len()];
    scenario.rehearse(start, span, |id, output| {
        let Output::Report(report) = output else { return };
        let Some(n) = devices.iter().position(|device| device.id == *id) else { return };
        let (at, seq) = (report.time(), said[n].len() as u64 + 1);
        let Some(message) = Topics::new("liftline", id).message(vec![Numbered { seq, report }]) else { return };
        let message = Message {
            topic: Bytes::from(message.topic),
            payload: Bytes::from(message.payload),
            received_at: at + Duration::from_millis(50),
            sender: None,
        };
        said[n].extend(gateway::decode(&options, &directory, &message));
    });
    let fewest = said.iter().map(Vec::len).min().unwrap_or(0);
    ensure!(fewest >= each, "a lift said only {fewest} things in {span:?}");
    Ok(said)
}
