//! Snapshots of the engine: what is known of every device and where its rules stand, by name, so that a profile may
//! change between writing and reading.

use std::{collections::HashMap, sync::Arc};

use model::{Alert, AlertChange, ChannelId, DeviceId, ProfileId, RuleId, Timestamp, Value};
use serde::{Deserialize, Serialize};

use crate::{
    device::{Told, Tracked, Waiting},
    peers::{self, Peers},
    progress::{ClockPair, Phase, Progress},
    ruleset::Ruleset,
    watch::Watch,
    windows::{Sequence, Window},
};

/// Raised whenever the shape of [`Saved`] changes.
const FORMAT: u16 = 7;

/// Why a snapshot cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum RestoreError {
    /// It was written by another version of the engine.
    #[error(
        "the saved state of the rules has format {found}, this version reads {FORMAT}; start without it: standing conditions are found again from the next readings"
    )]
    Format {
        /// The format it was written in.
        found: u16,
    },
    /// It is damaged.
    #[error(
        "the saved state of the rules is damaged; start without it: standing conditions are found again from the next readings"
    )]
    Damaged(#[source] postcard::Error),
}

/// What could not be put back as it was.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct RestoreReport {
    /// One sentence for each profile that was affected.
    pub notes: Vec<String>,
}

#[derive(Serialize, Deserialize)]
struct Saved {
    hub: i64,
    profiles: Vec<SavedProfile>,
    devices: Vec<SavedDevice>,
    peers: peers::Saved,
}

#[derive(Serialize, Deserialize, PartialEq, Eq)]
struct SavedProfile {
    id: ProfileId,
    version: u32,
    channels: Vec<ChannelId>,
    events: Vec<String>,
    rules: Vec<RuleId>,
    latches: usize,
    /// The windows and sequences, as they were: what is kept of them means something only for the same.
    followed: String,
}

#[derive(Serialize, Deserialize)]
struct SavedDevice {
    id: DeviceId,
    profile: usize,
    cells: Vec<Option<(Value, i64, i64)>>,
    events: Vec<(i64, [i64; 4])>,
    latches: Vec<(bool, i64)>,
    followed: (Vec<Window>, Vec<Sequence>),
    online: (Option<bool>, i64),
    clock: Option<ClockPair>,
    born: Option<i64>,
    contact: Option<i64>,
    fresh: bool,
    rules: Vec<Progress>,
    settled_to: i64,
    front: Option<ClockPair>,
    waiting: Vec<Waiting>,
    told: Vec<Told>,
}

/// What [`read`] found.
pub(crate) struct Restored {
    pub(crate) hub: i64,
    pub(crate) tracked: HashMap<DeviceId, Tracked>,
    /// Alerts of rules that are no more.
    pub(crate) orphans: Vec<Alert>,
    pub(crate) peers: Peers,
    pub(crate) report: RestoreReport,
}

fn saved_profile(ruleset: &Ruleset) -> SavedProfile {
    SavedProfile {
        id: ruleset.profile.clone(),
        version: ruleset.version,
        channels: ruleset.channels.iter().map(|channel| channel.id.clone()).collect(),
        events: ruleset.events.iter().map(|event| event.code.clone()).collect(),
        rules: ruleset.rules.iter().map(|compiled| compiled.rule.id.clone()).collect(),
        latches: ruleset.followed.latches.len(),
        followed: format!("{:?} {:?}", ruleset.followed.windows, ruleset.followed.sequences),
    }
}

