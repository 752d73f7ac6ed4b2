//! One lift of the laboratory: its reports, one after the other.

use model::{Timestamp, Value};

use super::{EVERY, fate::Fate, mode::Mode};
use crate::{
    dice::Dice,
    lift::{
        doors,
        machine::{self, AMBIENT_C, Machine, Wear},
        traffic::Building,
    },
    wire::Report,
};

/// Groups of people that call a lift in a day, in the mean.
const CALLS_PER_DAY: f64 = 300.0;
/// Time constant of the weather's whims, days, and their size, K.
const WEATHER_DAYS: f64 = 3.0;
const WEATHER_K: f64 = 1.5;
/// Half the difference between noon and night in a machine room, K.
const DAY_K: f64 = 1.5;
/// Grease thickens in the cold: doors are slower by this share for each K below the usual room temperature.
const COLD_DOORS: f64 = 0.004;
/// Float voltage of a charger that follows the temperature, V/K (-18 mV/K for six lead-acid cells at -3 mV each).
const FLOAT_V_PER_K: f64 = -0.018;
/// How long a maintenance visit keeps the lift in inspection, in reports.
const VISIT_REPORTS: u32 = 3;

/// A lift and where it stands in its life. Iterating gives its reports until its life ends.
#[derive(Debug, Clone)]
pub struct Unit {
    /// Its device name.
    pub name: String,
    /// What happens to it.
    pub fate: Fate,
    start: Timestamp,
    report: u32,
    dice: Dice,
    weather_k: f64,
    motor_c: f64,
    brake_c: f64,
    trips: f64,
    /// What the last visit left behind: doors as a share, levelling in mm, vibration as a share.
    adjusted: (f64, f64, f64),
    visits_made: usize,
    inspection: u32,
    ready: Vec<Report>,
}

/// What damage does to what is measured, from 0.
#[derive(Debug, Clone, Copy, Default)]
struct Damage {
    wear: Wear,
    /// Contact that does not make, as a probability for each closing.
    bounce: f64,
    /// Loss of cooling.
    cooling: f64,
    /// Slip on the sheave.
    slip: f64,
}

impl Unit {
    pub(super) fn new(name: String, fate: Fate, seed: u64, start: Timestamp) -> Self {
        let mut dice = Dice::new(seed, &name);
        let trips = dice.between(10_000.0, 900_000.0).round();
        Self {
            name,
            fate,
            start,
            report: 0,
            dice,
            weather_k: 0.0,
            motor_c: AMBIENT_C + 8.0,
            brake_c: AMBIENT_C + 4.0,
            trips,
            adjusted: (0.0, 0.0, 0.0),
            visits_made: 0,
            inspection: 0,
            ready: Vec::new(),
        }
    }

    /// When the damage begins and when the lift fails; `None` if it stays healthy.
    #[must_use]
    pub fn failure(&self) -> Option<(Timestamp, Timestamp)> {
        let at = |day: f64| self.start + std::time::Duration::from_secs_f64(day * 86_400.0);
        self.fate.course.as_ref().map(|course| (at(course.onset_day), at(course.fails_day())))
    }

    fn damage(&self, day: f64) -> Damage {
        let Some(course) = &self.fate.course else { return Damage::default() };
        let worn = course.damage(day);
        let mut damage = Damage::default();
        match course.mode {
            Mode::DoorOperator => damage.wear.door = worn,
            // Fretting raises the contact's resistance; it fails to make now and then, then more and more often.
            Mode::LockContact => damage.bounce = 0.6 * worn * worn,
            Mode::Brake => damage.wear.brake = worn,
            Mode::Bearing => damage.wear.bearing = worn,
            Mode::Levelling => damage.wear.levelling = worn,
            Mode::Traction => damage.slip = worn,
            Mode::DriveCooling => damage.cooling = worn,
            Mode::Battery => damage.wear.battery = worn,
        }
        damage
    }

    /// Traffic now, times the day's mean.
    fn busy(&self, day: f64) -> f64 {
        let weekend = (day + 6.0).rem_euclid(7.0) >= 5.0;
        let week = match (self.fate.building, weekend) {
            (Building::Office, true) => 0.15,
            (Building::Residential, true) => 1.1,
            (Building::Office | Building::Residential, false) => 1.0,
        };
        let heavy =
            self.fate.heavy.map_or(1.0, |(from, to, times)| if (from..to).contains(&day) { times } else { 1.0 });
        self.fate.building.rate(day * 24.0) * week * heavy
    }

    /// Temperature around the machine.
    fn room_c(&mut self, day: f64) -> f64 {
        let step = EVERY.as_secs_f64() / 86_400.0 / WEATHER_DAYS;
        self.weather_k += -step * self.weather_k + self.dice.normal(0.0, WEATHER_K * (2.0 * step).sqrt());
        let year = (std::f64::consts::TAU * (day + self.fate.season_day) / 365.25).sin();
        let hour = (std::f64::consts::TAU * (day - 0.375)).sin();
        AMBIENT_C + self.fate.season_k * year + DAY_K * hour + self.weather_k
    }

    fn visit(&mut self, time: Timestamp, day: f64) {
        if self.inspection > 0 {
            self.inspection -= 1;
            if self.inspection == 0 {
                self.event(time, "inspection_off");
                self.event(time, "resumed");
            }
        }
        if self.fate.visits.get(self.visits_made).is_some_and(|due| *due <= day) {
            self.visits_made += 1;
            self.inspection = VISIT_REPORTS;
            self.event(time, "inspection_on");
            // Doors readjusted, vanes touched, guides greased: every visit leaves a small step.
            self.adjusted =
                (self.dice.between(-0.06, 0.06), self.dice.normal(0.0, 0.8), self.dice.between(-0.08, 0.05));
        }
    }

