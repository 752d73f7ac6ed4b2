//! What the lift tells, and when: a snapshot at every interval, and sooner when something that matters changes.

use std::time::Duration;

use model::{Timestamp, Value};

use super::{DoorState, FlappingSignal, Lift, Output, Service};
use crate::wire::{Report, Values};

/// The least time between two snapshots; changes in between are told together.
const LEAST: Duration = Duration::from_millis(700);
/// Below this speed a change of the door zone is told: a car that passes landings does not stop there.
const SLOW_M_S: f64 = 0.5;

/// From this speed on the car counts as moving.
const MOVING_M_S: f64 = 0.06;

/// The state of a lift as its sensors show it.
#[derive(Debug, Clone, PartialEq)]
pub struct Snapshot {
    /// Car speed, m/s, upwards positive.
    pub speed_m_s: f64,
    /// Height above the lowest landing, m.
    pub position_m: f64,
    /// The nearest landing, from 0.
    pub floor: usize,
    /// What the doors do.
    pub door_state: DoorState,
    /// True within the unlocking zone of a landing.
    pub door_zone: bool,
    /// People in the car.
    pub people: u32,
    /// Load in the car, kg.
    pub load_kg: f64,
    /// True if the mains are there.
    pub mains: bool,
    /// True if the safety chain is closed.
    pub safety_chain_closed: bool,
    /// The service mode, as named in the profile.
    pub service_mode: &'static str,
    /// Runs since the lift was built.
    pub trips: u64,
    /// True when even the standby battery is empty and the controller is dead.
    pub dead: bool,
}

/// What makes a snapshot worth telling at once.
#[derive(Debug, Clone, PartialEq)]
struct Key {
    moving: bool,
    door_state: DoorState,
    door_zone: Option<bool>,
    occupied: bool,
    mains: bool,
    chain: bool,
    mode: &'static str,
    flapped: bool,
}

#[derive(Debug, Clone, Copy)]
struct Flap {
    signal: FlappingSignal,
    every: Duration,
    since: Timestamp,
}

/// Decides when to tell.
#[derive(Debug, Clone)]
pub(super) struct Reporter {
    interval: Duration,
    last_at: Option<Timestamp>,
    next_at: Timestamp,
    key: Option<Key>,
    hurry: bool,
    flap: Option<Flap>,
}

impl Reporter {
    /// A reporter whose regular snapshots start at `phase` (0 to 1) of the first interval, so that a fleet does not
    /// speak in one breath.
    pub fn new(now: Timestamp, interval: Duration, phase: f64) -> Self {
        let next_at = now + interval.mul_f64(phase);
        Self { interval, last_at: None, next_at, key: None, hurry: true, flap: None }
    }

    pub fn hurry(&mut self) {
        self.hurry = true;
    }

    pub fn set_interval(&mut self, interval: Duration) {
        self.interval = interval;
        self.hurry = true;
    }

    pub fn flap(&mut self, signal: FlappingSignal, every: Duration, since: Timestamp) {
        self.flap = Some(Flap { signal, every: every.max(LEAST), since });
    }

    pub fn stop_flapping(&mut self) {
        self.flap = None;
        self.hurry = true;
    }

    /// The signal that shows the wrong value at this moment.
    fn flapped(&self, now: Timestamp) -> Option<FlappingSignal> {
        let flap = self.flap?;
        let changes = now.since(flap.since).as_millis() / flap.every.as_millis().max(1);
        changes.is_multiple_of(2).then_some(flap.signal)
    }

    fn due(&mut self, now: Timestamp, key: &Key) -> bool {
        let changed = self.hurry || self.key.as_ref() != Some(key);
        let rested = self.last_at.is_none_or(|last| now.since(last) >= LEAST);
        if !(now >= self.next_at || changed && rested) {
            return false;
        }
        self.key = Some(key.clone());
        self.hurry = false;
        self.last_at = Some(now);
        // The regular beat goes on from the last snapshot, whatever caused it.
        self.next_at = now + self.interval;
        true
    }
}

