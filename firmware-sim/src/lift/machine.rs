//! Motor, brake, drive and battery: temperatures, currents, vibration, levelling. First-order models; the constants
//! are typical of a gearless 1,000 kg passenger lift and are ours.

use crate::dice::Dice;

/// Temperature of the machine room, °C.
pub const AMBIENT_C: f64 = 24.0;
/// Rise of the motor under lasting full load, K, and its time constant, s.
const MOTOR_RISE_K: f64 = 70.0;
const MOTOR_TAU_S: f64 = 1500.0;
/// Rise of the brake under lasting duty, K, and its time constant, s.
const BRAKE_RISE_K: f64 = 45.0;
const BRAKE_TAU_S: f64 = 900.0;
/// Current at the motor's idle magnetisation and at full imbalance, A.
const IDLE_A: f64 = 0.4;
const RUN_A: f64 = 6.0;
const LOAD_A: f64 = 24.0;
/// Vibration of a sound machine while running, mm/s RMS (ISO 20816-1 calls up to 1.8 good for small machines).
const VIBRATION_MM_S: f64 = 1.1;
/// Float voltage of the 12 V standby battery and its sag at the end of its life; its voltage when full and empty, V.
const FLOAT_V: f64 = 13.6;
const SAG_V: f64 = 2.2;
const FULL_V: f64 = 12.7;
const EMPTY_V: f64 = 10.5;
/// How long a new battery feeds controller, light and alarm, s (EN 81-28 asks for one hour).
const AUTONOMY_S: f64 = 2.0 * 3600.0;

/// Wear of each part, from 0 (new) to 1 (failed).
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Wear {
    /// Door operator.
    pub door: f64,
    /// Motor bearing.
    pub bearing: f64,
    /// Brake lining.
    pub brake: f64,
    /// Levelling sensors and rope.
    pub levelling: f64,
    /// Standby battery.
    pub battery: f64,
}

/// State of the machine.
#[derive(Debug, Clone, PartialEq)]
pub struct Machine {
    /// Motor winding temperature, °C.
    pub motor_c: f64,
    /// Brake temperature, °C.
    pub brake_c: f64,
    /// Drive output current, A RMS.
    pub current_a: f64,
    /// Vibration velocity at the motor bearing during the last or present run, mm/s RMS.
    pub vibration_mm_s: f64,
    /// Machine room temperature, °C.
    pub room_c: f64,
    /// Charge of the standby battery, 0 to 1.
    pub charge: f64,
}

impl Default for Machine {
    fn default() -> Self {
        Self {
            motor_c: AMBIENT_C + 8.0,
            brake_c: AMBIENT_C + 4.0,
            current_a: 0.0,
            vibration_mm_s: VIBRATION_MM_S,
            room_c: AMBIENT_C,
            charge: 1.0,
        }
    }
}

/// What the machine is asked to do in a step.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Duty {
    /// Car speed as a share of rated speed, 0 to 1.
    pub speed_share: f64,
    /// Torque as a share of full imbalance: positive when the motor drives, negative when it brakes. -1 to 1.
    pub torque_share: f64,
    /// True if the mains feed the drive.
    pub mains: bool,
}

/// The torque share of a load in one direction: the counterweight balances half the rated load.
#[must_use]
pub fn torque_share(load_kg: f64, rated_kg: f64, upwards: bool) -> f64 {
    let imbalance = ((load_kg - rated_kg / 2.0) / (rated_kg / 2.0)).clamp(-1.2, 1.2);
    if upwards { imbalance } else { -imbalance }
}

/// Bearing vibration while running, in the mean, mm/s RMS: it grows slowly at first and fast at the end, as recorded
/// run-to-failure bearings do.
#[must_use]
pub fn vibration(wear: f64) -> f64 {
    VIBRATION_MM_S + 2.2 * wear + 5.5 * wear.powi(4)
}

