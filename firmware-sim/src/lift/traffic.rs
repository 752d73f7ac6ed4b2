//! Who wants to ride, when and where to: Poisson arrivals whose rate follows the day.
//!
//! The shapes follow the traffic patterns of CIBSE Guide D in outline: an up-peak in the morning, two-way lunch
//! traffic and a down-peak in the evening for offices; the reverse for homes. The figures are ours.

use serde::Deserialize;

use crate::dice::Dice;

/// What kind of building the lift serves.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Building {
    /// Up in the morning, out and back at lunch, down in the evening.
    #[default]
    Office,
    /// Down in the morning, up in the evening.
    Residential,
}

/// What most people want at an hour of the day.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Period {
    UpPeak,
    DownPeak,
    Lunch,
    Between,
}

/// Start hour, weight and period; each lasts until the next one starts.
type Shape = &'static [(f64, f64, Period)];

const OFFICE: Shape = &[
    (0.0, 0.03, Period::Between),
    (7.0, 1.0, Period::UpPeak),
    (8.0, 3.6, Period::UpPeak),
    (9.5, 1.5, Period::Between),
    (11.5, 2.6, Period::Lunch),
    (13.5, 1.4, Period::Between),
    (17.0, 3.0, Period::DownPeak),
    (18.5, 0.8, Period::DownPeak),
    (20.0, 0.15, Period::Between),
];

const RESIDENTIAL: Shape = &[
    (0.0, 0.08, Period::Between),
    (6.0, 1.2, Period::DownPeak),
    (7.0, 2.8, Period::DownPeak),
    (9.0, 1.1, Period::Between),
    (11.5, 1.3, Period::Lunch),
    (13.5, 0.9, Period::Between),
    (17.0, 2.4, Period::UpPeak),
    (20.0, 1.2, Period::UpPeak),
    (22.5, 0.4, Period::Between),
];

impl Building {
    fn shape(self) -> Shape {
        match self {
            Self::Office => OFFICE,
            Self::Residential => RESIDENTIAL,
        }
    }

    fn now(self, hour: f64) -> (f64, Period) {
        let hour = hour.rem_euclid(24.0);
        self.shape()
            .iter()
            .rev()
            .find(|(start, ..)| *start <= hour)
            .map_or((0.0, Period::Between), |(_, weight, period)| (*weight, *period))
    }

    /// How many times the day's mean rate people arrive at an hour of the day; its mean over the day is 1.
    #[must_use]
    pub fn rate(self, hour: f64) -> f64 {
        let shape = self.shape();
        let ends = shape.iter().skip(1).map(|(start, ..)| *start).chain([24.0]);
        let mean: f64 =
            shape.iter().zip(ends).map(|((start, weight, _), end)| weight * (end - start)).sum::<f64>() / 24.0;
        self.now(hour).0 / mean
    }
}

/// A group that wants to ride together.
#[derive(Debug, Clone, PartialEq)]
pub struct Call {
    /// The landing it waits at, from 0.
    pub from: usize,
    /// Where it wants to go.
    pub to: usize,
    /// How many people.
    pub people: u32,
    /// Their weight, kg.
    pub weight_kg: f64,
}

/// The people who arrive in one step of `dt_s` seconds, at an hour of the day.
pub fn arrivals(
    building: Building,
    calls_per_day: f64,
    floors: usize,
    hour: f64,
    dt_s: f64,
    dice: &mut Dice,
) -> Vec<Call> {
    let (_, period) = building.now(hour);
    let expected = calls_per_day / 86_400.0 * building.rate(hour) * dt_s;
    (0..dice.poisson(expected)).map(|_| call(period, floors, dice)).collect()
}

fn call(period: Period, floors: usize, dice: &mut Dice) -> Call {
    let upper = |dice: &mut Dice| 1 + dice.below(floors - 1);
    let (up_share, down_share) = match period {
        Period::UpPeak => (0.85, 0.05),
        Period::DownPeak => (0.05, 0.85),
        Period::Lunch => (0.42, 0.42),
        Period::Between => (0.35, 0.35),
    };
    let choice = dice.unit();
    let (from, to) = if choice < up_share {
        (0, upper(dice))
    } else if choice < up_share + down_share {
        (upper(dice), 0)
    } else {
        let from = dice.below(floors);
        (from, (from + 1 + dice.below(floors - 1)) % floors)
    };
    let people = 1 + dice.poisson(0.4).min(5);
    // GB/T 7588.1 and EN 81-20 reckon 75 kg a person.
    let weight_kg = (0..people).map(|_| dice.normal(70.0, 14.0).clamp(15.0, 130.0)).sum();
    Call { from, to, people, weight_kg }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_day_brings_the_calls_it_should_at_the_hours_it_should() {
        for building in [Building::Office, Building::Residential] {
            let mut dice = Dice::new(11, "traffic");
            let mut per_hour = [0_u32; 24];
            for second in 0..86_400_u32 {
                let hour = f64::from(second) / 3600.0;
                let calls = arrivals(building, 1000.0, 20, hour, 1.0, &mut dice);
                per_hour[(second / 3600) as usize] += u32::try_from(calls.len()).unwrap();
                for call in calls {
                    assert!(call.from < 20 && call.to < 20 && call.from != call.to && call.people >= 1);
                }
            }
            let day: u32 = per_hour.iter().sum();
            assert!((850..1150).contains(&day), "{building:?}: {day}");
            assert!(per_hour[8] > 4 * per_hour[3].max(1), "{building:?}: {per_hour:?}");
        }
    }

    #[test]
    fn most_people_go_up_in_an_office_morning_and_down_in_its_evening() {
        let mut dice = Dice::new(5, "peaks");
        let up = |hour: f64, dice: &mut Dice| {
            let calls = arrivals(Building::Office, 20_000.0, 12, hour, 3600.0, dice);
            calls.iter().filter(|call| call.to > call.from).count() as f64 / calls.len() as f64
        };
        assert!(up(8.5, &mut dice) > 0.8);
        assert!(up(17.5, &mut dice) < 0.2);
    }
}