fn saved_device(id: &DeviceId, profile: usize, tracked: &Tracked) -> SavedDevice {
    let watch = &tracked.settled;
    let channels = &watch.ruleset.channels;
    let facts = &watch.facts;
    SavedDevice {
        id: id.clone(),
        profile,
        cells: (0u16..).zip(channels).map(|(index, channel)| facts.saved_cell(index, &channel.kind)).collect(),
        events: (0u16..).zip(&watch.ruleset.events).map(|(index, _)| facts.saved_event(index)).collect(),
        latches: facts.saved_latches(),
        followed: facts.saved_followed(),
        online: facts.saved_online(),
        clock: watch.clock,
        born: watch.born,
        contact: watch.contact,
        fresh: watch.fresh,
        rules: watch.rules.clone(),
        settled_to: tracked.settled_to,
        front: tracked.front,
        waiting: tracked.waiting.clone(),
        told: tracked.told.clone(),
    }
}

/// Writes everything.
pub(crate) fn write(hub: i64, tracked: &HashMap<DeviceId, Tracked>, peers: &Peers) -> Vec<u8> {
    let mut sorted: Vec<_> = tracked.iter().collect();
    sorted.sort_unstable_by_key(|(id, _)| *id);
    let mut rulesets: Vec<&Arc<Ruleset>> = Vec::new();
    let mut devices = Vec::with_capacity(sorted.len());
    for (id, tracked) in sorted {
        let own = &tracked.settled.ruleset;
        let known = rulesets.iter().position(|ruleset| Arc::ptr_eq(ruleset, own));
        let profile = known.unwrap_or_else(|| {
            rulesets.push(own);
            rulesets.len() - 1
        });
        devices.push(saved_device(id, profile, tracked));
    }
    let profiles = rulesets.into_iter().map(|ruleset| saved_profile(ruleset)).collect();
    let mut bytes = FORMAT.to_le_bytes().to_vec();
    let body = postcard::to_stdvec(&Saved { hub, profiles, devices, peers: peers.saved() });
    bytes.extend(body.expect("plain data is always written to memory"));
    bytes
}

/// Reads everything back, fitted to the rules as they are now.
pub(crate) fn read(bytes: &[u8], rulesets: &HashMap<ProfileId, Arc<Ruleset>>) -> Result<Restored, RestoreError> {
    let (head, body) =
        bytes.split_at_checked(2).ok_or(RestoreError::Damaged(postcard::Error::DeserializeUnexpectedEnd))?;
    let found = u16::from_le_bytes([head[0], head[1]]);
    if found != FORMAT {
        return Err(RestoreError::Format { found });
    }
    let saved: Saved = postcard::from_bytes(body).map_err(RestoreError::Damaged)?;
    let mut report = RestoreReport::default();
    for profile in &saved.profiles {
        match rulesets.get(&profile.id) {
            None => report.notes.push(format!(
                "the profile \"{}\" is no longer loaded; what was known of its devices was dropped",
                profile.id
            )),
            Some(ruleset) if ruleset.with_variants().all(|rules| *profile != saved_profile(rules)) => report.notes.push(format!(
                "the profile \"{}\" changed (version {} was saved, version {} is loaded); values and standing alerts were kept, holding times begin anew",
                profile.id, profile.version, ruleset.version
            )),
            Some(_) => {}
        }
    }
    let mut tracked = HashMap::with_capacity(saved.devices.len());
    let mut orphans = Vec::new();
    for device in saved.devices {
        let profile =
            saved.profiles.get(device.profile).ok_or(RestoreError::Damaged(postcard::Error::DeserializeBadEncoding))?;
        if let Some(ruleset) = rulesets.get(&profile.id) {
            let id = device.id.clone();
            let ruleset = ruleset.on(&id);
            tracked.insert(id, fitted(profile, device, &ruleset, &mut orphans));
        }
    }
    Ok(Restored { hub: saved.hub, tracked, orphans, peers: Peers::of(saved.peers), report })
}

/// A device's state fitted to other rules of the same profile, and the alerts of rules that are no more.
pub(crate) fn migrated(id: &DeviceId, tracked: &Tracked, ruleset: &Arc<Ruleset>) -> (Tracked, Vec<Alert>) {
    let mut orphans = Vec::new();
    let profile = saved_profile(&tracked.settled.ruleset);
    let mut next = fitted(&profile, saved_device(id, 0, tracked), ruleset, &mut orphans);
    next.scheduled = tracked.scheduled;
    (next, orphans)
}

