//! What the lifts say: hours of simulated physics, rehearsed once and then delivered in many ways.

use std::time::Duration;

use anyhow::Context as _;
use firmware_sim::{
    Scenario, SimDevice, SimSite,
    dice::Dice,
    lift::Output,
    truth::Phase,
    wire::{Numbered, Report},
};
use model::{DeviceId, Timestamp};

/// How much simulated time a run covers.
pub const SPAN: Duration = Duration::from_secs(105 * 60);

/// When every run begins.
pub fn start() -> Timestamp {
    // 2026-03-02T01:00:00Z, a Monday morning at the sites.
    Timestamp::from_secs(1_772_413_200)
}

/// One report and the true time at which the controller has it ready.
pub struct Said {
    /// True time.
    pub at: Timestamp,
    /// The report, with the time that the controller believes it is.
    pub numbered: Numbered,
}

/// A controller and everything it says.
pub struct Voice {
    /// Who.
    pub device: SimDevice,
    /// In order.
    pub said: Vec<Said>,
    /// From when to when it hangs: it says nothing, does not connect anew, and nobody says that it is gone.
    pub hung: Option<(Timestamp, Timestamp)>,
}

/// People shut in, in truth.
pub struct Trapped {
    /// Where.
    pub device: DeviceId,
    /// Since when.
    pub begin: Timestamp,
    /// Until when; `None`: until after the run.
    pub end: Option<Timestamp>,
}

/// A fleet's hour.
pub struct Fleet {
    /// The sites.
    pub sites: Vec<SimSite>,
    /// The controllers.
    pub voices: Vec<Voice>,
    /// What really happened.
    pub trapped: Vec<Trapped>,
}

/// A stretch of time after the start.
struct Window {
    from: Timestamp,
    to: Timestamp,
}

impl Window {
    fn at(minutes: f64, lasts: f64) -> Self {
        let from = start() + Duration::from_secs_f64(minutes * 60.0);
        Self { from, to: from + Duration::from_secs_f64(lasts * 60.0) }
    }

    fn holds(&self, time: Timestamp) -> bool {
        self.from <= time && time < self.to
    }
}

/// Eight lifts at two sites: two entrapments, one of them without the button, a power cut, a false alarm, a hung
/// controller and a wrong clock, at times that depend on the variant.
fn scenario(variant: u64) -> String {
    let mut dice = Dice::new(variant, "scenario");
    let mut minute = |from: f64, to: f64| format!("{:.0}s", dice.between(from, to) * 60.0);
    let (first, freed) = (minute(3.0, 15.0), minute(4.0, 25.0));
    let (second, out) = (minute(60.0, 95.0), minute(3.0, 15.0));
    let (cut, back, play) = (minute(25.0, 50.0), minute(3.0, 15.0), minute(24.0, 100.0));
    format!(
        r#"
[scenario]
name = "sim"
seed = {variant}
hour = 10.0
report_every = "40s"
duration = "2h"

[[sites]]
name = "North House"
address = "1 North Road"
lifts = 5
ids = "nh"
plates_from = 100001
floors = 12
calls_per_day = 140

[[sites]]
name = "South House"
address = "2 South Road"
lifts = 3
ids = "sh"
plates_from = 100101
floors = 9
calls_per_day = 140

[[actions]]
kind = "entrapment"
at = "{first}"
device = "nh-01"
passengers = 1
press_after = "4s"
release_after = "{freed}"

[[actions]]
kind = "entrapment"
at = "{second}"
device = "nh-02"
passengers = 2
button = false
release_after = "{out}"

[[actions]]
kind = "power_cut"
at = "{cut}"
site = "South House"
for = "{back}"
cars_with_people = 2
without_rescue = 1
passengers = 1

[[actions]]
kind = "false_alarm"
at = "{play}"
device = "nh-03"
end_after = "20s"
"#
    )
}

/// Rehearses a variant. The same variant says the same.
pub fn rehearse(variant: u64) -> anyhow::Result<Fleet> {
    let scenario = Scenario::parse("sim.toml".as_ref(), &scenario(variant)).context("reading the scenario")?;
    let mut dice = Dice::new(variant, "controllers");
    // Long enough to be missed.
    let hung = ("nh-04", Window::at(dice.between(10.0, 60.0), dice.between(12.0, 40.0)));
    let skewed = ("nh-05", Window::at(dice.between(10.0, 90.0), 12.0));
    let skew_ms = [10_000, -10_800_000, 7_200_000][dice.below(3)];

    let mut voices: Vec<Voice> =
        scenario.devices().into_iter().map(|device| Voice { device, said: Vec::new(), hung: None }).collect();
    for voice in voices.iter_mut().filter(|voice| voice.device.id.as_str() == hung.0) {
        voice.hung = Some((hung.1.from, hung.1.to));
    }
    let mut trapped: Vec<Trapped> = Vec::new();
    scenario.rehearse(start(), SPAN, |device, output| {
        let Some(voice) = voices.iter_mut().find(|voice| voice.device.id == *device) else { return };
        match output {
            Output::Report(mut report) => {
                let at = report.time();
                if device.as_str() == hung.0 && hung.1.holds(at) {
                    return;
                }
                if device.as_str() == skewed.0 && skewed.1.holds(at) {
                    shift(&mut report, skew_ms);
                }
                let seq = voice.said.len() as u64 + 1;
                voice.said.push(Said { at, numbered: Numbered { seq, report } });
            }
            Output::Truth(note) if note.cause == "trapped" => match note.phase {
                Phase::Begin => trapped.push(Trapped { device: device.clone(), begin: note.time, end: None }),
                Phase::End => {
                    if let Some(open) = trapped.iter_mut().rfind(|open| open.device == *device) {
                        open.end = Some(note.time);
                    }
                }
            },
            Output::Truth(_) => {}
        }
    });
    Ok(Fleet { sites: scenario.sites, voices, trapped })
}

/// Makes the controller's clock wrong.
fn shift(report: &mut Report, millis: i64) {
    let (Report::Telemetry { time, .. } | Report::Event { time, .. } | Report::CommandResult { time, .. }) = report;
    *time = Timestamp::from_millis(time.as_millis() + millis);
}
