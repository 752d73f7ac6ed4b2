//! What a scenario does to a lift, and the deeds that follow later.

use std::time::Duration;

use model::Timestamp;
use serde::Deserialize;

use super::{DoorState, Drive, Lift, Rider, Service, machine::Wear};
use crate::truth::Note;

/// How long an automatic rescue device waits after the mains are lost before it drives on battery.
const RESCUE_DEVICE_DELAY: Duration = Duration::from_millis(1500);
/// How long the controller needs to start again after the mains return.
const RESTART: Duration = Duration::from_secs(4);
/// The pause between two automatic test calls; EN 81-28 asks for one at least every three days.
const TEST_CALL_EVERY: Duration = Duration::from_secs(24 * 3600);

/// A part that wears.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Part {
    /// Door operator.
    Door,
    /// Motor bearing.
    Bearing,
    /// Brake lining.
    Brake,
    /// Levelling.
    Levelling,
    /// Standby battery.
    Battery,
}

impl Part {
    /// The wear of this part.
    pub fn of(self, wear: &mut Wear) -> &mut f64 {
        match self {
            Self::Door => &mut wear.door,
            Self::Bearing => &mut wear.bearing,
            Self::Brake => &mut wear.brake,
            Self::Levelling => &mut wear.levelling,
            Self::Battery => &mut wear.battery,
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::Door => "door wear",
            Self::Bearing => "bearing wear",
            Self::Brake => "brake wear",
            Self::Levelling => "levelling drift",
            Self::Battery => "battery ageing",
        }
    }
}

/// A signal that can flap: what the lift reports, not what is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FlappingSignal {
    /// The door-zone switch.
    DoorZone,
    /// The mains monitor.
    MainsPresent,
    /// The safety chain's monitor.
    SafetyChainClosed,
    /// The passenger sensor.
    PassengerPresent,
}

/// A stop between two landings with somebody inside.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Entrapment {
    /// How many people are inside.
    pub passengers: u32,
    /// When the button is pressed after the stop; `None`: never.
    pub press_after: Option<Duration>,
    /// When a technician frees the car after the stop.
    pub release_after: Duration,
}

/// The mains are lost.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct PowerCut {
    /// For how long.
    pub lasts: Duration,
    /// People who happen to be inside between two landings; 0 leaves the car as it is.
    pub passengers: u32,
}

/// What a scenario can do to a lift.
#[derive(Debug, Clone, PartialEq)]
pub enum Injection {
    /// A part wears from its present state to a level within a time.
    Wear {
        /// Which part.
        part: Part,
        /// The wear at the end, 0 to 1; 1 fails.
        to: f64,
        /// How long it takes.
        over: Duration,
    },
    /// Worn parts are replaced and the lift returns to service.
    Repair,
    /// A lock contact opens in travel and people are shut in between two landings.
    Entrap(Entrapment),
    /// The mains are lost and come back.
    Cut(PowerCut),
    /// A sensor reports now one thing, now the other.
    Flap {
        /// Which.
        signal: FlappingSignal,
        /// The time between two changes.
        every: Duration,
        /// For how long.
        lasts: Duration,
    },
    /// Somebody presses the alarm button with the doors open at a landing.
    FalseAlarm {
        /// When the alarm is ended at the lift.
        end_after: Duration,
    },
    /// A technician works in inspection mode.
    Inspection {
        /// For how long.
        lasts: Duration,
    },
}

/// Something that the lift will do at its time.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Deed {
    PressButton,
    FreeCar,
    MainsBack,
    Restart,
    RescueRun,
    TestCall,
    StopFlapping,
    FalseAlarmPress { end_after: Duration },
    FalseAlarmEnd,
    InspectionOver,
}

/// Wear on its way from one level to another.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Ramp {
    part: Part,
    from: f64,
    to: f64,
    start: Timestamp,
    over: Duration,
}