impl Machine {
    /// Moves on by `dt_s` seconds.
    pub fn step(&mut self, duty: Duty, wear: &Wear, dt_s: f64, dice: &mut Dice) {
        let running = duty.speed_share > 0.0;
        let effort = if running { 0.25 + 0.75 * duty.torque_share.abs() } else { 0.0 };
        let motor_target = AMBIENT_C + MOTOR_RISE_K * effort * (1.0 + 1.5 * wear.bearing);
        let brake_target = AMBIENT_C + 4.0 + BRAKE_RISE_K * duty.speed_share * (0.6 + 2.2 * wear.brake);
        self.motor_c += (motor_target - self.motor_c) * (1.0 - (-dt_s / MOTOR_TAU_S).exp());
        self.brake_c += (brake_target - self.brake_c) * (1.0 - (-dt_s / BRAKE_TAU_S).exp());
        let room_target = AMBIENT_C + 0.12 * (self.motor_c - AMBIENT_C);
        self.room_c += (room_target - self.room_c) * (1.0 - (-dt_s / (4.0 * MOTOR_TAU_S)).exp());
        if running {
            self.vibration_mm_s = dice.normal(vibration(wear.bearing), 0.06 * vibration(wear.bearing)).max(0.1);
            let current = RUN_A * (1.0 + 0.5 * wear.brake) + LOAD_A * duty.torque_share.max(-0.2).abs();
            self.current_a = dice.normal(current, 0.3).max(0.5);
        } else {
            self.current_a = if duty.mains { IDLE_A } else { 0.0 };
        }
        let autonomy = AUTONOMY_S * (1.0 - 0.95 * wear.battery);
        let change = if duty.mains { dt_s / (8.0 * 3600.0) } else { -dt_s / autonomy };
        self.charge = (self.charge + change).clamp(0.0, 1.0);
    }

    /// Terminal voltage of the standby battery, V.
    #[must_use]
    pub fn battery_v(&self, wear: &Wear, mains: bool) -> f64 {
        if mains { FLOAT_V - SAG_V * wear.battery } else { EMPTY_V + (FULL_V - EMPTY_V - wear.battery) * self.charge }
    }
}

/// How far from level the car stops, mm: scatter, sag by load and direction, and drift with wear.
pub fn levelling_error_mm(load_share: f64, upwards: bool, wear: f64, dice: &mut Dice) -> f64 {
    let direction = if upwards { 1.0 } else { -1.0 };
    dice.normal(direction * 1.2 - 2.0 * (load_share - 0.3) + 24.0 * wear, 1.1 + 2.5 * wear)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(wear: &Wear, duty: Duty, seconds: u32) -> Machine {
        let (mut machine, mut dice) = (Machine::default(), Dice::new(4, "machine"));
        for _ in 0..seconds {
            machine.step(duty, wear, 1.0, &mut dice);
        }
        machine
    }

    #[test]
    fn temperatures_follow_duty_and_settle() {
        let hard = Duty { speed_share: 1.0, torque_share: 1.0, mains: true };
        let still = Duty { speed_share: 0.0, torque_share: 0.0, mains: true };
        let hot = run(&Wear::default(), hard, 20_000);
        assert!((hot.motor_c - (AMBIENT_C + MOTOR_RISE_K)).abs() < 0.5, "{}", hot.motor_c);
        assert!(run(&Wear::default(), hard, 600).motor_c < hot.motor_c);
        assert!(run(&Wear::default(), still, 20_000).motor_c < AMBIENT_C + 1.0);
    }

    #[test]
    fn wear_shows_where_it_should() {
        let duty = Duty { speed_share: 0.6, torque_share: 0.4, mains: true };
        let sound = run(&Wear::default(), duty, 3000);
        let worn = run(&Wear { bearing: 0.8, brake: 0.8, battery: 0.8, ..Wear::default() }, duty, 3000);
        assert!(worn.vibration_mm_s > 2.0 * sound.vibration_mm_s);
        assert!(worn.brake_c > sound.brake_c + 5.0 && worn.motor_c > sound.motor_c + 3.0);
        assert!(
            worn.battery_v(&Wear { battery: 0.8, ..Wear::default() }, true) < sound.battery_v(&Wear::default(), true)
        );
        let mut dice = Dice::new(1, "level");
        let mut mean =
            |wear: f64| (0..500).map(|_| levelling_error_mm(0.3, true, wear, &mut dice)).sum::<f64>() / 500.0;
        assert!(mean(0.0).abs() < 3.0 && mean(0.9) > 15.0);
    }

    #[test]
    fn an_unbalanced_car_draws_more_and_the_battery_lasts_its_time() {
        assert!(torque_share(1000.0, 1000.0, true) > 0.9 && torque_share(1000.0, 1000.0, false) < -0.9);
        assert!(torque_share(500.0, 1000.0, true).abs() < 1e-9);
        let dark = Duty { speed_share: 0.0, torque_share: 0.0, mains: false };
        assert!((run(&Wear::default(), dark, 3600).charge - 0.5).abs() < 0.01);
        assert!(run(&Wear { battery: 1.0, ..Wear::default() }, dark, 3600).charge <= 0.0);
    }
}
