//! Every device under watch.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
};

use model::{
    Alert, AlertChange, Body, ChannelId, Device, DeviceId, Entry, Profile, ProfileId, RuleId, Value,
    profile::{ChannelKind, Detector, DetectorMethod, Forecast},
};

use crate::{
    detector::{DetectorState, Shift},
    finding::{self, Context},
    forecast::ForecastState,
    newcomer::{NewcomerState, Novelty},
    snapshot::{self, RestoreError, Saved, SavedDevice, SavedFinder, State},
    words,
};

/// Values beyond this are taken for rubbish, so that no square of one overflows.
const ABSURD: f64 = 1e100;

/// Finds levels that left their baseline and trends that will reach a limit.
#[derive(Debug, Default)]
pub struct Predictor {
    profiles: HashMap<ProfileId, Arc<Finders>>,
    devices: BTreeMap<DeviceId, Watched>,
    counts: Counts,
}

/// What was taken so far, counted once for each detector and forecast that a value concerns.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Counts {
    /// Values taken.
    pub seen: u64,
    /// Of these: not newer than the last one of their channel, and left out of baselines and trends.
    pub late: u64,
    /// Of these: not a finite number of sensible size, and left out.
    pub unusable: u64,
}

/// The detectors and forecasts of a profile, and the channels they watch.
#[derive(Debug)]
struct Finders {
    profile: Arc<Profile>,
    /// Detectors first, then forecasts, as in the profile.
    by_channel: HashMap<ChannelId, Vec<(usize, Role)>>,
}

/// What a channel is to a detector or forecast.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Role {
    Watched,
    /// The watched channel is looked at beside it.
    Companion,
}

