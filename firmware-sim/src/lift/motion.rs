//! How the car moves: a journey with bounded speed, acceleration and jerk (the quantities that ISO 18738-1 measures
//! for ride quality), and an emergency stop by the brake.

/// The limits that a drive keeps.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Limits {
    /// Rated speed, m/s.
    pub speed_m_s: f64,
    /// Acceleration, m/s².
    pub acceleration_m_s2: f64,
    /// Jerk, m/s³.
    pub jerk_m_s3: f64,
}

/// Deceleration of an emergency stop by the brake, m/s²; brakes of passenger lifts give 2 to 5 from rated speed.
pub const BRAKE_M_S2: f64 = 2.5;

/// A planned journey: seven phases of constant jerk, or an emergency stop.
#[derive(Debug, Clone, PartialEq)]
pub struct Journey {
    from_m: f64,
    sign: f64,
    distance_m: f64,
    /// Duration in seconds and jerk in m/s³ of each phase.
    phases: [(f64, f64); 7],
    elapsed_s: f64,
}

/// Where the car is and how fast it goes.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Kinematics {
    /// Height above the lowest landing, m.
    pub position_m: f64,
    /// Upwards is positive, m/s.
    pub speed_m_s: f64,
    /// Upwards is positive, m/s².
    pub acceleration_m_s2: f64,
}

/// The times of one acceleration phase to `peak`: jerk time and constant-acceleration time, s.
fn ramp(peak: f64, limits: &Limits) -> (f64, f64) {
    let jerk_s = limits.acceleration_m_s2 / limits.jerk_m_s3;
    if peak >= limits.acceleration_m_s2 * jerk_s {
        (jerk_s, peak / limits.acceleration_m_s2 - jerk_s)
    } else {
        ((peak / limits.jerk_m_s3).sqrt(), 0.0)
    }
}

/// The distance covered while accelerating from rest to `peak`, m.
fn ramp_distance(peak: f64, limits: &Limits) -> f64 {
    let (jerk_s, constant_s) = ramp(peak, limits);
    peak * (2.0 * jerk_s + constant_s) / 2.0
}

impl Journey {
    /// A journey between two heights, from rest to rest.
    #[must_use]
    pub fn new(from_m: f64, to_m: f64, limits: &Limits) -> Self {
        let distance_m = (to_m - from_m).abs();
        let mut peak = limits.speed_m_s;
        if 2.0 * ramp_distance(peak, limits) > distance_m {
            // Too short for full speed: the peak at which the two ramps alone cover it. 60 halvings are exact to
            // the last bit.
            let (mut low, mut high) = (0.0, peak);
            for _ in 0..60 {
                peak = f64::midpoint(low, high);
                if 2.0 * ramp_distance(peak, limits) > distance_m {
                    high = peak;
                } else {
                    low = peak;
                }
            }
            peak = low;
        }
        let (jerk_s, constant_s) = ramp(peak, limits);
        let cruise_s =
            if peak > 0.0 { ((distance_m - 2.0 * ramp_distance(peak, limits)) / peak).max(0.0) } else { 0.0 };
        let jerk = limits.jerk_m_s3;
        Self {
            from_m,
            sign: if to_m < from_m { -1.0 } else { 1.0 },
            distance_m,
            phases: [
                (jerk_s, jerk),
                (constant_s, 0.0),
                (jerk_s, -jerk),
                (cruise_s, 0.0),
                (jerk_s, -jerk),
                (constant_s, 0.0),
                (jerk_s, jerk),
            ],
            elapsed_s: 0.0,
        }
    }

    /// How long the journey takes, s.
    #[must_use]
    pub fn duration_s(&self) -> f64 {
        self.phases.iter().map(|(s, _)| s).sum()
    }

    /// Moves on by `dt_s` seconds and says where the car is; `true` when it has arrived.
    pub fn advance(&mut self, dt_s: f64) -> (Kinematics, bool) {
        self.elapsed_s += dt_s;
        if self.elapsed_s >= self.duration_s() {
            let position_m = self.from_m + self.sign * self.distance_m;
            return (Kinematics { position_m, ..Kinematics::default() }, true);
        }
        (self.at(self.elapsed_s), false)
    }