    fn event(&mut self, time: Timestamp, code: &'static str) {
        self.ready.push(Report::Event { time, code: code.into(), values: Vec::new() });
    }

    fn live(&mut self) {
        let time = self.start + EVERY * self.report;
        let day = EVERY.as_secs_f64() * f64::from(self.report) / 86_400.0;
        self.report += 1;
        self.visit(time, day);
        let damage = self.damage(day);
        let busy = self.busy(day);
        let room_c = self.room_c(day);
        let values = self.measure(day, busy, room_c, &damage);
        let mut values: Vec<_> = values
            .into_iter()
            .map(|(name, value)| (name.into(), Value::Number((value * 1000.0).round() / 1000.0)))
            .collect();
        values.push(("mains_present".into(), Value::Bool(true)));
        values.push(("safety_chain_closed".into(), Value::Bool(true)));
        let mode = if self.inspection > 0 { "inspection" } else { "normal" };
        values.push(("service_mode".into(), Value::Text(mode.into())));
        self.ready.push(Report::Telemetry { time, values });
        if self.report % 48 == 1 {
            let ok = damage.wear.battery < 0.95;
            self.event(time, if ok { "test_call_ok" } else { "test_call_failed" });
        }
        // A contact that does not make at departure: the controller blocks the start and tries again.
        if self.dice.chance(0.02 * damage.bounce * damage.bounce * busy.min(3.0)) {
            self.event(time, "restart_prevented");
            self.event(time + std::time::Duration::from_secs(90), "resumed");
        }
    }

    /// What the sensors show.
    fn measure(&mut self, day: f64, busy: f64, room_c: f64, damage: &Damage) -> [(&'static str, f64); 12] {
        let (wear, noise) = (&damage.wear, self.fate.noise);
        let along = (day / self.fate.days.max(1.0)).min(1.0);
        let drift = self.fate.drift;
        let calls = self.dice.poisson(CALLS_PER_DAY / 48.0 * busy);
        self.trips += 1.6 * f64::from(calls);
        let effort = (0.12 * busy * self.dice.between(0.8, 1.2)).min(0.8);
        // Half an hour is about one time constant: temperatures follow with a lag.
        let motor = room_c + 70.0 * effort * (1.0 + 1.5 * wear.bearing + 2.4 * damage.cooling) + 14.0 * damage.cooling;
        let brake = room_c + 4.0 + 40.0 * effort * (1.0 + 2.0 * wear.brake) + 16.0 * wear.brake;
        self.motor_c += 0.7 * (motor - self.motor_c);
        self.brake_c += 0.86 * (brake - self.brake_c);
        let cold = 1.0 + COLD_DOORS * (AMBIENT_C - room_c);
        let doors = cold * (1.0 + self.adjusted.0);
        let mut reversals = self.dice.poisson(doors::reversal_share(wear.door));
        let mut close_s = doors::close_time(wear.door) * doors;
        if self.dice.chance(damage.bounce) {
            // The doors close, the contact does not make, they open a little and close again.
            reversals += 1;
            close_s += self.dice.between(0.8, 2.5);
        }
        let load = self.dice.between(0.0, 0.6);
        let upwards = self.dice.chance(0.5);
        let torque = machine::torque_share(load * 1000.0, 1000.0, upwards);
        // Slip grows with the imbalance that the sheave must hold, towards the heavier side; stretched ropes hang low.
        let slip = damage.slip * (16.0 * torque - 5.0);
        let brake_late = self.dice.normal(0.0, 2.5 * wear.brake + 3.0 * damage.slip + 0.01);
        let levelling = machine::levelling_error_mm(load, upwards, wear.levelling, &mut self.dice)
            * noise.max(1.0).sqrt()
            + slip
            + brake_late
            + self.adjusted.1
            + drift.1 * along;
        let shaking = machine::vibration(wear.bearing) + 0.8 * damage.slip;
        let vibration = shaking * (1.0 + self.adjusted.2) * (1.0 + drift.0 * along);
        let battery = Machine::default().battery_v(wear, true) + FLOAT_V_PER_K * (room_c - AMBIENT_C);
        [
            ("levelling_error_mm", levelling),
            ("door_close_time_s", self.dice.normal(close_s, 0.04 * doors::CLOSE_S * noise)),
            ("door_open_time_s", self.dice.normal(doors::open_time(wear.door) * doors, 0.08 * noise)),
            ("door_current_a", self.dice.normal(doors::close_current(wear.door) * cold, 0.05 * noise)),
            ("door_reversals", f64::from(reversals)),
            ("motor_temp_c", self.motor_c + drift.2 * along + self.dice.normal(0.0, 0.6 * noise)),
            ("brake_temp_c", self.brake_c + drift.2 * along + self.dice.normal(0.0, 0.6 * noise)),
            (
                "machine_room_temp_c",
                room_c + 8.0 * effort * (1.0 + damage.cooling) + self.dice.normal(0.0, 0.3 * noise),
            ),
            (
                "drive_current_a",
                self.dice.normal(6.0 * (1.0 + 0.5 * wear.brake) + 24.0 * torque.max(-0.2).abs(), 0.4 * noise).max(0.5),
            ),
            ("vibration_mm_s", self.dice.normal(vibration, 0.06 * vibration * noise).max(0.1)),
            ("battery_v", self.dice.normal(battery, 0.03 * noise)),
            ("trips", self.trips.round()),
        ]
    }
}

impl Iterator for Unit {
    type Item = Report;

    fn next(&mut self) -> Option<Report> {
        while self.ready.is_empty() {
            if f64::from(self.report) * EVERY.as_secs_f64() >= self.fate.days * 86_400.0 {
                return None;
            }
            self.live();
            self.ready.reverse();
        }
        self.ready.pop()
    }
}
