//! One lift: pure, deterministic by its seed, and moved on by the caller's time.

pub mod doors;
mod inject;
pub mod machine;
pub mod motion;
mod report;
mod service;
pub mod traffic;

use std::time::Duration;

use model::{DeviceId, Timestamp};

pub use inject::{Entrapment, FlappingSignal, Injection, Part, PowerCut};
pub use report::Snapshot;

use crate::{dice::Dice, truth::Note, wire::Report};
use doors::{DoorEvent, DoorState, Doors};
use inject::{Deed, Ramp};
use machine::{Duty, Machine, Wear, levelling_error_mm, torque_share};
use motion::{BRAKE_M_S2, Journey, Kinematics, Limits, brake};
use report::Reporter;
use traffic::{Building, Call};

/// The longest step that the physics takes at once.
const STEP: Duration = Duration::from_millis(100);
/// Half the height of the unlocking zone, m (EN 81-20 5.3.8.1 allows at most 0.20 above and below the landing).
const ZONE_M: f64 = 0.2;
/// Speed of levelling and rescue runs, m/s (EN 81-20 5.12.1.1.5 allows 0.3 for levelling with open doors).
const CREEP_M_S: f64 = 0.25;
/// Natural wear: doors last about a million cycles, a bearing 30,000 hours of running, brake linings 15,000.
const DOOR_WEAR_PER_CYCLE: f64 = 1.0e-6;
const BEARING_WEAR_PER_S: f64 = 1.0 / (30_000.0 * 3600.0);
const BRAKE_WEAR_PER_S: f64 = 1.0 / (15_000.0 * 3600.0);
/// Calls that can wait at once; whoever comes later takes the stairs.
const MAX_CALLS: usize = 40;

/// What a lift is.
#[derive(Debug, Clone, PartialEq)]
pub struct LiftSpec {
    /// Its device id; with `seed` it decides its whole life.
    pub id: DeviceId,
    /// Seed of the scenario.
    pub seed: u64,
    /// Landings, at least 2.
    pub floors: usize,
    /// Height between landings, m.
    pub floor_height_m: f64,
    /// What the drive keeps to.
    pub limits: Limits,
    /// Rated load, kg.
    pub rated_load_kg: f64,
    /// The shape of the day's traffic.
    pub building: Building,
    /// How many groups of people call it in a day.
    pub calls_per_day: f64,
    /// The hour of the day when the simulation starts, 0 to 24.
    pub hour_at_start: f64,
    /// How often it reports when nothing changes.
    pub report_interval: Duration,
    /// True if it takes a car to the next landing by itself when the mains fail.
    pub has_rescue_device: bool,
    /// Wear at the start.
    pub wear: Wear,
    /// True if nobody calls it: a script will use it.
    pub reserved: bool,
}

/// Something a lift says or, for the ground truth alone, does.
#[derive(Debug, Clone, PartialEq)]
pub enum Output {
    /// For the hub.
    Report(Report),
    /// For the ground truth, never for the hub.
    Truth(Note),
}

/// Why a lift does not serve calls.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Service {
    Normal,
    /// Without mains.
    Dark,
    /// Stopped by a scripted fault; a technician ends it.
    Stopped,
    /// Going to a landing and opening its doors there before it serves again.
    Recovering,
    /// Waiting for a repair with its doors open.
    Broken,
    Inspection,
}

/// What the drive is doing.
#[derive(Debug, Clone, PartialEq)]
enum Drive {
    Still,
    Running { journey: Journey, to: usize },
    Braking,
}

#[derive(Debug, Clone, PartialEq)]
struct Rider {
    to: usize,
    people: u32,
    weight_kg: f64,
}

/// A lift and everything that happens to it.
#[derive(Debug, Clone)]
pub struct Lift {
    spec: LiftSpec,
    started_at: Timestamp,
    now: Timestamp,
    dice: Dice,
    car: Kinematics,
    drive: Drive,
    upwards: bool,
    doors: Doors,
    dwell_s: f64,
    service: Service,
    mains: bool,
    chain_fault: bool,
    calls: Vec<Call>,
    riders: Vec<Rider>,
    machine: Machine,
    wear: Wear,
    ramps: Vec<Ramp>,
    deeds: Vec<(Timestamp, Deed)>,
    /// Set when a scripted stop shall happen as soon as the car is well between two landings.
    stop_between: Option<Entrapment>,
    alarm: bool,
    trapped: bool,
    levelling_mm: f64,
    load_noise_kg: f64,
    trips: u64,
    running_s: f64,
    reporter: Reporter,
    out: Vec<Output>,
}

