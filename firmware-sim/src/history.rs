//! Backdated telemetry: what a controller that was off line for days kept in its buffer. A coarse model stands in for
//! the physics: the same wear formulas, once a report.

use std::time::Duration;

use model::{Timestamp, Value};

use crate::{
    dice::Dice,
    lift::{LiftSpec, Part, doors, machine},
    wire::Report,
};

/// What happened before the start.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct History {
    pub span: Duration,
    pub every: Duration,
    pub part: Part,
    /// Wear of the part at the beginning and at the end.
    pub from: f64,
    pub to: f64,
}

impl History {
    /// The reports up to `start`, in order.
    pub fn reports(&self, spec: &LiftSpec, start: Timestamp) -> Vec<Report> {
        let count = (self.span.as_millis() / self.every.as_millis().max(1)) as u32;
        let mut dice = Dice::new(spec.seed, &format!("{} history", spec.id));
        let mut reports = Vec::new();
        let mut trips = 10_000.0 + dice.between(0.0, 200_000.0);
        let mut test_call_at = start - self.span;
        for n in 0..count {
            let time = start - self.every * (count - n);
            let mut wear = spec.wear;
            *self.part.of(&mut wear) = self.from + (self.to - self.from) * f64::from(n) / f64::from(count.max(1));
            let hours_before = start.seconds_after(time) / 3600.0;
            let busy = spec.building.rate(spec.hour_at_start - hours_before);
            trips += 1.6 * spec.calls_per_day / 24.0 * busy * self.every.as_secs_f64() / 3600.0;
            let effort = (0.12 * busy).min(0.6);
            let reversals = dice.poisson(doors::reversal_share(wear.door));
            let values = [
                ("levelling_error_mm", machine::levelling_error_mm(0.2, dice.chance(0.5), wear.levelling, &mut dice)),
                ("door_close_time_s", dice.normal(doors::close_time(wear.door), 0.04 * doors::CLOSE_S)),
                ("door_open_time_s", dice.normal(doors::open_time(wear.door), 0.08)),
                ("door_current_a", dice.normal(doors::close_current(wear.door), 0.04)),
                ("door_reversals", f64::from(reversals)),
                (
                    "motor_temp_c",
                    machine::AMBIENT_C + 70.0 * effort * (1.0 + 1.5 * wear.bearing) + dice.normal(0.0, 1.0),
                ),
                ("brake_temp_c", machine::AMBIENT_C + 4.0 + 40.0 * effort * (1.0 + 2.0 * wear.brake)),
                ("machine_room_temp_c", machine::AMBIENT_C + 8.0 * effort),
                (
                    "vibration_mm_s",
                    dice.normal(machine::vibration(wear.bearing), 0.06 * machine::vibration(wear.bearing)),
                ),
                ("battery_v", machine::Machine::default().battery_v(&wear, true)),
                ("trips", trips.round()),
                ("running_hours", trips * 14.0 / 3600.0),
            ];
            let mut values: Vec<_> = values
                .into_iter()
                .map(|(name, value)| (name.into(), Value::Number((value * 100.0).round() / 100.0)))
                .collect();
            values.push(("mains_present".into(), Value::Bool(true)));
            values.push(("service_mode".into(), Value::Text("normal".into())));
            reports.push(Report::Telemetry { time, values });
            if time >= test_call_at {
                reports.push(Report::Event { time, code: "test_call_ok".into(), values: Vec::new() });
                test_call_at = test_call_at + Duration::from_secs(86_400);
            }
        }
        reports
    }
}
