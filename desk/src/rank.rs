//! In which order to go through the lifts of a site: where somebody is inside, or may be, first.

use model::{DeviceId, Localised, Timestamp};

/// From this load on somebody is inside, in kg: the limit of the lift profile's entrapment rule.
const OCCUPIED_KG: f64 = 30.0;

/// What is known of one lift.
#[derive(Debug, Clone, PartialEq)]
pub struct Signs {
    /// Which.
    pub device: DeviceId,
    /// Since when its alert stands; `None`: it has cleared.
    pub since: Option<Timestamp>,
    /// True if an entrapment is open on it.
    pub entrapment: bool,
    /// What its presence sensor said last.
    pub passenger_present: Option<bool>,
    /// What its load sensor said last, in kg.
    pub car_load_kg: Option<f64>,
    /// Whether the car was at a landing.
    pub door_zone: Option<bool>,
    /// Whether its doors were open.
    pub doors_open: Option<bool>,
}

/// How likely somebody is inside; ordered, the first to go to first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Occupancy {
    /// An entrapment is open: it has a ticket of its own, and people are called for it.
    Trapped,
    /// A sensor says that somebody is inside.
    Inside,
    /// The car stands between floors and no sensor says that it is empty.
    Likely,
    /// Nothing is known.
    Unknown,
    /// Sensors say that it is empty, or its doors are open at a landing.
    Empty,
}

impl Occupancy {
    /// The name used in the API.
    #[must_use]
    pub fn code(self) -> &'static str {
        match self {
            Self::Trapped => "trapped",
            Self::Inside => "inside",
            Self::Likely => "likely",
            Self::Unknown => "unknown",
            Self::Empty => "empty",
        }
    }

    /// What it rests on.
    #[must_use]
    pub fn text(self) -> Localised {
        match self {
            Self::Trapped => Localised::new("somebody is shut in; it has a ticket of its own", "有人被困，已单独建单"),
            Self::Inside => Localised::new("a sensor says that somebody is inside", "传感器显示轿厢内有人"),
            Self::Likely => {
                Localised::new("between floors, and nothing says that the car is empty", "停在层间，且无法确认轿厢无人")
            }
            Self::Unknown => Localised::new("not known", "情况不明"),
            Self::Empty => Localised::new("empty, or doors open at a landing", "轿厢无人，或在层站开门"),
        }
    }
}

/// How likely somebody is inside.
#[must_use]
pub fn occupancy(signs: &Signs) -> Occupancy {
    let loaded = signs.car_load_kg.map(|load| load > OCCUPIED_KG);
    let said = [signs.passenger_present, loaded];
    if signs.entrapment {
        Occupancy::Trapped
    } else if signs.doors_open == Some(true) && signs.door_zone != Some(false) {
        Occupancy::Empty
    } else if said.contains(&Some(true)) {
        Occupancy::Inside
    } else if said.contains(&Some(false)) {
        Occupancy::Empty
    } else if signs.door_zone == Some(false) {
        Occupancy::Likely
    } else {
        Occupancy::Unknown
    }
}

/// Puts lifts in the order to go through them: those whose alert stands before those whose alert has cleared, then by
/// [`Occupancy`], between floors before at a landing, the longest out first, then by name.
#[must_use]
pub fn ranked(mut lifts: Vec<Signs>) -> Vec<(Signs, Occupancy)> {
    lifts.sort_by(|a, b| a.device.cmp(&b.device));
    let mut ranked: Vec<(Signs, Occupancy)> = lifts
        .into_iter()
        .map(|signs| {
            let occupancy = occupancy(&signs);
            (signs, occupancy)
        })
        .collect();
    ranked.sort_by_key(|(signs, occupancy)| {
        let over = signs.since.is_none() && *occupancy != Occupancy::Trapped;
        (over, *occupancy, signs.door_zone != Some(false), signs.since)
    });
    ranked
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lift(name: &str) -> Signs {
        Signs {
            device: DeviceId::new(name).unwrap(),
            since: Some(Timestamp::from_secs(100)),
            entrapment: false,
            passenger_present: None,
            car_load_kg: None,
            door_zone: None,
            doors_open: None,
        }
    }

    #[test]
    fn whoever_is_or_may_be_inside_comes_first() {
        let lifts = vec![
            Signs { passenger_present: Some(false), car_load_kg: Some(4.0), ..lift("empty") },
            Signs { since: None, passenger_present: Some(true), ..lift("power-back") },
            lift("unknown"),
            Signs { door_zone: Some(false), ..lift("between-floors") },
            Signs {
                passenger_present: Some(true),
                doors_open: Some(true),
                door_zone: Some(true),
                ..lift("doors-open")
            },
            Signs { car_load_kg: Some(75.0), passenger_present: Some(false), ..lift("loaded") },
            Signs { passenger_present: Some(true), door_zone: Some(false), ..lift("person-between-floors") },
            Signs { since: None, entrapment: true, ..lift("trapped") },
            Signs { since: Some(Timestamp::from_secs(50)), ..lift("unknown-longer") },
        ];
        let order: Vec<String> = ranked(lifts).into_iter().map(|(signs, _)| signs.device.to_string()).collect();
        assert_eq!(
            order,
            [
                "trapped",
                "person-between-floors",
                "loaded",
                "between-floors",
                "unknown-longer",
                "unknown",
                "doors-open",
                "empty",
                "power-back"
            ]
        );
    }
}