impl Lift {
    /// A lift that stands at a landing with closed doors at `now`.
    #[must_use]
    pub fn new(spec: LiftSpec, now: Timestamp) -> Self {
        let mut dice = Dice::new(spec.seed, spec.id.as_str());
        let floor = if spec.reserved { spec.floors / 2 } else { dice.below(spec.floors) };
        let phase = dice.unit();
        #[expect(clippy::cast_precision_loss, reason = "a floor number is small")]
        let position_m = floor as f64 * spec.floor_height_m;
        let machine = Machine { motor_c: machine::AMBIENT_C + dice.between(5.0, 20.0), ..Machine::default() };
        let reporter = Reporter::new(now, spec.report_interval, phase);
        let mut lift = Self {
            started_at: now,
            now,
            car: Kinematics { position_m, ..Kinematics::default() },
            drive: Drive::Still,
            upwards: true,
            doors: Doors::worn(spec.wear.door),
            dwell_s: 0.0,
            service: Service::Normal,
            mains: true,
            chain_fault: false,
            calls: Vec::new(),
            riders: Vec::new(),
            machine,
            wear: spec.wear,
            ramps: Vec::new(),
            deeds: Vec::new(),
            stop_between: None,
            alarm: false,
            trapped: false,
            levelling_mm: 0.0,
            load_noise_kg: 0.0,
            trips: dice.below(900_000) as u64,
            running_s: 0.0,
            reporter,
            out: Vec::new(),
            dice,
            spec,
        };
        lift.running_s = f64::from(u32::try_from(lift.trips).unwrap_or(u32::MAX)) * 14.0;
        lift.event("started");
        lift.after(lift.spec.report_interval, Deed::TestCall);
        lift
    }

    /// Its description.
    #[must_use]
    pub fn spec(&self) -> &LiftSpec {
        &self.spec
    }

    /// Moves on by `dt` to `now` and returns what it says, in order. Steps longer than 100 ms are taken in parts.
    pub fn step(&mut self, now: Timestamp, dt: Duration) -> Vec<Output> {
        let mut left = dt;
        while !left.is_zero() {
            let part = left.min(STEP);
            left -= part;
            self.now = now - left;
            self.step_once(part.as_secs_f64());
        }
        std::mem::take(&mut self.out)
    }

    fn step_once(&mut self, dt_s: f64) {
        self.run_deeds();
        self.follow_ramps();
        self.receive_people(dt_s);
        self.move_doors(dt_s);
        self.move_car(dt_s);
        self.serve(dt_s);
        self.run_machine(dt_s);
        self.watch_trapped();
        self.report();
    }

    /// The hour of the day, 0 to 24.
    fn hour(&self) -> f64 {
        (self.spec.hour_at_start + self.now.seconds_after(self.started_at) / 3600.0).rem_euclid(24.0)
    }

    fn receive_people(&mut self, dt_s: f64) {
        if self.spec.reserved || self.service != Service::Normal {
            return;
        }
        let hour = self.hour();
        let arrived = traffic::arrivals(
            self.spec.building,
            self.spec.calls_per_day,
            self.spec.floors,
            hour,
            dt_s,
            &mut self.dice,
        );
        let room = MAX_CALLS.saturating_sub(self.calls.len());
        self.calls.extend(arrived.into_iter().take(room));
    }

    fn move_doors(&mut self, dt_s: f64) {
        let event = self.doors.step(self.wear.door, dt_s, &mut self.dice);
        match event {
            None => {}
            Some(DoorEvent::Closed) => self.wear.door = (self.wear.door + DOOR_WEAR_PER_CYCLE).min(1.0),
            Some(DoorEvent::Opened) => self.exchange_people(),
            Some(DoorEvent::Reversed) => self.event("door_reopened"),
            Some(DoorEvent::CloseFailed) => {
                self.exchange_people();
                self.event("door_close_fault");
                self.take_out_of_service("doors do not close");
            }
        }
    }

