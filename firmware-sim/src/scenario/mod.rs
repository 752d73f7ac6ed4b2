//! A scenario: which lifts there are, and what happens to them and when. Written in TOML.

mod load;

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use model::{DeviceId, ProfileId, Timestamp};

use crate::{
    device::Act,
    dice::Dice,
    history::History,
    lift::{Lift, LiftSpec, Output, machine::Wear, motion::Limits, traffic::Building},
};

/// The scenarios that are part of the program: name and text.
pub const BUILT_IN: &[(&str, &str)] = &[
    ("demo", include_str!("../../scenarios/demo.toml")),
    ("quiet", include_str!("../../scenarios/quiet.toml")),
    ("door-wear", include_str!("../../scenarios/door-wear.toml")),
    ("entrapment", include_str!("../../scenarios/entrapment.toml")),
    ("power-cut", include_str!("../../scenarios/power-cut.toml")),
    ("silent", include_str!("../../scenarios/silent.toml")),
    ("clock-skew", include_str!("../../scenarios/clock-skew.toml")),
    ("flapping", include_str!("../../scenarios/flapping.toml")),
    ("false-alarm", include_str!("../../scenarios/false-alarm.toml")),
];

/// Acceleration and jerk of every lift, m/s² and m/s³: within what passengers find comfortable.
const ACCELERATION_M_S2: f64 = 0.9;
const JERK_M_S3: f64 = 1.2;

/// The step of a rehearsal.
const REHEARSAL_STEP: Duration = Duration::from_millis(200);

/// Why a scenario cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ScenarioError {
    /// The file cannot be read, and no built-in scenario has this name.
    #[error("the scenario file {} cannot be read; give a TOML file, or one of the built-in scenarios: {}", path.display(), built_in_names())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// The file says something that cannot be.
    #[error("{}:{line}: {message}; {remedy}", file.display())]
    Invalid {
        /// The file.
        file: PathBuf,
        /// The line, from 1.
        line: usize,
        /// What is wrong.
        message: String,
        /// What to do about it.
        remedy: String,
    },
}

fn built_in_names() -> String {
    BUILT_IN.iter().map(|(name, _)| *name).collect::<Vec<_>>().join(", ")
}

/// A device as the hub should register it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SimDevice {
    /// Its name in MQTT topics.
    pub id: DeviceId,
    /// The name of its site.
    pub site: String,
    /// What it publishes.
    pub profile: ProfileId,
    /// What people call it.
    pub name: String,
    /// The number on the plate in the car, unique within the scenario.
    pub plate: Option<String>,
}

/// A site of a scenario and its lifts.
#[derive(Debug, Clone, PartialEq)]
pub struct SimSite {
    /// What people call it.
    pub name: String,
    /// Its postal address.
    pub address: String,
    /// IANA time zone; the day's traffic follows it.
    pub time_zone: String,
    pub(crate) lifts: usize,
    pub(crate) ids: String,
    pub(crate) plates_from: u32,
    pub(crate) building: Building,
    pub(crate) floors: usize,
    pub(crate) floor_height_m: f64,
    pub(crate) speed_m_s: f64,
    pub(crate) rated_load_kg: f64,
    pub(crate) calls_per_day: f64,
    pub(crate) rescue_share: f64,
}

/// A checked scenario.
#[derive(Debug, Clone, PartialEq)]
pub struct Scenario {
    /// Its name.
    pub name: String,
    /// What it shows, in a sentence.
    pub about: String,
    /// The seed of everything that is left to chance.
    pub seed: u64,
    /// Simulated seconds in a second.
    pub speed: f64,
    /// How much simulated time it covers; `None`: until it is stopped.
    pub duration: Option<Duration>,
    /// The hour of the day at the start; `None`: the site's true local time.
    pub hour: Option<f64>,
    /// How often a lift reports when nothing changes.
    pub report_every: Duration,
    /// Its sites.
    pub sites: Vec<SimSite>,
    pub(crate) scripts: Vec<Script>,
}

/// What happens to one device.
#[derive(Debug, Clone, PartialEq, Default)]
pub(crate) struct Script {
    /// Ordered by time since the start.
    pub acts: Vec<(Duration, Act)>,
    pub history: Option<History>,
    pub connect_after: Duration,
    pub reserved: bool,
    pub without_rescue: bool,
    pub wear: Wear,
}