/// An alert whose rule is no more, as it ends.
pub(crate) fn ended(mut alert: Alert, at: Timestamp) -> AlertChange {
    alert.cleared_at = Some(at.max(alert.raised_at));
    alert.evidence.summary.en.push_str(" The rule was removed from the profile.");
    alert.evidence.summary.zh.push_str(" 该规则已从配置中删除。");
    AlertChange::Cleared(Box::new(alert))
}

/// What is waiting, with the numbers of channels and events as other rules have them.
fn renumbered(profile: &SavedProfile, waiting: Vec<Waiting>, ruleset: &Ruleset) -> Vec<Waiting> {
    let channel = |index: u16| ruleset.channel(profile.channels.get(usize::from(index))?);
    let event = |index: u16| ruleset.event(profile.events.get(usize::from(index))?);
    let mut waiting = waiting;
    for Waiting { reported, .. } in &mut waiting {
        let values = std::mem::take(&mut reported.values);
        reported.values = values.iter().filter_map(|(index, datum)| Some((channel(index)?, datum))).collect();
        reported.event = reported.event.and_then(event);
    }
    waiting
}

fn fitted(profile: &SavedProfile, device: SavedDevice, ruleset: &Arc<Ruleset>, orphans: &mut Vec<Alert>) -> Tracked {
    let mut watch = Watch::new(Arc::clone(ruleset));
    let same = *profile == saved_profile(ruleset);
    for (id, cell) in profile.channels.iter().zip(&device.cells) {
        if let (Some(channel), Some((value, at, raw))) = (ruleset.channel(id), cell) {
            let kind = &ruleset.channels[usize::from(channel)].kind;
            watch.facts.load_cell(channel, kind, value, *at, *raw);
        }
    }
    for (code, (last, raws)) in profile.events.iter().zip(&device.events) {
        if let Some(event) = ruleset.event(code) {
            watch.facts.load_event(event, *last, *raws);
        }
    }
    let (online, at) = device.online;
    watch.facts.load_online(online, at);
    watch.clock = device.clock;
    watch.born = device.born;
    watch.contact = device.contact;
    watch.fresh = device.fresh || !same;
    if same {
        watch.facts.load_latches(&device.latches);
        watch.facts.load_followed(device.followed);
        watch.rules = device.rules;
        watch.find_next_due();
    } else {
        for (id, saved) in profile.rules.iter().zip(device.rules) {
            let index = ruleset.rules.iter().position(|compiled| compiled.rule.id == *id);
            match (saved.phase, index) {
                (Phase::Raised { alert } | Phase::Clearing { alert, .. }, Some(index)) => {
                    watch.rules[index].phase = Phase::Raised { alert };
                    watch.rules[index].settled = saved.settled;
                }
                (Phase::Raised { alert } | Phase::Clearing { alert, .. }, None) => orphans.push(*alert),
                (Phase::Idle | Phase::Pending { .. }, Some(index)) => watch.rules[index].settled = saved.settled,
                (Phase::Idle | Phase::Pending { .. }, None) => {}
            }
        }
        let now = watch.clock.map_or(i64::MIN, |clock| clock.event);
        watch.find_dues(now.max(device.settled_to.saturating_sub(1)));
    }
    watch.rules.resize_with(ruleset.rules.len(), Progress::new);
    let mut tracked = Tracked::new(watch);
    tracked.settled_to = device.settled_to;
    tracked.front = device.front;
    tracked.waiting = if same { device.waiting } else { renumbered(profile, device.waiting, ruleset) };
    for told in device.told {
        if ruleset.rules.iter().any(|compiled| compiled.rule.id == told.alert.rule) {
            tracked.told.push(told);
        } else if told.is_told() {
            orphans.push(*told.alert);
        }
    }
    tracked
}