    fn move_car(&mut self, dt_s: f64) {
        match &mut self.drive {
            Drive::Still => {}
            Drive::Running { journey, to } => {
                let to = *to;
                let (car, arrived) = journey.advance(dt_s);
                self.car = car;
                self.running_s += dt_s;
                self.wear.bearing = (self.wear.bearing + BEARING_WEAR_PER_S * dt_s).min(1.0);
                self.wear.brake = (self.wear.brake + BRAKE_WEAR_PER_S * dt_s).min(1.0);
                if arrived {
                    self.drive = Drive::Still;
                    self.arrive(to);
                }
            }
            Drive::Braking => {
                self.car = brake(self.car, dt_s);
                if self.car.speed_m_s == 0.0 {
                    self.drive = Drive::Still;
                }
            }
        }
    }

    fn arrive(&mut self, floor: usize) {
        self.car.position_m = self.landing_m(floor);
        let load_share = self.load_kg() / self.spec.rated_load_kg;
        self.levelling_mm = levelling_error_mm(load_share, self.upwards, self.wear.levelling, &mut self.dice);
        self.doors.open();
    }

    fn run_machine(&mut self, dt_s: f64) {
        let duty = Duty {
            speed_share: (self.car.speed_m_s.abs() / self.spec.limits.speed_m_s).min(1.0),
            torque_share: torque_share(self.load_kg(), self.spec.rated_load_kg, self.upwards),
            mains: self.mains,
        };
        self.machine.step(duty, &self.wear, dt_s, &mut self.dice);
    }

    /// People who are shut in, for the ground truth: inside a car that does not move, with the doors shut, while the
    /// lift does not serve.
    fn watch_trapped(&mut self) {
        let blocked = matches!(self.service, Service::Dark | Service::Stopped | Service::Recovering);
        let trapped = if self.trapped {
            !self.doors.are_open() && !self.riders.is_empty()
        } else {
            blocked && !self.riders.is_empty() && self.drive == Drive::Still && self.doors.are_closed()
        };
        if trapped != self.trapped {
            self.trapped = trapped;
            let people: u32 = self.riders.iter().map(|rider| rider.people).sum();
            let detail = format!("{people} inside at {:.2} m", self.car.position_m);
            self.note(if trapped { Note::begin("trapped", detail) } else { Note::end("trapped", detail) });
        }
    }

    fn load_kg(&self) -> f64 {
        self.riders.iter().map(|rider| rider.weight_kg).sum()
    }

    fn landing_m(&self, floor: usize) -> f64 {
        #[expect(clippy::cast_precision_loss, reason = "a floor number is small")]
        let floor = floor as f64;
        floor * self.spec.floor_height_m
    }

    /// The landing nearest to the car.
    fn floor(&self) -> usize {
        let floor = (self.car.position_m / self.spec.floor_height_m).round().max(0.0);
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "held to the floors that exist")]
        let floor = floor as usize;
        floor.min(self.spec.floors - 1)
    }

    fn in_zone(&self) -> bool {
        (self.car.position_m - self.landing_m(self.floor())).abs() <= ZONE_M
    }

    /// How far from the nearest landing the car would come to rest if the brake fell now, m.
    fn brake_offset_m(&self) -> f64 {
        let speed = self.car.speed_m_s;
        let rest_m = self.car.position_m + speed * speed.abs() / (2.0 * BRAKE_M_S2);
        let height = self.spec.floor_height_m;
        let above = rest_m.rem_euclid(height);
        above.min(height - above)
    }

    /// Starts a journey to a landing.
    fn go(&mut self, to: usize, limits: &Limits) {
        let target = self.landing_m(to);
        self.upwards = target >= self.car.position_m;
        self.drive = Drive::Running { journey: Journey::new(self.car.position_m, target, limits), to };
        self.trips += 1;
    }

    /// Starts a slow journey to the nearest landing.
    fn creep(&mut self) {
        let limits = Limits { speed_m_s: CREEP_M_S.min(self.spec.limits.speed_m_s), ..self.spec.limits };
        self.go(self.floor(), &limits);
    }

    fn after(&mut self, delay: Duration, deed: Deed) {
        self.deeds.push((self.now + delay, deed));
    }

    fn event(&mut self, code: &'static str) {
        let report = Report::Event { time: self.now, code: code.into(), values: Vec::new() };
        self.out.push(Output::Report(report));
        self.reporter.hurry();
    }

    fn note(&mut self, note: Note) {
        self.out.push(Output::Truth(note.at(self.now)));
    }

    fn take_out_of_service(&mut self, why: &'static str) {
        self.service = Service::Broken;
        self.calls.clear();
        self.event("out_of_service");
        self.note(Note::begin("out_of_service", why));
    }
}

#[cfg(test)]
mod tests;