/// A detector or a forecast of a profile.
enum Finder<'a> {
    Detector(&'a Detector),
    Forecast(&'a Forecast),
}

#[derive(Debug)]
struct Watched {
    finders: Arc<Finders>,
    /// One for each finder, in their order.
    states: Vec<State>,
    /// Alerts of finders that are no more, until their end is reported.
    orphans: Vec<Alert>,
}

impl Predictor {
    /// A predictor that watches nothing yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds the detectors and forecasts of a profile, or replaces them. Those that keep their name and channel
    /// keep what they have learnt; alerts of the others end with the device's next entry.
    pub fn load(&mut self, profile: Arc<Profile>) {
        let id = profile.id.clone();
        let finders = Arc::new(Finders::new(profile));
        for watched in self.devices.values_mut() {
            if watched.finders.profile.id == id {
                let old = std::mem::take(&mut watched.states);
                let known = old.into_iter().enumerate().filter_map(|(n, state)| {
                    let (rule, channel) = watched.finders.names(n)?;
                    Some(SavedFinder { rule: rule.clone(), channel: channel.clone(), state })
                });
                let orphans = std::mem::take(&mut watched.orphans);
                *watched = Watched::with(&finders, known.collect(), orphans);
            }
        }
        self.profiles.insert(id, finders);
    }

    /// Takes one entry. Numbers of samples and those that came with events are looked at, in event time. Entries of
    /// devices whose profile is not loaded, or that carry no numbers, change nothing.
    pub fn apply(&mut self, device: &Device, entry: &Entry, out: &mut Vec<AlertChange>) {
        let (time, values) = match &entry.body {
            Body::Sample(sample) => (sample.time, &sample.values),
            Body::Event(event) => (event.time, &event.values),
            Body::Status(_) | Body::CommandResult(_) | Body::Reject(_) | Body::Emergency(_) => return,
        };
        let Some(finders) = self.profiles.get(&device.profile) else { return };
        if !self.devices.contains_key(&device.id) {
            let fresh = Watched::with(finders, Vec::new(), Vec::new());
            self.devices.insert(device.id.clone(), fresh);
        }
        let Some(watched) = self.devices.get_mut(&device.id) else { return };
        if watched.finders.profile.id != device.profile {
            let orphans = watched.take_alerts();
            *watched = Watched::with(finders, Vec::new(), orphans);
        }
        let at = time.as_micros();
        for orphan in watched.orphans.drain(..) {
            out.push(finding::clear(Box::new(orphan), at, words::removed()));
        }
        for (channel, value) in values {
            let Value::Number(value) = value else { continue };
            let Some(concerned) = finders.by_channel.get(channel) else { continue };
            for (n, role) in concerned {
                self.counts.seen = self.counts.seen.saturating_add(1);
                if !value.is_finite() || value.abs() > ABSURD {
                    self.counts.unusable = self.counts.unusable.saturating_add(1);
                } else if !watched.take((*n, *role), device, channel, (at, *value), out) {
                    self.counts.late = self.counts.late.saturating_add(1);
                }
            }
        }
    }

    /// The alerts that stand, in no order that means anything.
    pub fn standing(&self) -> impl Iterator<Item = &Alert> {
        self.devices
            .values()
            .flat_map(|watched| watched.states.iter().filter_map(State::standing).chain(&watched.orphans))
    }

    /// What was taken so far.
    #[must_use]
    pub fn counts(&self) -> Counts {
        self.counts
    }

    /// What is known of every device, in a versioned binary form that gives back every number exactly.
    #[must_use]
    pub fn snapshot(&self) -> Vec<u8> {
        let devices = self.devices.iter().map(|(device, watched)| SavedDevice {
            device: device.clone(),
            profile: watched.finders.profile.id.clone(),
            finders: watched.saved(),
            orphans: watched.orphans.clone(),
        });
        let Counts { seen, late, unusable } = self.counts;
        snapshot::write(&Saved { seen, late, unusable, devices: devices.collect() })
    }

    /// Puts back what [`Predictor::snapshot`] saved. Load the profiles first: devices of profiles that are not loaded
    /// are forgotten, and detectors and forecasts with a new name or channel begin anew.
    ///
    /// # Errors
    /// [`RestoreError`] if the bytes are not a snapshot of this version; nothing is changed then.
    pub fn restore(&mut self, bytes: &[u8]) -> Result<(), RestoreError> {
        let saved = snapshot::read(bytes)?;
        self.counts = Counts { seen: saved.seen, late: saved.late, unusable: saved.unusable };
        self.devices = saved
            .devices
            .into_iter()
            .filter_map(|device| {
                let finders = self.profiles.get(&device.profile)?;
                Some((device.device, Watched::with(finders, device.finders, device.orphans)))
            })
            .collect();
        Ok(())
    }
}

impl Finders {
    fn new(profile: Arc<Profile>) -> Self {
        let channels = profile.detectors.iter().map(|detector| &detector.channel);
        let channels = channels.chain(profile.forecasts.iter().map(|forecast| &forecast.channel));
        let mut by_channel: HashMap<ChannelId, Vec<(usize, Role)>> = HashMap::new();
        for (n, channel) in channels.enumerate() {
            by_channel.entry(channel.clone()).or_default().push((n, Role::Watched));
        }
        for (n, detector) in profile.detectors.iter().enumerate() {
            if let DetectorMethod::Novelty { beside: Some(beside), .. } = &detector.method {
                by_channel.entry(beside.clone()).or_default().push((n, Role::Companion));
            }
        }
        Self { profile, by_channel }
    }

    fn count(&self) -> usize {
        self.profile.detectors.len() + self.profile.forecasts.len()
    }

    fn finder(&self, n: usize) -> Option<Finder<'_>> {
        let detectors = &self.profile.detectors;
        match detectors.get(n) {
            Some(detector) => Some(Finder::Detector(detector)),
            None => self.profile.forecasts.get(n - detectors.len()).map(Finder::Forecast),
        }
    }

    fn names(&self, n: usize) -> Option<(&RuleId, &ChannelId)> {
        self.finder(n).map(|finder| match finder {
            Finder::Detector(detector) => (&detector.id, &detector.channel),
            Finder::Forecast(forecast) => (&forecast.id, &forecast.channel),
        })
    }
}