impl Lift {
    /// Does something to the lift, at the time of its last step.
    pub fn inject(&mut self, injection: &Injection) {
        match *injection {
            Injection::Wear { part, to, over } => {
                let from = *part.of(&mut self.wear);
                self.note(Note::begin(part.name(), format!("from {from:.2} to {to:.2} in {} s", over.as_secs())));
                self.ramps.retain(|ramp| ramp.part != part);
                self.ramps.push(Ramp { part, from, to, start: self.now, over });
            }
            Injection::Repair => self.repair(),
            Injection::Entrap(plan) => {
                self.note(Note::begin("entrapment", format!("{} people", plan.passengers)));
                self.arrange_ride(plan.passengers);
                self.stop_between = Some(plan);
            }
            Injection::Cut(cut) => self.cut_mains(cut),
            Injection::Flap { signal, every, lasts } => {
                self.note(Note::begin("flapping", format!("{signal:?} every {} ms", every.as_millis())));
                self.reporter.flap(signal, every, self.now);
                self.after(lasts, Deed::StopFlapping);
            }
            Injection::FalseAlarm { end_after } => {
                self.note(Note::begin("false_alarm", "button pressed with the doors open at a landing"));
                self.after(Duration::ZERO, Deed::FalseAlarmPress { end_after });
            }
            Injection::Inspection { lasts } => {
                self.note(Note::begin("inspection", "technician at work"));
                self.service = Service::Inspection;
                self.calls.clear();
                self.event("inspection_on");
                self.after(lasts, Deed::InspectionOver);
            }
        }
    }

    /// Answers a command of the profile.
    ///
    /// # Errors
    /// A sentence that says why it was refused.
    pub fn command(&mut self, name: &str, args: &serde_json::Value) -> Result<String, String> {
        match name {
            "send_test_call" => {
                self.test_call();
                Ok("test call made".to_owned())
            }
            "set_report_interval" => {
                let seconds =
                    args.get("seconds").and_then(serde_json::Value::as_u64).filter(|s| (1..=3600).contains(s));
                let Some(seconds) = seconds else {
                    return Err("set_report_interval needs \"seconds\", a whole number from 1 to 3600".to_owned());
                };
                self.reporter.set_interval(Duration::from_secs(seconds));
                Ok(format!("reports every {seconds} s"))
            }
            "identify" => Ok("service lamp blinks for 30 s".to_owned()),
            other => Err(format!("this controller knows no command \"{other}\"")),
        }
    }

    pub(super) fn run_deeds(&mut self) {
        while let Some(due) = self.deeds.iter().position(|(at, _)| *at <= self.now) {
            let (_, deed) = self.deeds.swap_remove(due);
            self.carry_out(&deed);
        }
    }

    fn carry_out(&mut self, deed: &Deed) {
        match *deed {
            Deed::PressButton => {
                if !self.riders.is_empty() && !self.doors.are_open() {
                    self.alarm = true;
                    self.event("alarm_button");
                }
            }
            Deed::FreeCar => {
                self.chain_fault = false;
                self.service = Service::Recovering;
                self.note(Note::end("entrapment", "a technician moves the car to a landing"));
            }
            Deed::MainsBack => {
                self.mains = true;
                self.event("mains_restored");
                self.note(Note::end("power_cut", "mains back"));
                self.after(RESTART, Deed::Restart);
            }
            Deed::Restart => {
                if self.service == Service::Dark {
                    self.service = if self.chain_fault { Service::Stopped } else { Service::Recovering };
                }
            }
            Deed::RescueRun => {
                if self.drive == Drive::Braking {
                    self.after(Duration::from_millis(200), Deed::RescueRun);
                } else if self.service == Service::Dark && !self.chain_fault && self.doors.are_closed() {
                    self.creep();
                }
            }
            Deed::TestCall => {
                self.test_call();
                self.after(TEST_CALL_EVERY, Deed::TestCall);
            }
            Deed::StopFlapping => {
                self.reporter.stop_flapping();
                self.note(Note::end("flapping", "sensor steady"));
            }
            Deed::FalseAlarmPress { end_after } => self.press_at_landing(end_after),
            Deed::FalseAlarmEnd => {
                self.event("alarm_end");
                self.note(Note::end("false_alarm", "ended at the lift"));
            }
            Deed::InspectionOver => {
                if self.service == Service::Inspection {
                    self.service = Service::Normal;
                    self.event("inspection_off");
                    self.event("resumed");
                }
                self.note(Note::end("inspection", "technician left"));
            }
        }
    }

