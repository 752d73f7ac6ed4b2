//! Serving calls: who goes where next, and how the lift comes back after trouble.

use super::{DoorState, Drive, Lift, Rider, Service};

/// Share of the rated load up to which people still board.
const BOARDING_SHARE: f64 = 0.8;
/// How long the doors stay open for nobody, s, and what each person adds.
const DWELL_S: f64 = 2.5;
const DWELL_PERSON_S: f64 = 0.8;

impl Lift {
    /// Decides what to do next, once doors and drive have finished what they were doing.
    pub(super) fn serve(&mut self, dt_s: f64) {
        self.stop_if_between();
        if self.drive != Drive::Still {
            return;
        }
        match self.service {
            Service::Normal => self.serve_calls(dt_s),
            Service::Dark | Service::Stopped | Service::Broken | Service::Inspection => {
                self.let_out_at_landing();
            }
            Service::Recovering => self.recover(dt_s),
        }
    }

    fn serve_calls(&mut self, dt_s: f64) {
        match self.doors.state() {
            DoorState::Opening | DoorState::Closing | DoorState::Faulted => {}
            DoorState::Open => {
                self.dwell_s -= dt_s;
                if self.dwell_s <= 0.0 {
                    self.doors.close(self.wear.door, &mut self.dice);
                }
            }
            DoorState::Closed => {
                if self.wear.brake >= 1.0 || self.wear.bearing >= 1.0 {
                    self.event(if self.wear.brake >= 1.0 { "brake_fault" } else { "drive_fault" });
                    self.doors.open();
                    self.take_out_of_service("worn-out machine");
                } else if let Some(to) = self.next_stop() {
                    if to == self.floor() {
                        self.doors.open();
                    } else {
                        let limits = self.spec.limits;
                        self.go(to, &limits);
                    }
                }
            }
        }
    }

    /// The next landing to stop at: riders first, in the present direction as long as there are any; then the
    /// longest-waiting call.
    fn next_stop(&self) -> Option<usize> {
        let here = self.floor();
        let ahead = |to: &usize| if self.upwards { *to >= here } else { *to <= here };
        let nearest = |to: &usize| to.abs_diff(here);
        let wanted: Vec<usize> = self.riders.iter().map(|rider| rider.to).collect();
        wanted
            .iter()
            .copied()
            .filter(ahead)
            .min_by_key(nearest)
            .or_else(|| wanted.iter().copied().min_by_key(nearest))
            .or_else(|| self.calls.first().map(|call| call.from))
    }

    /// With the doors open: riders leave, waiting people enter as far as there is room.
    pub(super) fn exchange_people(&mut self) {
        let floor = self.floor();
        let everyone_out = self.service != Service::Normal;
        let before: u32 = self.riders.iter().map(|rider| rider.people).sum();
        self.riders.retain(|rider| !everyone_out && rider.to != floor);
        let stayed: u32 = self.riders.iter().map(|rider| rider.people).sum();
        let mut boarded = 0;
        if !everyone_out && self.wear.door < 1.0 {
            let limit_kg = BOARDING_SHARE * self.spec.rated_load_kg;
            let mut load_kg = self.load_kg();
            let mut waiting = Vec::with_capacity(self.calls.len());
            for call in std::mem::take(&mut self.calls) {
                if call.from == floor && (load_kg == 0.0 || load_kg + call.weight_kg <= limit_kg) {
                    load_kg += call.weight_kg;
                    boarded += call.people;
                    self.riders.push(Rider { to: call.to, people: call.people, weight_kg: call.weight_kg });
                } else {
                    waiting.push(call);
                }
            }
            self.calls = waiting;
        }
        self.load_noise_kg = self.dice.normal(0.0, 2.0);
        self.dwell_s = DWELL_S + DWELL_PERSON_S * f64::from(before - stayed + boarded);
    }

    /// At a landing and out of normal service: nobody stays shut in.
    fn let_out_at_landing(&mut self) {
        let may_open = self.service != Service::Stopped || !self.chain_fault;
        if !may_open || self.riders.is_empty() || !self.in_zone() {
            return;
        }
        if self.doors.are_open() {
            self.exchange_people();
        } else {
            self.doors.open();
        }
    }

    /// Slowly to the nearest landing, doors open, then back to normal.
    fn recover(&mut self, dt_s: f64) {
        let level = (self.car.position_m - self.landing_m(self.floor())).abs() < 0.005;
        match self.doors.state() {
            DoorState::Opening | DoorState::Closing | DoorState::Faulted => {}
            DoorState::Closed => {
                if level {
                    self.doors.open();
                } else {
                    self.creep();
                }
            }
            DoorState::Open => {
                self.dwell_s -= dt_s;
                if self.dwell_s > 0.0 {
                    return;
                }
                if self.alarm {
                    self.alarm = false;
                    self.event("alarm_end");
                }
                self.service = Service::Normal;
                self.spec.reserved = false;
                self.event("resumed");
                self.note(crate::truth::Note::end("out_of_service", "back in normal service"));
                self.dwell_s = DWELL_S;
            }
        }
    }

    /// A scripted stop happens where it was wanted: well away from every landing.
    fn stop_if_between(&mut self) {
        let Some(plan) = self.stop_between else { return };
        let running = matches!(self.drive, Drive::Running { .. });
        if running && !self.riders.is_empty() && self.brake_offset_m() >= 0.3 * self.spec.floor_height_m {
            self.stop_between = None;
            self.entrap(plan);
        }
    }
}