impl Watched {
    /// States for all finders: known ones where name, kind and channel are the same, fresh ones else.
    fn with(finders: &Arc<Finders>, known: Vec<SavedFinder>, mut orphans: Vec<Alert>) -> Self {
        let mut known: Vec<Option<SavedFinder>> = known.into_iter().map(Some).collect();
        let states = (0..finders.count()).filter_map(|n| finders.finder(n)).map(|finder| {
            let mut find = |rule: &RuleId, channel: &ChannelId, fits: &dyn Fn(&State) -> bool| {
                let slot = known.iter_mut().find(|slot| {
                    slot.as_ref()
                        .is_some_and(|saved| saved.rule == *rule && saved.channel == *channel && fits(&saved.state))
                });
                slot.and_then(Option::take).map(|saved| saved.state)
            };
            match finder {
                Finder::Detector(detector) => match &detector.method {
                    DetectorMethod::Shift { .. } => {
                        let fits = |state: &State| matches!(state, State::Detector(_));
                        find(&detector.id, &detector.channel, &fits)
                            .unwrap_or_else(|| State::Detector(DetectorState::new()))
                    }
                    DetectorMethod::Novelty { .. } => {
                        let fits = |state: &State| matches!(state, State::Newcomer(_));
                        find(&detector.id, &detector.channel, &fits)
                            .unwrap_or_else(|| State::Newcomer(NewcomerState::new()))
                    }
                },
                Finder::Forecast(forecast) => {
                    let fits = |state: &State| matches!(state, State::Forecast(_));
                    find(&forecast.id, &forecast.channel, &fits)
                        .unwrap_or_else(|| State::Forecast(ForecastState::new(forecast)))
                }
            }
        });
        let states = states.collect();
        orphans.extend(known.into_iter().flatten().filter_map(|saved| saved.state.into_alert()).map(|alert| *alert));
        Self { finders: Arc::clone(finders), states, orphans }
    }

    fn take_alerts(&mut self) -> Vec<Alert> {
        let standing = std::mem::take(&mut self.states).into_iter().filter_map(State::into_alert).map(|alert| *alert);
        std::mem::take(&mut self.orphans).into_iter().chain(standing).collect()
    }

    fn saved(&self) -> Vec<SavedFinder> {
        let named = self.states.iter().enumerate().filter_map(|(n, state)| {
            let (rule, channel) = self.finders.names(n)?;
            Some(SavedFinder { rule: rule.clone(), channel: channel.clone(), state: state.clone() })
        });
        named.collect()
    }

    fn take(
        &mut self,
        (n, role): (usize, Role),
        device: &Device,
        channel: &ChannelId,
        (at, value): (i64, f64),
        out: &mut Vec<AlertChange>,
    ) -> bool {
        let profile = &self.finders.profile;
        let Some(channel) = profile.channel(channel.as_str()) else { return false };
        let range = match channel.kind {
            ChannelKind::Number { min, max, .. } => max - min,
            ChannelKind::Bool | ChannelKind::Text { .. } | ChannelKind::State { .. } => return false,
        };
        let context = Context { device, profile, channel: &channel.name, unit: channel.unit(), range };
        match (self.finders.finder(n), self.states.get_mut(n)) {
            (Some(Finder::Detector(detector)), Some(state)) => match (&detector.method, state) {
                (DetectorMethod::Shift { sigmas, min_change }, State::Detector(state)) => {
                    let shift = Shift { detector, sigmas: *sigmas, min_change: *min_change };
                    state.take(&shift, &context, at, value, out)
                }
                (DetectorMethod::Novelty { score, beside }, State::Newcomer(state)) => match role {
                    Role::Companion => state.take_beside(at, value),
                    Role::Watched => {
                        let beside = beside.as_ref().and_then(|beside| profile.channel(beside.as_str()));
                        let novelty = Novelty { line: *score, beside: beside.map(|channel| &channel.name) };
                        state.take(detector, novelty, &context, (at, value), out)
                    }
                },
                (DetectorMethod::Shift { .. }, State::Newcomer(_) | State::Forecast(_))
                | (DetectorMethod::Novelty { .. }, State::Detector(_) | State::Forecast(_)) => false,
            },
            (Some(Finder::Forecast(forecast)), Some(State::Forecast(state))) => {
                state.take(forecast, &context, at, value, out)
            }
            _ => false,
        }
    }
}