impl Scenario {
    /// Reads a built-in scenario by its name, or a file.
    ///
    /// # Errors
    /// [`ScenarioError`] names the file, the line and the remedy.
    pub fn load(path_or_name: &str) -> Result<Self, ScenarioError> {
        if let Some((name, text)) = BUILT_IN.iter().find(|(name, _)| *name == path_or_name) {
            return Self::parse(Path::new(&format!("{name}.toml")), text);
        }
        let path = PathBuf::from(path_or_name);
        match std::fs::read_to_string(&path) {
            Ok(text) => Self::parse(&path, &text),
            Err(source) => Err(ScenarioError::Read { path, source }),
        }
    }

    /// Reads a scenario from its text; `file` is named in errors.
    ///
    /// # Errors
    /// [`ScenarioError::Invalid`] names the line and the remedy.
    pub fn parse(file: &Path, text: &str) -> Result<Self, ScenarioError> {
        load::parse(file, text)
    }

    /// Every device, in the order of the file, for registration.
    #[must_use]
    pub fn devices(&self) -> Vec<SimDevice> {
        let mut devices = Vec::new();
        for site in &self.sites {
            for n in 1..=site.lifts {
                devices.push(SimDevice {
                    id: site.device(n),
                    site: site.name.clone(),
                    profile: ProfileId::new("lift").expect("the name is a valid profile id"),
                    name: format!("Lift {n}"),
                    plate: Some(format!("{:06}", site.plates_from as usize + n - 1)),
                });
            }
        }
        devices
    }

    /// Runs the lifts without any network from `start` for `span` of simulated time and hands everything they say to
    /// `look`, device by device. What befalls the controllers alone (silence, a wrong clock, history) is left out.
    pub fn rehearse(&self, start: Timestamp, span: Duration, mut look: impl FnMut(&DeviceId, Output)) {
        for (spec, script) in self.lifts(start).into_iter().zip(&self.scripts) {
            let id = spec.id.clone();
            let mut lift = Lift::new(spec, start);
            let mut acts = script.acts.iter().peekable();
            let mut now = start;
            while now < start + span {
                while let Some((_, act)) = acts.next_if(|(at, _)| start + *at <= now) {
                    match act {
                        Act::Lift(injection) => lift.inject(injection),
                        Act::Silence { .. } | Act::Skew { .. } => {}
                    }
                }
                now = now + REHEARSAL_STEP;
                for output in lift.step(now, REHEARSAL_STEP) {
                    look(&id, output);
                }
            }
        }
    }

    /// The lifts as they are simulated from `start` on, in the order of [`Scenario::devices`].
    #[must_use]
    pub fn lifts(&self, start: Timestamp) -> Vec<LiftSpec> {
        let mut lifts = Vec::new();
        for site in &self.sites {
            let hour_at_start = self.hour.unwrap_or_else(|| local_hour(start, &site.time_zone));
            for n in 1..=site.lifts {
                let script = &self.scripts[lifts.len()];
                let id = site.device(n);
                let mut dice = Dice::new(self.seed, &format!("{id} build"));
                lifts.push(LiftSpec {
                    seed: self.seed,
                    floors: site.floors,
                    floor_height_m: site.floor_height_m,
                    limits: Limits {
                        speed_m_s: site.speed_m_s,
                        acceleration_m_s2: ACCELERATION_M_S2,
                        jerk_m_s3: JERK_M_S3,
                    },
                    rated_load_kg: site.rated_load_kg,
                    building: site.building,
                    // No two lifts of a site are used alike.
                    calls_per_day: site.calls_per_day * dice.between(0.6, 1.4),
                    hour_at_start,
                    report_interval: self.report_every,
                    has_rescue_device: dice.chance(site.rescue_share) && !script.without_rescue,
                    wear: script.wear,
                    reserved: script.reserved,
                    id,
                });
            }
        }
        lifts
    }
}

/// The hour of the day at a place, 0 to 24.
fn local_hour(time: Timestamp, zone: &str) -> f64 {
    // The zone was checked when the scenario was read.
    let zone = jiff::tz::TimeZone::get(zone).unwrap_or(jiff::tz::TimeZone::UTC);
    let local = time.to_jiff().to_zoned(zone);
    f64::from(local.hour()) + f64::from(local.minute()) / 60.0
}

impl SimSite {
    fn device(&self, n: usize) -> DeviceId {
        let width = if self.lifts < 100 { 2 } else { 4 };
        DeviceId::new(&format!("{}-{n:0width$}", self.ids)).expect("the prefix was checked when the file was read")
    }
}

#[cfg(test)]
mod tests;