impl Lift {
    /// The state as the sensors show it.
    #[must_use]
    pub fn snapshot(&self) -> Snapshot {
        let people: u32 = self.riders.iter().map(|rider| rider.people).sum();
        let noise = if people > 0 { self.load_noise_kg } else { 0.0 };
        Snapshot {
            speed_m_s: self.car.speed_m_s,
            position_m: self.car.position_m,
            floor: self.floor(),
            door_state: self.doors.state(),
            door_zone: self.in_zone(),
            people,
            load_kg: (self.load_kg() + noise).max(0.0),
            mains: self.mains,
            safety_chain_closed: self.doors.are_closed() && !self.chain_fault,
            service_mode: match self.service {
                Service::Normal => "normal",
                Service::Dark => "emergency_power",
                Service::Stopped | Service::Broken | Service::Recovering => "stopped",
                Service::Inspection => "inspection",
            },
            trips: self.trips,
            dead: !self.mains && self.machine.charge <= 0.0,
        }
    }

    pub(super) fn report(&mut self) {
        let mut shown = self.snapshot();
        let flapped = self.reporter.flapped(self.now);
        match flapped {
            None => {}
            Some(FlappingSignal::DoorZone) => shown.door_zone = !shown.door_zone,
            Some(FlappingSignal::MainsPresent) => shown.mains = !shown.mains,
            Some(FlappingSignal::SafetyChainClosed) => shown.safety_chain_closed = !shown.safety_chain_closed,
            Some(FlappingSignal::PassengerPresent) => shown.people = u32::from(shown.people == 0),
        }
        let slow = shown.speed_m_s.abs() < SLOW_M_S;
        let key = Key {
            moving: shown.speed_m_s.abs() >= MOVING_M_S,
            door_state: shown.door_state,
            door_zone: slow.then_some(shown.door_zone),
            occupied: shown.people > 0,
            mains: shown.mains,
            chain: shown.safety_chain_closed,
            mode: shown.service_mode,
            flapped: flapped.is_some(),
        };
        if self.reporter.due(self.now, &key) {
            let values = self.values(&shown);
            self.out.push(Output::Report(Report::Telemetry { time: self.now, values }));
        }
    }

    fn values(&self, shown: &Snapshot) -> Values {
        let number = |value: f64, decimals: i32| {
            let scale = 10_f64.powi(decimals);
            Value::Number((value * scale).round() / scale)
        };
        let state = |name: &'static str| Value::Text(name.into());
        #[expect(clippy::cast_precision_loss, reason = "counts stay far below 2^52")]
        let count = |value: u64| Value::Number(value as f64);
        let direction = if shown.speed_m_s == 0.0 {
            "none"
        } else if self.upwards {
            "up"
        } else {
            "down"
        };
        let door_state = match shown.door_state {
            DoorState::Closed => "closed",
            DoorState::Opening => "opening",
            DoorState::Open | DoorState::Faulted => "open",
            DoorState::Closing => "closing",
        };
        vec![
            ("car_speed_m_s".into(), number(shown.speed_m_s, 3)),
            ("car_position_m".into(), number(shown.position_m + self.levelling_mm / 1000.0, 3)),
            ("floor".into(), count(shown.floor as u64 + 1)),
            ("direction".into(), state(direction)),
            ("door_state".into(), state(door_state)),
            ("door_zone".into(), Value::Bool(shown.door_zone)),
            ("passenger_present".into(), Value::Bool(shown.people > 0)),
            ("car_load_kg".into(), number(shown.load_kg, 0)),
            ("levelling_error_mm".into(), number(self.levelling_mm, 1)),
            ("door_close_time_s".into(), number(self.doors.close_time_s, 2)),
            ("door_open_time_s".into(), number(self.doors.open_time_s, 2)),
            ("door_current_a".into(), number(self.doors.close_current_a, 2)),
            ("door_reversals".into(), count(u64::from(self.doors.reversals))),
            ("motor_temp_c".into(), number(self.machine.motor_c, 1)),
            ("brake_temp_c".into(), number(self.machine.brake_c, 1)),
            ("machine_room_temp_c".into(), number(self.machine.room_c, 1)),
            ("drive_current_a".into(), number(self.machine.current_a, 1)),
            ("vibration_mm_s".into(), number(self.machine.vibration_mm_s, 2)),
            ("battery_v".into(), number(self.machine.battery_v(&self.wear, self.mains), 2)),
            ("mains_present".into(), Value::Bool(shown.mains)),
            ("safety_chain_closed".into(), Value::Bool(shown.safety_chain_closed)),
            ("service_mode".into(), state(shown.service_mode)),
            ("trips".into(), count(self.trips)),
            ("running_hours".into(), number(self.running_s / 3600.0, 2)),
        ]
    }
}