    pub(super) fn follow_ramps(&mut self) {
        let now = self.now;
        for ramp in &self.ramps {
            let share = (now.seconds_after(ramp.start) / ramp.over.as_secs_f64().max(0.1)).clamp(0.0, 1.0);
            *ramp.part.of(&mut self.wear) = ramp.from + (ramp.to - ramp.from) * share;
        }
    }

    fn repair(&mut self) {
        self.ramps.clear();
        self.wear = Wear::default();
        self.doors.repair();
        self.note(Note::end("wear", "repaired"));
        if self.service == Service::Broken {
            self.service = Service::Recovering;
        }
    }

    fn test_call(&mut self) {
        self.event(if self.wear.battery >= 1.0 { "test_call_failed" } else { "test_call_ok" });
    }

    /// Puts people into the car and sends it off, unless it is under way with somebody inside already.
    fn arrange_ride(&mut self, people: u32) {
        let top = self.spec.floors - 1;
        let to = if 2 * self.floor() < top { top } else { 0 };
        let missing = people.saturating_sub(self.riders.iter().map(|rider| rider.people).sum());
        if missing > 0 {
            let weight_kg = (0..missing).map(|_| self.dice.normal(70.0, 10.0).clamp(40.0, 110.0)).sum();
            self.riders.push(Rider { to, people: missing, weight_kg });
        }
        self.dwell_s = 0.0;
    }

    /// The scripted stop: a lock contact opens in travel.
    pub(super) fn entrap(&mut self, plan: Entrapment) {
        self.drive = Drive::Braking;
        self.service = Service::Stopped;
        self.chain_fault = true;
        self.calls.clear();
        self.event("safety_chain_open");
        self.event("stopped_outside_zone");
        if let Some(delay) = plan.press_after {
            self.after(delay, Deed::PressButton);
        }
        self.after(plan.release_after, Deed::FreeCar);
    }

    fn cut_mains(&mut self, cut: PowerCut) {
        self.note(Note::begin("power_cut", format!("{} s", cut.lasts.as_secs())));
        if cut.passengers > 0 {
            self.put_between(cut.passengers);
        }
        self.mains = false;
        self.service = Service::Dark;
        self.calls.clear();
        if let Drive::Running { .. } = self.drive {
            self.drive = Drive::Braking;
        }
        self.event("mains_lost");
        self.after(cut.lasts, Deed::MainsBack);
        if self.spec.has_rescue_device {
            self.after(RESCUE_DEVICE_DELAY, Deed::RescueRun);
        } else if !self.in_zone() && !self.riders.is_empty() {
            let delay = Duration::from_millis(4000 + 500 * self.dice.below(12) as u64);
            self.after(delay, Deed::PressButton);
        }
    }

    /// For a power cut: the car is caught under way with people inside. A car that stands with its doors shut is
    /// taken to have just left; one with open doors is left alone (its people walk out).
    fn put_between(&mut self, people: u32) {
        if self.doors.state() != DoorState::Closed {
            return;
        }
        self.arrange_ride(people);
        if self.drive == Drive::Still {
            let up = self.floor() + 1 < self.spec.floors;
            let off_m = 0.4 * self.spec.floor_height_m;
            self.car.position_m += if up { off_m } else { -off_m };
            self.upwards = up;
        }
    }

    fn press_at_landing(&mut self, end_after: Duration) {
        if self.drive == Drive::Still && self.doors.are_open() {
            self.dwell_s = end_after.as_secs_f64() + 5.0;
            self.event("alarm_button");
            self.after(end_after, Deed::FalseAlarmEnd);
            return;
        }
        if self.drive == Drive::Still && self.in_zone() {
            self.doors.open();
        }
        self.after(Duration::from_millis(500), Deed::FalseAlarmPress { end_after });
    }
}