    /// Where the car is `t` seconds after the start.
    fn at(&self, t: f64) -> Kinematics {
        let (mut s, mut v, mut a, mut left) = (0.0, 0.0, 0.0, t);
        for (duration, jerk) in self.phases {
            let step = left.min(duration);
            s += v * step + a * step * step / 2.0 + jerk * step * step * step / 6.0;
            v += a * step + jerk * step * step / 2.0;
            a += jerk * step;
            left -= step;
            if left <= 0.0 {
                break;
            }
        }
        Kinematics {
            position_m: self.from_m + self.sign * s.clamp(0.0, self.distance_m),
            speed_m_s: self.sign * v.max(0.0),
            acceleration_m_s2: self.sign * a,
        }
    }
}

/// One step of an emergency stop: the brake takes the speed off at [`BRAKE_M_S2`].
#[must_use]
pub fn brake(car: Kinematics, dt_s: f64) -> Kinematics {
    let sign = car.speed_m_s.signum();
    let stop_s = (car.speed_m_s.abs() / BRAKE_M_S2).min(dt_s);
    let speed = (car.speed_m_s.abs() - BRAKE_M_S2 * stop_s).max(0.0);
    let moved = (car.speed_m_s.abs() + speed) / 2.0 * stop_s;
    Kinematics {
        position_m: car.position_m + sign * moved,
        speed_m_s: sign * speed,
        acceleration_m_s2: if speed > 0.0 { -sign * BRAKE_M_S2 } else { 0.0 },
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const LIMITS: Limits = Limits { speed_m_s: 2.5, acceleration_m_s2: 1.0, jerk_m_s3: 1.2 };

    #[test]
    fn a_long_journey_reaches_rated_speed_and_a_short_one_does_not() {
        let fastest = |to: f64| {
            let mut journey = Journey::new(0.0, to, &LIMITS);
            let mut fastest: f64 = 0.0;
            loop {
                let (car, arrived) = journey.advance(0.01);
                fastest = fastest.max(car.speed_m_s);
                if arrived {
                    return fastest;
                }
            }
        };
        assert!((fastest(60.0) - 2.5).abs() < 1e-6);
        assert!(fastest(3.0) < 2.0);
    }

    proptest! {
        #[test]
        fn every_journey_keeps_its_limits_and_arrives(
            from in 0.0f64..100.0, to in 0.0f64..100.0, speed in 0.4f64..6.0, acceleration in 0.3f64..1.5, jerk in 0.5f64..2.5,
        ) {
            let limits = Limits { speed_m_s: speed, acceleration_m_s2: acceleration, jerk_m_s3: jerk };
            let mut journey = Journey::new(from, to, &limits);
            let (low, high) = (from.min(to), from.max(to));
            let mut last = Kinematics { position_m: from, ..Kinematics::default() };
            let dt = 0.02;
            for _ in 0..100_000 {
                let (car, arrived) = journey.advance(dt);
                prop_assert!(car.position_m >= low - 1e-9 && car.position_m <= high + 1e-9);
                prop_assert!(car.speed_m_s.abs() <= speed + 1e-9);
                prop_assert!(car.acceleration_m_s2.abs() <= acceleration + 1e-9);
                prop_assert!((car.acceleration_m_s2 - last.acceleration_m_s2).abs() <= jerk * dt + 1e-6 || arrived);
                prop_assert!((car.position_m - last.position_m).abs() <= speed * dt + 1e-6);
                last = car;
                if arrived {
                    prop_assert!((car.position_m - to).abs() < 1e-9);
                    return Ok(());
                }
            }
            prop_assert!(false, "never arrived");
        }

        #[test]
        fn the_brake_stops_the_car_without_reversing_it(speed in -4.0f64..4.0) {
            let mut car = Kinematics { position_m: 20.0, speed_m_s: speed, acceleration_m_s2: 0.0 };
            for _ in 0..100 {
                let next = brake(car, 0.1);
                prop_assert!(next.speed_m_s * speed >= 0.0 && next.speed_m_s.abs() <= car.speed_m_s.abs());
                car = next;
            }
            prop_assert_eq!(car.speed_m_s.abs(), 0.0);
            prop_assert!((car.position_m - 20.0).abs() <= speed * speed / (2.0 * BRAKE_M_S2) + 1e-9);
        }
    }
}
